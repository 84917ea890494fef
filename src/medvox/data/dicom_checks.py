"""What makes a part of a series unsafe to read, or worth a word: checks on its planes, before any pixel is decoded.

Used by ``dicom_series``. Verdicts are data: a flag with an ``F_`` code travels on with the series, a flag with an
``E_`` code refuses it. Geometry of the stack is judged in ``dicom_stack``.

Source: DICOM PS3.3 C.7.6.2 (image plane), C.7.6.3 (image pixel), C.8.2.1 (CT image), C.11.1 (modality LUT).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from medvox.data.affine import direction_letters, orthonormal_error
from medvox.data.dicom_frames import Plane
from medvox.data.dicom_header import Header
from medvox.data.dicom_kind import CAPTURES, CT_IMAGES, MODALITIES, MULTIFRAME, PARAMETRIC_MAP
from medvox.data.dicom_pixels import NATIVE, codec_problem
from medvox.data.dicom_split import FARTHEST_MM, ORTHONORMAL_TOLERANCE
from medvox.data.limits import Limits
from medvox.types import Flag

AXIAL_SHARE = 0.7  # direction cosine above which a direction counts as an axis of the patient
LEAST_MM, MOST_MM = 0.001, 100.0  # pixel spacings that occur
HU_TYPES = {"", "HU", "HU_MOD"}

FIXES = {
    "E_DICOM_MODALITY": "Export the series again; its Modality and its storage class must say the same.",
    "E_DICOM_FRAMES": "Export the object again; its frame count must be right.",
    "E_DICOM_MOSAIC": "Export the series again without anonymising its private elements, or as enhanced MR.",
    "E_DICOM_NOT_CT_IMAGE": "Give the original CT images, not screenshots or derived pictures.",
    "E_DICOM_COLOUR": "Give the original images, not coloured ones.",
    "E_DICOM_NOT_READ": "Give a series of images; objects of this kind are recognised, but not read.",
    "E_DICOM_PIXEL_FORMAT": "Export the series again; the stated number of bits must fit the pixels.",
    "E_DICOM_CODEC": "Install a decoder for it (pip install python-gdcm), or convert first: gdcmconv --raw IN OUT",
    "E_DICOM_TRUNCATED": "Copy or export the file again; its pixel data is incomplete.",
    "E_DICOM_LIMIT": "Give a smaller part of the series, or raise the limit in medvox.data.limits.Limits.",
    "E_DICOM_ORIENTATION_MISSING": "Export the series again with its geometry (ImageOrientationPatient).",
    "E_DICOM_ORIENTATION_INVALID": "Export the series again; its slice directions are not perpendicular unit vectors.",
    "E_DICOM_POSITION_MISSING": "Export the series again with its geometry (ImagePositionPatient).",
    "E_DICOM_POSITION_INVALID": "Export the series again with its geometry (ImagePositionPatient).",
    "E_DICOM_SPACING_MISSING": "Export the series again with its spacing; without it no size can be stated.",
    "E_DICOM_SPACING_INVALID": "Export the series again; its spacing must be a positive number.",
    "E_DICOM_RESCALE_MISSING": "Export the series again with RescaleSlope and RescaleIntercept; both are needed.",
    "E_DICOM_RESCALE_INVALID": "Export the series again; RescaleSlope must be a number other than 0.",
    "E_DICOM_SLICE_DUPLICATE": "Keep one file per position: separate phases or reconstructions into folders.",
    "E_DICOM_SLICE_MISSING": "Find the missing files, or give the complete part of the series.",
}

Check = Callable[[Sequence[Plane], Sequence[Header]], Flag | None]


def _object_problem(planes: Sequence[Plane], headers: Sequence[Header]) -> Flag | None:
    """Files that are not what they claim. Planes of one part share class, modality and samples."""
    header = headers[0]
    must_be = MODALITIES.get(header.sop_class)
    if must_be and header.modality != must_be:
        text = f"the files are {must_be} images, but their Modality is {header.modality or 'empty'}"
        return Flag(code="E_DICOM_MODALITY", text=text)
    is_ct = header.modality == "CT"
    if is_ct and header.sop_class not in (*CT_IMAGES, PARAMETRIC_MAP, ""):
        return Flag(code="E_DICOM_NOT_CT_IMAGE", text="modality says CT, but the files are not CT Image Storage")
    if any(header.samples_per_pixel != 1 or not header.photometric.startswith("MONOCHROME") for header in headers):
        if is_ct:
            return Flag(
                code="E_DICOM_NOT_CT_IMAGE", text="the pictures are in colour, so they hold no Hounsfield units"
            )
        return Flag(code="E_DICOM_COLOUR", text="the pictures are in colour, so they hold no measured values")
    return None


def _frames_problem(planes: Sequence[Plane], headers: Sequence[Header]) -> Flag | None:
    for header in headers:
        name, count = header.path.name, header.frames
        if count < 1:
            return Flag(code="E_DICOM_FRAMES", text=f"{name} says that it has {count} frames")
        if header.tiles < 0:
            return Flag(code="E_DICOM_MOSAIC", text=f"{name} is a mosaic that does not say how many slices it shows")
        if header.frame_groups is not None and header.frame_groups != count:
            text = f"{name} says {count} frames, but describes {header.frame_groups}"
            return Flag(code="E_DICOM_FRAMES", text=text)
        if header.frame_groups is None and header.sop_class in MULTIFRAME:
            return Flag(code="E_DICOM_FRAMES", text=f"{name} has {count} frames, but describes none of them")
        if count > 1 and header.sop_class not in MULTIFRAME and header.detectors is None:
            text = f"{name} has {count} frames, but is not an enhanced object that says where they lie"
            return Flag(code="E_DICOM_FRAMES", text=text)
        if header.tiles and all(plane.tile is None for plane in planes if plane.header is header):
            return Flag(code="E_DICOM_MOSAIC", text=f"{name} has {header.tiles} slices that do not fit its size")
    return None


def _format_problem(planes: Sequence[Plane], headers: Sequence[Header]) -> Flag | None:
    for header in headers:
        bits = (header.bits_allocated, header.bits_stored, header.high_bit)
        if header.modality == "CT" and header.bits_allocated == 8:
            return Flag(
                code="E_DICOM_NOT_CT_IMAGE", text="8-bit pictures hold display grey values, not Hounsfield units"
            )
        allowed = (16,) if header.modality == "CT" and header.sop_class in (*CT_IMAGES, "") else (8, 16, 32)
        if header.sop_class == PARAMETRIC_MAP and header.bits_allocated in (32, 64):
            continue  # floating point; the integer attributes are absent
        if header.bits_allocated not in allowed or not 1 <= header.bits_stored <= bits[0] or bits[2] != bits[1] - 1:
            wanted = " or ".join(map(str, allowed))
            text = f"bits allocated, stored, high bit are {bits}; {wanted} bits with the high bit on top are needed"
            return Flag(code="E_DICOM_PIXEL_FORMAT", text=text)
    return None


def _file_problem(planes: Sequence[Plane], headers: Sequence[Header]) -> Flag | None:
    seen: set[str] = set()
    for header in headers:
        if header.transfer_syntax in seen and header.transfer_syntax not in NATIVE:
            continue
        seen.add(header.transfer_syntax)
        problem = codec_problem(header)
        if problem:
            return problem
    return None


def _rescale_problem(planes: Sequence[Plane], headers: Sequence[Header]) -> Flag | None:
    mappings = [plane.mapping for plane in planes]
    missing = [mapping for mapping in mappings if mapping.slope is None or mapping.intercept is None]
    if missing:
        absent = [name for name in ("slope", "intercept") if any(getattr(item, name) is None for item in missing)]
        tags = " and ".join(f"Rescale{name.capitalize()}" for name in absent)
        what = "files" if len(headers) == len(planes) else "planes"
        return Flag(code="E_DICOM_RESCALE_MISSING", text=f"{tags} missing in {len(missing)} of {len(planes)} {what}")
    for plane, mapping in zip(planes, mappings, strict=True):
        slope, intercept = mapping.slope or 0.0, mapping.intercept or 0.0
        if slope == 0 or not math.isfinite(slope) or not math.isfinite(intercept):
            text = f"{plane.header.path.name}: RescaleSlope {slope:g} and RescaleIntercept {intercept:g} give no values"
            return Flag(code="E_DICOM_RESCALE_INVALID", text=text)
    return None


def _polarity_flag(planes: Sequence[Plane], headers: Sequence[Header]) -> Flag | None:
    if any(header.photometric == "MONOCHROME1" for header in headers):
        text = "stored for inverted display (MONOCHROME1); measured values do not change by that"
        return Flag(code="F_DICOM_MONOCHROME1", text=text)
    return None


def _unit_flag(planes: Sequence[Plane], headers: Sequence[Header]) -> Flag | None:
    kinds = sorted({plane.rescale_type for plane in planes} - HU_TYPES)
    if headers[0].modality == "CT" and kinds:
        text = "RescaleType is not HU, so the numbers are not stated to be Hounsfield units"
        return Flag(code="F_DICOM_NOT_HU", text=text)
    return None


def _mapping_flag(planes: Sequence[Plane], headers: Sequence[Header]) -> Flag | None:
    origins = {plane.mapping.origin for plane in planes}
    if "philips" in origins:
        text = "values are Philips' own: stored values by the private scale slope, comparable between scans"
        return Flag(code="F_DICOM_PHILIPS_VALUES", text=text)
    steep = any(plane.mapping.slope != 1 or plane.mapping.intercept for plane in planes)
    if "real world" in origins and steep:
        text = "values are those of the RealWorldValueMapping, not of the display rescale"
        return Flag(code="F_DICOM_REAL_WORLD_VALUES", text=text)
    return None


def _capture_flag(planes: Sequence[Plane], headers: Sequence[Header]) -> Flag | None:
    if headers[0].sop_class not in CAPTURES:
        return None
    text = "secondary captures: their numbers may be display grey values"
    return Flag(code="F_DICOM_SECONDARY_CAPTURE", text=text)


def _syntax_flag(planes: Sequence[Plane], headers: Sequence[Header]) -> Flag | None:
    count = sum(header.inferred for header in headers)
    if not count:
        return None
    text = f"{count} of {len(headers)} files name no transfer syntax or a wrong one; it was concluded from their bytes"
    return Flag(code="F_DICOM_SYNTAX_INFERRED", text=text)


def _twin_flag(planes: Sequence[Plane], headers: Sequence[Header]) -> Flag | None:
    known = [header.sop_instance for header in headers if header.sop_instance]
    doubled = len(known) - len(set(known))
    if not doubled:
        return None
    return Flag(code="F_DICOM_UID_DUPLICATE", text=f"{doubled} files carry the SOPInstanceUID of another file")


def _reference_flag(planes: Sequence[Plane], headers: Sequence[Header]) -> Flag | None:
    count = len({header.frame_of_reference for header in headers})
    if count == 1:
        return None
    text = f"{count} frames of reference, one for each file; the positions were taken as if they shared one"
    return Flag(code="F_DICOM_FRAME_OF_REFERENCE", text=text)


def _normal_flag(planes: Sequence[Plane], headers: Sequence[Header]) -> Flag | None:
    if not any("MOSAIC" in header.image_type and header.tiles and not header.tiles_normal for header in headers):
        return None
    text = "the mosaic does not state in which direction its slices follow; the normal of the image was taken"
    return Flag(code="F_DICOM_MOSAIC_NORMAL", text=text)


def _patient_flag(planes: Sequence[Plane], headers: Sequence[Header]) -> Flag | None:
    """Words about the patient's position that contradict the direction cosines, which rule."""
    for plane in planes:
        header = plane.header
        along_columns, along_rows = np.array(plane.orientation).reshape(2, 3)
        stated, axes = header.patient_orientation, (along_columns, along_rows)
        if len(stated) == 2 and all(stated):
            for letters, axis in zip(stated, axes, strict=True):
                if letters[0] not in direction_letters(axis):
                    return _contradiction("PatientOrientation")
        lying = header.patient_position[2:]  # S supine, P prone; scanners keep the ceiling at the top of axial CT
        if header.modality == "CT" and lying in ("S", "P") and abs(along_columns[0]) > AXIAL_SHARE:
            to_back = along_rows[1] * (1 if lying == "S" else -1)
            if to_back < -AXIAL_SHARE:
                return _contradiction("PatientPosition")
    return None


