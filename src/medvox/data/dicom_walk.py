"""A walk over the element structure of a DICOM data set, without keeping anything: how deep, how many, where it ends.

Used by ``dicom_file`` before the parser runs, so that the parser only sees what is within the limits and complete.
Reads tags and lengths, never values. Source: DICOM PS3.5 sections 7.1 (elements) and 7.5 (sequences).
"""

from __future__ import annotations

import struct

from medvox.data.limits import Limits

UNDEFINED = 0xFFFFFFFF
PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}  # double float, float and integer pixel data
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
LONG_LENGTH = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
CAPITALS = frozenset(range(0x41, 0x5B))


class Ends(Exception):  # noqa: N818  # not an error for who can read on
    """The bytes end inside an element."""


class Damaged(Exception):  # noqa: N818
    """The bytes are not a sequence of elements."""


class TooMuch(Exception):  # noqa: N818
    """Deeper or more than the limits allow."""


def looks_explicit(vr: bytes) -> bool:
    """Whether the two bytes after a tag can be a value representation."""
    return len(vr) == 2 and vr[0] in CAPITALS and vr[1] in CAPITALS


class Walk:
    """One walk; counts elements over all calls.

    Args:
        content: the bytes, or the first part of them.
        little: whether numbers are little endian.
        limits: ``dicom_depth`` and ``dicom_elements`` hold.
    """

    def __init__(self, content: bytes, *, little: bool, limits: Limits) -> None:
        order = "<" if little else ">"
        self.content = content
        self.limits = limits
        self.elements = 0
        self._tag = struct.Struct(f"{order}HH").unpack_from
        self._short = struct.Struct(f"{order}H").unpack_from
        self._long = struct.Struct(f"{order}L").unpack_from

    def header(self, start: int, implicit: bool) -> tuple[int, bool]:
        """Walk from ``start`` to the pixel data or the end.

        Returns:
            The offset of the pixel data (else of the end), and whether there is pixel data.

        Raises:
            Ends: the bytes end inside an element.
            Damaged: an element cannot be one.
            TooMuch: a limit is passed.
        """
        at, stopped_by = self._dataset(start, len(self.content), implicit, depth=0)
        return at, stopped_by in PIXELS

    def group(self, at: int, wanted: int) -> int:
        """Walk the explicit elements of one group and give the offset behind them.

        Raises:
            Ends, Damaged, TooMuch: see :meth:`header`.
        """
        while at + 8 <= len(self.content) and self._tag(self.content, at)[0] == wanted:
            self.elements += 1
            if self.elements > self.limits.dicom_elements:
                raise TooMuch
            _, value, length = self._element(at, implicit=False)
            if length == UNDEFINED:
                raise Damaged
            at = value + length
        if at > len(self.content):
            raise Ends
        return at

    def rest(self, pixels: int, implicit: bool) -> None:
        """Walk from the pixel data to the end. Plain pixel data that is cut short is left for the decoder to judge.

        Raises:
            Ends, Damaged, TooMuch: see :meth:`header`; compressed pixel data must be closed.
        """
        more = True
        while more:
            _, value, length = self._element(pixels, implicit)
            if length == UNDEFINED:
                value = self._fragments(value)
            elif value + length > len(self.content):
                return
            else:
                value += length
            pixels, more = self.header(value, implicit)

    def _element(self, at: int, implicit: bool) -> tuple[bytes, int, int]:
        """VR (empty when implicit), offset of the value, and its length."""
        content = self.content
        vr = content[at + 4 : at + 6]
        if implicit or not looks_explicit(vr):  # some writers switch to implicit inside an explicit file
            return b"", at + 8, self._long(content, at + 4)[0]
        if vr not in LONG_LENGTH:
            return vr, at + 8, self._short(content, at + 6)[0]
        if at + 12 > len(content):
            raise Ends
        return vr, at + 12, self._long(content, at + 8)[0]

    def _dataset(self, at: int, end: int, implicit: bool, depth: int) -> tuple[int, int]:
        """Walk one data set, nested or not: up to ``end``, an item delimiter, or the pixel data of the outermost.

        Returns:
            The offset, and the tag that stopped the walk (0 for the end).
        """
        content, limit = self.content, self.limits.dicom_elements
        while at + 8 <= end:
            group, number = self._tag(content, at)
            if group == 0xFFFE and group << 16 | number == ITEM_END:
                return at + 8, ITEM_END
            if group == 0x7FE0 and depth == 0 and group << 16 | number in PIXELS:
                return at, group << 16 | number
            self.elements += 1
            if self.elements > limit:
                raise TooMuch
            vr, value, length = self._element(at, implicit)
            if length == UNDEFINED:
                nested = vr in (b"", b"SQ", b"UN") and not (group == 0x7FE0 and vr == b"")
                at = self._items(value, None, implicit, depth) if nested else self._fragments(value)
                continue
            at = value + length
            if at > end:
                raise Ends if end == len(content) else Damaged
            if vr == b"SQ" or (vr in (b"", b"UN") and length >= 8 and self._is_item(value)):
                self._closed_sequence(value, at, implicit, depth)
        if end < len(content) and at != end:
            raise Damaged
        return at, 0

    def _closed_sequence(self, at: int, end: int, implicit: bool, depth: int) -> None:
        """Look into a sequence of known length. What is wrong inside stays inside: its end is known."""
        try:
            self._items(at, end, implicit, depth)
        except (Damaged, Ends):
            return

    def _items(self, at: int, end: int | None, implicit: bool, depth: int) -> int:
        """Walk the items of a sequence, up to ``end`` or its delimiter, and give the offset behind."""
        if depth >= self.limits.dicom_depth:
            raise TooMuch
        stop = len(self.content) if end is None else end
        while end is None or at < end:
            if at + 8 > stop:
                raise Ends if end is None else Damaged
            group, number = self._tag(self.content, at)
            length, tag = self._long(self.content, at + 4)[0], group << 16 | number
            if tag == SEQUENCE_END:
                return at + 8
            if tag != ITEM:
                raise Damaged
            inside = implicit or not looks_explicit(self.content[at + 12 : at + 14])
            at += 8
            if length == UNDEFINED:
                at, stopped_by = self._dataset(at, stop, inside, depth + 1)
                if stopped_by != ITEM_END:
                    raise Ends
            elif at + length > stop:
                raise Ends if end is None else Damaged
            else:
                self._dataset(at, at + length, inside, depth + 1)
                at += length
        return at

    def _fragments(self, at: int) -> int:
        """Walk the fragments of encapsulated pixel data, and give the offset behind their delimiter."""
        size = len(self.content)
        while at + 8 <= size:
            group, number = self._tag(self.content, at)
            length, tag = self._long(self.content, at + 4)[0], group << 16 | number
            if tag == SEQUENCE_END:
                return at + 8
            if tag != ITEM:
                raise Damaged
            self.elements += 1
            if self.elements > self.limits.dicom_elements:
                raise TooMuch
            at += 8 + length
        raise Ends

    def _is_item(self, at: int) -> bool:
        group, number = self._tag(self.content, at)
        return group << 16 | number == ITEM
