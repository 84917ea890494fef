"""The report of a de-identification run, and the checks of its target folder.

Used by the verb ``deid``. ``report.json`` holds no identifier: files are numbers, the key is a fingerprint. It also
marks a folder as ours, so that an unfinished run can go on. Knows no DICOM.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from medvox.data.deidentify import METHOD, Options
from medvox.errors import SetupError, UsageError

REPORT_NAME = "report.json"
_VARYING = frozenset({"files", "finished"})
STATEMENT = (
    "Identifiers were removed by rules. Nobody has checked the result: pixels may show faces and unfound text, and "
    "notes may name people that the rules do not know. The recall measured on generated notes is in the documentation."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What two runs must share to work on one folder."""

    options: Options
    allow_burned_in: bool
    key: str


def report_of(settings: Settings, files: Sequence[Mapping[str, Any]], *, finished: bool) -> dict[str, Any]:
    """The report as a JSON object."""
    return {
        "statement": STATEMENT,
        "profile": METHOD,
        "codes": [{"value": value, "meaning": meaning} for value, meaning in settings.options.codes],
        "options": asdict(settings.options),
        "allow_burned_in": settings.allow_burned_in,
        "key": settings.key,
        "finished": finished,
        "files": list(files),
    }


def check_places(source: Path, target: Path, key_file: Path | None) -> None:
    """Refuse a target that touches the input, and a key that would be read or given away with either.

    Raises:
        UsageError: ``E_DEID_TARGET`` or ``E_DEID_KEY_PLACE``.
    """
    inputs, outputs = source.resolve(), target.resolve()
    if outputs == inputs or inputs in outputs.parents or outputs in inputs.parents:
        raise UsageError(
            "the target and the input lie in each other",
            code="E_DEID_TARGET",
            fix="Name a new folder outside of the input.",
        )
    key = key_file.resolve() if key_file else None
    if key and any(place == key or place in key.parents for place in (inputs, outputs)):
        raise UsageError(
            "the key lies in the input or in the target",
            code="E_DEID_KEY_PLACE",
            fix="Keep the key in a folder of its own: whoever has it can link copies to originals.",
        )


def open_target(target: Path, settings: Settings) -> None:
    """Make the target, or accept the one of an earlier run with the same settings, and mark it as ours.

    Raises:
        UsageError: the target holds other files, or another run's (``E_DEID_TARGET``).
    """
    holds_files = target.is_dir() and any(target.iterdir())
    if (target.exists() and not target.is_dir()) or (holds_files and not _is_ours(target, settings)):
        raise UsageError(
            f"the target {target.name} exists and is not an unfinished run with this key and these options",
            code="E_DEID_TARGET",
            fix="Name a new folder, or go on with the key file and options of the run that made this one.",
        )
    write_report(target, report_of(settings, (), finished=False))


def write_report(target: Path, report: Mapping[str, Any]) -> None:
    """Write ``report.json`` in one step.

    Raises:
        SetupError: ``E_DEID_WRITE``.
    """
    _write_whole(target / REPORT_NAME, json.dumps(report, indent=1).encode() + b"\n")


def write_new(path: Path, content: bytes) -> Literal["written", "present"]:
    """Write a file in one step, unless an earlier run or an equal input has left it already."""
    if path.exists():
        return "present"
    _write_whole(path, content)
    return "written"


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there with all of its content, or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(partial)
    except OSError as error:
        raise SetupError(
            f"{path.name} cannot be written ({type(error).__name__})",
            code="E_DEID_WRITE",
            fix="Name a target folder with enough space that you may write to.",
        ) from error


def _is_ours(target: Path, settings: Settings) -> bool:
    try:
        report = json.loads((target / REPORT_NAME).read_bytes())
    except (OSError, ValueError):
        return False
    expected = report_of(settings, (), finished=False)
    return isinstance(report, dict) and all(report.get(key) == expected[key] for key in expected if key not in _VARYING)
