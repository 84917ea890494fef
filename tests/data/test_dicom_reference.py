"""Real CT series against dcm2niix, a segmentation on the same grid, and the odd files that other readers ship.

dcm2niix writes RAS, column before row, and flips the rows; ``to_dcm2niix`` undoes that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from medvox.data.affine import index_to_mm, lps_to_ras
from medvox.data.dicom import find_study, read_volume
from medvox.data.dicom_header import read_header
from medvox.data.dicom_pixels import stored_values
from medvox.data.volume import Series, Volume

Unzip = Callable[[Path], Path]

CT_SERIES = ("ct_body_siemens_j2k", "ct_head_ge_tilt_varspacing", "ct_small_ge")
DCM2NIIX_PADDING = -1500  # dcm2niix keeps the padding value of the GE head series, we set it to air


def load(name: str, shared_data: Path, unzip: Unzip) -> tuple[Volume, dict[str, Any]]:
    folder = shared_data / "dicom" / name
    (series,) = find_study(unzip(folder / "series.zip")).series
    reference = json.loads((folder / "series.json").read_text())["reference"][0]
    return read_volume(series), reference


def to_dcm2niix(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Voxels as [column, flipped row, slice], and the RAS affine that belongs to them."""
    rows = volume.voxels.shape[1]
    ours_from_theirs = np.array([[0, 0, 1, 0], [0, -1, 0, rows - 1], [1, 0, 0, 0], [0, 0, 0, 1]])
    return volume.voxels[:, ::-1].transpose(2, 1, 0), lps_to_ras(volume.affine_lps) @ ours_from_theirs


@pytest.mark.parametrize("name", CT_SERIES)
def test_voxels_equal_dcm2niix(name: str, shared_data: Path, unzip: Unzip) -> None:
    volume, reference = load(name, shared_data, unzip)
    voxels, _ = to_dcm2niix(volume)

    assert list(voxels.shape) == reference["shape"]
    assert len(reference["samples"]) == 64
    for sample in reference["samples"]:
        expected = -1024 if sample["value"] == DCM2NIIX_PADDING else sample["value"]
        assert voxels[tuple(sample["ijk"])] == expected


@pytest.mark.parametrize("name", ["ct_body_siemens_j2k", "ct_small_ge"])
def test_affine_equals_dcm2niix(name: str, shared_data: Path, unzip: Unzip) -> None:
    volume, reference = load(name, shared_data, unzip)
    _, affine = to_dcm2niix(volume)

    np.testing.assert_allclose(affine, reference["affine"], atol=1e-4)
    for sample in reference["samples"]:
        np.testing.assert_allclose(affine[:3] @ [*sample["ijk"], 1], sample["xyz_mm"], atol=2e-3)


def test_affine_of_the_tilted_series_differs_from_dcm2niix_where_it_must(shared_data: Path, unzip: Unzip) -> None:
    """In-plane directions and the origin agree. The slice column cannot.

    dcm2niix takes the distance of the first two slices along their normal (4.00 mm of a series that runs from 1.1 to
    7.0 mm) and lays it along the table; ours is the mean step of the table between the first and the last slice.
    """
    volume, reference = load("ct_head_ge_tilt_varspacing", shared_data, unzip)
    _, affine = to_dcm2niix(volume)
    theirs = np.array(reference["affine"])

    np.testing.assert_allclose(affine[:, [0, 1, 3]], theirs[:, [0, 1, 3]], atol=2e-4)
    np.testing.assert_allclose(affine[:3, 2], [0, 0, (157.7760586 - 5.8360586) / 27], atol=1e-6)
    assert theirs[2, 2] == pytest.approx(np.diff(volume.slice_positions_mm)[0], abs=1e-4)


def test_tilt_and_varying_spacing_are_told_with_numbers(shared_data: Path, unzip: Unzip) -> None:
    volume, _ = load("ct_head_ge_tilt_varspacing", shared_data, unzip)
    told = {flag.code: flag.text for flag in volume.flags}

    assert set(told) == {"F_DICOM_SPACING_VARIES", "F_DICOM_GANTRY_TILT", "F_DICOM_PADDING"}
    assert "18.5 degrees" in told["F_DICOM_GANTRY_TILT"]
    assert "from 1.08 to 7.00 mm" in told["F_DICOM_SPACING_VARIES"]


