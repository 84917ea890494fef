"""PDF bytes -> pages with words, and pages as pictures, through PDFium.

Below ``document``. The only place that calls PDFium, which is C code and knows no threads: one lock, every document
closed before the lock is left, every number checked that comes back. Knows no model.

Source: ISO 32000-1 sections 7.7.3 (page boxes and rotation), 9.3.6 (text rendering modes).
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as c
from numpy.typing import NDArray

from medvox.data.limits import Limits
from medvox.data.page import Page, PageKind, Word, as_text, in_reading_order
from medvox.data.pdf_streams import check_streams
from medvox.data.square import BoxXyxy
from medvox.errors import BudgetError, InputError, MedvoxError
from medvox.types import Flag

MAX_PAGE_CHARS = 100_000  # a page of small print has 10 000
MAX_CHARS = 2_000_000  # of a document
TINY_PT = 1.5  # letters this small cannot be read
MIN_CONTRAST = 12  # of 255: words with less on the page cannot be seen
INK_PIXELS = 4_000_000  # of the picture in which words are looked for
INVISIBLE_MODES = {3, 7}  # neither filled nor stroked
TAIL_BYTES = 4096  # in which the end mark must stand

_PDFIUM = threading.Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class PdfText:
    """The pages of a PDF and what a reader must know."""

    pages: tuple[Page, ...]
    flags: tuple[Flag, ...]


def read_pdf(content: bytes, name: str, *, limits: Limits) -> PdfText:
    """Read the text layer of all pages.

    Raises:
        InputError: ``E_DOCUMENT_UNREADABLE`` or ``E_DOCUMENT_ENCRYPTED``.
        BudgetError: ``E_DOCUMENT_LIMIT``.
    """
    streams = check_streams(content, name, limits)
    with _opened(content, name) as document:
        count = len(document)
        if not count:
            raise _unreadable(name, "has no pages")
        if count > limits.pages:
            raise _over(
                name, f"has {count} pages; the limit is {limits.pages}", "split the document, or raise the limit"
            )
        counts: Counter[str] = Counter()
        pages = tuple(_read_page(document, number, name, counts, limits) for number in range(1, count + 1))
        scripts = c.FPDFDoc_GetJavaScriptActionCount(document.raw) > 0
        attachments = c.FPDFDoc_GetAttachmentCount(document.raw)
        has_form = c.FPDF_GetFormType(document.raw) > 0
    counts["F_DOCUMENT_ACTIVE"] = len(streams.active | ({"JavaScript"} if scripts else set()))
    counts["F_DOCUMENT_DAMAGED"] = streams.damaged
    counts["F_DOCUMENT_ATTACHMENTS"] = max(attachments, 0)
    counts["F_DOCUMENT_FORM"] = has_form
    return PdfText(pages=pages, flags=tuple(_flags(counts, count)))


def render_pdf(content: bytes, number: int, scale: float, name: str, *, limits: Limits) -> NDArray[np.uint8]:
    """One page as a picture, (R, C, 3) on white, ``scale`` pixels per point, annotations and form fields included.

    Raises:
        InputError, BudgetError: as ``read_pdf``.
    """
    with _opened(content, name) as document:
        if c.FPDF_GetFormType(document.raw) > 0:
            document.init_forms()  # without it the values of form fields are not drawn; scripts never run
        page = document[number - 1]
        _check_size(_size(page, number, name), scale, number, name, limits)
        bitmap = page.render(scale=scale, rev_byteorder=True, fill_color=(255, 255, 255, 255))
        return np.array(bitmap.to_numpy()[:, :, :3], np.uint8)  # a copy: the bitmap is freed with the document


@contextmanager
def _opened(content: bytes, name: str) -> Iterator[pdfium.PdfDocument]:
    """The open document under the lock; whatever PDFium raises becomes an error of ours."""
    if b"%%EOF" not in content[-TAIL_BYTES:]:
        raise _unreadable(name, "ends before its end mark")
    with _PDFIUM:
        document = None
        try:
            document = pdfium.PdfDocument(content)
            if c.FPDF_GetSecurityHandlerRevision(document.raw) != -1:
                raise _encrypted(name)
            yield document
        except MedvoxError:
            raise
        except (
            Exception
        ) as error:  # PdfiumError, and ValueError, OverflowError or ctypes.ArgumentError from the binding
            if getattr(error, "err_code", None) == c.FPDF_ERR_PASSWORD:
                raise _encrypted(name) from None
            raise _unreadable(name, "is damaged, or no PDF") from None
        finally:
            if document is not None:
                document.close()


def _read_page(document: Any, number: int, name: str, counts: Counter[str], limits: Limits) -> Page:
    page = document[number - 1]
    size = _size(page, number, name)
    _check_size(size, 1.0, number, name, limits)
    text = page.get_textpage()
    count = text.count_chars()
    counts["characters"] += count
    if count > MAX_PAGE_CHARS or counts["characters"] > MAX_CHARS:
        raise _over(name, f"has more letters up to page {number} than any document", "print it to a new PDF")
    words = _Words(page, text, size, counts).found()
    if any(not word.hidden for word in words):
        words = _without_ink(page, size, words)
    lines = in_reading_order(words)
    words = [word for line in lines for word in line]
    seen = any(not word.hidden for word in words)
    drawn = c.FPDFPage_CountObjects(page.raw) > 0
    kind: PageKind = "text" if seen else "picture" if drawn and (_has_drawing(page) or not words) else "blank"
    hidden = sum(word.hidden for word in words)
    counts["F_DOCUMENT_OCR_LAYER" if kind == "picture" else "F_DOCUMENT_HIDDEN_TEXT"] += hidden
    counts["F_DOCUMENT_NO_TEXT"] += kind == "picture"
    page.close()
    return Page(number=number, kind=kind, size_pt=size, words=tuple(words), text=as_text(lines))


class _Words:
    """Gathers the letters of a page to words, in points from the upper left corner of the page as it is shown."""

    def __init__(self, page: Any, text: Any, size: tuple[float, float], counts: Counter[str]) -> None:
        self._raw, self._count, self._size = text.raw, text.count_chars(), size
        self._box, self._turn, self._counts = page.get_bbox(), page.get_rotation(), counts
        self._unseen: dict[int, bool] = {}  # by text object
        self._sides = tuple(ctypes.c_double() for _ in range(4))  # left, right, bottom, top of the letter at hand

    def found(self) -> list[Word]:
        words: list[Word] = []
        letters: list[str] = []
        boxes: list[BoxXyxy] = []  # of the letters, in the space of the page
        hidden = False
        for index in [*range(self._count), -1]:
            letter = self._letter(index) if index >= 0 else " "
            if not letter.isspace():
                box = self._letter_box(index)
                if letter and box:
                    letters.append(letter)
                    boxes.append(box)
                    hidden = hidden or self._is_unseen(index)
            elif letters:
                x0, y0, x1, y1 = zip(*boxes)
                shown = self._shown((min(x0), min(y0), max(x1), max(y1)))
                hidden = hidden or _is_outside(shown, *self._size)
                words.append(Word(text="".join(letters), box_pt=shown, hidden=hidden))
                letters, boxes, hidden = [], [], False
        return words

    def _letter(self, index: int) -> str:
        code = c.FPDFText_GetUnicode(self._raw, index)
        if c.FPDFText_HasUnicodeMapError(self._raw, index) == 1 or not 0 < code < 0x110000 or 0xD800 <= code < 0xE000:
            self._counts["F_DOCUMENT_LETTERS"] += 1
            return "\ufffd"
        letter = chr(code)
        if letter.isprintable() or letter.isspace():
            return letter
        return "-" if c.FPDFText_IsHyphen(self._raw, index) == 1 else ""  # a hyphen at the end of a line has no code

    def _letter_box(self, index: int) -> BoxXyxy | None:
        left, right, bottom, top = self._sides
        if not c.FPDFText_GetCharBox(self._raw, index, left, right, bottom, top):
            return None
        box = (left.value, bottom.value, right.value, top.value)
        return box if math.isfinite(sum(box)) else None

    def _shown(self, box: BoxXyxy) -> BoxXyxy:
        """From the space of the page, y upwards, to the page as it is shown: cropped, turned, y downwards."""
        left, bottom, right, top = self._box
        x0, y0, x1, y1 = box
        match self._turn:
            case 90:
                return y0 - bottom, x0 - left, y1 - bottom, x1 - left
            case 180:
                return right - x1, y0 - bottom, right - x0, y1 - bottom
            case 270:
                return top - y1, right - x1, top - y0, right - x0
            case _:
                return x0 - left, top - y1, x1 - left, top - y0

    def _is_unseen(self, index: int) -> bool:
        """Whether a letter is drawn in a way that leaves nothing to see."""
        found = c.FPDFText_GetTextObject(self._raw, index)
        if not found:
            return False
        key = ctypes.addressof(found.contents)
        if key not in self._unseen:
            matrix = c.FS_MATRIX()
            c.FPDFText_GetMatrix(self._raw, index, matrix)
            stretch = math.sqrt(abs(matrix.a * matrix.d - matrix.b * matrix.c))
            size_pt = c.FPDFText_GetFontSize(self._raw, index) * (stretch or 1.0)
            invisible = c.FPDFTextObj_GetTextRenderMode(found) in INVISIBLE_MODES
            self._unseen[key] = invisible or abs(size_pt) < TINY_PT
        return self._unseen[key]


def _without_ink(page: Any, size: tuple[float, float], words: list[Word]) -> list[Word]:
    """Mark the words as hidden where the drawn page shows nothing: in the colour of the ground, or painted over."""
    scale = min(1.0, math.sqrt(INK_PIXELS / (size[0] * size[1])))
    picture = page.render(scale=scale, grayscale=True, fill_color=(255, 255, 255, 255)).to_numpy()
    picture = picture.reshape(picture.shape[:2])
    checked = []
    for word in words:
        x0, y0, x1, y1 = (side * scale for side in word.box_pt)
        part = picture[max(0, math.floor(y0 - 1)) : math.ceil(y1 + 1), max(0, math.floor(x0 - 1)) : math.ceil(x1 + 1)]
        unseen = part.size == 0 or int(part.max()) - int(part.min()) < MIN_CONTRAST
        checked.append(replace(word, hidden=True) if unseen else word)
    return checked


def _has_drawing(page: Any) -> bool:
    """Whether something other than text is drawn, among the first objects of a page."""
    count = min(c.FPDFPage_CountObjects(page.raw), 1000)
    kinds = {c.FPDFPageObj_GetType(c.FPDFPage_GetObject(page.raw, index)) for index in range(count)}
    return bool(kinds - {c.FPDF_PAGEOBJ_TEXT})


def _is_outside(box: BoxXyxy, width: float, height: float) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return not (0 <= x <= width and 0 <= y <= height)


def _size(page: Any, number: int, name: str) -> tuple[float, float]:
    width, height = page.get_size()
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        raise _unreadable(name, f"has no valid size for page {number}")
    return float(width), float(height)


def _check_size(size: tuple[float, float], scale: float, number: int, name: str, limits: Limits) -> None:
    pixels = math.ceil(size[0] * scale) * math.ceil(size[1] * scale)
    if pixels > limits.page_pixels:
        raise _over(
            name, f"page {number} would have {pixels} pixels; the limit is {limits.page_pixels}", "use a lower dpi"
        )


_TEXTS = {
    "F_DOCUMENT_HIDDEN_TEXT": "{} words in the text layer cannot be seen on the page; left out of the text.",
    "F_DOCUMENT_OCR_LAYER": "{} words of text recognition lie invisibly over scanned pages; left out of the text.",
    "F_DOCUMENT_NO_TEXT": "{} of {pages} pages are pictures without a text layer.",
    "F_DOCUMENT_DAMAGED": "{} packed parts of the document are damaged; something may be missing.",
    "F_DOCUMENT_LETTERS": "{} letters of the text layer are not known to be any character; trust the picture.",
    "F_DOCUMENT_ACTIVE": "The document holds {} kinds of active content (scripts, commands); nothing was run.",
    "F_DOCUMENT_ATTACHMENTS": "{} attached files were not read.",
    "F_DOCUMENT_FORM": "The document has form fields; their values are in the picture, but not in the text layer.",
}


def _flags(counts: Counter[str], pages: int) -> Iterator[Flag]:
    for code, text in _TEXTS.items():
        if counts[code]:
            yield Flag(code=code, text=text.format(counts[code], pages=pages))


def _unreadable(name: str, problem: str) -> InputError:
    return InputError(f"{name} {problem}", fix="export or scan the document again", code="E_DOCUMENT_UNREADABLE")


def _encrypted(name: str) -> InputError:
    return InputError(
        f"{name} is encrypted",
        fix="open it with its password, save an unprotected copy, and give that",
        code="E_DOCUMENT_ENCRYPTED",
    )


def _over(name: str, problem: str, fix: str) -> BudgetError:
    return BudgetError(f"{name} {problem}", fix=fix, code="E_DOCUMENT_LIMIT")
