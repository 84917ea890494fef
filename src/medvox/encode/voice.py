"""Samples -> where someone speaks: a probability for each 20 ms, and segments in seconds.

Beside ``encode/speech`` on the speech path: its segments tell ``models/listening`` where a long recording may be cut
and where there is nothing to recognise, and the caller whether there is speech at all. Small, numpy only, nothing
learned. Knows no file, no model and no text.

Four measures must agree that a frame is voiced speech: its bands rise above a noise floor that follows them; its level
changes within some hundred milliseconds, as it does from syllable to syllable and not in hum, tones, fans or noise; it
has a pitch of a voice; and its power lies in several bands, unlike that of a whistle. Frames beside voiced ones are
speech as well as long as they rise and change (consonants). The first two measures alone say where something stirs:
a whisper, but also clatter, which only a recogniser tells apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medvox.types import Samples

SAMPLE_RATE_HZ = 16_000
FRAME_S = 0.02
FRAME_SAMPLES, HOP_SAMPLES, FFT_SAMPLES = 512, 320, 1024
BLOCK_FRAMES = 1500  # 30 s are judged at a time
REACH_FRAMES = 110  # a frame is judged by the 2 s on either side of it

BANDS, LOW_HZ, HIGH_HZ = 18, 140.0, 6000.0
POWER_FLOOR = 1e-8  # -80 dB of full scale
DYNAMIC_DB = 35.0  # what lies further below the loudest band of its frame is leakage of the window
PITCH_BINS = (6, 103)  # 94..1600 Hz
PITCH_LAGS = slice(20, 115)  # 70..400 Hz at 8 kHz
SPREAD_DB = 25.0
MOST_RISE_DB = 20.0

FLOOR_FRAMES = 75  # the noise floor is the lowest level within 1.5 s on either side
CHANGE_FRAMES, TREND_FRAMES = 15, 51  # the range of the level within 0.3 s on either side, less its trend over 1 s
VOICING_FRAMES, BESIDE_FRAMES = 10, 15

ON, OFF = 0.5, 0.25
HANG_OVER_S = 0.15
BRIDGED_GAP_S = 0.1
REMEMBERED_SAMPLES = 4 * SAMPLE_RATE_HZ

_Levels = NDArray[np.float32]
_Binary = Callable[[_Levels, _Levels], _Levels]


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A stretch of speech, in seconds from the start of the recording."""

    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Activity:
    """What a recording holds.

    Attributes:
        speech: where someone speaks, in order, without overlap; none in silence, noise, hum, tones and clicks.
        stirring: where the sound moves as speech does, voiced or not; nothing outside of it can be speech.
    """

    speech: tuple[Segment, ...]
    stirring: tuple[Segment, ...]


class EndOfSpeech:
    """Listens along, and tells once for each utterance that it has ended.

    Attributes:
        speaking: whether an utterance goes on.
        silent_s: how long nobody has spoken.
        since_s: how long ago the last voice began.
    """

    def __init__(self, *, pause_s: float = 0.5) -> None:
        """Starts to listen.

        Args:
            pause_s: silence that ends an utterance.
        """
        self._pause_s = pause_s
        self._samples = np.empty(0, np.float32)
        self.speaking = False
        self.silent_s = self.since_s = 0.0

    def feed(self, samples: Samples) -> bool:
        """Whether the utterance ended within these samples.

        Args:
            samples: the next ones, mono, 16 kHz, -1..1, any number.
        """
        self._samples = np.concatenate([self._samples, samples])[-REMEMBERED_SAMPLES:]
        probability = speech_probability(self._samples)
        runs = _runs(probability)
        first, last = runs[-1] if runs else (0, 0)
        self.since_s, self.silent_s = (len(probability) - first) * FRAME_S, (len(probability) - last) * FRAME_S
        before, self.speaking = self.speaking, bool(runs) and self.silent_s < self._pause_s
        return before and not self.speaking


