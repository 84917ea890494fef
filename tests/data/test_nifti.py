"""data/nifti.py: what lies where after reading and writing, against nibabel and an F-shaped phantom."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from medvox.data.affine import index_to_mm, lps_to_ras, side_letters
from medvox.data.nifti import find_nifti, read_nifti, write_nifti
from medvox.data.volume import Volume
from medvox.errors import InputError, UsageError


def phantom() -> NDArray[np.int16]:
    """An F on one side of a box whose every octant differs: (x to the right, y forwards, z up) in RAS order."""
    voxels = np.arange(6 * 7 * 8, dtype=np.int16).reshape(6, 7, 8)
    voxels[1, 1:6, 2] = voxels[1:4, 5, 2] = voxels[1:3, 3, 2] = 1000
    return voxels


def save(path: Path, voxels: NDArray[np.generic], affine: NDArray[np.float64], **fields: object) -> Path:
    """A NIfTI-1 file with sform and qform, in millimetres, with header fields overridden."""
    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def codes(volume: Volume) -> set[str]:
    return {flag.code for flag in volume.flags}


def volume_of(voxels: NDArray[np.generic], affine: NDArray[np.float64] | None = None) -> Volume:
    affine = np.array([[0, 0, 0.5, 3], [0, 0.5, 0, -4], [2.0, 0, 0, 5], [0, 0, 0, 1]]) if affine is None else affine
    return Volume(
        voxels=voxels, unit="HU", spacing_mm=(2.0, 0.5, 0.5), affine_lps=affine, modality="CT", series_uid="1.2",
        slice_positions_mm=tuple(2.0 * i for i in range(len(voxels))), description="NAME^PATIENT", flags=(), sources=(),
    )  # fmt: skip


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", list(itertools.product((False, True), repeat=3)))
def test_every_storage_order_of_the_same_patient_is_shown_the_same(
    tmp_path: Path, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> None:
    ras = np.array([[0.8, 0, 0, -3], [0, 0.8, 0, 2], [0, 0, 4.0, 7], [0, 0, 0, 1.0]])  # slices are axial by spacing
    reference = read_nifti(save(tmp_path / "ras.nii", phantom(), ras))[0]
    stored = phantom().transpose(axes)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    back = np.zeros((4, 4))
    back[3, 3] = 1
    for place, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
        back[axis, place], back[axis, 3] = (-1, stored.shape[place] - 1) if flip else (1, 0)
    volume = read_nifti(save(tmp_path / "stored.nii", stored, ras @ back))[0]
    assert np.array_equal(volume.voxels, reference.voxels)
    np.testing.assert_allclose(volume.affine_lps, reference.affine_lps, atol=1e-5)


@pytest.mark.parametrize(
    ("thick_axis", "edges"),
    [(0, ("A", "P", "H", "F")), (1, ("R", "L", "H", "F")), (2, ("R", "L", "A", "P"))],
    ids=["sagittal", "coronal", "axial"],
)
def test_each_plane_is_shown_as_on_a_reading_screen(tmp_path: Path, thick_axis: int, edges: tuple[str, ...]) -> None:
    spacing = [1.0, 1.0, 1.0]
    spacing[thick_axis] = 5.0
    volume = read_nifti(save(tmp_path / "a.nii", phantom(), np.diag([*spacing, 1.0])))[0]
    sides = side_letters(volume.affine_lps)
    assert (sides.left, sides.right, sides.top, sides.bottom) == edges
    assert volume.spacing_mm == pytest.approx((5.0, 1.0, 1.0))
    assert np.all(np.diff(volume.slice_positions_mm) == pytest.approx(5.0))


@pytest.mark.parametrize("seed", range(5))
def test_an_oblique_volume_keeps_every_voxel_at_its_millimetre(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation * [0.7, 0.7, 3.0]
    affine[:3, 3] = rng.uniform(-100, 100, 3)
    voxels = rng.permutation(5 * 6 * 7).astype(np.int16).reshape(5, 6, 7)  # every value once
    volume = read_nifti(save(tmp_path / "a.nii.gz", voxels, affine))[0]
    for value in (0, 17, 209):
        there = np.argwhere(volume.voxels == value)[0]
        truth = nibabel.affines.apply_affine(affine, np.argwhere(voxels == value)[0])
        np.testing.assert_allclose(index_to_mm(lps_to_ras(volume.affine_lps), there), truth, atol=1e-3)
    normal = np.cross(volume.affine_lps[:3, 2], volume.affine_lps[:3, 1])
    assert normal @ volume.affine_lps[:3, 0] > 0  # slices run along the normal


def test_the_slice_axis_that_the_file_states_beats_the_spacing(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", phantom(), np.diag([1.0, 1.0, 5.0, 1.0]), dim_info=1 << 4)
    assert read_nifti(path)[0].voxels.shape == (6, 8, 7)  # sagittal


def test_time_points_become_volumes(tmp_path: Path) -> None:
    voxels = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5)
    path = save(tmp_path / "a.nii.gz", voxels, np.diag([-1.0, -1.0, 2.0, 1.0]))
    volumes = read_nifti(path)
    assert [volume.moment for volume in volumes] == ["time 1", "time 2", "time 3", "time 4", "time 5"]
    assert np.array_equal(volumes[3].voxels, voxels[..., 3].transpose(2, 1, 0))
    assert find_nifti(path).volumes == 5


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 6, 1), (4, 5, 6, 1, 1)])
def test_single_slices_and_dimensions_of_one_are_read(tmp_path: Path, shape: tuple[int, ...]) -> None:
    voxels = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    (volume,) = read_nifti(save(tmp_path / "a.nii", voxels, np.diag([-1.0, -1.0, 1.0, 1.0])))
    assert np.array_equal(volume.voxels, voxels.reshape(4, 5, -1).transpose(2, 1, 0))
    assert volume.moment == ""


@pytest.mark.parametrize(
    ("stored", "read"),
    [("u1", "i2"), ("i1", "i2"), ("i2", "i2"), ("u2", "u2"), ("i4", "i4"), ("u4", "i4"), ("i8", "i4"), ("u8", "i4"),
     ("f4", "f4"), ("f8", "f4"), (">i2", "i2"), (">f4", "f4")],
)  # fmt: skip
def test_numbers_of_every_kind_keep_their_values(tmp_path: Path, stored: str, read: str) -> None:
    voxels = np.array([[0, 1, 127], [2, 3, 5]], stored)[..., None]
    header = nibabel.Nifti1Header(endianness=">" if stored.startswith(">") else "<")
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0]), header, dtype=stored), tmp_path / "a.nii")
    volume = read_nifti(tmp_path / "a.nii")[0]
    assert volume.voxels.dtype == np.dtype(read)
    assert np.array_equal(volume.voxels, voxels.transpose(2, 1, 0))


def test_nifti_2_is_read(tmp_path: Path) -> None:
    image = nibabel.Nifti2Image(phantom(), np.diag([-1.0, -1.0, 2.0, 1.0]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = read_nifti(tmp_path / "a.nii.gz")[0]
    assert np.array_equal(volume.voxels, phantom().transpose(2, 1, 0))


def test_scaled_values_are_slope_times_stored_plus_intercept(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", phantom(), np.diag([-1.0, -1.0, 2.0, 1.0]))
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([0.5, -10.0], "<f4").tobytes()
    path.write_bytes(content)
    volume = read_nifti(path)[0]
    assert volume.voxels.dtype == np.float32
    assert np.array_equal(volume.voxels, np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0).astype(np.float32))
    assert np.array_equal(volume.voxels[0, 0, :3], [-10.0, 18.0, 46.0])


def test_a_ct_that_the_caller_vouches_for_is_in_whole_hounsfield_units(tmp_path: Path) -> None:
    voxels = np.linspace(-1000, 1000, 24, dtype=np.float32).reshape(2, 3, 4)
    path = save(tmp_path / "a.nii", voxels, np.diag([-1.0, -1.0, 2.0, 1.0]))
    volume = read_nifti(path, modality="CT")[0]
    assert (volume.unit, volume.modality, volume.voxels.dtype) == ("HU", "CT", np.int16)
    assert np.array_equal(volume.voxels, np.rint(voxels).transpose(2, 1, 0))
    assert codes(volume) == {"F_NIFTI_ROUNDED"}


def test_without_a_modality_the_unit_is_not_guessed(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", phantom(), np.diag([-1.0, -1.0, 2.0, 1.0]))
    volume = read_nifti(path)[0]
    assert (volume.unit, volume.modality, codes(volume)) == ("unspecified", "", {"F_NIFTI_MODALITY_UNKNOWN"})


def test_finding_tells_what_reading_gives(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", phantom(), np.diag([-1.0, -1.0, 2.0, 1.0]))
    series, volume = find_nifti(path), read_nifti(path)[0]
    assert (series.uid, series.shape, series.spacing_mm) == (volume.series_uid, volume.voxels.shape, volume.spacing_mm)
    assert series.affine_lps is not None
    assert np.array_equal(series.affine_lps, volume.affine_lps)
    assert (series.verdict, series.flags) == ("flagged", volume.flags)


def test_writing_then_reading_with_nibabel_gives_the_layout_of_dcm2niix(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6), dtype=np.int16)
    affine = write_nifti([volume_of(voxels)], tmp_path / "a.nii.gz").affine_ras
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert nibabel.aff2axcodes(image.affine) == ("L", "A", "S")
    assert np.array_equal(np.asarray(image.dataobj), voxels[:, ::-1].transpose(2, 1, 0))
    np.testing.assert_allclose(image.affine, affine, atol=1e-6)
    np.testing.assert_allclose(image.get_qform(), affine, atol=1e-5)
    np.testing.assert_allclose(image.affine @ [0, 4, 0, 1], [-3, 4, 5, 1])  # the first voxel of the first row
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    assert image.header.get_xyzt_units() == ("mm", "sec")


def test_an_axial_volume_survives_writing_and_reading(tmp_path: Path) -> None:
    volume = volume_of(np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6), dtype=np.int16))
    write_nifti([volume], tmp_path / "a.nii")
    again = read_nifti(tmp_path / "a.nii", modality="CT")[0]
    assert np.array_equal(again.voxels, volume.voxels)
    np.testing.assert_allclose(again.affine_lps, volume.affine_lps, atol=1e-6)
    assert again.flags == ()


def test_several_volumes_become_one_4d_file(tmp_path: Path) -> None:
    voxels = [np.full((2, 3, 4), value, np.uint16) for value in (1, 2, 3)]
    write_nifti([volume_of(item) for item in voxels], tmp_path / "a.nii")
    image = nibabel.load(tmp_path / "a.nii")
    assert image.shape == (4, 3, 2, 3)
    assert image.get_data_dtype() == np.uint16
    assert np.asarray(image.dataobj)[0, 0, 0].tolist() == [1, 2, 3]


def test_a_sheared_volume_has_an_sform_and_no_qform(tmp_path: Path) -> None:
    affine = np.array([[0, 0, 0.5, 3], [0.6, 0.5, 0, -4], [2.0, 0, 0, 5], [0, 0, 0, 1.0]])
    written = write_nifti([volume_of(phantom(), affine)], tmp_path / "a.nii").affine_ras
    header = nibabel.load(tmp_path / "a.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    np.testing.assert_allclose(header.get_sform(), written, atol=1e-6)
    assert "F_NIFTI_SHEARED" in codes(read_nifti(tmp_path / "a.nii")[0])


def test_turned_to_ras_every_voxel_stays_at_its_millimetre(tmp_path: Path) -> None:
    sagittal = np.array([[4.0, 0, 0.1, 3], [0, 0.1, 0.9, -4], [0.2, -0.9, 0, 5], [0, 0, 0, 1.0]])  # oblique
    volume = volume_of(np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4), sagittal)
    grid = write_nifti([volume], tmp_path / "a.nii", turn_to_ras=True)
    image = nibabel.load(tmp_path / "a.nii")
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    assert image.shape == grid.shape == (2, 4, 3)
    assert image.header.get_dim_info()[2] == 0
    for index in ((0, 0, 0), (1, 2, 3), (0, 1, 2)):
        mm = index_to_mm(lps_to_ras(volume.affine_lps), index)
        there = np.rint(np.linalg.solve(image.affine, [*mm, 1.0])[:3]).astype(int)
        np.testing.assert_allclose(nibabel.affines.apply_affine(image.affine, there), mm, atol=1e-5)
        assert np.asarray(image.dataobj)[tuple(there)] == volume.voxels[index]


def test_nothing_of_the_description_is_written(tmp_path: Path) -> None:
    write_nifti([volume_of(phantom())], tmp_path / "a.nii")
    assert b"PATIENT" not in (tmp_path / "a.nii").read_bytes()


def test_the_same_volume_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti([volume_of(phantom())], tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_an_existing_file_is_kept_unless_asked_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(b"precious")
    with pytest.raises(UsageError) as caught:
        write_nifti([volume_of(phantom())], path)
    assert caught.value.code == "E_OUTPUT_EXISTS"
    assert path.read_bytes() == b"precious"
    write_nifti([volume_of(phantom())], path, overwrite=True)
    assert path.stat().st_size > 348


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_nothing_partial_remains_when_writing_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise stop

    monkeypatch.setattr("medvox.data.nifti.np.ascontiguousarray", interrupted)
    with pytest.raises(stop):
        write_nifti([volume_of(phantom())], tmp_path / "a.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        write_nifti([volume_of(phantom())], tmp_path / "nowhere" / "a.nii")
    assert caught.value.code == "E_OUTPUT_WRITE"


@pytest.mark.parametrize("name", ["a.nrrd", "a", "a.gz", "nii"])
def test_only_nifti_names_are_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        write_nifti([volume_of(phantom())], tmp_path / name)
    assert caught.value.code == "E_OUTPUT_NAME"


def test_volumes_that_do_not_share_a_grid_are_not_put_into_one_file(tmp_path: Path) -> None:
    first = volume_of(phantom())
    moved = replace(first, affine_lps=first.affine_lps + np.eye(4)[[3, 3, 3, 3]] * 0.01)
    for other in (moved, volume_of(phantom()[1:])):
        with pytest.raises(InputError) as caught:
            write_nifti([first, other], tmp_path / "a.nii")
        assert caught.value.code == "E_NIFTI_GRID"
    assert list(tmp_path.iterdir()) == []


def test_an_axis_that_the_format_cannot_count_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        write_nifti([volume_of(np.zeros((32_768, 1, 1), np.int16))], tmp_path / "a.nii")
    assert caught.value.code == "E_NIFTI_DIMS"
