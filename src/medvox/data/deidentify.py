"""One DICOM data set -> a copy without what identifies: the Basic Application Level Confidentiality Profile.

Between ``dicom_file`` and the file that is written; the pixels are looked at in ``deidentify_pixels``. Where the table
leaves a choice to the object definition ("X unless Z is required") the last letter is taken, which is valid for every
type of attribute. Options override the profile, as the standard says. Knows no folder and no file name.

Source: DICOM PS3.15 Annex E (table E.1-1 in ``deidentify_profile``), PS3.16 CID 7050, PS3.10 section 7.1.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

from pydicom import DataElement, Dataset, FileDataset, config, dcmwrite
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataset import FileMetaDataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from medvox.data import deidentify_profile as profile
from medvox.data.dicom_file import quiet_pydicom
from medvox.data.imaging_words import clean_description
from medvox.data.leftovers import identifiers_of, repeats
from medvox.data.pseudonyms import Pseudonyms
from medvox.errors import InputError

IMPLEMENTATION_UID = "2.25.141250961420857423398137201264029181497"  # made once for medvox, names no instance
METHOD = f"medvox: PS3.15 {profile.EDITION} Basic Application Level Confidentiality"
DUMMY_TEXT, DUMMY_DATE, DUMMY_TIME = "REMOVED", "19000101", "000000"
SHORT_TEXT, FREE_TEXT = frozenset({"LO", "SH", "CS", "UC"}), frozenset({"LT", "ST", "UT", "UC", "UR"})
TEMPORAL = frozenset({"DA", "DT", "TM"})
COUNTS = frozenset({"US", "UL", "SS", "SL", "UV", "SV", "AT"})
CODED_FREE_TEXT = frozenset({0x00080119, 0x00080120, 0x0008010E})  # LongCodeValue, URNCodeValue, CodingSchemeURL
DIGITS = frozenset("0123456789")
FORMS = {"DA": DIGITS | {"."}, "TM": DIGITS | set(".:"), "DT": DIGITS | set(".+-"), "UI": DIGITS | {"."}}
PATIENT_NAME, PATIENT_ID, PATIENT_AGE = 0x00100010, 0x00100020, 0x00101010
OLDEST_YEARS = 90
MIN_NUMBER_REPEATED = 6  # digits; image numbers that equal a short patient number do so by chance

Dates = Literal["remove", "shift", "keep"]
Deed = Literal["keep", "remove", "empty", "dummy", "uid", "shift", "clean"]
DEEDS: dict[str, Deed] = {
    "X": "remove",
    "Z": "empty",
    "D": "dummy",
    "U": "uid",
    "Z/D": "dummy",
    "X/Z": "empty",
    "X/D": "dummy",
    "X/Z/D": "dummy",
    "X/Z/U*": "keep",  # the sequence stays; the profile is applied to its items, which replaces the UIDs
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Options of PS3.15 E.3 on top of the basic profile.

    Attributes:
        dates: remove them; move all dates of a patient by the same whole number of days; or keep them.
        keep_characteristics: age, sex, size, weight and alike. Ages of 90 and more become 90.
        keep_device: names, numbers and calibration of devices.
        keep_uids: instance UIDs.
        keep_safe_private: the private attributes of table E.3.10-1 that hold numbers only.
        clean_descriptors: descriptions are reduced to words of imaging, instead of removed.
    """

    dates: Dates = "remove"
    keep_characteristics: bool = False
    keep_device: bool = False
    keep_uids: bool = False
    keep_safe_private: bool = False
    clean_descriptors: bool = False

    @property
    def codes(self) -> tuple[tuple[str, str], ...]:
        """Profile and options as codes of CID 7050: (value, meaning)."""
        offered = (
            (True, "113100", "Basic Application Confidentiality Profile"),
            (self.clean_descriptors, "113105", "Clean Descriptors Option"),
            (self.dates == "keep", "113106", "Retain Longitudinal Temporal Information Full Dates Option"),
            (self.dates == "shift", "113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
            (self.keep_characteristics, "113108", "Retain Patient Characteristics Option"),
            (self.keep_device, "113109", "Retain Device Identity Option"),
            (self.keep_uids, "113110", "Retain UIDs Option"),
            (self.keep_safe_private, "113111", "Retain Safe Private Option"),
        )
        return tuple((value, meaning) for chosen, value, meaning in offered if chosen)


@dataclass(frozen=True, kw_only=True, slots=True)
class Deidentified:
    """The cleaned copy, the code of its patient, and how many attributes met which fate."""

    dataset: Dataset
    patient: str
    counts: Mapping[str, int]


def deidentify(
    dataset: Dataset, options: Options, pseudonyms: Pseudonyms, *, text_remains: bool = False
) -> Deidentified:
    """Apply the basic profile and the options to a data set and everything nested in it. The input stays as it is.

    Beyond the table: attributes that the dictionary does not know are removed; dates, person names, free text and
    instance UIDs outside the table are treated like those inside it; a name or number of this patient that is found
    again in a kept text empties that text; values that cannot be parsed are removed.

    ``text_remains`` says that the pixels may hold text and go out all the same; identity is then not called removed.
    """
    with quiet_pydicom():
        identity = patient_identity(dataset)
        walk = _Walk(options, pseudonyms, identity, identifiers_of(dataset))
        result = walk.data_set(dataset)
        _record(result, options, text_remains=text_remains)
    return Deidentified(dataset=result, patient=pseudonyms.patient(identity), counts=dict(walk.counts))


def patient_identity(dataset: Dataset) -> str:
    """What tells this patient from others: the number and its issuer, else name and birth date, else the study."""
    for keywords in (("PatientID", "IssuerOfPatientID"), ("PatientName", "PatientBirthDate"), ("StudyInstanceUID",)):
        values = [_text(dataset, keyword) for keyword in keywords]
        if values[0]:
            return "\0".join((keywords[0], *values))
    return "SOPInstanceUID\0" + _text(dataset, "SOPInstanceUID")


def file_bytes(cleaned: Dataset, source: FileDataset | Dataset, name: str) -> bytes:
    """A DICOM file of the cleaned data set in the transfer syntax of the source: new meta information, empty preamble.

    Raises:
        InputError: the source holds values that no valid file can be written from (``E_DEID_UNWRITABLE``).
    """
    if not (_text(cleaned, "SOPClassUID") and _text(cleaned, "SOPInstanceUID")):
        raise InputError(
            f"{name} states no SOP class or no SOP instance, so no valid file can be made of it",
            code="E_DEID_UNWRITABLE",
            fix="Have the file exported again with its UIDs.",
        )
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(str(source.file_meta.TransferSyntaxUID))
    meta.MediaStorageSOPClassUID = UID(_text(cleaned, "SOPClassUID"))
    meta.MediaStorageSOPInstanceUID = UID(_text(cleaned, "SOPInstanceUID"))
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "MEDVOX"
    cleaned.file_meta = meta
    buffer = io.BytesIO()
    try:
        with quiet_pydicom():
            dcmwrite(buffer, cleaned, enforce_file_format=True)
    except Exception as error:  # the writer raises many kinds for values that the source's own reader let pass
        raise InputError(
            f"{name} holds values that no valid file can be written from ({type(error).__name__})",
            code="E_DEID_UNWRITABLE",
            fix="Have the file exported again, or leave it out.",
        ) from error
    return buffer.getvalue()


class _Walk:
    """One pass over a data set and its sequences. Counts what it does."""

    def __init__(self, options: Options, pseudonyms: Pseudonyms, identity: str, identifiers: frozenset[str]) -> None:
        self.counts: Counter[str] = Counter()
        self._options, self._pseudonyms = options, pseudonyms
        self._identity, self._identifiers = identity, identifiers
        self._deeds: dict[Deed, Callable[[DataElement, str], DataElement | None]] = {
            "keep": self._kept,
            "remove": self._removed,
            "empty": self._emptied,
            "dummy": self._dummied,
            "uid": self._uid_replaced,
            "shift": self._shifted,
            "clean": self._cleaned,
        }

    def data_set(self, source: Dataset) -> Dataset:
        result = Dataset()
        safe = self._safe_private(source) if self._options.keep_safe_private else frozenset()
        for tag in sorted(source.keys()):
            if tag.element == 0:  # group lengths are written anew or not at all
                continue
            if tag.is_private and tag not in safe:
                self.counts["private removed"] += not tag.is_private_creator
                continue
            try:
                element = source[tag]
                written = element if tag.is_private else self._public(element)
            except Exception:  # values are parsed on access and pydicom raises many kinds; unreadable goes
                self.counts["unreadable removed"] += 1
                continue
            if written is not None:
                result[tag] = written
        return result

    def _public(self, element: DataElement) -> DataElement | None:
        tag = element.tag
        known = dictionary_has_tag(tag)
        vr = dictionary_VR(tag).split(" or ")[0] if known else element.VR
        deed = deed_for(tag, vr, self._options) if known else DEEDS.get(profile.BASIC.get(tag, "X"), "remove")
        return self._deeds[deed](element, vr)

    def _kept(self, element: DataElement, vr: str) -> DataElement | None:
        if element.VR == "SQ":
            return _made(element.tag, "SQ", [self.data_set(item) for item in element.value])
        if not _has_form_of(element, vr):
            self.counts["unreadable removed"] += 1
            return None
        text = str(element.value) if vr in SHORT_TEXT | FREE_TEXT | {"PN", "IS"} else ""
        if repeats(text, self._identifiers) and (vr != "IS" or len(text) >= MIN_NUMBER_REPEATED):
            self.counts["repeated identifier emptied"] += 1
            return _made(element.tag, vr, None)
        if element.tag == PATIENT_AGE:
            return _made(element.tag, vr, _capped_age(str(element.value)))
        return element

    def _removed(self, element: DataElement, vr: str) -> None:
        self.counts["removed"] += 1

    def _emptied(self, element: DataElement, vr: str) -> DataElement:
        self.counts["emptied"] += not element.is_empty
        if element.tag == PATIENT_NAME and not element.is_empty:
            return _made(element.tag, vr, self._pseudonyms.patient(self._identity))
        return _made(element.tag, vr, [] if vr == "SQ" else None)

    def _dummied(self, element: DataElement, vr: str) -> DataElement | None:
        self.counts["replaced"] += 1
        if vr == "SQ":
            return _made(element.tag, vr, [self._hollow(item) for item in list(element.value)[:1]])
        if vr == "UI":
            return self._uid_replaced(element, vr)
        if element.tag == PATIENT_ID:
            return _made(element.tag, vr, "" if element.is_empty else self._pseudonyms.patient(self._identity))
        return _made(element.tag, vr, dummy_value(vr))

    def _hollow(self, item: Dataset) -> Dataset:
        """The shape of a sequence item with dummies for its values; code strings and counts keep theirs."""
        result = Dataset()
        for tag in sorted(item.keys()):
            if tag.is_private or tag.element == 0 or not dictionary_has_tag(tag):
                continue
            element, vr = item[tag], dictionary_VR(tag).split(" or ")[0]
            harmless = vr in COUNTS or (vr == "UI" and tag in profile.STRUCTURAL_UIDS)
            if harmless or (vr == "CS" and not repeats(str(element.value), self._identifiers)):
                result[tag] = element
                continue
            written = self._dummied(element, vr)
            if written is not None:
                result[tag] = written
        return result

    def _uid_replaced(self, element: DataElement, vr: str) -> DataElement | None:
        if element.is_empty:
            return _made(element.tag, vr, None)
        self.counts["UIDs replaced"] += 1
        values = [self._pseudonyms.uid(str(value)) for value in _listed(element)]
        return _made(element.tag, "UI", values if len(values) > 1 else values[0])

    def _shifted(self, element: DataElement, vr: str) -> DataElement | None:
        if vr == "TM" or element.is_empty:  # whole days are moved: times of day stay
            return self._kept(element, vr)
        days = self._pseudonyms.shift_days(self._identity)
        values = [shifted_date(str(value), days) for value in _listed(element)]
        if not all(values):  # not a full date: it cannot be moved
            return self._deeds[deed_for(element.tag, vr, Options())](element, vr)
        self.counts["dates shifted"] += 1
        return _made(element.tag, vr, values if len(values) > 1 else values[0])

    def _cleaned(self, element: DataElement, vr: str) -> DataElement:
        self.counts["descriptions cleaned"] += 1
        cleaned = [clean_description(str(value)) for value in _listed(element)] if not element.is_empty else [""]
        kept = ["" if repeats(text, self._identifiers) else text for text in cleaned]
        value = kept if len(kept) > 1 else kept[0]
        if not any(kept) and "D" in profile.BASIC.get(element.tag, ""):
            value = DUMMY_TEXT
        return _made(element.tag, vr, value)

    def _safe_private(self, source: Dataset) -> frozenset[BaseTag]:
        """The numeric private elements of table E.3.10-1, with the creators of their blocks."""
        safe: set[BaseTag] = set()
        for tag in list(source.keys()):
            if tag.is_private and not tag.is_private_creator and _is_safe(source, tag):
                safe |= {tag, Tag(tag.group, tag.element >> 8)}
                self.counts["private kept"] += 1
        return frozenset(safe)


def deed_for(tag: int, vr: str, options: Options) -> Deed:
    """What happens to a public attribute of the dictionary: options first, then the table, then the rules beyond it."""
    temporal = (vr in TEMPORAL and tag not in profile.BIRTH) or tag in profile.TIME_ZONE
    if options.dates == "shift" and temporal:
        return "keep" if tag in profile.TIME_ZONE else "shift"
    kept = (
        (options.dates == "keep" and (temporal or tag in profile.TIMESTAMPS))
        or (options.keep_uids and (tag in profile.UIDS or (vr == "UI" and tag not in profile.BASIC)))
        or (options.keep_device and tag in profile.DEVICE)
        or (options.keep_characteristics and tag in profile.CHARACTERISTICS)
    )
    if kept:
        return "keep"
    if options.clean_descriptors and tag in profile.DESCRIPTORS and vr in SHORT_TEXT | FREE_TEXT:
        return "clean"
    action = profile.BASIC.get(tag)
    return DEEDS[action] if action else _deed_beyond(tag, vr)


def _deed_beyond(tag: int, vr: str) -> Deed:
    """The rule for an attribute of the dictionary that table E.1-1 does not list (PS3.15 E.1.1, notes 1 and 4)."""
    if tag in profile.BEYOND or vr == "UN" or 0x5000 <= tag >> 16 < 0x5100 or 0x6000 <= tag >> 16 < 0x6100:
        return "remove"
    if vr == "PN":
        return "empty"
    if vr in TEMPORAL or vr == "AE" or (vr in FREE_TEXT and tag not in CODED_FREE_TEXT):
        return "dummy"
    if vr == "UI" and tag not in profile.STRUCTURAL_UIDS:
        return "uid"
    return "keep"


def dummy_value(vr: str) -> Any:
    """A value of a VR that says nothing."""
    values: dict[str, Any] = {
        "DA": DUMMY_DATE,
        "TM": DUMMY_TIME,
        "DT": DUMMY_DATE + DUMMY_TIME,
        "AS": "000D",
        "DS": "0",
        "IS": "1",
        "FL": 0.0,
        "FD": 0.0,
    }
    if vr in COUNTS:
        return 0
    return b"\0\0" if vr[0] == "O" or vr == "UN" else values.get(vr, DUMMY_TEXT)


def shifted_date(text: str, days: int) -> str:
    """A DICOM date or date-time moved by whole days; empty where it is no full date."""
    digits = text.strip().replace(".", "") if len(text.strip()) == 10 else text.strip()  # the old form 2015.03.12
    try:
        moved = date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])) + timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return moved.strftime("%Y%m%d") + digits[8:] if moved.year >= 1000 else ""


