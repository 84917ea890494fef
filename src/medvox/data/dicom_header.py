"""One DICOM file's header as plain facts: what is needed to group, order and judge images.

First step of ``data/dicom.py``. Reads no pixels, makes no decision about a series, keeps no patient text: who the
patient is stays a hash. Frames of multi-frame files come from ``dicom_frames``.
"""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag, tag_for_keyword

from medvox.data.dicom_csa import read_csa
from medvox.data.dicom_file import quiet_pydicom, read_dataset_file, syntax_was_inferred, unreadable
from medvox.data.dicom_scan import EXPLICIT, IMPLICIT, Facts, Scan, Short, Value, decoded, scan
from medvox.data.limits import DEFAULT_LIMITS, Limits

__all__ = ["Header", "header_of", "quiet_pydicom", "read_header", "unreadable"]

FIRST_BYTES, MORE_BYTES = 32 * 1024, 512 * 1024  # hold the header of most, and of nearly all single-frame images

WANTED_VR = {  # what a header is made of, with the VR that counts where a file does not state one
    "AcquisitionDate": "DA", "AcquisitionDateTime": "DT", "AcquisitionNumber": "IS", "AcquisitionTime": "TM",
    "BitsAllocated": "US", "BitsStored": "US", "Columns": "US", "ComplexImageComponent": "CS", "ContentTime": "TM",
    "DiffusionBValue": "FD", "DiffusionGradientOrientation": "FD", "EchoNumbers": "IS", "EchoTime": "DS",
    "FrameOfReferenceUID": "UI", "HighBit": "US", "ImageOrientationPatient": "DS", "ImagePositionPatient": "DS",
    "ImageType": "CS", "InstanceNumber": "IS", "IssuerOfPatientID": "LO", "Manufacturer": "LO", "Modality": "CS",
    "NumberOfFrames": "IS", "NumberOfTemporalPositions": "IS", "PatientID": "LO", "PatientName": "PN",
    "PatientOrientation": "CS", "PatientPosition": "CS", "PhotometricInterpretation": "CS",
    "PixelPaddingRangeLimit": "US", "PixelPaddingValue": "US", "PixelRepresentation": "US", "PixelSpacing": "DS",
    "RescaleIntercept": "DS", "RescaleSlope": "DS", "RescaleType": "LO", "Rows": "US", "SamplesPerPixel": "US",
    "SeriesDescription": "LO", "SeriesInstanceUID": "UI", "SliceThickness": "DS", "SOPClassUID": "UI",
    "SOPInstanceUID": "UI", "SpacingBetweenSlices": "DS", "TemporalPositionIdentifier": "IS", "TriggerTime": "DS",
    "Units": "CS",
}  # fmt: skip
PRIVATE_VR = {  # always in the first private block; the creator element beside it is checked
    0x00190010: "LO", 0x0019100A: "US", 0x0019100C: "IS", 0x0019100E: "FD",  # Siemens: tiles, b-value, direction
    0x00290010: "LO", 0x00291010: "OB",  # Siemens: CSA image header
    0x00430010: "LO", 0x0043102F: "SS", 0x00431039: "IS",  # GE: component, b-value
    0x00650010: "LO", 0x00651009: "FD", 0x00651037: "FD", 0x00651050: "DS",  # United Imaging: b-value, direction, tiles
    0x20010010: "LO", 0x20011003: "FL",  # Philips: b-value
    0x20050010: "LO", 0x2005100E: "FL",  # Philips: scale slope
}  # fmt: skip
WANTED = {int(tag_for_keyword(name) or 0): vr for name, vr in WANTED_VR.items()} | PRIVATE_VR
TAGS = {name: int(tag_for_keyword(name) or 0) for name in WANTED_VR}
NESTED = frozenset({0x52009229, 0x52009230, 0x00409096, 0x00651051, 0x00540022})  # functional groups and the like
KEYWORDS = [keyword_for_tag(tag) or f"{tag:08x}" for tag in (*WANTED, *NESTED)] + ["SliceVector"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainPixels:
    """Uncompressed pixels that can be taken from the file as they lie: offset, length, SHA-256 of all before them."""

    at: int
    size_bytes: int
    start_sha256: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """Facts of one image file. Absent or unreadable values are None (text: empty); nothing is filled in.

    ``orientation`` is ImageOrientationPatient, ``position_mm`` ImagePositionPatient, ``pixel_spacing_mm`` the distance
    between rows and between columns. Geometry and rescale numbers that are present but not finite stay as they are, for
    the judge to see.

    Attributes:
        patient: hash of who the patient is; empty when the file does not say.
        tiles: planes in one image (Siemens mosaic, United Imaging grid); 0 when the image is one plane, -1 when the
            file does not say how many.
        tiles_normal: direction in which the planes of a mosaic follow each other.
        scale_slope: Philips' private scale slope.
        acquired: date and time of the acquisition, as written.
        inferred: the transfer syntax was concluded from the bytes.
        frame_groups: items of the per-frame functional groups; None when there are none.
        detectors: items of the detector information (nuclear medicine); None when there are none.
        plain: where plain pixels lie in the file; None when they take a parser.
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
    slice_spacing_mm: float | None = None
    sop_instance: str = ""
    frame_of_reference: str = ""
    patient: str = ""
    patient_position: str = ""
    patient_orientation: tuple[str, ...] = ()
    manufacturer: str = ""
    component: str = ""
    units: str = ""
    echo_ms: float | None = None
    echo: int | None = None
    b_value: float | None = None
    direction: tuple[float, ...] = ()
    temporal: int | None = None
    temporal_count: int | None = None
    trigger_ms: float | None = None
    acquired: str = ""
    content_time: str = ""
    tiles: int = 0
    tiles_normal: tuple[float, ...] = ()
    scale_slope: float | None = None
    inferred: bool = False
    frame_groups: int | None = None
    detectors: int | None = None
    plain: PlainPixels | None = None


def read_header(path: Path, limits: Limits = DEFAULT_LIMITS) -> Header:
    """Read the header of one file, without its pixels.

    Raises:
        InputError: the file cannot be opened or is not DICOM (``E_DICOM_UNREADABLE``).
        BudgetError: over a limit (``E_DICOM_LIMIT``).
    """
    found, size = first_look(path)
    if found is not None:
        return header_from_scan(found, path, size)
    return header_of(read_dataset_file(path, specific_tags=KEYWORDS, limits=limits), path)


def first_look(path: Path) -> tuple[Scan | None, int]:
    """Scan the first bytes of a file, mostly with one read; also the size of the file.

    Raises:
        InputError: the file cannot be opened (``E_DICOM_UNREADABLE``).
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe must not block
        try:
            size = os.fstat(handle).st_size
            content = os.read(handle, FIRST_BYTES)
            try:
                return scan(content, WANTED, NESTED), size
            except Short:
                return _second_look(content + os.read(handle, MORE_BYTES)), size
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        raise unreadable(path.name, f"the file cannot be opened ({type(error).__name__})") from error


def _second_look(content: bytes) -> Scan | None:
    try:
        return scan(content, WANTED, NESTED)
    except Short:
        return None


def header_from_scan(found: Scan, path: Path, size: int) -> Header:
    """The facts of a file that the quick scan understood."""
    plain = None
    if found.pixels_bytes is not None and found.transfer_syntax in (EXPLICIT, IMPLICIT):
        plain = PlainPixels(at=found.pixels_at, size_bytes=found.pixels_bytes, start_sha256=found.start_sha256)
    return _header(found.facts, path, (size, found.transfer_syntax), plain=plain)


def header_of(dataset: Dataset, path: Path) -> Header:
    """The facts of a parsed data set that was read from ``path``."""
    facts = facts_of(dataset)
    nested = (_items(dataset, 0x52009230), _items(dataset, 0x00540022))
    syntax = str(getattr(dataset.file_meta, "TransferSyntaxUID", ""))
    try:
        size = path.stat().st_size
    except OSError as error:
        raise unreadable(path.name, f"the file cannot be opened ({type(error).__name__})") from error
    inferred = syntax_was_inferred(dataset)
    return _header(facts, path, (size, syntax), nested=nested, inferred=inferred)


def facts_of(dataset: Dataset) -> Facts:
    """The wanted values of a parsed data set, or of an item in one."""
    facts: Facts = {}
    with quiet_pydicom():
        for tag, vr in WANTED.items():
            values = values_in(dataset, tag, vr)
            if values:
                facts[tag] = values
    return facts


def values_in(dataset: Dataset, tag: int, vr: str) -> tuple[Value, ...]:
    """The values of one element; none when it is absent or breaks its own representation."""
    try:
        return _plain_values(dataset[tag].value, vr) if tag in dataset else ()
    except Exception:  # a damaged value raises whatever pydicom raises for it when it is looked at
        return ()


def _plain_values(value: object, vr: str) -> tuple[Value, ...]:
    """A parsed value as a tuple of text, numbers or bytes."""
    if value is None or value == "":
        return ()
    if isinstance(value, bytes):
        return decoded(vr, value)
    if isinstance(value, int | float):
        return (value,)
    if isinstance(value, str) or not hasattr(value, "__iter__") or vr == "PN":
        return (str(value).strip(" \0"),)
    return tuple(item if isinstance(item, int | float) else str(item).strip(" \0") for item in value)


def _items(dataset: Dataset, tag: int) -> int | None:
    try:
        return len(dataset[tag].value) if tag in dataset else None
    except Exception:  # a damaged sequence, see facts_of
        return 0


def _header(
    facts: Facts,
    path: Path,
    size_and_syntax: tuple[int, str],
    *,
    nested: tuple[int | None, int | None] = (None, None),
    inferred: bool = False,
    plain: PlainPixels | None = None,
) -> Header:
    bits_allocated = whole(facts, "BitsAllocated") or 0
    bits_stored = whole(facts, "BitsStored") or bits_allocated
    high_bit, frames = whole(facts, "HighBit"), whole(facts, "NumberOfFrames")
    signed = whole(facts, "PixelRepresentation") == 1
    image_type = texts(facts, "ImageType")
    tiles, normal = _tiles(facts, image_type)
    manufacturer = text(facts, "Manufacturer").upper()
    return Header(
        path=path,
        size_bytes=size_and_syntax[0],
        transfer_syntax=size_and_syntax[1],
        sop_class=text(facts, "SOPClassUID"),
        series_uid=text(facts, "SeriesInstanceUID"),
        modality=text(facts, "Modality"),
        description=text(facts, "SeriesDescription"),
        image_type=image_type,
        acquisition=whole(facts, "AcquisitionNumber"),
        instance=whole(facts, "InstanceNumber"),
        rows=whole(facts, "Rows") or 0,
        columns=whole(facts, "Columns") or 0,
        frames=1 if frames is None else frames,
        samples_per_pixel=whole(facts, "SamplesPerPixel") or 1,
        photometric=text(facts, "PhotometricInterpretation"),
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        high_bit=bits_stored - 1 if high_bit is None else high_bit,
        signed=signed,
        padding=_padding(facts, signed),
        orientation=numbers(facts, "ImageOrientationPatient", 6),
        position_mm=numbers(facts, "ImagePositionPatient", 3),
        pixel_spacing_mm=numbers(facts, "PixelSpacing", 2),
        slice_thickness_mm=finite(facts, "SliceThickness"),
        slice_spacing_mm=finite(facts, "SpacingBetweenSlices"),
        slope=number(facts, "RescaleSlope"),
        intercept=number(facts, "RescaleIntercept"),
        rescale_type=text(facts, "RescaleType").upper(),
        sop_instance=text(facts, "SOPInstanceUID"),
        frame_of_reference=text(facts, "FrameOfReferenceUID"),
        patient=_patient(facts),
        patient_position=text(facts, "PatientPosition"),
        patient_orientation=texts(facts, "PatientOrientation"),
        manufacturer=manufacturer,
        component=text(facts, "ComplexImageComponent") or _ge_component(facts),
        units=text(facts, "Units"),
        echo_ms=finite(facts, "EchoTime"),
        echo=whole(facts, "EchoNumbers"),
        b_value=b_value_of(facts),
        direction=numbers(facts, "DiffusionGradientOrientation", 3)
        or private(facts, 0x0019100E, "SIEMENS")
        or private(facts, 0x00651037, "IMAGE PRIVATE"),
        temporal=whole(facts, "TemporalPositionIdentifier"),
        temporal_count=whole(facts, "NumberOfTemporalPositions"),
        trigger_ms=finite(facts, "TriggerTime"),
        acquired=text(facts, "AcquisitionDateTime") or text(facts, "AcquisitionDate") + text(facts, "AcquisitionTime"),
        content_time=text(facts, "ContentTime"),
        tiles=tiles,
        tiles_normal=normal,
        scale_slope=next(iter(private(facts, 0x2005100E, "PHILIPS")), None),
        inferred=inferred,
        frame_groups=nested[0],
        detectors=nested[1],
        plain=plain,
    )


def texts(facts: Facts, name: str) -> tuple[str, ...]:
    """The values of an element as text."""
    return tuple(str(value) for value in facts.get(TAGS[name], ()))


def text(facts: Facts, name: str) -> str:
    """The first value of an element as text; empty when absent."""
    values = facts.get(TAGS[name], ())
    return str(values[0]).strip() if values else ""


def numbers(facts: Facts, name: str, count: int) -> tuple[float, ...] | None:
    """The values of an element as numbers; NaN when they are no numbers or not as many as there must be."""
    values = facts.get(TAGS[name])
    if not values:
        return None
    try:
        found = tuple(float(value) for value in values)
    except ValueError:
        return (math.nan,) * count
    return found if len(found) == count else (math.nan,) * count


def number(facts: Facts, name: str) -> float | None:
    """The one value of an element as a number."""
    found = numbers(facts, name, 1)
    return None if found is None else found[0]


def finite(facts: Facts, name: str) -> float | None:
    """The one value of an element as a number; None when it is not finite."""
    found = number(facts, name)
    return found if found is not None and math.isfinite(found) else None


def whole(facts: Facts, name: str) -> int | None:
    """The one value of an element as a whole number."""
    found = finite(facts, name)
    return None if found is None else int(found)


def private(facts: Facts, tag: int, creator: str) -> tuple[float, ...]:
    """Finite numbers of a private element in the block of a vendor; empty when there are none."""
    owner = str(next(iter(facts.get(tag & 0xFFFF0000 | 0x10, ())), "")).upper()
    if not owner.startswith(creator):
        return ()
    try:
        found = tuple(float(value) for value in facts.get(tag, ()))
    except ValueError:
        return ()
    return found if all(map(math.isfinite, found)) else ()


def b_value_of(facts: Facts) -> float | None:
    """Diffusion b-value in s/mm2: the standard element, else the vendors' private ones."""
    stated = finite(facts, "DiffusionBValue")
    if stated is not None:
        return stated
    vendors = ((0x0019100C, "SIEMENS"), (0x20011003, "PHILIPS"), (0x00651009, "IMAGE PRIVATE"), (0x00431039, "GEMS"))
    for tag, creator in vendors:
        found = private(facts, tag, creator)
        if found:
            return found[0] % 1e5 if creator == "GEMS" else found[0]  # GE adds flags above 100,000
    return None


def _ge_component(facts: Facts) -> str:
    found = private(facts, 0x0043102F, "GEMS")
    return {1.0: "PHASE", 2.0: "REAL", 3.0: "IMAGINARY"}.get(found[0], "") if found else ""


def _patient(facts: Facts) -> str:
    """Hash of the patient's identity, in a form that spelling habits do not change."""
    parts = [text(facts, name).upper().rstrip("^ ") for name in ("PatientID", "PatientName", "IssuerOfPatientID")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16] if any(parts) else ""


def _tiles(facts: Facts, image_type: tuple[str, ...]) -> tuple[int, tuple[float, ...]]:
    """How many planes are laid side by side in one image, and in which direction they follow each other."""
    if "MOSAIC" in image_type:
        blobs = facts.get(0x00291010, (b"",))
        csa = read_csa(
            blobs[0] if isinstance(blobs[0], bytes) else b"", ("NumberOfImagesInMosaic", "SliceNormalVector")
        )
        count = private(facts, 0x0019100A, "SIEMENS") or csa.get("NumberOfImagesInMosaic", ())
        normal = csa.get("SliceNormalVector", ())
        return _count(count), normal if len(normal) == 3 else ()
    if "VFRAME" in image_type:
        return _count(private(facts, 0x00651050, "IMAGE PRIVATE")), ()
    return 0, ()


def _count(numbers: tuple[float, ...]) -> int:
    return int(numbers[0]) if numbers and numbers[0] >= 1 else -1


def _padding(facts: Facts, signed: bool) -> tuple[int, int] | None:
    """Lowest and highest stored value that stands for "no data" (PS3.3 C.7.5.1.1.2), or None."""
    value, limit = whole(facts, "PixelPaddingValue"), whole(facts, "PixelPaddingRangeLimit")
    if value is None:
        return None
    ends = [end - 0x10000 if signed and end > 0x7FFF else end for end in (value, value if limit is None else limit)]
    return (min(ends), max(ends))
