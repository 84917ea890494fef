"""DICOM on disk -> Study, Series, Volume.

First step of the path for scans; ``encode`` is next. ``find_study`` looks at headers only, ``choose_series`` picks one
series and says why, ``read_volume`` and ``read_volumes`` decode it. Knows no model and no preset. Refuses what it
cannot read safely.

The way inside: ``dicom_places`` (files) -> ``dicom_header``, ``dicom_frames`` (facts of a file, of its planes) ->
``dicom_split`` (parts and volumes) -> ``dicom_series`` (verdicts) -> ``dicom_reading``, ``dicom_values`` (voxels).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from medvox.data.dicom_checks import FIXES
from medvox.data.dicom_frames import read_planes
from medvox.data.dicom_header import Header
from medvox.data.dicom_places import Places, bears_mark, is_directory_file, places_at, places_in
from medvox.data.dicom_reading import decode
from medvox.data.dicom_series import DicomSeries, File, group_files, series_of, with_flags
from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.data.volume import NotUsed, Series, Study, Volume
from medvox.errors import BudgetError, InputError, MedvoxError, UsageError
from medvox.types import Flag, Progress, no_progress

MAX_PATIENTS_NAMED = 10
SEE_REASON = "See the reason with: medvox inspect PATH"


def find_study(path: Path, progress: Progress = no_progress, *, limits: Limits = DEFAULT_LIMITS) -> Study:
    """Look at one file, at every file below a folder, or at what a DICOMDIR names, and list the series.

    Raises:
        InputError: nothing there (``E_INPUT_MISSING``, ``E_INPUT_EMPTY``), no DICOM (``E_DICOM_NONE``,
            ``E_DICOM_NO_SERIES``), several patients (``E_DICOM_PATIENTS_MIXED``), a DICOMDIR that points elsewhere
            (``E_DICOM_DIR_ESCAPE``), or the one file that was given is not readable (``E_DICOM_UNREADABLE``).
        BudgetError: too many files (``E_INPUT_TOO_MANY_FILES``), or the one file is over a limit (``E_DICOM_LIMIT``).
    """
    places = places_at(path, limits)
    files = _look(places, path, progress, limits)
    if len(files) == 1 and is_directory_file(files[0][0]):
        places = places_in(files[0][0].path, limits)
        files = _look(places, path, progress, limits)
    used = [file for file in files if not _is_left_out(file[0], places)]
    _check_one_patient(used, places)
    series: list[DicomSeries] = []
    for group in group_files(used):
        found, copies = series_of(group, limits)
        series.extend(found)
        for header in copies:
            places.leave_out(header.path, "exact copy of another file of the series")
    if not series:
        raise _nothing_found(path, places.not_used)
    return Study(series=tuple(_doubted(series, places)), not_used=tuple(places.not_used))


def choose_series(study: Study, key: str | None = None) -> tuple[Series, str]:
    """The series to read, and the reason for the choice. Volumes come before pictures, slides and documents.

    Args:
        study: what was found.
        key: the ``key`` of a series; its UID alone will do where it holds one part.

    Raises:
        UsageError: several series could be meant (``E_SERIES_CHOICE``), or ``key`` names none (``E_SERIES_UNKNOWN``).
        InputError: the series that is meant is refused; carries the code of its refusal.
    """
    if key is not None:
        return _usable(_named(study, key)), "named by the user"
    usable = [series for series in study.series if series.verdict != "refuse"]
    usable = [series for series in usable if series.kind == "volume"] or usable
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


def read_volume(series: Series, progress: Progress = no_progress, *, limits: Limits = DEFAULT_LIMITS) -> Volume:
    """Decode the one volume of a series, slices in order along their normal: Hounsfield units for CT.

    Every file is read once, and must still be what ``find_study`` saw.

    Raises:
        InputError: the series is refused, is no volume (``E_SERIES_KIND``) or several (``E_SERIES_4D``), or a file is
            truncated, changed or not decodable.
        BudgetError: the volume is larger than the limit.
    """
    if series.volumes > 1 and series.verdict != "refuse":
        raise InputError(
            f"the series holds {series.volumes} volumes (over time, or of several weightings)",
            code="E_SERIES_4D",
            fix="Read all of them with read_volumes, or write them out with: medvox convert PATH OUT.nii.gz",
        )
    return read_volumes(series, progress, limits=limits)[0]


def read_volumes(
    series: Series,
    progress: Progress = no_progress,
    *,
    limits: Limits = DEFAULT_LIMITS,
    keep_padding: bool = False,
) -> tuple[Volume, ...]:
    """Decode all volumes of a series, in order of time; ``moment`` says what each is.

    Args:
        series: from ``find_study``.
        progress: called with (what, done, total).
        limits: bounds on files and decoded pixels.
        keep_padding: keep the padding values of a CT instead of setting them to -1024 HU, for whoever writes files.

    Raises:
        InputError, BudgetError: see :func:`read_volume`.
    """
    _usable(series)
    if series.kind != "volume":
        raise InputError(
            f"the series is of kind {series.kind}, not a volume",
            code="E_SERIES_KIND",
            fix="Give a series of slices that have a place in space, or read it as what it is.",
        )
    if not isinstance(series, DicomSeries):
        raise UsageError("this series was not found by find_study", fix="Pass a series of the Study from find_study.")
    return decode(series, progress, limits, keep_padding=keep_padding)


def refusal_of(series: Series) -> MedvoxError:
    """The error that a refused series stands for."""
    flag = next(flag for flag in series.flags if flag.code.startswith("E_"))
    kind = BudgetError if flag.code == "E_DICOM_LIMIT" else InputError
    return kind(f"the series cannot be read: {flag.text}", code=flag.code, fix=FIXES.get(flag.code, SEE_REASON))


def _look(places: Places, path: Path, progress: Progress, limits: Limits) -> list[File]:
    """Facts of the files that are DICOM; the others are added to what is not used."""
    found: list[File] = []
    for done, file in enumerate(places.files, start=1):
        try:
            found.append(read_planes(file, limits))
        except (InputError, BudgetError) as error:
            if file == path:
                raise
            places.leave_out(file, error.message)
            if bears_mark(file):
                places.damaged.append(file)
        progress("looking at files", done, len(places.files))
    return found


def _doubted(series: list[DicomSeries], places: Places) -> list[DicomSeries]:
    """Series with a flag where a file that may belong to them could not be read."""
    if not places.damaged:
        return series
    text = f"{len(places.damaged)} damaged DICOM files beside it could not be read; slices of it may be among them"
    flags = (Flag(code="F_DICOM_FILES_DAMAGED", text=text),)
    return [with_flags(item, flags) if item.kind == "volume" else item for item in series]


def _is_left_out(header: Header, places: Places) -> bool:
    """Whether a readable DICOM file is no image of a series; the reason is added to what is not used."""
    reason = ""
    if is_directory_file(header):
        reason = "DICOMDIR, an index of other files"
    elif not header.rows and not header.modality and not header.sop_class:
        reason = "DICOM with a damaged or incomplete header: neither modality nor image size"
    elif "LOCALIZER" in header.image_type and header.rows:
        reason = "localiser (scout view), not part of the volume"
    if reason:
        places.leave_out(header.path, reason)
    return bool(reason)


def _check_one_patient(files: list[File], places: Places) -> None:
    """Refuse files of several patients. Files that do not say whose they are belong to any."""
    patients: dict[str, list[Header]] = {}
    for header, _ in files:
        if header.patient:
            patients.setdefault(header.patient, []).append(header)
    if len(patients) < 2:
        return
    named = [
        f"patient {number}: {len(headers)} file(s), such as {places.name(headers[0].path)}"
        for number, headers in enumerate(patients.values(), start=1)
    ]
    more = f"; and {len(named) - MAX_PATIENTS_NAMED} more" if len(named) > MAX_PATIENTS_NAMED else ""
    raise InputError(
        f"files of {len(patients)} patients in one place: {'; '.join(named[:MAX_PATIENTS_NAMED])}{more}",
        code="E_DICOM_PATIENTS_MIXED",
        fix="Put the files of each patient into a folder of their own, and give one folder.",
    )


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
        fix="Give a folder with DICOM files.",
    )


def _named(study: Study, key: str) -> Series:
    parts = [series for series in study.series if series.uid == key]
    for series in study.series:
        if series.key == key:
            return series
    if len(parts) > 1:
        raise UsageError(
            f"the UID {key} holds {len(parts)} series: {_listing(parts)}",
            code="E_SERIES_CHOICE",
            fix="choose one of its parts with --series UID#PART",
        )
    raise UsageError(
        f"no series has the UID {key}; there are: {_listing(study.series)}",
        code="E_SERIES_UNKNOWN",
        fix="choose one of the listed ones with --series UID",
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
    times = f", {series.volumes} volumes" if series.volumes > 1 else ""
    return f"{series.key} ({series.modality}, {shape}{times}, spacing {spacing} mm, {series.verdict})"
