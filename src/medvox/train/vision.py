"""Stage one of the small vision-language model: the vision tower learns from dense labels of generated slices.

Each slice of a phantom says, patch by patch, which organ and which finding is there. Linear heads read that from the
patch vectors, and from the pooled vectors that later become soft tokens. The heads are thrown away afterwards.

Axes: B slices, P patches, M pooled cells of a slice, C hidden size, K findings.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from medvox.encode.batch import to_pixel_values
from medvox.models.siglip import SiglipVision
from medvox.synth.ct import REGIONS
from medvox.synth.findings import FINDINGS
from medvox.synth.solids import Organ
from medvox.train.checkpoint import TrainingState, resume_checkpoint, save_checkpoint
from medvox.train.phantoms import PhantomSet
from medvox.types import Progress, no_progress


@dataclass(frozen=True, kw_only=True, slots=True)
class VisionRun:
    """How the tower is trained. ``slices_total`` counts slices seen, so that a resumed run ends where it should."""

    batch: int = 32
    peak_rate: float = 1.5e-3
    warmup: float = 0.03
    slices_total: int = 150_000
    weight_decay: float = 0.05
    minutes: float = 45.0
    seed: int = 1


class DenseHeads(nn.Module):
    """Linear readers of the patch vectors and the pooled vectors; used in training only."""

    def __init__(self, hidden: int, pool: int, grid: int) -> None:
        super().__init__()
        self.pool, self.grid = pool, grid
        self.organ = nn.Linear(hidden, len(Organ))
        self.finding = nn.Linear(hidden, len(FINDINGS))
        self.cell_finding = nn.Linear(hidden, len(FINDINGS))
        self.cell_box = nn.Linear(hidden, 4 * len(FINDINGS))
        self.region = nn.Linear(hidden, len(REGIONS))

    def cells(self, patches: Tensor) -> Tensor:
        """Patch vectors (B, P, C) -> pooled vectors (B, M, C), as the projector pools them."""
        image = patches.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return F.avg_pool2d(image, self.pool).flatten(2).transpose(1, 2)

    def loss(self, patches: Tensor, organs: Tensor, lesions: Tensor, boxes: Tensor, regions: Tensor) -> Tensor:
        """Sum of the dense losses.

        Args:
            patches: (B, P, C) from the tower.
            organs: (B, P) int64.
            lesions: (B, P, K) float, 1 where a finding covers the patch.
            boxes: (B, K, 4) in 0..1, NaN where the slice does not show the finding.
            regions: (B,) int64.
        """
        side = self.grid // self.pool
        cells = self.cells(patches)
        cell_lesions = F.max_pool2d(lesions.transpose(1, 2).unflatten(2, (self.grid, self.grid)), self.pool)
        cell_lesions = cell_lesions.flatten(2).transpose(1, 2)  # (B, M, K)
        total = F.cross_entropy(self.organ(patches).flatten(0, 1), organs.flatten())
        total = total + focal_loss(self.finding(patches), lesions)
        total = total + focal_loss(self.cell_finding(cells), cell_lesions)
        total = total + F.cross_entropy(self.region(cells.mean(1)), regions)
        target = boxes[:, None].expand(-1, side * side, -1, -1)  # (B, M, K, 4)
        found = (cell_lesions > 0) & ~target.isnan().any(-1)
        if found.any():
            guess = self.cell_box(cells).unflatten(2, (len(FINDINGS), 4))
            total = total + 4 * F.smooth_l1_loss(guess[found], target[found], beta=0.05)
        return total


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary focal loss over the number of positives (RetinaNet, arXiv 1708.02002): findings are few and small."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    missed = (targets - logits.sigmoid()).abs()
    weight = torch.where(targets > 0, 0.75, 0.25)
    return (weight * missed.square() * cross_entropy).sum() / targets.sum().clamp(min=1)


def draw_slices(data: PhantomSet, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Slices for one batch: six in ten show a finding, each finding equally often."""
    shows = ~np.isnan(data.boxes[:, :, 0])  # (L, K)
    picks = [int(rng.integers(len(shows))) for _ in range(count - round(0.6 * count))]
    by_finding = [np.flatnonzero(column) for column in shows.T]
    able = [slices for slices in by_finding if len(slices)]
    while len(picks) < count and able:
        picks.append(int(rng.choice(able[int(rng.integers(len(able)))])))
    return np.sort(np.array(picks, np.int64))


def batch_of(data: PhantomSet, picks: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The slices ``picks`` as pixels (B, 3, H, W), organs, lesions, boxes and regions for ``DenseHeads.loss``."""
    bits = data.lesions[picks]
    lesions = np.stack([(bits >> number) & 1 for number in range(len(FINDINGS))], -1)
    return (
        to_pixel_values(data.images[picks]),
        torch.from_numpy(data.organs[picks].astype(np.int64)),
        torch.from_numpy(lesions.astype(np.float32)),
        torch.from_numpy(data.boxes[picks]),
        torch.from_numpy(data.slice_regions[picks]),
    )


def learning_rate(done: float, warmup: float, peak: float) -> float:
    """Linear warm-up, then a cosine down to a twentieth of the peak; ``done`` and ``warmup`` are shares of the run."""
    if done < warmup:
        return peak * (0.01 + 0.99 * done / warmup)
    part = min(1.0, (done - warmup) / (1.0 - warmup))
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * part)))


def train_tower(
    tower: SiglipVision, heads: DenseHeads, data: PhantomSet, run: VisionRun, checkpoint: Path,
    progress: Progress = no_progress,
) -> None:  # fmt: skip
    """Train in place; saves to and resumes from ``checkpoint`` every two minutes. Ends at the slices or the minutes."""
    module = nn.ModuleDict({"tower": tower, "heads": heads})
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=run.peak_rate, betas=(0.9, 0.98), weight_decay=run.weight_decay
    )
    state = TrainingState(
        module=module, optimizer=optimizer, rng=random.Random(run.seed), averaged={}, progress={"seen": 0, "seconds": 0}
    )
    resume_checkpoint(checkpoint, state)
    rng = np.random.default_rng(run.seed + int(state.progress["seen"]))
    clock = saved = time.monotonic()
    average = 0.0
    while state.progress["seen"] < run.slices_total and state.progress["seconds"] < run.minutes * 60:
        done = max(state.progress["seen"] / run.slices_total, state.progress["seconds"] / (run.minutes * 60))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(done, run.warmup, run.peak_rate)
        pixels, *labels = batch_of(data, draw_slices(data, run.batch, rng))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            patches = tower(jitter(pixels, rng))
        loss = heads.loss(patches.float(), *labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        now = time.monotonic()
        state.progress["seen"] += run.batch
        state.progress["seconds"] += now - clock
        clock = now
        average = loss.item() if not average else 0.99 * average + 0.01 * loss.item()
        progress(f"vision loss {average:.3f}", int(state.progress["seen"]), run.slices_total)
        if now - saved > 120:
            saved = now
            save_checkpoint(checkpoint, state)
    save_checkpoint(checkpoint, state)


def jitter(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Small changes of brightness and contrast per channel, and a little noise: scanners differ."""
    count, channels = pixels.shape[:2]
    gain = torch.from_numpy(rng.uniform(0.85, 1.15, (count, channels, 1, 1)).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.08, 0.08, (count, channels, 1, 1)).astype(np.float32))
    noise = torch.randn_like(pixels) * float(rng.uniform(0, 0.05))
    return ((pixels + 1) * gain - 1 + (shift + noise) * (pixels > -0.99)).clamp(-1, 1)
