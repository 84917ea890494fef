"""Plain values <-> bytes, for results that come from a process that is not trusted.

Between ``sandbox`` and ``sandbox_child``. Carries numbers (``Decimal`` too), texts, bytes, paths, tuples, lists, dicts
with text keys, arrays of plain numbers, and the frozen dataclasses and enums of ``medvox.data`` and ``medvox.types``.
Reading builds nothing else, imports nothing and calls nothing, whatever the bytes say. Knows no socket and no reader.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import fields, is_dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

MAX_STRUCTURE_BYTES = 64 * 2**20
ALIGNED_BYTES = 16  # every array starts at a multiple of it
_DTYPES = {
    f"{order}{kind}" for order in "<|" for kind in ("b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
}
_HOMES = ("medvox.data.", "medvox.types")


def pack(value: Any) -> list[bytes | memoryview]:
    """The value as pieces that are to be sent one after the other.

    Raises:
        TypeError: something in it is no plain value.
    """
    blobs: list[bytes | memoryview] = []
    structure = json.dumps(_plain(value, blobs), separators=(",", ":")).encode()
    structure += b" " * (-(8 + len(structure)) % ALIGNED_BYTES)
    return [len(structure).to_bytes(8, "little"), structure, *blobs]


def unpack(content: bytearray) -> Any:
    """The value of packed bytes; arrays share their memory with ``content``.

    Raises:
        ValueError: the bytes are no packed value of the allowed kinds.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        if length > min(MAX_STRUCTURE_BYTES, len(content) - 8):
            raise ValueError("structure is too long")
        return _Reader(memoryview(content)[8 + length :]).value(json.loads(bytes(content[8 : 8 + length])))
    except (TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError, InvalidOperation) as error:
        raise ValueError("no packed value") from error


def _plain(value: Any, blobs: list[bytes | memoryview]) -> Any:
    """JSON where every value but None, bool, int, float and str is a one-key object that names its kind."""
    if value is None or type(value) in {bool, int, float, str}:
        return value
    if isinstance(value, np.generic):
        return _plain(value.item(), blobs)
    if isinstance(value, np.ndarray):
        value = np.asarray(value, value.dtype.newbyteorder("<"), order="C")
        if value.dtype.str not in _DTYPES:
            raise TypeError(f"an array of {value.dtype}")
        blobs += [memoryview(value.reshape(-1).view(np.uint8)), bytes(-value.nbytes % ALIGNED_BYTES)]
        return {"array": [value.dtype.str, list(value.shape)]}
    if isinstance(value, bytes):
        blobs += [value, bytes(-len(value) % ALIGNED_BYTES)]
        return {"bytes": len(value)}
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [_plain(item, blobs) for item in value]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": [[key, _plain(item, blobs)] for key, item in value.items()]}
    if _is_ours(type(value)) and isinstance(value, Enum):
        return {"enum": [_name(type(value)), value.name]}
    if _is_ours(type(value)) and is_dataclass(value):
        items = {field.name: _plain(getattr(value, field.name), blobs) for field in fields(value)}
        return {"value": [_name(type(value)), items]}
    raise TypeError(f"a {type(value).__name__}")


class _Reader:
    def __init__(self, blobs: memoryview) -> None:
        self._blobs = blobs
        self._place = 0

    def value(self, plain: Any) -> Any:
        if not isinstance(plain, dict):
            return plain
        ((kind, content),) = plain.items()
        if kind == "array":
            return self._array(*content)
        if kind == "bytes":
            return bytes(self._blob(content))
        if kind == "path":
            return Path(content)
        if kind == "decimal" and isinstance(content, str):
            return Decimal(content)
        if kind == "tuple":
            return tuple(self.value(item) for item in content)
        if kind == "list":
            return [self.value(item) for item in content]
        if kind == "dict":
            return {str(key): self.value(item) for key, item in content}
        found = _class(content[0])
        if kind == "enum" and issubclass(found, Enum):
            return found[content[1]]
        if kind == "value" and is_dataclass(found) and set(content[1]) == {field.name for field in fields(found)}:
            return found(**{name: self.value(item) for name, item in content[1].items()})
        raise ValueError("an unknown kind")

    def _array(self, dtype: str, shape: list[int]) -> Any:
        if dtype not in _DTYPES or not all(type(side) is int and side >= 0 for side in shape):
            raise ValueError("an array of a forbidden kind")
        return np.frombuffer(self._blob(math.prod(shape) * np.dtype(dtype).itemsize), dtype).reshape(shape)

    def _blob(self, count: int) -> memoryview:
        if count < 0 or self._place + count > len(self._blobs):
            raise ValueError("bytes are missing")
        start = self._place
        self._place += count + -count % ALIGNED_BYTES
        return self._blobs[start : start + count]


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith(_HOMES)


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _class(name: str) -> type:
    """A frozen dataclass or an enum of ours that is loaded already."""
    module, _, inner = name.partition(":")
    found = getattr(sys.modules.get(module), inner, None) if module.startswith(_HOMES) else None
    if isinstance(found, type) and _is_ours(found) and _name(found) == name:
        parameters = getattr(found, "__dataclass_params__", None)
        if issubclass(found, Enum) or (parameters is not None and parameters.frozen):
            return found
    raise ValueError("an unknown class")
