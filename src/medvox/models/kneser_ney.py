"""Sentences of token ids -> n-gram model, by interpolated modified Kneser-Ney smoothing (Chen and Goodman, 1999).

Before ``models/ngram`` in the path. Knows no text and no tokenizer: whoever calls has turned text into token ids. With
it a speech model learns the words of a place from text alone. Probabilities sum to 1 over the ordinary tokens, </s> and
<unk> in every context; unseen tokens get their share from the uniform distribution below the unigrams.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from medvox.errors import InputError, UsageError
from medvox.models.ngram import MAX_ORDER, MAX_TOKENS, Ints, NgramLm, Table, sealed, vocabulary_hash

MAX_TEXT_TOKENS = 2**27
NEVER = -99.0  # log10 of a word that is never predicted
FALLBACK = (0.5, 1.0, 1.5)  # discounts where the text is too small to estimate them, as in KenLM
SPECIAL = frozenset({"<s>", "</s>", "<unk>"})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Grams:
    """The n-grams of one order in the text, sorted by key, and what ends at each position of the text."""

    keys: Ints
    counts: Ints
    context: Ints  # index in the order below, of the first words
    suffix: Ints  # index in the order below, of the last words
    starts: NDArray[np.bool_]  # whether the first word is <s>
    at: Ints  # index of the n-gram that ends at each position of the text, or -1


def build_lm(sentences: Iterable[Sequence[int]], *, order: int, pieces: Sequence[str], blank: int) -> NgramLm:
    """Estimate a model.

    Args:
        sentences: token ids, without blank and without sentence marks.
        order: longest n-gram, 1 to 10.
        pieces: the speech model's vocabulary, in order of the ids.
        blank: id of the blank, which the model never predicts.

    Raises:
        UsageError: an impossible order, or token ids that are no ordinary tokens.
        InputError: no text, or too much.
    """
    if not 1 <= order <= MAX_ORDER or not 0 < len(pieces) <= MAX_TOKENS:
        raise UsageError(
            f"an n-gram model has an order from 1 to {MAX_ORDER} and a vocabulary of 1 to {MAX_TOKENS} pieces",
            fix=f"choose an order from 1 to {MAX_ORDER}; 4 to 6 suit pieces of words",
            code="E_LM_ORDER",
        )
    tokens = len(pieces)
    end, unknown = tokens + 1, tokens + 2
    ordinary = np.array([piece not in SPECIAL and token != blank for token, piece in enumerate(pieces)])
    text = _text(sentences, ordinary)
    codes = np.where(ordinary, np.arange(tokens), unknown)
    codes[[piece == "</s>" for piece in pieces]] = end
    grams = _grams(text, order, tokens + 3)
    words = np.append(ordinary, [False, True, True])  # the words that may be predicted
    lower = np.where(words, 1 / words.sum(), 0.0)
    tables: list[Table] = []
    for k, gram in enumerate(grams, start=1):
        counts = gram.counts if k == order else _adjusted(gram, grams[k])
        if k == 1:
            counts = np.where(words, counts, 0)
        discounted, left = _discounted(counts, gram.context, len(lower) if k > 1 else 1)
        below = lower[gram.suffix] if k > 1 else lower
        chances = discounted + left[gram.context] * below
        if k > 1:
            before = tables[-1]
            tables[-1] = sealed(before.keys[:-1], before.logp[:-1], _log10(left))
        logp = _log10(chances)
        tables.append(sealed(gram.keys, logp, np.empty(0, dtype=np.float32)))
        lower = chances
    return NgramLm(vocabulary=vocabulary_hash(pieces), codes=codes, tables=tuple(tables))


def _text(sentences: Iterable[Sequence[int]], ordinary: NDArray[np.bool_]) -> Ints:
    """All sentences in one row, each between its marks <s> and </s>."""
    start, end = len(ordinary), len(ordinary) + 1
    marked = ((start, *sentence, end) for sentence in sentences if len(sentence))
    text = np.fromiter(_bounded(chain.from_iterable(marked)), dtype=np.int64)
    if not len(text):
        raise InputError("there is no text to learn from", fix="give at least one sentence", code="E_LM_TEXT")
    inside = text[(text != start) & (text != end)]
    if (
        (text < 0).any()
        or (text > end).any()
        or not ordinary[inside].all()
        or (text == start).sum() * 2 + len(inside) != len(text)
    ):
        raise UsageError(
            "a sentence holds the blank, a special token, or an id outside the vocabulary",
            fix="tokenise without special tokens, with this speech model's tokenizer",
            code="E_LM_TOKENS",
        )
    return text


def _bounded(tokens: Iterable[int]) -> Iterable[int]:
    for number, token in enumerate(tokens):
        if number >= MAX_TEXT_TOKENS:
            raise InputError(
                f"the text has more than {MAX_TEXT_TOKENS} tokens", fix="build from less text", code="E_LM_TOO_LARGE"
            )
        yield token


def _grams(text: Ints, order: int, words: int) -> list[_Grams]:
    """Count the n-grams of each order; none reaches over the start of its sentence."""
    start = words - 3
    everything = np.arange(words, dtype=np.int64)
    none = np.zeros(words, dtype=np.int64)
    counts = np.bincount(text, minlength=words)
    grams = [
        _Grams(keys=everything, counts=counts, context=none, suffix=none, starts=everything == start, at=text),
    ]
    opening = np.maximum.accumulate(np.where(text == start, np.arange(len(text)), 0))
    inside = np.arange(len(text)) - opening  # words of the sentence before each position
    for k in range(2, order + 1):
        below = grams[-1]
        where = np.flatnonzero(inside >= k - 1)
        context, suffix = below.at[where - 1], below.at[where]
        keys, first, own, counts = np.unique(
            context * words + text[where], return_index=True, return_inverse=True, return_counts=True
        )
        at = np.full(len(text), -1, dtype=np.int64)
        at[where] = own
        starts = below.starts[context[first]]
        grams.append(
            _Grams(keys=keys, counts=counts, context=context[first], suffix=suffix[first], starts=starts, at=at)
        )
    return grams


def _adjusted(gram: _Grams, above: _Grams) -> Ints:
    """Of how many different words each n-gram is preceded; nothing precedes <s>, so there the plain count stays."""
    preceded = np.bincount(above.suffix, minlength=len(gram.keys))
    return np.where(gram.starts, gram.counts, preceded)


def _discounted(counts: Ints, context: Ints, contexts: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Discounted relative counts in each context, and what is left there for the order below (1 where nothing is)."""
    discount = np.array([0.0, *_discounts(counts)])[np.minimum(counts, 3)]
    total = np.bincount(context, weights=counts, minlength=contexts)
    seen = total > 0
    divisor = np.where(seen, total, 1)
    left = np.where(seen, np.bincount(context, weights=discount, minlength=contexts) / divisor, 1.0)
    return (counts - discount) / divisor[context], left


def _discounts(counts: Ints) -> tuple[float, float, float]:
    """What is taken from n-grams seen once, twice and more often."""
    n1, n2, n3, n4 = (int((counts == times).sum()) for times in (1, 2, 3, 4))
    if not (n1 and n2 and n3):
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return found if all(0 < taken < times for times, taken in enumerate(found, start=1)) else FALLBACK


def _log10(chances: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.log10(np.maximum(chances, 10**NEVER)).astype(np.float32)
