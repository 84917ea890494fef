"""Pooled scores, their intervals and the comparison of two systems."""

from __future__ import annotations

import json
import random

import jiwer
import pytest

from medvox.errors import UsageError
from medvox.score.alignment import Counts
from medvox.score.normalise import quick_start
from medvox.score.wer import difference, interval, score_texts

REFERENCES = ["No acute findings.", "Left kidney: 12 mm stone", "", "Heart is normal"]
HYPOTHESES = ["no acute finding", "right kidney 12 mm stone", "uh", "heart is normal"]


def utterances(rate: float, seed: int, count: int = 200) -> list[Counts]:
    dice = random.Random(seed)
    wrong = [sum(dice.random() < rate for _ in range(10)) for _ in range(count)]
    return [Counts(correct=10 - errors, substitutions=errors) for errors in wrong]


def test_rates_are_those_of_jiwer() -> None:
    score = score_texts(REFERENCES, HYPOTHESES)
    wanted, heard = [*map(quick_start, REFERENCES)], [*map(quick_start, HYPOTHESES)]
    assert score.wer == jiwer.wer(wanted, heard)
    assert score.cer == jiwer.cer(wanted, heard)


def test_each_utterance_is_counted() -> None:
    score = score_texts(REFERENCES, HYPOTHESES)
    assert [counts.errors for counts in score.utterances] == [1, 1, 1, 0]
    assert score.exact == 1


def test_classes_are_counted_beside_the_rest() -> None:
    terms = score_texts(REFERENCES, HYPOTHESES, terms=["Stone!", "kidney"]).terms
    assert list(terms) == ["number", "negation", "laterality", "term"]
    assert (terms["laterality"].missed, terms["negation"].missed, terms["term"].terms) == (1, 0, 2)


def test_a_score_is_json_without_texts() -> None:
    written = json.loads(json.dumps(score_texts(REFERENCES, HYPOTHESES).as_dict(), allow_nan=False))
    assert written["words"] == {"correct": 9, "substitutions": 2, "deletions": 0, "insertions": 1}
    assert written["terms"]["laterality"]["rate"] == 1.0
    assert written["terms"]["negation"]["recall"] == 1.0


def test_without_listed_terms_there_is_no_such_row() -> None:
    assert "term" not in score_texts(["a"], ["a"]).terms


def test_the_rule_is_named_and_matters() -> None:
    assert score_texts(["a 3.5 cm mass"], ["a three point five cm mass"], normalise_by="whisper-english").wer == 0
    other = score_texts(["a 3.5 cm mass"], ["a three point five cm mass"])
    assert other.wer > 0
    assert other.normaliser == "quick-start"


@pytest.mark.parametrize("references", [[], [""], ["...", " "]])
def test_references_without_a_word_are_refused(references: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        score_texts(references, ["heard"] * len(references))
    assert caught.value.code == "E_SCORE_EMPTY"


def test_unpaired_texts_are_refused_without_their_words() -> None:
    with pytest.raises(UsageError) as caught:
        score_texts(["secret", "words"], ["secret"])
    assert caught.value.code == "E_SCORE_PAIRS"
    assert "secret" not in str(caught.value)


def test_the_interval_holds_the_rate_and_repeats() -> None:
    counts = utterances(0.2, seed=1)
    found = interval(counts)
    assert found.low < sum(counts, Counts()).rate < found.high
    assert found == interval(counts)
    assert found != interval(counts, seed=1)


def test_the_interval_has_the_width_of_theory() -> None:
    """200 x 10 independent words at 20 %: a standard error of 0.9 points."""
    found = interval(utterances(0.2, seed=2))
    assert found.high - found.low == pytest.approx(2 * 1.96 * (0.2 * 0.8 / 2000) ** 0.5, rel=0.25)


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="no word"):
        interval([Counts(insertions=2)])


def test_empty_references_in_a_sample_do_no_harm() -> None:
    found = interval([Counts(insertions=1), Counts(correct=4), Counts(correct=3, deletions=1)])
    assert 0 <= found.low <= found.high


def test_a_clear_difference_is_found() -> None:
    found = difference(utterances(0.3, seed=3), utterances(0.2, seed=4))
    assert found.interval.low < found.value < found.interval.high < 0
    assert found.p_value == 0.002


def test_the_same_system_does_not_differ() -> None:
    counts = utterances(0.3, seed=5)
    found = difference(counts, counts)
    assert (found.value, found.interval.low, found.interval.high, found.p_value) == (0, 0, 0, 1)


def test_pairing_sees_what_single_intervals_cannot() -> None:
    """One error less in every tenth utterance, of utterances that differ a lot."""
    dice = random.Random(6)
    wrong = [dice.randrange(1, 10) for _ in range(200)]
    first = [Counts(correct=10 - errors, substitutions=errors) for errors in wrong]
    second = [
        Counts(correct=10 - errors + (place % 10 == 0), substitutions=errors - (place % 10 == 0))
        for place, errors in enumerate(wrong)
    ]
    assert interval(first).low < interval(second).high
    assert difference(first, second).interval.high < 0


@pytest.mark.parametrize("second", [[Counts(correct=4)], [Counts(correct=3), Counts(correct=4)]])
def test_systems_on_other_references_are_refused(second: list[Counts]) -> None:
    with pytest.raises(UsageError) as caught:
        difference([Counts(correct=4), Counts(correct=4)], second)
    assert caught.value.code == "E_SCORE_PAIRS"
