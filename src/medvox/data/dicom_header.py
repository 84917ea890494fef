"""One DICOM file's header as plain facts: what is needed to group, order and judge slices.

First step of ``data/dicom.py``. Reads no pixels, makes no decision about a series, keeps no patient text.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, config, dcmread

from medvox.errors import InputError

PREAMBLE_BYTES = 132  # 128 free bytes, then DICM (PS3.10 section 7.1)
META_BYTES = 4096  # more than any file meta group needs
DEFLATED = b"1.2.840.10008.1.2.1.99"  # pydicom inflates the whole data set before it can stop at the pixels

WANTED = [
    "AcquisitionNumber", "BitsAllocated", "BitsStored", "Columns", "HighBit", "ImageOrientationPatient",
    "ImagePositionPatient", "ImageType", "InstanceNumber", "Modality", "NumberOfFrames", "PhotometricInterpretation",
    "PixelPaddingRangeLimit", "PixelPaddingValue", "PixelRepresentation", "PixelSpacing", "RescaleIntercept",
    "RescaleSlope", "RescaleType", "Rows", "SamplesPerPixel", "SeriesDescription", "SeriesInstanceUID",
    "SliceThickness", "SOPClassUID",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """Facts of one image file. Absent or unreadable values are None (text: empty); nothing is filled in.

    ``orientation`` is ImageOrientationPatient, ``position_mm`` ImagePositionPatient, ``pixel_spacing_mm`` the distance
    between rows and between columns. Numbers that are present but not finite stay as they are, for the judge to see.
    """

    path: Path
    size_bytes: int
    transfer_syntax: str
    sop_class: str
    series_uid: str
    modality: str
    description: str
    image_type: tuple[str, ...]
    acquisition: int | None
    instance: int | None
    rows: int
    columns: int
    frames: int
    samples_per_pixel: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    padding: tuple[int, int] | None
    orientation: tuple[float, ...] | None
    position_mm: tuple[float, ...] | None
    pixel_spacing_mm: tuple[float, ...] | None
    slice_thickness_mm: float | None
    slope: float | None
    intercept: float | None
    rescale_type: str


def unreadable(name: str, why: str) -> InputError:
    """The error for a file that is not DICOM or whose structure is broken."""
    return InputError(
        f"{name} cannot be read as DICOM: {why}",
        code="E_DICOM_UNREADABLE",
        fix="Check that the file is a complete DICOM file; export or copy it again.",
    )


def read_header(path: Path) -> Header:
    """Read the header of one file, without its pixels.

    Raises:
        InputError: the file is not DICOM (``E_DICOM_UNREADABLE``) or is compressed as a whole (``E_DICOM_CODEC``).
    """
    check_start(path)
    try:
        with quiet_pydicom():
            dataset = dcmread(path, stop_before_pixels=True, specific_tags=list(WANTED))
            return header_of(dataset, path)
    except Exception as error:  # pydicom documents one parse error; damaged files raise at least ten other kinds
        raise unreadable(path.name, f"the header is damaged ({type(error).__name__})") from error


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom from warning and logging: it quotes values of the file, and our own flags judge what matters."""
    before = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.reading_validation_mode = before


def check_start(path: Path) -> None:
    """Look at the first bytes: a DICOM file with a data set that can be read in part.

    Raises:
        InputError: see :func:`read_header`.
    """
    try:
        with path.open("rb") as file:
            start = file.read(META_BYTES)
    except OSError as error:
        raise unreadable(path.name, f"the file cannot be opened ({type(error).__name__})") from error
    if len(start) < PREAMBLE_BYTES or start[128:PREAMBLE_BYTES] != b"DICM":
        raise unreadable(path.name, "no DICM mark after the first 128 bytes")
    if DEFLATED in start:
        raise InputError(
            f"{path.name} uses the deflated transfer syntax, which medvox does not open",
            code="E_DICOM_CODEC",
            fix="Convert it to Explicit VR Little Endian first, for example with: dcmconv +te IN OUT",
        )


def header_of(dataset: Dataset, path: Path) -> Header:
    """The facts of a parsed data set that was read from ``path``."""
    bits_allocated = _whole(dataset, "BitsAllocated") or 0
    bits_stored = _whole(dataset, "BitsStored") or bits_allocated
    high_bit = _whole(dataset, "HighBit")
    return Header(
        path=path,
        size_bytes=path.stat().st_size,
        transfer_syntax=str(getattr(dataset.file_meta, "TransferSyntaxUID", "")),
        sop_class=_text(dataset, "SOPClassUID"),
        series_uid=_text(dataset, "SeriesInstanceUID"),
        modality=_text(dataset, "Modality"),
        description=_text(dataset, "SeriesDescription"),
        image_type=tuple(str(part) for part in _values(dataset, "ImageType")),
        acquisition=_whole(dataset, "AcquisitionNumber"),
        instance=_whole(dataset, "InstanceNumber"),
        rows=_whole(dataset, "Rows") or 0,
        columns=_whole(dataset, "Columns") or 0,
        frames=_whole(dataset, "NumberOfFrames") or 1,
        samples_per_pixel=_whole(dataset, "SamplesPerPixel") or 1,
        photometric=_text(dataset, "PhotometricInterpretation"),
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        high_bit=bits_stored - 1 if high_bit is None else high_bit,
        signed=_whole(dataset, "PixelRepresentation") == 1,
        padding=_padding(dataset),
        orientation=_numbers(dataset, "ImageOrientationPatient", 6),
        position_mm=_numbers(dataset, "ImagePositionPatient", 3),
        pixel_spacing_mm=_numbers(dataset, "PixelSpacing", 2),
        slice_thickness_mm=_number(dataset, "SliceThickness"),
        slope=_number(dataset, "RescaleSlope"),
        intercept=_number(dataset, "RescaleIntercept"),
        rescale_type=_text(dataset, "RescaleType").upper(),
    )


def _values(dataset: Dataset, keyword: str) -> Sequence[object]:
    """The values of an element as a sequence; empty when absent or when its text does not parse."""
    try:
        value = dataset.get(keyword)
    except Exception:  # a value that breaks its own representation counts as absent, whatever pydicom raises for it
        return ()
    if value is None or value == "":
        return ()
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return (value,)
    return value


def _text(dataset: Dataset, keyword: str) -> str:
    values = _values(dataset, keyword)
    return str(values[0]).strip() if values else ""


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    values = _values(dataset, keyword)
    if not values:
        return None
    try:
        numbers = tuple(float(str(value)) for value in values)
    except ValueError:
        return (math.nan,) * count
    return numbers if len(numbers) == count else (math.nan,) * count


def _number(dataset: Dataset, keyword: str) -> float | None:
    numbers = _numbers(dataset, keyword, 1)
    return None if numbers is None else numbers[0]


def _whole(dataset: Dataset, keyword: str) -> int | None:
    number = _number(dataset, keyword)
    return int(number) if number is not None and math.isfinite(number) else None


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    """Lowest and highest stored value that stands for "no data" (PS3.3 C.7.5.1.1.2), or None."""
    value = _whole(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = _whole(dataset, "PixelPaddingRangeLimit")
    limit = value if limit is None else limit
    return (min(value, limit), max(value, limit))
