"""Recognised text to written text: the whole table, both ways, and what the writing says about itself."""

from __future__ import annotations

import pickle

import pytest
from parse.command_cases import UNCHANGED, WRITTEN

from medvox.data.dictation_files import Correction
from medvox.parse.commands import WritingSettings, format_spoken
from medvox.parse.risks import RiskKind

TEMPLATE = "The lungs are [clear]. The heart is [normal]."
WITH_TEXTS = WritingSettings(
    auto_texts={"Normal Chest": TEMPLATE, "normal": "No change", "chest two view": "Two views"}
)


def codes(raw: str, settings: WritingSettings = WITH_TEXTS) -> list[str]:
    return [flag.code for flag in format_spoken(raw, settings=settings).flags]


def marked(raw: str, kind: RiskKind) -> list[str]:
    written = format_spoken(raw)
    return [written.text[risk.start : risk.end] for risk in written.risks if risk.kind is kind]


def test_the_table_is_as_large_as_promised() -> None:
    assert len(set(WRITTEN)) + len(set(UNCHANGED)) >= 400
    assert len(set(UNCHANGED)) >= 260


@pytest.mark.parametrize(("raw", "written"), WRITTEN)
def test_is_written(raw: str, written: str) -> None:
    assert format_spoken(raw).text == written


@pytest.mark.parametrize("raw", UNCHANGED)
def test_is_left_alone(raw: str) -> None:
    assert format_spoken(raw).text == raw


def test_writing_again_changes_nothing() -> None:
    once = [format_spoken(raw).text for raw, _ in WRITTEN] + UNCHANGED
    assert [text for text in once if format_spoken(text).text != text] == []


def test_no_plain_word_is_lost() -> None:
    """Alpha, beta and the like come through whatever the markup around them."""
    for raw, _ in WRITTEN:
        if " that " in raw:
            continue
        written = format_spoken(raw).text.lower()
        lost = [
            word for word in ("alpha", "beta", "stable", "mass", "seen") if word in raw.split() and word not in written
        ]
        assert lost == [], raw


def test_no_control_token_leaks() -> None:
    assert format_spoken("<s> a </s> b <pad> c <epsilon></s>").text == "A b c"


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        ("insert normal chest", TEMPLATE),
        ("Insert Normal Chest.", TEMPLATE),
        ("insert normal period", "No change."),
        ("insert chest two view", "Two views"),
        ("stable period insert normal", "Stable. No change"),
        ("insert normal chest hazy", "The lungs are hazy. The heart is [normal]."),
        ("insert normal chest hazy next field large", "The lungs are hazy. The heart is large."),
        ("insert normal chest next field large", "The lungs are [clear]. The heart is large."),
        ("insert normal chest next field large previous field hazy", "The lungs are hazy. The heart is large."),
        (
            "insert normal chest hazy next field large period next field done",
            "The lungs are hazy. The heart is large. Done",
        ),
        ("insert normal chest hazy scratch that dense", "The lungs are dense. The heart is [normal]."),
        (
            "insert normal chest two nodules of five millimeters",
            "The lungs are two nodules of 5 mm. The heart is [normal].",
        ),
    ],
)
def test_auto_texts_and_fields(raw: str, written: str) -> None:
    assert format_spoken(raw, settings=WITH_TEXTS).text == written


@pytest.mark.parametrize("raw", ["insert abdomen", "Stable. Insert abdomen"])
def test_an_unknown_auto_text_stays_and_is_flagged(raw: str) -> None:
    assert format_spoken(raw, settings=WITH_TEXTS).text.lower() == raw.lower()
    assert codes(raw) == ["F_DICTATION_AUTO_TEXT"]


@pytest.mark.parametrize(
    "raw",
    [
        "insert a catheter",
        "the tibial insert",
        "insert",
        "insert normal",
        "no mass period",
        "seen by [NAME] on [DATE]",
        "[NAME] was seen by the [DOCTOR]",
    ],
)
def test_no_flag_without_need(raw: str) -> None:
    assert codes(raw) == []


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("stable {unknown} mass", "F_DICTATION_MARKUP"),
        ("seen by the [FINDINGS]", "F_DICTATION_MARKUP"),
        ("stable {next mass", "F_DICTATION_MARKUP"),
        ("there is a [FINDINGS] mass", "F_DICTATION_MARKUP"),
        ("stable {end} mass", "F_DICTATION_MARKUP"),
        ("stable {next patient} mass", "F_DICTATION_PATIENTS"),
        ("mass scratch that stable", "F_DICTATION_TAKEN_BACK"),
        ("stable next field mass", "F_DICTATION_FIELDS"),
    ],
)
def test_what_a_reader_must_know_is_flagged(raw: str, code: str) -> None:
    assert codes(raw) == [code]


