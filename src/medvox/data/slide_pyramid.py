"""What the slide backends (OpenSlide, DICOM frames, flat TIFF) give to ``data/slide.py``: facts and pixels of levels.

Knows no file format and judges nothing but sizes; ``slide.py`` makes the Slide.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medvox.data.limits import Limits
from medvox.errors import BudgetError, InputError
from medvox.types import Flag

Rgb = NDArray[np.uint8]  # (R, C, 3)
MAX_SIDE_PX = 4_000_000  # ten times the largest slide at 100x; keeps coordinates far from overflow
MAX_LEVELS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class PyramidFacts:
    """What the files of a slide state. Absent values are None or empty; nothing is filled in.

    Attributes:
        vendor: the format, in OpenSlide's words; ``tiff`` for a flat TIFF.
        sizes_xy: (width, height) of every level, the finest first.
        mpp_xy_um: micrometres per pixel of the finest level, along x and y.
        objective_power: nominal magnification of the objective.
        associated: names of further pictures in the files (``label``, ``macro``); they are never read.
        has_icc: whether a colour profile is there.
        files: the files that hold the levels, the named one first.
        flags: what a reader of the pixels must know.
    """

    vendor: str
    sizes_xy: tuple[tuple[int, int], ...]
    mpp_xy_um: tuple[float, float] | None
    objective_power: float | None
    associated: tuple[str, ...]
    has_icc: bool
    files: tuple[Path, ...]
    flags: tuple[Flag, ...] = ()


class Pyramid(Protocol):
    """An open slide, as a backend sees it."""

    @property
    def facts(self) -> PyramidFacts:
        """What the files state."""

    def region(self, corner_xy: tuple[int, int], level: int, size_xy: tuple[int, int]) -> Rgb:
        """Pixels of a level; ``corner_xy`` counts in pixels of that level. Missing pixels are white.

        The caller keeps the region inside the level and below the limits.
        """

    def close(self) -> None:
        """Give the files back; twice does no harm."""


def unreadable(name: str, why: str) -> InputError:
    """The error for a damaged, truncated or missing slide."""
    return InputError(
        f"{name} cannot be read as a slide: {why}",
        code="E_SLIDE_UNREADABLE",
        fix="Copy or export the slide again; all files of the slide must be complete and lie together.",
    )


def wrong_format(name: str, why: str) -> InputError:
    """The error for a file that is no slide, or a kind of slide that is not supported."""
    return InputError(
        f"{name}: {why}",
        code="E_SLIDE_FORMAT",
        fix="Give a brightfield slide with 8 bits per channel: SVS, NDPI, MRXS, SCN, BIF, tiled TIFF or DICOM.",
    )


def over_limit(name: str, what: str, fix: str) -> BudgetError:
    """The error for a slide or a region that is larger than the limits allow."""
    return BudgetError(f"{name}: {what}", code="E_SLIDE_LIMIT", fix=fix)


def check_sizes(name: str, sizes_xy: tuple[tuple[int, int], ...]) -> None:
    """Refuse level sizes that no slide has.

    Raises:
        InputError: ``E_SLIDE_UNREADABLE``, no level, or an empty one.
        BudgetError: ``E_SLIDE_LIMIT``, more or larger levels than any scanner writes.
    """
    if not sizes_xy or min(min(size) for size in sizes_xy) < 1:
        raise unreadable(name, "it has no level with pixels")
    if len(sizes_xy) > MAX_LEVELS or max(max(size) for size in sizes_xy) > MAX_SIDE_PX:
        widest = max(max(size) for size in sizes_xy)
        what = f"{len(sizes_xy)} levels of up to {widest} px; the limits are {MAX_LEVELS} and {MAX_SIDE_PX} px"
        raise over_limit(name, what, "Check the file: no scanner writes such a slide.")


def check_tile(name: str, width: int, height: int, limits: Limits) -> None:
    """Refuse a storage unit that would have to be decoded as a whole and is larger than a region may be.

    Raises:
        BudgetError: ``E_SLIDE_LIMIT``.
    """
    if width * height > limits.region_pixels:
        what = f"a tile has {width} x {height} px, the limit is {limits.region_pixels} pixels"
        raise over_limit(
            name, what, "Write the slide again with tiles of 256 to 1024 px, or raise limits.region_pixels."
        )
