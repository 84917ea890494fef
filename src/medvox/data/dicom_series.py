"""Headers to series: group the files, put the slices in order, and judge whether the stack is safe to read.

Second step of ``data/dicom.py``. Sees headers only, never pixels. Verdicts are data: a flag with an ``F_`` code travels
on with the series, a flag with an ``E_`` code refuses it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from medvox.data.affine import lps_affine, orthonormal_error, slice_normal, spacing_of, tilt_deg
from medvox.data.dicom_header import Header
from medvox.data.dicom_pixels import codec_problem
from medvox.data.volume import Series, Verdict
from medvox.types import Affine, Flag

MAX_VOLUME_BYTES = 2 * 2**30  # of int16 voxels
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2.1"

ORTHONORMAL_TOLERANCE = 1e-3
SAME_DIRECTION_TOLERANCE = 1e-3  # per direction cosine, between slices of one series
SAME_SPACING_SHARE = 1e-3
SAME_POSITION_MM = 1e-3
UNIFORM_SHARE, UNIFORM_MM = 0.01, 0.02  # a step may differ this much from the median step
WHOLE_MULTIPLE_TOLERANCE = 0.05  # of the median step: how exactly a hole must fit a missing slice
TILT_DEG = 0.5
SHIFT_PIXELS = 0.5

FIXES = {
    "E_MODALITY_UNSUPPORTED": "Give a CT series; other modalities are not read yet.",
    "E_DICOM_MULTIFRAME": "Export the series as single-frame CT images (enhanced multi-frame is not read yet).",
    "E_DICOM_NOT_CT_IMAGE": "Give the original CT images, not screenshots or derived pictures.",
    "E_DICOM_PIXEL_FORMAT": "Export the series again as 16-bit CT images.",
    "E_DICOM_CODEC": "Install a decoder for it (pip install python-gdcm), or convert first: gdcmconv --raw IN OUT",
    "E_DICOM_TRUNCATED": "Copy or export the file again; its pixel data is incomplete.",
    "E_DICOM_SHAPE_MIXED": "Export the images of one size as a series of their own.",
    "E_DICOM_LIMIT": "Give a smaller part of the series, for example one body region.",
    "E_DICOM_ORIENTATION_MISSING": "Export the series again with its geometry (ImageOrientationPatient).",
    "E_DICOM_ORIENTATION_INVALID": "Export the series again; its slice directions are not perpendicular unit vectors.",
    "E_DICOM_ORIENTATION_MIXED": "Give one plane at a time: put the files of one orientation in a folder of their own.",
    "E_DICOM_POSITION_MISSING": "Export the series again with its geometry (ImagePositionPatient).",
    "E_DICOM_SPACING_MISSING": "Export the series again with its spacing; without it no size can be stated.",
    "E_DICOM_SPACING_INVALID": "Export the series again; its spacing must be a positive number.",
    "E_DICOM_SPACING_MIXED": "Put the files of one pixel spacing in a folder of their own.",
    "E_DICOM_RESCALE_MISSING": "Export the series again with RescaleSlope and RescaleIntercept; without both, no HU.",
    "E_DICOM_RESCALE_INVALID": "Export the series again; RescaleSlope must be a number other than 0.",
    "E_DICOM_SLICE_DUPLICATE": "Keep one file per position: separate phases or reconstructions into folders.",
    "E_DICOM_SLICE_MISSING": "Find the missing files, or give the complete part of the series.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """A judged series: the contract's Series and the headers in slice order."""

    series: Series
    headers: tuple[Header, ...]
    positions_mm: tuple[float, ...]
    dropped: tuple[Header, ...]


def group_headers(headers: Iterable[Header]) -> list[list[Header]]:
    """Group by SeriesInstanceUID; files without one are grouped by what they show."""
    groups: dict[tuple[object, ...], list[Header]] = {}
    for header in headers:
        key = (header.series_uid,) if header.series_uid else ("", *_content_key(header))
        groups.setdefault(key, []).append(header)
    return list(groups.values())


