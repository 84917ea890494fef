"""Live dictation: seconds from the end of speech to the final text, cut-offs, steadiness, and load.

    python benchmarks/speech_live.py                  # 12 recordings, four lengths of pause, two rooms; prints the page
    python benchmarks/speech_live.py --recordings 2   # a quick look
    python benchmarks/speech_live.py --write          # and puts the page into benchmarks/results/

The recordings are those of ``speech_seams.py`` with pauses of 0.4 to 1.0 s between sentences, so that the true end of
each is known; as they are, and in a room with noise 20 dB below the speech. They come in blocks of 80 ms. The clock is
that of a live session: a block arrives when it was spoken, or when the work on those before is done if that is later,
and the seconds of the work are measured. ``latency`` is from the true end of a sentence to the final text that follows
before the next sentence begins; ``cut off`` are ends of an utterance inside a sentence, which cost only that the words
before cannot be heard again; ``changed`` counts committed characters that were not kept. On real human speech, read
aloud, only the ends inside of clips can be counted.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, product, zip_longest

import numpy as np
import torch
from demo_stages import HERE, commit, machine
from speech_seams import Dictation, dictation, words_of
from speech_silence import REAL, coloured, shared

from medvox.catalog import DEFAULT_ASR, resolve_model
from medvox.encode.batch import to_features
from medvox.encode.speech import log_mel
from medvox.encode.voice import speech_segments
from medvox.live_dictation import DEFAULT_LISTENING, Listening, LiveText, listen
from medvox.models.listening import logits_of
from medvox.models.speech_model import SpeechModel, decoder_of, load_speech_model
from medvox.score.alignment import Counts, align, count
from medvox.types import Samples

RATE_HZ, BLOCK = 16_000, 1280
PAUSES_S = (0.2, 0.3, 0.4, 0.5)
GAP_S = (0.4, 1.0)
INSIDE_S = 0.1  # an utterance that ends this much before its sentence is cut off
GOAL_S = 0.5
SPEECH_TO_NOISE_DB = 20.0
ARCHIVES = ("librispeech.zip", "ljspeech.zip")
COMMAND = "python benchmarks/speech_live.py --write"


@dataclass(kw_only=True)
class Tally:
    """What was seen with one length of pause."""

    latencies_s: list[float] = field(default_factory=list)
    sentences: int = 0
    unfinished: int = 0  # sentences without a final text before the next one
    cut_off: int = 0
    changed: int = 0
    events: int = 0
    sound_s: float = 0.0
    work_s: float = 0.0
    truth: Counts = field(default_factory=Counts)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A text, and when it was there by the clock of the session."""

    text: LiveText
    at_s: float


def session(model: SpeechModel, samples: Samples, listening: Listening) -> tuple[list[Seen], float]:
    """All texts of a session, and the seconds of work."""
    arrived_s = work_s = clock_s = 0.0
    started = 0.0

    def blocks() -> Iterator[Samples]:
        nonlocal arrived_s, clock_s, work_s, started
        for start in range(0, len(samples), BLOCK):
            if start:
                work_s += time.perf_counter() - started
                clock_s += time.perf_counter() - started
            arrived_s = min(start + BLOCK, len(samples)) / RATE_HZ
            clock_s = max(clock_s, arrived_s)
            started = time.perf_counter()
            yield samples[start : start + BLOCK]

    seen = []
    for text in listen(blocks(), model, decode=decoder_of(model, "greedy"), listening=listening):
        seen.append(Seen(text=text, at_s=clock_s + time.perf_counter() - started))
    return seen, work_s


def changed_characters(seen: list[Seen]) -> int:
    """Committed characters that a later text of the same utterance does not begin with."""
    lost = 0
    for before, after in pairwise(one.text for one in seen):
        if before.utterance == after.utterance and not after.committed.startswith(before.committed):
            lost += sum(one != other for one, other in zip_longest(before.committed, after.committed))
    return lost


def watch(model: SpeechModel, spoken: Dictation, listening: Listening, tally: Tally) -> None:
    """A session with known sentences."""
    quiet = 3e-4 * np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    seen, work_s = session(model, np.concatenate([spoken.samples, quiet]), listening)
    finals = [one for one in seen if one.text.final]
    starts = [start for start, _ in spoken.lines[1:]] + [np.inf]
    for (start_s, end_s), next_s in zip(spoken.lines, starts, strict=True):
        tally.sentences += 1
        after = [one.at_s - end_s for one in finals if end_s <= one.text.heard_s <= next_s + GOAL_S]
        if after:
            tally.latencies_s.append(after[0])
        tally.unfinished += not after
        tally.cut_off += sum(start_s + INSIDE_S < one.text.heard_s < end_s - INSIDE_S for one in finals)
    tally.events += len(seen)
    tally.changed += changed_characters(seen)
    tally.sound_s += len(spoken.samples) / RATE_HZ
    tally.work_s += work_s
    tally.truth += count(align(spoken.words, " ".join(one.text.committed for one in finals).split()))


