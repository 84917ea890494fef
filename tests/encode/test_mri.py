"""encode/mri.py: the published recipe, recomputed here another way."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from medvox.data.volume import Volume
from medvox.encode.mri import MRI_MEDGEMMA_1_5, prepare_mri
from medvox.errors import InputError, UsageError


def volume_of(voxels: NDArray[np.generic], *, modality: str = "MR", unit: str = "unspecified") -> Volume:
    return Volume(
        voxels=voxels, unit=unit, spacing_mm=(1.0, 1.0, 1.0), affine_lps=np.eye(4), modality=modality,
        slice_positions_mm=tuple(float(i) for i in range(len(voxels))), series_uid="1.2.3", description="", flags=(),
        sources=(),
    )  # fmt: skip


def noise(slices: int, *, seed: int = 0, high: int = 2000) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(0, high, (slices, 8, 8)).astype(np.int16)


def scaled(voxels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Exact arithmetic: round((v - lowest) / (highest - lowest) * 255), half to even."""
    low, high = int(voxels.min()), int(voxels.max())
    grey = [round(Fraction(255 * (int(value) - low), high - low)) for value in voxels.ravel()]
    return np.array(grey, np.uint8).reshape(voxels.shape)


def test_the_whole_range_of_the_volume_becomes_0_to_255() -> None:
    voxels = noise(3)
    images = prepare_mri(volume_of(voxels), size=8).images
    assert np.array_equal(images[..., 0], scaled(voxels))
    assert (images.min(), images.max()) == (0, 255)


def test_all_three_channels_are_the_same() -> None:
    images = prepare_mri(volume_of(noise(2)), size=8).images
    assert np.array_equal(images[..., 0], images[..., 1])
    assert np.array_equal(images[..., 0], images[..., 2])


def test_a_dark_slice_stays_dark_beside_a_bright_one() -> None:
    voxels = np.stack([np.full((8, 8), 10), np.full((8, 8), 1000)]).astype(np.int16)
    voxels[0, 0, 0] = 0
    images = prepare_mri(volume_of(voxels), size=8).images
    assert images[0].max() == 3  # 10 / 1000 * 255 = 2.55
    assert images[1].min() == 255


def test_values_below_zero_and_floats_are_scaled_too() -> None:
    voxels = np.linspace(-1.5, 2.5, 64, dtype=np.float32).reshape(1, 8, 8)
    images = prepare_mri(volume_of(voxels), size=8).images
    assert np.array_equal(images[0, :, :, 0], np.round((voxels[0].astype(np.float64) + 1.5) / 4.0 * 255))


def test_a_16_bit_volume_does_not_overflow() -> None:
    voxels = np.array([[[-32768, 32767]] * 2], np.int16)
    assert prepare_mri(volume_of(voxels), size=2).images[0, 0, :, 0].tolist() == [0, 255]


def test_each_sequence_is_scaled_by_its_own_range() -> None:
    one, two = noise(2, high=100), noise(3, seed=1, high=30_000)
    prepared = prepare_mri([volume_of(one), volume_of(two)], size=8)
    assert np.array_equal(prepared.images[..., 0], np.concatenate([scaled(one), scaled(two)]))
    assert [(origin.source, origin.index) for origin in prepared.origins] == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    assert prepared.labels == ("SLICE 1", "SLICE 2", "SLICE 3", "SLICE 4", "SLICE 5")
    assert prepared.facts["slices"] == [2, 3]


def test_the_limit_of_85_holds_for_the_stack() -> None:
    stack = [volume_of(noise(60)), volume_of(noise(60, seed=1))]
    prepared = prepare_mri(stack, size=8)
    exact = [round(Fraction(i, 85) * 119) for i in range(1, 86)]
    assert [origin.source * 60 + origin.index for origin in prepared.origins] == exact
    assert sorted((*exact, *prepared.dropped)) == list(range(120))
    assert len(prepared.images) == len(prepared.labels) == 85


def test_sequences_of_different_size_are_padded_each_for_itself() -> None:
    flat = volume_of(np.arange(1, 19, dtype=np.int16).reshape(1, 2, 9))
    prepared = prepare_mri([flat, volume_of(noise(1))], size=9)
    assert [origin.square.side for origin in prepared.origins] == [9, 8]
    assert np.flatnonzero(prepared.images[0, :, 8, 0]).tolist() == [3, 4]  # 7 rows are missing: 3 before, 4 after


def test_a_volume_of_one_value_is_white_as_on_the_published_server_and_flagged() -> None:
    prepared = prepare_mri([volume_of(np.full((2, 8, 8), 7, np.int16)), volume_of(noise(1))], size=8)
    assert np.all(prepared.images[:2] == 255)
    assert [flag.code for flag in prepared.flags] == ["F_MRI_CONSTANT"]
    assert "1 of 2" in prepared.flags[0].text


def test_a_volume_without_modality_is_taken_at_the_callers_word() -> None:
    assert prepare_mri(volume_of(noise(1), modality=""), size=8).flags == ()


@pytest.mark.parametrize(("modality", "unit"), [("CT", "HU"), ("PT", "BQML"), ("", "HU")])
def test_another_modality_is_refused(modality: str, unit: str) -> None:
    with pytest.raises(InputError) as caught:
        prepare_mri([volume_of(noise(1)), volume_of(noise(1), modality=modality, unit=unit)], size=8)
    assert caught.value.code == "E_MRI_MODALITY"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(value: float) -> None:
    voxels = noise(2).astype(np.float32)
    voxels[1, 2, 3] = value
    with pytest.raises(InputError) as caught:
        prepare_mri(volume_of(voxels), size=8)
    assert caught.value.code == "E_MRI_NOT_FINITE"


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        prepare_mri([], size=8)
    assert caught.value.code == "E_NO_IMAGE"


def test_the_hash_changes_with_any_field() -> None:
    assert replace(MRI_MEDGEMMA_1_5, constant_grey=0).hash != MRI_MEDGEMMA_1_5.hash
    assert prepare_mri(volume_of(noise(1)), size=8).preset_hash == MRI_MEDGEMMA_1_5.hash
