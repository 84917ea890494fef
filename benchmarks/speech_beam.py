"""What the beam search costs beside the acoustic model, and what a large language model file costs to read.

    python benchmarks/speech_beam.py                      # prints the page
    python benchmarks/speech_beam.py --only search        # or: scores, files
    python benchmarks/speech_beam.py --write              # and puts the page into benchmarks/results/

``search``: 20 s of sound, features and network against the search with beam 8, a language model of order 6 and 100 hot
words; medians of the rounds. MedASR's size has random weights, whose output is no speech, so the search gets made
log-probabilities: about two frames a token with a handful of rivals, and blanks between. The shipped model hears real
speech, where the developers' shared data lies; that is not what it was trained on, so its rivals are many.
``scores``: log-probabilities of whole sentences against KenLM on the same ARPA file. ``files``: seconds and peak memory
of reading a language model, each in a process of its own. Peers take part where they are installed: OpenVINO as another
acoustic engine, ``ctc-beam-decoder`` (C++, with KenLM) as another search and reader.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import lzma
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from demo_stages import HERE, commit, machine
from drug_names import DEV, TEST
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from medvox.catalog import DEFAULT_ASR, resolve_model
from medvox.encode.batch import to_features
from medvox.encode.speech import SAMPLE_RATE_HZ, log_mel
from medvox.models.arpa import open_lm, write_arpa
from medvox.models.beam import BEAM_MEDASR, BEAM_TUNED, Decoder
from medvox.models.beam_plain import plain_search
from medvox.models.conformer import LasrConfig, LasrForCTC
from medvox.models.ctc import log_probabilities
from medvox.models.hotwords import HotPhrase, HotWords
from medvox.models.kernels.build import library, obstacle
from medvox.models.kneser_ney import build_lm
from medvox.models.ngram import NgramLm, save_lm
from medvox.models.openvino_state import openvino_fault
from medvox.models.speech_engine import Engine, open_engine
from medvox.models.speech_model import load_speech_model
from medvox.train.human_speech import tested_sentences
from medvox.types import Samples

try:
    from ctc_beam_decoder import build_ctcdecoder
except ImportError:
    build_ctcdecoder = None

CLIP_S, ORDER, HOT_WORDS, HOT_WEIGHT = 20, 6, 100, 10.0
GOAL = 30.0  # per cent of the acoustic time
CONTROLS = ["<epsilon>", "<s>", "</s>", "<unk>"]
SYLLABLES = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in ["", *"lmnrstx"]] + [
    *"abcdefghijklmnopqrstuvwxyz"
]
PIECES = [*CONTROLS, *("▁" * (at % 3 == 0) + syllable for at, syllable in enumerate(SYLLABLES[:508]))]
BLANK = 0
REAL = Path(__file__).parents[2] / "shared" / "data" / "speech"
COMMAND = "python benchmarks/speech_beam.py --write"
LogProbs = NDArray[np.float32]
Row = dict[str, Any]


def timed(work: Callable[[], object], rounds: int) -> float:
    """Median of the rounds, after one that does not count."""
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def row(what: str, medvox: float, peer: str, value: float, *, goal: str = "", met: bool | None = None) -> Row:
    return {
        "what": what,
        "medvox": medvox,
        "peer": peer,
        "peer_value": value,
        "ratio": medvox / value,
        "goal": goal,
        "met": met,
    }


def sentences(random: np.random.Generator, lines: int) -> NDArray[np.int64]:
    """Text in which frequent pieces are frequent."""
    return 4 + (random.random((lines, 40)) ** 3 * (len(PIECES) - 4)).astype(np.int64)


def language_model(lines: int) -> NgramLm:
    text = sentences(np.random.default_rng(0), lines)
    return build_lm(text.tolist(), order=ORDER, pieces=PIECES, blank=BLANK)


def made_logprobs(seconds: float) -> LogProbs:
    """Per token about two frames with a handful of rivals, and blanks between."""
    random = np.random.default_rng(1)
    frames = round(25 * seconds)
    logits = random.normal(0, 1, (frames, len(PIECES)))
    logits[:, BLANK] += 16
    for frame in range(0, frames - 2, 4):
        rivals = random.integers(len(CONTROLS), len(PIECES), 4)
        for at in (frame, frame + 1):
            logits[at, BLANK] -= random.uniform(8, 12)
            logits[at, rivals] += np.array([10, 8, 7, 6]) + random.normal(0, 1, 4)
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def made_phrases() -> list[list[int]]:
    """Words of three or four pieces."""
    random = np.random.default_rng(2)
    starts = [at for at, piece in enumerate(PIECES) if piece.startswith("▁")]
    inner = [at for at, piece in enumerate(PIECES) if not piece.startswith(("▁", "<"))]
    count = random.integers(2, 4, HOT_WORDS)
    return [[random.choice(starts), *random.choice(inner, size)] for size in count]


def spelled(phrase: list[int]) -> str:
    return "".join(PIECES[token] for token in phrase).replace("▁", "")


def sound() -> Samples:
    """20 s: real speech where it lies, else noise."""
    count = CLIP_S * SAMPLE_RATE_HZ
    if not REAL.is_dir():
        return (0.1 * np.random.default_rng(3).standard_normal(count)).astype(np.float32)
    return np.concatenate([one.samples for one in tested_sentences(REAL)])[:count]


def save_medasr(folder: Path) -> None:
    """MedASR's size with random weights, in the hub's layout."""
    torch.manual_seed(0)
    hub: dict[str, Any] = {"model_type": "lasr_ctc", "vocab_size": 512, "pad_token_id": 0, "encoder_config": {}}
    (folder / "config.json").write_text(json.dumps(hub))
    network = LasrForCTC(LasrConfig.from_hub(hub))
    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / "model.safetensors"
    )


def engines(folder: Path) -> Iterator[Engine]:
    """The reference, and the fastest where that is another."""
    features = log_mel(sound())
    yield open_engine(folder, "fp32", list)
    if openvino_fault() is None:
        yield open_engine(folder, "bf16", list)
        fastest = open_engine(folder, "auto", lambda: [features])
        if fastest.name.endswith("int8"):
            yield fastest


@torch.inference_mode()
def acoustic(network: nn.Module, samples: Samples) -> torch.Tensor:
    logits: torch.Tensor = network(to_features(log_mel(samples))[None])[0]
    return logits


def search_rows(rounds: int) -> Iterator[Row]:
    """The search beside the acoustic model."""
    samples, lm, phrases = sound(), language_model(14_000), made_phrases()
    hot = HotWords([HotPhrase(text=spelled(phrase), weight=HOT_WEIGHT) for phrase in phrases], PIECES)
    with TemporaryDirectory() as held:
        folder = Path(held)
        save_medasr(folder)
        decoder = Decoder(blank=BLANK, lm=lm, hotwords=hot)
        for engine in engines(folder):
            beside = engine.name, timed(partial(acoustic, engine.network, samples), rounds)
            yield from search_beside("MedASR's size", decoder, made_logprobs(CLIP_S), beside, rounds)
    yield from peer_search_rows(lm, phrases, decoder, rounds)
    model = load_speech_model(resolve_model(DEFAULT_ASR))
    names = [HotPhrase(text=name, weight=HOT_WEIGHT) for name in (*DEV, *TEST)[:HOT_WORDS]]
    text = [model.token_ids([name]) for name in (*DEV, *TEST)]
    own = model.lm or build_lm(text, order=ORDER, pieces=model.pieces, blank=model.blank)
    decoder = Decoder(blank=model.blank, lm=own, hotwords=HotWords(names, model.pieces))
    logprobs = log_probabilities(acoustic(model.network, samples))
    beside = "PyTorch fp32", timed(partial(acoustic, model.network, samples), rounds)
    yield from search_beside(model.name, decoder, logprobs, beside, rounds)


def search_beside(
    model: str, decoder: Decoder, logprobs: LogProbs, beside: tuple[str, float], rounds: int
) -> Iterator[Row]:
    """Beam 8 in C, which has the goal; the tuned preset; and the plain path."""
    peer, seconds = f"{beside[0]}, features and network", beside[1]
    lm, hot = decoder.lm, decoder.hotwords
    if library("beam") is not None:
        took = timed(partial(decoder.decode, logprobs), rounds)
        share = 100 * took / seconds
        yield row(f"{model}: beam 8", took, peer, seconds, goal=f"<= {GOAL:g} %", met=share <= GOAL)
        tuned = replace(decoder, settings=BEAM_TUNED)
        yield row(
            f"{model}: beam.tuned ({BEAM_TUNED.beam})", timed(partial(tuned.decode, logprobs), rounds), peer, seconds
        )
    plain = partial(plain_search, logprobs, decoder.blank, lm, hot, BEAM_MEDASR)
    yield row(f"{model}: beam 8, without a compiler", timed(plain, 1), peer, seconds)


def peer_decoder(lm: NgramLm, folder: Path) -> Any:
    """Each piece is a word of its own, as in MedASR's published recipe."""
    arpa = folder / "hash.arpa"
    write_arpa(lm, arpa, PIECES)
    arpa.write_text(arpa.read_text().replace("▁", "#"))
    return build_ctcdecoder(["", *("▁" + piece.replace("▁", "#") for piece in PIECES[1:])], str(arpa))


