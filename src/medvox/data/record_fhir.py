"""FHIR R4 JSON -> resources with their date, patient and references: a bundle, one resource, or NDJSON.

Below ``record``. Checks that the record is about one patient and tells what in it is missing or out of the ordinary.
It does not validate against profiles. Knows no question.

Source: https://hl7.org/fhir/R4 (4.0.1), pages json, bundle (3.1.1 resolving references), references, datatypes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from medvox.data.fhir_r4 import DATES, PATIENT_ELEMENTS, is_other_version
from medvox.data.json_tree import parse_json, parse_json_lines
from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.errors import BudgetError, InputError
from medvox.types import Flag

MAX_RESOURCES = 200_000
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One FHIR resource.

    Attributes:
        type: ``resourceType``.
        id: logical id; empty where it has none.
        url: ``fullUrl`` of the bundle entry; empty outside of bundles.
        date: when it happened, or else when it was written down, as stated (maybe only a year); empty when unknown.
        date_from: the element that ``date`` was taken from, such as ``onsetDateTime``.
        patient: the patient it is about, as the reference in it says; empty when it names none.
        in_error: it is marked as entered in error, and says nothing about the patient.
        content: the whole resource as plain values, decimals as ``Decimal``; to be read, not changed.
    """

    type: str
    id: str
    url: str
    date: str
    date_from: str
    patient: str
    in_error: bool
    content: Mapping[str, Any]

    @property
    def key(self) -> str:
        """``Type/id``, as relative references name it."""
        return f"{self.type}/{self.id}"


@dataclass(frozen=True, kw_only=True, slots=True)
class FhirRecord:
    """The resources in the order of the file, their places by ``Type/id`` and ``fullUrl``, and flags."""

    resources: tuple[Resource, ...]
    index: Mapping[str, int]
    flags: tuple[Flag, ...]


def read_fhir(content: bytes, name: str, *, limits: Limits = DEFAULT_LIMITS) -> FhirRecord:
    """Parse FHIR JSON of one patient.

    Raises:
        InputError: ``E_RECORD_UNREADABLE`` (no FHIR resource), ``E_RECORD_EMPTY``, ``E_RECORD_PATIENTS_MIXED``, and
            the errors of ``parse_json``.
        BudgetError: ``E_RECORD_LIMIT``, ``E_JSON_LIMIT``.
    """
    reading = _Reading(name)
    if _is_lines(content):
        for number, value in parse_json_lines(content, name, limits=limits):
            reading.take(value, "", f"line {number}")
    else:
        reading.take(parse_json(content, name, limits=limits), "", "the top level")
    if not reading.resources:
        raise InputError(f"{name} holds no resource", fix="export the record again", code="E_RECORD_EMPTY")
    resources = tuple(reading.resources)
    index = reading.index
    _check_patients(resources, index, name)
    for resource in resources:
        reading.count(resource)
    return FhirRecord(resources=resources, index=index, flags=tuple(reading.flags()))


def find(resources: Sequence[Resource], index: Mapping[str, int], reference: str) -> Resource | None:
    """The resource that a relative, absolute or ``urn:`` reference names; versions are ignored.

    An absolute reference also finds a resource that has no ``fullUrl`` of its own by its last two parts.
    """
    name = reference.split("/_history/")[0].split("#")[0]
    if name in index:
        return resources[index[name]]
    tail = index.get("/".join(name.split("/")[-2:])) if "://" in name else None
    return resources[tail] if tail is not None and not resources[tail].url else None


