"""A dictation utterance by utterance, on a template, with marks that know the words they came from."""

from __future__ import annotations

import random

import pytest

from medvox.data.dictation_files import read_template, shipped_templates
from medvox.data.results import Risk, Word
from medvox.errors import SetupError
from medvox.parse.commands import Formatted, Writer, WritingSettings, format_spoken, format_words
from medvox.synth.dictation import ScriptWriter

TEMPLATE = """EXAM:
Chest, [views].

FINDINGS:
Lungs: [lungs].
Heart: [the heart is normal].
Stable since [date].

IMPRESSION:
[impression]
"""


def spoken(text: str, *, unsure: str = "") -> list[Word]:
    """One word a second; the words in ``unsure`` with a confidence of 0.3, the rest with 0.9."""
    return [
        Word(word=word, start_s=at, end_s=at + 0.5, confidence=0.3 if word in unsure.split() else 0.9)
        for at, word in enumerate(text.split())
    ]


def dictated(*utterances: str, template: str = "", **texts: str) -> Formatted:
    auto_texts = {name.replace("_", " "): text for name, text in texts.items()}
    writer = Writer(settings=WritingSettings(template=template, auto_texts=auto_texts))
    for utterance in utterances:
        writer.add(spoken(utterance))
    return writer.written()


def on_template(*utterances: str, **texts: str) -> str:
    return dictated(*utterances, template=TEMPLATE, **texts).text


def only(kind: str, text: str, unsure: str = "") -> list[Risk]:
    return [risk for risk in format_words(spoken(text, unsure=unsure)).risks if risk.kind == kind]


# Marks


def test_a_risk_knows_its_words() -> None:
    (risk,) = only("number", "mass of three point five centimeters", unsure="point")
    assert (risk.text, risk.confidence, risk.unsure) == ("3.5", 0.3, True)
    assert (risk.start_s, risk.end_s) == (2, 5.5)


def test_a_risk_stands_where_it_says() -> None:
    written = format_words(spoken("no mass period left cyst new line five milligrams {foo} period"))
    assert [written.text[risk.start : risk.end] for risk in written.risks] == [risk.text for risk in written.risks]


@pytest.mark.parametrize(
    ("kind", "text", "unsure"),
    [
        ("laterality", "a left mass", "left"),
        ("negation", "there is no mass", "no"),
        ("unit", "about five milligrams", "milligrams"),
        ("dose", "about five milligrams", "five"),
        ("markup", "mass {foo}", "{foo}"),
        ("number", "number seven", "seven"),
    ],
)
def test_an_unsure_word_marks_what_was_written_from_it(kind: str, text: str, unsure: str) -> None:
    assert [risk.unsure for risk in only(kind, text, unsure)] == [True]
    assert [risk.unsure for risk in only(kind, text)] == [False]


@pytest.mark.parametrize("unsure", ["mass", "in", "the", "lung", "period"])
def test_a_sure_side_beside_an_unsure_word_is_not_marked(unsure: str) -> None:
    assert [risk.unsure for risk in only("laterality", "mass in the left lung period", unsure)] == [False]


@pytest.mark.parametrize(("threshold", "unsure"), [(0.91, True), (0.9, False), (0.0, False)])
def test_the_threshold_is_the_callers(threshold: float, unsure: bool) -> None:
    written = format_words(spoken("left mass"), settings=WritingSettings(unsure_below=threshold))
    assert [risk.unsure for risk in written.risks] == [unsure]


def test_unsure_places_are_counted_in_a_flag() -> None:
    written = format_words(spoken("no left mass", unsure="no left"))
    (flag,) = written.flags
    assert flag.code == "F_DICTATION_UNSURE"
    assert ": 2;" in flag.text


def test_without_words_there_is_no_confidence() -> None:
    (risk,) = format_spoken("left mass").risks
    assert (risk.confidence, risk.start_s, risk.end_s, risk.unsure) == (None, None, None, False)


def test_a_recogniser_that_gives_no_confidence_has_no_unsure_places() -> None:
    words = [Word(word=word, start_s=at, end_s=at + 0.5, confidence=0) for at, word in enumerate(["left", "mass"])]
    (risk,) = format_words(words).risks
    assert (risk.confidence, risk.start_s, risk.unsure) == (None, 0, False)


def test_a_confidence_of_0_beside_others_is_unsure() -> None:
    words = [Word(word=word, start_s=0, end_s=1, confidence=sure) for word, sure in [("left", 0.0), ("mass", 0.9)]]
    assert [(risk.confidence, risk.unsure) for risk in format_words(words).risks] == [(0, True)]


def test_what_was_not_said_has_no_confidence() -> None:
    written = dictated("insert one", "next number mass", one="No left mass.")
    assert [(risk.text, risk.confidence) for risk in written.risks] == [("No", None), ("left", None), ("1", None)]


def test_a_list_number_that_was_said_has_its_confidence() -> None:
    written = format_words(spoken("impression colon number one mass", unsure="one"))
    assert [(risk.text, risk.unsure) for risk in written.risks] == [("1", True)]


