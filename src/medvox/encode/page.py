"""Document pages -> the pictures a MedGemma-class model expects: drawn large, on a square, resized.

Stage two of the path. Knows documents, knows no model and no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medvox.data.document import Document, page_image
from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.data.page import POINTS_PER_INCH
from medvox.encode.images import Origin, PreparedImages, recipe_hash, square_rgb
from medvox.errors import BudgetError, InputError, UsageError
from medvox.types import Flag, Progress, no_progress


@dataclass(frozen=True, kw_only=True, slots=True)
class PagePreset:
    """An input recipe for documents.

    Attributes:
        name: stable name with the model family's version.
        max_pages: more pages than this are refused; none is left out silently.
        oversampling: a PDF page is drawn with a long side of this many times the model's picture, then shrunk.
        resample: how a page is resized; ``bilinear`` is Pillow's, which averages when it shrinks.
    """

    name: str
    max_pages: int
    oversampling: float = 2.0
    resample: str = "bilinear"

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of all fields: changes when anything in the recipe changes."""
        return recipe_hash(self)


# MedGemma 1.5 report section 3.2.5: pages are rendered to pictures. How finely, how several pages are put to the model
# and whether they are labelled is not published; one picture per page without a label is our reading.
PAGE_MEDGEMMA_1_5 = PagePreset(name="page.medgemma-1.5", max_pages=20)


def prepare_pages(
    document: Document,
    preset: PagePreset = PAGE_MEDGEMMA_1_5,
    *,
    size: int = 896,
    pages: Sequence[int] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress = no_progress,
) -> PreparedImages:
    """Draw, pad and resize the pages of a document.

    Boxes come back through ``Origin.to_source`` in the coordinates of ``Word.box_pt``: points from the upper left
    corner of the page, or pixels where the document is a picture file.

    Args:
        document: a PDF or pictures of pages.
        preset: the recipe.
        size: edge of the pictures in pixels, as the model's ``preprocessor_config.json`` says.
        pages: numbers of the pages to show, from 1, in this order; all when None.
        limits: bound on the pixels of a drawn page.
        progress: told after each page.

    Raises:
        InputError: ``E_PAGE_NONE``: the document is text without pages.
        UsageError: ``E_PAGE_CHOICE``: a page that is not there, or one chosen twice.
        BudgetError: ``E_PAGE_LIMIT``: more pages than the preset shows.
    """
    chosen = _chosen(document, preset, pages)
    images = np.empty((len(chosen), size, size, 3), np.uint8)
    origins = []
    dpis = []
    for place, number in enumerate(chosen):
        width_pt, height_pt = document.pages[number - 1].size_pt or (size, size)
        dpi = POINTS_PER_INCH * preset.oversampling * size / max(width_pt, height_pt)
        picture = page_image(document, number, dpi=dpi, limits=limits)
        images[place], square = square_rgb(picture, size)
        scale = max(width_pt, height_pt) / square.side
        origins.append(Origin(source=0, index=number - 1, square=square, scale=scale))
        dpis.append(round(POINTS_PER_INCH / scale, 1))
        progress("drawing pages", place + 1, len(chosen))
    dropped = tuple(index for index in range(len(document.pages)) if index + 1 not in chosen)
    return PreparedImages(
        images=images,
        labels=("",) * len(chosen),
        origins=tuple(origins),
        dropped=dropped,
        preset=preset.name,
        preset_hash=preset.hash,
        flags=document.flags + _flags(document, chosen),
        facts={
            "pages": list(chosen),
            "pages_not_shown": [index + 1 for index in dropped],
            "pages_with_text": [number for number in chosen if document.pages[number - 1].kind == "text"],
            "dpi": dpis if document.kind == "pdf" else None,
        },
    )


def _chosen(document: Document, preset: PagePreset, pages: Sequence[int] | None) -> tuple[int, ...]:
    name, count = document.source.name, len(document.pages)
    if document.kind in {"docx", "text"}:
        raise InputError(f"{name} is text without pages", fix="print it to a PDF, and give that", code="E_PAGE_NONE")
    chosen = tuple(pages) if pages is not None else tuple(range(1, count + 1))
    if not chosen or len(set(chosen)) < len(chosen) or not all(1 <= number <= count for number in chosen):
        raise UsageError(
            f"the chosen pages are not all in {name}, or one is chosen twice",
            fix=f"choose pages from 1 to {count}, each once",
            code="E_PAGE_CHOICE",
        )
    if len(chosen) > preset.max_pages:
        raise BudgetError(
            f"{name} has {len(chosen)} pages to show; preset {preset.name} shows at most {preset.max_pages}",
            fix="choose the pages that matter",
            code="E_PAGE_LIMIT",
        )
    return chosen


def _flags(document: Document, chosen: tuple[int, ...]) -> tuple[Flag, ...]:
    """A flag for blank pages: a model may see things on them."""
    blank = sum(document.pages[number - 1].kind == "blank" for number in chosen)
    return (Flag(code="F_PAGE_BLANK", text=f"{blank} of the pages shown are blank."),) if blank else ()
