"""Text of recognisers that write capitals, marks and digits, and notes that people wrote: left as they are."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from medvox.parse.commands import WritingSettings, format_spoken

TEXTS = Path(__file__).parents[3] / "shared" / "data" / "text"
PLAIN = WritingSettings(numbers=False)
PROSE = """
The patient was seen at 3 p.m. today.
He takes metoprolol 25 mg b.i.d. and aspirin 81 mg q.d. for now.
This is, e.g., the colon. The sigmoid colon is normal.
She had a fever of 101.5 degrees on Jan. 5, 2024.
I saw Dr. Smith vs. Dr. Jones, i.e. the surgeon.
There are approx. 5 nodules, the largest is 3.5 x 2.1 cm.
"No pain," she said. "Are you sure?" he asked.
Nodule (image 4/52) measures 6 mm; unchanged.
The period of follow-up was short. Over the study period, no change.
My period, which was late, started. During the same period, nothing.
COVID-19 test negative. SpO2 98%. BP 120/80 mmHg.
The colon: normal. Liver: normal. Impression: 1. Nodule. 2. Cyst.
He is 45 years old. A 45-year-old man.
The U.S. shows a cyst. H I V and E C T are not for me to join.
T1 and T2 weighted images... no lesion.
Follow up in 1 - 2 weeks - or sooner. Read more about DASH.
One of the nodules is larger. Two were removed.
The rod cap locker was closed; the cap screws were tight.
pH 7.35; Na+ 140 mEq/L; K+ 4.0. Temp 37.2°C.
Mr. O'Brien's x-rays: "stable".
The body mass index [BMI] and impairment scale [ASIA] were noted.
Type 6 WEEKS here.
- First item
""".strip().split("\n")


@pytest.mark.parametrize("sentence", PROSE)
def test_prose_is_left_alone(sentence: str) -> None:
    written = format_spoken(sentence)
    assert (written.text, written.flags) == (sentence, ())


def test_lines_of_a_note_are_left_alone() -> None:
    note = "FINDINGS:\nLungs clear.\n\nIMPRESSION:\n1. Nodule in the left lung.\n2. No effusion.\n\n- one\n- two"
    assert format_spoken(note).text == note


@pytest.mark.parametrize(
    ("heard", "written"),
    [
        ("The lungs are clear, period. New paragraph. Impression, colon, no disease, period.",
         "The lungs are clear.\n\nImpression: no disease."),
        ("The lungs are clear. Period. Heart normal. Period. New line. No effusion, period.",
         "The lungs are clear. Heart normal.\nNo effusion."),
        ("The lungs are clear period. Heart normal period.", "The lungs are clear. Heart normal."),
        ("I don't know, comma, but the liver, comma, and kidneys are normal.",
         "I don't know, but the liver, and kidneys are normal."),
        ("Open parenthesis, series 4, image 22, close parenthesis.", "(Series 4, image 22)."),
        ("The mass is 3 cm. Scratch that. The mass is 4 cm.", "The mass is 4 cm."),
        ("Fracture, question mark.", "Fracture?"),
        ("Go to impression. No mass.", "IMPRESSION:\nNo mass."),
        ("New Paragraph. Stable.", "Stable."),
    ],
)  # fmt: skip
def test_commands_in_punctuated_text(heard: str, written: str) -> None:
    assert format_spoken(heard).text == written
    assert format_spoken(written).text == written


def paragraphs(name: str, key: str, count: int) -> list[str]:
    path = TEXTS / f"{name}.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)[key] for line, _ in zip(lines, range(count), strict=False)]
    return [" ".join(part.split()) for text in texts for part in text.split("\n") if part.strip()]


def test_clinicians_notes_come_through() -> None:
    """No command is heard in 50 000 words of notes. Joined letters (M R I) and loose marks are put right."""
    changed, words = [], 0
    for note in paragraphs("mtsamples_notes", "text", 90):
        words += len(note.split())
        written = format_spoken(note, settings=PLAIN).text
        plain = [re.sub(r"[^a-z0-9]", "", text.lower()) for text in (note, written)]
        if plain[0] != plain[1]:
            changed.append(note)
    assert words > 45_000
    assert changed == []


def test_notes_are_written_once() -> None:
    for note in paragraphs("mts_dialog", "section_text", 400):
        written = format_spoken(note)
        assert format_spoken(written.text).text == written.text
        assert [flag.code for flag in written.flags] == []
