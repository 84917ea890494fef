"""Recordings with what is said in them, listed in a file or lying side by side in a folder -> Manifest of Clips.

Beside ``utterance``, which reads each sound once to check it. Loses no row: what cannot be used is kept as a ``BadRow``
with its place and the reason. Knows no model, no token and no feature. Reasons name columns and files, never a text.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medvox.data.json_tree import parse_json
from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.data.text_file import file_bytes
from medvox.data.utterance import Utterance, read_utterance
from medvox.errors import BudgetError, InputError, MedvoxError
from medvox.types import Flag, Progress, no_progress

# Names of the columns, the first one that is there counts. They cover the hub's folders, NeMo and Common Voice.
AUDIO_COLUMNS = ("audio", "file", "path", "file_name", "audio_filepath")
TEXT_COLUMNS = ("text", "transcript", "sentence", "transcription")
SPEAKER_COLUMNS = ("speaker", "speaker_id", "client_id")
SPLIT_COLUMN = "split"
SPLITS = {
    "train": "train", "training": "train", "validation": "validation", "val": "validation", "valid": "validation",
    "dev": "validation", "eval": "validation", "test": "test",
}  # fmt: skip
MANIFEST_NAMES = ("manifest.jsonl", "manifest.csv", "manifest.tsv", "metadata.jsonl", "metadata.csv")
JSON_ENDINGS, TABLE_ENDINGS = (".jsonl", ".json", ".ndjson"), (".csv", ".tsv")
SOUND_ENDINGS = frozenset({
    ".wav", ".aiff", ".aif", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".mp4", ".webm", ".aac", ".amr", ".3gp",
})  # fmt: skip  # what ``utterance`` reads
SHORTEST_S, LONGEST_S = 0.6, 30.0  # 0.6 s is the published lower bound
SHOWN = 5  # bad rows in an error message


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """A recording that was read once and found usable.

    Attributes:
        path: the sound.
        text: what is said, white space squeezed.
        where: ``line 3`` of the manifest, or the file's name.
        split: ``train``, ``validation`` or ``test``; empty where the manifest does not say.
        speaker: who speaks; empty where the manifest does not say.
        duration_s: of the sound.
        sha256: of the file.
    """

    path: Path
    text: str
    where: str
    split: str = ""
    speaker: str = ""
    duration_s: float
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRow:
    """A row that cannot be used: where it stands and why."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What can be used and what cannot; ``flags`` count what the recordings' readers remarked."""

    name: str
    sha256: str
    clips: tuple[Clip, ...]
    bad: tuple[BadRow, ...]
    flags: tuple[Flag, ...] = ()

    @property
    def hours(self) -> float:
        """Length of all clips together."""
        return sum(clip.duration_s for clip in self.clips) / 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """Where the sounds lie (None: beside the manifest), how short and long they may be, and the readers' limits."""

    sounds: Path | None = None
    shortest_s: float = SHORTEST_S
    longest_s: float = LONGEST_S
    limits: Limits = DEFAULT_LIMITS


@dataclass(frozen=True, slots=True)
class _Row:
    where: str
    values: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""  # found while reading the row itself


def read_manifest(path: Path, *, bounds: Bounds = Bounds(), progress: Progress = no_progress) -> Manifest:
    """Reads a manifest, or a folder with one, or a folder of pairs ``NAME.wav`` and ``NAME.txt``.

    A manifest is JSON lines (``.jsonl``) or a table with a header (``.csv``, ``.tsv``), in UTF-8, with a column of
    sound files (``AUDIO_COLUMNS``), one of texts (``TEXT_COLUMNS``), and if known ``split`` and a speaker. Every sound
    is read once: what is missing, unreadable, silent, too short, too long or there twice is found before any training.

    Args:
        path: the manifest or the folder.
        bounds: where the sounds lie, how long they may be.
        progress: told after each row.

    Raises:
        InputError: ``E_MANIFEST_MISSING``, ``E_MANIFEST_AMBIGUOUS`` (two manifests in the folder), ``E_MANIFEST_KIND``,
            ``E_MANIFEST_ENCODING``, ``E_MANIFEST_UNREADABLE``, ``E_MANIFEST_COLUMNS``, ``E_MANIFEST_EMPTY`` (no row).
        BudgetError: ``E_INPUT_LIMIT``, too large a manifest or too many files.
    """
    listing = _listing(path)
    if listing is None:
        root, rows, digest = path, _paired_rows(path, bounds.limits), ""
    else:
        content = file_bytes(listing, most=bounds.limits.text_bytes)
        root, rows, digest = listing.parent, _listed_rows(listing, content), hashlib.sha256(content).hexdigest()
    if not rows:
        raise InputError(
            f"{path.name} lists no recording",
            fix="give a manifest with at least one row, or a folder of NAME.wav and NAME.txt",
            code="E_MANIFEST_EMPTY",
        )
    if bounds.sounds is not None:
        root = bounds.sounds
    clips, bad, remarks = _checked(rows, root, bounds, progress)
    if listing is None:
        digest = hashlib.sha256("".join(f"{one.sha256}\t{one.text}\n" for one in clips).encode()).hexdigest()
    flags = (
        Flag(code=code, text=f"{count} of {len(clips)} recordings: {text}") for (code, text), count in remarks.items()
    )
    return Manifest(name=path.name, sha256=digest, clips=tuple(clips), bad=tuple(bad), flags=tuple(flags))


