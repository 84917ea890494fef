"""Packed bytes -> plain bytes, under limits. The only place in ``data`` that inflates gzip, zlib or raw deflate.

Below the readers (NIfTI, deflated DICOM, NDJSON) and the archive. Knows no format but the three wrappings of deflate
(RFC 1950, 1951 and 1952).
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from medvox.data.limits import DEFAULT_LIMITS, MIB, Limits
from medvox.errors import BudgetError, InputError

Wrapping = Literal["gzip", "zlib", "raw"]

EXEMPT_BYTES = MIB  # a stream this small cannot hurt, whatever its ratio
LEAD_BYTES = 64 * MIB  # how far a stream may run ahead of its ratio: scans begin with slices of air
STEP_BYTES = 64 * 1024
_WINDOW_BITS: dict[Wrapping, int] = {"gzip": 31, "zlib": 15, "raw": -15}


def inflate(content: bytes, wrapping: Wrapping, name: str, *, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The plain bytes of a packed stream; ``name`` is the file to name in an error.

    Raises:
        BudgetError: ``E_INFLATE_LIMIT``, before more than the limit has been unpacked.
        InputError: ``E_INFLATE_CORRUPT`` (cut off, damaged, or followed by other bytes).
    """
    plain = io.BytesIO()
    for piece in inflated(io.BytesIO(content), wrapping, name, limits=limits):
        plain.write(piece)
    return plain.getvalue()


def open_inflated(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> io.BufferedReader:
    """A gzip file as a stream of its plain bytes; to be closed by the caller.

    Reading raises the errors of ``inflate``; opening raises ``InputError`` ``E_INPUT_UNREADABLE``.
    """
    try:
        packed = path.open("rb")
    except OSError as error:
        raise InputError(
            f"{path.name} cannot be opened", fix="check the path and the rights of the file", code="E_INPUT_UNREADABLE"
        ) from error
    return io.BufferedReader(_InflatedFile(packed, path.name, limits), STEP_BYTES)


def inflated(packed: BinaryIO, wrapping: Wrapping, name: str, *, limits: Limits = DEFAULT_LIMITS) -> Iterator[bytes]:
    """Unpack a seekable stream from where it stands, in pieces of at most 64 KiB.

    The ratio is judged on the whole stream, since the head of a scan is often empty, but no stream may run more than
    64 MiB ahead of the ratio of what was read so far. A gzip stream may have several members.

    Raises:
        BudgetError, InputError: as ``inflate``.
    """
    packed_bytes = _remaining(packed)
    whole = min(limits.inflate_bytes, max(EXEMPT_BYTES, limits.inflate_ratio * packed_bytes))
    read = given = members = 0
    fresh = b""
    while True:
        unpacker = zlib.decompressobj(_WINDOW_BITS[wrapping])
        members += 1
        if members > limits.files:
            raise _over(name, f"consists of more than {limits.files} packed streams")
        while not unpacker.eof:
            fresh = fresh or packed.read(STEP_BYTES)
            try:
                piece = unpacker.decompress(fresh, STEP_BYTES)
            except zlib.error as error:
                raise _corrupt(name, "cannot be unpacked: its packed bytes are damaged") from error
            if not piece and not fresh and not unpacker.eof:
                raise _corrupt(name, "cannot be unpacked: it ends early")
            left = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
            read += len(fresh) - len(left)
            fresh = left
            given += len(piece)
            if given > min(whole, LEAD_BYTES + limits.inflate_ratio * read):
                raise _over(name, f"unpacks to more than {min(given, whole) // MIB} MiB from {packed_bytes} bytes")
            if piece:
                yield piece
        fresh = _next_member(packed, fresh)
        if not fresh:
            return
        if wrapping != "gzip":
            raise _corrupt(name, "has other bytes after its packed bytes")


class _InflatedFile(io.RawIOBase):
    def __init__(self, packed: BinaryIO, name: str, limits: Limits) -> None:
        super().__init__()
        self._packed = packed
        self._pieces = inflated(packed, "gzip", name, limits=limits)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]  # the buffer protocol has no older name
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        count = min(len(self._rest), len(target))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        self._packed.close()
        super().close()


def _remaining(packed: BinaryIO) -> int:
    here = packed.tell()
    size = packed.seek(0, os.SEEK_END) - here
    packed.seek(here)
    return size


def _next_member(packed: BinaryIO, fresh: bytes) -> bytes:
    """The bytes after a member, less the zeros that writers pad with; empty at the end of the stream."""
    while True:
        fresh = fresh.lstrip(b"\0")
        if fresh:
            return fresh
        fresh = packed.read(STEP_BYTES)
        if not fresh:
            return b""


def _corrupt(name: str, problem: str) -> InputError:
    return InputError(f"{name} {problem}", fix="copy or export the file again", code="E_INFLATE_CORRUPT")


def _over(name: str, problem: str) -> BudgetError:
    fix = "check where the file is from; if you trust it, unpack it yourself or raise the limit"
    return BudgetError(f"{name} {problem}", fix=fix, code="E_INFLATE_LIMIT")
