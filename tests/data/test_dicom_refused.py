"""Broken CT series, each with the code of its refusal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from made_series import WriteCt, codes, enhanced_mr, on_slice, only_series, read, setting, written
from pydicom import Dataset, dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from medvox.data import dicom
from medvox.data.dicom import find_study, read_volume
from medvox.data.dicom_checks import FIXES
from medvox.data.limits import Limits
from medvox.errors import BudgetError, InputError

# refused (the table of variants has most of them)


def test_what_is_refused_raises_its_code_with_a_fix(write_ct: WriteCt) -> None:
    series = only_series(write_ct(edit=setting(PixelSpacing=None)))

    with pytest.raises(InputError) as caught:
        read_volume(series)
    assert (caught.value.code, caught.value.exit_code) == ("E_DICOM_SPACING_MISSING", 3)
    assert caught.value.fix


def test_missing_rescale_counts_the_files(write_ct: WriteCt) -> None:
    series = only_series(write_ct(edit=on_slice(3, setting(RescaleIntercept=None))))

    assert series.flags[0].text == "RescaleIntercept missing in 1 of 5 files"


def test_a_lost_file_in_the_middle_is_a_missing_slice(write_ct: WriteCt) -> None:
    files = write_ct(9)
    files[4].unlink()

    (flag,) = only_series(files).flags
    assert flag.code == "E_DICOM_SLICE_MISSING"
    assert flag.text.startswith("1 slice missing")


def test_every_refusal_has_a_fix() -> None:
    folder = Path(dicom.__file__).parent
    names = ("dicom_series", "dicom_split", "dicom_stack", "dicom_checks", "dicom_pixels")
    source = "".join((folder / f"{name}.py").read_text() for name in names)
    refusals = set(re.findall(r'Flag\(\s*code="(E_[A-Z_]+)"', source))

    assert len(refusals) > 15
    assert refusals <= set(FIXES)


@pytest.mark.parametrize("lost_bytes", [2, 40])
def test_truncated_uncompressed_pixels(write_ct: WriteCt, lost_bytes: int) -> None:
    files = write_ct(3)
    files[1].write_bytes(files[1].read_bytes()[:-lost_bytes])

    with pytest.raises(InputError) as caught:
        read(files)
    assert caught.value.code == "E_DICOM_TRUNCATED"
    assert files[1].name in caught.value.message


def test_a_file_smaller_than_its_pixels_is_seen_without_decoding(write_ct: WriteCt) -> None:
    files = write_ct(3, shape=(64, 64))
    files[1].write_bytes(files[1].read_bytes()[:-6000])

    assert codes(only_series(files)) == {"E_DICOM_TRUNCATED"}


def test_truncated_compressed_pixels(write_ct: WriteCt) -> None:
    def compress(dataset: Dataset, number: int) -> None:
        dataset.compress(RLELossless, generate_instance_uid=False)

    files = write_ct(3, shape=(64, 64), edit=compress)
    files[1].write_bytes(files[1].read_bytes()[:-3000])

    with pytest.raises(InputError) as caught:
        read(files)
    assert caught.value.code == "E_DICOM_TRUNCATED"


def test_no_pixels_at_all(write_ct: WriteCt) -> None:
    files = write_ct(3, shape=(64, 64))
    dataset = dcmread(files[1])
    del dataset.PixelData
    dataset.add_new(0x00204000, "LT", "x" * 9000)  # so that the size alone does not give it away
    dataset.save_as(files[1])

    with pytest.raises(InputError, match="no pixel data"):
        read(files)


def test_a_damaged_pixel_element(write_ct: WriteCt) -> None:
    files = write_ct(3)
    content = files[1].read_bytes()
    files[1].write_bytes(content.replace(b"\xe0\x7f\x10\x00OW", b"\xe0\x7f\x10\x00\x4f\xf6"))

    with pytest.raises(InputError) as caught:
        read(files)
    assert caught.value.code == "E_DICOM_TRUNCATED"


def test_more_pixels_than_announced(write_ct: WriteCt) -> None:
    def longer(dataset: Dataset, number: int) -> None:
        dataset.PixelData = dataset.PixelData * 2

    with pytest.raises(InputError) as caught:
        read(write_ct(2, edit=longer))
    assert caught.value.code == "E_DICOM_PIXEL_FORMAT"


def test_a_codec_without_decoder(write_ct: WriteCt) -> None:
    def claim_jpeg(dataset: Dataset, number: int) -> None:
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # MPEG2
        dataset.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00"
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True

    assert codes(only_series(write_ct(2, edit=claim_jpeg))) == {"E_DICOM_CODEC"}


def test_a_deflated_file_is_read(write_ct: WriteCt) -> None:
    plain = read(write_ct(2, folder="plain"))

    def deflate(dataset: Dataset, number: int) -> None:
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    assert (read(write_ct(2, folder="deflated", edit=deflate)).voxels == plain.voxels).all()


def test_volume_limit(write_ct: WriteCt) -> None:
    files = write_ct()
    (series,) = find_study(files[0].parent, limits=Limits(decoded_bytes=5 * 6 * 4 * 2 - 1)).series

    assert codes(series) == {"E_DICOM_LIMIT"}
    with pytest.raises(BudgetError):
        read_volume(series)


def test_volume_at_the_limit_is_read(write_ct: WriteCt) -> None:
    limits = Limits(decoded_bytes=5 * 6 * 4 * 2)
    (series,) = find_study(write_ct()[0].parent, limits=limits).series

    assert read_volume(series, limits=limits).voxels.shape == (5, 6, 4)


@pytest.mark.parametrize(("files", "allowed"), [(4, True), (5, False)])
def test_file_count_limit(write_ct: WriteCt, files: int, allowed: bool) -> None:
    folder = write_ct(files)[0].parent

    if allowed:
        assert find_study(folder, limits=Limits(files=4)).series
        return
    with pytest.raises(BudgetError) as caught:
        find_study(folder, limits=Limits(files=4))
    assert caught.value.code == "E_INPUT_TOO_MANY_FILES"


def test_frame_limit(tmp_path: Path) -> None:
    file = written(enhanced_mr(5), tmp_path / "five.dcm")

    assert "E_DICOM_LIMIT" in codes(find_study(file, limits=Limits(frames=4)).series[0])
    assert find_study(file, limits=Limits(frames=5)).series[0].verdict == "accept"


def test_a_file_over_the_limit_is_not_loaded(write_ct: WriteCt) -> None:
    file = write_ct(1)[0]
    (series,) = find_study(file).series

    with pytest.raises(BudgetError) as caught:
        read_volume(series, limits=Limits(file_bytes=file.stat().st_size - 1))
    assert caught.value.code == "E_DICOM_LIMIT"


def test_a_file_that_changed_after_it_was_found(write_ct: WriteCt) -> None:
    files = write_ct()
    series = only_series(files)
    dataset = dcmread(files[1])
    dataset.ImagePositionPatient = [-10, -20, 99]
    dataset.save_as(files[1])

    with pytest.raises(InputError) as caught:
        read_volume(series)
    assert caught.value.code == "E_DICOM_CHANGED"


def test_an_enhanced_file_that_changed_after_it_was_found(tmp_path: Path) -> None:
    file = written(enhanced_mr(), tmp_path / "one.dcm")
    (series,) = find_study(file).series
    dataset = dcmread(file)
    dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient = [0, 0, 99]
    dataset.save_as(file)

    with pytest.raises(InputError) as caught:
        read_volume(series)
    assert caught.value.code == "E_DICOM_CHANGED"


def test_a_file_that_vanished_after_it_was_found(write_ct: WriteCt) -> None:
    files = write_ct()
    series = only_series(files)
    files[3].unlink()

    with pytest.raises(InputError) as caught:
        read_volume(series)
    assert caught.value.code == "E_DICOM_UNREADABLE"


# privacy


def test_errors_warnings_and_logs_quote_no_values(
    write_ct: WriteCt, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    def named(dataset: Dataset, number: int) -> None:
        dataset.PatientName, dataset.SeriesDescription = "Smith^Jane", "Smith Jane"
        dataset["RescaleIntercept"]._value = "Smith^Jane" if number else -1024

    files = write_ct(3, edit=named)
    recwarn.clear()
    caplog.clear()
    with pytest.raises(InputError) as caught:
        read(files)
    assert "Smith" not in caught.value.message + caught.value.fix
    assert not [warning for warning in recwarn if "Smith" in str(warning.message)]
    assert "Smith" not in caplog.text
