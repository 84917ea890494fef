"""DICOM slides: which files are the levels of one slide, what they state, and their pixels tile by tile.

A backend of ``data/slide.py``, for the transfer syntaxes and layouts that OpenSlide refuses (JPEG-LS, RLE, implicit
little endian, two files of the same level side by side). Source: DICOM PS3.3 A.32.8 (VL Whole Slide Microscopy Image),
C.7.6.17 (tiled organisation) and C.7.6.16 (concatenations).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.uid import VLWholeSlideMicroscopyImageStorage

from medvox.data.dicom_file import quiet_pydicom, read_dataset_file
from medvox.data.limits import MIB, Limits
from medvox.data.slide_dicom_frames import NATIVE, SUPPORTED, Encoding, Frames
from medvox.data.slide_pyramid import PyramidFacts, Rgb, check_sizes, check_tile, over_limit, unreadable, wrong_format
from medvox.errors import MedvoxError
from medvox.types import Flag

WANTED = [
    "BitsAllocated", "BitsStored", "Columns", "ConcatenationFrameOffsetNumber", "ConcatenationUID",
    "DimensionOrganizationType", "ImageType", "NumberOfFrames", "NumberOfOpticalPaths", "OpticalPathSequence",
    "PerFrameFunctionalGroupsSequence", "PhotometricInterpretation", "PixelRepresentation", "PlanarConfiguration",
    "Rows", "SamplesPerPixel", "SeriesInstanceUID", "SharedFunctionalGroupsSequence", "SOPClassUID",
    "SOPInstanceUID", "SpecimenLabelInImage", "TotalPixelMatrixColumns", "TotalPixelMatrixFocalPlanes",
    "TotalPixelMatrixRows",
]  # fmt: skip
COLORS = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"}
ASSOCIATED = {"LABEL": "label", "OVERVIEW": "macro", "THUMBNAIL": "thumbnail"}
FIRST_BYTES = 64 * 1024  # the series UID stands among the first elements
CACHE_BYTES = 64 * MIB
ANY_SIZE = 2**62  # a slide is read in place, so the size of its file is no matter


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """One file of a slide: a level, a part of a level (concatenation), or an associated picture.

    ``corners_xy`` are the upper left corners of the frames where the file lists them, else None (TILED_FULL).
    """

    path: Path
    uid: str
    series: str
    role: str
    size_xy: tuple[int, int]
    tile_xy: tuple[int, int]
    frames: int
    encoding: Encoding
    planes: int
    concatenation: str
    first_frame: int
    corners_xy: tuple[tuple[int, int], ...] | None
    mpp_xy_um: tuple[float, float] | None
    objective_power: float | None
    has_icc: bool
    shows_label: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class DicomSlide:
    """The files of one slide: its levels, the finest first, each of one file or of the parts of a concatenation."""

    levels: tuple[tuple[Instance, ...], ...]
    associated: tuple[str, ...]
    flags: tuple[Flag, ...]


def is_dicom(start: bytes) -> bool:
    """Whether the first bytes of a file carry the DICM mark."""
    return start[128:132] == b"DICM"


def find_slide(path: Path, limits: Limits) -> DicomSlide:
    """The levels of the slide that a file belongs to (its series, in the same folder), or that a folder holds.

    Raises:
        InputError: ``E_SLIDE_FORMAT``, no slide, several slides, or a kind that cannot be read; ``E_SLIDE_UNREADABLE``,
            frames are missing; ``E_DICOM_UNREADABLE``.
        BudgetError: ``E_SLIDE_LIMIT``, ``E_DICOM_LIMIT``.
    """
    if path.is_file():
        named = _read_instance(path, limits)
        others = [other for other in _same_series(path, named.series, limits) if other.uid != named.uid]
    else:
        found = [instance for file in _files(path, limits) if (instance := _try_instance(file, limits))]
        if not found:
            raise wrong_format(path.name, "the folder holds no DICOM slide")
        if len({instance.series for instance in found}) > 1:
            raise wrong_format(path.name, "the folder holds several DICOM slides; name a file of one of them")
        named, others = found[0], found[1:]
    instances = [named, *others]
    tissue = [instance for instance in instances if instance.role == "VOLUME"]
    if path.is_file() and named.role != "VOLUME":
        raise wrong_format(path.name, f"it is the {named.role.lower()} picture of a slide, not a level")
    if not tissue:
        raise wrong_format(path.name, "it holds no level of a slide")
    levels, flags = _levels(tissue, path)
    for level in levels:
        _check_level(level, limits)
    roles = {ASSOCIATED[instance.role] for instance in instances if instance.role in ASSOCIATED}
    return DicomSlide(levels=levels, associated=tuple(sorted(roles)), flags=flags)


def _files(folder: Path, limits: Limits) -> Iterator[Path]:
    try:
        files = sorted(file for file in folder.iterdir() if file.is_file())
    except OSError as error:
        raise unreadable(folder.name, f"the folder cannot be listed ({type(error).__name__})") from error
    if len(files) > limits.files:
        what = f"the folder holds {len(files)} files, the limit is {limits.files}"
        raise over_limit(folder.name, what, "Put the files of the slide into a folder of their own.")
    yield from files


def _same_series(path: Path, series: str, limits: Limits) -> Iterator[Instance]:
    mark = series.encode()
    for file in _files(path.absolute().parent, limits):
        try:
            with file.open("rb") as opened:
                start = opened.read(FIRST_BYTES)
        except OSError:
            continue
        if is_dicom(start) and mark in start and (other := _try_instance(file, limits)) and other.series == series:
            yield other


def _try_instance(path: Path, limits: Limits) -> Instance | None:
    try:
        return _read_instance(path, limits)
    except MedvoxError:  # a neighbour that is no slide is no business of this one
        return None


def _read_instance(path: Path, limits: Limits) -> Instance:
    header = read_dataset_file(path, specific_tags=WANTED, limits=replace(limits, file_bytes=ANY_SIZE))
    try:
        with quiet_pydicom():
            if header.get("SOPClassUID") == VLWholeSlideMicroscopyImageStorage:
                return _instance(header, path)
    except Exception as error:  # damaged values raise whatever pydicom's conversion raises
        raise unreadable(path.name, f"its header is damaged ({type(error).__name__})") from error
    raise wrong_format(path.name, "it is DICOM, but not a whole slide image")


def _instance(header: Dataset, path: Path) -> Instance:
    kinds = [str(word).upper() for word in header.get("ImageType") or ()]
    shared = _first(header, "SharedFunctionalGroupsSequence")
    spacing = _first(shared, "PixelMeasuresSequence").get("PixelSpacing")
    optics = _first(header, "OpticalPathSequence")
    power = optics.get("ObjectiveLensPower")
    return Instance(
        path=path,
        uid=str(header.get("SOPInstanceUID") or path),
        series=str(header.get("SeriesInstanceUID") or path),
        role=kinds[2] if len(kinds) > 2 else "VOLUME",
        size_xy=(int(header.get("TotalPixelMatrixColumns") or 0), int(header.get("TotalPixelMatrixRows") or 0)),
        tile_xy=(int(header.get("Columns") or 0), int(header.get("Rows") or 0)),
        frames=int(header.get("NumberOfFrames") or 1),
        encoding=Encoding(
            syntax=str(header.file_meta.TransferSyntaxUID),
            photometric=str(header.get("PhotometricInterpretation") or ""),
            samples=int(header.get("SamplesPerPixel") or 0),
            bits_allocated=int(header.get("BitsAllocated") or 0),
            bits_stored=int(header.get("BitsStored") or 0),
            planar=int(header.get("PlanarConfiguration") or 0),
        ),
        planes=int(header.get("TotalPixelMatrixFocalPlanes") or 1) * int(header.get("NumberOfOpticalPaths") or 1),
        concatenation=str(header.get("ConcatenationUID") or ""),
        first_frame=int(header.get("ConcatenationFrameOffsetNumber") or 0),
        corners_xy=_corners(header),
        mpp_xy_um=None if spacing is None else (1000 * float(spacing[1]), 1000 * float(spacing[0])),
        objective_power=None if power is None else float(power),
        has_icc="ICCProfile" in optics,
        shows_label=str(header.get("SpecimenLabelInImage") or "") == "YES",
    )


def _first(owner: Any, sequence: str) -> Any:
    items = owner.get(sequence)
    return items[0] if items else Dataset()


def _corners(header: Dataset) -> tuple[tuple[int, int], ...] | None:
    if str(header.get("DimensionOrganizationType") or "") == "TILED_FULL":
        return None
    corners = []
    for frame in header.get("PerFrameFunctionalGroupsSequence") or ():
        place = _first(frame, "PlanePositionSlideSequence")
        x, y = place.ColumnPositionInTotalImagePixelMatrix, place.RowPositionInTotalImagePixelMatrix
        corners.append((int(x) - 1, int(y) - 1))
    return tuple(corners) if corners else None


def _levels(instances: Sequence[Instance], path: Path) -> tuple[tuple[tuple[Instance, ...], ...], tuple[Flag, ...]]:
    """Group files to levels. Of two levels of the same size the named file's stays; without a named file: refused."""
    groups: dict[str, list[Instance]] = {}
    for instance in instances:
        groups.setdefault(instance.concatenation or instance.uid, []).append(instance)
    by_size: dict[tuple[int, int], tuple[Instance, ...]] = {}
    twins: list[str] = []
    for parts in groups.values():
        level = tuple(sorted(parts, key=lambda part: part.first_frame))
        if level[0].size_xy not in by_size:
            by_size[level[0].size_xy] = level
        elif path.is_file():
            twins += [part.path.name for part in level]
        else:
            raise wrong_format(path.name, "two levels have the same size; name a file of the one to be read")
    flags = []
    if twins:
        text = f"{len(twins)} more files of this series have the size of a level that was read already; left out."
        flags.append(Flag(code="F_SLIDE_TWINS", text=text))
    if any(part.shows_label for level in by_size.values() for part in level):
        text = "The levels show the slide's label, which may hold patient text; patches of it look like any other."
        flags.append(Flag(code="F_SLIDE_LABEL_IN_IMAGE", text=text))
    return tuple(sorted(by_size.values(), key=lambda level: -level[0].size_xy[0])), tuple(flags)


