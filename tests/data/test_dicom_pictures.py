"""data/dicom_pictures.py: X-ray, ultrasound and captures as pictures, brighter = larger, with what the file states."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_images import image_dataset, write_image
from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.uid import JPEGLSLossless

from medvox.data.dicom_pictures import iso_date_time, read_pictures
from medvox.data.limits import Limits
from medvox.data.picture import Picture
from medvox.data.volume import Series
from medvox.errors import InputError, MedvoxError

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def xray(pixels: Any = RAMP, **values: Any) -> Dataset:
    dataset = image_dataset(pixels, stored=12 if pixels.dtype.itemsize == 2 else None)
    dataset.Modality = "DX"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def only(dataset: Dataset, tmp_path: Path, **options: Any) -> Picture:
    (picture,) = read_pictures(write_image(dataset, tmp_path / "a.dcm"), **options)
    return picture


def codes(picture: Picture) -> set[str]:
    return {flag.code for flag in picture.flags}


def refused(dataset: Dataset, tmp_path: Path, **options: Any) -> str:
    with pytest.raises(MedvoxError) as caught:
        only(dataset, tmp_path, **options)
    return caught.value.code


def item(**values: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def test_all_bits_are_kept_and_no_window_is_applied(tmp_path: Path) -> None:
    picture = only(xray(WindowCenter=100, WindowWidth=10), tmp_path)
    assert picture.pixels.dtype == np.uint16
    assert np.array_equal(picture.pixels, RAMP)
    assert picture.flags == ()


def test_8_bits_stay_8_bits(tmp_path: Path) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(only(xray(pixels), tmp_path).pixels, pixels)


@pytest.mark.parametrize(
    ("photometric", "shape", "slope", "inverted", "conflict"),
    [
        ("MONOCHROME2", None, None, False, False),
        ("MONOCHROME1", None, None, True, False),
        ("MONOCHROME1", "INVERSE", None, True, False),  # the DX pair: one inversion, not two
        ("MONOCHROME2", "IDENTITY", None, False, False),
        ("MONOCHROME2", "INVERSE", None, True, True),
        ("MONOCHROME1", "IDENTITY", None, True, True),
        ("MONOCHROME2", None, -1, True, False),
        ("MONOCHROME1", None, -1, False, False),
    ],
)
def test_brighter_is_larger_whatever_the_file_says(
    tmp_path: Path, photometric: str, shape: str | None, slope: int | None, inverted: bool, conflict: bool
) -> None:
    dataset = xray(PhotometricInterpretation=photometric)
    if shape:
        dataset.PresentationLUTShape = shape
    if slope:
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, 4095
    picture = only(dataset, tmp_path)
    assert np.array_equal(picture.pixels, 4095 - RAMP if inverted else RAMP)
    assert ("F_DICOM_INVERTED" in codes(picture)) == inverted
    assert ("F_DICOM_POLARITY" in codes(picture)) == conflict


def test_signed_values_are_moved_above_zero_in_order(tmp_path: Path) -> None:
    pixels = (RAMP.astype(np.int16) - 2048).astype(np.int16)
    assert np.array_equal(only(xray(pixels), tmp_path).pixels, RAMP)


def lut(descriptor: list[int], vr: str, data: list[int]) -> Any:
    table = item(LUTDescriptor=descriptor, ModalityLUTType="OD")
    table.add_new("LUTData", vr, data if vr == "US" else np.array(data, "<u2").tobytes())
    return DicomSequence([table])


@pytest.mark.parametrize("vr", ["US", "OW"])
def test_a_modality_lookup_table_is_applied_and_holds_its_ends(tmp_path: Path, vr: str) -> None:
    pixels = np.full((8, 8), 101, np.uint16)
    pixels[0, :3] = 0, 100, 4000
    picture = only(xray(pixels, ModalityLUTSequence=lut([3, 100, 16], vr, [10, 30, 20])), tmp_path)
    assert picture.pixels[0].tolist() == [10, 10, 20, 30, 30, 30, 30, 30]


@pytest.mark.parametrize("descriptor", [[9, 100, 16], [3, 100, 4], [3, 100, 32], [2, 100, 16]])
def test_a_modality_lookup_table_that_does_not_fit_is_refused(tmp_path: Path, descriptor: list[int]) -> None:
    dataset = xray(ModalityLUTSequence=lut(descriptor, "OW", [1, 2, 3]))
    assert refused(dataset, tmp_path) == "E_DICOM_LUT"


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_becomes_the_darkest_real_value(tmp_path: Path, photometric: str) -> None:
    pixels = RAMP // 2 + 1000
    empty = 4095 if photometric == "MONOCHROME2" else 0
    pixels[:5] = empty
    dataset = xray(pixels, PhotometricInterpretation=photometric)
    dataset.add_new("PixelPaddingValue", "US", empty)
    picture = only(dataset, tmp_path)
    assert "F_DICOM_PADDING" in codes(picture)
    assert (picture.pixels[:5] == picture.pixels[5:].min()).all()
    assert picture.pixels[5:].min() > 0


@pytest.mark.parametrize("slope", [0, "nan"])
def test_a_slope_of_no_use_is_refused(tmp_path: Path, slope: Any) -> None:
    dataset = xray(RescaleIntercept=0)
    with warnings.catch_warnings(action="ignore"):  # pydicom warns while it writes what no file should hold
        dataset.add_new("RescaleSlope", "DS", str(slope))
    assert refused(dataset, tmp_path) == "E_DICOM_RESCALE_INVALID"


def test_an_image_without_a_polarity_is_refused(tmp_path: Path) -> None:
    assert refused(xray(PhotometricInterpretation=""), tmp_path) == "E_DICOM_POLARITY"


def test_single_bits_become_black_and_white(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (8, 16), dtype=np.uint8)
    dataset = xray(pixels, BitsAllocated=1, BitsStored=1, HighBit=0)
    dataset.PixelData = np.packbits(pixels.reshape(-1), bitorder="little").tobytes()
    assert np.array_equal(only(dataset, tmp_path).pixels, pixels * 255)


def test_floating_point_and_32_bits_are_mapped_with_a_flag(tmp_path: Path) -> None:
    picture = only(xray((RAMP.astype(np.uint32) + 1) << 18), tmp_path)
    assert "F_PICTURE_RESCALED" in codes(picture)
    assert (int(picture.pixels.min()), int(picture.pixels.max())) == (0, 65_535)


def test_pixels_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    dataset = xray(np.zeros((8, 8), np.uint32))
    values = np.ones((8, 8), np.float32)
    values[0, 0] = np.nan
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit
    dataset.FloatPixelData = values.tobytes()
    assert refused(dataset, tmp_path) == "E_PICTURE_NOT_FINITE"


def test_colours_come_as_rgb_with_8_bits(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65_536, (9, 10, 3), dtype=np.uint16)
    picture = only(image_dataset(pixels, photometric="RGB"), tmp_path)
    assert np.array_equal(picture.pixels, pixels >> 8)
    assert codes(picture) == {"F_PICTURE_16_TO_8"}


def test_every_frame_is_a_picture(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 40), dtype=np.uint8)
    dataset = image_dataset(pixels)
    dataset.compress(JPEGLSLossless)
    pictures = read_pictures(write_image(dataset, tmp_path / "a.dcm"))
    assert [picture.frame for picture in pictures] == [0, 1, 2]
    assert np.array_equal(np.stack([picture.pixels for picture in pictures]), pixels)


@pytest.mark.parametrize(
    ("values", "spacing", "origin", "flag"),
    [
        ({}, None, "", ""),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "detector", "F_XRAY_DETECTOR_SPACING"),
        (
            {"ImagerPixelSpacing": [0.2, 0.1], "PixelSpacing": [0.2, 0.1]},
            (0.2, 0.1), "detector", "F_XRAY_DETECTOR_SPACING",
        ),
        ({"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.15, 0.15]}, (0.15, 0.15), "calibrated", ""),
        (
            {"PixelSpacing": [0.15, 0.15], "PixelSpacingCalibrationType": "FIDUCIAL"},
            (0.15, 0.15), "calibrated", "",
        ),
        ({"PixelSpacing": [0.15, 0.15]}, (0.15, 0.15), "stated", "F_XRAY_UNCALIBRATED_SPACING"),
        ({"PixelSpacing": [0, 0.15]}, None, "", ""),
        ({"Modality": "OT", "PixelSpacing": [0.5, 0.4]}, (0.5, 0.4), "stated", ""),
    ],
)  # fmt: skip
def test_spacing_says_where_it_holds(
    tmp_path: Path, values: dict[str, Any], spacing: tuple[float, float] | None, origin: str, flag: str
) -> None:
    picture = only(xray(**values), tmp_path)
    assert (picture.pixel_spacing_mm, picture.spacing_origin) == (spacing, origin)
    assert codes(picture) == ({flag} if flag else set())


def region(**values: Any) -> Dataset:
    facts = {"RegionSpatialFormat": 1, "RegionDataType": 1, "PhysicalUnitsXDirection": 3, "PhysicalUnitsYDirection": 3}
    return item(**{**facts, "PhysicalDeltaX": 0.02, "PhysicalDeltaY": -0.03, **values})


@pytest.mark.parametrize(
    ("regions", "spacing"),
    [
        ([region()], (0.3, 0.2)),
        ([region(), region(RegionDataType=2)], (0.3, 0.2)),  # a colour flow box beside the tissue
        ([region(), region()], None),
        ([region(PhysicalUnitsXDirection=4)], None),
        ([region(RegionSpatialFormat=2)], None),
        ([region(PhysicalDeltaX=0)], None),
    ],
)
def test_ultrasound_has_a_spacing_only_where_one_tissue_region_states_it(
    tmp_path: Path, regions: list[Dataset], spacing: tuple[float, float] | None
) -> None:
    dataset = xray(np.zeros((16, 16), np.uint8), Modality="US", SequenceOfUltrasoundRegions=DicomSequence(regions))
    assert only(dataset, tmp_path).pixel_spacing_mm == (pytest.approx(spacing) if spacing else None)


@pytest.mark.parametrize(
    ("values", "side", "conflict"),
    [
        ({}, "", False),
        ({"ImageLaterality": "L"}, "L", False),
        ({"Laterality": "R"}, "R", False),
        ({"ImageLaterality": "L", "Laterality": "L"}, "L", False),
        ({"ImageLaterality": "L", "Laterality": "R"}, "", True),
        ({"ImageLaterality": "X"}, "", False),
    ],
)
def test_the_side_is_taken_as_stated_and_never_guessed(
    tmp_path: Path, values: dict[str, str], side: str, conflict: bool
) -> None:
    picture = only(xray(**values), tmp_path)
    assert picture.laterality == side
    assert ("F_DICOM_LATERALITY_CONFLICT" in codes(picture)) == conflict


def test_the_view_is_taken_as_stated(tmp_path: Path) -> None:
    assert only(xray(ViewPosition="PA"), tmp_path).view == "PA"
    coded = xray(ViewCodeSequence=DicomSequence([item(CodeMeaning="postero-anterior")]))
    assert only(coded, tmp_path).view == "postero-anterior"
    assert only(xray(), tmp_path).view == ""


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"BurnedInAnnotation": "YES"}, "F_DICOM_BURNED_IN"),
        ({"LossyImageCompression": "01"}, "F_DICOM_LOSSY"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "F_XRAY_FOR_PROCESSING"),
    ],
)
def test_what_a_reader_must_know_becomes_a_flag(tmp_path: Path, values: dict[str, str], code: str) -> None:
    assert codes(only(xray(**values), tmp_path)) == {code}


@pytest.mark.parametrize(
    ("values", "moment"),
    [
        ({"AcquisitionDateTime": "20240229123456.78+0100"}, "2024-02-29T12:34:56"),
        ({"AcquisitionDate": "20240229", "AcquisitionTime": "0102"}, "2024-02-29T01:02:00"),
        ({"ContentDate": "20240229"}, "2024-02-29"),
        ({"StudyDate": "20230101", "StudyTime": "235959", "AcquisitionDate": "20240101"}, "2024-01-01"),
        ({"StudyDate": "20230230"}, ""),
        ({}, ""),
    ],
)
def test_the_moment_of_acquisition_is_the_best_one_stated(tmp_path: Path, values: dict[str, str], moment: str) -> None:
    assert only(xray(**values), tmp_path).acquired == moment


@pytest.mark.parametrize("stated", ["", "2024", "last week", "20241301", "20240101T99", "2024-01-01"])
def test_what_is_no_date_gives_none(stated: str) -> None:
    assert iso_date_time(stated) == ""


def test_a_document_without_an_image_is_refused_as_that(shared_data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared_data / "dicom_odd" / "highdicom.zip") as archive:
        (tmp_path / "a.dcm").write_bytes(archive.read("sr_document.dcm"))
    with pytest.raises(InputError) as caught:
        read_pictures(tmp_path / "a.dcm")
    assert caught.value.code == "E_DICOM_NO_IMAGE"


def test_limits_of_pictures_hold_for_dicom(tmp_path: Path) -> None:
    assert refused(xray(), tmp_path, limits=Limits(picture_side=63)) == "E_PICTURE_LIMIT"
    assert refused(xray(np.zeros((4, 64), np.uint16)), tmp_path) == "E_PICTURE_LIMIT"


def test_a_real_radiograph_is_bright_where_it_absorbs(shared_data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared_data / "dicom_odd" / "highdicom.zip") as archive:
        (tmp_path / "a.dcm").write_bytes(archive.read("dx_image.dcm"))
    (picture,) = read_pictures(tmp_path / "a.dcm")
    assert "F_DICOM_INVERTED" in codes(picture)
    edge = np.concatenate([picture.pixels[:4].reshape(-1), picture.pixels[-4:].reshape(-1)])
    assert edge.mean() < picture.pixels[60:110, 80:130].mean()  # air around a hand that absorbs


def test_a_series_gives_the_pictures_of_its_files_in_their_order(tmp_path: Path) -> None:
    files = []
    for number in (3, 1, 2):
        dataset = xray(np.full((8, 8), number, np.uint8))
        files.append(write_image(dataset, tmp_path / f"{number}.dcm"))
    series = Series(
        uid="1.2", modality="DX", description="", shape=(3, 8, 8), spacing_mm=None, affine_lps=None,
        verdict="accept", flags=(), files=tuple(files), kind="pictures",
    )  # fmt: skip
    told: list[tuple[int, int]] = []
    pictures = read_pictures(series, progress=lambda what, done, total: told.append((done, total)))
    assert [int(picture.pixels[0, 0]) for picture in pictures] == [3, 1, 2]
    assert [picture.source.name for picture in pictures] == ["3.dcm", "1.dcm", "2.dcm"]
    assert told == [(1, 3), (2, 3), (3, 3)]