def test_padding_is_the_only_difference_of_the_head_series(shared_data: Path, unzip: Unzip) -> None:
    volume, reference = load("ct_head_ge_tilt_varspacing", shared_data, unzip)
    padded = int(next(flag.text for flag in volume.flags if flag.code == "F_DICOM_PADDING").split()[0])

    restored_mean = volume.voxels.mean() + padded * (DCM2NIIX_PADDING + 1024) / volume.voxels.size
    assert restored_mean == pytest.approx(reference["mean"], abs=1e-4)


def test_a_series_that_does_not_claim_hu_is_not_called_hu(shared_data: Path, unzip: Unzip) -> None:
    """``ct_small_ge`` says modality CT, but shows a T1-weighted brain MR; only RescaleType gives it away."""
    volume, _ = load("ct_small_ge", shared_data, unzip)

    assert volume.unit == "unspecified"
    assert [flag.code for flag in volume.flags] == ["F_DICOM_NOT_HU"]


def test_grid_equals_that_of_the_segmentation(shared_data: Path, unzip: Unzip) -> None:
    nibabel = pytest.importorskip("nibabel")
    volume, _ = load("ct_body_siemens_j2k", shared_data, unzip)
    labels = nibabel.load(shared_data / "dicom" / "ct_body_siemens_j2k" / "total_segmentation.nii.gz")
    theirs = np.asarray(labels.dataobj)

    corners = np.array([[0, 0, 0], [19, 0, 0], [0, 511, 0], [0, 0, 511], [19, 511, 511]])
    ras_mm = index_to_mm(lps_to_ras(volume.affine_lps), corners)
    ijk = (ras_mm - labels.affine[:3, 3]) @ np.linalg.inv(labels.affine[:3, :3]).T
    np.testing.assert_allclose(ijk, ijk.round(), atol=1e-3)
    assert (ijk.round().min(axis=0) == 0).all()
    assert (ijk.round().max(axis=0) == np.array(theirs.shape) - 1).all()


