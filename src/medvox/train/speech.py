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
LONGEST_JOINED_S = 20.0  # what the product hears in one go
HUMAN_REPEATS = 4  # recordings of people are few: each is drawn this often as a synthetic line


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One step of the curriculum. The next begins when the running loss falls below ``leave_below``.

    Attributes:
        leave_below: running loss that ends the stage.
        longest_s: longer lines wait for a later stage.
        batch_s: sound in a batch.
        augmentation: see ``train/speech_augment``; none when None.
        voices: who speaks; all when empty.
        joined: share of the batches whose recordings are several lines with pauses, up to ``LONGEST_JOINED_S``.
        wordless: share of the recordings that hold only silence, noise or hum, and no word.
    """

    leave_below: float
    longest_s: float
    batch_s: float
    augmentation: Augmentation | None
    voices: tuple[str, ...] = ()
    joined: float = 0.0
    wordless: float = 0.0


STAGES = (
    Stage(leave_below=1.2, longest_s=2.6, batch_s=24, augmentation=None, voices=("flite slt", "flite awb")),
    Stage(leave_below=0.6, longest_s=5.0, batch_s=36, augmentation=MILD),
    Stage(leave_below=0.0, longest_s=16.0, batch_s=50, augmentation=FULL, joined=0.3, wordless=0.03),
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

    In some batches every recording is several lines of one voice, one after the other, with pauses.
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, rng: random.Random) -> None:
        self._corpus = corpus
        self._ids = [tokenizer.encode(line.text, add_special_tokens=False).ids for line in corpus.lines]
        self._rng = rng
        self._of_stage: dict[Stage, list[int]] = {}
        self._of_voice: dict[str, list[int]] = {}
        for index, line in enumerate(corpus.lines):
            self._of_voice.setdefault(line.voice, []).append(index)

    def draw(self, stage: Stage) -> tuple[list[Tensor], list[list[int]]]:
        """Recordings of about ``batch_s`` seconds altogether, of similar length."""
        wanted = self._wanted(stage)
        pool = self._rng.sample(wanted, min(64, len(wanted)))
        pool.sort(key=lambda index: self._corpus.lines[index].length)
        start = self._rng.randrange(len(pool))
        picked: list[list[int]] = []
        total = 0
        joined = self._rng.random() < stage.joined  # all of the batch or none, so that little is padding
        wanted_s = self._rng.uniform(7.0, LONGEST_JOINED_S) if joined else 0.0
        for index in [*pool[start:], *reversed(pool[:start])]:
            group = self._joined(index, wanted_s)
            picked.append(group)
            total += self._length(group)
            if total >= stage.batch_s * SAMPLE_RATE_HZ:
                break
        sounds = [self._sound(group, long=joined) for group in picked]
        targets = [[token for one in group for token in self._ids[one]] for group in picked]
        for row, sound in enumerate(sounds):
            if self._rng.random() < stage.wordless:
                sounds[row], targets[row] = wordless_sound(len(sound), self._rng), []
        return sounds, targets

    def _wanted(self, stage: Stage) -> list[int]:
        if stage not in self._of_stage:
            longest = stage.longest_s * SAMPLE_RATE_HZ
            self._of_stage[stage] = [
                index
                for index, line in enumerate(self._corpus.lines)
                if line.length <= longest and (not stage.voices or line.voice in stage.voices)
                for _ in range(HUMAN_REPEATS if line.voice.startswith("human ") else 1)
            ]
        return self._of_stage[stage]

    def _joined(self, first: int, wanted_s: float) -> list[int]:
        """The line, and others of its voice as long as the wanted length allows."""
        group = [first]
        others = self._of_voice[self._corpus.lines[first].voice]
        for _ in range(8):
            another = self._rng.choice(others)
            if self._length([*group, another]) <= wanted_s * SAMPLE_RATE_HZ:
                group.append(another)
        return group

    def _length(self, group: list[int]) -> int:
        return sum(self._corpus.lines[one].length for one in group)

    def _sound(self, group: list[int], *, long: bool) -> Tensor:
        parts = [self._pause(long=long)]
        for index in group:
            parts.append(torch.from_numpy(self._corpus.samples(index).astype("float32") / 32768))
            parts.append(self._pause(long=long))
        return torch.cat(parts)

    def _pause(self, *, long: bool) -> Tensor:
        """A short pause, seldom a long one; where the recording is long, sometimes with noise or hum of its own."""
        rng = self._rng
        seconds = rng.uniform(0.0, 0.4) if rng.random() < (0.75 if long else 0.9) else rng.uniform(0.4, 1.8)
        samples = int(seconds * SAMPLE_RATE_HZ)
        return wordless_sound(samples, rng) if long and rng.random() < 0.15 else torch.zeros(samples)


def wordless_sound(samples: int, rng: random.Random) -> Tensor:
    """Silence, faint noise, mains hum, a tone, knocks or rustling, from inaudible to loud: nobody says anything."""
    kind = rng.choice(("silence", "noise", "hum", "tone", "hum and noise", "knocks", "knocks", "rustling"))
    level = 10 ** (rng.uniform(-75, -18) / 20)
    times = torch.arange(samples) / SAMPLE_RATE_HZ
    sound = torch.zeros(samples)
    if "noise" in kind:
        sound += level * torch.randn(samples)
    if "hum" in kind:
        mains_hz = rng.choice((50.0, 60.0, 100.0, 120.0))
        for harmonic in range(1, rng.randint(2, 8)):
            sound += level / harmonic * torch.sin(2 * math.pi * mains_hz * harmonic * times + rng.uniform(0, 6.3))
    if kind == "tone":
        sound += level * torch.sin(2 * math.pi * rng.uniform(150, 3500) * times)
    if kind in {"knocks", "rustling"}:
        _add_knocks(sound, rng, ringing=kind == "knocks")
    return sound


def _add_knocks(sound: Tensor, rng: random.Random, *, ringing: bool) -> None:
    """Steps, knocks, keys, paper: bursts of noise that fade, about in a rhythm, some with what they set ringing."""
    times = torch.arange(SAMPLE_RATE_HZ // 2) / SAMPLE_RATE_HZ
    level, gap_s, at = 10 ** (rng.uniform(-30, -6) / 20), rng.uniform(0.12, 1.2), 0
    while at < len(sound):
        burst = rng.uniform(0.02, 0.5) * torch.randn(len(times)) * torch.exp(-rng.uniform(8, 200) * times)
        for _ in range(rng.randint(1, 4) if ringing else 0):
            wave = torch.sin(2 * math.pi * rng.uniform(50, 1500) * times)
            burst += rng.uniform(0.1, 1.0) * wave * torch.exp(-rng.uniform(10, 90) * times)
        here = sound[at : at + len(times)]
        here += level * rng.uniform(0.3, 1.0) * burst[: len(here)]
        at += int(gap_s * rng.uniform(0.6, 1.4) * SAMPLE_RATE_HZ)


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
    shards = _shards(folder)
    inner = _InnerTap(state.module)
    saved = time.monotonic()
    while state.progress["cpu_s"] < run.minutes * 60:
        _step(run, state, batcher, inner)
        if state.progress["step"] % run.log_every_steps == 0:
            log(_progress_line(run, state))
        if time.monotonic() - saved > run.checkpoint_every_s:
            save_checkpoint(folder / CHECKPOINT, state)
            saved = time.monotonic()
            if _shards(folder) != shards:  # more has been spoken meanwhile
                shards = _shards(folder)
                batcher = Batcher(load_corpus(folder / "corpus", "train"), tokenizer, state.rng)
                log(f"{shards} shards")
    save_checkpoint(folder / CHECKPOINT, state)
    inner.remove()
    return averaged_model(state)


def _shards(folder: Path) -> int:
    return len(list((folder / "corpus").glob("train*.jsonl")))


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
