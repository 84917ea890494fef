"""Which files are looked at: folders with odd things in them, DICOMDIR, several patients."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from made_series import WriteCt, on_slice, setting, written
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from medvox.data import dicom_places
from medvox.data.dicom import find_study, read_volume
from medvox.errors import InputError, MedvoxError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns while odd files are written


def reasons(folder: Path) -> dict[str, str]:
    return {item.path: item.reason for item in find_study(folder).not_used}


# folders


def test_a_broken_link_is_told(write_ct: WriteCt) -> None:
    folder = write_ct()[0].parent
    (folder / "gone.dcm").symlink_to(folder / "nowhere.dcm")

    assert reasons(folder) == {"gone.dcm": "a broken link"}


def test_a_link_to_a_file_is_followed(write_ct: WriteCt, tmp_path: Path) -> None:
    files = write_ct()
    linked = tmp_path / "linked"
    linked.mkdir()
    for file in files:
        (linked / file.name).symlink_to(file)

    assert find_study(linked).series[0].shape == (5, 6, 4)


def test_a_link_to_a_folder_is_told_and_not_followed(write_ct: WriteCt) -> None:
    folder = write_ct()[0].parent
    (folder / "round").symlink_to(folder)

    assert reasons(folder) == {"round": "a link to a folder, which is not followed"}


def test_a_pipe_is_told_and_does_not_block(write_ct: WriteCt) -> None:
    folder = write_ct()[0].parent
    os.mkfifo(folder / "pipe.dcm")

    assert reasons(folder) == {"pipe.dcm": "not a regular file"}


def test_an_empty_file_is_told(write_ct: WriteCt) -> None:
    folder = write_ct()[0].parent
    (folder / "empty.dcm").touch()

    assert "cannot be read as DICOM" in reasons(folder)["empty.dcm"]


def test_a_folder_that_cannot_be_opened_is_told(write_ct: WriteCt, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_ct()[0].parent
    (folder / "locked").mkdir()
    open_folder = os.scandir

    def guarded(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError
        return open_folder(path)

    monkeypatch.setattr(dicom_places.os, "scandir", guarded)
    assert reasons(folder) == {"locked": "the folder cannot be opened (PermissionError)"}


def test_a_file_that_cannot_be_opened_is_told(write_ct: WriteCt, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_ct(6)
    open_file = os.open

    def guarded(path: Path, *rest: int) -> int:
        if Path(path).name == files[5].name:
            raise PermissionError
        return open_file(path, *rest)

    monkeypatch.setattr(os, "open", guarded)
    study = find_study(files[0].parent)
    assert study.series[0].shape[0] == 5
    assert "PermissionError" in study.not_used[0].reason


def test_only_unreadable_things_are_no_dicom(tmp_path: Path) -> None:
    (tmp_path / "gone.dcm").symlink_to(tmp_path / "nowhere.dcm")

    with pytest.raises(InputError) as caught:
        find_study(tmp_path)
    assert caught.value.code == "E_DICOM_NO_SERIES"


@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
def test_a_path_that_cannot_be_is_an_input_error(name: str) -> None:
    with pytest.raises(MedvoxError) as caught:
        find_study(Path(name))
    assert caught.value.exit_code == 3


# patients


def test_files_of_two_patients_are_refused_with_the_list(write_ct: WriteCt) -> None:
    def two(dataset: Dataset, number: int) -> None:
        dataset.PatientID = "ID-4711" if number < 3 else "ID-4712"
        dataset.PatientName = "Smith^Jane" if number < 3 else "Doe^John"

    with pytest.raises(InputError) as caught:
        find_study(write_ct(edit=two)[0].parent)
    assert caught.value.code == "E_DICOM_PATIENTS_MIXED"
    assert "patient 1: 3 file(s), such as ct000.dcm; patient 2: 2 file(s), such as ct003.dcm" in caught.value.message
    for secret in ("4711", "4712", "Smith", "Doe"):
        assert secret not in caught.value.message + caught.value.fix


@pytest.mark.parametrize("name", ["", "Smith^Jane^^", "SMITH^JANE"])
def test_one_patient_spelt_in_two_ways_is_one(write_ct: WriteCt, name: str) -> None:
    files = write_ct(edit=setting(PatientName="Smith^Jane"))
    written_again = on_slice(2, setting(PatientName=name, SeriesInstanceUID="1.9"))
    write_ct(edit=written_again, folder="other")

    assert find_study(files[0].parent).series


def test_files_without_a_patient_belong_to_any(write_ct: WriteCt) -> None:
    files = write_ct(edit=on_slice(2, setting(PatientID="1")))

    assert find_study(files[0].parent).series[0].verdict == "accept"


# DICOMDIR


def directory(folder: Path, file_ids: list[list[str]]) -> Path:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MediaStorageDirectoryStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.9"
    records = []
    for file_id in file_ids:
        record = Dataset()
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", file_id
        records.append(record)
    dataset.DirectoryRecordSequence = Sequence(records)
    return written(dataset, folder / "DICOMDIR")


@pytest.fixture
def disc(write_ct: WriteCt, tmp_path: Path) -> Callable[[list[list[str]]], Path]:
    """A folder with a DICOMDIR that names the given files; ``ct/ct000.dcm`` to ``ct004.dcm`` are there."""
    write_ct(5)
    return lambda file_ids: directory(tmp_path, file_ids)


def test_a_dicomdir_is_followed(disc: Callable[[list[list[str]]], Path]) -> None:
    (series,) = find_study(disc([["CT", f"CT00{number}.DCM"] for number in (0, 1, 2)])).series

    assert series.shape == (3, 6, 4)
    assert read_volume(series).sources[0].name == "ct000.dcm"


def test_a_missing_file_of_a_dicomdir_is_told(disc: Callable[[list[list[str]]], Path]) -> None:
    study = find_study(disc([["ct", "ct000.dcm"], ["ct", "ct001.dcm"], ["ct", "gone.dcm"]]))

    assert study.series[0].shape[0] == 2
    assert [(item.path, item.reason) for item in study.not_used] == [
        ("ct/gone.dcm", "named by the DICOMDIR, but not there")
    ]


@pytest.mark.parametrize(
    "file_id",
    [["..", "secret.dcm"], ["ct", "..", "..", "x"], ["/etc/passwd"], ["", "etc", "passwd"], ["a/../../b"], ["."]],
)
def test_a_dicomdir_that_leaves_its_folder_is_refused(
    disc: Callable[[list[list[str]]], Path], file_id: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        find_study(disc([["ct", "ct000.dcm"], file_id]))
    assert caught.value.code == "E_DICOM_DIR_ESCAPE"


def test_a_link_out_of_the_folder_of_a_dicomdir_is_refused(
    disc: Callable[[list[list[str]]], Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.dcm"
    outside.write_bytes(b"x")
    path = disc([["ct", "link.dcm"]])
    (path.parent / "ct" / "link.dcm").symlink_to(outside)

    with pytest.raises(InputError) as caught:
        find_study(path)
    assert caught.value.code == "E_DICOM_DIR_ESCAPE"


def test_an_empty_dicomdir_is_told(disc: Callable[[list[list[str]]], Path]) -> None:
    with pytest.raises(InputError) as caught:
        find_study(disc([]))
    assert caught.value.code == "E_INPUT_EMPTY"


def test_a_dicomdir_in_a_folder_is_an_index_only(disc: Callable[[list[list[str]]], Path]) -> None:
    folder = disc([["..", "elsewhere"]]).parent

    assert reasons(folder) == {"DICOMDIR": "DICOMDIR, an index of other files"}


def test_folders_nested_beyond_reason_do_not_break_the_walk(write_ct: WriteCt) -> None:
    folder = deep = write_ct()[0].parent
    for _ in range(1200):
        deep /= "d"
        deep.mkdir()

    try:
        assert find_study(folder).series[0].shape == (5, 6, 4)
    finally:
        while deep != folder:  # what clears temporary folders away goes down one call for each
            deep.rmdir()
            deep = deep.parent
