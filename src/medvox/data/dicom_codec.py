"""One compressed DICOM frame -> its samples. Says what a codestream announces before any decoder sees it.

Used by ``dicom_pixels``. Which decoder does what: Pillow JPEG with 8 bits, pyjpegls JPEG-LS, pylibjpeg-openjpeg
JPEG 2000 and its high-throughput form, our own run-length decoder RLE. GDCM has a history of memory errors on damaged
input and is used only where none of the others can: JPEG lossless and JPEG with 12 bits. Whoever decodes files of
strangers does it in a limited child process (``sandbox``). Knows frames, not files.

Sources: DICOM PS3.5 section 8.2, annexes A.4 and G (RLE); ITU-T T.81 (JPEG), T.87 (JPEG-LS), T.800 (JPEG 2000).
"""

from __future__ import annotations

import io
import itertools
import struct
from dataclasses import dataclass
from typing import Any, Literal

import gdcm
import jpeg_ls
import numpy as np
from numpy.typing import NDArray
from openjpeg.utils import decode as decode_jpeg_2000
from PIL import Image
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

Kind = Literal["jpeg", "jpeg-ls", "jpeg-2000", "rle"]
KINDS: dict[str, Kind] = {
    JPEGBaseline8Bit: "jpeg",
    JPEGExtended12Bit: "jpeg",
    JPEGLossless: "jpeg",
    JPEGLosslessSV1: "jpeg",
    JPEGLSLossless: "jpeg-ls",
    JPEGLSNearLossless: "jpeg-ls",
    JPEG2000Lossless: "jpeg-2000",
    JPEG2000: "jpeg-2000",
    HTJ2KLossless: "jpeg-2000",
    HTJ2KLosslessRPCL: "jpeg-2000",
    HTJ2K: "jpeg-2000",
    RLELossless: "rle",
}

SOI, EOI = b"\xff\xd8", b"\xff\xd9"  # EOI also ends a JPEG 2000 codestream
J2K_START = b"\xff\x4f\xff\x51"
FRAME_MARKERS = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
PROCESSES = {"jpeg": {0xC0, 0xC1, 0xC2, 0xC3}, "jpeg-ls": {0xF7}}  # SOF markers that the decoders know
DCT_FRAMES = {0xC0, 0xC1, 0xC2}
ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
RGB_NAMES = {b"RGB", b"rgb"}
MAX_TILES = 65_535  # ITU-T T.800 A.5.1
RLE_HEADER_BYTES = 64
RLE_GAIN = 64  # two bytes become at most 128


class BadFrameError(Exception):
    """The compressed frame is damaged; the text names no value of the file but sizes."""


class OtherFrameError(BadFrameError):
    """The codestream announces another image than the header does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What a frame must be, by the DICOM header. ``bits`` is BitsAllocated, ``stored`` BitsStored."""

    rows: int
    columns: int
    samples: int
    bits: int
    stored: int
    signed: bool
    photometric: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Codestream:
    """What a codestream announces. For JPEG, ``process`` is the SOF marker, ``names`` the component identifiers."""

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool = False
    process: int = 0
    names: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """Samples (R, C) or (R, C, 3), whose colours are ``photometric``; ``precision`` bits of them count."""

    values: NDArray[Any]
    photometric: str
    precision: int


def decode_frame(data: bytes, syntax: str, layout: Layout) -> Decoded:
    """Decode one frame after checking that it announces what the header announces.

    Raises:
        BadFrameError: damaged or cut short.
        OtherFrameError: of another size, depth or number of samples than the header says.
    """
    kind = KINDS[syntax]
    if kind == "rle":
        return Decoded(values=rle_decoded(data, layout), photometric=layout.photometric, precision=layout.stored)
    data = _closed(data)
    stream = jpeg_2000_header(data) if kind == "jpeg-2000" else jpeg_header(data, PROCESSES[kind])
    found = (stream.rows, stream.columns, stream.samples)
    if found != (layout.rows, layout.columns, layout.samples):
        expected = f"{layout.rows} x {layout.columns} x {layout.samples}"
        raise OtherFrameError("its compressed pixels are {} x {} x {}, the header says ".format(*found) + expected)
    if stream.precision > layout.bits:
        raise OtherFrameError(f"its compressed pixels have {stream.precision} bits, the header allows {layout.bits}")
    try:
        values, photometric = _DECODERS[kind](data, stream, layout)
    except Exception as error:  # each decoder raises its own kinds, and they quote the file
        raise BadFrameError(f"its compressed pixels do not decode ({type(error).__name__})") from error
    shape = (layout.rows, layout.columns) if layout.samples == 1 else (layout.rows, layout.columns, layout.samples)
    if values.size != layout.rows * layout.columns * layout.samples:
        raise BadFrameError(f"its compressed pixels decode to {values.size} samples")
    return Decoded(values=values.reshape(shape), photometric=photometric, precision=stream.precision)


