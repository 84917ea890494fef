"""Writing drawn by Pillow is found, ordinary pictures are left alone. For rates see benchmarks/burned_in_text.py."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medvox.data.burned_in import written_lines

Grey = NDArray[np.uint8]


def ground(level: int, size: tuple[int, int] = (256, 256), *, noise: float = 4.0) -> Grey:
    return np.random.default_rng(2).normal(level, noise, size).clip(0, 255).astype(np.uint8)


def with_text(picture: Grey, text: str, *, size: int, fill: int, at: tuple[int, int] = (10, 30)) -> Grey:
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text(at, text, fill=fill, font=ImageFont.load_default(size=size))
    return np.asarray(image)


@pytest.mark.parametrize("size", [11, 14, 18, 24])
@pytest.mark.parametrize(("level", "fill"), [(0, 255), (40, 110), (200, 20), (128, 255)])
def test_a_name_and_date_is_found(size: int, level: int, fill: int) -> None:
    assert written_lines(with_text(ground(level), "SMITH 1957-03-12", size=size, fill=fill))


def test_large_writing_on_a_large_picture_is_found() -> None:
    assert written_lines(with_text(ground(30, (600, 800)), "DOE, JANE", size=48, fill=240))


def test_the_box_is_where_the_writing_is() -> None:
    line = written_lines(with_text(ground(20), "SMITH 1957", size=18, fill=255, at=(40, 120)))[0]
    assert 36 <= line.left <= 48
    assert 118 <= line.top <= 128
    assert line.bottom <= 145
    assert line.glyphs >= 4


@pytest.mark.parametrize("level", [0, 60, 128, 255])
def test_noise_is_no_writing(level: int) -> None:
    assert written_lines(ground(level, noise=12.0)) == ()


def test_a_single_side_marker_is_not_reported() -> None:
    assert written_lines(with_text(ground(20), "L", size=24, fill=255)) == ()


def test_a_grid_of_dots_is_no_writing() -> None:
    picture = np.zeros((200, 200), np.uint8)
    for row in range(20, 180, 40):
        for column in range(20, 180, 24):
            picture[row : row + 10, column : column + 8] = 200
    assert written_lines(picture) == ()


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (12, 12)])
def test_tiny_pictures_are_no_trouble(shape: tuple[int, int]) -> None:
    assert written_lines(np.zeros(shape, np.uint8)) == ()


def test_real_pictures_raise_few_alarms(shared_data: Path) -> None:
    alarms = 0
    for name in ("nih_cxr", "brain_mri_tumour"):
        with zipfile.ZipFile(shared_data / "images" / name / "images.zip") as pictures:
            files = sorted(file for file in pictures.namelist() if not file.endswith("/"))[::40][:12]
            alarms += sum(
                bool(written_lines(np.asarray(Image.open(io.BytesIO(pictures.read(file))).convert("L"))))
                for file in files
            )
    assert alarms <= 1
