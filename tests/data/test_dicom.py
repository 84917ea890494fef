"""CT series that are fine, and series that are read with flags, made by the test itself."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_series import WriteCt, codes, only_series, read, setting
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from medvox.data.dicom import find_study, read_volume, read_volumes

# a series without faults


def test_a_clean_series_is_accepted_without_flags(write_ct: WriteCt) -> None:
    series = only_series(write_ct())

    assert (series.verdict, series.flags, series.shape) == ("accept", (), (5, 6, 4))
    assert series.spacing_mm == pytest.approx((2.0, 0.5, 0.8))


def test_values_are_hounsfield_units(write_ct: WriteCt) -> None:
    files = write_ct()
    volume = read(files)
    stored = np.stack([dcmread(file).pixel_array for file in files])

    assert volume.unit == "HU"
    assert volume.voxels.dtype == np.int16
    assert (volume.voxels == stored.astype(int) - 1024).all()


def test_affine_is_index_to_lps_mm(write_ct: WriteCt) -> None:
    volume = read(write_ct())

    np.testing.assert_allclose(volume.affine_lps @ [1, 2, 3, 1], [-10 + 3 * 0.8, -20 + 2 * 0.5, 32, 1])
    assert volume.slice_positions_mm == pytest.approx((30, 32, 34, 36, 38))


def test_sources_are_hashed_in_slice_order(write_ct: WriteCt) -> None:
    files = write_ct()

    found = [(source.name, source.sha256) for source in read(files).sources]
    assert found == [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]


def test_order_comes_from_position_never_from_names_or_numbers(write_ct: WriteCt) -> None:
    def scramble(dataset: Dataset, number: int) -> None:
        dataset.InstanceNumber = [3, 1, 5, 2, 4][number]

    files = write_ct(edit=scramble)
    expected = read(files).voxels
    for new, old in zip(("e", "b", "a", "d", "c"), files, strict=True):
        old.rename(old.with_name(new))

    assert (read(files).voxels == expected).all()


def test_oblique_slices_are_ordered_along_their_normal(write_ct: WriteCt) -> None:
    def oblique(dataset: Dataset, number: int) -> None:
        dataset.ImageOrientationPatient = [0.6, 0.8, 0, 0, 0, -1]  # normal (-0.8, 0.6, 0)
        dataset.ImagePositionPatient = [0.8 * 3 * number, -0.6 * 3 * number, 5]

    files = write_ct(edit=oblique)
    series = only_series(files)

    assert series.files == tuple(reversed(files))
    assert series.spacing_mm == pytest.approx((3, 0.5, 0.8))


def test_progress_counts_the_slices(write_ct: WriteCt) -> None:
    seen: list[tuple[str, int, int]] = []
    read_volume(only_series(write_ct(3)), lambda what, done, total: seen.append((what, done, total)))

    assert seen == [("reading slices", 1, 3), ("reading slices", 2, 3), ("reading slices", 3, 3)]


def test_one_file_is_a_series_of_one_slice(write_ct: WriteCt) -> None:
    (series,) = find_study(write_ct(1)[0]).series

    assert (series.shape, codes(series)) == ((1, 6, 4), {"F_DICOM_SINGLE_SLICE"})
    assert series.spacing_mm == pytest.approx((2.0, 0.5, 0.8))


# pixels


def test_rescale_of_each_slice_is_its_own(write_ct: WriteCt) -> None:
    def steeper(dataset: Dataset, number: int) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = 1 + number, -1024 + number

    files = write_ct(3, edit=steeper)
    stored = dcmread(files[2]).pixel_array.astype(int)

    assert (read(files).voxels[2] == stored * 3 - 1022).all()


def test_fractional_slope_is_rounded_to_whole_hu(write_ct: WriteCt) -> None:
    files = write_ct(2, edit=setting(RescaleSlope="0.5", RescaleIntercept="-600.25"))
    stored = dcmread(files[0]).pixel_array

    assert (read(files).voxels[0] == np.rint(stored * 0.5 - 600.25)).all()


def test_signed_pixels(write_ct: WriteCt) -> None:
    def signed(dataset: Dataset, number: int) -> None:
        dataset.PixelRepresentation, dataset.RescaleIntercept = 1, 0
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.PixelData = np.linspace(-1500, 3000, 24).astype("<i2").tobytes()

    volume = read(write_ct(2, edit=signed))
    assert (volume.voxels.min(), volume.voxels.max(), volume.flags) == (-1500, 3000, ())


def test_twelve_bit_signed_pixels_are_sign_extended(write_ct: WriteCt) -> None:
    def signed(dataset: Dataset, number: int) -> None:
        dataset.PixelRepresentation, dataset.RescaleIntercept = 1, 0
        dataset.PixelData = (np.linspace(-1000, 1000, 24).astype("<i2") & np.int16(0x0FFF)).tobytes()

    volume = read(write_ct(2, edit=signed))
    assert (volume.voxels.min(), volume.voxels.max()) == (-1000, 1000)


def test_stray_bits_are_masked_and_told(write_ct: WriteCt) -> None:
    clean = read(write_ct(2, folder="clean"))

    def overlay(dataset: Dataset, number: int) -> None:
        words = np.frombuffer(dataset.PixelData, "<u2").copy()
        words[5] |= 0x8000
        dataset.PixelData = words.tobytes()

    dirty = read(write_ct(2, folder="dirty", edit=overlay))
    assert (dirty.voxels == clean.voxels).all()
    assert codes(dirty) == {"F_DICOM_STRAY_BITS"}


def test_values_beyond_int16_are_clipped_and_told(write_ct: WriteCt) -> None:
    volume = read(write_ct(2, edit=setting(RescaleSlope=40)))

    assert volume.voxels.max() == 32767
    assert "F_DICOM_CLIPPED" in codes(volume)


@pytest.mark.parametrize(("value", "limit"), [(2000, None), (1990, 2010), (2010, 1990)])
def test_padding_becomes_air(write_ct: WriteCt, value: int, limit: int | None) -> None:
    elements = {"PixelPaddingValue": value} | ({"PixelPaddingRangeLimit": limit} if limit else {})
    volume = read(write_ct(2, edit=setting(**elements)))

    assert (volume.voxels[:, 1] == -1024).all()
    assert codes(volume) == {"F_DICOM_PADDING"}


def test_values_that_cannot_be_a_ct_are_told(write_ct: WriteCt) -> None:
    volume = read(write_ct(2, edit=setting(RescaleIntercept=0)))  # no air at all

    assert codes(volume) == {"F_CT_HU_IMPLAUSIBLE"}


def test_other_rescale_types_are_not_called_hu(write_ct: WriteCt) -> None:
    volume = read(write_ct(2, edit=setting(RescaleType="US")))

    assert volume.unit == "unspecified"
    assert codes(volume) == {"F_DICOM_NOT_HU"}


def test_inverted_display_does_not_change_hu(write_ct: WriteCt) -> None:
    plain = read(write_ct(2, folder="plain"))
    inverted = read(write_ct(2, folder="inverted", edit=setting(PhotometricInterpretation="MONOCHROME1")))

    assert (plain.voxels == inverted.voxels).all()
    assert codes(inverted) == {"F_DICOM_MONOCHROME1"}


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless], ids=lambda uid: uid.keyword)
def test_compressed_copies_have_the_same_voxels(write_ct: WriteCt, syntax: str) -> None:
    plain = read(write_ct(3, folder="plain", shape=(32, 40)))

    def compress(dataset: Dataset, number: int) -> None:
        dataset.compress(syntax, generate_instance_uid=False)

    packed = read(write_ct(3, folder="packed", shape=(32, 40), edit=compress))
    assert (packed.voxels == plain.voxels).all()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian], ids=lambda uid: uid.keyword)
def test_byte_orders_have_the_same_voxels(write_ct: WriteCt, syntax: str) -> None:
    plain = read(write_ct(2, folder="plain"))

    def recode(dataset: Dataset, number: int) -> None:
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
            dataset["PixelData"].VR = "OW"

    assert (read(write_ct(2, folder="recoded", edit=recode)).voxels == plain.voxels).all()


# flagged geometry


def test_varying_spacing_is_told_and_the_positions_are_kept(write_ct: WriteCt) -> None:
    heights = [0.0, 2.0, 4.0, 7.0, 10.0]

    def spread(dataset: Dataset, number: int) -> None:
        dataset.ImagePositionPatient = [-10, -20, heights[number]]

    volume = read(write_ct(edit=spread))
    assert codes(volume) == {"F_DICOM_SPACING_VARIES"}
    assert volume.slice_positions_mm == pytest.approx(heights)
    assert volume.spacing_mm[0] == pytest.approx(2.5)


def test_a_change_to_double_spacing_is_a_protocol_not_a_missing_slice(write_ct: WriteCt) -> None:
    heights = [0.0, 5.0, 10.0, 15.0, 25.0, 35.0, 45.0]

    def spread(dataset: Dataset, number: int) -> None:
        dataset.ImagePositionPatient = [-10, -20, heights[number]]

    assert codes(only_series(write_ct(7, edit=spread))) == {"F_DICOM_SPACING_VARIES"}


def test_gantry_tilt_is_told_and_kept(write_ct: WriteCt) -> None:
    cosine, sine = np.cos(np.radians(12)), np.sin(np.radians(12))

    def tilt(dataset: Dataset, number: int) -> None:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, round(cosine, 9), round(-sine, 9)]

    series = only_series(write_ct(edit=tilt))
    (flag,) = series.flags
    assert flag.code == "F_DICOM_GANTRY_TILT"
    assert "12.0 degrees" in flag.text
    assert series.affine_lps is not None
    np.testing.assert_allclose(series.affine_lps[:3, 0], [0, 0, 2])  # the true step of the table, not of the normal


def test_slices_that_leave_the_line_are_told(write_ct: WriteCt) -> None:
    def shift(dataset: Dataset, number: int) -> None:
        dataset.ImagePositionPatient = [-10 + 4 * (number == 2), -20, 2 * number]

    assert codes(only_series(write_ct(edit=shift))) == {"F_DICOM_SLICES_SHIFTED"}


def test_missing_uid_groups_by_content_and_makes_a_stable_name(write_ct: WriteCt, tmp_path: Path) -> None:
    files = write_ct(edit=setting(SeriesInstanceUID=""))
    series = only_series(files)
    shutil.move(files[0].parent, tmp_path / "elsewhere")

    assert codes(series) == {"F_DICOM_UID_MISSING"}
    assert series.uid.startswith("nouid-")
    assert find_study(tmp_path / "elsewhere").series[0].uid == series.uid


def test_missing_uid_keeps_different_acquisitions_apart(write_ct: WriteCt) -> None:
    def split(dataset: Dataset, number: int) -> None:
        dataset.SeriesInstanceUID = ""
        dataset.AcquisitionNumber = 1 + number // 3

    assert sorted(series.shape[0] for series in find_study(write_ct(6, edit=split)[0].parent).series) == [3, 3]


def test_missing_sop_class_is_told(write_ct: WriteCt) -> None:
    assert codes(only_series(write_ct(edit=setting(SOPClassUID="")))) == {"F_DICOM_SOP_CLASS_MISSING"}


def test_exact_copies_are_left_out_and_told(write_ct: WriteCt) -> None:
    files = write_ct()
    shutil.copy(files[2], files[2].with_name("copy.dcm"))
    study = find_study(files[0].parent)

    assert codes(study.series[0]) == {"F_DICOM_COPIES_DROPPED"}
    assert study.series[0].shape[0] == 5
    assert len(study.not_used) == 1
    assert "copy" in study.not_used[0].reason


def test_padding_can_be_kept(write_ct: WriteCt) -> None:
    series = only_series(write_ct(2, edit=setting(PixelPaddingValue=2000)))
    (volume,) = read_volumes(series, keep_padding=True)

    assert (volume.voxels[:, 1] == 976).all()
    assert codes(volume) == set()