def _scale_flag(planes: Sequence[Plane], headers: Sequence[Header]) -> Flag | None:
    spacings = [value for plane in planes for value in plane.pixel_spacing_mm or ()]
    if min(spacings) >= LEAST_MM and max(spacings) <= MOST_MM:
        return None
    text = f"pixel spacing from {min(spacings):g} to {max(spacings):g} mm: a unit other than mm?"
    return Flag(code="F_DICOM_SPACING_IMPLAUSIBLE", text=text)


def _contradiction(tag: str) -> Flag:
    text = f"{tag} contradicts ImageOrientationPatient; the latter was used: check the sides before relying on them"
    return Flag(code="F_DICOM_PATIENT_POSITION", text=text)


IMAGE_CHECKS: tuple[Check, ...] = (
    _object_problem,
    _frames_problem,
    _format_problem,
    _file_problem,
    _rescale_problem,
    _polarity_flag,
    _unit_flag,
    _mapping_flag,
    _capture_flag,
    _syntax_flag,
    _twin_flag,
    _reference_flag,
    _normal_flag,
)
PLACED_CHECKS: tuple[Check, ...] = (_patient_flag, _scale_flag)


def size_problem(volume_bytes: int, frames: int, limits: Limits) -> Flag | None:
    """Why a part is too large, or None."""
    if volume_bytes > limits.decoded_bytes:
        text = f"{volume_bytes / 2**30:.1f} GiB of voxels, the limit is {limits.decoded_bytes / 2**30:.1f} GiB"
        return Flag(code="E_DICOM_LIMIT", text=text)
    if frames > limits.frames:
        return Flag(code="E_DICOM_LIMIT", text=f"{frames} frames in one file, the limit is {limits.frames}")
    return None