def _record(result: Dataset, options: Options, *, text_remains: bool) -> None:
    """State in the data set what was done to it (PS3.3 C.7.1.1 and C.12.1)."""
    result.PatientIdentityRemoved = "NO" if text_remains else "YES"
    if text_remains:
        result.BurnedInAnnotation = "YES"
    result.DeidentificationMethod = METHOD
    earlier = list(result.get("DeidentificationMethodCodeSequence", []))
    known = {_text(item, "CodeValue") for item in earlier}
    for value, meaning in options.codes:
        if value not in known:
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
            earlier.append(item)
    result.DeidentificationMethodCodeSequence = earlier
    changes = {"remove": "REMOVED", "shift": "MODIFIED", "keep": "UNMODIFIED"}
    result.LongitudinalTemporalInformationModified = changes[options.dates]


def _made(tag: BaseTag, vr: str, value: Any) -> DataElement:
    return DataElement(tag, vr, value, validation_mode=config.IGNORE)


def _listed(element: DataElement) -> list[Any]:
    return list(element.value) if element.VM > 1 else [element.value]


def _is_safe(source: Dataset, tag: BaseTag) -> bool:
    try:
        creator = str(source[Tag(tag.group, tag.element >> 8)].value).strip()
        element = source[tag]
        if element.VR in ("DS", "IS"):
            numeric = all(_is_number(value) for value in _listed(element))
        else:
            numeric = element.VR in COUNTS | {"FL", "FD"}
    except Exception:  # no creator, or a value that cannot be parsed: not known to be safe
        return False
    return numeric and (tag.group, tag.element & 0xFF, creator) in profile.SAFE_PRIVATE


def _has_form_of(element: DataElement, vr: str) -> bool:
    """Whether a value can be what its VR says. Bytes in place of a value, or words in place of a number, cannot."""
    if element.VR in ("UN", "OB") and vr not in ("UN", "OB", "OW"):
        return False
    values = [str(value).strip() for value in _listed(element)]
    if element.is_empty or vr not in FORMS:
        return vr not in ("DS", "IS") or element.is_empty or all(map(_is_number, values))
    return all(set(value) <= FORMS[vr] for value in values)


def _is_number(value: Any) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _capped_age(text: str) -> str:
    age = text.strip()
    old = age.endswith("Y") and age[:-1].isdigit() and int(age[:-1]) >= OLDEST_YEARS
    return f"{OLDEST_YEARS:03}Y" if old else age


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "").strip()
    except Exception:  # parsed on access; what cannot be read identifies nobody
        return ""
