"""Logits of one position -> the next token id. Beside ``engine.py``. It knows no model and no text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medvox.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Greedy:
    """Always the most likely token: what MedGemma 1.5 was evaluated with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A random token; the same seed gives the same answer. The defaults are Gemma 3's.

    Attributes:
        temperature: logits are divided by it; above 0.
        top_k: only that many most likely tokens are drawn from; None: all.
        top_p: of these, only the most likely ones that together reach this probability (0 to 1).
        seed: of the random numbers.
    """

    temperature: float = 1.0
    top_k: int | None = 64
    top_p: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature <= 0 or not 0 < self.top_p <= 1 or (self.top_k is not None and self.top_k < 1):
            raise UsageError(
                f"cannot sample with temperature {self.temperature}, top_k {self.top_k}, top_p {self.top_p}",
                fix="Give a temperature above 0 (or choose greedy), top_k of at least 1, and top_p in (0, 1].",
                code="E_SAMPLING",
            )


Sampling = Greedy | Sample


class Sampler:
    """Draws the tokens of one answer."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._draw = torch.Generator()
        if isinstance(sampling, Sample):
            self._draw.manual_seed(sampling.seed)

    def pick(self, logits: Tensor) -> int:
        """Next token id from logits (V,)."""
        if isinstance(self.sampling, Greedy):
            return int(logits.argmax())
        probabilities = allowed_probabilities(logits.float().cpu(), self.sampling)
        return int(torch.multinomial(probabilities, 1, generator=self._draw))


def allowed_probabilities(logits: Tensor, sample: Sample) -> Tensor:
    """Logits (V,) -> probabilities (V,) that are drawn from: temperature, then ``top_k``, then ``top_p``."""
    ordered, ids = (logits / sample.temperature).sort(descending=True, stable=True)
    if sample.top_k is not None:
        ordered, ids = ordered[: sample.top_k], ids[: sample.top_k]
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities  # probability of all that are more likely
    probabilities = torch.where(before < sample.top_p, probabilities, 0.0)
    return torch.zeros_like(logits).scatter(0, ids, probabilities / probabilities.sum())
