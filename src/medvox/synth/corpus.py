"""A cached corpus of spoken lines: shards of int16 sound with their text, made once by a low-priority pool.

A shard is two files, ``NAME.npy`` (int16, 16 kHz, lines end to end) and ``NAME.jsonl`` (one row a line). A shard's name
and seed decide its content, so an interrupted build goes on where it stopped. Knows no feature and no model.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medvox.synth.dictation import DEMO_QUESTIONS, Kind, ScriptWriter, is_held_out
from medvox.synth.voices import (
    AWB,
    BDL,
    DEV,
    ESPEAK_HELD_OUT,
    KAL,
    KED,
    NEUTRAL,
    PICO,
    RMS,
    SAMPLE_RATE_HZ,
    SLT,
    Voice,
    draw_delivery,
    draw_voice,
    speak,
)
from medvox.synth.written_sentences import WRITTEN_SENTENCES
from medvox.types import Progress, no_progress

LINES_A_SHARD = 250
MEAN_LINE_S = 3.4  # measured over the grammar and voices; only sizes the build
NICENESS = 10

Split = Literal["train", "dev", "seen_voice", "held_person", "held_engine", "written", "held_variant", "demo"]
EVAL_SPLITS: tuple[Split, ...] = ("dev", "seen_voice", "held_person", "held_engine", "written", "held_variant", "demo")
_EVAL_LINES = 240
_SPEAKERS: dict[Split, tuple[Voice, ...]] = {
    "dev": DEV,
    "held_person": (RMS, KED, BDL),
    "held_engine": PICO,
    "held_variant": ESPEAK_HELD_OUT,
}
_DEMO_SPEAKERS = (SLT, AWB, KAL, RMS, KED, BDL, *PICO, *ESPEAK_HELD_OUT[:3])


@dataclass(frozen=True, kw_only=True, slots=True)
class SpokenLine:
    """Where a line lies in its shard, and what is said by whom. Offsets in samples."""

    text: str
    kind: Kind
    split: Split
    voice: str
    start: int
    length: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """Lines with their sound. ``samples(i)`` gives line i as int16."""

    lines: tuple[SpokenLine, ...]
    sounds: tuple[NDArray[np.int16], ...]
    shard_of_line: tuple[int, ...]

    @property
    def hours(self) -> float:
        """Length of all lines together."""
        return sum(line.length for line in self.lines) / SAMPLE_RATE_HZ / 3600

    def samples(self, index: int) -> NDArray[np.int16]:
        """The sound of one line at 16 kHz."""
        line = self.lines[index]
        return self.sounds[self.shard_of_line[index]][line.start : line.start + line.length]


def build_corpus(
    folder: Path, hours: float, *, texts: Path | None = None, workers: int = 2, progress: Progress = no_progress
) -> None:
    """Speaks the evaluation splits and about ``hours`` of training lines into ``folder``; existing shards stay.

    Args:
        folder: where the shards lie.
        hours: wanted length of the training lines.
        texts: folder of medical prose that is read out too, where it is there; see ``synth/dictation``.
        workers: processes.
        progress: told about every shard.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = max(1, round(hours * 3600 / MEAN_LINE_S / LINES_A_SHARD))
    names = [*EVAL_SPLITS, *(f"train-{number:03d}" for number in range(shards))]
    todo = [(folder, name, texts) for name in names if not (folder / f"{name}.jsonl").exists()]
    done = len(names) - len(todo)
    with get_context("spawn").Pool(workers, initializer=os.nice, initargs=(NICENESS,)) as pool:
        for _ in pool.imap(_make_shard, todo):
            done += 1
            progress("speaking the corpus", done, len(names))


def load_corpus(folder: Path, split: Split) -> Corpus:
    """The finished shards of one split."""
    lines: list[SpokenLine] = []
    sounds: list[NDArray[np.int16]] = []
    shard_of_line: list[int] = []
    for rows in sorted(folder.glob(f"{split}*.jsonl")):
        sounds.append(np.load(rows.with_suffix(".npy"), mmap_mode="r"))
        for row in rows.read_text(encoding="utf-8").splitlines():
            lines.append(SpokenLine(**json.loads(row)))
            shard_of_line.append(len(sounds) - 1)
    return Corpus(lines=tuple(lines), sounds=tuple(sounds), shard_of_line=tuple(shard_of_line))


def _make_shard(task: tuple[Path, str, Path | None]) -> None:
    folder, name, texts = task
    rng = random.Random(f"medvox v1 {name}")
    writer = ScriptWriter(rng.randrange(2**32), texts)
    split: Split = "train" if name.startswith("train") else next(one for one in EVAL_SPLITS if one == name)
    rows: list[SpokenLine] = []
    sounds: list[NDArray[np.int16]] = []
    start = 0
    for kind, text, voice, varied in _plan(split, writer, rng):
        delivery = draw_delivery(rng, voice) if varied else NEUTRAL
        sound = np.clip(speak(text, voice, delivery) * 32767, -32768, 32767).astype(np.int16)
        label = f"{voice.engine} {voice.name}"
        rows.append(SpokenLine(text=text, kind=kind, split=split, voice=label, start=start, length=len(sound)))
        sounds.append(sound)
        start += len(sound)
    write_shard(folder, name, rows, sounds)


def write_shard(folder: Path, name: str, rows: Sequence[SpokenLine], sounds: Sequence[NDArray[np.int16]]) -> None:
    """Writes one shard; its listing comes last and whole, so that a half-written shard is never read."""
    partial = folder / f"{name}.partial.npy"
    np.save(partial, np.concatenate(sounds))
    partial.replace(folder / f"{name}.npy")
    listing = folder / f"{name}.partial"
    listing.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8")
    listing.replace(folder / f"{name}.jsonl")


def _plan(split: Split, writer: ScriptWriter, rng: random.Random) -> Iterator[tuple[Kind, str, Voice, bool]]:
    """What the shard of a split says: (kind, text, voice, whether the delivery varies)."""
    fixed = {"demo": (DEMO_QUESTIONS, _DEMO_SPEAKERS), "written": (WRITTEN_SENTENCES, (RMS, KED, BDL, *PICO))}
    if split in fixed:
        texts, voices = fixed[split]
        kind: Kind = "question" if split == "demo" else "report"
        yield from ((kind, text, voice, False) for text in texts for voice in voices)
        return
    lines = LINES_A_SHARD if split == "train" else _EVAL_LINES
    for number in range(lines):
        kind, text = _draw_line(writer, held_out=split != "train")
        speakers = _SPEAKERS.get(split)
        voice = draw_voice(rng) if speakers is None else speakers[number % len(speakers)]
        yield kind, text, voice, split in ("train", "seen_voice")


def _draw_line(writer: ScriptWriter, *, held_out: bool) -> tuple[Kind, str]:
    """A line of the wanted side; the kind is drawn first so that both sides have the same mix."""
    kind, text = writer.line()
    while is_held_out(text) != held_out:
        _, text = writer.line(kind)
    return kind, text
