"""A 2-D picture as a value, and plain picture files (PNG, JPEG, TIFF, WebP, BMP) -> Picture.

First step of the path for pictures; ``encode/xray.py`` is next, ``dicom_pictures`` makes the same value of DICOM. Size
and shape are checked on the header of the file, before its pixels are decoded. Knows no model and no DICOM.

Sources: EXIF 2.32 section 4.6.4 (orientation), TIFF 6.0 (PhotometricInterpretation), PNG 1.2 section 5.5 (checksums).
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.data.volume import Source
from medvox.errors import BudgetError, InputError
from medvox.types import Flag

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")  # Pillow opens MPO as JPEG, and fails where it is named
STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM")
ORIENTATION, BITS_PER_SAMPLE, PHOTOMETRIC = 0x0112, 258, 262  # EXIF and TIFF tags
WHITE_IS_ZERO = 0
UINT16_MAX = 65_535
PLAIN = {"1", "L", "RGB"}
WIDE = {"I", "F"}  # 32 bits
TURNS = {  # EXIF orientation -> what brings the picture upright: mirrored left-right first, then quarter turns
    2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One 2-D picture, upright as stored, with brighter = larger.

    Attributes:
        pixels: (R, C) grey or (R, C, 3) RGB; uint8 or uint16.
        pixel_spacing_mm: distance between rows and between columns; None where nothing reliable states it.
        spacing_origin: ``calibrated``, ``detector`` (sizes are those at the detector, not in the body), ``stated``,
            ``region`` (ultrasound), or empty.
        modality: DICOM Modality; empty for plain pictures.
        view: such as PA, LL or MLO, as the file states it; empty when it does not.
        laterality: ``R``, ``L``, ``B`` (both) or ``U`` (unpaired), as the file states it; empty when it does not.
        frame: number of the frame in its file, from 0.
        acquired: ISO 8601 date or date-time; empty when the file does not say.
        source: the file.
        flags: what a reader must know.
    """

    pixels: NDArray[Any]
    source: Source
    flags: tuple[Flag, ...] = ()
    pixel_spacing_mm: tuple[float, float] | None = None
    spacing_origin: str = ""
    modality: str = ""
    view: str = ""
    laterality: str = ""
    frame: int = 0
    acquired: str = ""


