"""Corrections: whole words, the longest first, before the grammar, and no number or side by accident."""

from __future__ import annotations

import pytest

from medvox.data.dictation_files import Correction
from medvox.data.results import Word
from medvox.errors import InputError
from medvox.parse.commands import Formatted, WritingSettings, format_spoken, format_words

PAIRS = {
    "meta static": "metastatic",
    "h b a one c": "HbA1c",
    "new moth": "pneumo",
    "new moth or axe": "pneumothorax",
    "smith": "Smith-Jones",
    "next bit": "new paragraph",
    "star": "star star",
}


def corrections(**explicit: str) -> tuple[Correction, ...]:
    pairs = [(heard, wanted, False) for heard, wanted in PAIRS.items() if heard != "h b a one c"]
    pairs += [(heard.replace("_", " "), wanted, True) for heard, wanted in explicit.items()]
    return tuple(
        Correction(heard=heard, wanted=wanted, changes_risk=risk, line=line)
        for line, (heard, wanted, risk) in enumerate(pairs, start=1)
    )


def corrected(raw: str, **explicit: str) -> Formatted:
    return format_spoken(raw, settings=WritingSettings(corrections=corrections(**explicit)))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("meta static disease", "Metastatic disease"),
        ("Meta static disease.", "Metastatic disease."),
        ("the Meta Static, disease", "The metastatic, disease"),
        ("new moth or axe", "Pneumothorax"),
        ("new moth alone", "Pneumo alone"),
        ("seen by smith period", "Seen by Smith-Jones."),
        ("alpha period next bit beta", "Alpha.\n\nBeta"),
        ("a star", "A star star"),
        ("meta static meta static", "Metastatic metastatic"),
        ("<s> meta static </s>", "Metastatic"),
    ],
)
def test_a_heard_phrase_is_replaced(raw: str, text: str) -> None:
    assert corrected(raw).text == text


@pytest.mark.parametrize("raw", ["meta", "static meta", "metal static", "smithy", "meta, static", "moth or axe"])
def test_anything_else_is_left_alone(raw: str) -> None:
    written = corrected(raw)
    assert (written.text.lower(), written.flags) == (raw, ())


def test_corrections_are_counted_and_not_quoted() -> None:
    (flag,) = corrected("smith and smith and meta static").flags
    assert flag.code == "F_DICTATION_CORRECTED"
    assert ": 3;" in flag.text
    assert "smith" not in flag.text.lower()


def test_what_is_right_already_is_not_counted() -> None:
    settings = WritingSettings(corrections=[Correction(heard="ecg", wanted="ECG", changes_risk=False, line=1)])
    assert format_spoken("An ECG", settings=settings).flags == ()
    assert format_spoken("An ecg", settings=settings).text == "An ECG"


@pytest.mark.parametrize(
    ("heard", "wanted"),
    [
        ("mass", "no mass"),
        ("no mass", "mass"),
        ("left", "right"),
        ("laughed", "left"),
        ("two", "too"),
        ("to", "two"),
        ("grams", "mg"),
        ("five grams", "five mg"),
        ("knot", "not"),
        ("one twenty", "1200"),
    ],
)
def test_a_risky_correction_is_refused_unless_the_file_says_so(heard: str, wanted: str) -> None:
    correction = Correction(heard=heard, wanted=wanted, changes_risk=False, line=7)
    with pytest.raises(InputError) as caught:
        WritingSettings(corrections=[correction])  # before anything is heard
    assert caught.value.code == "E_CORRECTIONS_RISK"
    assert "line 7" in caught.value.message
    assert heard not in caught.value.message


def test_a_risky_correction_that_the_file_allows_has_a_flag_of_its_own() -> None:
    written = corrected("knot seen in the laughed lung", knot="not", laughed="left")
    assert written.text == "Not seen in the left lung"
    (flag,) = written.flags
    assert flag.code == "F_DICTATION_CORRECTED_RISK"
    assert ": 2;" in flag.text


def test_a_number_said_and_a_number_written_are_no_change() -> None:
    settings = WritingSettings(
        corrections=[Correction(heard="h b a one c", wanted="HbA1c", changes_risk=False, line=1)]
    )
    assert format_spoken("h b a one c of seven percent", settings=settings).text == "HbA1c of 7%"


def test_a_corrected_word_is_as_sure_as_what_was_heard() -> None:
    words = [
        Word(word=word, start_s=at, end_s=at + 1, confidence=confidence)
        for at, (word, confidence) in enumerate([("a", 0.9), ("l", 0.4), ("eft", 0.9), ("mass", 0.9)])
    ]
    settings = WritingSettings(corrections=corrections(l_eft="left"))
    (risk,) = format_words(words, settings=settings).risks
    assert (risk.text, risk.confidence, risk.start_s, risk.end_s) == ("left", 0.4, 1, 3)


def test_without_corrections_nothing_is_counted() -> None:
    assert format_spoken("meta static").flags == ()
