"""The header of a NIfTI file, judged: sizes, numbers on disk, and where the voxels lie in the patient.

``data/nifti`` reads the bytes and the voxels. Knows no file and allocates nothing; whatever the bytes are, it answers
with a header or with an error of ours.

Source: the NIfTI-1 and NIfTI-2 standards (nifti1.h, nifti2.h).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from nibabel import nifti1, nifti2, quaternions
from numpy.typing import NDArray

from medvox.errors import InputError
from medvox.types import Affine, Flag

Order = Literal["<", ">"]  # byte order

HEADER_BYTES = {348: nifti1.header_dtype, 540: nifti2.header_dtype}
MAGIC = {348: b"n+1", 540: b"n+2"}
MAGIC_PAIR = (b"ni1", b"ni2")
NUMBERS = {  # datatype code -> numpy name
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
COLOUR, COMPLEX = (128, 2304), (32, 1792, 2048)
MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}  # xyzt_units & 7: metre, millimetre, micrometre
TEMPLATE_CODES = (3, 4, 5)  # Talairach, MNI, another template
FORMS_TOLERANCE_MM = 0.1
SPACING_TOLERANCE = 0.01
PLAUSIBLE_MM = (0.001, 100.0)  # of a voxel: micro-CT to a thick survey slice
SHEAR_COSINE = 0.002  # about 0.1 degrees
AFFINE_FIX = "Convert the original DICOM to NIfTI again."
DEGENERATE = 1e-4  # volume of the unit parallelepiped of the three directions


@dataclass(frozen=True, kw_only=True, slots=True)
class NiftiHeader:
    """What a NIfTI header says, after the standard's rules.

    Attributes:
        shape_ijk: voxels along the three axes of the file; i runs fastest on disk.
        volumes: time points.
        stored: numbers on disk, with their byte order.
        slope: the value is slope * stored + intercept.
        intercept: see ``slope``.
        order: byte order, ``<`` or ``>``.
        header_bytes: 348 for NIfTI-1, 540 for NIfTI-2.
        data_offset: bytes before the first voxel.
        affine_ras: (i, j, k, 1) to RAS millimetres.
        slice_axis: the axis (0, 1 or 2) along which slices were acquired.
        flags: what a reader must know.
    """

    shape_ijk: tuple[int, int, int]
    volumes: int
    stored: np.dtype[Any]
    slope: float
    intercept: float
    order: Order
    header_bytes: int
    data_offset: int
    affine_ras: Affine
    slice_axis: int
    flags: tuple[Flag, ...]

    @property
    def scaled(self) -> bool:
        """Whether values differ from the numbers on disk."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    @property
    def volume_bytes(self) -> int:
        """Bytes on disk of one volume."""
        i, j, k = self.shape_ijk
        return i * j * k * self.stored.itemsize


def header_size(start: bytes, name: str) -> int:
    """Bytes of the header that begins with ``start`` (its first 4 bytes): 348 for NIfTI-1, 540 for NIfTI-2.

    Raises:
        InputError: ``E_NIFTI_MAGIC``, no NIfTI file.
    """
    return _size_and_order(start, name)[0]


def judge_header(content: bytes, name: str) -> NiftiHeader:
    """Parse and judge the bytes of a header (348 or 540).

    Raises:
        InputError: no NIfTI file, or one whose geometry, numbers or sizes cannot be relied on (``E_NIFTI_...``).
    """
    size, order = _size_and_order(content[:4], name)
    fields = np.frombuffer(content[:size], HEADER_BYTES[size].newbyteorder(order))[0]
    _check_magic(fields["magic"].tobytes()[:3], size, name)
    flags: list[Flag] = []
    shape, volumes = _shape(fields, name)
    stored = _stored(fields, order, name)
    slope, intercept = _scaling(fields, name, flags)
    affine = _affine(fields, shape, name, flags)
    return NiftiHeader(
        shape_ijk=shape,
        volumes=volumes,
        stored=stored,
        slope=slope,
        intercept=intercept,
        order=order,
        header_bytes=size,
        data_offset=_offset(fields, size, name),
        affine_ras=affine,
        slice_axis=_slice_axis(fields, shape, affine),
        flags=tuple(flags),
    )


def _size_and_order(start: bytes, name: str) -> tuple[int, Order]:
    orders: tuple[Order, Order] = ("<", ">")
    for order in orders:
        size = int.from_bytes(start, "little" if order == "<" else "big")
        if size in HEADER_BYTES:
            return size, order
    raise _refused(f"{name} is not a NIfTI file", "E_NIFTI_MAGIC", "Give a .nii or .nii.gz file.")


