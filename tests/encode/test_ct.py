"""encode/ct.py: the published recipe, recomputed here another way."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from medvox.data.volume import Volume
from medvox.encode.batch import LazyPixels, to_pixel_values
from medvox.encode.ct import CT_MEDGEMMA_1, CT_MEDGEMMA_1_5, prepare_ct
from medvox.encode.stack import select_slices
from medvox.errors import InputError, UsageError


def volume_of(voxels: np.ndarray, unit: str = "HU") -> Volume:
    return Volume(
        voxels=voxels.astype(np.int16),
        unit=unit,
        spacing_mm=(1.0, 1.0, 1.0),
        affine_lps=np.eye(4),
        slice_positions_mm=tuple(float(i) for i in range(len(voxels))),
        modality="CT",
        series_uid="1.2.3",
        description="",
        flags=(),
        sources=(),
    )


def test_all_slices_are_shown_up_to_the_limit() -> None:
    assert select_slices(85, 85) == list(range(85))


def test_more_slices_follow_the_published_rule_exactly() -> None:
    for count in (86, 100, 122, 300, 1001):
        exact = [Fraction(i, 85) * (count - 1) for i in range(1, 86)]
        assert select_slices(count, 85) == [round(value) for value in exact]  # Fraction rounds half to even too


def test_the_last_slice_is_always_shown_and_the_first_is_not_when_there_are_many() -> None:
    picked = select_slices(300, 85)
    assert picked[-1] == 299
    assert 0 not in picked
    assert picked == sorted(set(picked))


def test_channels_are_the_three_windows_of_the_report() -> None:
    hu = np.linspace(-1200, 1300, 64 * 64).reshape(1, 64, 64).round()
    images = prepare_ct(volume_of(hu), size=64).images
    for channel, (low, high) in enumerate([(-1024, 1024), (-135, 215), (0, 80)]):
        expected = np.round((np.clip(hu[0], low, high).astype(np.float32) - low) / np.float32(high - low) * 255)
        assert np.array_equal(images[0, :, :, channel], expected.astype(np.uint8))


def test_a_slice_is_padded_with_black_half_before_and_half_after() -> None:
    images = prepare_ct(volume_of(np.full((1, 4, 9), 3000)), size=9).images
    assert np.flatnonzero(images[0, :, 4, 0]).tolist() == [2, 3, 4, 5]  # 5 rows are missing: 2 before, 3 after


def test_resizing_is_pillows_bilinear() -> None:
    hu = np.random.default_rng(0).integers(-1000, 1000, (1, 50, 50))
    full = prepare_ct(volume_of(hu), size=50).images[0]
    expected = np.stack(
        [np.asarray(Image.fromarray(full[:, :, c]).resize((32, 32), Image.Resampling.BILINEAR)) for c in range(3)], -1
    )
    assert np.array_equal(prepare_ct(volume_of(hu), size=32).images[0], expected)


def test_pixel_values_equal_the_hubs_processor() -> None:
    processor = pytest.importorskip("transformers.models.gemma3.image_processing_pil_gemma3", exc_type=ImportError)
    hu = np.random.default_rng(1).integers(-1000, 1000, (2, 40, 40))
    images = prepare_ct(volume_of(hu), size=40).images
    hub = processor.Gemma3ImageProcessorPil(
        do_resize=True, size={"height": 40, "width": 40}, resample=2, do_pan_and_scan=False,
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip
    theirs = np.asarray(hub([Image.fromarray(image) for image in images], return_tensors="np")["pixel_values"])
    assert np.abs(to_pixel_values(images).numpy() - theirs.reshape(2, 3, 40, 40)).max() < 1e-6


def test_used_and_dropped_slices_are_told() -> None:
    prepared = prepare_ct(volume_of(np.zeros((100, 4, 4))), size=4)
    assert len(prepared.used) == 85
    assert sorted((*prepared.used, *prepared.dropped)) == list(range(100))


def test_a_volume_that_is_not_in_hounsfield_units_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        prepare_ct(volume_of(np.zeros((1, 4, 4)), unit="unspecified"), size=4)
    assert caught.value.code == "E_CT_UNIT"


def test_the_hash_of_a_preset_changes_with_any_field() -> None:
    assert replace(CT_MEDGEMMA_1_5, max_slices=84).hash != CT_MEDGEMMA_1_5.hash
    assert replace(CT_MEDGEMMA_1_5).hash == CT_MEDGEMMA_1_5.hash


def test_the_first_model_has_windows_by_width_and_level() -> None:
    hu = np.linspace(-1300, 1100, 64 * 64).reshape(1, 64, 64).round()
    images = prepare_ct(volume_of(hu), CT_MEDGEMMA_1, size=64).images
    for channel, (width, level) in enumerate([(2250, -100), (350, 40), (80, 40)]):
        inside = (np.clip(hu[0], level - width / 2, level + width / 2) - (level - width / 2)) / width * 255
        assert np.abs(images[0, :, :, channel] - inside).max() <= 0.501


def test_several_kernels_are_stacked_and_share_the_limit() -> None:
    soft, bone = volume_of(np.full((50, 4, 4), 40)), volume_of(np.full((50, 4, 4), 1024))
    prepared = prepare_ct([soft, bone], size=4)
    assert len(prepared.images) == 85
    assert [origin.source for origin in prepared.origins] == sorted(origin.source for origin in prepared.origins)
    assert {(origin.source, int(image[0, 0, 0])) for origin, image in zip(prepared.origins, prepared.images)} == {
        (0, 132), (1, 255)
    }  # fmt: skip
    assert prepared.labels[-1] == "SLICE 85"


def test_one_kernel_that_is_not_in_hounsfield_units_spoils_the_stack() -> None:
    with pytest.raises(InputError) as caught:
        prepare_ct([volume_of(np.zeros((1, 4, 4))), volume_of(np.zeros((1, 4, 4)), unit="unspecified")], size=4)
    assert caught.value.code == "E_CT_UNIT"


def test_no_volume_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        prepare_ct([], size=4)
    assert caught.value.code == "E_NO_IMAGE"


def test_pictures_become_pixel_values_part_by_part() -> None:
    images = np.random.default_rng(2).integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)
    lazy = LazyPixels(images)
    assert len(lazy) == 5
    assert torch.equal(torch.cat([lazy[0:2], lazy[2:5]]), to_pixel_values(images))
