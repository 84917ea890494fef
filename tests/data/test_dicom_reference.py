"""Real series against dcm2niix, a segmentation on the same grid, and the odd files that other readers ship.

dcm2niix writes RAS, column before row, and flips the rows (and sometimes more); ``as_theirs`` undoes that by the two
affines, so that a wrong affine cannot hide behind the right voxels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_series import codes
from pydicom import dcmread

from medvox.data.affine import index_to_mm, lps_to_ras
from medvox.data.dicom import find_study, read_volume, read_volumes
from medvox.data.dicom_header import read_header
from medvox.data.dicom_pixels import stored_values
from medvox.data.volume import Series, Study, Volume
from medvox.errors import InputError

Unzip = Callable[[Path], Path]

DCM2NIIX_PADDING = -1500  # dcm2niix keeps the padding value of the GE head series, we set it to air
EXACT = {  # series -> for each volume file of dcm2niix: which of our series, how many volumes, type of the voxels
    "ct_body_siemens_j2k": [(0, 1, "int16")],
    "ct_small_ge": [(0, 1, "int16")],
    "mr_dti_uih": [(0, 17, "uint16")],
    "mr_enhanced_siemens_xa10": [(0, 4, "int16")],
    "mr_epi_ge": [(0, 10, "int16")],
    "mr_epi_siemens_ap": [(0, 2, "int16")],
    "mr_epi_siemens_rl": [(0, 2, "int16")],
    "mr_t1_siemens_prone": [(0, 1, "int16")],
    "mr_t1_siemens_supine": [(0, 1, "int16")],
    "mr_vida_original_vs_agfa_pacs": [(0, 4, "int16"), (1, 4, "int16")],
}


def references(name: str, shared_data: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((shared_data / "dicom" / name / "series.json").read_text())["reference"]
    return found


def study_of(name: str, shared_data: Path, unzip: Unzip) -> Study:
    return find_study(unzip(shared_data / "dicom" / name / "series.zip"))


def load(name: str, shared_data: Path, unzip: Unzip) -> tuple[Volume, dict[str, Any]]:
    (series,) = study_of(name, shared_data, unzip).series
    return read_volume(series), references(name, shared_data)[0]


def as_theirs(volume: Volume, affine: np.ndarray) -> tuple[np.ndarray, float]:
    """Our voxels in the layout of a RAS affine, and by how many mm the two affines differ then."""
    ours = lps_to_ras(volume.affine_lps)
    turn = np.rint(np.linalg.inv(ours) @ affine)
    axes = np.abs(turn[:3, :3]).argmax(axis=0)
    assert sorted(axes) == [0, 1, 2]
    flips = tuple(slice(None, None, int(turn[axis, column])) for column, axis in enumerate(axes))
    return volume.voxels.transpose(axes)[flips], float(np.abs(ours @ turn - affine).max())


def test_every_series_has_a_reference_here(shared_data: Path) -> None:
    names = {folder.name for folder in (shared_data / "dicom").iterdir()}

    assert names == {*EXACT, "ct_head_ge_tilt_varspacing", "mr_enhanced_philips"}


@pytest.mark.parametrize("name", EXACT)
def test_volumes_and_affine_equal_dcm2niix(name: str, shared_data: Path, unzip: Unzip) -> None:
    study = study_of(name, shared_data, unzip)
    expected = references(name, shared_data)

    assert len(study.series) == len(expected) == len(EXACT[name])
    assert study.not_used == ()
    for reference, (index, count, dtype) in zip(expected, EXACT[name], strict=True):
        volumes = read_volumes(study.series[index])
        laid_out = [as_theirs(volume, np.array(reference["affine"])) for volume in volumes]
        voxels = np.stack([array for array, _ in laid_out], axis=-1)
        assert list(voxels.shape[: len(reference["shape"])]) == reference["shape"]
        assert (voxels.shape[-1], voxels.dtype) == (count, dtype)
        assert max(error for _, error in laid_out) < 1e-3
        kind = reference["sha256_note"].rsplit(" ", 1)[-1]
        digest = hashlib.sha256(np.ascontiguousarray(voxels, dtype=kind).tobytes()).hexdigest()
        assert digest == reference["sha256_of_voxels"]


@pytest.mark.parametrize(("part", "unit"), [(0, "unspecified"), (1, "Hz")])
def test_philips_values_equal_dcm2niix(part: int, unit: str, shared_data: Path, unzip: Unzip) -> None:
    """Equal but for their 32-bit arithmetic: within a fortieth of one stored step."""
    study = study_of("mr_enhanced_philips", shared_data, unzip)
    reference = references("mr_enhanced_philips", shared_data)[part]
    volume = read_volume(study.series[part])
    voxels, error = as_theirs(volume, np.array(reference["affine"]))

    assert (len(study.series), list(voxels.shape), volume.unit) == (2, reference["shape"], unit)
    assert error < 1e-3
    step = 1 / [8.448640073766e-06, 4.095][part]
    assert len(reference["samples"]) == 64
    for sample in reference["samples"]:
        assert voxels[tuple(sample["ijk"])] == pytest.approx(sample["value"], abs=step / 40)
    assert codes(volume) == {"F_DICOM_SPLIT", "F_DICOM_PHILIPS_VALUES"}


def test_the_two_ways_of_one_scan_agree(shared_data: Path, unzip: Unzip) -> None:
    """Straight from the scanner, and after an archive rewrote the private elements."""
    archive, scanner = study_of("mr_vida_original_vs_agfa_pacs", shared_data, unzip).series

    for one, other in zip(read_volumes(archive), read_volumes(scanner), strict=True):
        assert (one.voxels == other.voxels).all()
        np.testing.assert_allclose(one.affine_lps, other.affine_lps)


def test_weightings_equal_those_of_dcm2niix(shared_data: Path, unzip: Unzip) -> None:
    folder = shared_data / "dicom" / "mr_dti_uih" / "dcm2niix"
    expected = [float(text) for text in next(folder.glob("*.bval")).read_text().split()]
    (series,) = study_of("mr_dti_uih", shared_data, unzip).series

    found = [float(volume.moment.rsplit(" ", 1)[-1]) for volume in read_volumes(series)]
    np.testing.assert_allclose(found, expected, atol=0.6)


# the tilted head


def test_voxels_of_the_head_equal_dcm2niix_but_for_padding(shared_data: Path, unzip: Unzip) -> None:
    volume, reference = load("ct_head_ge_tilt_varspacing", shared_data, unzip)
    voxels = volume.voxels[:, ::-1].transpose(2, 1, 0)

    assert list(voxels.shape) == reference["shape"]
    for sample in reference["samples"]:
        expected = -1024 if sample["value"] == DCM2NIIX_PADDING else sample["value"]
        assert voxels[tuple(sample["ijk"])] == expected


def test_affine_of_the_tilted_series_differs_from_dcm2niix_where_it_must(shared_data: Path, unzip: Unzip) -> None:
    """In-plane directions and the origin agree. The slice column cannot.

    dcm2niix takes the distance of the first two slices along their normal (4.00 mm of a series that runs from 1.1 to
    7.0 mm) and lays it along the table; ours is the mean step of the table between the first and the last slice.
    """
    volume, reference = load("ct_head_ge_tilt_varspacing", shared_data, unzip)
    flip = np.array([[0, 0, 1, 0], [0, -1, 0, volume.voxels.shape[1] - 1], [1, 0, 0, 0], [0, 0, 0, 1]])
    affine = lps_to_ras(volume.affine_lps) @ flip
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
    """``ct_small_ge`` says modality CT, but shows a T1-weighted brain MR; RescaleType and its directions tell."""
    volume, _ = load("ct_small_ge", shared_data, unzip)

    assert volume.unit == "unspecified"
    assert codes(volume) == {"F_DICOM_NOT_HU", "F_DICOM_PATIENT_POSITION"}


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
    "gantrytilting": [("flagged", "F_DICOM_GANTRY_TILT")],
    "sliceincrement": [("refuse", "E_DICOM_SLICE_MISSING")],
    "slicecount": [("accept", None)],
    "sliceorientation": [("flagged", "F_DICOM_SPLIT")] * 2,
}


@pytest.mark.parametrize("name", FAILING)
def test_series_that_other_readers_fail_on(odd: Path, name: str) -> None:
    found = find_study(odd / "failing" / name).series

    assert [(one.verdict, next((flag.code for flag in one.flags), None)) for one in found] == FAILING[name]


@pytest.mark.parametrize(("name", "places", "volumes"), [("dti/002", 4, 4), ("fmri/001", 4, 2)])
def test_volumes_without_a_word_about_time_are_told(odd: Path, name: str, places: int, volumes: int) -> None:
    (series,) = find_study(odd / "ge" / name).series

    assert (series.shape[0], series.volumes, codes(series)) == (places, volumes, {"F_DICOM_VOLUMES_BY_NUMBER"})


TRUTHS = ["ge/dti/002", "ge/fmri/001", "generic/anatomical/002_non_isotropic", "generic/compressed/001"]


@pytest.mark.parametrize("name", TRUTHS)
def test_voxels_equal_the_published_truth(odd: Path, name: str) -> None:
    nibabel = pytest.importorskip("nibabel")
    truth = nibabel.load(odd / f"{name}_ground_truth.nii.gz")
    volumes = read_volumes(find_study(odd / name).series[0])
    expected = np.asarray(truth.dataobj).reshape(*truth.shape[:3], -1)

    assert expected.shape[-1] == len(volumes)
    for number, volume in enumerate(volumes):
        voxels, error = as_theirs(volume, truth.affine)
        assert error < 1e-3
        np.testing.assert_allclose(voxels, expected[..., number], rtol=1e-6)


def test_noise_in_place_of_a_patient_is_told(odd: Path) -> None:
    """The publisher replaced the pixels by 0..254, which lie far below water after rescaling."""
    volume = read_volume(find_study(odd / "failing" / "gantrytilting").series[0])

    assert "F_CT_HU_IMPLAUSIBLE" in {flag.code for flag in volume.flags}


def single_files(shared_data: Path, unzip: Unzip) -> dict[str, Series | str]:
    """Every single file: its one series, or the code of the error that says why there is none."""
    found: dict[str, Series | str] = {}
    for name in ("pydicom", "highdicom"):
        for file in sorted(unzip(shared_data / "dicom_odd" / f"{name}.zip").iterdir()):
            try:
                (found[file.name],) = find_study(file).series
            except InputError as error:
                found[file.name] = error.code
    return found


VOLUMES = {  # the single files that are volumes, with the first code of those that are refused
    **dict.fromkeys(["693_J2KR.dcm", "ct_image.dcm", "bad_sequence.dcm", "eCT_Supplemental.dcm"]),
    **dict.fromkeys(["MR-SIEMENS-DICOM-WithOverlays.dcm", "MR2_J2KR.dcm"]),
    **dict.fromkeys(["parametric_map_float.dcm", "parametric_map_double_float.dcm"]),
    "explicit_VR-UN.dcm": "E_DICOM_SPACING_MISSING",  # one slice without SliceThickness
    **{  # enhanced objects without a word about where their frames lie
        f"emri_small{what}.dcm": "E_DICOM_FRAMES"
        for what in (
            *("", "_RLE", "_big_endian", "_jpeg_ls_lossless"),
            *("_jpeg_2k_lossless", "_jpeg_2k_lossless_too_short"),
        )
    },
}
OTHERS = {"pictures": 25, "slide": 8, "other": 19}  # how many files are of each kind


def test_every_single_volume_has_a_verdict_and_holds_to_it(shared_data: Path, unzip: Unzip) -> None:
    found = {
        name: series
        for name, series in single_files(shared_data, unzip).items()
        if isinstance(series, Series) and series.kind == "volume"
    }
    first_codes = {
        name: next((flag.code for flag in series.flags if flag.code.startswith("E_")), None)
        for name, series in found.items()
    }

    assert first_codes == VOLUMES
    for name, code in first_codes.items():
        if code is None:
            assert np.isfinite(read_volume(found[name]).voxels).all()


def test_every_other_file_is_of_its_kind(shared_data: Path, unzip: Unzip) -> None:
    found = single_files(shared_data, unzip)
    kinds = [series.kind for series in found.values() if isinstance(series, Series)]

    assert {kind: kinds.count(kind) for kind in OTHERS} == OTHERS
    assert [code for code in found.values() if isinstance(code, str)] == ["E_DICOM_UNREADABLE"]  # the licence


def test_all_files_at_once_are_of_many_patients(shared_data: Path, unzip: Unzip) -> None:
    with pytest.raises(InputError) as caught:
        find_study(unzip(shared_data / "dicom_odd" / "pydicom.zip"))
    assert caught.value.code == "E_DICOM_PATIENTS_MIXED"


def test_pixels_equal_the_published_numbers(shared_data: Path, unzip: Unzip) -> None:
    index = json.loads((shared_data / "dicom_odd" / "index.json").read_text())["files"]
    known = {Path(entry["file"]).name: entry["pixels"] for entry in index if entry.get("pixels")}
    found = [series for series in single_files(shared_data, unzip).values() if isinstance(series, Series)]
    usable = [one for one in found if one.modality in ("CT", "MR") and one.verdict != "refuse"]

    assert len(usable) >= 5
    for series in usable:
        header = read_header(series.files[0])
        values, _ = stored_values(dcmread(header.path), replace(header, bits_stored=16, high_bit=15))
        expected = known[header.path.name]
        assert (values.min(), values.max()) == (expected["min"], expected["max"])
