"""Whether OpenVINO can be used on this machine, and where the graphs made for it are kept.

Beside ``models/openvino_speech``, for all who ask before they load anything. Imports no torch, knows no model.
"""

from __future__ import annotations

import importlib.util
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

        openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except Exception as error:  # a package that is broken may raise anything
        return Fault(
            found=f"OpenVINO is installed, but does not run ({type(error).__name__})",
            fix="pip install --force-reinstall openvino",
        )
    return None


def graph_cache() -> Path:
    """Folder of the graphs; not made here."""
    return cache_folder("speech")
