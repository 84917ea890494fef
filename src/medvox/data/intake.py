"""What is this file? ``kind_of`` tells by content which reader a path belongs to.

First step of every verb that takes a path. A name is only asked where the content leaves two answers (``.mrxs`` is a
JPEG beside a folder of its name). Knows the marks of the formats, opens no library and decodes no pixel.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zlib
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from medvox.data import tiff_directories as tiff
from medvox.data.archive import DOCUMENT_MARK, ZIP_MAGIC, lists_member
from medvox.data.sound_container import SoundContainer, sound_container
from medvox.errors import InputError

HEAD_BYTES = 65_536
_MEDIA_DIRECTORY = b"1.2.840.10008.1.3.10"
_WHOLE_SLIDE = b"1.2.840.10008.5.1.4.1.1.77.1.6"
_VRS = set(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
_SLIDE_MARKS = {
    tiff.IMAGE_DESCRIPTION: (b"Aperio", b"www.leica-microsystems.com/scn/", b"PreservedImage", b"<OME"),
    tiff.SOFTWARE: (b"Philips DP", b"MedScan", b"SlideScanner"),
    tiff.XMP: (b"iScan",),
}
_SLIDE_STARTS = (b"ZISRAWFILE", b"[Virtual Microscope Specimen]", b"[Uncompressed Virtual Microscope Specimen]")
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Kind(StrEnum):
    """The readers that a path can belong to."""

    DICOM = "dicom"
    DICOMDIR = "dicomdir"
    NIFTI = "nifti"
    PICTURE = "picture"
    SLIDE = "slide"
    PDF = "pdf"
    DOCX = "docx"
    FHIR = "fhir"
    CDA = "cda"
    NOTE = "note"
    AUDIO = "audio"
    ZIP = "zip"
    FOLDER = "folder"
    UNKNOWN = "unknown"


def kind_of(path: Path) -> Kind:
    """The kind of a file or folder, by its content.

    Raises:
        InputError: ``E_INPUT_MISSING`` (also a link to nowhere), ``E_INPUT_EMPTY``, or ``E_INPUT_UNREADABLE`` (no
            right to read it, or no regular file).
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            os.scandir(path).close()
            return Kind.FOLDER
        if not stat.S_ISREG(mode):
            raise InputError(
                f"{path.name} is no regular file", fix="give a file or a folder", code="E_INPUT_UNREADABLE"
            )
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            if not head:
                raise InputError(
                    f"{path.name} is empty (0 bytes)", fix="copy or export the file again", code="E_INPUT_EMPTY"
                )
            return _kind(head, file, path)
    except (FileNotFoundError, NotADirectoryError) as error:
        broken = path.is_symlink()
        problem = "is a link to a file that does not exist" if broken else "does not exist"
        raise InputError(f"{path.name} {problem}", fix="check the path", code="E_INPUT_MISSING") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise InputError(
            f"{path.name} cannot be opened", fix="check the path and the rights of the file", code="E_INPUT_UNREADABLE"
        ) from error


def _kind(head: bytes, file: BinaryIO, path: Path) -> Kind:
    found = _dicom(head) or _nifti(head) or _picture(head, file, path)
    if found:
        return found
    if head[:4] in ZIP_MAGIC:
        return _zip(file)
    if b"%PDF-" in head[:1024]:
        return Kind.PDF
    if head.startswith(_SLIDE_STARTS) or (head.startswith(b"SQLite format 3\0") and _ends(path, ".svslide")):
        return Kind.SLIDE
    container = sound_container(head)
    if container:
        return Kind.AUDIO if _has_sound(container, head, file) else Kind.UNKNOWN
    if head.startswith(b"\x1f\x8b"):
        plain = _inflated_head(head)
        return _nifti(plain) or (Kind.FHIR if _text(plain) is Kind.FHIR else Kind.UNKNOWN)
    return _text(head)


def _dicom(head: bytes) -> Kind | None:
    if head[128:132] == b"DICM":
        return _by_sop_class(head[132:4096])
    group, element = struct.unpack_from("<HH", head.ljust(8, b"\0"))
    if group not in {0x0002, 0x0008} or element > 0x0100:
        return None
    explicit, implicit = head[4:6] in _VRS, struct.unpack_from("<I", head.ljust(8, b"\0"), 4)[0] <= 1024
    return _by_sop_class(head[:4096]) if explicit or (group == 0x0008 and implicit) else None


def _by_sop_class(head: bytes) -> Kind:
    return {_MEDIA_DIRECTORY: Kind.DICOMDIR, _WHOLE_SLIDE: Kind.SLIDE}.get(_sop_class(head), Kind.DICOM)


