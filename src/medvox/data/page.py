"""A page of a document: its words with boxes, and its text in reading order. Values and geometry; knows no format.

Filled by the readers behind ``document``; ``encode/page`` and the extraction use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from medvox.data.square import BoxXyxy

PageKind = Literal["text", "picture", "blank"]

POINTS_PER_INCH = 72
LINE_OVERLAP = 0.5  # of the lower of two words: more of it beside the other one puts both on one line
CELL_GAP = 1.5  # heights of the line: a gap this wide parts two cells
COLUMN_LINES = 6  # so many lines in a row must leave a gutter free to make two columns of it
COLUMN_FILL = 0.6  # of the width of a column: prose fills it, the cells of a table do not


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """A run of characters without white space.

    Attributes:
        text: its characters.
        box_pt: x0, y0, x1, y1 in points (1/72 inch) from the upper left corner of the page as it is shown.
        hidden: it cannot be seen on the page: invisible, in the colour of what it stands on, off the page, or tiny.
    """

    text: str
    box_pt: BoxXyxy
    hidden: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page.

    Attributes:
        number: from 1.
        kind: ``text`` (it has words that can be seen), ``picture`` (something is drawn, but the file says no words:
            scans, photographs, outlined letters) or ``blank``.
        size_pt: width and height in points as it is shown; one point per pixel for picture files; None for text that
            has no pages.
        words: in reading order, hidden ones among them.
        text: what can be seen, in reading order; cells of a line are parted by tabs.
    """

    number: int
    kind: PageKind
    size_pt: tuple[float, float] | None
    words: tuple[Word, ...]
    text: str


def in_reading_order(words: Iterable[Word]) -> list[list[Word]]:
    """Group words to lines, top to bottom, each from left to right; columns of prose one after the other.

    A table is read row by row. Words that stand upright (rotated by 90 degrees) come last, in the given order.
    """
    level: list[Word] = []
    upright: list[list[Word]] = []
    for word in words:
        width, height = _size(word)
        if len(word.text) > 2 and height > 2 * width:
            upright.append([word])
        else:
            level.append(word)
    return [line for block in _columns(_lines(level)) for line in block] + upright


def as_text(lines: Sequence[Sequence[Word]]) -> str:
    """The words that can be seen, one line per line; tabs where a gap parts two cells."""
    texts = []
    for line in lines:
        text, before = "", None
        wide = CELL_GAP * max((_size(word)[1] for word in line), default=0.0)
        for word in line:
            if word.hidden:
                continue
            if before is not None:
                text += "\t" if word.box_pt[0] - before.box_pt[2] > wide else " "
            text, before = text + word.text, word
        if text:
            texts.append(text)
    return "\n".join(texts)


def _size(word: Word) -> tuple[float, float]:
    x0, y0, x1, y1 = word.box_pt
    return x1 - x0, y1 - y0


def _lines(words: list[Word]) -> list[list[Word]]:
    lines: list[list[Word]] = []
    top = bottom = 0.0
    for word in sorted(words, key=lambda word: (word.box_pt[1] + word.box_pt[3]) / 2):
        y0, y1 = word.box_pt[1], word.box_pt[3]
        shared = min(y1, bottom) - max(y0, top)
        if lines and shared >= LINE_OVERLAP * min(y1 - y0, bottom - top):
            lines[-1].append(word)
            top, bottom = min(top, y0), max(bottom, y1)
        else:
            lines.append([word])
            top, bottom = y0, y1
    return [sorted(line, key=lambda word: word.box_pt[0]) for line in lines]


def _columns(lines: list[list[Word]]) -> list[list[list[Word]]]:
    """Blocks of lines in reading order: stretches of two columns of prose are split at their gutter."""
    blocks: list[list[list[Word]]] = [[]]
    place = 0
    while place < len(lines):
        gutter, end = _stretch(lines, place)
        if end - place >= COLUMN_LINES and _is_prose(lines[place:end], gutter):
            left = [[word for word in line if word.box_pt[2] <= gutter] for line in lines[place:end]]
            right = [[word for word in line if word.box_pt[0] >= gutter] for line in lines[place:end]]
            blocks += [[line for line in left if line], [line for line in right if line], []]
        else:
            end = max(end, place + 1)
            blocks[-1] += lines[place:end]
        place = end
    return [block for block in blocks if block]


def _stretch(lines: list[list[Word]], place: int) -> tuple[float, int]:
    """The widest gap of a line, and the first line after it that crosses the gap."""
    gaps = [
        (after.box_pt[0] - before.box_pt[2], before, after) for before, after in zip(lines[place], lines[place][1:])
    ]
    width, before, after = max(gaps, key=lambda gap: gap[0], default=(0.0, None, None))
    if before is None or after is None or width <= 0:
        return 0.0, place
    low, high = before.box_pt[2], after.box_pt[0]
    end = place
    while end < len(lines):
        left = max((word.box_pt[2] for word in lines[end] if word.box_pt[0] < (low + high) / 2), default=low)
        right = min((word.box_pt[0] for word in lines[end] if word.box_pt[0] >= (low + high) / 2), default=high)
        if min(high, right) - max(low, left) < 0.5 * _size(before)[1]:
            break
        low, high, end = max(low, left), min(high, right), end + 1
    return (low + high) / 2, end


def _is_prose(lines: list[list[Word]], gutter: float) -> bool:
    """Whether both sides of a gutter are filled with words, as columns of prose are and tables are not."""
    for side in (
        [[word for word in line if word.box_pt[2] <= gutter] for line in lines],
        [[word for word in line if word.box_pt[0] >= gutter] for line in lines],
    ):
        full = [line for line in side if line]
        if len(full) < COLUMN_LINES:
            return False
        width = max(line[-1].box_pt[2] for line in full) - min(line[0].box_pt[0] for line in full)
        shares = [sum(_size(word)[0] for word in line) / width for line in full] if width > 0 else [0.0]
        if median(shares) < COLUMN_FILL or median(len(line) for line in full) < 3:
            return False
    return True
