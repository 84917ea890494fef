"""The speech trainer on a corpus of tones: features, curriculum, resuming, vocabulary and scoring."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from medvox.encode.speech import log_mel
from medvox.models.weights import load_speech
from medvox.train import speech
from medvox.train.speech import Batcher, SpeechRun, Stage, averaged_model, new_state, train_speech
from medvox.train.speech_augment import FULL, batch_features
from medvox.train.speech_export import TrainingFacts, write_card, write_weights
from medvox.train.speech_score import EvaluationSet, Score, model_recogniser, normalise, score
from medvox.train.vocabulary import CONTROL_TOKENS, learn_vocabulary

LINES = ("where is the lesion", "is there a nodule", "what does this c t scan show", "don't breathe", "show the liver")
VOCABULARY = learn_vocabulary(LINES * 20, 48)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Five lines of one second each, spoken as tones."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    times = np.arange(16_000) / 16_000
    tones = [8000 * np.sin(2 * np.pi * (200 + 150 * number) * times) for number in range(len(LINES))]
    np.save(folder / "train-000.npy", np.concatenate(tones).astype(np.int16))
    rows = [
        {
            "text": text,
            "kind": "question",
            "split": "train",
            "voice": "flite slt",
            "start": 16_000 * i,
            "length": 16_000,
        }
        for i, text in enumerate(LINES)
    ]
    (folder / "train-000.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = (
        Stage(leave_below=0.1, longest_s=2.0, batch_s=3, augmentation=None),
        Stage(leave_below=0.0, longest_s=2.0, batch_s=3, augmentation=FULL),
    )
    monkeypatch.setattr(speech, "STAGES", stages)


def sound(seconds: float = 1.0, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 0.1, int(seconds * 16_000)).astype(np.float32))


def test_clean_features_equal_the_front_end() -> None:
    short, long = sound(0.7), sound(1.0, seed=1)
    features, lengths = batch_features([short, long], None, random.Random(0))
    assert lengths.tolist() == [68, 98]
    np.testing.assert_allclose(features[0, :68].numpy(), log_mel(short.numpy()), atol=1e-3)
    np.testing.assert_allclose(features[1].numpy(), log_mel(long.numpy()), atol=1e-3)


def test_augmented_features_are_finite_and_differ() -> None:
    clean, _ = batch_features([sound()], None, random.Random(0))
    for seed in range(10):
        augmented, _ = batch_features([sound()], FULL, random.Random(seed))
        assert torch.isfinite(augmented).all()
        assert not torch.allclose(augmented, clean)


def test_the_vocabulary_spells_every_line() -> None:
    assert [VOCABULARY.id_to_token(number) for number in range(4)] == list(CONTROL_TOKENS)
    for line in (*LINES, "quartz jam"):
        ids = VOCABULARY.encode(line, add_special_tokens=False).ids
        assert VOCABULARY.decode(ids) == line
        assert min(ids) > 3


def test_a_batch_holds_what_is_said(corpus: Path) -> None:
    batcher = Batcher(speech.load_corpus(corpus, "train"), VOCABULARY, random.Random(0))
    sounds, targets = batcher.draw(Stage(leave_below=0, longest_s=2, batch_s=3, augmentation=None))
    assert len(sounds) == len(targets) == 3
    assert all(VOCABULARY.decode(target) in LINES for target in targets)


def test_a_joined_batch_says_several_lines(corpus: Path) -> None:
    batcher = Batcher(speech.load_corpus(corpus, "train"), VOCABULARY, random.Random(0))
    _, targets = batcher.draw(Stage(leave_below=0, longest_s=2, batch_s=3, augmentation=None, joined=1.0))
    assert all(len(VOCABULARY.decode(target)) > max(map(len, LINES)) or target for target in targets)
    assert any(VOCABULARY.decode(target) not in LINES for target in targets)


@pytest.mark.usefixtures("small_batches")
def test_training_is_resumed(corpus: Path) -> None:
    lines: list[str] = []
    train_speech(SpeechRun(minutes=0.01, log_every_steps=1), corpus.parent, VOCABULARY, lines.append)
    assert "step 1 " in lines[0]
    again: list[str] = []
    train_speech(SpeechRun(minutes=0.02, log_every_steps=1), corpus.parent, VOCABULARY, again.append)
    assert again[0].startswith("resumed at step")


@pytest.mark.usefixtures("small_batches")
def test_the_curriculum_goes_on_by_the_loss(corpus: Path) -> None:
    run = SpeechRun(minutes=1)
    state = new_state(run, VOCABULARY.get_vocab_size())
    batcher = Batcher(speech.load_corpus(corpus, "train"), VOCABULARY, state.rng)
    tap = speech._InnerTap(state.module)
    speech._step(run, state, batcher, tap)
    assert state.progress["stage"] == 0
    state.progress["loss"] = -5.0
    speech._step(run, state, batcher, tap)
    assert state.progress["stage"] == 1


def test_what_is_exported_is_loaded(tmp_path: Path) -> None:
    model = averaged_model(new_state(SpeechRun(minutes=1), VOCABULARY.get_vocab_size()))
    write_weights(model, VOCABULARY, tmp_path)
    facts = TrainingFacts(corpus_lines=1, corpus_hours=1.0, seen_hours=1.0, cpu_minutes=1.0, steps=1)
    row = Score(
        title="a set",
        recogniser="us",
        lines=1,
        exact=0,
        words=4,
        word_error_rate=50.0,
        low=20.0,
        high=80.0,
        letter_error_rate=20.0,
        peer_lines=50.0,
        terms={"number": 25.0},
    )
    write_card(model, facts, [row], {"medvox-mini-asr": 0.0}, tmp_path)
    loaded = load_speech(tmp_path)
    given = batch_features([sound()], None, random.Random(0))[0]
    with torch.inference_mode():
        torch.testing.assert_close(loaded(given), model(given), atol=0.05, rtol=0.05)
    assert next(loaded.parameters()).dtype == torch.float32
    card = (tmp_path / "README.md").read_text()
    assert "Not for clinical use" in card
    assert "| a set | us | 1 | 50.0 (20.0 to 80.0) | 50.0 | 20.0 | 0 |" in card
    assert json.loads((tmp_path / "evaluation.json").read_text())["scores"][0]["words"] == 4


def test_normalising() -> None:
    assert normalise("This C.T. scan, isn't it?\n") == "this ct scan isn't it"


def test_scoring() -> None:
    tested = EvaluationSet(title="t", references=("a b c", "d e"), sounds=(np.zeros(1), np.ones(1)))
    heard = score("us", lambda samples: "a b" if samples[0] == 0 else "D e.", tested)
    assert (heard.lines, heard.exact, heard.words, heard.word_error_rate) == (2, 1, 5, 20.0)


def test_the_recogniser_takes_the_shipped_path() -> None:
    model = averaged_model(new_state(SpeechRun(minutes=1), VOCABULARY.get_vocab_size()))
    assert "<" not in model_recogniser(model, VOCABULARY)(sound().numpy())
