"""A look at the packed streams of a PDF before the renderer sees them: bombs are refused, active content is named.

Below ``document_pdf``. The renderer is C code that unpacks a whole stream at once, up to a gigabyte, and holds about a
hundred bytes per letter; so what it would unpack is unpacked here first, piece by piece, and only counted. Finds
streams by their keyword, whatever the cross-reference table says. Knows no pages.

Source: ISO 32000-1 sections 7.3.8 (streams) and 7.4 (filters).
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from medvox.data.limits import MIB, Limits
from medvox.errors import BudgetError

STREAM_BYTES = 256 * MIB  # one stream, unpacked; a colour page of A4 at 600 dpi has 105 MB
DRAWING_BYTES = 8 * MIB  # one stream of drawing commands and text
STRING_BYTES = 400_000  # text in one stream of drawing commands; a page of small print has 20 000
MAX_REPEATS = 16  # of one stream in the content of one page
DRAWN_BYTES = 32 * MIB  # commands that one stream draws, with those of the forms in it, and of the forms in those
MAX_FORM_DEPTH = 32  # forms inside of forms; the renderer stops at about that
EXEMPT_BYTES = 32 * MIB  # a stream this small may have any ratio: blank scans pack 1000 to 1
MAX_STREAMS = 100_000
MAX_LAYERS = 4  # filters on top of each other
DICTIONARY_BYTES = 2048  # before the keyword: enough for any dictionary of a stream
PIECE_BYTES = MIB
HEAD_BYTES = 64 * 1024

_STREAM = re.compile(rb"(?<!end)stream(?:\r\n|\n|\r)?")
_NAME_ESCAPE = re.compile(rb"#([0-9A-Fa-f]{2})")
_SIDES = re.compile(rb"/(?:Width|Height|W|H)\s+(\d{1,12})")
_ACTIVE = ((b"/JavaScript", "JavaScript"), (b"/JS", "JavaScript"), (b"/Launch", "commands that start programs"))
_STRINGS = re.compile(rb"\((?:[^()\\]++|\\.)*+\)?|<[0-9A-Fa-f\s]+>?", re.DOTALL)
_CONTENTS = re.compile(rb"/Contents\s*\[([^\]]*)\]")
_OBJECT = re.compile(rb"(\d{1,10})\s+\d{1,5}\s+\Z")
_NAMED = re.compile(rb"/([^\s/<>\[\]()%{}]+)\s+(\d{1,10})\s+\d{1,5}\s+R")
_DO = re.compile(rb"/([^\s/<>\[\]()%{}]+)\s+Do\b")
_REFERENCE = re.compile(rb"\d+\s+\d+\s+R")
_DRAWS = re.compile(rb"[\t\n\r -~]{64}|[\t\n\r -~]+\Z")
_TOO_LARGE = "a packed stream that unpacks to more than is safe"


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamFacts:
    """Kinds of active content that were seen, and how many packed streams are damaged or cut short."""

    active: frozenset[str]
    damaged: int


def check_streams(content: bytes, name: str, limits: Limits) -> StreamFacts:
    """Unpack and count every stream of a PDF.

    Raises:
        BudgetError: ``E_DOCUMENT_LIMIT``.
    """
    return _Check(name, limits, len(content)).run(content)


class _Check:
    def __init__(self, name: str, limits: Limits, size: int) -> None:
        self._name, self._limits = name, limits
        self._left = max(STREAM_BYTES, limits.inflate_ratio * size)  # for all streams together
        self._active: set[str] = set()
        self._named: dict[bytes, set[int]] = defaultdict(set)  # name in any dictionary -> objects it refers to
        self._drawings: dict[int, tuple[int, Counter[bytes]]] = {}  # object -> bytes, and names that it draws
        self._object = self._damaged = 0
        self._says_deflated = False

    def run(self, content: bytes) -> StreamFacts:
        self._note(content)
        ends = [match.start() for match in re.finditer(rb"endstream", content)]
        for number, match in enumerate(_STREAM.finditer(content)):
            if number == MAX_STREAMS:
                raise self._refused(f"more than {MAX_STREAMS} streams")
            place = bisect_left(ends, match.end())
            end = ends[place] if place < len(ends) else len(content)
            lowest = max(0, match.start() - DICTIONARY_BYTES)
            start = max(lowest, content.rfind(b"obj", lowest, match.start()))
            owner = _OBJECT.search(content[max(0, start - 24) : start])
            self._object = int(owner.group(1)) if owner else 0
            dictionary = content[start : match.start()]
            dictionary = _NAME_ESCAPE.sub(lambda code: bytes([int(code.group(1), 16)]), dictionary)
            self._says_deflated = b"/Fl" in dictionary
            self._check_picture(dictionary)
            self._check(content[match.end() : end], b"/LZW" in dictionary, 0)
        self._check_forms()
        return StreamFacts(active=frozenset(self._active), damaged=self._damaged)

    def _check_picture(self, dictionary: bytes) -> None:
        if b"/Image" in dictionary:
            sides = sorted(int(side) for side in _SIDES.findall(dictionary))[-2:]
            if len(sides) == 2:
                self._check_sides(*sides)

    def _check_sides(self, width: int, height: int) -> None:
        if width * height > self._limits.page_pixels:
            raise self._refused(f"a picture of more than {self._limits.page_pixels} pixels")

    def _check(self, data: bytes, is_lzw: bool, layer: int) -> None:
        """Follow one layer of packing after the other, as far as the bytes themselves show it."""
        if layer > MAX_LAYERS:
            raise self._refused(f"a stream packed more than {MAX_LAYERS} times over")
        if data[:2] == b"\xff\xd8":
            self._check_sides(*_jpeg_sides(data))
        elif (place := data[:HEAD_BYTES].find(b"\xff\x4f\xff\x51")) >= 0:  # JPEG 2000: start and size of the picture
            self._check_sides(*_jpeg_2000_sides(data[place : place + 24]))
        elif _is_zlib(data):
            self._inflate(data, layer)
        elif data.rstrip().endswith(b"~>"):
            self._check(_ascii_85(data), is_lzw, layer + 1)
        elif is_lzw:
            self._count(_lzw_size(data, STREAM_BYTES), len(data))
        elif re.fullmatch(rb"[0-9A-Fa-f\s]+>\s*", data[:HEAD_BYTES]) and len(data) < HEAD_BYTES:
            pairs = re.sub(rb"[\s>]", b"", data)
            self._check(bytes.fromhex((pairs + b"0" * (len(pairs) % 2)).decode()), is_lzw, layer + 1)
        elif _DRAWS.match(data.lstrip()):
            self._check_drawing(data)

    def _inflate(self, data: bytes, layer: int) -> None:
        unpacker = zlib.decompressobj()
        feed, size = data, 0
        kept: list[bytes] | None = None
        while feed and not unpacker.eof:
            try:
                piece = unpacker.decompress(feed, PIECE_BYTES)
            except zlib.error:  # the renderer takes what came before the damage; so does the count
                break
            feed = unpacker.unconsumed_tail
            if size == 0:
                draws = _DRAWS.match(piece.lstrip()) is not None
                kept = [] if draws or _is_packed(piece) else None
                self._note(piece)
            size += len(piece)
            self._count(len(piece), 0)
            if size > STREAM_BYTES or size > max(EXEMPT_BYTES, self._limits.inflate_ratio * len(data)):
                raise self._refused(_TOO_LARGE)
            if kept is not None:
                kept.append(piece)
            if not piece:
                break
        self._damaged += self._says_deflated and not unpacker.eof
        if kept:
            self._check(b"".join(kept), False, layer + 1)

    def _check_drawing(self, commands: bytes) -> None:
        if len(commands) > DRAWING_BYTES:
            raise self._refused(f"more than {DRAWING_BYTES // MIB} MiB of drawing commands in one piece")
        if sum(map(len, _STRINGS.findall(commands))) > STRING_BYTES:
            raise self._refused("more letters in one piece than any page has")
        size, names = self._drawings.get(self._object, (0, Counter()))
        self._drawings[self._object] = (size + len(commands), names + Counter(_DO.findall(commands)))

    def _check_forms(self) -> None:
        """Add up what drawings draw through forms, level by level: ten forms of ten forms of ten grow fast.

        A name may mean another form on another page; the largest one counts.
        """
        costs = {number: size for number, (size, _) in self._drawings.items()}
        callers = {number: drawing for number, drawing in self._drawings.items() if drawing[1]}
        for _ in range(MAX_FORM_DEPTH):
            before = dict(costs)
            for number, (size, names) in callers.items():
                for name, count in names.items():
                    size += count * max((before.get(form, 0) for form in self._named.get(name, ())), default=0)
                if size > DRAWN_BYTES:
                    raise self._refused("forms that draw each other over and over")
                costs[number] = size
            if costs == before:
                break

    def _count(self, size: int, packed: int) -> None:
        self._left -= size
        if self._left < 0 or (packed and size > max(EXEMPT_BYTES, self._limits.inflate_ratio * packed)):
            raise self._refused(_TOO_LARGE)

    def _note(self, content: bytes) -> None:
        """Look at plain objects: the file itself, and the beginning of what was packed."""
        self._active.update(kind for mark, kind in _ACTIVE if mark in content)
        for key, number in _NAMED.findall(content):
            self._named[key].add(int(number))
        for contents in _CONTENTS.findall(content):
            repeats = Counter(_REFERENCE.findall(contents)).most_common(1)
            if repeats and repeats[0][1] > MAX_REPEATS:
                raise self._refused("a page that draws the same content over and over")

    def _refused(self, what: str) -> BudgetError:
        return BudgetError(
            f"{self._name} holds {what}",
            fix="print the document to a new PDF, or give its pages as pictures",
            code="E_DOCUMENT_LIMIT",
        )


def _is_zlib(data: bytes) -> bool:
    """Whether bytes begin with a zlib header (RFC 1950 section 2.2)."""
    return len(data) > 2 and data[0] & 0x0F == 8 and data[0] >> 4 <= 7 and (data[0] << 8 | data[1]) % 31 == 0


def _is_packed(piece: bytes) -> bool:
    return _is_zlib(piece) or piece[:2] == b"\xff\xd8" or b"\xff\x4f\xff\x51" in piece[:HEAD_BYTES] or (
        piece.rstrip().endswith(b"~>")
    )  # fmt: skip


def _jpeg_sides(data: bytes) -> tuple[int, int]:
    """Height and width from the frame header of a JPEG (ITU T.81 B.2.2); zeros where there is none."""
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            return int.from_bytes(data[place + 5 : place + 7]), int.from_bytes(data[place + 7 : place + 9])
        place += 1 if marker == 0xFF else 2 + int.from_bytes(data[place + 2 : place + 4])
    return 0, 0


def _jpeg_2000_sides(data: bytes) -> tuple[int, int]:
    """Width and height of the reference grid (ITU T.800 A.5.1)."""
    return int.from_bytes(data[8:12]), int.from_bytes(data[12:16])


def _ascii_85(data: bytes) -> bytes:
    """Decode ASCII85 (ISO 32000-1 section 7.4.3), fast and without judging what is malformed."""
    letters = data.split(b"~", 1)[0].replace(b"z", b"!!!!!")
    digits = np.frombuffer(letters, np.uint8)
    digits = digits[(digits >= ord("!")) & (digits <= ord("u"))] - ord("!")
    missing = -len(digits) % 5
    groups = np.pad(digits, (0, missing), constant_values=84).reshape(-1, 5).astype(np.uint64)
    values = (groups @ np.array([85**4, 85**3, 85**2, 85, 1], np.uint64)) & np.uint64(0xFFFFFFFF)
    plain = values.astype(">u4").tobytes()
    return plain[: len(plain) - missing]


def _lzw_size(data: bytes, most: int) -> int:
    """Unpacked bytes of an LZW stream (ISO 32000-1 section 7.4.4), counted without unpacking; stops above ``most``."""
    lengths = [1] * 256 + [0, 0]
    width, bits, held, size, before = 9, 0, 0, 0, 0
    for byte in data:
        held, bits = (held << 8 | byte) & 0xFFFFFF, bits + 8
        if bits < width:
            continue
        bits -= width
        code = held >> bits & ((1 << width) - 1)
        if code == 256:
            del lengths[258:]
            width, before = 9, 0
            continue
        if code == 257 or code > len(lengths) or size > most:
            break
        length = lengths[code] if code < len(lengths) else before + 1
        size += length
        if before and len(lengths) < 4096:
            lengths.append(before + 1)
            width = 9 + (len(lengths) >= 511) + (len(lengths) >= 1023) + (len(lengths) >= 2047)
        before = length
    return size
