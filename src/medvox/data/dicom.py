"""DICOM CT on disk -> Study, Series, Volume in Hounsfield units.

First step of the path for images; ``encode/ct.py`` is next. ``find_study`` looks at headers only, ``choose_series``
picks one series and says why, ``read_volume`` decodes it. Knows no model and no preset. Refuses what it cannot read
safely.

Source of the rules: DICOM PS3.3 C.7.6.2 (image plane), C.8.2.1 (CT image), C.11.1 (modality LUT).
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from pydicom import dcmread

from medvox.data.dicom_header import Header, header_of, quiet_pydicom, read_header, unreadable
from medvox.data.dicom_pixels import SlicePixels, slice_hu
from medvox.data.dicom_series import FIXES, Stack, group_headers, judge
from medvox.data.volume import NotUsed, Series, Source, Study, Volume
from medvox.errors import BudgetError, InputError, MedvoxError, UsageError
from medvox.types import Flag, Progress, Voxels, no_progress

MAX_FILES = 20_000
MAX_FILE_BYTES = 2**30

TISSUE_HU = (-200, -500)  # a CT has something above the first (soft tissue) and something below the second (air)


def find_study(path: Path, progress: Progress = no_progress) -> Study:
    """Look at one file, or at every file below a folder, and list the series.

    Raises:
        InputError: nothing there (``E_INPUT_MISSING``, ``E_INPUT_EMPTY``), no DICOM (``E_DICOM_NONE``), or the one file
            that was given is not readable (``E_DICOM_UNREADABLE``).
        BudgetError: more than 20,000 files.
    """
    files = _files_below(path)
    headers: list[Header] = []
    not_used: list[NotUsed] = []
    for done, file in enumerate(files, start=1):
        name = file.name if path.is_file() else file.relative_to(path).as_posix()
        try:
            header = read_header(file)
        except InputError as error:
            if path.is_file():
                raise
            not_used.append(NotUsed(path=name, reason=error.message))
        else:
            reason = _reason_to_leave_out(header)
            if reason:
                not_used.append(NotUsed(path=name, reason=reason))
            else:
                headers.append(header)
        progress("looking at files", done, len(files))
    stacks = [judge(group) for group in group_headers(headers)]
    not_used.extend(_copies(stacks, path))
    if not stacks:
        raise _nothing_found(path, not_used)
    return Study(series=tuple(stack.series for stack in stacks), not_used=tuple(not_used))


def choose_series(study: Study, uid: str | None = None) -> tuple[Series, str]:
    """The series to read, and the reason for the choice.

    Raises:
        UsageError: several series could be meant (``E_SERIES_CHOICE``), or ``uid`` names none (``E_SERIES_UNKNOWN``).
        InputError: the series that is meant is refused; carries the code of its refusal.
    """
    if uid is not None:
        for series in study.series:
            if series.uid == uid:
                return _usable(series), "named by the user"
        raise UsageError(
            f"no series has the UID {uid}; there are: {_listing(study.series)}",
            code="E_SERIES_UNKNOWN",
            fix="choose one of the listed ones with --series UID",
        )
    usable = [series for series in study.series if series.verdict != "refuse"]
    if len(usable) > 1:
        raise UsageError(
            f"{len(usable)} series could be meant: {_listing(usable)}",
            code="E_SERIES_CHOICE",
            fix="choose one with --series UID",
        )
    if usable:
        others = len(study.series) - 1
        return usable[0], f"the only usable one of {others + 1} series" if others else "the only series"
    if len(study.series) == 1:
        return _usable(study.series[0]), ""
    codes = ", ".join(sorted({refusal_of(series).code for series in study.series}))
    raise InputError(
        f"none of the {len(study.series)} series can be read: {codes}",
        code="E_SERIES_NONE_USABLE",
        fix="See the reasons with: medvox inspect PATH",
    )


def read_volume(series: Series, progress: Progress = no_progress) -> Volume:
    """Decode the slices of a series into one array of Hounsfield units, in order along the slice normal.

    Every file is read once; what the headers say is judged again on the bytes that are decoded.

    Raises:
        InputError: the series is refused, or a file is truncated, changed or not decodable.
        BudgetError: the volume is larger than the limit.
    """
    _usable(series)
    voxels: Voxels | None = None
    headers: list[Header] = []
    sources: list[Source] = []
    counts = np.zeros(3, dtype=np.int64)  # padded, clipped, stray bits
    for done, path in enumerate(series.files, start=1):
        pixels, header, source = _read_slice(path)
        if voxels is None:
            voxels = np.empty(series.shape, dtype=np.int16)
        if pixels.hu.shape != voxels.shape[1:]:
            raise _changed(path)
        voxels[done - 1] = pixels.hu
        counts += (pixels.padded, pixels.clipped, pixels.stray_bits)
        headers.append(header)
        sources.append(source)
        progress("reading slices", done, len(series.files))
    stack = judge(headers)
    if voxels is None or stack.series.affine_lps is None or stack.series.files != series.files:
        raise _changed(series.files[0])
    return _volume(stack, voxels, tuple(sources), counts.tolist())


def refusal_of(series: Series) -> MedvoxError:
    """The error that a refused series stands for."""
    flag = next(flag for flag in series.flags if flag.code.startswith("E_"))
    kind = BudgetError if flag.code == "E_DICOM_LIMIT" else InputError
    return kind(f"the series cannot be read: {flag.text}", code=flag.code, fix=FIXES[flag.code])


def _files_below(path: Path) -> list[Path]:
    """The regular files at a path, in a stable order."""
    if path.is_file():
        return [path]
    if not path.exists():
        raise InputError(f"{path} does not exist", code="E_INPUT_MISSING", fix="Check the path.")
    files: list[Path] = []
    for folder, subfolders, names in os.walk(path):
        subfolders.sort()
        files.extend(file for name in sorted(names) if (file := Path(folder, name)).is_file())
        if len(files) > MAX_FILES:
            raise BudgetError(
                f"more than {MAX_FILES} files below {path.name}",
                code="E_INPUT_TOO_MANY_FILES",
                fix="Give the folder of one study or one series.",
            )
    if not files:
        raise InputError(
            f"the folder {path.name} holds no file", code="E_INPUT_EMPTY", fix="Give a folder with DICOM files."
        )
    return files


def _reason_to_leave_out(header: Header) -> str:
    """Why a readable DICOM file is no slice of a series; empty when it is one."""
    if not header.rows and not header.modality:
        return "DICOM with a damaged or incomplete header: neither modality nor image size"
    if not header.rows or not header.columns:
        return f"DICOM without an image (modality {header.modality or 'not stated'})"
    if "LOCALIZER" in header.image_type:
        return "localiser (scout view), not part of the volume"
    return ""


def _copies(stacks: list[Stack], path: Path) -> Iterator[NotUsed]:
    for stack in stacks:
        for header in stack.dropped:
            name = header.path.relative_to(path).as_posix()
            yield NotUsed(path=name, reason="exact copy of another file of the series")


def _nothing_found(path: Path, not_used: list[NotUsed]) -> InputError:
    left_out = [item for item in not_used if "cannot be read as DICOM" not in item.reason]
    if left_out:
        reasons = "; ".join(sorted({item.reason for item in left_out})[:3])
        return InputError(
            f"no image series in {path.name}: {reasons}",
            code="E_DICOM_NO_SERIES",
            fix="Give the folder with the slices of the scan.",
        )
    return InputError(
        f"none of the {len(not_used)} file(s) in {path.name} is readable DICOM",
        code="E_DICOM_NONE",
        fix="Give a folder with DICOM files; other formats are not read yet.",
    )


def _usable(series: Series) -> Series:
    if series.verdict == "refuse":
        raise refusal_of(series)
    return series


def _listing(series: Iterable[Series]) -> str:
    """Facts to choose by; no description, because people write names into it."""
    return "; ".join(_facts(item) for item in series)


def _facts(series: Series) -> str:
    shape = " x ".join(str(size) for size in series.shape)
    spacing = "unknown" if series.spacing_mm is None else " x ".join(f"{value:.3g}" for value in series.spacing_mm)
    return f"{series.uid} ({series.modality}, {shape}, spacing {spacing} mm, {series.verdict})"


def _read_slice(path: Path) -> tuple[SlicePixels, Header, Source]:
    """Read one file once: its pixels in HU, its header, and the hash of its bytes."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise BudgetError(
                f"{path.name} has {size / 2**30:.1f} GiB, the limit is {MAX_FILE_BYTES / 2**30:.0f} GiB",
                code="E_DICOM_LIMIT",
                fix=FIXES["E_DICOM_LIMIT"],
            )
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path.name, f"the file cannot be opened ({type(error).__name__})") from error
    source = Source(name=path.name, sha256=hashlib.sha256(content).hexdigest())
    with quiet_pydicom():
        try:
            dataset = dcmread(io.BytesIO(content))
            header = header_of(dataset, path)
        except Exception as error:  # see read_header
            raise unreadable(path.name, f"the file is damaged ({type(error).__name__})") from error
        return slice_hu(dataset, header), header, source


