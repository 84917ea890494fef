"""Goes on training a speech model on a user's recordings: the published recipe, guarded, resumable, best by WER.

After ``train/finetune_data``; next in the path: ``train/finetune_export``. Knows no manifest and no model card. On a
CPU a run that was cut and goes on ends with the same weights as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from medvox.errors import InputError, ModelError, UsageError
from medvox.models.conformer import LasrForCTC
from medvox.models.ctc import greedy
from medvox.models.speech_model import SpeechModel
from medvox.parse.transcript import raw_text, words_from_tokens
from medvox.score.alignment import Counts
from medvox.score.wer import interval, score_texts
from medvox.train.checkpoint import TrainingState, resume_checkpoint, save_checkpoint
from medvox.train.finetune_augment import Effects
from medvox.train.finetune_data import Batch, Example, Loader, Parts, epoch_batches

Log = Callable[[str], None]

CHECKPOINT, HISTORY, RUN = "last.safetensors", "history.json", "run.json"
CONSECUTIVE_FAILURES = 10  # steps in a row without a finite loss
LINES_AN_EPOCH = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class FineTuning:
    """Settings of a run; the defaults are those of MedASR's notebook and of the trainer that it uses.

    Attributes:
        epochs: passes over the material. The notebook makes 5 and goes on to 35.
        batch: clips of one forward pass.
        accumulate: batches of one step.
        peak_rate: highest learning rate; it rises for ``warm_up_steps`` and falls in a line to 0.
        weight_decay: of AdamW.
        clip_norm: longest gradient.
        patience: evaluations without a better one after which the run ends; 0: never.
        freeze: the subsampling and so many blocks from below stay as they are, batch norms included.
        effects: what is done to the recordings; None: nothing.
        normaliser: by which words are compared. The notebook's own rule deletes marks, so that 3.5 equals 35.
        seed: of the order, the dropout and the effects.
        save_every_s: between checkpoints; one is also written after each epoch.
    """

    epochs: int = 35
    batch: int = 8
    accumulate: int = 4
    peak_rate: float = 3e-5
    warm_up_steps: int = 300
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    patience: int = 0
    freeze: int = 0
    effects: Effects | None = None
    normaliser: str = "quick-start"
    seed: int = 42
    save_every_s: float = 120.0


PRESETS = {
    "finetune.medasr": FineTuning(),
    # for medvox-mini-asr, which learns faster, and for few recordings; not tried on MedASR
    "finetune.small": FineTuning(
        epochs=15, accumulate=1, peak_rate=3e-4, warm_up_steps=50, patience=5, effects=Effects(speed=True, masks=True)
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How the validation part was heard after so many steps. ``counts`` are the word errors of each clip."""

    step: int
    epoch: int
    loss: float
    counts: tuple[Counts, ...]

    @property
    def wer(self) -> float:
        """Word errors per word of the validation part."""
        return sum(self.counts, Counts()).rate

    def __str__(self) -> str:
        bounds = interval(self.counts)
        return (
            f"epoch {self.epoch}, step {self.step}: validation WER {100 * self.wer:.1f} % "
            f"({100 * bounds.low:.1f} to {100 * bounds.high:.1f}), loss {self.loss:.3f}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a finished run did. The first evaluation is that of the base model."""

    evaluations: tuple[Evaluation, ...]
    steps: int
    skipped: int
    heard_hours: float
    seconds: float

    @property
    def best(self) -> Evaluation:
        """The first of the best; the base model's where nothing was better."""
        return best_of(self.evaluations)


def best_of(evaluations: Sequence[Evaluation]) -> Evaluation:
    """The evaluation with the fewest word errors, the first where several have."""
    return min(evaluations, key=lambda one: (one.wer, one.step))


class FineTuner:
    """One run over one model. The network of the model is changed in place."""

    def __init__(self, model: SpeechModel, parts: Parts, settings: FineTuning, folder: Path, *, workers: int = 0):
        """Prepares the run.

        Args:
            model: the base.
            parts: the material.
            settings: of the run.
            folder: of the checkpoint and the history.
            workers: threads that read recordings ahead.

        Raises:
            UsageError: ``E_FINETUNE_FREEZE``, as many blocks are to be frozen as there are, or more.
            InputError: ``E_CHECKPOINT_MISMATCH``, the folder holds another run.
        """
        self._model, self._parts, self._settings, self._folder = model, parts, settings, folder
        self._device = next(model.network.parameters()).device
        self._mixed = self._device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        self._loader = Loader(model.network, settings.effects, seed=settings.seed, workers=workers)
        self._plain = Loader(model.network, None, workers=workers)
        self._frozen = _freeze(model.network, settings.freeze)
        learned = [one for one in model.network.parameters() if one.requires_grad]
        optimizer = torch.optim.AdamW(learned, lr=settings.peak_rate, weight_decay=settings.weight_decay)
        self._learned = learned
        self._state = TrainingState(
            module=model.network,
            optimizer=optimizer,
            rng=random.Random(settings.seed),
            averaged={},
            progress=dict.fromkeys(("step", "epoch", "epoch_step", "skipped", "failures", "audio_s", "seconds"), 0.0),
        )
        self._epoch_steps = math.ceil(len(parts.train) / (settings.batch * settings.accumulate))
        self._session = (0, 0.0)  # steps and seconds of this process, for the time left
        self._evaluation_s = 0.0
        same_run(folder, self._fingerprint())

    def run(self, keep: Callable[[LasrForCTC], None], log: Log) -> Outcome:
        """Trains to the end, or goes on where the run stood.

        Args:
            keep: is given the network whenever it is the best so far, so that it can be written.
            log: receives progress lines.

        Raises:
            InputError: ``E_CLIP_CHANGED``, and what reading a checkpoint raises.
            ModelError: ``E_FINETUNE_DIVERGED``, the loss is not finite any more.
        """
        resumed = resume_checkpoint(self._folder / CHECKPOINT, self._state)
        progress = self._state.progress
        history = [one for one in self._history() if one.step <= progress["step"]] if resumed else []
        if resumed:
            log(f"goes on at epoch {progress['epoch']:.0f}, step {progress['step']:.0f}")
        if not history:
            history = [self._evaluate()]
            log(f"before training, {history[0]}")
            self._save(history)
        self._announce(log)
        while progress["epoch"] < self._settings.epochs and not self._stalled(history):
            self._epoch(log)
            history.append(self._evaluate())
            best = best_of(history) is history[-1]
            log(f"{history[-1]}{', the best so far' if best else ''}")
            if best:
                keep(self._model.network)
            self._save(history)
        if self._stalled(history):
            log(f"stopped early: {self._settings.patience} evaluations without a better one")
        return Outcome(
            evaluations=tuple(history),
            steps=int(progress["step"]),
            skipped=int(progress["skipped"]),
            heard_hours=progress["audio_s"] / 3600,
            seconds=progress["seconds"],
        )

    def _announce(self, log: Log) -> None:
        settings, total = self._settings, self._total()
        log(
            f"{len(self._parts.train)} clips, {self._epoch_steps} steps an epoch, {total} in all, of "
            f"{settings.batch} x {settings.accumulate} clips; {sum(map(torch.numel, self._learned)):,} weights learn"
        )
        if settings.warm_up_steps > total / 2:
            log(
                f"note: the warm-up takes {settings.warm_up_steps} of {total} steps, so the rate is low most of the "
                "time; with so few recordings give --warm-up, or --preset finetune.small"
            )

    def _total(self) -> int:
        return self._epoch_steps * self._settings.epochs

    def _stalled(self, history: Sequence[Evaluation]) -> bool:
        since = len(history) - 1 - history.index(best_of(history))
        return 0 < self._settings.patience <= since

    def _epoch(self, log: Log) -> None:
        """The rest of the epoch, then the position moves to the next."""
        settings, progress, train = self._settings, self._state.progress, self._parts.train
        epoch = int(progress["epoch"])
        plan = epoch_batches(train, settings.batch, settings.seed, epoch)[
            int(progress["epoch_step"]) * settings.accumulate :
        ]
        coming = self._loader.batches(train, plan, epoch)
        saved = time.monotonic()
        for first in range(0, len(plan), settings.accumulate):
            started = time.monotonic()
            group = plan[first : first + settings.accumulate]
            loss = self._step((next(coming) for _ in group), sum(map(len, group)))
            progress["audio_s"] += sum(train[index].clip.duration_s for batch in group for index in batch)
            progress["epoch_step"] += 1
            spent = time.monotonic() - started
            progress["seconds"] += spent
            self._session = (self._session[0] + 1, self._session[1] + spent)
            if progress["epoch_step"] % math.ceil(self._epoch_steps / LINES_AN_EPOCH) == 0:
                log(self._line(loss))
            if time.monotonic() - saved > settings.save_every_s:
                save_checkpoint(self._folder / CHECKPOINT, self._state)
                saved = time.monotonic()
        progress["epoch"], progress["epoch_step"] = epoch + 1, 0.0

    def _step(self, batches: Iterator[Batch], clips: int) -> float:
        """One step over the batches; the loss, or NaN where it was not finite and nothing was learned."""
        settings, progress, network = self._settings, self._state.progress, self._model.network
        torch.manual_seed(settings.seed * 1_000_003 + int(progress["step"]))  # dropout, the same when resumed
        network.train()
        for part in self._frozen:
            part.eval()
        norms = {name: value.clone() for name, value in network.named_buffers()}
        self._state.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for batch in batches:
            loss = self._loss(batch) * (len(batch.targets) / clips)
            loss.backward()
            total += loss.item()
        length = nn.utils.clip_grad_norm_(self._learned, settings.clip_norm)
        for group in self._state.optimizer.param_groups:
            group["lr"] = self._rate()
        progress["step"] += 1
        if math.isfinite(total) and bool(torch.isfinite(length)):
            self._state.optimizer.step()
            progress["failures"] = 0
            return total
        for name, value in network.named_buffers():
            value.copy_(norms[name])
        progress["skipped"] += 1
        progress["failures"] += 1
        if progress["failures"] >= CONSECUTIVE_FAILURES:
            raise ModelError(
                f"the loss was not finite for {CONSECUTIVE_FAILURES} steps, up to step {progress['step']:.0f}",
                fix="start again with a lower learning rate; the best weights so far were kept",
                code="E_FINETUNE_DIVERGED",
            )
        return math.nan

    def _loss(self, batch: Batch) -> Tensor:
        """CTC loss of a batch in float32; the network runs in bfloat16 on a GPU that has it, never in float16."""
        features, lengths = batch.features.to(self._device), batch.lengths.to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed):
            logits = self._model.network(features, lengths)
        return ctc_loss(logits, self._model.network.output_lengths(lengths), batch.targets, self._model.blank)

    def _rate(self) -> float:
        return learning_rate(int(self._state.progress["step"]), self._total(), self._settings)

    def _evaluate(self) -> Evaluation:
        started = time.monotonic()
        texts, loss = hear(self._model, self._parts.validation, self._plain, self._settings.batch)
        scored = score_texts(
            [one.text for one in self._parts.validation], texts, normalise_by=self._settings.normaliser
        )
        self._evaluation_s = time.monotonic() - started
        step, epoch = int(self._state.progress["step"]), int(self._state.progress["epoch"])
        return Evaluation(step=step, epoch=epoch, loss=loss, counts=scored.utterances)

    def _line(self, loss: float) -> str:
        progress = self._state.progress
        steps, seconds = self._session
        left = (self._total() - progress["step"]) * seconds / steps
        left += (self._settings.epochs - progress["epoch"]) * self._evaluation_s
        skipped = f", {progress['skipped']:.0f} steps skipped (loss not finite)" if progress["skipped"] else ""
        return (
            f"epoch {progress['epoch'] + 1:.0f}/{self._settings.epochs} step {progress['step']:.0f}/{self._total()} "
            f"loss {loss:.3f} rate {self._rate():.1e} {progress['audio_s'] / progress['seconds']:.0f} audio-s/s, "
            f"{_clock(left)} left{skipped}"
        )

    def _save(self, history: Sequence[Evaluation]) -> None:
        partial = self._folder / f"{HISTORY}.part"
        partial.write_text(json.dumps([asdict(one) for one in history]) + "\n", encoding="utf-8")
        partial.replace(self._folder / HISTORY)
        save_checkpoint(self._folder / CHECKPOINT, self._state)

    def _history(self) -> list[Evaluation]:
        path = self._folder / HISTORY
        if not path.exists():
            return []
        return [
            Evaluation(**row | {"counts": tuple(Counts(**counts) for counts in row["counts"])})
            for row in json.loads(path.read_text(encoding="utf-8"))
        ]

    def _fingerprint(self) -> str:
        """Of everything that the weights follow from, but the length of the run."""
        settings = replace(self._settings, epochs=0, patience=0, save_every_s=0)
        parts = [[(one.clip.sha256, one.ids) for one in side] for side in (self._parts.train, self._parts.validation)]
        return hashlib.sha256(repr((settings, self._model.sha256, parts)).encode()).hexdigest()


