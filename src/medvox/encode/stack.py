"""Volumes -> one stack of pictures: which slices are shown, and in which order. Shared by the CT and MRI presets.

Stage two of the path. Several volumes (reconstruction kernels, MR sequences) lie one after the other in the stack, and
the slice limit holds for the stack as a whole. Knows no intensity: a preset draws each slice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medvox.data.volume import Volume
from medvox.encode.images import Origin, PreparedImages, square_rgb
from medvox.errors import UsageError
from medvox.types import Progress

THREADS = min(4, os.cpu_count() or 1)  # resizing lets other threads run
Draw = Callable[[int, int], NDArray[np.uint8]]  # (volume, slice) -> (R, C) or (R, C, 3)


class StackPreset(Protocol):
    """What a recipe for slices says about the stack."""

    @property
    def name(self) -> str:
        """Stable name."""

    @property
    def hash(self) -> str:
        """Changes when anything in the recipe changes."""

    @property
    def max_slices(self) -> int:
        """More slices than this are thinned by ``select_slices``."""


def select_slices(count: int, limit: int) -> list[int]:
    """Indices of the slices to show: all of them, or ``limit`` spread evenly.

    The published rule: round(i / limit * (count - 1)) for i = 1..limit with Python's rounding, so that the last slice
    is always shown and the first one is not when there are many.
    """
    if count <= limit:
        return list(range(count))
    return [round(i / limit * (count - 1)) for i in range(1, limit + 1)]


def as_stack(volumes: Volume | Sequence[Volume]) -> tuple[Volume, ...]:
    """One volume or several of them as a tuple.

    Raises:
        UsageError: no volume at all (``E_NO_IMAGE``).
    """
    stack = (volumes,) if isinstance(volumes, Volume) else tuple(volumes)
    if not stack:
        raise UsageError("there is no volume to prepare", code="E_NO_IMAGE", fix="Give at least one volume.")
    return stack


def prepare_stack(
    stack: Sequence[Volume], preset: StackPreset, draw: Draw, *, size: int, progress: Progress
) -> PreparedImages:
    """Draw, pad and resize the slices of a stack; each is labelled ``SLICE n``, counted from 1 through the stack.

    ``origins`` name the volume and the slice in it; ``dropped`` counts slices through the stack, from 0.
    """
    places = [(source, index) for source, volume in enumerate(stack) for index in range(len(volume.voxels))]
    used = select_slices(len(places), preset.max_slices)
    images = np.empty((len(used), size, size, 3), np.uint8)
    origins = []

    def prepare(number: int) -> Origin:
        source, index = places[used[number]]
        images[number], square = square_rgb(draw(source, index), size)
        return Origin(source=source, index=index, square=square)

    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        for origin in pool.map(prepare, range(len(used))):
            origins.append(origin)
            progress("preparing slices", len(origins), len(used))
    return PreparedImages(
        images=images,
        labels=tuple(f"SLICE {number}" for number in range(1, len(used) + 1)),
        origins=tuple(origins),
        dropped=tuple(sorted(set(range(len(places))) - set(used))),
        preset=preset.name,
        preset_hash=preset.hash,
    )
