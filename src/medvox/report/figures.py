"""Pictures for a report: slices with boxes and orientation letters, and a montage of what the model was shown.

Used by the verbs; ``report/html.py`` embeds the result. Takes finished pixels and draws on copies of them; knows no
window, no volume and no model.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medvox.data.affine import SideLetters

BoxKind = Literal["prediction", "target"]
LabelledBox = tuple[str, tuple[float, float, float, float], BoxKind]  # label, xyxy in pixels of the slice, kind
RgbImage = NDArray[np.uint8]  # (H, W, 3)
Point = tuple[float, float]

COLOURS: dict[BoxKind, str] = {"prediction": "#ffb224", "target": "#4cc9f0"}
NORMAL_EDGE_PX = 512  # much smaller slices are enlarged by a whole factor; lines and letters are sized for this edge
LINE_PX, DASH_PX, LETTER_PX, LABEL_PX = 3, 9, 22, 15
THUMBNAIL_PX, GAP_PX, MAX_COLUMNS = 176, 4, 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A picture of a report: PNG bytes and what they show. ``wide`` pictures get the full width of the page."""

    caption: str
    png: bytes
    wide: bool = False


def draw_slice(rgb: RgbImage, boxes: Sequence[LabelledBox] = (), letters: SideLetters | None = None) -> bytes:
    """Draw one slice with its boxes: predictions solid, targets (known truth) dashed.

    Args:
        rgb: (H, W, 3) uint8, row 0 on top.
        boxes: (label, (x0, y0, x1, y1) in pixels of the slice, kind).
        letters: what the edges point to, from ``data.affine.side_letters``.

    Returns:
        A PNG; small slices are enlarged by a whole factor without smoothing.
    """
    height, width = rgb.shape[:2]
    scale = max(1, round(NORMAL_EDGE_PX / max(height, width)))
    picture = Image.fromarray(np.ascontiguousarray(rgb)).resize(
        (width * scale, height * scale), Image.Resampling.NEAREST
    )
    pen = _Pen(draw=ImageDraw.Draw(picture), width=picture.width, height=picture.height)
    for label, (x0, y0, x1, y1), kind in sorted(boxes, key=lambda box: box[2] == "prediction"):
        corners = (x0 * scale, y0 * scale, x1 * scale, y1 * scale)
        _draw_box(pen, corners, COLOURS[kind], dashed=kind == "target")
        _draw_label(pen, corners, label, COLOURS[kind], above=kind == "prediction")
    if letters:
        _draw_letters(pen, letters)
    return _png(picture)


def montage(images: Sequence[RgbImage] | NDArray[np.uint8], names: Sequence[str] | None = None) -> bytes:
    """Small pictures side by side, in reading order, each with its name.

    Args:
        images: pictures (H, W, 3) uint8 of one shape.
        names: what is written on each; their numbers from 1 when absent.
    """
    names = [str(number) for number in range(1, len(images) + 1)] if names is None else names
    columns = _columns(len(images))
    rows = math.ceil(len(images) / columns)
    height, width = images[0].shape[:2]
    shrink = THUMBNAIL_PX / max(height, width)
    cell = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    sheet = Image.new("RGB", (columns * (cell[0] + GAP_PX) - GAP_PX, rows * (cell[1] + GAP_PX) - GAP_PX), "#14171c")
    pen = ImageDraw.Draw(sheet)
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        x, y = (number % columns) * (cell[0] + GAP_PX), (number // columns) * (cell[1] + GAP_PX)
        sheet.paste(Image.fromarray(np.ascontiguousarray(image)).resize(cell, Image.Resampling.BOX), (x, y))
        pen.text((x + 5, y + 2), name, fill="white", font=_font(13), stroke_width=2, stroke_fill="black")
    return _png(sheet)


def _columns(count: int) -> int:
    """Columns of a sheet that is wider than high, with as few empty places as possible."""
    wanted = math.sqrt(count * 1.8)
    choices = range(math.ceil(math.sqrt(count)), max(math.ceil(math.sqrt(count)), min(count, MAX_COLUMNS)) + 1)
    return min(choices, key=lambda columns: (-count % columns, abs(columns - wanted)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pen:
    """Where to draw, and how large: everything grows with the picture."""

    draw: ImageDraw.ImageDraw
    width: int
    height: int

    def px(self, normal: float) -> int:
        """A length that is meant for a picture of the normal size, in pixels of this one."""
        return max(1, round(normal * max(self.width, self.height) / NORMAL_EDGE_PX))


def _draw_box(pen: _Pen, corners: tuple[float, ...], colour: str, *, dashed: bool) -> None:
    """A rectangle with a dark rim, so that it shows on light and on dark tissue."""
    x0, y0, x1, y1 = corners
    round_trip = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    for ink, thickness in (("black", LINE_PX + 2), (colour, LINE_PX)):
        for start, end in pairwise(round_trip):
            for piece in _dashes(start, end, pen.px(DASH_PX)) if dashed else [(start, end)]:
                pen.draw.line(piece, fill=ink, width=pen.px(thickness))


def _dashes(start: Point, end: Point, dash: int) -> Iterator[tuple[Point, Point]]:
    count = max(1, round(math.dist(start, end) / (2 * dash)))
    for number in range(count):
        yield _between(start, end, number / count), _between(start, end, (number + 0.55) / count)


def _between(start: Point, end: Point, share: float) -> Point:
    return (start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share)


def _draw_label(pen: _Pen, corners: tuple[float, ...], label: str, colour: str, *, above: bool) -> None:
    """The label on a dark tag, above the box or below it, kept inside the picture."""
    if not label:
        return
    font, rim = _font(pen.px(LABEL_PX)), pen.px(4)
    left, top, right, bottom = pen.draw.textbbox((0, 0), label, font=font)
    width, height = right - left + 2 * rim, bottom - top + 2 * rim
    y = corners[1] - height - pen.px(LINE_PX) if above else corners[3] + pen.px(LINE_PX)
    x, y = min(max(corners[0], 0), pen.width - width), min(max(y, 0), pen.height - height)
    pen.draw.rectangle((x, y, x + width, y + height), fill="black")
    pen.draw.text((x + rim - left, y + rim - top), label, fill=colour, font=font)


def _draw_letters(pen: _Pen, letters: SideLetters) -> None:
    font, margin = _font(pen.px(LETTER_PX)), pen.px(8)
    places = (
        (letters.left, (margin, pen.height / 2), "lm"),
        (letters.right, (pen.width - margin, pen.height / 2), "rm"),
        (letters.top, (pen.width / 2, margin), "mt"),
        (letters.bottom, (pen.width / 2, pen.height - margin), "mb"),
    )
    for letter, place, anchor in places:
        pen.draw.text(place, letter, fill="white", font=font, anchor=anchor, stroke_width=2, stroke_fill="black")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
