"""Whole slide -> the patches a MedGemma-class model expects: 896 px at 5x, 10x or 20x where there is tissue.

Stage two of the path. First the choice (mask, grid, which patches), from a low level of the pyramid; then the pixels,
patch by patch, so that time and memory follow the number of patches and not the size of the slide. Knows Slides, knows
no model and no file. Source: MedGemma 1.5 report section 2.3.2; the tutorial variant: its pathology notebook.
"""

from __future__ import annotations

import math
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medvox.data.slide import Slide
from medvox.data.square import Square
from medvox.encode.images import Origin, PreparedImages, recipe_hash, square_rgb
from medvox.encode.slide_tissue import Mask, grid_luminance, tissue_mask
from medvox.errors import InputError
from medvox.types import Flag, Progress, no_progress

TUTORIAL_LUMINANCE = (1 / 255, 0.8)
SAME_MPP = 0.02  # a level this close to the wanted size is used as it is
MAX_THREADS = 8  # each holds one block of pixels
COARSER = 0.10  # a slide this much coarser than the preset is refused: nothing is enlarged


@dataclass(frozen=True, kw_only=True, slots=True)
class SlidePreset:
    """A published input recipe for slides.

    Attributes:
        name: stable name with the model family's version.
        magnification: what the pixel size is called: 20x is 0.5 um per pixel.
        mpp_um: micrometres per pixel of the patches.
        max_patches: more tissue patches than this are thinned by random choice without replacement.
        min_tissue: a patch counts where at least this share of it is tissue. Smaller for larger patches, so that a
            fragment of 0.2 to 0.3 mm counts at every magnification.
        mask: how tissue is found: ``hsv``, see ``slide_tissue``, or ``luminance``, the mean brightness of the patch.
        order: ``spatial`` keeps rows from top to bottom; ``drawn`` is the order of the random choice.
        patch_px: edge of the patches, which lie side by side.
        mask_mpp_um: micrometres per pixel of the picture in which tissue is looked for.
        mask_pixels: doubled as often as that picture has more pixels than this: 8 um on up to 10 square centimetres.
    """

    name: str
    magnification: str
    mpp_um: float
    max_patches: int
    min_tissue: float
    mask: Literal["hsv", "luminance"] = "hsv"
    order: Literal["spatial", "drawn"] = "spatial"
    patch_px: int = 896
    mask_mpp_um: float = 8.0
    mask_pixels: int = 16_000_000

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of all fields: changes when anything in the recipe changes."""
        return recipe_hash(self)


SLIDE_MEDGEMMA_1_5_5X = SlidePreset(
    name="slide.medgemma-1.5-5x", magnification="5x", mpp_um=2.0, max_patches=126, min_tissue=0.02
)
SLIDE_MEDGEMMA_1_5_10X = SlidePreset(
    name="slide.medgemma-1.5-10x", magnification="10x", mpp_um=1.0, max_patches=126, min_tissue=0.05
)
SLIDE_MEDGEMMA_1_5_20X = SlidePreset(
    name="slide.medgemma-1.5-20x", magnification="20x", mpp_um=0.5, max_patches=126, min_tissue=0.10
)
SLIDE_MEDGEMMA_1_5_TUTORIAL = SlidePreset(
    name="slide.medgemma-1.5-tutorial", magnification="10x", mpp_um=1.0, max_patches=125, min_tissue=1.0,
    mask="luminance", order="drawn",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PatchChoice:
    """Which patches of a slide will be shown, before their pixels are read.

    Attributes:
        downsample: pixels of level 0 per pixel of a patch.
        mpp_um: micrometres per pixel of the patches, as they will be.
        grid_rc: rows and columns of whole patches on the slide.
        tissue: (R, C) bool, where there is tissue.
        tissue_downsample: pixels of level 0 per pixel of ``tissue``.
        candidates: patches with enough tissue, counted row by row over the grid.
        chosen: the patches to show, in their order.
        coverage: share of the tissue that lies in the chosen patches.
        flags: what a reader of the answer must know.
    """

    downsample: float
    mpp_um: float
    grid_rc: tuple[int, int]
    tissue: Mask
    tissue_downsample: float
    candidates: tuple[int, ...]
    chosen: tuple[int, ...]
    coverage: float
    flags: tuple[Flag, ...]


def choose_patches(slide: Slide, preset: SlidePreset = SLIDE_MEDGEMMA_1_5_10X, *, seed: int = 0) -> PatchChoice:
    """Find the tissue and choose the patches.

    Raises:
        InputError: ``E_SLIDE_MPP_UNKNOWN``; ``E_SLIDE_COARSE``, the slide has less detail than the preset shows;
            ``E_SLIDE_NO_TISSUE``; ``E_SLIDE_UNREADABLE``.
        BudgetError: ``E_SLIDE_LIMIT``, no level is coarse enough to look for tissue.
    """
    downsample, mpp_flags = _patch_downsample(slide, preset)
    stride = preset.patch_px * downsample
    top = slide.levels[0]
    grid = (max(1, int(top.height / stride)), max(1, int(top.width / stride)))
    tissue, tissue_downsample = _find_tissue(slide, preset, grid, stride)
    areas, shares = _per_cell(tissue, stride / tissue_downsample, grid)
    candidates = [int(index) for index in np.flatnonzero(shares >= preset.min_tissue)]
    if not candidates:
        raise _no_tissue(slide, preset, bool(tissue.any()))
    chosen = candidates
    if len(candidates) > preset.max_patches:
        chosen = random.Random(seed).sample(candidates, preset.max_patches)
    elif preset.order == "drawn":
        chosen = random.Random(seed).sample(candidates, len(candidates))
    if preset.order == "spatial":
        chosen = sorted(chosen)
    coverage = float(areas[chosen].sum() / tissue.sum())
    flags = list(mpp_flags)
    if len(chosen) < len(candidates):
        text = f"{len(chosen)} of {len(candidates)} tissue patches are shown, {coverage:.0%} of the tissue."
        flags.append(Flag(code="F_SLIDE_PATCHES_DROPPED", text=text))
    if min(top.width, top.height) < stride:
        text = "The slide is smaller than one patch; the rest of the patch is black."
        flags.append(Flag(code="F_SLIDE_PADDED", text=text))
    return PatchChoice(
        downsample=downsample, mpp_um=_known_mpp(slide) * downsample, grid_rc=grid, tissue=tissue,
        tissue_downsample=tissue_downsample, candidates=tuple(candidates), chosen=tuple(chosen), coverage=coverage,
        flags=tuple(flags),
    )  # fmt: skip


def prepare_slide(
    slide: Slide,
    preset: SlidePreset = SLIDE_MEDGEMMA_1_5_10X,
    *,
    size: int = 896,
    seed: int = 0,
    progress: Progress = no_progress,
) -> PreparedImages:
    """Choose the patches of a slide and read them.

    Args:
        slide: an open slide.
        preset: the recipe.
        size: edge of the pictures in pixels, as the model's ``preprocessor_config.json`` says.
        seed: of the random choice among more tissue patches than the preset shows.
        progress: told after each patch.

    Raises:
        InputError, BudgetError: see :func:`choose_patches`.
    """
    choice = choose_patches(slide, preset, seed=seed)
    images = np.empty((len(choice.chosen), size, size, 3), np.uint8)
    corners = [_corner(choice, preset, index) for index in choice.chosen]

    def read(place: int) -> None:
        images[place], _ = square_rgb(_read_patch(slide, preset, choice.downsample, corners[place]), size)

    # Decoding happens in C without the interpreter's lock, so threads use every core.
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        for done, _ in enumerate(pool.map(read, range(len(corners))), start=1):
            progress("reading patches", done, len(corners))
    square = Square(rows=preset.patch_px, columns=preset.patch_px)
    return PreparedImages(
        images=images,
        labels=("",) * len(images),
        origins=tuple(
            Origin(source=0, index=index, square=square, corner_xy=corner, scale=choice.downsample)
            for index, corner in zip(choice.chosen, corners)
        ),
        dropped=tuple(sorted(set(choice.candidates) - set(choice.chosen))),
        preset=preset.name,
        preset_hash=preset.hash,
        flags=(*slide.flags, *choice.flags),
        facts=_facts(slide, preset, choice, seed),
    )


def overview_picture(
    slide: Slide, preset: SlidePreset, choice: PatchChoice, *, max_side: int = 1024
) -> NDArray[np.uint8]:
    """The slide with everything that is not tissue dimmed, and the chosen patches outlined, (R, C, 3) uint8."""
    picture, scale = slide.overview(max_side)
    height, width = picture.shape[:2]
    extent = [length * scale / choice.tissue_downsample for length in (width, height)]
    box = (0.0, 0.0, min(extent[0], choice.tissue.shape[1]), min(extent[1], choice.tissue.shape[0]))
    mask = Image.fromarray(choice.tissue).convert("L").resize((width, height), Image.Resampling.NEAREST, box=box)
    dimmed = np.where(np.asarray(mask)[:, :, None] > 0, picture, picture // 2 + 64).astype(np.uint8)
    drawn = Image.fromarray(dimmed)
    pen = ImageDraw.Draw(drawn)
    edge = preset.patch_px * choice.downsample / scale
    for index in choice.chosen:
        left, top = (corner / scale for corner in _corner(choice, preset, index))
        pen.rectangle((left, top, left + edge - 1, top + edge - 1), outline=(0, 110, 60), width=2)
    return np.asarray(drawn)


def _known_mpp(slide: Slide) -> float:
    if slide.mpp_um is None:
        raise InputError(
            f"{slide.name} does not say how large its pixels are, so its magnification is unknown",
            code="E_SLIDE_MPP_UNKNOWN",
            fix="State the micrometres per pixel of the finest level with --mpp; a 20x scan has about 0.5.",
        )
    return slide.mpp_um


def _patch_downsample(slide: Slide, preset: SlidePreset) -> tuple[float, list[Flag]]:
    """Pixels of level 0 per pixel of a patch: as the preset says, or as a level that is close enough has it."""
    mpp = _known_mpp(slide)
    wanted = preset.mpp_um / mpp
    if wanted < 1 / (1 + COARSER):
        raise InputError(
            f"{slide.name} has {mpp:.3g} um per pixel, preset {preset.name} needs {preset.mpp_um:g} or finer",
            code="E_SLIDE_COARSE",
            fix="Choose a preset of lower magnification, or give the slide at full resolution.",
        )
    downsample = _near_level(slide, wanted)
    if downsample < 1:
        text = (
            f"The slide has {mpp:.3g} um per pixel, the preset {preset.mpp_um:g}; it is shown as it is, not enlarged."
        )
        return 1.0, [Flag(code="F_SLIDE_COARSER", text=text)]
    return downsample, []


def _near_level(slide: Slide, wanted: float) -> float:
    """The downsample of a level that is close enough to be taken as it is, else the wanted one."""
    return next((level.downsample for level in slide.levels if abs(level.downsample / wanted - 1) <= SAME_MPP), wanted)


def _find_tissue(slide: Slide, preset: SlidePreset, grid_rc: tuple[int, int], stride: float) -> tuple[Mask, float]:
    """Where tissue is, and how many pixels of level 0 one pixel of that mask has."""
    top, downsample = slide.levels[0], max(1.0, preset.mask_mpp_um / _known_mpp(slide))
    while top.width * top.height > preset.mask_pixels * downsample**2:
        downsample *= 2
    downsample = _near_level(slide, downsample)
    size = (max(1, int(top.width / downsample)), max(1, int(top.height / downsample)))
    picture = slide.read_scaled((0, 0), downsample, size)
    if preset.mask == "hsv":
        return tissue_mask(picture), downsample
    edge = stride / downsample
    luminance = grid_luminance(picture, grid_rc, (grid_rc[1] * edge, grid_rc[0] * edge))
    return (luminance >= TUTORIAL_LUMINANCE[0]) & (luminance <= TUTORIAL_LUMINANCE[1]), stride


def _per_cell(tissue: Mask, edge: float, grid_rc: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Tissue pixels in each cell of the grid, row by row, and their share of the cell; ``edge`` in mask pixels."""
    bounds = [
        np.minimum(np.rint(np.arange(cells + 1) * edge).astype(int), length)
        for cells, length in zip(grid_rc, tissue.shape)
    ]
    strips = np.add.reduceat(np.pad(tissue, ((0, 1), (0, 0))), bounds[0], axis=0, dtype=np.int64)[:-1]
    areas = np.add.reduceat(np.pad(strips, ((0, 0), (0, 1))), bounds[1], axis=1)[:, :-1].ravel()
    return areas, areas / edge**2


