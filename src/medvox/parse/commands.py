"""Recognised text -> written text: marks, paragraphs, headings, lists, numbers, corrections, auto-texts and fields.

The whole way ``markup``, ``corrections``, ``spoken``, ``quantities``, ``writing``, ``pieces``, for the text of any
recogniser, at once or utterance by utterance. Writing what is written already changes nothing. Knows no model and no
sound; the caller keeps the raw text.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from medvox.data.dictation_files import Correction
from medvox.data.results import Risk, Word
from medvox.parse.corrections import Corrector
from medvox.parse.faithful import changed_risks
from medvox.parse.markup import Kind, Token, read_markup
from medvox.parse.pieces import Placed, Role, is_filled, lay_out, literal_pieces
from medvox.parse.quantities import write_numbers
from medvox.parse.risks import RiskKind, risks_of
from medvox.parse.spoken import Names, read_spoken
from medvox.parse.writing import Page
from medvox.types import Flag

UNSURE_BELOW = 0.8  # a number, unit, side or negation is read again when it is more likely than 1 in 5 to be wrong
_LOOK_BACK = 8  # tokens of the utterance before that decide what the next one means
_FLAGS = {  # code, what is counted, what of it
    "markup": ("F_DICTATION_MARKUP", "places that could not be read as commands", "they stand there as recognised"),
    "auto text": ("F_DICTATION_AUTO_TEXT", "auto-texts asked for that are not known", "the words were kept"),
    "taken back": ("F_DICTATION_TAKEN_BACK", "passages taken back by voice", "the raw text has them"),
    "no field": ("F_DICTATION_FIELDS", "fields asked for that are not there", "the words were kept"),
    "patient": ("F_DICTATION_PATIENTS", "changes to the next patient", "split the dictation there"),
    "corrected": ("F_DICTATION_CORRECTED", "phrases replaced by the corrections file", "the raw text has them"),
    "corrected risk": (
        "F_DICTATION_CORRECTED_RISK",
        "replacements that changed a number, unit, side or negation, as the corrections file says",
        "the raw text has them",
    ),
    "unfilled": ("F_DICTATION_UNFILLED", "fields in brackets", "nothing was said for them"),
    "unsure": ("F_DICTATION_UNSURE", "unsure numbers, units, sides or negations", "check them first"),
    "changed": (
        "F_DICTATION_CHANGED",
        "utterances whose numbers, units, sides or negations may differ from those heard",
        "compare with the raw text",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class WritingSettings:
    """How dictated text is written.

    Attributes:
        numbers: number words become digits, with short units.
        template: what is there before anything is said; ``[...]`` in it are fields, lines in capitals headings.
        auto_texts: what ``insert NAME`` writes, by name; ``[...]`` in it are fields for ``next field``.
        corrections: heard phrases and what to write for them.
        corrector: made from these.
        unsure_below: a number, unit, side or negation whose words were heard with less confidence is marked unsure.

    Raises:
        InputError: a correction changes what it may not (``E_CORRECTIONS_RISK``).
    """

    numbers: bool = True
    template: str = ""
    auto_texts: Mapping[str, str] = field(default_factory=dict)
    corrections: Sequence[Correction] = ()
    unsure_below: float = UNSURE_BELOW
    corrector: Corrector = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Makes the corrections ready, so that a bad one is refused before anything is heard."""
        object.__setattr__(self, "corrector", Corrector(self.corrections))


@dataclass(frozen=True, kw_only=True, slots=True)
class Formatted:
    """Written text.

    Attributes:
        text: as a clinician writes it.
        risks: places where a wrong word does harm, in the order of the text.
        flags: the ``F_DICTATION_`` flags. They count and never quote.
    """

    text: str
    risks: tuple[Risk, ...]
    flags: tuple[Flag, ...]


DEFAULT_WRITING = WritingSettings()


def format_spoken(raw: str, *, settings: WritingSettings = DEFAULT_WRITING) -> Formatted:
    """Writes recognised text as a clinician would: commands carried out, numbers in digits, sentences capitalised.

    Words are dropped only by ``scratch that``, and then a flag says so. What is in doubt stays as it was recognised.
    The risks have no confidence and no times; ``format_words`` gives them.
    """
    writer = Writer(settings=settings)
    writer.add_text(raw)
    return writer.written()


def format_words(words: Sequence[Word], *, settings: WritingSettings = DEFAULT_WRITING) -> Formatted:
    """Writes recognised words as ``format_spoken`` does; each risk has the confidence and the times of its words.

    Where all confidences are 0 the recogniser gives none, and no risk has one.
    """
    writer = Writer(settings=settings)
    writer.add(words)
    return writer.written()


