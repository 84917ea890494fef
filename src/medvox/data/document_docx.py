"""DOCX bytes -> plain text: headers, paragraphs and tables in order, footers.

Below ``document``. Reads the text parts of the package and nothing else: no macros, no embedded objects, no pictures,
no links; what was passed over is flagged. Automatic numbers of lists are not in the text. Knows no pages: Word lays
them out only when it prints.

Source: ECMA-376 part 1, sections 11.3 (parts) and 17.3 (paragraphs and runs), 17.4 (tables).
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator

from medvox.data.limits import Limits
from medvox.data.xml_tree import Element, parse_xml
from medvox.errors import BudgetError, InputError, MedvoxError
from medvox.types import Flag

MAX_PARTS = 10_000
EXEMPT_BYTES = 2**20
TINY_HALF_POINTS = 3
_ENCRYPTED_BIT = 0x1
_BODY = "word/document.xml"
_TEXT_PARTS = (r"word/header\d*\.xml", re.escape(_BODY), r"word/footer\d*\.xml")
_PASSED_OVER = (
    (r"word/(footnotes|endnotes|comments)\.xml", "F_DOCUMENT_PARTS", "{} parts with notes and comments were not read."),
    (r".*vbaProject\.bin", "F_DOCUMENT_ACTIVE", "The document holds macros; nothing was run."),
    (r"word/embeddings/.+", "F_DOCUMENT_ATTACHMENTS", "{} embedded objects were not read."),
    (r"word/media/.+", "F_DOCUMENT_PICTURES", "{} pictures were not read; print the document to a PDF to show them."),
)  # fmt: skip
_COUNTED = (
    ("F_DOCUMENT_HIDDEN_TEXT", "{} runs of text cannot be seen (hidden, white or tiny); they were left out."),
    ("F_DOCUMENT_REVISIONS", "{} passages were deleted or moved away by tracked changes; they were left out."),
)


def read_docx(content: bytes, name: str, *, limits: Limits) -> tuple[str, tuple[Flag, ...]]:
    """The text of a Word document, one line per paragraph and table row, cells parted by tabs.

    Raises:
        InputError: ``E_DOCUMENT_UNREADABLE``, ``E_DOCUMENT_ENCRYPTED``, ``E_DOCUMENT_EMPTY``, and the errors of
            ``parse_xml``.
        BudgetError: ``E_DOCUMENT_LIMIT``, ``E_XML_LIMIT``.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            names = _part_names(package, name)
            texts = [
                (part, _part(package, part, name, limits))
                for pattern in _TEXT_PARTS
                for part in sorted(names)
                if re.fullmatch(pattern, part)
            ]
    except MedvoxError:
        raise
    except Exception:  # zipfile raises BadZipFile, struct.error, zlib.error, NotImplementedError, KeyError and others
        raise _unreadable(name) from None
    if _BODY not in names:
        raise _unreadable(name)
    counts: Counter[str] = Counter()
    parts: list[str] = []
    for part, xml in texts:
        root = parse_xml(xml, name, limits=limits)
        text = "\n".join(line for line in _Text(root, counts).lines() if line.strip())
        if text and (part == _BODY or text not in parts):  # the same header for first, odd and even pages
            parts.append(text)
    if not parts:
        raise InputError(f"{name} holds no text", fix="print it to a PDF, and give that", code="E_DOCUMENT_EMPTY")
    flags = [Flag(code=code, text=text.format(counts[code])) for code, text in _COUNTED if counts[code]]
    for pattern, code, text in _PASSED_OVER:
        found = sum(re.fullmatch(pattern, part) is not None for part in names)
        if found:
            flags.append(Flag(code=code, text=text.format(found)))
    return "\n\n".join(parts), tuple(flags)


