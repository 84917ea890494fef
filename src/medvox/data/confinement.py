"""Take rights away from the present process for good: memory, time, files, processes, network.

Called in a child that is about to read untrusted bytes (``sandbox_child``). Linux only. Limits hold everywhere; the
filter of system calls (seccomp) holds on x86-64 and ARM64 kernels that allow it, and where it does not, network and
deleting are not prevented. Knows nothing of what the child reads.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from dataclasses import dataclass

from medvox.data.limits import Limits

OPEN_FILES = 256
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_SET_DUMPABLE = 1, 22, 38, 4
_FILTER_MODE = 2
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000  # seccomp(2): return values
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF instructions
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in seccomp_data
_X32_CALLS = 0x40000000
_EPERM, _ENOSYS = 1, 38
_CLONE_THREAD = 0x10000
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True, kw_only=True, slots=True)
class _Calls:
    """System calls of one architecture, by number.

    ``open`` calls are refused for writing only, ``clone`` for anything but a thread, ``hidden`` calls keep their flags
    behind a pointer and are answered as unknown, so that libc goes back to the older ones.
    """

    audit: int
    clone: int
    open_flags: tuple[tuple[int, int], ...]  # (call, argument that holds the flags)
    hidden: tuple[int, ...]
    refused: tuple[int, ...]


# In the order of the comments: sockets; programs and processes; other processes; files; the kernel.
_CALLS = {
    "x86_64": _Calls(
        audit=0xC000003E,
        clone=56,
        open_flags=((2, 1), (257, 2)),
        hidden=(435, 437),  # clone3, openat2
        refused=(
            41, 42, 43, 49, 50, 53, 288,  # socket connect accept bind listen socketpair accept4
            57, 58, 59, 322,  # fork vfork execve execveat
            62, 101, 200, 234, 310, 311, 424, 434, 438,  # kill ptrace tkill tgkill process_vm_* pidfd_*
            76, 82, 83, 84, 85, 86, 87, 88, 90, 91, 92, 93, 94, 132, 133, 235,  # truncate rename mkdir ... utimes
            258, 259, 260, 261, 263, 264, 265, 266, 268, 280, 316, 188, 189, 190, 197, 198, 199,  # ...at, xattr
            452, 29, 64, 68, 240,  # fchmodat2; shared memory, semaphores and queues
            155, 160, 161, 165, 166, 169, 175, 246, 248, 249, 250, 272, 298, 304, 308, 313, 321, 323, 425, 426, 427,
        ),
    ),
    "aarch64": _Calls(
        audit=0xC00000B7,
        clone=220,
        open_flags=((56, 2),),
        hidden=(435, 437),
        refused=(
            198, 199, 200, 201, 202, 203, 242,
            221, 281,
            117, 129, 130, 131, 270, 271, 424, 434, 438,
            33, 34, 35, 36, 37, 38, 45, 52, 53, 54, 55, 88, 276, 5, 6, 7, 14, 15, 16,
            452, 180, 186, 190, 194,
            39, 40, 41, 51, 97, 104, 105, 106, 142, 164, 217, 218, 219, 241, 265, 268, 273, 280, 282, 425, 426, 427,
        ),
    ),
}  # fmt: skip


def confine(limits: Limits) -> bool:
    """Confine this process; it cannot be undone. Returns whether system calls are filtered too."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _limit(resource.RLIMIT_CORE, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    _limit(resource.RLIMIT_AS, _address_space_bytes() + limits.child_bytes)
    resource.setrlimit(resource.RLIMIT_CPU, (limits.child_cpu_s, limits.child_cpu_s + 1))  # SIGXCPU, then SIGKILL
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    filtered = _filter_calls(libc)
    if not filtered:
        _limit(resource.RLIMIT_NPROC, 0)  # counts threads as well, which decoders may want
    return filtered


def _limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def _address_space_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _filter_calls(libc: ctypes.CDLL) -> bool:
    calls = _CALLS.get(platform.machine())
    if calls is None:
        return False
    program = _program(calls)
    code = ctypes.create_string_buffer(program)
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    return libc.prctl(_PR_SET_SECCOMP, _FILTER_MODE, ctypes.byref(head), 0, 0) == 0


def _program(calls: _Calls) -> bytes:
    """The filter in BPF: a row of comparisons, each of which returns or falls through to the next."""
    steps = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, calls.audit), _returns(_KILL), (_LOAD, 0, 0, _NUMBER)]
    steps += [(_AT_LEAST, 0, 1, _X32_CALLS), _returns(_KILL)]
    for call in calls.refused:
        steps += [(_EQUAL, 0, 1, call), _returns(_REFUSE | _EPERM)]
    for call in calls.hidden:
        steps += [(_EQUAL, 0, 1, call), _returns(_REFUSE | _ENOSYS)]
    for call, argument in calls.open_flags:
        steps += [(_EQUAL, 0, 4, call), _loads(argument), (_ANY_BIT, 0, 1, _WRITING), _returns(_REFUSE | _EPERM)]
        steps += [_returns(_ALLOW)]
    steps += [(_EQUAL, 0, 3, calls.clone), _loads(0), (_ANY_BIT, 1, 0, _CLONE_THREAD), _returns(_REFUSE | _EPERM)]
    steps += [_returns(_ALLOW)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _returns(value: int) -> tuple[int, int, int, int]:
    return _RETURN, 0, 0, value


def _loads(argument: int) -> tuple[int, int, int, int]:
    """The low half of an argument; both architectures are little-endian."""
    return _LOAD, 0, 0, _ARGUMENTS + 8 * argument