def _check_level(parts: tuple[Instance, ...], limits: Limits) -> None:
    head, name = parts[0], parts[0].path.name
    if 0 in head.size_xy or 0 in head.tile_xy:
        raise wrong_format(name, "it does not state the size of its pixel matrix or of its tiles")
    check_sizes(name, (head.size_xy,))
    check_tile(name, *head.tile_xy, limits)
    color = head.encoding.samples == 3 and head.encoding.photometric in COLORS
    grey = head.encoding.samples == 1 and head.encoding.photometric == "MONOCHROME2"
    if head.encoding.syntax not in SUPPORTED:
        raise wrong_format(name, "there is no decoder for its transfer syntax")
    if head.encoding.syntax in NATIVE and head.encoding.photometric == "YBR_FULL_422":
        raise wrong_format(name, "its uncompressed pixels are subsampled")
    if head.encoding.bits_allocated != 8 or not (color or grey):
        raise wrong_format(name, "its pixels are not colour or brightness of 8 bits")
    if any(part.planes > 1 for part in parts):
        raise wrong_format(name, "it has several focal planes or optical paths; one can be read")
    if any(
        (part.size_xy, part.tile_xy, part.encoding) != (head.size_xy, head.tile_xy, head.encoding) for part in parts
    ):
        raise wrong_format(name, "the parts of its concatenation differ in size or encoding")
    columns, rows = _grid(head)
    next_frame = 0
    for part in parts:
        if part.corners_xy is None and part.first_frame != next_frame:
            raise unreadable(name, f"frames {next_frame + 1} to {part.first_frame} are missing")
        if part.corners_xy is not None and len(part.corners_xy) != part.frames:
            raise unreadable(name, f"{part.frames} frames, but {len(part.corners_xy)} positions")
        next_frame = part.first_frame + part.frames
    if head.corners_xy is None and next_frame != columns * rows:
        raise unreadable(name, f"{next_frame} frames, but {columns} x {rows} tiles are needed")


