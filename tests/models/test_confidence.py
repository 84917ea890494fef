"""Confidence of words: what it says, how its weights are fitted, and files that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medvox.errors import SetupError
from medvox.models.confidence import (
    FILE,
    UNFITTED,
    Calibration,
    chances,
    evidence,
    fit,
    judged,
    overall,
    read_calibrations,
    words_of,
    write_calibrations,
)
from medvox.models.ctc import DecodedToken

PIECES = ["<blank>", "▁left", "▁lu", "ng", "</s>"]


def token(token_id: int, frame: int) -> DecodedToken:
    return DecodedToken(token_id=token_id, first_frame=frame, last_frame=frame, probability=0.5)


TOKENS = [token(1, 0), token(2, 1), token(3, 2), token(4, 3)]


def logprobs(*sure: float) -> np.ndarray:
    """Frames whose token has this probability, the others sharing the rest."""
    rows = np.full((len(sure), len(PIECES)), 0.0)
    for at, (chance, one) in enumerate(zip(sure, TOKENS, strict=False)):
        rows[at] = (1 - chance) / (len(PIECES) - 1)
        rows[at, one.token_id] = chance
    return np.log(rows).astype(np.float32)


def test_pieces_make_words_and_marks_make_none() -> None:
    assert words_of(TOKENS, PIECES) == [[0], [1, 2]]


def test_a_word_is_as_sure_as_its_tokens_together() -> None:
    found = evidence(TOKENS, [[0], [1, 2]], logprobs(0.9, 0.8, 0.5, 0.9))
    assert 1 / (1 + np.exp(-found[:, 0])) == pytest.approx([0.9, 0.4], abs=1e-6)


def test_spread_over_other_tokens_raises_doubt() -> None:
    sure, unsure = (evidence(TOKENS, [[0]], logprobs(chance))[0, 1] for chance in (0.99, 0.5))
    assert unsure > sure


def test_all_tokens_of_a_word_get_its_probability() -> None:
    one, two, three, _ = judged(TOKENS, logprobs(0.9, 0.8, 0.5, 0.9), PIECES)
    assert two.probability == three.probability < one.probability


def test_no_words_have_no_confidence() -> None:
    assert overall([]) == 0.0


def test_fitted_weights_give_the_true_share() -> None:
    rng = np.random.default_rng(3)
    found = np.column_stack([rng.normal(3, 2, 20_000), rng.normal(-4, 1, 20_000)])
    true = Calibration(peak=0.6, doubt=-0.8, offset=-2.0)
    right = rng.random(20_000) < chances(found, true)
    fitted = fit(found, right)
    assert (fitted.peak, fitted.doubt, fitted.offset) == pytest.approx((0.6, -0.8, -2.0), abs=0.15)


@pytest.mark.parametrize("wrong", [0, 1, 3])
def test_few_errors_leave_the_weights_small(wrong: int) -> None:
    """Newton's method alone runs away where nearly all words are right and far from the border."""
    rng = np.random.default_rng(wrong)
    found = np.column_stack([rng.normal(10, 3, 5_000), rng.normal(-12, 1, 5_000)])
    right = np.ones(5_000, dtype=bool)
    right[:wrong] = False
    fitted = fit(found, right)
    assert max(map(abs, (fitted.peak, fitted.doubt, fitted.offset))) < 20
    assert chances(found, fitted).mean() == pytest.approx(right.mean(), abs=0.01)


def test_evidence_never_counts_the_wrong_way() -> None:
    rng = np.random.default_rng(0)
    found = np.column_stack([rng.normal(3, 2, 2_000), rng.normal(-4, 1, 2_000)])
    fitted = fit(found, found[:, 0] < 3)
    assert fitted.peak == 0.0


def test_weights_come_back_from_the_file(tmp_path: Path) -> None:
    write_calibrations({"lm": Calibration(peak=0.5, doubt=-1.0, offset=2.0)}, tmp_path)
    read = read_calibrations(tmp_path)
    assert read["lm"] == Calibration(peak=0.5, doubt=-1.0, offset=2.0)
    assert read["greedy"] == UNFITTED


def test_without_a_file_the_peak_counts_alone(tmp_path: Path) -> None:
    assert set(read_calibrations(tmp_path).values()) == {UNFITTED}


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        json.dumps({"lm": {"peak": 1}}),
        json.dumps({"other": {"peak": 1, "doubt": 0, "offset": 0}}),
        '{"lm": {"peak": NaN, "doubt": 0, "offset": 0}}',
    ],
)
def test_a_file_that_cannot_be_used_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(SetupError) as caught:
        read_calibrations(tmp_path)
    assert caught.value.code == "E_MODEL_CONFIDENCE"
