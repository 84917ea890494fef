"""Bytes or a file -> a parsed DICOM data set, whatever the bytes are. The only place that calls pydicom's parser.

Very first step of the DICOM path; ``dicom_header`` and ``dicom_pixels`` are next. A walk over the element structure
comes before the parser: it bounds nesting and number of elements, finds the end of the header, and refuses files that
end in the middle of it, none of which pydicom does. Knows no series and decodes no pixels.

Source: DICOM PS3.5 section 7 (element structure) and A.5 (deflated), PS3.10 section 7 (file meta information).
"""

from __future__ import annotations

import io
import logging
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, FileDataset, config
from pydicom import filereader as parser
from pydicom.dataset import FileMetaDataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    PrivateTransferSyntaxes,
)

from medvox.data.dicom_walk import Damaged, Ends, TooMuch, Walk, looks_explicit
from medvox.data.inflate import inflate
from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.errors import BudgetError, InputError

PREAMBLE_BYTES = 132  # 128 free bytes, then DICM (PS3.10 section 7.1)
FIRST_BYTES = 64 * 1024  # holds the header of nearly every single-frame image
GROWTH = 8  # how much more is read when a header is longer
MAX_FIRST_VALUE = 1024  # the first element of a file without a mark: a length, a character set, an image type, a UID


@dataclass(frozen=True, kw_only=True, slots=True)
class _Start:
    """Where the data set starts, and how it is encoded. ``inferred``: the file does not say, or says it wrongly."""

    meta: FileMetaDataset
    preamble: bytes | None
    offset: int
    syntax: UID
    inferred: bool


