"""Features of a recording of any length -> token log-probabilities, window by window when it is long.

Between ``encode/speech`` and ``models/ctc``. Knows no text and no file. All positions are feature frames (10 ms); one
row of the network's output is ``STRIDE`` of them, and every window starts on that grid, so that rows of neighbouring
windows stand for the same sound. Neighbours share some seconds of sound around the cut between them. ``PUBLISHED`` is
MedASR's published recipe: chunks of 20 s whose 2 s of context are cut away at fixed places. ``SEAMLESS`` takes windows
of the same size, cuts in pauses where it is told where speech is, and passes from window to window where both hear the
same. Windows in which nothing stirs need not be heard, and what was heard before an interruption need not be heard
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from medvox.errors import UsageError
from medvox.types import Progress, no_progress

STRIDE = 4
FIRST_ROW_FRAMES = 13  # what the first row of the subsampled encoder sees
NEVER = -30.0  # natural logarithm of next to nothing
PAUSE_ROWS = 25  # 1 s without a token: what was said before and after it is decoded apart
AGREEMENT_ROWS = 11  # 0.44 s: two windows must hear the same around the row where they are joined

Spans = Sequence[tuple[int, int]]
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
    """Frames first to last (exclusive) of a recording.

    Attributes:
        first: first frame.
        last: the frame after the last one.
        cut: where it meets the window before (0 for the first one).
        seam: rows (first, end) of the recording within which both are joined; none where they are equal.
        heard: whether there is anything in it that may be speech.
    """

    first: int
    last: int
    cut: int
    seam: tuple[int, int]
    heard: bool = True


def logits_of(
    network: nn.Module,
    features: Tensor,
    *,
    chunking: Chunking = SEAMLESS,
    speech: Spans = (),
    progress: Progress = no_progress,
) -> Tensor:
    """Log-probabilities of one recording whose features are at hand.

    Args:
        network: (1, F, M) -> (1, T, V), such as ``LasrForCTC``.
        features: (F, M).
        chunking: how it is cut where it is longer than a window.
        speech: where someone speaks, as for ``plan``.
        progress: told about each window.

    Returns:
        (T, V) float32, log-probabilities; T is what the network gives for the whole recording.
    """
    windows = plan(len(features), chunking, speech)
    return torch.cat(list(logits_stream(network, _slices(features), windows, progress=progress)))


def logits_stream(
    network: nn.Module,
    features: FeatureSource,
    windows: Sequence[Window],
    *,
    silence: Tensor | None = None,
    done: int = 0,
    progress: Progress = no_progress,
) -> Iterator[Tensor]:
    """Log-probabilities of one recording, in parts as they become final; holds few windows at a time.

    Args:
        network: (1, F, M) -> (1, T, V), such as ``LasrForCTC``; where it has an attribute ``together``, it is given so
            many windows at once, padded, and their lengths.
        features: gives the features of a stretch of frames; asked in order, once for each window that is heard.
        windows: of ``plan``.
        silence: (V,), what is given for each row of a window in which there is nothing to hear; the network hears those
            too where this is None.
        done: rows that are known already, from parts that were given before; only those after them follow.
        progress: told about each window.

    Yields:
        (t, V) float32, log-probabilities that follow on each other; t sums to what the network gives for the whole.

    Raises:
        UsageError: no part ended after ``done`` rows (``E_LISTENING_DONE``).
    """
    number, held = _first_open(windows, done), torch.empty(0)
    if number == len(windows):
        return
    heard = _heard(network, features, [one for one in windows[number:] if one.heard or silence is None])
    for place in range(number, len(windows)):
        window, origin = windows[place], windows[place].first // STRIDE
        if silence is None or window.heard:
            rows = next(heard)
        else:
            rows = silence.expand(rows_of(window.last - window.first), -1)
        start, end = window.seam
        if place > number:
            yield torch.cat(
                (held[: start - done], _join(held[start - done : end - done], rows[start - origin : end - origin]))
            )
        held, done = rows[end - origin :], end
        progress("recognising speech", place + 1, len(windows))
    yield held


def plan(frames: int, chunking: Chunking = SEAMLESS, speech: Spans = (), stirring: Spans | None = None) -> list[Window]:
    """The windows of a recording, in order; they cover it, and share the context on both sides of each cut.

    Args:
        frames: feature frames of the recording.
        chunking: how it is cut.
        speech: (first, last) frames of stretches where someone speaks, in order; cuts are made between them. Empty
            where not known.
        stirring: stretches outside of which there is nothing to hear; None where not known.
    """
    windows: list[Window] = []
    cut = first = 0

    def add(last: int) -> None:
        sides = (-chunking.reach, chunking.reach) if windows else (0, 0)
        start, end = ((cut + side) // STRIDE for side in sides)
        heard = stirring is None or any(begin < last and first < stop for begin, stop in stirring)
        windows.append(Window(first=first, last=last, cut=cut, seam=(start, end), heard=heard))

    while first + chunking.window < frames:
        latest = (first + chunking.window - chunking.context + STRIDE - 1) // STRIDE * STRIDE
        following = _pause(cut + chunking.earliest, latest, speech) if chunking.earliest and speech else latest
        add(min(first + chunking.window, following + chunking.context))
        cut, first = following, following - chunking.context
    add(frames)
    return windows


def rows_of(frames: int) -> int:
    """Rows of the network's output for so many feature frames."""
    return max(0, (frames - FIRST_ROW_FRAMES) // STRIDE + 1)


def stretches(rows: Tensor, blank: int, *, least: int = 1500) -> list[tuple[int, int]]:
    """Rows (first, end) that may be decoded by themselves, so that searching hours takes the memory of minutes.

    Args:
        rows: (T, V) log-probabilities of a recording.
        blank: id of the token for nothing.
        least: rows of each stretch but the last; it ends in the first pause after them.
    """
    spoken = [0, *(rows.argmax(dim=-1) != blank).nonzero().flatten().tolist()]
    cuts = [0]
    for before, after in pairwise(spoken):
        if after - before > PAUSE_ROWS and (before + after) // 2 - cuts[-1] >= least:
            cuts.append((before + after) // 2)
    return list(pairwise([*cuts, len(rows)]))


def silence_row(tokens: int, blank: int) -> Tensor:
    """What a network that is sure of silence gives, (V,) log-probabilities."""
    row = torch.full((tokens,), NEVER)
    row[blank] = 0.0
    return row


def _first_open(windows: Sequence[Window], done: int) -> int:
    """Number of the window that gives the row after ``done`` rows; that of windows where all are done."""
    ends = [*(window.seam[1] for window in windows), rows_of(windows[-1].last)]
    if done not in ends:
        raise UsageError(
            f"no part of this recording ends after {done} rows", fix="start from its beginning", code="E_LISTENING_DONE"
        )
    return ends.index(done)


def _pause(earliest: int, latest: int, speech: Spans) -> int:
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


def _heard(network: nn.Module, features: FeatureSource, windows: Sequence[Window]) -> Iterator[Tensor]:
    """Log-probabilities of each window, (T, V), of as many at a time as the network hears side by side."""
    together: int = getattr(network, "together", 1)
    for first in range(0, len(windows), together):
        taken = [features(one.first, one.last) for one in windows[first : first + together]]
        yield from _rows(network, taken)


@torch.inference_mode()
def _rows(network: nn.Module, features: Sequence[Tensor]) -> list[Tensor]:
    """Log-probabilities (T, V) of some windows with features (F, M)."""
    lengths = [len(one) for one in features]
    if len(set(lengths)) == 1:
        logits: Tensor = network(torch.stack(list(features)))
    else:
        logits = network(nn.utils.rnn.pad_sequence(list(features), batch_first=True), torch.tensor(lengths))
    return [
        functional.log_softmax(one[: rows_of(length)].float(), dim=-1)
        for one, length in zip(logits, lengths, strict=True)
    ]


@torch.inference_mode()
def _join(earlier: Tensor, later: Tensor) -> Tensor:
    """One from the rows (t, V) of two windows: the earlier's, then from where both differ least the later's."""
    count = len(earlier)
    if not count:
        return earlier
    difference = (earlier.exp() - later.exp()).abs().sum(dim=-1)
    around = functional.avg_pool1d(
        difference[None], AGREEMENT_ROWS, stride=1, padding=AGREEMENT_ROWS // 2, count_include_pad=False
    )[0]
    off_middle = (torch.arange(count, device=later.device) - count // 2).abs() / count
    row = int((around + 1e-3 * off_middle).argmin())
    return torch.cat((earlier[:row], later[row:]))
