"""The verb convert: every series becomes a file that nibabel places right, or a reason; nothing partial remains."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from conftest import WriteCt
from pydicom.dataset import Dataset

from medvox.conversion import convert, convert_all, file_name
from medvox.data.dicom import find_study, read_volume
from medvox.data.nifti import read_nifti
from medvox.data.volume import Series
from medvox.errors import InputError, MedvoxError, UsageError

SERIES = (
    "ct_small_ge", "mr_dti_uih", "mr_enhanced_philips", "mr_enhanced_siemens_xa10", "mr_epi_ge", "mr_epi_siemens_ap",
    "mr_t1_siemens_prone", "mr_vida_original_vs_agfa_pacs",
)  # fmt: skip


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(MedvoxError) as caught:
        call()
    return caught.value.code


def two_series(dataset: Dataset, number: int) -> None:
    """Slices 0 to 2 are one series, 3 to 5 another one."""
    if number > 2:
        dataset.SeriesInstanceUID = "1.2.3.5"


@pytest.mark.parametrize("name", SERIES)
def test_real_series_are_where_dcm2niix_puts_them(name: str, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "dicom" / name
    entries = convert_all(folder / "series.zip", tmp_path)
    references = json.loads((folder / "series.json").read_text())["reference"]
    assert len(entries) == len(references)
    for entry in entries:
        affine, shape = np.array(entry["affine_ras"]), entry["shape"]
        voxels = np.asarray(nibabel.load(entry["file"]).dataobj)
        step = (float(voxels.max()) - float(voxels.min())) / 65_535  # of a 16-bit file
        alike = [
            reference
            for reference in references
            if reference["shape"] == shape
            and np.abs(affine - reference["affine"]).max() < 1e-3
            and all(abs(voxels[tuple(item["ijk"])] - item["value"]) <= step for item in reference["samples"])
        ]
        assert alike, entry["series"]


def test_a_ct_series_becomes_one_file_of_the_same_voxels(write_ct: WriteCt, tmp_path: Path) -> None:
    files = write_ct()
    entry = convert(files[0].parent, tmp_path / "out.nii.gz")
    volume = read_volume(find_study(files[0].parent).series[0])
    image = nibabel.load(tmp_path / "out.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), volume.voxels[:, ::-1].transpose(2, 1, 0))
    np.testing.assert_allclose(image.affine @ [0, 5, 0, 1], [10, 20, 30, 1], atol=1e-5)  # ImagePositionPatient in RAS
    np.testing.assert_allclose(image.affine @ [3, 5, 0, 1], [10 - 3 * 0.8, 20, 30, 1], atol=1e-5)
    assert (entry["series"], entry["shape"], entry["flags"]) == ("1.2.3.4", [4, 6, 5], [])
    assert entry["file"] == str(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(entry["affine_ras"], image.affine, atol=1e-6)
    json.dumps(entry)


def test_a_zip_and_a_nifti_file_are_converted_too(write_ct: WriteCt, tmp_path: Path) -> None:
    files = write_ct()
    with zipfile.ZipFile(tmp_path / "ct.zip", "w") as archive:
        for file in files:
            archive.write(file, f"scan/{file.name}")
    convert(tmp_path / "ct.zip", tmp_path / "one.nii.gz")
    entry = convert(tmp_path / "one.nii.gz", tmp_path / "two.nii")
    one, two = nibabel.load(tmp_path / "one.nii.gz"), nibabel.load(tmp_path / "two.nii")
    assert np.array_equal(np.asarray(one.dataobj), np.asarray(two.dataobj))
    np.testing.assert_allclose(one.affine, two.affine, atol=1e-5)
    assert [flag["code"] for flag in entry["flags"]] == ["F_NIFTI_MODALITY_UNKNOWN"]


def test_one_of_several_series_is_chosen_by_its_key(write_ct: WriteCt, tmp_path: Path) -> None:
    folder = write_ct(6, edit=two_series)[0].parent
    assert code_of(lambda: convert(folder, tmp_path / "a.nii")) == "E_SERIES_CHOICE"
    assert code_of(lambda: convert(folder, tmp_path / "a.nii", series="9.9")) == "E_SERIES_UNKNOWN"
    assert convert(folder, tmp_path / "a.nii", series="1.2.3.5")["series"] == "1.2.3.5"


def test_a_nifti_file_has_one_series(write_ct: WriteCt, tmp_path: Path) -> None:
    convert(write_ct()[0].parent, tmp_path / "a.nii")
    assert code_of(lambda: convert(tmp_path / "a.nii", tmp_path / "b.nii", series="1.2")) == "E_SERIES_UNKNOWN"
    uid = read_nifti(tmp_path / "a.nii")[0].series_uid
    assert convert(tmp_path / "a.nii", tmp_path / "b.nii", series=uid)["series"] == uid


def test_a_broken_series_does_not_stop_the_others(write_ct: WriteCt, tmp_path: Path) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        two_series(dataset, number)
        if number > 2:
            del dataset.PixelSpacing

    entries = convert_all(write_ct(6, edit=edit)[0].parent, tmp_path / "out")
    good, bad = sorted(entries, key=lambda entry: entry["file"] is None)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [Path(good["file"]).name]
    assert (bad["series"], bad["shape"], bad["affine_ras"]) == ("1.2.3.5", None, None)
    assert bad["error"]["code"] == "E_DICOM_SPACING_MISSING"
    assert set(bad["error"]) == {"code", "message", "fix"}


def test_a_series_that_breaks_while_it_is_read_leaves_nothing_behind(write_ct: WriteCt, tmp_path: Path) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        if number == 2:
            dataset.PixelData = dataset.PixelData[:-8]

    folder = write_ct(edit=edit)[0].parent
    (entry,) = convert_all(folder, tmp_path / "out")
    assert entry["error"]["code"] == "E_DICOM_TRUNCATED"
    assert list((tmp_path / "out").iterdir()) == []
    assert code_of(lambda: convert(folder, tmp_path / "a.nii.gz")) == "E_DICOM_TRUNCATED"
    assert not (tmp_path / "a.nii.gz").exists()


def test_files_that_are_there_already_are_kept(write_ct: WriteCt, tmp_path: Path) -> None:
    folder = write_ct()[0].parent
    (first,) = convert_all(folder, tmp_path / "out")
    before = Path(first["file"]).stat().st_mtime_ns
    (second,) = convert_all(folder, tmp_path / "out")
    assert second["error"]["code"] == "E_OUTPUT_EXISTS"
    assert Path(first["file"]).stat().st_mtime_ns == before
    assert convert_all(folder, tmp_path / "out", overwrite=True) == [first]


@pytest.mark.parametrize("value", [-2000, -3024])
def test_padding_is_converted_as_it_is_stored(write_ct: WriteCt, tmp_path: Path, value: int) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.PixelRepresentation, dataset.RescaleIntercept = 1, 0
        dataset.BitsStored, dataset.HighBit = 16, 15
        stored = np.zeros((6, 4), np.int16)
        stored[0] = value
        stored[1] = -1000
        dataset.PixelData = stored.tobytes()
        dataset.add_new(0x00280120, "SS", value)

    convert(write_ct(edit=edit)[0].parent, tmp_path / "a.nii")
    assert np.asarray(nibabel.load(tmp_path / "a.nii").dataobj).min() == value


def series_of(**facts: Any) -> Series:
    defaults: dict[str, Any] = {
        "uid": "1.2.840.99.12345678", "modality": "MR", "description": "", "shape": (1, 1, 1), "spacing_mm": None,
        "affine_lps": None, "verdict": "accept", "flags": (), "files": (),
    }  # fmt: skip
    return Series(**(defaults | facts))


@pytest.mark.parametrize(
    ("number", "facts", "name"),
    [
        (1, {}, "01_MR_12345678.nii.gz"),
        (12, {"part": 2, "parts": 3}, "12_MR_12345678_part2.nii.gz"),
        (3, {"modality": ""}, "03_XX_12345678.nii.gz"),
        (3, {"modality": "../DOE^JANE"}, "03_XX_12345678.nii.gz"),
        (3, {"uid": "../../etc/x"}, "03_MR_etcx.nii.gz"),
        (3, {"uid": "..\\\0/", "description": "JANE DOE"}, "03_MR_.nii.gz"),
        (3, {"uid": "nifti-0123456789abcdef", "modality": ""}, "03_XX_89abcdef.nii.gz"),
    ],
)
def test_file_names_hold_nothing_personal_and_stay_in_the_folder(number: int, facts: dict[str, Any], name: str) -> None:
    assert file_name(number, series_of(**facts)) == name


def test_nothing_outside_the_folder_and_nothing_of_the_header_is_written(write_ct: WriteCt, tmp_path: Path) -> None:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.PatientName = dataset.SeriesDescription = "DOE^JANE"

    source = write_ct(edit=edit)[0].parent
    before = set(tmp_path.rglob("*"))
    (entry,) = convert_all(source, tmp_path / "out")
    made = set(tmp_path.rglob("*")) - before
    assert made == {tmp_path / "out", Path(entry["file"])}
    assert "DOE" not in json.dumps(entry)


@pytest.mark.parametrize("make", ["missing", "empty folder", "text"])
def test_what_holds_no_series_is_refused_with_a_reason(tmp_path: Path, make: str) -> None:
    path = tmp_path / "in"
    if make == "empty folder":
        path.mkdir()
    elif make == "text":
        path.write_text("a letter")
    for call in (lambda: convert(path, tmp_path / "a.nii"), lambda: convert_all(path, tmp_path / "out")):
        with pytest.raises(InputError) as caught:
            call()
        assert caught.value.fix
    assert not (tmp_path / "a.nii").exists()
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_told(write_ct: WriteCt, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UsageError) as caught:
        convert_all(write_ct()[0].parent, tmp_path / "taken")
    assert caught.value.code == "E_OUTPUT_WRITE"
