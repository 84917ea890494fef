"""Readers that misbehave, for the tests of the sandbox. Each is run in a confined child and must not get through."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvox.data.confinement import confine
from medvox.data.limits import Limits
from medvox.data.volume import NotUsed, Study
from medvox.errors import BudgetError


def echo(*values: Any) -> Any:
    return values


def own_limits(*, limits: Limits) -> Limits:
    return limits


def volume(side: int) -> NDArray[np.int16]:
    return np.arange(side**3, dtype=np.int16).reshape(side, side, side)


def study() -> Study:
    return Study(series=(), not_used=(NotUsed(path="a", reason="b"),))


def refuse() -> None:
    raise BudgetError("a.dcm is too large", fix="cut it", code="E_DRILL")


def fail() -> None:
    raise KeyError("the name of a patient")


def no_value() -> Any:
    return open(__file__)


def segfault() -> None:
    ctypes.string_at(1)


def abort() -> None:
    os.abort()


def leave() -> None:
    os._exit(0)


def spin() -> None:
    while True:
        pass


def sleep() -> None:
    time.sleep(60)


def eat_memory() -> int:
    return len(bytes(8 * 2**30))


def eat_memory_in_small_bites() -> int:
    eaten = []
    while True:
        eaten.append(bytearray(2**20))


def open_socket() -> str:
    return _refusal(socket.socket)


def fork() -> str:
    return _refusal(os.fork)


def execute() -> str:
    return _refusal(lambda: subprocess.run(["true"], check=False)) + _refusal(lambda: os.execv("/bin/true", ["true"]))


def signal_parent() -> str:
    return _refusal(lambda: os.kill(os.getppid(), signal.SIGKILL))


def write(path: Path) -> str:
    return _refusal(lambda: path.write_bytes(b"x"))


def append(path: Path) -> str:
    return _refusal(lambda: path.open("ab").write(b"x"))


def delete(path: Path) -> str:
    return _refusal(path.unlink)


def rename(path: Path) -> str:
    return _refusal(lambda: path.rename(path.with_suffix(".moved")))


def regain() -> str:
    """Try to undo the confinement."""
    import resource

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(22, 0, 0, 0, 0)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    return open_socket()


def thread() -> int:
    heard: list[int] = []
    started = threading.Thread(target=heard.append, args=(7,))
    started.start()
    started.join()
    return heard[0]


def descriptors() -> list[str]:
    """What is open beside the standard streams."""
    found = []
    for fd in range(3, 1024):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{fd}").split(":")[0])
    return found


def environment() -> list[str]:
    return sorted(sys.modules)


def confine_twice(limits: Limits) -> bool:
    return confine(limits)


def say(content: bytes) -> None:
    """Write to the channel of the result past the codec, as a child that was taken over could."""
    for fd in range(3, 64):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{fd}").startswith("socket"):
                os.write(fd, content)
    os._exit(0)


def _refusal(act: Any) -> str:
    try:
        act()
    except OSError as error:
        return type(error).__name__
    return "got through"
