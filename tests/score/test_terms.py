"""Numbers, negations, sides and listed terms: where they stand, and what counts as an error in them."""

from __future__ import annotations

import pytest

from medvox.score.alignment import align
from medvox.score.terms import CLASSES, TermErrors, numbers, phrases, term_errors


def errors(name: str, reference: str, heard: str, *listed: str) -> TermErrors:
    find = phrases(listed) if listed else CLASSES[name]
    wanted, got = reference.split(), heard.split()
    return term_errors(wanted, got, align(wanted, got), find)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 12 mm nodule", ["12"]),
        ("two point five by three mm", ["two point five", "three"]),
        ("point five", ["five"]),
        ("five point", ["five"]),
        ("the point of it", []),
        ("t2 and l4", ["t2", "l4"]),
        ("one hundred and twenty", ["one hundred", "twenty"]),
        ("", []),
    ],
)
def test_numbers_are_found(text: str, expected: list[str]) -> None:
    words = text.split()
    assert [" ".join(words[place] for place in span) for span in numbers(words)] == expected


def test_the_longest_phrase_is_taken_and_none_overlap() -> None:
    find = phrases(["pulmonary embolism", "embolism", "pulmonary", "", "  "])
    words = ["pulmonary", "embolism", "pulmonary", "edema"]
    assert [tuple(span) for span in find(words)] == [(0, 1), (2,)]


def test_a_phrase_cut_by_the_end_is_not_found() -> None:
    assert list(phrases(["ruled out"])(["mass", "ruled"])) == []


def test_all_right_is_no_error() -> None:
    assert errors("number", "a 5 mm cyst", "the 5 mm cyst") == TermErrors(words=1, terms=1)


def test_a_lost_negation_is_missed() -> None:
    found = errors("negation", "there is no mass", "there is a mass")
    assert (found.missed, found.invented, found.rate, found.recall) == (1, 0, 1.0, 0.0)


def test_an_inserted_negation_is_invented() -> None:
    found = errors("negation", "mass and no cyst", "no mass and no cyst")
    assert (found.missed, found.invented, found.rate, found.recall) == (0, 1, 1.0, 1.0)


def test_a_negation_in_place_of_another_word_is_invented() -> None:
    found = errors("negation", "now a mass", "no a mass")
    assert (found.words, found.invented, found.rate) == (0, 1, None)


def test_a_side_for_the_other_is_one_error() -> None:
    found = errors("laterality", "left kidney", "right kidney")
    assert (found.missed, found.invented) == (1, 0)


@pytest.mark.parametrize("heard", ["twenty five mm", "twenty mm five", "mm", "thirty mm"])
def test_a_number_counts_as_heard_only_as_it_is(heard: str) -> None:
    assert errors("number", "twenty mm", heard).terms_missed == (heard != "twenty mm five")


def test_a_listed_phrase_with_one_word_wrong_is_missed_whole() -> None:
    found = errors("", "a pulmonary embolism here", "a pulmonary symbolism here", "pulmonary embolism")
    assert (found.words, found.missed, found.terms, found.terms_missed) == (2, 1, 1, 1)


def test_a_phrase_torn_apart_is_missed() -> None:
    found = errors("", "pulmonary embolism", "pulmonary or embolism", "pulmonary embolism")
    assert (found.missed, found.terms_missed) == (0, 1)


def test_other_words_do_not_count() -> None:
    assert errors("laterality", "the liver is large", "a lever was big") == TermErrors()


def test_without_such_words_there_is_no_rate() -> None:
    assert TermErrors().rate is None
    assert TermErrors().recall is None


def test_errors_add_up() -> None:
    one = TermErrors(words=2, missed=1, invented=1, terms=1, terms_missed=1)
    assert one + one == TermErrors(words=4, missed=2, invented=2, terms=2, terms_missed=2)
