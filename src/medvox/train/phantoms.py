"""Generated CT scans as arrays on disk, made once and then read at random by the vision-language training.

The pictures are made by the same ``encode`` code as for real scans. A shard holds the slices of many cases one after
the other, so that any run of slices of one case can be cut out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medvox.encode.ct import prepare_ct
from medvox.synth.ct import REGIONS, CtCase, generate_ct
from medvox.synth.findings import FINDINGS
from medvox.types import Progress, no_progress


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomSet:
    """Many cases as arrays; L slices in all, P patches a slice.

    Attributes:
        images: (L, size, size, 3) uint8.
        organs: (L, P) uint8, the commonest ``Organ`` in each patch.
        lesions: (L, P) uint8, bit k set where finding k covers at least 3 % of the patch.
        boxes: (L, findings, 4) float32, y0 x0 y1 x1 in 0..1 of the square; NaN where the slice has none.
        regions: (cases,) index in ``REGIONS``.
        starts: (cases + 1,) first slice of each case.
    """

    images: NDArray[np.uint8]
    organs: NDArray[np.uint8]
    lesions: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    regions: NDArray[np.int64]
    starts: NDArray[np.int64]

    @property
    def slice_regions(self) -> NDArray[np.int64]:
        """(L,) region of the case that each slice belongs to."""
        return np.repeat(self.regions, np.diff(self.starts))

    def first(self, cases: int) -> PhantomSet:
        """The set of the first ``cases`` cases."""
        end = int(self.starts[cases])
        return PhantomSet(
            images=self.images[:end],
            organs=self.organs[:end],
            lesions=self.lesions[:end],
            boxes=self.boxes[:end],
            regions=self.regions[:cases],
            starts=self.starts[: cases + 1],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomPlan:
    """Which cases a set holds: seeds ``first_seed`` to ``first_seed + cases - 1``; keep the sets' seeds apart.

    ``slices`` bounds the number of slices of a case; None leaves it to ``generate_ct``.
    """

    first_seed: int
    cases: int
    slices: tuple[int, int] | None = None


def phantom_set(
    folder: Path, plan: PhantomPlan, *, size: int, patch: int, progress: Progress = no_progress
) -> PhantomSet:
    """Open the set in ``folder``, generating it first when it is not there.

    Args:
        folder: one folder a set.
        plan: the cases.
        size: edge of the pictures, pixels.
        patch: edge of a patch, pixels.
        progress: told after each case.
    """
    names = ("images", "organs", "lesions", "boxes", "regions", "starts")
    if not (folder / "starts.npy").exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows: list[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32], int]] = []
        counts = np.random.default_rng(plan.first_seed)
        for index in range(plan.cases):
            slices = None if plan.slices is None else int(counts.integers(plan.slices[0], plan.slices[1] + 1))
            rows.append(_case_arrays(generate_ct(plan.first_seed + index, slices=slices), size, patch))
            progress("generating phantoms", index + 1, plan.cases)
        for place, name in enumerate(names[:4]):
            np.save(folder / f"{name}.npy", np.concatenate([row[place] for row in rows]))
        np.save(folder / "regions.npy", np.array([row[4] for row in rows], np.int64))
        np.save(folder / "starts.npy", np.cumsum([0] + [len(row[0]) for row in rows]))
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r" if name == "images" else None) for name in names}
    return PhantomSet(**arrays)


def _case_arrays(
    case: CtCase, size: int, patch: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32], int]:
    images = prepare_ct(case.volume, size=size).images
    count, rows, _ = case.volume.voxels.shape
    nearest = ((np.arange(size) + 0.5) * rows / size).astype(int)
    organs = case.organs[:, nearest][:, :, nearest]
    lesions = case.lesions[:, nearest][:, :, nearest]
    grid = size // patch

    def patches(stack: NDArray[np.bool_]) -> NDArray[np.float64]:
        cut = stack.reshape(count, grid, patch, grid, patch).mean((2, 4))
        return cut.reshape(count, grid * grid)

    share = np.stack([patches(organs == organ) for organ in range(12)], -1)  # (L, P, organs)
    bits = np.zeros((count, grid * grid), np.uint8)
    boxes = np.full((count, len(FINDINGS), 4), np.nan, np.float32)
    for number, name in enumerate(FINDINGS):
        bits |= (patches(lesions == number) >= 0.03).astype(np.uint8) << number
        for index, (x0, y0, x1, y1) in case.boxes.get(name, {}).items():
            boxes[index, number] = np.array([y0, x0, y1, x1], np.float32) / rows
    return images, share.argmax(-1).astype(np.uint8), bits, boxes, REGIONS.index(case.region)
