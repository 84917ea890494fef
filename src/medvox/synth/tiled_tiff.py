"""A small writer of pyramidal tiled TIFF, the container of most slides. Tiles that are equal share their bytes.

Used by ``synth/slide.py``. Source: TIFF 6.0 sections 2 and 15; JPEG tiles as in TIFF technical note 2.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rgb = NDArray[np.uint8]
Compression = Literal["jpeg", "deflate"]
SHORT, LONG, RATIONAL = 3, 4, 5
RGB, YCBCR, JPEG, DEFLATE, CENTIMETRE = 2, 6, 7, 8, 3
UM_PER_CM = 10_000
FIRST_LINK = 4  # where the offset of the first directory goes
ENTRY = struct.Struct("<HHI4s")


class TiledTiff:
    """An open file; write the levels from the finest to the coarsest. The pixel size is written as resolution."""

    def __init__(self, path: Path, *, compression: Compression, tile_px: int) -> None:
        self._file = path.open("wb")
        self._compression, self._tile_px = compression, tile_px
        self._file.write(struct.pack("<2sHI", b"II", 42, 0))
        self._link = FIRST_LINK

    def __enter__(self) -> TiledTiff:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write_level(self, tiles: Iterable[tuple[Rgb, int | None]], size_xy: tuple[int, int], mpp_um: float) -> None:
        """Write one level.

        Args:
            tiles: in row order; tiles that come with the same number are equal and are written once.
            size_xy: width and height of the level in pixels.
            mpp_um: micrometres per pixel of the level.
        """
        shared: dict[int, tuple[int, int]] = {}
        places = []
        for pixels, number in tiles:
            if number in shared:
                places.append(shared[number])
                continue
            places.append(self._write_tile(pixels))
            if number is not None:
                shared[number] = places[-1]
        self._write_directory(places, size_xy, mpp_um)

    def _write_tile(self, pixels: Rgb) -> tuple[int, int]:
        if self._compression == "jpeg":
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "JPEG", quality=85, subsampling="4:2:0")
            content = buffer.getvalue()
        else:
            content = zlib.compress(pixels.tobytes(), 6)
        start = self._file.tell()
        self._file.write(content)
        return start, len(content)

    def _write_directory(self, places: list[tuple[int, int]], size_xy: tuple[int, int], mpp_um: float) -> None:
        jpeg = self._compression == "jpeg"
        per_cm = (round(1_000 * UM_PER_CM / mpp_um), 1_000)
        tags: list[tuple[int, int, tuple[int, ...]]] = [
            (254, LONG, (int(self._link != FIRST_LINK),)),  # 1: a reduced version of another level
            (256, LONG, (size_xy[0],)),
            (257, LONG, (size_xy[1],)),
            (258, SHORT, (8, 8, 8)),
            (259, SHORT, (JPEG if jpeg else DEFLATE,)),
            (262, SHORT, (YCBCR if jpeg else RGB,)),
            (277, SHORT, (3,)),
            (282, RATIONAL, per_cm),
            (283, RATIONAL, per_cm),
            (284, SHORT, (1,)),
            (296, SHORT, (CENTIMETRE,)),
            (322, LONG, (self._tile_px,)),
            (323, LONG, (self._tile_px,)),
            (324, LONG, tuple(start for start, _ in places)),
            (325, LONG, tuple(length for _, length in places)),
            *([(530, SHORT, (2, 2))] if jpeg else []),  # chroma subsampling
        ]
        entries = b"".join(self._entry(*tag) for tag in tags)
        self._file.write(bytes(self._file.tell() % 2))
        start = self._file.tell()
        self._file.write(struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0))
        self._file.seek(self._link)
        self._file.write(struct.pack("<I", start))
        self._link = self._file.seek(0, io.SEEK_END) - 4

    def _entry(self, tag: int, kind: int, values: tuple[int, ...]) -> bytes:
        """A directory entry; a value of more than four bytes is written to the file at once."""
        content = struct.pack(f"<{len(values)}{'H' if kind == SHORT else 'I'}", *values)
        count = 1 if kind == RATIONAL else len(values)
        if len(content) > 4:
            self._file.write(bytes(self._file.tell() % 2))
            place = self._file.tell()
            self._file.write(content)
            content = struct.pack("<I", place)
        return ENTRY.pack(tag, kind, count, content)
