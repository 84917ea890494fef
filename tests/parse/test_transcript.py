"""Tokens to words, and spoken text to written text."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from medvox.data.results import Word
from medvox.parse.commands import WritingSettings
from medvox.parse.transcript import format_text, raw_text, words_from_tokens

PIECES = ["<epsilon>", "<s>", "</s>", "<unk>", "▁", "▁kid", "ney", "▁stone", "s", "▁c"]


@dataclass(frozen=True)
class Token:
    token_id: int
    first_frame: int = 0
    last_frame: int = 0
    probability: float = 1.0


def text_of(*ids: int) -> str:
    return raw_text(words_from_tokens([Token(number) for number in ids], PIECES))


def test_pieces_are_joined_to_words() -> None:
    assert text_of(5, 6, 7, 8) == "kidney stones"


def test_a_bare_marker_starts_a_word() -> None:
    assert text_of(5, 6, 4, 8) == "kidney s"


def test_control_pieces_never_leak() -> None:
    assert text_of(1, 5, 6, 2, 0) == "kidney"


def test_a_first_piece_without_marker_is_a_word() -> None:
    assert text_of(6, 7) == "ney stone"


def test_an_unknown_piece_is_shown() -> None:
    assert text_of(5, 6, 3, 7) == "kidney [unintelligible] stone"


def test_no_tokens_no_words() -> None:
    assert words_from_tokens([], PIECES) == ()


def test_times_are_frames_of_40_ms() -> None:
    first, second = words_from_tokens([Token(5, 2, 3), Token(6, 5, 5), Token(7, 10, 12)], PIECES)
    assert (first.start_s, first.end_s) == (0.08, 0.24)
    assert (second.start_s, second.end_s) == (0.4, 0.52)


def test_a_word_is_as_sure_as_its_least_sure_piece() -> None:
    (word,) = words_from_tokens([Token(5, probability=0.9), Token(6, probability=0.4)], PIECES)
    assert word.confidence == 0.4


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        ("which body region does this c t scan show", "Which body region does this CT scan show?"),
        ("is this a c t or an m r i", "Is this a CT or an MRI?"),
        ("on which side is the lesion", "On which side is the lesion?"),
        ("okay is there a nodule", "Okay is there a nodule?"),
        ("there is no nodule period", "There is no nodule."),
        ("small nodule comma unchanged period the liver is normal", "Small nodule, unchanged. The liver is normal"),
        ("on the left there is a cyst", "On the left there is a cyst"),
        ("over a period of two weeks", "Over a period of 2 weeks"),
        ("describe the findings", "Describe the findings"),
        ("No nodule {period} {new paragraph} impression {colon} normal", "No nodule.\n\nImpression: normal"),
        ("electric motor", "Electric motor"),
        ("", ""),
    ],
)
def test_written_form(raw: str, written: str) -> None:
    assert format_text(raw).text == written


@pytest.mark.parametrize("leaked", ["</s>", "<s>", "<epsilon>", "<pad>"])
@pytest.mark.parametrize("form", ["{}", "{} kidney", "kidney {}", "kidney{}", "{}kidney", "kid{}ney", "{}{}kidney{}"])
def test_control_tokens_of_any_recogniser_never_leak(leaked: str, form: str) -> None:
    words = [Word(word=word, start_s=0, end_s=1, confidence=1) for word in form.replace("{}", leaked).split()]
    assert raw_text(words) in {"kidney", ""}
    assert format_text(words).text.lower() in {"kidney", "kid ney", ""}
    assert "<" not in format_text(form.replace("{}", leaked)).text


def test_an_unknown_word_of_any_recogniser_is_shown() -> None:
    words = [Word(word=word, start_s=0, end_s=1, confidence=1) for word in ("left", "<unk>")]
    assert raw_text(words) == "left [unintelligible]"
    assert format_text(words).text == "Left [unintelligible]"


def test_control_pieces_inside_a_piece_never_leak() -> None:
    tokens = [Token(0), Token(1)]
    assert raw_text(words_from_tokens(tokens, ["▁kidney</s>", "s"])) == "kidneys"


def test_words_give_their_risks_times() -> None:
    words = [Word(word=word, start_s=at, end_s=at + 1, confidence=0.5) for at, word in enumerate(["is", "it", "left"])]
    written = format_text(words)
    assert written.text == "Is it left?"
    assert [(risk.text, risk.start_s, risk.unsure) for risk in written.risks] == [("left", 2, True)]


def test_a_template_is_no_question() -> None:
    assert format_text("[is] it", settings=WritingSettings(template="Is it so")).text.endswith("it")


def test_the_markup_of_the_recogniser_stays_in_the_raw_text() -> None:
    words = [Word(word=word, start_s=0, end_s=1, confidence=1) for word in ("[FINDINGS]", "clear", "{period}")]
    assert raw_text(words) == "[FINDINGS] clear {period}"
    assert format_text(words).text == "FINDINGS:\nClear."
