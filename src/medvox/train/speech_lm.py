"""The language model that ships with the speech model: learnt from lines of the training side, pruned to a size.

Beside ``train/speech``. Pruning follows Stolcke (1998): an n-gram goes when the text would hardly be less probable
without it, and the back-off weights are made anew so that all probabilities still sum to 1. Knows no sound.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from medvox.models.beam import BEAM_TUNED, BeamSettings
from medvox.models.kneser_ney import build_lm
from medvox.models.ngram import Floats, Ints, NgramLm, Table, sealed
from medvox.score.wer import score_texts
from medvox.synth.dictation import ScriptWriter, is_held_out, medical_clauses

ORDER = 6
GENERATED_LINES = 300_000
MOST_NGRAMS = 230_000
JOINED_SHARE = 0.25  # lines that follow each other in one sentence, as in long recordings
ALPHAS = (0.5, 0.75, 1.0, 1.25)  # no more, lest what is likely outweigh what was said
BETAS = (1.0, 1.75, 2.5, 3.25)

Hear = Callable[[NDArray[np.float32], BeamSettings], str]
_Doubles = NDArray[np.float64]


def learn_shipped_lm(tokenizer: Tokenizer, texts: Path | None, *, lines: int = GENERATED_LINES) -> NgramLm:
    """A pruned model of training-side lines: the grammar's, and each clause of the medical texts once.

    Args:
        tokenizer: of the speech model.
        texts: folder of medical prose, see ``synth/dictation``; none when None.
        lines: generated lines.
    """
    pieces = [tokenizer.id_to_token(number) or "<unk>" for number in range(tokenizer.get_vocab_size())]
    sentences = (tokenizer.encode(line, add_special_tokens=False).ids for line in _lines(texts, lines))
    return prune(build_lm(sentences, order=ORDER, pieces=pieces, blank=0), MOST_NGRAMS)


def _lines(texts: Path | None, wanted: int) -> Iterator[str]:
    rng = random.Random(11)
    writer = ScriptWriter(12, texts)
    before = ""
    for _ in range(wanted):
        line = writer.line()[1]
        if is_held_out(line):
            continue
        yield f"{before} {line}" if before and rng.random() < JOINED_SHARE else line
        before = line
    if texts is not None:
        yield from (clause for clause in medical_clauses(texts) if not is_held_out(clause))


def prune(lm: NgramLm, most: int) -> NgramLm:
    """Drops the n-grams of order 3 and more that matter least, until at most ``most`` n-grams are left.

    An n-gram whose beginning goes, goes too; those of order 1 and 2 stay.
    """
    losses = _losses(lm)
    kept = _kept(lm, losses, most)
    tables: list[Table] = list(lm.tables[:1])
    place = np.arange(len(lm.tables[0].keys))  # of the order below, in the pruned model
    for k in range(1, lm.order):
        table, keep = lm.tables[k], kept[k]
        context, word = np.divmod(table.keys[:-1][keep], lm.words)
        moved = np.full(len(table.keys), -1)
        moved[np.flatnonzero(keep)] = np.arange(keep.sum())
        backoffs = np.zeros(int(keep.sum()) if k + 1 < lm.order else 0, np.float32)  # the highest order has none
        tables.append(sealed(place[context] * lm.words + word, table.logp[:-1][keep], backoffs))
        place = moved
    pruned = NgramLm(vocabulary=lm.vocabulary, codes=lm.codes, tables=tuple(tables))
    return _with_backoffs(pruned)


def _kept(lm: NgramLm, losses: list[_Doubles], most: int) -> list[NDArray[np.bool_]]:
    """Which n-grams of each order stay: by a threshold on the loss, found by bisection."""
    low, high = -30.0, 0.0
    fixed = [np.ones(len(table.keys) - 1, dtype=bool) for table in lm.tables[:2]]
    best: list[NDArray[np.bool_]] = []
    for _ in range(30):
        threshold = 10 ** ((low + high) / 2)
        kept = list(fixed)
        for k in range(2, lm.order):
            context = lm.tables[k].keys[:-1] // lm.words
            kept.append((losses[k] > threshold) & kept[k - 1][context])
        if sum(int(one.sum()) for one in kept) > most:
            low = (low + high) / 2
        else:
            high, best = (low + high) / 2, kept
    return best


def _losses(lm: NgramLm) -> list[_Doubles]:
    """For each order, how much each n-gram adds to the log-probability of text: p(n-gram) times its gain.

    The best of the n-grams that begin with it counts too, so that no good one loses its beginning.
    """
    losses: list[_Doubles] = [np.zeros(len(lm.tables[0].keys) - 1)]
    joint = 10 ** lm.tables[0].logp[:-1].astype(np.float64)
    joint[lm.tokens] = joint[lm.tokens + 1]  # <s> begins as often as </s> ends
    for k in range(1, lm.order):
        table = lm.tables[k]
        context = table.keys[:-1] // lm.words
        logp = table.logp[:-1].astype(np.float64)
        gain = (logp - _backed_off(lm, k)) * np.log(10)
        joint = joint[context] * 10**logp
        losses.append(joint * np.abs(gain))
    for k in range(lm.order - 1, 1, -1):
        np.maximum.at(losses[k - 1], lm.tables[k].keys[:-1] // lm.words, losses[k])
    return losses


def _backed_off(lm: NgramLm, k: int) -> _Doubles:
    """log10 of what each n-gram of order k + 1 would have without itself: its back-off and the shorter n-gram."""
    context, word = np.divmod(lm.tables[k].keys[:-1], lm.words)
    shorter = np.full((len(context), lm.order - 1), -1, dtype=np.int64)
    for one in _words(lm, k - 1, context)[1:]:
        _, shorter = lm._step(shorter, one)
    logp, _ = lm._step(shorter, word)
    return np.asarray(lm.tables[k - 1].backoff[context] + logp / np.log(10))


def _words(lm: NgramLm, k: int, index: Ints) -> list[Ints]:
    """The words of n-grams of order k + 1, given by their places."""
    words: list[Ints] = []
    while k > 0:
        index, word = np.divmod(lm.tables[k].keys[index], lm.words)
        words.insert(0, word)
        k -= 1
    return [index, *words]


def _with_backoffs(lm: NgramLm) -> NgramLm:
    """The model with the back-off weights that make every context sum to 1."""
    for k in range(1, lm.order):
        table, below = lm.tables[k], lm.tables[k - 1]
        context, word = np.divmod(table.keys[:-1], lm.words)
        shorter = np.full((len(context), lm.order - 1), -1, dtype=np.int64)
        for one in _words(lm, k - 1, context)[1:]:
            _, shorter = lm._step(shorter, one)
        without, _ = lm._step(shorter, word)
        spent = np.bincount(context, 10 ** table.logp[:-1].astype(np.float64), minlength=len(below.keys) - 1)
        covered = np.bincount(context, np.exp(without), minlength=len(below.keys) - 1)
        backoff = np.log10(np.maximum(1 - spent, 1e-9) / np.maximum(1 - covered, 1e-9))
        fresh: Floats = np.where(spent > 0, backoff, 0.0).astype(np.float32)
        tables = list(lm.tables)
        tables[k - 1] = sealed(below.keys[:-1], below.logp[:-1], fresh)
        lm = NgramLm(vocabulary=lm.vocabulary, codes=lm.codes, tables=tuple(tables))
    return lm


def tuned_settings(logprobs: Sequence[NDArray[np.float32]], references: Sequence[str], hear: Hear) -> BeamSettings:
    """The weights of the search with the fewest word errors on recordings that are never reported.

    All else is as in ``BEAM_TUNED``.

    Args:
        logprobs: (T, V) of each recording.
        references: what is said in them.
        hear: log-probabilities of a recording and settings of the search -> normalised text.
    """
    best, least = BEAM_TUNED, math.inf
    for alpha in ALPHAS:
        for beta in BETAS:
            settings = replace(BEAM_TUNED, alpha=alpha, beta=beta)
            wrong = score_texts(references, [hear(rows, settings) for rows in logprobs]).wer
            if wrong < least:
                best, least = settings, wrong
    return best
