"""Fixtures that several test folders use."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

Edit = Callable[[Dataset, int], None]  # changes the data set of slice number 0, 1, ... before it is written
WriteCt = Callable[..., list[Path]]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it are skipped where it is absent."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is not here")
    return folder


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where ``speech_server.py`` listens on this machine."""
    here = Path(__file__).parent
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(here.parent / "src")}
    words = [sys.executable, here / "speech_server.py"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout
    yield int(process.stdout.readline())
    process.kill()
    process.wait()


@pytest.fixture
def unzip(tmp_path: Path) -> Callable[[Path], Path]:
    """Unpack a zip of the shared data into a folder of the test, and give the folder."""

    def unpack(archive: Path) -> Path:
        folder = tmp_path / archive.parent.name / archive.stem
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(folder)
        return folder

    return unpack


def ct_slice(number: int, *, rows: int, columns: int, step_mm: float) -> Dataset:
    """A valid CT slice of uncompressed noise with a stripe of air and one of bone; 0.5 x 0.8 mm pixels."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{number + 1}"
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID = "1.2.3.4"
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SeriesDescription = "made for a test"
    dataset.AcquisitionNumber = 1
    dataset.InstanceNumber = number + 1
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [-10, -20, round(30 + step_mm * number, 6)]
    dataset.PixelSpacing = [0.5, 0.8]  # between rows, between columns
    dataset.SliceThickness = step_mm
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    stored = np.random.default_rng(number).integers(900, 1200, size=(rows, columns), dtype=np.uint16)
    stored[0], stored[1] = 0, 2000  # -1024 and 976 HU
    dataset.PixelData = stored.tobytes()
    return dataset


@pytest.fixture
def write_ct(tmp_path: Path) -> WriteCt:
    """Write a small CT series: ``write_ct(slices=5, edit=..., folder="ct")`` gives the files in slice order.

    ``edit(dataset, number)`` breaks or changes a slice before it is written.
    """

    def write(
        slices: int = 5,
        *,
        folder: str = "ct",
        edit: Edit | None = None,
        shape: tuple[int, int] = (6, 4),
        step_mm: float = 2.0,
    ) -> list[Path]:
        target = tmp_path / folder
        target.mkdir(exist_ok=True)
        files = []
        for number in range(slices):
            dataset = ct_slice(number, rows=shape[0], columns=shape[1], step_mm=step_mm)
            if edit:
                edit(dataset, number)
            file = target / f"{folder}{number:03}.dcm"
            dataset.save_as(file, enforce_file_format=True)
            files.append(file)
        return files

    return write
