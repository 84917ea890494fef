"""Series -> volumes: read each file once, check that it is still what was judged, and put its planes in their place.

Sixth step of ``data/dicom.py``. Plain files are read by two threads, everything else one after the other. Decides
nothing: order, affine and verdict come with the series.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvox.data.dicom_file import read_content, read_dataset
from medvox.data.dicom_frames import Plane, planes_of
from medvox.data.dicom_header import Header, header_of
from medvox.data.dicom_pixels import stored_frames
from medvox.data.dicom_series import DicomSeries, voxel_dtype
from medvox.data.dicom_split import heights_mm
from medvox.data.dicom_values import Counts, plain_words, put_values, value_flags
from medvox.data.limits import Limits
from medvox.data.volume import Source, Volume
from medvox.errors import InputError
from medvox.types import Affine, Flag, Progress, Voxels

READERS = 2  # threads; reading, hashing and large array work release the interpreter
Place = tuple[int, int]  # volume, slice


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """One file, and where its planes go."""

    header: Header
    planes: tuple[tuple[Plane, Place], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Done:
    """What reading one file told."""

    source: Source
    counts: Counts
    flags: tuple[Flag, ...] = ()


def decode(
    series: DicomSeries, progress: Progress, limits: Limits, *, keep_padding: bool = False
) -> tuple[Volume, ...]:
    """All volumes of a usable series.

    Raises:
        InputError: a file is truncated, not decodable, or no longer what it was (``E_DICOM_CHANGED``).
        BudgetError: a file is over a limit.
    """
    jobs = _jobs(series)
    first = series.planes[0][0]
    voxels = np.empty((series.volumes, *series.shape), dtype=voxel_dtype([p for v in series.planes for p in v]))
    read = partial(_read_file, voxels=voxels, limits=limits, keep_padding=keep_padding)
    done: list[_Done] = []
    for result in _in_order(read, jobs):
        done.append(result)
        progress("reading slices", len(done), len(jobs))
    counts = reduce(Counts.__add__, (item.counts for item in done))
    told = tuple(dict.fromkeys(flag for item in done for flag in item.flags))
    sources = {job.header.path: item.source for job, item in zip(jobs, done, strict=True)}
    unit = _unit(series, first)
    told = (*told, *value_flags(voxels.reshape(-1, *series.shape[1:]), unit, series.modality, counts))
    if series.affine_lps is None or series.spacing_mm is None:  # not of a usable series
        raise _changed(first.header.path)
    return tuple(
        _volume(series, number, voxels[number], (unit, series.affine_lps, series.spacing_mm, told), sources)
        for number in range(series.volumes)
    )


def _jobs(series: DicomSeries) -> list[_Job]:
    found: dict[Path, list[tuple[Plane, Place]]] = {}
    for number, volume in enumerate(series.planes):
        for index, plane in enumerate(volume):
            found.setdefault(plane.header.path, []).append((plane, (number, index)))
    return [_Job(header=planes[0][0].header, planes=tuple(planes)) for planes in found.values()]


def _in_order(read: Callable[[_Job], _Done], jobs: list[_Job]) -> Iterator[_Done]:
    if not all(map(_is_plain, jobs)):  # the parser keeps its settings in a module: one file at a time
        yield from map(read, jobs)
        return
    pool = ThreadPoolExecutor(max_workers=READERS)
    try:
        yield from pool.map(read, jobs)
    finally:
        pool.shutdown(cancel_futures=True)


def _is_plain(job: _Job) -> bool:
    """Whether the pixels of a file are 16-bit words that can be taken without a parser."""
    header = job.header
    return header.plain is not None and header.bits_allocated == 16 and header.frames == 1


def _read_file(job: _Job, *, voxels: NDArray[Any], limits: Limits, keep_padding: bool) -> _Done:
    path = job.header.path
    content = read_content(path, limits=limits)
    source = Source(name=path.name, sha256=hashlib.sha256(content).hexdigest())
    words = _plain_words(content, job.header) if _is_plain(job) else None
    if words is not None:
        stored, stray_bits = plain_words(words, job.header)
        counts = _put(stored[None], job, voxels, keep_padding=keep_padding)
        return _Done(source=source, counts=counts + Counts(stray_bits=stray_bits))
    dataset = read_dataset(content, path.name, limits=limits)
    header = replace(header_of(dataset, path), plain=job.header.plain)
    planes = planes_of(header, dataset, limits)
    if header != job.header or not {plane for plane, _ in job.planes} <= set(planes):
        raise _changed(path)
    first = min(plane.frame for plane, _ in job.planes)
    last = max(plane.frame for plane, _ in job.planes)
    frames = stored_frames(dataset, header, first=first, count=last - first + 1, limits=limits)
    counts = _put(frames.values, job, voxels, first, keep_padding=keep_padding)
    return _Done(source=source, counts=counts + Counts(stray_bits=frames.stray_bits), flags=frames.flags)


def _plain_words(content: bytes, header: Header) -> NDArray[np.uint16] | None:
    """The words of a plain file; None where its pixels do not fit, for the parser to say why."""
    plain, needed = header.plain, 2 * header.rows * header.columns
    if plain is None:
        return None
    if hashlib.sha256(content[: plain.at]).digest() != plain.start_sha256:
        raise _changed(header.path)
    if plain.size_bytes != needed or len(content) - plain.at < needed:
        return None
    words = np.frombuffer(content, "<u2", count=needed // 2, offset=plain.at)
    return words.astype(np.uint16, copy=False).reshape(header.rows, header.columns)


def _put(
    frames: NDArray[Any], job: _Job, voxels: NDArray[Any], first: int = 0, *, keep_padding: bool = False
) -> Counts:
    counts = Counts()
    for plane, place in job.planes:
        stored = frames[plane.frame - first]
        if plane.tile is not None:
            across = job.header.columns // plane.columns
            row, column = plane.tile // across * plane.rows, plane.tile % across * plane.columns
            stored = stored[row : row + plane.rows, column : column + plane.columns]
        counts += put_values(stored, plane, voxels[place], keep_padding=keep_padding)
    return counts


def _unit(series: DicomSeries, plane: Plane) -> str:
    if series.modality == "CT":
        return "unspecified" if any(flag.code == "F_DICOM_NOT_HU" for flag in series.flags) else "HU"
    return plane.mapping.unit or "unspecified"


def _volume(
    series: DicomSeries,
    number: int,
    voxels: Voxels,
    facts: tuple[str, Affine, tuple[float, float, float], tuple[Flag, ...]],
    sources: dict[Path, Source],
) -> Volume:
    planes = series.planes[number]
    unit, affine, spacing, told = facts
    return Volume(
        voxels=voxels,
        unit=unit,
        spacing_mm=spacing,
        affine_lps=affine,
        slice_positions_mm=tuple(heights_mm(planes).tolist()),
        modality=series.modality,
        series_uid=series.uid,
        description=series.description,
        flags=(*series.flags, *told),
        sources=tuple(sources[path] for path in dict.fromkeys(plane.header.path for plane in planes)),
        moment=series.moments[number],
    )


def _changed(path: Path) -> InputError:
    return InputError(
        f"{path.name} or its series changed while it was read",
        code="E_DICOM_CHANGED",
        fix="Wait until the files are copied completely, then try again.",
    )
