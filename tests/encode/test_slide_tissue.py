"""The tissue mask against generated slides of known truth, with what scanners and people add."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from medvox.encode.slide_tissue import dilated, tissue_mask
from medvox.synth.slide import BLACK, BLUE_PEN, FAINT, GREEN_PEN, STROMA, draw_level, make_slide

Mask = NDArray[np.bool_]


def overview(**options: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A slide of 0.125 um per pixel at 8 um, one pixel per block, and the material of every pixel."""
    made = make_slide(64 * 400, 64 * 320, seed=4, **options)
    return draw_level(made, 64, (0, 0), (400, 320)), made.blocks


def dice(one: Mask, other: Mask) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize("artefacts", [False, True])
@pytest.mark.parametrize("grey_glass", [False, True])
def test_the_mask_is_the_tissue(artefacts: bool, grey_glass: bool) -> None:
    picture, blocks = overview(artefacts=artefacts, grey_glass=grey_glass)
    assert dice(tissue_mask(picture), (blocks >= STROMA) & (blocks <= FAINT)) > 0.98


def test_ink_and_black_borders_are_not_tissue() -> None:
    picture, blocks = overview(artefacts=True)
    mask = tissue_mask(picture)
    for material in (BLUE_PEN, GREEN_PEN, BLACK):
        assert not mask[blocks == material].any()


def test_the_pale_rim_of_ink_is_not_tissue() -> None:
    picture, blocks = overview(artefacts=True)
    soft = np.asarray(Image.fromarray(picture).resize((133, 107), Image.Resampling.BILINEAR).resize((400, 320)))
    mask = tissue_mask(soft)
    near = dilated((blocks == BLUE_PEN) | (blocks == GREEN_PEN), 4)
    assert mask[near].mean() < 0.01


def test_faint_tissue_is_kept() -> None:
    picture, blocks = overview(artefacts=True)
    assert tissue_mask(picture)[blocks == FAINT].mean() > 0.95


def test_tinted_glass_is_not_tissue() -> None:
    picture, blocks = overview()
    tinted = np.rint(picture * np.array([0.95, 0.93, 0.86])).astype(np.uint8)
    assert dice(tissue_mask(tinted), blocks > 0) > 0.98


def test_noisy_glass_is_not_tissue() -> None:
    picture, blocks = overview()
    noise = np.random.default_rng(1).normal(0, 2, picture.shape)
    assert dice(tissue_mask((picture + noise).clip(0, 255).astype(np.uint8)), blocks > 0) > 0.98


def test_a_picture_full_of_tissue_is_all_tissue() -> None:
    picture, blocks = overview()
    rows, columns = np.nonzero(blocks == STROMA)
    patch = picture[rows[0] + 20 : rows[0] + 40, columns[0] : columns[0] + 20]
    assert tissue_mask(patch).mean() > 0.99


@pytest.mark.parametrize("value", [0, 20, 128, 200, 255])
def test_a_picture_of_one_grey_has_no_tissue(value: int) -> None:
    assert not tissue_mask(np.full((90, 120, 3), value, np.uint8)).any()


def test_grey_smears_are_not_tissue() -> None:
    picture = np.full((200, 200, 3), 240, np.uint8)
    picture[50:150, 50:150] = 150
    assert not tissue_mask(picture).any()


def test_a_speck_of_dust_is_not_tissue_but_a_fragment_is() -> None:
    picture = np.full((200, 200, 3), 240, np.uint8)
    picture[50:54, 50:54] = (200, 120, 160)  # 0.03 mm
    picture[100:125, 100:125] = (200, 120, 160)  # 0.2 mm
    mask = tissue_mask(picture)
    assert not mask[:90].any()
    assert mask[100:125, 100:125].all()


def test_thin_walls_of_lung_are_kept() -> None:
    picture = np.full((240, 240, 3), 240, np.uint8)
    picture[::25] = picture[:, ::25] = (225, 190, 210)  # walls of one pixel every 0.2 mm
    mask = tissue_mask(picture)
    assert mask[100, 20:220].all()


def test_the_mask_does_not_depend_on_how_many_rows_are_judged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, _ = overview(artefacts=True)
    expected = tissue_mask(picture)
    monkeypatch.setattr("medvox.encode.slide_tissue.BAND_ROWS", 7)
    assert np.array_equal(tissue_mask(picture), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (5, 7)])
def test_tiny_pictures_work(shape: tuple[int, int]) -> None:
    assert tissue_mask(np.full((*shape, 3), (200, 120, 160), np.uint8)).shape == shape


@pytest.mark.parametrize("reach", [1, 2, 3, 16])
def test_dilated_reaches_as_far_as_told(reach: int) -> None:
    mask = np.zeros((60, 60), bool)
    mask[30, 25] = True
    rows, columns = np.nonzero(dilated(mask, reach))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (30 - reach, 30 + reach, 25 - reach, 25 + reach)
    assert len(rows) == (2 * reach + 1) ** 2
