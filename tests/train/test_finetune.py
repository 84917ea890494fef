"""The fine-tuning loop on a tiny network: it learns, it can be cut and go on, and it guards against bad steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from torch.nn import functional

from medvox.data.manifest import Clip
from medvox.data.utterance import read_utterance
from medvox.errors import InputError, ModelError, UsageError
from medvox.models.conformer import EncoderConfig, LasrConfig, LasrForCTC
from medvox.models.speech_model import SpeechModel
from medvox.score.alignment import Counts
from medvox.train import finetune
from medvox.train.finetune import (
    PRESETS,
    Evaluation,
    FineTuner,
    FineTuning,
    Outcome,
    best_of,
    ctc_loss,
    learning_rate,
)
from medvox.train.finetune_augment import Effects
from medvox.train.finetune_data import Parts, spell
from medvox.train.vocabulary import learn_vocabulary

TEXTS = ("no nodule", "left lung", "small mass", "the liver is clear")
VOCABULARY = learn_vocabulary(list(TEXTS) * 20, 40)
QUICK = FineTuning(epochs=2, batch=2, accumulate=1, peak_rate=2e-3, warm_up_steps=2)


def tiny_model(dropout: float = 0.1) -> SpeechModel:
    torch.manual_seed(0)
    encoder = EncoderConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_kernel_size=8,
        subsampling_conv_channels=32,
        dropout=dropout,
        attention_dropout=dropout,
        activation_dropout=0.0,
        layerdrop=0.0,
        batch_norm_momentum=0.2,
    )
    size = VOCABULARY.get_vocab_size()
    network = LasrForCTC(LasrConfig(encoder_config=encoder, vocab_size=size)).eval()
    pieces = tuple(VOCABULARY.id_to_token(number) for number in range(size))
    return SpeechModel(network=network, pieces=pieces, name="tiny", sha256="abc", tokenizer=VOCABULARY)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Four texts, each letter a tone of its own; the same clips to learn from and to be judged on."""
    folder = tmp_path_factory.mktemp("clips")
    times = np.arange(1600) / 16_000
    clips = []
    for number, text in enumerate(TEXTS):
        tones = [0.4 * np.sin(2 * np.pi * (300 + 90 * (ord(letter) % 32)) * times) for letter in text]
        path = folder / f"{number}.wav"
        soundfile.write(path, np.concatenate(tones), 16_000)
        heard = read_utterance(path)
        clip = Clip(path=path, text=text, where=path.name, duration_s=heard.duration_s, sha256=heard.source.sha256)
        clips.append(clip)
    examples, bad = spell(clips, tiny_model())
    assert not bad
    return Parts(train=tuple(examples), validation=tuple(examples), test=())


def tune(
    parts: Parts,
    folder: Path,
    settings: FineTuning = QUICK,
    *,
    log: Callable[[str], None] = lambda line: None,
    workers: int = 0,
) -> tuple[dict[str, Tensor], Outcome, list[dict[str, Tensor]]]:
    """Weights at the end, the outcome, and the weights that were kept."""
    model, kept = tiny_model(), []

    def keep(network: LasrForCTC) -> None:
        kept.append({name: value.clone() for name, value in network.state_dict().items()})

    outcome = FineTuner(model, parts, settings, folder, workers=workers).run(keep, log)
    return model.network.state_dict(), outcome, kept


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_four_clips_are_learned_by_heart(parts: Parts, tmp_path: Path) -> None:
    settings = replace(QUICK, epochs=80, batch=4, peak_rate=1e-2, warm_up_steps=20)
    model = tiny_model(dropout=0.0)
    outcome = FineTuner(model, parts, settings, tmp_path).run(lambda network: None, lambda line: None)
    assert outcome.evaluations[0].wer >= 0.9
    assert outcome.best.wer == 0.0
    assert outcome.evaluations[-1].loss < 0.2 * outcome.evaluations[0].loss
    assert outcome.skipped == 0


