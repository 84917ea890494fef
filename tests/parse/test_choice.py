"""parse/choice.py: labels are read, never guessed."""

from __future__ import annotations

import pytest

from medvox.parse.choice import YES_NO, parse_label, probabilities


@pytest.mark.parametrize(
    ("final", "label"),
    [
        ("yes", "yes"),
        (" **No**.\nBecause ...", "no"),
        ("Yes, there is one", "yes"),
        ("yes or no", None),
        ("maybe", None),
        ("nothing", None),
        ("", None),
        (None, None),
    ],
)
def test_yes_and_no(final: str | None, label: str | None) -> None:
    assert parse_label(final, YES_NO) == label


def test_an_open_answer_is_its_first_line() -> None:
    assert parse_label("abdomen.\nmore", None) == "abdomen"


def test_probabilities_sum_to_one_and_keep_the_odds() -> None:
    shares = probabilities([-1000.0, -1001.0])
    assert sum(shares) == pytest.approx(1)
    assert shares[0] / shares[1] == pytest.approx(2.718281828)
