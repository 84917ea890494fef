"""The receipt: what went into an answer and how, so that anyone can check or repeat it.

It travels with every answer. Stage two of the path begins it; the verb adds what the later stages know. Values only,
no patient text but the question.
"""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass
from typing import Any

from medvox.types import to_json

RESEARCH_USE = (
    "Research use only. Not a medical device. This answer is preliminary and may be wrong; a qualified person must "
    "review it before it is used for anything."
)
_PACKAGES = (
    "medvox", "nibabel", "numpy", "openslide-bin", "openslide-python", "pillow", "pydicom", "pyjpegls",
    "pylibjpeg-openjpeg", "pypdfium2", "python-gdcm", "soundfile", "soxr", "tokenizers", "torch",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """Everything needed to check an answer.

    Attributes:
        sources: name and SHA-256 of each file that was used, in order.
        series: uid, modality, why it was chosen, shape and spacing; None without images.
        slices: indices used and dropped; None without images.
        preset: name and hash of the input recipe; None without images.
        windows_hu: low and high of each channel; None without images.
        tokens: prompt, image and generated tokens.
        model: id, weights SHA-256.
        speech_model: the same for the recogniser; None when the question was typed.
        question: as typed or recognised.
        prompt_text: the prompt as the model read it, each picture shown once as its mark.
        raw_text: the model's text as it came, thinking included.
        decoding: greedy or sampling settings.
        seed: of sampling; None when greedy.
        seconds: per stage.
        versions: of medvox, Python and the packages that touch the data.
        research_use: the notice.
    """

    sources: tuple[dict[str, str], ...]
    series: dict[str, Any] | None
    slices: dict[str, Any] | None
    preset: dict[str, str] | None
    windows_hu: tuple[tuple[float, float], ...] | None
    tokens: dict[str, int]
    model: dict[str, str]
    speech_model: dict[str, str] | None
    question: str
    prompt_text: str
    raw_text: str
    decoding: str
    seed: int | None
    seconds: dict[str, float]
    versions: dict[str, str]
    research_use: str = RESEARCH_USE

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return to_json(self)


def versions() -> dict[str, str]:
    """Versions of medvox, Python and the packages that touch the data."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return found
