"""``medvox inspect``: the JSON contract."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from pydicom import Dataset

from medvox.errors import InputError
from medvox.inspection import inspect

WriteCt = Callable[..., list[Path]]

SERIES_FIELDS = [
    "uid", "key", "kind", "modality", "description", "shape", "volumes", "part", "parts", "spacing_mm", "affine_lps",
    "verdict", "flags", "files",
]  # fmt: skip


def test_has_the_fields_of_the_contract(write_ct: WriteCt) -> None:
    found = inspect(write_ct()[0].parent)

    assert list(found) == ["series", "files", "identity", "not_used"]
    assert [list(series) for series in found["series"]] == [SERIES_FIELDS]


def test_says_what_a_clean_series_is(write_ct: WriteCt) -> None:
    (series,) = inspect(write_ct(3)[0].parent)["series"]

    assert (series["uid"], series["modality"], series["description"]) == ("1.2.3.4", "CT", "made for a test")
    assert (series["shape"], series["verdict"], series["flags"]) == ([3, 6, 4], "accept", [])
    assert series["spacing_mm"] == pytest.approx([2.0, 0.5, 0.8])
    assert series["affine_lps"][0] == pytest.approx([0, 0, 0.8, -10])
    assert series["files"] == ["ct000.dcm", "ct001.dcm", "ct002.dcm"]


def test_is_strict_json(write_ct: WriteCt) -> None:
    def no_number(dataset: Dataset, number: int) -> None:
        dataset.RescaleSlope = "NaN"

    json.dumps(inspect(write_ct(edit=no_number)[0].parent), allow_nan=False)


def test_a_refused_series_is_listed_with_its_code_and_without_geometry(write_ct: WriteCt) -> None:
    def without_spacing(dataset: Dataset, number: int) -> None:
        del dataset.PixelSpacing

    (series,) = inspect(write_ct(edit=without_spacing)[0].parent)["series"]
    assert (series["verdict"], series["spacing_mm"], series["affine_lps"]) == ("refuse", None, None)
    assert series["flags"] == [{"code": "E_DICOM_SPACING_MISSING", "text": "PixelSpacing missing in 5 of 5 files"}]


def test_files_are_named_below_the_path(write_ct: WriteCt, tmp_path: Path) -> None:
    write_ct(2, folder="a")
    (tmp_path / "model.bin").write_bytes(b"\x07\x00\x01\x02" * 9)
    found = inspect(tmp_path)

    assert found["series"][0]["files"] == ["a/a000.dcm", "a/a001.dcm"]
    assert [item["path"] for item in found["not_used"]] == ["model.bin"]
    assert str(tmp_path) not in json.dumps(found)


def test_takes_one_file_and_a_path_as_text(write_ct: WriteCt) -> None:
    file = write_ct(1)[0]

    assert inspect(str(file))["series"][0]["files"] == [file.name]


def test_decodes_no_pixels(write_ct: WriteCt) -> None:
    def unreadable_pixels(dataset: Dataset, number: int) -> None:
        dataset.PixelData = dataset.PixelData[:-2]

    assert inspect(write_ct(edit=unreadable_pixels)[0].parent)["series"][0]["verdict"] == "accept"


def test_reports_progress(write_ct: WriteCt) -> None:
    seen: list[tuple[str, int, int]] = []
    inspect(write_ct(2)[0].parent, lambda what, done, total: seen.append((what, done, total)))

    assert seen == [("looking at files", 1, 2), ("looking at files", 2, 2)]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        inspect(tmp_path / "nowhere")
    assert caught.value.code == "E_INPUT_MISSING"


def test_the_shipped_sample() -> None:
    sample = Path(__file__).parents[1] / "src" / "medvox" / "samples" / "ct_abdomen"
    found = inspect(sample)

    (series,) = found["series"]
    assert (series["shape"], series["verdict"], found["not_used"]) == ([20, 512, 512], "flagged", [])
    assert [flag["code"] for flag in series["flags"]] == ["F_DICOM_UID_MISSING", "F_DICOM_SOP_CLASS_MISSING"]
    assert series["files"][0] == "20.dcm"  # InstanceNumber runs from head to foot, the normal from foot to head


def test_other_files_are_told_by_their_content(tmp_path: Path, write_ct: WriteCt) -> None:
    write_ct(2, folder="ct")
    Image.fromarray(np.zeros((10, 12), np.uint8)).save(tmp_path / "photo.dat", format="PNG")
    (tmp_path / "note").write_text("Chest pain since Monday.")
    (tmp_path / "patient.json").write_text('{"resourceType": "Patient", "id": "1"}')
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(np.arange(16_000) / 5), 16_000)

    found = inspect(tmp_path)
    assert {item["path"]: (item["kind"], item["verdict"]) for item in found["files"]} == {
        "a.wav": ("audio", "accept"),
        "note": ("note", "accept"),
        "patient.json": ("fhir", "accept"),
        "photo.dat": ("picture", "accept"),
    }
    assert len(found["series"]) == 1


def test_a_broken_file_is_refused_with_its_code(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-30])
    (item,) = inspect(tmp_path / "cut.png")["files"]
    assert (item["verdict"], [flag["code"] for flag in item["flags"]]) == ("refuse", ["E_PICTURE_UNREADABLE"])


def test_a_zip_is_looked_into(tmp_path: Path, write_ct: WriteCt) -> None:
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for file in write_ct(3):
            archive.write(file, f"inside/{file.name}")
    (series,) = inspect(tmp_path / "scan.zip")["series"]
    assert series["files"] == ["inside/ct000.dcm", "inside/ct001.dcm", "inside/ct002.dcm"]


def test_identifying_content_is_counted_and_not_shown(write_ct: WriteCt) -> None:
    def named(dataset: Dataset, number: int) -> None:
        dataset.PatientName = "CANARY^X"

    found = inspect(write_ct(2, edit=named)[0].parent)
    assert found["identity"]["names"] == 1
    assert "CANARY" not in json.dumps(found)


def test_a_folder_of_nothing_that_medvox_reads_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"\x07\x00\x01\x02" * 9)
    with pytest.raises(InputError) as refusal:
        inspect(tmp_path)
    assert refusal.value.code == "E_DICOM_NONE"
