"""Planes to parts and volumes: what of one SeriesInstanceUID forms one grid, and what repeats it.

Third step of ``data/dicom.py``. A SeriesInstanceUID is split into parts by what makes planes incomparable (size,
orientation, echo, ...). Within a part every place may be filled several times: over time, for diffusion weightings.
Then the part is 4-D, if the files say what sets the fillings apart. Judges nothing else.

Source: DICOM PS3.3 C.7.6.1 (image), C.7.6.2 (plane), C.7.3.1 (series: no promise that its images are one volume).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from medvox.data.affine import orthonormal_error, slice_normal
from medvox.data.dicom_frames import Plane
from medvox.data.dicom_kind import kind_of
from medvox.types import Flag

ORTHONORMAL_TOLERANCE = 1e-3
SAME_DIRECTION_TOLERANCE = 1e-3  # per direction cosine, between slices of one part
SAME_SPACING_SHARE = 1e-3
SAME_POSITION_MM = 1e-3
FARTHEST_MM = 1e6  # no scanner is a kilometre long

Fact = Callable[[Plane], Hashable]
APART: tuple[tuple[str, Fact], ...] = (  # what sets parts apart, whether or not places repeat
    ("modality", lambda plane: plane.header.modality),
    ("object class", lambda plane: plane.header.sop_class),
    ("colour", lambda plane: plane.header.samples_per_pixel),
    ("image size", lambda plane: (plane.rows, plane.columns)),
    ("frame of reference", lambda plane: plane.header.frame_of_reference),
    ("kind of image", lambda plane: plane.component),
    ("echo time", lambda plane: None if plane.echo_ms is None else round(plane.echo_ms, 3)),
    ("unit", lambda plane: plane.mapping.unit),
    ("stack", lambda plane: plane.stack),
)
MOMENTS: tuple[tuple[str, Fact], ...] = (  # what may set the fillings of one place apart, most telling first
    ("time", lambda plane: plane.temporal),
    ("b", lambda plane: plane.b_value),
    ("acquisition", lambda plane: plane.acquisition),
    ("trigger", lambda plane: plane.trigger_ms),
)
MINOR_MOMENTS: tuple[Fact, ...] = (
    lambda plane: plane.direction,
    lambda plane: plane.acquired,
    lambda plane: plane.header.content_time,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Planes that can form one grid, and what sets them apart from the other parts of their SeriesInstanceUID."""

    planes: tuple[Plane, ...]
    apart: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrangement:
    """A part in order: volumes of slices along the normal, each with its name. Flags instead where there is none."""

    volumes: tuple[tuple[Plane, ...], ...]
    moments: tuple[str, ...]
    flags: tuple[Flag, ...] = ()


def is_placed(plane: Plane) -> bool:
    """Whether orientation, position and pixel spacing are there and usable."""
    if plane.orientation is None or plane.position_mm is None or plane.pixel_spacing_mm is None:
        return False
    numbers = (*plane.orientation, *plane.position_mm, *plane.pixel_spacing_mm)
    if not all(map(math.isfinite, numbers)) or min(plane.pixel_spacing_mm) <= 0:
        return False
    near = max(map(abs, plane.position_mm)) <= FARTHEST_MM
    return near and _error_of(plane.orientation) <= ORTHONORMAL_TOLERANCE


_error_of = lru_cache(maxsize=256)(orthonormal_error)  # nearly all planes share one orientation


def split(planes: Sequence[Plane]) -> list[Part]:
    """The parts of one SeriesInstanceUID, in the order of their first image.

    Where a plane of a group lacks its place in space, the group is not split by geometry: the judge must see it whole.
    """
    cells = [(planes, ())] if len(planes) == 1 else _cells(planes)
    parts: list[Part] = []
    for cell, apart in cells:
        if kind_of(cell[0].header) == "volume" and all(map(is_placed, cell)):
            parts.extend(Part(planes=tuple(group), apart=(*apart, *more)) for group, more in _by_geometry(cell))
        else:
            parts.append(Part(planes=tuple(cell), apart=apart))
    return sorted(parts, key=lambda part: min(_file_order(plane) for plane in part.planes))


def _file_order(plane: Plane) -> tuple[int, int, str]:
    return (plane.header.instance or 0, plane.frame, str(plane.header.path))


