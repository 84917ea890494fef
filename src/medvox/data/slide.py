"""A whole slide: its levels, its micrometres per pixel, and its pixels at any scale, without reading all of it.

Stage one of the path; ``encode/slide.py`` is next. Opens OpenSlide's formats, DICOM slides and plain TIFF, and decides
what the stated pixel size is worth. Colour is given as stored: no ICC profile is applied. Label and macro pictures are
named, never read: they may show patient text. Knows no model.

A slide stays on disk and is read in place, so ``limits.file_bytes`` does not hold; regions and tiles are limited.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
from PIL import Image

from medvox.data.limits import DEFAULT_LIMITS, MIB, Limits
from medvox.data.slide_dicom import DicomPyramid, DicomSlide, find_slide, is_dicom
from medvox.data.slide_openslide import OpenSlidePyramid, vendor_of
from medvox.data.slide_pyramid import Pyramid, PyramidFacts, Rgb, over_limit, unreadable, wrong_format
from medvox.data.slide_tiff import FlatTiffPyramid, check_directories, is_tiff
from medvox.data.volume import Source
from medvox.errors import InputError, UsageError
from medvox.types import Flag

MPP_RANGE_UM = (0.05, 50.0)  # outside, a stated size is a default or an error: 72 dpi is 353 um
ANISOTROPY = 0.01  # x and y may differ by this share
POWER_RATIO = (0.4, 2.5)  # mpp times objective over 10 um; cameras and adapters move it, typing errors more
WHOLE_HASH_BYTES = 256 * MIB
BLOCK_EDGE_PX = 2_000  # of the piece of a level that is held at once while a region is reduced
REDUCED_PIXELS = 5_000_000_000  # source pixels that may be read for one reduced region: minutes of decoding
SAME_SCALE = 1.001  # closer to a level than this: its pixels are taken as they are


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """One level of the pyramid; ``downsample`` is the size of level 0 over this one's, the mean of both directions."""

    width: int
    height: int
    downsample: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Slide:
    """An open slide. Close it, or use it in a ``with`` block. Threads may read from it at the same time.

    Attributes:
        name: name of the file or folder.
        vendor: the format: OpenSlide's name, ``dicom``, or ``tiff`` for a flat TIFF.
        levels: the finest first.
        mpp_um: micrometres per pixel of level 0; None where the file states none that can be right.
        objective_power: nominal magnification of the objective, where stated.
        associated: names of further pictures in the file (``label``, ``macro``, ``thumbnail``); never read.
        has_icc: whether the file has a colour profile. It is not applied.
        sources: the files of the levels. Above 256 MiB the digest is ``sampled:`` and the SHA-256 of the size and of
            the first, middle and last MiB, since reading a slide as a whole costs more than using it.
        flags: what a reader of the result must know.
        pyramid: the backend.
        limits: hold for every region.
    """

    name: str
    vendor: str
    levels: tuple[Level, ...]
    mpp_um: float | None
    objective_power: float | None
    associated: tuple[str, ...]
    has_icc: bool
    sources: tuple[Source, ...]
    flags: tuple[Flag, ...]
    pyramid: Pyramid = field(repr=False)
    limits: Limits = field(repr=False)

    def __enter__(self) -> Slide:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; twice does no harm."""
        self.pyramid.close()

    def read_region(self, corner_xy: tuple[int, int], level: int, size_xy: tuple[int, int]) -> Rgb:
        """Pixels of a level as they are, (R, C, 3) uint8; holes, and what lies outside the slide, are white.

        Args:
            corner_xy: upper left corner in pixels of level 0.
            level: 0 is the finest.
            size_xy: width and height in pixels of the level.

        Raises:
            UsageError: ``E_SLIDE_REGION``, no such level, an empty region, or one that lies outside the slide.
            BudgetError: ``E_SLIDE_LIMIT``, more than ``limits.region_pixels``.
            InputError: ``E_SLIDE_UNREADABLE``, the pixels are damaged.
        """
        if not 0 <= level < len(self.levels):
            raise _bad_region(f"{self.name} has levels 0 to {len(self.levels) - 1}, not {level}")
        self._check_size(size_xy)
        scale = self.levels[level].downsample
        corner = (round(corner_xy[0] / scale), round(corner_xy[1] / scale))
        self._check_inside(corner, level, size_xy)
        return self._region(corner, level, size_xy)

    def read_scaled(self, corner_xy: tuple[float, float], downsample: float, size_xy: tuple[int, int]) -> Rgb:
        """A region at any scale, (R, C, 3) uint8: from the next finer level, reduced with Pillow's bilinear filter.

        Read in blocks, so that memory stays near the size of the result.

        Args:
            corner_xy: upper left corner in pixels of level 0.
            downsample: pixels of level 0 per pixel of the result; at least 1, nothing is enlarged.
            size_xy: width and height of the result.

        Raises:
            UsageError: ``E_SLIDE_REGION``, a downsample below 1, or see :meth:`read_region`.
            BudgetError: ``E_SLIDE_LIMIT``, the result is too large, or no level is coarse enough.
            InputError: ``E_SLIDE_UNREADABLE``.
        """
        if not downsample >= 1:
            raise _bad_region(f"a downsample of {downsample:g} would enlarge {self.name}")
        level = self._level_for(downsample)
        ratio = downsample / self.levels[level].downsample
        x, y = (corner / self.levels[level].downsample for corner in corner_xy)
        width, height = size_xy
        self._check_size(size_xy)
        self._check_inside((x, y), level, (width * ratio, height * ratio))
        if ratio <= SAME_SCALE:
            return self._region((round(x), round(y)), level, size_xy)
        source_pixels = width * height * ratio**2
        if source_pixels > REDUCED_PIXELS or 9 * ratio**2 > self.limits.region_pixels:
            what = f"{source_pixels:.2g} pixels of level {level} would have to be read for one reduced region"
            raise over_limit(self.name, what, "Convert the slide to a pyramid with lower levels.")
        result = np.empty((height, width, 3), np.uint8)
        step = max(1, int(BLOCK_EDGE_PX / ratio))
        for row in range(0, height, step):
            for column in range(0, width, step):
                size = (min(step, width - column), min(step, height - row))
                block = self._reduced((x + column * ratio, y + row * ratio), level, ratio, size)
                result[row : row + step, column : column + step] = block
        return result

    def overview(self, max_side: int = 1024) -> tuple[Rgb, float]:
        """The whole slide with at most ``max_side`` pixels along its longer side, and the downsample of it."""
        top = self.levels[0]
        downsample = max(1.0, max(top.width, top.height) / max_side)
        size = (max(1, int(top.width / downsample)), max(1, int(top.height / downsample)))
        return self.read_scaled((0, 0), downsample, size), downsample

    def _level_for(self, downsample: float) -> int:
        """The coarsest level that is at least as fine."""
        fine = [index for index, level in enumerate(self.levels) if level.downsample <= downsample * SAME_SCALE]
        return max(fine, key=lambda index: self.levels[index].downsample)

    def _reduced(self, corner_xy: tuple[float, float], level: int, ratio: float, size_xy: tuple[int, int]) -> Rgb:
        """One block of a reduced region; ``corner_xy`` in pixels of the level."""
        start = [math.floor(corner - ratio) for corner in corner_xy]  # the filter looks one result pixel around
        stop = [math.ceil(corner + ratio * (size + 1)) for corner, size in zip(corner_xy, size_xy)]
        bounds = (self.levels[level].width, self.levels[level].height)
        inner_start = [min(max(0, at), math.floor(corner)) for at, corner in zip(start, corner_xy)]
        inner_stop = [
            max(min(at, bound), math.ceil(corner + ratio * size))
            for at, bound, corner, size in zip(stop, bounds, corner_xy, size_xy)
        ]
        pixels = self._region(
            (inner_start[0], inner_start[1]), level, (inner_stop[0] - inner_start[0], inner_stop[1] - inner_start[1])
        )
        left, top = (corner - at for corner, at in zip(corner_xy, inner_start))
        height, width = pixels.shape[:2]
        box = (left, top, min(left + ratio * size_xy[0], width), min(top + ratio * size_xy[1], height))
        return np.asarray(Image.fromarray(pixels).resize(size_xy, Image.Resampling.BILINEAR, box=box))

    def _region(self, corner_xy: tuple[int, int], level: int, size_xy: tuple[int, int]) -> Rgb:
        """Pixels of a level, white outside; ``corner_xy`` in pixels of the level."""
        bounds = (self.levels[level].width, self.levels[level].height)
        first = [max(0, corner) for corner in corner_xy]
        last = [min(bound, corner + size) for bound, corner, size in zip(bounds, corner_xy, size_xy)]
        size = (last[0] - first[0], last[1] - first[1])
        if size == tuple(size_xy):
            return self.pyramid.region((first[0], first[1]), level, size)
        pixels = np.full((size_xy[1], size_xy[0], 3), 255, np.uint8)
        if min(size) > 0:
            left, top = (at - corner for at, corner in zip(first, corner_xy))
            inside = self.pyramid.region((first[0], first[1]), level, size)
            pixels[top : top + size[1], left : left + size[0]] = inside
        return pixels

    def _check_inside(self, corner_xy: tuple[float, float], level: int, size_xy: tuple[float, float]) -> None:
        bounds = (self.levels[level].width, self.levels[level].height)
        if any(corner >= bound or corner + size <= 0 for corner, size, bound in zip(corner_xy, size_xy, bounds)):
            raise _bad_region(f"the region lies outside level {level} of {self.name}")

    def _check_size(self, size_xy: tuple[int, int]) -> None:
        width, height = size_xy
        if min(width, height) < 1:
            raise _bad_region(f"a region of {width} x {height} pixels is empty")
        if width * height > self.limits.region_pixels:
            what = f"a region of {width} x {height} px; the limit is {self.limits.region_pixels} pixels"
            raise over_limit(self.name, what, "Read a smaller region or a coarser level.")


def open_slide(path: str | Path, *, mpp: float | None = None, limits: Limits = DEFAULT_LIMITS) -> Slide:
    """Open a slide: a file that OpenSlide knows, a DICOM file or folder, or a TIFF.

    Args:
        path: the file; for DICOM also the folder of one slide.
        mpp: micrometres per pixel of level 0, where the file states none or a wrong one.
        limits: bounds on regions, tiles and numbers of files.

    Raises:
        UsageError: ``E_SLIDE_MPP``, the given micrometres per pixel make no sense.
        InputError: ``E_SLIDE_UNREADABLE``, ``E_SLIDE_FORMAT``, ``E_DICOM_UNREADABLE``.
        BudgetError: ``E_SLIDE_LIMIT``, ``E_DICOM_LIMIT``.
    """
    path = Path(path)
    if mpp is not None and not MPP_RANGE_UM[0] < mpp <= MPP_RANGE_UM[1]:
        raise UsageError(
            f"{mpp:g} micrometres per pixel cannot be right for a slide",
            code="E_SLIDE_MPP",
            fix=f"Give a number above {MPP_RANGE_UM[0]} and up to {MPP_RANGE_UM[1]:g}; a 20x scan has about 0.5.",
        )
    pyramid = _open_pyramid(path, limits)
    try:
        facts = pyramid.facts
        mpp_um, mpp_flags = _judge_mpp(facts, mpp)
        width, height = facts.sizes_xy[0]
        return Slide(
            name=path.name,
            vendor=facts.vendor,
            levels=tuple(Level(width=w, height=h, downsample=(width / w + height / h) / 2) for w, h in facts.sizes_xy),
            mpp_um=mpp_um,
            objective_power=facts.objective_power,
            associated=facts.associated,
            has_icc=facts.has_icc,
            sources=tuple(_source(file) for file in facts.files),
            flags=(*facts.flags, *mpp_flags, *_further_flags(facts, mpp_um)),
            pyramid=pyramid,
            limits=limits,
        )
    except BaseException:
        pyramid.close()
        raise


def _open_pyramid(path: Path, limits: Limits) -> Pyramid:
    """Choose the backend by content."""
    try:
        folder = path.is_dir()
        start = b"" if folder else _first_bytes(path)
    except (OSError, ValueError) as error:
        raise unreadable(path.name, f"the file cannot be opened ({type(error).__name__})") from error
    if folder or is_dicom(start):
        return _open_dicom(find_slide(path, limits), limits)
    vendor = vendor_of(path)
    if is_tiff(start):
        if vendor != "hamamatsu":  # NDPI bends the TIFF rules
            check_directories(path, limits)
        if vendor is None:
            return FlatTiffPyramid(path, limits)
    if vendor is None:
        raise wrong_format(path.name, "it is no slide in a known format")
    return OpenSlidePyramid(path, limits)


def _open_dicom(slide: DicomSlide, limits: Limits) -> Pyramid:
    """OpenSlide where it sees exactly the levels that were found; it is faster. Else frame by frame."""
    own = DicomPyramid(slide)
    if any(flag.code == "F_SLIDE_TWINS" for flag in slide.flags):
        return own
    try:
        fast = OpenSlidePyramid(own.facts.files[0], limits)
    except InputError:
        return own
    if fast.facts.sizes_xy != own.facts.sizes_xy:
        fast.close()
        return own
    fast.facts = own.facts
    return fast


def _first_bytes(path: Path) -> bytes:
    if not path.is_file():  # a device or a pipe never ends
        raise FileNotFoundError
    with path.open("rb") as file:
        return file.read(256)


def _source(path: Path) -> Source:
    """Name and digest of a file; see ``Slide.sources``."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size <= WHOLE_HASH_BYTES:
                return Source(name=path.name, sha256=hashlib.file_digest(file, "sha256").hexdigest())
            digest = hashlib.sha256(str(size).encode())
            for place in (0, (size - MIB) // 2, size - MIB):
                file.seek(place)
                digest.update(file.read(MIB))
    except OSError as error:
        raise unreadable(path.name, f"the file cannot be read ({type(error).__name__})") from error
    return Source(name=path.name, sha256=f"sampled:{digest.hexdigest()}")


def _judge_mpp(facts: PyramidFacts, override: float | None) -> tuple[float | None, tuple[Flag, ...]]:
    """The micrometres per pixel to go on with, and what must be known about them."""
    stated = facts.mpp_xy_um
    told = "none" if stated is None else f"{stated[0]:.4g} x {stated[1]:.4g}"
    if override is not None:
        text = f"The pixel size was given by the user as {override:g} um per pixel; the file states {told}."
        return override, (Flag(code="F_SLIDE_MPP_OVERRIDDEN", text=text),)
    if stated is None:
        text = "The file does not state its pixel size; magnifications and lengths are unknown."
        return None, (Flag(code="F_SLIDE_MPP_UNKNOWN", text=text),)
    if not all(MPP_RANGE_UM[0] < value <= MPP_RANGE_UM[1] for value in stated):  # also where not finite
        text = f"The file states {told} um per pixel, which no slide has; its pixel size counts as unknown."
        return None, (Flag(code="F_SLIDE_MPP_UNKNOWN", text=text),)
    mean = math.sqrt(stated[0] * stated[1])
    if abs(stated[0] - stated[1]) <= ANISOTROPY * mean:
        return mean, ()
    text = f"Pixels are not square: {told} um; their geometric mean, {mean:.4g} um, is used for both directions."
    return mean, (Flag(code="F_SLIDE_MPP_ANISOTROPIC", text=text),)


def _further_flags(facts: PyramidFacts, mpp_um: float | None) -> list[Flag]:
    flags = []
    power = facts.objective_power
    if mpp_um and power and power > 0 and not POWER_RATIO[0] <= mpp_um * power / 10 <= POWER_RATIO[1]:
        text = f"{mpp_um:.4g} um per pixel do not fit an objective of {power:g}x; one of the two is wrong."
        flags.append(Flag(code="F_SLIDE_MPP_POWER", text=text))
    if {"label", "macro"} & set(facts.associated):
        text = (
            "The file has a picture of the slide's label or of the whole glass, which may show patient text; not read."
        )
        flags.append(Flag(code="F_SLIDE_LABEL", text=text))
    return flags


def _bad_region(why: str) -> UsageError:
    return UsageError(why, code="E_SLIDE_REGION", fix="Ask for a region inside the slide, at an existing level.")
