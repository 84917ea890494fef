"""Generated CT studies with known truth: which region, which findings, and the box of each finding on each slice.

Place in the path: makes a ``Volume`` like the DICOM reader does, plus the truth about it. It knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvox.data.volume import PHANTOM, Source, Volume
from medvox.synth.anatomy import HEAD_RANGE, TORSO_RANGES, draw_build, head, torso
from medvox.synth.findings import FINDINGS, REGION_OF, plant
from medvox.synth.solids import Grid, Organ, Solid, paint_slice
from medvox.types import Affine, Voxels

REGIONS = ("head", "chest", "abdomen", "pelvis")


@dataclass(frozen=True, kw_only=True, slots=True)
class CtCase:
    """A phantom scan and the truth about it.

    Attributes:
        volume: the scan.
        region: the region that fills most of it, one of ``REGIONS``.
        findings: names of the planted findings that are visible.
        boxes: finding -> {slice index: (x0, y0, x1, y1) in pixels of the slice, x1 and y1 past the end}.
        organs: (S, R, C) uint8, ``Organ`` of each voxel.
        lesions: (S, R, C) int8, number of the finding in ``FINDINGS`` or -1.
    """

    volume: Volume
    region: str
    findings: tuple[str, ...]
    boxes: dict[str, dict[int, tuple[int, int, int, int]]]
    organs: NDArray[np.uint8]
    lesions: NDArray[np.int8]


def generate_ct(
    seed: int, *, region: str | None = None, findings: tuple[str, ...] | None = None, slices: int | None = None
) -> CtCase:
    """One phantom scan; the same seed and choices give the same voxels.

    Args:
        seed: seeds everything about the case.
        region: one of ``REGIONS``; drawn when None.
        findings: what to plant; each finding of the region with probability one half when None.
        slices: number of slices; drawn between 6 and 32 when None.
    """
    rng = np.random.default_rng(seed)
    region = region or str(rng.choice(REGIONS))
    low, high = HEAD_RANGE if region == "head" else TORSO_RANGES[region]
    span, count = _scan_range(region, low, high, slices, rng)
    build = draw_build(rng)
    solids = head(rng) if region == "head" else torso(build, rng)
    if findings is None:
        findings = tuple(name for name in FINDINGS if REGION_OF[name] == region and rng.random() < 0.5)
    for name in findings:
        solids = solids + plant(name, solids, build, span, rng)
    solids = _furniture(region, build.b, rng) + solids
    half = 105.0 if region == "head" else build.a + 12
    size = int(rng.choice([128, 128, 144, 176]))
    centre_xy = (float(rng.normal(0, 0.06)) * half, float(rng.normal(0, 0.06)) * half)
    field = 2 * half * float(rng.uniform(0.92, 1.4))
    if rng.random() < 0.08:
        field *= float(rng.uniform(0.45, 0.85))
    grid = Grid(size=size, pixel_mm=field / size, centre_xy=centre_xy)
    return _scan(solids, span, count, grid, region, seed, rng)


def _scan_range(
    region: str, low: float, high: float, slices: int | None, rng: np.random.Generator
) -> tuple[tuple[float, float], int]:
    """The scanned heights: mostly inside the region, sometimes a little beyond, and the number of slices."""
    count = slices or int(rng.integers(6, 33))
    length = high - low
    covered = length * float(rng.uniform(0.35, 1.1))
    start = float(rng.uniform(low - 0.12 * length, high + 0.12 * length - covered))
    if region == "head":
        covered = min(covered, length)
        start = float(rng.uniform(low, high - covered))
    return (start, start + covered), count


def _furniture(region: str, b: float, rng: np.random.Generator) -> list[Solid]:
    """The table or the head holder: thin bright arcs below the body, sometimes none."""
    solids: list[Solid] = []
    if region == "head":
        if rng.random() < 0.7:
            hu = float(rng.uniform(-600, 200))
            solids.append(
                Solid(
                    centre=(0, 10, 0),
                    radii=(104, 118, 500),
                    hu=hu,
                    organ=Organ.AIR,
                    hollow=0.965,
                    power=2.6,
                    wedge=(0.05 * np.pi, 0.95 * np.pi),
                )
            )
        return solids
    for _ in range(int(rng.integers(0, 3))):
        y = b + float(rng.uniform(4, 45))
        solids.append(
            Solid(
                centre=(0, y - 150, 0),
                radii=(float(rng.uniform(180, 320)), 150, 2000),
                hu=float(rng.uniform(-700, 0)),
                organ=Organ.AIR,
                hollow=0.98,
                wedge=(0.1 * np.pi, 0.9 * np.pi),
            )
        )
    return solids


def _scan(
    solids: list[Solid],
    span: tuple[float, float],
    count: int,
    grid: Grid,
    region: str,
    seed: int,
    rng: np.random.Generator,
) -> CtCase:
    shape = (count, grid.size, grid.size)
    voxels, organs = np.empty(shape, np.int16), np.empty(shape, np.uint8)
    lesions = np.empty(shape, np.int8)
    positions = np.linspace(*span, count)
    sigma, smooth = float(np.exp(rng.uniform(0, np.log(24)))), float(rng.uniform(0.05, 0.6))
    for index, z in enumerate(positions):
        painted = paint_slice(solids, float(z), grid, rng)
        hu = _blur(painted.hu + sigma * rng.standard_normal(painted.hu.shape, dtype=np.float32), smooth)
        voxels[index] = np.clip(np.rint(hu), -1024, 3071)
        organs[index], lesions[index] = painted.organ, painted.finding
    turn = str(rng.choice(["supine", "prone", "mirrored"], p=[0.9, 0.06, 0.04]))
    affine = _affine(positions, grid, turn)
    voxels, organs, lesions = _turn(voxels, turn), _turn(organs, turn), _turn(lesions, turn)
    boxes = {name: _boxes(lesions == number) for number, name in enumerate(FINDINGS)}
    boxes = {name: found for name, found in boxes.items() if found}
    return CtCase(
        volume=_volume(voxels, affine, grid, seed),
        region=region,
        findings=tuple(boxes),
        boxes=boxes,
        organs=organs,
        lesions=lesions,
    )


def _turn(stack: NDArray[Any], turn: str) -> NDArray[Any]:
    """The stack as a prone patient (in-plane half turn) or a bottom-up raster (rows reversed, slices head to foot)."""
    if turn == "prone":
        return np.ascontiguousarray(stack[:, ::-1, ::-1])
    if turn == "mirrored":
        return np.ascontiguousarray(stack[::-1, ::-1, :])
    return stack


def _affine(positions: NDArray[np.float64], grid: Grid, turn: str) -> Affine:
    """Index (slice, row, column) to LPS mm after ``_turn``."""
    step = float(positions[1] - positions[0]) if len(positions) > 1 else 5.0
    corner = np.array(grid.centre_xy) - grid.pixel_mm * (grid.size - 1) / 2
    affine = np.array(
        [[0, 0, grid.pixel_mm, corner[0]], [0, grid.pixel_mm, 0, corner[1]], [step, 0, 0, positions[0]], [0, 0, 0, 1]],
        np.float64,
    )
    last = {"supine": (), "prone": ((1, grid.size), (2, grid.size)), "mirrored": ((0, len(positions)), (1, grid.size))}
    for axis, length in last[turn]:
        affine[:3, 3] += affine[:3, axis] * (length - 1)
        affine[:3, axis] *= -1
    return affine


def _volume(voxels: Voxels, affine: Affine, grid: Grid, seed: int) -> Volume:
    step = float(np.linalg.norm(affine[:3, 0]))
    normal = affine[:3, 0] / step
    first = float(affine[:3, 3] @ normal)
    return Volume(
        voxels=voxels,
        unit="HU",
        spacing_mm=(step, grid.pixel_mm, grid.pixel_mm),
        affine_lps=affine,
        slice_positions_mm=tuple(first + step * index for index in range(len(voxels))),
        modality="CT",
        series_uid=f"phantom-{seed}",
        description="generated phantom",
        flags=(PHANTOM,),
        sources=(Source(name=f"generated with seed {seed}", sha256=""),),
    )


def _blur(image: NDArray[np.float32], amount: float) -> NDArray[np.float32]:
    """A 3x3 blur mixed in by ``amount``: the scanner's point spread."""
    padded = np.pad(image, 1, mode="edge")
    rows = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    both = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4
    return ((1 - amount) * image + amount * both).astype(np.float32)


def _boxes(mask: NDArray[np.bool_]) -> dict[int, tuple[int, int, int, int]]:
    """Slice index -> tight box around the mask, for slices where it has at least four pixels."""
    found = {}
    for index in np.flatnonzero(mask.sum((1, 2)) >= 4):
        rows, columns = np.nonzero(mask[index])
        found[int(index)] = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    return found
