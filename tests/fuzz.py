"""The fuzzer: breaks valid files in seeded ways and reads each in a limited child. ``make fuzz`` runs 36,000.

A reader may give a value or raise a ``MedvoxError``. Everything else is a fault: another exception, a signal, more than
20 seconds, more than 2 GiB, numbers that are not finite. Usage: ``python tests/fuzz.py --files 36000 [--write]``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import mmap
import os
import platform
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_seeds import Seed, seeds
from mutants import mutate

from medvox.data.archive import unpacked
from medvox.data.dicom import find_study, read_volumes
from medvox.data.dicom_pictures import read_pictures
from medvox.data.document import page_image, read_document
from medvox.data.intake import Kind, kind_of
from medvox.data.nifti import read_nifti
from medvox.data.picture import read_picture
from medvox.data.record import read_record
from medvox.data.slide import open_slide
from medvox.data.utterance import read_utterance
from medvox.errors import MedvoxError

KINDS = ("dicom", "nifti", "png", "tiff", "pdf", "wav", "fhir", "photo", "sound", "docx", "cda", "zip")
FILES = 36_000  # 21,000 of the first seven kinds, which hospitals send most
BATCH, CLOCK_S, MEMORY_BYTES = 250, 20.0, 2 * 2**30
Reader = Callable[[Path], None]


@dataclass(kw_only=True, slots=True)
class Tally:
    """What happened: outcomes by kind, and the faults with the numbers that make them again."""

    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})
    faults: list[dict[str, Any]] = field(default_factory=list)
    slowest_s: float = 0.0
    peak_bytes: int = 0


def read_dicom(path: Path) -> None:
    for series in find_study(path).series:
        if series.verdict == "refuse":
            continue
        if series.kind == "volume":
            for volume in read_volumes(series):
                _check_finite(volume.voxels)
        elif series.kind == "pictures":
            for picture in read_pictures(series):
                _check_finite(picture.pixels)
        elif series.kind == "document":
            read_document(path)
        elif series.kind == "slide":
            read_slide(path)


def read_slide(path: Path) -> None:
    with open_slide(path) as slide:
        coarsest = len(slide.levels) - 1
        width, height = slide.levels[coarsest].width, slide.levels[coarsest].height
        slide.read_region((0, 0), coarsest, (min(width, 64), min(height, 64)))


def read_volume_file(path: Path) -> None:
    for volume in read_nifti(path):
        _check_finite(volume.voxels)


def read_tiff(path: Path) -> None:
    for reader in (read_picture, read_document, read_slide) if kind_of(path) is Kind.SLIDE else (read_picture,):
        reader(path)


def read_pages(path: Path) -> None:
    document = read_document(path)
    if document.pages:
        page_image(document, 1, dpi=50)


def read_archive(path: Path) -> None:
    with unpacked(path) as folder:
        for member in folder.rglob("*"):
            if not member.resolve().is_relative_to(folder.resolve()):
                raise ArithmeticError("a member lies outside of its folder")


READERS: dict[str, Reader] = {
    "dicom": read_dicom,
    "nifti": read_volume_file,
    "png": lambda path: _check_finite(read_picture(path).pixels),
    "tiff": read_tiff,
    "pdf": read_pages,
    "wav": lambda path: _check_finite(read_utterance(path).samples),
    "fhir": lambda path: _ignored(read_record(path)),
    "photo": lambda path: _check_finite(read_picture(path).pixels),
    "sound": lambda path: _check_finite(read_utterance(path).samples),
    "docx": lambda path: _ignored(read_document(path)),
    "cda": lambda path: _ignored(read_record(path)),
    "zip": read_archive,
}


def mutant(number: int, seed: int, known: dict[str, list[Seed]]) -> tuple[str, str, bytes]:
    """Kind, name of the seed and content of the mutant of this number."""
    kind = KINDS[number % len(KINDS)]
    random = np.random.default_rng([seed, number])
    chosen = known[kind][random.integers(len(known[kind]))]
    return kind, chosen.name, mutate(chosen.content, kind, random)


def run(files: int, seed: int, readers: dict[str, Reader] = READERS, *, clock_s: float = CLOCK_S) -> Tally:
    """Read the mutants 0 to ``files`` in children of at most 250 each."""
    known = {kind: [one for one in seeds() if one.kind == kind] for kind in KINDS}
    tally, first = Tally(), 0
    place = mmap.mmap(-1, 8)  # shared with the child: the number that it works on
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        while first < files:
            last = min(first + BATCH, files)
            read_end, write_end = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(read_end)
                _batch(range(first, last), seed, known, readers, Path(folder), place, write_end)
            os.close(write_end)
            fault = _watch(pid, read_end, tally, clock_s)
            if fault is None:
                first = last
                continue
            number = struct.unpack("<Q", place[:])[0]
            kind, name, _ = mutant(number, seed, known)
            tally.outcomes[kind][fault] += 1
            tally.faults.append({"number": number, "kind": kind, "seed_file": name, "fault": fault, "where": ""})
            first = number + 1
    return tally


def _batch(
    numbers: range, seed: int, known: dict[str, list[Seed]], readers: dict[str, Reader], folder: Path, place: mmap.mmap,
    write_end: int,
) -> None:  # fmt: skip
    """In the child: read one mutant after the other and tell the outcome of each as a line of JSON."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    with open("/proc/self/statm", "rb") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_BYTES, now + MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in numbers:
        place[:] = struct.pack("<Q", number)
        kind, name, content = mutant(number, seed, known)
        path = folder / f"{kind}.bin"
        path.write_bytes(content)
        started, where = time.perf_counter(), ""
        try:
            kind_of(path)
            readers[kind](path)
            outcome = "read"
        except MedvoxError as error:
            outcome = error.code
        except BaseException as error:
            outcome = f"!{type(error).__name__}"
            where = " < ".join(
                f"{Path(frame.filename).name}:{frame.lineno}"
                for frame in traceback.extract_tb(error.__traceback__)[::-1][:6]
            )
        line = {"number": number, "kind": kind, "seed_file": name, "outcome": outcome, "where": where}
        line["seconds"] = time.perf_counter() - started
        line["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        os.write(write_end, json.dumps(line).encode() + b"\n")
    os._exit(0)


def _watch(pid: int, read_end: int, tally: Tally, clock_s: float) -> str | None:
    """In the parent: collect the outcomes; the fault that ended the child, if one did."""
    hung, rest = False, b""
    while True:
        if not select.select([read_end], [], [], clock_s)[0]:
            hung = True
            os.kill(pid, signal.SIGKILL)
            break
        piece = os.read(read_end, 2**16)
        if not piece:
            break
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            _note(json.loads(line), tally)
    os.close(read_end)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if hung:
        return "!hang"
    return f"!{signal.Signals(-status).name}" if status < 0 else f"!exit {status}" if status else None


def _note(line: dict[str, Any], tally: Tally) -> None:
    tally.outcomes[line["kind"]][line["outcome"]] += 1
    tally.slowest_s = max(tally.slowest_s, line["seconds"])
    tally.peak_bytes = max(tally.peak_bytes, line["peak"])
    if line["outcome"].startswith("!"):
        tally.faults.append({"fault": line["outcome"], **line})


def _check_finite(values: np.ndarray[Any, Any]) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ArithmeticError("a reader gave numbers that are not finite")


def _ignored(_: object) -> None:
    return None


def table(tally: Tally) -> Iterator[str]:
    """Outcomes by kind, as Markdown."""
    yield "| kind | files | read | refused | other exceptions, signals, hangs | most frequent refusals |"
    yield "|---|---|---|---|---|---|"
    for kind, outcomes in tally.outcomes.items():
        faults = sum(count for outcome, count in outcomes.items() if outcome.startswith("!"))
        refusals = Counter({code: count for code, count in outcomes.items() if code.startswith("E_")})
        often = ", ".join(f"`{code}` {count}" for code, count in refusals.most_common(4))
        total = sum(outcomes.values())
        yield f"| {kind} | {total} | {outcomes['read']} | {sum(refusals.values())} | {faults} | {often} |"


def page(tally: Tally, files: int, seed: int, seconds: float) -> str:
    """The results page."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return "\n".join(
        [
            f"# Fuzzing, {files:,} files",
            "",
            f"`python tests/fuzz.py --files {files} --seed {seed} --write`, on top of commit {commit.stdout.strip()}, "
            f"{platform.machine()}, {os.cpu_count()} cores, {datetime.date.today()}.",
            "",
            *table(tally),
            "",
            f"{seconds:.0f} s in all; slowest file {tally.slowest_s:.1f} s; largest child "
            f"{tally.peak_bytes / 2**20:.0f} MiB. Faults: {len(tally.faults)}.",
            "",
        ]
    )


def main() -> int:
    """Run, print, write on request; 1 where there was a fault."""
    parser = argparse.ArgumentParser(description="Break valid files in seeded ways and read them.")
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write a page into benchmarks/results")
    arguments = parser.parse_args()
    started = time.perf_counter()
    tally = run(arguments.files, arguments.seed)
    text = page(tally, arguments.files, arguments.seed, time.perf_counter() - started)
    print(text)
    for fault in tally.faults:
        print(json.dumps(fault))
    if arguments.write:
        name = f"fuzz_{platform.machine()}-{os.cpu_count()}cores_{datetime.date.today()}.md"
        (Path(__file__).parents[1] / "benchmarks" / "results" / name).write_text(text)
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
