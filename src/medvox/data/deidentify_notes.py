"""A note -> the same note with identifiers replaced by their category: ``[NAME]``, ``[DATE]``, ... by rules.

Used by the verb ``deid``. Rules look for marks (titles, labels, forms of numbers and dates) and for common names; a
name found once is found everywhere in the note. Rules miss what has no mark: rare names alone, places without a type
word, unusual circumstances. The recall by category is measured in ``benchmarks/deid_notes.py``. Knows no file.

Source: categories of 45 CFR 164.514(b)(2), the HIPAA safe harbor list. Years alone and ages below 90 stay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from medvox.data.note_rules import NAME_WORD, PATTERNS, name_spans
from medvox.data.unknown_names import unknown_names

CATEGORIES = (
    "NAME",
    "DATE",
    "AGE",
    "PHONE",
    "FAX",
    "EMAIL",
    "SSN",
    "ID",
    "ADDRESS",
    "URL",
    "IP",
    "DEVICE",
    "ORGANIZATION",
)
# Where two rules meet, the one that is more certain of its kind wins; names come last, as they lean on the least.
_ORDER = ("EMAIL", "URL", "SSN", "FAX", "PHONE", "ID", "DEVICE", "IP", "DATE", "AGE", "ADDRESS", "ORGANIZATION", "NAME")


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """An identifier in a note: its place in characters of the original, and its category."""

    start: int
    end: int
    category: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanNote:
    """A note after the rules, and where in the original they struck."""

    text: str
    spans: tuple[Span, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Replaced spans by category."""
        return dict(Counter(span.category for span in self.spans))


def clean_note(text: str) -> CleanNote:
    """Replace every identifier that the rules find by its category in brackets."""
    spans = find_identifiers(text)
    pieces, place = [], 0
    for span in spans:
        pieces += [text[place : span.start], f"[{span.category}]"]
        place = span.end
    return CleanNote(text="".join([*pieces, text[place:]]), spans=spans)


def find_identifiers(text: str) -> tuple[Span, ...]:
    """Identifiers in a note, in order, without overlaps."""
    taken = bytearray(len(text))
    spans: list[Span] = []

    def take(start: int, end: int, category: str) -> None:
        """Take what is free between two places; what another rule has stays its."""
        while start < end:
            stop = taken.find(1, start, end)
            stop = end if stop < 0 else stop
            if text[start:stop].strip(" ,.;:\t\n"):
                taken[start:stop] = b"\1" * (stop - start)
                spans.append(Span(start=start, end=stop, category=category))
            start = taken.find(0, stop, end)
            start = end if start < 0 else start

    for category in _ORDER:
        for pattern in PATTERNS.get(category, ()):
            for match in pattern.finditer(text):
                take(*match.span("value"), category)
        if category == "NAME":
            names = [*name_spans(text), *unknown_names(text)]
            for start, end in names:
                take(start, end, category)
            for start, end in _again(text, names):
                take(start, end, category)
    return tuple(sorted(spans, key=lambda span: span.start))


def _again(text: str, names: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Further places of the words of the names that were found."""
    words = {word for start, end in names for word in NAME_WORD.findall(text[start:end]) if len(word) > 2}
    for word in sorted(words):
        forms = "|".join(re.escape(form) for form in {word, word.capitalize(), word.upper()})
        for match in re.finditer(rf"(?<![\w-])(?:{forms})(?![\w-])", text):
            yield match.span()