def test_marks_of_a_recogniser_that_punctuates() -> None:
    (risk,) = only("number", "The mass, in the lung, measures 3.5.", unsure="3.5.")
    assert (risk.text, risk.unsure, risk.start_s) == ("3.5", True, 6)


def test_words_of_a_second_utterance_keep_their_own_times() -> None:
    writer = Writer()
    writer.add([Word(word="left", start_s=1, end_s=2, confidence=0.9)])
    writer.add([Word(word="left", start_s=7, end_s=8, confidence=0.2)])
    assert [(risk.start_s, risk.unsure) for risk in writer.written().risks] == [(1, False), (7, True)]


def test_control_tokens_do_not_shift_the_words() -> None:
    (risk,) = only("laterality", "<s> a <unk> left mass </s>", unsure="left")
    assert (risk.start_s, risk.unsure) == (3, True)


# Utterances


def test_a_sentence_goes_on_in_the_next_utterance() -> None:
    assert dictated("no mass in", "the liver period", "stable").text == "No mass in the liver. Stable"


@pytest.mark.parametrize(
    ("utterances", "text"),
    [
        (("alpha period beta", "scratch that"), "Alpha."),
        (("alpha period", "scratch that"), ""),
        (("alpha period beta", "gamma", "scratch that", "delta"), "Alpha. Delta"),
        (("alpha", "scratch that scratch that"), ""),
        (("scratch that", "alpha"), "Alpha"),
    ],
)
def test_scratch_that_reaches_back(utterances: tuple[str, ...], text: str) -> None:
    assert dictated(*utterances).text == text


def test_lists_and_capitals_last() -> None:
    assert dictated("next number mass", "next number caps on", "cyst", "caps off here").text == "1. Mass\n2. CYST here"


@pytest.mark.parametrize(
    ("first", "then", "text"),
    [
        ("the sigmoid", "colon is normal", "The sigmoid colon is normal"),
        ("impression", "colon normal", "Impression: normal"),
        ("over a", "period of two weeks", "Over a period of 2 weeks"),
        ("blood pressure", "one twenty over eighty", "Blood pressure 120/80"),
        ("grade", "two", "Grade 2"),
    ],
)
def test_what_was_said_before_decides(first: str, then: str, text: str) -> None:
    assert dictated(first, then).text == text


def test_end_of_dictation_ends_an_utterance_only() -> None:
    assert dictated("mass end of dictation", "cyst").text == "Mass cyst"


def test_utterances_give_what_the_whole_gives() -> None:
    try:
        script = ScriptWriter(4)
    except SetupError as error:
        pytest.skip(str(error))
    rng = random.Random(4)
    for _ in range(300):
        whole = " ".join(script.line("report")[1] for _ in range(3)).split()
        cut = rng.choice([at + 1 for at, word in enumerate(whole) if word == "period"] or [len(whole)])
        parts = " ".join(whole[:cut]), " ".join(whole[cut:])
        assert dictated(*parts).text == dictated(" ".join(whole)).text


def test_a_preview_changes_nothing() -> None:
    writer = Writer(settings=WritingSettings(template=TEMPLATE))
    writer.add(spoken("two views"))
    before = writer.written()
    assert writer.preview(spoken("next field hazy scratch that go to impression normal")).text != before.text
    assert writer.written() == before


def test_a_preview_is_what_will_be_written() -> None:
    writer = Writer()
    writer.add(spoken("no mass period"))
    seen = writer.preview(spoken("left cyst period"))
    writer.add(spoken("left cyst period"))
    assert writer.written() == seen


# Templates


@pytest.mark.parametrize("name", [template.name for template in shipped_templates()])
def test_an_untouched_template_stays_as_it_is(name: str) -> None:
    template = read_template(name)
    assert dictated(template=template.text).text == template.text


@pytest.mark.parametrize("name", [template.name for template in shipped_templates()])
def test_every_field_can_be_named(name: str) -> None:
    text = read_template(name).text
    fields = [part.partition("]")[0] for part in text.split("[")[1:]]
    filled = dictated(*(f"field {field} alpha" for field in fields), template=text)
    assert "[" not in filled.text
    assert filled.flags == ()