def _corner(choice: PatchChoice, preset: SlidePreset, index: int) -> tuple[float, float]:
    """Upper left corner of a patch in pixels of level 0."""
    row, column = divmod(index, choice.grid_rc[1])
    stride = preset.patch_px * choice.downsample
    return column * stride, row * stride


def _read_patch(
    slide: Slide, preset: SlidePreset, downsample: float, corner_xy: tuple[float, float]
) -> NDArray[np.uint8]:
    """(patch_px, patch_px, 3) uint8; black where the slide ends."""
    top, edge = slide.levels[0], preset.patch_px
    size = tuple(max(1, min(edge, math.floor(side / downsample))) for side in (top.width, top.height))
    pixels = slide.read_scaled(corner_xy, downsample, (size[0], size[1]))
    if size == (edge, edge):
        return pixels
    padded = np.zeros((edge, edge, 3), np.uint8)
    padded[: size[1], : size[0]] = pixels
    return padded


def _no_tissue(slide: Slide, preset: SlidePreset, some: bool) -> InputError:
    if some:
        edge = preset.patch_px * preset.mpp_um / 1000
        message = f"{slide.name} shows tissue, but no whole patch of {edge:.2g} mm holds enough of it"
        fix = "Choose a preset of higher magnification; its patches are smaller."
    else:
        message = f"no tissue was found on {slide.name}"
        fix = "Look at the slide; only stained tissue on bright glass is recognised."
    return InputError(message, code="E_SLIDE_NO_TISSUE", fix=fix)


def _facts(slide: Slide, preset: SlidePreset, choice: PatchChoice, seed: int) -> dict[str, Any]:
    mm_per_pixel = _known_mpp(slide) * choice.tissue_downsample / 1000
    return {
        "magnification": preset.magnification,
        "mpp_um": round(choice.mpp_um, 6),
        "level0_mpp_um": _known_mpp(slide),
        "tissue_mpp_um": round(_known_mpp(slide) * choice.tissue_downsample, 6),
        "grid_rc": choice.grid_rc,
        "tissue_mm2": round(float(choice.tissue.sum()) * mm_per_pixel**2, 3),
        "tissue_patches": len(choice.candidates),
        "patches": len(choice.chosen),
        "coverage": round(choice.coverage, 4),
        "seed": seed,
        "order": preset.order,
        "color": "as stored, no ICC profile applied",
    }
