"""Where numbers, negations, sides and listed terms stand in a text, and how many of them were heard wrong.

Beside ``score/wer``, for the words that a word error rate drowns: one wrong "no" in a report of 200 words is half a
percent. Works on normalised words. Finds words by lists only: it does not know what a sentence means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from medvox.score.alignment import Edit, Step
from medvox.score.spoken_numbers import ENDINGS, MULTIPLIER_ENDINGS, MULTIPLIERS, ONES, TENS

Finder = Callable[[Sequence[str]], Iterator[range]]  # words -> the places of each term, in order, never overlapping

NUMBER_WORDS = frozenset({"zero", *ONES, *TENS, *MULTIPLIERS, *ENDINGS, *MULTIPLIER_ENDINGS})
NEGATIONS = (
    "no", "not", "nor", "none", "never", "neither", "cannot", "without", "absent", "absence", "negative", "deny",
    "denies", "denied", "denying", "ruled out", "rule out", "rules out", "ain't", "aren't", "can't", "couldn't",
    "didn't", "doesn't", "don't", "hadn't", "hasn't", "haven't", "isn't", "shouldn't", "wasn't", "weren't", "won't",
    "wouldn't",
)  # fmt: skip
SIDES = (
    "left", "right", "bilateral", "bilaterally", "unilateral", "unilaterally", "ipsilateral", "contralateral",
    "leftward", "rightward", "leftwards", "rightwards",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class TermErrors:
    """How terms of one class were heard.

    Attributes:
        words: their words in the reference.
        missed: those of them that are deleted or replaced.
        invented: words of such terms in the hypothesis where the reference has nothing, or no such term.
        terms: whole terms in the reference; ``two point five`` is one.
        terms_missed: terms that are not heard as just that term; ``twenty`` heard as ``twenty five`` is one too.
    """

    words: int = 0
    missed: int = 0
    invented: int = 0
    terms: int = 0
    terms_missed: int = 0

    @property
    def rate(self) -> float | None:
        """Missed and invented words per word of the reference; None where the reference has none."""
        return (self.missed + self.invented) / self.words if self.words else None

    @property
    def recall(self) -> float | None:
        """Share of the terms that were heard as they are; None where the reference has none."""
        return 1 - self.terms_missed / self.terms if self.terms else None

    def __add__(self, other: TermErrors) -> TermErrors:
        return TermErrors(
            words=self.words + other.words,
            missed=self.missed + other.missed,
            invented=self.invented + other.invented,
            terms=self.terms + other.terms,
            terms_missed=self.terms_missed + other.terms_missed,
        )


def phrases(terms: Iterable[str]) -> Finder:
    """A finder of words and phrases; where several begin at a word, the longest is taken.

    Args:
        terms: normalised by the rule that the texts are normalised by; empty ones are left out.
    """
    by_first: dict[str, list[tuple[str, ...]]] = {}
    for term in {tuple(term.split()) for term in terms if term.strip()}:
        by_first.setdefault(term[0], []).append(term)
    for starting in by_first.values():
        starting.sort(key=len, reverse=True)

    def find(words: Sequence[str]) -> Iterator[range]:
        place = 0
        while place < len(words):
            starting = by_first.get(words[place], ())
            found = next((term for term in starting if tuple(words[place : place + len(term)]) == term), None)
            if found:
                yield range(place, place + len(found))
            place += len(found) if found else 1

    return find


def numbers(words: Sequence[str]) -> Iterator[range]:
    """Runs of digits and number words, with a ``point`` between two of them."""
    start = None
    for place in range(len(words) + 1):
        inside = place < len(words) and (
            _is_number(words[place])
            or (
                words[place] == "point"
                and start is not None
                and place + 1 < len(words)
                and _is_number(words[place + 1])
            )
        )
        if inside and start is None:
            start = place
        elif not inside and start is not None:
            yield range(start, place)
            start = None


CLASSES: dict[str, Finder] = {"number": numbers, "negation": phrases(NEGATIONS), "laterality": phrases(SIDES)}


def term_errors(reference: Sequence[str], hypothesis: Sequence[str], steps: Sequence[Step], find: Finder) -> TermErrors:
    """The errors of one class of terms in an aligned pair of texts."""
    spans, heard_spans = list(find(reference)), set(find(hypothesis))
    wanted = {place for span in spans for place in span}
    heard = {place for span in heard_spans for place in span}
    correct = {step.reference: step.hypothesis for step in steps if step.edit is Edit.CORRECT}
    invented = sum(
        step.hypothesis in heard
        and (step.edit is Edit.INSERTION or (step.edit is Edit.SUBSTITUTION and step.reference not in wanted))
        for step in steps
    )
    return TermErrors(
        words=len(wanted),
        missed=len(wanted - correct.keys()),
        invented=invented,
        terms=len(spans),
        terms_missed=sum(not _heard_whole(span, correct, heard_spans) for span in spans),
    )


def _heard_whole(span: range, correct: Mapping[int | None, int | None], heard: Set[range]) -> bool:
    first, last = correct.get(span[0]), correct.get(span[-1])
    if first is None or last is None or last - first != span[-1] - span[0]:
        return False
    return range(first, last + 1) in heard and all(place in correct for place in span)


def _is_number(word: str) -> bool:
    return word in NUMBER_WORDS or any(character.isdigit() for character in word)