def read_dataset(
    content: bytes,
    name: str,
    *,
    stop_before_pixels: bool = False,
    specific_tags: list[str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> FileDataset:
    """Parse a whole DICOM file that is in memory.

    A file without the 128-byte preamble, or without file meta information, is read when its first elements clearly are
    DICOM; :func:`syntax_was_inferred` then tells. A deflated data set is inflated within the limits.

    Args:
        content: the bytes of the file.
        name: what to call it in errors.
        stop_before_pixels: leave out the pixel data and what follows it.
        specific_tags: keywords of the elements to keep; all when None.
        limits: inflating, nesting and number of elements.

    Raises:
        InputError: not DICOM, damaged, or cut short (``E_DICOM_UNREADABLE``, ``E_DICOM_TRUNCATED``).
        BudgetError: over a limit (``E_DICOM_LIMIT``).
    """
    return _Reader(content, name, limits, whole=True).dataset(stop_before_pixels, specific_tags)


def read_dataset_file(
    path: Path, *, specific_tags: list[str] | None = None, limits: Limits = DEFAULT_LIMITS
) -> FileDataset:
    """Parse the header of a file: everything before its pixel data, which is not read from disk.

    Raises:
        InputError: see :func:`read_dataset`; also when the file cannot be opened.
        BudgetError: over a limit (``E_DICOM_LIMIT``).
    """
    content, wanted = b"", FIRST_BYTES
    with _opened(path, limits) as file:
        while True:
            content += _read(file, wanted - len(content), path.name)
            whole = len(content) < wanted
            try:
                return _Reader(content, path.name, limits, whole=whole).dataset(True, specific_tags)
            except Ends:
                wanted *= GROWTH


def read_content(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """All bytes of a regular file.

    Raises:
        InputError: the file cannot be opened (``E_DICOM_UNREADABLE``).
        BudgetError: it is larger than the limit (``E_DICOM_LIMIT``).
    """
    with _opened(path, limits) as file:
        return _read(file, limits.file_bytes, path.name)


def syntax_was_inferred(dataset: Dataset) -> bool:
    """Whether the transfer syntax of a data set from here was concluded from its bytes, not from what the file says."""
    return bool(getattr(dataset, "_syntax_was_inferred", False))


def unreadable(name: str, why: str) -> InputError:
    """The error for a file that is not DICOM or whose structure is broken."""
    return InputError(
        f"{name} cannot be read as DICOM: {why}",
        code="E_DICOM_UNREADABLE",
        fix="Check that the file is a complete DICOM file; export or copy it again.",
    )


def over_limit(name: str, what: str) -> BudgetError:
    """The error for a file that would take more than the limits allow."""
    return BudgetError(
        f"{name} is over a limit: {what}",
        code="E_DICOM_LIMIT",
        fix="If the file is meant to be that large, raise the limit in medvox.data.limits.Limits.",
    )


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom from warning and logging: it quotes values of the file, and our own flags judge what matters."""
    before = config.settings.reading_validation_mode
    log = logging.getLogger("pydicom")
    log_before = log.disabled
    config.settings.reading_validation_mode = config.IGNORE
    log.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.reading_validation_mode = before
        log.disabled = log_before


class _Reader:
    """One reading of one file's bytes; ``whole`` is False when only the first part of the file is given.

    Raises ``Ends`` when more bytes are needed and the file has more.
    """

    def __init__(self, content: bytes, name: str, limits: Limits, *, whole: bool) -> None:
        self.content, self.name, self.limits, self.whole = content, name, limits, whole

    def dataset(self, stop_before_pixels: bool, keywords: list[str] | None) -> FileDataset:
        try:
            start = self._start()
            body, syntax = self.content, start.syntax
            at = start.offset
            if syntax == DeflatedExplicitVRLittleEndian:
                if not self.whole:
                    raise Ends
                body, at = _inflated(self.content[at:], self.name, self.limits), 0
            implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
            if syntax in PrivateTransferSyntaxes:
                implicit = PrivateTransferSyntaxes[PrivateTransferSyntaxes.index(syntax)].is_implicit_VR
            seems_implicit = not looks_explicit(body[at + 4 : at + 6])
            inferred = start.inferred or (len(body) > at and seems_implicit != implicit)
            end = self._walk(body, at, little, seems_implicit, stop_before_pixels)
            return self._parsed(start, (body, at, end), (seems_implicit, little, inferred), keywords)
        except Ends:
            if self.whole:
                raise unreadable(self.name, "the header ends in the middle of an element") from None
            raise
        except Damaged:
            raise unreadable(self.name, "its elements do not follow each other as they must") from None
        except TooMuch:
            most = f"more than {self.limits.dicom_elements} elements or {self.limits.dicom_depth} nested sequences"
            raise over_limit(self.name, most) from None
        except (InputError, BudgetError):
            raise
        except Exception as error:  # pydicom documents one parse error; damaged files raise at least ten other kinds
            raise unreadable(self.name, f"the header is damaged ({type(error).__name__})") from error

    def _start(self) -> _Start:
        content = self.content
        marked = content[128:PREAMBLE_BYTES] == b"DICM"
        at = PREAMBLE_BYTES if marked else 0
        if not marked and not _begins_like_dicom(content):
            raise unreadable(self.name, "no DICM mark after the first 128 bytes, and no DICOM element at the start")
        end = self._meta_end(at)
        with quiet_pydicom():
            meta = FileMetaDataset(parser.read_dataset(io.BytesIO(content[at:end]), False, True))
            stated = str(meta.get("TransferSyntaxUID") or "").strip()
            explicit = looks_explicit(content[end + 4 : end + 6])
            syntax = UID(stated) if stated else ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian
            meta.TransferSyntaxUID = syntax
        preamble = content[:128] if marked else None
        return _Start(meta=meta, preamble=preamble, offset=end, syntax=syntax, inferred=not stated)

    def _meta_end(self, at: int) -> int:
        """Offset behind the elements of group 0002, which are always explicit little endian."""
        walk = Walk(self.content, little=True, limits=self.limits)
        return walk.group(at, 0x0002)

    def _walk(self, body: bytes, at: int, little: bool, implicit: bool, stop_before_pixels: bool) -> int:
        """Check the structure and give the offset to which the parser shall read."""
        walk = Walk(body, little=little, limits=self.limits)
        end, pixels = walk.header(at, implicit)
        if not pixels and not self.whole:
            raise Ends
        if stop_before_pixels or not pixels:
            return end
        try:
            walk.rest(end, implicit)
        except Ends:
            raise InputError(
                f"{self.name} is incomplete or damaged: its compressed pixel data has no end",
                code="E_DICOM_TRUNCATED",
                fix="Copy or export the file again; its pixel data is incomplete.",
            ) from None
        return len(body)

    def _parsed(
        self, start: _Start, part: tuple[bytes, int, int], encoding: tuple[bool, bool, bool], keywords: list[str] | None
    ) -> FileDataset:
        (body, at, end), (implicit, little, inferred) = part, encoding
        tags: list[BaseTag | int] | None = None if keywords is None else [Tag(keyword) for keyword in keywords]
        with quiet_pydicom():
            buffer = io.BytesIO(body if end == len(body) else body[:end])  # shares the memory of whole files
            buffer.seek(at)
            elements = parser.read_dataset(buffer, implicit, little, specific_tags=tags)
            dataset = FileDataset(io.BytesIO(), elements, start.preamble, start.meta, implicit, little)
            dataset.set_original_encoding(implicit, little, elements._character_set)
        dataset._syntax_was_inferred = inferred
        return dataset


@contextmanager
def _opened(path: Path, limits: Limits) -> Iterator[BinaryIO]:
    """The regular file at a path, open for reading and within the limit."""
    try:
        if not path.is_file():  # a device or a pipe never ends
            raise unreadable(path.name, "it is not a regular file")
        file = path.open("rb")
        size = os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:
        raise unreadable(path.name, f"the file cannot be opened ({type(error).__name__})") from error
    with file:
        if size > limits.file_bytes:
            raise over_limit(path.name, f"{size} bytes, at most {limits.file_bytes}")
        yield file


def _read(file: BinaryIO, count: int, name: str) -> bytes:
    try:
        return file.read(min(count, os.fstat(file.fileno()).st_size))  # read() takes the memory that it is asked for
    except OSError as error:
        raise unreadable(name, f"the file cannot be read ({type(error).__name__})") from error


def _begins_like_dicom(content: bytes) -> bool:
    """Whether bytes without the DICM mark begin with elements of group 0002, or with two of group 0008 in order."""
    if len(content) < 16:
        return False
    group, number, vr, short = struct.unpack_from("<HH2sH", content)
    if group == 0x0002:
        return number <= 0x0102 and vr in (b"UL", b"OB", b"UI", b"SH", b"AE")
    if group != 0x0008 or number > 0x0100:
        return False
    length = short if looks_explicit(vr) else struct.unpack_from("<L", content, 4)[0]
    if length > MAX_FIRST_VALUE or 8 + length + 4 > len(content):
        return False
    next_group, next_number = struct.unpack_from("<HH", content, 8 + length)
    return next_group == 0x0008 and next_number > number


def _inflated(packed: bytes, name: str, limits: Limits) -> bytes:
    """Inflate a raw deflate stream (PS3.5 A.5), refusing bombs while they unfold."""
    try:
        return inflate(packed, "raw", name, limits=limits)
    except BudgetError as error:
        raise over_limit(name, f"{len(packed)} deflated bytes unfold to more than is allowed") from error
    except InputError as error:
        raise unreadable(name, "its deflated data set is damaged or cut short") from error
