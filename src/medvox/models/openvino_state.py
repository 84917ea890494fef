"""Whether OpenVINO can be used on this machine, and where the graphs made for it are kept.

Beside ``models/openvino_speech``, for all who ask before they load anything. Imports no torch, knows no model.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from medvox.types import cache_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Why OpenVINO cannot be used, and what to do."""

    found: str
    fix: str


def openvino_fault() -> Fault | None:
    """What keeps OpenVINO from running networks on this CPU; None where nothing does."""
    if importlib.util.find_spec("openvino") is None:
        return Fault(found="OpenVINO is not installed", fix="pip install 'medvox[fast]'")
    try:
        import openvino

        with own_signal_stack():
            openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except Exception as error:  # a package that is broken may raise anything
        return Fault(
            found=f"OpenVINO is installed, but does not run ({type(error).__name__})",
            fix="pip install --force-reinstall openvino",
        )
    return None


class _SignalStack(ctypes.Structure):
    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def own_signal_stack() -> Iterator[None]:
    """Gives the thread back the stack on which it handles signals.

    OpenVINO's CPU plugin puts one of its own in that place, and frees it with the plugin: the next Ctrl-C would crash.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    exchange, before = ctypes.CDLL(None).sigaltstack, _SignalStack()
    exchange(None, ctypes.byref(before))
    try:
        yield
    finally:
        exchange(ctypes.byref(before), None)


def graph_cache() -> Path:
    """Folder of the graphs; not made here."""
    return cache_folder("speech")
