"""The loop that both stages of the small vision-language model share: schedule, clipping, checkpoints, resuming.

It is handed a loss; it knows no images and no text.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from medvox.train.checkpoint import TrainingState, resume_checkpoint, save_checkpoint
from medvox.types import Progress, no_progress

SAVE_EVERY_S = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """How long and how fast to learn. The run ends at ``total`` samples seen or at ``minutes``, whichever comes first.

    Attributes:
        total: samples; a resumed run counts on.
        minutes: of all resumptions together.
        peak_rate: highest learning rate.
        warmup: share of the run until the peak.
        weight_decay: of AdamW.
        seed: of the batches.
    """

    total: int
    minutes: float
    peak_rate: float
    seed: int
    warmup: float = 0.03
    weight_decay: float = 0.05


Batch = Callable[[float, np.random.Generator], tuple[Tensor, int]]  # share of the run done -> loss, samples in it


def learn(
    module: nn.Module, batch: Batch, schedule: Schedule, checkpoint: Path, progress: Progress = no_progress
) -> None:
    """Train what requires gradients in place; saves to and resumes from ``checkpoint`` every two minutes."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=schedule.peak_rate, betas=(0.9, 0.98), weight_decay=schedule.weight_decay)
    state = TrainingState(
        module=module,
        optimizer=optimizer,
        rng=random.Random(schedule.seed),
        averaged={},
        progress={"seen": 0, "seconds": 0},
    )
    resume_checkpoint(checkpoint, state)
    rng = np.random.default_rng(schedule.seed + int(state.progress["seen"]))
    clock = saved = time.monotonic()
    average = 0.0
    while state.progress["seen"] < schedule.total and state.progress["seconds"] < schedule.minutes * 60:
        done = max(state.progress["seen"] / schedule.total, state.progress["seconds"] / (schedule.minutes * 60))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(done, schedule.warmup, schedule.peak_rate)
        loss, samples = batch(done, rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        now = time.monotonic()
        state.progress["seen"] += samples
        state.progress["seconds"] += now - clock
        clock = now
        average = loss.item() if not average else 0.99 * average + 0.01 * loss.item()
        progress(f"learning, loss {average:.3f}", int(state.progress["seen"]), schedule.total)
        if now - saved > SAVE_EVERY_S:
            saved = now
            save_checkpoint(checkpoint, state)
    save_checkpoint(checkpoint, state)


def learning_rate(done: float, warmup: float, peak: float) -> float:
    """Linear warm-up, then a cosine down to a twentieth of the peak; ``done`` and ``warmup`` are shares of the run."""
    if done < warmup:
        return peak * (0.01 + 0.99 * done / warmup)
    part = min(1.0, (done - warmup) / (1.0 - warmup))
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * part)))
