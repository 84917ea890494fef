"""A zip -> a folder for as long as it is needed. Everything else is given back as it is.

Before the readers: they see files on disk and never an archive. Knows nothing of what the members hold. A zip that is
itself a document (``[Content_Types].xml``: DOCX, XLSX) is no archive here, and an archive inside an archive stays
packed. No name of a member is ever written into a message, since names of patients are popular names of folders.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import struct
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from medvox.data.inflate import EXEMPT_BYTES, STEP_BYTES
from medvox.data.limits import DEFAULT_LIMITS, GIB, MIB, Limits
from medvox.errors import BudgetError, InputError, MedvoxError

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
DOCUMENT_MARK = b"[Content_Types].xml"
MAX_NAME_BYTES, MAX_PART_BYTES, MAX_DEPTH = 1024, 255, 32
KEPT_FREE_BYTES = 256 * MIB  # of the disk
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
_END, _END_64, _LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_END_BYTES, _LOCATOR_BYTES, _LOCAL_BYTES = 22, 20, 30
_ENCRYPTED = 0x1 | 0x40 | 0x2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Directory:
    """Where a zip lists its members: bytes from the start of the file, and how many members it claims."""

    start: int
    size: int
    members: int


@contextmanager
def unpacked(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> Iterator[Path]:
    """A folder with the members of a zip, removed on leaving; ``path`` itself for anything that is no zip.

    Raises:
        InputError: ``E_ARCHIVE_UNREADABLE``, ``E_ARCHIVE_CORRUPT``, ``E_ARCHIVE_EMPTY``, ``E_ARCHIVE_ENCRYPTED``,
            ``E_ARCHIVE_METHOD`` (neither stored nor deflated), ``E_ARCHIVE_NAME`` (a member that would leave the
            folder, hide or overwrite another), ``E_ARCHIVE_LINK`` (no regular file).
        BudgetError: ``E_ARCHIVE_LIMIT`` (members, sizes, ratio, overlap) or ``E_ARCHIVE_DISK``.
    """
    if not is_archive(path):
        yield path
        return
    with _folder(path.name) as folder:
        try:
            with path.open("rb") as file:
                _unpack(file, Path(folder), path.name, limits)
        except OSError as error:
            raise _failed(error, path.name) from error
        yield Path(folder)


def is_archive(path: Path) -> bool:
    """Whether the file is a zip by content and no document; False for what cannot be opened."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) in ZIP_MAGIC and not lists_member(file, DOCUMENT_MARK)
    except OSError:
        return False


def lists_member(file: BinaryIO, name: bytes) -> bool:
    """Whether the directory of a zip names the member, as far as its first MiB."""
    directory = find_directory(file)
    if directory is None:
        return False
    file.seek(directory.start)
    return name in file.read(min(directory.size, MIB))


def find_directory(file: BinaryIO) -> Directory | None:
    """The central directory (APPNOTE 4.3.12 to 4.3.16); None where the file does not end in one."""
    size = file.seek(0, os.SEEK_END)
    tail_start = max(0, size - _END_BYTES - 0xFFFF)
    file.seek(tail_start)
    tail = file.read()
    # the same order as zipfile: an end without a comment first, so that both see the same directory
    plain = len(tail) - _END_BYTES
    place = plain if plain >= 0 and tail[plain : plain + 4] == _END and tail[-2:] == b"\0\0" else tail.rfind(_END)
    if place < 0 or place + _END_BYTES > len(tail):
        return None
    members, length = struct.unpack_from("<HI", tail, place + 10)
    end = tail_start + place
    if place >= _LOCATOR_BYTES and tail[place - _LOCATOR_BYTES :].startswith(_LOCATOR_64):
        end = struct.unpack_from("<Q", tail, place - _LOCATOR_BYTES + 8)[0]
        if end + 56 > size:
            return None
        file.seek(end)
        record = file.read(56)
        if not record.startswith(_END_64):
            return None
        members, length = struct.unpack_from("<QQ", record, 32)
    return Directory(start=end - length, size=length, members=members) if length <= end else None


def _unpack(file: BinaryIO, folder: Path, name: str, limits: Limits) -> None:
    try:
        _count_members(file, name, limits)
        with zipfile.ZipFile(file) as archive:
            members = [member for member in _checked(archive.infolist(), name, limits) if not member.is_dir()]
            if not members:
                raise _refused(name, "holds no file", "EMPTY", "pack the study again")
            _check_places(file, archive.infolist(), name)
            _check_room(sum(member.file_size for member in members), folder, name)
            for number, member in enumerate(members, start=1):
                _write(archive, member, folder, f"member {number} of {name}")
    except (MedvoxError, OSError):
        raise
    except Exception as error:  # zipfile raises BadZipFile, struct.error, ValueError, NotImplementedError and others
        raise _corrupt(name) from error


def _count_members(file: BinaryIO, name: str, limits: Limits) -> None:
    """Count what the directory lists before zipfile builds an object for each."""
    directory = find_directory(file)
    if directory is None:
        raise _corrupt(name)
    if directory.size > limits.files * 1024:
        raise _over(name, f"lists more than {limits.files} members")
    file.seek(directory.start)
    listing = file.read(directory.size)
    place = count = 0
    while place < len(listing):
        if listing[place : place + 4] != b"PK\x01\x02" or place + 46 > len(listing):
            raise _corrupt(name)
        place += 46 + sum(struct.unpack_from("<HHH", listing, place + 28))
        count += 1
        if count > limits.files:
            raise _over(name, f"lists more than {limits.files} members")
    if count != directory.members:
        raise _corrupt(name)