class Writer:
    """Writes one dictation, utterance by utterance.

    Sections, fields, lists and ``caps on`` last from one utterance to the next, and ``scratch that`` reaches back. What
    is written is what the whole would give at once, but a number is not put together across utterances.
    """

    def __init__(self, *, settings: WritingSettings = DEFAULT_WRITING) -> None:
        self._settings = settings
        template = literal_pieces(settings.template)
        texts = {" ".join(name.lower().split()): literal_pieces(text) for name, text in settings.auto_texts.items()}
        literal = [*template, *(piece for pieces in texts.values() for piece in pieces)]
        self._names = Names(
            auto_texts=frozenset(texts),
            heads=frozenset(piece.text.rstrip(":").lower() for piece in literal if piece.role is Role.HEAD),
            fields=frozenset(name for piece in literal for name in piece.names),
        )
        self._page = Page(auto_texts=texts)
        self._page.begin(template)
        self._heard: list[Word | None] = []
        self._before: list[Token] = []

    @property
    def text(self) -> str:
        """What is written so far."""
        return lay_out(self._page.pieces)[0]

    def add(self, words: Sequence[Word]) -> None:
        """Writes what one utterance says."""
        starts, length = [], 0
        for word in words:
            starts.append(length)
            length += len(word.word) + 1
        self._add(" ".join(word.word for word in words), starts, words)

    def add_text(self, raw: str) -> None:
        """Writes what one utterance says, where only its text is known."""
        starts = [found.start() for found in re.finditer(r"\S+", raw)]
        self._add(raw, starts, [None] * len(starts))

    def preview(self, words: Sequence[Word]) -> Formatted:
        """What would be written if this were the next utterance, while it is still being spoken."""
        other = Writer.__new__(Writer)
        other.__dict__.update(self.__dict__)
        other._page, other._heard = self._page.copy(), list(self._heard)
        other.add(words)
        return other.written()

    def written(self) -> Formatted:
        """What is written so far, with its risks and flags."""
        text, placed = lay_out(self._page.pieces)
        risks = [self._risk(kind, (start, end), text, placed) for kind, start, end in _places(text, placed)]
        counts = dict(self._page.counts)
        counts["unfilled"] = sum(
            piece.role is Role.FIELD and not is_filled(self._page.pieces, at)
            for at, piece in enumerate(self._page.pieces)
        )
        counts["unsure"] = sum(risk.unsure for risk in risks)
        flags = [
            Flag(code=code, text=f"{what}: {counts[name]}; {then}")
            for name, (code, what, then) in _FLAGS.items()
            if counts.get(name)
        ]
        return Formatted(text=text, risks=tuple(risks), flags=tuple(flags))

    def _add(self, raw: str, starts: Sequence[int], words: Sequence[Word | None]) -> None:
        first = len(self._heard)
        self._heard += words
        tokens, replaced = self._settings.corrector.correct(read_markup(raw))
        for name, count in replaced.items():
            self._page.count(name, count)
        spoken = read_spoken(tokens, self._names, before=self._before)
        written = write_numbers(spoken, before=self._before) if self._settings.numbers else spoken
        self._page.cased = next((token.text[:1].isupper() for token in tokens if token.kind is Kind.WORD), False)
        for at, token in enumerate(written):
            self._page.write(token, _words_of(token, starts, first), last=at == len(written) - 1)
        self._before = [*self._before, *spoken][-_LOOK_BACK:]
        if self._changed(tokens, starts, first):
            self._page.count("changed")

    def _changed(self, tokens: Sequence[Token], starts: Sequence[int], first: int) -> bool:
        """Whether a number, unit, side or negation of the utterance is not on the page, or one was put there."""
        unsaid = self._page.unsaid
        heard = [token.text for token in tokens if _words_of(token, starts, first)[0] not in unsaid]
        mine = [piece for piece in self._page.pieces if piece.words[1] > piece.words[0] >= first]
        said = [piece.text for piece in sorted(mine, key=lambda piece: piece.words)]
        return changed_risks(" ".join(heard), " ".join(said)) != ()

    def _risk(self, kind: RiskKind, span: tuple[int, int], text: str, placed: Sequence[Placed]) -> Risk:
        start, end = span
        first = bisect_right(placed, start, key=lambda place: place.end)
        last = bisect_left(placed, end, key=lambda place: place.start)
        words = [word for place in placed[first:last] for word in self._heard[slice(*place.piece.words)] if word]
        if not words:
            return Risk(kind=kind, text=text[start:end], start=start, end=end)
        confidence = min(word.confidence for word in words) if any(w and w.confidence for w in self._heard) else None
        return Risk(
            kind=kind,
            text=text[start:end],
            start=start,
            end=end,
            confidence=confidence,
            start_s=min(word.start_s for word in words),
            end_s=max(word.end_s for word in words),
            unsure=confidence is not None and confidence < self._settings.unsure_below,
        )


def _places(text: str, placed: Sequence[Placed]) -> list[tuple[RiskKind, int, int]]:
    odd = [(RiskKind.MARKUP, place.start, place.end) for place in placed if place.piece.odd]
    return sorted([*risks_of(text), *odd], key=lambda place: place[1:])


def _words_of(token: Token, starts: Sequence[int], first: int) -> tuple[int, int]:
    """Indices of the heard words that a token was read from, where the utterance begins with word ``first``."""
    begin, end = token.span
    return first + max(0, bisect_right(starts, begin) - 1), first + bisect_left(starts, end)
