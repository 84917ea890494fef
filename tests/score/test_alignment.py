"""Alignment against jiwer, and against the plain distance matrix."""

from __future__ import annotations

import random
import time

import jiwer
import pytest

from medvox.score.alignment import BLOCK_ROWS, Counts, Edit, align, count


def pair(dice: random.Random, longest: int = 30) -> tuple[list[str], list[str]]:
    letters = "abcdefghij"[: dice.randint(1, 10)]
    reference = [dice.choice(letters) for _ in range(dice.randint(1, longest))]
    if dice.random() < 0.5:
        return reference, [dice.choice(letters) for _ in range(dice.randint(0, longest))]
    heard = [letter if dice.random() < 0.8 else dice.choice(letters) for letter in reference if dice.random() < 0.9]
    return reference, heard


def test_500_pairs_have_the_counts_of_jiwer() -> None:
    dice = random.Random(4)
    for _ in range(500):
        reference, heard = pair(dice)
        theirs = jiwer.process_words(" ".join(reference), " ".join(heard))
        ours = count(align(reference, heard))
        assert ours == Counts(
            correct=theirs.hits,
            substitutions=theirs.substitutions,
            deletions=theirs.deletions,
            insertions=theirs.insertions,
        )
        assert ours.rate == theirs.wer


def test_pooled_counts_have_the_rate_of_jiwer() -> None:
    dice = random.Random(5)
    pairs = [pair(dice) for _ in range(50)]
    pooled = sum((count(align(*texts)) for texts in pairs), Counts())
    theirs = jiwer.wer([" ".join(one) for one, _ in pairs], [" ".join(other) for _, other in pairs])
    assert pooled.rate == theirs


def test_an_alignment_spells_out_both_texts() -> None:
    dice = random.Random(6)
    for _ in range(100):
        reference, heard = pair(dice)
        steps = align(reference, heard)
        assert [step.reference for step in steps if step.reference is not None] == list(range(len(reference)))
        assert [step.hypothesis for step in steps if step.hypothesis is not None] == list(range(len(heard)))
        for step in steps:
            if step.reference is not None and step.hypothesis is not None:
                equal = reference[step.reference] == heard[step.hypothesis]
                assert step.edit is (Edit.CORRECT if equal else Edit.SUBSTITUTION)
            else:
                assert step.edit is (Edit.INSERTION if step.reference is None else Edit.DELETION)


def test_the_distance_is_the_least_one_across_blocks() -> None:
    dice = random.Random(7)
    reference, heard = [dice.choice("abc") for _ in range(400)], [dice.choice("abc") for _ in range(2 * BLOCK_ROWS + 7)]
    row = list(range(len(heard) + 1))  # the textbook
    for number, wanted in enumerate(reference, start=1):
        diagonal, row[0] = row[0], number
        for place, letter in enumerate(heard, start=1):
            cost = min(row[place] + 1, row[place - 1] + 1, diagonal + (wanted != letter))
            diagonal, row[place] = row[place], cost
    assert count(align(reference, heard)).errors == row[-1]


@pytest.mark.parametrize(
    ("reference", "heard", "expected"),
    [
        ("", "", Counts()),
        ("a b", "", Counts(deletions=2)),
        ("", "a b c", Counts(insertions=3)),
        ("a", "b", Counts(substitutions=1)),
        ("a b a", "a a", Counts(correct=2, deletions=1)),
    ],
)
def test_edges(reference: str, heard: str, expected: Counts) -> None:
    assert count(align(reference.split(), heard.split())) == expected


def test_an_empty_reference_has_the_rate_of_jiwer() -> None:
    assert count(align([], ["a", "b"])).rate == jiwer.wer("", "a b") == 2
    assert Counts().rate == jiwer.wer("", "") == 0


def test_20000_words_take_a_moment() -> None:
    dice = random.Random(8)
    reference = [f"w{dice.randrange(3000)}" for _ in range(20_000)]
    heard = [word if dice.random() < 0.9 else "x" for word in reference if dice.random() < 0.95]
    start = time.process_time()
    assert 0.1 < count(align(reference, heard)).rate < 0.2
    assert time.process_time() - start < 3.0
