"""DICOM images made for tests: from an array of stored values to the bytes of a file, in any transfer syntax."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
)

from medvox.data.dicom_file import read_dataset
from medvox.data.dicom_header import header_of
from medvox.data.dicom_pixels import StoredFrames, stored_frames
from medvox.data.limits import DEFAULT_LIMITS, Limits


def image_dataset(pixels: NDArray[Any], *, photometric: str = "MONOCHROME2", stored: int | None = None) -> Dataset:
    """An uncompressed image of (R, C), (R, C, 3) or (N, R, C, 3) pixels, or of frames (N, R, C) unless C is 3."""
    colour = pixels.shape[-1] == 3 and pixels.ndim > 2
    *frames, rows, columns = pixels.shape[: -1 if colour else None]
    bits = 8 * pixels.dtype.itemsize
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3.4.5"
    dataset.Modality, dataset.SeriesInstanceUID = "OT", "1.2.3.4"
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel = 3 if colour else 1
    if colour:
        dataset.PlanarConfiguration = 0
    if frames:
        dataset.NumberOfFrames = frames[0]
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated, dataset.BitsStored = bits, stored or bits
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    return dataset


def file_bytes(dataset: Dataset) -> bytes:
    """The bytes of a DICOM file; native ones are written in the data set's transfer syntax."""
    syntax = dataset.file_meta.TransferSyntaxUID
    file = io.BytesIO()
    dataset.save_as(
        file,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )
    return file.getvalue()


def write_image(dataset: Dataset, path: Path) -> Path:
    path.write_bytes(file_bytes(dataset))
    return path


def frames_in(path: Path, *, limits: Limits = DEFAULT_LIMITS, **part: int) -> StoredFrames:
    """What our reader makes of a file."""
    dataset = read_dataset(path.read_bytes(), path.name, limits=limits)
    return stored_frames(dataset, header_of(dataset, path), limits=limits, **part)


def encapsulated(dataset: Dataset, frames: list[bytes], syntax: str, *, table: bool = True) -> Dataset:
    """Put compressed frames into a data set."""
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate(frames, has_bot=table)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


def as_jpeg(dataset: Dataset, pixels: NDArray[np.uint8], **options: Any) -> Dataset:
    """JPEG baseline by Pillow."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return encapsulated(dataset, [file.getvalue()], JPEGBaseline8Bit)


def transcoded(source: Path, target: Path, syntax: int) -> Path:
    """Compress a file by GDCM."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetImage(change.GetOutput())
    writer.SetFile(reader.GetFile())
    writer.SetFileName(str(target))
    assert writer.Write()
    return target


def gdcm_pixels(path: Path, dtype: Any) -> NDArray[Any]:
    """All numbers of a file as GDCM decodes them, flat."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    return np.frombuffer(reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape"), dtype)