def place_problem(planes: Sequence[Plane], headers: Sequence[Header]) -> Flag | None:
    """Why planes have no place in space, or None."""
    total, what = len(planes), "files" if len(headers) == len(planes) else "planes"
    for name, tag, code in (
        ("orientation", "ImageOrientationPatient", "E_DICOM_ORIENTATION_MISSING"),
        ("position_mm", "ImagePositionPatient", "E_DICOM_POSITION_MISSING"),
        ("pixel_spacing_mm", "PixelSpacing", "E_DICOM_SPACING_MISSING"),
    ):
        absent = sum(getattr(plane, name) is None for plane in planes)
        if absent:
            return Flag(code=code, text=f"{tag} missing in {absent} of {total} {what}")
    spacings = np.array([plane.pixel_spacing_mm for plane in planes])
    positions = np.array([plane.position_mm for plane in planes])
    error = max(map(orthonormal_error, {plane.orientation or () for plane in planes}))
    if not (np.isfinite(spacings).all() and (spacings > 0).all()):
        return Flag(code="E_DICOM_SPACING_INVALID", text="PixelSpacing holds a value that is not above 0")
    if not np.isfinite(positions).all():
        return Flag(code="E_DICOM_POSITION_MISSING", text="ImagePositionPatient does not hold three numbers")
    if np.abs(positions).max() > FARTHEST_MM:
        return Flag(code="E_DICOM_POSITION_INVALID", text="ImagePositionPatient lies more than a kilometre away")
    if not error <= ORTHONORMAL_TOLERANCE:
        text = f"row and column direction differ from perpendicular unit vectors by {error:.3g}"
        return Flag(code="E_DICOM_ORIENTATION_INVALID", text=text)
    return None
