"""The other side of ``sandbox``: a small process that forks a confined child for each file to be read.

Started by ``sandbox`` in a fresh interpreter, so that a child holds no model, no patient and no secret of the server,
and that nothing is forked beside running threads. It trusts the requests that it gets and nothing that a child says.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import inspect
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from medvox.data import wire
from medvox.data.confinement import confine
from medvox.data.limits import Limits
from medvox.errors import MedvoxError

RESULT, STATUS = b"R", b"S"
HEAD_BYTES = 9  # kind, length
MAX_ERROR_TEXT = 2000
# Loaded once here, which takes longer than to read most files: the readers, and what they would load late.
PRELOADED = (
    "medvox.data.dicom", "medvox.data.dicom_pictures", "medvox.data.document", "medvox.data.nifti",
    "medvox.data.picture", "medvox.data.record", "medvox.data.slide", "medvox.data.utterance",
    "av", "PIL.BmpImagePlugin", "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "PIL.TiffImagePlugin",
    "PIL.WebPImagePlugin",
)  # fmt: skip


def serve(control: socket.socket) -> None:
    """Fork a child for each request until the other end is closed."""
    children: dict[int, tuple[int, socket.socket]] = {}  # pidfd -> (pid, channel of the result)
    given_up: set[int] = set()  # channels whose other end is closed
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        fd = poll.poll()[0][0]  # one at a time: what a batch still names may be closed and used anew
        if fd == control.fileno():
            request, channel = _next_request(control)
            if channel is None:
                return
            pid, pidfd = _fork(request, channel)
            children[pidfd] = (pid, channel)
            poll.register(pidfd, select.POLLIN)
            poll.register(channel, 0)  # tells only when the other end hangs up
        elif fd in children:
            pid, channel = children.pop(fd)
            poll.unregister(fd)
            if channel.fileno() not in given_up:
                poll.unregister(channel)
            given_up.discard(channel.fileno())
            _bury(pid, fd, channel)
        else:
            poll.unregister(fd)
            given_up.add(fd)
            pidfd = next(pidfd for pidfd, (_, channel) in children.items() if channel.fileno() == fd)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _next_request(control: socket.socket) -> tuple[Any, socket.socket | None]:
    """One request: a length, the packed request, and the descriptor of the channel with the first byte."""
    head, descriptors, _, _ = socket.recv_fds(control, 8, 1)
    if not descriptors:
        return None, None
    content = bytearray(int.from_bytes(head, "little"))
    view = memoryview(content)
    while view:
        view = view[control.recv_into(view) :]
    return wire.unpack(content), socket.socket(fileno=descriptors[0])


def _fork(request: Any, channel: socket.socket) -> tuple[int, int]:
    with contextlib.suppress(Exception):  # loaded once, before forking; the child meets the same error and tells it
        importlib.import_module(request["module"])
    gc.freeze()
    pid = os.fork()
    if pid == 0:
        _child(request, channel)
    return pid, os.pidfd_open(pid)


def _bury(pid: int, pidfd: int, channel: socket.socket) -> None:
    """Tell how the child ended; whoever has got a result by now does not listen any more."""
    status = os.waitpid(pid, 0)[1]
    os.close(pidfd)
    with contextlib.suppress(OSError):
        channel.send(STATUS + os.waitstatus_to_exitcode(status).to_bytes(8, "little", signed=True), socket.MSG_DONTWAIT)
    channel.close()


def _child(request: Any, channel: socket.socket) -> NoReturn:
    """Read one file and leave; no error may get past this frame into the loop of the parent."""
    try:
        os.closerange(3, channel.fileno())
        os.closerange(channel.fileno() + 1, 65_536)
        reader = getattr(importlib.import_module(request["module"]), request["function"])
        payload = wire.unpack(bytearray(request["payload"]))  # after its classes have been loaded
        confine(payload["limits"])
        for piece in _framed(_answer(reader, payload["arguments"], payload["limits"])):
            channel.sendall(piece)
        os._exit(0)
    finally:
        os._exit(1)


def _answer(reader: Callable[..., Any], arguments: tuple[Any, ...], limits: Limits) -> list[bytes | memoryview]:
    try:
        options = {"limits": limits} if "limits" in inspect.signature(reader).parameters else {}
        return wire.pack({"result": reader(*arguments, **options)})
    except MedvoxError as error:
        texts = {name: text[:MAX_ERROR_TEXT] for name, text in error.as_dict().items()}
        return wire.pack({"error": {"class": type(error).__name__, **texts}})
    except MemoryError:
        return wire.pack({"failure": "memory"})
    except Exception as error:  # a reader let it through, which is a fault of ours: only its class is told
        return wire.pack({"failure": type(error).__name__})


def _framed(pieces: list[bytes | memoryview]) -> list[bytes | memoryview]:
    return [RESULT + sum(len(piece) for piece in pieces).to_bytes(8, "little"), *pieces]


def main() -> None:
    """Serve on the descriptor that the first argument names; the others are the search path of modules."""
    sys.dont_write_bytecode = True
    sys.path[:] = sys.argv[2:]
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
