"""The published normalisers, against their own code where it can be run."""

from __future__ import annotations

import random
import re

import pytest

from medvox.errors import UsageError
from medvox.score.normalise import NORMALISERS, fine_tune, normaliser, quick_start, whisper_english
from medvox.score.normalise import _spellings as spellings
from medvox.score.spoken_numbers import MAX_DIGITS, digits_for_words

NOTEBOOK = "Is it 3.5 cm?{period} [EXAM TYPE] It's 98%.</s>"


def test_quick_start_makes_spaces_of_other_characters() -> None:
    assert quick_start(NOTEBOOK) == "is it 3 5 cm period exam type it's 98"


def test_fine_tune_deletes_other_characters() -> None:
    assert fine_tune(NOTEBOOK) == "is it 35 cmperiod exam type its 98"


@pytest.mark.parametrize("name", NORMALISERS)
@pytest.mark.parametrize("text", ["", " \n\t", "!", "{}</s>"])
def test_nothing_stays_nothing(name: str, text: str) -> None:
    assert NORMALISERS[name](text).split() == []


@pytest.mark.parametrize("rule", [quick_start, fine_tune])
def test_new_lines_part_words(rule: object) -> None:
    assert callable(rule)
    assert rule("No\n\nMASS\tseen") == "no mass seen"


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        normaliser("whisper")
    assert caught.value.code == "E_SCORE_NORMALISER"
    assert "whisper-english" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two hundred and five", "205"),
        ("one oh one", "101"),
        ("two point five mm", "2.5 mm"),
        ("ninety eight percent", "98%"),
        ("the twenty first", "the 21st"),
        ("minus three", "-3"),
        ("three and a half", "3.5"),
        ("double seven", "77"),
        ("one", "one"),
        ("two dollars and seven cents", "$2.07"),
        ("point", "point"),
        ("and minus x", "and minus x"),
    ],
)
def test_spoken_numbers(text: str, expected: str) -> None:
    assert digits_for_words(text) == expected


def test_a_number_longer_than_python_reads_stays_as_it_is() -> None:
    long = "7" * (MAX_DIGITS + 1000)
    assert digits_for_words(f"{long} two") == f"{long} 2"


def test_brackets_vanish_and_braces_leave_their_word() -> None:
    assert whisper_english("[FINDINGS] no {period} mass (old) <x>").split() == ["no", "period", "mass"]


def test_british_spelling_becomes_american() -> None:
    assert whisper_english("The tumour's centre, anaesthetised") == "the tumor is center anesthetized"


PIECES = """
    one two five ten thirteen twenty thirty eighty hundred thousand millions first second twelfth fifties oh zero o
    point and double triple minus plus per cent percent dollar pounds cents 3 3.5 $4 0 7% 12,500 1960s . , dr. isn't
    he's tumour colour [X] {period} (x) uh, half a é œ ¢50 <b> 3.a x% $x o'clock 't mr st. 2nd 12mm 1.5.2 £0.07 ٣ ½ ²
"""


def material(dice: random.Random) -> str:
    pieces = PIECES.split()
    if dice.random() < 0.1:
        return "".join(chr(dice.randrange(32, 0x3000)) for _ in range(20))
    gap = " " if dice.random() < 0.9 else ""
    return gap.join(dice.choice([*pieces, "and a half"]) for _ in range(dice.randrange(10)))


def test_1500_texts_come_out_as_from_transformers() -> None:
    theirs = pytest.importorskip("transformers.models.whisper.english_normalizer")
    reference = theirs.EnglishTextNormalizer(spellings())
    dice = random.Random(9)
    for _ in range(1500):
        text = material(dice)
        assert whisper_english(text) == reference(text), text


def test_the_spellings_are_the_published_ones_with_their_slip() -> None:
    pairs = dict(spellings())
    assert len(pairs) == 1738
    assert pairs.pop("archaeology") == "archeology</span>"
    assert all(re.fullmatch("[a-z-]+", word) for pair in pairs.items() for word in pair)
