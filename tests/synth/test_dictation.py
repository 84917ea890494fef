"""What the dictation scripts say, and what is kept away from training."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from medvox.errors import SetupError
from medvox.synth import dictation, voices
from medvox.synth.corpus import load_corpus
from medvox.synth.dictation import (
    DEMO_QUESTIONS,
    KIND_SHARES,
    RULES,
    ScriptWriter,
    count_words,
    expand,
    is_held_out,
    is_spoken_form,
)

needs_texts = pytest.mark.skipif(
    not Path("/usr/share/games/fortunes/literature").exists() or not Path("/usr/share/dict/american-english").exists(),
    reason="fortunes or wamerican is not installed",
)
needs_engines = pytest.mark.skipif(bool(voices.missing_engines()), reason="a speech engine is not installed")


def test_every_slot_has_a_rule() -> None:
    slots = {slot for text in RULES.values() for slot in re.findall(r"\{(\w+)\}", text)}
    assert slots <= {*RULES, "count"}


def test_every_alternative_is_in_the_spoken_form() -> None:
    for text in RULES.values():
        for alternative in text.split(" | "):
            assert is_spoken_form(re.sub(r"\{\w+\}", "x", alternative)), alternative


def test_lines_are_in_the_spoken_form() -> None:
    rng = random.Random(0)
    assert all(is_spoken_form(expand(kind, rng)) for kind in ("question", "report") for _ in range(500))


@pytest.mark.parametrize("text", ["CT scan", "c.t.", "3 mm", " two", "two  spaces", ""])
def test_other_text_is_not_in_the_spoken_form(text: str) -> None:
    assert not is_spoken_form(text)


@pytest.mark.parametrize(
    ("value", "spoken"),
    [(0, "zero"), (17, "seventeen"), (40, "forty"), (85, "eighty five"), (120, "one hundred twenty")],
)
def test_numbers_are_words(value: int, spoken: str) -> None:
    assert count_words(value) == spoken


def test_the_same_seed_says_the_same() -> None:
    first, second = random.Random(3), random.Random(3)
    assert [expand("question", first) for _ in range(20)] == [expand("question", second) for _ in range(20)]


def test_the_demo_is_held_out() -> None:
    assert all(is_held_out(text) and is_spoken_form(text) for text in DEMO_QUESTIONS)


def test_a_share_of_the_lines_is_held_out() -> None:
    rng = random.Random(0)
    lines = {expand("question", rng) for _ in range(3000)}
    assert 0.04 < sum(is_held_out(line) for line in lines) / len(lines) < 0.08


@needs_texts
def test_kinds_come_in_their_shares() -> None:
    writer = ScriptWriter(seed=0)
    kinds = [writer.line()[0] for _ in range(2000)]
    for kind, share in KIND_SHARES:
        assert kinds.count(kind) / len(kinds) == pytest.approx(share, abs=0.04)


@needs_texts
def test_general_lines_are_in_the_spoken_form() -> None:
    writer = ScriptWriter(seed=0)
    assert all(is_spoken_form(writer.line("general")[1]) for _ in range(500))


def test_a_missing_word_list_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dictation, "_FORTUNES", tmp_path)
    with pytest.raises(SetupError, match="literature") as caught:
        ScriptWriter(seed=0)
    assert "fortunes" in caught.value.fix


def test_no_held_out_voice_speaks_in_training() -> None:
    training = {voice for _, group in voices.TRAINING_MIX for voice in group}
    assert not any(voice.held_out for voice in training)
    assert not {voice.person for voice in training} & {"rms", "ked"}
    assert not {voice.name.partition("+")[2] for voice in training} & {
        voice.name.partition("+")[2] for voice in voices.ESPEAK_HELD_OUT
    }


def test_the_mix_is_whole() -> None:
    assert sum(share for share, _ in voices.TRAINING_MIX) == pytest.approx(1.0)


@needs_engines
@pytest.mark.parametrize("voice", [voices.SLT, voices.KED, voices.ESPEAK_HELD_OUT[0]], ids=lambda voice: voice.engine)
def test_engines_speak(voice: voices.Voice) -> None:
    sound = voices.speak("where is the liver lesion", voice)
    assert sound.dtype == np.float32
    assert 1.0 < len(sound) / voices.SAMPLE_RATE_HZ < 5.0
    assert 0.05 < np.abs(sound).max() <= 1.5


@needs_engines
def test_tape_speed_shortens() -> None:
    fast = voices.Delivery(rate=1.0, pitch=50, tape_speed=1.25)
    neutral = voices.speak("a small nodule", voices.SLT)
    assert len(voices.speak("a small nodule", voices.SLT, fast)) == pytest.approx(len(neutral) / 1.25, rel=0.02)


@pytest.mark.skipif(shutil.which("text2wave") is None, reason="festival is not installed")
def test_a_voice_that_is_not_installed() -> None:
    missing = voices.Voice(engine="festival", name="nobody", person="nobody")
    with pytest.raises(SetupError, match="nobody"):
        voices.speak("hello", missing)


def test_only_finished_shards_are_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "train-000.npy", np.arange(10, dtype=np.int16))
    row = '{"text": "t", "kind": "question", "split": "train", "voice": "v", "start": 2, "length": 3}\n'
    (tmp_path / "train-000.jsonl").write_text(row * 2)
    np.save(tmp_path / "train-001.npy", np.arange(10, dtype=np.int16))
    corpus = load_corpus(tmp_path, "train")
    assert len(corpus.lines) == 2
    assert corpus.samples(1).tolist() == [2, 3, 4]
