"""The prefix beam search against an enumeration of every path; hot words against a count of phrases."""

from __future__ import annotations

import itertools
import math
import random
import re

import numpy as np
import pytest

from medvox.errors import ModelError, UsageError
from medvox.models.beam import BEAM_MEDASR, BEAM_TUNED, BeamSettings, Decoder, beam_search
from medvox.models.hotwords import HotPhrase, HotWords
from medvox.models.kneser_ney import build_lm
from medvox.models.ngram import LN10, NgramLm

PIECES = ["<epsilon>", "▁a", "b", "</s>"]
EVERYTHING = {"beam": 1024, "nbest": 1024, "prune": -1e9, "min_token": -1e9}
UNBOUNDED = BeamSettings(**EVERYTHING)
WORDS = ["<epsilon>", "▁a", "▁b"]


def posteriors(frames: int, tokens: int, seed: int, sharpness: float = 2.0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=(frames, tokens)) * sharpness
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def spans_of(path: tuple[int, ...], blank: int) -> list[tuple[int, int, int]]:
    """(token, first frame, last frame) of the tokens of a path."""
    spans, frame = [], 0
    for token, run in itertools.groupby(path):
        length = len(list(run))
        if token != blank:
            spans.append((token, frame, frame + length - 1))
        frame += length
    return spans


def enumerated(logprobs: np.ndarray, blank: int) -> dict[tuple[int, ...], tuple[float, list[tuple[int, int, int]]]]:
    """For each token sequence: ln of its summed probability, and the spans of its best path."""
    sums: dict[tuple[int, ...], float] = {}
    best: dict[tuple[int, ...], tuple[float, list[tuple[int, int, int]]]] = {}
    for path in itertools.product(range(logprobs.shape[1]), repeat=len(logprobs)):
        logp = float(sum(logprobs[frame, token].astype(float) for frame, token in enumerate(path)))
        spans = spans_of(path, blank)
        tokens = tuple(span[0] for span in spans)
        sums[tokens] = sums.get(tokens, 0.0) + math.exp(logp)
        if tokens not in best or logp > best[tokens][0]:
            best[tokens] = (logp, spans)
    return {tokens: (math.log(total), best[tokens][1]) for tokens, total in sums.items()}


def ids(hypothesis) -> tuple[int, ...]:
    return tuple(token.token_id for token in hypothesis.tokens)


@pytest.fixture(scope="module")
def lm() -> NgramLm:
    rng = random.Random(0)
    text = [rng.choices([1, 2], weights=[2, 1], k=rng.randrange(1, 6)) for _ in range(40)]
    return build_lm(text, order=3, pieces=PIECES, blank=0)


@pytest.mark.parametrize(("frames", "tokens", "blank"), [(1, 2, 0), (4, 3, 0), (5, 3, 2), (6, 3, 1), (4, 4, 0)])
def test_every_sequence_has_its_whole_probability(frames: int, tokens: int, blank: int) -> None:
    logprobs = posteriors(frames, tokens, seed=frames)
    found = {ids(h): h.total for h in beam_search(logprobs, blank, settings=UNBOUNDED)}
    truth = enumerated(logprobs, blank)
    assert found.keys() == truth.keys()
    assert all(found[sequence] == pytest.approx(truth[sequence][0], abs=1e-5) for sequence in truth)


@pytest.mark.parametrize("seed", range(4))
def test_frames_are_those_of_the_best_path(seed: int) -> None:
    logprobs = posteriors(6, 3, seed=seed)
    truth = enumerated(logprobs, 0)
    for found in beam_search(logprobs, 0, settings=UNBOUNDED):
        spans = [(t.token_id, t.first_frame, t.last_frame) for t in found.tokens]
        assert spans == truth[ids(found)][1]


def test_confidence_is_the_mean_posterior_on_the_frames() -> None:
    logprobs = np.log(np.array([[0.1, 0.9], [0.3, 0.7], [0.99, 0.01]], dtype=np.float32))
    token = beam_search(logprobs, 0)[0].tokens[0]
    assert (token.first_frame, token.last_frame) == (0, 1)
    assert token.probability == pytest.approx(0.8)


