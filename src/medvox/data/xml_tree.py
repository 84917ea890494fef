"""XML bytes -> an element tree. The only place where XML is parsed: CDA, DOCX, and whatever holds XML later.

Used by the readers in ``data``. Nothing outside the bytes is ever opened: a document type declaration is refused, and
with it every entity, internal or external; XInclude and style sheets are elements and instructions like any others.
Knows no vocabulary.
"""

from __future__ import annotations

import codecs
import re
from xml.etree.ElementTree import Element as Element  # for the readers: they import no XML parser
from xml.etree.ElementTree import TreeBuilder
from xml.parsers import expat

from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.errors import BudgetError, InputError, MedvoxError

MAX_NODES = 500_000  # elements and attributes together; 100 to 500 bytes each in memory
MAX_TAG_BYTES = 2**20  # one tag, comment or instruction, which expat holds as a whole
MAX_NAMESPACE_CHARS = 128  # expat repeats the namespace in every name
CHUNK_BYTES = 2**16

ENCODINGS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "iso-8859-1": "iso-8859-1",
    "latin1": "iso-8859-1",
    "windows-1252": "cp1252",
}
_MARKS = (  # byte order marks, longest first, then the first character of XML without a mark: bytes, encoding, skip
    (codecs.BOM_UTF32_LE, "utf-32", 4),
    (codecs.BOM_UTF32_BE, "utf-32", 4),
    (codecs.BOM_UTF8, "utf-8", 3),
    (codecs.BOM_UTF16_LE, "utf-16-le", 2),
    (codecs.BOM_UTF16_BE, "utf-16-be", 2),
    (b"<\0", "utf-16-le", 0),
    (b"\0<", "utf-16-be", 0),
)
_DECLARED = re.compile(rb"""\A<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")


def parse_xml(content: bytes, name: str, *, limits: Limits = DEFAULT_LIMITS) -> Element:
    """Parse a whole document; names are ``{namespace}local``, comments and processing instructions are left out.

    Args:
        content: the document in UTF-8, UTF-16, ASCII, Latin-1 or Windows-1252.
        name: what to call it in an error.
        limits: ``text_bytes`` and ``xml_depth`` are used.

    Raises:
        InputError: ``E_XML_UNREADABLE`` (not well formed), ``E_XML_ENCODING``, ``E_XML_FORBIDDEN`` (document type
            declaration).
        BudgetError: ``E_XML_LIMIT``.
    """
    if len(content) > limits.text_bytes:
        raise _too_much(name, f"{len(content)} bytes of XML; the limit is {limits.text_bytes}")
    builder = _Builder(name, limits.xml_depth)
    encoding, start = _encoding(content, name)
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for place in range(start, len(content), CHUNK_BYTES):
            builder.feed(decoder.decode(content[place : place + CHUNK_BYTES]))
        builder.feed(decoder.decode(b"", True))
        return builder.close()
    except UnicodeError:
        raise _bad_encoding(name, f"bytes that are no {encoding}") from None
    except MedvoxError:
        raise
    except Exception:  # expat's own error, and what its C code turns into ValueError, MemoryError or RecursionError
        raise InputError(
            f"{name} is not well-formed XML", fix="export the file again", code="E_XML_UNREADABLE"
        ) from None


class _Builder:
    """An expat parser that refuses what is dangerous and hands the rest to a tree builder."""

    def __init__(self, name: str, max_depth: int) -> None:
        self._name, self._max_depth = name, max_depth
        self._depth = self._nodes = self._fed = 0
        self._tree = TreeBuilder()
        # The encoding given here overrides the one that is declared: the text has already been decoded.
        self._parser = parser = expat.ParserCreate("utf-8", "}")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._tree.data
        parser.StartNamespaceDeclHandler = self._namespace
        parser.StartDoctypeDeclHandler = self._doctype

    def feed(self, text: str) -> None:
        data = text.encode()
        self._parser.Parse(data, False)
        self._fed += len(data)
        if self._fed - max(self._parser.CurrentByteIndex, 0) > MAX_TAG_BYTES:
            raise _too_much(self._name, f"a tag or comment of more than {MAX_TAG_BYTES} bytes")

    def close(self) -> Element:
        self._parser.Parse(b"", True)
        return self._tree.close()

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._nodes += 1 + len(attributes)
        if self._depth > self._max_depth:
            raise _too_much(self._name, f"elements nested deeper than {self._max_depth}")
        if self._nodes > MAX_NODES:
            raise _too_much(self._name, f"more than {MAX_NODES} elements and attributes")
        self._tree.start(_braced(tag), {_braced(key): value for key, value in attributes.items()})

    def _end(self, tag: str) -> None:
        self._depth -= 1
        self._tree.end(_braced(tag))

    def _namespace(self, _prefix: str | None, uri: str | None) -> None:
        if uri and len(uri) > MAX_NAMESPACE_CHARS:
            raise _too_much(self._name, f"a namespace of more than {MAX_NAMESPACE_CHARS} characters")

    def _doctype(self, *_declaration: object) -> None:
        raise InputError(
            f"{self._name} holds a document type declaration, which can define entities and name other files",
            fix="export the document without a DOCTYPE; medical XML needs none",
            code="E_XML_FORBIDDEN",
        )


def _braced(name: str) -> str:
    """Expat's ``namespace}local`` -> ElementTree's ``{namespace}local``."""
    return "{" + name if "}" in name else name


def _encoding(content: bytes, name: str) -> tuple[str, int]:
    """Python's name of the encoding, and where the text begins after a byte order mark."""
    found, start = next(((encoding, skip) for mark, encoding, skip in _MARKS if content.startswith(mark)), ("", 0))
    if found == "utf-32":
        raise _bad_encoding(name, "UTF-32")
    head = content[start : start + 1024]
    if found.startswith("utf-16"):
        head = head.decode(found, "replace").encode("ascii", "replace")
    declaration = _DECLARED.search(head)
    declared = declaration.group(1).decode("ascii").lower() if declaration else ""
    if not found:
        found = ENCODINGS.get(declared or "utf-8", "")
    elif declared:
        wide = declared.startswith("utf-16") or declared in {"ucs-2", "iso-10646-ucs-2"}
        if found.startswith("utf-16") != wide or (found == "utf-8" and ENCODINGS.get(declared) != "utf-8"):
            raise _bad_encoding(name, "bytes in another encoding than the declared one")
    if not found:
        raise _bad_encoding(name, "an encoding other than UTF-8, UTF-16, ASCII, Latin-1 and Windows-1252")
    return found, start


def _bad_encoding(name: str, what: str) -> InputError:
    return InputError(f"{name} holds {what}", fix="save the XML as UTF-8", code="E_XML_ENCODING")


def _too_much(name: str, what: str) -> BudgetError:
    return BudgetError(f"{name} holds {what}", fix="split the file, or raise the limit", code="E_XML_LIMIT")
