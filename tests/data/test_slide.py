"""Slides: levels, pixel size, regions. Oracles: the pixels that were written, Pillow, and OpenSlide itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import pytest
from made_slides import speckled, tiled_tags, write_tiff
from PIL import Image

from medvox.data import slide as slide_module
from medvox.data.slide import open_slide
from medvox.data.slide_tiff import FlatTiffPyramid
from medvox.synth.slide import MadeSlide, draw_level, make_slide, write_slide


@pytest.fixture(scope="module")
def made() -> MadeSlide:
    return make_slide(1500, 1100, mpp_um=0.5, seed=3)


@pytest.fixture(scope="module")
def path(made: MadeSlide, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(made, tmp_path_factory.mktemp("slides") / "made.tif", compression="deflate")


def codes(slide: slide_module.Slide) -> list[str]:
    return [flag.code for flag in slide.flags]


def test_levels_and_pixel_size_are_those_of_the_file(path: Path) -> None:
    with open_slide(path) as slide:
        assert [(level.width, level.height) for level in slide.levels] == [(1500, 1100), (375, 275), (93, 68), (23, 17)]
        assert slide.mpp_um == pytest.approx(0.5)
        assert slide.levels[1].downsample == 4
        assert slide.flags == ()


def test_levels_have_the_pixels_that_were_written(made: MadeSlide, path: Path) -> None:
    with open_slide(path) as slide:
        for number, downsample in enumerate((1, 4, 16, 64)):
            size = (slide.levels[number].width, slide.levels[number].height)
            written = draw_level(made, downsample, (0, 0), size)
            assert np.array_equal(slide.read_region((0, 0), number, size), written)


def test_a_region_starts_at_its_corner_in_level_0(made: MadeSlide, path: Path) -> None:
    with open_slide(path) as slide:
        region = slide.read_region((800, 400), 1, (37, 21))
        assert np.array_equal(region, draw_level(made, 4, (200, 100), (37, 21)))


def test_what_lies_outside_the_slide_is_white(made: MadeSlide, path: Path) -> None:
    with open_slide(path) as slide:
        region = slide.read_region((-10, -20), 0, (30, 30))
        assert np.array_equal(region[20:, 10:], draw_level(made, 1, (0, 0), (20, 10)))
        assert (region[:20] == 255).all()
        assert (region[:, :10] == 255).all()
        assert (slide.read_region((1490, 1090), 0, (30, 30))[10:] == 255).all()


def test_a_scaled_region_at_a_level_is_the_level(made: MadeSlide, path: Path) -> None:
    with open_slide(path) as slide:
        assert np.array_equal(slide.read_scaled((400, 200), 4.0, (50, 40)), draw_level(made, 4, (100, 50), (50, 40)))


@pytest.mark.parametrize("ratio", [1.5, 2.0, 3.7])
def test_a_scaled_region_read_in_blocks_equals_pillow_on_the_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch, ratio: float
) -> None:
    monkeypatch.setattr(slide_module, "BLOCK_EDGE_PX", 150)
    with open_slide(path) as slide:
        size = (int(1500 / ratio), int(1100 / ratio))
        whole = Image.fromarray(slide.read_region((0, 0), 0, (1500, 1100)))
        box = (0, 0, size[0] * ratio, size[1] * ratio)
        expected = np.asarray(whole.resize(size, Image.Resampling.BILINEAR, box=box)).astype(int)
        assert np.abs(slide.read_scaled((0, 0), ratio, size) - expected).max() <= 1


def test_a_scaled_region_uses_the_coarsest_level_that_is_fine_enough(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_slide(path) as slide:
        used = []
        region = slide.pyramid.region
        monkeypatch.setattr(slide.pyramid, "region", lambda *args: used.append(args[1]) or region(*args))
        for downsample in (3.9, 4.0, 15.0, 17.0, 300.0):
            slide.read_scaled((0, 0), downsample, (2, 2))
        assert list(dict.fromkeys(used)) == [0, 1, 2, 3]


def test_a_scaled_region_may_hang_over_the_edge_by_whole_blocks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slide_module, "BLOCK_EDGE_PX", 30)
    with open_slide(path) as slide:
        region = slide.read_scaled((0, 1000), 2.0, (100, 200))
        assert (region[60:] == 255).all()
        assert np.array_equal(region[:40], slide.read_scaled((0, 1000), 2.0, (100, 40)))


@pytest.mark.parametrize("corner", [(0, 0), (3, 5), (40, 21), (61, 50)])
def test_a_level_of_odd_size_is_read_at_most_half_a_pixel_of_level_0_off(
    made: MadeSlide, path: Path, corner: tuple[int, int]
) -> None:
    with open_slide(path) as slide:
        scale = slide.levels[2].downsample
        assert scale != 16
        region = slide.read_region((round(corner[0] * scale), round(corner[1] * scale)), 2, (20, 15))
        written = draw_level(made, 16, corner, (20, 15)).astype(int)
        steps = np.abs(np.diff(draw_level(made, 16, corner, (21, 16)).astype(int), axis=1)).max()
        assert np.abs(region - written).max() <= 1 + steps / 16  # OpenSlide interpolates


def test_the_overview_keeps_the_shape_of_the_slide(path: Path) -> None:
    with open_slide(path) as slide:
        picture, downsample = slide.overview(300)
        assert picture.shape == (220, 300, 3)
        assert downsample == 5.0


def test_a_small_slide_is_not_enlarged_by_the_overview(tmp_path: Path) -> None:
    Image.fromarray(speckled(60, 40)).save(tmp_path / "small.tif")
    with open_slide(tmp_path / "small.tif") as slide:
        picture, downsample = slide.overview(300)
        assert (picture.shape, downsample) == ((40, 60, 3), 1.0)


def test_the_given_pixel_size_wins_and_is_flagged(path: Path) -> None:
    with open_slide(path, mpp=0.25) as slide:
        assert slide.mpp_um == 0.25
        assert codes(slide) == ["F_SLIDE_MPP_OVERRIDDEN"]
        assert "0.5" in slide.flags[0].text


def test_without_a_stated_pixel_size_it_is_unknown_and_flagged(tmp_path: Path) -> None:
    write_tiff(tmp_path / "bare.tif", bytes(48 * 16), tiled_tags(64, 16))
    with open_slide(tmp_path / "bare.tif") as slide:
        assert slide.mpp_um is None
        assert codes(slide) == ["F_SLIDE_MPP_UNKNOWN"]


def test_the_72_dpi_of_an_image_program_is_no_pixel_size(shared_data: Path) -> None:
    with open_slide(shared_data / "wsi" / "boxes.tiff") as slide:  # 352.8 um per pixel
        assert slide.mpp_um is None
        assert codes(slide) == ["F_SLIDE_MPP_UNKNOWN"]


@pytest.mark.parametrize(
    ("stated", "mpp", "flags"),
    [
        ((0.5, 0.504), 0.502, []),
        ((0.5, 0.52), 0.5099, ["F_SLIDE_MPP_ANISOTROPIC"]),
        ((0.04, 0.04), None, ["F_SLIDE_MPP_UNKNOWN"]),
        ((51.0, 51.0), None, ["F_SLIDE_MPP_UNKNOWN"]),
        ((0.5, float("nan")), None, ["F_SLIDE_MPP_UNKNOWN"]),
        ((-0.5, -0.5), None, ["F_SLIDE_MPP_UNKNOWN"]),
        ((float("inf"), 0.5), None, ["F_SLIDE_MPP_UNKNOWN"]),
    ],
)
def test_stated_pixel_sizes_are_judged(
    path: Path, monkeypatch: pytest.MonkeyPatch, stated: tuple[float, float], mpp: float | None, flags: list[str]
) -> None:
    properties = {"openslide.mpp-x": str(stated[0]), "openslide.mpp-y": str(stated[1])}
    monkeypatch.setattr(openslide.OpenSlide, "properties", properties)
    with open_slide(path) as slide:
        assert slide.mpp_um == (None if mpp is None else pytest.approx(mpp, abs=1e-4))
        assert codes(slide) == flags


def test_a_pixel_size_that_does_not_fit_the_objective_is_flagged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    properties = {"openslide.mpp-x": "5", "openslide.mpp-y": "5", "openslide.objective-power": "20"}
    monkeypatch.setattr(openslide.OpenSlide, "properties", properties)
    with open_slide(path) as slide:
        assert codes(slide) == ["F_SLIDE_MPP_POWER"]


def test_an_aperio_slide_gives_its_facts_and_never_its_label(shared_data: Path) -> None:
    with open_slide(shared_data / "wsi" / "CMU-1-Small-Region.svs") as slide:
        assert (slide.vendor, slide.mpp_um, slide.objective_power) == ("aperio", pytest.approx(0.499), 20)
        assert slide.associated == ("label", "macro", "thumbnail")
        assert codes(slide) == ["F_SLIDE_LABEL"]


def test_an_aperio_region_equals_openslides(shared_data: Path) -> None:
    path = shared_data / "wsi" / "CMU-1-Small-Region.svs"
    with open_slide(path) as slide, openslide.OpenSlide(str(path)) as other:
        expected = np.asarray(other.read_region((700, 900), 0, (300, 200)).convert("RGB"))
        assert np.array_equal(slide.read_region((700, 900), 0, (300, 200)), expected)


def test_holes_are_white(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holed = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    holed.putpixel((1, 2), (10, 20, 30, 255))
    with open_slide(path) as slide:
        monkeypatch.setattr(openslide.OpenSlide, "read_region", lambda *_: holed)
        region = slide.read_region((0, 0), 0, (4, 4))
    assert region[2, 1].tolist() == [10, 20, 30]
    assert (np.delete(region.reshape(16, 3), 9, axis=0) == 255).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "1", "P"])
def test_an_untiled_tiff_is_read_as_pillow_reads_it(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(speckled(70, 50)).convert(mode)
    picture.save(tmp_path / "flat.tif", dpi=(25_400, 25_400))
    with open_slide(tmp_path / "flat.tif") as slide:
        assert isinstance(slide.pyramid, FlatTiffPyramid)
        assert slide.mpp_um == pytest.approx(1.0)
        assert np.array_equal(
            slide.read_region((20, 10), 0, (40, 30)), np.asarray(picture.convert("RGB"))[10:40, 20:60]
        )


def test_transparent_parts_of_an_untiled_tiff_are_white(tmp_path: Path) -> None:
    Image.new("RGBA", (20, 20), (200, 0, 0, 0)).save(tmp_path / "clear.tif")
    with open_slide(tmp_path / "clear.tif") as slide:
        assert (slide.read_region((0, 0), 0, (20, 20)) == 255).all()


def test_further_pages_of_an_untiled_tiff_are_flagged(tmp_path: Path) -> None:
    pages = [Image.fromarray(speckled(30, 20, seed)) for seed in (1, 2)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    with open_slide(tmp_path / "pages.tif") as slide:
        assert "F_SLIDE_PAGES" in codes(slide)
        assert np.array_equal(slide.read_region((0, 0), 0, (30, 20)), speckled(30, 20, 1))


def test_the_digest_of_a_small_slide_is_that_of_its_bytes(path: Path) -> None:
    with open_slide(path) as slide:
        assert slide.sources[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_digest_of_a_large_slide_says_that_it_is_sampled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slide_module, "WHOLE_HASH_BYTES", 1000)
    monkeypatch.setattr(slide_module, "MIB", 500)
    with open_slide(path) as slide:
        content = path.read_bytes()
        middle = (len(content) - 500) // 2
        sample = str(len(content)).encode() + content[:500] + content[middle : middle + 500] + content[-500:]
        assert slide.sources[0].sha256 == "sampled:" + hashlib.sha256(sample).hexdigest()


def test_closing_twice_does_no_harm(path: Path) -> None:
    slide = open_slide(path)
    slide.close()
    slide.close()


def test_a_slide_is_found_by_content_not_by_name(path: Path, tmp_path: Path, unzip: Callable[[Path], Path]) -> None:
    renamed = tmp_path / "report.pdf"
    renamed.write_bytes(path.read_bytes())
    with open_slide(renamed) as slide:
        assert slide.levels[0].width == 1500
