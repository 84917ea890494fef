"""Which phrases are speech."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medvox.models.ctc import DecodedToken
from medvox.models.noise_gate import spoken_tokens


def phrase(start: int, *sure: float) -> list[DecodedToken]:
    """Tokens three rows apart."""
    return [
        DecodedToken(token_id=5 + at, first_frame=start + 3 * at, last_frame=start + 3 * at, probability=probability)
        for at, probability in enumerate(sure)
    ]


@pytest.mark.parametrize(
    ("sure", "speech", "kept"),
    [
        (0.9, [(90, 120)], True),
        (0.5, [(90, 120)], True),
        (0.2, [(90, 120)], False),
        (0.9, [], True),  # a whisper
        (0.5, [], False),
        (0.5, [(0, 99), (130, 150)], False),  # beside speech
        (0.5, [(0, 101)], True),
        (0.5, [(115, 150)], True),
        (0.5, [(116, 150)], False),
    ],
)
def test_a_phrase_needs_a_voice_or_certainty(sure: float, speech: list[tuple[int, int]], kept: bool) -> None:
    tokens = phrase(100, *[sure] * 6)
    assert list(spoken_tokens(tokens, speech).tokens) == (tokens if kept else [])


def test_a_doubtful_token_in_a_sure_phrase_stays() -> None:
    tokens = phrase(0, 0.9, 0.1, 0.9)
    assert list(spoken_tokens(tokens, [(0, 10)]).tokens) == tokens


@pytest.mark.parametrize("count", [1, 5])
def test_a_sure_word_without_a_voice_is_a_click(count: int) -> None:
    assert spoken_tokens(phrase(100, *[1.0] * count), []).tokens == ()
    assert len(spoken_tokens(phrase(100, *[1.0] * count), [(90, 120)]).tokens) == count


def test_one_word_again_and_again_without_a_voice_is_a_rhythm() -> None:
    steps = [replace(token, token_id=5) for token in phrase(100, *[1.0] * 8)]
    assert spoken_tokens(steps, []).tokens == ()
    assert len(spoken_tokens(steps, [(90, 120)]).tokens) == 8


def test_phrases_are_judged_one_by_one_and_counted() -> None:
    first, noise, unclear, last = phrase(0, 0.9), phrase(50, 0.3), phrase(100, 0.3), phrase(150, 0.9)
    heard = spoken_tokens([*first, *noise, *unclear, *last], [(0, 5), (90, 160)])
    assert heard.tokens == (*first, *last)
    assert (heard.noises, heard.unclear) == (1, 1)


def test_nothing_is_nothing() -> None:
    assert spoken_tokens([], [(0, 5)]).tokens == ()
