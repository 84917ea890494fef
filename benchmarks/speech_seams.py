"""Words that are lost or doubled where windows of a long recording meet, against decoding it in one piece.

    python benchmarks/speech_seams.py                                # 30 recordings x 40 offsets, some 15 minutes
    python benchmarks/speech_seams.py --recordings 6 --offsets 8     # a quick look
    python benchmarks/speech_seams.py --write                        # and puts the page into benchmarks/results/

Each recording is 60 to 90 s of dictation by one voice, spoken by free engines (espeak-ng, flite, Festival); every
second one has pauses between sentences, the others are run on. An offset is so much near-silence in front, so that the
seams fall elsewhere.

Two figures, in per cent of the words spoken. ``extra``: word errors beyond those of decoding in one piece; it may be
negative, where a model that was trained on short recordings is not at home in long ones, and says little then.
``torn``: words near a seam that no splice of what the two windows heard by themselves explains, lost, doubled or made
up by the join alone; it needs no trust in the decoding in one piece.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import random
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from demo_stages import HERE, commit, machine
from torch import Tensor, nn

from medvox.catalog import DEFAULT_ASR, resolve_model
from medvox.encode.batch import to_features
from medvox.encode.speech import log_mel
from medvox.encode.voice import speech_segments
from medvox.models.ctc import greedy
from medvox.models.listening import PUBLISHED, SEAMLESS, Chunking, Window, logits_of, plan
from medvox.models.speech_model import SpeechModel, load_speech_model
from medvox.models.weights import weights_hash
from medvox.parse.transcript import words_from_tokens
from medvox.score.alignment import Counts, align, count
from medvox.synth.dictation import ScriptWriter
from medvox.synth.voices import draw_voice, missing_engines, speak
from medvox.types import Samples

RATE_HZ, FRAMES_A_SECOND = 16_000, 100
GRID_S = 0.04
SWEEP_S = 16.0  # one step of the published chunks
HISS = 3e-4  # the noise of the recordings
COMPARED_S = 4.0
PAUSES_S = ((0.4, 1.0), (0.05, 0.1))  # between sentences, of even and of odd recordings
GOAL = 0.1  # per cent of the words
ONE_PIECE = Chunking(window=1_000_000)
WHOLE, DEFAULT = "one piece", "default: agreement, cuts in pauses"
SETTINGS: dict[str, tuple[Chunking, bool]] = {  # and whether the voice activity is given
    WHOLE: (ONE_PIECE, False),
    "published: 20 s, 2 s context": (PUBLISHED, False),
    DEFAULT: (SEAMLESS, True),
}


@dataclass(frozen=True, kw_only=True)
class Dictation:
    """Samples, the words spoken, and the seconds (start, end) of each line."""

    samples: Samples
    words: list[str]
    lines: list[tuple[float, float]]


@dataclass(kw_only=True)
class Tally:
    """What became of the words of one setting, over all recordings and offsets."""

    truth: Counts = field(default_factory=Counts)
    torn: int = 0
    seams: int = 0
    seconds: float = 0.0

    def add(self, other: Tally) -> None:
        """Count what another tally counted."""
        self.truth += other.truth
        self.torn, self.seams = self.torn + other.torn, self.seams + other.seams
        self.seconds += other.seconds


class Remembering(nn.Module):
    """The network, which hears each window of a recording only once."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.known: dict[tuple[int, int], Tensor] = {}

    def forward(self, features: Tensor) -> Tensor:
        """Features (1, F, M), a slice of those of the recording, to logits."""
        place = features.data_ptr(), features.shape[1]  # windows are slices of one tensor
        if place not in self.known:
            self.known[place] = self.network(features)
        return self.known[place]


def dictation(seed: int, gap_s: tuple[float, float]) -> Dictation:
    """A dictation of 60 to 90 s in one voice."""
    rng = random.Random(seed)
    noise = np.random.default_rng(seed)
    script = ScriptWriter(seed)
    voice = draw_voice(rng)
    while voice.engine in missing_engines():
        voice = draw_voice(rng)
    parts: list[Samples] = []
    words: list[str] = []
    lines: list[tuple[float, float]] = []
    length, wanted = 0, rng.uniform(60, 90) * RATE_HZ
    while length < wanted:
        _, line = script.line(rng.choice(("question", "report")))
        spoken = speak(line, voice)
        loud = np.flatnonzero(np.abs(spoken) > 0.02 * np.abs(spoken).max())
        spoken = spoken[loud[0] : loud[-1]] * (0.3 / np.abs(spoken).max())
        parts += [spoken, np.zeros(round(rng.uniform(*gap_s) * RATE_HZ), np.float32)]
        words += line.split()
        lines.append((length / RATE_HZ, (length + len(spoken)) / RATE_HZ))
        length += sum(map(len, parts[-2:]))
    samples = np.concatenate(parts)
    samples = (samples + HISS * noise.standard_normal(len(samples))).astype(np.float32)
    return Dictation(samples=samples, words=words, lines=lines)


def words_of(model: SpeechModel, rows: Tensor, start_s: float = 0.0) -> list[tuple[str, float]]:
    """Words and the seconds of their middles."""
    words = words_from_tokens(greedy(rows, model.blank), model.pieces)
    return [(word.word, start_s + (word.start_s + word.end_s) / 2) for word in words]