def judge(headers: Sequence[Header]) -> Stack:
    """Order the slices of one group and give the verdict."""
    kept, dropped, positions, affine = list(headers), list[Header](), tuple[float, ...](), None
    flags = list(_identity_flags(headers[0]))
    if headers[0].modality != "CT":
        text = f"modality {headers[0].modality or '(none)'} is not read yet"
        flags.append(Flag(code="E_MODALITY_UNSUPPORTED", text=text))
    else:
        kept, dropped = drop_copies(headers)
        flags.extend(_copies_flags(dropped))
        flags.extend(flag for check in IMAGE_CHECKS if (flag := check(kept)))
        unplaced = _geometry_problem(kept)
        if unplaced:
            flags.append(unplaced)
        else:
            kept.sort(key=lambda header: (_along_normal(header), header.instance or 0))
            positions = tuple(_along_normal(header) for header in kept)
            affine, stack_flags = _stack_geometry(kept, positions)
            flags.extend(stack_flags)
    series = Series(
        uid=headers[0].series_uid or _made_up_uid(kept),
        modality=headers[0].modality,
        description=headers[0].description,
        shape=(sum(header.frames for header in kept), kept[0].rows, kept[0].columns),
        spacing_mm=None if affine is None else spacing_of(affine),
        affine_lps=affine,
        verdict=verdict_of(flags),
        flags=tuple(flags),
        files=tuple(header.path for header in kept),
    )
    return Stack(series=series, headers=tuple(kept), positions_mm=positions, dropped=tuple(dropped))


def verdict_of(flags: Sequence[Flag]) -> Verdict:
    """``refuse`` when any flag is an error, ``flagged`` when there is any other, else ``accept``."""
    if any(flag.code.startswith("E_") for flag in flags):
        return "refuse"
    return "flagged" if flags else "accept"


def drop_copies(headers: Sequence[Header]) -> tuple[list[Header], list[Header]]:
    """Split off files that are byte for byte the same as an earlier one. Hashes only files that share a position."""
    same_place: dict[object, list[Header]] = {}
    for header in headers:
        same_place.setdefault((header.position_mm, header.orientation, header.size_bytes), []).append(header)
    dropped: list[Header] = []
    for rivals in same_place.values():
        if len(rivals) == 1:
            continue
        seen: set[bytes] = set()
        for header in rivals:
            digest = hashlib.sha256(header.path.read_bytes()).digest()
            if digest in seen:
                dropped.append(header)
            seen.add(digest)
    copies = {header.path for header in dropped}
    return [header for header in headers if header.path not in copies], dropped


def _content_key(header: Header) -> tuple[object, ...]:
    """What files of one series share when they carry no UID."""
    orientation = None if header.orientation is None else tuple(round(value, 3) for value in header.orientation)
    spacing = None if header.pixel_spacing_mm is None else tuple(round(value, 4) for value in header.pixel_spacing_mm)
    return (header.modality, header.image_type, header.acquisition, orientation, header.rows, header.columns, spacing)


def _made_up_uid(headers: Sequence[Header]) -> str:
    """A name for a series without UID: a hash of what it shows, so that moving the folder does not change it."""
    facts = sorted(repr((_content_key(header), header.position_mm, header.instance)) for header in headers)
    return "nouid-" + hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _identity_flags(header: Header) -> Iterator[Flag]:
    if not header.series_uid:
        text = "the files carry no SeriesInstanceUID; they were grouped by orientation, size, spacing and acquisition"
        yield Flag(code="F_DICOM_UID_MISSING", text=text)
    if header.modality == "CT" and not header.sop_class:
        text = "no SOPClassUID, so the kind of image is not stated; read as CT images because the modality says so"
        yield Flag(code="F_DICOM_SOP_CLASS_MISSING", text=text)


def _copies_flags(dropped: Sequence[Header]) -> Iterator[Flag]:
    if dropped:
        text = f"left out because they are exact copies of other files: {len(dropped)}"
        yield Flag(code="F_DICOM_COPIES_DROPPED", text=text)


def _object_problem(headers: Sequence[Header]) -> Flag | None:
    frames = max(header.frames for header in headers)
    if frames > 1 or any(header.sop_class == ENHANCED_CT_IMAGE for header in headers):
        return Flag(code="E_DICOM_MULTIFRAME", text=f"multi-frame images ({frames} frames in a file) are not read yet")
    if any(header.sop_class not in (CT_IMAGE, "") for header in headers):
        return Flag(code="E_DICOM_NOT_CT_IMAGE", text="modality says CT, but the files are not CT Image Storage")
    if any(header.samples_per_pixel != 1 or not header.photometric.startswith("MONOCHROME") for header in headers):
        return Flag(code="E_DICOM_NOT_CT_IMAGE", text="the pictures are in colour, so they hold no Hounsfield units")
    return None


def _format_problem(headers: Sequence[Header]) -> Flag | None:
    for header in headers:
        bits = (header.bits_allocated, header.bits_stored, header.high_bit)
        if header.bits_allocated == 8:
            return Flag(
                code="E_DICOM_NOT_CT_IMAGE", text="8-bit pictures hold display grey values, not Hounsfield units"
            )
        if header.bits_allocated != 16 or not 1 <= header.bits_stored <= 16 or bits[2] != bits[1] - 1:
            text = f"bits allocated, stored, high bit are {bits}; 16 bits with the high bit on top are needed"
            return Flag(code="E_DICOM_PIXEL_FORMAT", text=text)
    return None


