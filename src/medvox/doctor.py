"""Check an installation: interpreter, packages, image and sound codecs, models, folders. Changes nothing.

A verb of its own: reads the catalog and the machine, never a scan, and imports no torch.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from medvox.catalog import MODELS, WEIGHTS, resolve_model, user_models
from medvox.errors import SetupError
from medvox.models.kernels.build import SWITCH, obstacle
from medvox.models.openvino_state import graph_cache, openvino_fault

State = Literal["ok", "note", "bad"]  # note: works, but something optional is missing

PACKAGES = (
    "torch", "numpy", "pydicom", "pillow", "pylibjpeg-openjpeg", "pyjpegls", "python-gdcm", "nibabel",
    "openslide-python", "openslide-bin", "pypdfium2", "soundfile", "soxr",
)  # fmt: skip
HUB_PACKAGES = ("safetensors", "tokenizers")
SUMS = WEIGHTS / "SHA256SUMS"  # as written by sha256sum, relative to WEIGHTS; `make sums` renews it
CODECS = {
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG baseline": "1.2.840.10008.1.2.4.50",
    "JPEG lossless": "1.2.840.10008.1.2.4.70",
    "RLE": "1.2.840.10008.1.2.5",
}
SOUND_FORMATS = ("WAV", "FLAC", "MP3", "OGG")


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was looked at: what was found, and what to do when it is not right."""

    name: str
    state: State
    found: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        """The check as a JSON object."""
        return asdict(self)


def examine() -> tuple[Check, ...]:
    """Look at everything that medvox stands on; quick, and without loading a model."""
    return (
        *_machine(),
        *(_package(name) for name in (*PACKAGES, *HUB_PACKAGES)),
        *_image_codecs(),
        _sound_formats(),
        _more_sound_formats(),
        *(_model(name) for name in MODELS),
        _models_folder(user_models()),
        _speech_engine(),
        _speech_search(),
    )


def _machine() -> list[Check]:
    version = platform.python_version()
    supported = (3, 11) <= sys.version_info[:2] < (3, 14)
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        Check(name="python", state="ok", found=version)
        if supported
        else Check(name="python", state="bad", found=version, fix="use Python 3.11, 3.12 or 3.13"),
        Check(name="platform", state="ok", found=f"{platform.system()} {platform.machine()}"),
        Check(name="cores", state="ok", found=str(os.cpu_count())),
        Check(name="memory", state="ok", found=f"{memory_gib:.1f} GiB"),
    ]


def _package(name: str) -> Check:
    try:
        return Check(name=name, state="ok", found=metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name=name, state="bad", found="not installed", fix=f"pip install {name}")


def _image_codecs() -> list[Check]:
    try:
        from pydicom.pixels.decoders.base import get_decoder
    except ImportError:
        return []  # already reported as a missing package
    return [
        Check(name=f"codec {name}", state="ok", found="decodes")
        if get_decoder(uid).is_available
        else Check(name=f"codec {name}", state="bad", found="no decoder", fix="install medvox's own dependencies again")
        for name, uid in CODECS.items()
    ]


def _sound_formats() -> Check:
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the package is there, its library libsndfile is not
        return Check(name="sound", state="bad", found="libsndfile does not load", fix="pip install --force soundfile")
    missing = [name for name in SOUND_FORMATS if name not in soundfile.available_formats()]
    if missing:
        return Check(
            name="sound", state="note", found=f"cannot read {', '.join(missing)}", fix="pip install -U soundfile"
        )
    return Check(name="sound", state="ok", found=f"reads {', '.join(SOUND_FORMATS)}")


def _more_sound_formats() -> Check:
    try:
        return Check(name="sound in films", state="ok", found=f"reads M4A, MP4, WEBM (av {metadata.version('av')})")
    except metadata.PackageNotFoundError:
        return Check(
            name="sound in films", state="note", found="M4A, MP4, WEBM are not read", fix="pip install 'medvox[audio]'"
        )


def _model(name: str) -> Check:
    label = f"model {name}"
    try:
        folder = resolve_model(name)
    except SetupError as error:
        state: State = "bad" if MODELS[name].shipped else "note"
        return Check(name=label, state=state, found="not on this machine", fix=error.fix)
    if folder.parent != WEIGHTS:
        return Check(name=label, state="ok", found=str(folder))
    changed = _changed_files(folder)
    if changed:
        fix = "install medvox again, or run `make sums` if you trained it yourself"
        return Check(name=label, state="bad", found=f"changed since it was shipped: {', '.join(changed)}", fix=fix)
    return Check(name=label, state="ok", found="present, SHA-256 as shipped")


def _changed_files(folder: Path) -> list[str]:
    """Names of the weight files in ``folder`` whose SHA-256 is not the one in ``SHA256SUMS``."""
    lines = SUMS.read_text().splitlines() if SUMS.is_file() else []
    expected = {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
    return [
        file.name
        for file in sorted(folder.glob("*.safetensors"))
        if hashlib.sha256(file.read_bytes()).hexdigest() != expected.get(f"{folder.name}/{file.name}")
    ]


def _speech_engine() -> Check:
    """What runs big speech models; small ones are run by PyTorch in any case."""
    instead = "big speech models run on PyTorch, three to four times slower"
    if fault := openvino_fault():
        return Check(name="speech engine", state="note", found=f"{fault.found}; {instead}", fix=fault.fix)
    if not _writable(graph_cache()):
        fix = "set MEDVOX_CACHE to a folder that you may write to"
        return Check(name="speech engine", state="note", found=f"{graph_cache()} cannot be written; {instead}", fix=fix)
    return Check(name="speech engine", state="ok", found=f"OpenVINO {metadata.version('openvino')} for big models")


def _speech_search() -> Check:
    """What searches words with a language model or hot words."""
    if found := obstacle():
        fix = f"install gcc or clang, unset {SWITCH}, and let ~/.cache be yours to write"
        return Check(
            name="speech search", state="note", found=f"{found}; searches in Python, some 15 times slower", fix=fix
        )
    return Check(name="speech search", state="ok", found="compiled C, made when it is first needed")


def _writable(folder: Path) -> bool:
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return os.access(nearest, os.W_OK)


def _models_folder(folder: Path) -> Check:
    if _writable(folder):
        return Check(name="models folder", state="ok", found=str(folder))
    fix = "set MEDVOX_MODELS to a folder that you may write to"
    return Check(name="models folder", state="note", found=f"{folder} cannot be written", fix=fix)
