"""The verb ``deid``: folders in, folders out. What is written, held back and refused, and that nothing else happens."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import WriteCt
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset, dcmread

from medvox.data import deidentify_report
from medvox.data.deidentify import Options
from medvox.deidentification import deid
from medvox.errors import InputError, MedvoxError, SetupError, UsageError

NAMES = (b"Dobson", b"Zuleika", b"MRN-889911", b"1.2.3.4")


def identified(dataset: Dataset, number: int) -> None:
    dataset.PatientName, dataset.PatientID = "Dobson^Zuleika", "MRN-889911"
    dataset.StudyInstanceUID, dataset.StudyDate = "1.2.3.4", "20200229"
    dataset.SOPInstanceUID = f"1.2.3.4.{number + 1}"


def written_on(dataset: Dataset, number: int) -> None:
    identified(dataset, number)
    picture = Image.new("L", (dataset.Columns, dataset.Rows), 60)
    ImageDraw.Draw(picture).text((8, 20), "DOBSON 1957-03-12", fill=255, font=ImageFont.load_default(size=16))
    dataset.PixelData = np.asarray(picture).astype(np.uint16).tobytes()


def status_of(report: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {entry["input"]: (entry["status"], entry.get("code", "")) for entry in report["files"]}


def outputs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "report.json")


@pytest.fixture
def scans(write_ct: WriteCt) -> Path:
    """A folder with three slices of one patient."""
    return write_ct(3, edit=identified, folder="Dobson_Zuleika", shape=(64, 64))[0].parent


def test_copies_hold_no_identifier_in_content_or_name(scans: Path, tmp_path: Path) -> None:
    report = deid(scans, tmp_path / "out")
    files = outputs(tmp_path / "out")
    assert report["counts"] == {"written": 3}
    assert len(files) == 3
    for file in [*files, tmp_path / "out" / "report.json"]:
        assert not [
            name for name in NAMES if name in file.read_bytes() or name.decode() in str(file.relative_to(tmp_path))
        ]


def test_copies_are_one_series_with_the_same_pixels(scans: Path, tmp_path: Path) -> None:
    deid(scans, tmp_path / "out")
    copies = [dcmread(file) for file in outputs(tmp_path / "out")]
    originals = {dcmread(file).PixelData for file in scans.iterdir()}
    assert {copy.PixelData for copy in copies} == originals
    assert len({copy.SeriesInstanceUID for copy in copies}) == 1
    assert len({copy.SOPInstanceUID for copy in copies}) == 3


def test_the_inputs_are_not_touched(scans: Path, tmp_path: Path) -> None:
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in scans.iterdir()}
    deid(scans, tmp_path / "out")
    assert {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in scans.iterdir()} == before


def test_a_key_is_made_for_its_owner_only_and_repeats_the_mapping(scans: Path, tmp_path: Path) -> None:
    key = tmp_path / "project.key"
    deid(scans, tmp_path / "one", key_file=key)
    deid(scans, tmp_path / "two", key_file=key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    first, second = (
        [path.relative_to(tmp_path / name) for path in outputs(tmp_path / name)] for name in ("one", "two")
    )
    assert first == second
    assert (tmp_path / "one" / first[0]).read_bytes() == (tmp_path / "two" / second[0]).read_bytes()


def test_runs_without_a_key_cannot_be_linked(scans: Path, tmp_path: Path) -> None:
    deid(scans, tmp_path / "one")
    deid(scans, tmp_path / "two")
    first, second = (dcmread(outputs(tmp_path / name)[0]) for name in ("one", "two"))
    assert first.StudyInstanceUID != second.StudyInstanceUID


def test_writing_in_the_pixels_holds_a_file_back(write_ct: WriteCt, tmp_path: Path) -> None:
    write_ct(1, edit=written_on, shape=(120, 200))
    report = deid(tmp_path / "ct", tmp_path / "out")
    assert status_of(report) == {"ct000.dcm": ("blocked", "E_DEID_BURNED_IN")}
    assert outputs(tmp_path / "out") == []


def test_the_override_writes_it_and_says_so(write_ct: WriteCt, tmp_path: Path) -> None:
    write_ct(1, edit=written_on, shape=(120, 200))
    report = deid(tmp_path / "ct", tmp_path / "out", allow_burned_in=True)
    copy = dcmread(outputs(tmp_path / "out")[0])
    assert (copy.PatientIdentityRemoved, copy.BurnedInAnnotation) == ("NO", "YES")
    assert report["allow_burned_in"] is True


def test_an_identifier_that_the_rules_do_not_reach_holds_a_file_back(write_ct: WriteCt, tmp_path: Path) -> None:
    def hidden(dataset: Dataset, number: int) -> None:
        identified(dataset, number)
        dataset.add_new(0x00282000, "OB", b"profile of Zuleika Dobson ")  # ICC profile: bytes that stay

    write_ct(1, edit=hidden, shape=(64, 64))
    report = deid(tmp_path / "ct", tmp_path / "out")
    assert status_of(report) == {"ct000.dcm": ("blocked", "E_DEID_LEFTOVER")}


def test_notes_are_cleaned(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "Okonkwo.txt").write_text("Dr. Okonkwo, MRN 00493822, seen 2020-01-31.")
    report = deid(tmp_path / "in", tmp_path / "out")
    assert [file.read_text() for file in outputs(tmp_path / "out")] == ["Dr. [NAME], MRN [ID], seen [DATE]."]
    assert report["files"][0]["counts"] == {"NAME": 1, "ID": 1, "DATE": 1}
    assert "Okonkwo" not in str(outputs(tmp_path / "out")[0])


def test_every_input_is_listed_with_its_fate(scans: Path, tmp_path: Path) -> None:
    (scans / "empty.dcm").write_bytes(b"")
    (scans / "table.csv").write_text("name,born\nZuleika,1957\n")
    (scans / "binary.txt").write_bytes(bytes(range(256)) * 8)
    (scans / "gone.dcm").symlink_to(tmp_path / "nowhere")
    cut = next(scans.glob("*000.dcm")).read_bytes()
    (scans / "cut.dcm").write_bytes(cut[: len(cut) // 2])
    report = deid(scans, tmp_path / "out")
    fates = status_of(report)
    assert len(fates) == len(list(scans.iterdir()))
    left_out = {name: fate for name, fate in fates.items() if fate[0] != "written"}
    assert set(left_out) == {"empty.dcm", "table.csv", "binary.txt", "gone.dcm", "cut.dcm"}
    assert all(code for _, code in left_out.values())


def test_a_zip_is_read(scans: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for file in scans.iterdir():
            archive.write(file, file.name)
    assert deid(tmp_path / "in.zip", tmp_path / "out")["counts"] == {"written": 3}


def test_the_report_file_names_no_input(scans: Path, tmp_path: Path) -> None:
    (scans / "Zuleika Dobson 1957.csv").write_text("x")
    deid(scans, tmp_path / "out")
    content = (tmp_path / "out" / "report.json").read_text()
    assert "Zuleika" not in content
    assert [entry["input"] for entry in json.loads(content)["files"]] == [1, 2, 3, 4]


def test_an_unfinished_run_goes_on(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, real = tmp_path / "key", os.fsync
    calls = []

    def fails_later(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 4:  # report, two files, then this one
            raise OSError(28, "no space left")
        real(descriptor)

    monkeypatch.setattr(deidentify_report.os, "fsync", fails_later)
    with pytest.raises(SetupError) as stop:
        deid(scans, tmp_path / "out", key_file=key)
    assert stop.value.code == "E_DEID_WRITE"
    assert len(outputs(tmp_path / "out")) == 2  # whole files, and nothing partial
    monkeypatch.undo()
    assert deid(scans, tmp_path / "out", key_file=key)["counts"] == {"present": 2, "written": 1}


@pytest.mark.parametrize("place", ["Dobson_Zuleika", "Dobson_Zuleika/out", "."])
def test_a_target_that_touches_the_input_is_refused(scans: Path, tmp_path: Path, place: str) -> None:
    with pytest.raises(UsageError) as refusal:
        deid(scans, tmp_path / place)
    assert refusal.value.code == "E_DEID_TARGET"


def test_a_target_with_other_files_is_refused(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError) as refusal:
        deid(scans, tmp_path / "out")
    assert refusal.value.code == "E_DEID_TARGET"
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_other_options_do_not_mix_in_one_folder(scans: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    deid(scans, tmp_path / "out", key_file=key)
    with pytest.raises(UsageError):
        deid(scans, tmp_path / "out", key_file=key, options=Options(dates="keep"))


def test_a_link_to_the_input_is_no_way_around(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(scans)
    with pytest.raises(UsageError):
        deid(scans, tmp_path / "alias")


@pytest.mark.parametrize("place", ["Dobson_Zuleika/key", "out/key"])
def test_a_key_beside_the_data_is_refused(scans: Path, tmp_path: Path, place: str) -> None:
    with pytest.raises(UsageError) as refusal:
        deid(scans, tmp_path / "out", key_file=tmp_path / place)
    assert refusal.value.code == "E_DEID_KEY_PLACE"
    assert not (tmp_path / place).exists()


def test_a_key_that_others_may_read_is_refused(scans: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("ab" * 32)
    key.chmod(0o644)
    with pytest.raises(SetupError) as refusal:
        deid(scans, tmp_path / "out", key_file=key)
    assert refusal.value.code == "E_DEID_KEY_OPEN"


@pytest.mark.parametrize("content", ["", "secret", "ab" * 31, "zz" * 32])
def test_a_file_that_holds_no_key_is_refused(scans: Path, tmp_path: Path, content: str) -> None:
    key = tmp_path / "key"
    key.write_text(content)
    key.chmod(0o600)
    with pytest.raises(InputError) as refusal:
        deid(scans, tmp_path / "out", key_file=key)
    assert refusal.value.code == "E_DEID_KEY"


def test_nothing_at_the_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MedvoxError):
        deid(tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_real_files_come_through_or_are_held_back(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(next((shared_data / "dicom_odd").glob("*.zip"))) as archive:
        for name in sorted(archive.namelist())[::9]:
            if not name.endswith("/"):
                (tmp_path / "in" / Path(name).name).write_bytes(archive.read(name))
    report = deid(tmp_path / "in", tmp_path / "out")
    assert all(entry["status"] == "written" or entry["code"] for entry in report["files"])
    assert report["counts"]["written"] > 0
    for file in outputs(tmp_path / "out"):
        assert dcmread(file).PatientIdentityRemoved == "YES"