@pytest.mark.parametrize("cut_at", ["step 1/", "step 3/", "epoch 1, step 2", "epoch 2, step 4"])
@pytest.mark.parametrize("effects", [None, Effects(speed=True, noise="made", rooms="made", masks=True)])
def test_a_run_that_was_cut_ends_as_one_that_was_not(
    parts: Parts, tmp_path: Path, cut_at: str, effects: Effects | None
) -> None:
    settings = replace(QUICK, epochs=3, effects=effects, save_every_s=0.0)
    whole, outcome, kept = tune(parts, tmp_path / "whole", settings)

    def cut(line: str) -> None:
        if cut_at in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(parts, tmp_path / "cut", settings, log=cut)
    lines: list[str] = []
    resumed, again, kept_again = tune(parts, tmp_path / "cut", settings, log=lines.append)
    assert any("goes on at" in line for line in lines)
    assert same(whole, resumed)
    assert again.evaluations == outcome.evaluations
    assert again.steps == outcome.steps == 6
    if kept and kept_again:
        assert same(kept[-1], kept_again[-1])


def test_reading_ahead_changes_nothing(parts: Parts, tmp_path: Path) -> None:
    settings = replace(QUICK, effects=Effects(speed=True, noise="made"))
    alone, _, _ = tune(parts, tmp_path / "alone", settings)
    ahead, _, _ = tune(parts, tmp_path / "ahead", settings, workers=2)
    assert same(alone, ahead)


def test_a_finished_run_goes_on_with_more_epochs(parts: Parts, tmp_path: Path) -> None:
    tune(parts, tmp_path, replace(QUICK, epochs=1))
    _, outcome, _ = tune(parts, tmp_path, replace(QUICK, epochs=3))
    assert [one.step for one in outcome.evaluations] == [0, 2, 4, 6]


def test_a_finished_run_is_not_trained_again(parts: Parts, tmp_path: Path) -> None:
    first, outcome, _ = tune(parts, tmp_path)
    second, again, kept = tune(parts, tmp_path)
    assert same(first, second)
    assert again == outcome
    assert not kept


@pytest.mark.parametrize("change", [{"peak_rate": 1e-4}, {"freeze": 1}, {"seed": 1}, {"effects": Effects(speed=True)}])
def test_another_run_is_not_mistaken_for_this_one(parts: Parts, tmp_path: Path, change: dict[str, object]) -> None:
    tune(parts, tmp_path, replace(QUICK, epochs=1))
    with pytest.raises(InputError) as refusal:
        tune(parts, tmp_path, replace(QUICK, **change))
    assert refusal.value.code == "E_CHECKPOINT_MISMATCH"


def test_other_recordings_are_another_run(parts: Parts, tmp_path: Path) -> None:
    tune(parts, tmp_path, replace(QUICK, epochs=1))
    with pytest.raises(InputError):
        tune(replace(parts, train=parts.train[1:]), tmp_path)


def test_batches_that_are_accumulated_teach_as_one(parts: Parts, tmp_path: Path) -> None:
    settings = replace(QUICK, epochs=1, warm_up_steps=0, clip_norm=1e9)
    state = {}
    for batch, accumulate in ((4, 1), (1, 4)):
        model = tiny_model(dropout=0.0)
        for module in model.network.modules():  # its statistics are those of the batch, whatever is accumulated
            if isinstance(module, torch.nn.BatchNorm1d):
                module.momentum = 0.0
        tuner = FineTuner(model, parts, replace(settings, batch=batch, accumulate=accumulate), tmp_path / str(batch))
        tuner._frozen = [module for module in model.network.modules() if isinstance(module, torch.nn.BatchNorm1d)]
        tuner.run(lambda network: None, lambda line: None)
        state[batch] = torch.cat([one.grad.flatten() for one in model.network.parameters() if one.grad is not None])
    torch.testing.assert_close(state[4], state[1], rtol=2e-3, atol=1e-4)


def test_frozen_blocks_stay_as_they_are(parts: Parts, tmp_path: Path) -> None:
    before = tiny_model().network.state_dict()
    after, _, _ = tune(parts, tmp_path, replace(QUICK, freeze=1))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith(("encoder.subsampler", "encoder.layers.0.")) for name in changed)
    assert any(name.startswith("encoder.layers.1.conv.norm.running_mean") for name in changed)
    assert any(name.startswith("ctc_head") for name in changed)


@pytest.mark.parametrize("blocks", [2, 17])
def test_not_everything_can_be_frozen(parts: Parts, tmp_path: Path, blocks: int) -> None:
    with pytest.raises(UsageError) as refusal:
        FineTuner(tiny_model(), parts, replace(QUICK, freeze=blocks), tmp_path)
    assert refusal.value.code == "E_FINETUNE_FREEZE"


