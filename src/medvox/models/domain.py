"""Does a scan look like what a small model learned from? A distance in the space of its own soft tokens.

Beside ``vlm.py``; only our small models carry the statistics (``domain.safetensors`` in their folder). It says nothing
about whether an answer is right: only that the pictures are unlike any that the model was trained on.

Axes: N pictures, M soft tokens, D hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

FILE = "domain.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class Domain:
    """Where the scans of the training lie.

    Attributes:
        mean: (D,) of the scans' average soft tokens.
        precision: (D, D), inverse of their shrunken covariance.
        limit: distance that 99 of 100 held-out scans of the same kind stay below.
    """

    mean: Tensor
    precision: Tensor
    limit: float

    @classmethod
    def load(cls, folder: Path) -> Domain | None:
        """The statistics in a model folder, or None when it has none."""
        path = folder / FILE
        if not path.exists():
            return None
        found = load_file(path)
        return cls(mean=found["mean"], precision=found["precision"], limit=float(found["limit"]))

    @classmethod
    def fit(cls, training: Tensor, held_out: Tensor) -> Domain:
        """From average soft tokens (scans, D) of training scans, and of others to set the limit with."""
        mean = training.mean(0)
        covariance = torch.cov(training.T)
        shrunken = 0.9 * covariance + 0.1 * covariance.diagonal().mean() * torch.eye(len(mean))
        domain = cls(mean=mean, precision=torch.linalg.inv(shrunken), limit=0.0)
        distances = torch.tensor([domain.distance(scan) for scan in held_out])
        return cls(mean=mean, precision=domain.precision, limit=float(distances.quantile(0.99)))

    def save(self, folder: Path) -> None:
        """Write ``domain.safetensors``."""
        tensors = {"mean": self.mean, "precision": self.precision.contiguous(), "limit": torch.tensor(self.limit)}
        save_file(tensors, folder / FILE)
        (folder / FILE).chmod(0o644)  # the library writes it for the owner only

    def distance(self, average: Tensor) -> float:
        """Mahalanobis distance of one scan's average soft token (D,)."""
        offset = average.float() - self.mean
        return float((offset @ self.precision @ offset).clamp(min=0).sqrt())
