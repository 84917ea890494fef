"""recogniser.py: chunks that are cut in pauses, words that find their times, and text that shows it was invented."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from medvox.errors import ModelError
from medvox.models.recogniser import (
    MARGIN_S,
    Heard,
    HeardWord,
    Span,
    chunks_of,
    doubts,
    hear_speech,
    worded,
)
from medvox.types import Samples, no_progress

SPAN = (10.0, 20.0)


def offered(*words: tuple[str, float, float, float | None]) -> list[HeardWord]:
    return [HeardWord(text=text, start_s=start, end_s=end, confidence=sure) for text, start, end, sure in words]


def codes(text: str, duration_s: float = 60.0) -> set[str]:
    return {flag.code for flag in doubts(text, duration_s)}


def test_without_speech_there_is_nothing_to_hear() -> None:
    assert chunks_of([], 60.0, 30.0) == []


def test_short_speech_is_one_chunk_with_margins() -> None:
    assert chunks_of([(2.0, 3.0), (4.0, 5.0)], 8.0, 30.0) == [(1.5, 5.5)]


def test_margins_end_with_the_recording() -> None:
    assert chunks_of([(0.1, 3.0)], 3.2, 30.0) == [(0.0, 3.2)]


def test_long_silence_is_left_out() -> None:
    assert chunks_of([(1.0, 2.0), (60.0, 61.0)], 90.0, 30.0) == [(0.5, 2.5), (59.5, 61.5)]


def test_the_longest_pause_of_the_second_half_is_cut() -> None:
    speech = [(0.0, 4.0), (8.0, 12.0), (12.2, 17.0), (18.0, 21.0), (21.1, 25.0)]
    assert chunks_of(speech, 25.0, 23.0)[0][1] == pytest.approx(17.5)  # not the pause of 4 s before, nor that of 0.1 s


@pytest.mark.parametrize("seed", range(20))
def test_chunks_hold_all_speech_once_and_none_is_too_long(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges = np.cumsum(rng.gamma(1.0, 2.5, size=400))
    speech = [(float(start), float(end)) for start, end in edges.reshape(-1, 2)]
    duration = speech[-1][1] + 1
    chunks = chunks_of(speech, duration, 20.0)
    assert all(0 <= start < end <= duration and end - start <= 20.0 + 1e-6 for start, end in chunks)
    assert all(before[1] <= after[0] for before, after in pairwise(chunks))
    for start, end in speech:
        inside = sum(max(0.0, min(end, last) - max(start, first)) for first, last in chunks)
        assert inside == pytest.approx(end - start)


def test_speech_without_a_pause_is_cut_through_and_flagged() -> None:
    samples = np.zeros(50 * 16_000, np.float32)
    heard = hear_speech(one_word, samples, [(0.0, 50.0)], 20.0, no_progress)
    assert len(heard.words) == 3
    assert "F_CUT_IN_SPEECH" in {flag.code for flag in heard.flags}


def one_word(samples: Samples, span: Span) -> Heard:
    return Heard(words=tuple(offered(("word", *span, 0.9))))


def test_a_chunk_gets_its_own_samples() -> None:
    samples = np.arange(40 * 16_000, dtype=np.float32)
    got: list[tuple[float, float, int]] = []

    def hear(part: Samples, span: Span) -> Heard:
        got.append((span[0], part[0] / 16_000, len(part)))
        return one_word(part, span)

    hear_speech(hear, samples, [(2.0, 4.0), (30.0, 31.0)], 20.0, no_progress)
    assert got == [(1.5, 1.5, 3 * 16_000), (29.5, 29.5, 2 * 16_000)]


def test_speech_without_any_word_is_an_error() -> None:
    with pytest.raises(ModelError) as caught:
        hear_speech(lambda *_: Heard(words=()), np.zeros(32_000, np.float32), [(0.0, 2.0)], 20.0, no_progress)
    assert caught.value.code == "E_TRANSCRIPT_EMPTY"


def test_one_chunk_without_words_is_flagged() -> None:
    def hear(part: Samples, span: Span) -> Heard:
        return one_word(part, span) if span[0] < 10 else Heard(words=())

    heard = hear_speech(hear, np.zeros(60 * 16_000, np.float32), [(1.0, 2.0), (30.0, 32.0)], 20.0, no_progress)
    assert [flag.code for flag in heard.flags] == ["F_SPEECH_WITHOUT_WORDS"]


def test_words_keep_their_times_and_get_the_spelling_of_the_text() -> None:
    words = worded("No nodule.", offered(("no", 11, 12, 0.9), ("nodule", 13, 14, 0.8)), SPAN)
    assert [(word.text, word.start_s, word.confidence) for word in words] == [("No", 11, 0.9), ("nodule.", 13, 0.8)]


def test_a_written_number_has_the_time_and_least_confidence_of_its_words() -> None:
    spoken = offered(
        ("about", 10, 11, 0.9), ("twenty", 11, 12, 0.4), ("five", 12, 13, 0.7), ("millimeters", 13, 14, 0.9)
    )  # fmt: skip
    words = worded("About 25 mm", spoken, SPAN)
    assert [word.text for word in words] == ["About", "25", "mm"]
    assert (words[1].start_s, words[2].end_s, words[1].confidence) == (11, 14, 0.4)


def test_text_without_any_word_shares_the_time_and_knows_no_confidence() -> None:
    words = worded("no nodule", [], SPAN)
    assert [(word.start_s, word.end_s, word.confidence) for word in words] == [(10, 15, None), (15, 20, None)]


def test_a_word_that_was_not_offered_stands_in_the_gap() -> None:
    words = worded("no large nodule", offered(("no", 11, 12, 0.9), ("nodule", 13, 14, 0.8)), SPAN)
    assert (words[1].text, words[1].start_s, words[1].end_s, words[1].confidence) == ("large", 12, 13, None)


def test_one_unknown_confidence_makes_that_of_the_whole_unknown() -> None:
    words = worded("25", offered(("twenty", 11, 12, 0.9), ("five", 12, 13, None)), SPAN)
    assert words[0].confidence is None


def test_times_only_grow_and_stay_inside() -> None:
    words = worded("a b c", offered(("a", 12, 9, 1), ("b", 11, 11, 1), ("c", 30, 40, 1)), SPAN)
    times = [time for word in words for time in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert times[-1] <= SPAN[1]


@pytest.mark.parametrize("text", ["", " \n "])
def test_no_text_is_no_words(text: str) -> None:
    assert worded(text, offered(("no", 11, 12, 0.9)), SPAN) == ()


def test_more_words_than_can_be_spoken_are_refused() -> None:
    with pytest.raises(ModelError) as caught:
        worded("no " * 1000, [], SPAN)
    assert caught.value.code == "E_TRANSCRIPT_TOO_LONG"


@pytest.mark.parametrize("text", ["thank you " * 4, "no " * 4, "the lungs are clear and well aerated " * 4, "a" * 200])
def test_text_that_repeats_itself_is_flagged(text: str) -> None:
    assert "F_TRANSCRIPT_REPEATS" in codes(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no nodule",
        "thank you thank you thank you",
        "no pleural effusion no pneumothorax no consolidation no mass no nodule",
        "there is a five millimeter nodule in the right upper lobe and a six millimeter nodule in the left lower lobe",
    ],
)
def test_text_that_does_not_is_not(text: str) -> None:
    assert codes(text) == set()


def test_text_that_is_too_fast_is_flagged() -> None:
    text = " ".join(f"{number:x}" for number in np.random.default_rng(0).integers(10**6, size=30))
    assert codes(text, 4.0) == {"F_TRANSCRIPT_TOO_FAST"}
    assert codes(text, 5.0) == set()


def test_margins_are_half_of_a_short_pause() -> None:
    speech = [(0.0, 15.0), (15.0 + MARGIN_S, 30.0)]
    (_, end), (start, _) = chunks_of(speech, 30.0, 20.0)
    assert end == start == pytest.approx(15.0 + MARGIN_S / 2)
