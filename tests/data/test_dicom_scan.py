"""The quick look at a header agrees with the parser wherever it does not give up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_series import WriteCt, both, item, setting
from pydicom import Dataset

from medvox.data.dicom_file import read_dataset_file
from medvox.data.dicom_header import KEYWORDS, Header, first_look, header_from_scan, header_of
from medvox.errors import InputError

Unzip = Callable[[Path], Path]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns while odd files are written


def parsed(file: Path) -> Header:
    return header_of(read_dataset_file(file, specific_tags=KEYWORDS), file)


def agree(files: list[Path]) -> int:
    """How many files the scan understood; each must give the header that the parser gives."""
    understood = 0
    for file in files:
        found, size = first_look(file)
        if found is not None:
            quick = header_from_scan(found, file, size)
            assert quick == replace(parsed(file), plain=quick.plain)
            understood += 1
    return understood


SERIES = {
    "ct_body_siemens_j2k": 20,
    "ct_head_ge_tilt_varspacing": 28,
    "ct_small_ge": 17,
    "mr_epi_ge": 150,
    "mr_epi_siemens_ap": 2,
    "mr_t1_siemens_prone": 35,
    "mr_dti_uih": 0,  # nested groups: for the parser
    "mr_enhanced_philips": 0,
}


@pytest.mark.parametrize("name", SERIES)
def test_agrees_on_real_series(name: str, shared_data: Path, unzip: Unzip) -> None:
    folder = unzip(shared_data / "dicom" / name / "series.zip")

    assert agree([file for file in folder.rglob("*") if file.is_file()]) == SERIES[name]


@pytest.mark.parametrize(("name", "least"), [("pydicom", 20), ("highdicom", 2), ("dicom2nifti", 50)])
def test_agrees_on_odd_files(name: str, least: int, shared_data: Path, unzip: Unzip) -> None:
    folder = unzip(shared_data / "dicom_odd" / f"{name}.zip")

    assert agree([file for file in folder.rglob("*") if file.is_file()]) >= least


def test_pixels_are_found(write_ct: WriteCt) -> None:
    (file,) = write_ct(1)
    found, _ = first_look(file)

    assert found is not None
    assert found.pixels_bytes == 2 * 6 * 4
    assert file.read_bytes()[found.pixels_at :] == read_dataset_file(file).get("PixelData", file.read_bytes()[-48:])


def add_nested(dataset: Dataset, number: int) -> None:
    dataset.ReferencedImageSequence = item(
        ReferencedSOPInstanceUID="1.2", PurposeOfReferenceCodeSequence=item(CodeValue="1")
    )
    dataset["ReferencedImageSequence"].is_undefined_length = True
    for one in dataset.ReferencedImageSequence:
        one.is_undefined_length_sequence_item = True


UNUSUAL = {
    "text that is not plain": setting(SeriesDescription="Schädel", SpecificCharacterSet="ISO_IR 100"),
    "a number that is none": setting(SliceThickness="NaN"),
    "a long header": setting(ImageComments="x" * 40_000),
    "a very long header": both(setting(ImageComments="x" * 600_000)),
    "nested groups": add_nested,
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_agrees_or_gives_up_on_unusual_files(write_ct: WriteCt, name: str) -> None:
    files = write_ct(1, edit=UNUSUAL[name])

    assert agree(files) <= 1
    assert parsed(files[0]).rows == 6


def test_understands_nested_groups_of_undefined_length(write_ct: WriteCt) -> None:
    assert agree(write_ct(1, edit=add_nested)) == 1


def test_never_says_something_else_than_the_parser_on_damaged_files(write_ct: WriteCt) -> None:
    (file,) = write_ct(1)
    good = file.read_bytes()
    rng = np.random.default_rng(11)
    compared = 0
    for _ in range(300):
        damaged = bytearray(good)
        for at in rng.integers(132, len(good) - 48, 2):
            damaged[at] = rng.integers(256)
        file.write_bytes(damaged)
        found, size = first_look(file)
        if found is None:
            continue
        quick = header_from_scan(found, file, size)
        try:
            slow = parsed(file)
        except InputError:
            continue
        assert quick == replace(slow, plain=quick.plain)
        compared += 1
    assert compared > 30
