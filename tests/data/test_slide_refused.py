"""Slides that must be refused, each with its code; and nothing but typed errors from damaged bytes."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_slides import speckled, tiled_tags, write_tiff
from PIL import Image

from medvox.data import slide as slide_module
from medvox.data.limits import DEFAULT_LIMITS
from medvox.data.slide import open_slide
from medvox.errors import BudgetError, InputError, MedvoxError, UsageError
from medvox.synth.slide import make_slide, write_slide


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(make_slide(600, 500, mpp_um=0.5), tmp_path_factory.mktemp("slides") / "made.tif")


def refused(path: Path, kind: type[MedvoxError] = InputError) -> str:
    with pytest.raises(kind) as caught:
        open_slide(path)
    assert caught.value.fix
    return caught.value.code


@pytest.mark.parametrize("mpp", [0.0, -0.5, 0.05, 50.1, float("nan"), float("inf")])
def test_a_given_pixel_size_that_makes_no_sense_is_refused(path: Path, mpp: float) -> None:
    with pytest.raises(UsageError) as caught:
        open_slide(path, mpp=mpp)
    assert caught.value.code == "E_SLIDE_MPP"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.svs") == "E_SLIDE_UNREADABLE"


def test_a_broken_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link.svs").symlink_to(tmp_path / "none.svs")
    assert refused(tmp_path / "link.svs") == "E_SLIDE_UNREADABLE"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(path: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked.tif"
    locked.write_bytes(path.read_bytes())
    locked.chmod(0)
    assert refused(locked) == "E_SLIDE_UNREADABLE"


def test_a_device_is_refused() -> None:
    assert refused(Path("/dev/zero")) == "E_SLIDE_UNREADABLE"


@pytest.mark.parametrize(
    "content", [b"", b"notes about a slide\n" * 50, b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(5000)]
)
def test_a_renamed_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "slide.svs").write_bytes(content)
    assert refused(tmp_path / "slide.svs") == "E_SLIDE_FORMAT"


def test_a_png_picture_is_no_slide(tmp_path: Path) -> None:
    Image.fromarray(speckled(50, 50)).save(tmp_path / "picture.png")
    assert refused(tmp_path / "picture.png") == "E_SLIDE_FORMAT"


def test_an_empty_folder_is_no_slide(tmp_path: Path) -> None:
    assert refused(tmp_path) == "E_SLIDE_FORMAT"


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_truncated_slide_is_refused(path: Path, tmp_path: Path, share: float) -> None:
    content = path.read_bytes()
    (tmp_path / "cut.tif").write_bytes(content[: int(share * len(content))])
    assert refused(tmp_path / "cut.tif") == "E_SLIDE_UNREADABLE"


def test_a_truncated_aperio_slide_is_refused(shared_data: Path, tmp_path: Path) -> None:
    content = (shared_data / "wsi" / "CMU-1-Small-Region.svs").read_bytes()
    (tmp_path / "cut.svs").write_bytes(content[:1_500_000])
    assert refused(tmp_path / "cut.svs") == "E_SLIDE_UNREADABLE"


@pytest.mark.parametrize("bits", [16, 32])
def test_a_tiled_tiff_of_more_than_8_bits_is_refused_not_cut_to_8(tmp_path: Path, bits: int) -> None:
    write_tiff(tmp_path / "deep.tif", bytes(32 * 32 * 3 * bits // 8), tiled_tags(64, 32, bits=bits))
    assert refused(tmp_path / "deep.tif") == "E_SLIDE_FORMAT"


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_an_untiled_tiff_of_more_than_8_bits_is_refused(tmp_path: Path, kind: type) -> None:
    Image.fromarray(np.ones((40, 40), kind)).save(tmp_path / "deep.tif")
    assert refused(tmp_path / "deep.tif") == "E_SLIDE_FORMAT"


def test_an_untiled_cmyk_tiff_is_refused(tmp_path: Path) -> None:
    Image.new("CMYK", (40, 40)).save(tmp_path / "print.tif")
    assert refused(tmp_path / "print.tif") == "E_SLIDE_FORMAT"


def test_a_giant_tile_is_refused_before_a_decoder_sees_it(tmp_path: Path) -> None:
    write_tiff(tmp_path / "giant.tif", bytes(1000), tiled_tags(100_000, 98_304, length=1000))
    assert refused(tmp_path / "giant.tif", BudgetError) == "E_SLIDE_LIMIT"


def test_a_tile_that_claims_more_bytes_than_the_file_has_is_refused(tmp_path: Path) -> None:
    write_tiff(tmp_path / "lies.tif", bytes(1000), tiled_tags(64, 32, length=4_000_000_000))
    assert refused(tmp_path / "lies.tif") == "E_SLIDE_UNREADABLE"


def test_directories_that_form_a_loop_are_refused(tmp_path: Path) -> None:
    file = write_tiff(tmp_path / "loop.tif", bytes(48 * 16), tiled_tags(64, 16))
    content = bytearray(file.read_bytes())
    content[-4:] = content[4:8]
    file.write_bytes(content)
    assert refused(file) == "E_SLIDE_UNREADABLE"


def test_a_tag_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    file = write_tiff(tmp_path / "long.tif", bytes(48 * 16), tiled_tags(64, 16))
    content = bytearray(file.read_bytes())
    place = content.find(struct.pack("<HH", 324, 4))
    content[place + 4 : place + 8] = struct.pack("<I", 2**31)
    file.write_bytes(content)
    assert refused(file) == "E_SLIDE_UNREADABLE"


def test_an_untiled_tiff_over_the_limit_is_refused(tmp_path: Path) -> None:
    Image.new("1", (3000, 2000)).save(tmp_path / "flat.tif")
    limits = replace(DEFAULT_LIMITS, picture_pixels=5_999_999)
    with pytest.raises(BudgetError) as caught:
        open_slide(tmp_path / "flat.tif", limits=limits)
    assert caught.value.code == "E_SLIDE_LIMIT"
    open_slide(tmp_path / "flat.tif", limits=replace(DEFAULT_LIMITS, picture_pixels=6_000_000)).close()


def test_an_untiled_tiff_of_pillows_bomb_size_is_over_the_limit(tmp_path: Path) -> None:
    tags = {256: (4, (60_000,)), 257: (4, (60_000,)), 258: (3, (8,)), 259: (3, (1,)), 262: (3, (1,)), 273: (4, (8,)),
            277: (3, (1,)), 278: (4, (60_000,)), 279: (4, (100,))}  # fmt: skip
    write_tiff(tmp_path / "bomb.tif", bytes(100), tags)
    assert refused(tmp_path / "bomb.tif", BudgetError) == "E_SLIDE_LIMIT"


@pytest.mark.parametrize(
    ("corner", "level", "size"),
    [((0, 0), 9, (10, 10)), ((0, 0), -1, (10, 10)), ((600, 0), 0, (10, 10)), ((-10, 0), 0, (10, 10)),
     ((0, 0), 0, (0, 10)), ((0, 0), 0, (10, -1))],
)  # fmt: skip
def test_a_region_that_is_not_there_is_refused(
    path: Path, corner: tuple[int, int], level: int, size: tuple[int, int]
) -> None:
    with open_slide(path) as slide, pytest.raises(UsageError) as caught:
        slide.read_region(corner, level, size)
    assert caught.value.code == "E_SLIDE_REGION"


@pytest.mark.parametrize("downsample", [0.5, 0.0, -1.0, float("nan")])
def test_nothing_is_enlarged(path: Path, downsample: float) -> None:
    with open_slide(path) as slide, pytest.raises(UsageError) as caught:
        slide.read_scaled((0, 0), downsample, (10, 10))
    assert caught.value.code == "E_SLIDE_REGION"


def test_a_region_at_the_limit_is_read_and_one_pixel_more_is_refused(path: Path) -> None:
    with open_slide(path, limits=replace(DEFAULT_LIMITS, region_pixels=256 * 256)) as slide:
        assert slide.read_region((0, 0), 0, (256, 256)).shape == (256, 256, 3)
        for read in (slide.read_region, slide.read_scaled):
            with pytest.raises(BudgetError) as caught:
                read((0, 0), 1, (257, 256))
            assert caught.value.code == "E_SLIDE_LIMIT"


def test_a_reduced_region_that_needs_too_many_pixels_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slide_module, "REDUCED_PIXELS", 10_000)
    with open_slide(path) as slide, pytest.raises(BudgetError) as caught:
        slide.read_scaled((0, 0), 3.0, (100, 100))
    assert caught.value.code == "E_SLIDE_LIMIT"


def test_a_reduction_whose_blocks_would_exceed_the_limit_is_refused(path: Path) -> None:
    with open_slide(path) as opened:
        slide = replace(opened, limits=replace(DEFAULT_LIMITS, region_pixels=50))
        assert slide.read_scaled((0, 0), 4.5, (2, 2)).shape == (2, 2, 3)
        with pytest.raises(BudgetError) as caught:
            slide.read_scaled((0, 0), 15.0, (2, 2))  # reads 3 x 3.75 pixels of level 1 each way
        assert caught.value.code == "E_SLIDE_LIMIT"


def test_damaged_pixels_are_refused_when_they_are_read(path: Path, tmp_path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8:4000] = bytes(3992)
    (tmp_path / "bad.tif").write_bytes(content)
    with open_slide(tmp_path / "bad.tif") as slide, pytest.raises(InputError) as caught:
        slide.read_region((0, 0), 0, (600, 500))
    assert caught.value.code == "E_SLIDE_UNREADABLE"


def test_mutated_slides_raise_nothing_but_typed_errors(tmp_path: Path) -> None:
    small = write_slide(make_slide(200, 200, mpp_um=0.5), tmp_path / "small.tif", downsamples=(1, 4))
    good, rng, target = small.read_bytes(), np.random.default_rng(5), tmp_path / "mutant.tif"
    outcomes = set()
    for number in range(150):
        mutant = bytearray(good)
        head = number % 2  # half of the mutants in the last directory and its tags, half anywhere
        for _ in range(rng.integers(1, 6)):
            mutant[rng.integers(len(good) - 600 if head else 0, len(good))] = rng.integers(256)
        target.write_bytes(mutant)
        try:
            with open_slide(target, limits=replace(DEFAULT_LIMITS, region_pixels=10**6)) as slide:
                slide.overview(64)
            outcomes.add("read")
        except MedvoxError as error:
            outcomes.add(error.code)
    assert {"read", "E_SLIDE_UNREADABLE"} <= outcomes


def test_messages_do_not_quote_the_decoder(path: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.tif").write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError) as caught:
        open_slide(tmp_path / "cut.tif")
    assert str(tmp_path) not in caught.value.message
