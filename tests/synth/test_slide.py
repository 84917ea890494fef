"""Generated slides: what is written is what was drawn. Oracles: OpenSlide and Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest
from PIL import Image

from medvox.errors import UsageError
from medvox.synth.slide import BLACK, BLUE_PEN, FAINT, GREEN_PEN, draw_level, make_slide, write_slide


def test_openslide_reads_the_levels_that_were_drawn(tmp_path: Path) -> None:
    made = make_slide(700, 500, seed=1)
    with openslide.OpenSlide(str(write_slide(made, tmp_path / "made.tif", compression="deflate"))) as slide:
        assert slide.level_dimensions == ((700, 500), (175, 125), (43, 31), (10, 7))
        for level, downsample in enumerate((1, 4, 16)):
            size = slide.level_dimensions[level]
            read = np.asarray(slide.read_region((0, 0), level, size).convert("RGB"))
            assert np.array_equal(read, draw_level(made, downsample, (0, 0), size))


def test_pillow_reads_the_finest_level_as_well(tmp_path: Path) -> None:
    made = make_slide(600, 300)
    with Image.open(write_slide(made, tmp_path / "made.tif", compression="deflate")) as picture:
        assert np.array_equal(np.asarray(picture), draw_level(made, 1, (0, 0), (600, 300)))


def test_jpeg_changes_little(tmp_path: Path) -> None:
    made = make_slide(600, 300)
    with openslide.OpenSlide(str(write_slide(made, tmp_path / "made.tif"))) as slide:
        read = np.asarray(slide.read_region((0, 0), 0, (600, 300)).convert("RGB")).astype(int)
    assert np.abs(read - draw_level(made, 1, (0, 0), (600, 300))).mean() < 4


def test_each_level_is_the_mean_of_the_finer_one() -> None:
    made = make_slide(1024, 1024, seed=2)
    fine = draw_level(made, 1, (0, 0), (1024, 1024)).reshape(256, 4, 256, 4, 3).mean(axis=(1, 3))
    assert np.abs(draw_level(made, 4, (0, 0), (256, 256)) - fine).max() <= 0.5


def test_the_truth_is_exact_to_the_pixel() -> None:
    made = make_slide(2000, 1500, seed=5)
    pixels = draw_level(made, 1, (0, 0), (2000, 1500))
    tissue = made.tissue.repeat(64, axis=0).repeat(64, axis=1)[:1500, :2000]
    green = pixels[:, :, 1]
    assert green[~tissue].min() > 230
    assert np.median(green[tissue]) < 190


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    files = [write_slide(make_slide(500, 400, seed=seed), tmp_path / f"{k}.tif") for k, seed in enumerate((7, 7, 8))]
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()


def test_artefacts_are_there_when_asked_for_and_are_no_tissue() -> None:
    made = make_slide(8000, 6000, artefacts=True)
    assert {FAINT, BLUE_PEN, GREEN_PEN, BLACK} <= set(np.unique(made.blocks))
    assert not made.tissue[np.isin(made.blocks, (BLUE_PEN, GREEN_PEN, BLACK))].any()
    assert not {FAINT, BLUE_PEN, GREEN_PEN, BLACK} & set(np.unique(make_slide(8000, 6000).blocks))


def test_tiles_of_one_material_share_their_bytes(tmp_path: Path) -> None:
    made = make_slide(10_000, 8_000)
    path = write_slide(made, tmp_path / "large.tif", compression="deflate", downsamples=(1, 16))
    assert path.stat().st_size < 20_000_000  # 240 MB as pixels


@pytest.mark.parametrize("levels", [(), (4, 16), (1, 2), (1, 16, 4), (1, 1)])
def test_levels_that_cannot_be_drawn_are_refused(tmp_path: Path, levels: tuple[int, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        write_slide(make_slide(100, 100), tmp_path / "made.tif", downsamples=levels)
    assert caught.value.code == "E_SYNTH_LEVELS"
    assert not (tmp_path / "made.tif").exists()
