"""Sound in blocks -> log-mel features, bit for bit those of ``speech.log_mel``, without ever holding all of the sound.

For recordings of hours, and for speech as it is spoken. Next in the path: ``models/listening`` and ``models/live``.
Knows no file, no microphone and no model.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medvox.encode.speech import FRAME_SAMPLES, HOP_SAMPLES, MEL_BANDS, SAMPLES_A_TOKEN_FRAME, frame_count, log_mel
from medvox.types import Features, Samples

FEWEST_FRAMES = frame_count(SAMPLES_A_TOKEN_FRAME)  # that ``log_mel`` takes


class FeatureStream:
    """Features as the sound comes in; none until there are 145 ms of it."""

    def __init__(self) -> None:
        """Starts at the first sample."""
        self._samples = np.empty(0, np.float32)
        self._given = 0  # frames of ``_samples`` that were given before

    def feed(self, samples: Samples) -> Features:
        """The frames that became whole, (f, 128) float32.

        Args:
            samples: the next ones, mono, 16 kHz, -1..1, any number.
        """
        self._samples = np.concatenate([self._samples, samples])
        frames = frame_count(len(self._samples))
        if frames < FEWEST_FRAMES or frames == self._given:
            return np.empty((0, MEL_BANDS), np.float32)
        features = log_mel(_cut(self._samples, min(self._given, frames - FEWEST_FRAMES), frames))
        new = features[len(features) - (frames - self._given) :]
        self._samples = self._samples[(frames - FEWEST_FRAMES) * HOP_SAMPLES :]
        self._given = FEWEST_FRAMES
        return new


class FeatureWindows:
    """Features of windows of a recording, asked for in order; what lies before a window is forgotten.

    A feature source of ``models/listening``, but for the border to torch.
    """

    def __init__(self, blocks: Iterator[Samples]) -> None:
        """Reads nothing yet.

        Args:
            blocks: all samples of the recording, mono, 16 kHz, -1..1.
        """
        self._blocks = blocks
        self._samples = np.empty(0, np.float32)
        self._first = 0  # frame that the first one held starts

    def __call__(self, first: int, last: int) -> Features:
        """The frames from ``first`` to ``last`` (exclusive), (last - first, 128) float32.

        Args:
            first: not before that of the window before.
            last: at least 13 frames later, and within the recording.
        """
        wanted = (last - self._first - 1) * HOP_SAMPLES + FRAME_SAMPLES
        while len(self._samples) < wanted and (block := next(self._blocks, None)) is not None:
            self._samples = np.concatenate([self._samples, block])
            surplus = min(first - self._first, len(self._samples) // HOP_SAMPLES)
            self._samples, self._first = self._samples[surplus * HOP_SAMPLES :], self._first + surplus
            wanted -= surplus * HOP_SAMPLES
        return log_mel(_cut(self._samples, first - self._first, last - self._first))


def _cut(samples: Samples, first: int, last: int) -> Samples:
    """The samples that the frames from ``first`` to ``last`` (exclusive) see."""
    return samples[first * HOP_SAMPLES : (last - 1) * HOP_SAMPLES + FRAME_SAMPLES]