def _grid(instance: Instance) -> tuple[int, int]:
    (width, height), (tile_width, tile_height) = instance.size_xy, instance.tile_xy
    return math.ceil(width / tile_width), math.ceil(height / tile_height)


class DicomPyramid:
    """An open DICOM slide, read frame by frame with pydicom's decoders."""

    def __init__(self, slide: DicomSlide) -> None:
        heads = [parts[0] for parts in slide.levels]
        self.facts = PyramidFacts(
            vendor="dicom",
            sizes_xy=tuple(head.size_xy for head in heads),
            mpp_xy_um=heads[0].mpp_xy_um,
            objective_power=heads[0].objective_power,
            associated=slide.associated,
            has_icc=heads[0].has_icc,
            files=tuple(part.path for parts in slide.levels for part in parts),
            flags=slide.flags,
        )
        self._tiles = [head.tile_xy for head in heads]
        self._frames = [
            [Frames(part.path, part.encoding, part.tile_xy, part.frames) for part in parts] for parts in slide.levels
        ]
        self._places = [_places(parts) for parts in slide.levels]
        tile_bytes = max(3 * width * height for width, height in self._tiles)
        self._tile = lru_cache(maxsize=max(4, CACHE_BYTES // tile_bytes))(self._decode)

    def _decode(self, level: int, part: int, frame: int) -> Rgb:
        return self._frames[level][part].decoded(frame)

    def region(self, corner_xy: tuple[int, int], level: int, size_xy: tuple[int, int]) -> Rgb:
        """Pixels of a level, see Pyramid; tiles that a sparse slide leaves out are white."""
        (left, top), (width, height) = corner_xy, size_xy
        tile_width, tile_height = self._tiles[level]
        pixels = np.full((height, width, 3), 255, np.uint8)
        for row in range(top // tile_height, (top + height - 1) // tile_height + 1):
            for column in range(left // tile_width, (left + width - 1) // tile_width + 1):
                place = self._places[level].get((column, row))
                if place is None:
                    continue
                tile = self._tile(level, *place)
                x, y = column * tile_width - left, row * tile_height - top
                inside = tile[max(0, -y) : height - y, max(0, -x) : width - x]
                pixels[max(0, y) : y + tile_height, max(0, x) : x + tile_width] = inside
        return pixels

    def close(self) -> None:
        """Close the files and forget the tiles."""
        self._tile.cache_clear()
        for level in self._frames:
            for part in level:
                part.close()


def _places(parts: tuple[Instance, ...]) -> dict[tuple[int, int], tuple[int, int]]:
    """(tile column, tile row) -> (part, frame in it)."""
    columns, _ = _grid(parts[0])
    places = {}
    for number, part in enumerate(parts):
        for frame in range(part.frames):
            if part.corners_xy is None:
                row, column = divmod(part.first_frame + frame, columns)
            else:
                (x, y), (width, height) = part.corners_xy[frame], part.tile_xy
                if x % width or y % height:
                    raise wrong_format(part.path.name, "its tiles do not lie on a grid")
                row, column = y // height, x // width
            places[column, row] = (number, frame)
    return places
