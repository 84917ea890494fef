"""Geometry of a stack of slices: DICOM direction cosines to a 4x4 affine, and back and forth between index and mm.

Used by the readers in ``data`` and by whoever needs millimetres. Knows no file format and no pixels.

An affine maps (slice, row, column, 1) to millimetres in the DICOM patient system (LPS: x to the patient's left, y to
the back, z to the head; PS3.3 C.7.6.2.1.1). RAS appears only where another format asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medvox.types import Affine

Vector = NDArray[np.float64]  # (3,), LPS

AXIS_LETTERS = (("R", "L"), ("A", "P"), ("F", "H"))  # (towards minus, towards plus) of x, y, z; PS3.3 C.7.6.1.1.1
OBLIQUE_SHARE = 0.3  # a direction cosine above this earns a second or third letter


@dataclass(frozen=True, kw_only=True, slots=True)
class SideLetters:
    """What the four edges of a displayed slice point to, such as ``R`` or ``AH``."""

    left: str
    right: str
    top: str
    bottom: str


def slice_normal(orientation: Sequence[float]) -> Vector:
    """Normal of a slice: the cross product of the two in-plane directions.

    Args:
        orientation: the six numbers of ImageOrientationPatient; the first three point along increasing column index,
            the last three along increasing row index.
    """
    along_columns, along_rows = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    return np.cross(along_columns, along_rows)


def orthonormal_error(orientation: Sequence[float]) -> float:
    """How far the two in-plane directions are from unit length and from a right angle; 0 is perfect."""
    directions = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    return float(np.abs(directions @ directions.T - np.eye(2)).max())


def lps_affine(
    origin_mm: ArrayLike, slice_step_mm: ArrayLike, orientation: Sequence[float], pixel_spacing_mm: Sequence[float]
) -> Affine:
    """Affine of a stack: index (slice, row, column, 1) to LPS millimetres.

    Args:
        origin_mm: centre of the first voxel of the first slice (ImagePositionPatient).
        slice_step_mm: vector from one slice's origin to the next one's.
        orientation: ImageOrientationPatient.
        pixel_spacing_mm: PixelSpacing: distance between rows, distance between columns.
    """
    along_columns, along_rows = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    affine = np.eye(4)
    affine[:3, 0] = slice_step_mm
    affine[:3, 1] = along_rows * pixel_spacing_mm[0]
    affine[:3, 2] = along_columns * pixel_spacing_mm[1]
    affine[:3, 3] = origin_mm
    return affine


def spacing_of(affine: Affine) -> tuple[float, float, float]:
    """Distance in mm between neighbouring voxel centres along (slice, row, column)."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return (float(lengths[0]), float(lengths[1]), float(lengths[2]))


def tilt_deg(affine: Affine) -> float:
    """Angle in degrees between the slice step and the slice normal; 0 for an unsheared stack."""
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    step = affine[:3, 0]
    cosine = float(normal @ step) / float(np.linalg.norm(normal) * np.linalg.norm(step))
    return float(np.degrees(np.arccos(np.clip(abs(cosine), 0.0, 1.0))))


def index_to_mm(affine: Affine, index: ArrayLike) -> NDArray[np.float64]:
    """Indices (..., 3) as (slice, row, column) to LPS millimetres (..., 3)."""
    return np.asarray(index, dtype=np.float64) @ affine[:3, :3].T + affine[:3, 3]


def mm_to_index(affine: Affine, point_mm: ArrayLike) -> NDArray[np.float64]:
    """LPS millimetres (..., 3) to fractional indices (..., 3) as (slice, row, column)."""
    return (np.asarray(point_mm, dtype=np.float64) - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T


def lps_to_ras(affine: Affine) -> Affine:
    """The same index mapping in RAS millimetres, as NIfTI wants them. Its own inverse."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def direction_letters(direction: ArrayLike) -> str:
    """Patient letters of an LPS direction, strongest first: ``L`` for +x, ``AH`` for half forwards, half upwards."""
    vector = np.asarray(direction, dtype=np.float64)
    vector = vector / np.linalg.norm(vector)
    order = [axis for axis in np.argsort(-np.abs(vector), kind="stable") if abs(vector[axis]) > OBLIQUE_SHARE]
    return "".join(AXIS_LETTERS[axis][int(vector[axis] > 0)] for axis in order)


def side_letters(affine: Affine) -> SideLetters:
    """Letters for the four edges of a slice that is shown with row 0 on top and column 0 on the left."""
    to_right, to_bottom = affine[:3, 2], affine[:3, 1]
    return SideLetters(
        left=direction_letters(-to_right),
        right=direction_letters(to_right),
        top=direction_letters(-to_bottom),
        bottom=direction_letters(to_bottom),
    )
