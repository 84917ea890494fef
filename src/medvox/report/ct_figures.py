"""Pictures for an answer about a CT volume: the slices with boxes, and everything the model was shown.

Last step of the path. It is handed the slices as colours and knows no window, no preset and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from medvox.data.affine import side_letters
from medvox.data.results import Box
from medvox.data.square import BoxXyxy
from medvox.data.volume import Volume
from medvox.report.figures import Figure, LabelledBox, draw_slice, montage
from medvox.types import RgbImages


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """Where a planted finding really is: slice of the volume -> box in pixels of the slice."""

    label: str
    boxes: dict[int, BoxXyxy] = field(default_factory=dict)


NO_TRUTH = Truth(label="")


def ct_figures(
    volume: Volume, shown: RgbImages, used: Sequence[int], boxes: Sequence[Box], truth: Truth = NO_TRUTH
) -> list[Figure]:
    """The slices that carry a box (or the middle one), then all slices.

    Args:
        volume: the scan, for positions and directions.
        shown: (N, R, C, 3) uint8, the slices as the model's colours, at the volume's own resolution.
        used: slice of the volume behind each of them.
        boxes: what the model located.
        truth: what is known to be there.
    """
    largest = max(truth.boxes, key=lambda index: _area(truth.boxes[index]), default=None)
    marked = {shown_number(box) for box in boxes} | {used.index(index) + 1 for index in [largest] if index in used}
    figures = []
    for number in sorted(marked) or [len(used) // 2 + 1]:
        index = used[number - 1]
        drawn: list[LabelledBox] = [
            (box.label, box.box_xyxy, "prediction") for box in boxes if shown_number(box) == number
        ]
        if index in truth.boxes:
            drawn.append((truth.label, truth.boxes[index], "target"))
        caption = f"SLICE {number}: slice {index + 1} of the volume, at {volume.slice_positions_mm[index]:.1f} mm"
        picture = draw_slice(shown[number - 1], drawn, side_letters(volume.affine_lps))
        figures.append(Figure(caption=caption, png=picture))
    caption = "All slices as the model read them, in order; red, green and blue are the three CT windows"
    return [*figures, Figure(caption=caption, png=montage(shown), wide=True)]


def shown_number(box: Box) -> int:
    """The number (from 1) in a box's ``SLICE n``."""
    return int(box.image.removeprefix("SLICE "))


def _area(box: BoxXyxy) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
