"""Colours of DICOM images: luminance and chrominance -> RGB, palette numbers -> RGB.

Used by ``dicom_pixels`` (YBR) and ``dicom_pictures`` (palettes). Knows arrays and the palette elements, not files.

Source: DICOM PS3.3 C.7.6.3.1.2 (photometric interpretation), C.7.6.3.1.5 (palette descriptors), C.7.9.2 (segmented).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from medvox.errors import InputError

CHANNELS = ("Red", "Green", "Blue")
MAX_ENTRIES = 65_536
DISCRETE, LINEAR, INDIRECT = 0, 1, 2  # segment types
CR_RED, CB_GREEN, CR_GREEN, CB_BLUE = 1.402, -0.344136286, -0.714136286, 1.772


def rgb_from_ybr(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """YBR_FULL (..., 3) -> RGB (..., 3), rounded and clipped."""
    luminance = values[..., 0].astype(np.float32)
    blue, red = (values[..., channel].astype(np.float32) - np.float32(128) for channel in (1, 2))
    out = np.empty(values.shape, np.uint8)
    for channel, part in enumerate((CR_RED * red, CB_GREEN * blue + CR_GREEN * red, CB_BLUE * blue)):
        out[..., channel] = np.clip(np.rint(luminance + part), 0, 255)
    return out


def ybr_from_422(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Stored YBR_FULL_422 bytes (Y1 Y2 Cb Cr, two pixels each) -> YBR_FULL samples (pixels, 3)."""
    pairs = data.reshape(-1, 4)
    full = np.empty((len(pairs), 2, 3), np.uint8)
    full[:, 0, 0], full[:, 1, 0] = pairs[:, 0], pairs[:, 1]
    full[:, :, 1:] = pairs[:, None, 2:]
    return full.reshape(-1, 3)


def rgb_from_palette(values: NDArray[Any], dataset: Dataset, name: str) -> NDArray[np.uint8]:
    """Palette numbers (...) -> RGB (..., 3). Numbers outside the palette take its first or last entry.

    Raises:
        InputError: a palette is missing or damaged (``E_DICOM_PALETTE``).
    """
    try:
        tables = [_table(dataset, channel) for channel in CHANNELS]
    except Exception as error:  # a damaged element, or a table that does not fit its descriptor
        raise InputError(
            f"{name} has a palette that is missing or damaged ({type(error).__name__})",
            code="E_DICOM_PALETTE",
            fix="Export the image again, as RGB if the system offers that.",
        ) from error
    out = np.empty((*values.shape, 3), np.uint8)
    for channel, (first, entries) in enumerate(tables):
        place = np.clip(values.astype(np.int64) - first, 0, len(entries) - 1)
        out[..., channel] = entries[place]
    return out


def _table(dataset: Dataset, channel: str) -> tuple[int, NDArray[np.uint8]]:
    """First number mapped, and the entries reduced to 8 bits."""
    count, first, bits = (int(value) for value in dataset[f"{channel}PaletteColorLookupTableDescriptor"].value)
    count = (count & 0xFFFF) or MAX_ENTRIES
    if dataset.get("PixelRepresentation") == 1:
        first = (first & 0xFFFF) - ((first & 0x8000) << 1)
    else:
        first &= 0xFFFF
    if bits not in (8, 16):
        raise ValueError("a palette has 8 or 16 bits")
    order = "<" if dataset.original_encoding[1] is not False else ">"
    plain = dataset.get(f"{channel}PaletteColorLookupTableData")
    if plain is not None:
        entries = _words(plain, count, bits, order)
    else:
        segmented = dataset[f"Segmented{channel}PaletteColorLookupTableData"].value
        entries = np.asarray(expanded(_words(segmented, None, bits, order).tolist(), bits), np.int64)
    if len(entries) != count or entries.max() >= 1 << bits:
        raise ValueError("a palette does not fit its descriptor")
    return first, (entries >> (bits - 8)).astype(np.uint8)


def _words(data: bytes, count: int | None, bits: int, order: str) -> NDArray[Any]:
    """Entries of a table; those with 8 bits may take a byte each, or a word each."""
    if bits == 8 and (len(data) != 2 * count if count else True):
        entries = np.frombuffer(data, np.uint8)
        return entries[:count] if count and len(entries) == count + count % 2 else entries
    return np.frombuffer(data, f"{order}u2").astype(np.int64)


def expanded(segments: Sequence[int], bits: int) -> list[int]:
    """Expand a segmented palette (PS3.3 C.7.9.2) whose numbers have 8 or 16 bits.

    Raises:
        ValueError: a segment is damaged, or the palette grows beyond 65,536 entries.
    """
    out: list[int] = []
    at = 0
    while at + 1 < len(segments):
        if segments[at] == INDIRECT:
            parts = segments[at + 2 : at + 2 + 32 // bits]  # of a 32-bit offset, the low ones first
            source = sum(part << bits * place for place, part in enumerate(parts))
            for _ in range(segments[at + 1]):
                source = _segment(segments, source, out)
            at += 2 + len(parts)
        else:
            at = _segment(segments, at, out)
    return out


def _segment(segments: Sequence[int], at: int, out: list[int]) -> int:
    """Append what a discrete or linear segment stands for, and give the place behind it."""
    kind, length = segments[at : at + 2]
    if len(out) + length > MAX_ENTRIES:
        raise ValueError("a segmented palette is too long")
    if kind == DISCRETE:
        values = segments[at + 2 : at + 2 + length]
        if len(values) != length:
            raise ValueError("a segment is cut short")
        out.extend(values)
        return at + 2 + length
    if kind != LINEAR or not out:
        raise ValueError("a segment of unknown kind, or a ramp from nowhere")
    before, after = out[-1], segments[at + 2]
    out.extend(round(before + (after - before) * step / length) for step in range(1, length + 1))
    return at + 3
