"""Two texts -> their alignment as lines for a terminal: what was said, what was heard, and a mark under each error.

After ``score/alignment``. Knows no file and no terminal; the caller decides on colour and width.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medvox.score.alignment import Counts, Edit, Step, align, count

WIDTH = 100
MIN_WIDTH = 20
_LABELS = ("REF: ", "HYP: ", "     ")
_MARKS = {Edit.CORRECT: "", Edit.SUBSTITUTION: "S", Edit.DELETION: "D", Edit.INSERTION: "I"}
_COLOURS = {Edit.SUBSTITUTION: "\x1b[33m", Edit.DELETION: "\x1b[31m", Edit.INSERTION: "\x1b[36m"}
_PLAIN = "\x1b[0m"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Column:
    """One aligned word: the cells of the three lines, all ``width`` wide when padded."""

    cells: tuple[str, str, str]
    width: int
    edit: Edit


def render_diff(reference: str, hypothesis: str, *, colour: bool, width: int = WIDTH) -> str:
    """Rows of three lines: reference, hypothesis, and S, D or I under what was replaced, left out or added.

    A row without errors has no third line. Words are compared as they stand: normalise both texts first. Control
    characters are shown as �, so that a text cannot steer the terminal.

    Args:
        reference: what was said.
        hypothesis: what was heard.
        colour: mark errors by ANSI colours too.
        width: columns of the terminal; a longer word takes a row of its own. At least 20 are used.

    Returns:
        Lines without a final newline; empty if both texts are.
    """
    wanted, heard = _shown(reference), _shown(hypothesis)
    columns = [_column(step, wanted, heard) for step in align(reference.split(), hypothesis.split())]
    rows = ("\n".join(filter(None, _lines(row, colour))) for row in _rows(columns, max(width, MIN_WIDTH)))
    return "\n\n".join(rows)


def summary(counts: Counts) -> str:
    """One line below a difference, such as ``WER 25.0 % of 8 words (1 replaced, 0 left out, 1 added)``."""
    rate = f"{100 * counts.rate:.1f} %" if counts.reference_tokens else "undefined"
    kinds = f"{counts.substitutions} replaced, {counts.deletions} left out, {counts.insertions} added"
    return f"WER {rate} of {counts.reference_tokens} words ({kinds})"


def compared(reference: str, hypothesis: str) -> Counts:
    """The word counts of two normalised texts."""
    return count(align(reference.split(), hypothesis.split()))


def _shown(text: str) -> list[str]:
    return ["".join("�" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in word) for word in text.split()]


def _column(step: Step, reference: Sequence[str], hypothesis: Sequence[str]) -> _Column:
    said = "" if step.reference is None else reference[step.reference]
    heard = "" if step.hypothesis is None else hypothesis[step.hypothesis]
    width = max(1, _width(said), _width(heard))
    cells = (said or "*" * width, heard or "*" * width, _MARKS[step.edit])
    return _Column(cells=cells, width=width, edit=step.edit)


def _rows(columns: Sequence[_Column], width: int) -> Iterator[list[_Column]]:
    row: list[_Column] = []
    used = len(_LABELS[0])
    for column in columns:
        if row and used + column.width > width:
            yield row
            row, used = [], len(_LABELS[0])
        row.append(column)
        used += column.width + 1
    if row:
        yield row


def _lines(row: Sequence[_Column], colour: bool) -> Iterator[str]:
    for line, label in enumerate(_LABELS):
        cells = []
        for column in row:
            text = column.cells[line]
            padding = " " * (column.width - _width(text))
            painted = f"{_COLOURS[column.edit]}{text}{_PLAIN}" if colour and text and column.edit in _COLOURS else text
            cells.append(painted + padding)
        yield (label + " ".join(cells)).rstrip()


def _width(text: str) -> int:
    """Columns on a terminal: wide letters take two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)
