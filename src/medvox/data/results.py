"""What medvox gives back: Answer, Box, Transcript. Values only, in the shape of the public JSON contracts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medvox.types import Flag, to_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A rectangle on a named image. ``box_xyxy`` is (x0, y0, x1, y1) in pixels of that image, y downwards.

    ``image`` names the image within the prompt, ``SLICE 7`` for the seventh slice shown to the model.
    """

    label: str
    box_xyxy: tuple[float, float, float, float]
    image: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """A recognised word with its time in the recording and its confidence (0 to 1)."""

    word: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcript:
    """The text of one recording. ``raw_text`` is what the decoder gave; ``text`` is formatted.

    ``file_sha256`` and ``model_sha256`` identify the recording and the weights; ``seconds`` is the time it took.
    """

    file: str
    text: str
    raw_text: str
    words: tuple[Word, ...]
    duration_s: float
    model: str
    flags: tuple[Flag, ...]
    file_sha256: str = ""
    model_sha256: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The transcript as the contract's JSON object."""
        return to_json(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An answer about images or text, with everything needed to check it.

    Attributes:
        answer: the model's text after thinking was removed.
        label: the parsed final answer, or None when the text has none.
        probability: probability of ``label`` among the allowed answers, or of its own tokens where a short answer is
            free; else None.
        boxes: boxes on the original images.
        flags: what a reader must know.
        transcript: the recognised question when it was spoken.
        receipt: what went into the model (``encode/receipt.py``), as JSON-ready values.
    """

    answer: str
    label: str | None
    probability: float | None
    boxes: tuple[Box, ...]
    flags: tuple[Flag, ...]
    transcript: Transcript | None
    receipt: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The answer as the contract's JSON object."""
        return to_json(self)
