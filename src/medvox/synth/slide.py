"""Slides with known truth: blobs of tissue on glass, and what scanners and people add, as a pyramidal tiled TIFF.

A slide is a grid of blocks of 64 x 64 px, each filled with one of a few materials, whose textures repeat every 256 px.
So the truth is exact at every level, and a slide of 100,000 x 80,000 px is written in seconds: tiles of one material
are encoded once and share their bytes. Generated; it shows no patient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medvox.errors import UsageError
from medvox.synth.tiled_tiff import Compression, TiledTiff

Rgb = NDArray[np.uint8]
BLOCK_PX, TILE_PX = 64, 256
GLASS, STROMA, CELLS, FAINT, BLUE_PEN, GREEN_PEN, BLACK = range(7)
TISSUE = (STROMA, CELLS, FAINT)
# Mean colour and grain of each material; the first three are haematoxylin and eosin as scanners show it.
MATERIALS: dict[int, tuple[tuple[int, int, int], int]] = {
    GLASS: ((243, 243, 244), 2),
    STROMA: ((222, 160, 190), 26),
    CELLS: ((148, 96, 160), 34),
    FAINT: ((232, 216, 228), 8),
    BLUE_PEN: ((40, 60, 170), 6),
    GREEN_PEN: ((30, 140, 80), 6),
    BLACK: ((12, 12, 12), 3),
}
DIM_LIGHT = 0.82  # makes the glass grey
DOWNSAMPLES = (1, 4, 16, 64)  # as many scanners write


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeSlide:
    """A slide before it is written.

    Attributes:
        width: pixels of level 0.
        height: pixels of level 0.
        mpp_um: micrometres per pixel of level 0.
        blocks: (rows, columns) uint8, the material of each 64 x 64 px block.
        textures: downsample -> (materials, edge, edge, 3) uint8, where edge is 256 over the downsample.
    """

    width: int
    height: int
    mpp_um: float
    blocks: NDArray[np.uint8]
    textures: dict[int, Rgb]

    @property
    def tissue(self) -> NDArray[np.bool_]:
        """(rows, columns): which blocks are tissue."""
        return np.isin(self.blocks, TISSUE)


def make_slide(
    width: int, height: int, *, mpp_um: float = 0.25, seed: int = 0, artefacts: bool = False, grey_glass: bool = False
) -> MadeSlide:
    """Draw a slide: blobs of stroma with islands of cells over about a fifth of the glass.

    Args:
        width: pixels of level 0.
        height: pixels of level 0.
        mpp_um: micrometres per pixel of level 0.
        seed: same seed, same slide.
        artefacts: add faint tissue, strokes of blue and green pen, and the black border of a scanner.
        grey_glass: dim light, so that all is darker and the glass is grey.
    """
    rng = np.random.default_rng(seed)
    rows, columns = -(-height // BLOCK_PX), -(-width // BLOCK_PX)
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    x, y = (x + 0.5) / columns, (y + 0.5) / rows
    blocks = np.full((rows, columns), GLASS, np.uint8)
    for centre_x, centre_y in ((0.28, 0.3), (0.68, 0.36), (0.45, 0.72)):
        place = (centre_x + rng.uniform(-0.05, 0.05), centre_y + rng.uniform(-0.05, 0.05))
        blocks[_blob(x, y, place, rng.uniform(0.13, 0.17), rng)] = STROMA
        for _ in range(4):
            island = (place[0] + rng.uniform(-0.07, 0.07), place[1] + rng.uniform(-0.07, 0.07))
            inner = _blob(x, y, island, rng.uniform(0.02, 0.04), rng)
            blocks[inner & (blocks == STROMA)] = CELLS
    if artefacts:
        blocks[_blob(x, y, (0.84, 0.8), 0.07, rng) & (blocks == GLASS)] = FAINT
        blocks[(np.abs(y - 0.08 - 0.01 * np.sin(25 * x)) < 0.012) & (x > 0.1) & (x < 0.6)] = BLUE_PEN
        blocks[(np.abs(x - 0.06 - 0.01 * np.sin(25 * y)) < 0.01) & (y > 0.3) & (y < 0.8)] = GREEN_PEN
        blocks[:, x[0] > 0.97] = BLACK
        blocks[y[:, 0] > 0.98] = BLACK
    fine = np.stack([_texture(*MATERIALS[material], rng) for material in sorted(MATERIALS)])
    if grey_glass:
        fine = np.rint(fine * DIM_LIGHT).astype(np.uint8)
    textures = {downsample: _reduced(fine, downsample) for downsample in DOWNSAMPLES}
    return MadeSlide(width=width, height=height, mpp_um=mpp_um, blocks=blocks, textures=textures)


def _reduced(fine: Rgb, downsample: int) -> Rgb:
    edge = TILE_PX // downsample
    mean = fine.reshape(-1, edge, downsample, edge, downsample, 3).mean(axis=(2, 4))
    rgb: Rgb = mean.round().astype(np.uint8)
    return rgb


def _blob(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    centre_xy: tuple[float, float],
    radius: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """A disc with a wavy rim, in shares of the slide's width and height."""
    dx, dy = x - centre_xy[0], y - centre_xy[1]
    angle = np.arctan2(dy, dx)
    rim = 1 + sum(rng.uniform(0.03, 0.1) * np.sin(k * angle + rng.uniform(0, 6.28)) for k in (2, 3, 5))
    inside: NDArray[np.bool_] = np.hypot(dx, dy) < radius * rim
    return inside


