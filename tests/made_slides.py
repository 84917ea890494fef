"""Slides for tests: DICOM whole slides of any pixels and layout, and TIFF files with any tags."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    VLWholeSlideMicroscopyImageStorage,
)

Rgb = NDArray[np.uint8]
Edit = Callable[[Dataset], None]


def speckled(width: int, height: int, seed: int = 0) -> Rgb:
    """A picture (height, width, 3) in which every place looks different."""
    return np.random.default_rng(seed).integers(0, 256, size=(height, width, 3), dtype=np.uint8)


def tiles_of(pixels: Rgb, tile: int) -> list[tuple[tuple[int, int], Rgb]]:
    """(x, y) and pixels of every tile in row order; the last ones are filled up with zeros."""
    height, width = pixels.shape[:2]
    padded = np.zeros((-(-height // tile) * tile, -(-width // tile) * tile, 3), np.uint8)
    padded[:height, :width] = pixels
    return [((x, y), padded[y : y + tile, x : x + tile]) for y in range(0, height, tile) for x in range(0, width, tile)]


def write_wsi(
    path: Path,
    pixels: Rgb,
    *,
    tile: int = 16,
    syntax: UID = ExplicitVRLittleEndian,
    mpp_um: float = 0.5,
    sparse: Sequence[int] | None = None,
    edit: Edit | None = None,
) -> Path:
    """Write one level of a DICOM slide.

    ``sparse`` lists the tiles that a TILED_SPARSE file holds, in that order; without it the file is TILED_FULL.
    ``edit`` changes the data set before it is written.
    """
    tiles = tiles_of(pixels, tile)
    shown = [tiles[index] for index in (range(len(tiles)) if sparse is None else sparse)]
    dataset = _header(path, pixels, tile, syntax, mpp_um)
    dataset.NumberOfFrames = len(shown)
    if sparse is not None:
        dataset.DimensionOrganizationType = "TILED_SPARSE"
        dataset.PerFrameFunctionalGroupsSequence = [_position(corner) for corner, _ in shown]
    if syntax.is_compressed:
        dataset.PixelData = encapsulate([_encoded(picture, syntax) for _, picture in shown])
        dataset["PixelData"].is_undefined_length = True
    else:
        content = b"".join(picture.tobytes() for _, picture in shown)
        dataset.PixelData = content + bytes(len(content) % 2)
    dataset["PixelData"].VR = "OB"
    if edit:
        edit(dataset)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _header(path: Path, pixels: Rgb, tile: int, syntax: UID, mpp_um: float) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    uid = f"1.2.3.{int.from_bytes(path.name.encode()[:12], 'big')}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
    dataset.SeriesInstanceUID, dataset.Modality, dataset.PatientName = "1.2.3", "SM", "SECRET^NAME"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.DimensionOrganizationType = "TILED_FULL"
    dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = pixels.shape[:2]
    dataset.TotalPixelMatrixFocalPlanes = dataset.NumberOfOpticalPaths = 1
    dataset.Rows = dataset.Columns = tile
    dataset.SamplesPerPixel, dataset.PlanarConfiguration, dataset.PixelRepresentation = 3, 0, 0
    dataset.PhotometricInterpretation = "YBR_FULL_422" if syntax == JPEGBaseline8Bit else "RGB"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    measures, shared, optics = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [mpp_um / 1000, mpp_um / 1000]
    shared.PixelMeasuresSequence = [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    optics.OpticalPathIdentifier, optics.ObjectiveLensPower = "1", "20"
    dataset.OpticalPathSequence = [optics]
    return dataset


def _position(corner_xy: tuple[int, int]) -> Dataset:
    place, frame = Dataset(), Dataset()
    place.ColumnPositionInTotalImagePixelMatrix = corner_xy[0] + 1
    place.RowPositionInTotalImagePixelMatrix = corner_xy[1] + 1
    place.XOffsetInSlideCoordinateSystem = place.YOffsetInSlideCoordinateSystem = "0"
    place.ZOffsetInSlideCoordinateSystem = "0"
    frame.PlanePositionSlideSequence = [place]
    return frame


def _encoded(picture: Rgb, syntax: UID) -> bytes:
    if syntax == JPEGBaseline8Bit:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=95, subsampling="4:2:2")
        return buffer.getvalue()
    assert syntax == JPEGLSLossless
    height, width = picture.shape[:2]
    options = {
        "rows": height, "columns": width, "number_of_frames": 1, "samples_per_pixel": 3, "bits_allocated": 8,
        "bits_stored": 8, "pixel_representation": 0, "photometric_interpretation": "RGB", "planar_configuration": 0,
    }  # fmt: skip
    return get_encoder(syntax).encode(np.ascontiguousarray(picture), **options)


def write_tiff(path: Path, content: bytes, tags: dict[int, tuple[int, Sequence[int]]]) -> Path:
    """Write a little-endian TIFF of one directory; ``content`` starts at byte 8. Tags are (field type, values)."""
    file = bytearray(struct.pack("<2sHI", b"II", 42, 0)) + content + bytes(len(content) % 2)
    entries = b""
    for tag, (kind, values) in sorted(tags.items()):
        value = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(value) > 4:
            place = len(file)
            file += value + bytes(len(value) % 2)
            value = struct.pack("<I", place)
        entries += struct.pack("<HHI4s", tag, kind, len(values), value)
    struct.pack_into("<I", file, 4, len(file))
    path.write_bytes(bytes(file) + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0))
    return path


def tiled_tags(
    size: int, tile: int, *, bits: int = 8, length: int | None = None
) -> dict[int, tuple[int, Sequence[int]]]:
    """Tags of a square uncompressed RGB TIFF; all its tiles lie at byte 8 and are the same."""
    count = (-(-size // tile)) ** 2
    length = tile * tile * 3 * bits // 8 if length is None else length
    return {
        256: (4, (size,)), 257: (4, (size,)), 258: (3, (bits,) * 3), 259: (3, (1,)), 262: (3, (2,)), 277: (3, (3,)),
        322: (4, (tile,)), 323: (4, (tile,)), 324: (4, (8,) * count), 325: (4, (length,) * count),
    }  # fmt: skip
