"""Tiny documents for tests, written by hand: PDF, DOCX, CDA and FHIR, so that every part of them can be made wrong."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from typing import Any

A4 = "[0 0 595 842]"
DRAWN = "BT /F1 12 Tf 72 770 Td ({}) Tj ET"


def pdf(
    *contents: str, box: str = A4, page: str = "", catalog: str = "", objects: dict[int, bytes] | None = None
) -> bytes:
    """A PDF with one page per content stream; ``page`` and ``catalog`` are added to their dictionaries.

    Objects: 1 catalog, 2 page tree, 3 font (Helvetica), then a page and its content for each; ``objects`` adds more.
    """
    bodies = {3: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"}
    kids = []
    for number, content in enumerate(contents):
        own = 4 + 2 * number
        kids.append(f"{own} 0 R")
        bodies[own] = (
            f"<</Type/Page/Parent 2 0 R/MediaBox {box}/Contents {own + 1} 0 R"
            f"/Resources<</Font<</F1 3 0 R>>/XObject<</X1 90 0 R>>>>{page}>>"
        ).encode()
        bodies[own + 1] = stream(content.encode("cp1252"))
    bodies[1] = f"<</Type/Catalog/Pages 2 0 R{catalog}>>".encode()
    bodies[2] = f"<</Type/Pages/Kids[{' '.join(kids)}]/Count {len(kids)}>>".encode()
    bodies |= objects or {}
    return assembled(bodies)


def stream(data: bytes, dictionary: str = "", *, packed: bool = False) -> bytes:
    """A stream object, deflated on request."""
    if packed:
        data, dictionary = zlib.compress(data, 9), f"/Filter/FlateDecode{dictionary}"
    return f"<</Length {len(data)}{dictionary}>>\nstream\n".encode() + data + b"\nendstream"


def assembled(bodies: dict[int, bytes]) -> bytes:
    """Objects by number -> a PDF with a right cross-reference table."""
    out = io.BytesIO()
    out.write(b"%PDF-1.7\n")
    places = {}
    for number in sorted(bodies):
        places[number] = out.tell()
        out.write(b"%d 0 obj\n" % number + bodies[number] + b"\nendobj\n")
    start, count = out.tell(), max(bodies) + 1
    rows = [b"%010d 00000 n \n" % places[n] if n in places else b"0000000000 65535 f \n" for n in range(count)]
    out.write(b"xref\n0 %d\n" % count + b"".join(rows))
    out.write(b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (count, start))
    return out.getvalue()


def grey_picture(rows: int, columns: int, value: int = 128) -> bytes:
    """An image object of one grey with a dark corner."""
    pixels = bytearray([value]) * (rows * columns)
    pixels[: max(1, columns // 4)] = b"\0" * max(1, columns // 4)
    entries = f"/Type/XObject/Subtype/Image/Width {columns}/Height {rows}/ColorSpace/DeviceGray/BitsPerComponent 8"
    return stream(bytes(pixels), entries, packed=True)


WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def docx(body: str, *, parts: dict[str, bytes] | None = None) -> bytes:
    """A Word document with the given XML inside of ``w:body``; the prefix ``w`` is bound."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("[Content_Types].xml", "<Types/>")
        package.writestr("word/document.xml", word_part("document", f"<w:body>{body}</w:body>"))
        for name, content in (parts or {}).items():
            package.writestr(name, content)
    return out.getvalue()


def word_part(root: str, inside: str) -> bytes:
    """One part of a Word document."""
    return f'<?xml version="1.0" encoding="UTF-8"?><w:{root} xmlns:w="{WORD}">{inside}</w:{root}>'.encode()


def paragraph(text: str, run: str = "") -> str:
    """A Word paragraph of one run; ``run`` goes into its properties."""
    return f"<w:p><w:r><w:rPr>{run}</w:rPr><w:t>{text}</w:t></w:r></w:p>"


def cda(sections: str, *, header: str = "<recordTarget/>") -> bytes:
    """A CDA document with the given ``component`` elements in its body."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ClinicalDocument xmlns="urn:hl7-org:v3">'
        "<title>Discharge summary</title>"
        f'<effectiveTime value="20240131143000+0100"/>{header}'
        f"<component><structuredBody>{sections}</structuredBody></component></ClinicalDocument>"
    ).encode()


def cda_section(title: str, text: str, *, code: str = "10160-0", inside: str = "") -> str:
    """One ``component`` with a section."""
    return (
        f'<component><section><code code="{code}" codeSystem="2.16.840.1.113883.6.1"/><title>{title}</title>'
        f"<text>{text}</text>{inside}</section></component>"
    )


def bundle(*resources: dict[str, Any], **more: Any) -> bytes:
    """A FHIR collection; each resource with an id gets the ``fullUrl`` ``urn:uuid:ID``."""
    entries = [
        {"resource": item} | ({"fullUrl": f"urn:uuid:{item['id']}"} if "id" in item else {}) for item in resources
    ]
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries} | more).encode()


def patient(own: str = "p1", **more: Any) -> dict[str, Any]:
    """A FHIR patient."""
    return {"resourceType": "Patient", "id": own, **more}


def observation(own: str = "o1", about: str = "urn:uuid:p1", **more: Any) -> dict[str, Any]:
    """A FHIR observation about a patient."""
    return {"resourceType": "Observation", "id": own, "status": "final", "subject": {"reference": about}, **more}
