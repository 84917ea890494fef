"""Spoken numbers -> written numbers with units, ranges, sizes, pressures, ages, levels of the spine and dates.

Between ``parse/spoken`` and the writing in ``parse/commands``. Numbers become digits where a unit or a medical word
asks for it or above nine; what can be read two ways (``one twenty milligrams``) stays in words. Knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from medvox.parse.markup import Kind, Token, span_of, word_set
from medvox.parse.numbers import (
    SMALL,
    TENS,
    Number,
    Words,
    bare_decimal,
    cardinal,
    number,
    ordinal,
    ordinal_text,
    said_in_pairs,
    year,
)

_ABBREVIATED = {
    "millimeter": "mm",
    "centimeter": "cm",
    "kilometer": "km",
    "meter": "m",
    "nanometer": "nm",
    "milligram": "mg",
    "microgram": "mcg",
    "nanogram": "ng",
    "kilogram": "kg",
    "gram": "g",
    "milliliter": "mL",
    "deciliter": "dL",
    "microliter": "uL",
    "liter": "L",
    "milliequivalent": "mEq",
    "millimole": "mmol",
    "centigray": "cGy",
    "milligray": "mGy",
    "millisievert": "mSv",
    "kilohertz": "kHz",
    "megahertz": "MHz",
    "hertz": "Hz",
}
_BRITISH = {word.replace("meter", "metre").replace("liter", "litre"): short for word, short in _ABBREVIATED.items()}
UNITS = {plural: short for word, short in (_ABBREVIATED | _BRITISH).items() for plural in (word, f"{word}s")} | {
    "percent": "%",
    "per cent": "%",
    "millimeters of mercury": "mmHg",
    "mm hg": "mmHg",
    "beats per minute": "bpm",
    "breaths per minute": "breaths/min",
    "hounsfield units": "HU",
    "hounsfield unit": "HU",
    "degrees celsius": "°C",
    "degrees centigrade": "°C",
    "degrees fahrenheit": "°F",
    "cubic centimeters": "cm3",
    "cubic centimeter": "cm3",
    "cubic millimeters": "mm3",
    "square centimeters": "cm2",
    "square centimeter": "cm2",
    "square meters": "m2",
    "square meter": "m2",
    "m m": "mm",
    "c m": "cm",
    "m g": "mg",
    "m l": "mL",
    "c c": "cc",
    "ml": "mL",
    "dl": "dL",
    "mmhg": "mmHg",
    "meq": "mEq",
    "hu": "HU",
    "french": "French",
}
_KEPT_UNITS = word_set(
    "mm cm km mg mcg ug ng kg cc mmol bpm degrees degree units unit inches inch pounds pound ounces days"
    " day weeks week months month years year hours hour minutes seconds tablets tablet capsules capsule puffs puff"
    " drops doses beats gauge tesla packs pack"
)
_TIMES = word_set("day week month year hour")  # "one day" is often no count
_PER = {"day": "day", "hour": "h", "minute": "min", "second": "s", "week": "week", "dose": "dose"}
# A number of one figure after one of these is written in digits.
_NUMBERED = word_set(
    "grade stage type category score segment zone series image level rads birads lirads gleason apgar class phase"
)
_JOINS = {"to": " to ", "or": " or ", "through": " through ", "plus": " plus ", "hyphen": "-", "dash": "-"}
_SIZES = frozenset({"by", "x"})
_MONTHS = word_set("january february march april may june july august september october november december")
_ALSO_WORDS = frozenset({"may", "march"})  # "may first be treated" is no date
_LEVELS = {"c": 8, "t": 12, "l": 6, "s": 5}
_NEXT_REGION = {"c7": "t1", "t12": "l1", "l5": "s1"}
_OF_SEQUENCES = word_set("weighted weighting signal hyperintense hypointense flair sequence sequences images")
_DATED = word_set("on of since dated from until before after by dating")
_FILLERS = word_set("is was of at measured measures today currently")
_JOIN_COMMANDS = frozenset({"hyphen", "dash", "slash", "point"})
_FRACTIONS = word_set("half halves third thirds quarter quarters fourths fifths sixths eighths tenths hundredths")
_MOST_PARTS = 4  # of one range or size
_CONTRACTED = word_set("it that what there he she let here who where")
_YEARLY = frozenset({"in", "since", "year"})
_Found = tuple[str, int]  # what to write, and the index after it


def write_numbers(tokens: Sequence[Token], *, before: Sequence[Token] = ()) -> list[Token]:
    """Writes the numbers among the words in digits, where that is right, and their units short.

    Args:
        tokens: as ``read_spoken`` gives them.
        before: what was said before them; it is read and not written.
    """
    tokens = [*before, *tokens]
    words = [_word(token) for token in tokens]
    written: list[Token] = []
    at = len(before)
    while at < len(tokens):
        found = _found_at(words, at) if words[at] else None
        if found is None:
            written.append(tokens[at])
            at += 1
            continue
        text, end = found
        if text and text != " ".join(words[at:end]):
            written.append(Token(kind=Kind.WORD, text=text, span=span_of(tokens[at:end])))
        else:  # ambiguous, or written so already
            written += tokens[at:end]
        at = end
    return written


def _word(token: Token) -> str:
    """What number patterns see of a token: words, and the commands that join numbers."""
    if token.kind is Kind.WORD or (token.kind is Kind.COMMAND and token.text in _JOIN_COMMANDS):
        return token.text.lower()
    return ""


def _at(words: Words, at: int) -> str:
    return words[at] if 0 <= at < len(words) else ""


def _found_at(words: Words, at: int) -> _Found | None:
    for pattern in (_date, _levels, _pressure, _year_alone, _hyphenated, _late_ordinal, _quantity):
        found = pattern(words, at)
        if found is not None:
            return found
    return None


def _date(words: Words, at: int) -> _Found | None:
    """A month with a day, a year or both."""
    if words[at] not in _MONTHS:
        return None
    month = words[at].capitalize()
    day = ordinal(words, at + 1 + (_at(words, at + 1) == "the"))
    if day is not None and day[0] <= 31:
        then = year(words, day[1])
        if then is not None:
            return f"{month} {day[0]}, {then[0]}", then[1]
        sure = words[at] not in _ALSO_WORDS or _at(words, at - 1) in _DATED
        return (f"{month} {day[0]}", day[1]) if sure else ("", day[1])
    said = cardinal(words, at + 1) or _written_day(words, at + 1)
    if said is not None and 1 <= said[0] <= 31:
        then = year(words, said[1])
        if then is not None:
            return f"{month} {said[0]}, {then[0]}", then[1]
    alone = year(words, at + 1)
    if alone is not None:
        return f"{month} {alone[0]}", alone[1]
    if said is None or not 1 <= said[0] <= 31 or words[at] in _ALSO_WORDS or _goes_on(words, said[1]):
        return None
    return f"{month} {said[0]}", said[1]


def _written_day(words: Words, at: int) -> tuple[int, int] | None:
    return (int(words[at]), at + 1) if re.fullmatch(r"\d{1,2}", _at(words, at)) else None


def _goes_on(words: Words, at: int) -> bool:
    """Whether another number or a unit follows, so that what stands before is no day of a month."""
    return number(words, at) is not None or _unit(words, at) is not None


def _level(words: Words, at: int) -> tuple[str, int, int] | None:
    """A vertebra: its region, its number, and where it ends."""
    written = re.fullmatch(r"([ctls])(\d{1,2})", _at(words, at))
    if written is not None:
        return written[1], int(written[2]), at + 1
    region = _at(words, at)
    said = cardinal(words, at + 1) if region in _LEVELS else None
    if said is None or not 1 <= said[0] <= _LEVELS[region] or _at(words, said[1]) == "point":
        return None
    return region, said[0], said[1]


def _levels(words: Words, at: int) -> _Found | None:
    """``l four l five`` -> ``L4-L5`` where exactly two neighbours follow each other; ``t twelve`` -> ``T12``."""
    first = _level(words, at)
    before = _at(words, at - 1)
    if first is None or re.fullmatch("[b-hj-wyz]", before) or (words[at] == "s" and before in _CONTRACTED):
        return None  # letters of something else: p t two, it s one
    region, value, end = first
    name = f"{region}{value}"
    second = _level(words, end)
    if second is None:
        follows = SMALL.get(_at(words, end))
        if follows == value + 1 and follows <= _LEVELS[region] and _unit(words, end + 1) is None:
            return f"{name.upper()}-{follows}", end + 1
        return None if number(words, end) is not None else (name.upper(), end)
    other = f"{second[0]}{second[1]}"
    beside = other in {f"{region}{value + 1}", _NEXT_REGION.get(name)} and _at(words, second[2]) not in _OF_SEQUENCES
    if beside and _level(words, second[2]) is None and _level(words, at - 2) is None and _level(words, at - 1) is None:
        return f"{name.upper()}-{other.upper()}", second[2]
    return name.upper(), end


def _pressure(words: Words, at: int) -> _Found | None:
    """``one twenty over eighty`` after ``blood pressure``, or any such pair in front of mmHg."""
    upper = _pressure_part(words, at)
    if upper is None or _at(words, upper[1]) not in {"over", "slash"}:
        return None
    lower = _pressure_part(words, upper[1] + 1)
    if lower is None or number(words, lower[1]) is not None:
        return None
    unit = _unit(words, lower[1])
    if unit is not None and unit[0] == "mmHg":
        return f"{upper[0]}/{lower[0]} mmHg", unit[1]
    before = at - 1
    while before >= 0 and words[before] in _FILLERS:
        before -= 1
    if _at(words, before) not in {"pressure", "pressures", "bp"}:
        return None
    return f"{upper[0]}/{lower[0]}", lower[1]


def _pressure_part(words: Words, at: int) -> tuple[int, int] | None:
    written = re.fullmatch(r"\d{2,3}", _at(words, at))
    return (int(written[0]), at + 1) if written else said_in_pairs(words, at) or cardinal(words, at)


def _quantity(words: Words, at: int) -> _Found | None:
    """A number, a range or a size, with its unit; "" for words that can be read two ways."""
    first = _number(words, at)
    if first is None:
        return None
    linked = "and" in words[at : first.end] and "half" not in words[at : first.end]
    between = _at(words, at - 1) == "between" and _at(words, first.end) != "and"
    if linked and (between or "thousand" in words[at + words[at : first.end].index("and") : first.end]):
        return "", first.end
    if _past_number(words, first.end) is not None:
        item = first.end == at + 1 and words[at] in SMALL and _at(words, at - 1) == "number" and not _at(words, at - 2)
        return ("", first.end) if item else _side_by_side(words, at, first)
    age = _age(words, first)
    if age is not None:
        return age
    whole = _fraction(words, first)
    if whole is not None:
        return "", whole
    parts, joins, units, end = _chain(words, at, first)
    if len(parts) > 1 and units[-1] is None and _past_number(words, end) is not None:
        return "", _past_numbers(words, end)
    unit_somewhere = any(unit is not None for unit in units)
    wanted = (
        (unit_somewhere and not (len(parts) == 1 and _idle_one(words, first)))
        or any(part.decimal or part.whole > 9 for part in parts)
        or _at(words, at - 1) in _NUMBERED
    )
    if not wanted or not (unit_somewhere or any(part.spoken for part in parts)):
        return None
    text = ""
    for part, join, unit in zip(parts, [*joins, ""], units, strict=True):
        size = " x " if unit_somewhere else f" {join} "
        text += part.text + _spaced(unit) + (size if join in _SIZES else _JOINS.get(join, f" {join} " if join else ""))
    return text, end


def _number(words: Words, at: int) -> Number | None:
    """The number here; ``point five`` only in front of a unit, ``two and a half`` only with one."""
    found = number(words, at)
    if found is None:
        bare = bare_decimal(words, at)
        pointed = _at(words, at - 1) in {"this", "that", "the", "which", "some", "at", "end"}
        return bare if bare is not None and not pointed and _unit(words, bare.end) is not None else None
    half = [_at(words, found.end + step) for step in range(3)] == ["and", "a", "half"]
    if half and not found.decimal and _unit(words, found.end + 3) is not None:
        return Number(text=f"{found.text}.5", end=found.end + 3, spoken=True, whole=found.whole, decimal=True)
    return found


def _fraction(words: Words, first: Number) -> int | None:
    """Where ``two thirds`` or ``one hundred fifth`` ends, which stay in words."""
    inside = ordinal(words, first.end - 1) if first.spoken else None
    if inside is not None and inside[1] > first.end:
        return inside[1]
    behind = ordinal(words, first.end) if first.spoken and _at(words, first.end) != "second" else None
    if behind is not None:
        return behind[1]
    return first.end + 1 if _at(words, first.end) in _FRACTIONS else None


def _side_by_side(words: Words, at: int, first: Number) -> _Found:
    """Numbers without anything between them. ``two five millimeter nodules`` are two; the rest stays as it was said."""
    second = number(words, first.end)
    one_figure = words[at] in SMALL and first.end == at + 1 and 1 <= first.whole <= 9
    two_numbers = one_figure and second is not None and second.whole < 10 and _past_number(words, second.end) is None
    if two_numbers or (second is not None and not second.spoken):
        return "", first.end
    return "", _past_numbers(words, first.end)


def _past_number(words: Words, at: int) -> int | None:
    """Where the number here ends; ``oh five`` is one."""
    while _at(words, at) == "oh":
        at += 1
    found = number(words, at)
    return found.end if found is not None else None


def _past_numbers(words: Words, at: int) -> int:
    """Where the numbers side by side end, with their unit."""
    while (end := _past_number(words, at + (_at(words, at) in {"over", "slash"}))) is not None:
        at = end
    unit = _unit(words, at)
    return unit[1] if unit is not None else at


def _year_alone(words: Words, at: int) -> _Found | None:
    """``in nineteen ninety eight`` -> ``in 1998``."""
    found = year(words, at) if _at(words, at - 1) in _YEARLY else None
    return None if found is None or _goes_on(words, found[1]) else (str(found[0]), found[1])


def _hyphenated(words: Words, at: int) -> _Found | None:
    """``five-millimeter`` -> ``5-mm``, ``forty-five-year-old`` -> ``45-year-old``."""
    found = re.fullmatch(r"([a-z]+(?:-[a-z]+)?)-((?:year|month|week|day)-old|[a-z]+)", words[at])
    said = number([found[1]], 0) if found is not None else None
    if found is None or said is None:
        return None
    unit = found[2] if found[2].endswith("-old") else UNITS.get(found[2], "%")
    return None if unit == "%" else (f"{said.text}-{unit}", at + 1)


def _chain(words: Words, at: int, first: Number) -> tuple[list[Number], list[str], list[str | None], int]:
    """Numbers joined by ``to``, ``or``, ``by``: the numbers, the joins, the unit after each, and the end."""
    parts, joins = [first], list[str]()
    unit = _unit(words, first.end)
    end = unit[1] if unit is not None else first.end
    units = [unit[0] if unit is not None else None]
    while True:
        join = _at(words, end)
        between = join == "and" and _at(words, at - 1) == "between" and len(parts) == 1
        following = _number(words, end + 1) if between or join in _JOINS or join in _SIZES else None
        if following is None or len(parts) == _MOST_PARTS or (joins and (join in _SIZES) != (joins[0] in _SIZES)):
            return parts, joins, units, end
        if _age(words, following) is not None:
            return parts, joins, units, end
        unit = _unit(words, following.end)
        parts.append(following)
        joins.append(join)
        units.append(unit[0] if unit is not None else None)
        end = unit[1] if unit is not None else following.end


def _idle_one(words: Words, first: Number) -> bool:
    """``one day`` and the like, which is often no count."""
    return first.spoken and first.text == "1" and _at(words, first.end) in _TIMES


def _age(words: Words, found: Number) -> _Found | None:
    """``forty five year old`` -> ``45-year-old``."""
    unit, old = _at(words, found.end), _at(words, found.end + 1)
    if unit in {"year-old", "month-old", "week-old", "day-old"}:
        return f"{found.text}-{unit}", found.end + 1
    if unit in {"year", "month", "week", "day"} and old == "old":
        return f"{found.text}-{unit}-old", found.end + 2
    return None


def _unit(words: Words, at: int) -> _Found | None:
    """The unit that begins here, short, and where it ends; ``milligrams per deciliter`` -> ``mg/dL``."""
    for size in (3, 2, 1):
        phrase = " ".join(words[at : at + size]) if at + size <= len(words) else ""
        short = UNITS.get(phrase) or (phrase if phrase in _KEPT_UNITS else None)
        if short is None:
            continue
        end = at + size
        while short not in _KEPT_UNITS - {"mm", "cm", "mg", "mcg", "kg", "units", "beats"} and _at(words, end) == "per":
            below = _PER.get(_at(words, end + 1)) or UNITS.get(_at(words, end + 1))
            if below is None:
                break
            short, end = f"{short}/{below}", end + 2
        return short, end
    return None


def _spaced(unit: str | None) -> str:
    """A unit as it follows its number."""
    return "" if unit is None else unit if unit == "%" else f" {unit}"


def _late_ordinal(words: Words, at: int) -> _Found | None:
    """``twelfth`` -> ``12th``. ``twenty second`` may be a time and stays; so does ``a tenth``."""
    found = ordinal(words, at)
    if found is None or found[0] < 10 or _at(words, at - 1) in {"a", *SMALL, *TENS}:
        return None
    return "" if words[found[1] - 1].endswith("second") else ordinal_text(found[0]), found[1]
