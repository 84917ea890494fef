"""CT volumes -> the pictures a MedGemma-class model expects: three windows as RGB, at most 85 slices, square, resized.

Stage two of the path. The recipe is a named preset with a hash, so that an answer can say exactly how its input was
made. Knows Volumes, knows no model and no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medvox.data.volume import Volume
from medvox.data.window import window
from medvox.encode.images import PreparedImages, recipe_hash
from medvox.encode.stack import as_stack, prepare_stack
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

# MedGemma 1 report section 2.1.2: width/level 2250/-100, 350/40, 80/40. It was trained on single slices.
CT_MEDGEMMA_1 = CtPreset(
    name="ct.medgemma-1", windows_hu=((-1225, 1025), (-135, 215), (0, 80)), max_slices=85
)  # fmt: skip


def prepare_ct(
    volumes: Volume | Sequence[Volume],
    preset: CtPreset = CT_MEDGEMMA_1_5,
    *,
    size: int = 896,
    progress: Progress = no_progress,
) -> PreparedImages:
    """Window, pad and resize the slices of a CT volume, or of several (reconstruction kernels) one after the other.

    Args:
        volumes: CT in Hounsfield units; the slice limit holds for all of them together.
        preset: the recipe.
        size: edge of the pictures in pixels, as the model's ``preprocessor_config.json`` says.
        progress: told after each slice.

    Raises:
        InputError: a volume is not in Hounsfield units (``E_CT_UNIT``).
        UsageError: no volume (``E_NO_IMAGE``).
    """
    stack = as_stack(volumes)
    for volume in stack:
        if volume.unit != "HU":
            raise InputError(
                f"the volume is in {volume.unit or 'unknown units'}, but preset {preset.name} needs Hounsfield units",
                fix="Give a CT series with RescaleSlope and RescaleIntercept.",
                code="E_CT_UNIT",
            )

    def draw(source: int, index: int) -> NDArray[np.uint8]:
        hu = stack[source].voxels[index]
        return np.stack([window(hu, low, high) for low, high in preset.windows_hu], axis=-1)

    prepared = prepare_stack(stack, preset, draw, size=size, progress=progress)
    return replace(prepared, facts={"windows_hu": preset.windows_hu})
