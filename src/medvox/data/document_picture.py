"""Picture files as scanned pages: PNG, JPEG, WebP, BMP, and TIFF with any number of pages.

Below ``document``. Pages come out as 8-bit RGB on white, upright by their EXIF orientation. Knows no text.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageSequence

from medvox.data.limits import Limits
from medvox.data.page import Page, PageKind
from medvox.data.picture import check_picture_size
from medvox.errors import BudgetError, InputError, MedvoxError

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
MARKS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM")
BLANK_CONTRAST = 12  # of 255


def is_picture(content: bytes) -> bool:
    """Whether the first bytes are those of a picture file."""
    return content.startswith(MARKS) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")


def read_picture_pages(content: bytes, name: str, *, limits: Limits) -> tuple[Page, ...]:
    """Decode every page once; one point per pixel, no words.

    Raises:
        InputError: ``E_DOCUMENT_UNREADABLE``.
        BudgetError: ``E_DOCUMENT_LIMIT``, ``E_PICTURE_LIMIT``.
    """
    pages: list[Page] = []
    with _opened(content, name) as picture:
        count = getattr(picture, "n_frames", 1)
        if count > limits.pages:
            raise _over(name, f"has {count} pages; the limit is {limits.pages}")
        for number, frame in enumerate(ImageSequence.Iterator(picture), start=1):
            pixels = _upright(frame, name, limits)
            blank = int(pixels.max()) - int(pixels.min()) < BLANK_CONTRAST
            size_pt = (float(pixels.shape[1]), float(pixels.shape[0]))
            kind: PageKind = "blank" if blank else "picture"
            pages.append(Page(number=number, kind=kind, size_pt=size_pt, words=(), text=""))
    return tuple(pages)


def picture_page(content: bytes, number: int, name: str, *, limits: Limits) -> NDArray[np.uint8]:
    """The pixels of one page, (R, C, 3), at the resolution of the file.

    Raises:
        InputError, BudgetError: as ``read_picture_pages``.
    """
    with _opened(content, name) as picture:
        picture.seek(number - 1)
        return _upright(picture, name, limits)


@contextmanager
def _opened(content: bytes, name: str) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large pictures and odd tags; sizes are judged here
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                yield picture
    except MedvoxError:
        raise
    except Image.DecompressionBombError:
        raise _over(name, "is a picture of more pixels than any page") from None
    except Exception:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, EOFError, KeyError and others
        raise InputError(
            f"{name} is a damaged picture", fix="scan or export the page again", code="E_DOCUMENT_UNREADABLE"
        ) from None


def _upright(picture: Image.Image, name: str, limits: Limits) -> NDArray[np.uint8]:
    check_picture_size(name, picture.height, picture.width, limits)
    turned = ImageOps.exif_transpose(picture) or picture
    if turned.mode.startswith("I;16"):
        turned = Image.fromarray((np.asarray(turned) >> 8).astype(np.uint8))
    elif turned.mode in {"I", "F"}:
        raise InputError(
            f"{name} has pixels of 32 bits, which no scanned page has",
            fix="save the page with 8 bits per colour",
            code="E_DOCUMENT_UNREADABLE",
        )
    if "A" in turned.getbands() or "transparency" in turned.info:
        layer = turned.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        turned = Image.alpha_composite(ground, layer)
    return np.array(turned.convert("RGB"), np.uint8)


def _over(name: str, problem: str) -> BudgetError:
    return BudgetError(f"{name} {problem}", fix="split it, scale it, or raise the limit", code="E_DOCUMENT_LIMIT")
