"""Many recordings -> Transcripts, several at once; ``dictate`` hears each of them.

One that cannot be read does not stop the others: its error comes in the place of its transcript.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from medvox.data.intake import Kind, kind_of
from medvox.data.results import Transcript
from medvox.dictate import DEFAULT_DECODING, Decoding, load_recogniser, open_decoder, transcribe
from medvox.errors import BudgetError, InputError, MedvoxError, ModelError, UsageError
from medvox.models.recogniser import Recogniser
from medvox.models.speech_model import SpeechModel, TokenDecoder
from medvox.parse.commands import DEFAULT_WRITING, WritingSettings
from medvox.types import Progress, no_progress

Outcome = Transcript | MedvoxError
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_loaded: list[TokenDecoder | Recogniser] = []  # in processes that hear for another one


@dataclass(frozen=True, kw_only=True, slots=True)
class Dictation:
    """How recordings are heard and written; see ``dictate.transcribe``."""

    model: str | None = None
    precision: str = "auto"
    decoding: Decoding = DEFAULT_DECODING
    writing: WritingSettings = DEFAULT_WRITING


def find_recordings(paths: Sequence[Path]) -> dict[Path, Path]:
    """The given files, and all sound files in the given folders, by content and in order of their names.

    Hidden files and links inside folders are passed over.

    Returns:
        for each file a name of its own: its path within the folder that was given, or its file name.

    Raises:
        InputError: a folder holds no recording (``E_NO_RECORDING``).
        UsageError: two of them would have the same name (``E_SAME_NAME``).
    """
    found: dict[Path, Path] = {}
    for path in paths:
        inside = [file for file in _files(path) if kind_of(file) is Kind.AUDIO] if path.is_dir() else [path]
        if not inside:
            raise InputError(
                f"{path.name} holds no recording", fix="give a folder of sound files", code="E_NO_RECORDING"
            )
        found |= {file: file.relative_to(path) if path.is_dir() else Path(file.name) for file in inside}
    if len(set(found.values())) < len(found):
        raise UsageError(
            "two of the recordings have the same name", fix="give the folder that holds both", code="E_SAME_NAME"
        )
    return found


def transcribe_all(
    files: Sequence[Path],
    dictation: Dictation,
    *,
    jobs: int = 1,
    notice: Callable[[object], None] = lambda _: None,
    progress: Progress = no_progress,
) -> Iterator[tuple[Path, Outcome]]:
    """Recognises the speech in several files; each comes as soon as it and those before it are done.

    Args:
        files: as for ``transcribe``.
        dictation: how they are heard and written.
        jobs: processes, each with the model; they share the processor cores.
        notice: is given the recogniser before it hears anything, to tell its user what must be known.
        progress: told about each file, or with one job about each part of a file.

    Raises:
        MedvoxError: of the model or the decoding, which would be the same for every file.
    """
    recogniser = _recogniser(dictation)
    notice(recogniser)
    if jobs == 1 or len(files) == 1:
        for file in files:
            yield file, _outcome(partial(_transcribe, file, dictation, recogniser, progress))
        return
    kept = {name: os.environ.get(name) for name in THREADS}
    # each process reads these when it starts, before it loads any library
    os.environ.update(dict.fromkeys(THREADS, str(max(1, (os.cpu_count() or 1) // jobs))))
    pool = ProcessPoolExecutor(min(jobs, len(files)), mp_context=get_context("spawn"))
    try:
        coming = [(file, pool.submit(_transcribe_apart, file, dictation)) for file in files]
        for number, (file, future) in enumerate(coming, start=1):
            outcome = _outcome(partial(_result, future))
            progress("transcribing", number, len(files))
            yield file, outcome
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _recogniser(dictation: Dictation) -> TokenDecoder | Recogniser:
    model = load_recogniser(dictation.model, precision=dictation.precision)
    return open_decoder(model, dictation.decoding) if isinstance(model, SpeechModel) else model


def _outcome(hear: Callable[[], Transcript]) -> Outcome:
    """What came out; errors of the file itself are passed on in its place."""
    try:
        return hear()
    except (InputError, ModelError, BudgetError) as error:
        return error


def _result(future: Future[Transcript]) -> Transcript:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise ModelError(
            "the process that heard this file was lost, perhaps for want of memory",
            fix="use fewer jobs",
            code="E_WORKER_LOST",
        ) from error


def _transcribe(
    file: Path, dictation: Dictation, recogniser: TokenDecoder | Recogniser, progress: Progress = no_progress
) -> Transcript:
    return transcribe(file, recogniser, decoding=dictation.decoding, writing=dictation.writing, progress=progress)


def _transcribe_apart(file: Path, dictation: Dictation) -> Transcript:
    """In a process of its own, which serves one ``Dictation`` and loads its model once."""
    if not _loaded:
        _loaded.append(_recogniser(dictation))
    return _transcribe(file, dictation, _loaded[0])


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(place) / name
            if not name.startswith(".") and file.is_file() and not file.is_symlink():
                yield file