@pytest.mark.parametrize("seed", range(4))
def test_scores_with_a_language_model_are_exact(lm: NgramLm, seed: int) -> None:
    logprobs = posteriors(5, 4, seed=seed)
    settings = BeamSettings(**EVERYTHING, alpha=0.7, beta=0.4)
    found = {ids(h): h.total for h in beam_search(logprobs, 0, lm=lm, settings=settings)}
    for sequence, (acoustic, _) in enumerated(logprobs, 0).items():
        if 3 not in sequence:
            expected = acoustic + 0.7 * lm.sentence(sequence) + 0.4 * len(sequence)
            assert found[sequence] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_best_comes_first(lm: NgramLm, seed: int) -> None:
    totals = [h.total for h in beam_search(posteriors(6, 4, seed=seed), 0, lm=lm, settings=UNBOUNDED)]
    assert totals == sorted(totals, reverse=True)


def test_parts_of_the_score_add_up(lm: NgramLm) -> None:
    hot = HotWords(phrases(("a b", 3.0)), ["<epsilon>", "▁a", "▁b", "▁c"])
    for h in beam_search(posteriors(6, 4, seed=1), 0, lm=lm, hotwords=hot, settings=BEAM_TUNED):
        weighted = BEAM_TUNED.alpha * h.language + BEAM_TUNED.beta * len(h.tokens)
        expected = h.acoustic + weighted + h.hotwords
        assert h.total == pytest.approx(expected, abs=1e-9)


def test_the_sentence_end_is_scored_once(lm: NgramLm) -> None:
    logprobs = np.log(np.array([[0.02, 0.94, 0.02, 0.02], [0.02, 0.02, 0.02, 0.94]], dtype=np.float32))
    best = beam_search(logprobs, 0, lm=lm)[0]
    assert ids(best) == (1, 3)
    assert best.language == pytest.approx(lm.sentence([1]), abs=1e-6)


def test_the_sentence_end_may_go_unscored(lm: NgramLm) -> None:
    logprobs = np.log(np.array([[0.02, 0.94, 0.02, 0.02]], dtype=np.float32))
    best = beam_search(logprobs, 0, lm=lm, settings=BeamSettings(end_of_sentence=False))[0]
    end = lm.end(lm.score(lm.start()[None], np.array([1]))[1])[0]
    assert best.language == pytest.approx(lm.sentence([1]) - end, abs=1e-6)


def test_an_unknown_token_costs_its_offset() -> None:
    lm = build_lm([[1], [2]], order=2, pieces=["<epsilon>", "a", "b", "<unk>"], blank=0)
    logprobs = np.log(np.array([[0.02, 0.02, 0.02, 0.94]], dtype=np.float32))
    found = {ids(h): h.language for h in beam_search(logprobs, 0, lm=lm, settings=UNBOUNDED)}
    assert found[(3,)] == pytest.approx(lm.sentence([3]) - 10 * LN10, abs=1e-6)


def test_the_language_model_can_turn_the_best() -> None:
    lm = build_lm([[1, 2]] * 30 + [[2, 1]], order=2, pieces=PIECES, blank=0)
    logprobs = np.log(np.array([[0.02, 0.94, 0.03, 0.01], [0.02, 0.5, 0.46, 0.02]], dtype=np.float32))
    assert ids(beam_search(logprobs, 0)[0]) == (1,)
    assert ids(beam_search(logprobs, 0, lm=lm)[0]) == (1, 2)


@pytest.mark.parametrize("seed", range(5))
def test_a_narrow_beam_never_overstates(seed: int) -> None:
    logprobs = posteriors(6, 4, seed=seed, sharpness=1.0)
    truth = enumerated(logprobs, 0)
    for found in beam_search(logprobs, 0, settings=BeamSettings(beam=3)):
        assert found.acoustic <= truth[ids(found)][0] + 1e-5


def test_a_beam_beats_greedy_where_the_mass_is_spread() -> None:
    logprobs = np.log(np.array([[0.52, 0.48], [0.52, 0.48]], dtype=np.float32))  # best path: blank, blank
    assert ids(beam_search(logprobs, 0)[0]) == (1,)


def test_repeats_are_told_apart_by_the_blank_between() -> None:
    logprobs = np.log(np.array([[0.01, 0.99], [0.99, 0.01], [0.01, 0.99]], dtype=np.float32))
    assert ids(beam_search(logprobs, 0)[0]) == (1, 1)


