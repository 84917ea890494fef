"""Trains a small LASR model on a spoken corpus: CTC, curriculum gated on the loss, averaged weights, resumable.

CTC first learns to say nothing (the blank plateau). The curriculum leaves it with short clean lines of two voices,
and goes on only when the loss has fallen, never by the clock. Next in the path: ``train/speech_export``.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from medvox.models.conformer import EncoderConfig, LasrConfig, LasrForCTC
from medvox.synth.corpus import Corpus, load_corpus
from medvox.synth.voices import SAMPLE_RATE_HZ
from medvox.train.checkpoint import TrainingState, resume_checkpoint, save_checkpoint
from medvox.train.speech_augment import FULL, MILD, Augmentation, batch_features

Log = Callable[[str], None]

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One step of the curriculum. The next begins when the running loss falls below ``leave_below``."""

    leave_below: float
    longest_s: float
    batch_s: float
    augmentation: Augmentation | None
    voices: tuple[str, ...] = ()
    joined: float = 0.0


STAGES = (
    Stage(leave_below=1.2, longest_s=2.6, batch_s=24, augmentation=None, voices=("flite slt", "flite awb")),
    Stage(leave_below=0.6, longest_s=5.0, batch_s=36, augmentation=MILD),
    Stage(leave_below=0.0, longest_s=9.0, batch_s=48, augmentation=FULL, joined=0.12),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeechRun:
    """Settings of one training run. ``minutes`` counts processor time of this process, over all its resumptions."""

    minutes: float
    peak_rate: float = 1.5e-3
    warm_up_steps: int = 400
    weight_decay: float = 0.02
    average_decay: float = 0.999
    inner_weight: float = 0.3
    checkpoint_every_s: float = 150.0
    log_every_steps: int = 50
    seed: int = 7


MINI_ENCODER = EncoderConfig(
    hidden_size=144,
    num_hidden_layers=6,
    num_attention_heads=4,
    intermediate_size=576,
    conv_kernel_size=16,
    subsampling_conv_channels=144,
    dropout=0.05,
    activation_dropout=0.0,
    attention_dropout=0.0,
    layerdrop=0.0,
)


class Batcher:
    """Draws batches of a stage: recordings with random margins, and their token ids.

    In some batches every recording is several lines, one after the other.
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, rng: random.Random) -> None:
        self._corpus = corpus
        self._ids = [tokenizer.encode(line.text, add_special_tokens=False).ids for line in corpus.lines]
        self._rng = rng
        self._of_stage: dict[Stage, list[int]] = {}

    def draw(self, stage: Stage) -> tuple[list[Tensor], list[list[int]]]:
        """Recordings of about ``batch_s`` seconds altogether, of similar length."""
        wanted = self._wanted(stage)
        pool = self._rng.sample(wanted, min(64, len(wanted)))
        pool.sort(key=lambda index: self._corpus.lines[index].length)
        start = self._rng.randrange(len(pool))
        picked: list[list[int]] = []
        total = 0
        joined = self._rng.random() < stage.joined  # all of the batch or none, so that little is padding
        for index in [*pool[start:], *reversed(pool[:start])]:
            group = [index]
            if joined:
                group += self._rng.sample(wanted, self._rng.randint(1, 3))
            picked.append(group)
            total += sum(self._corpus.lines[one].length for one in group)
            if total >= stage.batch_s * SAMPLE_RATE_HZ:
                break
        sounds = [self._sound(group) for group in picked]
        return sounds, [[token for one in group for token in self._ids[one]] for group in picked]

    def _wanted(self, stage: Stage) -> list[int]:
        if stage not in self._of_stage:
            self._of_stage[stage] = [
                index
                for index, line in enumerate(self._corpus.lines)
                if line.length <= stage.longest_s * SAMPLE_RATE_HZ and (not stage.voices or line.voice in stage.voices)
            ]
        return self._of_stage[stage]

    def _sound(self, group: list[int]) -> Tensor:
        parts = [torch.zeros(self._rng.randint(0, 6400))]
        for index in group:
            parts.append(torch.from_numpy(self._corpus.samples(index).astype("float32") / 32768))
            parts.append(torch.zeros(self._rng.randint(0, 6400)))
        return torch.cat(parts)


def train_speech(run: SpeechRun, folder: Path, tokenizer: Tokenizer, log: Log) -> LasrForCTC:
    """Trains, or goes on, until ``run.minutes`` of processor time are used.

    Args:
        run: the settings.
        folder: holds ``corpus/`` (made by ``synth/corpus``) and the checkpoint.
        tokenizer: the output vocabulary.
        log: receives progress lines.

    Returns:
        the network with averaged weights, in evaluation mode.
    """
    torch.manual_seed(run.seed)
    state = new_state(run, tokenizer.get_vocab_size())
    if resume_checkpoint(folder / CHECKPOINT, state):
        log(f"resumed at step {state.progress['step']:.0f}")
    batcher = Batcher(load_corpus(folder / "corpus", "train"), tokenizer, state.rng)
    inner = _InnerTap(state.module)
    saved = time.monotonic()
    while state.progress["cpu_s"] < run.minutes * 60:
        _step(run, state, batcher, inner)
        if state.progress["step"] % run.log_every_steps == 0:
            log(_progress_line(run, state))
        if time.monotonic() - saved > run.checkpoint_every_s:
            save_checkpoint(folder / CHECKPOINT, state)
            saved = time.monotonic()
    save_checkpoint(folder / CHECKPOINT, state)
    inner.remove()
    return averaged_model(state)


def new_state(run: SpeechRun, vocab_size: int) -> TrainingState:
    """A fresh network with its optimizer. The head starts without a preference for the blank."""
    model = LasrForCTC(LasrConfig(encoder_config=MINI_ENCODER, vocab_size=vocab_size))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=run.peak_rate, betas=(0.9, 0.98), weight_decay=run.weight_decay
    )
    return TrainingState(
        module=model,
        optimizer=optimizer,
        rng=random.Random(run.seed),
        averaged={name: value.clone() for name, value in model.state_dict().items()},
        progress={"step": 0, "cpu_s": 0.0, "audio_s": 0.0, "loss": 5.0, "stage": 0},
    )


def averaged_model(state: TrainingState) -> LasrForCTC:
    """The network with the averaged weights, in evaluation mode."""
    assert isinstance(state.module, LasrForCTC)
    model = LasrForCTC(state.module.config)
    model.load_state_dict(state.averaged)
    return model.eval()


class _InnerTap:
    """Keeps the output of the middle block, for an auxiliary CTC loss through the shared head."""

    def __init__(self, model: nn.Module) -> None:
        assert isinstance(model, LasrForCTC)
        self.hidden = torch.zeros(0)
        middle = model.encoder.layers[len(model.encoder.layers) // 2 - 1]
        self._handle = middle.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.hidden = output

    def remove(self) -> None:
        """Takes the tap off the network."""
        self._handle.remove()


def _step(run: SpeechRun, state: TrainingState, batcher: Batcher, inner: _InnerTap) -> None:
    started = time.process_time()
    model, progress = state.module, state.progress
    assert isinstance(model, LasrForCTC)
    stage = STAGES[int(progress["stage"])]
    sounds, targets = batcher.draw(stage)
    features, lengths = batch_features(sounds, stage.augmentation, state.rng)
    model.train()
    # on CPU the plain attention is several times faster in bfloat16 than the fused one
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        logits = model(features, lengths)
        inner_logits = model.ctc_head(inner.hidden)
    frames = model.output_lengths(lengths)
    loss = ctc_loss(logits, frames, targets)
    total = (1 - run.inner_weight) * loss + run.inner_weight * ctc_loss(inner_logits, frames, targets)
    for group in state.optimizer.param_groups:
        group["lr"] = _rate(run, progress)
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()
    if bool(torch.isfinite(nn.utils.clip_grad_norm_(model.parameters(), 1.0))):
        state.optimizer.step()
        _average(state, run.average_decay)
    progress["step"] += 1
    progress["audio_s"] += sum(len(sound) for sound in sounds) / SAMPLE_RATE_HZ
    progress["loss"] += 0.02 * (loss.item() - progress["loss"])
    if progress["loss"] < stage.leave_below:
        progress["stage"] += 1
        progress["loss"] = max(progress["loss"], STAGES[int(progress["stage"])].leave_below + 0.5)
    progress["cpu_s"] += time.process_time() - started


def ctc_loss(logits: Tensor, frames: Tensor, targets: list[list[int]]) -> Tensor:
    """CTC loss as transformers computes it: per target token, mean over the batch, blank 0."""
    return functional.ctc_loss(
        logits.float().log_softmax(dim=-1).transpose(0, 1),
        torch.tensor([token for target in targets for token in target]),
        frames,
        torch.tensor([len(target) for target in targets]),
        blank=0,
        zero_infinity=True,
    )


def _rate(run: SpeechRun, progress: dict[str, float]) -> float:
    """Linear warm-up, then a cosine to 2 % at the end of the budget."""
    warm = min(1.0, (progress["step"] + 1) / run.warm_up_steps)
    used = min(1.0, progress["cpu_s"] / (run.minutes * 60))
    return run.peak_rate * warm * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * used)))


@torch.no_grad()
def _average(state: TrainingState, decay: float) -> None:
    decay = min(decay, (state.progress["step"] + 1) / (state.progress["step"] + 10))
    for name, value in state.module.state_dict().items():
        if value.dtype.is_floating_point:
            state.averaged[name].lerp_(value, 1 - decay)
        else:
            state.averaged[name].copy_(value)


def _progress_line(run: SpeechRun, state: TrainingState) -> str:
    progress = state.progress
    return (
        f"step {progress['step']:.0f} stage {progress['stage']:.0f} loss {progress['loss']:.3f}"
        f" seen {progress['audio_s'] / 3600:.2f} h cpu {progress['cpu_s'] / 60:.1f} of {run.minutes:.0f} min"
        f" rate {_rate(run, progress):.1e} {progress['audio_s'] / max(progress['cpu_s'], 1):.0f} audio-s/s"
    )
