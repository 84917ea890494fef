"""Which kinds of identifying content DICOM headers hold: counts by category, never a value.

Beside the readers; the verb ``inspect`` shows it. It looks and changes nothing; ``deidentify`` removes. What counts is
what the basic profile would not leave as it is. Values are not judged: a made-up name counts like a real one.

Source: DICOM PS3.15 table E.1-1, as in ``deidentify_profile``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.tag import BaseTag

from medvox.data import deidentify_profile as profile
from medvox.data.deidentify import FREE_TEXT, TEMPORAL, Options, deed_for
from medvox.data.deidentify_pixels import declared_writing
from medvox.data.dicom_file import quiet_pydicom, read_dataset_file
from medvox.errors import MedvoxError

PLACES = ("Institution", "Station", "Address", "Location", "Telephone", "Country", "Region", "GPS", "Department")


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Elements with content, by category, nested ones included, over the files that were looked at. They add up.

    Attributes:
        names: of persons, the patient's, physicians' and operators'.
        ids: numbers and codes of patients, visits, requests and trials.
        dates: dates, times and date-times.
        places: institutions, addresses, telephone numbers, stations.
        devices: serial numbers and the like.
        characteristics: age, sex, size, weight and alike.
        free_text: descriptions and comments, where people write names.
        private: elements of manufacturers, whose meaning is not public.
        unreadable: elements whose value cannot be parsed.
        burned_in: files that say that their pixels show text, or whose kind usually does and that do not deny it.
    """

    names: int = 0
    ids: int = 0
    dates: int = 0
    places: int = 0
    devices: int = 0
    characteristics: int = 0
    free_text: int = 0
    private: int = 0
    unreadable: int = 0
    burned_in: int = 0

    def __add__(self, other: Identity) -> Identity:
        return Identity(**{item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(self)})

    def as_dict(self) -> dict[str, int]:
        """The counts as a JSON object."""
        return asdict(self)


def identity_summary(paths: Iterable[Path]) -> Identity:
    """Count identifying content in the headers of DICOM files; what cannot be read counts as nothing."""
    total = Identity()
    for path in paths:
        try:
            total += identity_of(read_dataset_file(path))
        except MedvoxError:
            continue
    return total


def identity_of(dataset: Dataset) -> Identity:
    """Count identifying content in one header."""
    with quiet_pydicom():
        counts = Counter(_categories(dataset))
        counts["burned_in"] = int(bool(declared_writing(dataset)))
    return Identity(**counts)


def _categories(dataset: Dataset) -> Iterator[str]:
    """The category of each identifying element with content."""
    for tag in list(dataset.keys()):
        if tag.element == 0 or tag.is_private_creator:
            continue
        try:
            element = dataset[tag]
            if element.VR == "SQ" and not tag.is_private:
                for item in element.value:
                    yield from _categories(item)
            elif not element.is_empty and (category := _category(tag, element.keyword)):
                yield category
        except Exception:  # values are parsed on access and pydicom raises many kinds; counted, never shown
            yield "unreadable"


def _category(tag: BaseTag, keyword: str) -> str:
    """The category of an element that holds something; empty for what identifies nobody."""
    if tag.is_private:
        return "private"
    vr = dictionary_VR(tag).split(" or ")[0] if dictionary_has_tag(tag) else ""
    if vr in ("", "UI") or deed_for(tag, vr, Options()) == "keep":
        return ""
    if vr == "PN" or vr in TEMPORAL:
        return "names" if vr == "PN" else "dates"
    if any(place in keyword for place in PLACES):
        return "places"
    for category, tags in (("characteristics", profile.CHARACTERISTICS), ("devices", profile.DEVICE)):
        if tag in tags:
            return category
    return "free_text" if tag in profile.DESCRIPTORS or vr in FREE_TEXT else "ids"
