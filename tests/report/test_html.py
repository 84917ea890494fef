"""The page: complete, self-contained, and nothing in it can act."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from medvox.data.results import Answer, Box, Transcript, Word
from medvox.report.figures import Figure
from medvox.report.html import render_report
from medvox.types import Flag

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
VOID = {"meta", "img", "rect", "br"}

TRANSCRIPT = Transcript(
    file="question.wav",
    text="Is there a nodule?",
    raw_text="is there a nodule",
    words=(
        Word(word="nodule", start_s=1.25, end_s=1.75, confidence=0.41),
        Word(word="there", start_s=0.5, end_s=0.75, confidence=0.98),
    ),
    duration_s=2.0,
    model="medvox-mini-asr",
    flags=(),
)
RECEIPT: dict[str, Any] = {
    "sources": [{"name": "01.dcm", "sha256": "ab" * 32}],
    "series": {"uid": "1.2.3", "chosen_because": "the only series", "shape": [20, 512, 512]},
    "slices": {"used": [0, 1, 2, 5], "dropped": [3, 4]},
    "preset": {"name": "ct.medgemma-1.5", "hash": "0123456789abcdef"},
    "windows_hu": [[-1024, 1024], [-135, 215], [0, 80]],
    "tokens": {"prompt": 1412, "image": 1280, "generated": 9},
    "model": {"id": "medvox-mini-vlm", "weights_sha256": "cd" * 32},
    "speech_model": None,
    "question": "Is there a nodule?",
    "prompt_text": "SLICE 1\nIs there a nodule?",
    "raw_text": "I see one.\nFinal Answer: yes",
    "decoding": "greedy",
    "seed": None,
    "seconds": {"read": 0.5, "generate": 4.0},
    "versions": {"medvox": "0.1.0", "python": "3.11"},
    "research_use": "Research use only. Review it.",
}
ANSWER = Answer(
    answer="I see one.",
    label="yes",
    probability=0.834,
    boxes=(Box(label="nodule", box_xyxy=(10, 20, 30, 50), image="SLICE 4"),),
    flags=(Flag(code="F_TEST", text="something to know"),),
    transcript=TRANSCRIPT,
    receipt=RECEIPT,
)
FIGURE = Figure(caption="SLICE 4", png=b"\x89PNG not really")


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that tags are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def page(answer: Answer = ANSWER, figures: tuple[Figure, ...] = (FIGURE,), title: str = "A CT") -> Page:
    return Page(render_report(answer, figures, title))


@pytest.mark.parametrize(
    "expected",
    [
        "Not for clinical use.",
        "Research use only. Review it.",
        "a qualified person must check",
        "Is there a nodule?",
        "As heard: is there a nodule",
        "1 of 2 words below 60% confidence are marked",
        "1.25–1.75 s 41%",
        "the model's own probability: 83.4%",
        "nodule SLICE 4 10, 20, 30, 50 20 x 30",
        "F_TEST something to know",
        "ct.medgemma-1.5 0123456789abcdef",
        "red -1024 to 1024 HU, green -135 to 215 HU, blue 0 to 80 HU",
        "4 (index 0 to 2, 5)",
        "2 (index 3 to 4)",
        "prompt 1412, image 1280, generated 9",
        "SLICE 1 Is there a nodule?",
        "I see one. Final Answer: yes",
        "weights sha256 " + "cd" * 32,
        "chosen because the only series",
        "generate 4.00 s",
        "medvox 0.1.0, python 3.11",
        "01.dcm " + "ab" * 32,
    ],
)
def test_shows(expected: str) -> None:
    assert expected in page().words


def test_only_unsure_words_are_marked() -> None:
    marks = [attrs.get("class") for tag, attrs in page().tags if tag == "li" and "class" in attrs]

    assert marks == ["unsure"]


def test_pictures_are_inside_the_page() -> None:
    (image,) = [attrs for tag, attrs in page().tags if tag == "img"]

    assert image["src"] == "data:image/png;base64," + base64.b64encode(FIGURE.png).decode()
    assert image["alt"] == "SLICE 4"


def test_wide_pictures_get_the_width() -> None:
    shown = page(figures=(FIGURE, replace(FIGURE, wide=True)))

    assert [attrs.get("class") for tag, attrs in shown.tags if tag == "figure"] == [None, "wide"]


def test_nothing_is_requested_and_nothing_runs() -> None:
    shown = page()

    assert not {"script", "link", "iframe", "object", "form", "base"} & {tag for tag, _ in shown.tags}
    for tag, attrs in shown.tags:
        for name, value in attrs.items():
            assert not name.startswith("on"), tag
            assert name not in {"style", "href", "action", "srcset"}, tag
            assert "://" not in (value or ""), tag


def test_policy_forbids_all_but_its_own_style_and_pictures() -> None:
    html = render_report(ANSWER, [FIGURE], "A CT")
    policy = next(attrs["content"] for tag, attrs in Page(html).tags if attrs.get("http-equiv")) or ""
    style = re.search(r"<style>(.*)</style>", html, re.DOTALL)

    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_everything_from_outside_is_escaped() -> None:
    evil_word = Word(word=EVIL, start_s=0, end_s=1, confidence=0.1)
    shown = page(
        Answer(
            answer=EVIL,
            label=EVIL,
            probability=0.5,
            boxes=(Box(label=EVIL, box_xyxy=(0, 0, 1, 1), image=EVIL),),
            flags=(Flag(code=EVIL, text=EVIL),),
            transcript=replace(TRANSCRIPT, file=EVIL, text=EVIL, raw_text=EVIL + "!", words=(evil_word,), model=EVIL),
            receipt={name: _evil(value) for name, value in RECEIPT.items()} | {EVIL: EVIL},
        ),
        (Figure(caption=EVIL, png=b""),),
        EVIL,
    )

    assert "script" not in {tag for tag, _ in shown.tags}
    assert len([tag for tag, _ in shown.tags if tag == "img"]) == 1
    assert shown.words.count("<script>alert(1)</script>") > 20


def _evil(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _evil(item) for name, item in value.items()} | {EVIL: EVIL}
    if isinstance(value, list):
        return [_evil(item) for item in value]
    return EVIL


@pytest.mark.parametrize("absent", list(RECEIPT))
def test_a_receipt_may_lack_any_part(absent: str) -> None:
    page(replace(ANSWER, receipt={name: value for name, value in RECEIPT.items() if name != absent}))


@pytest.mark.parametrize("name", list(RECEIPT))
def test_a_part_of_the_receipt_may_be_null(name: str) -> None:
    page(replace(ANSWER, receipt=RECEIPT | {name: None}))


def test_an_answer_with_nothing_else() -> None:
    bare = Answer(answer="", label=None, probability=None, boxes=(), flags=(), transcript=None, receipt={})
    shown = page(bare, ())

    assert "no final answer in the text" in shown.words
    assert "No flags." in shown.words
    assert "Not for clinical use." in shown.words
    assert "img" not in {tag for tag, _ in shown.tags}


def test_typed_question_has_no_transcript() -> None:
    shown = page(replace(ANSWER, transcript=None))

    assert "Is there a nodule?" in shown.words
    assert "recognised by" not in shown.words


@pytest.mark.parametrize(("files", "opened"), [(30, True), (31, False)])
def test_long_lists_of_files_start_closed(files: int, opened: bool) -> None:
    sources = [{"name": f"{number}.dcm", "sha256": "00"} for number in range(files)]
    (details,) = [attrs for tag, attrs in page(replace(ANSWER, receipt={"sources": sources})).tags if tag == "details"]

    assert ("open" in details) == opened
