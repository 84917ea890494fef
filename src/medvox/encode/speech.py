"""Samples -> log-mel features, exactly as MedASR hears them (transformers ``LasrFeatureExtractor``).

No dither, pre-emphasis, centring or normalisation. Next in the path: ``models/conformer``. Knows no file and no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvox.errors import InputError, SetupError
from medvox.types import Features, Samples

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 400
HOP_SAMPLES = 160
FFT_SAMPLES = 512
MEL_BANDS = 128
LOW_HZ, HIGH_HZ = 125.0, 7500.0
POWER_FLOOR = 1e-5
SAMPLES_A_TOKEN_FRAME = 2320  # the sound that the first output frame of the 4x subsampled encoder sees
BLOCK_FRAMES = 512  # keeps the spectra of long recordings small

PREPROCESSOR = {
    "sampling_rate": SAMPLE_RATE_HZ,
    "win_length": FRAME_SAMPLES,
    "hop_length": HOP_SAMPLES,
    "n_fft": FFT_SAMPLES,
}


def frame_count(samples: int) -> int:
    """Number of whole frames; the tail is dropped."""
    return max(0, (samples - FRAME_SAMPLES) // HOP_SAMPLES + 1)


def log_mel(samples: Samples, *, bands: int = MEL_BANDS) -> Features:
    """Natural-log mel features.

    Args:
        samples: mono, 16 kHz, -1..1.
        bands: M, what the speech model was made for.

    Returns:
        (F, M) float32 with F = floor((samples - 400) / 160) + 1.

    Raises:
        InputError: shorter than one output frame of the encoder (145 ms).
    """
    if len(samples) < SAMPLES_A_TOKEN_FRAME:
        raise InputError(
            f"the recording has {len(samples) / SAMPLE_RATE_HZ * 1000:.0f} ms; at least 145 ms are needed",
            fix="record the sentence again",
            code="E_AUDIO_TOO_SHORT",
        )
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME_SAMPLES)[::HOP_SAMPLES]
    features = np.empty((len(frames), bands), np.float32)
    for first in range(0, len(frames), BLOCK_FRAMES):
        block = slice(first, first + BLOCK_FRAMES)
        spectrum = np.fft.rfft(frames[block] * _fft_window(), n=FFT_SAMPLES)
        power = spectrum.real**2 + spectrum.imag**2
        features[block] = np.log(np.maximum(power @ mel_filters(bands), POWER_FLOOR))
    return features


def log_mel_batch(recordings: Sequence[Samples], *, bands: int = MEL_BANDS) -> tuple[NDArray[np.float32], list[int]]:
    """Features of several recordings, padded with silence to the longest.

    Args:
        recordings: mono, 16 kHz, -1..1, of any lengths.
        bands: M.

    Returns:
        (B, F, M) float32, and how many frames of each recording are its own.

    Raises:
        InputError: the longest is too short; see ``log_mel``.
    """
    longest = max(len(samples) for samples in recordings)
    padded = (np.pad(samples, (0, longest - len(samples))) for samples in recordings)
    features = np.stack([log_mel(samples, bands=bands) for samples in padded])
    return features, [frame_count(len(samples)) for samples in recordings]


def bands_of(preprocessor: Mapping[str, Any]) -> int:
    """Mel bands that a model folder asks for.

    Args:
        preprocessor: its settings as ``LasrFeatureExtractor`` stores them; what is absent is as published.

    Raises:
        SetupError: it asks for another rate, window or hop than MedASR's.
    """
    for name, value in PREPROCESSOR.items():
        if preprocessor.get(name, value) != value:
            raise SetupError(
                f"the speech model wants {name} = {preprocessor[name]!r}; only {value} is supported",
                fix="use a model with the front end of MedASR",
                code="E_PREPROCESSOR",
            )
    bands = preprocessor.get("feature_size", MEL_BANDS)
    if type(bands) is not int or bands < 1:
        raise SetupError(
            f"the speech model wants {bands!r} mel bands", fix="download its folder again", code="E_PREPROCESSOR"
        )
    return bands


@lru_cache(maxsize=4)
def mel_filters(bands: int = MEL_BANDS) -> NDArray[np.float64]:
    """Triangular filters, linear in mel, peak 1, no area normalisation, (257, M)."""
    bins_mel = _mel(np.linspace(0.0, SAMPLE_RATE_HZ / 2, FFT_SAMPLES // 2 + 1)[1:])[:, None]
    edges = np.linspace(_mel(np.float64(LOW_HZ)), _mel(np.float64(HIGH_HZ)), bands + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins_mel - low) / (centre - low)
    falling = (high - bins_mel) / (high - centre)
    return np.pad(np.maximum(0.0, np.minimum(rising, falling)), [[1, 0], [0, 0]])


def _mel(frequency_hz: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log1p(frequency_hz / 700.0))


@lru_cache(maxsize=1)
def _fft_window() -> NDArray[np.float64]:
    """Symmetric Hann window of 400 points."""
    return np.hanning(FRAME_SAMPLES)