def _check_magic(magic: bytes, size: int, name: str) -> None:
    if magic == MAGIC[size]:
        return
    if magic in MAGIC_PAIR:
        raise _refused(
            f"{name} is the header of a .hdr/.img pair", "E_NIFTI_PAIR", "Save it as one .nii or .nii.gz file."
        )
    raise _refused(
        f"{name} has no NIfTI mark (it may be Analyze 7.5, which states no sides)",
        "E_NIFTI_MAGIC",
        "Convert the original DICOM to NIfTI again.",
    )


def _shape(fields: Any, name: str) -> tuple[tuple[int, int, int], int]:
    dims = [int(value) for value in fields["dim"]]
    used = dims[0]
    fix = "Give a 2-D or 3-D volume, or a series of volumes in time."
    if not 2 <= used <= 7 or min(dims[1 : used + 1]) < 1:
        raise _refused(f"{name} states impossible sizes (dim {dims})", "E_NIFTI_DIMS", fix)
    sizes = dims[1 : used + 1] + [1] * (7 - used)
    if max(sizes[4:]) > 1:
        raise _refused(f"{name} has {used} dimensions: vectors or matrices per voxel", "E_NIFTI_DIMS", fix)
    return (sizes[0], sizes[1], sizes[2]), sizes[3]


def _stored(fields: Any, order: Order, name: str) -> np.dtype[Any]:
    code, bits = int(fields["datatype"]), int(fields["bitpix"])
    if code in COLOUR:
        raise _refused(f"{name} holds colours, not measured values", "E_NIFTI_COLOUR", "Give the grey volume.")
    if code in COMPLEX:
        raise _refused(f"{name} holds complex numbers", "E_NIFTI_COMPLEX", "Save the magnitude as its own file.")
    if code not in NUMBERS or bits != 8 * np.dtype(NUMBERS[code]).itemsize:
        raise _refused(
            f"{name} states datatype {code} with {bits} bits, which is not read",
            "E_NIFTI_DATATYPE",
            "Save it with 16-bit integers or 32-bit floats.",
        )
    return np.dtype(NUMBERS[code]).newbyteorder(order)


def _scaling(fields: Any, name: str, flags: list[Flag]) -> tuple[float, float]:
    """Slope and intercept. A slope of 0 means none (the standard); NaN is read the same way, with a flag."""
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if np.isnan(slope):
        flags.append(Flag(code="F_NIFTI_SCALE_INVALID", text="scl_slope is not a number; values are taken unscaled"))
        return 1.0, 0.0
    if slope == 0.0:
        return 1.0, 0.0
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        raise _refused(
            f"{name} states scl_slope {slope} and scl_inter {intercept}", "E_NIFTI_SCALE", "Save the file again."
        )
    return slope, intercept


def _offset(fields: Any, size: int, name: str) -> int:
    offset = float(fields["vox_offset"])
    if not (np.isfinite(offset) and offset == int(offset) and offset >= size + 4):
        raise _refused(f"{name} states that voxels begin at byte {offset:g}", "E_NIFTI_OFFSET", "Save the file again.")
    return int(offset)


def _affine(fields: Any, shape: tuple[int, int, int], name: str, flags: list[Flag]) -> Affine:
    """The sform where it is set, else the qform, else spacing without sides (method 1), flagged. In millimetres."""
    unit = int(fields["xyzt_units"]) & 7
    if unit not in MM_PER_UNIT:
        flags.append(Flag(code="F_NIFTI_UNITS_UNKNOWN", text="the unit of length is not stated; millimetres assumed"))
    scale = MM_PER_UNIT.get(unit, 1.0)
    spacing_mm = [scale * size for size in _spacing(fields, shape, name, flags)]
    sform = _sform(fields, scale) if int(fields["sform_code"]) > 0 else None
    qform = _qform(fields, spacing_mm, scale, name) if int(fields["qform_code"]) > 0 else None
    if sform is None and qform is None:
        text = "neither sform nor qform is set: which side is left is unknown"
        flags.append(Flag(code="F_NIFTI_NO_ORIENTATION", text=text))
    affine = next((form for form in (sform, qform) if form is not None), np.diag([*spacing_mm, 1.0]))
    _check_affine(affine, name)
    flags.extend(_form_flags(fields, shape, sform, qform, spacing_mm))
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if steps.min() < PLAUSIBLE_MM[0] or steps.max() > PLAUSIBLE_MM[1]:
        text = f"voxels of {steps.min():.3g} to {steps.max():.3g} mm: is the unit of length right?"
        flags.append(Flag(code="F_NIFTI_SPACING_IMPLAUSIBLE", text=text))
    if _shear(affine) > SHEAR_COSINE:
        flags.append(Flag(code="F_NIFTI_SHEARED", text="the axes of the volume are not at right angles"))
    return affine


