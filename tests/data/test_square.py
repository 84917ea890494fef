"""data/square.py: padding and its inverse."""

from __future__ import annotations

import random

import pytest

from medvox.data.square import Square, overlap


def test_boxes_come_back_to_the_picture() -> None:
    draw = random.Random(0)
    for _ in range(1000):
        square = Square(rows=draw.randint(1, 3000), columns=draw.randint(1, 3000))
        x0, y0 = draw.uniform(0, square.columns), draw.uniform(0, square.rows)
        box = (x0, y0, draw.uniform(x0, square.columns), draw.uniform(y0, square.rows))
        assert square.to_picture(square.to_square(box)) == pytest.approx(box, abs=1e-9)


def test_the_smaller_half_of_the_padding_comes_first() -> None:
    assert (Square(rows=4, columns=9).top, Square(rows=9, columns=4).left) == (2, 2)


def test_what_lies_in_the_padding_is_clipped_to_the_picture() -> None:
    assert Square(rows=4, columns=8).to_picture((-5, 0, 20, 8)) == (0, 0, 8, 4)


def test_overlap_of_boxes() -> None:
    assert overlap((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert overlap((0, 0, 1, 1), (2, 2, 3, 3)) == 0
    assert overlap((0, 0, 1, 1), (0, 0, 1, 1)) == 1