def offline(model: SpeechModel, spoken: list[Dictation]) -> float:
    """Word error rate of whole recordings."""
    truth = Counts()
    for one in spoken:
        speech = [(round(s.start_s * 100), round(s.end_s * 100)) for s in speech_segments(one.samples)]
        rows = logits_of(model.network, to_features(log_mel(one.samples)), speech=speech)
        truth += count(align(one.words, [word for word, _ in words_of(model, rows)]))
    return 100 * truth.rate


def ends_in_reading(model: SpeechModel, listening: Listening) -> tuple[int, float]:
    """Ends of utterances inside clips of real speech read aloud, and the minutes of it."""
    ends, minutes = 0, 0.0
    for archive in ARCHIVES:
        for _, sound in shared(archive):
            seen, _ = session(model, np.concatenate([sound, np.zeros(RATE_HZ, np.float32)]), listening)
            ends += sum(one.text.final for one in seen) - 1
            minutes += len(sound) / RATE_HZ / 60
    return ends, minutes


def noisy(spoken: Dictation) -> Dictation:
    """The dictation in a room with pink noise."""
    samples = spoken.samples
    noise = np.resize(coloured(np.random.default_rng(1), 1.0), len(samples))
    loudness = np.sqrt((samples**2).mean()) * 10 ** (-SPEECH_TO_NOISE_DB / 20)
    return replace(spoken, samples=(samples + loudness * noise).astype(np.float32))


def measure(model: SpeechModel, recordings: list[Dictation], pauses_s: Sequence[float]) -> list[dict[str, object]]:
    """A row for each room and length of pause."""
    rows: list[dict[str, object]] = []
    rooms = {"quiet": recordings, "noisy": [noisy(one) for one in recordings]}
    for (room, spoken), pause_s in product(rooms.items(), pauses_s):
        listening, tally = replace(DEFAULT_LISTENING, pause_s=pause_s), Tally()
        for one in spoken:
            watch(model, one, listening, tally)
        middle, late = np.percentile(tally.latencies_s, [50, 95])
        row: dict[str, object] = {
            "room": room,
            "pause_s": pause_s,
            "default": pause_s == DEFAULT_LISTENING.pause_s,
            "sentences": tally.sentences,
            "latency_p50_s": float(middle),
            "latency_p95_s": float(late),
            "latency_worst_s": max(tally.latencies_s),
            "unfinished": tally.unfinished,
            "cut_off_percent": 100 * tally.cut_off / tally.sentences,
            "changed": tally.changed,
            "events": tally.events,
            "real_time_factor": tally.work_s / tally.sound_s,
            "wer_percent": 100 * tally.truth.rate,
            "goal_s": GOAL_S,
            "met": late < GOAL_S and tally.changed == 0,
        }
        if REAL.is_dir() and room == "quiet":
            ends, minutes = ends_in_reading(model, listening)
            row["reading_ends_a_minute"] = ends / minutes
        rows.append(row)
    return rows


def page(rows: list[dict[str, object]], offline_percent: float, sha256: str) -> str:
    head = [f"- machine: {machine()}, one thread", f"- date: {datetime.date.today()}", f"- commit: {commit()}"]
    head += [
        f"- weights: {sha256[:12]}",
        f"- command: `{COMMAND}`",
        f"- goal: 95 % of the final texts within {GOAL_S:g} s, no committed character changed",
    ]
    head += [f"- word error rate of the whole recordings, not live: {offline_percent:.1f} %", ""]
    columns = {
        "room": "room", "pause_s": "pause s", "sentences": "sentences",
        "latency_p50_s": "latency p50 s", "latency_p95_s": "p95 s",
        "latency_worst_s": "worst s", "unfinished": "no text before the next", "cut_off_percent": "cut off %",
        "reading_ends_a_minute": "ends a minute of reading", "events": "texts", "changed": "changed characters",
        "real_time_factor": "real-time factor", "wer_percent": "WER %", "met": "met",
    }  # fmt: skip
    columns = {key: title for key, title in columns.items() if key in rows[0]}
    lines = [f"| {' | '.join(columns.values())} |", f"| {' | '.join('---:' for _ in columns)} |"]
    for row in rows:
        cells = [f"{row[key]:.3g}" if isinstance(row.get(key), float) else str(row.get(key, "")) for key in columns]
        lines.append(f"| {' | '.join(cells)} |".replace("True", "yes").replace("False", "no"))
    default = f"The default pause is {DEFAULT_LISTENING.pause_s:g} s."
    return "\n".join([f"# Live dictation, `{DEFAULT_ASR}`", "", *head, *lines, "", default, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_ASR, help="a name from `medvox models list`, or a model folder")
    parser.add_argument("--recordings", type=int, default=12)
    parser.add_argument("--pauses", metavar="S", type=float, nargs="+", default=PAUSES_S, help="that end an utterance")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the page")
    parser.add_argument("--write", action="store_true", help="write the page into benchmarks/results as well")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_speech_model(resolve_model(args.model))
    spoken = [dictation(seed, GAP_S) for seed in range(args.recordings)]
    rows = measure(model, spoken, args.pauses)
    text = page(rows, offline(model, spoken), model.sha256)
    print(json.dumps(rows, indent=1) if args.json else text)
    if args.write:
        name = f"speech-live_{platform.machine()}-{os.cpu_count()}cores_{datetime.date.today()}.md"
        (HERE / "results" / name).write_text(text)


if __name__ == "__main__":
    main()
