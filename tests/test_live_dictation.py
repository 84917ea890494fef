"""Live dictation: the committed words only grow, the end comes soon, and silence gives nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from medvox.catalog import DEFAULT_ASR, WEIGHTS
from medvox.live_dictation import LiveText, listen
from medvox.models.speech_model import SpeechModel, decoder_of, load_speech_model
from medvox.parse.commands import WritingSettings
from medvox.parse.transcript import format_text
from medvox.score.alignment import align, count
from medvox.types import Samples

QUESTION = Path(__file__).parents[1] / "src" / "medvox" / "samples" / "question.wav"
SAID = "which body region does this c t scan show"
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def model() -> SpeechModel:
    return load_speech_model(WEIGHTS / DEFAULT_ASR)


@pytest.fixture(scope="module")
def question() -> Samples:
    samples, rate_hz = soundfile.read(QUESTION, dtype="float32")
    assert rate_hz == RATE_HZ
    return samples


def room(seconds: float, seed: int = 0) -> Samples:
    return (3e-4 * np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


def asked(question: Samples, *gaps_s: float) -> Samples:
    """The question between pauses, in a quiet room."""
    parts = [np.zeros(round(gaps_s[0] * RATE_HZ), np.float32)]
    for gap_s in gaps_s[1:]:
        parts += [question, np.zeros(round(gap_s * RATE_HZ), np.float32)]
    sound = np.concatenate(parts)
    return sound + room(len(sound) / RATE_HZ)


def blocks(sound: Samples, size: int = 1280) -> Iterator[Samples]:
    for start in range(0, len(sound), size):
        yield sound[start : start + size]


@pytest.fixture(scope="module")
def texts(model: SpeechModel, question: Samples) -> list[LiveText]:
    """Of a session in which the question is asked three times."""
    return list(listen(blocks(asked(question, 1.0, 1.5, 1.2, 1.5)), model))


def test_each_utterance_is_heard_and_ends_once(texts: list[LiveText]) -> None:
    finals = [text for text in texts if text.final]
    assert [text.utterance for text in finals] == [1, 2, 3]
    wrong = sum(count(align(SAID.split(), text.committed.split())).errors for text in finals)
    assert wrong <= 2
    assert all(text.tentative == "" for text in finals)


def test_what_is_committed_only_grows(texts: list[LiveText]) -> None:
    for before, after in pairwise(texts):
        if before.utterance == after.utterance:
            assert after.committed.startswith(before.committed)


def test_words_are_shown_while_they_are_spoken(texts: list[LiveText], question: Samples) -> None:
    first = next(text for text in texts if text.tentative)
    assert not first.final
    assert first.heard_s < 1.0 + len(question) / RATE_HZ - 1.0


def test_a_text_comes_only_when_something_changed(texts: list[LiveText]) -> None:
    for before, after in pairwise(texts):
        known = (before.utterance, before.committed, before.tentative)
        assert after.final or (after.utterance, after.committed, after.tentative) != known


def test_the_final_text_comes_soon(texts: list[LiveText], question: Samples) -> None:
    last = int(np.flatnonzero(np.abs(question) > 0.01 * np.abs(question).max())[-1])
    ends_s = [1.0 + last / RATE_HZ]
    ends_s.append(1.0 + 1.5 + (len(question) + last) / RATE_HZ)
    ends_s.append(1.0 + 1.5 + 1.2 + (2 * len(question) + last) / RATE_HZ)
    for text, end_s in zip((text for text in texts if text.final), ends_s, strict=True):
        assert 0.2 < text.heard_s - end_s < 0.5
        assert text.latency_s is not None
        assert text.latency_s > 0.2  # how soon on the clock: benchmarks/speech_live.py


def test_words_have_the_times_of_the_session(texts: list[LiveText], question: Samples) -> None:
    words = [word for text in texts if text.final for word in text.words]
    times = [time for word in words for time in (word.start_s, word.end_s)]
    assert times == sorted(times)
    second = next(text for text in texts if text.final and text.utterance == 2)
    start_s = 1.0 + len(question) / RATE_HZ + 1.5
    assert second.words[0].start_s == pytest.approx(start_s, abs=0.6)


def test_the_written_text_is_that_of_all_utterances(texts: list[LiveText]) -> None:
    finals = [text for text in texts if text.final]
    for number, text in enumerate(finals, start=1):
        assert text.written == format_text(" ".join(one.committed for one in finals[:number])).text
    assert finals[-1].written.endswith("?")


@pytest.mark.parametrize("size", [160, 1600, 20_000, 10**6])
def test_blocks_of_any_size_give_the_words(model: SpeechModel, question: Samples, size: int) -> None:
    finals = [text for text in listen(blocks(asked(question, 1.0, 1.5), size), model) if text.final]
    heard = " ".join(text.committed for text in finals)
    assert count(align(SAID.split(), heard.split())).errors <= 2


def test_sound_that_stops_in_speech_is_not_lost(model: SpeechModel, question: Samples) -> None:
    sound = np.concatenate([room(1.0), question])[: -RATE_HZ // 4]
    texts = list(listen(blocks(sound), model))
    assert texts[-1].final
    assert count(align(SAID.split(), texts[-1].committed.split())).errors <= 3


def test_a_search_commits_as_well(model: SpeechModel, question: Samples) -> None:
    decode = decoder_of(replace(model, lm=None), "beam.tuned")
    texts = list(listen(blocks(asked(question, 1.0, 1.5)), model, decode=decode))
    assert texts[-1].final
    for before, after in pairwise(texts):
        assert after.committed.startswith(before.committed)


def test_a_template_is_filled(model: SpeechModel, question: Samples) -> None:
    writing = WritingSettings(template="QUESTION:\n[question]\n")
    last = list(listen(blocks(asked(question, 1.0, 1.5)), model, writing=writing))[-1]
    assert last.written.startswith("QUESTION:")
    assert last.written != last.committed


@pytest.mark.parametrize("seed", range(3))
def test_silence_and_noise_give_no_text(model: SpeechModel, seed: int) -> None:
    noise = np.random.default_rng(seed).standard_normal(8 * RATE_HZ)
    at = np.arange(8 * RATE_HZ) / RATE_HZ
    for sound in (0 * noise, 0.1 * noise, 0.2 * np.sin(2 * np.pi * 440 * at), 0.2 * np.sin(2 * np.pi * 50 * at)):
        assert list(listen(blocks(sound.astype(np.float32)), model)) == []


def test_the_network_hears_nothing_while_nobody_speaks(model: SpeechModel, question: Samples) -> None:
    asked_s: list[float] = []

    def counted(rows: object) -> object:
        asked_s.append(1)
        return decoder_of(model, "greedy")(rows)  # type: ignore[arg-type]

    list(listen(blocks(room(20.0)), model, decode=counted))  # type: ignore[arg-type]
    assert asked_s == []


def test_no_sound_at_all(model: SpeechModel) -> None:
    assert list(listen([], model)) == []
    assert list(listen([np.zeros(0, np.float32), np.zeros(5, np.float32)], model)) == []


def test_a_text_is_json(texts: list[LiveText]) -> None:
    fields = texts[-1].as_dict()
    assert list(fields)[:5] == ["utterance", "committed", "tentative", "final", "written"]
    assert list(fields["words"][0]) == ["word", "start_s", "end_s", "confidence"]


def test_memory_does_not_grow_with_the_session(model: SpeechModel, question: Samples) -> None:
    from medvox import live_dictation

    ear = live_dictation._Ear(
        model, decoder_of(model, "greedy"), live_dictation.DEFAULT_WRITING, live_dictation.DEFAULT_LISTENING
    )
    for block in blocks(np.tile(question[4000:-8000], 12)):  # half a minute almost without a pause
        list(ear.hear(block))
        assert len(ear._recent) < 300
