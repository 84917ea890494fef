"""One DICOM file's pixels: stored values, and Hounsfield units. Works on one image at a time.

Third step of ``data/dicom.py``. Uncompressed pixels are taken straight from the file; compressed ones go through the
decoders that pydicom finds. Knows nothing of series or order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import get_decoder  # type: ignore[attr-defined]  # a public name without a stub
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medvox.data.dicom_header import Header, quiet_pydicom
from medvox.errors import InputError
from medvox.types import Flag, Voxels

UNCOMPRESSED = {ImplicitVRLittleEndian: "<u2", ExplicitVRLittleEndian: "<u2", ExplicitVRBigEndian: ">u2"}
AIR_HU = -1024  # what padded pixels become: the low end of the widest CT window
INT16 = np.iinfo(np.int16)


@dataclass(frozen=True, kw_only=True, slots=True)
class SlicePixels:
    """One slice in Hounsfield units (R, C), and how many pixels were not taken as they are."""

    hu: Voxels
    padded: int
    clipped: int
    stray_bits: int


def codec_problem(header: Header) -> Flag | None:
    """Why the pixels of a file cannot be decoded, as far as the header and the file size tell."""
    if header.transfer_syntax in UNCOMPRESSED:
        needed = header.rows * header.columns * header.frames * header.samples_per_pixel * header.bits_allocated // 8
        if header.size_bytes < needed:
            text = f"{header.path.name} has {header.size_bytes} bytes, its pixels alone need {needed}"
            return Flag(code="E_DICOM_TRUNCATED", text=text)
        return None
    if not header.transfer_syntax:
        return Flag(code="E_DICOM_CODEC", text=f"{header.path.name} does not name its transfer syntax")
    with quiet_pydicom():
        syntax = UID(header.transfer_syntax)
        try:
            available = get_decoder(syntax).is_available
        except NotImplementedError:
            available = False
    if available:
        return None
    return Flag(code="E_DICOM_CODEC", text=f"no decoder for {syntax.name} ({header.path.name})")


def slice_hu(dataset: Dataset, header: Header) -> SlicePixels:
    """Decode one image and turn stored values into Hounsfield units: value * RescaleSlope + RescaleIntercept, rounded.

    Padded pixels (PixelPaddingValue) become -1024. Values outside int16 are clipped and counted.

    Raises:
        InputError: pixel data missing, too short, too long or not decodable.
    """
    stored, stray_bits = stored_values(dataset, header)
    slope, intercept = header.slope or 0.0, header.intercept or 0.0
    if slope.is_integer() and intercept.is_integer() and abs(slope) < 2**14 and abs(intercept) < 2**29:
        wide = stored.astype(np.int32) * np.int32(slope) + np.int32(intercept)
    else:
        wide = np.rint(stored.astype(np.float64) * slope + intercept).clip(-(2**31), 2**31 - 1).astype(np.int32)
    padded = 0
    if header.padding:
        empty = (stored >= header.padding[0]) & (stored <= header.padding[1])
        padded = int(empty.sum())
        wide[empty] = AIR_HU
    clipped = 0
    if wide.min() < INT16.min or wide.max() > INT16.max:
        clipped = int(((wide < INT16.min) | (wide > INT16.max)).sum())
        wide = wide.clip(INT16.min, INT16.max)
    return SlicePixels(hu=wide.astype(np.int16), padded=padded, clipped=clipped, stray_bits=stray_bits)


def stored_values(dataset: Dataset, header: Header) -> tuple[NDArray[np.int16] | NDArray[np.uint16], int]:
    """Stored values (R, C) as int16 or uint16 by PixelRepresentation, and how many pixels had bits above BitsStored."""
    raw = _raw_words(dataset, header)
    spare = 16 - header.bits_stored
    if header.signed:
        words = raw.view(np.int16)
        if not spare:
            return words, 0
        signed = (words << spare) >> spare
        return signed, int((signed != words).sum())
    if not spare:
        return raw, 0
    unsigned = raw & np.uint16((1 << header.bits_stored) - 1)
    return unsigned, int((unsigned != raw).sum())


def _raw_words(dataset: Dataset, header: Header) -> NDArray[np.uint16]:
    """The 16-bit words of the image (R, C), whatever they mean."""
    name, shape = header.path.name, (header.rows, header.columns)
    try:
        data = dataset.get("PixelData")
    except Exception as error:  # a damaged element, see read_header
        raise truncated(name, f"its pixel data element is damaged ({type(error).__name__})") from error
    if not data:
        raise truncated(name, "it has no pixel data")
    if header.transfer_syntax in UNCOMPRESSED:
        needed = 2 * header.rows * header.columns
        if len(data) < needed:
            raise truncated(name, f"{len(data)} bytes of pixel data, {needed} are needed")
        if len(data) > needed:
            raise InputError(
                f"{name} has {len(data)} bytes of pixel data, its header announces {needed}",
                code="E_DICOM_PIXEL_FORMAT",
                fix="Export the series again; rows, columns and bits must match the pixel data.",
            )
        words = np.frombuffer(data, dtype=UNCOMPRESSED[UID(header.transfer_syntax)])
        return words.astype(np.uint16, copy=False).reshape(shape)
    try:
        decoded, _ = get_decoder(UID(header.transfer_syntax)).as_array(dataset, raw=True)
    except Exception as error:  # decoder plug-ins raise their own kinds
        raise truncated(name, f"its compressed pixels do not decode ({type(error).__name__})") from error
    if decoded.shape != shape or decoded.dtype.itemsize > 2:
        raise truncated(name, f"its compressed pixels have shape {decoded.shape}, the header says {shape}")
    return decoded.astype(np.int16 if decoded.dtype.kind == "i" else np.uint16).view(np.uint16)


def truncated(name: str, why: str) -> InputError:
    """The error for a file whose pixel data is incomplete or damaged."""
    return InputError(
        f"{name} is incomplete or damaged: {why}",
        code="E_DICOM_TRUNCATED",
        fix="Copy or export the file again; its pixel data is incomplete.",
    )
