"""Stored values of one plane -> the values of a volume: Hounsfield units for CT, else what the file's mapping gives.

Fifth step of ``data/dicom.py``. Works on one plane at a time and writes into the volume. Knows no file and no order.

Source: DICOM PS3.3 C.11.1 (modality LUT: value = stored * slope + intercept), C.7.5.1.1.2 (padding).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvox.data.dicom_frames import Plane
from medvox.data.dicom_header import Header
from medvox.types import Flag, Voxels

AIR_HU = -1024  # what padded pixels become: the low end of the widest CT window
TISSUE_HU = (-200, -500)  # a CT has something above the first (soft tissue) and something below the second (air)
BELOW_AIR_HU = -1100  # below it there is only filling outside the field of view, which has few distinct values
MAX_FILLINGS = 4
WRONG_STRIDE_SHARE = 0.5  # neighbouring rows of a picture differ at most this much of what they do at a wrong width
INT16 = np.iinfo(np.int16)
EXACT_SLOPE, EXACT_INTERCEPT = 2**14, 2**29  # below these, 16-bit values are rescaled in int32 without overflow


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Pixels that were not taken as they are: padded, clipped, with bits above BitsStored, or not finite.

    ``lowest`` and ``highest`` are the extremes of the Hounsfield units.
    """

    padded: int = 0
    clipped: int = 0
    stray_bits: int = 0
    not_finite: int = 0
    lowest: int = INT16.max
    highest: int = INT16.min

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            padded=self.padded + other.padded,
            clipped=self.clipped + other.clipped,
            stray_bits=self.stray_bits + other.stray_bits,
            not_finite=self.not_finite + other.not_finite,
            lowest=min(self.lowest, other.lowest),
            highest=max(self.highest, other.highest),
        )


def plain_words(words: NDArray[np.uint16], header: Header) -> tuple[NDArray[Any], int]:
    """16-bit words of a file -> stored values by PixelRepresentation, and how many had bits above BitsStored."""
    spare = 16 - header.bits_stored
    if header.signed:
        signed = words.view(np.int16)
        if not spare:
            return signed, 0
        extended = (signed << spare) >> spare
        return extended, int((extended != signed).sum())
    highest = (1 << header.bits_stored) - 1
    if not spare or int(words.max()) <= highest:
        return words, 0
    kept = words & np.uint16(highest)
    return kept, int((kept != words).sum())


def put_values(stored: NDArray[Any], plane: Plane, out: Voxels, *, keep_padding: bool = False) -> Counts:
    """Write the values of one plane.

    Args:
        stored: (R, C) stored values, without stray bits.
        plane: its mapping.
        out: (R, C) part of a volume; its type is that of ``dicom_series.voxel_dtype``.
        keep_padding: leave the padding of a CT as it is.
    """
    if plane.header.modality != "CT":
        return _put_other(stored, plane, out)
    return _put_hu(stored, plane, out, None if keep_padding else plane.header.padding)


def _put_hu(stored: NDArray[Any], plane: Plane, out: Voxels, padding: tuple[int, int] | None) -> Counts:
    """Hounsfield units, rounded to whole ones. Padding becomes -1024, values outside int16 are clipped."""
    slope, intercept = plane.mapping.slope or 0.0, plane.mapping.intercept or 0.0
    lowest, highest = 0 if stored.dtype.kind == "u" else int(stored.min()), int(stored.max())
    low, high = sorted((lowest * slope + intercept, highest * slope + intercept))
    fits = INT16.min <= low and high <= INT16.max
    shift_only = slope == 1 and intercept.is_integer() and abs(intercept) <= INT16.max
    if fits and shift_only and highest <= INT16.max and stored.dtype.itemsize == 2:
        np.add(stored.view(np.int16), np.int16(intercept), out=out)
    elif (
        slope.is_integer() and intercept.is_integer() and abs(slope) < EXACT_SLOPE and abs(intercept) < EXACT_INTERCEPT
    ):
        wide = stored.astype(np.int32) * np.int32(slope) + np.int32(intercept)
        out[...] = wide if fits else wide.clip(INT16.min, INT16.max)
    else:
        out[...] = np.rint(stored.astype(np.float64) * slope + intercept).clip(INT16.min, INT16.max)
    padded, clipped = 0, 0
    if not fits:
        exact = stored.astype(np.float64) * slope + intercept
        outside = (np.rint(exact) < INT16.min) | (np.rint(exact) > INT16.max)
        clipped = int(outside.sum())
    if padding:
        empty = (stored >= padding[0]) & (stored <= padding[1])
        padded = int(empty.sum())
        if padded:
            out[empty] = AIR_HU
            clipped -= 0 if fits else int((outside & empty).sum())
    return Counts(padded=padded, clipped=clipped, lowest=int(out.min()), highest=int(out.max()))


