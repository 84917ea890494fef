"""A file's bytes under a limit, and bytes as plain text: notes, and the notes among documents and records.

Below ``document`` and ``record``. Knows no format and no medicine.
"""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path

from medvox.errors import BudgetError, InputError
from medvox.types import Flag

BINARY_SHARE = 0.01  # of control characters; plain text has none but tab, line and page breaks
_CONTROL = re.compile("[\0-\b\x0e-\x1f\x7f-\x84\x86-\x9f]")
# Direction overrides and isolates, invisible operators, and the tag block: nobody sees them, a model reads them.
_INVISIBLE = re.compile("[\u202a-\u202e\u2060-\u2069\U000e0000-\U000e007f]")
_BREAKS = re.compile("\r\n|[\r\x0b\f\x85\u2028\u2029]")
_WIDE = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
         (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip


def file_bytes(path: Path, *, most: int) -> bytes:
    """The bytes of a regular file.

    Raises:
        InputError: ``E_INPUT_UNREADABLE``.
        BudgetError: ``E_INPUT_LIMIT``, judged before anything is read.
    """
    try:
        if not path.is_file():  # a device or a pipe never ends
            raise _unreadable(path.name)
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(size + 1) if size <= most else None  # read() takes the memory that it is asked for
    except (OSError, ValueError) as error:
        raise _unreadable(path.name) from error
    if content is None or len(content) > most:
        raise _too_large(path.name, most)
    return content


def plain_text(content: bytes, name: str, *, most: int) -> tuple[str, tuple[Flag, ...]]:
    r"""Decode a note: UTF-8, UTF-16 and UTF-32 with a byte order mark, else Windows-1252 with a flag.

    Lines end in ``\n``. Control and invisible characters are taken out, with a flag.

    Raises:
        InputError: ``E_TEXT_BINARY`` (this is no text) or ``E_TEXT_EMPTY``.
        BudgetError: ``E_INPUT_LIMIT``.
    """
    if len(content) > most:
        raise _too_large(name, most)
    text, flags = _decoded(content, name)
    text = _BREAKS.sub("\n", text)
    if "\0" in text or len(_CONTROL.findall(text)) > BINARY_SHARE * len(text):
        raise _binary(name)
    for pattern, code, what in (
        (_CONTROL, "F_TEXT_CONTROL", "control characters"),
        (_INVISIBLE, "F_TEXT_INVISIBLE", "invisible characters that can hide or reorder text"),
    ):
        text, count = pattern.subn("", text)
        if count:
            flags.append(Flag(code=code, text=f"{count} {what} were taken out of the text."))
    if not text.strip():
        raise InputError(f"{name} holds no text", fix="give the file that holds the note", code="E_TEXT_EMPTY")
    return text, tuple(flags)


def _decoded(content: bytes, name: str) -> tuple[str, list[Flag]]:
    for mark, encoding in _WIDE:
        if content.startswith(mark):
            try:
                return content.decode(encoding), []
            except UnicodeError:
                raise _binary(name) from None
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeError:
        pass
    try:
        text = content.decode("cp1252")
    except UnicodeError:
        raise _binary(name) from None
    what = "The text is not UTF-8; it was read as Windows-1252, so accented letters may be wrong."
    return text, [Flag(code="F_TEXT_ENCODING", text=what)]


def _unreadable(name: str) -> InputError:
    return InputError(
        f"{name} cannot be opened", fix="check the path and the rights of the file", code="E_INPUT_UNREADABLE"
    )


def _too_large(name: str, most: int) -> BudgetError:
    return BudgetError(
        f"{name} has more than {most} bytes", fix="split the file, or raise the limit", code="E_INPUT_LIMIT"
    )


def _binary(name: str) -> InputError:
    return InputError(
        f"{name} is not plain text", fix="save the note as UTF-8 text, or give a PDF", code="E_TEXT_BINARY"
    )
