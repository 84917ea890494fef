"""A recording that is not kept gives the same sound again and again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from made_sound import tone, write_track

from medvox.data.recording import read_recording
from medvox.errors import BudgetError, InputError


def both(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The samples of a kept recording, and of one that is decoded again."""
    kept, streamed = read_recording(path), read_recording(path, kept_s=0.1)
    assert streamed.kept is None
    assert (kept.samples, kept.flags, kept.duration_s) == (streamed.samples, streamed.flags, streamed.duration_s)
    first, again = (np.concatenate(list(streamed.blocks())) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert len(first) == streamed.samples
    (samples,) = kept.blocks()
    return samples, first


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("form", ["WAV", "FLAC", "MP3"])
def test_what_is_decoded_again_is_the_same(tmp_path: Path, form: str, rate_hz: int) -> None:
    path = tmp_path / "sound"
    soundfile.write(path, np.stack([tone(9.0, rate_hz), 0.3 * tone(9.0, rate_hz, 300)], axis=1), rate_hz, format=form)
    samples, again = both(path)
    np.testing.assert_array_equal(samples, again)
    assert len(samples) == pytest.approx(9 * 16_000, rel=0.02)


def test_so_is_the_track_of_a_film(tmp_path: Path) -> None:
    samples, again = both(write_track(tmp_path / "a.m4a", "ipod", "aac", tone(3.0), 16_000))
    np.testing.assert_array_equal(samples, again)


def test_channels_that_cancel_are_heard_one_by_one(tmp_path: Path) -> None:
    sound = tone(2.0)
    soundfile.write(tmp_path / "a.wav", np.stack([0.5 * sound, -0.49 * sound], axis=1), 16_000)
    samples, again = both(tmp_path / "a.wav")
    np.testing.assert_array_equal(samples, again)
    np.testing.assert_allclose(samples, 0.5 * sound, atol=1e-3)


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    import hashlib

    soundfile.write(tmp_path / "a.wav", tone(1.0), 16_000)
    wanted = hashlib.sha256((tmp_path / "a.wav").read_bytes()).hexdigest()
    assert read_recording(tmp_path / "a.wav", kept_s=0).source.sha256 == wanted


def test_a_file_that_changed_in_between_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(2.0), 16_000)
    recording = read_recording(path, kept_s=0.1)
    soundfile.write(path, tone(3.0), 16_000)
    with pytest.raises(InputError) as caught:
        list(recording.blocks())
    assert caught.value.code == "E_AUDIO_UNREADABLE"
    assert "changed" in caught.value.message


def test_a_file_that_changes_while_it_is_heard_again_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(20.0), 16_000)
    blocks = read_recording(path, kept_s=0.1).blocks()
    next(blocks)
    os.utime(path, (1, 1))
    with pytest.raises(InputError):
        list(blocks)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(2.0), 16_000)
    recording = read_recording(tmp_path / "a.wav", kept_s=0.1)
    (tmp_path / "a.wav").unlink()
    with pytest.raises(InputError) as caught:
        list(recording.blocks())
    assert caught.value.code == "E_AUDIO_UNREADABLE"


def test_three_hours_are_too_long(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "a.flac", "w", 8_000, 1) as file:
        for _ in range(180):
            file.write(np.zeros(480_000, np.int16))
    with pytest.raises(BudgetError) as caught:
        read_recording(tmp_path / "a.flac")
    assert caught.value.code == "E_AUDIO_LIMIT"