def _file_problem(headers: Sequence[Header]) -> Flag | None:
    for header in headers:
        problem = codec_problem(header)
        if problem:
            return problem
    return None


def _size_problem(headers: Sequence[Header]) -> Flag | None:
    shapes = sorted({(header.rows, header.columns) for header in headers})
    if len(shapes) > 1:
        named = ", ".join(f"{rows} x {columns}" for rows, columns in shapes[:4])
        return Flag(code="E_DICOM_SHAPE_MIXED", text=f"slices of {len(shapes)} sizes in one series: {named}")
    volume_bytes = 2 * len(headers) * shapes[0][0] * shapes[0][1]
    if volume_bytes > MAX_VOLUME_BYTES:
        text = f"{volume_bytes / 2**30:.1f} GiB of voxels, the limit is {MAX_VOLUME_BYTES / 2**30:.0f} GiB"
        return Flag(code="E_DICOM_LIMIT", text=text)
    return None


def _rescale_problem(headers: Sequence[Header]) -> Flag | None:
    missing = [header for header in headers if header.slope is None or header.intercept is None]
    if missing:
        absent = [name for name in ("slope", "intercept") if any(getattr(header, name) is None for header in missing)]
        tags = " and ".join(f"Rescale{name.capitalize()}" for name in absent)
        return Flag(code="E_DICOM_RESCALE_MISSING", text=f"{tags} missing in {len(missing)} of {len(headers)} files")
    for header in headers:
        slope, intercept = header.slope or 0.0, header.intercept or 0.0
        if slope == 0 or not math.isfinite(slope) or not math.isfinite(intercept):
            text = f"{header.path.name}: RescaleSlope {slope:g} and RescaleIntercept {intercept:g} give no HU"
            return Flag(code="E_DICOM_RESCALE_INVALID", text=text)
    return None


def _polarity_problem(headers: Sequence[Header]) -> Flag | None:
    if any(header.photometric == "MONOCHROME1" for header in headers):
        text = "stored for inverted display (MONOCHROME1); Hounsfield units do not change by that"
        return Flag(code="F_DICOM_MONOCHROME1", text=text)
    return None


def _unit_problem(headers: Sequence[Header]) -> Flag | None:
    kinds = sorted({header.rescale_type for header in headers} - {"", "HU"})
    if kinds:
        text = f"RescaleType is {', '.join(kinds)}, so the numbers are not stated to be Hounsfield units"
        return Flag(code="F_DICOM_NOT_HU", text=text)
    return None


IMAGE_CHECKS = (
    _object_problem,
    _format_problem,
    _file_problem,
    _size_problem,
    _rescale_problem,
    _polarity_problem,
    _unit_problem,
)


def _geometry_problem(headers: Sequence[Header]) -> Flag | None:
    """Why the slices have no place in space, or None."""
    total = len(headers)
    for name, tag, code in (
        ("orientation", "ImageOrientationPatient", "E_DICOM_ORIENTATION_MISSING"),
        ("position_mm", "ImagePositionPatient", "E_DICOM_POSITION_MISSING"),
        ("pixel_spacing_mm", "PixelSpacing", "E_DICOM_SPACING_MISSING"),
    ):
        absent = sum(getattr(header, name) is None for header in headers)
        if absent:
            return Flag(code=code, text=f"{tag} missing in {absent} of {total} files")
    spacings = np.array([header.pixel_spacing_mm for header in headers])
    orientations = np.array([header.orientation for header in headers])
    positions = np.array([header.position_mm for header in headers])
    error = max(orthonormal_error(orientation) for orientation in orientations)
    if not (np.isfinite(spacings).all() and (spacings > 0).all()):
        return Flag(code="E_DICOM_SPACING_INVALID", text="PixelSpacing holds a value that is not above 0")
    if not np.isfinite(positions).all():
        return Flag(code="E_DICOM_POSITION_MISSING", text="ImagePositionPatient does not hold three numbers")
    if not error <= ORTHONORMAL_TOLERANCE:
        text = f"row and column direction differ from perpendicular unit vectors by {error:.3g}"
        return Flag(code="E_DICOM_ORIENTATION_INVALID", text=text)
    if np.abs(orientations - orientations[0]).max() > SAME_DIRECTION_TOLERANCE:
        kinds = len(np.unique(orientations.round(2), axis=0))
        return Flag(code="E_DICOM_ORIENTATION_MIXED", text=f"slices of {kinds} orientations in one series")
    if np.ptp(spacings, axis=0).max() > SAME_SPACING_SHARE * spacings.max():
        return Flag(
            code="E_DICOM_SPACING_MIXED", text=f"pixel spacing from {spacings.min():g} to {spacings.max():g} mm"
        )
    if total == 1 and not (headers[0].slice_thickness_mm or 0) > 0:
        return Flag(code="E_DICOM_SPACING_MISSING", text="a single slice without SliceThickness")
    return None