def peer_search_rows(lm: NgramLm, phrases: list[list[int]], decoder: Decoder, rounds: int) -> Iterator[Row]:
    """The same search by the peer; its hot words are rows of pieces."""
    if build_ctcdecoder is None:
        return
    logprobs = made_logprobs(CLIP_S)
    hot = [" ".join(PIECES[token].replace("▁", "#") for token in phrase) for phrase in phrases]
    with TemporaryDirectory() as held:
        theirs = peer_decoder(lm, Path(held))
        work = partial(theirs.decode_beams, logprobs, beam_width=BEAM_MEDASR.beam, hotwords=hot)
        value = timed(work, rounds)
    took = timed(partial(decoder.decode, logprobs), rounds)
    yield row("the same search", took, "ctc-beam-decoder 0.2 (C++, KenLM)", value)


def score_rows() -> Iterator[Row]:
    """Scores of sentences: read from an ARPA file by medvox and by KenLM."""
    if build_ctcdecoder is None:
        return
    lm = language_model(2_000)
    worst = scale = 0.0
    with TemporaryDirectory() as held:
        theirs = peer_decoder(lm, Path(held))
        ours = open_lm(Path(held) / "hash.arpa", PIECES)
        for line in sentences(np.random.default_rng(4), 300):
            logprobs = np.full((2 * len(line), len(PIECES)), -30.0, np.float32)
            logprobs[0::2][np.arange(len(line)), line] = 0.0
            logprobs[1::2, BLANK] = 0.0
            _, _, _, logit, total = theirs.decode_beams(logprobs, beam_width=8)[0]
            own = BEAM_MEDASR.alpha * ours.sentence(line.tolist()) + BEAM_MEDASR.beta * len(line)
            worst, scale = max(worst, abs(own - (total - logit))), max(scale, abs(own))
    yield row("300 sentences: largest difference of scores", worst, "KenLM: largest score", scale, goal="<= 1e-5",
              met=worst <= 1e-5 * scale)  # fmt: skip


