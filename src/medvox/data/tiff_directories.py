"""The tag directories of a TIFF or BigTIFF, without pixels. Used to tell a slide from a picture.

Follows TIFF 6.0 section 2 and the BigTIFF extension. Knows no vendor and decodes nothing.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

IMAGE_WIDTH, IMAGE_LENGTH, IMAGE_DESCRIPTION, MAKE, SOFTWARE, TILE_WIDTH, XMP, NDPI = (
    256, 257, 270, 271, 305, 322, 700, 65420,
)  # fmt: skip
MAX_DIRECTORIES, MAX_ENTRIES, MAX_TEXT_BYTES = 64, 1024, 4096
_ORDERS = {b"II": "<", b"MM": ">"}
_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # BYTE, SHORT, LONG, LONG8


@dataclass(frozen=True, kw_only=True, slots=True)
class TiffDirectory:
    """One image of a TIFF: its numbers (first value of each) and the heads of its texts, by tag."""

    numbers: dict[int, int]
    texts: dict[int, bytes]

    @property
    def is_tiled(self) -> bool:
        """Whether the image is stored in tiles."""
        return TILE_WIDTH in self.numbers


def is_tiff(head: bytes) -> bool:
    """Whether the first four bytes are those of a TIFF or BigTIFF."""
    order = _ORDERS.get(head[:2])
    return order is not None and len(head) >= 4 and struct.unpack_from(order + "H", head, 2)[0] in {42, 43}


def tiff_directories(file: BinaryIO) -> Iterator[TiffDirectory]:
    """The directories in the order of the chain; ends silently where the file is damaged, at a loop or at 64."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(16)
    if not is_tiff(head):
        return
    order = _ORDERS[head[:2]]
    big = struct.unpack_from(order + "H", head, 2)[0] == 43
    place = _number(head[8:16] if big else head[4:8], order)
    seen: set[int] = set()
    while 0 < place < size and place not in seen and len(seen) < MAX_DIRECTORIES:
        seen.add(place)
        file.seek(place)
        count = _number(file.read(8 if big else 2), order)
        entry_bytes = 20 if big else 12
        if not 0 < count <= MAX_ENTRIES:
            return
        entries = file.read(count * entry_bytes)
        following = file.read(8 if big else 4)
        if len(entries) < count * entry_bytes:
            return
        yield _directory(
            file, [entries[start : start + entry_bytes] for start in range(0, len(entries), entry_bytes)], order, size
        )
        place = _number(following, order)


def _directory(file: BinaryIO, entries: list[bytes], order: str, size: int) -> TiffDirectory:
    numbers: dict[int, int] = {}
    texts: dict[int, bytes] = {}
    for entry in entries:
        tag, kind = struct.unpack_from(order + "HH", entry)
        wide = len(entry) == 20
        count = _number(entry[4:12] if wide else entry[4:8], order)
        value = entry[12:] if wide else entry[8:]
        if kind in _NUMBERS and count >= 1:
            numbers[tag] = struct.unpack_from(order + _NUMBERS[kind], value.ljust(8, b"\0"))[0]
        if tag in {IMAGE_DESCRIPTION, MAKE, SOFTWARE, XMP}:
            if count > len(value):
                file.seek(min(_number(value, order), size))
                value = file.read(min(count, MAX_TEXT_BYTES))
            texts[tag] = value[:count]
    return TiffDirectory(numbers=numbers, texts=texts)


def _number(content: bytes, order: str) -> int:
    """An unsigned number of 2, 4 or 8 bytes; 0 where they are missing."""
    return int.from_bytes(content, "little" if order == "<" else "big") if len(content) in {2, 4, 8} else 0
