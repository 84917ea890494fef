"""The bytes of a NIfTI file under limits: opened, hashed, unpacked as they are read, never beyond what it promises.

Below ``data/nifti``, beside ``data/nifti_header``. Knows bytes and sizes, no geometry and no values.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from medvox.data.inflate import open_inflated
from medvox.data.limits import MIB, Limits
from medvox.data.nifti_header import NiftiHeader, header_size
from medvox.data.volume import Source
from medvox.errors import BudgetError, InputError

GZIP_MAGIC = b"\x1f\x8b"
STEP_BYTES = MIB


@dataclass(frozen=True, kw_only=True, slots=True)
class NiftiFile:
    """An open NIfTI file.

    Attributes:
        stream: its bytes, unpacked if it is a gzip file.
        source: its name and the SHA-256 of the file as it lies on disk.
        file_bytes: size on disk.
        packed: whether it is a gzip file.
    """

    stream: BinaryIO
    source: Source
    file_bytes: int
    packed: bool

    def take(self, count: int) -> bytes:
        """Exactly the next ``count`` bytes.

        Raises:
            InputError: ``E_NIFTI_TRUNCATED``, or that of ``data/inflate``.
        """
        try:
            content = self.stream.read(count)
        except OSError as error:
            raise damaged(self.source.name, "cannot be read", "E_INPUT_UNREADABLE") from error
        if len(content) < count:
            raise damaged(self.source.name, "ends before its header says", "E_NIFTI_TRUNCATED")
        return content

    def take_header(self) -> bytes:
        """The 348 or 540 bytes that describe the file."""
        start = self.take(4)
        return start + self.take(header_size(start, self.source.name) - 4)

    def skip_to_voxels(self, header: NiftiHeader) -> None:
        """Walk over the header extensions without keeping them: they can hold anything, names of patients too.

        Raises:
            InputError: ``E_NIFTI_EXTENSION``, a chain that does not fit.
        """
        place = header.header_bytes + 4
        extended = self.take(4)[0] != 0
        while extended and place + 8 <= header.data_offset:
            size = int(np.frombuffer(self.take(8), f"{header.order}i4")[0])
            if size == 0:  # padding
                place, extended = place + 8, False
            elif size % 16 or not 16 <= size <= header.data_offset - place:
                raise damaged(self.source.name, f"has a header extension of {size} bytes", "E_NIFTI_EXTENSION")
            else:
                self._skip(size - 8)
                place += size
        self._skip(header.data_offset - place)

    def check_end(self) -> None:
        """Nothing may follow the last voxel: the header would not describe the file.

        Raises:
            InputError: ``E_NIFTI_SIZE``, or that of ``data/inflate``.
        """
        if self.stream.read(1):
            raise damaged(self.source.name, "goes on after the last voxel of its header", "E_NIFTI_SIZE")

    def _skip(self, count: int) -> None:
        for done in range(0, count, STEP_BYTES):
            self.take(min(STEP_BYTES, count - done))


@contextmanager
def opened_nifti(path: Path, limits: Limits) -> Iterator[NiftiFile]:
    """Open and hash a file; on leaving without an error, see that it did not change meanwhile.

    Raises:
        InputError: ``E_INPUT_MISSING``, ``E_INPUT_UNREADABLE`` or ``E_NIFTI_CHANGED``.
        BudgetError: ``E_NIFTI_LIMIT``, a file larger than the limit.
    """
    if not path.is_file():
        raise InputError(f"{path.name} is not there, or no file", code="E_INPUT_MISSING", fix="Check the path.")
    try:
        before = path.stat()
        if before.st_size > limits.file_bytes:
            raise over_limit(path.name, f"has {before.st_size} bytes", limits.file_bytes)
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            source = Source(name=path.name, sha256=hashlib.file_digest(raw, "sha256").hexdigest())
        stream = open_inflated(path, limits=limits) if packed else path.open("rb")
    except OSError as error:
        raise damaged(path.name, "cannot be opened", "E_INPUT_UNREADABLE") from error
    with closing(stream):
        yield NiftiFile(stream=stream, source=source, file_bytes=before.st_size, packed=packed)
    if not _unchanged(path, before):
        raise damaged(path.name, "changed while it was read", "E_NIFTI_CHANGED")


def check_size(file: NiftiFile, header: NiftiHeader, decoded_bytes: int, limits: Limits) -> None:
    """What the header promises, against the limits and against what the file can hold; nothing is unpacked.

    Raises:
        InputError: ``E_NIFTI_TRUNCATED`` or ``E_NIFTI_SIZE``.
        BudgetError: ``E_NIFTI_LIMIT``.
    """
    name = file.source.name
    total = header.data_offset + header.volume_bytes * header.volumes
    if header.volumes > limits.frames:
        raise over_limit(name, f"holds {header.volumes} volumes", limits.frames)
    if decoded_bytes > limits.decoded_bytes:
        raise over_limit(name, f"needs {decoded_bytes} bytes of memory", limits.decoded_bytes)
    if not file.packed:
        if total != file.file_bytes:
            code = "E_NIFTI_TRUNCATED" if total > file.file_bytes else "E_NIFTI_SIZE"
            raise damaged(name, f"has {file.file_bytes} bytes, but its header promises {total}", code)
    elif total > limits.inflate_bytes:
        raise over_limit(name, f"unpacks to {total} bytes", limits.inflate_bytes)
    elif total > max(MIB, limits.inflate_ratio * file.file_bytes):
        raise over_limit(name, f"unpacks to {total // file.file_bytes} times its size", limits.inflate_ratio)


def damaged(name: str, problem: str, code: str) -> InputError:
    """The error for a file that is not what it promises."""
    return InputError(f"{name} {problem}", code=code, fix="Copy or export the file again.")


def over_limit(name: str, what: str, limit: int) -> BudgetError:
    """The error for a file that is too large."""
    return BudgetError(
        f"{name} {what}; the limit is {limit}",
        code="E_NIFTI_LIMIT",
        fix="Crop the volume, save it as .nii without gzip, or raise the limit.",
    )


def _unchanged(path: Path, before: os.stat_result) -> bool:
    try:
        after = path.stat()
    except OSError:
        return False
    return (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
