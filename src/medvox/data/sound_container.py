"""First bytes -> which container of sound it is, and whether its structure reaches to its end. Before ``sound_blocks``.

libsndfile and FFmpeg guess among dozens of formats, some of them playlists that name other files; a format that is
not on this list is never handed to them. Both also read what is left of a file that was cut off, without a word. Knows
no codec and decodes nothing.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import BinaryIO, Literal

HEAD_BYTES = 4096
STREAMED_SIZE = 0x7FFF0000  # a writer to a pipe cannot know the size and declares at least this much
MAX_CHUNKS = 100_000
FLAC_FRAME_BYTES = 1024  # heads and checksums, and a tag behind the sound
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_OGG_PAGE = b"OggS\0"
_OGG_PAGE_BYTES, _OGG_LAST = 65_307, 4

End = Literal["whole", "cut off", "unmarked"]


class SoundContainer(StrEnum):
    """The containers that are read; the value is FFmpeg's name of the demuxer."""

    WAV = "wav"
    AIFF = "aiff"
    FLAC = "flac"
    OGG = "ogg"
    MP3 = "mp3"
    AAC = "aac"
    AMR = "amr"
    MP4 = "mov"
    WEBM = "matroska"


def sound_container(head: bytes) -> SoundContainer | None:
    """The container that the first bytes of a file show; None for anything else."""
    if head[:4] in {b"RIFF", b"RF64"} and head[8:12] == b"WAVE":
        return SoundContainer.WAV
    if head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}:
        return SoundContainer.AIFF
    if head[4:8] == b"ftyp":
        return SoundContainer.MP4
    starts = {
        _EBML: SoundContainer.WEBM,
        b"fLaC": SoundContainer.FLAC,
        b"OggS": SoundContainer.OGG,
        b"#!AM": SoundContainer.AMR,
    }
    if head[:4] in starts:
        return starts[head[:4]]
    return SoundContainer.MP3 if head[:3] == b"ID3" else _frame_sync(head)


def end_of(container: SoundContainer, file: BinaryIO) -> End:
    """Whether the file reaches to where its structure says that it ends.

    ``unmarked`` is sound that goes on behind its stated end, or that states none. MP3, AAC and AMR have no such
    structure and count as whole; what they promise is compared with what they hold when decoded.
    """
    size = file.seek(0, os.SEEK_END)
    if container in {SoundContainer.WAV, SoundContainer.AIFF}:
        return _end_of_chunks(file, size)
    if container is SoundContainer.OGG:
        return _end_of_pages(file, size)
    if container is SoundContainer.MP4:
        return _end_of_boxes(file, size)
    if container is SoundContainer.WEBM:
        return _end_of_segment(file, size)
    if container is SoundContainer.FLAC:
        return _end_of_flac(file, size)
    return "whole"


def flac_samples(head: bytes) -> int:
    """The length of a FLAC in samples by its STREAMINFO (RFC 9639 8.2); 0 where a writer to a pipe did not know it."""
    return int.from_bytes(head[21:26], "big") & (2**36 - 1)


def _frame_sync(head: bytes) -> SoundContainer | None:
    """MPEG audio and ADTS have no magic, only frame headers (ISO 11172-3 2.4.2.3, ISO 13818-7 6.2)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        return SoundContainer.AAC if (head[2] >> 2) & 0xF < 13 else None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    rate, speed = head[2] >> 4, head[2] >> 2 & 3
    valid = version != 1 and layer in {1, 2} and rate not in {0, 15} and speed != 3  # layer I would be UTF-16's mark
    return SoundContainer.MP3 if valid else None


def _end_of_chunks(file: BinaryIO, size: int) -> End:
    """Whether a RIFF or AIFF holds as many bytes of sound as its data chunk says."""
    head = _read(file, 0, 4)
    little = head != b"FORM"
    long_size = place = 12
    for _ in range(MAX_CHUNKS):
        chunk = _read(file, place, 36)
        if len(chunk) < 8:
            return "cut off"
        length = int.from_bytes(chunk[4:8], "little" if little else "big")
        if chunk[:4] == b"ds64":
            long_size = int.from_bytes(chunk[16:24], "little")
        if chunk[:4] in {b"data", b"SSND"}:
            if head == b"RF64" and length == 0xFFFFFFFF:
                length = long_size
            elif length >= STREAMED_SIZE:
                return "whole"
            end = place + 8 + length + length % 2
            if end - length % 2 > size:
                return "cut off"
            return "whole" if _is_chunk_name(_read(file, end, 4)) else "unmarked"
        place += 8 + length + length % 2
    return "cut off"


def _is_chunk_name(name: bytes) -> bool:
    return not name.strip(b"\0") or (name.isascii() and name.decode().isprintable())


def _end_of_flac(file: BinaryIO, size: int) -> End:
    """Whether there is more packed sound than the stated number of samples would fill unpacked."""
    head = _read(file, 0, 26)
    samples, place = flac_samples(head), 4
    bits = int.from_bytes(head[20:22], "big")  # rate 4 (its end), channels - 1: 3, bits per sample - 1: 5
    for _ in range(MAX_CHUNKS):
        block = _read(file, place, 4)
        if len(block) < 4:
            return "cut off"
        place += 4 + int.from_bytes(block[1:], "big")
        if block[0] & 0x80:
            break
    unpacked_bytes = samples * ((bits >> 9 & 7) + 1) * ((bits >> 4 & 31) + 1) // 8
    return "unmarked" if samples and size - place > unpacked_bytes + FLAC_FRAME_BYTES else "whole"


def _end_of_pages(file: BinaryIO, size: int) -> End:
    """RFC 3533: the last page is complete and carries the mark of the last page."""
    tail = _read(file, max(0, size - _OGG_PAGE_BYTES), _OGG_PAGE_BYTES)
    place = tail.rfind(_OGG_PAGE)
    page = tail[max(place, 0) :]
    if place < 0 or len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]):
        return "cut off"
    return "whole" if page[5] & _OGG_LAST else "unmarked"


def _end_of_boxes(file: BinaryIO, size: int) -> End:
    """ISO 14496-12: the outermost boxes fill the file."""
    place = 0
    for _ in range(MAX_CHUNKS):
        if place == size:
            return "whole"
        head = _read(file, place, 16)
        length = int.from_bytes(head[:4], "big")
        length = {0: size - place, 1: int.from_bytes(head[8:16], "big")}.get(length, length)
        if len(head) < 8 or length < 8 or place + length > size:
            return "cut off"
        place += length
    return "cut off"


def _end_of_segment(file: BinaryIO, size: int) -> End:
    """RFC 8794: the segment behind the EBML head states its size, unless it was written as it was recorded."""
    head = _read(file, 0, HEAD_BYTES)
    place, length = _ebml_size(head, 4)
    start = place + (length or 0)
    if head[start : start + 4] != _SEGMENT:
        return "cut off"
    place, length = _ebml_size(head, start + 4)
    if length is None:
        return "unmarked"
    return "cut off" if place + length > size else "whole"


def _ebml_size(content: bytes, place: int) -> tuple[int, int | None]:
    """A number of variable length: where it ends, and its value; None for "unknown"."""
    first = content[place] if place < len(content) else 0
    count = 9 - first.bit_length()
    value = int.from_bytes(content[place : place + count], "big") & ((1 << 7 * count) - 1)
    return place + count, None if value == (1 << 7 * count) - 1 else value


def _read(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)
