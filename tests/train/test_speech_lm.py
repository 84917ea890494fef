"""The language model that ships: pruned to a size, still a probability distribution, and hardly worse on its text."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medvox.models.beam import BEAM_TUNED, BeamSettings
from medvox.models.kneser_ney import build_lm
from medvox.models.ngram import NgramLm
from medvox.synth.dictation import ScriptWriter, is_held_out
from medvox.train import speech_lm
from medvox.train.speech_lm import ALPHAS, BETAS, learn_shipped_lm, prune, tuned_settings
from medvox.train.vocabulary import learn_vocabulary

PIECES = ("<blank>", *"abcdefgh")
V = len(PIECES)

needs_texts = pytest.mark.skipif(
    not Path("/usr/share/games/fortunes/literature").exists() or not Path("/usr/share/dict/american-english").exists(),
    reason="fortunes or wamerican is not installed",
)


def sentences(count: int, seed: int) -> list[list[int]]:
    """Tokens 1..8, each mostly decided by the two before it."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        line = [rng.randint(1, 8), rng.randint(1, 8)]
        while rng.random() < 0.9:
            usual = 1 + (3 * line[-1] + line[-2]) % 8
            line.append(usual if rng.random() < 0.8 else rng.randint(1, 8))
        made.append(line)
    return made


TEXT = sentences(600, seed=1)


@pytest.fixture(scope="module")
def whole() -> NgramLm:
    return build_lm(TEXT, order=4, pieces=PIECES, blank=0)


def nats_a_token(lm: NgramLm, texts: Sequence[Sequence[int]]) -> float:
    return -sum(lm.sentence(text) for text in texts) / sum(len(text) + 1 for text in texts)


def total_probability(lm: NgramLm, history: Sequence[int]) -> float:
    """Of all words (tokens, the end, the unknown) after a history; by the model's public steps alone."""
    states = lm.start()[None]
    for token in history:
        _, states = lm.score(states, np.array([token]))
    tokens = np.append(np.flatnonzero(~lm.unknown()), 0)  # the blank is the unknown word
    logp, _ = lm.score(np.repeat(states, len(tokens), axis=0), tokens)
    return float(np.exp(logp).sum() + np.exp(lm.end(states)).sum())


def grams(lm: NgramLm, k: int) -> set[tuple[int, ...]]:
    """The n-grams of order k + 1, spelled out."""
    keys = lm.tables[k].keys[:-1]
    if k == 0:
        return {(word,) for word in range(len(keys))}
    below = spelled(lm, k - 1)
    return {(*below[key // lm.words], int(key % lm.words)) for key in keys.tolist()}


def spelled(lm: NgramLm, k: int) -> list[tuple[int, ...]]:
    keys = lm.tables[k].keys[:-1].tolist()
    if k == 0:
        return [(word,) for word in range(len(keys))]
    below = spelled(lm, k - 1)
    return [(*below[key // lm.words], key % lm.words) for key in keys]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_pruned_model_is_small_enough(whole: NgramLm, share: float) -> None:
    most = int(share * sum(whole.counts))
    kept = sum(prune(whole, most).counts)
    assert kept <= most
    assert kept >= 0.8 * most


def test_words_and_pairs_stay_and_nothing_is_new(whole: NgramLm) -> None:
    pruned = prune(whole, int(0.4 * sum(whole.counts)))
    for k in range(2):
        assert grams(pruned, k) == grams(whole, k)
    for k in range(2, 4):
        assert grams(pruned, k) < grams(whole, k)
        assert {gram[:-1] for gram in grams(pruned, k)} <= grams(pruned, k - 1)


@pytest.mark.parametrize("history", [(), (1,), (2, 7), (3, 3, 3), (1, 2, 3, 4), (8, 8, 1, 5, 2)])
def test_probabilities_still_sum_to_one(whole: NgramLm, history: tuple[int, ...]) -> None:
    assert total_probability(whole, history) == pytest.approx(1, abs=1e-4)
    pruned = prune(whole, int(0.4 * sum(whole.counts)))
    assert total_probability(pruned, history) == pytest.approx(1, abs=1e-4)


def test_a_model_that_is_small_enough_says_the_same(whole: NgramLm) -> None:
    pruned = prune(whole, sum(whole.counts))
    assert pruned.counts == whole.counts
    for text in TEXT[:20]:
        assert pruned.sentence(text) == pytest.approx(whole.sentence(text), abs=1e-3)


def test_what_is_dropped_matters_less_than_what_a_coin_drops(whole: NgramLm, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = sentences(300, seed=2)
    most = int(0.4 * sum(whole.counts))
    best = nats_a_token(prune(whole, most), fresh)
    rng = np.random.default_rng(0)
    monkeypatch.setattr(
        speech_lm, "_losses", lambda lm: [10 ** rng.uniform(-20, -1, len(table.keys) - 1) for table in lm.tables]
    )
    coin = nats_a_token(prune(whole, most), fresh)
    full = nats_a_token(whole, fresh)
    assert full < best < coin
    assert best - full < 0.3 * (coin - full)


@needs_texts
def test_no_held_out_line_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_lm, "JOINED_SHARE", 0.0)
    lines = list(speech_lm._lines(None, 2000))
    assert 0.88 < len(lines) / 2000 < 1.0  # 6 % of all lines are held out
    assert not any(map(is_held_out, lines))


@needs_texts
def test_the_shipped_model_is_learnt_over_the_tokens_and_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_lm, "MOST_NGRAMS", 6000)
    writer = ScriptWriter(5)
    tokenizer = learn_vocabulary([writer.line()[1] for _ in range(3000)], 64)
    lm = learn_shipped_lm(tokenizer, None, lines=800)
    assert lm.order == 6
    assert lm.tokens == tokenizer.get_vocab_size()
    assert sum(lm.counts) <= 6000

    def chance(text: str) -> float:
        return lm.sentence(tokenizer.encode(text, add_special_tokens=False).ids)

    assert chance("there is no pleural effusion") > chance("effusion no pleural is there")


def test_the_weights_with_the_fewest_errors_are_taken() -> None:
    """A recording is heard rightly with one pair of weights only, and with one other word or more with the others."""
    wanted = (ALPHAS[2], BETAS[1])

    def hear(rows: NDArray[np.float32], settings: BeamSettings) -> str:
        away = (settings.alpha != wanted[0]) + (settings.beta != wanted[1])
        return " ".join(["left", "lung", "nodule"][: 3 - away])

    settings = tuned_settings([np.zeros((2, V), np.float32)], ["left lung nodule"], hear)
    assert settings == replace(BEAM_TUNED, alpha=wanted[0], beta=wanted[1])