def refuse_bad_rows(bad: Sequence[BadRow], rows: int, name: str) -> None:
    """Stops where rows cannot be used.

    Raises:
        InputError: ``E_MANIFEST_ROWS``, with the first of them.
    """
    if bad:
        more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise InputError(
            f"{len(bad)} of {rows} rows of {name} cannot be used: {'; '.join(map(str, bad[:SHOWN]))}{more}",
            fix="mend these rows, or leave them out with --skip-bad",
            code="E_MANIFEST_ROWS",
        )


def _listing(path: Path) -> Path | None:
    """The manifest; None for a folder without one."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"{path.name} does not exist", fix="check the path", code="E_MANIFEST_MISSING")
    found = [path / name for name in MANIFEST_NAMES if (path / name).is_file()]
    if len(found) > 1:
        raise InputError(
            f"{path.name} holds more than one manifest: {', '.join(one.name for one in found)}",
            fix="give the one that counts",
            code="E_MANIFEST_AMBIGUOUS",
        )
    return found[0] if found else None


def _listed_rows(path: Path, content: bytes) -> list[_Row]:
    ending = path.suffix.lower()
    if ending not in JSON_ENDINGS + TABLE_ENDINGS:
        raise InputError(
            f"{path.name} is no manifest that is read", fix="give .jsonl, .csv or .tsv", code="E_MANIFEST_KIND"
        )
    text = _decoded(content, path.name)
    if ending in JSON_ENDINGS:
        return [_json_row(line, number) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    return list(_table_rows(text, path))


def _decoded(content: bytes, name: str) -> str:
    """UTF-8, or UTF-16 with its mark. Another encoding would be learned as wrong letters, so it is refused."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeError:
        raise InputError(f"{name} is not UTF-8", fix="save it as UTF-8", code="E_MANIFEST_ENCODING") from None
    if "\0" in text:
        raise InputError(f"{name} is not plain text", fix="save it as UTF-8 text", code="E_MANIFEST_UNREADABLE")
    return text


def _json_row(line: str, number: int) -> _Row:
    where = f"line {number}"
    try:
        values = parse_json(line.encode(), where)
    except MedvoxError as error:
        return _Row(where, fault=error.message.removeprefix(f"{where} "))
    except UnicodeError:
        return _Row(where, fault="is no text")
    return _Row(where, values) if isinstance(values, dict) else _Row(where, fault="is no JSON object")


def _table_rows(text: str, path: Path) -> Iterator[_Row]:
    header = text.partition("\n")[0]
    semicolons = header.count(";") > header.count(",")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ";" if semicolons else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    before = 0
    names: list[str] = []
    try:
        for fields in reader:
            where, before = f"line {before + 1}", reader.line_num
            if not names:
                names = _column_names(fields, path.name)
            elif len(fields) != len(names) and any(map(str.strip, fields)):
                fault = f"has {len(fields)} fields, the header {len(names)}; texts with {delimiter!r} need quotes"
                yield _Row(where, fault=fault)
            elif any(map(str.strip, fields)):
                yield _Row(where, dict(zip(names, fields, strict=True)))
    except csv.Error as error:
        raise InputError(
            f"{path.name} cannot be read as a table beyond line {before}",
            fix='close every quote; a quote inside a text is written twice ("")',
            code="E_MANIFEST_UNREADABLE",
        ) from error


def _column_names(fields: Sequence[str], name: str) -> list[str]:
    names = [one.strip().lower() for one in fields]
    wanted = (AUDIO_COLUMNS, TEXT_COLUMNS)
    if len(set(names)) < len(names) or not all(set(names).intersection(columns) for columns in wanted):
        raise InputError(
            f"the first line of {name} must name its columns, each once: one of {', '.join(AUDIO_COLUMNS)} and one of "
            f"{', '.join(TEXT_COLUMNS)}",
            fix="write a header such as audio,text,speaker,split",
            code="E_MANIFEST_COLUMNS",
        )
    return names


