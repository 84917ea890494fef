"""Slides through OpenSlide: SVS, NDPI, MRXS, SCN, BIF, Philips, Trestle, tiled TIFF, and most DICOM slides.

A backend of ``data/slide.py``. Reads only the ``openslide.*`` properties: the others may hold patient text.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openslide
from PIL import Image

from medvox.data.limits import Limits
from medvox.data.slide_pyramid import PyramidFacts, Rgb, check_sizes, check_tile, unreadable

WHITE = (255, 255, 255)


def vendor_of(path: Path) -> str | None:
    """OpenSlide's name of the format, or None where it does not know the file."""
    try:
        return openslide.OpenSlide.detect_format(str(path))
    except Exception:  # OpenSlide raises for files that begin like a slide and are broken; the opener says why
        return None


class OpenSlidePyramid:
    """An open slide of the OpenSlide library.

    Raises:
        InputError: ``E_SLIDE_UNREADABLE``.
        BudgetError: ``E_SLIDE_LIMIT``, a tile or the slide is too large.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self._name = path.name
        self._closed = False
        try:
            self._slide = openslide.OpenSlide(str(path))
        except Exception as error:  # OpenSlideError, and whatever a codec or the binding raises
            raise unreadable(path.name, f"the file is damaged or incomplete ({type(error).__name__})") from error
        try:
            self.facts = self._read_facts(path, limits)
        except BaseException:
            self.close()
            raise

    def _read_facts(self, path: Path, limits: Limits) -> PyramidFacts:
        try:
            sizes = tuple((int(width), int(height)) for width, height in self._slide.level_dimensions)
            stated = {k: v for k, v in self._slide.properties.items() if k.startswith("openslide.")}
            self._downsamples = tuple(float(value) for value in self._slide.level_downsamples)
        except Exception as error:  # see __init__
            raise unreadable(path.name, f"its levels cannot be read ({type(error).__name__})") from error
        check_sizes(path.name, sizes)
        for level in range(len(sizes)):
            # GLib aborts the whole process when it cannot allocate, so this must be known before the first read.
            tile = [_number(stated, f"openslide.level[{level}].tile-{side}") or 1 for side in ("width", "height")]
            check_tile(path.name, int(tile[0]), int(tile[1]), limits)
        mpp = (_number(stated, "openslide.mpp-x"), _number(stated, "openslide.mpp-y"))
        return PyramidFacts(
            vendor=stated.get("openslide.vendor", "unknown"),
            sizes_xy=sizes,
            mpp_xy_um=None if mpp[0] is None or mpp[1] is None else (mpp[0], mpp[1]),
            objective_power=_number(stated, "openslide.objective-power"),
            associated=tuple(sorted({key.split(".")[2] for key in stated if key.startswith("openslide.associated.")})),
            has_icc="openslide.icc-size" in stated,
            files=(path,),
        )

    def region(self, corner_xy: tuple[int, int], level: int, size_xy: tuple[int, int]) -> Rgb:
        """Pixels of a level, see Pyramid; holes are white.

        OpenSlide counts in pixels of level 0. Where the downsample of a level is no whole number it therefore shifts
        by up to half a pixel of level 0, and interpolates.
        """
        scale = self._downsamples[level]
        corner = (round(corner_xy[0] * scale), round(corner_xy[1] * scale))
        try:
            picture = self._slide.read_region(corner, level, size_xy)
        except Exception as error:  # see __init__
            why = f"pixels of level {level} are damaged ({type(error).__name__})"
            raise unreadable(self._name, why) from error
        alpha = picture.getchannel("A")
        if alpha.getextrema() == (255, 255):
            return np.asarray(picture.convert("RGB"))
        opaque = Image.new("RGB", picture.size, WHITE)
        opaque.paste(picture, mask=alpha)
        return np.asarray(opaque)

    def close(self) -> None:
        """Close the slide; the binding refuses to do it twice."""
        if not self._closed:
            self._closed = True
            self._slide.close()


def _number(stated: Mapping[str, str], key: str) -> float | None:
    """A stated number as it is, also one that makes no sense; None where there is none."""
    try:
        return float(stated[key])
    except (KeyError, ValueError):
        return None
