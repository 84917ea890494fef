"""parse/boxes.py: the published box form, and refusal of everything else."""

from __future__ import annotations

import json
import random

import pytest

from medvox.data.square import Square
from medvox.errors import ParseError
from medvox.parse.boxes import parse_boxes

GOOD = '```json\n[{"box_2d": [100, 200, 300, 400], "label": "right clavicle"}]\n```'


def test_order_is_y_before_x() -> None:
    box = parse_boxes(GOOD)[0]
    assert (box.y0, box.x0, box.y1, box.x1, box.slice) == (100, 200, 300, 400, None)


def test_a_box_returns_to_the_picture_before_padding() -> None:
    box = parse_boxes('[{"slice": 3, "box_2d": [250, 0, 750, 500], "label": "lesion"}]')[0]
    assert box.to_picture(Square(rows=50, columns=100)) == (0, 0, 50, 50)
    assert box.slice == 3


def test_boxes_round_trip_through_thousandths_within_a_pixel() -> None:
    draw = random.Random(1)
    for _ in range(1000):
        square = Square(rows=draw.randint(16, 900), columns=draw.randint(16, 900))
        x0, y0 = draw.uniform(0, square.columns - 3), draw.uniform(0, square.rows - 3)
        box = (x0, y0, draw.uniform(x0 + 3, square.columns), draw.uniform(y0 + 3, square.rows))
        x0, y0, x1, y1 = (round(value / square.side * 1000) for value in square.to_square(box))
        text = json.dumps([{"box_2d": [y0, x0, y1, x1], "label": "a"}])
        assert parse_boxes(text)[0].to_picture(square) == pytest.approx(box, abs=1)


def test_an_empty_list_is_no_boxes() -> None:
    assert parse_boxes("```json\n[]\n```") == []


@pytest.mark.parametrize(
    "final",
    [
        None,
        "upper left",
        "[",
        "[1, 2, 3, 4]",
        '[{"box_2d": [1, 2, 3], "label": "a"}]',
        '[{"box_2d": [1, 2, 3, 4]}]',
        '[{"box_2d": [3, 2, 1, 4], "label": "a"}]',
        '[{"box_2d": [0, 0, 1, 1001], "label": "a"}]',
        '[{"box_2d": [0, 0, 1, true], "label": "a"}]',
        '[{"box_2d": [0, 0, NaN, 4], "label": "a"}]',
        '[{"box_2d": [1, 2, 3, 4], "label": "a", "slice": 0}]',
        "[" * 100_000 + "]",
    ],
)
def test_anything_else_is_an_error(final: str | None) -> None:
    with pytest.raises(ParseError) as caught:
        parse_boxes(final)
    assert caught.value.code == "E_PARSE_BOXES"
