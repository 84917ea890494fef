"""Features of sound in blocks are bit for bit those of the whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from medvox.encode.long_speech import FeatureStream, FeatureWindows
from medvox.encode.speech import log_mel
from medvox.errors import InputError
from medvox.types import Samples


def noise(samples: int) -> Samples:
    return (np.random.default_rng(samples).standard_normal(samples) * 0.1).astype(np.float32)


def blocks(sound: Samples, largest: int, seed: int) -> Iterator[Samples]:
    rng, start = np.random.default_rng(seed), 0
    while start < len(sound):
        size = int(rng.integers(0, largest + 1))
        yield sound[start : start + size]
        start += size


@pytest.mark.parametrize("largest", [1, 159, 160, 161, 400, 2319, 2321, 50_000])
@pytest.mark.parametrize("samples", [2320, 2479, 2480, 20_003])
def test_a_stream_gives_the_features_of_the_whole(samples: int, largest: int) -> None:
    sound, stream = noise(samples), FeatureStream()
    heard = np.concatenate([stream.feed(block) for block in blocks(sound, largest, seed=largest)])
    np.testing.assert_array_equal(heard, log_mel(sound))
    assert heard.dtype == np.float32


def test_a_stream_gives_nothing_before_the_network_could_use_it() -> None:
    stream = FeatureStream()
    assert stream.feed(noise(2319)).shape == (0, 128)
    assert stream.feed(noise(1)).shape == (13, 128)


def test_a_stream_never_holds_more_than_the_next_frames_need() -> None:
    stream = FeatureStream()
    for _ in range(50):
        stream.feed(noise(1600))
    assert len(stream._samples) < 2320 + 160


@pytest.mark.parametrize("largest", [100, 5000, 70_000, 10**6])
@pytest.mark.parametrize("seed", range(4))
def test_windows_are_the_features_of_the_whole(largest: int, seed: int) -> None:
    sound = noise(300_000 + 37 * seed)
    wanted, source = log_mel(sound), FeatureWindows(blocks(sound, largest, seed))
    first = 0
    rng = np.random.default_rng(seed)
    while first < len(wanted) - 13:
        last = min(len(wanted), first + int(rng.integers(13, 500)))
        np.testing.assert_array_equal(source(first, last), wanted[first:last])
        first += int(rng.integers(0, 700))  # also windows that overlap, and gaps between them
    np.testing.assert_array_equal(source(len(wanted) - 13, len(wanted)), wanted[-13:])


def test_windows_hold_no_more_than_a_window_and_a_block() -> None:
    source = FeatureWindows(blocks(noise(1_000_000), 4000, seed=1))
    for first in range(0, 5000, 100):
        source(first, first + 300)
        assert len(source._samples) < 300 * 160 + 400 + 4000


def test_windows_of_a_recording_that_is_too_short_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        FeatureWindows(iter([noise(2000)]))(0, 11)
    assert caught.value.code == "E_AUDIO_TOO_SHORT"
