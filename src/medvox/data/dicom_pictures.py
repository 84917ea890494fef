"""DICOM images without a place in space (X-ray, ultrasound, captures, photographs) -> Pictures, brighter = larger.

First step of the path for pictures; ``encode/xray.py`` is next. Keeps the full dynamic range: no window is applied. A
linear rescale changes nothing but the sign of such a range, so stored values are kept; lookup tables are applied. Knows
no model and no series order.

Source: DICOM PS3.3 C.7.6.3 (image pixel), C.11.1 (modality LUT), C.8.11.3 (DX image), C.8.5.5 (ultrasound regions),
10.7.1 (pixel spacing).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from medvox.data.dicom_colour import rgb_from_palette
from medvox.data.dicom_file import quiet_pydicom, read_content, read_dataset, syntax_was_inferred
from medvox.data.dicom_header import Header, header_of
from medvox.data.dicom_pixels import StoredFrames, stored_frames, wrong_format
from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.data.picture import UINT16_MAX, Picture, check_picture_size, scaled_to_uint16
from medvox.data.volume import Series, Source
from medvox.errors import InputError
from medvox.types import Flag, Progress, no_progress

PROJECTION = {"CR", "DX", "MG", "XA", "RF", "IO", "PX"}
LATERALITIES = {"R", "L", "B", "U"}
TISSUE, TWO_D, CENTIMETRES = 1.0, 1.0, 3.0  # RegionDataType, RegionSpatialFormat, PhysicalUnits
DATES = (  # where the time of acquisition stands, the best one first
    ("AcquisitionDateTime", ""),
    ("AcquisitionDate", "AcquisitionTime"),
    ("ContentDate", "ContentTime"),
    ("SeriesDate", "SeriesTime"),
    ("StudyDate", "StudyTime"),
)
DATE_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)?(\d\d)?(?:\.\d{1,6})?)?(?:[+-]\d{4})?")


def read_pictures(
    path_or_series: Path | Series, *, limits: Limits = DEFAULT_LIMITS, progress: Progress = no_progress
) -> tuple[Picture, ...]:
    """The pictures of one DICOM file, or of the files of a series: one for each frame, in the order of the files.

    Raises:
        InputError: not DICOM or damaged (see ``dicom_file``, ``dicom_pixels``), no image (``E_DICOM_NO_IMAGE``), a
            rescale or polarity that is no use (``E_DICOM_RESCALE_INVALID``, ``E_DICOM_POLARITY``), a palette or lookup
            table that is damaged (``E_DICOM_PALETTE``, ``E_DICOM_LUT``).
        BudgetError: over a limit (``E_DICOM_LIMIT``, ``E_PICTURE_LIMIT``).
    """
    files = path_or_series.files if isinstance(path_or_series, Series) else (path_or_series,)
    pictures: list[Picture] = []
    for done, path in enumerate(files, start=1):
        pictures.extend(_pictures_of(path, limits))
        progress("reading pictures", done, len(files))
    return tuple(pictures)


def _pictures_of(path: Path, limits: Limits) -> Iterator[Picture]:
    content = read_content(path, limits=limits)
    dataset = read_dataset(content, path.name, limits=limits)
    header = header_of(dataset, path)
    if header.rows < 1 or header.columns < 1:
        raise InputError(
            f"{path.name} is DICOM without an image",
            code="E_DICOM_NO_IMAGE",
            fix="Give an image: an X-ray, an ultrasound, a capture or a photograph.",
        )
    check_picture_size(path.name, header.rows, header.columns, limits)
    with quiet_pydicom():
        facts = _Facts(dataset, header)
        frames = stored_frames(dataset, header, limits=limits)
        pixels, flags = _display_values(facts, frames)
        spacing, origin, spacing_flags = facts.spacing()
        laterality, laterality_flags = facts.laterality()
        flags = (*flags, *spacing_flags, *laterality_flags, *facts.notes())
        view, acquired = facts.view(), facts.acquired()
    source = Source(name=path.name, sha256=hashlib.sha256(content).hexdigest())
    for frame in range(len(pixels)):
        yield Picture(
            pixels=pixels[frame], source=source, flags=flags, pixel_spacing_mm=spacing, spacing_origin=origin,
            modality=header.modality, view=view, laterality=laterality, frame=frame, acquired=acquired,
        )  # fmt: skip


def _display_values(facts: _Facts, frames: StoredFrames) -> tuple[NDArray[Any], tuple[Flag, ...]]:
    """Frames as (N, R, C) or (N, R, C, 3), uint8 or uint16, brighter = larger."""
    flags = list(frames.flags)
    if frames.stray_bits:
        text = f"{frames.stray_bits} pixels had bits set above BitsStored; they were masked"
        flags.append(Flag(code="F_DICOM_STRAY_BITS", text=text))
    values, header = frames.values, facts.header
    if frames.photometric == "PALETTE COLOR":
        if values.dtype.kind == "f":
            raise wrong_format(facts.name, "palette numbers must be whole")
        return rgb_from_palette(values, facts.dataset, facts.name), tuple(flags)
    if frames.photometric == "RGB":
        if values.dtype.itemsize > 1:
            values = values >> max(0, header.bits_stored - 8)
            flags.append(Flag(code="F_PICTURE_16_TO_8", text="colours with more than 8 bits were reduced to 8 bits"))
        return values.astype(np.uint8), tuple(flags)
    inverted, polarity = facts.inverted()
    shown, padded = _shown(facts, values, inverted)
    flags += polarity
    if padded:
        text = f"{padded} padded pixels (no data) were set to the darkest value"
        flags.append(Flag(code="F_DICOM_PADDING", text=text))
    if shown.dtype in (np.uint8, np.uint16):
        return shown, tuple(flags)
    scaled, flag = scaled_to_uint16(shown, facts.name)
    return scaled, (*flags, flag)


def _shown(facts: _Facts, values: NDArray[Any], inverted: bool) -> tuple[NDArray[Any], int]:
    """Grey frames with brighter = larger and padding dark, and how many pixels were padding.

    uint8 or uint16 where that holds every value, else float64.
    """
    header, lut = facts.header, facts.modality_lut()
    whole = values.dtype.kind != "f"
    bits = header.bits_stored if lut is None else lut[2]
    bits = 8 if bits == 1 else bits
    shown = np.empty(values.shape, np.float64 if not whole or bits > 16 else np.uint8 if bits <= 8 else np.uint16)
    padded = 0
    for place, frame in enumerate(values):
        grey = _grey(frame, header, lut) if whole else frame.astype(np.float64)
        if inverted:
            grey = (1 << bits) - 1 - grey if whole else -grey
        empty = _padding(frame, header)
        if empty is not None and not empty.all():
            grey[empty] = grey[~empty].min()
            padded += int(empty.sum())
        shown[place] = grey
    return shown, padded


def _grey(frame: NDArray[Any], header: Header, lut: tuple[int, NDArray[np.int64], int] | None) -> NDArray[np.int64]:
    """Whole numbers from 0: by the modality lookup table, else stored values moved above 0."""
    wide = frame.astype(np.int64)
    if lut is not None:
        first, entries, _ = lut
        return entries[np.clip(wide - first, 0, len(entries) - 1)]
    if header.bits_stored == 1:
        return wide * 255
    return wide + (1 << (header.bits_stored - 1)) if header.signed else wide


def _padding(values: NDArray[Any], header: Header) -> NDArray[np.bool_] | None:
    if header.padding is None:
        return None
    empty: NDArray[np.bool_] = (values >= header.padding[0]) & (values <= header.padding[1])
    return empty if empty.any() else None


class _Facts:
    """What one parsed file says about its pictures. Damaged elements count as absent."""

    def __init__(self, dataset: Dataset, header: Header) -> None:
        self.dataset, self.header, self.name = dataset, header, header.path.name

    def inverted(self) -> tuple[bool, list[Flag]]:
        """Whether larger stored values are darker, and what to say about it."""
        photometric, shape = self.header.photometric, _text(self.dataset, "PresentationLUTShape")
        if photometric not in ("MONOCHROME1", "MONOCHROME2"):
            raise InputError(
                f"{self.name} does not say whether large values are bright or dark (PhotometricInterpretation)",
                code="E_DICOM_POLARITY",
                fix="Export the image again; PhotometricInterpretation must be MONOCHROME1 or MONOCHROME2.",
            )
        flags: list[Flag] = []
        dark = photometric == "MONOCHROME1"
        if shape in ("INVERSE", "IDENTITY") and dark != (shape == "INVERSE"):
            text = f"{photometric} with presentation LUT shape {shape} is a contradiction; the image was inverted"
            flags.append(Flag(code="F_DICOM_POLARITY", text=text))
            dark = True
        if self._slope() < 0 and self.modality_lut() is None:
            dark = not dark
        if dark:
            flags.append(Flag(code="F_DICOM_INVERTED", text="the image was inverted, so that brighter is larger"))
        return dark, flags

    def _slope(self) -> float:
        slope = self.header.slope
        if slope is not None and (not math.isfinite(slope) or slope == 0):
            raise InputError(
                f"{self.name} has a RescaleSlope of {slope:g}",
                code="E_DICOM_RESCALE_INVALID",
                fix="Export the image again; the slope must be a number other than 0.",
            )
        return 1.0 if slope is None else slope

    def modality_lut(self) -> tuple[int, NDArray[np.int64], int] | None:
        """First value mapped, entries, and bits of an entry; None when the file has no such table."""
        if "ModalityLUTSequence" not in self.dataset:
            return None
        try:
            item = self.dataset["ModalityLUTSequence"].value[0]
            count, first, bits = (int(value) for value in item["LUTDescriptor"].value)
            count = (count & UINT16_MAX) or UINT16_MAX + 1
            first = (first & UINT16_MAX) - (((first & 0x8000) << 1) if self.header.signed else 0)
            data = item["LUTData"].value
            entries = (
                np.asarray(data, np.int64) if not isinstance(data, bytes) else _lut_words(data, count, self.dataset)
            )
            if len(entries) != count or not 8 <= bits <= 16 or entries.min() < 0 or entries.max() >= 1 << bits:
                raise ValueError("the table does not fit its descriptor")
        except Exception as error:  # a damaged element, or a table that does not fit
            raise InputError(
                f"{self.name} has a modality lookup table that is damaged ({type(error).__name__})",
                code="E_DICOM_LUT",
                fix="Export the image again.",
            ) from error
        return first, entries, bits

    def spacing(self) -> tuple[tuple[float, float] | None, str, list[Flag]]:
        """Distance between rows and between columns, where it comes from, and what to say about it."""
        stated, detector = (_pair(self.dataset, keyword) for keyword in ("PixelSpacing", "ImagerPixelSpacing"))
        projection = self.header.modality in PROJECTION or detector is not None
        if not projection:
            region = self._region_spacing()
            if region is not None:
                return region, "region", []
            return stated, "stated" if stated else "", []
        if stated is None and detector is None:
            return None, "", []
        calibrated = bool(_text(self.dataset, "PixelSpacingCalibrationType"))
        if stated and stated != detector and (calibrated or detector):
            return stated, "calibrated", []
        if stated and detector is None:
            text = "the file does not say whether its pixel spacing is that at the detector or in the body"
            return stated, "stated", [Flag(code="F_XRAY_UNCALIBRATED_SPACING", text=text)]
        text = "pixel spacing is that at the detector; structures in the body are smaller than they measure"
        return detector, "detector", [Flag(code="F_XRAY_DETECTOR_SPACING", text=text)]

    def _region_spacing(self) -> tuple[float, float] | None:
        """Spacing of the only 2-D tissue region of an ultrasound image, if there is exactly one."""
        found: list[tuple[float, float] | None] = []
        for region in _items(self.dataset, "SequenceOfUltrasoundRegions"):
            kind = (_number(region, "RegionSpatialFormat"), _number(region, "RegionDataType"))
            units = (_number(region, "PhysicalUnitsXDirection"), _number(region, "PhysicalUnitsYDirection"))
            step = (_number(region, "PhysicalDeltaY"), _number(region, "PhysicalDeltaX"))
            if kind == (TWO_D, TISSUE):
                usable = units == (CENTIMETRES, CENTIMETRES) and all(math.isfinite(part) and part for part in step)
                found.append((abs(step[0]) * 10, abs(step[1]) * 10) if usable else None)
        return found[0] if len(found) == 1 else None

    def laterality(self) -> tuple[str, list[Flag]]:
        """R, L, B or U as stated; empty when the file does not say, or says two things."""
        stated = {_text(self.dataset, keyword) for keyword in ("ImageLaterality", "Laterality")} & LATERALITIES
        for region in _items(self.dataset, "SharedFunctionalGroupsSequence"):
            for anatomy in _items(region, "FrameAnatomySequence"):
                stated |= {_text(anatomy, "FrameLaterality")} & LATERALITIES
        if len(stated) > 1:
            text = "the file states different sides in ImageLaterality and Laterality; none was taken"
            return "", [Flag(code="F_DICOM_LATERALITY_CONFLICT", text=text)]
        return next(iter(stated), ""), []

    def view(self) -> str:
        """ViewPosition, else the meaning of the view code."""
        position = _text(self.dataset, "ViewPosition")
        if position:
            return position[:16]
        return next((_text(item, "CodeMeaning")[:64] for item in _items(self.dataset, "ViewCodeSequence")), "")

    def acquired(self) -> str:
        """ISO 8601 date or date-time of the acquisition; empty when nothing usable states it."""
        for date, time in DATES:
            found = iso_date_time(_text(self.dataset, date) + (_text(self.dataset, time) if time else ""))
            if found:
                return found
        return ""

    def notes(self) -> Iterator[Flag]:
        """Flags that only the header needs."""
        if syntax_was_inferred(self.dataset):
            text = "the file does not state how it is encoded, or states it wrongly; its bytes were believed"
            yield Flag(code="F_DICOM_SYNTAX_INFERRED", text=text)
        if _text(self.dataset, "BurnedInAnnotation") == "YES":
            yield Flag(code="F_DICOM_BURNED_IN", text="text is burned into the pixels; it may identify the patient")
        if _text(self.dataset, "LossyImageCompression") == "01":
            yield Flag(code="F_DICOM_LOSSY", text="the image was compressed with loss at some time")
        if _text(self.dataset, "PresentationIntentType") == "FOR PROCESSING":
            text = "raw detector data (FOR PROCESSING), not meant to be looked at"
            yield Flag(code="F_XRAY_FOR_PROCESSING", text=text)


def _lut_words(data: bytes, count: int, dataset: Dataset) -> NDArray[np.int64]:
    """Entries of a lookup table that is stored as bytes: one for each entry, or two."""
    if len(data) == count + count % 2:
        return np.frombuffer(data, np.uint8)[:count].astype(np.int64)
    order = ">" if dataset.original_encoding[1] is False else "<"
    return np.frombuffer(data, f"{order}u2").astype(np.int64)


def iso_date_time(stated: str) -> str:
    """A DICOM date, or date and time, as ISO 8601 to the second; empty when it is none."""
    match = DATE_TIME.fullmatch(stated.replace(":", "").strip())
    if match is None:
        return ""
    parts = [int(part) for part in match.groups() if part is not None]
    try:
        moment = datetime(*parts)  # type: ignore[arg-type]  # year, month, day and what there is of the time
    except ValueError:
        return ""
    return moment.isoformat() if len(parts) > 3 else moment.date().isoformat()


def _value(dataset: Dataset, keyword: str) -> Any:
    try:
        return dataset.get(keyword)
    except Exception:  # a value that breaks its own representation counts as absent
        return None


def _text(dataset: Dataset, keyword: str) -> str:
    value = _value(dataset, keyword)
    if value is None or isinstance(value, bytes):
        return ""
    return str(value if isinstance(value, str) or not hasattr(value, "__getitem__") else next(iter(value), "")).strip()


def _number(dataset: Dataset, keyword: str) -> float:
    try:
        return float(_value(dataset, keyword))
    except (TypeError, ValueError):
        return math.nan


def _pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    """Two distances above 0; None when absent or unusable."""
    try:
        first, second = (float(part) for part in _value(dataset, keyword))
    except (TypeError, ValueError):
        return None
    return (first, second) if all(math.isfinite(part) and part > 0 for part in (first, second)) else None


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    value = _value(dataset, keyword)
    return (
        [item for item in value if isinstance(item, Dataset)]
        if isinstance(value, list) or hasattr(value, "append")
        else []
    )
