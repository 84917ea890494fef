"""Keys and values of the positions that were already run. A global layer keeps all, a local layer its window.

Beside ``gemma.py``, which fills it, and ``engine.py``, which makes one per prompt. It knows no model and no tokens.

Axes: B batch, G key and value heads, S positions, E head size.
"""

from __future__ import annotations

from torch import Tensor

SLACK = 1024  # free positions in a fresh buffer


class LayerCache:
    """Keys and values of one layer.

    They lie in order in one buffer that is filled from its front. When it is full, what is still needed moves to the
    front of a fresh one, so that most new positions cost no copy.

    Attributes:
        keep: positions of the past that a new query still sees; None: all.
    """

    def __init__(self, keep: int | None) -> None:
        self.keep = keep
        self._buffer: Tensor | None = None  # (2, B, G, capacity, E): keys, values
        self._start = 0
        self._end = 0

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Adds T new positions (B, G, T, E); gives back keys and values of the kept past and the new ones, in order."""
        new = key.shape[2]
        if self.keep is not None:
            self._start = max(self._start, self._end - self.keep)
        if self._buffer is None or self._end + new > self._buffer.shape[3]:
            self._buffer = self._fresh_buffer(key, new + SLACK)
            self._start, self._end = 0, self._end - self._start
        self._buffer[0, :, :, self._end : self._end + new] = key
        self._buffer[1, :, :, self._end : self._end + new] = value
        self._end += new
        keys, values = self._buffer[:, :, :, self._start : self._end]
        return keys, values

    def fork(self) -> LayerCache:
        """An independent copy that can be continued differently."""
        copy = LayerCache(self.keep)
        if self._buffer is not None:
            copy._buffer = self._fresh_buffer(self._buffer[0], SLACK)
            copy._end = self._end - self._start
        return copy

    def _fresh_buffer(self, like: Tensor, room: int) -> Tensor:
        """A buffer with the kept past at its front and ``room`` free positions after it."""
        kept = self._end - self._start
        batch, groups, _, size = like.shape
        buffer = like.new_empty((2, batch, groups, kept + room, size))
        if self._buffer is not None:
            buffer[:, :, :, :kept] = self._buffer[:, :, :, self._start : self._end]
        return buffer


class KvCache:
    """One ``LayerCache`` per layer, and how many positions were run."""

    def __init__(self, keep: list[int | None]) -> None:
        self.layers = [LayerCache(positions) for positions in keep]
        self.length = 0

    def fork(self) -> KvCache:
        """An independent copy that can be continued differently."""
        copy = KvCache([])
        copy.layers = [layer.fork() for layer in self.layers]
        copy.length = self.length
        return copy
