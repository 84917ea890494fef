"""What lies at a path, and which series is chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_series import Edit, WriteCt, setting
from pydicom import Dataset

from medvox.data.dicom import choose_series, find_study
from medvox.errors import InputError, MedvoxError, UsageError

# what lies at a path


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_study(tmp_path / "nowhere")
    assert caught.value.code == "E_INPUT_MISSING"


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_study(tmp_path)
    assert caught.value.code == "E_INPUT_EMPTY"


def test_folder_without_dicom(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")

    with pytest.raises(InputError) as caught:
        find_study(tmp_path)
    assert caught.value.code == "E_DICOM_NONE"


@pytest.mark.parametrize(
    "content", [b"", b"this is a text file", b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"x" * 60]
)
def test_something_else_named_dcm(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "report.dcm"
    file.write_bytes(content)

    with pytest.raises(MedvoxError) as caught:
        find_study(file)
    assert caught.value.code in {"E_DICOM_UNREADABLE", "E_DICOM_NO_SERIES"}
    assert caught.value.exit_code == 3


def test_a_text_file_named_dcm_says_so(tmp_path: Path) -> None:
    file = tmp_path / "report.dcm"
    file.write_text("this is a text file")

    with pytest.raises(InputError) as caught:
        find_study(file)
    assert caught.value.code == "E_DICOM_UNREADABLE"
    assert "report.dcm" in caught.value.message


def test_other_files_in_the_folder_are_named_with_the_reason(write_ct: WriteCt) -> None:
    folder = write_ct()[0].parent
    (folder / "sub").mkdir()
    (folder / "sub" / "notes.txt").write_text("hello")

    (left_out,) = find_study(folder).not_used
    assert left_out.path == "sub/notes.txt"
    assert "no DICM mark" in left_out.reason


def test_localisers_are_left_out(write_ct: WriteCt) -> None:
    def scout(dataset: Dataset, number: int) -> None:
        if number == 0:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    study = find_study(write_ct(edit=scout)[0].parent)
    assert study.series[0].shape[0] == 4
    assert "localiser" in study.not_used[0].reason


def test_only_localisers(write_ct: WriteCt) -> None:
    files = write_ct(edit=setting(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))

    with pytest.raises(InputError) as caught:
        find_study(files[0].parent)
    assert caught.value.code == "E_DICOM_NO_SERIES"


def test_objects_without_an_image_are_recognised(write_ct: WriteCt) -> None:
    def report(dataset: Dataset, number: int) -> None:
        if number == 4:
            del dataset.Rows, dataset.Columns, dataset.PixelData
            dataset.Modality, dataset.SOPClassUID = "SR", "1.2.840.10008.5.1.4.1.1.88.33"

    images, other = find_study(write_ct(edit=report)[0].parent).series
    assert (images.kind, images.verdict, images.shape) == ("volume", "accept", (4, 6, 4))
    assert (other.kind, other.verdict, other.shape) == ("other", "refuse", (1,))
    assert other.flags[0].text == "DICOM without an image (structured report, modality SR)"


# choice


def two_series(write_ct: WriteCt, second: Edit) -> Path:
    write_ct(3, folder="a")
    return write_ct(4, folder="b", edit=second)[0].parents[1]


def test_the_only_series_is_chosen(write_ct: WriteCt) -> None:
    series, reason = choose_series(find_study(write_ct()[0].parent))

    assert (series.uid, reason) == ("1.2.3.4", "the only series")


def test_two_usable_series_need_a_choice(write_ct: WriteCt) -> None:
    study = find_study(two_series(write_ct, setting(SeriesInstanceUID="1.2.3.5", SeriesDescription="Mrs Smith")))

    with pytest.raises(UsageError) as caught:
        choose_series(study)
    assert caught.value.code == "E_SERIES_CHOICE"
    assert "--series" in caught.value.fix
    assert "1.2.3.4 (CT, 3 x 6 x 4, spacing 2 x 0.5 x 0.8 mm, accept)" in caught.value.message
    assert "1.2.3.5 (CT, 4 x 6 x 4" in caught.value.message
    assert "Smith" not in caught.value.message


def test_a_series_can_be_named(write_ct: WriteCt) -> None:
    study = find_study(two_series(write_ct, setting(SeriesInstanceUID="1.2.3.5")))

    assert choose_series(study, "1.2.3.5")[0].shape[0] == 4


def test_a_wrong_name_lists_what_is_there(write_ct: WriteCt) -> None:
    with pytest.raises(UsageError, match=r"1\.2\.3\.4") as caught:
        choose_series(find_study(write_ct()[0].parent), "9.9")
    assert caught.value.code == "E_SERIES_UNKNOWN"


def test_refused_series_do_not_ask_for_a_choice(write_ct: WriteCt) -> None:
    study = find_study(two_series(write_ct, setting(SeriesInstanceUID="1.2.3.5", Modality="MR")))

    series, reason = choose_series(study)
    assert (series.uid, reason) == ("1.2.3.4", "the only usable one of 2 series")


@pytest.mark.parametrize("uid", [None, "1.2.3.4"])
def test_the_only_series_refused_is_its_own_error(write_ct: WriteCt, uid: str | None) -> None:
    with pytest.raises(InputError) as caught:
        choose_series(find_study(write_ct(edit=setting(RescaleIntercept=None))[0].parent), uid)
    assert caught.value.code == "E_DICOM_RESCALE_MISSING"


def test_all_series_refused(write_ct: WriteCt) -> None:
    write_ct(3, folder="a", edit=setting(RescaleSlope=0, SeriesInstanceUID="1.2"))
    folder = write_ct(3, folder="b", edit=setting(PixelSpacing=None))[0].parents[1]

    with pytest.raises(InputError, match="E_DICOM_RESCALE_INVALID, E_DICOM_SPACING_MISSING") as caught:
        choose_series(find_study(folder))
    assert caught.value.code == "E_SERIES_NONE_USABLE"
