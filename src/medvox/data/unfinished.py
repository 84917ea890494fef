"""Rows of numbers that take long to compute, kept on disk so that an interrupted run goes on where it stopped.

For the log-probabilities of long recordings. They tell what was said: the file has a name that says nothing, is
readable by its owner alone, goes when the work is done, and after a week in any case. What cannot be kept (a full disk,
a home that is not writable, another process at the same work) is computed as if there were no file. Knows no model and
no sound.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medvox.errors import MedvoxError

Rows = NDArray[np.float32]  # (rows, width)

MAGIC = b"medvox rows 1\n"
SUFFIX = ".rows"
KEPT_S = 7 * 24 * 3600.0
_HEAD = struct.Struct("<32sQQ")  # key, rows, width
_PART = struct.Struct("<QI")  # rows, checksum


class UnfinishedRows:
    """Rows that grow to a known number.

    Attributes:
        rows: (rows, width), of which the first ``done`` are there.
        done: how many are there; those of the run before at first.
    """

    def __init__(self, shape: tuple[int, int], file: io.FileIO | None = None, key: bytes = b"") -> None:
        """Starts with what the file holds; a damaged one, or one of other work, is begun anew.

        Args:
            shape: rows in the end, and their width.
            file: where they are kept, open for reading and writing; None for memory alone.
            key: 32 bytes that tell this work from any other.
        """
        self.rows: Rows = np.empty(shape, np.float32)
        self.done = 0
        self._file = file
        head = MAGIC + _HEAD.pack(key.ljust(32, b"\0"), *shape)
        if file is not None and not self._read(file, head):
            self.done = 0
            self._write(head, at=0)

    def add(self, part: Rows) -> None:
        """Appends rows, (n, width)."""
        self.rows[self.done : self.done + len(part)] = part
        self.done += len(part)
        data = self.rows[self.done - len(part) : self.done].tobytes()
        self._write(_PART.pack(len(part), zlib.crc32(data)) + data)

    def _read(self, file: io.FileIO, head: bytes) -> bool:
        """Take what the file holds; the end of a part that was being written is cut off."""
        if file.read(len(head)) != head:
            return False
        end = file.tell()
        while len(record := file.read(_PART.size)) == _PART.size:
            count, checksum = _PART.unpack(record)
            if count > len(self.rows) - self.done:
                return False
            size = count * self.rows.shape[1] * 4
            data = file.read(size)
            if len(data) < size:
                break
            if zlib.crc32(data) != checksum:
                return False
            self.rows[self.done : self.done + count] = np.frombuffer(data, np.float32).reshape(count, -1)
            self.done += count
            end = file.tell()
        file.seek(end)
        file.truncate()
        return True

    def _write(self, data: bytes, *, at: int | None = None) -> None:
        """Append, or begin anew; where it fails, the file is given up."""
        if self._file is None:
            return
        try:
            if at is not None:
                self._file.seek(at)
                self._file.truncate()
            if self._file.write(data) != len(data):
                self._file = None
        except OSError:
            self._file = None


@contextmanager
def unfinished_rows(work: str, shape: tuple[int, int], folder: Path) -> Iterator[UnfinishedRows]:
    """The rows of some work, as far as they are known.

    The file goes when the block is left, unless it was interrupted: then it stays for the next run.

    Args:
        work: all that the rows depend on; only a hash of it is kept.
        shape: rows in the end, and their width.
        folder: where the file lies; made for its owner alone.
    """
    key = hashlib.sha256(work.encode()).digest()
    path = folder / f"{key.hex()[:32]}{SUFFIX}"
    file = _opened(path)
    if file is None:
        yield UnfinishedRows(shape)
        return
    finished = True
    try:
        yield UnfinishedRows(shape, file, key)
    except BaseException as error:
        finished = isinstance(error, MedvoxError)  # it would end the same way again
        raise
    finally:
        if finished:
            with suppress(OSError):
                path.unlink()
        file.close()


def _opened(path: Path) -> io.FileIO | None:
    """The file, ours alone; None where there can be none."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _forget_old(path.parent)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        file = io.FileIO(os.open(path, flags, 0o600), "r+")
    except OSError:
        return None
    if _taken(file):
        file.close()
        return None
    return file


def _taken(file: io.FileIO) -> bool:
    """Whether another process writes this file."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return False
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _forget_old(folder: Path) -> None:
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > KEPT_S:
                path.unlink()
