"""data/picture.py: plain picture files, upright, as grey or RGB, or refused."""

from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from medvox.data.limits import Limits
from medvox.data.picture import Picture, read_picture
from medvox.errors import BudgetError, InputError, MedvoxError

DRAW = np.random.default_rng(0)
GREY = DRAW.integers(0, 256, (24, 37), dtype=np.uint8)
COLOUR = DRAW.integers(0, 256, (24, 37, 3), dtype=np.uint8)
LOSSLESS = ["png", "tiff", "bmp", "webp"]


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, lossless=True, **options) if path.suffix == ".webp" else image.save(path, **options)
    return path


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(MedvoxError) as caught:
        read_picture(path, **options)
    return caught.value.code


def codes(picture: Picture) -> set[str]:
    return {flag.code for flag in picture.flags}


def png(width: int, height: int, depth: int, kind: int, rows: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG file, chunk by chunk."""
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", head), *more, (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(image: Image.Image, **tags: int) -> bytes:
    directory = ImageFileDirectory_v2()
    for name, value in tags.items():
        directory[int(name[1:])] = value
    file = io.BytesIO()
    image.save(file, "TIFF", tiffinfo=directory)
    return file.getvalue()


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("colour", [False, True])
def test_lossless_formats_come_back_exactly(tmp_path: Path, suffix: str, colour: bool) -> None:
    pixels = COLOUR if colour or suffix == "webp" else GREY  # WebP knows no grey
    picture = read_picture(saved(tmp_path / f"a.{suffix}", Image.fromarray(pixels)))
    assert picture.pixels.dtype == np.uint8
    assert np.array_equal(picture.pixels, pixels)
    assert picture.flags == ()
    assert picture.source.name == f"a.{suffix}"


def test_jpeg_is_what_pillow_decodes_and_content_counts_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(COLOUR).save(path, "JPEG")
    assert np.array_equal(read_picture(path).pixels, np.asarray(Image.open(path)))


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_grey_keeps_its_16_bits(tmp_path: Path, suffix: str) -> None:
    pixels = DRAW.integers(0, 65_536, (20, 30), dtype=np.uint16)
    picture = read_picture(saved(tmp_path / f"a.{suffix}", Image.fromarray(pixels)))
    assert picture.pixels.dtype == np.uint16
    assert np.array_equal(picture.pixels, pixels)


@pytest.mark.parametrize("suffix", ["jpg", "tiff", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(tmp_path: Path, suffix: str, orientation: int) -> None:
    blocks = np.kron(COLOUR[:3, :5], np.ones((8, 8, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if suffix == "jpg" else {}
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(blocks), exif=exif, **options)
    plain = Image.fromarray(blocks)
    plain.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(plain))
    picture = read_picture(path)
    assert picture.pixels.shape == expected.shape
    assert np.abs(picture.pixels.astype(int) - expected).mean() < 8  # JPEG loses a little; a wrong turn loses all
    assert ("F_PICTURE_TURNED" in codes(picture)) == (orientation > 1)


def test_transparent_pictures_are_laid_on_black(tmp_path: Path) -> None:
    layers = np.dstack([COLOUR, np.full(GREY.shape, 255, np.uint8)])
    layers[:10, :, 3], layers[10, :, 3] = 0, 128
    picture = read_picture(saved(tmp_path / "a.png", Image.fromarray(layers)))
    assert codes(picture) == {"F_PICTURE_ALPHA"}
    assert not picture.pixels[:10].any()
    assert np.array_equal(picture.pixels[11:], COLOUR[11:])
    assert np.abs(picture.pixels[10].astype(int) - COLOUR[10] // 2).max() <= 1


def test_a_picture_that_is_opaque_all_over_gets_no_flag(tmp_path: Path) -> None:
    layers = Image.fromarray(GREY).convert("LA")
    picture = read_picture(saved(tmp_path / "a.png", layers))
    assert picture.flags == ()
    assert np.array_equal(picture.pixels, GREY)


def test_palettes_become_rgb(tmp_path: Path) -> None:
    image = Image.fromarray(COLOUR).quantize(16)
    picture = read_picture(saved(tmp_path / "a.png", image))
    assert codes(picture) == {"F_PICTURE_PALETTE"}
    assert np.array_equal(picture.pixels, np.asarray(image.convert("RGB")))


def test_inks_become_rgb(tmp_path: Path) -> None:
    image = Image.fromarray(COLOUR).convert("CMYK")
    picture = read_picture(saved(tmp_path / "a.tiff", image))
    assert codes(picture) == {"F_PICTURE_CMYK"}
    assert picture.pixels.shape == COLOUR.shape


def test_black_and_white_become_0_and_255(tmp_path: Path) -> None:
    picture = read_picture(saved(tmp_path / "a.png", Image.fromarray(GREY > 128)))
    assert np.array_equal(picture.pixels, np.where(GREY > 128, 255, 0))


def test_colours_of_16_bits_are_reduced_with_a_flag(tmp_path: Path) -> None:
    words = DRAW.integers(0, 65_536, (10, 12, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in words)
    (tmp_path / "a.png").write_bytes(png(12, 10, 16, 2, rows))
    picture = read_picture(tmp_path / "a.png")
    assert codes(picture) == {"F_PICTURE_16_TO_8"}
    assert np.array_equal(picture.pixels, words >> 8)


def test_tiff_that_stores_white_as_zero_is_inverted_with_8_and_16_bits(tmp_path: Path) -> None:
    wide = DRAW.integers(0, 65_536, (20, 30), dtype=np.uint16)
    for pixels, most in ((GREY, 255), (wide, 65_535)):
        (tmp_path / "a.tiff").write_bytes(tiff(Image.fromarray(pixels), t262=0))
        found = read_picture(tmp_path / "a.tiff").pixels
        stored = most - pixels if pixels is wide else pixels  # Pillow inverts when it writes 8 bits
        assert np.array_equal(found, stored)


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_32_bits_are_mapped_to_16_with_a_flag(tmp_path: Path, dtype: str) -> None:
    values = (DRAW.normal(size=(16, 16)) * 1e6).astype(dtype)
    picture = read_picture(saved(tmp_path / "a.tiff", Image.fromarray(values)))
    assert codes(picture) == {"F_PICTURE_RESCALED"}
    assert (int(picture.pixels.min()), int(picture.pixels.max())) == (0, 65_535)
    order = np.argsort(values, axis=None)
    assert (np.diff(picture.pixels.reshape(-1)[order].astype(int)) >= 0).all()


def test_32_bit_integers_that_fit_16_bits_are_kept(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.int32).reshape(16, 16) * 200
    picture = read_picture(saved(tmp_path / "a.tiff", Image.fromarray(values)))
    assert np.array_equal(picture.pixels, values)
    assert picture.flags == ()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    values = np.zeros((16, 16), np.float32)
    values[3, 3] = bad
    assert refused(saved(tmp_path / "a.tiff", Image.fromarray(values))) == "E_PICTURE_NOT_FINITE"


@pytest.mark.parametrize("suffix", ["tiff", "webp", "png"])
def test_the_first_page_or_frame_is_taken_with_a_flag(tmp_path: Path, suffix: str) -> None:
    pages = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    picture = read_picture(saved(tmp_path / f"a.{suffix}", pages[0], save_all=True, append_images=pages[1:]))
    assert codes(picture) == {"F_PICTURE_FIRST_PAGE"}
    assert np.array_equal(picture.pixels, COLOUR)


def test_a_foreign_colour_profile_is_flagged(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(COLOUR), icc_profile=b"made up: Adobe RGB (1998)")
    assert codes(read_picture(path)) == {"F_PICTURE_ICC"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF89a" + bytes(50),
        b"%PDF-1.7",
        b"P5 2 2 255\n0000",
        bytes(500),
    ],
)
def test_other_formats_are_refused_with_a_fix(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_picture(tmp_path / "a.png")
    assert caught.value.code == "E_PICTURE_FORMAT"
    assert "PNG" in caught.value.fix


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "bmp", "webp"])
def test_no_truncation_is_half_decoded(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(COLOUR))
    content = path.read_bytes()
    for cut in [*range(12, len(content) - 16, 97), len(content) - 16]:
        path.write_bytes(content[:cut])
        assert refused(path) in {"E_PICTURE_UNREADABLE", "E_PICTURE_LIMIT"}


def test_a_png_with_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    content = bytearray(png(37, 24, 8, 0, b"".join(b"\0" + row.tobytes() for row in GREY)))
    content[len(content) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(content)
    assert refused(tmp_path / "a.png") == "E_PICTURE_UNREADABLE"


@pytest.mark.parametrize(
    ("shape", "limits", "accepted"),
    [
        ((20, 30), Limits(picture_pixels=599), Limits(picture_pixels=600)),
        ((20, 30), Limits(picture_side=29), Limits(picture_side=30)),
        ((20, 30), Limits(picture_min_side=21), Limits(picture_min_side=20)),
        ((10, 30), Limits(picture_aspect=2), Limits(picture_aspect=3)),
    ],
)
def test_each_limit_holds_exactly(tmp_path: Path, shape: tuple[int, int], limits: Limits, accepted: Limits) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(np.zeros(shape, np.uint8)))
    assert read_picture(path, limits=accepted).pixels.shape == shape
    with pytest.raises(BudgetError):
        read_picture(path, limits=limits)


@pytest.mark.parametrize("side", [13_000, 30_000])
def test_a_png_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    row = b"\0" + bytes(-(-side // 8))
    (tmp_path / "a.png").write_bytes(png(side, side, 1, 0, row * 100))
    start = time.perf_counter()
    assert refused(tmp_path / "a.png") == "E_PICTURE_LIMIT"
    assert time.perf_counter() - start < 0.5


def test_pillows_own_switch_for_truncated_files_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", True)
    path = saved(tmp_path / "a.jpg", Image.fromarray(COLOUR))
    path.write_bytes(path.read_bytes()[:-100])
    assert refused(path) == "E_PICTURE_UNREADABLE"


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    assert refused(tmp_path if kind == "folder" else tmp_path / "a.png") == "E_PICTURE_UNREADABLE"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "bmp", "webp"])
def test_no_byte_flip_raises_anything_untyped(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(COLOUR))
    content, draw = path.read_bytes(), np.random.default_rng(0)
    for _ in range(120):
        broken = bytearray(content)
        for place in draw.integers(0, min(len(content), 300), size=2):
            broken[place] = draw.integers(256)
        path.write_bytes(broken)
        assert outcome(path)


def outcome(path: Path) -> NDArray[Any] | str:
    try:
        return str(read_picture(path).pixels.shape)
    except MedvoxError as error:
        return error.code
