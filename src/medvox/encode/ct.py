"""CT volume -> the pictures a MedGemma-class model expects: three windows as RGB, at most 85 slices, square, resized.

Stage two of the path. The recipe is a named preset with a hash, so that an answer can say exactly how its input was
made. Knows Volumes, knows no model and no file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medvox.data.volume import Volume
from medvox.data.window import window
from medvox.encode.images import Origin, PreparedImages, recipe_hash, square_rgb
from medvox.errors import InputError
from medvox.types import Progress, no_progress


@dataclass(frozen=True, kw_only=True, slots=True)
class CtPreset:
    """A published input recipe for CT.

    Attributes:
        name: stable name with the model family's version.
        windows_hu: (low, high) in HU for the red, green and blue channel.
        max_slices: more slices than this are thinned by ``select_slices``.
        resample: how a slice is resized; ``bilinear`` is Pillow's, which averages when it shrinks.
    """

    name: str
    windows_hu: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    max_slices: int
    resample: str = "bilinear"

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of all fields: changes when anything in the recipe changes."""
        return recipe_hash(self)


# Windows: MedGemma 1.5 report section 2.3.1 and its CT notebooks. The serving container's green window (135..215) is a
# known slip and is not copied.
CT_MEDGEMMA_1_5 = CtPreset(
    name="ct.medgemma-1.5", windows_hu=((-1024, 1024), (-135, 215), (0, 80)), max_slices=85
)  # fmt: skip


def select_slices(count: int, limit: int) -> list[int]:
    """Indices of the slices to show: all of them, or ``limit`` spread evenly.

    The published rule: round(i / limit * (count - 1)) for i = 1..limit with Python's rounding, so that the last slice
    is always shown and the first one is not when there are many.
    """
    if count <= limit:
        return list(range(count))
    return [round(i / limit * (count - 1)) for i in range(1, limit + 1)]


def prepare_ct(
    volume: Volume, preset: CtPreset = CT_MEDGEMMA_1_5, *, size: int = 896, progress: Progress = no_progress
) -> PreparedImages:
    """Window, pad and resize the slices of a CT volume.

    Args:
        volume: a CT volume in Hounsfield units.
        preset: the recipe.
        size: edge of the pictures in pixels, as the model's ``preprocessor_config.json`` says.
        progress: told after each slice.

    Raises:
        InputError: the volume is not in Hounsfield units.
    """
    if volume.unit != "HU":
        raise InputError(
            f"the volume is in {volume.unit or 'unknown units'}, but preset {preset.name} needs Hounsfield units",
            fix="Give a CT series with RescaleSlope and RescaleIntercept.",
            code="E_CT_UNIT",
        )
    count, rows, columns = volume.voxels.shape
    used = select_slices(count, preset.max_slices)
    images = np.empty((len(used), size, size, 3), np.uint8)
    picture = np.empty((rows, columns, 3), np.uint8)
    for place, index in enumerate(used):
        for channel, (low, high) in enumerate(preset.windows_hu):
            picture[:, :, channel] = window(volume.voxels[index], low, high)
        images[place], square = square_rgb(picture, size)
        progress("preparing slices", place + 1, len(used))
    return PreparedImages(
        images=images,
        labels=tuple(f"SLICE {place}" for place in range(1, len(used) + 1)),
        origins=tuple(Origin(source=0, index=index, square=square) for index in used),
        dropped=tuple(sorted(set(range(count)) - set(used))),
        preset=preset.name,
        preset_hash=preset.hash,
        facts={"windows_hu": preset.windows_hu},
    )
