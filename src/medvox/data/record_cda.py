"""A CDA document (HL7 Clinical Document Architecture R2) -> its sections as text.

Below ``record``. The narrative is what the author signed; coded entries are counted, not read. Knows no template.

Source: HL7 CDA R2 section 4.3.4 (structured body) and 4.3.5 (narrative block).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.data.xml_tree import Element, parse_xml
from medvox.errors import InputError
from medvox.types import Flag

HL7 = "{urn:hl7-org:v3}"
LOINC = "2.16.840.1.113883.6.1"
ROOT = f"{HL7}ClinicalDocument"
_BLOCKS = {"paragraph", "list", "table", "caption", "item", "tr"}
_TIME = re.compile(r"(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:\.\d+)?([+-]\d{4})?")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One section of a CDA document.

    Attributes:
        title: as written.
        code: LOINC code; empty where there is none.
        text: the narrative: one line per paragraph, list item and table row, cells parted by `` | ``.
        depth: 0 for a section of the body, 1 for one inside of it.
        entries: coded entries beside the narrative; they are not read.
    """

    title: str
    code: str
    text: str
    depth: int
    entries: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CdaDocument:
    """Title, date (ISO 8601 as precise as stated) and sections, inner ones after their outer one."""

    title: str
    date: str
    sections: tuple[Section, ...]
    flags: tuple[Flag, ...]


def read_cda(content: bytes, name: str, *, limits: Limits = DEFAULT_LIMITS) -> CdaDocument:
    """Parse a CDA document of one patient.

    Raises:
        InputError: ``E_RECORD_KIND`` (other XML), ``E_RECORD_EMPTY``, ``E_RECORD_PATIENTS_MIXED``, and the errors of
            ``parse_xml``.
        BudgetError: ``E_XML_LIMIT``.
    """
    root = parse_xml(content, name, limits=limits)
    if root.tag != ROOT:
        raise InputError(
            f"{name} is XML, but no CDA document", fix="give FHIR as JSON, or a CDA document", code="E_RECORD_KIND"
        )
    patients = len(root.findall(f"{HL7}recordTarget"))
    if patients > 1:
        raise InputError(
            f"{name} is about {patients} patients",
            fix="export one document per patient",
            code="E_RECORD_PATIENTS_MIXED",
        )
    counts: Counter[str] = Counter()
    body = root.find(f"{HL7}component/{HL7}structuredBody")
    sections = tuple(_sections(body, 0, counts)) if body is not None else ()
    if not any(section.text for section in sections):
        raise InputError(
            f"{name} has no section with text: its body is empty, or an attached file",
            fix="take the attached file out of the document and give that",
            code="E_RECORD_EMPTY",
        )
    written = root.find(f"{HL7}effectiveTime")
    return CdaDocument(
        title=_line(root.find(f"{HL7}title")),
        date=iso_time(written.get("value", "")) if written is not None else "",
        sections=sections,
        flags=tuple(Flag(code=code, text=text.format(counts[code])) for code, text in _FLAGS.items() if counts[code]),
    )


_FLAGS = {
    "F_RECORD_PICTURE": "{} pictures in the narrative were not read.",
    "F_RECORD_DELETED": "{} passages are marked as deleted by a revision and were left out.",
    "F_RECORD_ENTRIES_ONLY": "{} sections have coded entries but no narrative; they are empty here.",
}


def iso_time(stamp: str) -> str:
    """An HL7 time such as ``20240131143000+0100`` as ISO 8601 with the same precision; empty when it is not one."""
    match = _TIME.fullmatch(stamp)
    if not match:
        return ""
    year, month, day, hour, minute, second, zone = match.groups()
    text = "-".join(part for part in (year, month, day) if part)
    if hour and minute:
        text += f"T{hour}:{minute}:{second or '00'}" + (f"{zone[:3]}:{zone[3:]}" if zone else "")
    return text


def _sections(parent: Element, depth: int, counts: Counter[str]) -> Iterator[Section]:
    for section in parent.findall(f"{HL7}component/{HL7}section"):
        code = section.find(f"{HL7}code")
        narrative = section.find(f"{HL7}text")
        text = _Narrative(counts).text_of(narrative) if narrative is not None else ""
        entries = len(section.findall(f"{HL7}entry"))
        counts["F_RECORD_ENTRIES_ONLY"] += bool(entries and not text)
        yield Section(
            title=_line(section.find(f"{HL7}title")),
            code=code.get("code", "") if code is not None and code.get("codeSystem") == LOINC else "",
            text=text,
            depth=depth,
            entries=entries,
        )
        yield from _sections(section, depth + 1, counts)


class _Narrative:
    """Flattens one narrative block to lines; inside of a table cell nothing breaks the line."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._lines: list[str] = []
        self._line: list[str] = []
        self._cells = 0

    def text_of(self, block: Element) -> str:
        self._walk(block)
        self._break()
        return "\n".join(self._lines)

    def _break(self) -> None:
        if self._cells:
            self._line.append(" ")
            return
        text = _SPACE.sub(" ", "".join(self._line)).strip()
        if text:
            self._lines.append(text)
        self._line = []

    def _walk(self, element: Element) -> None:
        tag = element.tag.removeprefix(HL7)
        if element.get("revised") == "delete":
            self._counts["F_RECORD_DELETED"] += 1
            return
        if tag in _BLOCKS or tag == "br":
            self._break()
        if tag == "item":
            self._line.append("- ")
        self._counts["F_RECORD_PICTURE"] += tag == "renderMultiMedia"
        self._cells += tag in {"td", "th"}
        self._line.append(element.text or "")
        for number, child in enumerate(element):
            if tag == "tr" and number:
                self._line.append(" | ")
            self._walk(child)
            self._line.append(child.tail or "")
        self._cells -= tag in {"td", "th"}
        if tag in _BLOCKS:
            self._break()


def _line(element: Element | None) -> str:
    return _SPACE.sub(" ", "".join(element.itertext())).strip() if element is not None else ""
