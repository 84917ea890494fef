"""encode/xray.py: the published X-ray recipe, and pairs over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from medvox.data.picture import Picture
from medvox.data.volume import Source
from medvox.encode.xray import XRAY_MEDGEMMA_1_5, XrayPreset, prepare_xray
from medvox.errors import UsageError


def picture(pixels: Any, acquired: str = "") -> Picture:
    return Picture(pixels=np.asarray(pixels), source=Source(name="a.png", sha256="0"), acquired=acquired)


def test_8_bit_pictures_are_untouched_and_never_multiplied() -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (64, 64), dtype=np.uint8)
    images = prepare_xray(picture(pixels), size=64).images
    assert np.array_equal(images[0], np.dstack([pixels] * 3))


def test_colours_pass_the_same_way() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(prepare_xray(picture(pixels), size=64).images[0], pixels)


def test_more_bits_are_mapped_from_the_pictures_own_range_and_rounded() -> None:
    pixels = np.full((8, 8), 1000, np.uint16)
    pixels[0, :4] = 500, 4500, 2500, 1510
    grey = prepare_xray(picture(pixels), size=8).images[0, 0, :4, 0]
    assert grey.tolist() == [0, 255, 128, 64]  # 2000 / 4000 * 255 = 127.5 and 1010 / 4000 * 255 = 64.4


def test_the_picture_is_padded_with_zeros_to_a_square_before_it_is_resized() -> None:
    pixels = np.full((50, 100), 200, np.uint8)
    prepared = prepare_xray(picture(pixels), size=32)
    padded = np.zeros((100, 100, 3), np.uint8)
    padded[25:75] = 200
    expected = np.asarray(Image.fromarray(padded).resize((32, 32), Image.Resampling.BILINEAR))
    assert np.array_equal(prepared.images[0], expected)
    assert (prepared.origins[0].square.top, prepared.origins[0].square.left) == (25, 0)


def test_the_prior_comes_first_when_all_state_their_time() -> None:
    later, earlier = (
        picture(np.full((8, 8), 9, np.uint8), "2024-05-01T10:00:00"),
        picture(np.full((8, 8), 3, np.uint8), "2023-05-01T10:00:00"),
    )
    prepared = prepare_xray([later, earlier], size=8)
    assert prepared.images[:, 0, 0, 0].tolist() == [3, 9]
    assert [origin.source for origin in prepared.origins] == [1, 0]
    assert prepared.flags == ()
    assert prepared.labels == ("", "")


@pytest.mark.parametrize(
    "moments",
    [("2024-01-01", ""), ("", ""), ("2024-01-01", "2024-01-01"), ("2024-01-01T09:00:00", "2024-01-01")],
)
def test_the_given_order_is_kept_with_a_flag_when_the_times_do_not_tell(moments: tuple[str, str]) -> None:
    pair = [picture(np.full((8, 8), grey, np.uint8), moment) for grey, moment in zip((9, 3), moments, strict=True)]
    prepared = prepare_xray(pair, size=8)
    assert prepared.images[:, 0, 0, 0].tolist() == [9, 3]
    assert [flag.code for flag in prepared.flags] == ["F_XRAY_ORDER_GIVEN"]


def test_a_day_is_compared_with_a_day_where_one_of_them_has_no_time() -> None:
    pair = [picture(np.zeros((8, 8), np.uint8), moment) for moment in ("2024-01-02T09:00:00", "2024-01-01")]
    assert [origin.source for origin in prepare_xray(pair, size=8).origins] == [1, 0]


def test_one_picture_needs_no_time() -> None:
    assert prepare_xray(picture(np.zeros((8, 8), np.uint8)), size=8).flags == ()


def test_a_picture_of_one_value_is_flagged() -> None:
    prepared = prepare_xray(picture(np.full((8, 8), 700, np.uint16)), size=8)
    assert not prepared.images.any()
    assert [flag.code for flag in prepared.flags] == ["F_XRAY_CONSTANT"]


def test_no_picture_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        prepare_xray([])
    assert caught.value.code == "E_NO_IMAGE"


def test_the_hash_changes_with_the_recipe() -> None:
    assert prepare_xray(picture(np.zeros((8, 8), np.uint8)), size=8).preset_hash == XRAY_MEDGEMMA_1_5.hash
    assert XrayPreset(name="xray.medgemma-1.5", constant_grey=1).hash != XRAY_MEDGEMMA_1_5.hash


def test_progress_is_told_after_each_picture() -> None:
    told: list[tuple[int, int]] = []
    pair = [picture(np.zeros((8, 8), np.uint8))] * 2
    prepare_xray(pair, size=8, progress=lambda what, done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
