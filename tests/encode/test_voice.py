"""Voice activity: finds all voiced speech, also in noise, and nothing in what is no speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import medvox
from medvox.encode.voice import (
    FRAME_S,
    EndOfSpeech,
    Segment,
    speech_probability,
    speech_segments,
    voice_activity,
)
from medvox.types import Samples

RATE_HZ = 16_000
QUESTION = Path(medvox.__file__).parent / "samples" / "question.wav"
STEP = 400  # samples of 25 ms


@pytest.fixture(scope="module")
def question() -> Samples:
    samples, rate_hz = soundfile.read(QUESTION, dtype="float32")
    assert rate_hz == RATE_HZ
    return samples


def seconds(count: float) -> np.ndarray:
    return np.arange(round(count * RATE_HZ)) / RATE_HZ


def coloured(count: int, slope: float, seed: int) -> Samples:
    """Noise whose power falls with frequency ** slope (0 white, 1 pink, 2 brown), at 0 dB."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    frequency_hz = np.maximum(np.fft.rfftfreq(count, 1 / RATE_HZ), 20.0)
    noise = np.fft.irfft(spectrum * frequency_hz ** (-slope / 2), count)
    return (noise / np.sqrt((noise**2).mean())).astype(np.float32)


def hum(mains_hz: float, harmonics: int) -> np.ndarray:
    at = seconds(8)
    return sum(np.sin(2 * np.pi * mains_hz * n * at + n) / n for n in range(1, harmonics)) / 2


def fan() -> np.ndarray:
    at = seconds(8)
    blades = sum(np.sin(2 * np.pi * 120 * n * at) for n in range(1, 6)) / 3
    return (coloured(len(at), 1.0, 4) + blades) * 10 ** (0.3 * np.sin(2 * np.pi * 0.2 * at))


