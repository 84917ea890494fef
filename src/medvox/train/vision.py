"""Stage one of the small vision-language model: the vision tower learns from dense labels of generated slices.

Each slice of a phantom says, patch by patch, which organ and which finding is there. Linear heads read that from the
patch vectors, and from the pooled vectors that later become soft tokens. The heads are thrown away afterwards.

Axes: B slices, P patches, M pooled cells of a slice, C hidden size, K findings.
"""

from __future__ import annotations

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
from medvox.train.loop import Schedule, learn
from medvox.train.phantoms import PhantomSet
from medvox.types import Progress, no_progress

BATCH = 32


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


def train_tower(
    tower: SiglipVision, heads: DenseHeads, data: PhantomSet, schedule: Schedule, checkpoint: Path,
    progress: Progress = no_progress,
) -> None:  # fmt: skip
    """Train tower and heads in place on batches of slices; see ``loop.learn``."""

    def batch(done: float, rng: np.random.Generator) -> tuple[Tensor, int]:
        pixels, *labels = batch_of(data, draw_slices(data, BATCH, rng))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            patches = tower(jitter(pixels, rng))
        return heads.loss(patches.float(), *labels), BATCH

    learn(nn.ModuleDict({"tower": tower, "heads": heads}), batch, schedule, checkpoint, progress)


def jitter(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Small changes of brightness and contrast per channel, and a little noise: scanners differ."""
    count, channels = pixels.shape[:2]
    gain = torch.from_numpy(rng.uniform(0.85, 1.15, (count, channels, 1, 1)).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.08, 0.08, (count, channels, 1, 1)).astype(np.float32))
    noise = torch.randn_like(pixels) * float(rng.uniform(0, 0.05))
    return ((pixels + 1) * gain - 1 + (shift + noise) * (pixels > -0.99)).clamp(-1, 1)