def voice_activity(blocks: Iterable[Samples]) -> Activity:
    """Where someone speaks in a recording of any length, however it is divided into blocks.

    Args:
        blocks: all samples in order, mono, 16 kHz, -1..1.
    """
    spoken, stirred = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    samples = done = start = 0  # of the recording; frames judged; the frame that the first held sample lies at
    held = np.empty(0, np.float32)

    def judge(frames: int | None, until: int) -> None:
        speech, stirring = _likelihoods(held[:until])
        spoken.append(speech[done - start :][:frames])
        stirred.append(stirring[done - start :][:frames])

    for block in blocks:
        samples += len(block)
        held = np.concatenate([held, block]) if len(held) else block
        while len(held) > (wanted := (done + BLOCK_FRAMES + REACH_FRAMES - start) * HOP_SAMPLES):
            judge(BLOCK_FRAMES, wanted)
            done += BLOCK_FRAMES
            held, start = held[(done - REACH_FRAMES - start) * HOP_SAMPLES :], done - REACH_FRAMES
    if len(held):
        judge(None, len(held))
    duration_s = samples / SAMPLE_RATE_HZ
    speech, stirring = (_segments(np.concatenate(parts), duration_s) for parts in (spoken, stirred))
    return Activity(speech=speech, stirring=stirring)


def speech_segments(samples: Samples) -> list[Segment]:
    """Where someone speaks in a recording.

    Args:
        samples: mono, 16 kHz, -1..1, any length.
    """
    return list(voice_activity([samples]).speech)


def speech_probability(samples: Samples) -> NDArray[np.float32]:
    """How likely each frame is speech, 0 to 1; frame i has its centre at ``i * FRAME_S`` seconds.

    Args:
        samples: mono, 16 kHz, -1..1, any length.
    """
    return _likelihoods(samples)[0] if len(samples) else np.zeros(0, np.float32)


def _segments(probability: _Levels, duration_s: float) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    for first, last in _runs(probability):
        start_s = max(0.0, first * FRAME_S - HANG_OVER_S)
        end_s = min(duration_s, last * FRAME_S + HANG_OVER_S)
        if segments and start_s - segments[-1].end_s < BRIDGED_GAP_S:
            start_s = segments.pop().start_s
        segments.append(Segment(start_s=round(start_s, 3), end_s=round(end_s, 3)))
    return tuple(segments)


def _likelihoods(samples: Samples) -> tuple[_Levels, _Levels]:
    """How likely each frame is speech, and how likely it stirs as speech does, 0 to 1."""
    levels, pitch = _levels_and_pitch(samples)
    floor = _slide(_smooth(levels, 5), FLOOR_FRAMES, np.minimum)
    rise = np.clip(_smooth(levels, 3) - floor, 0.0, MOST_RISE_DB).mean(axis=1)
    level = _smooth(levels.mean(axis=1), 3)
    level -= _smooth(level, TREND_FRAMES)
    change = _slide(level, CHANGE_FRAMES, np.maximum) - _slide(level, CHANGE_FRAMES, np.minimum)
    spread = (levels > levels.max(axis=1, keepdims=True) - SPREAD_DB).sum(axis=1)
    voiced = _gate(rise, 4.8, 0.5) * _gate(change, 5.5, 0.4) * _gate(pitch, 0.215, 0.015) * _gate(spread, 3.5, 0.3)
    voicing = _gate(_smooth(voiced, VOICING_FRAMES), 0.35, 0.04)
    stirring = _gate(rise, 4.0, 0.4) * _gate(change, 5.0, 0.3)
    speech = np.maximum(voicing, stirring * _slide(voicing, BESIDE_FRAMES, np.maximum))
    return speech, np.maximum(speech, stirring)


