"""Features of a recording of any length -> token logits, in chunks when it is long.

Between ``encode/speech`` and ``models/ctc``. Knows no text and no file. As published for MedASR: chunks of 20 s, with
2 s of context on each side that are cut away. All numbers are feature frames (10 ms); one output frame is four of them,
so all chunks lie on one grid.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from medvox.types import Progress, no_progress

CHUNK_FRAMES, CONTEXT_FRAMES, STEP_FRAMES, STRIDE = 1998, 200, 1600, 4


@torch.inference_mode()
def logits_of(network: nn.Module, features: Tensor, *, progress: Progress = no_progress) -> Tensor:
    """Logits of one recording.

    Args:
        network: (1, F, M) -> (1, T, V), such as ``LasrForCTC``.
        features: (F, M).
        progress: told about each chunk.

    Returns:
        (T, V); T is what the network gives for the whole recording.
    """
    chunks = list(_chunks(len(features)))
    parts: list[Tensor] = []
    for number, start in enumerate(chunks):
        logits = network(features[None, start : start + CHUNK_FRAMES])[0]
        first = 0 if number == 0 else CONTEXT_FRAMES // STRIDE
        last = None if number == len(chunks) - 1 else (CONTEXT_FRAMES + STEP_FRAMES) // STRIDE
        parts.append(logits[first:last])
        progress("recognising speech", number + 1, len(chunks))
    return torch.cat(parts)


def _chunks(frames: int) -> Iterator[int]:
    """First frames of the chunks; the last one always holds more than its left context."""
    start = 0
    yield start
    while start + CHUNK_FRAMES < frames:
        start += STEP_FRAMES
        yield start
