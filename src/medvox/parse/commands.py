"""Recognised text -> written text: marks, paragraphs, headings, lists, numbers, corrections, auto-texts and fields.

The end of the path ``markup`` -> ``spoken`` -> ``quantities`` -> here, for the text of any recogniser. Writing what is
written already changes nothing. Knows no model, no sound and no confidence; the caller keeps the raw text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from medvox.parse.markup import Kind, Token, read_markup, word_set
from medvox.parse.numbers import SMALL
from medvox.parse.quantities import write_numbers
from medvox.parse.risks import Risk, RiskKind, risks_of
from medvox.parse.spoken import read_spoken
from medvox.types import Flag

_NOTHING: Mapping[str, str] = MappingProxyType({})
_ABBREVIATIONS = word_set("dr mr mrs ms st vs approx e.g i.e fig prof etc resp")
_FIELD = re.compile(r"\[([^\[\]\n]*)\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class WritingSettings:
    """How dictated text is written.

    Attributes:
        numbers: number words become digits, with short units.
        auto_texts: what ``insert NAME`` writes, by name; ``[...]`` in it are fields for ``next field``.
    """

    numbers: bool = True
    auto_texts: Mapping[str, str] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, kw_only=True, slots=True)
class Formatted:
    """Written text.

    Attributes:
        text: as a clinician writes it.
        risks: places where a wrong word does harm; markup that could not be repaired is among them.
        flags: ``F_DICTATION_MARKUP``, ``F_DICTATION_AUTO_TEXT``, ``F_DICTATION_TAKEN_BACK``, ``F_DICTATION_FIELDS`` and
            ``F_DICTATION_PATIENTS``. They count and never quote.
    """

    text: str
    risks: tuple[Risk, ...]
    flags: tuple[Flag, ...]


DEFAULT_WRITING = WritingSettings()


def format_spoken(raw: str, *, settings: WritingSettings = DEFAULT_WRITING) -> Formatted:
    """Writes recognised text as a clinician would: commands carried out, numbers in digits, sentences capitalised.

    Words are dropped only by ``scratch that``, and then a flag says so. What is in doubt stays as it was recognised.
    """
    auto_texts = {" ".join(name.lower().split()): text for name, text in settings.auto_texts.items()}
    tokens = read_spoken(read_markup(raw), auto_texts)
    if settings.numbers:
        tokens = write_numbers(tokens)
    writer = _Writer(auto_texts=auto_texts)
    for at, token in enumerate(tokens):
        writer.write(token, last=at == len(tokens) - 1)
    text, odd = _joined(writer.pieces)
    risks = [*risks_of(text), *(Risk(kind=RiskKind.MARKUP, start=start, end=end) for start, end in odd)]
    return Formatted(
        text=text,
        risks=tuple(sorted(risks, key=lambda risk: (risk.start, risk.end))),
        flags=writer.flags(),
    )


class _Role(Enum):
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
class _Piece:
    role: _Role
    text: str
    typed: bool = False  # a mark of the recogniser
    fixed: bool = False  # capitals stay as they are
    odd: bool = False
    literal: bool = False  # of an auto-text


_MARKS = {
    "period": ".",
    "comma": ",",
    "colon": ":",
    "semicolon": ";",
    "question mark": "?",
    "exclamation point": "!",
    "close quote": '"',
    "close parenthesis": ")",
}
_OPENINGS = {"open quote": '"', "open parenthesis": "("}
_TIGHT = {"hyphen": "-", "slash": "/"}
_BREAKS = {"line": "\n", "paragraph": "\n\n"}
_ENDS = (".", "?", "!")
_SENTENCE_MARKS = frozenset(".,:;?!")


@dataclass(kw_only=True, slots=True)
class _Writer:
    """The state of the writing. New pieces go in at ``cursor``, which is the end unless a field is being filled.

    ``capitals`` lasts until caps off; ``next_word`` is "", "upper" or "capital", for one word.
    """

    auto_texts: Mapping[str, str]
    pieces: list[_Piece] = field(default_factory=list)
    cursor: int = 0
    item: int = 0
    capitals: bool = False
    next_word: str = ""
    counts: dict[str, int] = field(default_factory=dict)

    def write(self, token: Token, *, last: bool) -> None:
        """Writes one token, or does what it says."""
        if token.odd:
            self._count("auto text" if token.kind is Kind.WORD else "markup")
        match token.kind:
            case Kind.WORD:
                self._word(token)
            case Kind.KEPT:
                self._put(_Piece(role=_Role.WORD, text=token.text, fixed=True, odd=token.odd))
            case Kind.MARK:
                self._typed_mark(token.text)
            case Kind.HEAD:
                self._head(token.text)
            case Kind.BREAK:
                self._break(token.text)
            case Kind.COMMAND:
                self._command(token, last=last)

    def flags(self) -> tuple[Flag, ...]:
        """What the reader must know, in counts."""
        said = {
            "markup": ("F_DICTATION_MARKUP", "could not be read as commands and stand in the text as recognised"),
            "auto text": ("F_DICTATION_AUTO_TEXT", "auto-texts asked for are not known; the words were kept"),
            "taken back": ("F_DICTATION_TAKEN_BACK", "passages were taken back by voice; the raw text has them"),
            "no field": ("F_DICTATION_FIELDS", "times there was no field to go to; the words were kept"),
            "patient": ("F_DICTATION_PATIENTS", "times the dictation went on to the next patient; split it there"),
        }
        return tuple(
            Flag(code=code, text=f"{self.counts[name]} {text}")
            for name, (code, text) in said.items()
            if name in self.counts
        )

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def _put(self, piece: _Piece) -> None:
        following = self.pieces[self.cursor] if self.cursor < len(self.pieces) else None
        if piece.role is _Role.MARK and following is not None and following.text == piece.text:
            return  # the auto-text has this mark behind its field
        self.pieces.insert(self.cursor, piece)
        self.cursor += 1

    def _last(self) -> _Piece | None:
        return self.pieces[self.cursor - 1] if self.cursor else None

    def _drop_last(self) -> None:
        self.cursor -= 1
        del self.pieces[self.cursor]

    def _word(self, token: Token) -> None:
        text = token.text
        number = SMALL.get(text.lower(), int(text) if re.fullmatch(r"\d{1,2}", text) else 0)
        before = self.pieces[self.cursor - 2] if self.cursor > 1 else None
        last = self._last()
        if last is not None and last.text.lower() == "number" and number == self.item + 1 and _is_start(before):
            self._drop_last()
            self._new_item(number)
            return
        styled = self.capitals or self.next_word != ""
        if self.capitals or self.next_word == "upper":
            text = text.upper()
        elif self.next_word == "capital":
            text = text[:1].upper() + text[1:]
        self.next_word = ""
        self._put(_Piece(role=_Role.WORD, text=text, fixed=styled, odd=token.odd))

    def _typed_mark(self, text: str) -> None:
        """A mark of the recogniser: none where a spoken one stands already, none twice."""
        last = self._last()
        if last is None or last.role in {_Role.HEAD, _Role.BREAK, _Role.OPENING, _Role.ITEM}:
            if last is not None and last.role in {_Role.HEAD, _Role.ITEM} and text in {":", "."}:
                return
            self._put(_Piece(role=_Role.WORD, text=text, fixed=True))
            return
        if last.role is _Role.MARK and (last.text == text or (not last.typed and last.text in _SENTENCE_MARKS)):
            return
        before = self.pieces[self.cursor - 2] if self.cursor > 1 else None
        if text == "." and last.text == str(self.item + 1) and (before is None or before.role in _LINE_STARTS):
            self.item += 1
        self._put(_Piece(role=_Role.MARK, text=text, typed=True))

    def _head(self, name: str) -> None:
        """A heading on its own line; in the midst of a sentence it is the model's slip and stays visible."""
        last = self._last()
        if last is not None and last.text.lower() in _GOES_ON:
            self._count("markup")
            self._put(_Piece(role=_Role.WORD, text=f"[{name}]", fixed=True, odd=True))
            return
        self._trim()
        self.item = 0
        self._put(_Piece(role=_Role.HEAD, text=f"{name}:", fixed=True))

    def _break(self, text: str) -> None:
        last = self._last()
        if last is None or (last.role is _Role.HEAD):
            return
        if last.role is _Role.BREAK:
            if len(text) > len(last.text):
                self._drop_last()
                self._put(_Piece(role=_Role.BREAK, text=text))
            return
        self._put(_Piece(role=_Role.BREAK, text=text))

    def _trim(self) -> None:
        while (last := self._last()) is not None and last.role is _Role.BREAK:
            self._drop_last()

    def _new_item(self, number: int) -> None:
        self._trim()
        last = self._last()
        if last is not None and last.role is not _Role.HEAD:
            self._put(_Piece(role=_Role.BREAK, text="\n"))
        self.item = number
        self._put(_Piece(role=_Role.ITEM, text=f"{number}."))

    def _command(self, token: Token, *, last: bool) -> None:
        name = token.text
        if name in _MARKS or name in _OPENINGS or name in _TIGHT or name == "dash":
            self._spoken_mark(name)
        elif name in _BREAKS:
            self._break(_BREAKS[name])
        elif name in {"quote", "parenthesis"}:
            sign = '"' if name == "quote" else "("
            opened = any(piece.role is _Role.OPENING and piece.text == sign for piece in self._open_pieces(sign))
            self._spoken_mark(f"close {name}" if opened else f"open {name}")
        elif name == "next number" or (name == "next" and self.item):
            self._new_item(self.item + 1)
        elif name in {"all caps", "cap"}:
            self.next_word = "upper" if name == "all caps" else "capital"
        elif name in {"caps on", "caps off"}:
            self.capitals = name == "caps on"
        elif name == "scratch":
            self._scratch()
        elif name == "insert":
            self._insert(self.auto_texts[token.source])
        elif name in {"next field", "previous field"}:
            self._go_to_field(token, forward=name == "next field")
        elif name == "point":
            self._put(_Piece(role=_Role.WORD, text="point"))
        elif not (name == "end" and last):
            self._count("patient" if name == "next patient" else "markup")
            self._put(_Piece(role=_Role.WORD, text=token.source, fixed=True, odd=True))

    def _open_pieces(self, sign: str) -> Sequence[_Piece]:
        """What was written since the last closing quote or parenthesis."""
        closing = '"' if sign == '"' else ")"
        for place in range(self.cursor - 1, -1, -1):
            if self.pieces[place].role is _Role.MARK and self.pieces[place].text == closing:
                return self.pieces[place:]
        return self.pieces[: self.cursor]

    def _spoken_mark(self, name: str) -> None:
        last = self._last()
        if name in _MARKS:
            if last is not None and last.role is _Role.MARK and (last.text == _MARKS[name] or last.typed):
                if _MARKS[name] in {'"', ")"} and last.text in _ENDS:
                    self._put(_Piece(role=_Role.MARK, text=_MARKS[name]))
                    return
                self._drop_last()
            elif last is not None and last.role is _Role.HEAD and name == "colon":
                return
            self._put(_Piece(role=_Role.MARK, text=_MARKS[name]))
        elif name in _OPENINGS:
            self._put(_Piece(role=_Role.OPENING, text=_OPENINGS[name]))
        elif name in _TIGHT:
            self._put(_Piece(role=_Role.TIGHT, text=_TIGHT[name]))
        else:
            self._put(_Piece(role=_Role.WORD, text="-", fixed=True))

    def _scratch(self) -> None:
        """Takes back the unfinished sentence; where none is unfinished, the one before. Headings and fields stay."""
        self._trim()
        last = self._last()
        if last is not None and last.role is _Role.ITEM:
            self.item -= 1
            self._drop_last()
            self._trim()
            self._count("taken back")
            return
        dropped, said = False, False
        while (last := self._last()) is not None and last.role not in {_Role.HEAD, _Role.FIELD, _Role.ITEM}:
            ends = last.role is _Role.BREAK or (last.role is _Role.MARK and last.text.startswith(_ENDS))
            if (ends and said) or last.literal:
                break
            said = said or last.role is _Role.WORD
            dropped = True
            self._drop_last()
        if dropped:
            self._count("taken back")

    def _insert(self, text: str) -> None:
        """Writes an auto-text as it stands and goes to its first field."""
        start = self.cursor
        place = 0
        for found in _FIELD.finditer(text):
            self._literal(text[place : found.start()])
            self._put(_Piece(role=_Role.FIELD, text=found[0], fixed=True, literal=True))
            place = found.end()
        self._literal(text[place:])
        for at in range(start, self.cursor):
            if self.pieces[at].role is _Role.FIELD:
                self.cursor = at + 1
                break

    def _literal(self, text: str) -> None:
        for part in re.findall(r"[ \t]*\n\s*|[.,;:?!]+(?=\s|$)|\S+?(?=[.,;:?!]*(?:\s|$))", text):
            if "\n" in part:
                self._break("\n\n" if part.count("\n") > 1 else "\n")
            elif re.fullmatch(r"[.,;:?!]+", part) and self.cursor:
                self._put(_Piece(role=_Role.MARK, text=part, typed=True, literal=True))
            else:
                self._put(_Piece(role=_Role.WORD, text=part, fixed=True, literal=True))

    def _go_to_field(self, token: Token, *, forward: bool) -> None:
        """Goes behind the next (or previous) field; what is said there stands for it."""
        places = [at for at, piece in enumerate(self.pieces) if piece.role is _Role.FIELD]
        here = max((at for at in places if at < self.cursor), default=-1)
        wanted = [at for at in places if at > here] if forward else [at for at in places if at < here][::-1]
        if forward and places and not wanted and self.cursor < len(self.pieces):
            self.cursor = len(self.pieces)  # the last field is done: behind the auto-text
        elif not wanted:
            self._count("no field")
            self._put(_Piece(role=_Role.WORD, text=token.source, odd=True))
        else:
            self.cursor = wanted[0] + 1


