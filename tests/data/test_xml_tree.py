"""The XML entry point: trees like ElementTree's own; hostile documents refused quickly, and nothing else touched."""

from __future__ import annotations

import time
import tracemalloc
from xml.etree import ElementTree

import pytest

from medvox.data import xml_tree
from medvox.data.limits import Limits
from medvox.data.xml_tree import parse_xml
from medvox.errors import MedvoxError

NAMESPACES = b"".join(b"<e%d/>" % n for n in range(1000))


def laughs(levels: int) -> bytes:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, levels))
    return f'<!DOCTYPE a [<!ENTITY l0 "ha">{entities}]><a>&l{levels - 1};</a>'.encode()


def dtd(inside: str, body: str = "<a>&x;</a>") -> bytes:
    return f"<!DOCTYPE a [{inside}]>{body}".encode()


def declared(encoding: str, body: bytes = b"<a/>") -> bytes:
    return f"<?xml version='1.0' encoding='{encoding}'?>".encode() + body


REFUSED = {
    "laughs of two levels": (laughs(2), "E_XML_FORBIDDEN"),
    "laughs of five levels": (laughs(5), "E_XML_FORBIDDEN"),
    "laughs of ten levels": (laughs(10), "E_XML_FORBIDDEN"),
    "quadratic blow-up": (dtd(f'<!ENTITY x "{"a" * 50_000}">', f"<a>{'&x;' * 1000}</a>"), "E_XML_FORBIDDEN"),
    "entity of a file": (dtd('<!ENTITY x SYSTEM "file:///etc/passwd">'), "E_XML_FORBIDDEN"),
    "entity of a host": (dtd('<!ENTITY x SYSTEM "http://127.0.0.1:9/x">'), "E_XML_FORBIDDEN"),
    "entity with a public name": (dtd('<!ENTITY x PUBLIC "p" "file:///etc/passwd">'), "E_XML_FORBIDDEN"),
    "parameter entity": (dtd('<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;', "<a/>"), "E_XML_FORBIDDEN"),
    "parameter entity inside": (dtd("<!ENTITY % x '<!ENTITY y \"z\">'> %x;", "<a>&y;</a>"), "E_XML_FORBIDDEN"),
    "unparsed entity": (dtd('<!NOTATION n SYSTEM "n"><!ENTITY x SYSTEM "y" NDATA n>', "<a/>"), "E_XML_FORBIDDEN"),
    "external subset": (b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><a/>', "E_XML_FORBIDDEN"),
    "public subset": (b'<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0//EN" "x.dtd"><html/>', "E_XML_FORBIDDEN"),
    "empty doctype": (b"<!DOCTYPE a><a/>", "E_XML_FORBIDDEN"),
    "attribute defaults": (dtd('<!ATTLIST a b CDATA "c">', "<a/>"), "E_XML_FORBIDDEN"),
    "doctype in UTF-16": ("<!DOCTYPE a><a/>".encode("utf-16"), "E_XML_FORBIDDEN"),
    "doctype in UTF-16 without a mark": ("<!DOCTYPE a><a/>".encode("utf-16-be"), "E_XML_FORBIDDEN"),
    "undefined entity": (b"<a>&x;</a>", "E_XML_UNREADABLE"),
    "entity in an attribute": (b"<a b='&x;'/>", "E_XML_UNREADABLE"),
    "entity that refers to itself": (dtd('<!ENTITY x "&x;">'), "E_XML_FORBIDDEN"),
    "UTF-7 declared": (declared("UTF-7", b"+ADw-a/+AD4-"), "E_XML_ENCODING"),
    "EBCDIC declared": (declared("cp037"), "E_XML_ENCODING"),
    "codec that is no text": (declared("zlib"), "E_XML_ENCODING"),
    "Shift-JIS declared": (declared("Shift_JIS"), "E_XML_ENCODING"),
    "UTF-16 declared over UTF-8": (declared("utf-16"), "E_XML_ENCODING"),
    "UTF-8 declared over UTF-16": (declared("utf-8").decode().encode("utf-16"), "E_XML_ENCODING"),
    "Latin-1 declared after a UTF-8 mark": (b"\xef\xbb\xbf" + declared("iso-8859-1"), "E_XML_ENCODING"),
    "UTF-32": ("<a/>".encode("utf-32"), "E_XML_ENCODING"),
    "overlong UTF-8": (b"<a>\xc0\xbc</a>", "E_XML_ENCODING"),
    "surrogate in UTF-8": (b"<a>\xed\xa0\x80</a>", "E_XML_ENCODING"),
    "half a pair in UTF-16": (b"\xff\xfe<\0a\0>\0\x00\xd8<\0/\0a\0>\0", "E_XML_ENCODING"),
    "Latin-1 without a declaration": ("<a>ä</a>".encode("latin-1"), "E_XML_ENCODING"),
    "NUL": (b"<a>\0</a>", "E_XML_UNREADABLE"),
    "NUL by number": (b"<a>&#0;</a>", "E_XML_UNREADABLE"),
    "control character": (b"<a>\x01</a>", "E_XML_UNREADABLE"),
    "number beyond Unicode": (b"<a>&#x110000;</a>", "E_XML_UNREADABLE"),
    "attribute given twice": (b"<a b='1' b='2'/>", "E_XML_UNREADABLE"),
    "prefix without a namespace": (b"<x:a/>", "E_XML_UNREADABLE"),
    "two roots": (b"<a/><b/>", "E_XML_UNREADABLE"),
    "text after the root": (b"<a/>text", "E_XML_UNREADABLE"),
    "cut off": (b"<a><b>", "E_XML_UNREADABLE"),
    "nothing": (b"", "E_XML_UNREADABLE"),
    "deep": (b"<a>" * 257 + b"</a>" * 257, "E_XML_LIMIT"),
    "very deep": (b"<a>" * 1_000_000, "E_XML_LIMIT"),
    "wide": (b"<a>" + b"<b/>" * xml_tree.MAX_NODES + b"</a>", "E_XML_LIMIT"),
    "huge attribute": (b"<a b='" + b"x" * 20_000_000 + b"'/>", "E_XML_LIMIT"),
    "many attributes": (b"<a " + b" ".join(b"a%d=''" % n for n in range(200_000)) + b"/>", "E_XML_LIMIT"),
    "huge comment": (b"<a><!--" + b"x" * 20_000_000 + b"--></a>", "E_XML_LIMIT"),
    "huge name": (b"<" + b"a" * 20_000_000 + b"/>", "E_XML_LIMIT"),
    "huge namespace": (b"<a xmlns='" + b"u" * 100_000 + b"'>" + NAMESPACES + b"</a>", "E_XML_LIMIT"),
    "huge prefixed namespace": (b"<a xmlns:p='" + b"u" * 129 + b"'/>", "E_XML_LIMIT"),
    "larger than the limit": (b"<a>" + b" " * 50 * 2**20 + b"</a>", "E_XML_LIMIT"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_hostile_xml_is_refused_within_a_second(case: str) -> None:
    content, code = REFUSED[case]
    start = time.process_time()
    with pytest.raises(MedvoxError) as caught:
        parse_xml(content, "x.xml")
    assert caught.value.code == code
    assert time.process_time() - start < 1.5


def test_refusing_takes_little_memory() -> None:
    content = b"<a b='" + b"x" * 20_000_000 + b"'/>"
    tracemalloc.start()
    with pytest.raises(MedvoxError):
        parse_xml(content, "x.xml")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_error_shows_nothing_of_the_content() -> None:
    with pytest.raises(MedvoxError) as caught:
        parse_xml(b"<name>Miller</wrong>", "x.xml")
    assert "Miller" not in caught.value.message + caught.value.fix
    assert caught.value.__cause__ is None


def test_inclusions_stay_plain_elements() -> None:
    include = "{http://www.w3.org/2001/XInclude}include"
    root = parse_xml(
        b'<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd" parse="text"/></a>', "x.xml"
    )
    assert [(child.tag, child.text, len(child)) for child in root] == [(include, None, 0)]


def test_style_sheets_and_schema_hints_are_left_alone() -> None:
    root = parse_xml(
        b'<?xml-stylesheet href="http://127.0.0.1:9/x.xsl"?><a schemaLocation="http://127.0.0.1:9/x"/>', "x"
    )
    assert root.tag == "a"


@pytest.mark.parametrize(
    "text",
    [
        "<a/>",
        "<a xmlns='u:x' b='1' xmlns:p='u:y' p:c='2'>one<b>two</b>three<p:d/></a>",
        "<a>&lt;&amp;&#228;&#x1F600;</a>",
        "<a><![CDATA[<b>]]>c</a>",
        "<a><!-- comment --><?target data?>text</a>",
        "<a>ä漢😀</a>",
        "<a>one\r\ntwo\rthree</a>",
        "<a b=' x&#10;y '/>",
    ],
)
def test_tree_equals_the_one_of_the_standard_library(text: str) -> None:
    ours, theirs = parse_xml(text.encode(), "x.xml"), ElementTree.fromstring(text)
    assert ElementTree.tostring(ours) == ElementTree.tostring(theirs)


@pytest.mark.parametrize(
    ("encoding", "declaration"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-8-sig", "UTF-8"),
        ("utf-16", "UTF-16"),
        ("utf-16", ""),
        ("utf-16-le", "utf-16"),
        ("iso-8859-1", "ISO-8859-1"),
        ("cp1252", "windows-1252"),
    ],
)
def test_encoding_is_understood(encoding: str, declaration: str) -> None:
    head = f'<?xml version="1.0" encoding="{declaration}"?>' if declaration else ""
    assert parse_xml(f"{head}<a>Größe é</a>".encode(encoding), "x.xml").text == "Größe é"


def test_letters_on_the_border_of_two_pieces_survive() -> None:
    text = "ä😀" * xml_tree.CHUNK_BYTES
    assert parse_xml(f"<a>{text}</a>".encode(), "x.xml").text == text


def test_depth_at_the_limit_is_accepted() -> None:
    assert parse_xml(b"<a>" * 5 + b"</a>" * 5, "x.xml", limits=Limits(xml_depth=5)).tag == "a"


def test_depth_above_the_limit_is_refused() -> None:
    with pytest.raises(MedvoxError, match="deeper than 5"):
        parse_xml(b"<a>" * 6 + b"</a>" * 6, "x.xml", limits=Limits(xml_depth=5))
