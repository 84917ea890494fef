"""Boxes in a model's answer -> pixels of the picture it saw. The only place that knows another box order than xyxy.

Stage four of the path. MedGemma writes ``{"box_2d": [y0, x0, y1, x1], "label": ...}`` in a JSON list, 0 to 1000 of the
square that the picture was padded to. Our volume prompt adds ``"slice"``, the number of the slice as shown.
Source: the published chest X-ray localisation notebook (the report's range 0..1 is a slip).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from medvox.data.square import BoxXyxy, Square
from medvox.errors import ParseError


@dataclass(frozen=True, kw_only=True, slots=True)
class RawBox:
    """A box as the model wrote it: 0..1000 of the padded square, on picture number ``slice`` (from 1) if it said so."""

    label: str
    y0: float
    x0: float
    y1: float
    x1: float
    slice: int | None

    def to_picture(self, square: Square) -> BoxXyxy:
        """(x0, y0, x1, y1) in pixels of the picture before padding."""
        scale = square.side / 1000
        return square.to_picture((self.x0 * scale, self.y0 * scale, self.x1 * scale, self.y1 * scale))


def parse_boxes(final: str | None) -> list[RawBox]:
    """Boxes of a final answer; an empty list when it holds an empty JSON list.

    Raises:
        ParseError: no JSON list, or an item that is not a box. Nothing is guessed or repaired.
    """
    text = final or ""
    start, end = text.find("["), text.rfind("]")
    if start < 0 or end < start:
        raise _broken("no JSON list")
    try:
        items = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        raise _broken("the JSON cannot be read") from None
    return [_box(item) for item in items]


def _box(item: Any) -> RawBox:
    if not isinstance(item, dict) or not isinstance(item.get("label"), str):
        raise _broken("an item has no label")
    numbers = item.get("box_2d")
    if not isinstance(numbers, list) or len(numbers) != 4 or not all(_is_number(value) for value in numbers):
        raise _broken("box_2d does not have four numbers")
    y0, x0, y1, x1 = (float(value) for value in numbers)
    if not (0 <= y0 < y1 <= 1000 and 0 <= x0 < x1 <= 1000):
        raise _broken("box_2d is not an ordered box within 0..1000")
    place = item.get("slice")
    if place is not None and (not isinstance(place, int) or isinstance(place, bool) or place < 1):
        raise _broken("slice is not a number from 1")
    return RawBox(label=item["label"], y0=y0, x0=x0, y1=y1, x1=x1, slice=place)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _broken(what: str) -> ParseError:
    return ParseError(
        f"the model's answer does not hold boxes in the promised form: {what}",
        fix="Read the raw text in the receipt; ask again, or with a larger --max-new-tokens.",
        code="E_PARSE_BOXES",
    )
