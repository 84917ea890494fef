"""Files to series: group their planes, put them in order, and give each part its verdict.

Fourth step of ``data/dicom.py``. Sees headers only, never pixels. Checks are in ``dicom_checks`` and ``dicom_stack``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from medvox.data.affine import spacing_of
from medvox.data.dicom_checks import IMAGE_CHECKS, PLACED_CHECKS, place_problem, size_problem
from medvox.data.dicom_file import read_content
from medvox.data.dicom_frames import Plane
from medvox.data.dicom_header import Header
from medvox.data.dicom_kind import PARAMETRIC_MAP, kind_of, name_of
from medvox.data.dicom_pixels import codec_problem
from medvox.data.dicom_split import Arrangement, Part, arrange, split
from medvox.data.dicom_stack import stack_geometry
from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.data.volume import Series, Verdict
from medvox.types import Affine, Flag

File = tuple[Header, tuple[Plane, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class DicomSeries(Series):
    """A series as ``find_study`` gives it: with its planes in order, volume by volume, and a name for each volume."""

    planes: tuple[tuple[Plane, ...], ...] = field(default=(), repr=False, compare=False)
    moments: tuple[str, ...] = ()


def group_files(files: Iterable[File]) -> list[list[File]]:
    """Group by SeriesInstanceUID; files without one are grouped by what they show."""
    groups: dict[tuple[object, ...], list[File]] = {}
    for file in files:
        header = file[0]
        key = (header.series_uid,) if header.series_uid else ("", *_content_key(header))
        groups.setdefault(key, []).append(file)
    return list(groups.values())


def series_of(files: Sequence[File], limits: Limits = DEFAULT_LIMITS) -> tuple[list[DicomSeries], list[Header]]:
    """The parts of one SeriesInstanceUID with their verdicts, and the exact copies that were left out."""
    kept, dropped = drop_copies(files, limits)
    uid = kept[0][0].series_uid or _made_up_uid([header for header, _ in kept])
    planes = [plane for _, planes in kept for plane in planes]
    series = [_judge(part, uid, limits) for part in split(planes)] if planes else []
    blank = [header for header, planes in kept if not planes]
    if blank:
        series.append(_without_image(blank, uid))
    if dropped:
        text = f"{len(dropped)} exact copies of other files were left out"
        copies = Flag(code="F_DICOM_COPIES_DROPPED", text=text)
        series = [with_flags(item, (copies,)) for item in series]
    return [replace(item, part=number, parts=len(series)) for number, item in enumerate(series, start=1)], dropped


def verdict_of(flags: Sequence[Flag]) -> Verdict:
    """``refuse`` when any flag is an error, ``flagged`` when there is any other, else ``accept``."""
    if any(flag.code.startswith("E_") for flag in flags):
        return "refuse"
    return "flagged" if flags else "accept"


def drop_copies(files: Sequence[File], limits: Limits) -> tuple[list[File], list[Header]]:
    """Split off files that are byte for byte the same as an earlier one. Hashes only files with the same header."""
    same_header: dict[object, list[Header]] = {}
    for header, _ in files:
        key = (header.sop_instance, header.instance, header.position_mm, header.size_bytes, header.content_time)
        same_header.setdefault(key, []).append(header)
    dropped: list[Header] = []
    for rivals in same_header.values():
        if len(rivals) == 1:
            continue
        seen: set[bytes] = set()
        for header in rivals:
            digest = hashlib.sha256(read_content(header.path, limits=limits)).digest()
            if digest in seen:
                dropped.append(header)
            seen.add(digest)
    copies = {header.path for header in dropped}
    return [file for file in files if file[0].path not in copies], dropped


def voxel_dtype(planes: Sequence[Plane]) -> np.dtype[np.generic]:
    """Smallest of int16, uint16, int32 that holds every possible value; float32 where values are fractions.

    Decided by the headers alone, so that it does not depend on what a scan shows. CT is int16: see ``dicom_values``.
    """
    if planes[0].header.modality == "CT":
        return np.dtype(np.int16)
    low, high = 0.0, 0.0
    for plane in planes:
        slope, intercept = plane.mapping.slope or 0.0, plane.mapping.intercept or 0.0
        header = plane.header
        if not (slope.is_integer() and intercept.is_integer()) or _holds_fractions(header):
            return np.dtype(np.float32)
        bits = min(header.bits_stored, 64)  # a number of bits that lies is refused with the pixels
        ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if header.signed else (0, 2**bits - 1)
        values = [end * slope + intercept for end in ends]
        low, high = min(low, *values), max(high, *values)
    for kind in (np.int16, np.uint16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float32)


def _holds_fractions(header: Header) -> bool:
    return header.sop_class == PARAMETRIC_MAP and header.bits_allocated in (32, 64)


def _content_key(header: Header) -> tuple[object, ...]:
    """What files of one series share when they carry no UID."""
    orientation = None if header.orientation is None else tuple(round(value, 3) for value in header.orientation)
    spacing = None if header.pixel_spacing_mm is None else tuple(round(value, 4) for value in header.pixel_spacing_mm)
    return (header.modality, header.image_type, header.acquisition, orientation, header.rows, header.columns, spacing)


def _made_up_uid(headers: Sequence[Header]) -> str:
    """A name for a series without UID: a hash of what it shows, so that moving the folder does not change it."""
    facts = sorted(repr((_content_key(header), header.position_mm, header.instance)) for header in headers)
    return "nouid-" + hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def with_flags(series: DicomSeries, flags: tuple[Flag, ...]) -> DicomSeries:
    """The series with more flags, and the verdict that follows from them."""
    told = (*series.flags, *flags)
    return replace(series, flags=told, verdict=verdict_of(told))


def _identity_flags(header: Header, apart: Sequence[str]) -> Iterator[Flag]:
    if not header.series_uid:
        text = "SeriesInstanceUID missing; files were grouped by what they show"
        yield Flag(code="F_DICOM_UID_MISSING", text=text)
    if not header.sop_class:
        text = f"SOPClassUID missing; Modality {header.modality or '(none)'} is all that says what the files are"
        yield Flag(code="F_DICOM_SOP_CLASS_MISSING", text=text)
    if apart:
        text = f"one of several parts of its SeriesInstanceUID, which differ in {', '.join(apart)}"
        yield Flag(code="F_DICOM_SPLIT", text=text)


def _judge(part: Part, uid: str, limits: Limits) -> DicomSeries:
    kind = kind_of(part.planes[0].header)
    return _volume_series(part, uid, limits) if kind == "volume" else _flat_series(part, uid)


def _headers(planes: Iterable[Plane]) -> list[Header]:
    """The files of planes, each once, in the order of the planes."""
    return list({plane.header.path: plane.header for plane in planes}.values())


def _volume_series(part: Part, uid: str, limits: Limits) -> DicomSeries:
    planes, headers = part.planes, _headers(part.planes)
    flags = list(_identity_flags(headers[0], part.apart))
    flags.extend(flag for check in IMAGE_CHECKS if (flag := check(planes, headers)))
    unplaced = place_problem(planes, headers)
    arrangement = Arrangement(volumes=(), moments=(), flags=(unplaced,) if unplaced else ())
    affine: Affine | None = None
    if not unplaced:
        flags.extend(flag for check in PLACED_CHECKS if (flag := check(planes, headers)))
        arrangement = arrange(planes)
    flags.extend(arrangement.flags)
    if arrangement.volumes:
        affine, told = stack_geometry(arrangement.volumes)
        flags.extend(told)
    volume_bytes = len(planes) * planes[0].rows * planes[0].columns * voxel_dtype(planes).itemsize
    too_large = size_problem(volume_bytes, max(header.frames for header in headers), limits)
    flags.extend([too_large] if too_large else [])
    ordered = [plane for volume in arrangement.volumes for plane in volume] or planes
    volumes = max(1, len(arrangement.volumes))
    return DicomSeries(
        uid=uid,
        modality=headers[0].modality,
        description=headers[0].description,
        shape=(len(planes) // volumes, planes[0].rows, planes[0].columns),
        spacing_mm=None if affine is None else spacing_of(affine),
        affine_lps=affine,
        verdict=verdict_of(flags),
        flags=tuple(flags),
        files=tuple(header.path for header in _headers(ordered)),
        volumes=volumes,
        planes=arrangement.volumes,
        moments=arrangement.moments,
    )


def _flat_series(part: Part, uid: str) -> DicomSeries:
    """Images that are no volume: pictures, slides, and objects that are recognised only."""
    headers = _headers(part.planes)
    kind = kind_of(headers[0])
    flags = list(_identity_flags(headers[0], part.apart)) if kind == "pictures" else []
    if kind == "other":
        flags.append(Flag(code="E_DICOM_NOT_READ", text=f"a {name_of(headers[0])} is not read as images"))
    elif kind == "pictures":
        flags.extend(problem for header in headers[:1] if (problem := codec_problem(header)))
    ordered = sorted(headers, key=lambda header: (header.instance or 0, str(header.path)))
    return DicomSeries(
        uid=uid,
        modality=headers[0].modality,
        description=headers[0].description,
        shape=(sum(max(1, header.frames) for header in headers), headers[0].rows, headers[0].columns),
        spacing_mm=None,
        affine_lps=None,
        verdict=verdict_of(flags),
        flags=tuple(flags),
        files=tuple(header.path for header in ordered),
        kind=kind,
    )


def _without_image(headers: Sequence[Header], uid: str) -> DicomSeries:
    """Objects without pixels: documents, reports, structure sets."""
    kind = kind_of(headers[0])
    text = f"DICOM without an image ({name_of(headers[0])}, modality {headers[0].modality or 'not stated'})"
    flags = () if kind == "document" else (Flag(code="E_DICOM_NOT_READ", text=text),)
    return DicomSeries(
        uid=uid,
        modality=headers[0].modality,
        description=headers[0].description,
        shape=(len(headers),),
        spacing_mm=None,
        affine_lps=None,
        verdict=verdict_of(flags),
        flags=flags,
        files=tuple(header.path for header in headers),
        kind=kind,
    )
