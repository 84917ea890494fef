"""The verb behind ``medvox convert``: the volumes at a path, each series as one NIfTI file.

Path order: ``data/archive`` unpacks, ``data/dicom`` or ``data/nifti`` reads, ``data/nifti`` writes. Every series gets
an answer: a file, or the reason why there is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medvox.data.archive import unpacked
from medvox.data.dicom import choose_series, find_study, read_volumes
from medvox.data.dicom_file import read_dataset_file
from medvox.data.intake import Kind, kind_of
from medvox.data.nifti import find_nifti, read_nifti, write_nifti
from medvox.data.volume import Series, Study, Volume
from medvox.errors import MedvoxError, UsageError
from medvox.types import Flag, Progress, no_progress, to_json

Read = Callable[[Series], tuple[Volume, ...]]

PLAIN_WORD = re.compile(r"[A-Z]{2,8}")  # a modality; anything else could be somebody's name
UID_TAIL = 8


def convert(
    path: str | Path,
    target: str | Path,
    *,
    series: str | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Write one series as NIfTI: 3-D, or 4-D where the series holds several volumes of one grid.

    Args:
        path: a DICOM file, folder or zip, or a NIfTI file.
        target: the file to write, ``.nii.gz`` or ``.nii``.
        series: which series; needed where several could be meant.
        overwrite: replace ``target`` if it is there.
        progress: called with (what, done, total).

    Returns:
        ``{"series", "file", "shape", "affine_ras", "flags"}``: the key of the series, the absolute path, voxels along
        (i, j, k) and time, 4x4 (i, j, k, 1) to RAS millimetres, and ``[{"code", "text"}]``.

    Raises:
        InputError: nothing there, not readable, refused, or no volume (``E_SERIES_KIND``).
        UsageError: a choice is needed (``E_SERIES_CHOICE``), or the target cannot be written (``E_OUTPUT_...``).
        BudgetError: larger than the limits.
    """
    with unpacked(Path(path)) as root:
        study, read = _found(root, progress)
        chosen = _chosen(study, series, root)
        return _written(chosen, read, Path(target), overwrite)


def convert_all(
    path: str | Path, folder: str | Path, *, overwrite: bool = False, progress: Progress = no_progress
) -> list[dict[str, Any]]:
    """Write every series as NIfTI into a folder; one that cannot be written does not stop the others.

    Files are called after the position in the list, the modality and the end of the UID (``01_MR_54321001.nii.gz``),
    never after a description, where people write names.

    Args:
        path: a DICOM file, folder or zip, or a NIfTI file.
        folder: where to write; made if missing.
        overwrite: replace files of the same name.
        progress: called with (what, done, total).

    Returns:
        What ``convert`` returns, for each series in the order of ``medvox inspect``. Where there is no file, ``file``,
        ``shape`` and ``affine_ras`` are None and ``error`` is ``{"code", "message", "fix"}``.

    Raises:
        InputError: nothing at ``path`` that could be converted.
        UsageError: the folder cannot be made (``E_OUTPUT_WRITE``).
    """
    with unpacked(Path(path)) as root:
        study, read = _found(root, progress)
        _make(Path(folder))
        entries = []
        for number, series in enumerate(study.series, start=1):
            try:
                entries.append(_written(series, read, Path(folder) / file_name(number, series), overwrite))
            except MedvoxError as error:
                entries.append(_not_written(series, error))
            progress("converting series", number, len(study.series))
        return entries


def file_name(number: int, series: Series) -> str:
    """A name without personal text: position, modality, end of the UID, and the part where a UID holds several."""
    modality = series.modality if PLAIN_WORD.fullmatch(series.modality) else "XX"
    tail = re.sub(r"[^0-9A-Za-z]", "", series.uid)[-UID_TAIL:]
    part = f"_part{series.part}" if series.parts > 1 else ""
    return f"{number:02}_{modality}_{tail}{part}.nii.gz"


def _found(root: Path, progress: Progress) -> tuple[Study, Read]:
    """What lies there, and how a series of it is read."""
    if kind_of(root) is Kind.NIFTI:
        return Study(series=(find_nifti(root),), not_used=()), lambda series: read_nifti(series.files[0])
    return find_study(root, progress), lambda series: read_volumes(series, progress, keep_padding=True)


def _chosen(study: Study, key: str | None, root: Path) -> Series:
    if kind_of(root) is not Kind.NIFTI:
        return choose_series(study, key)[0]
    only = study.series[0]
    if key not in (None, only.key):
        raise UsageError(f"the only series is {only.key}", code="E_SERIES_UNKNOWN", fix="Leave --series out.")
    return only


def _written(series: Series, read: Read, target: Path, overwrite: bool) -> dict[str, Any]:
    volumes = read(series)
    grid = write_nifti(volumes, target, turn_to_ras=_is_3d_acquisition(series), overwrite=overwrite)
    flags: dict[str, Flag] = {}
    for flag in (flag for volume in volumes for flag in volume.flags):
        flags.setdefault(flag.code, flag)
    return {
        "series": series.key,
        "file": str(target.absolute()),
        "shape": list(grid.shape),
        "affine_ras": to_json(grid.affine_ras),
        "flags": [flag.as_dict() for flag in flags.values()],
    }


def _is_3d_acquisition(series: Series) -> bool:
    """Whether dcm2niix would turn the volume to RAS: one MR volume that was excited as a whole."""
    if series.modality != "MR" or series.volumes > 1 or series.shape[0] < 2:
        return False
    header = read_dataset_file(series.files[0], specific_tags=["MRAcquisitionType"])
    return str(header.get("MRAcquisitionType", "")) == "3D"


def _not_written(series: Series, error: MedvoxError) -> dict[str, Any]:
    return {
        "series": series.key,
        "file": None,
        "shape": None,
        "affine_ras": None,
        "flags": [flag.as_dict() for flag in series.flags],
        "error": error.as_dict(),
    }


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the folder {folder.name} cannot be made", code="E_OUTPUT_WRITE", fix="Check the path and its rights."
        ) from error
