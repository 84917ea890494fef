"""Tokens -> pieces of written text: the page that dictation is written on, with its headings, lists and fields.

Between ``parse/quantities`` and the layout in ``parse/pieces``; ``parse/commands`` holds the page from one utterance to
the next. Knows no sound and no confidence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from medvox.parse.markup import Kind, Token, word_set
from medvox.parse.numbers import SMALL
from medvox.parse.pieces import ENDS, Piece, Role, is_filled, is_start
from medvox.parse.spoken import HEAD_PHRASES, HEADS

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
_SENTENCE_MARKS = frozenset(".,:;?!")
_LINE_STARTS = frozenset({Role.BREAK, Role.HEAD})
# No sentence ends with one of these, so a heading behind one is out of place.
_GOES_ON = word_set("the a an of with and or in is are no to for at on by from without")
_Words = tuple[int, int]  # indices of heard words: the first, and the one after the last


@dataclass(kw_only=True, slots=True)
class Page:
    """The state of the writing. New pieces go in at ``cursor``, which is the end unless a field or section is filled.

    Attributes:
        auto_texts: what ``insert NAME`` writes, by name in lower case.
        pieces: in the order of the text.
        cursor: where the next piece goes.
        item: the number of the list item that is being written.
        capitals: capital letters until caps off.
        next_word: "", "upper" or "capital", for one word.
        cased: the recogniser writes capitals, so there is one behind its marks where there shall be one.
        counts: what the reader must know, by name.
        unsaid: indices of heard words that were taken back, or that name an auto-text or a place.
    """

    auto_texts: Mapping[str, Sequence[Piece]]
    pieces: list[Piece] = field(default_factory=list)
    cursor: int = 0
    item: int = 0
    capitals: bool = False
    next_word: str = ""
    cased: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    unsaid: set[int] = field(default_factory=set)
    _words: _Words = (0, 0)  # of the token that is being written

    def copy(self) -> Page:
        """A page that can be written on without changing this one."""
        return replace(self, pieces=list(self.pieces), counts=dict(self.counts), unsaid=set(self.unsaid))

    def begin(self, template: Sequence[Piece]) -> None:
        """Puts a template on the empty page and goes to its first field."""
        self._insert(template)

    def write(self, token: Token, words: _Words, *, last: bool) -> None:
        """Writes one token, heard as these words, or does what it says; ``last`` of the utterance."""
        self._words = words
        if token.odd:
            self.count("auto text" if token.kind is Kind.WORD else "markup")
        match token.kind:
            case Kind.WORD:
                self._word(token)
            case Kind.KEPT:
                self._put(Role.WORD, token.text, fixed=True, odd=token.odd)
            case Kind.MARK:
                self._typed_mark(token.text)
            case Kind.HEAD:
                self._head(token)
            case Kind.BREAK:
                self._break(token.text)
            case Kind.COMMAND:
                self._command(token, last=last)

    def count(self, name: str, more: int = 1) -> None:
        """Counts what the reader must know."""
        self.counts[name] = self.counts.get(name, 0) + more

    def _put(self, role: Role, text: str, *, fixed: bool = False, odd: bool = False, typed: bool = False) -> None:
        self._put_piece(Piece(role=role, text=text, fixed=fixed, odd=odd, typed=typed, words=self._words))

    def _put_piece(self, piece: Piece) -> None:
        self.pieces.insert(self.cursor, piece)
        self.cursor += 1

    def _last(self) -> Piece | None:
        return self.pieces[self.cursor - 1] if self.cursor else None

    def _drop_last(self) -> None:
        self.cursor -= 1
        del self.pieces[self.cursor]

    def _take_back(self) -> None:
        self.unsaid.update(range(*self.pieces[self.cursor - 1].words))
        self._drop_last()

    def _trim(self) -> None:
        while (last := self._last()) is not None and last.role is Role.BREAK and not last.literal:
            self._drop_last()

    def _word(self, token: Token) -> None:
        text = token.text
        number = SMALL.get(text.lower(), int(text) if re.fullmatch(r"\d{1,2}", text) else 0)
        last = self._last()
        if last is not None and last.text.lower() == "number" and number == self.item + 1 and self._item_fits():
            self._drop_last()
            self._new_item(number, self._words)
            return
        styled = self.capitals or self.next_word != ""
        if self.capitals or self.next_word == "upper":
            text = text.upper()
        elif self.next_word == "capital":
            text = text[:1].upper() + text[1:]
        self.next_word = ""
        self._put(Role.WORD, text, fixed=styled, odd=token.odd)

    def _item_fits(self) -> bool:
        """Whether the last word opens a sentence, or a field that is a line of its own."""
        before = self.pieces[max(0, self.cursor - 3) : self.cursor - 1]
        if before and before[-1].role is Role.FIELD:
            return len(before) == 1 or before[0].role in _LINE_STARTS
        return is_start(before[-1] if before else None)

    def _typed_mark(self, text: str) -> None:
        """A mark of the recogniser: none where a spoken one stands already, none twice."""
        last = self._last()
        if last is None or last.role in {Role.HEAD, Role.BREAK, Role.OPENING, Role.ITEM}:
            if last is not None and last.role in {Role.HEAD, Role.ITEM} and text in {":", ".", ","}:
                return
            self._put(Role.WORD, text, fixed=True)
            return
        if last.role is Role.MARK and (last.text == text or (not last.typed and last.text in _SENTENCE_MARKS)):
            return
        before = self.pieces[self.cursor - 2] if self.cursor > 1 else None
        if text == "." and last.text == str(self.item + 1) and (before is None or before.role in _LINE_STARTS):
            self.item += 1
        self._put(Role.MARK, text, typed=True, fixed=self.cased)

    def _head(self, token: Token) -> None:
        """A heading on its own line; in the midst of a sentence it is the model's slip and stays visible.

        One of the template, and one that ``go to`` names and that stands already, is gone to.
        """
        last = self._last()
        known = token.text.lower() in HEADS or token.text.lower() in HEAD_PHRASES
        slip = last is not None and last.text.lower() in _GOES_ON
        if not token.source and (slip or (not known and last is not None and last.role is Role.WORD)):
            if slip:
                self.count("markup")
            self._put(Role.WORD, f"[{token.text}]", fixed=True, odd=slip)
            return
        for at, piece in enumerate(self.pieces):
            if piece.text == f"{token.text}:" and piece.role is Role.HEAD and (piece.literal or token.source):
                self.unsaid.update(range(*self._words))
                self._go_to_section(at)
                return
        if token.source:
            self.unsaid.update(range(*self._words))
            self._words = (0, 0)
        self._go(len(self.pieces))
        self._trim()
        self.item = 0
        self._put(Role.HEAD, f"{token.text}:", fixed=True)

    def _go(self, place: int) -> None:
        """Leaves the place where the writing is; breaks at its end are of no use."""
        before = self.cursor
        self._trim()
        self.cursor = place if place < before else place - (before - self.cursor)
        self.item = 0
        for piece in reversed(self.pieces[: self.cursor]):
            if piece.role is Role.ITEM or piece.role is Role.HEAD:
                self.item = int(piece.text.rstrip(".")) if piece.role is Role.ITEM else 0
                break

    def _go_to_section(self, head: int) -> None:
        """To the first field of a section where nothing was said, else behind the section."""
        end = head + 1
        while end < len(self.pieces) and self.pieces[end].role is not Role.HEAD:
            if self.pieces[end].role is Role.FIELD and not is_filled(self.pieces, end):
                self._go(end + 1)
                return
            end += 1
        self._go(end)

    def _break(self, text: str) -> None:
        last = self._last()
        if last is None or (last.role is Role.HEAD):
            return
        if last.role is Role.BREAK:
            if len(text) > len(last.text):
                self._drop_last()
                self._put(Role.BREAK, text)
            return
        self._put(Role.BREAK, text)

    def _new_item(self, number: int, words: _Words = (0, 0)) -> None:
        """Begins a list item; ``words`` are those that said its number."""
        self._trim()
        last = self._last()
        if last is not None and last.role not in _LINE_STARTS:
            self._put(Role.BREAK, "\n")
        self.item = number
        self._put_piece(Piece(role=Role.ITEM, text=f"{number}.", words=words))

    def _command(self, token: Token, *, last: bool) -> None:
        name = token.text
        if name in _MARKS or name in _OPENINGS or name in _TIGHT or name == "dash":
            self._spoken_mark(name)
        elif name in _BREAKS:
            self._break(_BREAKS[name])
        elif name in {"quote", "parenthesis"}:
            sign = '"' if name == "quote" else "("
            opened = any(piece.role is Role.OPENING and piece.text == sign for piece in self._open_pieces(sign))
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
            self.unsaid.update(range(*self._words))
            self._insert(self.auto_texts[token.source])
        elif name in {"next field", "previous field", "field"}:
            self._go_to_field(token)
        elif name == "point":
            self._put(Role.WORD, "point")
        elif not (name == "end" and last):
            self.count("patient" if name == "next patient" else "markup")
            self._put(Role.WORD, token.source, fixed=True, odd=True)

    def _open_pieces(self, sign: str) -> Sequence[Piece]:
        """What was written since the last closing quote or parenthesis."""
        closing = '"' if sign == '"' else ")"
        for place in range(self.cursor - 1, -1, -1):
            if self.pieces[place].role is Role.MARK and self.pieces[place].text == closing:
                return self.pieces[place : self.cursor]
        return self.pieces[: self.cursor]

    def _spoken_mark(self, name: str) -> None:
        last = self._last()
        if name in _MARKS:
            if last is not None and last.role is Role.MARK and (last.text == _MARKS[name] or last.typed):
                if _MARKS[name] in {'"', ")"} and last.text in ENDS:
                    self._put(Role.MARK, _MARKS[name])
                    return
                self._drop_last()
            elif last is not None and last.role is Role.HEAD and name == "colon":
                return
            self._put(Role.MARK, _MARKS[name])
        elif name in _OPENINGS:
            self._put(Role.OPENING, _OPENINGS[name])
        elif name in _TIGHT:
            self._put(Role.TIGHT, _TIGHT[name])
        else:
            self._put(Role.WORD, "-", fixed=True)

    def _scratch(self) -> None:
        """Takes back the unfinished sentence; where none is unfinished, the one before.

        Headings, fields and what was not said stay.
        """
        self._trim()
        last = self._last()
        if last is not None and last.role is Role.ITEM:
            self.item -= 1
            self._take_back()
            self._trim()
            self.count("taken back")
            return
        dropped, said = False, False
        while (last := self._last()) is not None and last.role not in {Role.HEAD, Role.FIELD, Role.ITEM}:
            ends = last.role is Role.BREAK or (last.role is Role.MARK and last.text.startswith(ENDS))
            if (ends and said) or last.literal:
                break
            said = said or last.role is Role.WORD
            dropped = True
            self._take_back()
        if dropped:
            self.count("taken back")

    def _insert(self, literal: Sequence[Piece]) -> None:
        """Writes an auto-text as it stands, in place of the field at the cursor, and goes to its first field."""
        last = self._last()
        if last is not None and last.role is Role.FIELD:
            self._drop_last()
        start = self.cursor
        for piece in literal:
            self._put_piece(piece)
        for at in range(start, self.cursor):
            if self.pieces[at].role is Role.FIELD:
                self._go(at + 1)
                break

    def _go_to_field(self, token: Token) -> None:
        """Goes to the next, previous or named field, behind what was said there; what is said stands for the field."""
        places = [at for at, piece in enumerate(self.pieces) if piece.role is Role.FIELD]
        here = max((at for at in places if at < self.cursor), default=-1)
        wanted = [at for at in places if at > here]
        if token.text == "previous field":
            wanted = [at for at in places if at < here][::-1]
        elif token.text == "field":
            wanted = [at for at in [*wanted, *places] if token.source in self.pieces[at].names]
        if wanted:
            end = wanted[0] + 1
            while is_filled(self.pieces, end - 1):
                end += 1
            self._go(end)
        elif token.text == "next field" and places and self.cursor < len(self.pieces):
            self._go(len(self.pieces))  # the last field is done: behind the auto-text
        else:
            self.count("no field")
            kept = f"field {token.source}" if token.text == "field" else token.source
            self._put(Role.WORD, kept, odd=True)
            return
        self.unsaid.update(range(*self._words))