def _changed(path: Path) -> InputError:
    return InputError(
        f"{path.name} or its series changed while it was read",
        code="E_DICOM_CHANGED",
        fix="Wait until the files are copied completely, then try again.",
    )


def _volume(stack: Stack, voxels: Voxels, sources: tuple[Source, ...], counts: list[int]) -> Volume:
    series = stack.series
    if series.affine_lps is None or series.spacing_mm is None:
        raise refusal_of(series)
    unit = "unspecified" if any(flag.code == "F_DICOM_NOT_HU" for flag in series.flags) else "HU"
    return Volume(
        voxels=voxels,
        unit=unit,
        spacing_mm=series.spacing_mm,
        affine_lps=series.affine_lps,
        slice_positions_mm=stack.positions_mm,
        modality=series.modality,
        series_uid=series.uid,
        description=series.description,
        flags=(*series.flags, *_pixel_flags(voxels, unit, counts)),
        sources=sources,
    )


def _pixel_flags(voxels: Voxels, unit: str, counts: list[int]) -> Iterator[Flag]:
    """What only the pixels tell. ``counts``: padded, clipped and stray-bit pixels of the whole volume."""
    padded, clipped, stray_bits = counts
    if padded:
        yield Flag(code="F_DICOM_PADDING", text=f"{padded} padded pixels (no data) were set to -1024 HU")
    if clipped:
        yield Flag(code="F_DICOM_CLIPPED", text=f"{clipped} voxels lie outside -32768..32767 HU and were clipped")
    if stray_bits:
        yield Flag(
            code="F_DICOM_STRAY_BITS", text=f"{stray_bits} pixels had bits set above BitsStored; they were masked"
        )
    low, high = int(voxels.min()), int(voxels.max())
    if unit == "HU" and (high < TISSUE_HU[0] or low > TISSUE_HU[1]):
        text = f"values run from {low} to {high} HU, which leaves out air or soft tissue: is this really a CT in HU?"
        yield Flag(code="F_CT_HU_IMPLAUSIBLE", text=text)
