"""Unpacking under limits: what comes out whole, and what is refused before it has filled the memory."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medvox.data.inflate import Wrapping, inflate, open_inflated
from medvox.data.limits import DEFAULT_LIMITS, MIB
from medvox.errors import BudgetError, InputError

NOISE = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
WINDOW_BITS: dict[Wrapping, int] = {"gzip": 31, "zlib": 15, "raw": -15}


def packed(content: bytes, wrapping: Wrapping = "gzip", level: int = 6) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, WINDOW_BITS[wrapping])
    return packer.compress(content) + packer.flush()


def packed_zeros(mebibytes: int, wrapping: Wrapping = "gzip") -> bytes:
    """Zeros packed 1:1000, without packing them all; the checksum at the end is wrong."""
    head = zlib.compressobj(9, zlib.DEFLATED, WINDOW_BITS[wrapping]).flush(zlib.Z_FULL_FLUSH)
    packer = zlib.compressobj(9, zlib.DEFLATED, WINDOW_BITS["raw"])
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * mebibytes + b"\x03\x00" + bytes(8)


def refusal(content: bytes, wrapping: Wrapping = "gzip", **limits: int) -> str:
    with pytest.raises((BudgetError, InputError)) as caught:
        inflate(content, wrapping, "scan.nii.gz", limits=replace(DEFAULT_LIMITS, **limits))
    assert caught.value.message.startswith("scan.nii.gz ")
    assert isinstance(caught.value, BudgetError) == (caught.value.code == "E_INFLATE_LIMIT")
    return caught.value.code


@pytest.mark.parametrize("wrapping", ["gzip", "zlib", "raw"])
@pytest.mark.parametrize("content", [b"", b"x", NOISE, bytes(900_000)])
def test_what_was_packed_comes_back(wrapping: Wrapping, content: bytes) -> None:
    assert inflate(packed(content, wrapping), wrapping, "x") == content


def test_a_gzip_of_several_members_comes_back_whole() -> None:
    assert inflate(packed(b"one ") + packed(b"") + packed(b"two"), "gzip", "x") == b"one two"


@pytest.mark.parametrize("wrapping", ["gzip", "zlib", "raw"])
def test_zeros_behind_the_stream_are_padding(wrapping: Wrapping) -> None:
    assert inflate(packed(b"text", wrapping) + bytes(100_000), wrapping, "x") == b"text"


@pytest.mark.parametrize("wrapping", ["zlib", "raw"])
def test_other_bytes_behind_the_stream_are_refused(wrapping: Wrapping) -> None:
    assert refusal(packed(NOISE, wrapping) + b"\0more", wrapping) == "E_INFLATE_CORRUPT"


@pytest.mark.parametrize("wrapping", ["gzip", "zlib", "raw"])
@pytest.mark.parametrize("kept", [0, 1, 9, 5_000, -1])
def test_a_stream_that_was_cut_off_is_refused(wrapping: Wrapping, kept: int) -> None:
    assert refusal(packed(NOISE, wrapping)[:kept], wrapping) == "E_INFLATE_CORRUPT"


@pytest.mark.parametrize("place", [0, 3, 5_000, -6])
def test_a_flipped_bit_is_refused(place: int) -> None:
    content = bytearray(packed(NOISE * 2))
    content[place] ^= 0x10
    assert refusal(bytes(content)) == "E_INFLATE_CORRUPT"


def test_a_stream_at_the_limit_passes_and_one_byte_more_is_refused() -> None:
    content = packed(NOISE)
    assert len(inflate(content, "gzip", "x", limits=replace(DEFAULT_LIMITS, inflate_bytes=300_000))) == 300_000
    assert refusal(content, inflate_bytes=299_999) == "E_INFLATE_LIMIT"


def test_the_ratio_counts_only_above_1_mib() -> None:
    assert len(inflate(packed(bytes(MIB)), "gzip", "x")) == MIB
    assert refusal(packed(bytes(MIB + 1))) == "E_INFLATE_LIMIT"


def test_a_scan_that_begins_with_air_is_no_bomb() -> None:
    scan = bytes(8 * MIB) + NOISE
    assert inflate(packed(scan), "gzip", "x") == scan


@pytest.mark.parametrize("wrapping", ["gzip", "zlib", "raw"])
def test_a_bomb_is_refused_at_once_and_in_little_memory(wrapping: Wrapping) -> None:
    bomb = packed_zeros(1024, wrapping)
    tracemalloc.start()
    started = time.process_time()
    assert refusal(bomb, wrapping) == "E_INFLATE_LIMIT"
    assert time.process_time() - started < 1
    assert tracemalloc.get_traced_memory()[1] < 200 * MIB
    tracemalloc.stop()


def test_a_bomb_that_is_padded_to_hide_its_ratio_is_refused_early() -> None:
    bomb = packed_zeros(128) + NOISE * 10
    tracemalloc.start()
    assert refusal(bomb) == "E_INFLATE_LIMIT"
    assert tracemalloc.get_traced_memory()[1] < 200 * MIB
    tracemalloc.stop()


def test_an_endless_row_of_empty_members_is_refused() -> None:
    assert refusal(packed(b"") * 101, files=100) == "E_INFLATE_LIMIT"


def test_a_file_is_read_as_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "lines.ndjson.gz"
    path.write_bytes(gzip.compress(b'{"a":1}\n{"b":2}\n' + NOISE))
    with open_inflated(path) as stream:
        assert stream.readline() == b'{"a":1}\n'
        assert stream.read(4) == b'{"b"'
        assert stream.read() == b":2}\n" + NOISE


def test_a_stream_stops_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(packed_zeros(300))
    with open_inflated(path) as stream, pytest.raises(BudgetError) as caught:
        stream.read()
    assert caught.value.code == "E_INFLATE_LIMIT"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        open_inflated(tmp_path / "none.gz")
    assert caught.value.code == "E_INPUT_UNREADABLE"
