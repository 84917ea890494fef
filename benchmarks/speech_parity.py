"""The speech path against transformers' ``LasrForCTC`` on the same weights: features, logits and transcripts.

    python benchmarks/speech_parity.py                      # 1,000 utterances, prints the page
    python benchmarks/speech_parity.py --utterances 60      # a quick look
    python benchmarks/speech_parity.py --write              # and puts the page into benchmarks/results/

Needs the packages of the tests. Small networks with random weights, in several configurations, and the shipped model,
are saved as a folder in the hub's layout, and both sides load that folder. An utterance is 0.2 s to 12 s of noise,
tones, bursts or silence, or a stretch of real speech where the developers' shared data lies; they come in batches of 1
to 8 with padding. Three more recordings have 20 minutes, in one piece. Each side goes from samples to text by itself.

The difference of logits is the largest one, relative to the largest logit of the utterance. Texts are compared as they
are; ``<unk>``, which they leave out and medvox marks, is left out on both sides.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from demo_stages import HERE, commit, machine
from torch import Tensor
from transformers import LasrCTCConfig, LasrForCTC, LasrProcessor, __version__

from medvox.catalog import DEFAULT_ASR, WEIGHTS
from medvox.encode.speech import SAMPLE_RATE_HZ, log_mel_batch
from medvox.models.ctc import greedy
from medvox.models.speech_model import UNKNOWN_PIECE, SpeechModel, load_speech_model
from medvox.models.weights import weights_hash
from medvox.parse.transcript import raw_text, words_from_tokens
from medvox.train.human_speech import tested_sentences
from medvox.types import Samples

GOAL_FEATURES, GOAL_LOGITS = 1e-4, 1e-4
SHORTEST_S, LONGEST_S, LONG_S = 0.2, 12.0, 1200.0
BATCHES = (1, 1, 2, 4, 8)
REAL = Path(__file__).parents[2] / "shared" / "data" / "speech"
COMMAND = "python benchmarks/speech_parity.py --write"
SMALL: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "subsampling_conv_channels": 32,
}
RANDOM: dict[str, tuple[dict[str, Any], str]] = {  # what differs from the published configuration, and their attention
    "as published, but small": ({}, "sdpa"),
    "17 blocks": ({"num_hidden_layers": 17, "hidden_size": 32, "intermediate_size": 64}, "sdpa"),
    "biases, odd kernel": ({"attention_bias": True, "convolution_bias": True, "conv_kernel_size": 9}, "eager"),
    "shared keys, wide subsampling": ({"num_key_value_heads": 2, "subsampling_conv_kernel_size": 7}, "sdpa"),
    "linear rotary, other residuals": (
        {
            "rope_parameters": {"rope_type": "linear", "rope_theta": 50.0, "factor": 4.0},
            "feed_forward_residual_weights": [1.0, 0.25],
            "conv_residual_weights": [0.5, 2.0],
            "hidden_act": "gelu",
        },
        "eager",
    ),
}
LONG = ("as published, but small", "17 blocks", DEFAULT_ASR)  # 20 min with their eager attention would need 14 GB


@dataclass(kw_only=True)
class Tally:
    """What was compared of one set of weights."""

    features: float = 0.0
    logits: list[float] = field(default_factory=list)
    same: int = 0
    letters: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Both:
    """The same folder in both programs."""

    ours: SpeechModel
    theirs: Any
    processor: Any


def save_random(folder: Path, switches: dict[str, Any]) -> None:
    """A network whose weights and statistics are large enough to make every part count, with the shipped tokenizer."""
    torch.manual_seed(0)
    network = LasrForCTC(LasrCTCConfig(vocab_size=128, encoder_config={**SMALL, **switches}))
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight.copy_(torch.randn_like(weight) * 0.3 + (1.0 if "norm" in name and "weight" in name else 0.0))
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.copy_(torch.rand_like(buffer) + 0.5)
    network.save_pretrained(folder)
    shutil.copy(WEIGHTS / DEFAULT_ASR / "tokenizer.json", folder)


def load(name: str, folder: Path) -> Both:
    """The shipped weights, or random ones by their name, through a folder."""
    switches, attention = RANDOM.get(name, ({}, "sdpa"))
    if name in RANDOM:
        save_random(folder, switches)
    else:
        shutil.copytree(WEIGHTS / name, folder, dirs_exist_ok=True)
    special = {"pad_token": "<epsilon>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "extra_ids": 0}
    settings = {"tokenizer_class": "LasrTokenizer", "processor_class": "LasrProcessor", **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_extractor_type": "LasrFeatureExtractor"}))
    theirs = LasrForCTC.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention).eval()
    return Both(ours=load_speech_model(folder), theirs=theirs, processor=LasrProcessor.from_pretrained(folder))


def made_sound(random: np.random.Generator, count: int) -> Samples:
    """Noise, a sweep, bursts of noise, or silence, at any level."""
    noise = random.standard_normal(count)
    time_s = np.arange(count) / SAMPLE_RATE_HZ
    kinds = (
        noise,
        np.sin(2 * np.pi * random.uniform(50, 4_000) * time_s * (1 + time_s / 10)),
        noise * (np.sin(2 * np.pi * random.uniform(1, 6) * time_s) > random.uniform(-1, 0.9)),
        np.cumsum(noise) / 50,
        np.zeros(count),
    )
    return (np.clip(random.choice(kinds) * 10 ** random.uniform(-4, 0), -1, 1)).astype(np.float32)


def utterance(random: np.random.Generator, speech: Sequence[Samples]) -> Samples:
    """Every second one is real, where there is speech."""
    seconds = SHORTEST_S * (LONGEST_S / SHORTEST_S) ** random.random()
    count = round(seconds * SAMPLE_RATE_HZ)
    if not speech or random.random() < 0.5:
        return made_sound(random, count)
    clip = speech[random.integers(len(speech))]
    first = random.integers(max(1, len(clip) - count))
    return clip[first : first + count]


def batches(seed: int, count: int, speech: Sequence[Samples], *, long: bool) -> Iterator[list[Samples]]:
    """So many utterances; a long recording comes alone."""
    random = np.random.default_rng(seed)
    if long:
        whole = np.concatenate([*speech, made_sound(random, round(LONG_S * SAMPLE_RATE_HZ))])
        yield [whole[: round(LONG_S * SAMPLE_RATE_HZ)]]
        count -= 1
    while count > 0:
        size = min(count, random.choice(BATCHES))
        count -= size
        yield [utterance(random, speech) for _ in range(size)]


def our_text(model: SpeechModel, rows: Tensor) -> str:
    tokens = [one for one in greedy(rows, model.blank) if model.pieces[one.token_id] != UNKNOWN_PIECE]
    return raw_text(words_from_tokens(tokens, model.pieces))


@torch.inference_mode()
def compare(both: Both, sounds: list[Samples], tally: Tally) -> None:
    """Hear one batch on both sides."""
    given = both.processor(sounds, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
    theirs = both.theirs.generate(**given, return_dict_in_generate=True)
    texts = both.processor.batch_decode(theirs.sequences, skip_special_tokens=True)
    features, lengths = log_mel_batch(sounds)
    logits = both.ours.network(torch.from_numpy(features), torch.tensor(lengths))
    tally.features = max(tally.features, float(np.abs(features - given["input_features"].numpy()).max()))
    rows = both.ours.network.output_lengths(torch.tensor(lengths)).tolist()
    for sound, own, other, count, text in zip(sounds, logits, theirs.logits, rows, texts, strict=True):
        difference = (own[:count] - other[:count]).abs().max() / other[:count].abs().max()
        tally.logits.append(float(difference))
        heard = our_text(both.ours, own[:count])
        tally.same += heard == " ".join(text.split())
        tally.letters += len(heard)
        tally.seconds += len(sound) / SAMPLE_RATE_HZ


def measure(utterances: int, *, long: bool) -> list[dict[str, object]]:
    """A row for each set of weights, and one for all."""
    names = [*RANDOM, DEFAULT_ASR]
    speech = [one.samples for one in tested_sentences(REAL)] if REAL.is_dir() else []
    rows: list[dict[str, object]] = []
    whole = Tally()
    for seed, name in enumerate(names):
        count = utterances // len(names) + (seed < utterances % len(names))
        tally = Tally()
        with TemporaryDirectory() as held:
            folder = Path(held) / name.replace(" ", "-")
            folder.mkdir()
            both = load(name, folder)
            for sounds in batches(seed, count, speech, long=long and name in LONG):
                compare(both, sounds, tally)
        rows.append(row_of(name, tally))
        whole.features = max(whole.features, tally.features)
        whole.logits += tally.logits
        whole.same, whole.letters = whole.same + tally.same, whole.letters + tally.letters
        whole.seconds += tally.seconds
    return [*rows, row_of("all", whole)]


def row_of(what: str, tally: Tally) -> dict[str, object]:
    count, worst = len(tally.logits), max(tally.logits)
    return {
        "what": what,
        "utterances": count,
        "minutes": tally.seconds / 60,
        "features": tally.features,
        "logits": worst,
        "logits_median": float(np.median(tally.logits)),
        "letters": tally.letters,
        "same_text": tally.same,
        "goal": {"features": GOAL_FEATURES, "logits": GOAL_LOGITS, "same_text": count},
        "met": tally.features <= GOAL_FEATURES and worst <= GOAL_LOGITS and tally.same == count,
    }


def page(rows: list[dict[str, Any]]) -> str:
    """The Markdown page."""
    head = [f"- machine: {machine()}", f"- date: {datetime.date.today()}", f"- commit: {commit()}"]
    head += [f"- command: `{COMMAND}`", f"- peer: transformers {__version__}, torch {torch.__version__}, float32"]
    head += [f"- goal: features <= {GOAL_FEATURES:g}, logits <= {GOAL_LOGITS:g} relative, the same text every time"]
    head += [f"- weights of {DEFAULT_ASR}: {weights_hash(WEIGHTS / DEFAULT_ASR)[:12]}"]
    head += [f"- real speech among the utterances: {'yes' if REAL.is_dir() else 'no'}"]
    lines = [
        "| weights | utterances | minutes | log-mel, largest difference | logits, relative, largest | median "
        "| letters heard | same text | met |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        lines.append(
            f"| {row['what']} | {row['utterances']} | {row['minutes']:.1f} | {row['features']:.1e} "
            f"| {row['logits']:.1e} | {row['logits_median']:.1e} | {row['letters']} | {row['same_text']} "
            f"| {'yes' if row['met'] else 'no'} |"
        )
    return "\n".join(["# Parity with transformers", "", *head, "", *lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=1000)
    parser.add_argument("--no-long", action="store_true", help="leave out the recordings of 20 minutes")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the page")
    parser.add_argument("--write", action="store_true", help="write the page into benchmarks/results as well")
    args = parser.parse_args()
    rows = measure(args.utterances, long=not args.no_long)
    text = page(rows)
    print(json.dumps(rows, indent=1) if args.json else text)
    if args.write:
        name = f"speech-parity_{platform.machine()}-{os.cpu_count()}cores_{datetime.date.today()}.md"
        (HERE / "results" / name).write_text(text)


if __name__ == "__main__":
    main()
