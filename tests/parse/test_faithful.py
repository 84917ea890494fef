"""Numbers, units, sides and negations: the writing keeps them all, and the check sees it when it does not."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest
from parse.command_cases import UNCHANGED, WRITTEN

from medvox.errors import SetupError
from medvox.parse import numbers, quantities, spoken
from medvox.parse.commands import format_spoken
from medvox.parse.faithful import changed_risks
from medvox.synth.dictation import ScriptWriter, count_words

NUMBER, UNIT, SIDE, NEGATION = "number", "unit", "laterality", "negation"
UNIT_WORDS = ["millimeters", "centimeters", "milligrams", "micrograms", "grams", "milliliters", "liters", "percent"]
UNIT_WORDS += [
    "units",
    "weeks",
    "hours",
    "milligrams per deciliter",
    "beats per minute",
    "millimeters of mercury",
    "hounsfield units",
    "m m",
]
FRAMES = [
    "{side} {noun} of {number} {unit}",
    "{no} {noun} comma {side} lobe period",
    "{number} {unit} by {number} {unit} {noun}",
    "{number} point {digit} {unit} in the {side} kidney",
    "between {number} and {number} {unit}",
    "blood pressure {number} over {number} period",
    "a {number} year old with {no} {noun}",
    "{noun} at l {digit} comma {no} pain on the {side}",
    "grade {digit} {noun} {number} {unit} and {number} {unit}",
    "seen {month} {ordinal} twenty twenty {digit} period",
    "{number} {number} {unit}",
    "take {number} {unit} or {digit} and a half {unit} semicolon {no} {noun}",
    "point {digit} {unit} new line {no} {side} {noun}",
]


def made_sentence(rng: random.Random) -> str:
    """A sentence full of risk, from a generator that knows nothing of the grammar."""
    drawn: dict[str, Callable[[], str]] = {
        "side": lambda: rng.choice(["left", "right", "bilateral"]),
        "noun": lambda: rng.choice(["mass", "nodule", "cyst", "effusion"]),
        "no": lambda: rng.choice(["no", "without", "denies", "not", "never"]),
        "unit": lambda: rng.choice(UNIT_WORDS),
        "number": lambda: count_words(rng.choice([rng.randint(0, 20), rng.randint(0, 120), rng.randint(0, 999)])),
        "digit": lambda: count_words(rng.randint(1, 9)),
        "month": lambda: rng.choice(["january", "march", "may", "december"]),
        "ordinal": lambda: rng.choice(["first", "second", "third", "twelfth", "twenty first", "thirtieth"]),
    }
    return re.sub(r"\{(\w+)\}", lambda slot: drawn[slot[1]](), rng.choice(FRAMES))


def flagged(raw: str) -> bool:
    return any(flag.code == "F_DICTATION_CHANGED" for flag in format_spoken(raw).flags)


def scripted_lines(count: int) -> list[str]:
    try:
        writer = ScriptWriter(11)
    except SetupError as error:
        pytest.skip(str(error))
    return [writer.line()[1] for _ in range(count)]


def test_no_case_of_the_table_is_changed() -> None:
    assert [raw for raw in [*(raw for raw, _ in WRITTEN), *UNCHANGED] if flagged(raw)] == []


def test_thousands_of_made_sentences_keep_their_risks() -> None:
    rng = random.Random(3)
    sentences = [made_sentence(rng) for _ in range(4000)]
    assert [raw for raw in sentences if changed_risks(raw, format_spoken(raw).text)] == []


def test_thousands_of_scripted_lines_keep_their_risks() -> None:
    assert [raw for raw in scripted_lines(4000) if flagged(raw)] == []


def _swapped(old: str, new: str) -> Callable[[str], str]:
    return lambda text: re.sub(old, new, text, count=1)


DAMAGES = {
    "a digit": (NUMBER, lambda text: re.sub(r"\d", lambda found: str((int(found[0]) + 1) % 10), text, count=1)),
    "a digit more": (NUMBER, _swapped(r"(\d+)(?!\S*[/:-])", r"\g<1>0")),
    "no decimal point": (NUMBER, _swapped(r"(\d)\.(\d)", r"\1\2")),
    "another decimal point": (NUMBER, _swapped(r"(\d)\.(\d)(?!\d)", r"0.\1\2")),
    "a number word": (NUMBER, _swapped(r"(?i)\b(?:two|three|four|five)\b", "seven")),
    "a number lost": (NUMBER, _swapped(r"\d+(?:\.\d+)?", "some")),
    "a unit": (UNIT, _swapped(r"\b(?:mm|cm|mg|mL)\b", "mcg")),
    "a unit lost": (UNIT, _swapped(r" (?:mm|cm|mg|mcg|mL|L|HU|bpm|weeks|hours)\b", "")),
    "a unit more": (UNIT, _swapped(r"\b(?:mass|nodule|cyst)\b", r"mass 5 mm")),
    "percent lost": (UNIT, _swapped("%", "")),
    "the side": (SIDE, _swapped(r"(?i)\bleft\b", "right")),
    "the side lost": (SIDE, _swapped(r"(?i)\b(?:left|right) ", "")),
    "a side more": (SIDE, _swapped(r"(?i)\b(?:mass|nodule|cyst)\b", "left mass")),
    "a negation lost": (NEGATION, _swapped(r"(?i)\b(?:no|without|not|never|denies)\b ?", "")),
    "a negation more": (NEGATION, _swapped(r"(?i)\b(?:mass|nodule|cyst)\b", "no mass")),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_to_the_text_is_seen(name: str) -> None:
    kind, damage = DAMAGES[name]
    rng = random.Random(5)
    done = 0
    for _ in range(1000):
        raw = made_sentence(rng)
        text = format_spoken(raw).text
        damaged = damage(text)
        if damaged != text:
            done += 1
            assert kind in changed_risks(raw, damaged), (raw, damaged)
    assert done > 30


@pytest.mark.parametrize(
    ("table", "key", "wrong", "raw"),
    [
        (quantities.UNITS, "micrograms", "mg", "twelve micrograms"),
        (quantities.UNITS, "millimeters", "cm", "two by three millimeters"),
        (quantities.UNITS, "beats per minute", "breaths/min", "ninety beats per minute"),
        (numbers.SMALL, "seven", 8, "sixty seven weeks"),
        (numbers.TENS, "sixty", 70, "sixty seven weeks"),
        (numbers._ATOMS, "fifty", 15, "fifty weeks"),
        (spoken.JOINED, "c t", "right", "a c t scan"),
        (spoken.PHRASES, "left lung", "semicolon", "the left lung is clear"),
        (spoken.PHRASES, "no", "comma", "there is no mass"),
    ],
)
def test_a_fault_in_the_grammar_is_flagged(
    monkeypatch: pytest.MonkeyPatch, table: dict[str, object], key: str, wrong: object, raw: str
) -> None:
    assert not flagged(raw)
    monkeypatch.setitem(table, key, wrong)
    assert flagged(raw)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("nineteen ninety eight", "1998"),
        ("twenty oh five", "2005"),
        ("fifteen hundred", "1500"),
        ("one twenty over eighty", "120/80"),
        ("two and a half liters", "2.5 L"),
        ("point five milligrams", "0.5 mg"),
        ("three {point} five", "3.5"),
        ("three {po}int} five", "3.5"),
        ("may the fourth", "May 4"),
        ("the twenty first", "the 21st"),
        ("t twelve l one", "T12-L1"),
        ("1 gram 4 times", "1 g 4 times"),
        ("one million", "1000000"),
        ("one thousand", "1,000"),
        ("five c c", "5 cc"),
        ("ninety per cent", "90%"),
        ("left paren mass right paren", "(mass)"),
        ("stop exclamation point", "Stop!"),
        ("3 metres", "3 m"),
        ("", ""),
    ],
)
def test_ways_to_say_the_same(raw: str, text: str) -> None:
    assert changed_risks(raw, text) == ()


@pytest.mark.parametrize(
    ("raw", "text", "kind"),
    [
        ("one twenty", "1020", NUMBER),
        ("one hundred", "1000", NUMBER),
        ("fifteen", "50", NUMBER),
        ("five by seven", "5", NUMBER),
        ("five seven", "7 5", NUMBER),
        ("five", "0.5", NUMBER),
        ("two thousand", "2 thousand 1", NUMBER),
        ("five milligrams and two milliliters", "5 mL and 2 mg", UNIT),
        ("five milligrams per hour", "5 mg", UNIT),
        ("five grams", "5", UNIT),
        ("twelve weeks", "12 months", UNIT),
        ("left then right", "right then left", SIDE),
        ("unilateral", "bilateral", SIDE),
        ("it isn't", "it is", NEGATION),
        ("negative for mass", "positive for mass", NEGATION),
    ],
)
def test_what_is_not_the_same(raw: str, text: str, kind: str) -> None:
    assert changed_risks(raw, text) == (kind,)
