"""Who speaks in training and how: by the mix, varied, and as each engine is told."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from medvox.synth import voices
from medvox.synth.voices import NEUTRAL, Delivery, Voice, draw_delivery, draw_voice, speak

LINE = "there is a small nodule in the left lung"
PROGRAMS = {
    "espeak-ng": "espeak-ng", "flite": "flite", "festival": "text2wave", "rhvoice": "RHVoice-test", "pico": "pico2wave",
}  # fmt: skip
ONE_OF_EACH = (voices.ESPEAK_TRAIN[0], voices.SLT, voices.KAL, voices.KED, voices.CLB, voices.PICO[0])
WITH_PITCH = (voices.ESPEAK_TRAIN[0], voices.SLT, voices.KAL, voices.CLB)


def label(voice: Voice) -> str:
    return f"{voice.engine} {voice.name}"


def needs(voice: Voice) -> None:
    if shutil.which(PROGRAMS[voice.engine]) is None:
        pytest.skip(f"{voice.engine} is not installed")


def pitch_hz(samples: np.ndarray) -> float:
    """Median over voiced frames of the best period between 60 and 400 Hz, by normalised correlation."""
    found, lags = [], range(16_000 // 400, 16_000 // 60)
    for start in range(0, len(samples) - 1600, 512):
        frame = samples[start : start + 1600]
        if np.abs(frame[800:]).max() < 0.01 or np.abs(frame[:800]).max() < 0.01:
            continue
        match = np.array([np.corrcoef(frame[lag:], frame[:-lag])[0, 1] for lag in lags])
        if match.max() > 0.7:
            found.append(16_000 / lags[int(np.flatnonzero(match > 0.97 * match.max())[0])])
    return float(np.median(found))


def test_voices_are_drawn_by_their_shares() -> None:
    rng = random.Random(1)
    drawn = Counter(draw_voice(rng) for _ in range(6000))
    assert not any(voice.held_out for voice in drawn)
    for share, group in voices.TRAINING_MIX:
        assert sum(drawn[voice] for voice in group) / 6000 == pytest.approx(share, abs=0.025)


def test_who_is_held_out_shares_no_person_with_training() -> None:
    learnt = {voice.person for _, group in voices.TRAINING_MIX for voice in group}
    held = {one.person for one in (voices.RMS, voices.KED, voices.BDL, *voices.PICO, *voices.DEV)}
    assert not learnt & held


def test_no_variant_of_espeak_is_on_both_sides() -> None:
    names = [voice.name.partition("+")[2] for voice in (*voices.ESPEAK_TRAIN, *voices.ESPEAK_HELD_OUT)]
    assert len(names) == len(set(names))


def test_deliveries_vary_within_bounds() -> None:
    rng = random.Random(2)
    for voice, low, high in ((voices.SLT, 0.8, 1.12), (voices.KAL, 0.88, 1.22)):
        drawn = [draw_delivery(rng, voice) for _ in range(500)]
        assert low <= min(one.tape_speed for one in drawn) < max(one.tape_speed for one in drawn) <= high
        assert all(0.85 <= one.rate * one.tape_speed <= 1.25 for one in drawn)  # what is heard
        assert all(15 <= one.pitch <= 85 for one in drawn)
        assert 0.1 < sum(one.pitch == NEUTRAL.pitch for one in drawn) / 500 < 0.35


def test_engines_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert voices.missing_engines() == ["espeak-ng", "flite", "festival", "rhvoice", "pico"]


@pytest.mark.parametrize("voice", ONE_OF_EACH[:-1], ids=label)
def test_a_higher_rate_is_shorter(voice: Voice) -> None:
    needs(voice)
    slow, fast = (speak(LINE, voice, Delivery(rate=rate, pitch=50, tape_speed=1.0)) for rate in (0.8, 1.25))
    assert len(fast) < 0.8 * len(slow)


@pytest.mark.parametrize("voice", WITH_PITCH, ids=label)
def test_a_higher_pitch_is_higher(voice: Voice) -> None:
    needs(voice)
    low, high = (pitch_hz(speak(LINE, voice, Delivery(rate=1.0, pitch=pitch, tape_speed=1.0))) for pitch in (15, 85))
    assert high > 1.1 * low


@pytest.mark.parametrize("voice", ONE_OF_EACH, ids=label)
def test_the_tape_changes_length_whatever_the_engine(voice: Voice) -> None:
    needs(voice)
    plain, faster = (speak(LINE, voice, Delivery(rate=1.0, pitch=50, tape_speed=speed)) for speed in (1.0, 1.2))
    assert len(faster) == pytest.approx(len(plain) / 1.2, rel=0.03)
    assert faster.dtype == np.float32
