"""References and hypotheses -> word and character error rates, with intervals and the errors that matter most.

After ``score/normalise`` and ``score/alignment``. Equal to ``jiwer`` on the same normalised texts. Knows no recogniser
and no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvox.errors import UsageError
from medvox.score.alignment import Counts, align, count
from medvox.score.normalise import normaliser
from medvox.score.terms import CLASSES, TermErrors, phrases, term_errors
from medvox.types import to_json

RESAMPLES = 1000
COVERED = (2.5, 97.5)  # percentiles of a 95 % interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A 95 % bootstrap interval of a rate, resampled by utterance."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TextScore:
    """How well hypotheses match their references.

    Attributes:
        normaliser: the rule by which both were normalised; rates under different rules cannot be compared.
        words: pooled counts over all utterances.
        characters: the same by character, spaces included.
        utterances: the word counts of each utterance, in the order given.
        terms: errors in numbers, negations, laterality and, where terms were given, ``term``.
    """

    normaliser: str
    words: Counts
    characters: Counts
    utterances: tuple[Counts, ...]
    terms: Mapping[str, TermErrors]

    @property
    def wer(self) -> float:
        """Word errors per reference word; not bounded by 1."""
        return self.words.rate

    @property
    def cer(self) -> float:
        """Character errors per reference character."""
        return self.characters.rate

    @property
    def exact(self) -> int:
        """Utterances without any error."""
        return sum(counts.errors == 0 for counts in self.utterances)

    def as_dict(self) -> dict[str, Any]:
        """The score as JSON-ready values, without the single utterances."""
        return {
            "normaliser": self.normaliser,
            "wer": self.wer,
            "cer": self.cer,
            "utterances": len(self.utterances),
            "exact": self.exact,
            "words": to_json(self.words),
            "characters": to_json(self.characters),
            "terms": {
                name: to_json(errors) | {"rate": errors.rate, "recall": errors.recall}
                for name, errors in self.terms.items()
            },
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The word error rate of a second system less that of a first, on the same utterances; below 0: it is better.

    ``p_value`` is two-sided and comes from the same resamples as the interval, so it is never below 2 / resamples.
    """

    value: float
    interval: Interval
    p_value: float


def score_texts(
    references: Sequence[str],
    hypotheses: Sequence[str],
    *,
    normalise_by: str = "quick-start",
    terms: Iterable[str] = (),
) -> TextScore:
    """Scores hypotheses against references.

    Single references may be empty: all that was heard there is inserted.

    Args:
        references: what was said, one text an utterance.
        hypotheses: what was recognised, in the same order.
        normalise_by: a name of ``score.normalise.NORMALISERS``; applied to all texts and terms.
        terms: words and phrases whose errors are counted beside the rest, such as drug names.

    Raises:
        UsageError: ``E_SCORE_PAIRS``, not as many hypotheses as references; ``E_SCORE_EMPTY``, no word in any
            reference; ``E_SCORE_NORMALISER``, no such rule.
    """
    _check_pairs(len(references), len(hypotheses))
    normalise = normaliser(normalise_by)
    finders = dict(CLASSES)
    listed = [normalise(term) for term in terms]
    if listed:
        finders["term"] = phrases(listed)
    utterances: list[Counts] = []
    characters = Counts()
    found = {name: TermErrors() for name in finders}
    for reference, hypothesis in zip(map(normalise, references), map(normalise, hypotheses), strict=True):
        wanted, heard = reference.split(), hypothesis.split()
        steps = align(wanted, heard)
        utterances.append(count(steps))
        characters += count(align(" ".join(wanted), " ".join(heard)))
        for name, find in finders.items():
            found[name] += term_errors(wanted, heard, steps, find)
    words = sum(utterances, Counts())
    if words.reference_tokens == 0:
        raise UsageError(
            "the references hold no word, so there is no error rate", fix="give what was said", code="E_SCORE_EMPTY"
        )
    return TextScore(
        normaliser=normalise_by, words=words, characters=characters, utterances=tuple(utterances), terms=found
    )


def interval(utterances: Sequence[Counts], *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The 95 % interval of the pooled error rate. Utterances are drawn anew as a whole: their errors hang together.

    Raises:
        UsageError: ``E_SCORE_EMPTY``, no word in any reference.
    """
    errors, tokens = _totals(utterances)
    sums = _resampled(np.stack([errors, tokens], axis=1), resamples, seed)
    return _interval(_ratio(sums[:, 0], sums[:, 1]))


def difference(
    first: Sequence[Counts], second: Sequence[Counts], *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """How much the error rate of a second system differs from that of a first, by paired bootstrap.

    Raises:
        UsageError: ``E_SCORE_PAIRS``, the two were not scored on the same references; ``E_SCORE_EMPTY``.
    """
    _check_pairs(len(first), len(second))
    first_errors, tokens = _totals(first)
    second_errors, second_tokens = _totals(second)
    if not np.array_equal(tokens, second_tokens):
        raise _not_paired("the two systems were scored on different references")
    change = second_errors - first_errors
    sums = _resampled(np.stack([change, tokens], axis=1), resamples, seed)
    changes = _ratio(sums[:, 0], sums[:, 1])
    known = changes[np.isfinite(changes)]
    tail = min(float((known <= 0).mean()), float((known >= 0).mean()))
    return Difference(
        value=float(change.sum() / tokens.sum()),
        interval=_interval(changes),
        p_value=min(1.0, max(2 * tail, 2 / resamples)),
    )


def _totals(utterances: Sequence[Counts]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    errors = np.array([counts.errors for counts in utterances], np.int64)
    tokens = np.array([counts.reference_tokens for counts in utterances], np.int64)
    if tokens.sum() == 0:
        raise UsageError(
            "the references hold no word, so there is no error rate", fix="give what was said", code="E_SCORE_EMPTY"
        )
    return errors, tokens


def _resampled(columns: NDArray[np.int64], resamples: int, seed: int) -> NDArray[np.float64]:
    """Sums of the columns (utterances, n) over utterances drawn with replacement: (resamples, n)."""
    random, count = np.random.default_rng(seed), len(columns)
    return np.array([columns[random.integers(count, size=count)].sum(axis=0) for _ in range(resamples)], np.float64)


def _ratio(errors: NDArray[np.float64], tokens: NDArray[np.float64]) -> NDArray[np.float64]:
    """Errors per token; NaN in a resample without reference words."""
    return np.divide(errors, tokens, out=np.full(len(tokens), np.nan), where=tokens > 0)


def _interval(values: NDArray[np.float64]) -> Interval:
    low, high = np.nanpercentile(values, COVERED)
    return Interval(low=float(low), high=float(high))


def _check_pairs(first: int, second: int) -> None:
    if first != second:
        raise _not_paired(f"{first} texts cannot be paired with {second}")


def _not_paired(message: str) -> UsageError:
    return UsageError(message, fix="give both for the same utterances, in the same order", code="E_SCORE_PAIRS")
