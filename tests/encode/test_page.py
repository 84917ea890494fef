"""The page preset: pages as square pictures, boxes back to points of the page, nothing left out silently."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from made_documents import DRAWN, grey_picture, pdf
from PIL import Image

from medvox.data.document import Document, page_image, read_document
from medvox.data.limits import Limits
from medvox.encode.images import square_rgb
from medvox.encode.page import PAGE_MEDGEMMA_1_5, PagePreset, prepare_pages
from medvox.errors import BudgetError, InputError, UsageError

TEXT = DRAWN.format("Sodium 140 mmol/L")


def read(path: Path, content: bytes) -> Document:
    file = path / "report"
    file.write_bytes(content)
    return read_document(file)


def test_page_is_drawn_twice_as_large_then_squared_and_shrunk(tmp_path: Path) -> None:
    document = read(tmp_path, pdf(TEXT))
    prepared = prepare_pages(document, size=224)
    drawn = page_image(document, 1, dpi=72 * 2 * 224 / 842)
    assert max(drawn.shape) == 448
    np.testing.assert_array_equal(prepared.images[0], square_rgb(drawn, 224)[0])


def test_paper_is_white_and_the_padding_black(tmp_path: Path) -> None:
    image = prepare_pages(read(tmp_path, pdf(TEXT)), size=224).images[0]
    assert image[112, 112].tolist() == [255, 255, 255]
    assert image[112, 2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("page", ["", "/Rotate 90", "/CropBox[20 500 400 800]"])
def test_box_on_the_picture_comes_back_in_points_where_the_word_is(tmp_path: Path, page: str) -> None:
    size = 448
    document = read(tmp_path, pdf("", page=page))
    boxed = read(tmp_path, pdf("0 g 100 600 60 40 re f", page=page))
    prepared, empty = (prepare_pages(each, size=size) for each in (boxed, document))
    rows, columns = np.nonzero(empty.images[0].min(axis=2) - prepared.images[0].min(axis=2) > 127)
    square = prepared.origins[0].square
    factor = square.side / size
    box = (columns.min() * factor, rows.min() * factor, (columns.max() + 1) * factor, (rows.max() + 1) * factor)
    wanted = {
        "": (100, 202, 160, 242),
        "/Rotate 90": (600, 100, 640, 160),
        "/CropBox[20 500 400 800]": (80, 160, 140, 200),
    }
    assert prepared.origins[0].to_source(box) == pytest.approx(wanted[page], abs=2.5)  # one pixel is 1.9 points


def test_picture_file_keeps_its_pixels_as_coordinates(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("RGB", (300, 200), "white").save(out, "PNG")
    origin = prepare_pages(read(tmp_path, out.getvalue()), size=64).origins[0]
    assert origin.to_source((0, 50, 300, 250)) == (0, 0, 300, 200)


def test_every_page_is_shown_in_order_without_a_label(tmp_path: Path) -> None:
    prepared = prepare_pages(read(tmp_path, pdf(TEXT, TEXT, TEXT)), size=64)
    assert (prepared.used, prepared.labels, prepared.dropped) == ((0, 1, 2), ("", "", ""), ())
    assert prepared.images.shape == (3, 64, 64, 3)


def test_chosen_pages_are_shown_and_the_others_named(tmp_path: Path) -> None:
    content = pdf(TEXT, "q 595 0 0 842 0 0 cm /X1 Do Q", TEXT, objects={90: grey_picture(100, 80)})
    prepared = prepare_pages(read(tmp_path, content), size=64, pages=[3, 2])
    assert (prepared.used, prepared.dropped) == ((2, 1), (0,))
    assert prepared.facts["pages"] == [3, 2]
    assert prepared.facts["pages_not_shown"] == [1]
    assert prepared.facts["pages_with_text"] == [3]


def test_resolution_is_told(tmp_path: Path) -> None:
    assert prepare_pages(read(tmp_path, pdf(TEXT))).facts["dpi"] == [pytest.approx(2 * 896 / (842 / 72), abs=0.1)]


def test_flags_of_the_document_travel_on(tmp_path: Path) -> None:
    prepared = prepare_pages(read(tmp_path, pdf(f"{TEXT} 1 g {TEXT.replace('770', '700')}")), size=64)
    assert [flag.code for flag in prepared.flags] == ["F_DOCUMENT_HIDDEN_TEXT"]


def test_blank_pages_are_flagged(tmp_path: Path) -> None:
    prepared = prepare_pages(read(tmp_path, pdf(TEXT, "")), size=64)
    assert [flag.code for flag in prepared.flags] == ["F_PAGE_BLANK"]


def test_as_many_pages_as_the_preset_shows_are_accepted(tmp_path: Path) -> None:
    assert len(prepare_pages(read(tmp_path, pdf(*[TEXT] * 20)), size=8).images) == 20


def test_more_pages_than_the_preset_shows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BudgetError) as caught:
        prepare_pages(read(tmp_path, pdf(*[TEXT] * 21)), size=8)
    assert caught.value.code == "E_PAGE_LIMIT"


@pytest.mark.parametrize("pages", [[], [0], [3], [-1], [1, 1]])
def test_impossible_choice_is_refused(tmp_path: Path, pages: list[int]) -> None:
    with pytest.raises(UsageError) as caught:
        prepare_pages(read(tmp_path, pdf(TEXT, TEXT)), size=8, pages=pages)
    assert caught.value.code == "E_PAGE_CHOICE"


def test_text_without_pages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        prepare_pages(read(tmp_path, b"a note"), size=8)
    assert caught.value.code == "E_PAGE_NONE"


def test_limit_on_drawn_pixels_is_kept(tmp_path: Path) -> None:
    with pytest.raises(BudgetError) as caught:
        prepare_pages(read(tmp_path, pdf(TEXT)), limits=Limits(page_pixels=1_000_000))
    assert caught.value.code == "E_DOCUMENT_LIMIT"


def test_hash_is_stable_and_follows_the_recipe() -> None:
    assert PAGE_MEDGEMMA_1_5.hash == PagePreset(name="page.medgemma-1.5", max_pages=20).hash
    assert PAGE_MEDGEMMA_1_5.hash != PagePreset(name="page.medgemma-1.5", max_pages=20, oversampling=1.5).hash
    assert PAGE_MEDGEMMA_1_5.hash == "135e060479c7b714"