def _texture(color: tuple[int, int, int], grain: int, rng: np.random.Generator) -> Rgb:
    """A colour with soft grain of about 8 px that repeats every 256 px."""
    coarse = np.kron(rng.normal(size=(TILE_PX // 8, TILE_PX // 8)), np.ones((8, 8)))
    soft = (coarse + np.roll(coarse, 4, 0) + np.roll(coarse, 4, 1) + np.roll(coarse, (4, 4), (0, 1))) / 2
    pixels = np.array(color) + grain / 2 * soft[:, :, None]
    rgb: Rgb = pixels.clip(0, 255).round().astype(np.uint8)
    return rgb


def draw_level(slide: MadeSlide, downsample: int, corner_xy: tuple[int, int], size_xy: tuple[int, int]) -> Rgb:
    """Pixels of a level (R, C, 3), as they are before compression.

    Args:
        slide: the slide.
        downsample: 1, 4, 16 or 64.
        corner_xy: upper left corner in pixels of the level.
        size_xy: width and height in pixels of the level.
    """
    (left, top), (width, height) = corner_xy, size_xy
    x, y = np.arange(left, left + width), np.arange(top, top + height)
    edge = BLOCK_PX // downsample
    rows, columns = slide.blocks.shape
    material = slide.blocks[np.ix_(np.minimum(y // edge, rows - 1), np.minimum(x // edge, columns - 1))]
    period = TILE_PX // downsample
    flat = (y % period * period)[:, None] + x % period + material.astype(np.intp) * period**2
    pixels: Rgb = slide.textures[downsample].reshape(-1, 3)[flat]
    return pixels


def write_slide(
    slide: MadeSlide, path: Path, *, compression: Compression = "jpeg", downsamples: tuple[int, ...] = DOWNSAMPLES
) -> Path:
    """Write a tiled TIFF with one directory per level (TIFF 6.0 section 15, JPEG as in technical note 2).

    Args:
        slide: the slide.
        path: the file.
        compression: ``jpeg`` as scanners do, or ``deflate``, which loses nothing.
        downsamples: the levels; some of 1, 4, 16 and 64, starting with 1.

    Raises:
        UsageError: ``E_SYNTH_LEVELS``, other levels.
    """
    if downsamples[:1] != (1,) or set(downsamples) - set(DOWNSAMPLES) or list(downsamples) != sorted(set(downsamples)):
        raise UsageError(
            f"levels {downsamples} cannot be drawn", fix=f"Choose from {DOWNSAMPLES}, 1 first.", code="E_SYNTH_LEVELS"
        )
    with TiledTiff(path, compression=compression, tile_px=TILE_PX) as tiff:
        for downsample in downsamples:
            size = (max(1, slide.width // downsample), max(1, slide.height // downsample))
            tiff.write_level(_tiles(slide, downsample, size), size, slide.mpp_um * downsample)
    return path


def _tiles(slide: MadeSlide, downsample: int, size_xy: tuple[int, int]) -> Iterator[tuple[Rgb, int | None]]:
    """The tiles of a level in row order; a tile of one material comes with its number."""
    columns, rows = (-(-side // TILE_PX) for side in size_xy)
    reach = TILE_PX * downsample // BLOCK_PX  # blocks per tile edge
    height, width = slide.blocks.shape
    padded = np.pad(slide.blocks, ((0, rows * reach - height), (0, columns * reach - width)), mode="edge")
    groups = padded.reshape(rows, reach, columns, reach)
    low, high = groups.min(axis=(1, 3)), groups.max(axis=(1, 3))
    drawn: dict[int, Rgb] = {}
    for row in range(rows):
        for column in range(columns):
            corner, size = (column * TILE_PX, row * TILE_PX), (TILE_PX, TILE_PX)
            material = int(low[row, column])
            if material != high[row, column]:
                yield draw_level(slide, downsample, corner, size), None
                continue
            if material not in drawn:
                drawn[material] = draw_level(slide, downsample, corner, size)
            yield drawn[material], material
