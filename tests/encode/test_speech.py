"""The speech front end against the published one, and at its borders."""

from __future__ import annotations

import numpy as np
import pytest

from medvox.encode.speech import SAMPLES_A_TOKEN_FRAME, frame_count, log_mel, mel_filters
from medvox.errors import InputError
from medvox.types import Samples


def noise(samples: int, seed: int = 0) -> Samples:
    return (np.random.default_rng(seed).standard_normal(samples) * 0.1).astype(np.float32)


@pytest.mark.parametrize("samples", [2320, 2479, 2480, 16_000, 33_333])
def test_equals_the_published_extractor(samples: int) -> None:
    lasr = pytest.importorskip("transformers.models.lasr.feature_extraction_lasr")
    sound = noise(samples)
    published = lasr.LasrFeatureExtractor()(sound, sampling_rate=16_000, return_tensors="np")["input_features"][0]
    ours = log_mel(sound)
    assert ours.shape == published.shape
    np.testing.assert_allclose(ours, published, atol=1e-4)


def test_the_tail_is_dropped() -> None:
    assert [frame_count(samples) for samples in (0, 399, 400, 559, 560)] == [0, 0, 1, 1, 2]
    assert log_mel(noise(16_000)).shape == (98, 128)


def test_digital_silence_is_the_floor() -> None:
    features = log_mel(np.zeros(4000, dtype=np.float32))
    np.testing.assert_allclose(features, np.log(1e-5), atol=1e-6)


def test_only_the_first_band_touches_no_bin() -> None:
    empty = np.flatnonzero(mel_filters().sum(axis=0) == 0)
    assert empty.tolist() == [0]


def test_features_are_float32() -> None:
    assert log_mel(noise(4000)).dtype == np.float32


def test_less_than_one_output_frame_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        log_mel(noise(SAMPLES_A_TOKEN_FRAME - 1))
    assert caught.value.code == "E_AUDIO_TOO_SHORT"
