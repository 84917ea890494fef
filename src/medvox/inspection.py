"""The verb behind ``medvox inspect``: what lies at a path, and can it be used.

DICOM and NIfTI are judged by their headers; other files are read, since only that tells whether they can be. Gives the
public JSON contract. Knows no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medvox.data.archive import unpacked
from medvox.data.dicom import find_study
from medvox.data.document import read_document
from medvox.data.identity import identity_summary
from medvox.data.intake import Kind, kind_of
from medvox.data.nifti import find_nifti
from medvox.data.picture import read_picture
from medvox.data.record import read_record
from medvox.data.slide import open_slide
from medvox.data.utterance import read_utterance
from medvox.data.volume import NotUsed, Series, Study
from medvox.errors import InputError, MedvoxError
from medvox.types import Flag, Progress, no_progress, to_json

SERIES_FACTS = (
    "uid", "key", "kind", "modality", "description", "shape", "volumes", "part", "parts", "spacing_mm", "affine_lps",
    "verdict", "flags",
)  # fmt: skip
NO_DICOM = ("E_DICOM_NONE", "E_DICOM_NO_SERIES", "E_DICOM_UNREADABLE")
Found = tuple[Mapping[str, Any], tuple[Flag, ...]]


def inspect(path: str | Path, progress: Progress = no_progress) -> dict[str, Any]:
    """List what lies at a path with verdicts, and the files that were left out.

    Args:
        path: a file, a zip, or a folder that is searched with its subfolders.
        progress: called with (what, done, total) while files are looked at.

    Returns:
        ``{"series": [...], "files": [...], "identity": {...}, "not_used": [{"path", "reason"}]}``, see
        ``docs/reference/json-contracts.md``. Files are named relative to ``path``, those of a series in slice order;
        ``affine_lps`` maps an index (slice, row, column) to LPS millimetres. What is refused carries the code of the
        refusal among its flags. ``identity`` counts identifying elements by category in the first file of each
        series, and shows none.

    Raises:
        InputError: nothing at the path, or nothing that medvox reads.
    """
    with unpacked(Path(path)) as root:
        study, nothing = _study(root, progress)
        series = [_series_json(one, root) for one in study.series]
        files: list[dict[str, Any]] = []
        not_used = []
        for left_out in study.not_used:
            found = _other(root / left_out.path if root.is_dir() else root, root)
            if found is None:
                not_used.append(to_json(left_out))
            else:
                (series if "affine_lps" in found else files).append(found)
        if not series and not files and nothing:
            raise nothing
        first_of_each = [one.files[0] for one in study.series]
        return {
            "series": series,
            "files": files,
            "identity": identity_summary(first_of_each).as_dict(),
            "not_used": not_used,
        }


def _study(root: Path, progress: Progress) -> tuple[Study, InputError | None]:
    """The DICOM series; without any, every file as not used, and the error that this would be."""
    if kind_of(root) not in (Kind.FOLDER, Kind.DICOM, Kind.DICOMDIR, Kind.UNKNOWN):
        return Study(series=(), not_used=(NotUsed(path=root.name, reason="no DICOM"),)), None
    try:
        return find_study(root, progress), None
    except InputError as error:
        if error.code not in NO_DICOM:
            raise
        names = [file.relative_to(root) for file in sorted(root.rglob("*")) if file.is_file()] if root.is_dir() else []
        left_out = tuple(NotUsed(path=name.as_posix(), reason="cannot be read as DICOM") for name in names)
        return Study(series=(), not_used=left_out), error


def _other(file: Path, root: Path) -> dict[str, Any] | None:
    """What a file that is no DICOM image is; None when medvox does not read its kind."""
    name = file.name if file == root else file.relative_to(root).as_posix()
    try:
        kind = kind_of(file)
        if kind is Kind.NIFTI:
            return _series_json(find_nifti(file), root)
        if kind not in READERS:
            return None
        facts, flags = READERS[kind](file)
    except MedvoxError as error:
        refusal = Flag(code=error.code, text=error.message)
        return {"path": name, "kind": "unreadable", "verdict": "refuse", "facts": {}, "flags": [refusal.as_dict()]}
    verdict = "flagged" if flags else "accept"
    return {
        "path": name,
        "kind": kind.value,
        "verdict": verdict,
        "facts": to_json(dict(facts)),
        "flags": to_json(flags),
    }


def _picture(file: Path) -> Found:
    picture = read_picture(file)
    rows, columns = picture.pixels.shape[:2]
    return {"rows": rows, "columns": columns, "colour": picture.pixels.ndim == 3}, picture.flags


def _slide(file: Path) -> Found:
    with open_slide(file) as slide:
        levels = [[level.width, level.height] for level in slide.levels]
        return {"format": slide.vendor, "mpp_um": slide.mpp_um, "levels": levels}, slide.flags


def _document(file: Path) -> Found:
    document = read_document(file)
    with_text = sum(page.kind == "text" for page in document.pages)
    return {"pages": len(document.pages), "with_text": with_text}, document.flags


def _record(file: Path) -> Found:
    record = read_record(file)
    counts = Counter(resource.type for resource in record.resources)
    facts = {"resources": dict(counts.most_common())} if counts else {"sections": len(record.sections)}
    return {"format": record.kind, **facts}, record.flags


def _utterance(file: Path) -> Found:
    utterance = read_utterance(file)
    facts = {
        "seconds": round(utterance.duration_s, 2),
        "rate_hz": utterance.source_rate_hz,
        "channels": utterance.channels,
    }
    return facts, utterance.flags


READERS: dict[Kind, Callable[[Path], Found]] = {
    Kind.PICTURE: _picture,
    Kind.SLIDE: _slide,
    Kind.PDF: _document,
    Kind.DOCX: _document,
    Kind.FHIR: _record,
    Kind.CDA: _record,
    Kind.NOTE: _record,
    Kind.AUDIO: _utterance,
}


def _series_json(series: Series, root: Path) -> dict[str, Any]:
    names = [file.name if file == root else file.relative_to(root).as_posix() for file in series.files]
    return {name: to_json(getattr(series, name)) for name in SERIES_FACTS} | {"files": names}
