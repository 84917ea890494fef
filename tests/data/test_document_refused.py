"""PDFs that must be refused: encrypted, broken, too large, and bombs; quickly, in little memory, with a stable code."""

from __future__ import annotations

import base64
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from made_documents import DRAWN, assembled, grey_picture, pdf, stream

from medvox.data import document_pdf
from medvox.data.document import page_image, read_document
from medvox.data.limits import DEFAULT_LIMITS, MIB, Limits
from medvox.data.pdf_streams import check_streams
from medvox.errors import BudgetError, InputError, MedvoxError

TEXT = DRAWN.format("Sodium 140 mmol/L")
SCAN = "q 595 0 0 842 0 0 cm /X1 Do Q"
ENCRYPTED = b"/Root 1 0 R/Encrypt<</Filter/Standard/V 1/R 2/O(%s)/U(%s)/P -4>>" % (b"o" * 32, b"u" * 32)


def zeros(mebibytes: int) -> bytes:
    """That many MiB of zeros, deflated: one block over and over, without an end."""
    packer = zlib.compressobj(9)
    head = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    return head + (packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)) * mebibytes


def deflated(data: bytes, filters: str = "/FlateDecode", more: str = "") -> bytes:
    return stream(data, f"/Filter[{filters}]{more}")


def forms(levels: int, width: int) -> dict[int, bytes]:
    """Forms that draw the next one ``width`` times each."""
    entries = "/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</F{0} {1} 0 R>>>>"
    bodies = {
        90 + n: stream(b"/F%d Do " % (n + 1) * width, entries.format(n + 1, 91 + n), packed=n % 2 == 1)
        for n in range(levels)
    }
    return bodies | {90 + levels: stream(b"0 0 m 9 9 l S", entries.format("x", 1))}


def lzw(codes: list[int]) -> bytes:
    """Codes of growing width -> bytes, for a stream that never clears its table."""
    bits, size, known = "", 9, 258
    for place, code in enumerate(codes):
        bits += f"{code:0{size}b}"
        known = min(4096, known + (place > 1))
        size = 9 + (known >= 511) + (known >= 1023) + (known >= 2047)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8)


