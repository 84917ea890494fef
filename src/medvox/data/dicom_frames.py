"""One DICOM file -> its planes: each with its own place in space, its own mapping to values, and what sets it apart.

Second step of ``data/dicom.py``. A classic file is one plane, an enhanced file one per frame, a mosaic one per tile.
Reads no pixels, decides nothing about a series; what is missing stays None.

Source: DICOM PS3.3 C.7.6.16 (functional groups), C.8.13 (enhanced MR), C.7.6.16.2.11 (real world values); Chenevert et
al. 2014, doi:10.1593/tlo.13811 (Philips scale slope).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from medvox.data.affine import slice_normal
from medvox.data.dicom_file import quiet_pydicom, read_dataset_file
from medvox.data.dicom_header import KEYWORDS, Header, first_look, header_from_scan, header_of, values_in
from medvox.data.dicom_kind import NM_IMAGE
from medvox.data.dicom_scan import Value
from medvox.data.limits import DEFAULT_LIMITS, Limits

COMPONENTS = {  # of ImageType, FrameType and ComplexImageComponent
    "M": "magnitude", "MAGNITUDE": "magnitude", "P": "phase", "PHASE": "phase", "PHASE MAP": "phase",
    "R": "real", "REAL": "real", "I": "imaginary", "IMAGINARY": "imaginary",
    "W": "water", "WATER": "water", "F": "fat", "FAT": "fat",
    "IP": "in phase", "IN_PHASE": "in phase", "OP": "opposed phase", "OPP_PHASE": "opposed phase",
    "OUT_PHASE": "opposed phase", "FIELD_MAP": "field map", "B0 MAP": "field map", "B0": "field map",
    "ADC": "ADC", "TRACEW": "trace", "FA": "anisotropy", "T1 MAP": "T1 map", "T2 MAP": "T2 map",
    "T2_STAR MAP": "T2* map", "R2 MAP": "R2 map", "R2_STAR MAP": "R2* map",
}  # fmt: skip
FRAME_TYPES = (
    *("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence"),
    "ParametricMapFrameTypeSequence",
)
Origin = Literal["rescale", "philips", "real world"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapping:
    """Stored value * slope + intercept = value in ``unit`` (empty: none stated). None where the file does not say."""

    slope: float | None
    intercept: float | None
    unit: str = ""
    origin: Origin = "rescale"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plane:
    """One plane of one file.

    Attributes:
        header: the file that it is in.
        frame: which frame of the file, from 0.
        tile: which tile of the mosaic, from 0; None when the frame is one plane.
        rows, columns: its size, which differs from that of the file in mosaics.
        step_mm: distance to the next plane that the file states: SpacingBetweenSlices, else SliceThickness.
        component: kinds of image, such as ``phase``, sorted.
        acquired: date and time of the acquisition, as written.
    """

    header: Header
    frame: int
    tile: int | None
    rows: int
    columns: int
    orientation: tuple[float, ...] | None
    position_mm: tuple[float, ...] | None
    pixel_spacing_mm: tuple[float, ...] | None
    step_mm: float | None
    mapping: Mapping
    rescale_type: str
    image_type: tuple[str, ...]
    component: tuple[str, ...]
    echo_ms: float | None
    b_value: float | None
    direction: tuple[float, ...]
    temporal: int | None
    trigger_ms: float | None
    acquisition: int | None
    acquired: str
    stack: str = ""


def read_planes(path: Path, limits: Limits = DEFAULT_LIMITS) -> tuple[Header, tuple[Plane, ...]]:
    """Read the header of one file, without its pixels, and its planes. Objects without an image have none.

    Raises:
        InputError: the file cannot be opened or is not DICOM (``E_DICOM_UNREADABLE``).
        BudgetError: over a limit (``E_DICOM_LIMIT``).
    """
    found, size = first_look(path)
    if found is not None:
        header = header_from_scan(found, path, size)
        return header, planes_of(header, None, limits)
    dataset = read_dataset_file(path, specific_tags=KEYWORDS, limits=limits)
    header = header_of(dataset, path)
    return header, planes_of(header, dataset, limits)


def planes_of(header: Header, dataset: Dataset | None, limits: Limits = DEFAULT_LIMITS) -> tuple[Plane, ...]:
    """The planes of a file; ``dataset`` may be None for files without nested groups."""
    if header.rows < 1 or header.columns < 1:
        return ()
    if dataset is None and not header.tiles and header.frames <= 1:
        return (_whole_plane(header, None),)
    with quiet_pydicom():
        return tuple(_planes(header, dataset, limits))


def _planes(header: Header, dataset: Dataset | None, limits: Limits) -> Iterator[Plane]:
    plane = _whole_plane(header, dataset)
    if header.tiles:
        return _tiles(plane, dataset, limits)
    if dataset is not None and header.frame_groups:
        return _frames(plane, dataset, limits)
    if dataset is not None and header.sop_class == NM_IMAGE and header.detectors:
        return _slabs(plane, dataset, limits)
    return (replace(plane, frame=frame) for frame in range(max(1, min(header.frames, limits.frames))))


def _whole_plane(header: Header, dataset: Dataset | None) -> Plane:
    real_world = None if dataset is None else _real_world(_sequence(dataset, "RealWorldValueMappingSequence"))
    return Plane(
        header=header,
        frame=0,
        tile=None,
        rows=header.rows,
        columns=header.columns,
        orientation=header.orientation,
        position_mm=header.position_mm,
        pixel_spacing_mm=header.pixel_spacing_mm,
        step_mm=header.slice_spacing_mm or header.slice_thickness_mm,
        mapping=_mapping(header, (header.slope, header.intercept), header.scale_slope, real_world),
        rescale_type=header.rescale_type,
        image_type=header.image_type,
        component=_component((*header.image_type[2:], header.component)),
        echo_ms=header.echo_ms,
        b_value=header.b_value,
        direction=header.direction,
        temporal=header.temporal,
        trigger_ms=header.trigger_ms,
        acquisition=header.acquisition,
        acquired=header.acquired,
    )


def _component(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({COMPONENTS[word.upper()] for word in words if word.upper() in COMPONENTS}))


def _mapping(
    header: Header,
    rescale: tuple[float | None, float | None],
    scale_slope: float | None,
    real_world: Mapping | None,
) -> Mapping:
    """How stored values become values: Philips' own scale first, then real world values, then the rescale."""
    slope, intercept = rescale
    if header.modality == "CT":
        return Mapping(slope=slope, intercept=intercept)
    unit = header.units if header.modality == "PT" else ""
    if header.modality == "MR" and scale_slope and math.isfinite(scale_slope):
        first, second = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
        if first and math.isfinite(first) and math.isfinite(second):
            unit = real_world.unit if real_world else ""
            return Mapping(slope=1 / scale_slope, intercept=second / (first * scale_slope), unit=unit, origin="philips")
    if real_world is not None:
        return real_world
    if slope is None and intercept is None and header.modality != "PT":
        return Mapping(slope=1.0, intercept=0.0, unit=unit)
    return Mapping(slope=slope, intercept=intercept, unit=unit)


