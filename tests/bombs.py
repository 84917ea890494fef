"""Small files that would become large, or never end, if they were believed; and what reading one costs.

``python tests/bombs.py FOLDER`` writes each there, reads it in a child of its own and prints what that took as JSON.
"""

from __future__ import annotations

import io
import json
import os
import resource
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import soundfile
from dicom_images import encapsulated, file_bytes, image_dataset
from fuzz import READERS
from made_documents import DRAWN, docx, pdf, stream
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from medvox.data.archive import unpacked
from medvox.data.dicom import find_study
from medvox.errors import InputError, MedvoxError

MIB = 2**20
Bomb = tuple[str, bytes]  # kind of reader, content
WINDOW_BITS = {"raw": -15, "zlib": 15, "gzip": 31}


def zeros(mebibytes: int, wrapping: str, *, head: bytes = b"") -> bytes:
    """Packed zeros behind a head, 1:1000; written without packing them all. The checksum at the end is wrong."""
    first = zlib.compressobj(9, zlib.DEFLATED, WINDOW_BITS[wrapping])
    start = first.compress(head) + first.flush(zlib.Z_FULL_FLUSH)
    block = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = block.compress(bytes(MIB)) + block.flush(zlib.Z_FULL_FLUSH)
    return start + packed * mebibytes + b"\x03\x00" + bytes(8)


def deflated_dicom() -> Bomb:
    dataset = image_dataset(np.zeros((8, 8), np.uint16))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = file_bytes(dataset)
    meta = content[: 132 + 12 + struct.unpack_from("<I", content, 140)[0]]
    element = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 1024 * MIB)
    return "dicom", meta + zeros(1024, "raw", head=element)


def rle_dicom() -> Bomb:
    """40,000 x 40,000 pixels in runs of 128 zeros."""
    run = b"\x81\x00" * (40_000 * 40_000 // 128)
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + run
    dataset = image_dataset(np.zeros((8, 8), np.uint8))
    dataset.Rows = dataset.Columns = 40_000
    return "dicom", file_bytes(encapsulated(dataset, [frame], RLELossless))


def _picture_in_dicom(form: str, syntax: str, mark: bytes, offset: int, size: bytes) -> Bomb:
    """A compressed frame that claims another size than the data set."""
    frame = io.BytesIO()
    Image.new("L", (8, 8)).save(frame, form)
    content = bytearray(frame.getvalue())
    if form == "JPEG2000":
        content = content[content.index(b"\xff\x4f\xff\x51") :]
    place = content.index(mark) + offset
    content[place : place + len(size)] = size
    return "dicom", file_bytes(encapsulated(image_dataset(np.zeros((8, 8), np.uint8)), [bytes(content)], syntax))


def jpeg_in_dicom() -> Bomb:
    return _picture_in_dicom("JPEG", JPEGBaseline8Bit, b"\xff\xc0", 5, struct.pack(">HH", 65_500, 65_500))


def jpeg_2000_in_dicom() -> Bomb:
    return _picture_in_dicom("JPEG2000", JPEG2000Lossless, b"\xff\x51", 6, struct.pack(">II", 60_000, 60_000))


def endless_frames() -> Bomb:
    dataset = image_dataset(np.zeros((8, 8), np.uint8))
    dataset.NumberOfFrames = 2**31 - 1
    return "dicom", file_bytes(dataset)


def large_plane() -> Bomb:
    dataset = image_dataset(np.zeros((8, 8), np.uint8))
    dataset.Rows = dataset.Columns = 65_535
    return "dicom", file_bytes(dataset)


def nested_dicom() -> Bomb:
    """20,000 sequences inside of each other, of undefined length."""
    content = file_bytes(image_dataset(np.zeros((8, 8), np.uint8)))
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 2**32 - 1) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 2**32 - 1
    )
    meta = content[: 132 + 12 + struct.unpack_from("<I", content, 140)[0]]
    return "dicom", meta + sequence * 20_000


def many_elements() -> Bomb:
    content = file_bytes(image_dataset(np.zeros((8, 8), np.uint8)))
    meta = content[: 132 + 12 + struct.unpack_from("<I", content, 140)[0]]
    elements = b"".join(struct.pack("<HH2sH", 9 + 2 * (n >> 16), n & 0xFFFF, b"LO", 0) for n in range(400_000))
    return "dicom", meta + elements


def _nifti_head(shape: tuple[int, ...]) -> bytes:
    header = nibabel.Nifti1Header()
    header["dim"][: len(shape) + 1] = [len(shape), *shape]
    header["magic"], header["vox_offset"], header["datatype"], header["bitpix"] = b"n+1", 352, 2, 8
    return bytes(header.binaryblock) + bytes(4)


