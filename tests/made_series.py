"""Made DICOM series: ways to change and break them, and to read them back. Files come from the ``write_ct`` fixture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

from medvox.data.dicom import find_study, read_volume
from medvox.data.volume import Series, Volume

WriteCt = Callable[..., list[Path]]
Edit = Callable[[Dataset, int], None]


def only_series(files: list[Path]) -> Series:
    (series,) = find_study(files[0].parent).series
    return series


def read(files: list[Path]) -> Volume:
    return read_volume(only_series(files))


def codes(value: Series | Volume) -> set[str]:
    return {flag.code for flag in value.flags}


def setting(**elements: object) -> Edit:
    """An edit that sets elements of every slice; None deletes."""

    def edit(dataset: Dataset, number: int) -> None:
        for name, value in elements.items():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value)

    return edit


def on_slice(chosen: int, edit: Edit) -> Edit:
    return lambda dataset, number: edit(dataset, number) if number == chosen else None


def both(*edits: Edit) -> Edit:
    """One edit after the other."""

    def edit(dataset: Dataset, number: int) -> None:
        for one in edits:
            one(dataset, number)

    return edit


def as_mr(dataset: Dataset, number: int) -> None:
    """Turn a CT slice into an MR slice, which has no rescale."""
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
    dataset.Modality, dataset.ImageType = "MR", ["ORIGINAL", "PRIMARY", "M"]
    dataset.EchoTime = 10
    del dataset.RescaleSlope, dataset.RescaleIntercept


def repeated(places: int, **facts: Callable[[int], object]) -> Edit:
    """Slices that fill ``places`` places again and again; each fact is set from the number of the round."""

    def edit(dataset: Dataset, number: int) -> None:
        dataset.ImagePositionPatient = [-10, -20, 2 * (number % places)]
        for name, value in facts.items():
            setattr(dataset, name, value(number // places))

    return edit


def item(**elements: object) -> Items:
    """A sequence with one item."""
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return Items([dataset])


def enhanced_mr(
    frames: int = 5, *, rows: int = 6, columns: int = 4, times: int = 1, echoes: Sequence[float] = (10.0,)
) -> Dataset:
    """An enhanced multi-frame MR of noise: 2 mm apart, all ``frames`` of a time and echo after each other."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.5.1"
    dataset.SeriesInstanceUID, dataset.Modality, dataset.InstanceNumber = "1.2.3.5", "MR", 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    shared = item(
        PlaneOrientationSequence=item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelMeasuresSequence=item(PixelSpacing=[0.5, 0.8], SliceThickness=2),
    )
    dataset.SharedFunctionalGroupsSequence = shared
    dataset.PerFrameFunctionalGroupsSequence = Items(
        item(
            PlanePositionSequence=item(ImagePositionPatient=[-10, -20, 30 + 2 * frame]),
            FrameContentSequence=item(TemporalPositionIndex=time + 1),
            MREchoSequence=item(EffectiveEchoTime=echo),
        )[0]
        for time in range(times)
        for echo in echoes
        for frame in range(frames)
    )
    dataset.NumberOfFrames = frames * times * len(echoes)
    shape = (dataset.NumberOfFrames, rows, columns)
    dataset.PixelData = np.random.default_rng(5).integers(0, 4096, size=shape, dtype=np.uint16).tobytes()
    return dataset


def written(dataset: Dataset, file: Path) -> Path:
    """Write one data set; gives the file."""
    file.parent.mkdir(exist_ok=True)
    dataset.save_as(file, enforce_file_format=True)
    return file
