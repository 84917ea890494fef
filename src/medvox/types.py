"""Small words that every stage shares: array aliases, flags, where the cache is. Knows no stage.

Axes: B batch, T token positions, N images, S slices, R rows, C columns, F frames, M mel bands.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Voxels = NDArray[Any]  # (S, R, C): int16 Hounsfield units for CT; int16, uint16, int32 or float32 for others
Affine = NDArray[np.float64]  # (4, 4), index (slice, row, column, 1) -> LPS millimetres
RgbImages = NDArray[np.uint8]  # (N, H, W, 3)
Samples = NDArray[np.float32]  # (samples,), -1..1
Features = NDArray[np.float32]  # (F, M)
TokenIds = list[int]
Progress = Callable[[str, int, int], None]  # (what, done, total)


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """Something a reader of the result must know. It travels into the answer, the receipt and the report."""

    code: str
    text: str

    def as_dict(self) -> dict[str, str]:
        """The flag as the contract's JSON object."""
        return asdict(self)


def no_progress(what: str, done: int, total: int) -> None:
    """The progress reporter that reports nothing."""


def cache_folder(name: str) -> Path:
    """Where what can be made again is kept: ``name`` in ``$MEDVOX_CACHE``, else in ``medvox`` of the user's cache."""
    own = os.environ.get("MEDVOX_CACHE")
    return Path(own or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medvox") / name


def to_json(value: Any) -> Any:
    """JSON-ready form of frozen values: dataclasses to dicts, arrays and tuples to lists, floats kept."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: to_json(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value
