"""What every image preset makes: square RGB pictures for a model, and where each of them came from.

Stage two of the path; ``batch`` and ``prompt`` are next. The presets (ct, mri, xray, slide, page) fill it. Knows no
model and no file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medvox.data.square import BoxXyxy, Square
from medvox.types import Flag, RgbImages


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where one picture was taken from, and the way back for boxes.

    Attributes:
        source: which of the values that were given (volume, slide, document, picture), counted from 0.
        index: which part of it: slice of the volume, page of the document, patch of the slide; 0 for a picture.
        square: the padding of the cut-out before it was resized.
        corner_xy: the cut-out's upper left corner in pixels of the source; 0, 0 where all of it was taken.
        scale: pixels of the source per pixel of the cut-out; above 1 for a patch of a reduced slide level.
    """

    source: int
    index: int
    square: Square
    corner_xy: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0

    def to_source(self, box: BoxXyxy) -> BoxXyxy:
        """A box in pixels of the padded square -> pixels of the source (slice, page, picture, slide level 0)."""
        x0, y0, x1, y1 = self.square.to_picture(box)
        (left, top), scale = self.corner_xy, self.scale
        return (left + scale * x0, top + scale * y0, left + scale * x1, top + scale * y1)


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedImages:
    """Pictures ready for a model, and what was done to get them.

    Attributes:
        images: (N, size, size, 3) uint8, in the order in which the model reads them.
        labels: what the prompt says after each picture, such as ``SLICE 1``; empty where it says nothing.
        origins: where each picture came from.
        dropped: indices of the slices, patches or pages that were not shown.
        preset: name of the recipe.
        preset_hash: 16 hex digits that change when anything in the recipe changes.
        flags: what a reader of the answer must know.
        facts: JSON-ready facts for the receipt: windows, magnification, coverage.
    """

    images: RgbImages
    labels: tuple[str, ...]
    origins: tuple[Origin, ...]
    dropped: tuple[int, ...]
    preset: str
    preset_hash: str
    flags: tuple[Flag, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def used(self) -> tuple[int, ...]:
        """The part of the source behind each picture."""
        return tuple(origin.index for origin in self.origins)


def recipe_hash(preset: Any) -> str:
    """First 16 hex digits of the SHA-256 of all fields of a preset (a frozen dataclass)."""
    return hashlib.sha256(json.dumps(asdict(preset), sort_keys=True).encode()).hexdigest()[:16]


def square_rgb(picture: NDArray[np.uint8], size: int) -> tuple[NDArray[np.uint8], Square]:
    """Pad a grey (R, C) or colour (R, C, 3) picture with zeros to a square and resize it bilinearly.

    Half of the missing rows or columns goes before, the rest after (the published "method used in training").
    Bilinear is Pillow's, which averages when it shrinks.

    Returns:
        (size, size, 3) uint8, and the padding for taking boxes back.
    """
    rows, columns = picture.shape[:2]
    square = Square(rows=rows, columns=columns)
    padded = np.zeros((square.side, square.side, 3), np.uint8)
    inside = padded[square.top : square.top + rows, square.left : square.left + columns]
    inside[:] = picture if picture.ndim == 3 else picture[:, :, None]
    if square.side == size:
        return padded, square
    return np.asarray(Image.fromarray(padded).resize((size, size), Image.Resampling.BILINEAR)), square