def _cells(planes: Sequence[Plane]) -> list[tuple[Sequence[Plane], tuple[str, ...]]]:
    frames_of_reference = {plane.header.frame_of_reference for plane in planes}
    one_each = 2 < len(planes) == len(frames_of_reference)  # made up file by file; a flag tells
    apart_by = [(name, fact) for name, fact in APART if not (one_each and name == "frame of reference")]
    keys = [tuple(fact(plane) for _, fact in apart_by) for plane in planes]
    cells: dict[Hashable, list[Plane]] = {}
    for key, plane in zip(keys, planes, strict=True):
        cells.setdefault(key, []).append(plane)
    distinct = [set(values) for values in zip(*cells, strict=True)]
    apart = tuple(name for (name, _), values in zip(apart_by, distinct, strict=True) if len(values) > 1)
    return [(cell, apart) for cell in cells.values()]


def _by_geometry(planes: Sequence[Plane]) -> list[tuple[Sequence[Plane], tuple[str, ...]]]:
    oriented = _alike(planes, lambda plane: plane.orientation or (), SAME_DIRECTION_TOLERANCE)
    more = ("orientation",) if len(oriented) > 1 else ()
    found: list[tuple[Sequence[Plane], tuple[str, ...]]] = []
    for group in oriented:
        widest = max(max(plane.pixel_spacing_mm or (0.0,)) for plane in group)
        spaced = _alike(group, lambda plane: plane.pixel_spacing_mm or (), SAME_SPACING_SHARE * widest)
        names = (*more, "pixel spacing") if len(spaced) > 1 else more
        for cell in spaced:
            found.extend((repeated, (*names, *why)) for repeated, why in _by_repetition(cell))
    return found


def _alike(
    planes: Sequence[Plane], numbers: Callable[[Plane], tuple[float, ...]], tolerance: float
) -> list[Sequence[Plane]]:
    """Group planes whose numbers equal those of the first of a group within a tolerance."""
    own = [numbers(plane) for plane in planes]
    if len(set(own)) == 1:
        return [planes]
    distinct, which = np.unique(np.array(own), axis=0, return_inverse=True)
    group_of, left = np.empty(len(distinct), dtype=int), np.arange(len(distinct))
    while left.size:
        near = np.abs(distinct[left] - distinct[left[0]]).max(axis=1) <= tolerance
        group_of[left[near]] = left[0]
        left = left[~near]
    groups: dict[int, list[Plane]] = {}
    for plane, group in zip(planes, group_of[which.ravel()].tolist(), strict=True):
        groups.setdefault(group, []).append(plane)
    return list(groups.values())


def _by_repetition(planes: Sequence[Plane]) -> list[tuple[Sequence[Plane], tuple[str, ...]]]:
    """Split where places repeat: by image type, and by acquisition where places repeat unevenly."""
    places = places_of(planes)
    if len(places) == len(planes):
        return [(planes, ())]
    by_type = _grouped(planes, lambda plane: plane.image_type)
    if len(by_type) > 1 and all(_is_even(places_of(group)) for group in by_type):
        return [(group, ("image type",)) for group in by_type]
    by_acquisition = _grouped(planes, lambda plane: plane.acquisition)
    if not _is_even(places) and len(by_acquisition) > 1 and all(_is_even(places_of(one)) for one in by_acquisition):
        return [(group, ("acquisition",)) for group in by_acquisition]
    return [(planes, ())]


def _grouped(planes: Iterable[Plane], fact: Fact) -> list[list[Plane]]:
    groups: dict[Hashable, list[Plane]] = {}
    for plane in planes:
        groups.setdefault(fact(plane), []).append(plane)
    return list(groups.values())


def heights_mm(planes: Sequence[Plane]) -> NDArray[np.float64]:
    """Positions of placed planes of one orientation along the normal of the first."""
    return np.array([plane.position_mm for plane in planes]) @ slice_normal(planes[0].orientation or ())