def test_a_step_without_a_finite_loss_is_left_out_and_counted(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))
    original = FineTuner._loss

    def poisoned(self: FineTuner, batch: object) -> Tensor:
        loss = original(self, batch)  # type: ignore[arg-type]
        return loss * torch.nan if next(calls) == 1 else loss

    monkeypatch.setattr(FineTuner, "_loss", poisoned)
    lines: list[str] = []
    weights, outcome, _ = tune(parts, tmp_path, log=lines.append)
    assert (outcome.steps, outcome.skipped) == (4, 1)
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())
    assert any("1 steps skipped" in line for line in lines)


def test_a_run_that_diverged_stops(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "CONSECUTIVE_FAILURES", 2)
    original = FineTuner._loss
    monkeypatch.setattr(FineTuner, "_loss", lambda self, batch: original(self, batch) * torch.inf)
    with pytest.raises(ModelError) as refusal:
        tune(parts, tmp_path)
    assert refusal.value.code == "E_FINETUNE_DIVERGED"


def test_a_text_that_cannot_fit_is_no_silent_zero() -> None:
    loss = ctc_loss(torch.zeros(1, 3, 8), torch.tensor([3]), [[5, 5, 5]], 0)
    assert loss.item() == torch.inf


def test_the_loss_is_the_published_one() -> None:
    torch.manual_seed(1)
    logits, frames, targets = torch.randn(2, 20, 8), torch.tensor([20, 12]), [[5, 6, 6], [7]]
    single = [
        functional.ctc_loss(
            logits[row, : frames[row]].log_softmax(-1), torch.tensor(targets[row]), frames[row], torch.tensor(length)
        )
        for row, length in ((0, 3), (1, 1))
    ]
    assert ctc_loss(logits, frames, targets, 0).item() == pytest.approx(sum(map(float, single)) / 2, rel=1e-5)


def test_the_rate_rises_and_falls_as_the_published_schedule() -> None:
    transformers = pytest.importorskip("transformers")
    settings = replace(PRESETS["finetune.medasr"], warm_up_steps=30)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=settings.peak_rate)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 30, 100)
    for step in range(100):
        assert learning_rate(step, 100, settings) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        schedule.step()


def test_the_published_preset_is_the_published_recipe() -> None:
    preset = PRESETS["finetune.medasr"]
    assert (preset.peak_rate, preset.warm_up_steps, preset.batch, preset.accumulate) == (3e-5, 300, 8, 4)
    assert (preset.epochs, preset.effects, preset.freeze, preset.patience) == (35, None, 0, 0)


def evaluation(step: int, errors: int) -> Evaluation:
    counts = (Counts(correct=10 - errors, substitutions=errors),)
    return Evaluation(step=step, epoch=step, loss=1.0, counts=counts)


def test_the_first_of_the_best_is_the_best() -> None:
    history = [evaluation(0, 5), evaluation(1, 3), evaluation(2, 4), evaluation(3, 3)]
    assert best_of(history).step == 1


def test_the_best_is_kept_and_the_run_stops_early(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter([5, 6, 4, 4, 7, 1, 1, 1])
    monkeypatch.setattr(
        FineTuner, "_evaluate", lambda self: evaluation(int(self._state.progress["step"]), next(errors))
    )
    lines: list[str] = []
    _, outcome, kept = tune(parts, tmp_path, replace(QUICK, epochs=8, patience=2), log=lines.append)
    assert [one.counts[0].errors for one in outcome.evaluations] == [5, 6, 4, 4, 7]
    assert len(kept) == 1
    assert outcome.best.step == 4
    assert "stopped early" in lines[-1]


def test_too_long_a_warm_up_is_said(parts: Parts, tmp_path: Path) -> None:
    lines: list[str] = []
    tune(parts, tmp_path, replace(QUICK, epochs=1, warm_up_steps=300), log=lines.append)
    assert any("the warm-up takes 300 of 2 steps" in line for line in lines)


def test_progress_lines_tell_the_time_left(parts: Parts, tmp_path: Path) -> None:
    lines: list[str] = []
    tune(parts, tmp_path, log=lines.append)
    assert any(line.startswith("epoch 1/2 step 1/4 loss ") and " left" in line for line in lines)


def test_the_run_folder_holds_no_text(parts: Parts, tmp_path: Path) -> None:
    tune(parts, tmp_path)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not any(text.encode() in content for text in TEXTS)
    assert len(json.loads((tmp_path / "history.json").read_text())) == 3
