"""Words that are lost or doubled where windows of a long recording meet, against decoding it in one piece.

    python benchmarks/long_form.py                                # 30 recordings x 40 offsets, prints a table
    python benchmarks/long_form.py --recordings 6 --offsets 8     # a quick look

Each recording is 60 to 90 s of dictation by one voice, spoken by free engines (espeak-ng, flite, Festival) and heard
by the model that ships. An offset is so much near-silence in front, so that the seams fall elsewhere. ``torn`` counts
words near a seam that no splice of what the two windows heard by themselves explains: words lost, doubled or made up by
the join alone. The other columns count against the words spoken; ``extra`` is beyond decoding in one piece, and may be
negative, as the model was trained on short recordings and is not at home in long ones.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from medvox.catalog import DEFAULT_ASR, resolve_model
from medvox.encode.batch import to_features
from medvox.encode.speech import log_mel
from medvox.encode.voice import speech_segments
from medvox.models.ctc import greedy
from medvox.models.listening import PUBLISHED, SEAMLESS, Chunking, Window, logits_of, plan
from medvox.models.speech_model import SpeechModel, load_speech_model
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
ONE_PIECE = Chunking(window=1_000_000)
SETTINGS: dict[str, tuple[Chunking, bool]] = {  # and whether the voice activity is given
    "one piece": (ONE_PIECE, False),
    "published: 20 s, 2 s context": (PUBLISHED, False),
    "agreement within 2 s": (SEAMLESS, False),
    "agreement, cuts in pauses": (SEAMLESS, True),
}


@dataclass(kw_only=True)
class Tally:
    """What became of the words of one setting, over all recordings and offsets."""

    truth: Counts = field(default_factory=Counts)
    torn: int = 0
    seams: int = 0
    seconds: float = 0.0


def recording(seed: int, gap_s: tuple[float, float]) -> tuple[Samples, list[str]]:
    """A dictation of 60 to 90 s in one voice, and its words."""
    rng = random.Random(seed)
    noise = np.random.default_rng(seed)
    script = ScriptWriter(seed)
    voice = draw_voice(rng)
    while voice.engine in missing_engines():
        voice = draw_voice(rng)
    parts: list[Samples] = []
    words: list[str] = []
    length, wanted = 0, rng.uniform(60, 90) * RATE_HZ
    while length < wanted:
        _, line = script.line(rng.choice(("question", "report")))
        spoken = speak(line, voice)
        loud = np.flatnonzero(np.abs(spoken) > 0.02 * np.abs(spoken).max())
        gap = np.zeros(round(rng.uniform(*gap_s) * RATE_HZ), np.float32)
        parts += [spoken[loud[0] : loud[-1]] * (0.3 / np.abs(spoken).max()), gap]
        words += line.split()
        length += sum(map(len, parts[-2:]))
    samples = np.concatenate(parts)
    return (samples + HISS * noise.standard_normal(len(samples))).astype(np.float32), words


def words_of(model: SpeechModel, rows: Tensor, start_s: float = 0.0) -> list[tuple[str, float]]:
    """Words and the seconds of their middles."""
    words = words_from_tokens(greedy(rows, model.network.config.pad_token_id), model.pieces)
    return [(word.word, start_s + (word.start_s + word.end_s) / 2) for word in words]


def torn_words(
    both: tuple[Window, Window], model: SpeechModel, features: Tensor, heard: list[tuple[str, float]]
) -> int:
    """Words near the seam of two windows that differ from the best splice of what each of them heard."""
    cut_s = both[1].cut / FRAMES_A_SECOND
    alone = []
    for window in both:
        rows = logits_of(model.network, features[window.first : window.last], chunking=ONE_PIECE)
        alone.append(words_of(model, rows, window.first / FRAMES_A_SECOND))
    near = [text for text, at in heard if abs(at - cut_s) < COMPARED_S]
    splices = set()
    for place in (cut_s + tenth / 10 for tenth in range(-18, 19)):
        spliced = [word for word in alone[0] if word[1] < place] + [word for word in alone[1] if word[1] >= place]
        splices.add(tuple(text for text, at in spliced if abs(at - cut_s) < COMPARED_S))
    return 0 if tuple(near) in splices else min(count(align(splice, near)).errors for splice in splices)


def hear(model: SpeechModel, samples: Samples, words: list[str], tallies: dict[str, Tally]) -> None:
    """Hear a recording in every setting, and count."""
    features = to_features(log_mel(samples))
    spoken = [(round(s.start_s * FRAMES_A_SECOND), round(s.end_s * FRAMES_A_SECOND)) for s in speech_segments(samples)]
    for name, (chunking, with_voice) in SETTINGS.items():
        tally, speech = tallies[name], spoken if with_voice else []
        start = time.perf_counter()
        heard = words_of(model, logits_of(model.network, features, chunking=chunking, speech=speech))
        tally.seconds += time.perf_counter() - start
        tally.truth += count(align(words, [text for text, _ in heard]))
        pairs = list(pairwise(plan(len(features), chunking, speech)))
        tally.seams += len(pairs)
        tally.torn += sum(torn_words(pair, model, features, heard) for pair in pairs)


def sweep(model: SpeechModel, recordings: int, offsets: int, gap_s: tuple[float, float]) -> dict[str, Tally]:
    """Tallies by setting."""
    tallies = {name: Tally() for name in SETTINGS}
    for seed in range(recordings):
        samples, words = recording(seed, gap_s)
        for offset in range(offsets):
            silence = round(offset * SWEEP_S / offsets / GRID_S) * round(GRID_S * RATE_HZ)
            front = HISS * np.random.default_rng(offset).standard_normal(silence)
            hear(model, np.concatenate([front.astype(np.float32), samples]), words, tallies)
    return tallies


def table(tallies: dict[str, Tally]) -> str:
    """A Markdown table, per cent of the words spoken."""
    base = tallies["one piece"].truth
    spoken = base.reference_tokens
    lines = [
        "| setting | seams | torn words | % of words | WER % | extra deletions % | extra insertions % | s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, tally in tallies.items():
        truth = tally.truth
        extra = (truth.deletions - base.deletions, truth.insertions - base.insertions)
        shares = " | ".join(f"{100 * number / spoken:.3f}" for number in extra)
        lines.append(
            f"| {name} | {tally.seams} | {tally.torn} | {100 * tally.torn / spoken:.3f} "
            f"| {100 * truth.rate:.2f} | {shares} | {tally.seconds:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print a table for dictation with pauses, and one for dictation without."""
    parser = argparse.ArgumentParser(description="Count word errors at the seams of long recordings.")
    parser.add_argument("--recordings", type=int, default=30)
    parser.add_argument("--offsets", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_speech_model(resolve_model(DEFAULT_ASR))
    for title, gap_s in (("pauses of 0.4 to 1.0 s", (0.4, 1.0)), ("run on: 0.05 to 0.1 s", (0.05, 0.1))):
        print(f"\n{options.recordings} recordings x {options.offsets} offsets, {title}\n", flush=True)
        print(table(sweep(model, options.recordings, options.offsets, gap_s)), flush=True)


if __name__ == "__main__":
    main()
