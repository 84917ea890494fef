"""CT display windows: Hounsfield units to 8-bit grey.

Used by ``encode`` (what the model sees) and by figures (what the reader sees). Knows no preset and no file format.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EVERY_INT16 = np.arange(65536, dtype=np.uint16).view(np.int16)


def window(hu: NDArray[np.int16], low: float, high: float) -> NDArray[np.uint8]:
    """Map ``low``..``high`` linearly to 0..255 and clip outside; same shape as ``hu``.

    The arithmetic is the one of the published MedGemma CT notebooks: float32, (hu - low) / (high - low) * 255, rounded
    half to even.

    Raises:
        ValueError: ``high`` is not above ``low``.
    """
    if not high > low:
        raise ValueError(f"a window needs low < high, not {low} to {high}")
    grey = np.clip(EVERY_INT16, low, high).astype(np.float32)
    grey -= np.float32(low)
    grey /= np.float32(high - low)
    grey *= np.float32(255.0)
    table = np.round(grey).astype(np.uint8)
    return table[hu.view(np.uint16)]
