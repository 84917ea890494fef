"""Identifiers in notes: generated notes with known places, forms one by one, and medical words that must stay."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from medvox.data.deidentify_notes import CATEGORIES, clean_note, find_identifiers
from medvox.synth.identities import DEVELOPMENT, planted_note


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Seen by Dr. Okonkwo today.", "Seen by Dr. [NAME] today."),
        ("Signed, Ngozi Adeyemi, M.D.", "Signed, [NAME], M.D."),
        ("Patient Name: Szczepanski, Ilse", "Patient Name: [NAME]"),
        ("His wife Thandiwe called.", "His wife [NAME] called."),
        ("Robert agreed.", "[NAME] agreed."),
        ("Dr. Uchida operated. UCHIDA closed.", "Dr. [NAME] operated. [NAME] closed."),
        ("Seen on 03/12/2019 and 2019-03-15.", "Seen on [DATE] and [DATE]."),
        ("On March 3rd, 2020 and 4 Apr 2021", "On [DATE] and [DATE]"),
        ("since June 2018", "since [DATE]"),
        ("A 94-year-old man", "A [AGE]-year-old man"),
        ("aged 101", "aged [AGE]"),
        ("Call (555) 123-4567 ext. 12", "Call [PHONE]"),
        ("Fax: 555-123-4567", "Fax: [FAX]"),
        ("jane.doe@mail.example", "[EMAIL]"),
        ("SSN 123-45-6789", "SSN [SSN]"),
        ("MRN: 00493822", "MRN: [ID]"),
        ("Accession number A1234567", "Accession number [ID]"),
        ("serial number PX 20", "serial number PX 20"),
        ("serial number PX20331", "serial number [DEVICE]"),
        ("lives at 12 Old Mill Road, Lakewood, OH 44107.", "lives at [ADDRESS]."),
        ("see https://portal.example/r?id=7.", "see [URL]."),
        ("from host 10.12.0.7", "from host [IP]"),
        ("sent to Lakeshore Medical Center", "sent to [ORGANIZATION]"),
    ],
)
def test_an_identifier_becomes_its_category(text: str, cleaned: str) -> None:
    assert clean_note(text).text == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "Blood pressure 120/80, strength 5/5, murmur 2/6, T4-5 disc bulge.",
        "An 89-year-old woman; nodule 12 x 8 mm; EF 35-40%.",
        "Foley catheter, Babcock clamp, Crohn disease, Parkinson disease, Murphy sign.",
        "Diagnosed in 2015.",
        "PATIENT: The patient was taken to the operating room.",
        "Metoprolol 25 mg BID; may take with food. Will follow up.",
        "Software version 4.2.1 of the scanner.",
    ],
)
def test_medical_text_stays(text: str) -> None:
    assert clean_note(text).text == text


def test_spans_name_places_of_the_original() -> None:
    text = "Dr. Okonkwo, 03/12/2019"
    assert [(text[span.start : span.end], span.category) for span in find_identifiers(text)] == [
        ("Okonkwo", "NAME"),
        ("03/12/2019", "DATE"),
    ]


def test_spans_are_in_order_and_do_not_overlap() -> None:
    for seed in range(30):
        spans = find_identifiers(planted_note(seed).text)
        assert all(one.end <= other.start for one, other in pairwise(spans))


def test_generated_notes_tell_the_truth_about_themselves() -> None:
    note = planted_note(3)
    assert note == planted_note(3)
    assert {span.category for seed in range(9) for span in planted_note(seed).spans} <= set(CATEGORIES)
    assert all(note.text[span.start : span.end].strip() for span in note.spans)


def test_the_notes_that_the_rules_were_written_with_are_cleaned() -> None:
    missed: Counter[str] = Counter()
    for seed in range(60):
        note = planted_note(seed, templates=DEVELOPMENT)
        cleaned = clean_note(note.text).text
        for span in note.spans:
            value = note.text[span.start : span.end]
            if len(value) > 6 and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", cleaned):
                missed[span.category] += 1
    assert missed == Counter()


def test_few_words_of_real_notes_are_taken(shared_data: Path) -> None:
    words = taken = 0
    with gzip.open(shared_data / "text" / "mtsamples_notes.jsonl.gz", "rt") as lines:
        for line in list(lines)[:40]:
            text = max((value for value in json.loads(line).values() if isinstance(value, str)), key=len)
            words += len(re.findall(r"\w+", text))
            taken += sum(len(re.findall(r"\w+", text[span.start : span.end])) for span in find_identifiers(text))
    assert taken / words < 0.01


def test_a_long_line_takes_no_long_time() -> None:
    for hostile in ("A" * 50_000, "Aa " * 20_000, "1 " * 30_000, "1-" * 30_000, "a@" * 20_000, "Dr. " * 10_000):
        find_identifiers(hostile)
