"""Findings planted into the bodies of ``anatomy.py``, and what may be mistaken for them.

Place, size and density vary on their own, so that none of them alone gives the answer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medvox.synth.anatomy import Build
from medvox.synth.solids import Organ, Solid

FINDINGS = ("lung nodule", "liver lesion", "kidney stone", "intracranial haemorrhage", "pleural effusion")
REGION_OF = {
    "lung nodule": "chest",
    "liver lesion": "abdomen",
    "kidney stone": "abdomen",
    "intracranial haemorrhage": "head",
    "pleural effusion": "chest",
}
Span = tuple[float, float]  # lowest and highest slice of the scan, mm


def plant(finding: str, body: list[Solid], build: Build, span: Span, rng: np.random.Generator) -> list[Solid]:
    """The solids of one finding, placed where its organ lies inside ``span``; empty when the organ is not scanned."""
    return _PLANTERS[finding](body, build, span, rng, FINDINGS.index(finding))


def _height(rng: np.random.Generator, span: Span, low: float, high: float) -> float | None:
    """A height both inside the scan and between ``low`` and ``high``, or None."""
    low, high = max(low, span[0] + 2), min(high, span[1] - 2)
    return float(rng.uniform(low, high)) if high > low else None


def _lung_nodule(body: list[Solid], build: Build, span: Span, rng: np.random.Generator, number: int) -> list[Solid]:
    lungs = [solid for solid in body if solid.organ == Organ.LUNG]
    lung = lungs[int(rng.integers(len(lungs)))]
    z = _height(rng, span, 20, 170)
    if z is None:
        return []
    radius = float(rng.uniform(7, 17))
    shrink = (1 - (abs(z - lung.centre[2]) / lung.radii[2]) ** 3) ** (1 / 3)
    angle, reach = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.2, 0.8)) ** 0.5
    room_x, room_y = max(1.0, lung.radii[0] * shrink - radius), max(1.0, lung.radii[1] * shrink - radius)
    return [
        Solid(
            centre=(
                lung.centre[0] + reach * room_x * float(np.cos(angle)),
                lung.centre[1] + reach * room_y * float(np.sin(angle)),
                z,
            ),
            radii=(radius, radius * float(rng.uniform(0.8, 1.2)), radius),
            hu=float(rng.uniform(10, 80)),
            organ=Organ.SOFT,
            inside=(Organ.LUNG, Organ.VESSEL),
            finding=number,
            grain=10,
        )
    ]


def _liver_lesion(body: list[Solid], build: Build, span: Span, rng: np.random.Generator, number: int) -> list[Solid]:
    liver = next(solid for solid in body if solid.organ == Organ.LIVER)
    z = _height(rng, span, liver.centre[2] - 0.6 * liver.radii[2], liver.centre[2] + 0.5 * liver.radii[2])
    if z is None:
        return []
    radius = float(rng.uniform(10, 26))
    angle, reach = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0, 0.55))
    offset = float(rng.uniform(28, 60)) * (-1 if rng.random() < 0.75 else 1)
    return [
        Solid(
            centre=(
                liver.centre[0] + reach * liver.radii[0] * float(np.cos(angle)),
                liver.centre[1] + reach * liver.radii[1] * float(np.sin(angle)),
                z,
            ),
            radii=(radius, radius * float(rng.uniform(0.75, 1.3)), radius),
            hu=build.liver_hu + offset,
            organ=Organ.LIVER,
            inside=(Organ.LIVER,),
            finding=number,
            grain=5,
        )
    ]


def _kidney_stone(body: list[Solid], build: Build, span: Span, rng: np.random.Generator, number: int) -> list[Solid]:
    kidneys = [solid for solid in body if solid.organ == Organ.KIDNEY]
    kidney = kidneys[int(rng.integers(len(kidneys)))]
    z = _height(rng, span, kidney.centre[2] - 32, kidney.centre[2] + 32)
    if z is None:
        return []
    radius = float(rng.uniform(5, 10))
    angle, reach = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.2, 0.6))
    return [
        Solid(
            centre=(
                kidney.centre[0] + reach * 28 * float(np.cos(angle)),
                kidney.centre[1] + reach * 28 * float(np.sin(angle)),
                z,
            ),
            radii=(radius, radius * float(rng.uniform(0.7, 1.2)), radius),
            hu=float(rng.uniform(500, 1300)),
            organ=Organ.BONE,
            finding=number,
        )
    ]


def _haemorrhage(body: list[Solid], build: Build, span: Span, rng: np.random.Generator, number: int) -> list[Solid]:
    z = _height(rng, span, 0, 60)
    if z is None:
        return []
    brain = next(solid for solid in body if solid.organ == Organ.BRAIN)
    radius = float(rng.uniform(8, 24))
    angle, reach = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.1, 0.72))
    return [
        Solid(
            centre=(
                reach * brain.radii[0] * float(np.cos(angle)),
                reach * brain.radii[1] * float(np.sin(angle)),
                z,
            ),
            radii=(radius, radius * float(rng.uniform(0.6, 1.6)), radius),
            hu=float(rng.uniform(58, 85)),
            organ=Organ.BRAIN,
            inside=(Organ.BRAIN, Organ.FLUID),
            finding=number,
            angle=float(rng.uniform(0, 3)),
            grain=4,
        )
    ]


def _effusion(body: list[Solid], build: Build, span: Span, rng: np.random.Generator, number: int) -> list[Solid]:
    if _height(rng, span, 0, 60) is None:
        return []
    sides = [solid for solid in body if solid.organ == Organ.LUNG]
    chosen = [sides[int(rng.integers(2))]] if rng.random() < 0.7 else sides
    level = float(rng.uniform(0.05, 0.5))
    return [
        Solid(
            centre=(lung.centre[0], lung.centre[1] + (level + 1.0) * lung.radii[1], -40),
            radii=(lung.radii[0] * 2.2, lung.radii[1], float(rng.uniform(110, 190))),
            hu=float(rng.uniform(0, 25)),
            organ=Organ.FLUID,
            inside=(Organ.LUNG, Organ.VESSEL),
            finding=number,
            power=3,
            grain=5,
        )
        for lung in chosen
    ]


_PLANTERS: dict[str, Callable[[list[Solid], Build, Span, np.random.Generator, int], list[Solid]]] = {
    "lung nodule": _lung_nodule,
    "liver lesion": _liver_lesion,
    "kidney stone": _kidney_stone,
    "intracranial haemorrhage": _haemorrhage,
    "pleural effusion": _effusion,
}
