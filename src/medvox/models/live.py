"""Features as they arrive -> token log-probabilities, first tentative, then settled for good.

The live form of ``models/listening``, before ``models/ctc``. The network hears the last seconds again with each feed.
A row is settled when it has heard enough after it and its best token was the same the time before. Knows no sound, no
text and no microphone; the end of an utterance is the caller's to find (``encode/voice``).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from medvox.models.listening import FIRST_ROW_FRAMES, STRIDE


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How much the network hears again, in feature frames (10 ms), multiples of ``STRIDE``.

    Attributes:
        left: kept before the first row that is not settled.
        right: heard after a row before it may be settled.
        open_frames: beyond these, rows are settled as they are, so that the work stays bounded.
    """

    left: int = 300
    right: int = 100
    open_frames: int = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """What one feed brought: rows (t, V) of log-probabilities.

    Attributes:
        settled: rows that follow on those settled before, and never change again.
        tentative: the rows after them as they look now.
    """

    settled: Tensor
    tentative: Tensor


class Live:
    """One utterance as it is spoken.

    All ``settled`` rows in order, and the rows of ``finish``, are the log-probabilities of the utterance.
    """

    def __init__(self, network: nn.Module, *, pace: Pace | None = None) -> None:
        """Starts an utterance.

        Args:
            network: (1, F, M) -> (1, T, V), such as ``LasrForCTC``.
            pace: how much is heard again.
        """
        self._network = network
        self._pace = pace or Pace()
        self._features: Tensor | None = None
        self._origin = 0  # row of the utterance that the first kept frame starts
        self._settled = 0  # rows settled so far
        self._open = torch.empty(0, 1)  # the rows after them, as they looked the time before

    def feed(self, features: Tensor) -> Heard:
        """Hears the next frames.

        Args:
            features: (f, M), f of any size; blocks of 0.2 to 0.5 s are a good measure.
        """
        self._features = features if self._features is None else torch.cat((self._features, features))
        rows = self._open_rows()
        ripe = max(0, len(rows) - self._pace.right // STRIDE)
        known = min(ripe, len(self._open))
        unequal = (rows[:known].argmax(dim=-1) != self._open[:known].argmax(dim=-1)).nonzero()
        count = int(unequal[0]) if len(unequal) else known
        count = max(count, min(ripe, len(rows) - self._pace.open_frames // STRIDE))
        self._settled += count
        self._open = rows[count:]
        self._forget()
        return Heard(settled=rows[:count], tentative=self._open)

    def finish(self) -> Tensor:
        """The rows that are left at the end of the utterance (none where nothing was fed); then another may start.

        They were computed by the last feed, so this costs nothing.
        """
        rows = self._open
        self._features, self._origin, self._settled, self._open = None, 0, 0, rows[:0]
        return rows

    @torch.inference_mode()
    def _open_rows(self) -> Tensor:
        """Log-probabilities of the rows that are not settled."""
        assert self._features is not None
        if len(self._features) < FIRST_ROW_FRAMES:
            return self._of(self._features.new_zeros(FIRST_ROW_FRAMES, self._features.shape[1]))[:0]
        return self._of(self._features)[self._settled - self._origin :]

    def _of(self, features: Tensor) -> Tensor:
        logits: Tensor = self._network(features[None])[0]
        return functional.log_softmax(logits.float(), dim=-1)

    def _forget(self) -> None:
        """Drop frames that lie further back than the left context."""
        surplus = self._settled - self._origin - self._pace.left // STRIDE
        if surplus > 0 and self._features is not None:
            self._features = self._features[surplus * STRIDE :]
            self._origin += surplus
