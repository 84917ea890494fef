"""Planes of one file: functional groups, mosaics, vendors' private values. Real ones are in the reference tests."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from made_series import Edit, WriteCt, as_mr, both, codes, enhanced_mr, item, read, setting, written
from pydicom import Dataset

from medvox.data.dicom import find_study, read_volume
from medvox.data.dicom_csa import MARK, read_csa
from medvox.data.dicom_frames import read_planes
from medvox.data.volume import Volume

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns while odd files are written


def private(group: int, creator: str, elements: dict[int, tuple[str, object]]) -> Edit:
    def edit(dataset: Dataset, number: int) -> None:
        block = dataset.private_block(group, creator, create=True)
        for offset, (vr, value) in elements.items():
            block.add_new(offset, vr, value)

    return edit


def volume_of(dataset: Dataset, tmp_path: Path) -> Volume:
    return read_volume(find_study(written(dataset, tmp_path / "one.dcm")).series[0])


# values


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [(1, 0, "int16"), (8, 0, "int16"), (9, 0, "uint16"), (20, 0, "int32"), (16, -40000, "int32"), (0.5, 0, "float32")],
)
def test_mr_values_take_the_smallest_type_that_holds_them(
    write_ct: WriteCt, slope: float, intercept: int, dtype: str
) -> None:
    plain = read(write_ct(2, folder="plain", edit=as_mr))
    rescale = setting(RescaleSlope=slope, RescaleIntercept=intercept)
    volume = read(write_ct(2, folder="rescaled", edit=both(as_mr, rescale)))

    assert (volume.voxels.dtype, volume.unit) == (dtype, "unspecified")
    assert (volume.voxels == plain.voxels.astype(float) * slope + intercept).all()


def test_full_sixteen_bits_are_unsigned(write_ct: WriteCt) -> None:
    def bright(dataset: Dataset, number: int) -> None:
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.PixelData = np.linspace(0, 65535, 24).astype("<u2").tobytes()

    volume = read(write_ct(2, edit=both(as_mr, bright)))
    assert (volume.voxels.dtype, volume.voxels.max()) == (np.uint16, 65535)


def test_pet_values_have_their_unit(write_ct: WriteCt) -> None:
    def pet(dataset: Dataset, number: int) -> None:
        dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.128", "PT"
        dataset.Units, dataset.RescaleSlope, dataset.RescaleIntercept = "BQML", 1.5 + number, 0

    volume = read(write_ct(2, edit=pet))
    assert (volume.unit, volume.voxels.dtype) == ("BQML", np.float32)
    assert volume.voxels[1, 1, 0] == 2000 * 2.5


def test_philips_values_come_from_the_private_scale(write_ct: WriteCt) -> None:
    philips = private(0x2005, "Philips MR Imaging DD 001", {0x0E: ("FL", 0.25)})
    edit = both(as_mr, setting(RescaleSlope=2, RescaleIntercept=10), philips)
    plain = read(write_ct(2, folder="plain", edit=as_mr))
    volume = read(write_ct(2, folder="philips", edit=edit))

    assert codes(volume) == {"F_DICOM_PHILIPS_VALUES"}
    np.testing.assert_allclose(volume.voxels, (plain.voxels * 2.0 + 10) / (2 * 0.25))


def test_a_private_scale_of_another_owner_does_not_count(write_ct: WriteCt) -> None:
    other = private(0x2005, "SOMEBODY ELSE", {0x0E: ("FL", 0.25)})

    assert codes(read(write_ct(2, edit=both(as_mr, other)))) == set()


def test_real_world_values_have_their_unit(tmp_path: Path) -> None:
    dataset = enhanced_mr()
    mapping = item(
        RealWorldValueSlope=0.5,
        RealWorldValueIntercept=-1.0,
        MeasurementUnitsCodeSequence=item(CodeValue="ms", CodingSchemeDesignator="UCUM"),
    )
    dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = mapping

    volume = volume_of(dataset, tmp_path)
    assert volume.unit == "ms"
    np.testing.assert_allclose(volume.voxels, dataset.pixel_array * 0.5 - 1)


def test_two_real_world_mappings_are_ambiguous_and_unused(tmp_path: Path) -> None:
    dataset = enhanced_mr()
    mapping = item(RealWorldValueSlope=0.5, RealWorldValueIntercept=0.0)
    mapping.append(item(RealWorldValueSlope=2.0, RealWorldValueIntercept=0.0)[0])
    dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = mapping

    assert (volume_of(dataset, tmp_path).voxels == dataset.pixel_array).all()


def test_frames_are_rescaled_each_by_its_own(tmp_path: Path) -> None:
    dataset = enhanced_mr(3)
    for frame, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        groups.PixelValueTransformationSequence = item(RescaleSlope=1 + frame, RescaleIntercept=frame)

    volume = volume_of(dataset, tmp_path)
    assert all((volume.voxels[n] == dataset.pixel_array[n] * (n + 1.0) + n).all() for n in range(3))


def test_frames_in_any_order_are_sorted_by_place(tmp_path: Path) -> None:
    dataset = enhanced_mr(4)
    for groups, height in zip(dataset.PerFrameFunctionalGroupsSequence, (6, 0, 4, 2), strict=True):
        groups.PlanePositionSequence[0].ImagePositionPatient = [0, 0, height]

    assert (volume_of(dataset, tmp_path).voxels == dataset.pixel_array[[1, 3, 2, 0]]).all()


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (setting(DiffusionBValue=700.0), 700),
        (private(0x0019, "SIEMENS MR HEADER", {0x0C: ("IS", 800)}), 800),
        (private(0x0043, "GEMS_PARM_01", {0x39: ("IS", [1000000900, 8, 0, 0])}), 900),
        (private(0x2001, "Philips Imaging DD 001", {0x03: ("FL", 1000.0)}), 1000),
        (private(0x0019, "SOMEBODY ELSE", {0x0C: ("IS", 800)}), None),
    ],
)
def test_b_values_of_the_vendors(write_ct: WriteCt, edit: Edit, expected: float | None) -> None:
    _, (plane,) = read_planes(write_ct(1, edit=both(as_mr, edit))[0])

    assert plane.b_value == expected


def test_enhanced_ct_is_in_hounsfield_units(tmp_path: Path) -> None:
    dataset = enhanced_mr()
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    dataset.Modality = "CT"
    groups = dataset.SharedFunctionalGroupsSequence[0]
    groups.PixelValueTransformationSequence = item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")

    volume = volume_of(dataset, tmp_path)
    assert (volume.unit, volume.voxels.dtype) == ("HU", np.int16)
    assert (volume.voxels == dataset.pixel_array.astype(int) - 1024).all()


# nuclear medicine


def tomogram(frames: int = 5) -> Dataset:
    """A reconstructed nuclear medicine volume: one detector says where it starts."""
    dataset = enhanced_mr(frames)
    del dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.20"
    dataset.Modality, dataset.ImageType = "NM", ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    dataset.PixelSpacing, dataset.SliceThickness = [4, 4], 5
    dataset.SliceVector = list(range(1, frames + 1))
    dataset.DetectorInformationSequence = item(
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[-10, -20, 30]
    )
    return dataset


def test_slices_of_a_tomogram_follow_their_detector(tmp_path: Path) -> None:
    dataset = tomogram()
    volume = volume_of(dataset, tmp_path)

    assert (volume.voxels == dataset.pixel_array).all()
    np.testing.assert_allclose(volume.affine_lps @ [2, 1, 1, 1], [-6, -16, 40, 1])


def test_a_gated_tomogram_is_refused(tmp_path: Path) -> None:
    dataset = tomogram(6)
    dataset.SliceVector = [1, 2, 3, 1, 2, 3]

    (series,) = find_study(written(dataset, tmp_path / "one.dcm")).series
    assert codes(series) == {"E_DICOM_POSITION_MISSING"}


def test_a_planar_scintigram_is_a_picture(tmp_path: Path) -> None:
    dataset = tomogram()
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]

    assert find_study(written(dataset, tmp_path / "one.dcm")).series[0].kind == "pictures"


# mosaics


def csa_header(entries: dict[str, list[str]]) -> bytes:
    """A CSA header of the form that scanners write."""
    content = MARK + struct.pack("<II", len(entries), 77)
    for name, texts in entries.items():
        content += struct.pack("<64si4siii", name.encode(), len(texts), b"FD\0\0", 4, len(texts), 77)
        for text in texts:
            raw = text.encode() + b"\0"
            content += struct.pack("<4i", len(raw), len(raw), 77, len(raw)) + raw + b"\0" * (-len(raw) % 4)
    return content


def mosaic(count: int, normal: list[str]) -> Edit:
    """A 2 x 2 mosaic of 8 x 8 tiles."""

    def edit(dataset: Dataset, number: int) -> None:
        as_mr(dataset, number)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]
        dataset.SpacingBetweenSlices = 3
        dataset.PixelData = np.arange(256, dtype="<u2").tobytes()
        private(0x0019, "SIEMENS MR HEADER", {0x0A: ("US", count)})(dataset, number)
        if normal:
            header = csa_header({"Empty": [], "SliceNormalVector": normal})
            private(0x0029, "SIEMENS CSA HEADER", {0x10: ("OB", header)})(dataset, number)

    return edit


def test_a_mosaic_is_cut_into_its_slices(write_ct: WriteCt) -> None:
    volume = read(write_ct(1, shape=(16, 16), edit=mosaic(3, ["0.0", "0.0", "1.0"])))
    whole = np.arange(256).reshape(16, 16)

    assert volume.voxels.shape == (3, 8, 8)
    assert (volume.voxels == np.stack([whole[:8, :8], whole[:8, 8:], whole[8:, :8]])).all()
    np.testing.assert_allclose(volume.affine_lps[:3, 3], [-10 + 4 * 0.8, -20 + 4 * 0.5, 30])
    assert volume.spacing_mm == pytest.approx((3, 0.5, 0.8))


def test_a_mosaic_that_runs_against_the_normal_is_turned(write_ct: WriteCt) -> None:
    upwards = read(write_ct(1, folder="up", shape=(16, 16), edit=mosaic(3, ["0", "0", "1"])))
    downwards = read(write_ct(1, folder="down", shape=(16, 16), edit=mosaic(3, ["0", "0", "-1"])))

    assert (downwards.voxels == upwards.voxels[::-1]).all()
    assert downwards.affine_lps[2, 3] == upwards.affine_lps[2, 3] - 6


def test_a_mosaic_without_its_normal_is_told(write_ct: WriteCt) -> None:
    assert codes(read(write_ct(1, shape=(16, 16), edit=mosaic(3, [])))) == {"F_DICOM_MOSAIC_NORMAL"}


@pytest.mark.parametrize("count", [0, 17, 65535])
def test_a_mosaic_of_an_impossible_count_is_refused(write_ct: WriteCt, count: int) -> None:
    (series,) = find_study(write_ct(1, shape=(16, 16), edit=mosaic(count, ["0", "0", "1"]))[0]).series

    assert series.verdict == "refuse"
    assert codes(series) & {"E_DICOM_MOSAIC"}


GOOD = csa_header({"A": ["1"], "SliceNormalVector": ["0.5", "-1", "2e-1"]})


def test_csa_numbers() -> None:
    assert read_csa(GOOD, ("SliceNormalVector",)) == {"SliceNormalVector": (0.5, -1.0, 0.2)}


@pytest.mark.parametrize("length", [0, 4, 8, 12, 20, 100, len(GOOD) - 1])
def test_csa_cut_short_gives_only_what_is_whole(length: int) -> None:
    assert set(read_csa(GOOD[:length], ("A", "SliceNormalVector"))) <= {"A", "SliceNormalVector"}


@pytest.mark.parametrize("text", ["nan", "inf", "abc"])
def test_csa_that_is_no_number_gives_nothing(text: str) -> None:
    assert read_csa(csa_header({"SliceNormalVector": [text, "0", "1"]}), ("SliceNormalVector",)) == {}


def test_csa_of_noise_gives_nothing() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        noise = bytearray(GOOD)
        for at in rng.integers(8, len(noise), 6):
            noise[at] = rng.integers(256)
        found = read_csa(bytes(noise), ("SliceNormalVector",))
        assert all(np.isfinite(values).all() for values in found.values())
