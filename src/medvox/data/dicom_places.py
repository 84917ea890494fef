"""A path -> the files to look at: one file, everything below a folder, or what a DICOMDIR names.

Very first step of ``data/dicom.py``. Opens nothing but a DICOMDIR. What cannot be looked at is told, never fatal.

Source: DICOM PS3.3 annex F (DICOMDIR), PS3.10 section 8.2 (file IDs).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset

from medvox.data.dicom_file import PREAMBLE_BYTES, read_dataset_file, unreadable
from medvox.data.dicom_header import Header
from medvox.data.dicom_kind import DICOMDIR
from medvox.data.limits import Limits
from medvox.data.volume import NotUsed
from medvox.errors import BudgetError, InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Files in a stable order, the folder that their names are relative to, and what is left out.

    ``damaged`` files say that they are DICOM, but cannot be read.
    """

    root: Path
    files: list[Path] = field(default_factory=list)
    not_used: list[NotUsed] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)

    def leave_out(self, path: Path, reason: str) -> None:
        """Note that a file is not used, and why."""
        self.not_used.append(NotUsed(path=self.name(path), reason=reason))

    def name(self, file: Path) -> str:
        """A file's name for messages: relative to the root."""
        return file.relative_to(self.root).as_posix()


def places_at(path: Path, limits: Limits) -> Places:
    """The files at a path.

    Raises:
        InputError: nothing there (``E_INPUT_MISSING``), an empty folder (``E_INPUT_EMPTY``).
        BudgetError: too many files (``E_INPUT_TOO_MANY_FILES``).
    """
    try:
        if path.is_file():
            return Places(root=path.parent, files=[path])
        exists = path.is_dir()
    except (OSError, ValueError) as error:
        raise unreadable(path.name, f"the path cannot be opened ({type(error).__name__})") from error
    if not exists:
        raise InputError(
            f"{path.name} does not exist, or is neither a file nor a folder",
            code="E_INPUT_MISSING",
            fix="Check the path.",
        )
    places = Places(root=path)
    _walk(path, places, limits)
    if not places.files and not places.not_used:
        raise InputError(
            f"the folder {path.name} holds no file", code="E_INPUT_EMPTY", fix="Give a folder with DICOM files."
        )
    return places


def _walk(root: Path, places: Places, limits: Limits) -> None:
    """Add the regular files below a folder. Links to folders are not followed, so that the walk ends."""
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            places.leave_out(folder, f"the folder cannot be opened ({type(error).__name__})")
            continue
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                _add(folder / entry.name, entry, places)
        if len(places.files) > limits.files:
            raise BudgetError(
                f"more than {limits.files} files below {places.root.name}",
                code="E_INPUT_TOO_MANY_FILES",
                fix="Give the folder of one study or one series.",
            )
        folders.extend(folder / entry.name for entry in reversed(entries) if entry.is_dir(follow_symlinks=False))


def _add(path: Path, entry: os.DirEntry[str], places: Places) -> None:
    if entry.is_file():
        places.files.append(path)
    elif entry.is_dir():
        places.leave_out(path, "a link to a folder, which is not followed")
    else:
        places.leave_out(path, "a broken link" if entry.is_symlink() else "not a regular file")


def bears_mark(path: Path) -> bool:
    """Whether a file says that it is DICOM."""
    try:
        with path.open("rb") as file:
            return file.read(PREAMBLE_BYTES)[128:] == b"DICM"
    except OSError:
        return False


def is_directory_file(header: Header) -> bool:
    """Whether a DICOM file is a DICOMDIR: an index of files, with no image."""
    return header.sop_class == DICOMDIR


def places_in(directory: Path, limits: Limits) -> Places:
    """The files that a DICOMDIR names, below its own folder.

    Raises:
        InputError: it names a file outside its folder (``E_DICOM_DIR_ESCAPE``), or none (``E_INPUT_EMPTY``).
        BudgetError: too many files (``E_INPUT_TOO_MANY_FILES``).
    """
    dataset = read_dataset_file(directory, limits=limits)
    places = Places(root=directory.parent)
    named = dict.fromkeys(_file_ids(dataset, directory))
    if len(named) > limits.files:
        raise BudgetError(
            f"{directory.name} names more than {limits.files} files",
            code="E_INPUT_TOO_MANY_FILES",
            fix="Give the folder of one study or one series.",
        )
    for parts in named:
        file = _resolved(directory, parts)
        if file is None:
            places.not_used.append(NotUsed(path="/".join(parts), reason="named by the DICOMDIR, but not there"))
        else:
            places.files.append(file)
    if not named:
        raise InputError(f"{directory.name} names no file", code="E_INPUT_EMPTY", fix="Give the folder with the files.")
    return places


def _file_ids(dataset: Dataset, directory: Path) -> list[tuple[str, ...]]:
    found = []
    try:
        for record in dataset.get("DirectoryRecordSequence") or []:
            value = record.get("ReferencedFileID")
            if value:
                found.append((value,) if isinstance(value, str) else tuple(map(str, value)))
    except Exception as error:  # damaged records raise at least ten kinds when they are looked at
        raise unreadable(directory.name, f"its records are damaged ({type(error).__name__})") from error
    return found


def _resolved(directory: Path, parts: tuple[str, ...]) -> Path | None:
    """The file that a file ID names; some systems write the names in lower case."""
    for spelling in (parts, tuple(part.lower() for part in parts)):
        if any(part in ("", ".", "..") or "/" in part or "\\" in part or "\0" in part for part in spelling):
            raise _escape(directory)
        file = directory.parent.joinpath(*spelling)
        try:
            if not file.resolve().is_relative_to(directory.parent.resolve()):
                raise _escape(directory)
            if file.is_file():
                return file
        except OSError:
            continue
    return None


def _escape(directory: Path) -> InputError:
    return InputError(
        f"{directory.name} names a file outside its own folder",
        code="E_DICOM_DIR_ESCAPE",
        fix="Give the folder with the images instead.",
    )