def hear(model: SpeechModel, examples: Sequence[Example], loader: Loader, size: int) -> tuple[list[str], float]:
    """Greedy texts of the examples in their order, and the mean CTC loss; in float32, as the shipped path runs."""
    network = model.network.eval()
    device = next(network.parameters()).device
    order = sorted(range(len(examples)), key=lambda index: examples[index].clip.duration_s)
    plan = [order[first : first + size] for first in range(0, len(order), size)]
    texts, total = [""] * len(examples), 0.0
    with torch.inference_mode():
        for indices, batch in zip(plan, loader.batches(examples, plan, 0), strict=True):
            lengths = batch.lengths.to(device)
            logits, frames = network(batch.features.to(device), lengths), network.output_lengths(lengths)
            total += len(indices) * ctc_loss(logits, frames, batch.targets, model.blank).item()
            for index, rows, valid in zip(indices, logits, frames.tolist(), strict=True):
                texts[index] = raw_text(words_from_tokens(greedy(rows[:valid], model.blank), model.pieces))
    return texts, total / max(len(examples), 1)


def ctc_loss(logits: Tensor, frames: Tensor, targets: Sequence[Sequence[int]], blank: int) -> Tensor:
    """CTC loss per target token, mean over the batch, as the published trainer's; infinite where a text cannot fit."""
    return functional.ctc_loss(
        logits.float().log_softmax(dim=-1).transpose(0, 1),
        torch.tensor([token for target in targets for token in target], device=logits.device),
        frames,
        torch.tensor([len(target) for target in targets], device=logits.device),
        blank=blank,
    )