def _spacing(fields: Any, shape: tuple[int, int, int], name: str, flags: list[Flag]) -> list[float]:
    """Voxel sizes (pixdim) along the three axes, in the file's unit; an axis without neighbours needs none."""
    spacing = [float(value) for value in fields["pixdim"][1:4]]
    for axis, count in enumerate(shape):
        if np.isfinite(spacing[axis]) and spacing[axis] > 0.0:
            continue
        if count > 1:
            raise _refused(
                f"{name} states a voxel size of {spacing[axis]:g} along axis {axis + 1}",
                "E_NIFTI_SPACING",
                AFFINE_FIX,
            )
        spacing[axis] = 1.0
        flags.append(Flag(code="F_NIFTI_SPACING_ASSUMED", text=f"no size along axis {axis + 1}; 1 unit assumed"))
    return spacing


def _sform(fields: Any, scale: float) -> Affine:
    with np.errstate(invalid="ignore"):  # what is no number is refused by _check_affine
        rows = [scale * np.asarray(fields[row], dtype=np.float64) for row in ("srow_x", "srow_y", "srow_z")]
    return np.vstack([*rows, [0.0, 0.0, 0.0, 1.0]])


def _qform(fields: Any, spacing_mm: list[float], scale: float, name: str) -> Affine:
    """Rotation by the quaternion, with the third axis reversed where pixdim[0] is -1 (method 2)."""
    parts = np.array([float(fields[part]) for part in ("quatern_b", "quatern_c", "quatern_d")])
    offset = np.array([float(fields[part]) for part in ("qoffset_x", "qoffset_y", "qoffset_z")])
    if not (np.isfinite(parts).all() and float(parts @ parts) <= 1.0 + 1e-5):
        raise _refused(f"{name} states an impossible rotation (quaternion)", "E_NIFTI_AFFINE", AFFINE_FIX)
    whole = np.array([np.sqrt(max(0.0, 1.0 - float(parts @ parts))), *parts])
    handed = -1.0 if float(fields["pixdim"][0]) < 0.0 else 1.0
    affine = np.eye(4)
    affine[:3, :3] = quaternions.quat2mat(whole) * np.array([*spacing_mm[:2], handed * spacing_mm[2]])
    affine[:3, 3] = scale * offset
    return affine


def _check_affine(affine: Affine, name: str) -> None:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or lengths.min() <= 0.0:
        raise _refused(f"{name} states an affine with axes of no length", "E_NIFTI_AFFINE", AFFINE_FIX)
    if abs(float(np.linalg.det(affine[:3, :3] / lengths))) < DEGENERATE:
        raise _refused(f"{name} states an affine whose axes lie in one plane", "E_NIFTI_AFFINE", AFFINE_FIX)


def _form_flags(
    fields: Any, shape: tuple[int, int, int], sform: Affine | None, qform: Affine | None, spacing_mm: list[float]
) -> Iterator[Flag]:
    """Contradictions inside the header, and what the code of the form says."""
    code = int(fields["sform_code"]) if sform is not None else int(fields["qform_code"])
    if code in TEMPLATE_CODES:
        yield Flag(code="F_NIFTI_TEMPLATE_SPACE", text="warped to a template: sizes are not the patient's")
    if sform is None:
        return
    if qform is not None:
        corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape], [1])).reshape(4, -1)
        apart = float(np.linalg.norm(((sform - qform) @ corners)[:3], axis=0).max())
        if apart > FORMS_TOLERANCE_MM:
            text = f"sform and qform disagree by up to {apart:.3g} mm; the sform was used"
            yield Flag(code="F_NIFTI_FORMS_DISAGREE", text=text)
    steps = np.linalg.norm(sform[:3, :3], axis=0)
    if np.abs(steps / spacing_mm - 1.0).max() > SPACING_TOLERANCE:
        text = "voxel sizes (pixdim) differ from the sform's; the sform was used"
        yield Flag(code="F_NIFTI_SPACING_DIFFERS", text=text)


def _shear(affine: Affine) -> float:
    """Largest cosine between two axes; 0 for right angles."""
    directions: NDArray[np.float64] = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.abs(directions.T @ directions - np.eye(3)).max())


def _slice_axis(fields: Any, shape: tuple[int, int, int], affine: Affine) -> int:
    """Where slices were acquired along: dim_info, else an axis of one voxel, else the odd one of the spacings, else k.

    Two equal spacings are those of the picture; the third one is the step between slices.
    """
    stated = (int(fields["dim_info"]) >> 4) & 3
    if stated:
        return stated - 1
    if sum(size == 1 for size in shape) == 1:
        return shape.index(1)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    alike = [abs(spacing[(axis + 1) % 3] / spacing[(axis + 2) % 3] - 1.0) <= SPACING_TOLERANCE for axis in range(3)]
    return alike.index(True) if sum(alike) == 1 else 2


def _refused(message: str, code: str, fix: str) -> InputError:
    return InputError(message, code=code, fix=fix)
