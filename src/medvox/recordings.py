"""Many recordings -> Transcripts, several at once; ``dictate`` hears each of them.

One that cannot be read does not stop the others: its error comes in the place of its transcript.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from medvox.data.intake import Kind, kind_of
from medvox.data.results import Transcript
from medvox.dictate import DEFAULT_DECODING, Decoding, load_recogniser, transcribe
from medvox.errors import InputError, MedvoxError, ModelError
from medvox.types import Progress, no_progress

Outcome = Transcript | MedvoxError


def find_recordings(paths: Sequence[Path]) -> list[Path]:
    """The given files, and all sound files in the given folders, by content and in order of their names.

    Hidden files and links inside folders are passed over.

    Raises:
        InputError: a folder holds no recording (``E_NO_RECORDING``).
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [file for file in _files(path) if kind_of(file) is Kind.AUDIO]
        if not inside:
            raise InputError(
                f"{path.name} holds no recording", fix="give a folder of sound files", code="E_NO_RECORDING"
            )
        found += inside
    return list(dict.fromkeys(found))


def transcribe_all(
    files: Sequence[Path],
    model: str | None = None,
    *,
    decoding: Decoding = DEFAULT_DECODING,
    jobs: int = 1,
    progress: Progress = no_progress,
) -> Iterator[tuple[Path, Outcome]]:
    """Recognises the speech in several files; each comes as soon as it and those before it are done.

    Args:
        files: as for ``transcribe``.
        model: the name or folder of a model; it is loaded once in each process.
        decoding: how tokens are chosen.
        jobs: processes; they share the processor cores.
        progress: told about each file, or with one job about each part of a file.

    Raises:
        MedvoxError: of the model or the decoding, which would be the same for every file.
    """
    if jobs == 1 or len(files) == 1:
        recogniser = load_recogniser(model)
        for file in files:
            yield file, _outcome(lambda file=file: transcribe(file, recogniser, decoding=decoding, progress=progress))  # type: ignore[misc]
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    start = get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=start, initializer=_prepare, initargs=(threads,)) as pool:
        coming = [(file, pool.submit(_transcribe, file, model, decoding)) for file in files]
        try:
            for number, (file, future) in enumerate(coming, start=1):
                yield file, _outcome(lambda future=future: _result(future))  # type: ignore[misc]
                progress("transcribing", number, len(files))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _outcome(hear: Callable[[], Transcript]) -> Outcome:
    """What came out; only errors of the file itself are passed on in its place."""
    try:
        return hear()
    except (InputError, ModelError) as error:
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


def _prepare(threads: int) -> None:
    # every variable that the libraries below look at when they are loaded, which is after this
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)


def _transcribe(file: Path, model: str | None, decoding: Decoding) -> Transcript:
    return transcribe(file, load_recogniser(model), decoding=decoding)


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(place) / name
            if not name.startswith(".") and file.is_file() and not file.is_symlink():
                yield file
