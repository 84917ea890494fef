"""Painting ellipsoids into slices: the geometry under every phantom.

A phantom is a list of solids in patient millimetres (x to the patient's left, y to the back, z to the head), painted in
order. Nothing here knows anatomy; ``anatomy.py`` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Organ(IntEnum):
    """What a voxel of a phantom is made of."""

    AIR = 0
    FAT = 1
    SOFT = 2
    BONE = 3
    LUNG = 4
    LIVER = 5
    KIDNEY = 6
    SPLEEN = 7
    BOWEL = 8
    VESSEL = 9
    BRAIN = 10
    FLUID = 11


@dataclass(frozen=True, kw_only=True, slots=True)
class Solid:
    """A superellipsoid of one material.

    Attributes:
        centre: (x, y, z) in mm; x and y are given at height z and drift with ``slope``.
        radii: (x, y, z) half axes in mm.
        hu: Hounsfield units inside.
        organ: the material.
        power: exponent of the outline in the slice plane; 2 is an ellipse, more is boxier.
        power_z: exponent along z; 2 is an ellipsoid, 12 nearly a cylinder.
        hollow: inner fraction that stays unpainted, 0 for a full solid.
        angle: rotation in the slice plane, radians.
        slope: (dx/dz, dy/dz).
        inside: paint only over these materials; empty means over everything.
        grain: standard deviation of the material's own texture in HU.
        finding: number of the finding this solid belongs to, or -1.
        wedge: keep only the part whose angle (radians, 0 = patient's left, pi/2 = back) lies between these two.
    """

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    hu: float
    organ: Organ
    power: float = 2.0
    power_z: float = 2.0
    hollow: float = 0.0
    angle: float = 0.0
    slope: tuple[float, float] = (0.0, 0.0)
    inside: tuple[Organ, ...] = ()
    grain: float = 0.0
    finding: int = -1
    wedge: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """The raster of one slice: ``size`` pixels square, ``pixel_mm`` apart, centred at ``centre_xy`` mm."""

    size: int
    pixel_mm: float
    centre_xy: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Painted:
    """One slice: ``hu`` float32, ``organ`` uint8, ``finding`` int8 (-1 where none), all (size, size)."""

    hu: Floats
    organ: NDArray[np.uint8]
    finding: NDArray[np.int8]


def paint_slice(solids: Sequence[Solid], z_mm: float, grid: Grid, rng: np.random.Generator) -> Painted:
    """Paint the cut through all solids at height ``z_mm``; air (-1000 HU) where no solid is."""
    shape = (grid.size, grid.size)
    hu = np.full(shape, -1000.0, np.float32)
    organ = np.zeros(shape, np.uint8)
    finding = np.full(shape, -1, np.int8)
    for solid in solids:
        height = abs(z_mm - solid.centre[2]) / solid.radii[2]
        if height >= 1.0:
            continue
        shrink = (1.0 - height**solid.power_z) ** (1.0 / solid.power_z)
        cut = _cut(solid, z_mm, shrink, grid)
        if cut is None:
            continue
        rows, columns, mask = cut
        if solid.inside:
            mask &= np.isin(organ[rows, columns], solid.inside)
        count = int(mask.sum())
        if not count:
            continue
        value = solid.hu if not solid.grain else solid.hu + solid.grain * rng.standard_normal(count)
        hu[rows, columns][mask] = value
        organ[rows, columns][mask] = solid.organ
        finding[rows, columns][mask] = solid.finding
    return Painted(hu=hu, organ=organ, finding=finding)


def _cut(solid: Solid, z_mm: float, shrink: float, grid: Grid) -> tuple[slice, slice, NDArray[np.bool_]] | None:
    """Rows, columns and mask of the solid's outline at one height, or None when it is outside the raster."""
    dz = z_mm - solid.centre[2]
    radius_x, radius_y = solid.radii[0] * shrink, solid.radii[1] * shrink
    half = (grid.size - 1) / 2
    column = (solid.centre[0] + solid.slope[0] * dz - grid.centre_xy[0]) / grid.pixel_mm + half
    row = (solid.centre[1] + solid.slope[1] * dz - grid.centre_xy[1]) / grid.pixel_mm + half
    reach_x = radius_x if solid.angle == 0 else max(radius_x, radius_y)
    reach_y = radius_y if solid.angle == 0 else max(radius_x, radius_y)
    c0, c1 = _span(column, reach_x / grid.pixel_mm, grid.size)
    r0, r1 = _span(row, reach_y / grid.pixel_mm, grid.size)
    if c0 >= c1 or r0 >= r1:
        return None
    x = ((np.arange(c0, c1, dtype=np.float32) - column) * grid.pixel_mm)[None, :]
    y = ((np.arange(r0, r1, dtype=np.float32) - row) * grid.pixel_mm)[:, None]
    across, along = x, y
    if solid.angle:
        cos, sin = np.float32(np.cos(solid.angle)), np.float32(np.sin(solid.angle))
        across, along = cos * x + sin * y, cos * y - sin * x
    distance = _power(across / radius_x, solid.power) + _power(along / radius_y, solid.power)
    mask = distance < 1.0
    if solid.hollow:
        mask &= distance > solid.hollow**solid.power
    if solid.wedge is not None:
        theta = np.arctan2(y, x)
        low, high = solid.wedge
        mask &= ((theta - low) % (2 * np.pi)) < ((high - low) % (2 * np.pi))
    return slice(r0, r1), slice(c0, c1), mask


def _span(centre: float, reach: float, size: int) -> tuple[int, int]:
    return max(0, int(centre - reach)), min(size, int(centre + reach) + 2)


def _power(values: Floats, power: float) -> Floats:
    return values * values if power == 2.0 else np.abs(values) ** np.float32(power)
