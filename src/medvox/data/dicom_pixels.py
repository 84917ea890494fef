"""One DICOM file's pixels: stored values of its frames, and Hounsfield units of a slice.

Third step of ``data/dicom.py`` and second of ``data/dicom_pictures.py``. Uncompressed pixels are taken straight from
the file; compressed ones go frame by frame through ``dicom_codec``. Sizes are checked against the limits and against
the codestream before anything is decoded. Knows nothing of series or order.

Source: DICOM PS3.5 section 8 (native and encapsulated pixel data), PS3.3 C.7.6.3 (image pixel).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from medvox.data.dicom_codec import KINDS, BadFrameError, Decoded, Layout, OtherFrameError, decode_frame
from medvox.data.dicom_colour import rgb_from_ybr, ybr_from_422
from medvox.data.dicom_file import over_limit, quiet_pydicom
from medvox.data.dicom_fragments import FramesLostError, frames_of
from medvox.data.dicom_header import Header
from medvox.data.limits import DEFAULT_LIMITS, MIB, Limits
from medvox.errors import InputError
from medvox.types import Flag

NATIVE = {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
BITS = {1, 8, 16, 32}
COLOURS = {
    1: {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", ""},
    3: {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"},
}
FLOATS = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}
SMALL_BYTES = 64 * MIB  # decoded pixels that may be blank, whatever they weigh compressed


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFrames:
    """Stored values of frames, before any rescaling.

    Attributes:
        values: (N, R, C), or (N, R, C, 3) RGB; integers by BitsAllocated and PixelRepresentation, or float32, float64.
        photometric: what the values mean: MONOCHROME1, MONOCHROME2, PALETTE COLOR (numbers of the palette) or RGB.
        stray_bits: pixels that had bits set above BitsStored; they were masked.
        flags: contradictions between header and codestream that were settled.
    """

    values: NDArray[Any]
    photometric: str
    stray_bits: int
    flags: tuple[Flag, ...] = ()


def codec_problem(header: Header) -> Flag | None:
    """Why the pixels of a file cannot be decoded, as far as the header and the file size tell."""
    if header.transfer_syntax in NATIVE:
        needed = _native_bytes(header, header.frames)
        if header.transfer_syntax != DeflatedExplicitVRLittleEndian and header.size_bytes < needed:
            text = f"{header.path.name} has {header.size_bytes} bytes, its pixels alone need {needed}"
            return Flag(code="E_DICOM_TRUNCATED", text=text)
        return None
    if header.transfer_syntax in KINDS:
        return None
    if not header.transfer_syntax:
        return Flag(code="E_DICOM_CODEC", text=f"{header.path.name} does not name its transfer syntax")
    with quiet_pydicom():
        syntax = UID(header.transfer_syntax)
        known = syntax.is_transfer_syntax and not syntax.is_private
    what = syntax.name if known else "an unknown or private transfer syntax"
    return Flag(code="E_DICOM_CODEC", text=f"no decoder for {what} ({header.path.name})")


def stored_values(dataset: Dataset, header: Header) -> tuple[NDArray[Any], int]:
    """Stored values (R, C) of a file with one frame, and how many pixels had bits above BitsStored."""
    frames = stored_frames(dataset, header)
    return frames.values[0], frames.stray_bits


def stored_frames(
    dataset: Dataset, header: Header, *, first: int = 0, count: int | None = None, limits: Limits = DEFAULT_LIMITS
) -> StoredFrames:
    """Decode ``count`` frames from ``first`` on (all of them by default).

    Args:
        dataset: the parsed file, with its pixel data.
        header: its facts, as ``dicom_header.header_of`` gives them.
        first: number of the first frame, from 0.
        count: how many frames.
        limits: ``frames``, ``picture_pixels`` (of one frame), ``decoded_bytes`` and ``inflate_ratio`` hold.

    Raises:
        InputError: ``E_DICOM_TRUNCATED``, ``E_DICOM_PIXEL_FORMAT`` (header and pixels do not fit, or an unusual kind),
            ``E_DICOM_CODEC`` (no decoder).
        BudgetError: ``E_DICOM_LIMIT``.
    """
    name = header.path.name
    count = max(header.frames - first, 0) if count is None else count
    keyword, data = _pixel_data(dataset, header)
    _check_kind(header, keyword)
    if first < 0 or count < 1 or first + count > header.frames:
        raise wrong_format(name, f"frames {first + 1} to {first + count} of {header.frames} do not exist")
    _check_size(header, count, limits)
    if keyword in FLOATS:
        wide = np.dtype(FLOATS[keyword])
        values = _native(data, header, (first, count), wide, big=header.transfer_syntax == ExplicitVRBigEndian)
        return StoredFrames(values=_shaped(values, header, count), photometric=header.photometric, stray_bits=0)
    if header.transfer_syntax in NATIVE:
        return _native_frames(dataset, data, header, (first, count))
    return _encapsulated_frames(dataset, data, header, (first, count), limits)


def truncated(name: str, why: str) -> InputError:
    """The error for a file whose pixel data is incomplete or damaged."""
    return InputError(
        f"{name} is incomplete or damaged: {why}",
        code="E_DICOM_TRUNCATED",
        fix="Copy or export the file again; its pixel data is incomplete.",
    )


def wrong_format(name: str, why: str) -> InputError:
    """The error for pixels that do not fit their header, or that are of a kind medvox does not read."""
    return InputError(
        f"{name} has pixels that cannot be read safely: {why}",
        code="E_DICOM_PIXEL_FORMAT",
        fix="Export the series again; rows, columns, bits and frames must match the pixel data.",
    )


def _pixel_data(dataset: Dataset, header: Header) -> tuple[str, bytes]:
    """Keyword and value of the element that holds the pixels."""
    name = header.path.name
    for keyword in ("PixelData", *FLOATS):
        try:
            data = dataset.get(keyword)
        except Exception as error:  # a damaged element raises whatever pydicom raises for it
            raise truncated(name, f"its pixel data element is damaged ({type(error).__name__})") from error
        if data:
            if not isinstance(data, bytes | bytearray):
                raise wrong_format(name, "its pixel data element does not hold bytes")
            return keyword, bytes(data)
    raise truncated(name, "it has no pixel data")


def _check_kind(header: Header, keyword: str) -> None:
    """Refuse what is unusual before it is decoded into nonsense."""
    name, bits, stored = header.path.name, header.bits_allocated, header.bits_stored
    problem = codec_problem(header)
    if problem is not None and problem.code == "E_DICOM_CODEC":
        fix = "Export it uncompressed (Explicit VR Little Endian), for example with: dcmconv +te IN OUT"
        raise InputError(problem.text, code=problem.code, fix=fix)
    if header.rows < 1 or header.columns < 1:
        raise wrong_format(name, f"{header.rows} rows and {header.columns} columns")
    if header.samples_per_pixel not in COLOURS:
        raise wrong_format(name, f"{header.samples_per_pixel} samples per pixel")
    if header.photometric not in COLOURS[header.samples_per_pixel]:
        raise wrong_format(name, f"its kind of colour does not go with {header.samples_per_pixel} sample(s) per pixel")
    if keyword in FLOATS:
        if bits != 8 * np.dtype(FLOATS[keyword]).itemsize or header.samples_per_pixel != 1:
            raise wrong_format(name, f"{bits} bits for floating-point pixels")
    elif bits not in BITS or not 0 < stored <= bits or header.high_bit != stored - 1:
        raise wrong_format(name, f"{stored} of {bits} bits stored, the highest is bit {header.high_bit}")
    elif header.transfer_syntax == RLELossless and bits == 1:
        fix = "Export it uncompressed (Explicit VR Little Endian), for example with: dcmconv +te IN OUT"
        raise InputError(f"no decoder for run-length encoded single bits ({name})", code="E_DICOM_CODEC", fix=fix)


def _check_size(header: Header, count: int, limits: Limits) -> None:
    name, pixels = header.path.name, header.rows * header.columns
    if header.frames > limits.frames:
        raise over_limit(name, f"{header.frames} frames, at most {limits.frames}")
    if pixels > limits.picture_pixels:
        raise over_limit(name, f"{header.rows} x {header.columns} pixels, at most {limits.picture_pixels}")
    decoded = count * pixels * header.samples_per_pixel * max(1, header.bits_allocated // 8)
    if decoded > limits.decoded_bytes:
        raise over_limit(name, f"{decoded} bytes of pixels, at most {limits.decoded_bytes}")


def _native_bytes(header: Header, frames: int) -> int:
    """Bytes of uncompressed pixels, without the byte that makes them even."""
    samples = 2 if header.photometric == "YBR_FULL_422" else header.samples_per_pixel
    return -(-frames * header.rows * header.columns * samples * header.bits_allocated // 8)


def _native(
    data: bytes, header: Header, part: tuple[int, int], wide: np.dtype[Any], *, big: bool = False
) -> NDArray[Any]:
    """The numbers of some uncompressed frames, in the machine's own byte order; single bits are unpacked."""
    name, needed = header.path.name, _native_bytes(header, header.frames)
    if len(data) < needed:
        raise truncated(name, f"{len(data)} bytes of pixel data, {needed} are needed")
    if len(data) > needed + needed % 2:
        raise wrong_format(name, f"{len(data)} bytes of pixel data, the header announces {needed}")
    first, count = part
    if header.bits_allocated == 1:
        each = header.rows * header.columns * header.samples_per_pixel
        start, end = first * each, (first + count) * each
        bits = np.unpackbits(np.frombuffer(data, np.uint8)[start // 8 : -(-end // 8)], bitorder="little")
        return bits[start % 8 : start % 8 + end - start]
    each = _native_bytes(header, 1)
    stored = wide.newbyteorder(">" if big else "<")
    words = np.frombuffer(data, stored, count=count * each // wide.itemsize, offset=first * each)
    return words.astype(wide, copy=False)


def _native_frames(dataset: Dataset, data: bytes, header: Header, part: tuple[int, int]) -> StoredFrames:
    big = header.transfer_syntax == ExplicitVRBigEndian
    if len(data) >= 8 and dataset["PixelData"].is_undefined_length:
        raise truncated(header.path.name, "its pixels are compressed, but its transfer syntax says they are not")
    if big and header.bits_allocated <= 8 and dataset["PixelData"].VR == "OW":
        data = np.frombuffer(data[: len(data) // 2 * 2], np.uint16).byteswap().tobytes()
    values = _native(data, header, part, np.dtype(f"u{max(1, header.bits_allocated // 8)}"), big=big)
    photometric = header.photometric
    if photometric == "YBR_FULL_422":
        if header.bits_allocated != 8 or header.columns % 2:
            raise wrong_format(header.path.name, "subsampled colours need 8 bits and an even number of columns")
        values, photometric = ybr_from_422(values).reshape(-1), "YBR_FULL"
    planes = header.samples_per_pixel > 1 and photometric == header.photometric and _planar(dataset, header)
    values, stray_bits = _masked(values, header.bits_stored, header.signed)
    shaped = _shaped(values, header, part[1], planes=planes)
    return _coloured(shaped, photometric, header, stray_bits)


def _planar(dataset: Dataset, header: Header) -> bool:
    try:
        configuration = dataset.get("PlanarConfiguration")
    except Exception:  # a damaged element
        configuration = None
    if configuration not in (0, 1):
        raise wrong_format(header.path.name, "PlanarConfiguration does not say how its colours are stored")
    return bool(configuration)


def _encapsulated_frames(
    dataset: Dataset, data: bytes, header: Header, part: tuple[int, int], limits: Limits
) -> StoredFrames:
    name, (first, count) = header.path.name, part
    layout = Layout(
        rows=header.rows, columns=header.columns, samples=header.samples_per_pixel, bits=header.bits_allocated,
        stored=header.bits_stored, signed=header.signed, photometric=header.photometric,
    )  # fmt: skip
    each = layout.rows * layout.columns * layout.samples * max(1, layout.bits // 8)
    try:
        undivided = header.transfer_syntax == RLELossless
        frames = frames_of(data, header.frames, extended=_extended_table(dataset), undivided=undivided)
        chosen = frames[first : first + count]
        if each * count > max(SMALL_BYTES, limits.inflate_ratio * sum(map(len, chosen))):
            raise over_limit(name, f"{each * count} bytes of pixels from {sum(map(len, chosen))} compressed ones")
        values = np.empty((count, each // max(1, layout.bits // 8)), _container(layout.bits, layout.signed))
        stray_bits, photometrics = 0, set()
        for place, frame in enumerate(chosen):
            decoded = decode_frame(frame, header.transfer_syntax, layout)
            kept, stray = _kept(decoded, layout, header.transfer_syntax)
            values[place] = kept.reshape(-1)
            stray_bits += stray
            photometrics.add(decoded.photometric)
    except (FramesLostError, OtherFrameError) as error:
        raise wrong_format(name, str(error)) from error
    except BadFrameError as error:
        raise truncated(name, str(error)) from error
    if len(photometrics) != 1:
        raise wrong_format(name, "its frames have different kinds of colour")
    return _coloured(_shaped(values, header, count), photometrics.pop(), header, stray_bits)


def _extended_table(dataset: Dataset) -> tuple[bytes, bytes] | None:
    try:
        table = (dataset.get("ExtendedOffsetTable") or b"", dataset.get("ExtendedOffsetTableLengths") or b"")
    except Exception as error:  # a damaged element
        raise FramesLostError("its extended offset table is damaged") from error
    return table if all(isinstance(part, bytes) for part in table) else None


def _container(bits: int, signed: bool) -> np.dtype[Any]:
    return np.dtype(f"{'i' if signed else 'u'}{max(1, bits // 8)}")


def _kept(decoded: Decoded, layout: Layout, syntax: str) -> tuple[NDArray[Any], int]:
    """Samples as the header types them. JPEG-LS knows no sign, and JPEG 2000 often states the wrong one."""
    values = decoded.values
    signed_source = values.dtype.kind == "i"
    raw = values.astype(_container(layout.bits, signed_source)).view(_container(layout.bits, False))
    if KINDS[syntax] in ("jpeg", "rle"):
        return _masked(raw, layout.stored, layout.signed)
    kept, stray = _masked(raw, min(decoded.precision, layout.stored), layout.signed)
    return kept, stray if decoded.precision > layout.stored else 0


def _masked(raw: NDArray[Any], stored: int, signed: bool) -> tuple[NDArray[Any], int]:
    """Unsigned words -> the numbers in their lowest ``stored`` bits, and how many words had other bits set.

    Bits above a negative number may repeat its sign or be zero.
    """
    spare = 8 * raw.dtype.itemsize - stored
    if signed:
        words = raw.view(f"i{raw.dtype.itemsize}")
        if not spare:
            return words, 0
        extended = (words << spare) >> spare
        return extended, int(((extended != words) & (raw >> stored != 0)).sum())
    if not spare:
        return raw, 0
    kept = raw & raw.dtype.type((1 << stored) - 1)
    return kept, int((kept != raw).sum())


def _shaped(values: NDArray[Any], header: Header, count: int, *, planes: bool = False) -> NDArray[Any]:
    samples, plane = header.samples_per_pixel, (header.rows, header.columns)
    if samples == 1:
        return values.reshape(count, *plane)
    if planes:
        return values.reshape(count, samples, *plane).transpose(0, 2, 3, 1)
    return values.reshape(count, *plane, samples)


def _coloured(values: NDArray[Any], photometric: str, header: Header, stray_bits: int) -> StoredFrames:
    """Turn luminance and chrominance into RGB, and say where the codestream had another kind than the header."""
    flags: tuple[Flag, ...] = ()
    stated = "RGB" if header.photometric in ("YBR_RCT", "YBR_ICT") else header.photometric.removesuffix("_422")
    if photometric.removesuffix("_422") != stated:
        text = (
            "the header and the compressed pixels state different kinds of colour; the compressed pixels were believed"
        )
        flags = (Flag(code="F_DICOM_COLOUR_BY_CODESTREAM", text=text),)
    if photometric.startswith("YBR"):
        if photometric not in ("YBR_FULL", "YBR_FULL_422") or values.dtype != np.uint8:
            raise wrong_format(header.path.name, "its kind of colour needs JPEG 2000, or 8 bits")
        values, photometric = rgb_from_ybr(values), "RGB"
    return StoredFrames(values=values, photometric=photometric, stray_bits=stray_bits, flags=flags)