def _paired_rows(folder: Path, limits: Limits) -> list[_Row]:
    """One row a sound or a text: a text without its sound is a row too, so that nothing is lost."""
    found: dict[Path, list[Path]] = {}
    texts: set[Path] = set()
    for count, path in enumerate(sorted(folder.rglob("*")), start=1):
        if count > limits.files:
            raise BudgetError(
                f"{folder.name} holds more than {limits.files} files", fix="write a manifest", code="E_INPUT_LIMIT"
            )
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix.lower() in SOUND_ENDINGS:
            found.setdefault(path.with_suffix(".txt"), []).append(path)
        elif path.suffix.lower() == ".txt":
            texts.add(path)
    rows = [_pair(folder, text, sound, len(sounds)) for text, sounds in found.items() for sound in sounds]
    lonely = (_Row(_named(folder, text), fault="there is no sound of this name") for text in texts - set(found))
    return sorted([*rows, *lonely], key=lambda row: row.where) if found else []


def _pair(folder: Path, text: Path, sound: Path, sounds: int) -> _Row:
    where = _named(folder, sound)
    if sounds > 1:
        return _Row(where, fault=f"{sounds} sounds belong to {text.name}")
    try:
        said = _decoded(file_bytes(text, most=2**20), text.name)
    except MedvoxError as error:
        return _Row(where, fault=error.message if text.exists() else f"{text.name} is missing")
    return _Row(where, {"audio": where, "text": said})


def _named(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _checked(
    rows: Sequence[_Row], root: Path, bounds: Bounds, progress: Progress
) -> tuple[list[Clip], list[BadRow], Counter[tuple[str, str]]]:
    clips: list[Clip] = []
    bad: list[BadRow] = []
    remarks: Counter[tuple[str, str]] = Counter()
    known: dict[str, str] = {}  # path, and hash of the sound -> where it was first met
    for done, row in enumerate(rows, start=1):
        outcome = row.fault or _clip(row, root, bounds, known)
        if isinstance(outcome, str):
            bad.append(BadRow(where=row.where, reason=outcome))
        else:
            clip, utterance = outcome
            clips.append(clip)
            remarks.update((flag.code, flag.text) for flag in utterance.flags)
        progress("checking recordings", done, len(rows))
    return clips, bad, remarks


def _clip(row: _Row, root: Path, bounds: Bounds, known: dict[str, str]) -> tuple[Clip, Utterance] | str:
    """The clip of a row with its sound, or why there is none."""
    named, text = _value(row, AUDIO_COLUMNS), _value(row, TEXT_COLUMNS)
    split = (_value(row, (SPLIT_COLUMN,)) or "").lower()
    if not named:
        return "names no sound file"
    if not text:
        return "the text is empty"
    if split and split not in SPLITS:
        return "the split is none of train, validation, test"
    path = _inside(root, named)
    if isinstance(path, str):
        return path
    if str(path) in known:
        return f"the sound is that of {known[str(path)]}"
    known[str(path)] = row.where
    try:
        utterance = read_utterance(path, limits=replace(bounds.limits, audio_s=max(bounds.longest_s, 60.0)))
    except MedvoxError as error:
        too_long = error.code == "E_AUDIO_LIMIT"
        return f"{error.message}; {error.fix}" if not too_long else f"{error.message}; cut it into pieces"
    if not bounds.shortest_s <= utterance.duration_s <= bounds.longest_s:
        return (
            f"the sound has {utterance.duration_s:.2f} s; {bounds.shortest_s:g} to {bounds.longest_s:g} s can be used"
        )
    digest = utterance.source.sha256
    if digest in known:
        return f"the sound is the same as that of {known[digest]}"
    known[digest] = row.where
    clip = Clip(
        path=path,
        text=text,
        where=row.where,
        split=SPLITS.get(split, ""),
        speaker=_value(row, SPEAKER_COLUMNS) or "",
        duration_s=utterance.duration_s,
        sha256=digest,
    )
    return clip, utterance


def _value(row: _Row, columns: Sequence[str]) -> str | None:
    """The first of the columns that the row has, white space squeezed; numbers as they are written."""
    for column in columns:
        value = row.values.get(column)
        if isinstance(value, str | int) and not isinstance(value, bool):
            return " ".join(str(value).split())
    return None


def _inside(root: Path, named: str) -> Path | str:
    """The path of a sound, which must lie below the root once links are followed; else why not."""
    try:
        path = (root / named).resolve()
        if not path.is_relative_to(root.resolve()):
            return "the sound lies outside the folder"
        return path if path.is_file() else "the sound file is missing"
    except (OSError, ValueError, RuntimeError):  # a zero byte, too long a name, a ring of links
        return "the sound's path cannot be used"
