"""Number words to digits, held against a speller written for the test: no value may change."""

from __future__ import annotations

import random
import re

import pytest

from medvox.parse.commands import format_spoken
from medvox.parse.numbers import bare_decimal, cardinal, number, ordinal, ordinal_text, said_in_pairs, year

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen"
)
ONES = _ONES.split()
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def say(value: int, *, link: str = "") -> str:
    """A whole number below a million as it is read aloud; ``link`` is British ``and``."""
    if value < 20:
        return ONES[value]
    if value < 100:
        return TENS[value // 10] + (f" {ONES[value % 10]}" if value % 10 else "")
    size, name = (100, "hundred") if value < 1000 else (1000, "thousand")
    head, rest = divmod(value, size)
    joined = f" {link} " if link and rest < 100 else " "
    return f"{say(head, link=link)} {name}" + (joined + say(rest, link=link) if rest else "")


def say_digits(digits: str) -> str:
    return " ".join(ONES[int(digit)] for digit in digits)


VALUES = [*range(3000), *range(3000, 1_000_000, 331), 999_999, 100_000, 900_090]


@pytest.mark.parametrize("link", ["", "and"])
def test_every_whole_number_comes_back(link: str) -> None:
    wrong = []
    for value in VALUES:
        words = say(value, link=link).split()
        if cardinal(words, 0) != (value, len(words)):
            wrong.append(value)
    assert wrong == []


def test_every_decimal_comes_back() -> None:
    rng = random.Random(4)
    for _ in range(1000):
        whole, digits = rng.choice(VALUES), f"{rng.randrange(1000):0{rng.choice([1, 2, 3])}d}"
        words = f"{say(whole)} point {say_digits(digits)}".split()
        found = number(words, 0)
        assert found is not None
        assert (found.text, found.end) == (f"{whole}.{digits}", len(words))


def test_digits_in_written_text_keep_their_value() -> None:
    rng = random.Random(5)
    for value in rng.sample(VALUES, 400):
        assert format_spoken(f"take {say(value)} milligrams").text == f"Take {value} mg"


def test_ranges_keep_both_values() -> None:
    rng = random.Random(6)
    for _ in range(300):
        low, high = rng.choice(VALUES), rng.choice(VALUES)
        assert format_spoken(f"from {say(low)} to {say(high)} milligrams").text == f"From {low} to {high} mg"


def test_numbers_side_by_side_never_merge() -> None:
    """Either both values stand apart in the text or the words stayed."""
    for left in range(1, 10):
        for right in range(10):
            written = format_spoken(f"{ONES[left]} {ONES[right]} milligram pills").text
            assert written == f"{ONES[left].capitalize()} {right} mg pills"


def test_random_number_words_are_written_once_and_for_all() -> None:
    rng = random.Random(7)
    others = "hundred thousand million and point to by over oh l t five-year mg second half 5"
    vocabulary = [*ONES, *TENS[2:], *others.split()]
    for _ in range(1500):
        raw = " ".join(rng.choice(vocabulary) for _ in range(rng.randint(1, 8)))
        written = format_spoken(raw).text
        assert format_spoken(written).text == written, raw


def test_written_numbers_read_aloud_are_the_words_that_were_said() -> None:
    """Whatever stands side by side: digits turned back into words by the speller give the input again."""
    rng = random.Random(8)
    joins = ["to", "or", "by", "milligrams", "nodules", "over", "weeks"]
    numbers = [*ONES, *TENS[2:], *(f"{one} hundred" for one in ONES[1:10]), *(f"{one} thousand" for one in ONES[1:10])]
    for _ in range(2500):
        raw = " ".join(rng.choice(numbers if rng.random() < 0.6 else joins) for _ in range(rng.randint(1, 7)))
        if re.search(r"(ty|ten|eleven|twelve|teen) (\w+ )?hundred", raw):
            continue  # fifty five hundred is 5500, which the speller says in thousands
        written = format_spoken(raw).text.lower().replace(" x ", " by ").replace(" mg", " milligrams")
        assert re.sub(r"\d+", lambda found: say(int(found[0])), written) == raw


@pytest.mark.parametrize(
    ("said", "value", "used"),
    [
        ("twenty-four", 24, 1),
        ("fifteen hundred", 1500, 2),
        ("one hundred and one hundred twenty", 100, 2),
        ("two five", 2, 1),
        ("one twenty", 1, 1),
        ("twenty ten", 20, 1),
        ("zero hundred", 0, 1),
        ("one million two hundred thousand", 1_200_000, 5),
        ("two hundred three hundred", 200, 2),
        ("two hundred three thousand", 203_000, 4),
        ("five thousand six thousand", 5000, 2),
    ],
)
def test_only_the_grammatical_reading(said: str, value: int, used: int) -> None:
    assert cardinal(said.split(), 0) == (value, used)


@pytest.mark.parametrize("said", ["hundred", "and", "point", "twentyfour", "oh", "", "first"])
def test_no_number(said: str) -> None:
    assert cardinal([said], 0) is None


@pytest.mark.parametrize(
    ("said", "text"), [("three point oh", "3.0"), ("3 point 5", "3.5"), ("3.5", "3.5"), ("1,200", "1,200")]
)
def test_decimals_and_digits(said: str, text: str) -> None:
    found = number(said.split(), 0)
    assert found is not None
    assert found.text == text


@pytest.mark.parametrize("said", ["point", "point of", "dot five"])
def test_no_bare_decimal(said: str) -> None:
    assert bare_decimal(said.split(), 0) is None


@pytest.mark.parametrize(
    ("said", "value"), [("fifth", 5), ("twenty first", 21), ("twenty-third", 23), ("twelfth", 12), ("ninetieth", 90)]
)
def test_ordinals(said: str, value: int) -> None:
    words = said.split()
    assert ordinal(words, 0) == (value, len(words))


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"), (22, "22nd")],
)
def test_ordinal_endings(value: int, text: str) -> None:
    assert ordinal_text(value) == text


@pytest.mark.parametrize(
    ("said", "value"),
    [("twenty twenty four", 2024), ("nineteen oh five", 1905), ("two thousand nineteen", 2019), ("2019", 2019)],
)
def test_years(said: str, value: int) -> None:
    assert year(said.split(), 0) == (value, len(said.split()))


@pytest.mark.parametrize("said", ["twenty five", "nineteen", "three thousand", "1850", "twenty"])
def test_no_year(said: str) -> None:
    assert year(said.split(), 0) is None


@pytest.mark.parametrize(("said", "value"), [("one twenty", 120), ("one oh five", 105), ("one ten", 110)])
def test_said_in_pairs(said: str, value: int) -> None:
    assert said_in_pairs(said.split(), 0) == (value, len(said.split()))


@pytest.mark.parametrize("said", ["one five", "twenty five", "zero twenty", "one"])
def test_not_said_in_pairs(said: str) -> None:
    assert said_in_pairs(said.split(), 0) is None
