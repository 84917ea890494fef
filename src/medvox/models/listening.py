"""Features of a recording of any length -> token log-probabilities, window by window when it is long.

Between ``encode/speech`` and ``models/ctc``. Knows no text and no file. All positions are feature frames (10 ms); one
row of the network's output is ``STRIDE`` of them, and every window starts on that grid, so that rows of neighbouring
windows stand for the same sound. Neighbours share some seconds of sound around the cut between them. ``PUBLISHED`` is
MedASR's published recipe: chunks of 20 s whose 2 s of context are cut away at fixed places. ``SEAMLESS`` takes windows
of the same size, cuts in pauses where it is told where speech is, and passes from window to window where both hear the
same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from medvox.types import Progress, no_progress

STRIDE = 4
AGREEMENT_ROWS = 11  # 0.44 s: two windows must hear the same around the row where they are joined

FeatureSource = Callable[[int, int], Tensor]  # features (last - first, M) of the frames from first to last (exclusive)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunking:
    """How long recordings are cut; feature frames, multiples of ``STRIDE``.

    Attributes:
        window: most frames that the network sees at once.
        context: frames that it sees beyond the cut.
        reach: frames on both sides of the cut within which the seam is made, less than ``context``; at 0 the rows
            before the cut are the earlier window's, and those after it the later one's.
        earliest: frames after the last cut from which the next may lie in a pause; 0 keeps to fixed places.
    """

    window: int = 2000
    context: int = 200
    reach: int = 100
    earliest: int = 1000


PUBLISHED = Chunking(window=1998, reach=0, earliest=0)
SEAMLESS = Chunking()


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Frames first to last (exclusive) of a recording, and the cut to the window before (0 for the first one)."""

    first: int
    last: int
    cut: int


def logits_of(
    network: nn.Module,
    features: Tensor,
    *,
    chunking: Chunking = SEAMLESS,
    speech: Sequence[tuple[int, int]] = (),
    progress: Progress = no_progress,
) -> Tensor:
    """Log-probabilities of one recording whose features are at hand.

    Args:
        network: (1, F, M) -> (1, T, V), such as ``LasrForCTC``.
        features: (F, M).
        chunking: how it is cut where it is longer than a window.
        speech: where someone speaks, as for ``logits_stream``.
        progress: told about each window.

    Returns:
        (T, V) float32, log-probabilities; T is what the network gives for the whole recording.
    """
    frames = len(features)
    parts = logits_stream(network, _slices(features), frames, chunking=chunking, speech=speech, progress=progress)
    return torch.cat(list(parts))


def logits_stream(
    network: nn.Module,
    features: FeatureSource,
    frames: int,
    *,
    chunking: Chunking = SEAMLESS,
    speech: Sequence[tuple[int, int]] = (),
    progress: Progress = no_progress,
) -> Iterator[Tensor]:
    """Log-probabilities of one recording, in parts as they become final; holds no more than two windows.

    Args:
        network: (1, F, M) -> (1, T, V), such as ``LasrForCTC``.
        features: gives the features of a stretch of frames; asked in order, once for each window.
        frames: feature frames of the recording.
        chunking: how it is cut where it is longer than a window.
        speech: (first, last) frames of stretches where someone speaks, in order; cuts are made between them. Empty
            where not known.
        progress: told about each window.

    Yields:
        (t, V) float32, log-probabilities that follow on each other; t sums to what the network gives for the whole.
    """
    windows = plan(frames, chunking, speech)
    held = torch.empty(0)
    done = 0
    for number, window in enumerate(windows):
        rows, origin = _rows(network, features(window.first, window.last)), window.first // STRIDE
        if number > 0:
            start, end = ((window.cut + side * chunking.reach) // STRIDE for side in (-1, 1))
            yield held[: start - done]
            if end > start:
                shared = slice(start - done, end - done), slice(start - origin, end - origin)
                yield _join(held[shared[0]], rows[shared[1]])
            rows, done = rows[end - origin :], end
        held = rows
        progress("recognising speech", number + 1, len(windows))
    yield held


def plan(frames: int, chunking: Chunking, speech: Sequence[tuple[int, int]] = ()) -> list[Window]:
    """The windows of a recording, in order; they cover it, and share the context on both sides of each cut."""
    windows: list[Window] = []
    cut = first = 0
    while first + chunking.window < frames:
        latest = (first + chunking.window - chunking.context + STRIDE - 1) // STRIDE * STRIDE
        following = _pause(cut + chunking.earliest, latest, speech) if chunking.earliest and speech else latest
        last = min(first + chunking.window, following + chunking.context)
        windows.append(Window(first=first, last=last, cut=cut))
        cut, first = following, following - chunking.context
    return [*windows, Window(first=first, last=frames, cut=cut)]


def _pause(earliest: int, latest: int, speech: Sequence[tuple[int, int]]) -> int:
    """Middle of the longest pause between two frames, on the grid; ``latest`` where there is none."""
    longest, place = 0, latest
    ends = [earliest, *(end for _, end in speech)]
    starts = [*(start for start, _ in speech), latest]
    for end, start in zip(ends, starts, strict=True):
        end, start = max(end, earliest), min(start, latest)
        if start - end > longest:
            longest, place = start - end, (start + end) // 2 // STRIDE * STRIDE
    return place


def _slices(features: Tensor) -> FeatureSource:
    return lambda first, last: features[first:last]


@torch.inference_mode()
def _rows(network: nn.Module, features: Tensor) -> Tensor:
    """Log-probabilities of one window, (T, V)."""
    logits: Tensor = network(features[None])[0]
    return functional.log_softmax(logits.float(), dim=-1)


@torch.inference_mode()
def _join(earlier: Tensor, later: Tensor) -> Tensor:
    """One from the rows (t, V) of two windows: the earlier's, then from where both differ least the later's."""
    count = len(earlier)
    difference = (earlier.exp() - later.exp()).abs().sum(dim=-1)
    around = functional.avg_pool1d(
        difference[None], AGREEMENT_ROWS, stride=1, padding=AGREEMENT_ROWS // 2, count_include_pad=False
    )[0]
    off_middle = (torch.arange(count, device=later.device) - count // 2).abs() / count
    row = int((around + 1e-3 * off_middle).argmin())
    return torch.cat((earlier[:row], later[row:]))
