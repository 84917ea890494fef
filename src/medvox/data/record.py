"""A clinical record file -> Record: FHIR R4 (bundle, one resource, NDJSON), a CDA document, or a plain note.

First stage of the record path. Tells the kinds apart by content, not by name; ``record_fhir`` and ``record_cda`` read
them. Knows no model and no question.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from medvox.data.inflate import inflate
from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.data.record_cda import Section, read_cda
from medvox.data.record_fhir import Resource, find, read_fhir
from medvox.data.text_file import file_bytes, plain_text
from medvox.data.volume import Source
from medvox.errors import InputError
from medvox.types import Flag

RecordKind = Literal["fhir", "cda", "note"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A clinical record of one patient.

    Attributes:
        kind: ``fhir`` fills the resources, ``cda`` the sections, ``note`` the text.
        resources: in the order of the file.
        sections: in the order of the document, inner ones after their outer one.
        text: the note, or title and sections of a CDA document; empty for FHIR.
        date: of a CDA document, ISO 8601 as precise as stated; else empty.
        source: the file.
        flags: what a reader must know.
        index: places of the resources by ``Type/id`` and by ``fullUrl``; the first where several have the same.
    """

    kind: RecordKind
    resources: tuple[Resource, ...] = ()
    sections: tuple[Section, ...] = ()
    text: str = ""
    date: str = ""
    source: Source
    flags: tuple[Flag, ...] = ()
    index: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)

    def of_type(self, resource_type: str) -> tuple[Resource, ...]:
        """All resources of a type, in the order of the file."""
        return tuple(resource for resource in self.resources if resource.type == resource_type)

    def resolve(self, reference: str, within: Resource | None = None) -> Mapping[str, Any] | None:
        """The content that a reference leads to, or None when it is not in this record.

        Args:
            reference: ``Type/id``, ``urn:uuid:...``, an absolute URL, or ``#id``.
            within: the resource that holds the reference, needed for ``#id``.
        """
        if reference.startswith("#"):
            contained = within.content.get("contained") if within else None
            items = contained if isinstance(contained, list) else []
            return next((item for item in items if isinstance(item, dict) and item.get("id") == reference[1:]), None)
        found = find(self.resources, self.index, reference)
        return found.content if found else None


def read_record(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> Record:
    """Reads a clinical record, plain or gzipped, of exactly one patient.

    Raises:
        InputError: ``E_RECORD_UNREADABLE``, ``E_RECORD_KIND`` (a format that is not read), ``E_RECORD_EMPTY``,
            ``E_RECORD_PATIENTS_MIXED``, and the ``E_INPUT_``, ``E_JSON_``, ``E_XML_``, ``E_TEXT_`` and ``E_INFLATE_``
            errors of the layers below.
        BudgetError: ``E_RECORD_LIMIT``, ``E_INPUT_LIMIT``, ``E_JSON_LIMIT``, ``E_XML_LIMIT``, ``E_INFLATE_LIMIT``.
    """
    content = file_bytes(path, most=limits.text_bytes)
    source = Source(name=path.name, sha256=hashlib.sha256(content).hexdigest())
    if content.startswith(b"\x1f\x8b"):
        content = inflate(content, "gzip", path.name, limits=replace(limits, inflate_bytes=limits.text_bytes))
    match _format(content):
        case "JSON":
            fhir = read_fhir(content, path.name, limits=limits)
            return Record(kind="fhir", resources=fhir.resources, source=source, flags=fhir.flags, index=fhir.index)
        case "XML":
            cda = read_cda(content, path.name, limits=limits)
            return Record(
                kind="cda", sections=cda.sections, text=_as_text(cda.title, cda.sections), date=cda.date,
                source=source, flags=cda.flags,
            )  # fmt: skip
        case "text":
            text, flags = plain_text(content, path.name, most=limits.text_bytes)
            return Record(kind="note", text=text, source=source, flags=flags)
        case other:
            raise InputError(
                f"{path.name} is {other}, which is not read as a record",
                fix="give FHIR R4 as JSON or NDJSON, a CDA document, or a plain text note",
                code="E_RECORD_KIND",
            )


def _format(content: bytes) -> str:
    """What the first characters show; ``text`` where nothing speaks against it."""
    if content.startswith(b"{\\rtf"):
        return "RTF"
    head = content[:512].lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").replace(b"\0", b"")
    if head.startswith(b"{") or re.match(rb"\[\s*\{", head):
        return "JSON"
    if head.startswith(b"<"):
        return "HTML" if b"<html" in head.lower() or b"<!doctype html" in head.lower() else "XML"
    for mark, name in _OTHERS:
        if content.startswith(mark):
            return name
    return "text"


_OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old office document"),
    (b"MSH|", "an HL7 version 2 message"),
)


def _as_text(title: str, sections: tuple[Section, ...]) -> str:
    parts = [title] if title else []
    parts += ["\n".join(part for part in (section.title, section.text) if part) for section in sections]
    return "\n\n".join(part for part in parts if part)
