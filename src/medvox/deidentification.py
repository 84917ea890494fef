"""The verb behind ``medvox deid``: files in, copies with identifiers removed by rules out, and a list of what was done.

DICOM files go through ``data/deidentify`` and ``data/deidentify_pixels``, notes (.txt) through
``data/deidentify_notes``; everything else is skipped with a reason. Files whose pixels may show text are held back.
Nothing is written outside the target folder, nothing partial stays, and inputs are never touched.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from medvox.data.archive import unpacked
from medvox.data.deidentify import Options, deidentify, file_bytes
from medvox.data.deidentify_notes import clean_note
from medvox.data.deidentify_pixels import check_pixels, clean_pixel_data
from medvox.data.deidentify_report import (
    REPORT_NAME,
    Settings,
    check_places,
    open_target,
    report_of,
    write_new,
    write_report,
)
from medvox.data.dicom_file import read_content, read_dataset
from medvox.data.leftovers import identifiers_of, left_in
from medvox.data.limits import DEFAULT_LIMITS
from medvox.data.pseudonyms import Pseudonyms, read_key
from medvox.data.text_file import plain_text
from medvox.errors import InputError, MedvoxError, SetupError
from medvox.types import Progress, no_progress

DIRECTORY = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one input: written (or already there from an earlier run), blocked or skipped."""

    input: str
    status: Literal["written", "present", "blocked", "skipped"]
    output: str = ""
    code: str = ""
    reason: str = ""
    counts: dict[str, int] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """What holds for every file of a run."""

    target: Path
    options: Options
    pseudonyms: Pseudonyms
    allow_burned_in: bool


def deid(
    path: str | Path,
    target: str | Path,
    *,
    key_file: str | Path | None = None,
    options: Options | None = None,
    allow_burned_in: bool = False,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Write copies of DICOM files and notes with their identifiers removed by rules.

    Args:
        path: a file, a folder that is searched with its subfolders, or a zip.
        target: a new or empty folder; or the one of an earlier, unfinished run with the same key and options.
        key_file: the project's key, made (mode 0600) where there is none. Without one, UIDs, patient codes and date
            shifts are consistent within this run only.
        options: options of the DICOM profile.
        allow_burned_in: write files whose pixels show or may show text; they are then marked as not de-identified.
        progress: called with (what, done, total).

    Returns:
        ``{"statement", "profile", "options", "allow_burned_in", "counts": {status: files}, "files": [{"input",
        "status", "output", "code", "reason", "counts"}], "report"}``. ``report.json`` in the target says the same with
        numbers in place of the input names.

    Raises:
        InputError: nothing at the path.
        UsageError: the target holds other files, or lies in the input (``E_DEID_TARGET``), or the key lies in either.
        SetupError: the key or the target cannot be written.
    """
    source, folder = Path(path), Path(target)
    if not source.exists():
        raise InputError(
            f"there is nothing at {source.name}", code="E_INPUT_MISSING", fix="Name a file or folder that exists."
        )
    chosen = options or Options()
    check_places(source, folder, Path(key_file) if key_file else None)
    pseudonyms = read_key(Path(key_file)) if key_file else Pseudonyms.of_this_run()
    settings = Settings(options=chosen, allow_burned_in=allow_burned_in, key=pseudonyms.fingerprint)
    job = _Job(target=folder, options=chosen, pseudonyms=pseudonyms, allow_burned_in=allow_burned_in)
    open_target(folder, settings)
    with unpacked(source) as root:
        files = list(_files(root))
        outcomes: list[Outcome] = []
        for number, file in enumerate(files):
            name = file.name if file == root else file.relative_to(root).as_posix()
            outcomes.append(_one(file, name, job))
            progress("removing identifiers", number + 1, len(files))
    entries = [{key: value for key, value in asdict(outcome).items() if value} for outcome in outcomes]
    report = report_of(settings, entries, finished=True)
    anonymous = [{**entry, "input": number + 1} for number, entry in enumerate(entries)]
    for entry in anonymous:
        entry.pop("reason", None)  # reasons name the input file
    write_report(folder, {**report, "files": anonymous})
    return {**report, "counts": dict(Counter(outcome.status for outcome in outcomes)), "report": REPORT_NAME}


def _files(root: Path) -> Iterator[Path]:
    """Every file at or below a path, in a fixed order; folders behind links are not entered."""
    if not root.is_dir():
        yield root
        return
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            yield Path(folder) / name


def _one(file: Path, name: str, job: _Job) -> Outcome:
    """Work on one file; whatever is wrong with it becomes its outcome."""
    try:
        content = read_content(file)
        if file.suffix.lower() == ".txt":
            return _note(content, name, job)
        return _dicom(content, file, name, job)
    except SetupError:  # the target cannot be written: the run ends
        raise
    except MedvoxError as error:
        held_back = error.code.startswith("E_DEID_")
        return Outcome(input=name, status="blocked" if held_back else "skipped", code=error.code, reason=error.message)


def _dicom(content: bytes, file: Path, name: str, job: _Job) -> Outcome:
    dataset = read_dataset(content, file.name)
    if str(dataset.file_meta.get("MediaStorageSOPClassUID", "")) == DIRECTORY or "DirectoryRecordSequence" in dataset:
        reason = "a DICOMDIR lists names and files of the original; make a new one from the copies"
        return Outcome(input=name, status="skipped", code="E_DEID_DICOMDIR", reason=reason)
    check = check_pixels(dataset, file)
    if check.reasons and not job.allow_burned_in:
        raise InputError(
            f"{file.name} is held back: {'; '.join(check.reasons)}",
            code="E_DEID_BURNED_IN",
            fix="Look at the picture. If it shows nobody's name, allow burned-in text for this run.",
        )
    cleaned = deidentify(dataset, job.options, job.pseudonyms, text_remains=bool(check.reasons))
    pixels = clean_pixel_data(dataset, file)
    if pixels is not None:
        cleaned.dataset.PixelData = pixels
    result = file_bytes(cleaned.dataset, dataset, file.name)
    native = dataset.get("PixelData") if not dataset.file_meta.TransferSyntaxUID.is_encapsulated else None
    header = result[: len(result) - len(native)] if native else result
    if left_in([header], identifiers_of(dataset)):
        raise InputError(
            f"{file.name} is held back: an identifier of the patient is still found in the result",
            code="E_DEID_LEFTOVER",
            fix="Leave the file out; it repeats identifiers where the rules do not reach.",
        )
    output = f"{cleaned.patient}/{job.pseudonyms.file_name(content)}.dcm"
    status = write_new(job.target / output, result)
    return Outcome(
        input=name, status=status, output=output, counts={**cleaned.counts, "frames searched": check.searched}
    )


def _note(content: bytes, name: str, job: _Job) -> Outcome:
    text, _ = plain_text(content, Path(name).name, most=DEFAULT_LIMITS.text_bytes)
    cleaned = clean_note(text)
    output = f"notes/{job.pseudonyms.file_name(content)}.txt"
    status = write_new(job.target / output, cleaned.text.encode())
    return Outcome(input=name, status=status, output=output, counts=cleaned.counts)