def _along_normal(header: Header) -> float:
    """Position of a slice along its normal, in mm. Only for headers that passed ``_geometry_problem``."""
    return float(np.dot(slice_normal(header.orientation or ()), header.position_mm or ()))


def _stack_geometry(headers: Sequence[Header], positions: Sequence[float]) -> tuple[Affine | None, list[Flag]]:
    """Affine and flags of an ordered stack; no affine where slices share a position or are missing."""
    first, last = headers[0], headers[-1]
    origin = np.array(first.position_mm)
    orientation, pixel_spacing = first.orientation or (), first.pixel_spacing_mm or ()
    if len(headers) == 1:
        step = slice_normal(orientation) * (first.slice_thickness_mm or 0.0)
        text = "a single slice: the spacing between slices is its SliceThickness"
        return lps_affine(origin, step, orientation, pixel_spacing), [Flag(code="F_DICOM_SINGLE_SLICE", text=text)]
    steps = np.diff(positions)
    refusal = _duplicate_problem(steps) or _missing_problem(steps)
    if refusal:
        return None, [refusal]
    step = (np.array(last.position_mm) - origin) / (len(headers) - 1)
    affine = lps_affine(origin, step, orientation, pixel_spacing)
    flags = [_spacing_flag(steps), _tilt_flag(affine), _shift_flag(headers, positions)]
    return affine, [flag for flag in flags if flag]


def _duplicate_problem(steps: np.ndarray) -> Flag | None:
    doubled = int((steps < SAME_POSITION_MM).sum())
    if not doubled:
        return None
    text = f"{doubled} of {len(steps) + 1} slices lie at the position of another slice and differ from it"
    return Flag(code="E_DICOM_SLICE_DUPLICATE", text=text)


def _missing_problem(steps: np.ndarray) -> Flag | None:
    """Isolated steps of two or more whole slice distances in a stack that is uniform otherwise.

    Two long steps in a row are a protocol that changes its spacing, not a lost file; that is flagged, not refused.
    """
    unit = float(np.sort(steps)[(len(steps) - 1) // 2])
    multiples = np.rint(steps / unit)
    if np.abs(steps / unit - multiples).max() > WHOLE_MULTIPLE_TOLERANCE or multiples.min() < 1:
        return None
    holes = multiples > 1
    if not holes.any() or any(left and right for left, right in pairwise(holes)):
        return None
    missing = int((multiples - 1).sum())
    text = (
        f"{missing} slice{'s' if missing > 1 else ''} missing in {int(holes.sum())} place(s) of a stack of {unit:g} mm"
    )
    return Flag(code="E_DICOM_SLICE_MISSING", text=text)


def _spacing_flag(steps: np.ndarray) -> Flag | None:
    median = float(np.median(steps))
    if np.abs(steps - median).max() <= max(UNIFORM_SHARE * median, UNIFORM_MM):
        return None
    text = (
        f"distance between slices varies from {steps.min():.2f} to {steps.max():.2f} mm (median {median:.2f}); "
        "the affine holds the mean, the true positions are in slice_positions_mm"
    )
    return Flag(code="F_DICOM_SPACING_VARIES", text=text)


def _tilt_flag(affine: Affine) -> Flag | None:
    angle = tilt_deg(affine)
    if angle <= TILT_DEG:
        return None
    text = f"gantry tilt: the stack leans {angle:.1f} degrees; it is kept as scanned, not straightened"
    return Flag(code="F_DICOM_GANTRY_TILT", text=text)


def _shift_flag(headers: Sequence[Header], positions: Sequence[float]) -> Flag | None:
    """Slices whose origins leave the straight line from the first to the last slice."""
    origins = np.array([header.position_mm for header in headers])
    share = (np.array(positions) - positions[0]) / (positions[-1] - positions[0])
    straight = origins[0] + share[:, None] * (origins[-1] - origins[0])
    shift_mm = float(np.linalg.norm(origins - straight, axis=1).max())
    if shift_mm <= SHIFT_PIXELS * min(headers[0].pixel_spacing_mm or (0.0,)):
        return None
    text = f"slices are shifted sideways by up to {shift_mm:.2f} mm against the straight stack that the affine states"
    return Flag(code="F_DICOM_SLICES_SHIFTED", text=text)