def places_of(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Placed planes of one orientation, in order along the normal, those at one position together."""
    heights = heights_mm(planes)
    order = np.argsort(heights, kind="stable")
    places: list[list[Plane]] = [[planes[order[0]]]]
    for before, after in pairwise(order):
        if heights[after] - heights[before] < SAME_POSITION_MM:
            places[-1].append(planes[after])
        else:
            places.append([planes[after]])
    return places


def _is_even(places: Sequence[Sequence[Plane]]) -> bool:
    return len({len(place) for place in places}) == 1


def arrange(planes: Sequence[Plane]) -> Arrangement:
    """Put the placed planes of one part in order.

    The order within a volume comes from positions alone. Volumes are ordered by temporal position where the files state
    one, else by InstanceNumber; a volume never mixes temporal positions, b-values, acquisitions or trigger times that
    are the same set at every place.
    """
    places = places_of(planes)
    count = max(map(len, places))
    if count == 1:
        return Arrangement(volumes=(tuple(place[0] for place in places),), moments=("",))
    if not _is_even(places):
        doubled = sum(len(place) > 1 for place in places)
        text = f"{doubled} of {len(places)} places along the normal hold several slices that differ, the others do not"
        return _unarranged(text)
    shared = [(name, fact) for name, fact in MOMENTS if _is_shared(places, fact)]
    for facts in ([], *([fact] for _, fact in shared)):
        first = [fact for name, fact in shared if name == "time"]
        ordered = [sorted(place, key=_sort_key([*first, *facts])) for place in places]
        volumes = [tuple(place[rank] for place in ordered) for rank in range(count)]
        if all(len({fact(plane) for plane in volume}) == 1 for volume in volumes for _, fact in shared):
            break
    else:
        return _unarranged(f"{count} slices at each of {len(places)} places, but not the same moments at each")
    told = _explained(places, count)
    if told is None:
        text = f"{count} slices at each of {len(places)} places, and nothing says what sets them apart"
        return _unarranged(text)
    return Arrangement(volumes=tuple(volumes), moments=_names(volumes), flags=told)


def _unarranged(text: str) -> Arrangement:
    return Arrangement(volumes=(), moments=(), flags=(Flag(code="E_DICOM_SLICE_DUPLICATE", text=text),))


def _is_shared(places: Sequence[Sequence[Plane]], fact: Fact) -> bool:
    """Whether a fact takes several values, and the same ones at every place."""
    values = [sorted(map(repr, map(fact, place))) for place in places]
    return len(set(values[0])) > 1 and all(value == values[0] for value in values)


def _sort_key(facts: Sequence[Fact]) -> Callable[[Plane], tuple[object, ...]]:
    def key(plane: Plane) -> tuple[object, ...]:
        told = tuple(-1.0 if fact(plane) is None else fact(plane) for fact in facts)
        times = (plane.acquired, plane.header.content_time)
        return (*told, plane.header.instance or 0, plane.frame, *times, str(plane.header.path))

    return key


def _explained(places: Sequence[Sequence[Plane]], count: int) -> tuple[Flag, ...] | None:
    """Flags on how the fillings of a place are told apart; None where nothing does."""
    facts = [*(fact for _, fact in MOMENTS), *MINOR_MOMENTS]
    if all(len({tuple(fact(plane) for fact in facts) for plane in place}) == count for place in places):
        return ()
    numbered = all(len({(plane.header.instance, plane.frame) for plane in place}) == count for place in places)
    header = places[0][0].header
    if not numbered or header.modality == "CT":
        return None
    if header.temporal_count == count:
        return ()
    text = f"{count} volumes that only InstanceNumber sets apart; the files state no time or weighting for each"
    return (Flag(code="F_DICOM_VOLUMES_BY_NUMBER", text=text),)


def _names(volumes: Sequence[Sequence[Plane]]) -> tuple[str, ...]:
    """What each volume is called: by b-value where there are several, else by trigger time, else by its number."""
    first = [volume[0] for volume in volumes]
    numbers = [f"time {number}" for number in range(1, len(first) + 1)]
    if len({plane.b_value for plane in first} - {None}) > 1 or any(plane.b_value for plane in first):
        named = [f"b {plane.b_value or 0:.0f}" for plane in first]
        return (
            tuple(named) if len(set(named)) == len(named) else tuple(map(", ".join, zip(numbers, named, strict=True)))
        )
    if len({plane.trigger_ms for plane in first}) == len(first):
        return tuple(f"trigger {plane.trigger_ms or 0:g} ms" for plane in first)
    if len({plane.acquisition for plane in first}) == len(first) and all(plane.temporal is None for plane in first):
        return tuple(f"acquisition {plane.acquisition}" for plane in first)
    return tuple(numbers)
