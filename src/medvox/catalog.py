"""Every name that a user can type, and what it stands for: models, presets, verbs.

Adding a thing is adding its file and one line here. Models are looked up on disk only; nothing is downloaded.
Must not import anything of the path: targets are strings, ``"module:object"``, and are loaded when asked for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from medvox.errors import SetupError

ModelKind = Literal["vlm", "asr"]

DEFAULT_VLM = "medvox-mini-vlm"
DEFAULT_ASR = "medvox-mini-asr"

WEIGHTS = Path(__file__).parent / "weights"  # the models that ship with the package
TYPICAL_SPEECH = Path(__file__).parent / "samples" / "speech.ogg"  # what 8-bit speech models are fitted to


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelEntry:
    """A model that medvox knows by name.

    Attributes:
        kind: ``vlm`` answers about images, ``asr`` recognises speech.
        shipped: whether the weights are part of the package.
        summary: one line for ``medvox models list``.
    """

    kind: ModelKind
    shipped: bool
    summary: str


MODELS: dict[str, ModelEntry] = {
    "medvox-mini-vlm": ModelEntry(
        kind="vlm", shipped=True, summary="small vision-language model, trained on generated CT; not for clinical use"
    ),
    "medvox-mini-asr": ModelEntry(
        kind="asr", shipped=True, summary="small speech model, trained on generated dictation; not for clinical use"
    ),
    "google/medgemma-1.5-4b-it": ModelEntry(kind="vlm", shipped=False, summary="Google MedGemma 1.5, 4.3 B parameters"),
    "google/medasr": ModelEntry(kind="asr", shipped=False, summary="Google MedASR, 105 M parameters"),
}

# A preset is called after what it is for; the first of a kind is the default.
PRESETS: dict[str, str] = {
    "ct.medgemma-1.5": "medvox.encode.ct:CT_MEDGEMMA_1_5",
    "ct.medgemma-1": "medvox.encode.ct:CT_MEDGEMMA_1",
    "mri.medgemma-1.5": "medvox.encode.mri:MRI_MEDGEMMA_1_5",
    "xray.medgemma-1.5": "medvox.encode.xray:XRAY_MEDGEMMA_1_5",
    "slide.medgemma-1.5-10x": "medvox.encode.slide:SLIDE_MEDGEMMA_1_5_10X",
    "slide.medgemma-1.5-5x": "medvox.encode.slide:SLIDE_MEDGEMMA_1_5_5X",
    "slide.medgemma-1.5-20x": "medvox.encode.slide:SLIDE_MEDGEMMA_1_5_20X",
    "slide.medgemma-1.5-tutorial": "medvox.encode.slide:SLIDE_MEDGEMMA_1_5_TUTORIAL",
    "page.medgemma-1.5": "medvox.encode.page:PAGE_MEDGEMMA_1_5",
}

PREPARERS: dict[str, str] = {
    "ct": "medvox.encode.ct:prepare_ct",
    "mri": "medvox.encode.mri:prepare_mri",
    "xray": "medvox.encode.xray:prepare_xray",
    "slide": "medvox.encode.slide:prepare_slide",
    "page": "medvox.encode.page:prepare_pages",
}

VERBS: dict[str, str] = {
    "ask": "medvox.answer:ask",
    "transcribe": "medvox.dictate:transcribe",
    "listen": "medvox.live_dictation:listen",
    "inspect": "medvox.inspection:inspect",
    "convert": "medvox.conversion:convert",
    "convert_all": "medvox.conversion:convert_all",
    "plan": "medvox.preparation:plan",
    "prep": "medvox.preparation:prep",
    "deid": "medvox.deidentification:deid",
    "demo": "medvox.demo:run_demo",
    "doctor": "medvox.doctor:examine",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelStatus:
    """A known model and where it lies; ``path`` is None when it is not on this machine."""

    name: str
    kind: ModelKind
    shipped: bool
    path: Path | None
    summary: str


def load(target: str) -> Any:
    """The object that a ``"module:object"`` target names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def user_models() -> Path:
    """The folder where people put models: ``$MEDVOX_MODELS``, else ``~/.cache/medvox/models``."""
    return Path(os.environ.get("MEDVOX_MODELS") or Path.home() / ".cache" / "medvox" / "models").expanduser()


def resolve_model(name_or_path: str | Path) -> Path:
    """The folder of a model, in the hub's layout.

    Names are looked up in the package's ``weights``, then in ``user_models()``; anything else must be a folder.

    Raises:
        SetupError: ``E_MODEL_MISSING`` when the model is known but not on disk, ``E_MODEL_UNKNOWN`` otherwise.
    """
    name = str(name_or_path)
    found = _find(name)
    if found is not None:
        return found
    if name in MODELS:
        raise SetupError(f"model {name} is not on this machine", fix=_how_to_get(name), code="E_MODEL_MISSING")
    folder = Path(name_or_path).expanduser()
    if _is_model(folder):
        return folder
    if folder.is_dir():
        raise SetupError(
            f"{folder.name} is not a model folder: it needs config.json and *.safetensors",
            fix="give a folder in the hub's layout, or a name from `medvox models list`",
            code="E_MODEL_MISSING",
        )
    raise SetupError(
        f"no model is called {name!r}",
        fix=f"use one of {', '.join(MODELS)}, or the path of a model folder",
        code="E_MODEL_UNKNOWN",
    )


def list_models() -> tuple[ModelStatus, ...]:
    """Every model that medvox knows, with its folder where it is on disk."""
    return tuple(
        ModelStatus(name=name, kind=entry.kind, shipped=entry.shipped, path=_find(name), summary=entry.summary)
        for name, entry in MODELS.items()
    )


def _find(name: str) -> Path | None:
    candidates = (WEIGHTS / name, user_models() / name, user_models() / name.rpartition("/")[2])
    return next((folder for folder in candidates if _is_model(folder)), None)


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def _how_to_get(name: str) -> str:
    if MODELS[name].shipped:
        return "install the package again: this model ships with it, in medvox/weights"
    return (
        f"accept its terms on the hub, then run `hf download {name} --local-dir {user_models() / name}` "
        "(any other way of putting its files there works too), or set MEDVOX_MODELS to the folder that holds it"
    )
