"""What lies at a path, whatever its format, as material that a model can be shown.

Between the readers and ``encode``: finds out what it is, picks the series, and opens it with the right reader. Headers
only until ``opened``. Knows no preset and no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medvox.data.dicom import choose_series, find_study, read_volumes
from medvox.data.dicom_pictures import read_pictures
from medvox.data.document import Document, read_document
from medvox.data.intake import Kind, kind_of
from medvox.data.nifti import find_nifti, read_nifti
from medvox.data.picture import Picture, read_picture
from medvox.data.slide import Slide, open_slide
from medvox.data.volume import Series, Source, Study, Volume
from medvox.errors import InputError, UsageError
from medvox.types import Flag, Progress, no_progress

MaterialKind = Literal["ct", "mri", "xray", "slide", "page"]
Content = tuple[Volume, ...] | tuple[Picture, ...] | Slide | Document

BY_MODALITY: dict[str, MaterialKind] = {"CT": "ct", "MR": "mri"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What only the user knows: which ``series``, the ``modality`` of a NIfTI file, a slide's ``mpp_um``."""

    series: str | None = None
    modality: str = ""
    mpp_um: float | None = None


NOT_SAID = Wanted()


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """One thing that can be shown to a model, before its pixels are decoded.

    Attributes:
        kind: ``xray`` stands for any 2-D picture.
        path: the file or folder.
        series: the DICOM series, or the NIfTI file as a series; None for others.
        reason: why this series.
        parts: slices of all volumes, pictures, or pages; 0 for a slide, whose patches are not known before it is read.
        voxels: all pixels of a volume; 0 for others.
        flags: what a reader must know.
        wanted: what the user said.
    """

    kind: MaterialKind
    path: Path
    series: Series | None = None
    reason: str = ""
    parts: int = 0
    voxels: int = 0
    flags: tuple[Flag, ...] = ()
    wanted: Wanted = NOT_SAID


def look(path: Path, wanted: Wanted = NOT_SAID, progress: Progress = no_progress) -> Material:
    """Find out what a file or folder is, from its headers.

    Raises:
        InputError: nothing there, nothing readable, the series is refused, or it is nothing that a model can be shown
            (``E_NOT_SHOWABLE``).
        UsageError: a series must be chosen (``E_SERIES_CHOICE``) or a modality stated (``E_NIFTI_MODALITY``).
    """
    kind = kind_of(path)
    if kind is Kind.NIFTI:
        if wanted.modality not in BY_MODALITY:
            raise UsageError(
                f"{path.name} is NIfTI, which does not say what kind of scan it is",
                fix="say it with --modality CT (values in HU) or --modality MR",
                code="E_NIFTI_MODALITY",
            )
        return _volumes(path, find_nifti(path), "the only series", wanted, wanted.modality)
    if kind in (Kind.DICOM, Kind.DICOMDIR, Kind.FOLDER):
        series, reason = choose_series(_study(path, progress), wanted.series)
        return _series(path, series, reason, wanted)
    if kind is Kind.SLIDE:
        return Material(kind="slide", path=path, wanted=wanted)
    if kind in (Kind.PDF, Kind.DOCX, Kind.NOTE):
        pages = len(read_document(path).pages)
        return Material(kind="page", path=path, parts=pages, wanted=wanted)
    if kind is Kind.PICTURE:
        return Material(kind="xray", path=path, parts=1, wanted=wanted)
    raise _not_showable(path, f"is of the kind {kind.value!r}")


@contextmanager
def opened(material: Material, progress: Progress = no_progress) -> Iterator[Content]:
    """The decoded content: volumes, pictures, an open slide, or a document.

    Raises:
        InputError, BudgetError: what the reader of the format raises.
    """
    path, series, wanted = material.path, material.series, material.wanted
    if material.kind == "slide":
        with open_slide(series.files[0] if series else path, mpp=wanted.mpp_um) as slide:
            yield slide
    elif material.kind == "page":
        yield read_document(series.files[0] if series else path)
    elif material.kind == "xray":
        yield read_pictures(series) if series else (read_picture(path),)
    elif series and kind_of(path) is Kind.NIFTI:
        yield read_nifti(path, modality=wanted.modality)
    elif series:
        yield read_volumes(series, progress=progress)


def read_one_volume(material: Material, progress: Progress = no_progress) -> Volume:
    """The only volume of a material.

    Raises:
        UsageError: it holds several (``E_SERIES_4D``).
        InputError, BudgetError: what the reader of the format raises.
    """
    count = material.series.volumes if material.series else 0
    if count != 1:
        raise UsageError(
            f"{material.path.name} holds {count} volumes, one is needed",
            fix="Write them as files of their own with medvox convert, and give one.",
            code="E_SERIES_4D",
        )
    with opened(material, progress) as content:
        volume = content[0] if isinstance(content, tuple) else None
        assert isinstance(volume, Volume)
        return volume


def sources_of(content: Content) -> tuple[Source, ...]:
    """The files behind a content, in order."""
    if isinstance(content, tuple):
        return tuple(source for part in content for source in _sources(part))
    return content.sources if isinstance(content, Slide) else (content.source,)


def flags_of(content: Content) -> tuple[Flag, ...]:
    """What a reader must know about a content; each flag once."""
    parts = content if isinstance(content, tuple) else (content,)
    return tuple(dict.fromkeys(flag for part in parts for flag in part.flags))


def _study(path: Path, progress: Progress) -> Study:
    try:
        return find_study(path, progress)
    except InputError as error:
        if error.code == "E_DICOM_NONE" and path.is_dir():
            raise _not_showable(path, "is a folder without DICOM; other files are given one by one") from error
        raise


def _sources(part: Volume | Picture) -> tuple[Source, ...]:
    return part.sources if isinstance(part, Volume) else (part.source,)


def _series(path: Path, series: Series, reason: str, wanted: Wanted) -> Material:
    if series.kind == "volume":
        return _volumes(path, series, reason, wanted, series.modality)
    kinds: dict[str, MaterialKind] = {"pictures": "xray", "slide": "slide", "document": "page"}
    if series.kind not in kinds:
        raise _not_showable(path, f"holds a series of modality {series.modality or 'unknown'}, which is no picture")
    return Material(
        kind=kinds[series.kind],
        path=path,
        series=series,
        reason=reason,
        parts=series.shape[0] if series.kind == "pictures" else 0,
        flags=series.flags,
        wanted=wanted,
    )


def _volumes(path: Path, series: Series, reason: str, wanted: Wanted, modality: str) -> Material:
    if modality not in BY_MODALITY:
        raise _not_showable(path, f"holds volumes of modality {modality or 'unknown'}, for which there is no preset")
    slices, rows, columns = series.shape
    return Material(
        kind=BY_MODALITY[modality],
        path=path,
        series=series,
        reason=reason,
        parts=slices * series.volumes,
        voxels=slices * series.volumes * rows * columns,
        flags=tuple(flag for flag in series.flags if not wanted.modality or flag.code != "F_NIFTI_MODALITY_UNKNOWN"),
        wanted=wanted,
    )


def _not_showable(path: Path, why: str) -> InputError:
    return InputError(
        f"{path.name} {why}",
        fix="give CT or MR, an X-ray or another picture, a slide, or a document; see: medvox inspect PATH",
        code="E_NOT_SHOWABLE",
    )