READ = """
import re, sys, time
from pathlib import Path
from medvox.models.arpa import open_lm
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
pieces, before, start = Path(sys.argv[2]).read_text().split("\\n"), peak(), time.perf_counter()
lm = open_lm(Path(sys.argv[1]), pieces)
print(time.perf_counter() - start, peak() - before, sum(lm.counts))
"""


def file_rows(lines: int) -> Iterator[Row]:
    """Reading a file of each form, in a process of its own; memory is what it grew by."""
    lm = language_model(lines)
    with TemporaryDirectory() as held:
        folder = Path(held)
        (folder / "pieces").write_text("\n".join(PIECES))
        arpa = folder / "lm.arpa"
        write_arpa(lm, arpa, PIECES)
        (folder / "lm.arpa.gz").write_bytes(gzip.compress(arpa.read_bytes(), 6))
        (folder / "lm.arpa.xz").write_bytes(lzma.compress(arpa.read_bytes(), preset=1))
        save_lm(lm, folder / "lm.ngram")
        for name in ("lm.arpa", "lm.arpa.gz", "lm.arpa.xz", "lm.ngram"):
            command = [sys.executable, "-c", READ, str(folder / name), str(folder / "pieces")]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            megabytes = (folder / name).stat().st_size / 1e6
            what = f"{name[2:]} of {int(said[2]):,} n-grams, {megabytes:.0f} MB: seconds"
            yield row(what, float(said[0]), "peak memory, MiB", float(said[1]))
        if build_ctcdecoder is not None:
            arpa.write_text(arpa.read_text().replace("▁", "#"))
            labels = ["", *("▁" + piece.replace("▁", "#") for piece in PIECES[1:])]
            theirs = timed(partial(build_ctcdecoder, labels, str(arpa)), 1)
            yield row(".arpa: seconds", timed(partial(open_lm, arpa, PIECES), 1), "KenLM, seconds", theirs)


def page(rows: list[Row], rounds: int) -> str:
    """The Markdown page."""
    head = [f"- machine: {machine()}", f"- date: {datetime.date.today()}", f"- commit: {commit()}"]
    head += [f"- command: `{COMMAND}`, medians of {rounds} rounds", f"- C search: {obstacle() or 'compiled'}"]
    head += [f"- threads of the acoustic model: {torch.get_num_threads()}; the search has one"]
    lines = ["| what | medvox | beside | value | medvox / value | goal | met |"]
    lines += ["| --- | ---: | --- | ---: | ---: | --- | --- |"]
    for one in rows:
        met = {True: "yes", False: "no", None: ""}[one["met"]]
        shown = f"{one['medvox']:.3g} | {one['peer']} | {one['peer_value']:.3g} | {one['ratio']:.3g}"
        lines.append(f"| {one['what']} | {shown} | {one['goal']} | {met} |")
    return "\n".join(["# Beam search and language model files", "", *head, "", *lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("search", "scores", "files"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lines", type=int, default=12_000, help="of text behind the large language model")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the page")
    parser.add_argument("--write", action="store_true", help="write the page into benchmarks/results as well")
    args = parser.parse_args()
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "search": partial(search_rows, args.rounds),
        "scores": score_rows,
        "files": partial(file_rows, args.lines),
    }
    rows = [one for name, part in parts.items() if args.only in (None, name) for one in part()]
    text = page(rows, args.rounds)
    print(json.dumps(rows, indent=1) if args.json else text)
    if args.write:
        name = f"speech-beam_{platform.machine()}-{os.cpu_count()}cores_{datetime.date.today()}.md"
        (HERE / "results" / name).write_text(text)


if __name__ == "__main__":
    main()