@pytest.mark.parametrize(
    ("utterances", "line"),
    [
        (("two views",), "Chest, two views."),
        (("two views period",), "Chest, two views."),
        (("two", "views"), "Chest, two views."),
        (("next field hazy",), "Lungs: hazy."),
        (("next field hazy comma dense period",), "Lungs: hazy, dense."),
        (("next field hazy period small nodule period",), "Lungs: hazy. Small nodule."),
        (("field lungs hazy",), "Lungs: hazy."),
        (("go to lungs hazy",), "Lungs: hazy."),
        (("go to field lungs hazy",), "Lungs: hazy."),
        (("Go to lungs.", "Hazy."), "Lungs: Hazy."),
        (("field heart large",), "Heart: large."),
        (("field the heart is normal large",), "Heart: large."),
        (("field date january fifth",), "Stable since January 5."),
        (("field heart large", "previous field hazy"), "Lungs: hazy."),
        (("field lungs hazy", "field heart large", "field lungs and dense"), "Lungs: hazy and dense."),
        (("field lungs hazy", "field heart large", "previous field scratch that clear"), "Lungs: clear."),
        (("field lungs hazy", "scratch that"), "Lungs: [lungs]."),
        (("field lungs hazy question mark",), "Lungs: hazy?"),
        (("field lungs new line", "field heart large"), "Heart: large."),
        (("field lungs insert clear lungs",), "Lungs: Both lungs are clear."),
        (("field lungs insert odd lungs left",), "Lungs: The left lung is odd."),
        (("field heart", "not enlarged period"), "Heart: not enlarged."),
        (("field heart number one",), "Heart: number one."),
    ],
)
def test_a_field_is_filled(utterances: tuple[str, ...], line: str) -> None:
    texts = {"clear_lungs": "Both lungs are clear.", "odd_lungs": "The [side] lung is odd."}
    assert line in on_template(*utterances, **texts).split("\n")


@pytest.mark.parametrize(
    ("utterances", "end"),
    [
        (("go to impression normal chest period",), "IMPRESSION:\nNormal chest."),
        (("Go to impression. Normal chest.",), "IMPRESSION:\nNormal chest."),
        (("[IMPRESSION] normal chest period",), "IMPRESSION:\nNormal chest."),
        (("go to impression mass", "field heart large", "go to impression period stable"), "IMPRESSION:\nMass. Stable"),
        (("go to impression next number mass period next number cyst period",), "IMPRESSION:\n1. Mass.\n2. Cyst."),
        (
            ("go to impression next number mass", "field lungs hazy", "go to impression next number cyst"),
            "IMPRESSION:\n1. Mass\n2. Cyst",
        ),
        (("go to impression number one mass period number two cyst period",), "IMPRESSION:\n1. Mass.\n2. Cyst."),
        (("go to impression normal", "go to plan rest"), "IMPRESSION:\nNormal\n\nPLAN:\nRest"),
        (("go to plan rest",), "IMPRESSION:\n[impression]\n\nPLAN:\nRest"),
        (("go to plan rest", "field lungs hazy", "go to plan period walk"), "PLAN:\nRest. Walk"),
    ],
)
def test_a_section_is_gone_to(utterances: tuple[str, ...], end: str) -> None:
    assert on_template(*utterances).endswith(f"\n{end}")


def test_a_section_without_open_fields_goes_on_at_its_end() -> None:
    text = on_template("field lungs hazy field heart large field date today", "go to findings also old")
    assert "Stable since today. Also old\n\nIMPRESSION" in text


def test_without_a_template_a_section_is_gone_back_to() -> None:
    assert dictated("go to findings clear period", "go to plan rest period", "go to findings stable period").text == (
        "FINDINGS:\nClear. Stable.\n\nPLAN:\nRest."
    )


def test_two_headings_of_a_recogniser_are_not_joined() -> None:
    text = dictated("[FINDINGS] clear . [IMPRESSION] normal . [FINDINGS] mass .").text
    assert text.count("FINDINGS:") == 2


@pytest.mark.parametrize(
    "sentence",
    [
        "Visual field lungs",
        "The field lungs",
        "Low power field heart",
        "Wants to go to lungs",
        "Field of view",
        "Field liver",
        "Go to liver",
    ],
)
def test_no_field_is_meant(sentence: str) -> None:
    assert f"Chest, {sentence}." in on_template(sentence)


@pytest.mark.parametrize("utterance", ["previous field mass", "field kidneys mass"])
def test_a_field_that_is_not_there_keeps_the_words(utterance: str) -> None:
    written = dictated(utterance, template=TEMPLATE, kidneys="Kidneys: [normal]")
    assert f"Chest, {utterance}." in written.text
    assert "F_DICTATION_FIELDS" in [flag.code for flag in written.flags]


def test_open_fields_are_counted() -> None:
    (flag,) = dictated("two views", template=TEMPLATE).flags
    assert flag.code == "F_DICTATION_UNFILLED"
    assert ": 4;" in flag.text


@pytest.mark.parametrize("template", ["(see [image])", "size [5]mm", "- [first]\n- second", "A: [x], [y]; [z]."])
def test_what_hangs_at_a_field_stays_there(template: str) -> None:
    assert dictated(template=template).text == template


@pytest.mark.parametrize(
    "utterances",
    [
        ("insert two lungs",),
        ("go to two lungs hazy",),
        ("no mass scratch that left mass",),
        ("next number mass", "next number two cysts"),
        ("field lungs no mass", "go to impression left mass scratch that right mass five millimeters"),
        ("number", "one mass"),
    ],
)
def test_commands_are_no_change(utterances: tuple[str, ...]) -> None:
    written = dictated(*utterances, template=TEMPLATE, two_lungs="TWO LUNGS:\nNo left [mass]")
    assert "F_DICTATION_CHANGED" not in [flag.code for flag in written.flags]
