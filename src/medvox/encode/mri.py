"""MR volumes -> the pictures a MedGemma-class model expects: full range as grey, at most 85 slices, square, resized.

Stage two of the path. Every volume is scaled by its own lowest and highest value, never by a slice's, so that slices
of one sequence stay comparable. Knows Volumes, knows no model and no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medvox.data.volume import Volume
from medvox.encode.images import PreparedImages, recipe_hash
from medvox.encode.stack import as_stack, prepare_stack
from medvox.errors import InputError
from medvox.types import Flag, Progress, no_progress

MAY_BE_MR = ("MR", "")  # NIfTI states no modality


@dataclass(frozen=True, kw_only=True, slots=True)
class MriPreset:
    """A published input recipe for MRI: (value - lowest) / (highest - lowest) * 255 over the whole volume.

    Attributes:
        name: stable name with the model family's version.
        max_slices: more slices than this in the stack are thinned by ``select_slices``.
        constant_grey: grey of a volume that has one value only.
        resample: how a slice is resized; ``bilinear`` is Pillow's, which averages when it shrinks.
    """

    name: str
    max_slices: int
    constant_grey: int
    resample: str = "bilinear"

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of all fields: changes when anything in the recipe changes."""
        return recipe_hash(self)


# MedGemma 1.5 report section 2.3.1; the published server's normalisation: no windowing, percentiles or bias correction.
MRI_MEDGEMMA_1_5 = MriPreset(name="mri.medgemma-1.5", max_slices=85, constant_grey=255)


def prepare_mri(
    volumes: Volume | Sequence[Volume],
    preset: MriPreset = MRI_MEDGEMMA_1_5,
    *,
    size: int = 896,
    progress: Progress = no_progress,
) -> PreparedImages:
    """Scale, pad and resize the slices of an MR volume, or of several sequences one after the other.

    Args:
        volumes: MR; each is scaled by its own range, the slice limit holds for all of them together.
        preset: the recipe.
        size: edge of the pictures in pixels, as the model's ``preprocessor_config.json`` says.
        progress: told after each slice.

    Raises:
        InputError: a volume of another modality (``E_MRI_MODALITY``), or values that are no numbers
            (``E_MRI_NOT_FINITE``).
        UsageError: no volume (``E_NO_IMAGE``).
    """
    stack = as_stack(volumes)
    ranges = [_range(volume, preset) for volume in stack]

    def draw(source: int, index: int) -> NDArray[np.uint8]:
        low, high = ranges[source]
        values = stack[source].voxels[index]
        if low == high:
            return np.full(values.shape, preset.constant_grey, np.uint8)
        return np.round((values.astype(np.float64) - low) / (high - low) * 255.0).astype(np.uint8)

    prepared = prepare_stack(stack, preset, draw, size=size, progress=progress)
    facts = {"ranges": ranges, "slices": [len(volume.voxels) for volume in stack]}
    return replace(prepared, facts=facts, flags=tuple(_constant(ranges, preset)))


def _range(volume: Volume, preset: MriPreset) -> tuple[float, float]:
    if volume.modality not in MAY_BE_MR or volume.unit == "HU":
        raise InputError(
            f"the volume is {volume.modality or 'in Hounsfield units'}, but preset {preset.name} is for MR",
            code="E_MRI_MODALITY",
            fix="Choose the preset of its modality.",
        )
    low, high = float(volume.voxels.min()), float(volume.voxels.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(
            "the volume holds values that are no numbers",
            code="E_MRI_NOT_FINITE",
            fix="Replace NaN and infinity by a value that means no signal.",
        )
    return low, high


def _constant(ranges: Sequence[tuple[float, float]], preset: MriPreset) -> list[Flag]:
    count = sum(low == high for low, high in ranges)
    if not count:
        return []
    text = f"{count} of {len(ranges)} volumes have one value only and are shown as plain grey {preset.constant_grey}"
    return [Flag(code="F_MRI_CONSTANT", text=text)]