def test_organs_of_the_segmentation_have_their_hounsfield_units(shared_data: Path, unzip: Unzip) -> None:
    """A flipped or mirrored grid would mix organs with air: liver and spleen are soft tissue in every voxel's mean."""
    nibabel = pytest.importorskip("nibabel")
    volume, _ = load("ct_body_siemens_j2k", shared_data, unzip)
    image = nibabel.load(shared_data / "dicom" / "ct_body_siemens_j2k" / "total_segmentation.nii.gz")
    labels = np.asarray(image.dataobj)
    spleen_id, liver_id = 1, 5  # TotalSegmentator, task total, version 2

    def lps_mm(label: int) -> np.ndarray:
        ijk = np.argwhere(labels == label)
        return (ijk @ image.affine[:3, :3].T + image.affine[:3, 3]) * [-1, -1, 1]

    inverse = np.linalg.inv(volume.affine_lps)
    for label in (spleen_id, liver_id):
        index = np.rint(lps_mm(label) @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
        hu = volume.voxels[tuple(index.T)]
        assert 60 < hu.mean() < 180
        assert hu.std() < 40
    assert lps_mm(liver_id)[:, 0].mean() < lps_mm(spleen_id)[:, 0].mean()  # the liver lies on the patient's right


def test_the_shipped_sample_shows_the_same_voxels(shared_data: Path, unzip: Unzip) -> None:
    original, _ = load("ct_body_siemens_j2k", shared_data, unzip)
    sample = Path(__file__).parents[2] / "src" / "medvox" / "samples" / "ct_abdomen"
    shipped = read_volume(find_study(sample).series[0])

    assert (shipped.voxels == original.voxels).all()
    assert (shipped.affine_lps == original.affine_lps).all()


# odd files


@pytest.fixture
def odd(shared_data: Path, unzip: Unzip) -> Path:
    return unzip(shared_data / "dicom_odd" / "dicom2nifti.zip")


def stored(folder: Path) -> np.ndarray:
    """Stored values of a folder in the order of InstanceNumber; for files that ``read_volume`` refuses."""
    headers = sorted(map(read_header, folder.rglob("*.dcm")), key=lambda header: header.instance or 0)
    return np.stack([stored_values(dcmread(header.path), header)[0] for header in headers])


@pytest.mark.parametrize("codec", ["compressed_j2k", "compressed_jpegls", "compressed_rle"])
def test_codecs_agree(odd: Path, codec: str) -> None:
    plain = stored(odd / "generic" / "compressed")

    assert plain.shape == (4, 256, 256)
    assert (stored(odd / "generic" / codec) == plain).all()


FAILING = {
    "gantrytilting": ("flagged", "F_DICOM_GANTRY_TILT"),
    "sliceincrement": ("refuse", "E_DICOM_SLICE_MISSING"),
    "slicecount": ("refuse", "E_MODALITY_UNSUPPORTED"),
    "sliceorientation": ("refuse", "E_MODALITY_UNSUPPORTED"),
}


@pytest.mark.parametrize("name", FAILING)
def test_series_that_other_readers_fail_on(odd: Path, name: str) -> None:
    (series,) = find_study(odd / "failing" / name).series

    assert (series.verdict, series.flags[0].code) == FAILING[name]


def test_mixed_orientation_is_refused_for_ct_too(odd: Path) -> None:
    for file in (odd / "failing" / "sliceorientation").rglob("*.dcm"):
        dataset = dcmread(file)
        dataset.Modality, dataset.SOPClassUID = "CT", "1.2.840.10008.5.1.4.1.1.2"
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        dataset.save_as(file)

    (series,) = find_study(odd / "failing" / "sliceorientation").series
    assert [flag.code for flag in series.flags] == ["E_DICOM_ORIENTATION_MIXED"]


def test_noise_in_place_of_a_patient_is_told(odd: Path) -> None:
    """The publisher replaced the pixels by 0..254, which lie far below water after rescaling."""
    volume = read_volume(find_study(odd / "failing" / "gantrytilting").series[0])

    assert "F_CT_HU_IMPLAUSIBLE" in {flag.code for flag in volume.flags}


def single_files(shared_data: Path, unzip: Unzip) -> list[Series]:
    folders = [unzip(shared_data / "dicom_odd" / name) for name in ("pydicom.zip", "highdicom.zip")]
    return [series for folder in folders for series in find_study(folder).series]


def test_every_single_ct_has_a_verdict_and_holds_to_it(shared_data: Path, unzip: Unzip) -> None:
    found = {series.files[0].name: series for series in single_files(shared_data, unzip) if series.modality == "CT"}
    first_codes = {
        name: next((flag.code for flag in series.flags if flag.code.startswith("E_")), None)
        for name, series in found.items()
    }

    assert first_codes == {
        "693_J2KR.dcm": None,
        "ct_image.dcm": None,
        "eCT_Supplemental.dcm": "E_DICOM_MULTIFRAME",
        "explicit_VR-UN.dcm": "E_DICOM_SPACING_MISSING",  # one slice without SliceThickness
        **{name: code for name, code in first_codes.items() if name == "bad_sequence.dcm"},  # depends on the decoders
    }
    for name, code in first_codes.items():
        if code is None:
            assert read_volume(found[name]).voxels.shape[0] == 1


def test_no_other_modality_is_usable(shared_data: Path, unzip: Unzip) -> None:
    others = [series for series in single_files(shared_data, unzip) if series.modality != "CT"]

    assert len(others) >= 40
    assert {series.verdict for series in others} == {"refuse"}
    assert {flag.code for series in others for flag in series.flags} <= {
        "E_MODALITY_UNSUPPORTED",
        "F_DICOM_UID_MISSING",
    }


def test_pixels_equal_the_published_numbers(shared_data: Path, unzip: Unzip) -> None:
    index = json.loads((shared_data / "dicom_odd" / "index.json").read_text())["files"]
    known = {Path(entry["file"]).name: entry["pixels"] for entry in index if entry.get("pixels")}
    usable = [series for series in single_files(shared_data, unzip) if series.verdict != "refuse"]

    for series in usable:
        header = read_header(series.files[0])
        values, _ = stored_values(dcmread(header.path), replace(header, bits_stored=16))
        expected = known[header.path.name]
        assert (values.min(), values.max()) == (expected["min"], expected["max"])
