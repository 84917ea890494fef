"""Recordings of people, split by speaker: a few to learn from, the others to test on. Optional in every recipe.

The archive holds read books, card names, commands and single digits. Nobody who is tested is learnt from. Beside
``synth/corpus`` in the path: the train part becomes one more shard. Knows no feature and no model.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from medvox.synth.corpus import SpokenLine, write_shard
from medvox.synth.voices import SAMPLE_RATE_HZ
from medvox.types import Samples

SHARD = "train-human"
TRAIN_SPEAKERS = ("libri-1688", "libri-2033", "libri-2414", "lj")  # all others of the manifest are tested
TRAIN_DIGIT_SPEAKERS = ("jackson", "nicolas", "theo")  # george is tested
DIGIT_STRINGS = 240


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """What one person says; mono, 16 kHz, the text normalised to a-z, apostrophe and space."""

    speaker: str
    text: str
    samples: Samples


def make_human_shard(archive: Path, corpus: Path) -> None:
    """Writes the train part into the corpus, unless it is there or the archive is not."""
    if (corpus / f"{SHARD}.jsonl").exists() or not (archive / "manifest.jsonl").exists():
        return
    spoken = [*_sentences(archive, tested=False), *_digit_strings(archive)]
    rows, start = [], 0
    for one in spoken:
        rows.append(
            SpokenLine(
                text=one.text,
                kind="general",
                split="train",
                voice=f"human {one.speaker}",
                start=start,
                length=len(one.samples),
            )
        )
        start += len(one.samples)
    sounds = [np.clip(one.samples * 32767, -32768, 32767).astype(np.int16) for one in spoken]
    write_shard(corpus, SHARD, rows, sounds)


def tested_sentences(archive: Path) -> list[Recording]:
    """The sentences of the speakers that are never learnt from."""
    return list(_sentences(archive, tested=True))


def tested_digits(archive: Path) -> list[Recording]:
    """Single digits of the speaker that is never learnt from, the publisher's test part."""
    return [one for one in _digits(archive, "val") if one.speaker == "george"]


def _sentences(archive: Path, *, tested: bool) -> Iterator[Recording]:
    for line in (archive / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = " ".join(re.sub(r"[^a-z' ]", " ", (row.get("text") or "").lower()).split())
        name, _, member = row["file"].partition("/")
        if not text or not member or (row["speaker"] in TRAIN_SPEAKERS) == tested:
            continue
        if tested or not re.search(r"\d", row["text"]):
            yield Recording(speaker=row["speaker"], text=text, samples=_read(archive / name, member))


def _digit_strings(archive: Path) -> Iterator[Recording]:
    """Strings of 2 to 7 digits of one speaker, with pauses, so that they are as long as what is dictated."""
    rng = random.Random(3)
    by_speaker: dict[str, list[Recording]] = {}
    for one in _digits(archive, "train"):
        by_speaker.setdefault(one.speaker, []).append(one)
    for _ in range(DIGIT_STRINGS if by_speaker else 0):
        speaker = rng.choice(TRAIN_DIGIT_SPEAKERS)
        picked = rng.choices(by_speaker[speaker], k=rng.randint(2, 7))
        parts = [part for one in picked for part in (one.samples, np.zeros(rng.randint(0, 4800), dtype=np.float32))]
        yield Recording(speaker=speaker, text=" ".join(one.text for one in picked), samples=np.concatenate(parts))


def _digits(archive: Path, part: str) -> Iterator[Recording]:
    if not (archive / "spoken_digits.csv").exists():
        return
    with (archive / "spoken_digits.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            wanted = (row["speaker"] in TRAIN_DIGIT_SPEAKERS) == (part == "train")
            if row["split"] == part and wanted:
                samples = _read(archive / "spoken_digits.zip", row["file"])
                yield Recording(speaker=row["speaker"], text=row["word"], samples=samples)


def _read(archive: Path, member: str) -> Samples:
    with zipfile.ZipFile(archive) as opened:
        samples, rate_hz = soundfile.read(io.BytesIO(opened.read(member)), dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(samples.mean(axis=1), rate_hz, SAMPLE_RATE_HZ), dtype=np.float32)