def test_only_blanks_give_the_empty_sequence(lm: NgramLm) -> None:
    logprobs = np.log(np.full((50, 4), 1e-4, dtype=np.float32))
    logprobs[:, 0] = math.log(1 - 3e-4)
    assert ids(beam_search(logprobs, 0, lm=lm)[0]) == ()


def test_no_frames_give_the_empty_sequence() -> None:
    assert ids(beam_search(np.empty((0, 4), dtype=np.float32), 0)[0]) == ()


def test_forgotten_prefixes_change_nothing(lm: NgramLm, monkeypatch: pytest.MonkeyPatch) -> None:
    logprobs = posteriors(60, 4, seed=8)
    before = beam_search(logprobs, 0, lm=lm)
    monkeypatch.setattr("medvox.models.beam_plain.CLEAN_EVERY", 1)
    monkeypatch.setattr("medvox.models.beam_fast.ROOM", 1)
    assert beam_search(logprobs, 0, lm=lm) == before


def test_no_sequence_comes_twice(lm: NgramLm) -> None:
    found = [ids(h) for h in beam_search(posteriors(200, 4, seed=4), 0, lm=lm)]
    assert len(found) == len(set(found))


def test_a_long_recording_is_searched(lm: NgramLm) -> None:
    sharp = np.array([[0.997, 0.001, 0.001, 0.001]])
    logprobs = np.log(np.tile(sharp[[0, 0, 0, 0]][:, [1, 0, 2, 3]], (1500, 1)))
    logprobs[1::2] = np.log(sharp[:, [2, 1, 0, 3]])
    assert ids(beam_search(logprobs.astype(np.float32), 0, lm=lm)[0]) == (1, 2) * 3000


def test_the_decoder_is_the_search(lm: NgramLm) -> None:
    logprobs = posteriors(20, 4, seed=5)
    decoder = Decoder(blank=0, lm=lm, settings=BEAM_TUNED)
    assert decoder.decode(logprobs) == beam_search(logprobs, 0, lm=lm, settings=BEAM_TUNED)


def test_the_published_preset() -> None:
    published = BeamSettings(
        beam=8, alpha=0.5, beta=1.5, unk_offset=-10, prune=-10, min_token=-5, end_of_sentence=True, nbest=8
    )
    assert published == BEAM_MEDASR


def phrases(*pairs: tuple[str, float]) -> list[HotPhrase]:
    return [HotPhrase(text=text, weight=weight) for text, weight in pairs]


@pytest.mark.parametrize("seed", range(3))
def test_each_phrase_counts_as_often_as_it_occurs(seed: int) -> None:
    given = phrases(("a b", 2.0), ("b", 0.5), ("a b a", 4.0), ("b a b", 1.0))
    hot = HotWords(given, WORDS)
    for found in beam_search(posteriors(7, 3, seed=seed), 0, hotwords=hot, settings=UNBOUNDED):
        text = "".join(WORDS[token] for token in ids(found)).replace("▁", " ").strip()
        occurrences = (len(re.findall(f"(?={phrase.text})", text)) * phrase.weight for phrase in given)
        assert found.hotwords == pytest.approx(sum(occurrences))


def test_a_broken_match_gives_its_bonus_back() -> None:
    hot = HotWords(phrases(("a b a", 9.0)), WORDS)
    for found in beam_search(posteriors(6, 3, seed=2), 0, hotwords=hot, settings=UNBOUNDED):
        if (1, 2, 1) not in [ids(found)[i : i + 3] for i in range(len(found.tokens))]:
            assert found.total == found.acoustic


def test_a_partial_match_keeps_a_hypothesis_alive() -> None:
    step = np.log(np.array([[0.05, 0.65, 0.3], [0.98, 0.01, 0.01], [0.05, 0.55, 0.4]], dtype=np.float32))
    hot, one = HotWords(phrases(("b b", 6.0)), WORDS), BeamSettings(beam=1)
    assert ids(beam_search(step, 0, settings=one)[0]) == (1, 1)
    assert ids(beam_search(step, 0, hotwords=hot, settings=one)[0]) == (2, 2)