def jpeg_header(data: bytes, processes: set[int]) -> Codestream:
    """Read the frame header of a JPEG or JPEG-LS stream (T.81 B.2.2).

    Raises:
        BadFrameError: there is none; OtherFrameError: its process is not among ``processes``.
    """
    if data[:2] != SOI:
        raise BadFrameError("its compressed pixels do not start as JPEG")
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise BadFrameError("its compressed pixels have no JPEG frame header")
        marker = data[at + 1]
        if marker == 0xFF or marker in ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in FRAME_MARKERS and at + 10 <= len(data):
            if marker not in processes:
                raise OtherFrameError(f"its compressed pixels use JPEG process SOF{marker - 0xC0}")
            precision, rows, columns, samples = struct.unpack_from(">BHHB", data, at + 4)
            if marker in DCT_FRAMES and precision not in (8, 12):  # T.81 table B.2; some writers state 16
                raise OtherFrameError(f"its compressed pixels state {precision} bits, which their JPEG process lacks")
            names = data[at + 10 : at + 10 + 3 * samples : 3]
            return Codestream(
                rows=rows, columns=columns, samples=samples, precision=precision, process=marker, names=names
            )
        at += 2 + max(length, 2)
    raise BadFrameError("its compressed pixels have no JPEG frame header")


