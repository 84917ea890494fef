"""Written text -> the places where a wrong word does harm: numbers, units, doses, sides, negations.

Used by ``parse/commands`` to mark words of low confidence. Reads the final text only; knows no sound and no confidence,
and changes nothing.
"""

from __future__ import annotations

import re
from enum import StrEnum

from medvox.parse.numbers import SMALL, TENS


class RiskKind(StrEnum):
    """Why a place in the text is risky."""

    NUMBER = "number"
    UNIT = "unit"
    DOSE = "dose"
    LATERALITY = "laterality"
    NEGATION = "negation"
    MARKUP = "markup"  # markup that could not be repaired


_WORDS = "|".join([*SMALL, *TENS, "hundred", "thousand", "million"])
_FIGURES = r"\d+(?:,\d+)*"
_NUMBER = rf"(?<![\w.])(?:[CTLS]?{_FIGURES}(?:[./:-]\d+)*(?:st|nd|rd|th)?|(?:{_WORDS})(?:-(?:{_WORDS}))?)(?![a-z])"
# What else stands behind a slash makes it a concentration: 95 mg/dL.
_DOSE_UNIT = r"(?:mcg|mg|g|mL|mEq|units?|tablets?|puffs?|drops)(?:/(?:kg|m2|s|min|h|day|week|dose))*\b(?!/)"
_UNIT = r"(?:%|°[CF]|degrees\b|(?:mm|cm|m|mcg|mg|kg|g|dL|mL|L|mEq|mmol|mmHg|cc|HU|bpm|cm2|cm3|Gy|mGy|cGy|mSv|Hz|MHz)"
_UNIT += r"(?:/\w+)*\b|units?\b)"
_PATTERNS = (
    (RiskKind.NUMBER, re.compile(_NUMBER, re.IGNORECASE)),
    (RiskKind.UNIT, re.compile(rf"(?<=\d){_UNIT}|(?<=\d\s){_UNIT}")),
    (RiskKind.DOSE, re.compile(rf"(?<![\w.]){_FIGURES}(?:\.\d+)?\s{_DOSE_UNIT}")),
    (RiskKind.LATERALITY, re.compile(r"\b(?:left|right|bilateral(?:ly)?|unilateral(?:ly)?)\b", re.IGNORECASE)),
    (
        RiskKind.NEGATION,
        re.compile(
            r"\b(?:no|not|non|without|den(?:y|ies|ied)|never|none|"
            r"neither|nor|negative|absent|cannot|\w+n't)\b",
            re.IGNORECASE,
        ),
    ),
)


def risks_of(text: str) -> tuple[tuple[RiskKind, int, int], ...]:
    """Every risky place: its kind and ``text[start:end]``, in the order of the text.

    Places of different kinds may overlap: a dose holds its number.
    """
    places = [(kind, found.start(), found.end()) for kind, pattern in _PATTERNS for found in pattern.finditer(text)]
    return tuple(sorted(places, key=lambda place: place[1:]))
