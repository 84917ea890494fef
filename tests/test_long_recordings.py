"""Long recordings in ``transcribe``: nothing lost, silence passed over, little memory, on after an interruption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from torch import Tensor, nn

from medvox import dictate
from medvox.catalog import DEFAULT_ASR, WEIGHTS
from medvox.dictate import transcribe
from medvox.models.speech_model import SpeechModel, load_speech_model

QUESTION = Path(__file__).parents[1] / "src" / "medvox" / "samples" / "question.wav"
SAID = "which body region does this c t scan show"
RATE_HZ = 16_000


class Counting(nn.Module):
    """The network, which counts the windows that it hears, and breaks down at one of them."""

    def __init__(self, network: nn.Module, breaks_at: int = -1) -> None:
        super().__init__()
        self.network, self.config = network, network.config
        self.breaks_at, self.heard = breaks_at, 0

    def forward(self, features: Tensor) -> Tensor:
        if self.heard == self.breaks_at:
            raise KeyboardInterrupt
        self.heard += 1
        logits: Tensor = self.network(features)
        return logits


@pytest.fixture(scope="module")
def model() -> SpeechModel:
    return load_speech_model(WEIGHTS / DEFAULT_ASR)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDVOX_CACHE", str(tmp_path / "cache"))


def counted(model: SpeechModel, breaks_at: int = -1) -> SpeechModel:
    return replace(model, network=Counting(model.network, breaks_at))  # type: ignore[arg-type]


def recording(path: Path, *gaps_s: float) -> Path:
    """The question after each of the gaps of a quiet room."""
    question, _ = soundfile.read(QUESTION, dtype="float32")
    rng = np.random.default_rng(0)
    parts = []
    for gap_s in gaps_s:
        parts += [(3e-4 * rng.standard_normal(round(gap_s * RATE_HZ))).astype(np.float32), question]
    soundfile.write(path, np.concatenate(parts), RATE_HZ)
    return path


def test_windows_in_which_nothing_stirs_are_passed_over(model: SpeechModel, tmp_path: Path) -> None:
    counting = counted(model)
    transcript = transcribe(recording(tmp_path / "a.wav", 1.0, 120.0), counting)
    assert transcript.raw_text == f"{SAID} {SAID}"
    assert counting.network.heard <= 4  # of 9
    assert transcript.words[9].start_s == pytest.approx(121 + soundfile.info(QUESTION).duration, abs=1.0)


def test_an_interrupted_run_goes_on_where_it_stopped(model: SpeechModel, tmp_path: Path) -> None:
    path = recording(tmp_path / "a.wav", *[1.5] * 140)  # ten minutes
    whole = counted(model)
    expected = transcribe(path, whole)
    broken = counted(model, breaks_at=whole.network.heard - 5)
    with pytest.raises(KeyboardInterrupt):
        transcribe(path, broken)
    (kept,) = (tmp_path / "cache").rglob("*.rows")
    assert kept.stat().st_mode & 0o077 == 0
    after = counted(model)
    assert transcribe(path, after).words == expected.words
    assert after.network.heard <= 6
    assert not kept.exists()


def test_a_short_recording_leaves_no_trace(model: SpeechModel, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        transcribe(recording(tmp_path / "a.wav", 1.0, 30.0), counted(model, breaks_at=0))
    assert list((tmp_path / "cache").rglob("*")) == []


def test_stretches_are_decoded_as_the_whole(
    model: SpeechModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recording(tmp_path / "a.wav", *[2.0] * 20)
    greedy = dictate.Decoding(method="greedy")
    parts = transcribe(path, model, decoding=greedy)
    monkeypatch.setattr(dictate, "stretches", lambda rows, blank: [(0, len(rows))])
    whole = transcribe(path, model, decoding=greedy)
    assert parts.words == whole.words


def test_clatter_is_not_taken_for_words(model: SpeechModel, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    clatter = np.repeat(rng.choice([0.0, 0.02, 0.3], 200), 1600) * rng.standard_normal(320_000) * 0.3
    soundfile.write(tmp_path / "a.wav", clatter, RATE_HZ)
    transcript = transcribe(tmp_path / "a.wav", model)
    assert transcript.words == ()
    assert [flag.code for flag in transcript.flags if flag.code.startswith("F_NO")] == ["F_NO_SPEECH"]
