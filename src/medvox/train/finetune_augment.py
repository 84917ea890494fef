"""Recordings -> the same words at another speed, in a room, with noise, with stripes of features missing.

Each effect has its switch. All draws come from the generator given, so a clip of an epoch sounds the same whenever the
run is resumed. Works on single sounds, in numpy; next in the path: ``encode/speech``. Knows no text and no network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from medvox.data.manifest import SOUND_ENDINGS
from medvox.data.utterance import SAMPLE_RATE_HZ, read_utterance
from medvox.errors import InputError
from medvox.types import Features, Samples

SPEEDS = (0.9, 1.0, 1.1)
FREQUENCY_STRIPES, FREQUENCY_BANDS = 2, 24  # of 128 bands; SpecAugment
TIME_STRIPES, TIME_FRAMES, TIME_SHARE = 2, 40, 0.1  # frames, and share of the clip; SpecAugment
SOUNDS_KEPT = 32

MADE: Literal["made"] = "made"
Material = Path | Literal["made"]  # a folder of sounds, or generated


@dataclass(frozen=True, kw_only=True, slots=True)
class Effects:
    """What is done to the recordings of training.

    Attributes:
        speed: play at 0.9, 1.0 or 1.1 of the speed, each equally often.
        noise: a folder of noises, ``MADE`` for coloured noise, None for none.
        noise_share: of the clips that get noise.
        noise_db: lowest and highest ratio of speech to noise.
        rooms: a folder of impulse responses, ``MADE`` for decaying noise, None for none.
        room_share: of the clips that get a room.
        masks: SpecAugment without time warping.
    """

    speed: bool = False
    noise: Material | None = None
    noise_share: float = 0.5
    noise_db: tuple[float, float] = (8.0, 40.0)
    rooms: Material | None = None
    room_share: float = 0.3
    masks: bool = False

    def check(self) -> None:
        """Finds folders without sounds before the training does.

        Raises:
            InputError: ``E_AUGMENT_FOLDER``, and what reading their sounds raises.
        """
        for folder in (self.noise, self.rooms):
            if isinstance(folder, Path):
                for path in sounds_below(folder):
                    read_utterance(path)


def draw_speed(effects: Effects, rng: np.random.Generator) -> float:
    """How fast a clip is played."""
    return float(rng.choice(SPEEDS)) if effects.speed else 1.0


def altered(samples: Samples, speed: float, effects: Effects, rng: np.random.Generator) -> Samples:
    """A recording at a speed, in a room, with noise; mono 16 kHz, inside -1..1."""
    if speed != 1.0:
        samples = soxr.resample(samples, SAMPLE_RATE_HZ * speed, SAMPLE_RATE_HZ)
    if effects.rooms is not None and rng.random() < effects.room_share:
        samples = _in_room(samples, _response(effects.rooms, rng))
    if effects.noise is not None and rng.random() < effects.noise_share:
        samples = _with_noise(samples, _noise(effects.noise, len(samples), rng), rng.uniform(*effects.noise_db))
    return np.clip(samples, -1.0, 1.0).astype(np.float32, copy=False)


def masked(features: Features, rng: np.random.Generator) -> Features:
    """Features (F, 128) with stripes of bands and of frames at their mean."""
    features, mean = features.copy(), features.mean()
    frames, bands = features.shape
    for _ in range(FREQUENCY_STRIPES):
        width = int(rng.integers(0, FREQUENCY_BANDS + 1))
        first = int(rng.integers(0, bands - width + 1))
        features[:, first : first + width] = mean
    for _ in range(TIME_STRIPES):
        width = int(rng.integers(0, min(TIME_FRAMES, int(TIME_SHARE * frames)) + 1))
        first = int(rng.integers(0, frames - width + 1))
        features[first : first + width] = mean
    return features


def sounds_below(folder: Path) -> list[Path]:
    """The sound files of a folder, in name order.

    Raises:
        InputError: ``E_AUGMENT_FOLDER``, there are none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUND_ENDINGS)
    if not found:
        raise InputError(
            f"{folder.name} holds no sound file", fix="give a folder of WAV or FLAC files", code="E_AUGMENT_FOLDER"
        )
    return found


def _in_room(samples: Samples, response: Samples) -> Samples:
    """Convolved with a response whose direct sound is its first sample; as loud as before, as long as before."""
    size = 1 << (len(samples) + len(response) - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)[: len(samples)]
    return _as_loud_as(samples, wet)


def _with_noise(samples: Samples, noise: Samples, ratio_db: float) -> Samples:
    level = _loudness(samples) / max(_loudness(noise), 1e-9) * 10 ** (-ratio_db / 20)
    return samples + np.float32(level) * noise


def _as_loud_as(samples: Samples, changed: NDArray[np.floating]) -> Samples:
    return (changed * (_loudness(samples) / max(_loudness(changed), 1e-9))).astype(np.float32)


def _loudness(samples: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _response(rooms: Material, rng: np.random.Generator) -> Samples:
    if isinstance(rooms, Path):
        files = _sounds(rooms)
        response = _sound(files[int(rng.integers(len(files)))])
        return response[int(np.abs(response).argmax()) :]  # the delay of the direct sound would shift the words
    taps = int(rng.uniform(0.1, 0.5) * SAMPLE_RATE_HZ)  # until the tail has fallen by 60 dB
    tail = rng.standard_normal(taps) * 10 ** (-3.0 * np.arange(taps) / taps)
    tail *= rng.uniform(0.1, 0.6) / np.linalg.norm(tail)
    tail[0] = 1.0
    return tail.astype(np.float32)


def _noise(folder: Material, length: int, rng: np.random.Generator) -> Samples:
    if isinstance(folder, Path):
        files = _sounds(folder)
        noise = _sound(files[int(rng.integers(len(files)))])
        return np.resize(np.roll(noise, -int(rng.integers(len(noise)))), length)
    spectrum = np.fft.rfft(rng.standard_normal(length))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** -rng.uniform(0.0, 1.0)  # from white to brown
    return np.fft.irfft(spectrum, length).astype(np.float32)


@lru_cache(maxsize=8)
def _sounds(folder: Path) -> tuple[Path, ...]:
    return tuple(sounds_below(folder))


@lru_cache(maxsize=SOUNDS_KEPT)
def _sound(path: Path) -> Samples:
    return read_utterance(path).samples