def _put_other(stored: NDArray[Any], plane: Plane, out: Voxels) -> Counts:
    """Values by the plane's mapping, computed in float64; padding is kept as it is."""
    slope, intercept = plane.mapping.slope or 0.0, plane.mapping.intercept or 0.0
    padding, not_finite = plane.header.padding, 0
    if slope == 1 and intercept == 0 and (stored.dtype.kind in "iu" or stored.dtype == out.dtype):
        out[...] = stored
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            out[...] = stored.astype(np.float64) * slope + intercept
    if out.dtype.kind == "f":
        not_finite = int(out.size - np.isfinite(out).sum())
    padded = 0
    if padding and padding != (0, 0):
        padded = int(((stored >= padding[0]) & (stored <= padding[1])).sum())
    return Counts(padded=padded, not_finite=not_finite)


def value_flags(voxels: Voxels, unit: str, modality: str, counts: Counts) -> Iterator[Flag]:
    """What only the pixels of a volume tell."""
    if counts.padded and modality == "CT":
        yield Flag(code="F_DICOM_PADDING", text=f"{counts.padded} padded pixels (no data) were set to -1024 HU")
    elif counts.padded:
        yield Flag(
            code="F_DICOM_PADDING", text=f"{counts.padded} pixels hold the padding value (no data); they were kept"
        )
    if counts.clipped:
        yield Flag(
            code="F_DICOM_CLIPPED", text=f"{counts.clipped} voxels lie outside -32768..32767 HU and were clipped"
        )
    if counts.stray_bits:
        text = f"{counts.stray_bits} pixels had bits set above BitsStored; they were masked"
        yield Flag(code="F_DICOM_STRAY_BITS", text=text)
    if counts.not_finite:
        yield Flag(code="F_DICOM_NOT_FINITE", text=f"{counts.not_finite} voxels are not finite numbers")
    if unit == "HU":
        yield from _hu_flags(voxels, counts.lowest, counts.highest)
    if _looks_transposed(voxels[voxels.shape[0] // 2]):
        text = f"{voxels.shape[1]} rows of {voxels.shape[2]} columns look like swapped numbers: rows do not continue"
        yield Flag(code="F_DICOM_ROWS_COLUMNS", text=text)


def _hu_flags(voxels: Voxels, low: int, high: int) -> Iterator[Flag]:
    if high < TISSUE_HU[0] or low > TISSUE_HU[1]:
        text = f"values run from {low} to {high} HU, which leaves out air or soft tissue: is this really a CT in HU?"
        yield Flag(code="F_CT_HU_IMPLAUSIBLE", text=text)
    elif low < BELOW_AIR_HU:
        middle = voxels[voxels.shape[0] // 2]
        if len(np.unique(middle[middle < BELOW_AIR_HU])) > MAX_FILLINGS:
            text = f"values run down to {low} HU, below air: the sign or the number of bits may be wrong"
            yield Flag(code="F_CT_HU_IMPLAUSIBLE", text=text)


def _looks_transposed(plane: Voxels) -> bool:
    """Whether a plane that is not square continues much better from row to row with its sides swapped."""
    rows, columns = plane.shape
    if rows == columns or min(rows, columns) < 16:
        return False
    line = plane.ravel().astype(np.float64)
    as_stated, as_swapped = (float(np.abs(line[stride:] - line[:-stride]).mean()) for stride in (columns, rows))
    return as_swapped < WRONG_STRIDE_SHARE * as_stated