def _levels_and_pitch(samples: Samples) -> tuple[_Levels, _Levels]:
    """Levels of the bands in dB of full scale, (frames, bands), and how periodic each frame is, 0 to 1."""
    window, own = _window()
    edges = _band_edges()
    first, last = PITCH_BINS
    levels: list[_Levels] = []
    pitch: list[_Levels] = []
    for frames in _frames(samples):
        spectrum = np.fft.rfft(frames * window, n=FFT_SAMPLES)
        power = spectrum.real**2 + spectrum.imag**2
        bands = np.add.reduceat(power, edges, axis=1)[:, :-1] / (np.diff(edges) * float((window**2).sum()))
        block = 10.0 * np.log10(bands + POWER_FLOOR)
        levels.append(np.maximum(block, block.max(axis=1, keepdims=True) - DYNAMIC_DB).astype(np.float32))
        tilted = (power[:, :last] * np.arange(last)) ** 0.25  # so that one resonance, of a step or a knock, is no pitch
        tilted[:, :first] = 0.0
        correlation = np.fft.irfft(tilted, n=FFT_SAMPLES // 2)[:, PITCH_LAGS]
        whole = tilted.sum(axis=1, keepdims=True) / (FFT_SAMPLES // 4) + 1e-4
        pitch.append((correlation / (whole * own)).max(axis=1).astype(np.float32))
    return np.concatenate(levels), np.concatenate(pitch)


def _frames(samples: Samples) -> Iterator[_Levels]:
    """Blocks of frames, (frames, samples), with silence beyond the ends."""
    count = len(samples) // HOP_SAMPLES + 1
    half = FRAME_SAMPLES // 2
    for first in range(0, count, BLOCK_FRAMES):
        number = min(BLOCK_FRAMES, count - first)
        start = first * HOP_SAMPLES - half
        end = start + (number - 1) * HOP_SAMPLES + FRAME_SAMPLES
        block = np.pad(samples[max(0, start) : end], (max(0, -start), max(0, end - len(samples))))
        yield np.lib.stride_tricks.sliding_window_view(block, FRAME_SAMPLES)[::HOP_SAMPLES]


@lru_cache(maxsize=1)
def _window() -> tuple[_Levels, NDArray[np.float64]]:
    """The window, and its own correlation at the lags of the pitch."""
    window = np.hanning(FRAME_SAMPLES)
    power = np.abs(np.fft.rfft(window, n=FFT_SAMPLES)) ** 2
    own = np.fft.irfft(power)[::2]
    return window.astype(np.float32), np.asarray(own[PITCH_LAGS] / own[0])


@lru_cache(maxsize=1)
def _band_edges() -> NDArray[np.int64]:
    """First bins of the bands, and the end of the last one."""
    edges_hz = np.geomspace(LOW_HZ, HIGH_HZ, BANDS + 1)
    return np.round(edges_hz * FFT_SAMPLES / SAMPLE_RATE_HZ).astype(np.int64)


def _gate(values: NDArray[np.generic], middle: float, width: float) -> _Levels:
    """0 well below ``middle``, 1 well above it."""
    steps = np.clip((np.asarray(values, np.float32) - middle) / width, -30.0, 30.0)
    return np.asarray(1.0 / (1.0 + np.exp(-steps)), np.float32)


def _smooth(values: _Levels, frames: int) -> _Levels:
    """Mean over ``frames``, centred; the first and last values go on beyond the ends."""
    before = frames // 2
    padding = [(before, frames - 1 - before)] + [(0, 0)] * (values.ndim - 1)
    sums = np.cumsum(np.pad(values, padding, mode="edge"), axis=0, dtype=np.float64)
    sums[frames:] = sums[frames:] - sums[:-frames]
    return np.asarray(sums[frames - 1 :] / frames, np.float32)


def _slide(values: _Levels, reach: int, extreme: _Binary) -> _Levels:
    """Lowest or highest value within ``reach`` frames on either side, in log2 passes."""
    frames = 2 * reach + 1
    found = np.pad(values, [(reach, reach)] + [(0, 0)] * (values.ndim - 1), mode="edge")
    width = 1
    while 2 * width <= frames:
        found = extreme(found[:-width], found[width:])
        width *= 2
    rest = frames - width
    return extreme(found[: len(found) - rest], found[rest:])


def _runs(probability: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Frames (first, end) of runs that stay above OFF and reach ON."""
    above = np.diff(np.concatenate([[0], (probability > OFF).astype(np.int8), [0]]))
    pairs = zip(np.flatnonzero(above == 1).tolist(), np.flatnonzero(above == -1).tolist(), strict=True)
    return [(first, end) for first, end in pairs if probability[first:end].max() > ON]