_LINE_STARTS = frozenset({_Role.BREAK, _Role.HEAD})
# No sentence ends with one of these, so a heading behind one is out of place.
_GOES_ON = word_set("the a an of with and or in is are no to for at on by from without")


def _is_start(piece: _Piece | None) -> bool:
    """Whether a sentence begins behind this piece."""
    if piece is None or piece.role in {_Role.BREAK, _Role.HEAD, _Role.ITEM}:
        return True
    return piece.role is _Role.MARK and piece.text.endswith((*_ENDS, ":"))


def _joined(pieces: Sequence[_Piece]) -> tuple[str, list[tuple[int, int]]]:
    """The text, with capitals where sentences begin, and the places of odd pieces. A filled field gives way."""
    kept = [piece for at, piece in enumerate(pieces) if piece.role is not _Role.FIELD or not _is_filled(pieces, at)]
    text, odd = "", []
    before: _Piece | None = None
    begins = True
    for piece in kept:
        word = piece.text
        if piece.role is _Role.HEAD:
            gap = "\n\n" if text else ""
        elif piece.role in {_Role.MARK, _Role.TIGHT, _Role.BREAK} or before is None:
            gap = ""
        elif before.role is _Role.HEAD:
            gap = "\n"
        else:
            gap = "" if before.role in {_Role.OPENING, _Role.TIGHT, _Role.BREAK} else " "
        if begins and not piece.fixed and re.fullmatch(r"[a-z][^A-Z]*", word):
            word = word[:1].upper() + word[1:]
        if piece.odd:
            odd.append((len(text + gap), len(text + gap + word)))
        begins = _begins_after(piece, before, begins)
        text += gap + word
        before = piece
    return text.rstrip("\n"), odd


def _begins_after(piece: _Piece, before: _Piece | None, begins: bool) -> bool:
    """Whether the word behind this piece opens a sentence."""
    if piece.role in {_Role.BREAK, _Role.HEAD, _Role.ITEM}:
        return True
    if piece.role is _Role.MARK and piece.text.endswith(_ENDS):
        short = before is not None and (before.text.lower() in _ABBREVIATIONS or re.fullmatch("[A-Za-z]", before.text))
        return piece.text != "..." and not (piece.typed and short)
    if piece.role is _Role.OPENING:
        return begins
    return begins and piece.role is _Role.MARK and piece.text in {'"', ")"}


def _is_filled(pieces: Sequence[_Piece], at: int) -> bool:
    """Whether something was said at this field."""
    return at + 1 < len(pieces) and pieces[at + 1].role is not _Role.FIELD and not pieces[at + 1].literal