def nifti_gz() -> Bomb:
    return "nifti", zeros(1000, "gzip", head=_nifti_head((1000, 1000, 1000)))


def nifti_gz_of_lies() -> Bomb:
    return "nifti", zeros(1, "gzip", head=_nifti_head((32_767, 32_767, 32_767)))


def nifti_of_lies() -> Bomb:
    return "nifti", _nifti_head((32_767, 32_767, 100)) + bytes(1000)


def _png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IEND", b"")]
    body = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def png() -> Bomb:
    return "png", _png(30_000, 30_000, (b"IDAT", zeros(860, "zlib")))


def png_text() -> Bomb:
    text = [(b"zTXt", b"a\0\0" + zeros(512, "zlib"))] * 4
    return "png", _png(30_000, 1_700, *text, (b"IDAT", zeros(49, "zlib")))


def _tiff(width: int, height: int, packed: bytes, compression: int) -> bytes:
    entries = [
        (256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, compression), (262, 3, 1), (273, 4, 200), (277, 3, 1),
        (278, 4, height), (279, 4, len(packed)),
    ]  # fmt: skip
    rows = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + bytes(4)
    return head.ljust(200, b"\0") + packed


def tiff() -> Bomb:
    return "tiff", _tiff(40_000, 40_000, zeros(1525, "zlib"), 8)


def tiff_of_lies() -> Bomb:
    return "tiff", _tiff(2**31 - 1, 2**31 - 1, b"x", 1)


def tiff_directories() -> Bomb:
    """60,000 pages that are a few bytes each."""
    count = 60_000
    pages = b"".join(struct.pack("<HHHIII", 1, 256, 3, 1, 8, 8 + 18 * (n + 1)) for n in range(count - 1))
    return "tiff", b"II*\0" + struct.pack("<I", 8) + pages + struct.pack("<HHHIII", 1, 256, 3, 1, 8, 0)


def jpeg() -> Bomb:
    frame = io.BytesIO()
    Image.new("L", (8, 8)).save(frame, "JPEG")
    content = bytearray(frame.getvalue())
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", 65_500, 65_500)
    return "photo", bytes(content)


