"""What a DICOM object can be read as, by its SOP class: volume, pictures, slide, document, or something else.

Used by the series builder in ``data``. Knows headers only.

Source: DICOM PS3.4 annex B.5 and PS3.6 annex A (storage classes).
"""

from __future__ import annotations

from medvox.data.dicom_header import Header
from medvox.data.volume import SeriesKind

STORAGE = "1.2.840.10008.5.1.4.1.1."
NM_IMAGE = STORAGE + "20"
CT_IMAGES = {STORAGE + number for number in ("2", "2.1", "2.2")}
PARAMETRIC_MAP = STORAGE + "30"
DICOMDIR = "1.2.840.10008.1.3.10"

MODALITIES = {  # storage class of images with a place in space -> the Modality that it must have
    **{STORAGE + number: "CT" for number in ("2", "2.1", "2.2")},
    **{STORAGE + number: "MR" for number in ("4", "4.1", "4.4")},
    **{STORAGE + number: "PT" for number in ("128", "128.1", "130")},
    STORAGE + "20": "NM",
}
MULTIFRAME = {STORAGE + number for number in ("2.1", "2.2", "4.1", "4.4", "128.1", "130", "30")}
CAPTURES = {STORAGE + "7", *(f"{STORAGE}7.{number}" for number in range(1, 5))}
SLIDES = {STORAGE + "77.1.6"}
DOCUMENTS = {STORAGE + "104.1", STORAGE + "104.2"}  # encapsulated PDF and CDA
PICTURES = (
    "1",
    "3",
    "5",
    "6",
    "7",
    "12",
    "13.1",
    "77.1",
)  # radiographs, ultrasound, captures, angiography, photographs
OTHERS = {  # recognised, not read: prefix -> what it is called in messages
    "66": "segmentation or registration", "88": "structured report", "11": "presentation state",
    "481": "radiotherapy object", "9": "waveform", "104": "encapsulated model", "77.1.5.5": "stereometric relation",
    "91": "microscopy annotations", "67": "real world value mapping", "68": "surface scan", "4.2": "MR spectroscopy",
}  # fmt: skip


def kind_of(header: Header) -> SeriesKind:
    """What the images of a file are. Classes that are not known go by whether they have a place in space."""
    uid = header.sop_class
    if uid in SLIDES:
        return "slide"
    if uid in DOCUMENTS:
        return "document"
    if uid == NM_IMAGE:
        return "volume" if header.orientation or "RECON TOMO" in header.image_type else "pictures"
    if uid in MODALITIES or uid == PARAMETRIC_MAP:
        return "volume"
    if not header.rows or not header.columns or _below(uid, OTHERS):
        return "other"
    placed = header.orientation is not None or header.position_mm is not None or bool(header.frame_groups)
    if uid in CAPTURES:
        return "volume" if placed and header.photometric.startswith("MONOCHROME") else "pictures"
    if _below(uid, PICTURES):
        return "pictures"
    return "volume" if placed or header.modality == "CT" else "pictures"


def name_of(header: Header) -> str:
    """What a file of kind ``other`` is called."""
    found = _below(header.sop_class, OTHERS)
    return OTHERS[found] if found else "object without an image"


def _below(uid: str, numbers: tuple[str, ...] | dict[str, str]) -> str:
    """The number below which a storage class lies; empty when there is none."""
    if not uid.startswith(STORAGE):
        return ""
    rest = uid[len(STORAGE) :]
    return next((number for number in numbers if rest == number or rest.startswith(number + ".")), "")
