"""A document file -> Document: PDF, also inside of DICOM, pictures of pages, DOCX, plain text.

First stage of the document path; next are ``encode/page`` for the eyes of a model and extraction for its text. Tells
the kinds apart by content, not by name. Knows no model and no laboratory.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medvox.data.dicom_file import read_dataset
from medvox.data.document_docx import read_docx
from medvox.data.document_pdf import read_pdf, render_pdf
from medvox.data.document_picture import is_picture, picture_page, read_picture_pages
from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.data.page import POINTS_PER_INCH, Page
from medvox.data.text_file import file_bytes, plain_text
from medvox.data.volume import Source
from medvox.errors import InputError, MedvoxError, UsageError
from medvox.types import Flag

DocumentKind = Literal["pdf", "picture", "docx", "text"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A document in memory; nothing stays open.

    Attributes:
        kind: ``pdf`` and ``picture`` have pages that can be shown; ``docx`` and ``text`` are one page of text.
        pages: in order.
        flags: what a reader must know.
        source: the file.
        content: the bytes that pages are drawn from: the PDF, also where it came in a DICOM object, or the picture.
    """

    kind: DocumentKind
    pages: tuple[Page, ...]
    flags: tuple[Flag, ...]
    source: Source
    content: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The text of all pages, parted by form feeds."""
        return "\f".join(page.text for page in self.pages)


def read_document(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> Document:
    """Reads a document and the words on its pages.

    Raises:
        InputError: ``E_DOCUMENT_UNREADABLE``, ``E_DOCUMENT_ENCRYPTED``, ``E_DOCUMENT_KIND`` (a format that is not
            read), ``E_DOCUMENT_EMPTY``, and the ``E_INPUT_``, ``E_DICOM_``, ``E_XML_`` and ``E_TEXT_`` errors of the
            layers below.
        BudgetError: ``E_DOCUMENT_LIMIT`` (pages, pixels, packed streams), ``E_PICTURE_LIMIT``, ``E_INPUT_LIMIT``,
            ``E_XML_LIMIT``.
    """
    content = file_bytes(path, most=limits.file_bytes)
    source = Source(name=path.name, sha256=hashlib.sha256(content).hexdigest())
    if content[128:132] == b"DICM":
        content = _encapsulated(content, path.name, limits)
    document = Document(kind="text", pages=(), flags=(), source=source, content=content)
    if b"%PDF-" in content[:1024]:
        pdf = read_pdf(content, path.name, limits=limits)
        return replace(document, kind="pdf", pages=pdf.pages, flags=pdf.flags)
    if is_picture(content):
        return replace(document, kind="picture", pages=read_picture_pages(content, path.name, limits=limits))
    if content.startswith(b"PK\x03\x04"):
        text, flags = read_docx(content, path.name, limits=limits)
        return replace(document, kind="docx", pages=(_text_page(text),), flags=flags, content=b"")
    for mark, kind, fix in _OTHERS:
        if content[:64].lstrip().lower().startswith(mark):
            raise _wrong_kind(path.name, kind, fix)
    if _OFFICE_LOCK in content and content.startswith(_OLE):
        raise InputError(
            f"{path.name} is encrypted", fix="save an unprotected copy, and give that", code="E_DOCUMENT_ENCRYPTED"
        )
    if content.startswith(_OLE):
        raise _wrong_kind(path.name, "an old office document", "save it as DOCX or PDF")
    text, flags = plain_text(content, path.name, most=limits.text_bytes)
    return replace(document, pages=(_text_page(text),), flags=flags, content=b"")


def page_image(
    document: Document, number: int, *, dpi: float = 150.0, limits: Limits = DEFAULT_LIMITS
) -> NDArray[np.uint8]:
    """One page as a picture.

    Args:
        document: a PDF or a picture.
        number: of the page, from 1.
        dpi: pixels per inch of a PDF page; pictures come at the resolution of their file.
        limits: ``page_pixels`` bounds the picture.

    Returns:
        (R, C, 3) RGB on white.

    Raises:
        UsageError: ``E_DOCUMENT_PAGE`` (no such page, or a document of plain text), ``E_DOCUMENT_DPI``.
        InputError, BudgetError: as ``read_document``.
    """
    if document.kind in {"docx", "text"}:
        raise UsageError(
            f"{document.source.name} is text and has no picture", fix="print it to a PDF", code="E_DOCUMENT_PAGE"
        )
    if not 1 <= number <= len(document.pages):
        raise UsageError(
            f"{document.source.name} has no page {number}",
            fix=f"choose a page from 1 to {len(document.pages)}",
            code="E_DOCUMENT_PAGE",
        )
    if not (math.isfinite(dpi) and dpi > 0):
        raise UsageError("the dpi must be above zero", fix="use 150 dpi", code="E_DOCUMENT_DPI")
    if document.kind == "picture":
        return picture_page(document.content, number, document.source.name, limits=limits)
    scale = dpi / POINTS_PER_INCH
    return render_pdf(document.content, number, scale, document.source.name, limits=limits)


_OLE, _OFFICE_LOCK = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "EncryptedPackage".encode("utf-16-le")
_OTHERS = (
    (b"{\\rtf", "RTF", "save it as DOCX or PDF"),
    (b"<!doctype html", "a web page", "print it to a PDF"),
    (b"<html", "a web page", "print it to a PDF"),
    (b"<?xml", "XML", "read it as a record if it is a CDA document"),
    (b"%!ps", "PostScript", "print it to a PDF"),
)


def _encapsulated(content: bytes, name: str, limits: Limits) -> bytes:
    """The document inside of a DICOM object (PS3.3 C.24.2), without the byte that pads it to an even length."""
    dataset = read_dataset(content, name, limits=limits)
    try:
        inside = dataset.get("EncapsulatedDocument")
        length = dataset.get("EncapsulatedDocumentLength")
        kind = str(dataset.get("MIMETypeOfEncapsulatedDocument", ""))
    except MedvoxError:
        raise
    except Exception:  # pydicom converts values when they are touched, and raises what the conversion raises
        inside, length, kind = None, None, ""
    if not isinstance(inside, bytes) or not inside:
        raise _wrong_kind(name, "a DICOM object without a document", "give an encapsulated PDF, or read it as images")
    if kind.lower() != "application/pdf" or b"%PDF-" not in inside[:1024]:
        raise _wrong_kind(name, "a DICOM object with a document other than PDF", "take the document out of the object")
    return inside[:length] if isinstance(length, int) and 0 < length <= len(inside) else inside


def _text_page(text: str) -> Page:
    return Page(number=1, kind="text", size_pt=None, words=(), text=text)


def _wrong_kind(name: str, kind: str, fix: str) -> InputError:
    return InputError(f"{name} is {kind}, which is not read as a document", fix=fix, code="E_DOCUMENT_KIND")
