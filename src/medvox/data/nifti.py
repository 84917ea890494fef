"""A NIfTI file <-> Volumes, one per time point: stacked as radiologists look at them, nothing resampled.

First step of the path for NIfTI; ``encode`` is next. The voxels are permuted and flipped so that slices run along the
axis of acquisition and rows and columns run as on a reading screen; the affine takes part exactly. NIfTI does not say
which modality it is: the caller does. ``data/nifti_header`` judges the header. Knows no DICOM and no preset.

Source: the NIfTI-1 and NIfTI-2 standards (nifti1.h, nifti2.h).
"""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from medvox.data.affine import lps_to_ras, spacing_of
from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.data.nifti_file import NiftiFile, check_size, opened_nifti
from medvox.data.nifti_header import NiftiHeader, judge_header
from medvox.data.volume import Series, Source, Volume
from medvox.errors import InputError, MedvoxError, UsageError
from medvox.types import Affine, Flag, Voxels

LONGEST_AXIS = 32_767  # NIfTI-1 counts voxels in 16 bits
SAME_GRID_MM = 1e-3
GZIP_LEVEL = 3  # as small as 6 on scans, twice as fast
UNTURNED = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
NAME_FIX = "Name the file so that it ends in .nii.gz or .nii."
ROUNDED = 1e-3
MODALITY_UNKNOWN = Flag(
    code="F_NIFTI_MODALITY_UNKNOWN", text="NIfTI does not say what was measured: modality and unit are unknown"
)
TISSUE_HU = (-200, -500)  # a CT has something above the first (soft tissue) and something below the second (air)

