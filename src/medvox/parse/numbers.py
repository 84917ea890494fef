"""Number words -> digits: cardinals to 999 999 999, decimals, ordinals and years, as English says them.

Used by ``parse/quantities``, which decides where digits are wanted. Only the one grammatical reading is taken:
``two five`` is no number here. A value is never changed, only its spelling. Knows no unit and no context.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
)
_ORDINALS = (
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth"
    " fifteenth sixteenth seventeenth eighteenth nineteenth"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SMALL = {word: value for value, word in enumerate(_SMALL.split())}
TENS = {word: 10 * value for value, word in enumerate(_TENS.split(), 2)}
_COMPOUND = {f"{ten}-{one}": TENS[ten] + SMALL[one] for ten in TENS for one in list(SMALL)[1:10]}
_ATOMS = SMALL | TENS | _COMPOUND
_ORDINAL_SMALL = {word: value for value, word in enumerate(_ORDINALS.split()) if value}
_ORDINAL_TENS = {ten[:-1] + "ieth": value for ten, value in TENS.items()}
DIGITS = re.compile(r"\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?")
Words = Sequence[str]  # in lower case; "" where no word stands


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """A number found in words.

    Attributes:
        text: in digits.
        end: index of the first word after it.
        spoken: it was said in words, not written in digits already.
        whole: its whole part.
        decimal: it has a decimal part.
    """

    text: str
    end: int
    spoken: bool
    whole: int
    decimal: bool = False


def _word(words: Words, at: int) -> str:
    return words[at] if 0 <= at < len(words) else ""


def below_hundred(words: Words, at: int) -> tuple[int, int] | None:
    """0 to 99, and where it ends."""
    word = _word(words, at)
    if word in TENS and 1 <= SMALL.get(_word(words, at + 1), 0) <= 9:
        return TENS[word] + SMALL[words[at + 1]], at + 2
    return (_ATOMS[word], at + 1) if word in _ATOMS else None


def _below_thousand(words: Words, at: int) -> tuple[int, int] | None:
    """0 to 999, and 1100 to 9900 said in hundreds."""
    found = below_hundred(words, at)
    if found is None:
        return None
    value, end = found
    if value == 0 or _word(words, end) != "hundred":
        return found
    return _with_rest(words, (100 * value, end + 1), 99)


def _with_rest(words: Words, head: tuple[int, int], most: int) -> tuple[int, int]:
    """Adds what follows a hundred or a thousand, unless it is the beginning of the next number."""
    value, end = head
    linked = _word(words, end) == "and"
    rest = below_hundred(words, end + linked) if most < 100 or linked else _below_thousand(words, end)
    begins_the_next = {"hundred"} if most < 100 else {"hundred", "thousand", "million"}
    if rest is None or not 0 < rest[0] <= most or _word(words, rest[1]) in begins_the_next:
        return head
    return value + rest[0], rest[1]


def _below_million(words: Words, at: int) -> tuple[int, int] | None:
    found = _below_thousand(words, at)
    if found is None or _word(words, found[1]) != "thousand" or not 0 < found[0] < 1000:
        return found
    return _with_rest(words, (1000 * found[0], found[1] + 1), 999)


def cardinal(words: Words, at: int) -> tuple[int, int] | None:
    """The whole number that begins here, and where it ends."""
    found = _below_million(words, at)
    if found is None or _word(words, found[1]) != "million" or not 0 < found[0] < 1000:
        return found
    millions, end = 10**6 * found[0], found[1] + 1
    rest = _below_million(words, end)
    if rest is None or rest[0] == 0 or _word(words, rest[1]) == "million":
        return millions, end
    return millions + rest[0], rest[1]


def number(words: Words, at: int) -> Number | None:
    """The number that begins here, in words or in digits, with its decimals."""
    written = DIGITS.fullmatch(_word(words, at))
    if written is not None:
        text, end, whole = written[0], at + 1, int(written[0].split(".")[0].replace(",", ""))
    else:
        found = cardinal(words, at)
        if found is None:
            return None
        whole, end = found
        text = str(whole)
    decimals = None if "." in text or "," in text else _decimals(words, end)
    if decimals is not None:
        return Number(text=f"{text}.{decimals[0]}", end=decimals[1], spoken=True, whole=whole, decimal=True)
    return Number(text=text, end=end, spoken=written is None, whole=whole, decimal="." in text)


def bare_decimal(words: Words, at: int) -> Number | None:
    """``point five``, written with a zero before it as safe prescribing asks."""
    found = _decimals(words, at)
    return found and Number(text=f"0.{found[0]}", end=found[1], spoken=True, whole=0, decimal=True)


def _decimals(words: Words, at: int) -> tuple[str, int] | None:
    """The digits after ``point``, and where they end."""
    if _word(words, at) != "point":
        return None
    digits, end = "", at + 1
    while (word := _word(words, end)) in {"oh", *SMALL} and SMALL.get(word, 0) <= 9:
        digits += str(SMALL.get(word, 0))
        end += 1
    if digits:
        return digits, end
    if re.fullmatch(r"\d+", word):
        return word, end + 1
    pair = below_hundred(words, end)
    return (str(pair[0]), pair[1]) if pair is not None else None


def ordinal(words: Words, at: int) -> tuple[int, int] | None:
    """1 to 99 as ``fifth`` or ``twenty first``, and where it ends."""
    word, following = _word(words, at), _word(words, at + 1)
    ten, _, one = word.partition("-")
    if ten in TENS and 1 <= _ORDINAL_SMALL.get(one, 0) <= 9:
        return TENS[ten] + _ORDINAL_SMALL[one], at + 1
    if word in TENS and 1 <= _ORDINAL_SMALL.get(following, 0) <= 9:
        return TENS[word] + _ORDINAL_SMALL[following], at + 2
    value = _ORDINAL_SMALL.get(word) or _ORDINAL_TENS.get(word)
    return (value, at + 1) if value else None


def ordinal_text(value: int) -> str:
    """21 -> ``21st``."""
    ending = "th" if value % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{value}{ending}"


def year(words: Words, at: int) -> tuple[int, int] | None:
    """1900 to 2099 as years are said: ``twenty twenty four``, ``nineteen oh five``, ``two thousand nineteen``."""
    word = _word(words, at)
    if re.fullmatch(r"(?:19|20)\d\d", word):
        return int(word), at + 1
    if word in {"nineteen", "twenty"}:
        century = 1900 if word == "nineteen" else 2000
        if _word(words, at + 1) == "oh" and 1 <= SMALL.get(_word(words, at + 2), 0) <= 9:
            return century + SMALL[words[at + 2]], at + 3
        rest = below_hundred(words, at + 1)
        return (century + rest[0], rest[1]) if rest is not None and rest[0] >= 10 else None
    found = cardinal(words, at)
    return found if found is not None and 2000 <= found[0] <= 2099 and words[at] == "two" else None


def said_in_pairs(words: Words, at: int) -> tuple[int, int] | None:
    """``one twenty`` for 120 and ``one oh five`` for 105, for places where nothing else can be meant."""
    hundreds = SMALL.get(_word(words, at), 0)
    if not 1 <= hundreds <= 9:
        return None
    if _word(words, at + 1) == "oh" and 1 <= SMALL.get(_word(words, at + 2), 0) <= 9:
        return 100 * hundreds + SMALL[words[at + 2]], at + 3
    rest = below_hundred(words, at + 1)
    return (100 * hundreds + rest[0], rest[1]) if rest is not None and rest[0] >= 10 else None
