"""Encapsulated pixel data -> the bytes of each frame, refusing tables and counts that do not fit.

Used by ``dicom_pixels``. Decodes nothing. Source: DICOM PS3.5 annex A.4.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence

ITEM, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
STARTS = (b"\xff\xd8", b"\xff\x4f")  # of a JPEG or JPEG-LS stream, of a JPEG 2000 codestream


class FramesLostError(Exception):
    """Frames cannot be told apart or are missing; the text names only counts."""


def frames_of(
    data: bytes, frames: int, *, extended: tuple[bytes, bytes] | None = None, undivided: bool = False
) -> list[bytes]:
    """The compressed bytes of each frame.

    Args:
        data: the value of the pixel data element: an offset table, then fragments.
        frames: how many frames the header announces.
        extended: values of the extended offset table and of its lengths, if there is one.
        undivided: whether each frame must be one fragment, as with RLE.

    Raises:
        FramesLostError: damaged items, fewer or more frames than announced, or an offset table that points elsewhere.
    """
    table, fragments, places = _items(data)
    if extended and extended[0]:
        return _by_extended_table(fragments, places, extended, frames)
    if table:
        return _by_starts(fragments, _starts_by_table(table, places, frames), frames)
    if undivided or (frames > 1 and len(fragments) == frames):
        return _by_starts(fragments, list(range(len(fragments))), frames)
    return _by_starts(fragments, [at for at, item in enumerate(fragments) if item.startswith(STARTS)], frames)


def _items(data: bytes) -> tuple[tuple[int, ...], list[bytes], list[int]]:
    """The basic offset table, the fragments, and where each of them starts, counted as the table counts."""
    items: list[bytes] = []
    places: list[int] = []
    at, origin = 0, 0
    while at + 8 <= len(data):
        group, number, length = struct.unpack_from("<HHL", data, at)
        if (group, number) == SEQUENCE_END:
            break
        if (group, number) != ITEM or at + 8 + length > len(data):
            raise FramesLostError("a fragment of its compressed pixels is damaged or cut short")
        items.append(data[at + 8 : at + 8 + length])
        places.append(at - origin)
        at += 8 + length
        origin = origin or at  # behind the table, the first item
    if len(items) < 2:
        raise FramesLostError("it has no compressed pixels")
    if len(items[0]) % 4:
        raise FramesLostError("its offset table is damaged")
    return struct.unpack(f"<{len(items[0]) // 4}L", items[0]), items[1:], places[1:]


def _starts_by_table(table: Sequence[int], places: list[int], frames: int) -> list[int]:
    """Which fragment each frame starts with."""
    if len(table) != frames:
        raise FramesLostError(f"its offset table has {len(table)} entries for {frames} frame(s)")
    fragment_at = {place: number for number, place in enumerate(places)}
    try:
        return [fragment_at[offset] for offset in table]
    except KeyError:
        raise FramesLostError("its offset table points between fragments") from None


def _by_starts(fragments: list[bytes], starts: list[int], frames: int) -> list[bytes]:
    if len(starts) != frames or starts[:1] != [0]:
        raise FramesLostError(f"{len(starts)} frame(s) start in {len(fragments)} fragment(s), {frames} are announced")
    edges = [*starts, len(fragments)]
    if any(before >= after for before, after in itertools.pairwise(edges)):
        raise FramesLostError("its offset table is out of order")
    return [b"".join(fragments[before:after]) for before, after in itertools.pairwise(edges)]


def _by_extended_table(
    fragments: list[bytes], places: list[int], extended: tuple[bytes, bytes], frames: int
) -> list[bytes]:
    """One fragment a frame is the rule where there is an extended offset table (PS3.3 C.7.6.3.1.8)."""
    offsets, lengths = (struct.unpack(f"<{len(part) // 8}Q", part[: len(part) // 8 * 8]) for part in extended)
    if len(fragments) != frames or list(offsets) != places or len(lengths) != frames:
        raise FramesLostError("its extended offset table does not fit its fragments")
    if any(not len(item) - 1 <= length <= len(item) for item, length in zip(fragments, lengths)):
        raise FramesLostError("its extended offset table does not fit its fragments")
    return fragments
