"""Ordered planes to an affine, and what is odd about the way they are stacked: gaps, uneven steps, tilt, shifts.

Used by ``dicom_series``. Knows positions and directions, no pixels and no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from medvox.data.affine import lps_affine, slice_normal, tilt_deg
from medvox.data.dicom_frames import Plane
from medvox.data.dicom_split import heights_mm
from medvox.types import Affine, Flag

UNIFORM_SHARE, UNIFORM_MM = 0.01, 0.02  # a step may differ this much from the median step
WHOLE_MULTIPLE_TOLERANCE = 0.05  # of the median step: how exactly a hole must fit a missing slice
TILT_DEG = 0.5
SHIFT_PIXELS = 0.5


def stack_geometry(volumes: Sequence[Sequence[Plane]]) -> tuple[Affine | None, list[Flag]]:
    """Affine and flags of ordered volumes that fill the same places; no affine where slices are missing."""
    planes = volumes[0]
    first, last = planes[0], planes[-1]
    origin = np.array(first.position_mm)
    orientation, pixel_spacing = first.orientation or (), first.pixel_spacing_mm or ()
    if len(planes) == 1:
        return _single(first)
    positions = heights_mm(planes)
    steps = np.diff(positions)
    refusal = _missing_problem(steps)
    if refusal:
        return None, [refusal]
    step = (np.array(last.position_mm) - origin) / (len(planes) - 1)
    affine = lps_affine(origin, step, orientation, pixel_spacing)
    flags = [_spacing_flag(steps), _tilt_flag(affine), _shift_flag(volumes, positions)]
    return affine, [flag for flag in flags if flag]


def _single(plane: Plane) -> tuple[Affine | None, list[Flag]]:
    if not (plane.step_mm or 0.0) > 0:
        return None, [Flag(code="E_DICOM_SPACING_MISSING", text="a single slice without SliceThickness")]
    step = slice_normal(plane.orientation or ()) * (plane.step_mm or 0.0)
    affine = lps_affine(plane.position_mm or (), step, plane.orientation or (), plane.pixel_spacing_mm or ())
    text = "a single slice: the spacing between slices is what the file states for it"
    return affine, [Flag(code="F_DICOM_SINGLE_SLICE", text=text)]


def _missing_problem(steps: NDArray[np.float64]) -> Flag | None:
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


def _spacing_flag(steps: NDArray[np.float64]) -> Flag | None:
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


def _shift_flag(volumes: Sequence[Sequence[Plane]], positions: NDArray[np.float64]) -> Flag | None:
    """Slices whose origins leave the straight line from the first to the last slice of the first volume."""
    origins = np.array([[plane.position_mm for plane in volume] for volume in volumes])  # (V, S, 3)
    share = (positions - positions[0]) / (positions[-1] - positions[0])
    straight = origins[0, 0] + share[:, None] * (origins[0, -1] - origins[0, 0])
    shift_mm = float(np.linalg.norm(origins - straight, axis=2).max())
    if shift_mm <= SHIFT_PIXELS * min(volumes[0][0].pixel_spacing_mm or (0.0,)):
        return None
    text = f"slices are shifted sideways by up to {shift_mm:.2f} mm against the straight stack that the affine states"
    return Flag(code="F_DICOM_SLICES_SHIFTED", text=text)
