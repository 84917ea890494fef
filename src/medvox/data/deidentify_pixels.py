"""May the pixels of a DICOM file go out? Writing in them is looked for, hidden bits are cleared, documents are refused.

Between ``dicom_pixels`` and ``deidentify``. Nothing is painted over: a file whose pixels may identify is held back.
Knows no folder.

Source: DICOM PS3.15 E.1.1 note 5 and E.3.1 (burned-in identification), PS3.5 8.1.2 (overlays in unused bits of pixels).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from medvox.data.burned_in import Grey, written_lines
from medvox.data.dicom_header import Header, header_of
from medvox.data.dicom_pixels import StoredFrames, stored_frames
from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.errors import InputError, MedvoxError

MAX_SEARCHED = 16  # frames of one object, evenly spread; annotations rarely last less
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
NATIVE = {
    "1.2.840.10008.1.2": "<",
    "1.2.840.10008.1.2.1": "<",
    "1.2.840.10008.1.2.1.99": "<",
    "1.2.840.10008.1.2.2": ">",
}
SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
VOICE = "1.2.840.10008.5.1.4.1.1.9.4."
# Kinds of object that usually carry writing: secondary captures and ultrasound (retired ones too), by SOP class.
WRITTEN_CLASSES = ("1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.4.1.1.3")
WRITTEN_MODALITIES = frozenset({"US", "SC", "OT", "ES", "XC", "HC", "DOC", "BDUS", "EPS", "ECG"})


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelCheck:
    """What was looked at, and why the pixels must stay (nothing: they may go)."""

    reasons: tuple[str, ...]
    frames: int
    searched: int


def declared_writing(dataset: Dataset) -> tuple[str, ...]:
    """Reasons in the header alone to expect identifying writing in the pixels. No decoding."""
    burned_in, sop_class = _text(dataset, "BurnedInAnnotation").upper(), _text(dataset, "SOPClassUID")
    image_type = {part.strip().upper() for part in _text(dataset, "ImageType").strip("[]").replace("'", "").split(",")}
    reasons = []
    if burned_in == "YES":
        reasons.append("its header says that text is burned in")
    if sop_class == SLIDE and image_type & {"LABEL", "OVERVIEW"}:
        reasons.append("it is the label or the overview of a slide")
    written = any(sop_class == known or sop_class.startswith(f"{known}.") for known in WRITTEN_CLASSES)
    written |= _text(dataset, "Modality").upper() in WRITTEN_MODALITIES or bool(_text(dataset, "ConversionType"))
    if written and burned_in not in ("NO", "YES"):
        reasons.append("it is a capture, a photograph or an ultrasound that does not say it is free of text")
    return tuple(reasons)


def check_pixels(dataset: Dataset, path: Path, *, limits: Limits = DEFAULT_LIMITS) -> PixelCheck:
    """Look for reasons to hold a file back: what its header declares, and lines of writing in its frames.

    ``BurnedInAnnotation`` NO is never believed alone: the frames are searched all the same. Tissue frames of slides and
    segmentations are not searched.

    Raises:
        InputError: there is a document (``E_DEID_DOCUMENT``) or a voice (``E_DEID_VOICE``) inside, or the pixels cannot
            be decoded and so not be searched (``E_DEID_PIXELS_UNCHECKED``).
    """
    sop_class = _text(dataset, "SOPClassUID")
    if "EncapsulatedDocument" in dataset:
        raise _held(path, "holds a document, which cannot be searched", "E_DEID_DOCUMENT")
    if sop_class.startswith(VOICE):
        raise _held(path, "holds sound, and voices identify", "E_DEID_VOICE")
    if not any(keyword in dataset for keyword in PIXELS):
        return PixelCheck(reasons=(), frames=0, searched=0)
    reasons = list(declared_writing(dataset))
    try:
        header = header_of(dataset, path)
        frames = max(1, header.frames)
        chosen = [] if sop_class == SLIDE or sop_class in SEGMENTATIONS else _spread(frames)
        for number in chosen:
            found = stored_frames(dataset, header, first=number, count=1, limits=limits)
            if any(written_lines(grey) for grey in _greys(found, dataset, header)):
                reasons.append(f"writing was found in frame {number + 1}")
                break
    except MedvoxError as error:
        raise _held(path, f"has pixels that cannot be searched ({error.code})", "E_DEID_PIXELS_UNCHECKED") from error
    return PixelCheck(reasons=tuple(reasons), frames=frames, searched=len(chosen))


def clean_pixel_data(dataset: Dataset, path: Path) -> bytes | None:
    """The pixel data to write where it must differ from the file's; None where it can stay as it is.

    Bytes after the last pixel go, and so do overlays in the bits above BitsStored.

    Raises:
        InputError: overlays lie in compressed pixels (``E_DEID_OVERLAY_BITS``).
    """
    if "PixelData" not in dataset:
        return None
    positions = [tag for tag in list(dataset.keys()) if tag.element == 0x0102 and 0x6000 <= tag.group <= 0x601E]
    embedded = any(_whole(dataset, tag) > 0 for tag in positions)
    order = NATIVE.get(str(dataset.file_meta.TransferSyntaxUID))
    if order is None:
        if embedded:
            raise _held(path, "has overlays inside compressed pixels", "E_DEID_OVERLAY_BITS")
        return None
    data = bytes(dataset.PixelData)
    header = header_of(dataset, path)
    samples = header.rows * header.columns * max(1, header.frames) * header.samples_per_pixel
    if header.photometric == "YBR_FULL_422":
        samples = samples * 2 // 3
    size = (samples * header.bits_allocated + 7) // 8
    cleaned = data[:size]
    if embedded:
        cleaned = _without_spare_bits(cleaned, header, order)
    cleaned += b"\0" * (size % 2)
    return None if cleaned == data else cleaned


def _without_spare_bits(data: bytes, header: Header, order: str) -> bytes:
    kind = "i" if header.signed else "u"
    words: NDArray[Any] = np.frombuffer(data, dtype=f"{order}{kind}{header.bits_allocated // 8}")
    spare = header.bits_allocated - header.bits_stored
    shifted = np.left_shift(words, spare)
    return np.right_shift(shifted, spare).astype(words.dtype).tobytes()


def _spread(frames: int) -> list[int]:
    """Up to ``MAX_SEARCHED`` frame numbers, the first and the last among them."""
    return sorted({round(number) for number in np.linspace(0, frames - 1, min(frames, MAX_SEARCHED))})


def _greys(found: StoredFrames, dataset: Dataset, header: Header) -> list[Grey]:
    """8-bit pictures of a decoded frame: brightest and darkest channel of colours, and the bits that are not shown."""
    frame = found.values[0]
    pictures = [frame.max(axis=-1), frame.min(axis=-1)] if frame.ndim == 3 else [frame]
    order = NATIVE.get(header.transfer_syntax)
    if found.stray_bits and order and header.frames <= 1 and header.samples_per_pixel == 1:
        words = np.frombuffer(bytes(dataset.PixelData)[: frame.size * (header.bits_allocated // 8)], f"{order}u2")
        pictures += [words.reshape(frame.shape) >> header.bits_stored] if header.bits_allocated == 16 else []
    return [_eight_bits(picture) for picture in pictures]


def _eight_bits(picture: NDArray[Any]) -> Grey:
    """Grey levels over the range of values that occur, without the rarest at both ends."""
    values = np.nan_to_num(picture.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = np.percentile(values, (0.5, 99.8))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (255 / (high - low) if high > low else 0.0)
    return scaled.clip(0, 255).astype(np.uint8)


def _held(path: Path, why: str, code: str) -> InputError:
    return InputError(
        f"{path.name} {why}", code=code, fix="Leave the file out, or clean it by hand before it goes out."
    )


def _whole(dataset: Dataset, tag: int) -> int:
    try:
        return int(dataset[tag].value or 0)
    except Exception:  # parsed on access; a position that cannot be read may be inside the pixels
        return 1


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "").strip()
    except Exception:  # parsed on access; what cannot be read declares nothing
        return ""
