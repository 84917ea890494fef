"""C sources beside this file -> loaded libraries, compiled once for each machine and kept in the user's cache.

Beside ``models/beam``; knows no tensor. Without a compiler, or when anything else is in the way, there is no library
and the caller goes its slower way, to the same results; ``obstacle`` says what is in the way. A library is known by the
hash of its source, the flags, and what the processor can do, so that neither an update nor a cache that several
machines share gives a wrong one; a damaged one is made anew.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import re
import shutil
import stat
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from medvox.types import cache_folder

HERE = Path(__file__).parent
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fPIC", "-shared")  # sums in the order in which they are written
LIBRARIES = ("-lm",)
TIMEOUT_S = 120
SUM_BYTES = 32
SWITCH = "MEDVOX_KERNELS"  # "off": compile and load nothing


@cache
def library(name: str, *flags: str) -> ctypes.CDLL | None:
    """The library of ``name.c``, compiled if need be; None where that cannot be.

    Args:
        name: of the source beside this file, without ``.c``.
        flags: for the compiler, beside ``FLAGS``, such as ``-march=native``.
    """
    if os.environ.get(SWITCH) == "off":
        return None
    source = (HERE / f"{name}.c").read_bytes()
    path = folder() / f"{name}-{_key(source, flags)}.so"
    try:
        if not _whole(path):
            if obstacle():
                return None
            _compile(source, path, flags)
        return ctypes.CDLL(str(path)) if _private(path) and _private(path.parent) else None
    except (OSError, subprocess.SubprocessError):
        return None


def obstacle() -> str:
    """What keeps C sources from being compiled here; empty where nothing does. Compiles nothing."""
    if os.environ.get(SWITCH) == "off":
        return f"switched off by {SWITCH}"
    if compiler() is None:
        return f"no C compiler ({', '.join(COMPILERS)}) is on the path"
    nearest = next(parent for parent in (folder(), *folder().absolute().parents) if parent.exists())
    if not os.access(nearest, os.W_OK):
        return f"{folder()} cannot be written"
    if nearest == folder() and not _private(nearest):
        return f"{folder()} must be yours, and writable by you alone"
    return ""


def compiler() -> str | None:
    """Path of the C compiler."""
    return next((found for name in COMPILERS if (found := shutil.which(name))), None)


def folder() -> Path:
    """Where compiled libraries are kept."""
    return cache_folder("kernels")


def _compile(source: bytes, path: Path, flags: tuple[str, ...]) -> None:
    """Write the library at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    os.close(handle)
    try:
        command = [str(compiler()), *FLAGS, *flags, "-x", "c", "-", "-o", partial, *LIBRARIES]
        subprocess.run(command, input=source, check=True, capture_output=True, timeout=TIMEOUT_S)
        with Path(partial).open("r+b") as file:
            file.write(_sum(file.read()))  # loaders do not mind what stands behind a library
        os.chmod(partial, 0o600)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _whole(path: Path) -> bool:
    """Whether the library is there, and ends in the sum of what stands before: loading half a library can crash."""
    data = path.read_bytes() if path.exists() else b""
    return len(data) > SUM_BYTES and _sum(data[:-SUM_BYTES]) == data[-SUM_BYTES:]


def _sum(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _private(path: Path) -> bool:
    """Whether the path is ours and nobody else can write to it: what is loaded from there runs as we do."""
    found = path.stat()
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _key(source: bytes, flags: tuple[str, ...]) -> str:
    parts = (source, *(flag.encode() for flag in (*FLAGS, *flags)), platform.machine().encode(), _features().encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]


def _features() -> str:
    """What the processor can do, as the system lists it."""
    try:
        listed = re.search(r"^(?:flags|Features)\s*:(.*)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    except OSError:
        return platform.processor()
    return listed[1] if listed else platform.processor()
