"""Bodies made of solids: a torso from pelvis to shoulders, and a head. Every size, density and position varies.

Heights in mm: torso z = 0 at the diaphragm, chest above, abdomen -200..0, pelvis below -200; head z = 0 at the level of
the orbits. The bodies are cartoons: they carry what a small model needs to tell regions and planted findings apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medvox.synth.solids import Organ, Solid

TORSO_RANGES = {"chest": (0.0, 250.0), "abdomen": (-200.0, 0.0), "pelvis": (-390.0, -200.0)}
HEAD_RANGE = (-95.0, 92.0)
CAVITY = (Organ.FAT, Organ.SOFT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """Size of one body in mm and the densities that its organs share."""

    a: float  # half width
    b: float  # half depth
    fat: float  # thickness of the outer fat layer
    contrast: float  # 0 native, 1 strongly enhanced
    liver_hu: float
    kidney_hu: float
    visceral_hu: float
    lung_hu: float


def draw_build(rng: np.random.Generator) -> Build:
    """A random adult body."""
    contrast = float(rng.uniform(0, 1)) * float(rng.random() < 0.6)
    a = float(rng.uniform(145, 205))
    return Build(
        a=a,
        b=a * float(rng.uniform(0.58, 0.78)),
        fat=float(rng.uniform(6, 36)),
        contrast=contrast,
        liver_hu=float(rng.uniform(42, 66)) + 60 * contrast,
        kidney_hu=float(rng.uniform(26, 40)) + 150 * contrast,
        visceral_hu=float(rng.uniform(-110, -60)),
        lung_hu=float(rng.uniform(-900, -780)),
    )


def torso(build: Build, rng: np.random.Generator) -> list[Solid]:
    """The solids of a torso, outside in."""
    a, b, fat = build.a, build.b, build.fat
    power = float(rng.uniform(2.1, 2.9))
    wall = float(rng.uniform(14, 24))
    inner_a, inner_b = a - fat, b - 0.8 * fat
    solids = [
        Solid(centre=(0, 0, -70), radii=(a, b, 480), hu=-100, organ=Organ.FAT, power=power, power_z=10, grain=6),
        Solid(
            centre=(0, 0, -70), radii=(inner_a, inner_b, 479), hu=52, organ=Organ.SOFT, power=power, power_z=10, grain=6
        ),
    ]
    cavity = Solid(
        centre=(0, -0.06 * b, -150), radii=(inner_a - wall, inner_b - 1.2 * wall, 260), hu=build.visceral_hu,
        organ=Organ.FAT, power=power, power_z=8, grain=10,
    )  # fmt: skip
    solids.append(cavity)
    solids += _chest(build, inner_a, inner_b, wall, rng)
    solids += _abdomen(build, inner_a, inner_b, rng)
    solids += _pelvis(build, inner_a, inner_b, rng)
    solids += _spine(b, rng)
    solids += _ribs(inner_a, inner_b, rng)
    if rng.random() < 0.5:
        solids += _arms(a, b, rng)
    return solids


def _chest(build: Build, inner_a: float, inner_b: float, wall: float, rng: np.random.Generator) -> list[Solid]:
    blood = 40 + 170 * build.contrast
    lung_x, lung_y = 0.46 * (inner_a - 0.6 * wall), 0.92 * (inner_b - wall)
    solids = [
        Solid(
            centre=(0, 0, 130),
            radii=(inner_a - 0.6 * wall, inner_b - wall, 152),
            hu=-60,
            organ=Organ.FAT,
            power=2.4,
            power_z=8,
            grain=15,
        )
    ]
    for side in (-1, 1):
        top = float(rng.uniform(215, 250))
        solids.append(
            Solid(
                centre=(side * 0.5 * (inner_a - 0.6 * wall), 0, top / 2 - 30),
                radii=(lung_x, lung_y, top / 2 + 35),
                hu=build.lung_hu,
                organ=Organ.LUNG,
                power=2.3,
                power_z=3,
                grain=25,
            )
        )
        for _ in range(int(rng.integers(25, 60))):
            reach = float(rng.uniform(0.1, 0.95)) ** 0.7
            angle = float(rng.uniform(0, 2 * np.pi))
            radius = float(rng.uniform(1.2, 4.5)) * (1.15 - reach)
            solids.append(
                Solid(
                    centre=(
                        side * (0.25 * inner_a + reach * 0.28 * inner_a * (1 + np.cos(angle))),
                        reach * 0.7 * lung_y * float(np.sin(angle)),
                        float(rng.uniform(-10, 200)),
                    ),
                    radii=(radius, radius, float(rng.uniform(12, 40))),
                    hu=blood,
                    organ=Organ.VESSEL,
                    slope=(float(rng.normal(0, 0.8)), float(rng.normal(0, 0.8))),
                    inside=(Organ.LUNG,),
                )
            )
    heart = float(rng.uniform(0.85, 1.2))
    solids += [
        Solid(centre=(0, -0.1 * inner_b, 120), radii=(0.24 * inner_a, 0.55 * inner_b, 135), hu=10, organ=Organ.SOFT,
              power_z=6, grain=30),
        Solid(centre=(0.14 * inner_a, -0.28 * inner_b, 55), radii=(62 * heart, 50 * heart, 60 * heart), hu=blood,
              organ=Organ.VESSEL, angle=0.5, grain=8),
        Solid(centre=(0.05 * inner_a, -0.2 * inner_b, 145), radii=(24, 22, 50), hu=blood, organ=Organ.VESSEL,
              power_z=6),
        Solid(centre=(0, 0.05 * inner_b, 190), radii=(9, 9, 70), hu=-950, organ=Organ.AIR, power_z=10),
        Solid(centre=(0, -0.9 * inner_b, 110), radii=(22, 7, 110), hu=250, organ=Organ.BONE, power_z=8),
    ]  # fmt: skip
    return solids


def _abdomen(build: Build, inner_a: float, inner_b: float, rng: np.random.Generator) -> list[Solid]:
    blood = 40 + 170 * build.contrast
    liver, kidney = build.liver_hu, build.kidney_hu
    size = float(rng.uniform(0.85, 1.15))
    keep = (Organ.FAT, Organ.LUNG, Organ.VESSEL)
    solids = [
        Solid(centre=(-0.42 * inner_a, -0.08 * inner_b, -55), radii=(0.46 * inner_a * size, 0.74 * inner_b, 85 * size),
              hu=liver, organ=Organ.LIVER, inside=keep, power=2.3, grain=5),
        Solid(centre=(0.05 * inner_a, -0.5 * inner_b, -40), radii=(0.38 * inner_a, 0.3 * inner_b, 55 * size), hu=liver,
              organ=Organ.LIVER, inside=keep, grain=5),
        Solid(centre=(0.64 * inner_a, 0.28 * inner_b, -45), radii=(30, 46, 55 * size), hu=liver - 5, organ=Organ.SPLEEN,
              inside=keep, angle=-0.4, grain=5),
        Solid(centre=(0.38 * inner_a, -0.36 * inner_b, -45), radii=(52, 40, 58), hu=25, organ=Organ.BOWEL, inside=keep,
              grain=15),
    ]  # fmt: skip
    if rng.random() < 0.7:
        solids.append(
            Solid(
                centre=(0.36 * inner_a, -0.5 * inner_b, -45),
                radii=(36, 20, 40),
                hu=-900,
                organ=Organ.BOWEL,
                inside=(Organ.BOWEL,),
            )
        )
    for _ in range(int(rng.integers(4, 10))):
        solids.append(
            Solid(
                centre=(
                    float(rng.uniform(-0.62, -0.1)) * inner_a,
                    float(rng.uniform(-0.5, 0.4)) * inner_b,
                    float(rng.uniform(-110, 0)),
                ),
                radii=(float(rng.uniform(2, 5)), float(rng.uniform(2, 5)), float(rng.uniform(15, 40))),
                hu=liver + 15 + 40 * build.contrast,
                organ=Organ.LIVER,
                inside=(Organ.LIVER,),
                slope=(float(rng.normal(0, 0.8)), float(rng.normal(0, 0.8))),
            )
        )
    for side in (-1, 1):
        z = -115 + float(rng.uniform(-15, 15))
        x, y = side * float(rng.uniform(0.38, 0.46)) * inner_a, float(rng.uniform(0.3, 0.42)) * inner_b
        solids += [
            Solid(centre=(x, y, z), radii=(30, 30, 58), hu=kidney, organ=Organ.KIDNEY, inside=keep, grain=6),
            Solid(centre=(x - side * 9, y - 3, z), radii=(11, 10, 30), hu=-20, organ=Organ.FAT, inside=(Organ.KIDNEY,)),
            Solid(centre=(side * 38, 0.42 * inner_b, -230), radii=(22, 24, 130), hu=55, organ=Organ.SOFT, grain=5),
        ]
    solids += _bowel(inner_a, inner_b, rng)
    if rng.random() < 0.8:
        solids.append(
            Solid(
                centre=(-0.22 * inner_a, -0.46 * inner_b, -85),
                radii=(15, 18, 26),
                hu=float(rng.uniform(0, 20)),
                organ=Organ.FLUID,
                inside=(Organ.FAT, Organ.LIVER, Organ.BOWEL),
            )
        )
    solids += [
        Solid(centre=(14, 0.22 * inner_b, -40), radii=(11, 11, 240), hu=blood, organ=Organ.VESSEL, power_z=12),
        Solid(centre=(-18, 0.22 * inner_b, -120), radii=(12, 10, 130), hu=blood, organ=Organ.VESSEL, power_z=12),
        Solid(centre=(0.1 * inner_a, -0.05 * inner_b, -85), radii=(60, 14, 18), hu=45 + 50 * build.contrast,
              organ=Organ.SOFT, inside=(Organ.FAT,), angle=-0.3, grain=6),
    ]  # fmt: skip
    if rng.random() < 0.4:
        for _ in range(8):
            angle, z = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(-260, 100))
            solids.append(
                Solid(
                    centre=(14 + 10 * np.cos(angle), 0.22 * inner_b + 10 * np.sin(angle), z),
                    radii=(2.5, 2.5, 9),
                    hu=700,
                    organ=Organ.BONE,
                )
            )
    return solids


def _bowel(inner_a: float, inner_b: float, rng: np.random.Generator) -> list[Solid]:
    solids: list[Solid] = []
    for _ in range(int(rng.integers(60, 150))):
        x = float(rng.uniform(-0.74, 0.74)) * inner_a
        y = float(rng.uniform(-0.78, 0.15)) * inner_b
        z = float(rng.uniform(-335, -60))
        radius = float(rng.uniform(8, 22)) if rng.random() < 0.85 else float(rng.uniform(20, 32))
        gas = rng.random() < 0.22
        solids.append(
            Solid(
                centre=(x, y, z),
                radii=(radius * float(rng.uniform(0.8, 1.8)), radius, radius),
                organ=Organ.BOWEL,
                hu=float(rng.uniform(5, 70)),
                inside=(Organ.FAT, Organ.BOWEL),
                angle=float(rng.uniform(0, 3)),
                grain=float(rng.uniform(5, 30)),
            )
        )
        if gas:
            solids.append(
                Solid(
                    centre=(x, y - 0.3 * radius, z),
                    radii=(radius * 0.8, radius * 0.6, radius * 0.9),
                    hu=-850,
                    organ=Organ.BOWEL,
                    inside=(Organ.BOWEL,),
                )
            )
    return solids


def _pelvis(build: Build, inner_a: float, inner_b: float, rng: np.random.Generator) -> list[Solid]:
    wide = float(rng.uniform(0.9, 1.1))
    solids = [
        Solid(centre=(0, -0.25 * inner_b, -335), radii=(46 * wide, 38, float(rng.uniform(25, 45))),
              hu=float(rng.uniform(0, 15)), organ=Organ.FLUID, inside=(*CAVITY, Organ.BOWEL)),
        Solid(centre=(0, 0.32 * inner_b, -350), radii=(20, 20, 60), hu=30, organ=Organ.BOWEL, grain=25),
        Solid(centre=(0, 0.6 * inner_b, -265), radii=(52, 22, 70), hu=220, organ=Organ.BONE, grain=60),
    ]  # fmt: skip
    for side in (-1, 1):
        hip = side * 92 * wide
        fan = (-0.14 * np.pi, 0.36 * np.pi) if side > 0 else (0.64 * np.pi, 1.14 * np.pi)
        solids += [
            Solid(
                centre=(side * 88 * wide, 0.55 * inner_b, -330),
                radii=(62, 40, 110),
                hu=55,
                organ=Organ.SOFT,
                inside=CAVITY,
                grain=6,
            ),
            Solid(
                centre=(0, 0.02 * inner_b, -265),
                radii=(118 * wide, 0.66 * inner_b, 72),
                hu=450,
                organ=Organ.BONE,
                hollow=0.86,
                power_z=4,
                wedge=fan,
                grain=90,
            ),
            Solid(centre=(hip, 0.02 * inner_b, -345), radii=(40, 42, 36), hu=420, organ=Organ.BONE, grain=80),
            Solid(centre=(hip, 0.02 * inner_b, -352), radii=(28, 28, 30), hu=55, organ=Organ.SOFT),
            Solid(centre=(hip, 0.02 * inner_b, -352), radii=(25, 25, 27), hu=330, organ=Organ.BONE, grain=50),
            Solid(
                centre=(side * 115 * wide, 0.08 * inner_b, -430),
                radii=(20, 20, 75),
                hu=400,
                organ=Organ.BONE,
                power_z=6,
                grain=60,
            ),
            Solid(
                centre=(side * 38, -0.35 * inner_b, -385),
                radii=(42, 10, 18),
                hu=420,
                organ=Organ.BONE,
                angle=side * 0.5,
                grain=80,
            ),
            Solid(
                centre=(side * 62 * wide, 0.4 * inner_b, -395), radii=(16, 24, 32), hu=420, organ=Organ.BONE, grain=80
            ),
        ]
    return solids


def _spine(b: float, rng: np.random.Generator) -> list[Solid]:
    y = float(rng.uniform(0.42, 0.52)) * b
    hardness = float(rng.uniform(130, 260))
    solids = [
        Solid(centre=(0, y, -30), radii=(23, 17, 270), hu=90, organ=Organ.SOFT, power=2.5, power_z=12),
        Solid(centre=(0, y + 30, -30), radii=(24, 20, 270), hu=60, organ=Organ.SOFT, power_z=12),
    ]
    for level in range(-9, 9):
        z = 32.0 * level + float(rng.uniform(-2, 2))
        solids += [
            Solid(centre=(0, y, z), radii=(23, 17, 14), hu=hardness + 260, organ=Organ.BONE, power=2.5, power_z=8),
            Solid(centre=(0, y, z), radii=(20, 14, 13), hu=hardness, organ=Organ.BONE, power=2.5, power_z=8, grain=35),
            Solid(centre=(0, y + 24, z), radii=(36, 4.5, 9), hu=hardness + 180, organ=Organ.BONE),
            Solid(centre=(0, y + 36, z), radii=(4, 17, 12), hu=hardness + 180, organ=Organ.BONE),
        ]
    solids.append(Solid(centre=(0, y + 22, -30), radii=(9, 8, 270), hu=25, organ=Organ.FLUID, power_z=12))
    return solids


def _ribs(inner_a: float, inner_b: float, rng: np.random.Generator) -> list[Solid]:
    solids: list[Solid] = []
    for level in range(12):
        low = -85 + 27.0 * level
        for side in (-1, 1):
            for step in range(9):
                theta = np.pi / 2 - (0.2 + step * 0.29)  # from the spine round to the front
                x, y = side * 0.93 * inner_a * np.cos(theta), 0.93 * inner_b * np.sin(theta)
                z = low + 60 - 13.0 * step + float(rng.uniform(-3, 3))
                if level < 2 and step > 5:
                    continue
                solids.append(
                    Solid(
                        centre=(x, y, z),
                        radii=(12, 5, 12),
                        hu=float(rng.uniform(300, 650)),
                        organ=Organ.BONE,
                        angle=float(np.arctan2(inner_b * np.cos(theta), -side * inner_a * np.sin(theta))),
                    )
                )
    return solids


def _arms(a: float, b: float, rng: np.random.Generator) -> list[Solid]:
    solids: list[Solid] = []
    y = float(rng.uniform(-0.1, 0.5)) * b
    for side in (-1, 1):
        x = side * (a + float(rng.uniform(30, 50)))
        solids += [
            Solid(centre=(x, y, -90), radii=(38, 42, 330), hu=-90, organ=Organ.FAT, power_z=8),
            Solid(centre=(x, y, -90), radii=(31, 35, 328), hu=55, organ=Organ.SOFT, power_z=8),
            Solid(centre=(x, y, -90), radii=(11, 11, 330), hu=700, organ=Organ.BONE, power_z=8),
            Solid(centre=(x, y, -90), radii=(6, 6, 330), hu=20, organ=Organ.FAT, power_z=8),
        ]
    return solids


def head(rng: np.random.Generator) -> list[Solid]:
    """The solids of a head, outside in."""
    a, b = float(rng.uniform(66, 78)), float(rng.uniform(84, 98))
    scalp, bone = float(rng.uniform(4, 9)), float(rng.uniform(5, 9))
    skull_hu = float(rng.uniform(850, 1500))
    brain = float(rng.uniform(30, 38))
    outer = (a + scalp + bone, b + scalp + bone)
    solids = [
        Solid(centre=(0, 0, 8), radii=(*outer, 88), hu=-10, organ=Organ.FAT, power_z=2.4, grain=30),
        Solid(centre=(0, 12, -90), radii=(outer[0] * 0.92, outer[1] * 0.85, 75), hu=35, organ=Organ.SOFT, power_z=6,
              grain=30),
        Solid(centre=(0, 0, 8), radii=(a + bone, b + bone, 82), hu=skull_hu, organ=Organ.BONE, power_z=2.4, grain=60),
        Solid(centre=(0, 0, 10), radii=(a, b, 74), hu=12, organ=Organ.FLUID, power_z=2.4),
        Solid(centre=(0, 0, 10), radii=(a - 3, b - 3, 72), hu=brain, organ=Organ.BRAIN, power_z=2.4, grain=4),
        Solid(centre=(0, 0, 40), radii=(1.5, b - 4, 45), hu=48, organ=Organ.BRAIN, inside=(Organ.BRAIN,)),
    ]  # fmt: skip
    for side in (-1, 1):
        solids += [
            Solid(
                centre=(side * 0.45 * a, 0, 30),
                radii=(0.3 * a, 0.55 * b, 40),
                hu=brain - 6,
                organ=Organ.BRAIN,
                inside=(Organ.BRAIN,),
                grain=3,
            ),
            Solid(
                centre=(side * float(rng.uniform(10, 16)), -0.1 * b, 28),
                radii=(float(rng.uniform(5, 11)), 0.42 * b, 18),
                hu=8,
                organ=Organ.FLUID,
                inside=(Organ.BRAIN,),
                angle=side * 0.25,
            ),
        ]
    if rng.random() < 0.4:
        for x in (-18, 0, 18):
            solids.append(Solid(centre=(x, 0.2 * b, 22), radii=(2.5, 3.5, 6), hu=160, organ=Organ.BONE))
    solids += _skull_base(a, b, skull_hu, rng)
    return solids


def _skull_base(a: float, b: float, skull_hu: float, rng: np.random.Generator) -> list[Solid]:
    """Face, orbits, sinuses, petrous bones, jaw and neck."""
    solids = [
        Solid(centre=(0, 0, -48), radii=(a, b, 14), hu=skull_hu * 0.6, organ=Organ.BONE, grain=250),
        Solid(centre=(0, 0.3 * b, -48), radii=(0.6 * a, 0.55 * b, 22), hu=34, organ=Organ.BRAIN, grain=6),
        Solid(centre=(0, 0.35 * b, -85), radii=(22, 20, 40), hu=skull_hu * 0.5, organ=Organ.BONE, power_z=8, grain=120),
        Solid(centre=(0, 0.42 * b, -70), radii=(10, 9, 60), hu=30, organ=Organ.BRAIN, power_z=8),
        Solid(centre=(0, -0.62 * b, -35), radii=(13, 26, 34), hu=-800, organ=Organ.AIR, grain=120),
        Solid(centre=(0, -0.62 * b, -35), radii=(2, 26, 34), hu=400, organ=Organ.BONE),
        Solid(centre=(0, -0.1 * b, -85), radii=(12, 9, 40), hu=-900, organ=Organ.AIR, power_z=8),
        Solid(centre=(0, -0.45 * b, -85), radii=(0.7 * a, 0.5 * b, 22), hu=skull_hu * 0.8, organ=Organ.BONE,
              hollow=0.82, wedge=(-np.pi, 0)),
    ]  # fmt: skip
    for side in (-1, 1):
        solids += [
            Solid(centre=(side * 0.45 * a, -0.72 * b, -8), radii=(20, 24, 20), hu=-70, organ=Organ.FAT),
            Solid(centre=(side * 0.45 * a, -0.82 * b, -8), radii=(12, 12, 12), hu=22, organ=Organ.FLUID),
            Solid(
                centre=(side * 0.45 * a, -0.72 * b, -8),
                radii=(23, 27, 22),
                hu=skull_hu * 0.7,
                organ=Organ.BONE,
                hollow=0.88,
            ),
            Solid(
                centre=(side * 0.5 * a, 0.05 * b, -32),
                radii=(30, 12, 11),
                hu=skull_hu,
                organ=Organ.BONE,
                angle=side * 0.6,
                grain=250,
            ),
            Solid(centre=(side * 0.75 * a, 0.3 * b, -40), radii=(14, 16, 18), hu=-300, organ=Organ.BONE, grain=500),
            Solid(
                centre=(side * 0.4 * a, -0.55 * b, -45),
                radii=(15, 17, 17),
                hu=-800 if rng.random() < 0.8 else 30,
                organ=Organ.AIR,
            ),
        ]
    return solids
