"""What is done to the recordings of a fine-tuning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from made_sound import tone

from medvox.errors import InputError
from medvox.train.finetune_augment import Effects, altered, draw_speed, masked
from medvox.types import Samples


def speechlike(seconds: float = 1.0) -> Samples:
    return tone(seconds).astype(np.float32)


def loudness(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_faster_sound_is_shorter_and_higher() -> None:
    fast = altered(speechlike(), 1.1, Effects(), rng())
    assert len(fast) == pytest.approx(16_000 / 1.1, abs=2)
    peak_hz = np.abs(np.fft.rfft(fast)).argmax() * 16_000 / len(fast)
    assert peak_hz == pytest.approx(440 * 1.1, abs=2)


def test_three_speeds_are_drawn() -> None:
    source = rng()
    assert {draw_speed(Effects(speed=True), source) for _ in range(50)} == {0.9, 1.0, 1.1}
    assert draw_speed(Effects(), source) == 1.0


@pytest.mark.parametrize("ratio_db", [0.0, 20.0])
def test_noise_has_the_wanted_level(ratio_db: float) -> None:
    clean = 0.2 * speechlike()
    noisy = altered(clean, 1.0, Effects(noise="made", noise_share=1.0, noise_db=(ratio_db, ratio_db)), rng())
    measured = 20 * np.log10(loudness(clean) / loudness(noisy - clean))
    assert measured == pytest.approx(ratio_db, abs=0.1)


def test_noise_of_a_folder_is_the_noise_that_is_heard(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hum.wav", tone(0.3, frequency_hz=1000), 16_000)
    clean = 0.2 * speechlike()
    effects = Effects(noise=tmp_path, noise_share=1.0, noise_db=(0.0, 0.0))
    added = altered(clean, 1.0, effects, rng()) - clean
    assert np.abs(np.fft.rfft(added)).argmax() == pytest.approx(1000, abs=3)


def test_a_room_of_a_folder_delays_nothing(tmp_path: Path) -> None:
    response = np.zeros(2000)
    response[[700, 1100]] = 0.9, 0.45  # the direct sound and one echo of half the size, 400 samples later
    soundfile.write(tmp_path / "room.wav", response, 16_000)
    click = np.zeros(16_000, np.float32)
    click[5000] = 0.5
    heard = altered(click, 1.0, Effects(rooms=tmp_path, room_share=1.0), rng())
    assert np.flatnonzero(np.abs(heard) > 0.05).tolist() == [5000, 5400]
    assert heard[5400] / heard[5000] == pytest.approx(0.5, abs=0.01)


def test_a_made_room_rings_on_and_is_as_loud() -> None:
    burst = np.concatenate([speechlike(0.3), np.zeros(11_200, np.float32)])
    heard = altered(burst, 1.0, Effects(rooms="made", room_share=1.0), rng())
    assert len(heard) == len(burst)
    assert loudness(heard) == pytest.approx(loudness(burst), rel=0.02)
    assert loudness(heard[4800:6400]) > 0.01 * loudness(burst[:4800])


def test_sound_stays_in_range() -> None:
    loud = np.sign(speechlike())
    heard = altered(loud, 1.0, Effects(noise="made", noise_share=1.0, noise_db=(0.0, 0.0)), rng())
    assert np.abs(heard).max() <= 1.0
    assert heard.dtype == np.float32


def test_without_effects_the_samples_are_the_same() -> None:
    assert np.array_equal(altered(speechlike(), 1.0, Effects(), rng()), speechlike())


def test_masks_cover_stripes_and_leave_the_features_given_alone() -> None:
    features = rng(5).normal(size=(200, 128)).astype(np.float32)
    before = features.copy()
    hidden = [masked(features, rng(seed)) for seed in range(30)]
    assert np.array_equal(features, before)
    for one in hidden:
        changed = one != features
        assert np.all(one[changed] == features.mean())
        bands, frames = changed.all(axis=0).sum(), changed.all(axis=1).sum()
        assert bands <= 48
        assert frames <= 40
    assert any((one != features).all(axis=0).any() for one in hidden)
    assert any((one != features).all(axis=1).any() for one in hidden)


def test_short_features_can_be_masked() -> None:
    for seed in range(20):
        assert masked(np.ones((5, 128), np.float32), rng(seed)).shape == (5, 128)


def test_a_folder_without_sounds_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refusal:
        Effects(noise=tmp_path).check()
    assert refusal.value.code == "E_AUGMENT_FOLDER"


def test_an_unreadable_noise_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"nothing")
    with pytest.raises(InputError) as refusal:
        Effects(rooms=tmp_path).check()
    assert refusal.value.code == "E_AUDIO_UNREADABLE"


def test_made_material_needs_no_check() -> None:
    Effects(noise="made", rooms="made").check()
