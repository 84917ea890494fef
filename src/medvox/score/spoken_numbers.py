"""Numbers said in words -> digits, exactly as the English normaliser of Whisper does it, its oddities included.

A part of ``score/normalise``; the number words are shared with ``score/terms``. Knows no other rule of a normaliser.
Made for scoring both sides of a comparison alike, never for text that a clinician reads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

_UNDER_TWENTY = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ILLIONS = (
    "thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion decillion"
)
_IRREGULAR = {"first": (1, "st"), "second": (2, "nd"), "third": (3, "rd"), "fifth": (5, "th"), "twelfth": (12, "th")}

ZEROS = frozenset({"o", "oh", "zero"})
ONES = {name: number for number, name in enumerate(_UNDER_TWENTY.split(), start=1)}
TENS = {name: 10 * number for number, name in enumerate(_TENS.split(), start=2)}
MULTIPLIERS = {"hundred": 100} | {name: 1000**power for power, name in enumerate(_ILLIONS.split(), start=1)}
DECIMALS = frozenset({*ONES, *TENS, *ZEROS})

# Forms that end a number, with what is written behind the digits.
ENDINGS: dict[str, tuple[int, str]] = {
    **{"sixes" if name == "six" else f"{name}s": (number, "s") for name, number in ONES.items()},
    **{
        f"{name}h" if name.endswith("t") else f"{name}th": (number, "th")
        for name, number in ONES.items()
        if number not in (1, 2, 3, 5, 12)
    },
    "zeroth": (0, "th"),
    **_IRREGULAR,
    **{f"{name[:-1]}ies": (number, "s") for name, number in TENS.items()},
    **{f"{name[:-1]}ieth": (number, "th") for name, number in TENS.items()},
}
MULTIPLIER_ENDINGS = {
    **{f"{name}s": (number, "s") for name, number in MULTIPLIERS.items()},
    **{f"{name}th": (number, "th") for name, number in MULTIPLIERS.items()},
}

_SIGNS = {"minus": "-", "negative": "-", "plus": "+", "positive": "+"}
_CURRENCIES = {
    **dict.fromkeys(("pound", "pounds"), "£"),
    **dict.fromkeys(("euro", "euros"), "€"),
    **dict.fromkeys(("dollar", "dollars"), "$"),
    **dict.fromkeys(("cent", "cents"), "¢"),
}
_PREFIXES = frozenset("-+£€$¢")
_PERCENT = frozenset({"per", "percent"})
_SPECIAL = frozenset({"and", "double", "triple", "point"})
_NUMBER_WORDS = frozenset(
    {*DECIMALS, *ENDINGS, *MULTIPLIERS, *MULTIPLIER_ENDINGS, *_SIGNS, *_CURRENCIES, *_PERCENT, *_SPECIAL}
)
_DIGITS = re.compile(r"\d+(\.\d+)?")
MAX_DIGITS = 4000  # Python refuses to read longer whole numbers; longer ones stay as they are


def digits_for_words(text: str) -> str:
    """The text with its spoken numbers as digits: ``two hundred and five`` to ``205``, ``one oh one`` to ``101``."""
    words = _prepared(text).split()
    return _finished(" ".join(_Writer(words).written()))


def _prepared(text: str) -> str:
    """Halves as ``point five``, and a space between digits and letters unless they are an ending."""
    segments = re.split(r"\band\s+a\s+half\b", text)
    parts: list[str] = []
    for place, segment in enumerate(segments):
        if not segment.strip():
            continue
        parts.append(segment)
        if place < len(segments) - 1:
            last = segment.rsplit(maxsplit=2)[-1]
            parts.append("point five" if last in DECIMALS or last in MULTIPLIERS else "and a half")
    text = " ".join(parts)
    text = re.sub(r"([a-z])([0-9])", r"\1 \2", text)
    text = re.sub(r"([0-9])([a-z])", r"\1 \2", text)
    return re.sub(r"([0-9])\s+(st|nd|rd|th|s)\b", r"\1\2", text)


def _finished(text: str) -> str:
    """Cents joined to their currency; a lone 1 is the word again."""
    text = re.sub(r"([€£$])([0-9]+) (?:and )?¢([0-9]{1,2})\b", lambda m: f"{m[1]}{m[2]}.{int(m[3]):02d}", text)
    text = re.sub(r"[€£$]0.([0-9]{1,2})\b", lambda m: f"¢{int(m[1])}", text)
    return re.sub(r"\b1(s?)\b", r"one\1", text)


def _is_digits(word: str | None) -> bool:
    return word is not None and len(word) <= MAX_DIGITS and _DIGITS.fullmatch(word) is not None


def _fraction(text: str) -> Fraction | None:
    try:
        return Fraction(text)
    except ValueError:
        return None


class _Writer:
    """Reads words one by one; ``value`` is the number so far: whole, or digits that only grow by more digits."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.value: int | str | None = None
        self.prefix: str | None = None
        self.out: list[str] = []
        self.previous: str | None = None
        self.next: str | None = None

    def written(self) -> list[str]:
        """All words, numbers in digits."""
        skip = False
        for place, word in enumerate(self.words):
            if skip:
                skip = False
                continue
            self.previous = self.words[place - 1] if place else None
            self.next = self.words[place + 1] if place + 1 < len(self.words) else None
            skip = self._read(word)
        self._put_value()
        return self.out

    def _read(self, word: str) -> bool:
        """Take one word; True when the next one was taken with it."""
        has_prefix = word[0] in _PREFIXES
        if _is_digits(word[1:] if has_prefix else word):
            self._read_digits(word, has_prefix)
        elif word in ZEROS:
            self.value = f"{self.value or ''}0"
        elif word in ONES or word in TENS:
            self.value = self._with(ONES.get(word) or TENS[word])
        elif word in ENDINGS:
            number, ending = ENDINGS[word]
            self._put(f"{self._with(number)}{ending}")
        elif word in MULTIPLIERS:
            self.value = self._times(MULTIPLIERS[word])
        elif word in MULTIPLIER_ENDINGS:
            number, ending = MULTIPLIER_ENDINGS[word]
            self._put(f"{self._times(number)}{ending}")
        elif word in _SIGNS and (self.next in _NUMBER_WORDS or _is_digits(self.next)):
            self._put_value()
            self.prefix = _SIGNS[word]
        elif word in _CURRENCIES and self.value is not None:
            self.prefix = _CURRENCIES[word]
            self._put_value()
        elif word in _PERCENT and self.value is not None and (word == "percent" or self.next == "cent"):
            self._put(f"{self.value}%")
            return word == "per"
        elif word in _SPECIAL and (self.next in _NUMBER_WORDS or _is_digits(self.next)):
            return self._read_special(word)
        else:
            self._put_value()
            self._put(word)
        return False

    def _read_digits(self, word: str, has_prefix: bool) -> None:
        if isinstance(self.value, str) and self.value.endswith("."):
            self.value += word
            return
        self._put_value()
        number = word[1:] if has_prefix else word
        self.prefix = word[0] if has_prefix else self.prefix
        exact = Fraction(number)
        self.value = exact.numerator if exact.denominator == 1 else number

    def _read_special(self, word: str) -> bool:
        """``and``, ``double``, ``triple`` and ``point`` before something that can be a number."""
        if word == "and" and self.previous in MULTIPLIERS:
            return False
        if word == "point":
            if self.next in DECIMALS or _is_digits(self.next):
                self.value = f"{self.value or ''}."
            return False
        if word != "and" and (self.next in ONES or self.next in ZEROS):
            digits = str(ONES.get(self.next, 0)) * (2 if word == "double" else 3)
            self.value = f"{self.value or ''}{digits}"
            return True
        self._put_value()
        self._put(word)
        return False

    def _with(self, number: int) -> int | str:
        """The value with a number below a hundred behind it: added where it fits, else written behind."""
        value = self.value
        if value is None:
            return number
        if isinstance(value, str) or (number < 20 and self.previous in ONES):
            if number < 10 and self.previous in TENS:
                return f"{str(value)[:-1]}{number}"
            return f"{value}{number}"
        step = 10 if number < 10 else 100
        return value + number if value % step == 0 else f"{value}{number}"

    def _times(self, multiplier: int) -> int:
        """The value times a multiplier; digits that do not give a whole number are written out before it."""
        if self.value is None:
            return multiplier
        if isinstance(self.value, int):
            return self.value // 1000 * 1000 + self.value % 1000 * multiplier
        exact = _fraction(self.value)
        if exact is not None and (exact * multiplier).denominator == 1:
            return (exact * multiplier).numerator
        self._put_value()
        return multiplier

    def _put_value(self) -> None:
        if self.value is not None:
            self._put(str(self.value))

    def _put(self, text: str) -> None:
        """Write a word or the number so far, with the sign or currency that waits for it."""
        self.out.append(f"{self.prefix or ''}{text}")
        self.value = self.prefix = None