def jpeg_2000_header(data: bytes) -> Codestream:
    """Read the SIZ marker of a JPEG 2000 codestream (T.800 A.5.1).

    Raises:
        BadFrameError: no such marker, components that differ or are subsampled, or more tiles than the standard has.
    """
    if not data.startswith(J2K_START) or len(data) < 45:
        raise BadFrameError("its compressed pixels do not start as a JPEG 2000 codestream")
    x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0, samples = struct.unpack_from(">8LH", data, 8)
    parts = data[42 : 42 + 3 * samples]
    if not samples or len(parts) < 3 * samples or parts != parts[:3] * samples or parts[1:3] != b"\1\1":
        raise BadFrameError("its compressed pixels have components of different kinds")
    if not tile_x or not tile_y or x1 <= x0 or y1 <= y0:
        raise BadFrameError("its compressed pixels have no size")
    if -(-(x1 - tile_x0) // tile_x) * -(-(y1 - tile_y0) // tile_y) > MAX_TILES:
        raise BadFrameError("its compressed pixels are cut into too many tiles")
    depth = parts[0]
    return Codestream(
        rows=y1 - y0, columns=x1 - x0, samples=samples, precision=(depth & 0x7F) + 1, signed=bool(depth & 0x80)
    )


def rle_decoded(data: bytes, layout: Layout) -> NDArray[Any]:
    """Decode a run-length encoded frame (PS3.5 annex G): one segment per sample and byte, high bytes first.

    Raises:
        BadFrameError: a segment that is cut short; OtherFrameError: wrong number of segments.
    """
    width = layout.bits // 8
    expected = layout.samples * width
    if len(data) < RLE_HEADER_BYTES or layout.bits % 8:
        raise BadFrameError("its run-length encoded frame has no header for such pixels")
    count, *offsets = struct.unpack_from("<16L", data)
    if count != expected or count > 15:
        raise OtherFrameError(f"its run-length encoded frame has {count} segments, {expected} are needed")
    edges = [*offsets[:count], len(data)]
    if edges[0] != RLE_HEADER_BYTES or edges != sorted(edges):
        raise BadFrameError("the segments of its run-length encoded frame are out of order")
    pixels = layout.rows * layout.columns
    if any((after - before) * RLE_GAIN < pixels for before, after in itertools.pairwise(edges)):
        raise BadFrameError("its run-length encoded frame is too short for its size")
    planes = np.empty((layout.samples, width, pixels), np.uint8)
    for place in range(count):
        segment = _unpacked(data[edges[place] : edges[place + 1]], pixels)
        planes[place // width, width - 1 - place % width] = np.frombuffer(segment, np.uint8)
    words = np.ascontiguousarray(planes.transpose(2, 0, 1)).view(f"<u{width}").reshape(pixels, layout.samples)
    shape = (layout.rows, layout.columns) if layout.samples == 1 else (layout.rows, layout.columns, layout.samples)
    return words.reshape(shape)


def _unpacked(segment: bytes, size: int) -> bytearray:
    """Undo PackBits, never past ``size``."""
    out = bytearray()
    at, end = 0, len(segment)
    while len(out) < size:
        if at + 1 >= end:
            raise BadFrameError("a segment of its run-length encoded frame ends early")
        head = segment[at]
        if head < 128:
            piece = segment[at + 1 : at + 2 + head]
            if len(piece) != head + 1:
                raise BadFrameError("a segment of its run-length encoded frame ends early")
            out += piece
            at += 2 + head
        else:
            if head > 128:
                out += segment[at + 1 : at + 2] * (257 - head)
                at += 1
            at += 1
    if len(out) > size or segment[at:].strip(b"\0\x80"):  # padding, and bytes that stand for nothing, may follow
        raise BadFrameError("a segment of its run-length encoded frame is longer than the frame")
    return out


def _closed(data: bytes) -> bytes:
    """The codestream without what pads it. Its end must be there: decoders make up the rest of a stream that is cut."""
    end = data.rfind(EOI)
    if end < 0 or data[end + 2 :].strip(b"\0\xff\x20"):
        raise BadFrameError("its compressed pixels are cut short")
    return data[: end + 2]


def _jpeg(data: bytes, stream: Codestream, layout: Layout) -> tuple[NDArray[Any], str]:
    if stream.process == 0xC3 or stream.precision != 8:
        return _gdcm_jpeg(data, stream, layout)
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    if stream.samples == 1:
        return np.asarray(image), layout.photometric
    transform = image.info.get("adobe_transform")
    if transform == 1 or stream.names in RGB_NAMES:  # the decoder makes RGB of it, or it is stored as RGB
        return np.asarray(image), "RGB"
    if transform is None:
        image.draft("YCbCr", image.size)  # as stored
    return np.asarray(image), "YBR_FULL" if "jfif" in image.info else layout.photometric


def _gdcm_jpeg(data: bytes, stream: Codestream, layout: Layout) -> tuple[NDArray[Any], str]:
    """JPEG lossless and JPEG with more than 8 bits, which only GDCM decodes."""
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(data)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((stream.columns, stream.rows, 1))
    image.SetDataElement(element)
    colours = gdcm.PhotometricInterpretation.RGB if stream.samples == 3 else gdcm.PhotometricInterpretation.MONOCHROME2
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(colours))
    lossless, other = gdcm.TransferSyntax.JPEGLosslessProcess14, gdcm.TransferSyntax.JPEGExtendedProcess2_4
    image.SetTransferSyntax(gdcm.TransferSyntax(lossless if stream.process == 0xC3 else other))
    bits = 8 if stream.precision <= 8 else 16
    image.SetPixelFormat(gdcm.PixelFormat(stream.samples, bits, stream.precision, stream.precision - 1, 0))
    content = image.GetBuffer().encode("utf-8", "surrogateescape")  # its bytes come as text
    return np.frombuffer(content, np.uint8 if bits == 8 else np.uint16), layout.photometric


def _jpeg_ls(data: bytes, stream: Codestream, layout: Layout) -> tuple[NDArray[Any], str]:
    content, facts = jpeg_ls.decode_pixel_data(data)
    values = np.frombuffer(content, np.uint8 if stream.precision <= 8 else np.uint16)
    if stream.samples > 1 and facts["interleave_mode"] == 0:  # plane after plane
        values = values.reshape(stream.samples, -1).T
    return values, layout.photometric


def _jpeg_2000(data: bytes, stream: Codestream, layout: Layout) -> tuple[NDArray[Any], str]:
    values = decode_jpeg_2000(data)
    return values, "RGB" if layout.photometric in ("YBR_RCT", "YBR_ICT") else layout.photometric


_DECODERS = {"jpeg": _jpeg, "jpeg-ls": _jpeg_ls, "jpeg-2000": _jpeg_2000}
