"""Zero-padding a picture to a square, and the way back for boxes.

``encode`` pads with it, ``parse`` and the verbs undo it. Source: the published MedGemma pre-processing puts half of the
missing rows or columns before the picture (rounded down) and the rest after it.
"""

from __future__ import annotations

from dataclasses import dataclass

BoxXyxy = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Square:
    """The square around a picture of ``rows`` x ``columns`` pixels."""

    rows: int
    columns: int

    @property
    def side(self) -> int:
        """Edge of the square in pixels of the picture."""
        return max(self.rows, self.columns)

    @property
    def top(self) -> int:
        """Rows of zeros before the picture."""
        return (self.side - self.rows) // 2

    @property
    def left(self) -> int:
        """Columns of zeros before the picture."""
        return (self.side - self.columns) // 2

    def to_square(self, box: BoxXyxy) -> BoxXyxy:
        """A box in pixels of the picture -> the same box in pixels of the square."""
        x0, y0, x1, y1 = box
        return x0 + self.left, y0 + self.top, x1 + self.left, y1 + self.top

    def to_picture(self, box: BoxXyxy) -> BoxXyxy:
        """A box in pixels of the square -> pixels of the picture, clipped to the picture."""
        x0, y0, x1, y1 = box
        return (
            min(max(x0 - self.left, 0.0), float(self.columns)),
            min(max(y0 - self.top, 0.0), float(self.rows)),
            min(max(x1 - self.left, 0.0), float(self.columns)),
            min(max(y1 - self.top, 0.0), float(self.rows)),
        )


def overlap(one: BoxXyxy, other: BoxXyxy) -> float:
    """Intersection over union of two boxes in the same order of corners."""
    sides = [max(0.0, min(one[k + 2], other[k + 2]) - max(one[k], other[k])) for k in (0, 1)]
    shared = sides[0] * sides[1]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared) if shared else 0.0