def read_picture(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> Picture:
    """Read a plain picture: the first page or frame, turned upright, without transparency, as grey or RGB.

    Raises:
        InputError: not one of the formats (``E_PICTURE_FORMAT``), damaged or cut short (``E_PICTURE_UNREADABLE``), of a
            kind that has no grey or colour (``E_PICTURE_KIND``), or with values that are no numbers
            (``E_PICTURE_NOT_FINITE``).
        BudgetError: over a limit, too small or too narrow (``E_PICTURE_LIMIT``).
    """
    name, content = path.name, _content(path, limits)
    if not content.startswith(STARTS) and not (content[:4] == b"RIFF" and content[8:12] == b"WEBP"):
        raise InputError(
            f"{name} is not a picture that medvox reads",
            code="E_PICTURE_FORMAT",
            fix="Save it as PNG, JPEG, TIFF, WebP or BMP.",
        )
    with _careful(name):
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            check_picture_size(name, image.height, image.width, limits)
            flags = list(_header_flags(image, content))
            stated = _orientation(image)
            image.load()
            pixels, more = _pixels(image, name)
            if image.format != "TIFF":  # Pillow turns TIFF while loading
                pixels = _turned(pixels, stated)
        flags.extend(more)
        if stated in TURNS:
            flags.append(Flag(code="F_PICTURE_TURNED", text="the picture was turned upright, as its EXIF data says"))
    source = Source(name=name, sha256=hashlib.sha256(content).hexdigest())
    return Picture(pixels=np.ascontiguousarray(pixels), source=source, flags=tuple(flags))


def check_picture_size(name: str, rows: int, columns: int, limits: Limits) -> None:
    """Refuse sizes outside the limits.

    Raises:
        BudgetError: ``E_PICTURE_LIMIT``.
    """
    short, long = min(rows, columns), max(rows, columns)
    problem = ""
    if rows * columns > limits.picture_pixels:
        problem = f"at most {limits.picture_pixels} pixels are read"
    elif long > limits.picture_side:
        problem = f"a side may have at most {limits.picture_side} pixels"
    elif short < limits.picture_min_side:
        problem = f"a side must have at least {limits.picture_min_side} pixels"
    elif long > limits.picture_aspect * short:
        problem = f"one side may be at most {limits.picture_aspect} times the other"
    if problem:
        raise BudgetError(
            f"{name} has {rows} x {columns} pixels; {problem}",
            code="E_PICTURE_LIMIT",
            fix="Crop or resize the picture; the limits are in medvox.data.limits.Limits.",
        )


def scaled_to_uint16(values: NDArray[Any], name: str) -> tuple[NDArray[np.uint16], Flag]:
    """Map the range of any finite numbers to 0..65535, and say so.

    Raises:
        InputError: ``E_PICTURE_NOT_FINITE``.
    """
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise InputError(
            f"{name} has pixels that are no numbers",
            code="E_PICTURE_NOT_FINITE",
            fix="Replace NaN and infinity by a value that means no signal.",
        )
    span = (high - low) or 1.0
    scaled = np.rint((values.astype(np.float64) - low) / span * UINT16_MAX).astype(np.uint16)
    text = f"values from {low:g} to {high:g} were mapped to 0..{UINT16_MAX}"
    return scaled, Flag(code="F_PICTURE_RESCALED", text=text)


def _content(path: Path, limits: Limits) -> bytes:
    try:
        if not path.is_file():
            raise unreadable_picture(path.name, "it is not a regular file")
        size = path.stat().st_size
        if size > limits.file_bytes:
            raise BudgetError(
                f"{path.name} has {size} bytes; at most {limits.file_bytes} are read",
                code="E_PICTURE_LIMIT",
                fix="Give a smaller file; the limits are in medvox.data.limits.Limits.",
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise unreadable_picture(path.name, f"it cannot be opened ({type(error).__name__})") from error


def unreadable_picture(name: str, why: str) -> InputError:
    """The error for a picture file that is damaged, cut short or cannot be opened."""
    return InputError(
        f"{name} cannot be read as a picture: {why}",
        code="E_PICTURE_UNREADABLE",
        fix="Copy or export the file again.",
    )


@contextmanager
def _careful(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises into one of our errors, keep it from warning, and from filling up cut files."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (InputError, BudgetError):
        raise
    except Image.DecompressionBombError as error:
        raise BudgetError(
            f"{name} has more pixels than are read",
            code="E_PICTURE_LIMIT",
            fix="Crop or resize the picture; the limits are in medvox.data.limits.Limits.",
        ) from error
    except Exception as error:  # damaged pictures raise at least ten kinds
        raise unreadable_picture(name, f"it is damaged or cut short ({type(error).__name__})") from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _header_flags(image: Image.Image, content: bytes) -> Iterator[Flag]:
    """What the header tells; also checks the checksums of PNG, which the decoder leaves alone."""
    more = bool(getattr(image, "is_animated", False))
    with Image.open(io.BytesIO(content), formats=FORMATS) as probe:
        if image.format == "PNG":
            probe.verify()
        else:
            more = _has_second_page(probe)
    if more:
        yield Flag(code="F_PICTURE_FIRST_PAGE", text="the file holds several pages or frames; the first was taken")
    reduced = ";16" in str(getattr(image, "tile", "")[:1])
    if reduced and image.mode not in WIDE and not image.mode.startswith("I;"):
        yield Flag(code="F_PICTURE_16_TO_8", text="colours with 16 bits were reduced to 8 bits")
    profile = image.info.get("icc_profile") or b""
    if profile and b"sRGB" not in profile and b"s\0R\0G\0B" not in profile:
        yield Flag(code="F_PICTURE_ICC", text="the colour profile of the file is not sRGB and was not applied")


def _has_second_page(probe: Image.Image) -> bool:
    try:
        probe.seek(1)
    except EOFError:
        return False
    return True


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1 to 8; 1 when absent or damaged."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF data raises many kinds, and counts as absent
        return 1


def _turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    mirrored, quarters = TURNS.get(orientation, (False, 0))
    return np.rot90(pixels[:, ::-1] if mirrored else pixels, quarters)


def _pixels(image: Image.Image, name: str) -> tuple[NDArray[Any], list[Flag]]:
    """Pixels of a loaded picture as grey or RGB, uint8 or uint16, and what was done to get them."""
    if image.mode.startswith("I;16"):
        return _grey_16(image)
    if image.mode in WIDE:
        values = np.asarray(image)
        if image.mode == "I" and values.min() >= 0 and values.max() <= UINT16_MAX:
            return values.astype(np.uint16), []
        scaled, flag = scaled_to_uint16(values, name)
        return scaled, [flag]
    flags = []
    if image.mode == "P":
        flags.append(Flag(code="F_PICTURE_PALETTE", text="palette colours were turned into RGB"))
    elif image.mode == "CMYK":
        flags.append(Flag(code="F_PICTURE_CMYK", text="CMYK inks were turned into RGB without a colour profile"))
    elif image.mode not in (*PLAIN, "LA", "La", "RGBA", "RGBa", "RGBX", "YCbCr"):
        raise InputError(
            f"{name} has pixels of a kind that is not read ({image.mode})",
            code="E_PICTURE_KIND",
            fix="Save it as grey or RGB.",
        )
    if image.mode in ("LA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        return _on_black(image, flags)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L")), flags
    return np.asarray(image.convert("RGB")), flags


def _grey_16(image: Image.Image) -> tuple[NDArray[np.uint16], list[Flag]]:
    """16-bit grey. Pillow leaves TIFF's "white is zero" as it is, unlike with 8 bits."""
    values = np.asarray(image).astype(np.uint16)
    tags = getattr(image, "tag_v2", {})
    if tags.get(PHOTOMETRIC) != WHITE_IS_ZERO:
        return values, []
    most = (1 << int(tags.get(BITS_PER_SAMPLE, (16,))[0])) - 1
    return (most - np.minimum(values, most)).astype(np.uint16), [
        Flag(
            code="F_PICTURE_INVERTED", text="the file stores white as zero; it was inverted, so that brighter is larger"
        )
    ]


def _on_black(image: Image.Image, flags: list[Flag]) -> tuple[NDArray[np.uint8], list[Flag]]:
    """Lay a transparent picture on black, and say so unless all of it is opaque."""
    grey = image.mode in ("L", "LA", "La", "1")
    layers = image.convert("RGBA")
    alpha = layers.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return np.asarray(layers.convert("L" if grey else "RGB")), flags
    below = Image.new("RGB", image.size)
    below.paste(layers.convert("RGB"), mask=alpha)
    flag = Flag(code="F_PICTURE_ALPHA", text="the picture is transparent in places; it was laid on black")
    return np.asarray(below.convert("L") if grey else below), [*flags, flag]