# frames of enhanced objects


def _frames(whole: Plane, dataset: Dataset, limits: Limits) -> Iterator[Plane]:
    shared = next(iter(_sequence(dataset, "SharedFunctionalGroupsSequence")), Dataset())
    for frame, own in enumerate(_sequence(dataset, "PerFrameFunctionalGroupsSequence")[: limits.frames]):
        yield _frame(whole, frame, _Groups(own, shared))


class _Groups:
    """The functional groups of one frame: its own before the shared ones."""

    def __init__(self, own: Dataset, shared: Dataset) -> None:
        self.own, self.shared = own, shared

    def macro(self, name: str) -> list[Dataset]:
        return _sequence(self.own, name) or _sequence(self.shared, name)

    def values(self, macro: str, name: str, vr: str) -> tuple[Value, ...]:
        return next((_values(item, name, vr) for item in self.macro(macro)), ())

    def numbers(self, macro: str, name: str, count: int) -> tuple[float, ...] | None:
        values = self.values(macro, name, "DS")
        if not values:
            return None
        numbers = _numbers(values)
        return numbers if len(numbers) == count else (math.nan,) * count

    def number(self, macro: str, name: str) -> float | None:
        found = self.numbers(macro, name, 1)
        return found[0] if found and math.isfinite(found[0]) else None

    def whole(self, macro: str, name: str) -> int | None:
        found = self.number(macro, name)
        return None if found is None else int(found)

    def text(self, macro: str, name: str) -> str:
        return str(next(iter(self.values(macro, name, "LO")), ""))


