"""Broken CT series, each with the code of its refusal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from made_series import Edit, WriteCt, codes, on_slice, only_series, read, setting
from pydicom import Dataset, dcmread
from pydicom.uid import RLELossless

from medvox.data import dicom, dicom_series
from medvox.data.dicom import find_study, read_volume
from medvox.errors import BudgetError, InputError

# refused


REFUSED: list[tuple[str, Edit]] = [
    ("E_MODALITY_UNSUPPORTED", setting(Modality="MR")),
    ("E_MODALITY_UNSUPPORTED", setting(Modality=None)),
    ("E_DICOM_MULTIFRAME", setting(NumberOfFrames=2)),
    ("E_DICOM_MULTIFRAME", setting(SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1")),
    ("E_DICOM_NOT_CT_IMAGE", setting(SOPClassUID="1.2.840.10008.5.1.4.1.1.7")),  # secondary capture
    ("E_DICOM_NOT_CT_IMAGE", setting(BitsAllocated=8, BitsStored=8, HighBit=7)),
    ("E_DICOM_NOT_CT_IMAGE", setting(PhotometricInterpretation="RGB", SamplesPerPixel=3)),
    ("E_DICOM_PIXEL_FORMAT", setting(BitsAllocated=32, BitsStored=32, HighBit=31)),
    ("E_DICOM_PIXEL_FORMAT", setting(HighBit=14)),
    ("E_DICOM_PIXEL_FORMAT", setting(BitsStored=17)),
    ("E_DICOM_SHAPE_MIXED", on_slice(2, setting(Rows=4, Columns=6))),
    ("E_DICOM_ORIENTATION_MISSING", on_slice(1, setting(ImageOrientationPatient=None))),
    ("E_DICOM_ORIENTATION_INVALID", setting(ImageOrientationPatient=[1, 0, 0, 1, 0, 0])),
    ("E_DICOM_ORIENTATION_INVALID", setting(ImageOrientationPatient=[1, 0, 0, 0.1, 1, 0])),
    ("E_DICOM_ORIENTATION_INVALID", setting(ImageOrientationPatient=[0, 0, 0, 0, 0, 0])),
    ("E_DICOM_ORIENTATION_MIXED", on_slice(4, setting(ImageOrientationPatient=[0, 1, 0, 0, 0, -1]))),
    ("E_DICOM_POSITION_MISSING", on_slice(0, setting(ImagePositionPatient=None))),
    ("E_DICOM_SPACING_MISSING", setting(PixelSpacing=None)),
    ("E_DICOM_SPACING_MISSING", setting(PixelSpacing="")),
    ("E_DICOM_SPACING_INVALID", setting(PixelSpacing=[0, 0])),
    ("E_DICOM_SPACING_INVALID", setting(PixelSpacing=[-0.5, 0.5])),
    ("E_DICOM_SPACING_MIXED", on_slice(3, setting(PixelSpacing=[0.6, 0.6]))),
    ("E_DICOM_RESCALE_MISSING", setting(RescaleIntercept=None)),
    ("E_DICOM_RESCALE_MISSING", on_slice(3, setting(RescaleSlope=None))),
    ("E_DICOM_RESCALE_MISSING", setting(RescaleSlope=None, RescaleIntercept=None)),
    ("E_DICOM_RESCALE_INVALID", setting(RescaleSlope=0)),
    ("E_DICOM_RESCALE_INVALID", on_slice(1, setting(RescaleSlope="NaN"))),
    ("E_DICOM_SLICE_DUPLICATE", on_slice(3, setting(ImagePositionPatient=[-10, -20, 34]))),
    ("E_DICOM_SLICE_MISSING", on_slice(4, setting(ImagePositionPatient=[-10, -20, 40]))),
]


@pytest.mark.parametrize(
    ("code", "edit"), REFUSED, ids=[f"{number}-{code}" for number, (code, _) in enumerate(REFUSED)]
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns while the broken file is written
def test_refused_with_a_code_and_a_fix(write_ct: WriteCt, code: str, edit: Edit) -> None:
    series = only_series(write_ct(edit=edit))
    assert series.verdict == "refuse"
    assert code in codes(series)

    with pytest.raises(InputError) as caught:
        read_volume(series)
    assert caught.value.code == code
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
    folder = Path(dicom_series.__file__).parent
    source = (folder / "dicom_series.py").read_text() + (folder / "dicom_pixels.py").read_text()
    codes_in_use = set(re.findall(r'"(E_[A-Z_]+)"', source))

    assert len(codes_in_use) > 15
    assert codes_in_use <= set(dicom_series.FIXES)


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


def test_a_deflated_file_is_not_inflated(write_ct: WriteCt) -> None:
    def deflate(dataset: Dataset, number: int) -> None:
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"

    with pytest.raises(InputError) as caught:
        find_study(write_ct(1, edit=deflate)[0])
    assert caught.value.code == "E_DICOM_CODEC"


def test_volume_limit(write_ct: WriteCt, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_ct()
    monkeypatch.setattr(dicom_series, "MAX_VOLUME_BYTES", 5 * 6 * 4 * 2 - 1)
    series = only_series(files)

    assert codes(series) == {"E_DICOM_LIMIT"}
    with pytest.raises(BudgetError):
        read_volume(series)


def test_volume_at_the_limit_is_read(write_ct: WriteCt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_series, "MAX_VOLUME_BYTES", 5 * 6 * 4 * 2)

    assert read(write_ct()).voxels.shape == (5, 6, 4)


def test_file_count_limit(write_ct: WriteCt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom, "MAX_FILES", 4)
    files = write_ct(5)

    with pytest.raises(BudgetError) as caught:
        find_study(files[0].parent)
    assert caught.value.code == "E_INPUT_TOO_MANY_FILES"


def test_a_file_that_changed_after_it_was_found(write_ct: WriteCt) -> None:
    files = write_ct()
    series = only_series(files)
    dataset = dcmread(files[1])
    dataset.ImagePositionPatient = [-10, -20, 99]
    dataset.save_as(files[1])

    with pytest.raises(InputError) as caught:
        read_volume(series)
    assert caught.value.code == "E_DICOM_CHANGED"


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
