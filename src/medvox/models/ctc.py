"""Token logits -> token ids: greedy CTC decoding. Knows no text and no file.

Next in the path: ``parse/transcript``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medvox.errors import ModelError


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedToken:
    """A token, the encoder frames that it spans (first, last), and the mean posterior on them (0 to 1)."""

    token_id: int
    first_frame: int
    last_frame: int
    probability: float


def greedy(logits: Tensor, blank: int) -> list[DecodedToken]:
    """Best token of each frame, repeats merged, blanks dropped.

    Args:
        logits: (T, V) of the valid frames of one recording.
        blank: id of the blank.

    Raises:
        ModelError: a logit is not finite (float16 overflows inside this network).
    """
    if not bool(torch.isfinite(logits).all()):
        raise ModelError(
            "the speech model gave numbers that are not finite",
            fix="run the speech model in float32",
            code="E_MODEL_NOT_FINITE",
        )
    posteriors, ids = logits.float().softmax(dim=-1).max(dim=-1)
    tokens: list[DecodedToken] = []
    frame = 0
    best = ids.tolist()
    while frame < len(best):
        last = frame
        while last + 1 < len(best) and best[last + 1] == best[frame]:
            last += 1
        if best[frame] != blank:
            probability = float(posteriors[frame : last + 1].mean())
            tokens.append(
                DecodedToken(token_id=best[frame], first_frame=frame, last_frame=last, probability=probability)
            )
        frame = last + 1
    return tokens


def log_probabilities(logits: Tensor) -> NDArray[np.float32]:
    """Logits (T, V) -> natural-log probabilities (T, V) for ``models/beam``."""
    return logits.float().log_softmax(dim=-1).cpu().numpy()