def clicks(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    sound = 3e-4 * random.standard_normal(8 * RATE_HZ)
    sound[random.integers(0, len(sound), 60)] = random.uniform(-1, 1, 60)
    return sound


NO_SPEECH = {
    "silence": np.zeros(8 * RATE_HZ),
    "offset": np.full(8 * RATE_HZ, 0.3),
    "white": coloured(8 * RATE_HZ, 0.0, 1),
    "pink": coloured(8 * RATE_HZ, 1.0, 2),
    "brown": coloured(8 * RATE_HZ, 2.0, 3),
    "hum 50 Hz": hum(50, 30),
    "hum 60 Hz": hum(60, 6),
    "hum 120 Hz": hum(120, 12),
    "tone": np.sin(2 * np.pi * 440 * seconds(8)),
    "sweep": np.sin(2 * np.pi * np.cumsum(100 * 40 ** (seconds(8) / 8)) / RATE_HZ),
    "fan": fan(),
    "clicks": clicks(5),
    "metronome": (np.arange(8 * RATE_HZ) % 4000 == 0).astype(float),
}


@pytest.mark.parametrize("level_db", [-10, -30, -50])
@pytest.mark.parametrize("name", NO_SPEECH)
def test_no_speech_in(name: str, level_db: int) -> None:
    sound = np.clip(NO_SPEECH[name] * 10 ** (level_db / 20), -1, 1).astype(np.float32)
    assert speech_segments(sound) == []


@pytest.mark.parametrize("name", ["silence", "white", "tone", "clicks"])
def test_no_frame_is_likely_in(name: str) -> None:
    assert speech_probability((NO_SPEECH[name] * 0.1).astype(np.float32)).max() < 0.2


@pytest.mark.parametrize("count", [0, 1, 100, 319, 320, 513])
def test_tiny_recordings_hold_no_speech(count: int) -> None:
    sound = np.full(count, 0.1, np.float32)
    assert speech_segments(sound) == []
    assert len(speech_probability(sound)) == (count // 320 + 1 if count else 0)


def voiced(samples: Samples) -> np.ndarray:
    """Seconds of voiced 25 ms steps, by correlation in time: an oracle that shares nothing with the detector."""
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / RATE_HZ) < 95] = 0
    sound = np.fft.irfft(spectrum, len(samples))
    levels = (sound[: len(sound) // STEP * STEP].reshape(-1, STEP) ** 2).mean(axis=1)
    found = []
    for start in range(STEP, len(sound) - 2 * STEP, STEP):
        piece = sound[start - 120 : start + 520]
        if levels[start // STEP] < np.percentile(levels, 95) / 300:
            continue
        if max(np.corrcoef(piece[:-lag], piece[lag:])[0, 1] for lag in range(40, 228, 2)) > 0.7:
            found.append((start + STEP / 2) / RATE_HZ)
    return np.array(found)


@pytest.fixture(scope="module")
def times_s(question: Samples) -> np.ndarray:
    """Seconds at which the question is voiced."""
    return voiced(question)


def missed(segments: list[Segment], times_s: np.ndarray) -> float:
    inside = [any(part.start_s - 0.1 <= time <= part.end_s + 0.1 for part in segments) for time in times_s]
    return 1 - float(np.mean(inside))


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("above_db", [60, 20, 10])
def test_voiced_speech_is_found_in_noise(question: Samples, times_s: np.ndarray, slope: float, above_db: int) -> None:
    noise = coloured(len(question), slope, 7) * np.sqrt((question**2).mean()) * 10 ** (-above_db / 20)
    assert len(times_s) > 30
    assert missed(speech_segments((question + noise).astype(np.float32)), times_s) <= 0.01


@pytest.mark.parametrize("gain_db", [-30, -12, 0])
def test_loudness_does_not_matter(question: Samples, times_s: np.ndarray, gain_db: int) -> None:
    assert missed(speech_segments(question * np.float32(10 ** (gain_db / 20))), times_s) == 0


def test_speech_between_pauses_is_found_where_it_is(question: Samples) -> None:
    length_s = len(question) / RATE_HZ
    room = 1e-3 * coloured(round((2 * length_s + 9) * RATE_HZ), 1.0, 8)
    starts_s = (3.0, 3.0 + length_s + 3.0)
    for start_s in starts_s:
        room[round(start_s * RATE_HZ) :][: len(question)] += question
    segments = speech_segments(room)
    for start_s in starts_s:
        own = [part for part in segments if part.end_s > start_s - 0.5 and part.start_s < start_s + length_s + 0.5]
        assert own[0].start_s == pytest.approx(start_s, abs=0.4)
        assert own[-1].end_s == pytest.approx(start_s + length_s, abs=0.4)
    assert sum(part.end_s - part.start_s for part in segments) < 2 * length_s + 1.0


def test_segments_are_in_order_apart_and_inside(question: Samples) -> None:
    sound = np.tile(np.concatenate([question, np.zeros(12_000, np.float32)]), 3)
    segments = speech_segments(sound)
    edges = [edge for part in segments for edge in (part.start_s, part.end_s)]
    assert len(segments) >= 3
    assert edges == sorted(set(edges))
    assert edges[0] >= 0
    assert edges[-1] <= len(sound) / RATE_HZ


def test_a_block_border_changes_nothing(question: Samples) -> None:
    """Frames beyond 30 s are computed in a later block."""
    silence = np.zeros(round(29.0 * RATE_HZ), np.float32)  # a whole number of frames
    late = speech_probability(np.concatenate([silence, question, silence]))
    early = speech_probability(np.concatenate([silence[: 4 * RATE_HZ], question, silence]))
    shift, count = round(25.0 / FRAME_S), round(8.0 / FRAME_S)
    np.testing.assert_allclose(late[shift : shift + count], early[:count], atol=1e-3)


def test_float64_samples_give_the_same(question: Samples) -> None:
    assert speech_segments(question.astype(np.float64)) == speech_segments(question)


@pytest.mark.parametrize("largest", [300, 5000, 70_000, 10**6])
def test_blocks_change_nothing(question: Samples, largest: int) -> None:
    rng = np.random.default_rng(largest)
    sound = np.concatenate([question, np.zeros(40_000, np.float32)] * 12)  # more than a minute
    sound = (sound + 1e-3 * coloured(len(sound), 1.0, 3)).astype(np.float32)
    marks = np.cumsum(rng.integers(0, largest, 2 * len(sound) // largest + 2))
    blocks = np.split(sound, marks[marks < len(sound)])
    assert voice_activity(iter(blocks)) == voice_activity([sound])


def test_a_long_recording_is_judged_as_its_parts_are(question: Samples) -> None:
    """The oracle is the judgement of the whole in one piece, which the segments are not made from."""
    sound = np.concatenate([question, np.zeros(30_000, np.float32)] * 14)
    sound = (sound + 3e-3 * coloured(len(sound), 1.0, 3)).astype(np.float32)
    likely = speech_probability(sound) > 0.5
    inside = np.zeros(len(likely), bool)
    for part in speech_segments(sound):
        inside[round(part.start_s / FRAME_S) : round(part.end_s / FRAME_S) + 1] = True
    assert likely.sum() > 1000
    assert inside[likely].all()
    assert inside.sum() < 2 * likely.sum()


@pytest.mark.parametrize("count", [0, 1, 319])
def test_blocks_of_nothing(count: int) -> None:
    activity = voice_activity([np.zeros(count, np.float32)] * 3)
    assert activity.speech == activity.stirring == ()
    assert voice_activity([]).speech == ()


def whisper(question: Samples) -> Samples:
    """The question without its voice: noise with the spectrum and level of each 20 ms."""
    rng, pieces = np.random.default_rng(6), []
    for start in range(0, len(question) - 320, 320):
        spectrum = np.abs(np.fft.rfft(question[start : start + 320]))
        smooth = np.convolve(spectrum, np.ones(25) / 25, mode="same")  # over 1.2 kHz: no harmonics are left
        pieces.append(np.fft.irfft(smooth * np.exp(2j * np.pi * rng.uniform(size=len(smooth))), 320))
    return np.concatenate(pieces).astype(np.float32)


def test_a_whisper_stirs(question: Samples) -> None:
    gap = np.zeros(2 * RATE_HZ, np.float32)
    sound = np.concatenate([gap, whisper(question), gap]) + 3e-4 * coloured(
        2 * len(gap) + len(whisper(question)), 1.0, 2
    )
    covered = sum(part.end_s - part.start_s for part in voice_activity([sound.astype(np.float32)]).stirring)
    assert covered > 0.8 * len(question) / RATE_HZ


@pytest.mark.parametrize("name", ["silence", "pink", "hum 50 Hz", "tone", "fan"])
def test_nothing_stirs_in(name: str) -> None:
    sound = (NO_SPEECH[name] * 0.1).astype(np.float32)
    assert voice_activity([sound]).stirring == ()


def test_speech_lies_within_what_stirs(question: Samples) -> None:
    activity = voice_activity([question])
    for part in activity.speech:
        assert any(s.start_s <= part.start_s and part.end_s <= s.end_s for s in activity.stirring)


def ends(sound: Samples, block: int) -> list[float]:
    """Seconds at which an end of speech is told, when the sound comes in blocks."""
    listener = EndOfSpeech(pause_s=0.5)
    starts = range(0, len(sound), block)
    return [(start + block) / RATE_HZ for start in starts if listener.feed(sound[start : start + block])]


@pytest.mark.parametrize("block", [800, 3200, 8000])
def test_the_end_of_each_utterance_is_told_once_and_soon(question: Samples, block: int) -> None:
    gap = np.zeros(2 * RATE_HZ, np.float32)
    last = int(np.flatnonzero(np.abs(question) > 0.02)[-1])
    sound = np.concatenate([gap, question, gap, question, gap]) + 3e-4 * coloured(
        3 * len(gap) + 2 * len(question), 1.0, 9
    )
    told = ends(sound.astype(np.float32), block)
    spoken = [(len(gap) + last) / RATE_HZ, (2 * len(gap) + len(question) + last) / RATE_HZ]
    assert len(told) == 2
    for told_s, spoken_s in zip(told, spoken, strict=True):
        assert spoken_s + 0.3 < told_s < spoken_s + 0.9 + block / RATE_HZ


@pytest.mark.parametrize("name", NO_SPEECH)
def test_no_end_is_told_where_nobody_spoke(name: str) -> None:
    assert ends((NO_SPEECH[name] * 0.1).astype(np.float32), 8000) == []
