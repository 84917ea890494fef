"""Reading sound files: what works, what is flagged, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from medvox.data.utterance import read_utterance
from medvox.errors import InputError


def tone(seconds: float = 0.5, rate_hz: int = 16_000, frequency_hz: float = 440.0) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz)


def code_of(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_utterance(path)
    assert str(path.parent) not in caught.value.message
    return caught.value.code


def flags_of(path: Path) -> set[str]:
    return {flag.code for flag in read_utterance(path).flags}


@pytest.fixture
def wave(tmp_path: Path) -> Path:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(), 16_000, subtype="PCM_16")
    return path


def test_a_plain_wav(wave: Path) -> None:
    utterance = read_utterance(wave)
    assert utterance.samples.dtype == np.float32
    assert (utterance.sample_rate_hz, utterance.source_rate_hz, utterance.channels) == (16_000, 16_000, 1)
    assert utterance.duration_s == 0.5
    assert utterance.flags == ()
    np.testing.assert_allclose(utterance.samples, tone(), atol=1e-4)


def test_the_source_is_the_file(wave: Path) -> None:
    source = read_utterance(wave).source
    assert source.name == "tone.wav"
    assert len(source.sha256) == 64


@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3"])
def test_other_formats(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"tone.{ending}"
    soundfile.write(path, tone(1.0), 16_000)
    assert read_utterance(path).duration_s == pytest.approx(1.0, abs=0.1)


def test_8_khz_stereo_becomes_16_khz_mono(tmp_path: Path) -> None:
    path = tmp_path / "phone.wav"
    soundfile.write(path, np.stack([tone(1.0, 8_000), tone(1.0, 8_000)], axis=1), 8_000)
    utterance = read_utterance(path)
    assert len(utterance.samples) == pytest.approx(16_000, abs=2)
    middle = slice(1000, 15_000)
    np.testing.assert_allclose(utterance.samples[middle], tone(1.0)[middle], atol=2e-3)
    assert flags_of(path) == {"F_AUDIO_MIXED", "F_AUDIO_RESAMPLED"}


def test_channels_that_cancel_are_flagged_and_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "anti.wav"
    soundfile.write(path, np.stack([tone(), -tone()], axis=1), 16_000)
    assert flags_of(path) == {"F_AUDIO_ANTI_PHASE"}
    assert np.abs(read_utterance(path).samples).max() > 0.4


def test_an_overdriven_recording_is_flagged(tmp_path: Path) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.clip(4 * tone(), -1, 1), 16_000)
    assert flags_of(path) == {"F_AUDIO_CLIPPED"}


def test_no_seconds(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros(0), 16_000)
    assert code_of(path) == "E_AUDIO_EMPTY"


def test_no_bytes(tmp_path: Path) -> None:
    path = tmp_path / "nothing.wav"
    path.touch()
    assert code_of(path) == "E_AUDIO_EMPTY"


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_silence(tmp_path: Path, level: float) -> None:
    path = tmp_path / "silent.wav"
    soundfile.write(path, np.full(8000, level), 16_000)
    assert code_of(path) == "E_AUDIO_SILENT"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_numbers(tmp_path: Path, bad: float) -> None:
    path = tmp_path / "nan.wav"
    sound = tone()
    sound[100] = bad
    soundfile.write(path, sound, 16_000, subtype="FLOAT")
    assert code_of(path) == "E_AUDIO_NOT_FINITE"


def test_a_missing_file(tmp_path: Path) -> None:
    assert code_of(tmp_path / "missing.wav") == "E_AUDIO_UNREADABLE"


def test_a_folder(tmp_path: Path) -> None:
    assert code_of(tmp_path) == "E_AUDIO_UNREADABLE"


def test_text_with_the_ending_of_sound(tmp_path: Path) -> None:
    path = tmp_path / "text.wav"
    path.write_text("no sound at all")
    assert code_of(path) == "E_AUDIO_UNREADABLE"


@pytest.mark.parametrize("kept", [0.9, 0.3])
def test_a_wav_that_was_cut_off(wave: Path, kept: float) -> None:
    content = wave.read_bytes()
    wave.write_bytes(content[: int(len(content) * kept)])
    assert code_of(wave) == "E_AUDIO_UNREADABLE"


@pytest.mark.parametrize("kept", [10, 30, 43])
def test_a_wav_that_was_cut_off_in_its_header(wave: Path, kept: int) -> None:
    wave.write_bytes(wave.read_bytes()[:kept])
    assert code_of(wave) == "E_AUDIO_UNREADABLE"


def test_a_flac_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 32_000), 16_000)
    path.write_bytes(path.read_bytes()[:20_000])
    assert code_of(path) == "E_AUDIO_UNREADABLE"


def test_a_wav_from_a_pipe_does_not_know_its_size(wave: Path) -> None:
    content = bytearray(wave.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = (0x7FFFF000).to_bytes(4, "little")
    wave.write_bytes(content)
    assert read_utterance(wave).duration_s == 0.5


def test_real_recordings(shared_data: Path, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(shared_data / "speech" / "misc.zip") as archive:
        path = Path(archive.extract("jfk.flac", tmp_path))
    utterance = read_utterance(path)
    assert (utterance.source_rate_hz, utterance.channels) == (44_100, 2)
    assert len(utterance.samples) == pytest.approx(utterance.duration_s * 16_000, abs=2)
