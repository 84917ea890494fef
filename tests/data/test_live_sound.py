"""Sound as it comes: exact samples, and refusals that name the way out."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from made_sound import tone

from medvox.data.live_sound import as_they_come, pcm_blocks, played
from medvox.data.microphone import microphone_blocks
from medvox.errors import InputError, SetupError, UsageError
from medvox.types import Samples


def pcm(sound: np.ndarray) -> bytes:
    return np.round(sound * 32767).astype("<i2").tobytes()


@pytest.mark.parametrize("count", [1, 2047, 2048, 2049, 10_000])
def test_raw_samples_come_as_they_are(count: int) -> None:
    sound = np.random.default_rng(count).integers(-32768, 32768, count).astype("<i2")
    heard = np.concatenate(list(pcm_blocks(io.BytesIO(sound.tobytes()))))
    np.testing.assert_array_equal(heard, sound.astype(np.float32) / 32768)
    assert heard.dtype == np.float32


def test_half_a_sample_at_the_end_is_dropped() -> None:
    assert len(np.concatenate(list(pcm_blocks(io.BytesIO(pcm(tone(0.3)) + b"\1"))))) == 4800


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_other_rates_are_resampled(rate_hz: int) -> None:
    heard = np.concatenate(list(pcm_blocks(io.BytesIO(pcm(tone(2.0, rate_hz))), rate_hz=rate_hz)))
    assert heard.dtype == np.float32
    assert len(heard) == pytest.approx(32_000, abs=2)
    np.testing.assert_allclose(heard[4000:28_000], tone(2.0)[4000:28_000], atol=0.01)


def test_blocks_come_before_the_stream_ends() -> None:
    recorder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; sys.stdout.buffer.write(bytes(20_000)); sys.stdout.flush(); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    assert recorder.stdout is not None
    assert len(next(pcm_blocks(recorder.stdout))) > 0
    recorder.kill()
    recorder.wait()
    recorder.stdout.close()


@pytest.mark.parametrize("rate_hz", [-1, 0, 100, 10**6])
def test_a_rate_of_no_sound(rate_hz: int) -> None:
    with pytest.raises(UsageError) as caught:
        next(pcm_blocks(io.BytesIO(bytes(100)), rate_hz=rate_hz))
    assert caught.value.code == "E_PCM_RATE"


def test_nothing_comes_in() -> None:
    with pytest.raises(InputError) as caught:
        next(pcm_blocks(io.BytesIO(b"")))
    assert caught.value.code == "E_AUDIO_EMPTY"


@pytest.mark.parametrize("form", ["WAV", "FLAC", "AIFF"])
def test_a_file_instead_of_raw_samples(form: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, tone(), 16_000, format=form)
    file.seek(0)
    with pytest.raises(InputError) as caught:
        next(pcm_blocks(file))
    assert caught.value.code == "E_PCM_CONTAINER"


def test_a_terminal_is_no_sound() -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    with pytest.raises(UsageError) as caught:
        next(pcm_blocks(Terminal()))
    assert caught.value.code == "E_PCM_TERMINAL"
    assert "arecord" in caught.value.fix


@pytest.mark.parametrize("count", [1279, 1280, 1281, 20_000])
def test_a_recording_is_played_whole(tmp_path: Path, count: int) -> None:
    sound = (np.random.default_rng(1).integers(-30_000, 30_000, count) / 32768).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 16_000)
    blocks = list(played(tmp_path / "a.wav", in_real_time=False))
    np.testing.assert_array_equal(np.concatenate(blocks), sound)
    assert {len(block) for block in blocks[:-1]} <= {1280}


def test_a_long_recording_is_played_whole(tmp_path: Path) -> None:
    """It is decoded block by block, not kept."""
    sound = (np.random.default_rng(1).integers(-30_000, 30_000, 16_000 * 905) / 32768).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 16_000)
    np.testing.assert_array_equal(np.concatenate(list(played(tmp_path / "a.wav", in_real_time=False))), sound)


def test_real_time_is_kept(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.4), 16_000)
    start = time.monotonic()
    arrivals = [time.monotonic() - start for _ in played(tmp_path / "a.wav", in_real_time=True)]
    assert all(at >= 0.08 * number - 0.03 for number, at in enumerate(arrivals, start=1))


def test_what_waits_is_given_at_once_and_nothing_is_lost() -> None:
    gate = threading.Event()

    def source() -> Iterator[Samples]:
        yield np.zeros(1, np.float32)
        gate.wait(10)
        for number in range(1, 50):
            yield np.full(2, number, np.float32)

    blocks = as_they_come(source())
    assert len(next(blocks)) == 1
    gate.set()
    time.sleep(0.2)
    rest = list(blocks)
    assert len(rest) < 10
    np.testing.assert_array_equal(np.concatenate(rest), np.repeat(np.arange(1, 50), 2))


def test_an_error_of_the_source_comes_through_behind_the_sound() -> None:
    def source() -> Iterator[Samples]:
        yield np.ones(3, np.float32)
        raise InputError("gone", fix="none")

    blocks = as_they_come(source())
    assert len(next(blocks)) == 3
    with pytest.raises(InputError):
        next(blocks)


def test_without_the_package_there_is_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)  # an import of it fails then
    with pytest.raises(SetupError) as caught:
        next(microphone_blocks())
    assert caught.value.code == "E_MICROPHONE"
    assert "arecord" in caught.value.fix
    assert "pip install 'medvox[microphone]'" in caught.value.fix


def test_without_a_microphone_nothing_is_to_be_installed() -> None:
    try:
        import sounddevice
    except (ImportError, OSError):
        pytest.skip("sounddevice or its PortAudio is not installed")
    if any(device["max_input_channels"] for device in sounddevice.query_devices()):
        pytest.skip("this machine has a microphone")
    with pytest.raises(SetupError, match="cannot be opened") as caught:
        next(microphone_blocks())
    assert "install" not in caught.value.fix
    assert "arecord" in caught.value.fix
