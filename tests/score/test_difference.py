"""The alignment as a terminal shows it."""

from __future__ import annotations

import re

import pytest

from medvox.score.alignment import Counts
from medvox.score.difference import compared, render_diff, summary

ANSI = re.compile(r"\x1b\[\d+m")


def test_three_lines_with_marks() -> None:
    shown = render_diff("the left kidney has two cysts here", "the right kidney has cysts here now", colour=False)
    assert shown.split("\n") == [
        "REF: the left  kidney has two cysts here ***",
        "HYP: the right kidney has *** cysts here now",
        "         S                D              I",
    ]


def test_a_row_without_errors_has_two_lines() -> None:
    assert render_diff("no mass", "no mass", colour=True) == "REF: no mass\nHYP: no mass"


def test_colour_only_adds_colour() -> None:
    texts = "no mass is seen at all", "a mass seen at all here"
    plain, coloured = render_diff(*texts, colour=False), render_diff(*texts, colour=True)
    assert ANSI.search(coloured)
    assert [line.rstrip() for line in ANSI.sub("", coloured).split("\n")] == plain.split("\n")


def test_rows_wrap_at_the_width() -> None:
    text = " ".join(["word"] * 50)
    shown = render_diff(text, text, colour=False, width=40)
    assert max(map(len, shown.split("\n"))) <= 40
    rows = shown.split("\n\n")
    assert " ".join(row.split("\n")[0].removeprefix("REF: ") for row in rows) == text


@pytest.mark.parametrize("width", [-1, 0, 5])
def test_a_tiny_width_still_shows_every_word(width: int) -> None:
    shown = render_diff("extraordinarilylongword b", "extraordinarilylongword", colour=False, width=width)
    assert "extraordinarilylongword" in shown
    assert shown.count("REF") == 2


def test_wide_letters_keep_the_columns() -> None:
    reference, _, marks = render_diff("心臓 ok x", "心臓 ok y", colour=False).split("\n")
    assert len(marks) - 1 == len(reference) - 1 + 2


@pytest.mark.parametrize("evil", ["\x1b[2Jx", "\x07x", "x\u202ey", "\ud800"])
def test_a_text_cannot_steer_the_terminal(evil: str) -> None:
    shown = render_diff(evil, "x", colour=False)
    assert "�" in shown
    assert evil not in shown
    shown.encode()


def test_both_empty_show_nothing() -> None:
    assert render_diff("", " ", colour=True) == ""


def test_the_summary_names_rate_and_kinds() -> None:
    counts = compared("a b c d e f g h", "x c d e f g h i")
    assert summary(counts) == "WER 37.5 % of 8 words (1 replaced, 1 left out, 1 added)"


def test_the_summary_of_an_empty_reference_gives_no_rate() -> None:
    assert summary(Counts(insertions=2)).startswith("WER undefined of 0 words (0 replaced")
