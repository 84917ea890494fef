"""parse/text.py: thinking never reaches the answer."""

from __future__ import annotations

import pytest

from medvox.errors import ParseError
from medvox.parse.text import split_text


def test_thinking_is_split_from_the_answer() -> None:
    parts = split_text("<unused94>thought\nLiver looks odd.<unused95>A lesion. Final Answer: yes<end_of_turn>")
    assert (parts.thinking, parts.answer, parts.final) == ("Liver looks odd.", "A lesion. Final Answer: yes", "yes")


def test_thinking_without_its_opening_mark_is_hidden_too() -> None:
    assert split_text("hidden<unused95>shown").answer == "shown"


def test_the_last_final_answer_counts() -> None:
    assert split_text("Final Answer: no. Wait. final answer : yes").final == "yes"


def test_a_text_without_final_answer_has_none() -> None:
    assert split_text("It is the abdomen.").final is None


def test_an_empty_final_answer_is_none() -> None:
    assert split_text("Final Answer:").final is None


def test_thinking_that_never_ends_is_an_error() -> None:
    with pytest.raises(ParseError) as caught:
        split_text("<unused94>thought\nstill looking")
    assert caught.value.code == "E_PARSE_THINKING"