def test_flags_count_and_never_quote() -> None:
    (flag,) = format_spoken("smith {foo} jones {bar}").flags
    assert ": 2;" in flag.text
    assert "foo" not in flag.text


@pytest.mark.parametrize(
    "raw", ["a {foo} b", "mass scratch that", "next field", "a {next patient} b", "insert abdomen"]
)
def test_a_count_of_one_reads_as_any_other(raw: str) -> None:
    (one,) = format_spoken(raw, settings=WITH_TEXTS).flags
    (two,) = format_spoken(f"{raw} period {raw}", settings=WITH_TEXTS).flags
    assert ": 1;" in one.text
    assert one.text.replace("1", "2") == two.text


def test_unrepaired_markup_is_a_risk_of_its_own() -> None:
    assert marked("stable {foo bar} mass {period} x}", RiskKind.MARKUP) == ["{foo bar}", "x}"]


@pytest.mark.parametrize(
    ("raw", "kind", "places"),
    [
        ("three point five centimeters at l four l five", RiskKind.NUMBER, ["3.5", "L4", "L5"]),
        ("two nodules", RiskKind.NUMBER, ["Two"]),
        ("blood pressure one twenty over eighty", RiskKind.NUMBER, ["120/80"]),
        ("anyone often attends", RiskKind.NUMBER, []),
        ("seen on march third twenty twenty four", RiskKind.NUMBER, ["3", "2024"]),
        ("1,250 mL, 3, 4", RiskKind.NUMBER, ["1,250", "3", "4"]),
        ("five milligrams and ninety percent", RiskKind.UNIT, ["mg", "%"]),
        ("several mm", RiskKind.UNIT, []),
        ("point five milligrams per day", RiskKind.DOSE, ["0.5 mg/day"]),
        ("five millimeters", RiskKind.DOSE, []),
        ("ninety five milligrams per deciliter", RiskKind.DOSE, []),
        ("140 mEq/L, 3 g/dL", RiskKind.DOSE, []),
        ("75 mg/m2, 5 mg/week", RiskKind.DOSE, ["75 mg/m2", "5 mg/week"]),
        ("bilateral and right but not upright", RiskKind.LATERALITY, ["Bilateral", "right"]),
        ("bright leftover", RiskKind.LATERALITY, []),
        ("no pain and she denies fever without cough", RiskKind.NEGATION, ["No", "denies", "without"]),
        ("she doesn't know the nodule", RiskKind.NEGATION, ["doesn't"]),
        ("nodule noted", RiskKind.NEGATION, []),
    ],
)
def test_risky_places(raw: str, kind: RiskKind, places: list[str]) -> None:
    assert marked(raw, kind) == places


def test_risks_are_in_the_order_of_the_text() -> None:
    risks = format_spoken("no left mass of five milligrams {foo} period").risks
    assert [risk.start for risk in risks] == sorted(risk.start for risk in risks)


def test_settings_go_to_another_process() -> None:
    correction = Correction(heard="new mow thorax", wanted="pneumothorax", changes_risk=False, line=1)
    for settings in (WritingSettings(), WritingSettings(auto_texts={"a": "b"}, corrections=[correction])):
        there = pickle.loads(pickle.dumps(settings))
        assert there == settings
        assert format_spoken("new mow thorax", settings=there) == format_spoken("new mow thorax", settings=settings)


@pytest.mark.parametrize(("raw", "written"), [("two weeks period", "Two weeks."), ("t twelve", "T twelve")])
def test_numbers_can_be_left_in_words(raw: str, written: str) -> None:
    assert format_spoken(raw, settings=WritingSettings(numbers=False)).text == written


@pytest.mark.parametrize(
    "raw",
    [
        "{",
        "}",
        "{}",
        "{{{{",
        "}{",
        "[",
        "]",
        "[]",
        ".",
        "\n\n\n",
        "{period",
        " ",
        "{" * 9000,
        "one million " * 1500,
        "one to " * 300,
    ],
)
def test_scraps_do_no_harm(raw: str) -> None:
    written = format_spoken(raw).text
    assert format_spoken(written).text == written