def _zip(*members: tuple[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in members:
            opened.writestr(name, data)
    return content.getvalue()


def _raw_zip(packed: bytes, claimed: int, *, entries: int = 1, step: int = 0) -> bytes:
    """A zip written by hand: ``entries`` members that lie ``step`` bytes apart in the same packed bytes."""
    fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0, 0, len(packed), claimed, 1, 0)
    local = b"PK\x03\x04" + fields + b"a" + packed
    rows = []
    for number in range(entries):
        name = f"{number:06}".encode() if entries > 1 else b"a"
        head = struct.pack("<HHHHHHIIIHH", 20, 20, 0, 8, 0, 0, 0, len(packed), claimed, len(name), 0)
        rows.append(b"PK\x01\x02" + head + struct.pack("<HHHII", 0, 0, 0, 0, step * number) + name)
    listing = b"".join(rows)
    end = struct.pack("<HHHHIIH", 0, 0, entries & 0xFFFF, entries & 0xFFFF, len(listing), len(local), 0)
    return local + listing + b"PK\x05\x06" + end


def zip_ratio() -> Bomb:
    return "zip", _raw_zip(zeros(1024, "raw"), 1024 * MIB)


def zip_of_lies() -> Bomb:
    return "zip", _raw_zip(zeros(1024, "raw"), 1000)


def zip_overlap() -> Bomb:
    return "zip", _raw_zip(np.random.default_rng(0).bytes(MIB), MIB, entries=10_000)


def zip_members() -> Bomb:
    return "zip", _raw_zip(b"\x03\x00", 0, entries=300_000)


def zip_in_zip() -> Bomb:
    return "study", _zip(("inner.zip", _raw_zip(zeros(1024, "raw"), 1024 * MIB)))


def ndjson_gz() -> Bomb:
    return "fhir", zeros(1024, "gzip", head=b'{"resourceType":"Patient"}\n')


def json_depth() -> Bomb:
    return "fhir", b'{"resourceType":"Bundle","entry":' + b"[" * 1_000_000


def xml_depth() -> Bomb:
    return "cda", b'<ClinicalDocument xmlns="urn:hl7-org:v3">' + b"<a>" * 1_000_000


def xml_laughs() -> Bomb:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    text = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">{entities}]>'
    return "cda", (text + '<ClinicalDocument xmlns="urn:hl7-org:v3">&a9;</ClinicalDocument>').encode()


def word_document() -> Bomb:
    with zipfile.ZipFile(io.BytesIO(docx(""))) as opened:
        members = [(name, opened.read(name)) for name in opened.namelist() if name != "word/document.xml"]
    return "docx", _zip(*members, ("word/document.xml", bytes(300 * MIB)))


def pdf_stream() -> Bomb:
    packed = zeros(1024, "zlib")
    body = f"<</Length {len(packed)}/Filter/FlateDecode>>\nstream\n".encode() + packed + b"\nendstream"
    return "pdf", pdf("", objects={5: body})


def pdf_chain() -> Bomb:
    """Packed twice: 1 GiB in a kilobyte or two."""
    packed = zlib.compress(zeros(1024, "zlib"), 9)
    dictionary = f"<</Length {len(packed)}/Filter[/FlateDecode/FlateDecode]>>\nstream\n".encode()
    return "pdf", pdf("", objects={5: dictionary + packed + b"\nendstream"})


def pdf_box() -> Bomb:
    return "pdf", pdf(DRAWN.format("x"), box="[0 0 1000000 1000000]")


def pdf_pages() -> Bomb:
    return "pdf", pdf(*[""] * 20_000)


def pdf_picture() -> Bomb:
    dictionary = "/Type/XObject/Subtype/Image/Width 40000/Height 40000/ColorSpace/DeviceGray/BitsPerComponent 8"
    packed = zeros(1525, "zlib")
    body = f"<</Length {len(packed)}/Filter/FlateDecode{dictionary}>>\nstream\n".encode() + packed + b"\nendstream"
    return "pdf", pdf("q 100 0 0 100 50 50 cm /X1 Do Q", objects={90: body, 91: stream(b"")})


def _sound(form: str, seconds: float = 1.0) -> bytearray:
    content = io.BytesIO()
    soundfile.write(content, np.sin(np.arange(int(16_000 * seconds)) / 5) / 2, 16_000, format=form)
    return bytearray(content.getvalue())


def wav() -> Bomb:
    content = _sound("WAV")
    place = content.index(b"data") + 4
    content[place : place + 4] = (0x7FFE0000).to_bytes(4, "little")
    return "wav", bytes(content)


def wav_channels() -> Bomb:
    content = _sound("WAV")
    content[22:24] = (1024).to_bytes(2, "little")
    return "wav", bytes(content)


def flac() -> Bomb:
    content = _sound("FLAC")
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    return "sound", bytes(content)


BOMBS: dict[str, Callable[[], Bomb]] = {
    bomb.__name__: bomb
    for bomb in (
        deflated_dicom, rle_dicom, jpeg_in_dicom, jpeg_2000_in_dicom, endless_frames, large_plane, nested_dicom,
        many_elements, nifti_gz, nifti_gz_of_lies, nifti_of_lies, png, png_text, tiff, tiff_of_lies, tiff_directories,
        jpeg, zip_ratio, zip_of_lies, zip_overlap, zip_members, zip_in_zip, ndjson_gz, json_depth, xml_depth,
        xml_laughs, word_document, pdf_stream, pdf_chain, pdf_box, pdf_pages, pdf_picture, wav, wav_channels, flac,
    )
}  # fmt: skip


def _read_study(path: Path) -> None:
    """As a verb would: unpack, list, and read what is not refused."""
    with unpacked(path) as folder:
        for series in find_study(folder).series:
            for flag in series.flags:
                if flag.code.startswith("E_"):
                    raise InputError(flag.text, fix="", code=flag.code)
        READERS["dicom"](folder)


def measured(path: Path, kind: str) -> dict[str, Any]:
    """Read one file in a forked child: code of the error, seconds of processor time, bytes above the start."""
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        try:
            (_read_study if kind in {"dicom", "study"} else READERS[kind])(path)
            outcome = "read"
        except MedvoxError as error:
            outcome = error.code
        except BaseException as error:
            outcome = type(error).__name__
        seconds, after = time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        told = {"outcome": outcome, "seconds": seconds, "peak_bytes": (after - before) * 1024}
        os.write(write_end, json.dumps(told).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as told:
        content = told.read()
    os.wait()
    return json.loads(content) if content else {"outcome": "crash", "seconds": 0, "peak_bytes": 0}


def main(folder: Path) -> None:
    """Write and read all bombs, one line of JSON for each."""
    for name, build in BOMBS.items():
        kind, content = build()
        path = folder / name
        path.write_bytes(content)
        del content
        print(
            json.dumps({"name": name, "kind": kind, "bytes": path.stat().st_size, **measured(path, kind)}), flush=True
        )
        path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