def _sop_class(head: bytes) -> bytes:
    """Media Storage SOP Class UID, else SOP Class UID: the value of the first such element, by its tag and VR."""
    found = re.search(rb"(?:\x02\x00\x02\x00UI..|\x08\x00\x16\x00(?:UI..|..\x00\x00))([0-9.]{1,64})", head, re.DOTALL)
    return found[1] if found else b""


def _nifti(head: bytes) -> Kind | None:
    """NIfTI-1 and -2, either byte order, and the Analyze header that they grew from."""
    sizes = {head[:4]} & {struct.pack(order + "i", size) for order in "<>" for size in (348, 540)}
    marked = head[344:348] in {b"n+1\0", b"ni1\0"} or head[4:8] in {b"n+2\0", b"ni2\0"}
    analyze = len(head) == 348 and head[38:39] in {b"r", b"\0"}
    return Kind.NIFTI if sizes and (marked or analyze) else None


def _picture(head: bytes, file: BinaryIO, path: Path) -> Kind | None:
    if tiff.is_tiff(head):
        return Kind.SLIDE if _is_slide(file) else Kind.PICTURE
    if head.startswith(b"\xff\xd8\xff"):
        return Kind.SLIDE if _ends(path, ".mrxs") and path.with_suffix("").is_dir() else Kind.PICTURE
    bitmap = (
        head[:2] == b"BM"
        and head[6:10] == bytes(4)
        and head[14:18] in {b"\x0c\0\0\0", b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0"}
    )
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return Kind.PICTURE if head.startswith(b"\x89PNG\r\n\x1a\n") or bitmap or webp else None


def _is_slide(file: BinaryIO) -> bool:
    """A vendor's mark, or tiles at several resolutions."""
    tiled_widths = set()
    for directory in tiff.tiff_directories(file):
        marked = any(mark in directory.texts.get(tag, b"") for tag, marks in _SLIDE_MARKS.items() for mark in marks)
        if (marked and directory.is_tiled) or tiff.NDPI in directory.numbers:
            return True
        if directory.is_tiled:
            tiled_widths.add(directory.numbers.get(tiff.IMAGE_WIDTH))
    return len(tiled_widths) > 1


def _zip(file: BinaryIO) -> Kind:
    if not lists_member(file, DOCUMENT_MARK):
        return Kind.ZIP
    return Kind.DOCX if lists_member(file, b"word/document.xml") else Kind.UNKNOWN


def _has_sound(container: SoundContainer, head: bytes, file: BinaryIO) -> bool:
    """Whether a container that may hold pictures only has a sound track too."""
    if container is SoundContainer.MP4:
        return _mp4_has_sound(file)
    if container is SoundContainer.WEBM:
        return re.search(rb"\x86.A_", head, re.DOTALL) is not None  # CodecID of an audio track
    if container is SoundContainer.OGG:
        return any(mark in head[:4096] for mark in (b"OpusHead", b"\x01vorbis", b"\x7fFLAC", b"Speex   "))
    return True


def _mp4_has_sound(file: BinaryIO) -> bool:
    """Walk the top boxes (ISO 14496-12) to the movie box and look for the handler of a sound track."""
    size = file.seek(0, os.SEEK_END)
    place = 0
    for _ in range(1024):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            return False
        length = int.from_bytes(head[:4], "big")
        length = {0: size - place, 1: int.from_bytes(head[8:16], "big")}.get(length, length)
        if head[4:8] == b"moov":
            file.seek(place)
            return re.search(rb"hdlr.{8}soun", file.read(min(length, 2**24)), re.DOTALL) is not None
        if length < 8 or place + length > size:
            return False
        place += length
    return False


def _inflated_head(head: bytes) -> bytes:
    """What the first bytes of a gzip unpack to, at most 64 KiB."""
    try:
        return zlib.decompressobj(31).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""


def _text(head: bytes) -> Kind:
    if head.startswith(_UTF_16):
        head = head.decode("utf-16", "replace").encode()
    elif _NO_TEXT.search(head):
        return Kind.UNKNOWN
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith((b"{", b"[")) and b'"resourceType"' in head:
        return Kind.FHIR
    if start.startswith((b"<?xml", b"<!", b"<ClinicalDocument", b"<html", b"<svg", b"<Bundle")):
        if re.search(rb"<(?:\w+:)?ClinicalDocument[\s>]", head):
            return Kind.CDA
        return Kind.FHIR if b"http://hl7.org/fhir" in head else Kind.UNKNOWN
    return Kind.UNKNOWN if start.startswith(b"{\\rtf") or not start else Kind.NOTE


def _ends(path: Path, ending: str) -> bool:
    return path.suffix.lower() == ending
