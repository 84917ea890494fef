"""TIFF slides: a look at the directories before a decoder trusts them, and a reader for small untiled ones.

A backend of ``data/slide.py``. The look refuses what decoders pass silently (16 bits cut to 8) or die of (a tile or a
byte count larger than the memory). Source: TIFF 6.0 section 2, and the BigTIFF extension.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from medvox.data.limits import Limits
from medvox.data.slide_pyramid import PyramidFacts, Rgb, check_sizes, check_tile, over_limit, unreadable, wrong_format
from medvox.errors import BudgetError, MedvoxError
from medvox.types import Flag

BITS, TILE_WIDTH, TILE_HEIGHT, TILE_BYTES = 258, 322, 323, 325
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, ICC = 282, 283, 296, 34675
WANTED = {BITS, TILE_WIDTH, TILE_HEIGHT, TILE_BYTES}
INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # the field types that hold sizes and counts
UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0}  # inch, centimetre
MODES = {"RGB", "RGBA", "L", "1", "P", "YCbCr"}
MAX_DIRECTORIES = 256


def is_tiff(start: bytes) -> bool:
    """Whether the first bytes of a file are those of a TIFF or BigTIFF."""
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """How the numbers of the directories are stored: byte order, and the formats of offset, count and entry."""

    order: str
    offset: str
    count: str
    entry: str

    @property
    def inline_bytes(self) -> int:
        return struct.calcsize(self.order + self.offset)


def check_directories(path: Path, limits: Limits) -> None:
    """Refuse a tiled TIFF that must not reach a decoder.

    Raises:
        InputError: ``E_SLIDE_FORMAT``, other than 8 bits per channel; ``E_SLIDE_UNREADABLE``, broken directories.
        BudgetError: ``E_SLIDE_LIMIT``, a tile is too large.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            for tags in _directories(file, size):
                if TILE_WIDTH in tags:
                    _check_tags(path.name, tags, size, limits)
    except (OSError, struct.error, ValueError) as error:
        raise unreadable(path.name, f"its TIFF directories are broken ({type(error).__name__})") from error


def _check_tags(name: str, tags: dict[int, tuple[int, ...]], size: int, limits: Limits) -> None:
    bits = set(tags.get(BITS, (1,)))
    if bits != {8}:
        raise wrong_format(name, f"it stores {sorted(bits)} bits per channel; only 8 can be read without loss")
    check_tile(name, max(tags[TILE_WIDTH], default=0), max(tags.get(TILE_HEIGHT, ()), default=0), limits)
    if max(tags.get(TILE_BYTES, ()), default=0) > size:
        raise unreadable(name, "a tile is longer than the file")


def _directories(file: BinaryIO, size: int) -> Iterator[dict[int, tuple[int, ...]]]:
    """The wanted tags of each directory. Raises ValueError or struct.error where the structure is broken."""
    start = file.read(16)
    order = "<" if start[:2] == b"II" else ">"
    big = start[2:4] in (b"+\0", b"\0+")
    layout = (
        _Layout(order=order, offset="Q", count="Q", entry=f"{order}HHQ8s")
        if big
        else _Layout(order=order, offset="I", count="H", entry=f"{order}HHI4s")
    )
    (place,) = struct.unpack_from(order + layout.offset, start, 8 if big else 4)
    seen: set[int] = set()
    while place:
        if place in seen or len(seen) >= MAX_DIRECTORIES or place >= size:
            raise ValueError("directories form a loop or lie outside the file")
        seen.add(place)
        file.seek(place)
        (count,) = _read(file, order + layout.count)
        step = struct.calcsize(layout.entry)
        block = file.read(count * step) if count * step <= size else b""
        (following,) = _read(file, order + layout.offset)
        yield {
            tag: values
            for tag, kind, number, inline in struct.iter_unpack(layout.entry, block)
            if tag in WANTED and (values := _values(file, layout, (kind, number, inline), size)) is not None
        }
        place = following


