"""Reference and hypothesis tokens -> the edits that lead from one to the other, and their counts.

First step of every error rate; ``score/wer`` and ``score/difference`` build on it. Knows no normaliser and no class of
words: a token is anything that can be compared and hashed.

The distance matrix is kept as bit vectors, one whole number for a row (Hyyrö 2003), so that two texts of 20,000 words
take about a second. Of the alignments with fewest edits the one of ``jiwer`` is chosen, so that substitutions,
deletions and insertions are its own too, not only their sum (for texts of many thousand tokens it may choose another).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum

BLOCK_ROWS = 256  # rows of the matrix that are held at once while the way back is found

Rows = tuple[int, int]  # where the distance rises and where it falls along the reference, a bit for each of its tokens


class Edit(StrEnum):
    """What became of a token."""

    CORRECT = "correct"
    SUBSTITUTION = "substitution"
    DELETION = "deletion"
    INSERTION = "insertion"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of an alignment: places in the reference and in the hypothesis; None where there is no token."""

    edit: Edit
    reference: int | None
    hypothesis: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Tokens by what became of them. Counts of several utterances can be added."""

    correct: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """All edits."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_tokens(self) -> int:
        """Length of the reference."""
        return self.correct + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Errors per reference token; for an empty reference the number of insertions, as ``jiwer`` has it."""
        return self.errors / self.reference_tokens if self.reference_tokens else float(self.insertions)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            correct=self.correct + other.correct,
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
        )


def align(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> list[Step]:
    """The alignment with fewest edits, in the order of the texts."""
    start = _equal_from_start(reference, hypothesis)
    end = _equal_from_start(reference[start:][::-1], hypothesis[start:][::-1])
    reference_end, hypothesis_end = len(reference) - end, len(hypothesis) - end
    middle = _edits(reference[start:reference_end], hypothesis[start:hypothesis_end])
    steps = [Step(edit=Edit.CORRECT, reference=place, hypothesis=place) for place in range(start)]
    row = column = start
    for edit in middle:
        steps.append(
            Step(
                edit=edit,
                reference=None if edit is Edit.INSERTION else column,
                hypothesis=None if edit is Edit.DELETION else row,
            )
        )
        column += edit is not Edit.INSERTION
        row += edit is not Edit.DELETION
    steps += (
        Step(edit=Edit.CORRECT, reference=reference_end + place, hypothesis=hypothesis_end + place)
        for place in range(end)
    )
    return steps


def count(steps: Sequence[Step]) -> Counts:
    """The counts of an alignment."""
    edits = [step.edit for step in steps]
    return Counts(
        correct=edits.count(Edit.CORRECT),
        substitutions=edits.count(Edit.SUBSTITUTION),
        deletions=edits.count(Edit.DELETION),
        insertions=edits.count(Edit.INSERTION),
    )


def _equal_from_start(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))


def _edits(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> list[Edit]:
    """The way back through the matrix; its rows are made again block by block, which keeps memory small."""
    masks: dict[Hashable, int] = {}
    for place, token in enumerate(reference):
        masks[token] = masks.get(token, 0) | (1 << place)
    full = (1 << len(reference)) - 1
    row, column = len(hypothesis), len(reference)
    starts: list[Rows] = [(full, 0)]  # the row before each block
    for first in range(0, row, BLOCK_ROWS):
        starts.append(_rows(masks, full, starts[-1], hypothesis[first : first + BLOCK_ROWS])[-1])
    edits: list[Edit] = []
    block, rows = -1, [starts[0]]
    while row and column:
        if (row - 1) // BLOCK_ROWS != block:
            block = (row - 1) // BLOCK_ROWS
            first = block * BLOCK_ROWS
            rows = _rows(masks, full, starts[block], hypothesis[first : first + BLOCK_ROWS])
        here = row - block * BLOCK_ROWS
        if rows[here][0] >> (column - 1) & 1:
            edits.append(Edit.DELETION)
            column -= 1
            continue
        row -= 1
        if rows[here - 1][1] >> (column - 1) & 1:
            edits.append(Edit.INSERTION)
            continue
        column -= 1
        edits.append(Edit.CORRECT if reference[column] == hypothesis[row] else Edit.SUBSTITUTION)
    edits += [Edit.DELETION] * column + [Edit.INSERTION] * row
    return edits[::-1]


def _rows(masks: dict[Hashable, int], full: int, before: Rows, tokens: Sequence[Hashable]) -> list[Rows]:
    """``before`` and the row after each token of the hypothesis."""
    rises, falls = before
    rows = [before]
    for token in tokens:
        equal = masks.get(token, 0)
        same = ((((equal & rises) + rises) ^ rises) | equal | falls) & full
        up = falls | (full & ~(same | rises))
        down = same & rises
        up, down = (up << 1 | 1) & full, down << 1 & full
        rises, falls = down | (full & ~(same | up)), up & same
        rows.append((rises, falls))
    return rows