def _frame(whole: Plane, frame: int, groups: _Groups) -> Plane:
    header, transformation = whole.header, "PixelValueTransformationSequence"
    slope, intercept = (groups.numbers(transformation, name, 1) for name in ("RescaleSlope", "RescaleIntercept"))
    rescale = (slope[0] if slope else header.slope, intercept[0] if intercept else header.intercept)
    philips = _sequence(groups.own, (0x2005, 0x140F)) or _sequence(groups.shared, (0x2005, 0x140F))
    scale = next((_numbers(_values(item, (0x2005, 0x100E), "FL")) for item in philips), ())
    kind = next((name for name in FRAME_TYPES if groups.macro(name)), FRAME_TYPES[0])
    frame_type = tuple(str(value) for value in groups.values(kind, "FrameType", "CS")) or whole.image_type
    complex_part = groups.text(kind, "ComplexImageComponent")
    echo = groups.number("MREchoSequence", "EffectiveEchoTime")
    b_value = groups.number("MRDiffusionSequence", "DiffusionBValue")
    temporal = groups.whole("FrameContentSequence", "TemporalPositionIndex")
    return replace(
        whole,
        frame=frame,
        orientation=groups.numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6) or whole.orientation,
        position_mm=groups.numbers("PlanePositionSequence", "ImagePositionPatient", 3) or whole.position_mm,
        pixel_spacing_mm=groups.numbers("PixelMeasuresSequence", "PixelSpacing", 2) or whole.pixel_spacing_mm,
        step_mm=groups.number("PixelMeasuresSequence", "SpacingBetweenSlices")
        or groups.number("PixelMeasuresSequence", "SliceThickness")
        or whole.step_mm,
        mapping=_mapping(
            header,
            rescale,
            scale[0] if len(scale) == 1 else header.scale_slope,
            _real_world(groups.macro("RealWorldValueMappingSequence")),
        ),
        rescale_type=groups.text(transformation, "RescaleType").upper() or whole.rescale_type,
        image_type=frame_type,
        component=_component((*frame_type[2:], complex_part)) or whole.component,
        echo_ms=whole.echo_ms if echo is None else echo,
        b_value=whole.b_value if b_value is None else b_value,
        direction=_direction(groups) or whole.direction,
        temporal=whole.temporal if temporal is None else temporal,
        trigger_ms=groups.number("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime")
        or whole.trigger_ms,
        acquisition=groups.whole("FrameContentSequence", "FrameAcquisitionNumber") or whole.acquisition,
        acquired=groups.text("FrameContentSequence", "FrameAcquisitionDateTime") or whole.acquired,
        stack=groups.text("FrameContentSequence", "StackID"),
    )


def _direction(groups: _Groups) -> tuple[float, ...]:
    for item in groups.macro("MRDiffusionSequence"):
        for gradient in _sequence(item, "DiffusionGradientDirectionSequence"):
            return _numbers(_values(gradient, "DiffusionGradientOrientation", "FD"))
    return ()


def _real_world(items: list[Dataset]) -> Mapping | None:
    """The mapping to real world values, where there is exactly one and it is a straight line."""
    if len(items) != 1:
        return None
    slope = _numbers(_values(items[0], "RealWorldValueSlope", "FD"))
    intercept = _numbers(_values(items[0], "RealWorldValueIntercept", "FD"))
    if len(slope) != 1 or len(intercept) != 1 or not slope[0] or not all(map(math.isfinite, slope + intercept)):
        return None
    units = _sequence(items[0], "MeasurementUnitsCodeSequence")
    unit = next((str(value) for item in units for value in _values(item, "CodeValue", "SH")), "")
    return Mapping(
        slope=slope[0], intercept=intercept[0], unit="" if unit in ("1", "US") else unit, origin="real world"
    )


