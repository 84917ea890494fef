"""encode/images.py: padding and resizing, and boxes from the model's numbers back to the source."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from medvox.data.square import Square
from medvox.encode.images import Origin, recipe_hash, square_rgb
from medvox.encode.xray import XRAY_MEDGEMMA_1_5
from medvox.parse.boxes import parse_boxes


def as_answer(square: Square, box: tuple[float, float, float, float]) -> str:
    """What a model would write for a box of the picture: whole numbers 0..1000 of the padded square, y first."""
    x0, y0, x1, y1 = (round(value * 1000 / square.side) for value in square.to_square(box))
    return f'[{{"box_2d": [{y0}, {x0}, {y1}, {x1}], "label": "x"}}]'


def random_case(draw: random.Random, longest: int) -> tuple[Square, tuple[float, float, float, float]]:
    """A picture size, and a box in it that is wide enough to have a size in thousandths of the square."""
    square = Square(rows=draw.randint(8, longest), columns=draw.randint(8, longest))
    step = square.side / 500
    x0 = draw.uniform(0, max(0.0, square.columns - step))
    y0 = draw.uniform(0, max(0.0, square.rows - step))
    return square, (x0, y0, draw.uniform(x0 + step, square.columns), draw.uniform(y0 + step, square.rows))


@pytest.mark.parametrize(("longest", "cases"), [(2000, 1000), (16_384, 1000)])
def test_boxes_come_back_through_the_models_numbers_within_half_a_thousandth(longest: int, cases: int) -> None:
    draw = random.Random(0)
    done = 0
    while done < cases:
        square, box = random_case(draw, longest)
        if box[0] >= box[2] or box[1] >= box[3]:  # the picture is narrower than the smallest box
            continue
        (raw,) = parse_boxes(as_answer(square, box))
        error = max(abs(found - true) for found, true in zip(raw.to_picture(square), box, strict=True))
        assert error <= square.side / 2000 + 1e-9
        assert error <= max(1, math.ceil(square.side / 2000))
        done += 1


def test_boxes_on_patches_come_back_to_the_slide() -> None:
    draw = random.Random(1)
    for _ in range(1000):
        square, scale = Square(rows=896, columns=896), draw.choice([1.0, 2.0, 4.0, 16.0])
        corner = (draw.uniform(0, 1e5), draw.uniform(0, 1e5))
        origin = Origin(source=0, index=3, square=square, corner_xy=corner, scale=scale)
        x0, y0 = draw.uniform(0, 800), draw.uniform(0, 800)
        inside = (x0, y0, draw.uniform(x0 + 2, 896), draw.uniform(y0 + 2, 896))
        true = tuple(corner[place % 2] + scale * value for place, value in enumerate(inside))
        (raw,) = parse_boxes(as_answer(square, inside))
        found = origin.to_source(tuple(value * 896 / 1000 for value in (raw.x0, raw.y0, raw.x1, raw.y1)))
        assert max(abs(one - other) for one, other in zip(found, true, strict=True)) <= scale * 896 / 2000 + 1e-6


def test_a_box_around_a_marked_pixel_finds_it_in_the_prepared_picture_and_in_the_source() -> None:
    draw = random.Random(2)
    for _ in range(50):
        rows, columns = draw.randint(40, 300), draw.randint(40, 300)
        top, left = draw.randint(0, rows - 20), draw.randint(0, columns - 20)
        pixels = np.zeros((rows, columns), np.uint8)
        pixels[top : top + 20, left : left + 20] = 255
        image, square = square_rgb(pixels, 1000)
        bright = np.argwhere(image[:, :, 0] > 127)
        (y0, x0), (y1, x1) = bright.min(axis=0), bright.max(axis=0) + 1
        answer = f'[{{"box_2d": [{y0}, {x0}, {y1}, {x1}], "label": "mark"}}]'
        found = parse_boxes(answer)[0].to_picture(square)
        assert found == pytest.approx((left, top, left + 20, top + 20), abs=1)


def test_padding_is_black_and_the_picture_keeps_its_colours() -> None:
    pixels = np.full((4, 10, 3), (10, 20, 30), np.uint8)
    image, square = square_rgb(pixels, 10)
    assert square == Square(rows=4, columns=10)
    assert np.array_equal(image[3:7], pixels)
    assert not image[:3].any()
    assert not image[7:].any()


def test_a_recipe_hash_is_sixteen_hex_digits_of_all_fields() -> None:
    digits = recipe_hash(XRAY_MEDGEMMA_1_5)
    assert len(digits) == 16
    assert int(digits, 16) >= 0
