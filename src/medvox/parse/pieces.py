"""Pieces of written text, how an auto-text or a template is taken apart into them, and how they are laid out.

The paper of ``parse/writing``, which decides what is put where. Knows no command, no sound and no confidence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from medvox.parse.markup import word_set

ENDS = (".", "?", "!")
_ABBREVIATIONS = word_set("dr mr mrs ms st vs approx fig prof etc resp")
_INITIALS = re.compile(r"[A-Za-z](?:\.[A-Za-z])*")  # e.g, p.m, b.i.d
_FIELD = re.compile(r"\[([^\[\]\n]*)\]")
_HEADING = re.compile(r"([A-Z][A-Z0-9 /&,()'-]{2,60}):\s*")
_LABEL = re.compile(r"([A-Za-z][A-Za-z /-]*):\s*$")
_PARTS = re.compile(r"[.,;:?!]+(?=\s|$)|\S+?(?=[.,;:?!]*(?:\s|$))")
_LONGEST_NAME = 6  # words of a field's name


class Role(Enum):
    """How a piece of the written text sits beside its neighbours."""

    WORD = "word"
    MARK = "mark"  # nothing before it
    OPENING = "opening"  # nothing after it
    TIGHT = "tight"  # nothing on either side
    BREAK = "break"
    HEAD = "head"
    ITEM = "item"  # the number of a list
    FIELD = "field"


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A piece of written text.

    Attributes:
        role: how it sits.
        text: as written, but for a capital where a sentence begins.
        typed: a mark of the recogniser.
        fixed: capitals stay as they are; after a mark, those of the recogniser.
        odd: markup that could not be repaired, or a command that could not be carried out.
        literal: of an auto-text or a template, not said.
        names: of a field, in lower case.
        words: the heard words it was written from, as first index and the one after the last; none of (0, 0).
    """

    role: Role
    text: str
    typed: bool = False
    fixed: bool = False
    odd: bool = False
    literal: bool = False
    names: tuple[str, ...] = ()
    words: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """A piece in the text: ``text[start:end]``."""

    piece: Piece
    start: int
    end: int


def literal_pieces(text: str) -> list[Piece]:
    """A template or an auto-text as pieces. ``[...]`` is a field, a line in capitals that ends in a colon a heading."""
    pieces: list[Piece] = []
    blank = False
    for line in text.strip("\n").split("\n"):
        if not line.strip():
            blank = True
            continue
        heading = _HEADING.fullmatch(line)
        if pieces and heading is None and pieces[-1].role is not Role.HEAD:
            pieces.append(_literal(Role.BREAK, "\n\n" if blank else "\n"))
        if heading is not None:
            pieces.append(_literal(Role.HEAD, f"{heading[1]}:"))
        else:
            pieces += _line(line.strip())
        blank = False
    return pieces


def _literal(role: Role, text: str, names: tuple[str, ...] = ()) -> Piece:
    return Piece(role=role, text=text, typed=role is Role.MARK, fixed=True, literal=True, names=names)


def _line(line: str) -> list[Piece]:
    pieces: list[Piece] = []
    place = 0
    for found in _FIELD.finditer(line):
        before = line[place : found.start()]
        pieces += _words(before, glued=place > 0)
        if pieces and before and not before[-1].isspace() and pieces[-1].role is Role.WORD:
            pieces[-1] = _literal(Role.OPENING, pieces[-1].text)
        pieces.append(_literal(Role.FIELD, found[0], _names(found[1], before)))
        place = found.end()
    return pieces + _words(line[place:], glued=place > 0)


def _words(text: str, *, glued: bool) -> list[Piece]:
    """Words and marks; what hangs at a field in front of it is a mark."""
    pieces = []
    for found in _PARTS.finditer(text):
        hangs = glued and found.start() == 0
        pieces.append(_literal(Role.MARK if hangs or not re.search(r"[^.,;:?!]", found[0]) else Role.WORD, found[0]))
    return pieces


def _names(inside: str, before: str) -> tuple[str, ...]:
    """A field's names: what stands in it, up to a colon, and the label in front of it."""
    label = _LABEL.search(before)
    found = (re.findall(r"[a-z']+", name.lower()) for name in (inside.partition(":")[0], label[1] if label else ""))
    return tuple(" ".join(words) for words in found if 0 < len(words) <= _LONGEST_NAME)


def is_start(piece: Piece | None) -> bool:
    """Whether a sentence begins behind this piece."""
    if piece is None or piece.role in {Role.BREAK, Role.HEAD, Role.ITEM}:
        return True
    return piece.role is Role.MARK and piece.text.endswith((*ENDS, ":"))


def is_filled(pieces: Sequence[Piece], at: int) -> bool:
    """Whether something was said at this field."""
    return at + 1 < len(pieces) and pieces[at + 1].role not in {Role.FIELD, Role.HEAD} and not pieces[at + 1].literal


def lay_out(pieces: Sequence[Piece]) -> tuple[str, list[Placed]]:
    """The text, with capitals where sentences begin, and where each piece stands. A filled field gives way."""
    text, placed = "", list[Placed]()
    before: Piece | None = None
    begins = True
    for piece in _shown(pieces):
        word = piece.text
        if piece.role is Role.HEAD:
            text = text.rstrip("\n")
            gap = "\n\n" if text else ""
        elif piece.role in {Role.MARK, Role.TIGHT, Role.BREAK} or before is None:
            gap = ""
        elif before.role is Role.HEAD:
            gap = "\n"
        else:
            gap = "" if before.role in {Role.OPENING, Role.TIGHT, Role.BREAK} else " "
        if begins and not piece.fixed and re.fullmatch(r"[a-z][^A-Z]*", word):
            word = word[:1].upper() + word[1:]
        begins = _begins_after(piece, before, begins)
        text += gap
        placed.append(Placed(piece=piece, start=len(text), end=len(text) + len(word)))
        text += word
        before = piece
    return text.rstrip("\n"), placed


def _shown(pieces: Sequence[Piece]) -> list[Piece]:
    """Without filled fields, and without the one of two marks where a field's text meets the mark behind the field."""
    kept = [piece for at, piece in enumerate(pieces) if piece.role is not Role.FIELD or not is_filled(pieces, at)]
    shown: list[Piece] = []
    for piece in kept:
        last = shown[-1] if shown else None
        if last is not None and last.role is Role.MARK and piece.role is Role.MARK and piece.literal:
            if last.text == piece.text:
                continue
            if not last.literal and last.text in ENDS and piece.text in ENDS:
                continue
        shown.append(piece)
    return shown


def _begins_after(piece: Piece, before: Piece | None, begins: bool) -> bool:
    """Whether the word behind this piece opens a sentence."""
    if piece.role in {Role.BREAK, Role.HEAD, Role.ITEM}:
        return True
    if piece.role is Role.MARK and piece.text.endswith(ENDS):
        short = before is not None and (before.text.lower() in _ABBREVIATIONS or _INITIALS.fullmatch(before.text))
        trusted = piece.fixed and not piece.literal
        return piece.text != "..." and not (piece.typed and (short or trusted))
    if piece.role is Role.OPENING:
        return begins
    return begins and piece.role is Role.MARK and piece.text in {'"', ")"}
