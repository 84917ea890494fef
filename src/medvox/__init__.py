"""medvox: medical voxels and voice, from files on disk to an answer that can be traced.

The verbs are loaded on first use, so that ``import medvox`` costs nothing and never imports torch.

Example:
    >>> import medvox
    >>> answer = medvox.ask("Which body region does this CT show?", "ct_series/")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medvox.answer import ask as ask
    from medvox.conversion import convert as convert
    from medvox.conversion import convert_all as convert_all
    from medvox.deidentification import deid as deid
    from medvox.dictate import transcribe as transcribe
    from medvox.inspection import inspect as inspect
    from medvox.live_dictation import listen as listen
    from medvox.preparation import plan as plan
    from medvox.preparation import prep as prep

__version__ = "0.1.0"
__all__ = ["__version__", "ask", "convert", "convert_all", "deid", "inspect", "listen", "plan", "prep", "transcribe"]


def __getattr__(name: str) -> object:
    """Load a verb by its name in the catalog."""
    from medvox.catalog import VERBS, load

    if name not in VERBS:
        raise AttributeError(f"module 'medvox' has no attribute {name!r}")
    return load(VERBS[name])


def __dir__() -> list[str]:
    return sorted(__all__)