# Where rows and columns of a shown slice run, as (axis of RAS, sign), by the axis of RAS that is nearest to the normal:
# sagittal: rows to the feet, columns to the back; coronal: feet, left; axial: back, left.
READING: dict[int, tuple[tuple[int, int], tuple[int, int]]] = {
    0: ((2, -1), (1, -1)),
    1: ((2, -1), (0, -1)),
    2: ((1, -1), (0, -1)),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """How the file's (i, j, k) become (slice, row, column)."""

    axes: tuple[int, int, int]  # file axis of slice, row, column
    flips: tuple[bool, bool, bool]
    shape: tuple[int, int, int]
    affine_lps: Affine


@dataclass(frozen=True, kw_only=True, slots=True)
class NiftiGrid:
    """The grid of a file that was written: voxels along (i, j, k) and volumes, and (i, j, k, 1) to RAS millimetres."""

    shape: tuple[int, ...]
    affine_ras: Affine


def find_nifti(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> Series:
    """Look at the header of a NIfTI file; unpacks no voxels.

    A header whose geometry or numbers cannot be relied on gives a Series with the verdict ``refuse``.

    Raises:
        InputError: nothing there (``E_INPUT_MISSING``), not readable, or no NIfTI file (``E_NIFTI_MAGIC``).
        BudgetError: larger than the limits (``E_NIFTI_LIMIT``).
    """
    with opened_nifti(path, limits) as file:
        start = file.take_header()
        uid = _uid(file.source)
        try:
            header = judge_header(start, path.name)
            check_size(file, header, _memory(header, ""), limits)
        except MedvoxError as error:
            flag = Flag(code=error.code, text=error.message)
            return Series(
                uid=uid, modality="", description="", shape=(), spacing_mm=None, affine_lps=None, verdict="refuse",
                flags=(flag,), files=(path,),
            )  # fmt: skip
    layout = _layout(header)
    flags = (*header.flags, MODALITY_UNKNOWN)
    return Series(
        uid=uid, modality="", description="", shape=layout.shape, spacing_mm=spacing_of(layout.affine_lps),
        affine_lps=layout.affine_lps, verdict="flagged", flags=flags, files=(path,), volumes=header.volumes,
    )  # fmt: skip


def read_nifti(path: Path, *, modality: str = "", limits: Limits = DEFAULT_LIMITS) -> tuple[Volume, ...]:
    """Read a NIfTI file (``.nii`` or ``.nii.gz``, told apart by content) into one Volume per time point.

    Integers stay integers (int16, uint16 or int32); scaled values and floats become float32. Values that are not
    numbers are refused, because no background value is safe for every use.

    Args:
        path: one file; a pair of ``.hdr`` and ``.img`` is refused.
        modality: what the file holds, as the caller knows it. With ``CT`` the values are taken as Hounsfield units and
            rounded to int16. Left out, the unit is ``unspecified`` and a flag says so.
        limits: checked before memory is taken.

    Raises:
        InputError: not readable, not NIfTI, cut off, or its geometry or values cannot be relied on (``E_NIFTI_...``).
        BudgetError: larger than the limits (``E_NIFTI_LIMIT``).
    """
    with opened_nifti(path, limits) as file:
        header = judge_header(file.take_header(), path.name)
        check_size(file, header, _memory(header, modality), limits)
        file.skip_to_voxels(header)
        layout = _layout(header)
        volumes = tuple(_volume(header, layout, file, modality, number) for number in range(1, header.volumes + 1))
        file.check_end()
    return volumes


def _layout(header: NiftiHeader) -> _Layout:
    """Permutation and flips to the reading position, and the affine that goes with them."""
    affine = header.affine_ras
    nearest = [int(axis) for axis in io_orientation(affine)[:, 0]]  # axis of RAS for each axis of the file
    slices = header.slice_axis
    (row_ras, row_sign), (column_ras, column_sign) = READING[nearest[slices]]
    rows, columns = nearest.index(row_ras), nearest.index(column_ras)
    flip_rows = affine[row_ras, rows] * row_sign < 0.0
    flip_columns = affine[column_ras, columns] * column_sign < 0.0
    normal = np.cross(affine[:3, columns], affine[:3, rows]) * (-1.0 if flip_rows != flip_columns else 1.0)
    axes = (slices, rows, columns)
    flips = (bool(normal @ affine[:3, slices] < 0.0), bool(flip_rows), bool(flip_columns))
    to_file = np.zeros((4, 4))  # (slice, row, column, 1) -> (i, j, k, 1)
    to_file[3, 3] = 1.0
    for place, (axis, flipped) in enumerate(zip(axes, flips, strict=True)):
        to_file[axis, place] = -1.0 if flipped else 1.0
        to_file[axis, 3] = header.shape_ijk[axis] - 1 if flipped else 0.0
    shape = (header.shape_ijk[slices], header.shape_ijk[rows], header.shape_ijk[columns])
    return _Layout(axes=axes, flips=flips, shape=shape, affine_lps=lps_to_ras(affine) @ to_file)


def _target(header: NiftiHeader, modality: str) -> np.dtype[Any]:
    """The numbers that a Volume holds for the numbers on disk."""
    if modality == "CT":
        return np.dtype(np.int16)
    if header.scaled or header.stored.kind == "f":
        return np.dtype(np.float32)
    wide = {"u1": "i2", "i1": "i2", "i2": "i2", "u2": "u2"}
    return np.dtype(wide.get(header.stored.str[1:], "i4"))


def _memory(header: NiftiHeader, modality: str) -> int:
    """Bytes that all volumes take once they are read."""
    return header.volume_bytes // header.stored.itemsize * header.volumes * _target(header, modality).itemsize


def _read_volume(header: NiftiHeader, layout: _Layout, file: NiftiFile, modality: str) -> tuple[Voxels, bool]:
    """The next volume of the stream in reading position, and whether rounding changed a value."""
    stored = np.frombuffer(file.take(header.volume_bytes), header.stored).reshape(header.shape_ijk, order="F")
    turned = stored.transpose(layout.axes)[tuple(slice(None, None, -1 if flipped else 1) for flipped in layout.flips)]
    target = _target(header, modality)
    voxels = np.empty(layout.shape, target)
    rounded = False
    for index, plane in enumerate(turned):
        values = plane if not header.scaled else _scaled(plane, header)
        if values.dtype.kind == "f":
            _check_finite(values, file.source.name)
            if target.kind != "f":
                whole = np.rint(values)
                rounded = rounded or bool(np.abs(values - whole).max() > ROUNDED)
                values = whole
        _check_range(values, target, file.source.name)
        voxels[index] = values
    return voxels, rounded


def _scaled(plane: NDArray[Any], header: NiftiHeader) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as no number
        return plane.astype(np.float64) * header.slope + header.intercept


def _check_finite(values: NDArray[Any], name: str) -> None:
    wrong = int(values.size - np.isfinite(values).sum())
    if wrong:
        raise InputError(
            f"{name} holds voxels that are not numbers ({wrong} in one slice)",
            code="E_NIFTI_NOT_FINITE",
            fix="Replace NaN and infinity by a value that means no signal.",
        )


def _check_range(values: NDArray[Any], target: np.dtype[Any], name: str) -> None:
    bounds = np.finfo(target) if target.kind == "f" else np.iinfo(target)
    if values.min() < bounds.min or values.max() > bounds.max:
        raise InputError(
            f"{name} holds values outside {bounds.min:g} to {bounds.max:g}",
            code="E_NIFTI_RANGE",
            fix="Check that the values have the unit that they should have.",
        )


def _volume(header: NiftiHeader, layout: _Layout, file: NiftiFile, modality: str, number: int) -> Volume:
    voxels, rounded = _read_volume(header, layout, file, modality)
    affine = layout.affine_lps
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    normal /= np.linalg.norm(normal)
    first, step = float(normal @ affine[:3, 3]), float(normal @ affine[:3, 0])
    return Volume(
        voxels=voxels,
        unit="HU" if modality == "CT" else "unspecified",
        spacing_mm=spacing_of(affine),
        affine_lps=affine,
        slice_positions_mm=tuple(first + step * index for index in range(len(voxels))),
        modality=modality,
        series_uid=_uid(file.source),
        description="",
        flags=(*header.flags, *_value_flags(voxels, modality, rounded)),
        sources=(file.source,),
        moment=f"time {number}" if header.volumes > 1 else "",
    )


def _value_flags(voxels: Voxels, modality: str, rounded: bool) -> Iterator[Flag]:
    if not modality:
        yield MODALITY_UNKNOWN
    if rounded:
        yield Flag(code="F_NIFTI_ROUNDED", text="values were rounded to whole Hounsfield units")
    if modality == "CT":
        low, high = int(voxels.min()), int(voxels.max())
        if high < TISSUE_HU[0] or low > TISSUE_HU[1]:
            text = (
                f"values run from {low} to {high} HU, which leaves out air or soft tissue: is this really a CT in HU?"
            )
            yield Flag(code="F_CT_HU_IMPLAUSIBLE", text=text)


def _uid(source: Source) -> str:
    return f"nifti-{source.sha256[:16]}"


def write_nifti(
    volumes: Sequence[Volume], path: Path, *, turn_to_ras: bool = False, overwrite: bool = False
) -> NiftiGrid:
    """Write one volume as a 3-D file, or the volumes of one grid as a 4-D file; NIfTI-1, ``.nii`` or ``.nii.gz``.

    The layout is dcm2niix's: i = column, j = row counted from the last one, k = slice. The file appears under its name
    only when it is complete. Nothing but numbers goes into it: no description, no date, no file name.

    Args:
        volumes: at least one.
        path: the file to write.
        turn_to_ras: permute and flip the axes to run nearest to right, forwards and up, as dcm2niix does with 3-D
            acquisitions. Every voxel stays at its millimetre.
        overwrite: replace the file if it is there.

    Raises:
        UsageError: ``E_OUTPUT_NAME`` (neither ``.nii`` nor ``.nii.gz``), ``E_OUTPUT_EXISTS``, or ``E_OUTPUT_WRITE``
            (no room, no right, no folder).
        InputError: the volumes do not lie on one grid (``E_NIFTI_GRID``), or an axis is too long for the format
            (``E_NIFTI_DIMS``).
    """
    if not path.name.endswith((".nii", ".nii.gz")):
        raise UsageError(f"{path.name} ends neither in .nii nor in .nii.gz", code="E_OUTPUT_NAME", fix=NAME_FIX)
    _check_grid(volumes, path.name)
    first = volumes[0]
    slices, rows, columns = first.voxels.shape
    to_array = np.zeros((4, 4))  # (i, j, k, 1) -> (slice, row, column, 1)
    to_array[0, 2] = to_array[2, 0] = to_array[3, 3] = 1.0
    to_array[1, 1], to_array[1, 3] = -1.0, rows - 1
    affine: Affine = lps_to_ras(first.affine_lps) @ to_array
    turn = io_orientation(affine) if turn_to_ras else UNTURNED  # (new axis, direction) of i, j, k
    affine = affine @ inv_ornt_aff(turn, (columns, rows, slices))
    stored = np.result_type(*(volume.voxels for volume in volumes))
    arrays = [apply_orientation(volume.voxels[:, ::-1].transpose(2, 1, 0), turn) for volume in volumes]  # views
    shape = (*arrays[0].shape, len(volumes)) if len(volumes) > 1 else arrays[0].shape
    header = _header(shape, affine, stored, slice_axis=int(turn[2, 0]))
    with _written(path, overwrite=overwrite) as file:
        file.write(header.binaryblock + bytes(4))
        for array in arrays:
            file.write(np.ascontiguousarray(array.T, dtype=stored.newbyteorder("<")).data)
    return NiftiGrid(shape=shape, affine_ras=affine)


def _check_grid(volumes: Sequence[Volume], name: str) -> None:
    first = volumes[0]
    if max(len(volumes), *first.voxels.shape) > LONGEST_AXIS:
        raise InputError(
            f"{name} would need an axis of more than {LONGEST_AXIS} voxels",
            code="E_NIFTI_DIMS",
            fix="Split the volume.",
        )
    for volume in volumes[1:]:
        same = volume.voxels.shape == first.voxels.shape
        if not (same and np.allclose(volume.affine_lps, first.affine_lps, rtol=0.0, atol=SAME_GRID_MM)):
            raise InputError(
                f"the {len(volumes)} volumes for {name} differ in size or place",
                code="E_NIFTI_GRID",
                fix="Write each of them into its own file.",
            )


def _header(shape: tuple[int, ...], affine: Affine, stored: np.dtype[Any], *, slice_axis: int) -> Nifti1Header:
    header = Nifti1Header(endianness="<")
    header.set_data_shape(shape)
    header.set_data_dtype(stored)
    header.set_slope_inter(1.0, 0.0)
    header.set_xyzt_units("mm", "sec")
    header.set_dim_info(slice=slice_axis)
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1)  # nearest rotation
    if np.abs(header.get_qform() - affine).max() > SAME_GRID_MM:  # sheared: a quaternion cannot say it
        header.set_qform(affine, code=0)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    return header


@contextmanager
def _written(path: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """A file to write into that takes its name only when it is complete and on disk; removed on any error."""
    _check_free(path, overwrite)
    part: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".medvox-", suffix=".part")
        part = Path(name)
        with os.fdopen(handle, "wb") as raw:
            if path.name.endswith(".gz"):
                with gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0, compresslevel=GZIP_LEVEL) as packed:
                    yield packed  # type: ignore[misc]  # a GzipFile writes like a BinaryIO
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        _check_free(path, overwrite)
        part.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path.name} cannot be written", code="E_OUTPUT_WRITE", fix="Check the folder, its rights and free space."
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _check_free(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise UsageError(
            f"{path.name} exists already", code="E_OUTPUT_EXISTS", fix="Choose another name, or ask to overwrite."
        )