# planes that share one frame


def _tiles(whole: Plane, dataset: Dataset | None, limits: Limits) -> Iterator[Plane]:
    """The planes of a Siemens mosaic or a United Imaging grid; the whole image, placeless, if the count is wrong."""
    header = whole.header
    count = header.tiles
    siemens = "MOSAIC" in header.image_type
    across = math.isqrt(count - 1) + 1 if count > 0 else 1
    down = across if siemens else -(-count // across)
    if not 0 < count <= limits.frames or header.rows % down or header.columns % across:
        yield replace(whole, position_mm=None)
        return
    rows, columns = header.rows // down, header.columns // across
    if siemens:
        places = _mosaic_places(whole, rows, columns)
    else:
        items = [] if dataset is None else _sequence(dataset, (0x0065, 0x1051))
        places = [_numbers(_values(item, "ImagePositionPatient", "DS")) or None for item in items]
    for tile in range(count):
        place = places[tile] if len(places) == count else None
        yield replace(whole, tile=tile, rows=rows, columns=columns, position_mm=place)


def _mosaic_places(whole: Plane, rows: int, columns: int) -> list[tuple[float, ...] | None]:
    """Origins of the planes of a mosaic. The file states the origin that one plane of the mosaic's size would have."""
    header = whole.header
    step = whole.step_mm
    if not (whole.orientation and whole.position_mm and whole.pixel_spacing_mm and step):
        return []
    along_columns, along_rows = np.array(whole.orientation).reshape(2, 3)
    normal = np.array(header.tiles_normal or slice_normal(whole.orientation))
    origin = (
        np.array(whole.position_mm)
        + along_columns * whole.pixel_spacing_mm[1] * (header.columns - columns) / 2
        + along_rows * whole.pixel_spacing_mm[0] * (header.rows - rows) / 2
    )
    return [tuple((origin + normal * step * tile).tolist()) for tile in range(header.tiles)]


def _slabs(whole: Plane, dataset: Dataset, limits: Limits) -> Iterator[Plane]:
    """The planes of a reconstructed nuclear medicine volume: one detector, slices a fixed step apart (C.8.4.15)."""
    detector = _sequence(dataset, "DetectorInformationSequence")[0]
    orientation = _numbers(_values(detector, "ImageOrientationPatient", "DS"))
    origin = _numbers(_values(detector, "ImagePositionPatient", "DS"))
    step = whole.step_mm
    numbers = _numbers(_values(dataset, "SliceVector", "US"))
    in_order = not numbers or numbers == tuple(range(1, whole.header.frames + 1))  # else gated, or over time
    placed = len(orientation) == 6 and len(origin) == 3 and bool(step) and in_order
    for frame in range(max(0, min(whole.header.frames, limits.frames))):
        place = None
        if placed:
            place = tuple((np.array(origin) + slice_normal(orientation) * (step or 0.0) * frame).tolist())
        yield replace(whole, frame=frame, orientation=orientation or None, position_mm=place)


# values of nested data sets


def _sequence(dataset: Dataset, name: str | tuple[int, int]) -> list[Dataset]:
    """The items of a sequence; none when it is absent, damaged or no sequence."""
    tag = _tag(name)
    try:
        return [item for item in dataset[tag].value if isinstance(item, Dataset)] if tag in dataset else []
    except Exception:  # see values_in
        return []


def _tag(name: str | tuple[int, int]) -> int:
    return int(tag_for_keyword(name) or 0) if isinstance(name, str) else name[0] << 16 | name[1]


def _values(dataset: Dataset, name: str | tuple[int, int], vr: str) -> tuple[Value, ...]:
    return values_in(dataset, _tag(name), vr)


def _numbers(values: tuple[Value, ...]) -> tuple[float, ...]:
    """The values as numbers; NaN where one is none."""
    try:
        return tuple(float(value) for value in values)
    except ValueError:
        return (math.nan,) * len(values)
