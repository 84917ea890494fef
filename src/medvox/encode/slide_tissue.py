"""Where on a slide there is tissue: a mask of a reduced picture of it, by hue, saturation and value.

Used by ``encode/slide.py``. The published recipe names a multi-stage HSV segmentation and no parameters; this one is
ours. It is made for brightfield stains, sees about 8 um per pixel, and knows no file and no model:

1. The glass: the brightest common colour of little saturation. Each channel is divided by it, so that grey or tinted
   glass becomes white. How much its saturation scatters gives the threshold.
2. Tissue is what is more saturated than glass, and neither black (scanner borders) nor dark and colourless (marker).
3. Blue and green ink is strongly saturated in hues that haematoxylin does not reach; it goes with its pale rim. Red ink
   cannot be told from eosin and stays.
4. Dust goes: a spot whose surroundings of 0.3 mm hold less than 2 % of candidates. Gaps up to 0.05 mm are closed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rgb = NDArray[np.uint8]
Mask = NDArray[np.bool_]

BAND_ROWS = 512  # rows that are judged at once
SAMPLE_PIXELS = 1_000_000  # enough pixels to find the colour of the glass
GLASS_MIN_VALUE, GLASS_MAX_SATURATION = 150, 0.12
GLASS_MIN_SHARE = 0.01  # less than this is no background
BLACK_VALUE = 51  # of 255
DARK_VALUE, DARK_CHROMA = 90, 30  # black ink and shadows: dark, and less colour than any stain of that darkness
SATURATION_RANGE, DEFAULT_SATURATION = (0.04, 0.10), 0.05
BLUE_INK, BLUE_RIM = 0.6, 0.15  # saturation of ink, and of where it runs out
GREEN_INK, GREEN_RIM = 0.25, 0.10
RIM_REACH_PX, RIM_EDGE_PX = 16, 2
CLOSE_PX = 3
SPOT_BLOCK_PX, SPOT_SHARE = 8, 0.02


def tissue_mask(picture: Rgb) -> Mask:
    """(R, C) bool for a picture (R, C, 3) of a slide at about 8 um per pixel."""
    step = max(1, int(np.sqrt(picture.shape[0] * picture.shape[1] / SAMPLE_PIXELS)))
    sample = picture[::step, ::step]
    tables = _white_glass(sample)
    threshold = _saturation_threshold(_applied(tables, sample))
    tissue, ink = np.empty(picture.shape[:2], bool), np.empty(picture.shape[:2], bool)
    rim = np.empty(picture.shape[:2], bool)
    for row in range(0, len(picture), BAND_ROWS):
        band = slice(row, row + BAND_ROWS)
        tissue[band], ink[band], rim[band] = _judged(_applied(tables, picture[band]), threshold)
    if ink.any():
        tissue &= ~dilated(ink | (dilated(ink, RIM_REACH_PX) & rim), RIM_EDGE_PX)
    tissue &= _crowded(tissue)
    return ~dilated(~dilated(tissue, CLOSE_PX), CLOSE_PX) | tissue


def grid_luminance(picture: Rgb, cells_rc: tuple[int, int], size_xy: tuple[float, float]) -> NDArray[np.float32]:
    """Mean brightness (0..1) of each cell of a grid that covers ``size_xy`` pixels of the picture from its corner."""
    grey = Image.fromarray(picture).convert("L")
    box = (0.0, 0.0, min(size_xy[0], grey.width), min(size_xy[1], grey.height))
    means = np.asarray(grey.resize((cells_rc[1], cells_rc[0]), Image.Resampling.BOX, box=box), np.float32)
    return means / np.float32(255)


def dilated(mask: Mask, reach: int) -> Mask:
    """The mask grown by ``reach`` pixels in all eight directions."""
    grown = mask
    for axis in (0, 1):
        left = reach
        width = 1
        while left > 0:  # each pass doubles the reach
            move = min(width, left)
            grown = _spread(grown, move, axis)
            left -= move
            width += move
    return grown


def _spread(mask: Mask, move: int, axis: int) -> Mask:
    spread = mask.copy()
    ahead, behind = [slice(None)] * 2, [slice(None)] * 2
    ahead[axis], behind[axis] = slice(move, None), slice(None, -move)
    spread[tuple(ahead)] |= mask[tuple(behind)]
    spread[tuple(behind)] |= mask[tuple(ahead)]
    return spread


def _white_glass(sample: Rgb) -> list[NDArray[np.uint8]]:
    """Per channel, the table that turns the colour of the glass into white."""
    value, chroma = _value_and_chroma(sample)
    filled = (sample == 255).all(axis=-1)  # holes and scanner filling are no glass
    glass = (value >= GLASS_MIN_VALUE) & (chroma <= GLASS_MAX_SATURATION * value) & ~filled
    color = np.array([255, 255, 255])
    if glass.mean() >= GLASS_MIN_SHARE:
        bright = value[glass]
        near = bright >= 0.92 * np.percentile(bright, 98)
        color = np.median(sample[glass][near], axis=0)
    levels = np.arange(256)
    return [np.minimum(255, np.rint(levels * 255 / channel)).astype(np.uint8) for channel in color]


def _applied(tables: list[NDArray[np.uint8]], picture: Rgb) -> Rgb:
    return np.stack([table[picture[..., channel]] for channel, table in enumerate(tables)], axis=-1)


def _value_and_chroma(picture: Rgb) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """HSV's value (0..255), and its saturation times value."""
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]  # far faster than max(axis=-1)
    value = np.maximum(np.maximum(red, green), blue).astype(np.int16)
    return value, value - np.minimum(np.minimum(red, green), blue)


