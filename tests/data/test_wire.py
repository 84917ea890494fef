"""Values that cross from a child: what was sent comes back, and nothing else can be built."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medvox.data.intake import Kind
from medvox.data.limits import DEFAULT_LIMITS
from medvox.data.volume import NotUsed, Source, Study
from medvox.data.wire import pack, unpack
from medvox.types import Flag


def sent(value: Any) -> Any:
    return unpack(bytearray(b"".join(pack(value))))


def forged(structure: Any, blobs: bytes = b"") -> bytearray:
    content = json.dumps(structure).encode()
    return bytearray(len(content).to_bytes(8, "little") + content + blobs)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -(2**70), 1.5, math.inf, "ü\u2028", b"\0\xff", b"", Path("/a/ü"), (), (1, ("a", None)), [1, [2]],
        {"a": {"b": (1,)}, "array": 1}, Kind.NIFTI, DEFAULT_LIMITS, Flag(code="F", text="t"),
        Study(series=(), not_used=(NotUsed(path="a", reason="b"),)), ({"bytes": 3}, b"abc", b"def"), Decimal("4.10"),
    ],
)  # fmt: skip
def test_plain_values_come_back_equal_and_of_the_same_type(value: Any) -> None:
    got = sent(value)
    assert got == value
    assert type(got) is type(value)


def test_nan_comes_back() -> None:
    assert math.isnan(sent(math.nan))


@pytest.mark.parametrize("dtype", ["bool", "u1", "i2", ">i2", "u2", "i4", "u4", "i8", "u8", "f4", ">f8"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (2, 3, 4)])
def test_arrays_come_back_equal_and_writeable(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    got = sent((b"x", array))[1]
    np.testing.assert_array_equal(got, array)
    assert got.shape == shape
    assert got.dtype == array.dtype.newbyteorder("=")
    assert got.flags.writeable
    assert got.flags.aligned


def test_an_array_of_strided_memory_comes_back() -> None:
    array = np.arange(60).reshape(3, 4, 5)[::-1, :, ::2].T
    np.testing.assert_array_equal(sent(array), array)


def test_a_decimal_keeps_its_digits() -> None:
    assert str(sent(Decimal("4.10"))) == "4.10"


@pytest.mark.parametrize(
    "value", [object(), {1: 2}, {1}, np.array(["a"]), np.array([None]), np.array(1j), print, ValueError("x"), Path]
)
def test_what_is_not_plain_is_not_sent(value: Any) -> None:
    with pytest.raises(TypeError):
        pack(value)


@pytest.mark.parametrize(
    "structure",
    [
        {"value": ["builtins:object", {}]},
        {"value": ["subprocess:Popen", {"args": "x"}]},
        {"value": ["medvox.data.volume:Source", {"name": "a"}]},
        {"value": ["medvox.data.volume:Source", {"name": "a", "sha256": "b", "more": 1}]},
        {"value": ["medvox.data.volume:Path", {}]},
        {"value": ["medvox.data.not_loaded:Thing", {}]},
        {"value": ["medvox.errors:InputError", {}]},
        {"value": ["medvox.data.inflate:open_inflated", {}]},
        {"value": ["medvox.data.wire:_Reader", {"blobs": 1}]},
        {"enum": ["medvox.data.intake:Kind", "_member_map_"]},
        {"enum": ["medvox.data.volume:Source", "name"]},
        {"array": ["|O", [1]]},
        {"array": ["<f4", [-1, -1]]},
        {"array": ["<f4", [2**62]]},
        {"array": ["<f4", [1.5]]},
        {"array": ["<f4", [True]]},
        {"bytes": -1},
        {"bytes": 10**9},
        {"bytes": "x"},
        {"path": 1},
        {"decimal": "four"},
        {"decimal": 4},
        {"unknown": 1},
        {"tuple": 5},
        {"dict": [[1]]},
        {"a": 1, "b": 2},
        {},
    ],
)
def test_forged_structures_are_refused(structure: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        unpack(forged(structure, b"\0" * 16))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        b"\x10\0\0\0\0\0\0\0{}",
        forged("x")[:9],
        b"\x02\0\0\0\0\0\0\0\xff\xff",
        len(b"[" * 200_000).to_bytes(8, "little") + b"[" * 200_000,
        (5000).to_bytes(8, "little") + b"9" * 5000,
    ],
)
def test_broken_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        unpack(bytearray(content))


def test_random_damage_gives_plain_values_or_a_value_error() -> None:
    good = bytearray(b"".join(pack((Source(name="a", sha256="b"), np.arange(4), b"xyz", Path("/a"), Kind.PDF))))
    random = np.random.default_rng(5)
    refused = 0
    for _ in range(500):
        content = bytearray(good)
        for _ in range(random.integers(1, 4)):
            content[random.integers(len(content))] = random.integers(256)
        try:
            unpack(content)
        except ValueError:
            refused += 1
    assert 200 < refused < 500
