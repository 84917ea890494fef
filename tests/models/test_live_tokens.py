"""Committed tokens never change, and phrases end in silences between words."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medvox.models.beam import Hypothesis
from medvox.models.ctc import greedy
from medvox.models.live import Heard
from medvox.models.live_tokens import LiveTokens, Phrasing

BLANK, TOKENS = 0, 8
STARTS = {1, 2, 3}  # of words; 4 to 7 go on


def rows(text: str, certainty: float = 6.0) -> Tensor:
    """A row for each character: a digit is a token, a dot is silence."""
    ids = torch.tensor([0 if letter == "." else int(letter) for letter in text], dtype=torch.long)
    return (torch.nn.functional.one_hot(ids, TOKENS) * certainty).log_softmax(dim=-1).reshape(-1, TOKENS)


def decode(found: Tensor) -> list[Hypothesis]:
    return [Hypothesis(tokens=tuple(greedy(found, BLANK)), acoustic=0, language=0, hotwords=0, total=0)]


def listener(pause: int = 3, longest: int = 40) -> LiveTokens:
    return LiveTokens(decode, blank=BLANK, starts=STARTS, phrasing=Phrasing(pause=pause, longest=longest))


def said(tokens: LiveTokens) -> list[str]:
    return ["".join(str(token.token_id) for token in phrase) for phrase in tokens.phrases]


def hear(tokens: LiveTokens, settled: str, tentative: str = "") -> str:
    after = tokens.hear(Heard(settled=rows(settled), tentative=rows(tentative)))
    return "".join(str(token.token_id) for token in after)


@pytest.mark.parametrize(
    ("settled", "committed"),
    [
        ("1..4....2.5", ["14"]),
        ("1..4...", []),  # the word may go on
        ("1..4....5", []),  # and it does
        ("1..4..2.5", []),  # too short a silence
        ("......1..4", []),  # the silence before the first word ends nothing
        ("1.4...2.5...3.6", ["1425"]),
        ("1...1", ["1"]),
        ("", []),
    ],
)
def test_a_phrase_ends_in_a_silence_before_a_word(settled: str, committed: list[str]) -> None:
    tokens = listener()
    hear(tokens, settled)
    assert said(tokens) == committed


def test_what_is_not_committed_is_shown_as_it_looks() -> None:
    tokens = listener()
    assert hear(tokens, "1.4....2.", "5..3") == "253"
    assert hear(tokens, "5.", "3") == "253"
    assert said(tokens) == ["14"]


def test_tentative_rows_are_never_committed() -> None:
    tokens = listener()
    hear(tokens, "1.4", "......2.5......3")
    assert said(tokens) == []


def test_the_end_commits_the_rest_and_frames_are_those_of_the_utterance() -> None:
    tokens = listener()
    hear(tokens, "..1.4....2.")
    tokens.finish(rows("5..3."))
    assert said(tokens) == ["14", "253"]
    assert [token.first_frame for phrase in tokens.phrases for token in phrase] == [2, 4, 9, 11, 14]


@pytest.mark.parametrize("seed", range(20))
def test_however_rows_settle_the_tokens_are_those_of_the_whole(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(0, 16, (300,), generator=generator).tolist()
    text = "".join("." if number > 7 or not number else str(number) for number in numbers)
    tokens, start = listener(), 0
    while start < len(text):
        size = int(torch.randint(0, 12, (), generator=generator))
        before = said(tokens)
        hear(tokens, text[start : start + size], text[start + size : start + size + 5])
        assert said(tokens)[: len(before)] == before
        start += size
    tokens.finish(rows(""))
    wanted = "".join(str(token.token_id) for token in greedy(rows(text), BLANK))
    assert "".join(said(tokens)) == wanted


def test_speech_without_a_silence_is_committed_in_the_end() -> None:
    tokens = listener(longest=20)
    hear(tokens, "1.4.2..5.3.4.2.5.3.4.")
    assert said(tokens)
    tokens = listener(longest=20)
    hear(tokens, "1" + "45" * 12)
    assert said(tokens) == ["1" + "45" * 12]


def test_a_phrase_in_which_nothing_is_sure_is_left_out_and_counted() -> None:
    tokens = listener()
    tokens.finish(rows("1.4", certainty=1.0))
    assert (said(tokens), tokens.unclear) == ([], 1)


def test_nothing_is_nothing() -> None:
    tokens = listener()
    assert hear(tokens, "") == ""
    tokens.finish(rows(""))
    assert said(tokens) == []
