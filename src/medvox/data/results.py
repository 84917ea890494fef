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
    """A recognised word with its time in the recording and its confidence: up to 1, and 0 where it is not known."""

    word: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Risk:
    """A place in the written text where a wrong word does harm: ``Transcript.text[start:end]``.

    Attributes:
        kind: ``number``, ``unit``, ``dose``, ``laterality``, ``negation``, or ``markup`` that could not be repaired.
        text: what stands there.
        start: first character in the written text.
        end: the character after the last one.
        confidence: of the least sure word that it was written from; None where no word was heard for it (a template, an
            auto-text, a list number) or the recogniser gives no confidence.
        start_s: where these words begin in the recording; None as ``confidence``.
        end_s: where they end.
        unsure: the confidence is known and below the threshold; check this place first.
    """

    kind: str
    text: str
    start: int
    end: int
    confidence: float | None = None
    start_s: float | None = None
    end_s: float | None = None
    unsure: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcript:
    """The text of one recording.

    Attributes:
        file: name of the recording.
        text: formatted, as a clinician writes it.
        raw_text: what the decoder gave.
        words: of the raw text.
        duration_s: length of the recording.
        model: what heard it.
        flags: what a reader must know.
        risks: numbers, units, doses, sides and negations in ``text``, with how sure they are.
        alternatives: other raw texts, the likelier first, where they were asked for.
        confidence: expected share of right words (0 to 1); None where it is not known.
        file_sha256: identifies the recording.
        model_sha256: identifies the weights.
        seconds: the time it took.
    """

    file: str
    text: str
    raw_text: str
    words: tuple[Word, ...]
    duration_s: float
    model: str
    flags: tuple[Flag, ...]
    risks: tuple[Risk, ...] = ()
    alternatives: tuple[str, ...] = ()
    confidence: float | None = None
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
