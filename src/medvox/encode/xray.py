"""X-rays and other 2-D pictures -> the pictures a MedGemma-class model expects: full range as 8 bits, square, resized.

Stage two of the path. One picture, or several of one patient over time: the prior first, the current one last. Colour
photographs pass the same way. Knows Pictures, knows no model and no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvox.data.picture import Picture
from medvox.encode.images import Origin, PreparedImages, recipe_hash, square_rgb
from medvox.errors import UsageError
from medvox.types import Flag, Progress, no_progress


@dataclass(frozen=True, kw_only=True, slots=True)
class XrayPreset:
    """A published input recipe for X-rays: 8-bit pictures as they are, others (value - low) / (high - low) * 255.

    Attributes:
        name: stable name with the model family's version.
        pixel_range: what low and high are; ``full`` is the picture's own lowest and highest value, without a window.
        constant_grey: grey of a picture that has one value only.
        resample: how a picture is resized; ``bilinear`` is Pillow's, which averages when it shrinks.
    """

    name: str
    pixel_range: str = "full"
    constant_grey: int = 0
    resample: str = "bilinear"

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of all fields: changes when anything in the recipe changes."""
        return recipe_hash(self)


# The published server since February 2026: modality LUT, no window, full dynamic range, MONOCHROME1 inverted (which the
# reader has done), 8-bit pictures untouched. The notebook that multiplies 8-bit pixels by 255 is a known slip.
XRAY_MEDGEMMA_1_5 = XrayPreset(name="xray.medgemma-1.5")


def prepare_xray(
    pictures: Picture | Sequence[Picture],
    preset: XrayPreset = XRAY_MEDGEMMA_1_5,
    *,
    size: int = 896,
    progress: Progress = no_progress,
) -> PreparedImages:
    """Bring pictures to 8 bits, pad them to squares and resize them.

    Several pictures are put in the order of their acquisition, the oldest first, when all of them state it; else they
    stay in the order in which they were given, with a flag. ``origins[i].source`` counts the pictures as given.

    Args:
        pictures: one picture, or several over time.
        preset: the recipe.
        size: edge of the pictures in pixels, as the model's ``preprocessor_config.json`` says.
        progress: told after each picture.

    Raises:
        UsageError: no picture (``E_NO_IMAGE``).
    """
    given = [pictures] if isinstance(pictures, Picture) else list(pictures)
    if not given:
        raise UsageError("there is no picture to show", code="E_NO_IMAGE", fix="Give at least one picture.")
    order, flags = _order(given)
    images = np.empty((len(given), size, size, 3), np.uint8)
    origins, ranges = [], []
    for place, source in enumerate(order):
        grey, low, high = _as_uint8(given[source].pixels, preset)
        images[place], square = square_rgb(grey, size)
        origins.append(Origin(source=source, index=0, square=square))
        ranges.append((low, high))
        progress("preparing pictures", place + 1, len(given))
    return PreparedImages(
        images=images,
        labels=("",) * len(given),
        origins=tuple(origins),
        dropped=(),
        preset=preset.name,
        preset_hash=preset.hash,
        flags=(*flags, *_constant(ranges)),
        facts={"ranges": ranges, "acquired": [given[source].acquired for source in order]},
    )


def _order(given: list[Picture]) -> tuple[list[int], tuple[Flag, ...]]:
    """Places of the pictures, the oldest first, where that is known."""
    order = list(range(len(given)))
    if len(given) < 2:
        return order, ()
    moments = [picture.acquired for picture in given]
    days = [moment[:10] for moment in moments]
    whole = all(len(moment) > 10 for moment in moments)
    keys = moments if whole else days
    if all(keys) and len(set(keys)) == len(keys):
        return sorted(order, key=keys.__getitem__), ()
    text = "the pictures do not state different times; they are shown in the order given, as if the oldest came first"
    return order, (Flag(code="F_XRAY_ORDER_GIVEN", text=text),)


def _constant(ranges: list[tuple[int, int]]) -> tuple[Flag, ...]:
    count = sum(low == high for low, high in ranges)
    text = f"{count} of {len(ranges)} pictures have one value only and are shown as plain grey"
    return (Flag(code="F_XRAY_CONSTANT", text=text),) if count else ()


def _as_uint8(pixels: NDArray[Any], preset: XrayPreset) -> tuple[NDArray[np.uint8], int, int]:
    """8-bit pixels, and the values that became black and white."""
    if pixels.dtype == np.uint8:
        return pixels, 0, 255
    low, high = int(pixels.min()), int(pixels.max())
    if low == high:
        return np.full(pixels.shape, preset.constant_grey, np.uint8), low, high
    return np.round((pixels.astype(np.float64) - low) / (high - low) * 255.0).astype(np.uint8), low, high
