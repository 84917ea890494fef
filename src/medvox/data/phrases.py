"""A list of phrases that a recogniser should favour, one a line -> Phrase values. Beside ``record``; knows no model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.data.text_file import file_bytes, plain_text
from medvox.errors import InputError

WEIGHT_A_LETTER, LIGHT_LETTERS = 5.0, 2  # beyond the first two: short phrases are heard by mistake more easily


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrase:
    """A phrase, its weight (natural-log units), and the line that it stands on, from 1."""

    text: str
    weight: float
    line: int


def read_phrases(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> tuple[Phrase, ...]:
    """Read one phrase a line, with a weight behind a tab where the usual does not do. Lines with # first are comments.

    Raises:
        InputError: a weight that is no number above 0, or no phrase at all (``E_HOTWORDS_FILE``), and the errors of
            reading a text.
    """
    whole, _ = plain_text(file_bytes(path, most=limits.text_bytes), path.name, most=limits.text_bytes)
    found = []
    for number, line in enumerate(whole.splitlines(), start=1):
        phrase, _, weight = line.partition("\t")
        if phrase.strip() and not phrase.startswith("#"):
            text = " ".join(phrase.split())
            found.append(Phrase(text=text, weight=_weight(weight, text, path, number), line=number))
    if not found:
        raise InputError(f"{path.name} holds no phrase", fix="write one phrase a line", code="E_HOTWORDS_FILE")
    return tuple(found)


def _usual_weight(phrase: str) -> float:
    return WEIGHT_A_LETTER * max(1, sum(map(str.isalnum, phrase)) - LIGHT_LETTERS)


def _weight(given: str, phrase: str, path: Path, line: int) -> float:
    try:
        weight = float(given) if given.strip() else _usual_weight(phrase)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise InputError(
            f"{path.name}, line {line}: the weight behind the tab is no number above 0",
            fix="write a number such as 20, or leave it out",
            code="E_HOTWORDS_FILE",
        )
    return weight