NO_PAGES = assembled({1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Type/Pages/Kids[]/Count 0>>"})
JPEG = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc2" + struct.pack(">HBHHB", 17, 8, 65_000, 65_000, 3)
JPEG_2000 = b"\xff\x4f\xff\x51" + struct.pack(">HHIIIIIIII", 41, 0, 90_000, 90_000, 0, 0, 90_000, 90_000, 0, 0)
BOMBS: dict[str, Callable[[], bytes]] = {
    "zeros": lambda: pdf(TEXT, objects={90: deflated(zeros(700))}),
    "zeros as content": lambda: pdf(TEXT, objects={5: deflated(zeros(700))}),
    "zeros as a picture": lambda: pdf(SCAN, objects={90: deflated(zeros(400), more="/Subtype/Image")}),
    "many streams of zeros": lambda: pdf(TEXT, objects=dict.fromkeys(range(90, 140), deflated(zeros(16)))),
    "deflated twice": lambda: pdf(TEXT, objects={90: deflated(zlib.compress(zeros(700)), "/FlateDecode/FlateDecode")}),
    "deflated as ASCII85": lambda: pdf(
        TEXT, objects={90: deflated(base64.a85encode(zeros(300)) + b"~>", "/ASCII85Decode/FlateDecode")}
    ),
    "deflated as hexadecimal": lambda: pdf(
        TEXT, objects={90: deflated(zlib.compress(zeros(400)).hex().encode() + b">", "/ASCIIHexDecode/FlateDecode")}
    ),
    "hidden filter name": lambda: pdf(TEXT, objects={90: deflated(zeros(400), "/F#6cateDecode")}),
    "LZW": lambda: pdf(
        TEXT, objects={90: stream(lzw([256, 0, *range(258, 4096), *[4095] * 40_000]), "/Filter/LZWDecode")}
    ),
    "letters": lambda: pdf(TEXT, objects={5: stream(b"(" + b"a" * 7 * MIB + b") Tj", packed=True)}),
    "letters in hexadecimal": lambda: pdf(TEXT, objects={5: stream(b"<" + b"41" * 3 * MIB + b"> Tj", packed=True)}),
    "drawing commands": lambda: pdf(TEXT, objects={5: stream(b"0 0 m 9 9 l S\n" * 700_000, packed=True)}),
    "plain drawing commands": lambda: pdf("0 0 m 9 9 l S\n" * 700_000),
    "content drawn again and again": lambda: pdf(TEXT, page=f"/Contents[{'5 0 R ' * 3000}]"),
    "forms of forms": lambda: pdf("/F0 Do", page="/Resources<</XObject<</F0 90 0 R>>>>", objects=forms(12, 10)),
    "form that draws itself": lambda: pdf("/F0 Do", objects={
        90: stream(b"/F0 Do /F0 Do " * 8, "/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</F0 90 0 R>>>>")
    }),
    "picture of 10 gigapixels": lambda: pdf(
        SCAN, objects={90: stream(b"", "/Subtype/Image/Width 100000/Height 100000")}
    ),
    "JPEG of 4 gigapixels": lambda: pdf(SCAN, objects={90: stream(JPEG, "/Subtype/Image/Width 9/Height 9")}),
    "JPEG 2000 of 8 gigapixels": lambda: pdf(SCAN, objects={90: stream(JPEG_2000, "/Subtype/Image/Width 9/Height 9")}),
    "page of 4 square kilometres": lambda: pdf(TEXT, box="[0 0 200000 200000]"),
    "501 pages": lambda: pdf(*[""] * 501),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_bomb_is_refused_quickly(tmp_path: Path, bomb: str) -> None:
    file = tmp_path / "bomb.pdf"
    file.write_bytes(BOMBS[bomb]())
    start = time.process_time()
    with pytest.raises(BudgetError) as caught:
        read_document(file)
    assert caught.value.code == "E_DOCUMENT_LIMIT"
    assert time.process_time() - start < 5.0


def test_bombs_are_refused_in_little_memory(tmp_path: Path) -> None:
    for number, bomb in enumerate(("zeros as content", "letters", "content drawn again and again")):
        (tmp_path / f"{number}.pdf").write_bytes(BOMBS[bomb]())
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from medvox.data.document import read_document\n"
        "from medvox.errors import BudgetError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for file in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try:\n"
        "        read_document(file)\n"
        "    except BudgetError:\n"
        "        continue\n"
        "    sys.exit(1)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=True, text=True)
    assert int(done.stdout) < 512 * 1024  # KiB


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"%PDF-1.7", "E_DOCUMENT_UNREADABLE"),
        (b"%PDF-1.7\n%%EOF", "E_DOCUMENT_UNREADABLE"),
        (pdf(TEXT)[:-20], "E_DOCUMENT_UNREADABLE"),
        (pdf(TEXT)[: len(pdf(TEXT)) // 2], "E_DOCUMENT_UNREADABLE"),
        (pdf(TEXT).replace(b"/Kids[4 0 R]", b"/Kids[2 0 R]"), "E_DOCUMENT_UNREADABLE"),
        (pdf(TEXT).replace(b"/Kids[4 0 R]", b"/Kids[9 0 R]"), "E_DOCUMENT_UNREADABLE"),
        (NO_PAGES, "E_DOCUMENT_UNREADABLE"),
        (pdf(TEXT).replace(b"/Root 1 0 R", ENCRYPTED), "E_DOCUMENT_ENCRYPTED"),
    ],
    ids=["mark", "mark and end", "no end", "half", "page tree of itself", "page missing", "no pages", "encrypted"],
)  # fmt: skip
def test_broken_document_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    file = tmp_path / "broken.pdf"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_document(file)
    assert caught.value.code == code


def test_error_names_the_file_and_nothing_inside(tmp_path: Path) -> None:
    file = tmp_path / "broken.pdf"
    file.write_bytes(pdf(DRAWN.format("Miller"))[:-20])
    with pytest.raises(InputError) as caught:
        read_document(file)
    assert "broken.pdf" in caught.value.message
    assert "Miller" not in caught.value.message + caught.value.fix
    assert str(tmp_path) not in caught.value.message


def test_broken_cross_references_are_mended(tmp_path: Path) -> None:
    file = tmp_path / "mended.pdf"
    file.write_bytes(pdf(TEXT).replace(b"0000000", b"0000009"))
    assert read_document(file).text == "Sodium 140 mmol/L"


@pytest.mark.parametrize(("pages", "refused"), [(2, False), (3, True)])
def test_pages_at_the_limit_are_read_and_above_refused(tmp_path: Path, pages: int, refused: bool) -> None:
    file = tmp_path / "pages.pdf"
    file.write_bytes(pdf(*[TEXT] * pages))
    try:
        assert len(read_document(file, limits=Limits(pages=2)).pages) == 2
        assert not refused
    except BudgetError:
        assert refused


def test_more_letters_than_any_page_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_pdf, "MAX_PAGE_CHARS", 16)
    file = tmp_path / "letters.pdf"
    file.write_bytes(pdf(TEXT))
    with pytest.raises(BudgetError, match="letters"):
        read_document(file)


def test_page_that_vanished_between_reading_and_drawing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "vanished.pdf"
    file.write_bytes(pdf(TEXT, TEXT))
    document = read_document(file)
    object.__setattr__(document, "content", pdf(TEXT))
    with pytest.raises(MedvoxError):
        page_image(document, 2)


# What must not be mistaken for a bomb

OLD = base64.a85encode(zlib.compress(TEXT.encode()))


@pytest.mark.parametrize(
    "content",
    [
        pdf(SCAN, objects={90: grey_picture(3508, 2480, 255)}),
        pdf(SCAN, objects={90: deflated(zlib.compress(bytes(30 * MIB)), more="/Subtype/Image/Width 5608/Height 5608")}),
        pdf(*["/F0 Do " * 200] * 3, objects=forms(2, 50)),
        pdf("0 0 m 9 9 l S\n" * 200_000),
        pdf(TEXT, objects={90: deflated(OLD + b"~>", "/ASCII85Decode/FlateDecode")}),
        pdf(TEXT, objects={90: stream(lzw([256, 65, 66, 258, 260, 257]), "/Filter/LZWDecode")}),
    ],
    ids=["blank page at 300 dpi", "blank page at 600 dpi", "symbols in symbols", "electrocardiogram", "ASCII85", "LZW"],
)  # fmt: skip
def test_ordinary_document_passes_the_check_of_its_streams(content: bytes) -> None:
    assert check_streams(content, "x.pdf", DEFAULT_LIMITS).damaged == 0


def test_mark_of_a_stream_inside_of_data_does_no_harm() -> None:
    content = pdf(TEXT, objects={90: stream(b"stream\n\x78\x9c" * 5000)})
    start = time.process_time()
    check_streams(content, "x.pdf", DEFAULT_LIMITS)
    assert time.process_time() - start < 1.0


def test_two_threads_read_what_one_reads(tmp_path: Path) -> None:
    file = tmp_path / "report.pdf"
    file.write_bytes(pdf(*[TEXT] * 5))
    with ThreadPoolExecutor(2) as threads:
        texts = set(threads.map(lambda _: read_document(file).text, range(20)))
    assert texts == {"\f".join(["Sodium 140 mmol/L"] * 5)}


def test_time_grows_with_the_lines_of_a_page_not_with_their_square(tmp_path: Path) -> None:
    file = tmp_path / "lines.pdf"
    rows = (f"BT /F1 1.6 Tf {x} {1 + row / 2} Td (a) Tj ET" for row in range(1600) for x in (50, 300))
    file.write_bytes(pdf("\n".join(rows)))
    start = time.process_time()
    assert len(read_document(file).pages[0].words) == 3200
    assert time.process_time() - start < 2.0
