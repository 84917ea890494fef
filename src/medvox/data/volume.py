"""What a scan is once it has been read: Study, Series, Volume. Values only; readers build them.

Next in the path: ``encode`` turns a Volume into model input. Nothing here knows a file format or a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medvox.types import Affine, Flag, Voxels

Verdict = Literal["accept", "flagged", "refuse"]
SeriesKind = Literal["volume", "pictures", "slide", "document", "other"]
PHANTOM = Flag(code="F_PHANTOM", text="This scan was generated. It shows no patient.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file that went into a value: its name (no folder) and the SHA-256 of its bytes."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NotUsed:
    """A file that was looked at and left out, with the reason."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Volume:
    """A stack of parallel slices.

    Attributes:
        voxels: (S, R, C). int16 in Hounsfield units when ``unit`` is ``HU``; else int16, uint16, int32 or float32 after
            the file's own rescaling. Slices run along the slice normal.
        unit: ``HU`` for CT; else what the files state (``BQML``, ``Hz``, ...), or ``unspecified``.
        spacing_mm: distance between voxel centres in array order (slice, row, column).
        affine_lps: 4x4 float64, index (slice, row, column, 1) to millimetres in the DICOM patient system (LPS).
        slice_positions_mm: position of each slice along the normal; length S.
        modality: DICOM Modality.
        series_uid: SeriesInstanceUID, or a name made from content when the files carry none.
        description: SeriesDescription.
        flags: what a reader must know.
        sources: the files in slice order.
        moment: what sets it apart from the other volumes of a 4-D series, such as ``time 3`` or ``b 1000``; else empty.
    """

    voxels: Voxels
    unit: str
    spacing_mm: tuple[float, float, float]
    affine_lps: Affine
    slice_positions_mm: tuple[float, ...]
    modality: str
    series_uid: str
    description: str
    flags: tuple[Flag, ...]
    sources: tuple[Source, ...]
    moment: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One series as found on disk, before its pixels are decoded: files that form a grid, or several grids in time.

    A SeriesInstanceUID whose images differ in orientation, size, spacing, echo, kind of image or acquisition gives
    several Series, numbered by ``part`` from 1; ``key`` names one of them. ``volumes`` counts the volumes of a 4-D
    series. ``kind`` says what it can be read as: a ``volume``, ``pictures`` (X-ray, ultrasound, captures), a ``slide``,
    a ``document`` (encapsulated PDF), or ``other`` (segmentations, structured reports, structure sets).

    ``shape`` is (S, R, C) of one volume, (N, R, C) of pictures; ``spacing_mm`` and ``affine_lps`` are None where there
    is no geometry or it is refused.
    Where ``verdict`` is ``refuse``, the first flag with an ``E_`` code is the error that ``read_volume`` would raise.
    ``files`` are in slice order where there is one.
    """

    uid: str
    modality: str
    description: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, float, float] | None
    affine_lps: Affine | None
    verdict: Verdict
    flags: tuple[Flag, ...]
    files: tuple[Path, ...]
    kind: SeriesKind = "volume"
    volumes: int = 1
    part: int = 1
    parts: int = 1

    @property
    def key(self) -> str:
        """The name to choose it by: the UID, with ``#part`` where the UID holds several series."""
        return self.uid if self.parts == 1 else f"{self.uid}#{self.part}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """Everything found below a path: the series, and the files that were left out with the reason."""

    series: tuple[Series, ...]
    not_used: tuple[NotUsed, ...]