class _Reading:
    """Collects resources, and counts what deserves a flag."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.resources: list[Resource] = []
        self.index: dict[str, int] = {}
        self.counts: Counter[str] = Counter()

    def take(self, value: Any, url: str, where: str) -> None:
        """Add a resource, or the resources of a bundle."""
        if not isinstance(value, dict) or not _is_match(_TYPE, value.get("resourceType")):
            raise self._unreadable(f"{where} is no FHIR resource: it has no resourceType")
        if value["resourceType"] == "Bundle":
            self._take_bundle(value, where)
            return
        if len(self.resources) == MAX_RESOURCES:
            raise BudgetError(
                f"{self.name} holds more than {MAX_RESOURCES} resources",
                fix="export fewer resources, or one file per year",
                code="E_RECORD_LIMIT",
            )
        resource = self._resource(value, url)
        self.resources.append(resource)
        names = [name for name in (resource.key if resource.id else "", url) if name]
        self.counts["F_RECORD_DUPLICATE_ID"] += any(name in self.index for name in names)
        for name in names:
            self.index.setdefault(name, len(self.resources) - 1)

    def _take_bundle(self, bundle: dict[str, Any], where: str) -> None:
        entries = bundle.get("entry", [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise self._unreadable(f"the bundle at {where} has no list of entries")
        links = bundle.get("link", [])
        more = isinstance(links, list) and any(
            isinstance(link, dict) and link.get("relation") == "next" for link in links
        )
        total = bundle.get("total", 0)
        if more or (isinstance(total, int) and total > len(entries)):
            self.counts["F_RECORD_INCOMPLETE"] += 1
        for number, entry in enumerate(entries, start=1):
            url = entry.get("fullUrl", "")
            if not isinstance(url, str):
                raise self._unreadable(f"entry {number} of the bundle has a fullUrl that is no text")
            if "resource" in entry:
                self.take(entry["resource"], url, f"entry {number} of the bundle")
            else:
                self.counts["F_RECORD_ENTRY_EMPTY"] += 1

    def _resource(self, content: dict[str, Any], url: str) -> Resource:
        kind, own = content["resourceType"], content.get("id", "")
        if not _is_match(_ID, own):
            self.counts["F_RECORD_ID"] += "id" in content
            own = own if isinstance(own, str) else ""
        if is_other_version(content):
            self.counts["F_RECORD_NOT_R4"] += 1
        stated, date_from = self._date(content)
        codings = _at(content, "verificationStatus.coding")
        in_error = content.get("status") == "entered-in-error" or any(
            isinstance(coding, dict) and coding.get("code") == "entered-in-error"
            for coding in (codings if isinstance(codings, list) else ())
        )
        self.counts["F_RECORD_IN_ERROR"] += in_error
        return Resource(
            type=kind,
            id=own,
            url=url,
            date=stated,
            date_from=date_from,
            patient=next(_patients(content), ""),
            in_error=in_error,
            content=content,
        )

    def _date(self, content: dict[str, Any]) -> tuple[str, str]:
        for element in DATES.get(content["resourceType"], ()):
            stated = _at(content, element)
            if stated is None:
                continue
            if isinstance(stated, str) and is_fhir_date(stated):
                return stated, element
            self.counts["F_RECORD_DATE"] += 1
        return "", ""

    def count(self, resource: Resource) -> None:
        """Look through a whole resource once: references, modifiers, attachments."""
        contained = resource.content.get("contained")
        inside = [
            item.get("id") for item in (contained if isinstance(contained, list) else ()) if isinstance(item, dict)
        ]
        if resource.type == "OperationOutcome":
            self.counts["F_RECORD_OUTCOME"] += 1
        waiting: list[Any] = [resource.content]
        while waiting:
            value = waiting.pop()
            if isinstance(value, list):
                waiting.extend(value)
            elif isinstance(value, dict):
                waiting.extend(value.values())
                self.counts["F_RECORD_MODIFIER"] += "modifierExtension" in value or "implicitRules" in value
                self.counts["F_RECORD_ATTACHMENT"] += "contentType" in value and ("data" in value or "url" in value)
                if "reference" in value and self._is_dangling(value["reference"], inside):
                    self.counts["F_RECORD_DANGLING"] += 1

    def _is_dangling(self, reference: Any, contained: list[Any]) -> bool:
        if not isinstance(reference, str):
            return not isinstance(reference, dict)  # R5's CodeableReference nests a Reference
        if reference.startswith("#"):
            return reference != "#" and reference[1:] not in contained
        if "?" in reference:  # conditional reference: resolved by a server
            return False
        return find(self.resources, self.index, reference) is None

    def flags(self) -> Iterator[Flag]:
        for code, text in _FLAGS.items():
            if self.counts[code]:
                yield Flag(code=code, text=text.format(self.counts[code]))

    def _unreadable(self, problem: str) -> InputError:
        return InputError(
            f"{self.name}: {problem}", fix="export the record again as FHIR R4 JSON", code="E_RECORD_UNREADABLE"
        )


_FLAGS = {
    "F_RECORD_NOT_R4": "{} resources have types or elements that FHIR R4 does not know; they may be misread.",
    "F_RECORD_DUPLICATE_ID": "{} resources have the id of an earlier one; references lead to the first.",
    "F_RECORD_ID": "{} resources have an id that FHIR does not allow.",
    "F_RECORD_DATE": "{} dates are not valid and were passed over.",
    "F_RECORD_DANGLING": "{} references lead to nothing in this file.",
    "F_RECORD_ENTRY_EMPTY": "{} bundle entries hold no resource, such as deletions.",
    "F_RECORD_INCOMPLETE": "{} bundles are one page of a longer search result; the rest of the record is missing.",
    "F_RECORD_OUTCOME": "{} messages of the server about problems are in the record; it may be incomplete.",
    "F_RECORD_IN_ERROR": "{} resources are marked as entered in error.",
    "F_RECORD_MODIFIER": "{} places hold modifier extensions or implicit rules that can change the meaning; not read.",
    "F_RECORD_ATTACHMENT": "{} attachments were not read.",
}


def is_fhir_date(text: str) -> bool:
    """Whether a text is a FHIR date, dateTime or instant that exists in the calendar."""
    match = _DATE.fullmatch(text)
    if not match:
        return False
    year, month, day = match.group(1, 2, 3)
    try:
        date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        return False
    return True


def _check_patients(resources: tuple[Resource, ...], index: Mapping[str, int], name: str) -> None:
    """Refuse a record of several patients; patients that are linked to each other as one person are one."""
    same: dict[str, str] = {}

    def first(key: str) -> str:
        while key in same:
            key = same[key]
        return key

    def canonical(reference: str) -> str:
        found = find(resources, index, reference)
        return (found.key if found.id else found.url) if found else reference

    counts: Counter[str] = Counter()
    for resource in resources:
        if resource.type == "Patient":
            own = resource.key if resource.id else resource.url
            counts[own] += 0
            for other in map(canonical, _links(resource.content)):
                if first(other) != first(own):
                    same[first(other)] = first(own)
        for patient in _patients(resource.content):
            counts[canonical(patient)] += 1
    merged: Counter[str] = Counter()
    for key, count in counts.items():
        merged[first(key)] += count
    if len(merged) > 1:
        shares = ", ".join(str(count) for _, count in merged.most_common(5)) + (", ..." if len(merged) > 5 else "")
        raise InputError(
            f"{name} is about {len(merged)} patients (resources about each: {shares})",
            fix="export one patient at a time, and give the files one by one",
            code="E_RECORD_PATIENTS_MIXED",
        )


def _patients(content: Mapping[str, Any]) -> Iterator[str]:
    """References to patients in the elements that say whom a resource is about."""
    for element in PATIENT_ELEMENTS:
        values = content.get(element)
        for value in values if isinstance(values, list) else [values]:
            if not isinstance(value, dict) or not isinstance(value.get("reference"), str):
                continue
            if element in {"patient", "beneficiary"} or _names_patient(value):
                yield value["reference"]


def _names_patient(reference: Mapping[str, Any]) -> bool:
    """Whether a reference leads to a patient as far as it shows: groups, devices and locations are subjects too."""
    name = reference["reference"]
    return reference.get("type", "Patient") == "Patient" and (name.startswith("urn:") or "Patient/" in name)


def _links(patient: Mapping[str, Any]) -> Iterator[str]:
    links = patient.get("link")
    for link in links if isinstance(links, list) else []:
        reference = _at(link, "other.reference") if isinstance(link, dict) else None
        if isinstance(reference, str):
            yield reference


def _at(content: Mapping[str, Any], path: str) -> Any:
    value: Any = content
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _is_match(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_lines(content: bytes) -> bool:
    """Whether the first line is a whole object and more follow: newline-delimited JSON."""
    head, _, rest = content.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")
    return head.rstrip().endswith(b"}") and rest.lstrip()[:1] == b"{"
