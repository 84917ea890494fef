"""Recognised text beside written text -> which numbers, units, sides and negations do not stand in both.

A check on the whole writing, so it shares no table with it but the reading of markup, and works the other way round:
written numbers are read aloud in every way that people say them, and one of them must be what was heard.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from medvox.parse.markup import read_markup, word_set
from medvox.parse.risks import RiskKind

_Said = tuple[str, ...]  # words
_Items = list[tuple[_Said, ...]]  # each with every way to say it, the plainest first

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)
_ONES, _TENS = _SMALL.split()[:20], _SMALL.split()[20:]
_ORDINAL_OF = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_ORDINAL_OF |= {"twelve": "twelfth"} | {ten: f"{ten[:-1]}ieth" for ten in _TENS}
_ORDINALS = {_ORDINAL_OF.get(word, f"{word}th") for word in [*_ONES[1:], *_TENS]}
_NUMBER_WORDS = {*_ONES, *_TENS, *_ORDINALS, "hundred", "thousand", "million", "point", "half"}
_MONTHS = word_set("january february march april may june july august september october november december")
_NEGATIONS = word_set("no not non without deny denies denied never none neither nor negative absent cannot")
_SIDES = word_set("left right bilateral bilaterally unilateral unilaterally")

_PREFIXES = {"": "", "milli": "m", "centi": "c", "kilo": "k", "deci": "d", "nano": "n", "micro": "u"}
_BASES = {"meter": "m", "gram": "g", "liter": "l", "equivalent": "eq", "mole": "mol", "gray": "gy", "sievert": "sv"}
_MEASURES = {prefix + base: m + b for prefix, m in _PREFIXES.items() for base, b in _BASES.items()}
_SHORT = {short: (word,) for word, short in _MEASURES.items() if len(short) > 1} | {
    "hz": ("hertz",),
    "khz": ("kilohertz",),
    "mhz": ("megahertz",),
    "mcg": ("microgram",),
    "mmhg": ("millimeter", "mercury"),
    "hg": ("mercury",),
    "hu": ("hounsfield", "unit"),
    "bpm": ("beat", "minute"),
    "%": ("percent",),
    "°": ("degree",),
    "mm2": ("square", "millimeter"),
    "mm3": ("cubic", "millimeter"),
    "cm2": ("square", "centimeter"),
    "cm3": ("cubic", "centimeter"),
    "m2": ("square", "meter"),
    "m3": ("cubic", "meter"),
}
_ALONE = {"m": "meter", "g": "gram", "l": "liter"}  # units right behind a number or a slash only
_PER = {"h": "hour", "s": "second", "min": "minute", "second": "second"}  # behind a slash only
_WORDS = word_set(
    "percent mercury hounsfield square cubic degree celsius fahrenheit unit hertz kilohertz megahertz feet seconds inch"
    " pound ounce day week month year hour minute tablet capsule puff drop dose beat breath gauge tesla pack french cc"
).union(_MEASURES)
_IRREGULAR = {"centigrade": "celsius", "celsius": "celsius", "inches": "inch", "seconds": "seconds"}
_LETTERS = re.compile(r"\b(?:m m|c m|m g|m l|c c)\b")
_SLASH = re.compile(r"\b(?:per|slash)\b")
_TOKEN = re.compile(
    r"(?P<number>\d{1,3}(?:,\d{3})+(?![\d,])(?:\.\d+)?|\d+(?:\.\d+)?)(?P<ending>st|nd|rd|th)?"
    r"|\b[cm]?m[23]\b|[a-z]+(?:'[a-z]+)?|[%°/]"
)


def changed_risks(raw: str, text: str) -> tuple[RiskKind, ...]:
    """The kinds of risk that do not stand in both texts, in the same order and with the same values.

    Args:
        raw: as recognised; braces are read. Passages that were taken back by voice must be left out by the caller.
        text: as written.
    """
    heard, written = _read(_spoken_out(raw)), _read(text.lower())
    return tuple(kind for kind in heard if not _same([ways[0] for ways in heard[kind]], written[kind]))


def _spoken_out(raw: str) -> str:
    """The words with the names of commands in the place of braces."""
    return " ".join(token.text for token in read_markup(raw)).lower()


def _read(text: str) -> dict[RiskKind, _Items]:
    """Everything risky in a text, by kind."""
    found: dict[RiskKind, _Items] = {
        kind: [] for kind in (RiskKind.NUMBER, RiskKind.UNIT, RiskKind.LATERALITY, RiskKind.NEGATION)
    }
    text = _LETTERS.sub(lambda letters: letters[0].replace(" ", ""), _SLASH.sub("/", text))
    parts = list(_TOKEN.finditer(text))
    words = ["", *(part[0] for part in parts), ""]
    for before, part, after in zip(words, parts, words[2:], strict=False):
        word = part[0]
        if part["number"]:
            found[RiskKind.NUMBER].append(tuple(_ways(part["number"], part["ending"], dated=before in _MONTHS)))
        elif unit := (_unit_alone(text, part, before, after) if word in _ALONE else _unit(word, before)):
            found[RiskKind.UNIT].append((unit,))
        elif (word in _NUMBER_WORDS or word == "oh") and before != "exclamation":
            found[RiskKind.NUMBER].append((("zero" if word == "oh" else word,),))
        elif word in _SIDES and not after.startswith("paren"):
            found[RiskKind.LATERALITY].append(((word,),))
        elif word in _NEGATIONS or word.endswith("n't"):
            found[RiskKind.NEGATION].append(((word,),))
    return found


def _unit_alone(text: str, part: re.Match[str], before: str, after: str) -> _Said:
    """m, g or L behind a number or a slash; the L of a vertebra has its number behind it."""
    if text[part.end() : part.end() + 1].isdigit():
        return ()
    counted = before == "/" or (
        before[:1].isdigit() and re.search(r"(?<![a-z])[\d.,]+ ?$", text[max(0, part.start() - 20) : part.start()])
    )
    spoken = before in _NUMBER_WORDS and after not in _NUMBER_WORDS
    return (_ALONE[part[0]],) if counted or spoken else ()


def _unit(word: str, before: str) -> _Said:
    """A unit in full, in the singular; empty where the word is none."""
    if before == "/" and word in _PER:
        return (_PER[word],)
    if before == "°" and word in {"c", "f"}:
        return ("celsius" if word == "c" else "fahrenheit",)
    if word == "cent" and before == "/":
        return ("percent",)
    if word in _SHORT:
        return _SHORT[word]
    word = re.sub("(met|lit)re", r"\1er", word)
    word = _IRREGULAR.get(word, word.removesuffix("s"))
    return (word,) if word in _WORDS else ()


def _ways(digits: str, ending: str | None, *, dated: bool) -> Iterator[_Said]:
    """Every way to say a written number."""
    whole, _, decimals = digits.replace(",", "").partition(".")
    if ending or (dated and not decimals and int(whole) <= 31):
        if not ending:
            yield _cardinal(int(whole))
        *tens, last = _cardinal(int(whole))
        yield (*tens, _ORDINAL_OF.get(last, f"{last}th"))
        return
    if decimals:
        ends = {tuple(_ONES[int(digit)] for digit in decimals): None}
        if len(decimals) == 2 and decimals[0] != "0":
            ends[_cardinal(int(decimals))] = None
        for end in ends:
            yield (*_whole(whole), "point", *end)
            if whole == "0":
                yield ("point", *end)
        if decimals == "5":
            yield (*_whole(whole), "half")
        return
    yield _whole(whole)
    yield from _in_pairs(whole)


def _whole(digits: str) -> _Said:
    if len(digits) > 9 or (len(digits) > 1 and digits[0] == "0"):
        return tuple(_ONES[int(digit)] for digit in digits)
    return _cardinal(int(digits))


def _cardinal(value: int) -> _Said:
    for name, size in (("million", 10**6), ("thousand", 1000), ("hundred", 100)):
        if value >= size:
            rest = _cardinal(value % size) if value % size else ()
            return (*_cardinal(value // size), name, *rest)
    if value < 20:
        return (_ONES[value],)
    return (_TENS[value // 10 - 2], *((_ONES[value % 10],) if value % 10 else ()))


def _in_pairs(digits: str) -> Iterator[_Said]:
    """``one twenty``, ``twenty twenty four``, ``nineteen oh five`` and ``fifteen hundred``."""
    if len(digits) not in {3, 4} or digits[0] == "0":
        return
    high, low = int(digits[:-2]), int(digits[-2:])
    if low >= 10:
        yield (*_cardinal(high), *_cardinal(low))
    elif low:
        yield (*_cardinal(high), "zero", _ONES[low])
    if high > 10 and high % 10:
        yield (*_cardinal(high), "hundred", *(_cardinal(low) if low else ()))


def _same(heard: Sequence[_Said], written: _Items) -> bool:
    """Whether what was heard can be cut into ways to say what is written, in order."""
    words = [word for said in heard for word in said]
    reached = {0}
    for ways in written:
        reached = {at + len(way) for at in reached for way in ways if tuple(words[at : at + len(way)]) == way}
    return len(words) in reached