def test_a_phrase_that_breaks_crowds_out_no_other() -> None:
    step = np.log(np.array([[0.01, 0.59, 0.39, 0.01], [0.01, 0.01, 0.01, 0.97]], dtype=np.float32))
    hot = HotWords(phrases(("b b", 50.0)), [*WORDS, "▁c"])
    best = beam_search(step, 0, hotwords=hot, settings=BeamSettings(beam=1, prune=-100.0))[0]
    assert ids(best) == (1, 3)


def test_a_phrase_inside_a_longer_word_does_not_count() -> None:
    hot = HotWords(phrases(("a", 5.0)), ["<epsilon>", "▁a", "b"])
    for found in beam_search(posteriors(6, 3, seed=3), 0, hotwords=hot, settings=UNBOUNDED):
        text = "".join(map(str, ids(found)))
        assert found.hotwords == pytest.approx(5.0 * len(re.findall("1(?!2)", text)))


def test_a_phrase_counts_in_whatever_pieces_it_is_spelled() -> None:
    pieces = ["<epsilon>", "▁", "a", "b", "▁ab"]
    hot = HotWords(phrases(("Ab", 5.0)), pieces)
    for found in beam_search(posteriors(5, 5, seed=4), 0, hotwords=hot, settings=UNBOUNDED):
        words = "".join(pieces[token] for token in ids(found)).split("▁")[1:]
        assert found.hotwords == pytest.approx(5.0 * words.count("ab"))


def test_of_a_doubled_phrase_the_larger_weight_rules() -> None:
    hot = HotWords(phrases(("a b", 2.0), ("A-b", 5.0), ("a b", 3.0)), WORDS)
    assert hot.earned[hot.step(hot.step(0, 1)[0], 2)[0]] == 5.0


@pytest.mark.parametrize(
    ("text", "weight"), [("", 1.0), ("  ", 1.0), ("a", 0.0), ("a", -1.0), ("a", math.nan), ("a " * 129, 1.0)]
)
def test_an_impossible_phrase_is_refused(text: str, weight: float) -> None:
    with pytest.raises(UsageError) as caught:
        HotWords(phrases((text, weight)), WORDS)
    assert caught.value.code == "E_HOTWORDS"


def test_a_phrase_that_the_pieces_cannot_spell_is_refused_by_its_place() -> None:
    with pytest.raises(UsageError, match=r"line 3 of hot\.txt") as caught:
        HotWords([HotPhrase(text="печень", weight=1.0, where="line 3 of hot.txt")], WORDS)
    assert caught.value.code == "E_HOTWORDS_TOKENS"


def test_hot_words_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        beam_search(posteriors(3, 4, seed=0), 0, hotwords=HotWords(phrases(("a", 1.0)), WORDS))
    assert caught.value.code == "E_HOTWORDS"


def test_a_language_model_of_another_vocabulary_is_refused(lm: NgramLm) -> None:
    with pytest.raises(UsageError) as caught:
        beam_search(posteriors(3, 5, seed=0), 0, lm=lm)
    assert caught.value.code == "E_LM_VOCABULARY"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(value: float) -> None:
    logprobs = posteriors(3, 4, seed=0)
    logprobs[1, 2] = value
    with pytest.raises(ModelError) as caught:
        beam_search(logprobs, 0)
    assert caught.value.code == "E_MODEL_NOT_FINITE"


@pytest.mark.parametrize(
    ("logprobs", "blank"),
    [
        (np.zeros((3, 4), dtype=np.float32), 0),
        (posteriors(3, 4, seed=0)[0], 0),
        (posteriors(3, 4, seed=0), 4),
        (posteriors(3, 4, seed=0), -1),
    ],
)
def test_what_is_no_distribution_over_tokens_is_refused(logprobs: np.ndarray, blank: int) -> None:
    with pytest.raises(UsageError) as caught:
        beam_search(logprobs, blank)
    assert caught.value.code == "E_BEAM"


@pytest.mark.parametrize(
    "wrong",
    [
        {"beam": 0},
        {"beam": 1025},
        {"nbest": 0},
        {"alpha": -1.0},
        {"beta": math.nan},
        {"prune": 1.0},
        {"min_token": 0.1},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        BeamSettings(**wrong)