def _checked(members: list[zipfile.ZipInfo], name: str, limits: Limits) -> list[zipfile.ZipInfo]:
    total = packed = 0
    files: set[str] = set()
    folders: set[str] = set()
    for number, member in enumerate(members, start=1):
        where = f"member {number} of {name}"
        _check_kind(member, where)
        _check_size(member, where, limits)
        total += member.file_size
        packed += member.compress_size
        parts = [unicodedata.normalize("NFC", part).casefold() for part in _parts(member, where)]
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts) + member.is_dir()))
        if not member.is_dir():
            if "/".join(parts) in files:
                raise _bad_name(where, "has the name of another member")
            files.add("/".join(parts))
    if files & folders:
        raise _bad_name(name, "has a file and a folder of the same name")
    if total > limits.archive_bytes:
        raise _over(name, f"unpacks to more than {limits.archive_bytes // GIB} GiB")
    if total > max(EXEMPT_BYTES, limits.inflate_ratio * packed):
        raise _over(name, f"unpacks to more than {limits.inflate_ratio} times its size")
    return members


def _check_kind(member: zipfile.ZipInfo, where: str) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise _refused(where, "is a link or a device", "LINK", "pack the files that the links point to")
    if member.flag_bits & _ENCRYPTED:
        raise _refused(where, "is encrypted", "ENCRYPTED", "unpack it with its password and give the folder")
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise _refused(where, "is packed in an unusual way", "METHOD", "unpack it yourself and give the folder")


def _check_size(member: zipfile.ZipInfo, where: str, limits: Limits) -> None:
    if member.file_size > limits.file_bytes:
        raise _over(where, f"unpacks to more than {limits.file_bytes / GIB:g} GiB")
    if member.file_size > max(EXEMPT_BYTES, limits.inflate_ratio * member.compress_size):
        raise _over(where, f"unpacks to more than {limits.inflate_ratio} times its size")


def _parts(member: zipfile.ZipInfo, where: str) -> list[str]:
    """The name as parts of a path below the folder; some writers part them with backslashes."""
    full = member.orig_filename.replace("\\", "/")
    if len(full.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES or any(map(_is_control, full)):
        raise _bad_name(where, "has an overlong name or one with control characters")
    parts = [part for part in full.removesuffix("/").split("/") if part != "."]
    if full.startswith("/") or ":" in full or ".." in parts or "" in parts or not parts:
        raise _bad_name(where, "would be written outside of its folder")
    if len(parts) > MAX_DEPTH or any(len(part.encode("utf-8", "surrogatepass")) > MAX_PART_BYTES for part in parts):
        raise _bad_name(where, "is nested too deep or has an overlong name")
    if any(part.split(".")[0].strip().casefold() in _RESERVED for part in parts):
        raise _bad_name(where, "has a name that is reserved for devices")
    return parts


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs"}


def _check_places(file: BinaryIO, members: list[zipfile.ZipInfo], name: str) -> None:
    """Each member has bytes of its own: members that share theirs multiply without being packed tightly."""
    free_from = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        file.seek(member.header_offset)
        header = file.read(_LOCAL_BYTES)
        if len(header) < _LOCAL_BYTES or not header.startswith(ZIP_MAGIC[0]):
            raise _corrupt(name)
        if member.header_offset < free_from:
            raise _over(name, "has members that overlap each other")
        lengths = sum(struct.unpack_from("<HH", header, 26))
        free_from = member.header_offset + _LOCAL_BYTES + lengths + member.compress_size
    directory = find_directory(file)
    if directory is None or free_from > directory.start:
        raise _over(name, "has members that overlap its directory")


def _check_room(needed: int, folder: Path, name: str) -> None:
    if shutil.disk_usage(folder).free < needed + KEPT_FREE_BYTES:
        raise _no_room(name)


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, where: str) -> None:
    """Unpack one member in small pieces; what the directory claimed is the most that is written."""
    target = folder.joinpath(*_parts(member, where))
    target.parent.mkdir(parents=True, exist_ok=True)
    written = checksum = 0
    with archive.open(member) as packed, target.open("xb") as plain:
        while piece := packed.read(STEP_BYTES):
            written += len(piece)
            if written > member.file_size:
                raise _corrupt(where)
            checksum = zlib.crc32(piece, checksum)
            plain.write(piece)
    if written != member.file_size or checksum != member.CRC:
        raise _corrupt(where)


def _folder(name: str) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="medvox-")
    except OSError as error:
        raise _no_room(name) from error


def _failed(error: OSError, name: str) -> MedvoxError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return _no_room(name)
    if error.errno == errno.EINVAL:  # a place before the start of the file
        return _corrupt(name)
    return _refused(name, "cannot be unpacked", "UNREADABLE", "check the rights of the file")


def _refused(name: str, problem: str, code: str, fix: str) -> InputError:
    return InputError(f"{name} {problem}", fix=fix, code=f"E_ARCHIVE_{code}")


def _corrupt(name: str) -> InputError:
    return _refused(name, "is damaged or cut off", "CORRUPT", "copy or download the archive again")


def _bad_name(name: str, problem: str) -> InputError:
    return _refused(name, problem, "NAME", "pack the files again with plain names, or give the unpacked folder")


def _over(name: str, problem: str) -> BudgetError:
    fix = "check where the archive is from; if you trust it, unpack it yourself and give the folder"
    return BudgetError(f"{name} {problem}", fix=fix, code="E_ARCHIVE_LIMIT")


def _no_room(name: str) -> BudgetError:
    fix = "free space in the folder for temporary files, or set TMPDIR to a larger disk"
    return BudgetError(f"{name} does not fit on the disk when unpacked", fix=fix, code="E_ARCHIVE_DISK")