def learning_rate(step: int, total: int, settings: FineTuning) -> float:
    """Linear warm-up, then a line down to 0 at the last step; ``step`` counts from 0."""
    if step < settings.warm_up_steps:
        return settings.peak_rate * step / settings.warm_up_steps
    return settings.peak_rate * max(0.0, (total - step) / max(1, total - settings.warm_up_steps))


def same_run(folder: Path, fingerprint: str) -> None:
    """Marks a folder as this run's.

    Raises:
        InputError: ``E_CHECKPOINT_MISMATCH``, it is another run's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RUN
    if path.exists() and path.read_text(encoding="utf-8").strip() != json.dumps({"fingerprint": fingerprint}):
        raise InputError(
            f"{folder.name} holds a run with other recordings, settings or another base model",
            fix="repeat the command that began it, take another folder, or start anew with --overwrite",
            code="E_CHECKPOINT_MISMATCH",
        )
    path.write_text(json.dumps({"fingerprint": fingerprint}) + "\n", encoding="utf-8")


def _freeze(network: LasrForCTC, blocks: int) -> list[nn.Module]:
    if not blocks:
        return []
    if not 0 < blocks < len(network.encoder.layers):
        raise UsageError(
            f"{blocks} of {len(network.encoder.layers)} encoder blocks cannot be frozen",
            fix=f"freeze 1 to {len(network.encoder.layers) - 1}",
            code="E_FINETUNE_FREEZE",
        )
    frozen: list[nn.Module] = [network.encoder.subsampler, *network.encoder.layers[:blocks]]
    for part in frozen:
        part.requires_grad_(False)
    return frozen


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