def _values(file: BinaryIO, layout: _Layout, entry: tuple[int, int, bytes], size: int) -> tuple[int, ...] | None:
    kind, number, inline = entry
    if kind not in INTEGERS:
        return None
    form = f"{layout.order}{number}{INTEGERS[kind]}"
    length = struct.calcsize(form)
    if length > size:
        raise ValueError("a tag is longer than the file")
    if length <= layout.inline_bytes:
        return struct.unpack(form, inline[:length])
    file.seek(*struct.unpack(layout.order + layout.offset, inline))
    return _read(file, form)


def _read(file: BinaryIO, form: str) -> tuple[int, ...]:
    return struct.unpack(form, file.read(struct.calcsize(form)))


class FlatTiffPyramid:
    """A TIFF without tiles: one level, decoded as a whole, so small ones only.

    Raises:
        InputError: ``E_SLIDE_UNREADABLE``, ``E_SLIDE_FORMAT``.
        BudgetError: ``E_SLIDE_LIMIT``, more than ``limits.picture_pixels``.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of large pictures; the limit below decides
                with Image.open(path, formats=("TIFF",)) as picture:
                    self.facts = _facts_of(picture, path, limits)
                    self._pixels = _on_white(picture)
        except MedvoxError:
            raise
        except Image.DecompressionBombError as error:
            raise _too_large(path.name, limits) from error
        except Exception as error:  # Pillow's TIFF reader raises ten kinds for damaged files
            raise unreadable(path.name, f"the TIFF is damaged or incomplete ({type(error).__name__})") from error

    def region(self, corner_xy: tuple[int, int], level: int, size_xy: tuple[int, int]) -> Rgb:
        """Pixels of the only level, see Pyramid."""
        (left, top), (width, height) = corner_xy, size_xy
        return self._pixels[top : top + height, left : left + width]

    def close(self) -> None:
        """Nothing is open."""


def _facts_of(picture: Image.Image, path: Path, limits: Limits) -> PyramidFacts:
    tags = picture.tag_v2  # type: ignore[attr-defined]  # only TIFF images have it
    bits = set(tags.get(BITS, (1,)))
    if not bits <= {1, 8} or picture.mode not in MODES:
        raise wrong_format(path.name, f"it stores {sorted(bits)} bits per channel; only 8 can be read without loss")
    check_sizes(path.name, (picture.size,))
    if picture.width * picture.height > limits.picture_pixels:
        raise _too_large(path.name, limits)
    unit_um = UM_PER_UNIT.get(tags.get(RESOLUTION_UNIT, 2))
    per_unit = [float(tags.get(tag, 0)) for tag in (X_RESOLUTION, Y_RESOLUTION)]
    pages = getattr(picture, "n_frames", 1)
    text = f"The TIFF has {pages} pages; the first one is read."
    return PyramidFacts(
        vendor="tiff",
        sizes_xy=(picture.size,),
        mpp_xy_um=(unit_um / per_unit[0], unit_um / per_unit[1]) if unit_um and min(per_unit) > 0 else None,
        objective_power=None,
        associated=(),
        has_icc=ICC in tags,
        files=(path,),
        flags=(Flag(code="F_SLIDE_PAGES", text=text),) if pages > 1 else (),
    )


def _on_white(picture: Image.Image) -> Rgb:
    if picture.mode != "RGBA":
        return np.asarray(picture.convert("RGB"))
    opaque = Image.new("RGB", picture.size, (255, 255, 255))
    opaque.paste(picture, mask=picture.getchannel("A"))
    return np.asarray(opaque)


def _too_large(name: str, limits: Limits) -> BudgetError:
    what = f"a TIFF without tiles has to be decoded as a whole; the limit is {limits.picture_pixels} pixels"
    return over_limit(name, what, "Convert it to a tiled pyramid TIFF, or raise limits.picture_pixels.")