def _saturation_threshold(sample: Rgb) -> float:
    """Above the scatter of the glass, within the range that keeps faint tissue."""
    value, chroma = _value_and_chroma(sample)
    glass = (value >= 0.92 * 255) & (chroma <= GLASS_MAX_SATURATION * value)
    if glass.mean() < GLASS_MIN_SHARE:
        return DEFAULT_SATURATION
    saturation = chroma[glass] / value[glass]
    middle = float(np.median(saturation))
    scatter = float(np.median(np.abs(saturation - middle)))
    return float(np.clip(middle + 6 * scatter, *SATURATION_RANGE))


def _judged(picture: Rgb, threshold: float) -> tuple[Mask, Mask, Mask]:
    """Which pixels look like tissue, like ink, and like the rim of ink."""
    value, chroma = _value_and_chroma(picture)
    colourless = (value < BLACK_VALUE) | ((value < DARK_VALUE) & (chroma < DARK_CHROMA))
    tissue = (chroma > np.float32(threshold) * value) & ~colourless
    red, green, blue = (picture[..., channel].astype(np.int16) for channel in range(3))
    # Hue within 195..245 degrees, and within 75..165 degrees.
    is_blue = (blue == value) & (red - green <= 0.08 * chroma) & (green - red <= 0.75 * chroma)
    is_green = (green == value) & (np.abs(blue - red) <= 0.75 * chroma)
    saturation = chroma / np.maximum(value, np.float32(1))
    ink = (is_blue & (saturation >= BLUE_INK)) | (is_green & (saturation >= GREEN_INK))
    rim = (is_blue & (saturation >= BLUE_RIM)) | (is_green & (saturation >= GREEN_RIM))
    return tissue, ink, rim


def _crowded(mask: Mask) -> Mask:
    """Pixels whose surroundings of five blocks of eight pixels hold enough of the mask."""
    edge, (height, width) = SPOT_BLOCK_PX, mask.shape
    rows, columns = -(-height // edge), -(-width // edge)
    padded = np.pad(mask, ((0, rows * edge - height), (0, columns * edge - width)))
    counts = padded.reshape(rows, edge, columns, edge).sum(axis=(1, 3), dtype=np.int32)
    around = np.pad(counts, 2)
    total = sum(around[y : y + rows, x : x + columns] for y in range(5) for x in range(5))
    enough = np.asarray(total >= SPOT_SHARE * (5 * edge) ** 2)
    return enough.repeat(edge, axis=0).repeat(edge, axis=1)[:height, :width]
