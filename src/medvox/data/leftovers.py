"""The identifiers that one data set states, and whether they are repeated where they do not belong.

Used by ``deidentify``: the standard's table says which attributes identify; operators type names and numbers into
others as well. Values found here live as long as one file is worked on; they reach no message and no report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pydicom import Dataset

from medvox.data.imaging_words import IMAGING_WORDS

MIN_NAME, MIN_NUMBER = 3, 4
NAMES = (
    "PatientName",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "NameOfPhysiciansReadingStudy",
    "PhysiciansOfRecord",
    "RequestingPhysician",
    "ConsultingPhysicianName",
    "OperatorsName",
)
NUMBERS = (
    "PatientID",
    "OtherPatientIDs",
    "AccessionNumber",
    "StudyID",
    "AdmissionID",
    "MedicalRecordLocator",
    "PatientTelephoneNumbers",
)
# Names of people that say nothing, and words that are nobody's name.
NOBODY = frozenset(
    """
    anonymous anonymized anonymised anon deidentified removed unknown none noname name patient phantom test testing demo
    sample example doctor physician operator service volunteer subject research clinical trial case study
    """.split()  # noqa: SIM905  # a paragraph of words reads better than a list of strings
)
WORD = re.compile(r"[^\W_]+")


def identifiers_of(dataset: Dataset) -> frozenset[str]:
    """Names (word by word) and numbers that the identifying attributes hold, in lower case.

    Words of imaging ("head", "chest") and stand-ins ("anonymous") are left out: finding them again proves nothing.
    """
    words = {
        word
        for value in _values(dataset, NAMES)
        for word in WORD.findall(value.lower())
        if len(word) >= MIN_NAME and not word.isdigit() and word not in NOBODY and word not in IMAGING_WORDS
    }
    numbers = {
        value.strip().lower()
        for value in _values(dataset, NUMBERS)
        if len(value.strip()) >= MIN_NUMBER and any(map(str.isdigit, value))
    }
    return frozenset(words | numbers)


def repeats(text: str, identifiers: frozenset[str]) -> bool:
    """Whether a text holds one of the identifiers, as words of their own."""
    lowered = text.lower()
    if not any(identifier in lowered for identifier in identifiers):
        return False
    return any(re.search(rf"(?<![^\W_]){re.escape(identifier)}(?![^\W_])", lowered) for identifier in identifiers)


def left_in(parts: Iterable[bytes], identifiers: frozenset[str], *, min_length: int = 6) -> bool:
    """Whether raw bytes hold one of the longer identifiers, in any case; short ones occur by chance."""
    needles = [item.encode() for item in identifiers if len(item) >= min_length]
    return any(needle in lowered for part in parts if needles for lowered in [part.lower()] for needle in needles)


def _values(dataset: Dataset, keywords: Iterable[str]) -> Iterator[str]:
    for keyword in keywords:
        try:
            value = dataset.get(keyword)
        except Exception:  # noqa: S112  # values are parsed on access, and pydicom raises many kinds; unreadable: removed
            continue
        if value is None or value == "":
            continue
        for item in value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]:
            yield str(item)
