"""Samples -> log-mel features, exactly as MedASR hears them (transformers ``LasrFeatureExtractor``).

No dither, pre-emphasis, centring or normalisation. Next in the path: ``models/conformer``. Knows no file and no model.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medvox.errors import InputError
from medvox.types import Features, Samples

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 400
HOP_SAMPLES = 160
FFT_SAMPLES = 512
MEL_BANDS = 128
LOW_HZ, HIGH_HZ = 125.0, 7500.0
POWER_FLOOR = 1e-5
SAMPLES_A_TOKEN_FRAME = 2320  # the sound that the first output frame of the 4x subsampled encoder sees


def frame_count(samples: int) -> int:
    """Number of whole frames; the tail is dropped."""
    return max(0, (samples - FRAME_SAMPLES) // HOP_SAMPLES + 1)


def log_mel(samples: Samples) -> Features:
    """Natural-log mel features.

    Args:
        samples: mono, 16 kHz, -1..1.

    Returns:
        (F, 128) float32 with F = floor((samples - 400) / 160) + 1.

    Raises:
        InputError: shorter than one output frame of the encoder (145 ms).
    """
    if len(samples) < SAMPLES_A_TOKEN_FRAME:
        raise InputError(
            f"the recording has {len(samples) / SAMPLE_RATE_HZ * 1000:.0f} ms; at least 145 ms are needed",
            fix="record the sentence again",
            code="E_AUDIO_TOO_SHORT",
        )
    return log_power(power_spectrum(samples) @ mel_filters())


def power_spectrum(samples: Samples) -> NDArray[np.float64]:
    """Squared magnitude of the windowed frames, (F, 257)."""
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), FRAME_SAMPLES)[::HOP_SAMPLES]
    spectrum = np.fft.rfft(frames * _fft_window(), n=FFT_SAMPLES)
    return spectrum.real**2 + spectrum.imag**2


def log_power(power: NDArray[np.float64]) -> Features:
    """Natural log above the floor, float32."""
    return np.log(np.maximum(power, POWER_FLOOR)).astype(np.float32)


@lru_cache(maxsize=1)
def mel_filters() -> NDArray[np.float64]:
    """Triangular filters, linear in mel, peak 1, no area normalisation, (257, 128)."""
    bins_mel = _mel(np.linspace(0.0, SAMPLE_RATE_HZ / 2, FFT_SAMPLES // 2 + 1)[1:])[:, None]
    edges = np.linspace(_mel(np.float64(LOW_HZ)), _mel(np.float64(HIGH_HZ)), MEL_BANDS + 2)
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
