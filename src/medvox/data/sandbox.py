"""Run a reader on untrusted bytes in a confined child, so that the caller survives whatever they do.

For serving; the command line reads its user's own files in-process. Wraps any reader of ``data`` whose arguments and
result are plain values (``wire``): ``read_limited(read_utterance, path)``. Archives are unpacked before, since a child
may write nothing. Knows no format.

A child may hold ``limits.child_bytes`` above its start and run for ``limits.child_cpu_s``; it can open files only to
read them, start no process, and on x86-64 and ARM64 open no socket. See ``confinement`` for what holds where.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from medvox import errors
from medvox.data import wire
from medvox.data.limits import DEFAULT_LIMITS, MIB, Limits
from medvox.data.sandbox_child import HEAD_BYTES, STATUS
from medvox.errors import BudgetError, InputError, MedvoxError, SetupError, UsageError

T = TypeVar("T")

WALL_CLOCK = 1.5  # seconds on the wall per second of processor time
RESULT_ROOM = 256 * MIB  # a result may hold this much beside the decoded bytes


def read_limited(reader: Callable[..., T], *arguments: Any, limits: Limits = DEFAULT_LIMITS) -> T:
    """The result of ``reader(*arguments)``, run in a confined child; ``limits`` also go to a reader that takes them.

    The first call starts the process that forks the children (about a second); later calls take some 10 ms more than
    the reader. May be called from several threads at once.

    Raises:
        MedvoxError: what the reader raised.
        InputError: ``E_INPUT_CRASHED_READER`` (a signal, an error that is not ours, no proper result).
        BudgetError: ``E_INPUT_LIMIT`` (memory, time, size of the result).
        UsageError: ``E_SANDBOX_VALUE`` (an argument is no plain value, or the reader no function of a module).
        SetupError: ``E_SANDBOX`` (processes cannot be started here).
    """
    if getattr(sys.modules.get(reader.__module__), reader.__qualname__, None) is not reader:
        raise UsageError(
            "the reader is no function of a module", fix="pass the function itself", code="E_SANDBOX_VALUE"
        )
    try:
        payload = b"".join(wire.pack({"arguments": arguments, "limits": limits}))
    except TypeError as error:
        raise UsageError(
            "an argument of the reader is no plain value", fix="pass paths and bytes", code="E_SANDBOX_VALUE"
        ) from error
    request = wire.pack({"module": reader.__module__, "function": reader.__qualname__, "payload": payload})
    deadline = time.monotonic() + WALL_CLOCK * limits.child_cpu_s
    with _NURSERY.child(request) as channel:
        kind, content = _received(channel, deadline, limits.decoded_bytes + RESULT_ROOM)
    if kind == STATUS:
        raise _ended(int.from_bytes(content, "little", signed=True))
    return _result(content)


class _Nursery:
    """The process that forks the children; started when it is first needed, and again if it is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._owner = 0
        self._process: subprocess.Popen[bytes] | None = None

    def child(self, request: list[bytes | memoryview]) -> socket.socket:
        """The channel on which a new child will answer the request; closing it ends the child."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            for _ in range(2):
                try:
                    self._send(request, theirs)
                    return ours
                except OSError:
                    self._stop()
        ours.close()
        raise SetupError(
            "readers cannot be run in a child process", fix="check the limits of this account", code="E_SANDBOX"
        )

    def _send(self, request: list[bytes | memoryview], theirs: socket.socket) -> None:
        if self._control is None or self._owner != os.getpid():
            self._start()
        assert self._control is not None
        size = sum(len(piece) for piece in request)
        socket.send_fds(self._control, [size.to_bytes(8, "little")], [theirs.fileno()])
        for piece in request:
            self._control.sendall(piece)

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        self._owner = os.getpid()
        command = [
            sys.executable,
            "-P",
            "-m",
            "medvox.data.sandbox_child",
            str(theirs.fileno()),
            *filter(None, sys.path),
        ]
        threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        with theirs:
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # decoders print there, and what they print may come from the file
                stderr=subprocess.DEVNULL,
                env={**os.environ, **threads},
                start_new_session=True,
            )

    def _stop(self) -> None:
        if self._control is not None and self._owner == os.getpid():
            self._control.close()
            if self._process is not None:
                self._process.kill()
                self._process.wait()
        self._control = self._process = None


_NURSERY = _Nursery()


def _received(channel: socket.socket, deadline: float, most_bytes: int) -> tuple[bytes, bytearray]:
    """One framed message, or the status of a child that ended without one."""
    try:
        head = _exactly(channel, HEAD_BYTES, deadline)
        if head[:1] == STATUS:
            return STATUS, head[1:]
        length = int.from_bytes(head[1:], "little")
        if length > most_bytes:
            raise _over("gives more than the limit")
        return bytes(head[:1]), _exactly(channel, length, deadline)
    except TimeoutError as error:
        raise _over("takes too long") from error
    except (OSError, EOFError) as error:
        raise _crashed("ended without a result") from error


def _exactly(channel: socket.socket, count: int, deadline: float) -> bytearray:
    content = bytearray(count)
    view = memoryview(content)
    while view:
        channel.settimeout(max(0.001, deadline - time.monotonic()))
        received = channel.recv_into(view)
        if not received:
            raise EOFError
        view = view[received:]
    return content


def _result(content: bytearray) -> Any:
    try:
        answer = wire.unpack(content)
        ((kind, value),) = answer.items()
    except (ValueError, AttributeError) as error:
        raise _crashed("gave no proper result") from error
    if kind == "result":
        return value
    if kind == "failure":
        raise _over("takes too much memory") if value == "memory" else _crashed(f"failed ({str(value)[:40]})")
    raise _told(value)


def _told(error: Any) -> MedvoxError:
    """The error that a reader raised, if it is one of ours."""
    with contextlib.suppress(TypeError, KeyError, AttributeError):
        kind = vars(errors)[error["class"]]
        if issubclass(kind, MedvoxError) and all(isinstance(text, str) for text in error.values()):
            return kind(error["message"], fix=error["fix"], code=error["code"])
    return _crashed("gave no proper result")


def _ended(status: int) -> MedvoxError:
    if -status == signal.SIGXCPU:
        return _over("takes too long")
    return _crashed(f"was ended by signal {-status}" if status < 0 else "ended without a result")


def _crashed(what: str) -> InputError:
    fix = "export the file again; if it is sound, please report which program wrote it"
    return InputError(f"the reader of this file {what}", fix=fix, code="E_INPUT_CRASHED_READER")


def _over(what: str) -> BudgetError:
    fix = "give a smaller file, or raise the limits of the child process if you trust it"
    return BudgetError(f"reading this file {what}", fix=fix, code="E_INPUT_LIMIT")
