"""Siemens' private CSA header -> the numbers of the entries that are asked for.

Used by ``dicom_header`` for mosaics. Knows no geometry. Whatever does not have the expected form gives nothing.

Source: the layout is not published; it is the one that every reader relies on (``SV10``, see nibabel's
``nicom/csareader.py``): a count of entries; each has a name of 64 bytes, its number of items, and items of text.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection

MARK = b"SV10\4\3\2\1"
MAX_ENTRIES, MAX_ITEMS = 256, 1024
ENTRY = struct.Struct("<64si4siii")
ITEM = struct.Struct("<4i")


def read_csa(content: bytes, names: Collection[str]) -> dict[str, tuple[float, ...]]:
    """Finite numbers of some entries; entries that are absent, empty or no numbers are left out."""
    found: dict[str, tuple[float, ...]] = {}
    if not content.startswith(MARK):
        return found
    try:
        entries, at = struct.unpack_from("<I", content, len(MARK))[0], len(MARK) + 8
        for _ in range(min(entries, MAX_ENTRIES)):
            name, _, _, _, items, _ = ENTRY.unpack_from(content, at)
            texts, at = _items(content, at + ENTRY.size, items)
            key = name.split(b"\0", 1)[0].decode("latin-1")
            if key in names and texts:
                found[key] = tuple(map(float, texts))
    except (struct.error, ValueError):  # cut short, or text that is no number: what was read so far counts
        pass
    return {name: values for name, values in found.items() if all(map(math.isfinite, values))}


def _items(content: bytes, at: int, count: int) -> tuple[list[str], int]:
    """The texts of one entry that are not empty, and the offset behind them."""
    if not 0 <= count <= MAX_ITEMS:
        raise ValueError
    texts = []
    for _ in range(count):
        length = ITEM.unpack_from(content, at)[1]
        if not 0 <= length <= len(content) - at:
            raise ValueError
        at += ITEM.size
        text = content[at : at + length].split(b"\0", 1)[0].decode("latin-1").strip()
        if text:
            texts.append(text)
        at += (length + 3) // 4 * 4
    return texts, at
