"""Patches of slides: which ones, what they show, and the way back to level 0."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medvox.data.slide import Slide, open_slide
from medvox.encode import slide as slide_module
from medvox.encode.slide import (
    SLIDE_MEDGEMMA_1_5_5X,
    SLIDE_MEDGEMMA_1_5_10X,
    SLIDE_MEDGEMMA_1_5_20X,
    SLIDE_MEDGEMMA_1_5_TUTORIAL,
    SlidePreset,
    choose_patches,
    overview_picture,
    prepare_slide,
)
from medvox.errors import BudgetError, InputError
from medvox.synth.slide import MadeSlide, draw_level, make_slide, write_slide

SMALL = replace(SLIDE_MEDGEMMA_1_5_10X, name="slide.test", patch_px=64, max_patches=20)  # cells of 64 um


@pytest.fixture(scope="module")
def made() -> MadeSlide:
    return make_slide(4000, 3000, mpp_um=0.5, seed=6)  # 2 x 1.5 mm


@pytest.fixture(scope="module")
def path(made: MadeSlide, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(made, tmp_path_factory.mktemp("slides") / "made.tif", compression="deflate")


@pytest.fixture
def slide(path: Path) -> Slide:
    with open_slide(path) as opened:
        yield opened


def refused(slide: Slide, preset: SlidePreset) -> str:
    with pytest.raises(InputError) as caught:
        choose_patches(slide, preset)
    return caught.value.code


@pytest.mark.parametrize(
    ("preset", "mpp", "most"),
    [(SLIDE_MEDGEMMA_1_5_5X, 2.0, 126), (SLIDE_MEDGEMMA_1_5_10X, 1.0, 126), (SLIDE_MEDGEMMA_1_5_20X, 0.5, 126),
     (SLIDE_MEDGEMMA_1_5_TUTORIAL, 1.0, 125)],
)  # fmt: skip
def test_the_presets_are_the_published_ones(preset: SlidePreset, mpp: float, most: int) -> None:
    assert (preset.mpp_um, preset.max_patches, preset.patch_px) == (mpp, most, 896)


def test_the_hash_changes_with_the_recipe() -> None:
    assert replace(SMALL, min_tissue=0.06).hash != SMALL.hash == replace(SMALL).hash


def test_the_grid_is_whole_patches_from_the_corner(slide: Slide) -> None:
    choice = choose_patches(slide, SMALL)
    assert choice.downsample == pytest.approx(2.0)
    assert choice.grid_rc == (3000 // 128, 4000 // 128)


def test_candidates_are_the_cells_that_hold_tissue(slide: Slide, made: MadeSlide) -> None:
    choice = choose_patches(slide, SMALL)
    share = made.tissue[:46, :62].reshape(23, 2, 31, 2).mean(axis=(1, 3)).ravel()  # a cell is 2 x 2 blocks
    clear = (share >= 0.5) | (share == 0)
    found = np.isin(np.arange(share.size), choice.candidates)
    assert (found[clear] == (share[clear] >= 0.5)).mean() > 0.97


def test_the_chosen_patches_are_a_seeded_sample_in_spatial_order(slide: Slide) -> None:
    choice = choose_patches(slide, SMALL, seed=5)
    assert choice.chosen == tuple(sorted(random.Random(5).sample(choice.candidates, 20)))
    assert choice.chosen == choose_patches(slide, SMALL, seed=5).chosen
    assert choice.chosen != choose_patches(slide, SMALL, seed=6).chosen


def test_all_patches_are_shown_when_there_is_room(slide: Slide) -> None:
    choice = choose_patches(slide, replace(SMALL, max_patches=1000))
    assert choice.chosen == choice.candidates
    assert choice.coverage > 0.95
    assert choice.flags == ()


def test_coverage_is_the_share_of_the_tissue_that_is_shown(slide: Slide, made: MadeSlide) -> None:
    choice = choose_patches(slide, SMALL)
    shown = np.zeros(made.tissue.shape, bool)
    for index in choice.chosen:
        row, column = divmod(index, choice.grid_rc[1])
        shown[2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = True
    assert choice.coverage == pytest.approx((shown & made.tissue).sum() / made.tissue.sum(), abs=0.02)


def test_patches_that_are_left_out_are_flagged_and_listed(slide: Slide) -> None:
    prepared = prepare_slide(slide, SMALL, size=16)
    candidates = choose_patches(slide, SMALL).candidates
    assert [flag.code for flag in prepared.flags] == ["F_SLIDE_PATCHES_DROPPED"]
    assert f"20 of {len(candidates)}" in prepared.flags[0].text
    assert sorted(prepared.used + prepared.dropped) == list(candidates)


def test_a_patch_shows_its_place(slide: Slide, made: MadeSlide) -> None:
    prepared = prepare_slide(slide, replace(SMALL, mpp_um=0.5), size=64)
    assert len(prepared.images) == 20
    for image, origin in zip(prepared.images, prepared.origins):
        left, top = (int(corner) for corner in origin.corner_xy)
        assert np.array_equal(image, draw_level(made, 1, (left, top), (64, 64)))


def test_a_reduced_patch_is_the_mean_of_its_place(slide: Slide, made: MadeSlide) -> None:
    prepared = prepare_slide(slide, SMALL, size=64)
    for image, origin in zip(prepared.images, prepared.origins):
        left, top = (int(corner) for corner in origin.corner_xy)
        whole = Image.fromarray(draw_level(made, 1, (left - 8, top - 8), (144, 144)))
        expected = whole.resize((64, 64), Image.Resampling.BILINEAR, box=(8, 8, 136, 136))
        assert np.abs(image.astype(int) - np.asarray(expected)).max() <= 1


def test_boxes_return_to_level_0(slide: Slide) -> None:
    origin = prepare_slide(slide, SMALL, size=16).origins[3]
    row, column = divmod(origin.index, 31)
    assert origin.to_source((0, 0, 64, 64)) == (128 * column, 128 * row, 128 * column + 128, 128 * row + 128)
    assert origin.to_source((16, 8, 32, 24)) == (128 * column + 32, 128 * row + 16, 128 * column + 64, 128 * row + 48)


def test_the_number_of_threads_changes_nothing(slide: Slide, monkeypatch: pytest.MonkeyPatch) -> None:
    many = prepare_slide(slide, SMALL, size=32).images
    monkeypatch.setattr(slide_module, "MAX_THREADS", 1)
    assert np.array_equal(prepare_slide(slide, SMALL, size=32).images, many)


def test_pictures_have_the_size_of_the_model_and_no_labels(slide: Slide) -> None:
    prepared = prepare_slide(slide, SMALL, size=24)
    assert prepared.images.shape == (20, 24, 24, 3)
    assert set(prepared.labels) == {""}


def test_progress_is_told_for_every_patch(slide: Slide) -> None:
    told: list[tuple[str, int, int]] = []
    prepare_slide(slide, SMALL, size=8, progress=lambda *args: told.append(args))
    assert told == [("reading patches", done, 20) for done in range(1, 21)]


def test_the_facts_say_what_was_done(slide: Slide, made: MadeSlide) -> None:
    facts = prepare_slide(slide, SMALL, size=8, seed=7).facts
    assert (facts["magnification"], facts["seed"], facts["patches"], facts["grid_rc"]) == ("10x", 7, 20, (23, 31))
    assert facts["mpp_um"] == pytest.approx(1.0)
    assert facts["tissue_mm2"] == pytest.approx(made.tissue.sum() * 0.032**2, rel=0.03)
    assert "ICC" in facts["color"]


def test_flags_of_the_slide_reach_the_pictures(path: Path) -> None:
    with open_slide(path, mpp=0.45) as slide:
        assert "F_SLIDE_MPP_OVERRIDDEN" in [flag.code for flag in prepare_slide(slide, SMALL, size=8).flags]


def test_a_level_within_two_percent_is_taken_as_it_is(path: Path) -> None:
    with open_slide(path, mpp=0.505) as slide:
        choice = choose_patches(slide, replace(SMALL, mpp_um=0.5))
        assert (choice.downsample, choice.mpp_um) == (1.0, 0.505)
        assert choice.flags[0].code == "F_SLIDE_PATCHES_DROPPED"


def test_a_slightly_coarser_slide_is_shown_as_it_is_and_flagged(path: Path) -> None:
    with open_slide(path, mpp=0.549) as slide:
        choice = choose_patches(slide, replace(SMALL, mpp_um=0.5))
        assert (choice.downsample, choice.mpp_um) == (1.0, 0.549)
        assert "F_SLIDE_COARSER" in [flag.code for flag in choice.flags]


@pytest.mark.parametrize("mpp", [0.551, 2.0, 40.0])
def test_a_much_coarser_slide_is_refused_not_enlarged(path: Path, mpp: float) -> None:
    with open_slide(path, mpp=mpp) as slide:
        assert refused(slide, replace(SMALL, mpp_um=0.5)) == "E_SLIDE_COARSE"


def test_an_unknown_pixel_size_is_refused_with_the_way_out(tmp_path: Path, made: MadeSlide) -> None:
    Image.fromarray(draw_level(made, 4, (0, 0), (1000, 750))).save(tmp_path / "flat.tif")
    with open_slide(tmp_path / "flat.tif") as slide:
        with pytest.raises(InputError) as caught:
            prepare_slide(slide, SMALL)
        assert caught.value.code == "E_SLIDE_MPP_UNKNOWN"
        assert "--mpp" in caught.value.fix
    with open_slide(tmp_path / "flat.tif", mpp=1.0) as slide:
        assert len(prepare_slide(slide, SMALL, size=8).images) > 0


def test_bare_glass_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (2000, 2000), (240, 240, 241)).save(tmp_path / "glass.tif")
    with open_slide(tmp_path / "glass.tif", mpp=0.5) as slide:
        assert refused(slide, SLIDE_MEDGEMMA_1_5_20X) == "E_SLIDE_NO_TISSUE"


def test_tissue_that_no_whole_patch_holds_is_refused_with_another_reason(tmp_path: Path) -> None:
    picture = Image.new("RGB", (1700, 1000), (240, 240, 241))
    picture.paste((200, 110, 160), (1000, 100, 1600, 800))  # right of the only whole patch
    picture.save(tmp_path / "edge.tif")
    with open_slide(tmp_path / "edge.tif", mpp=0.5) as slide:
        with pytest.raises(InputError) as caught:
            choose_patches(slide, SLIDE_MEDGEMMA_1_5_20X)
        assert caught.value.code == "E_SLIDE_NO_TISSUE"
        assert "shows tissue" in caught.value.message


def test_a_slide_smaller_than_a_patch_is_padded_with_black_and_flagged(tmp_path: Path) -> None:
    Image.new("RGB", (500, 1000), (200, 110, 160)).save(tmp_path / "small.tif")
    with open_slide(tmp_path / "small.tif", mpp=0.5) as slide:
        prepared = prepare_slide(slide, SLIDE_MEDGEMMA_1_5_20X)
    assert prepared.images.shape == (1, 896, 896, 3)
    assert (prepared.images[0, :, :500] == (200, 110, 160)).all()
    assert not prepared.images[0, :, 500:].any()
    assert "F_SLIDE_PADDED" in [flag.code for flag in prepared.flags]


def test_a_slide_without_low_levels_that_is_too_large_to_search_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medvox.data.slide.REDUCED_PIXELS", 100_000)
    with open_slide(path, mpp=0.7) as slide, pytest.raises(BudgetError) as caught:
        choose_patches(slide, SMALL)
    assert caught.value.code == "E_SLIDE_LIMIT"


def test_the_search_for_tissue_reads_a_low_level_only(slide: Slide, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    region = slide.pyramid.region
    monkeypatch.setattr(slide.pyramid, "region", lambda *args: read.append(args) or region(*args))
    choose_patches(slide, SMALL)
    assert {level for _, level, _ in read} == {2}  # 8 um per pixel, where level 0 has 0.5
    assert sum(width * height for _, _, (width, height) in read) <= 1.2 * 250 * 187


def test_a_larger_glass_is_searched_at_a_lower_resolution(slide: Slide, made: MadeSlide) -> None:
    facts = prepare_slide(slide, replace(SMALL, mask_pixels=20_000), size=8).facts  # 46,875 at 8 um
    assert facts["tissue_mpp_um"] == pytest.approx(16.0, rel=0.01)
    assert facts["tissue_mm2"] == pytest.approx(made.tissue.sum() * 0.032**2, rel=0.06)


def test_the_tutorial_counts_cells_by_their_brightness_and_draws_them_in_random_order(slide: Slide) -> None:
    preset = replace(SLIDE_MEDGEMMA_1_5_TUTORIAL, patch_px=64)
    choice = choose_patches(slide, preset, seed=3)
    grey = np.asarray(Image.fromarray(slide.read_scaled((0, 0), 2.0, (31 * 64, 23 * 64))).convert("L"), float)
    luminance = grey.reshape(23, 64, 31, 64).mean(axis=(1, 3)).ravel() / 255
    clear = np.abs(luminance - 0.8) > 0.02
    assert np.array_equal(np.isin(np.arange(luminance.size), choice.candidates)[clear], (luminance <= 0.8)[clear])
    assert choice.chosen == tuple(random.Random(3).sample(choice.candidates, len(choice.chosen)))
    assert list(choice.chosen) != sorted(choice.chosen)


def test_black_cells_are_no_tissue_for_the_tutorial(tmp_path: Path) -> None:
    picture = Image.new("RGB", (128, 64), (0, 0, 0))
    picture.paste((150, 100, 140), (64, 0, 128, 64))
    picture.save(tmp_path / "black.tif")
    with open_slide(tmp_path / "black.tif", mpp=8.0) as slide:
        choice = choose_patches(slide, replace(SLIDE_MEDGEMMA_1_5_TUTORIAL, patch_px=64, mpp_um=8.0))
    assert choice.candidates == (1,)


def test_a_real_slide_gives_patches_of_tissue(shared_data: Path) -> None:
    with open_slide(shared_data / "wsi" / "CMU-1-Small-Region.svs") as slide:
        prepared = prepare_slide(slide, SLIDE_MEDGEMMA_1_5_20X, size=224)
    assert prepared.used == (1, 2, 3, 4, 5)  # of 3 x 2; the first holds glass and a grain of dirt
    assert prepared.facts["coverage"] == pytest.approx(0.84, abs=0.03)
    assert prepared.images.std(axis=(1, 2, 3)).min() > 20


def test_the_overview_outlines_the_chosen_patches_and_dims_the_glass(slide: Slide) -> None:
    choice = choose_patches(slide, SMALL)
    plain, scale = slide.overview(800)
    drawn = overview_picture(slide, SMALL, choice, max_side=800)
    assert drawn.shape == plain.shape
    row, column = divmod(choice.chosen[0], choice.grid_rc[1])
    edge = 128 / scale
    assert drawn[round(row * edge), round(column * edge)].tolist() == [0, 110, 60]
    assert drawn[2, 2].max() < plain[2, 2].min()  # the corner is glass