def torn_words(
    both: tuple[Window, Window],
    network: nn.Module,
    model: SpeechModel,
    features: Tensor,
    heard: list[tuple[str, float]],
) -> int:
    """Words near the seam of two windows that differ from the best splice of what each of them heard."""
    cut_s = both[1].cut / FRAMES_A_SECOND
    alone = []
    for window in both:
        rows = logits_of(network, features[window.first : window.last], chunking=ONE_PIECE)
        alone.append(words_of(model, rows, window.first / FRAMES_A_SECOND))
    near = [text for text, at in heard if abs(at - cut_s) < COMPARED_S]
    splices = set()
    for place in (cut_s + tenth / 10 for tenth in range(-18, 19)):
        spliced = [word for word in alone[0] if word[1] < place] + [word for word in alone[1] if word[1] >= place]
        splices.add(tuple(text for text, at in spliced if abs(at - cut_s) < COMPARED_S))
    return 0 if tuple(near) in splices else min(count(align(splice, near)).errors for splice in splices)


def hear(model: SpeechModel, samples: Samples, words: list[str], tallies: dict[str, Tally]) -> None:
    """Hear a recording in every setting, and count."""
    network, features = Remembering(model.network), to_features(log_mel(samples))
    spoken = [(round(s.start_s * FRAMES_A_SECOND), round(s.end_s * FRAMES_A_SECOND)) for s in speech_segments(samples)]
    for name, (chunking, with_voice) in SETTINGS.items():
        tally, speech = tallies[name], spoken if with_voice else []
        start = time.perf_counter()
        heard = words_of(model, logits_of(network, features, chunking=chunking, speech=speech))
        tally.seconds += time.perf_counter() - start
        tally.truth += count(align(words, [text for text, _ in heard]))
        pairs = list(pairwise(plan(len(features), chunking, speech)))
        tally.seams += len(pairs)
        tally.torn += sum(torn_words(pair, network, model, features, heard) for pair in pairs)


def sweep_one(spoken: Dictation, *, folder: Path, offsets: int) -> dict[str, Tally]:
    """Tallies of one recording, by setting; runs in a process of its own."""
    torch.set_num_threads(1)
    model, tallies = load_speech_model(folder), {name: Tally() for name in SETTINGS}
    for offset in range(offsets):
        silence = round(offset * SWEEP_S / offsets / GRID_S) * round(GRID_S * RATE_HZ)
        front = HISS * np.random.default_rng(offset).standard_normal(silence)
        hear(model, np.concatenate([front.astype(np.float32), spoken.samples]), spoken.words, tallies)
    return tallies


def sweep(folder: Path, recordings: int, offsets: int, jobs: int) -> dict[str, Tally]:
    """Tallies by setting."""
    whole = {name: Tally() for name in SETTINGS}
    spoken = [dictation(seed, PAUSES_S[seed % 2]) for seed in range(recordings)]  # one at a time
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for tallies in pool.map(partial(sweep_one, folder=folder, offsets=offsets), spoken):
            for name, tally in tallies.items():
                whole[name].add(tally)
    return whole


def figures(tallies: dict[str, Tally]) -> list[dict[str, object]]:
    """What is measured of each setting, and whether the goal is met."""
    base = tallies[WHOLE].truth
    rows: list[dict[str, object]] = []
    for name, tally in tallies.items():
        extra = 100 * (tally.truth.errors - base.errors) / base.reference_tokens
        torn = 100 * tally.torn / base.reference_tokens
        rows.append(
            {
                "what": name,
                "seams": tally.seams,
                "torn_words": tally.torn,
                "torn_percent": torn,
                "wer_percent": 100 * tally.truth.rate,
                "extra_percent": extra,
                "seconds": tally.seconds,
                "goal": GOAL,
                "met": extra <= GOAL and torn <= GOAL,
            }
        )
    return rows


def page(rows: list[dict[str, object]], command: str, words: int, sha256: str) -> str:
    """The Markdown page."""
    head = [f"- machine: {machine()}", f"- date: {datetime.date.today()}", f"- commit: {commit()}"]
    head += [f"- weights: {sha256[:12]}"]
    head += [f"- command: `{command}`", f"- {words} words; goal: at most {GOAL} % extra word errors"]
    lines = [
        "| setting | seams | torn words | torn % | WER % | extra against one piece % | seconds | met |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        lines.append(
            f"| {row['what']} | {row['seams']} | {row['torn_words']} | {row['torn_percent']:.3f} "
            f"| {row['wer_percent']:.2f} | {row['extra_percent']:+.3f} | {row['seconds']:.0f} "
            f"| {'yes' if row['met'] else 'no'} |"
        )
    return "\n".join([f"# Seams of long recordings, `{DEFAULT_ASR}`", "", *head, "", *lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_ASR, help="a name from `medvox models list`, or a model folder")
    parser.add_argument("--recordings", type=int, default=30)
    parser.add_argument("--offsets", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="recordings at a time")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the page")
    parser.add_argument("--write", action="store_true", help="write the page into benchmarks/results as well")
    args = parser.parse_args()
    folder = resolve_model(args.model)
    tallies = sweep(folder, args.recordings, args.offsets, args.jobs)
    rows = figures(tallies)
    command = f"python benchmarks/speech_seams.py --recordings {args.recordings} --offsets {args.offsets} --write"
    text = page(rows, command, tallies[WHOLE].truth.reference_tokens, weights_hash(folder))
    print(json.dumps(rows, indent=1) if args.json else text)
    if args.write:
        name = f"speech-seams_{platform.machine()}-{os.cpu_count()}cores_{datetime.date.today()}.md"
        (HERE / "results" / name).write_text(text)


if __name__ == "__main__":
    main()
