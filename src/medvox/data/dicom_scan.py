"""A quick look at the header of a plain DICOM file: the values of some elements, straight from the bytes.

First step of ``data/dicom.py`` for the files that make up nearly every folder: one image, little endian, ordinary text.
Gives up (None) on whatever is unusual; ``dicom_file`` then parses the file properly. A test holds both ways to the same
result. Knows no series and no geometry.

Source: DICOM PS3.5 sections 6.2 (value representations), 7.1 (elements) and 7.5 (sequences).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
ENCAPSULATED = "1.2.840.10008.1.2.4."  # what follows names the codec; the header is explicit little endian
RLE = "1.2.840.10008.1.2.5"

PIXELS, FIRST_PIXELS = 0x7FE00010, 0x7FE00008
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
MAX_DEPTH = 8  # deeper nesting is for the parser, which counts it
MAX_ELEMENTS = 5000

LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
SHORT = {
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN"),
    *(b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
}
NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
TAG = struct.Struct("<HH").unpack_from
SHORT_LENGTH = struct.Struct("<H").unpack_from
LONG_LENGTH = struct.Struct("<I").unpack_from

Value = str | int | float | bytes
Facts = dict[int, tuple[Value, ...]]  # tag -> its values; absent and empty elements have no entry


class Unusual(Exception):  # noqa: N818  # not an error: the parser takes over
    """Something that only the parser should judge."""


class Short(Exception):  # noqa: N818
    """The bytes end before the pixel data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """What a scan found. ``pixels_at`` is where the pixel bytes start; ``pixels_bytes`` None when encapsulated.

    ``start_sha256`` is that of everything before the pixel bytes: while it stays the same, so does the header.
    """

    transfer_syntax: str
    facts: Facts
    pixels_at: int
    pixels_bytes: int | None
    start_sha256: bytes


def scan(content: bytes, wanted: Mapping[int, str], stop_at: frozenset[int]) -> Scan | None:
    """Look at the first bytes of a file.

    Args:
        content: the file, or enough of it to reach its pixel data.
        wanted: tag -> VR of the elements to keep; the VR counts where the file does not state one.
        stop_at: tags that make a file unusual.

    Raises:
        Short: more bytes are needed.
    """
    try:
        syntax, at = _meta(content)
        return _dataset(content, at, syntax, wanted, stop_at)
    except struct.error as error:
        raise Short from error
    except (Unusual, ValueError):  # also text that is not ASCII, and numbers that are none
        return None


def decoded(vr: str, raw: bytes) -> tuple[Value, ...]:
    """The values of one element.

    Raises:
        Unusual, ValueError: the bytes do not fit the VR.
    """
    if vr in NUMBERS:
        code = NUMBERS[vr]
        size = struct.calcsize(code)
        if len(raw) % size:
            raise Unusual
        return struct.unpack(f"<{len(raw) // size}{code}", raw)
    if vr in ("OB", "OW", "UN", "SQ"):
        return (raw,)
    text = raw.decode("ascii").strip(" \0")
    if "\x1b" in text:
        raise Unusual
    if not text:
        return ()
    if vr in ("LT", "ST", "UT"):
        return (text,)
    parts = [part.strip(" \0") for part in text.split("\\")]
    if vr == "DS":
        return tuple(map(float, parts))
    if vr == "IS":
        return tuple(map(int, parts))
    return tuple(parts)


def _meta(content: bytes) -> tuple[str, int]:
    """Transfer syntax, and where the data set starts."""
    if content[128:132] != b"DICM":
        raise Unusual
    at, syntax = 132, ""
    while True:
        group, number = TAG(content, at)
        if group != 2:
            break
        _, at, length = _explicit(content, at)
        if number == 0x0010:
            syntax = content[at : at + length].decode("ascii").strip(" \0")
        at += length
    plain = syntax in (EXPLICIT, IMPLICIT, RLE) or syntax.startswith(ENCAPSULATED)
    if not plain:
        raise Unusual
    return syntax, at


def _explicit(content: bytes, at: int) -> tuple[bytes, int, int]:
    """VR, offset of the value, length."""
    vr = content[at + 4 : at + 6]
    if vr in SHORT:
        return vr, at + 8, SHORT_LENGTH(content, at + 6)[0]
    if vr in LONG:
        return vr, at + 12, LONG_LENGTH(content, at + 8)[0]
    raise Unusual


def _dataset(content: bytes, at: int, syntax: str, wanted: Mapping[int, str], stop_at: frozenset[int]) -> Scan:
    implicit, facts, before = syntax == IMPLICIT, Facts(), 0
    for _ in range(MAX_ELEMENTS):
        group, number = TAG(content, at)
        tag = group << 16 | number
        if tag <= before or tag in stop_at or (tag >= FIRST_PIXELS and tag != PIXELS):
            raise Unusual
        before = tag
        if implicit:
            vr, at, length = b"", at + 8, LONG_LENGTH(content, at + 4)[0]
            if content[at - 4 : at - 2].isalpha() and content[at - 4 : at - 2].isupper():
                raise Unusual  # looks like a VR: the file is not what it says
        else:
            vr, at, length = _explicit(content, at)
        if tag == PIXELS:
            return Scan(
                transfer_syntax=syntax,
                facts=facts,
                pixels_at=at,
                pixels_bytes=None if length == UNDEFINED else length,
                start_sha256=hashlib.sha256(content[:at]).digest(),
            )
        if length == UNDEFINED:
            if tag in wanted or vr not in (b"SQ", b""):
                raise Unusual
            at = _behind_items(content, at, implicit, 0)
            continue
        if at + length > len(content):
            raise Short
        if tag in wanted:
            _keep(facts, tag, wanted[tag], vr, content[at : at + length])
        at += length
    raise Unusual


def _keep(facts: Facts, tag: int, known: str, stated: bytes, raw: bytes) -> None:
    vr = stated.decode("ascii") if stated not in (b"", b"UN") else known
    if not tag & 0x10000 and vr in ("OB", "OW", "SQ"):
        raise Unusual
    values = decoded(vr, raw)
    if values:
        facts[tag] = values


def _behind_items(content: bytes, at: int, implicit: bool, depth: int) -> int:
    """The offset behind a sequence of undefined length."""
    if depth > MAX_DEPTH:
        raise Unusual
    while True:
        group, number = TAG(content, at)
        tag, length = group << 16 | number, LONG_LENGTH(content, at + 4)[0]
        at += 8
        if tag == SEQUENCE_END:
            return at
        if tag != ITEM:
            raise Unusual
        at = _behind_item(content, at, implicit, depth) if length == UNDEFINED else at + length


def _behind_item(content: bytes, at: int, implicit: bool, depth: int) -> int:
    """The offset behind an item of undefined length."""
    while True:
        group, number = TAG(content, at)
        if group == 0xFFFE:
            if number != ITEM_END & 0xFFFF:
                raise Unusual
            return at + 8
        if implicit:
            vr, at, length = b"SQ", at + 8, LONG_LENGTH(content, at + 4)[0]
        else:
            vr, at, length = _explicit(content, at)
        if length != UNDEFINED:
            at += length
        elif vr == b"SQ":
            at = _behind_items(content, at, implicit, depth + 1)
        else:
            raise Unusual