def _part_names(package: zipfile.ZipFile, name: str) -> set[str]:
    members = package.infolist()
    if len(members) > MAX_PARTS:
        raise _over(name, f"{len(members)} parts")
    names = {member.filename for member in members}
    if len(names) < len(members):  # two parts of one name: which one is shown depends on the program
        raise _unreadable(name)
    if any(member.flag_bits & _ENCRYPTED_BIT for member in members):
        raise InputError(
            f"{name} is encrypted",
            fix="open it with its password, save an unprotected copy, and give that",
            code="E_DOCUMENT_ENCRYPTED",
        )
    return names


def _part(package: zipfile.ZipFile, part: str, name: str, limits: Limits) -> bytes:
    """One unpacked part, bounded by what really comes out, whatever the directory claims."""
    member = package.getinfo(part)
    most = min(limits.text_bytes, max(EXEMPT_BYTES, limits.inflate_ratio * member.compress_size))
    with package.open(member) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise _over(name, f"a part that unpacks to more than {most} bytes")
    return content


class _Text:
    """The lines of one part. Names are compared without their namespace: strict and transitional ones differ."""

    def __init__(self, root: Element, counts: Counter[str]) -> None:
        self._root, self._counts = root, counts

    def lines(self) -> Iterator[str]:
        yield from self._blocks(self._root)

    def _blocks(self, parent: Element) -> Iterator[str]:
        for child in parent:
            match _local(child):
                case "p":
                    yield from "".join(self._inline(child)).split("\n")
                case "tr":
                    cells = [" ".join(filter(str.strip, self._blocks(cell))) for cell in self._cells(child)]
                    yield "\t".join(cells)
                case "del" | "moveFrom":
                    self._counts["F_DOCUMENT_REVISIONS"] += 1
                case "Fallback":  # the same content again for older programs
                    pass
                case _:
                    yield from self._blocks(child)

    def _cells(self, row: Element) -> list[Element]:
        cells: list[Element] = []
        for child in row:
            if _local(child) == "tc":
                cells.append(child)
            elif _local(child) in {"sdt", "sdtContent", "customXml", "ins"}:
                cells.extend(self._cells(child))
        return cells

    def _inline(self, parent: Element) -> Iterator[str]:
        for child in parent:
            match _local(child):
                case "t":
                    yield child.text or ""
                case "tab":
                    yield "\t"
                case "br" | "cr":
                    yield "\n"
                case "noBreakHyphen":
                    yield "-"
                case "r" if _is_unseen(child):
                    self._counts["F_DOCUMENT_HIDDEN_TEXT"] += 1
                case "del" | "moveFrom":
                    self._counts["F_DOCUMENT_REVISIONS"] += 1
                case "p":  # a text box inside of the paragraph
                    yield "\n"
                    yield from self._inline(child)
                    yield "\n"
                case "Fallback" | "instrText" | "pPr" | "rPr":
                    pass
                case _:
                    yield from self._inline(child)


def _is_unseen(run: Element) -> bool:
    """Whether the properties of a run hide it: vanish, white without shading, or letters of 1.5 points or less."""
    properties = next((child for child in run if _local(child) == "rPr"), None)
    if properties is None:
        return False
    values = {_local(child): _value(child) for child in properties}
    if values.get("vanish", "off") not in {"0", "false", "off"}:  # an element without a value is on
        return True
    if values.get("color", "").upper() == "FFFFFF" and not values.keys() & {"shd", "highlight"}:
        return True
    size = values.get("sz", "")
    return size.isdecimal() and int(size[:9]) <= TINY_HALF_POINTS


def _value(element: Element) -> str:
    return next((value for key, value in element.attrib.items() if key.endswith("}val")), "")


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _unreadable(name: str) -> InputError:
    return InputError(
        f"{name} is no Word document, or damaged",
        fix="open it in a word processor and save it again, or print it to a PDF",
        code="E_DOCUMENT_UNREADABLE",
    )


def _over(name: str, what: str) -> BudgetError:
    return BudgetError(f"{name} holds {what}", fix="print it to a PDF, and give that", code="E_DOCUMENT_LIMIT")
