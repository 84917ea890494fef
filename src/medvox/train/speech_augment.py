"""Batches of sound -> augmented log-mel features, in float32 PyTorch, for training the speech model.

The un-augmented path equals ``encode/speech.log_mel`` up to float32 rounding. Rooms are made in the time domain; noise,
equalisers and vocal-tract warps in the spectrum; masks on the features. Knows no text and no model.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from medvox.encode.speech import (
    FFT_SAMPLES,
    FRAME_SAMPLES,
    HOP_SAMPLES,
    POWER_FLOOR,
    SAMPLE_RATE_HZ,
    frame_count,
    mel_filters,
)

BINS = FFT_SAMPLES // 2 + 1
_MEL = torch.from_numpy(mel_filters()).float()  # (257, 128)
_HANN = torch.hann_window(FRAME_SAMPLES, periodic=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """Probabilities and ranges; every draw is per recording."""

    noise: float = 0.75
    snr_db: tuple[float, float] = (5.0, 45.0)
    equaliser: float = 0.6
    equaliser_db: float = 6.0
    room: float = 0.25
    warp: float = 0.6
    warp_range: tuple[float, float] = (0.86, 1.16)
    masks: bool = True


MILD = Augmentation(noise=0.5, snr_db=(20.0, 50.0), equaliser=0.3, room=0.0, warp=0.4, masks=False)
FULL = Augmentation()


def batch_features(samples: list[Tensor], plan: Augmentation | None, rng: random.Random) -> tuple[Tensor, Tensor]:
    """Padded features (B, F, 128) and the frames of each recording (B,).

    Args:
        samples: mono 16 kHz float32 recordings.
        plan: the augmentation, or None for clean features.
        rng: draws the augmentation.
    """
    lengths = torch.tensor([frame_count(len(sound)) for sound in samples])
    sound = torch.zeros(len(samples), max(len(one) for one in samples))
    for row, one in enumerate(samples):
        sound[row, : len(one)] = one if plan is None else _room(one, plan, rng) * 10 ** (rng.uniform(-12, 4) / 20)
    spectrum = torch.fft.rfft(sound.unfold(-1, FRAME_SAMPLES, HOP_SAMPLES) * _HANN, n=FFT_SAMPLES)  # (B, F, 257)
    power = spectrum.real.square() + spectrum.imag.square()
    mel = power @ _MEL if plan is None else torch.stack([_in_spectrum(one, plan, rng) for one in power])
    features = mel.clamp_min(POWER_FLOOR).log()
    if plan is not None and plan.masks:
        for row, frames in enumerate(lengths.tolist()):
            _mask(features[row], frames, rng)
    return features, lengths


def _room(sound: Tensor, plan: Augmentation, rng: random.Random) -> Tensor:
    """A synthetic room: exponentially decaying noise as response, the direct sound kept."""
    if rng.random() >= plan.room:
        return sound
    decay_s = rng.uniform(0.08, 0.45)
    taps = int(decay_s * SAMPLE_RATE_HZ)
    response = torch.randn(taps) * torch.exp(-6.9 * torch.arange(taps) / taps)
    response *= rng.uniform(0.1, 0.6) / response.norm()
    response[0] = 1.0
    size = 1 << (len(sound) + taps - 1).bit_length()
    wet = torch.fft.irfft(torch.fft.rfft(sound, size) * torch.fft.rfft(response, size), size)
    return wet[: len(sound)]


def _in_spectrum(power: Tensor, plan: Augmentation, rng: random.Random) -> Tensor:
    """Equaliser and noise on one recording's power, (F, 257), then the mel bank of a random vocal tract, (F, 128)."""
    if rng.random() < plan.equaliser:
        power = power * 10 ** (_curve_db(plan.equaliser_db, rng) / 10)
    if rng.random() < plan.noise:
        colour = 10 ** (_curve_db(8.0, rng) / 10)
        level = power.mean().clamp_min(1e-6) * 10 ** (-rng.uniform(*plan.snr_db) / 10) / colour.mean()
        spread = (colour * level / 2).sqrt()
        real, imaginary = _gaussian(len(power), rng), _gaussian(len(power), rng)
        power = (power.sqrt() + spread * real).square() + (spread * imaginary).square()
    bank = _MEL if rng.random() >= plan.warp else _warped_mel(round(rng.uniform(*plan.warp_range), 2))
    return power @ bank


def _gaussian(frames: int, rng: random.Random) -> Tensor:
    """A stretch of a fixed table of normal numbers, (frames, 257): drawing anew costs more than the network."""
    table = _noise_table(4 * (frames // 2000 + 1) * 2000)
    first = rng.randrange(len(table) - frames * BINS)
    return table[first : first + frames * BINS].view(frames, BINS)


@lru_cache(maxsize=4)
def _noise_table(frames: int) -> Tensor:
    return torch.randn(frames * BINS, generator=torch.Generator().manual_seed(0))


@lru_cache(maxsize=64)
def _warped_mel(factor: float) -> Tensor:
    """The mel bank (257, 128) that hears bin b as bin ``factor * b``: a longer or shorter vocal tract."""
    source = (torch.arange(BINS) / factor).clamp_max(BINS - 1)
    low = source.floor().long().clamp_max(BINS - 2)
    part = (source - low)[:, None]
    interpolate = torch.zeros(BINS, BINS)
    interpolate.scatter_(1, low[:, None], 1 - part)
    interpolate.scatter_(1, low[:, None] + 1, part)
    return interpolate.T @ _MEL


def _curve_db(spread_db: float, rng: random.Random) -> Tensor:
    """A smooth random curve over the bins, in dB."""
    points = torch.tensor([[[rng.gauss(0.0, spread_db) for _ in range(6)]]])
    return functional.interpolate(points, size=BINS, mode="linear", align_corners=True)[0, 0]


def _mask(features: Tensor, frames: int, rng: random.Random) -> None:
    """SpecAugment in place: two frequency and two time stripes at the mean."""
    mean = features[:frames].mean()
    for _ in range(2):
        width = rng.randint(0, 18)
        first = rng.randint(0, features.shape[1] - width)
        features[:, first : first + width] = mean
        width = rng.randint(0, min(20, frames // 8))
        first = rng.randint(0, frames - width)
        features[first : first + width] = mean
