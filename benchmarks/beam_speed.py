"""Seconds that the beam search takes for a minute of audio, on random peaky posteriors.

    python benchmarks/beam_speed.py [--rounds 5]

One minute is 1500 frames over 512 tokens, about 45 % of them certain blanks. The language model has order 6 and is
built from random text. Prints the median of the rounds with and without it, and with hot words; writes nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from medvox.models.beam import BEAM_MEDASR, Decoder
from medvox.models.hotwords import HotPhrase, HotWords
from medvox.models.kneser_ney import build_lm
from medvox.models.ngram import NgramLm

FRAMES, TOKENS, BLANK = 1500, 512, 0


def posteriors(rng: np.random.Generator) -> np.ndarray:
    """Per token about two frames with a handful of rivals, and blanks between."""
    logits = rng.normal(0, 1, (FRAMES, TOKENS))
    logits[:, BLANK] += 16
    for frame in range(0, FRAMES - 2, 4):
        rivals = rng.integers(1, TOKENS, 4)
        for at in (frame, frame + 1):
            logits[at, BLANK] -= rng.uniform(8, 12)
            logits[at, rivals] += np.array([10, 8, 7, 6]) + rng.normal(0, 1, 4)
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def language_model(rng: np.random.Generator) -> NgramLm:
    """Order 6 over 400,000 tokens of text in which frequent tokens are frequent."""
    pieces = ["<epsilon>", "<s>", "</s>", "<unk>", *(f"▁{number}" for number in range(4, TOKENS))]
    text = 4 + (rng.random((10_000, 40)) ** 3 * (TOKENS - 4)).astype(int)
    return build_lm(text.tolist(), order=6, pieces=pieces, blank=BLANK)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    lm = language_model(rng)
    hot = HotWords([HotPhrase(tokens=tuple(rng.integers(4, TOKENS, 4).tolist()), weight=8.0) for _ in range(500)])
    minutes = [posteriors(rng) for _ in range(rounds)]
    print(f"language model: order {lm.order}, {sum(lm.counts)} n-grams; beam {BEAM_MEDASR.beam}; {rounds} rounds")
    for name, decoder in {
        "no language model": Decoder(blank=BLANK),
        "language model": Decoder(blank=BLANK, lm=lm),
        "language model, 500 hot phrases": Decoder(blank=BLANK, lm=lm, hotwords=hot),
    }.items():
        times = []
        for logprobs in minutes:
            begin = time.perf_counter()
            decoder.decode(logprobs)
            times.append(time.perf_counter() - begin)
        print(f"{name}: {statistics.median(times):.3f} s per minute of audio")


if __name__ == "__main__":
    main()
