"""Held-out recordings -> which of the heard words are right, and the weights of their confidence.

After the training, on lines that it never saw. ``models/confidence`` holds the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medvox.encode.speech import log_mel
from medvox.models.beam import BEAM_TUNED, BeamSettings, Decoder
from medvox.models.confidence import Calibration, evidence, fit, words_of
from medvox.models.conformer import LasrForCTC
from medvox.models.ctc import DecodedToken, greedy, log_probabilities
from medvox.models.ngram import NgramLm
from medvox.parse.transcript import raw_text, words_from_tokens
from medvox.score.alignment import Edit, align
from medvox.synth.corpus import Split, load_corpus
from medvox.train.speech_score import normalise
from medvox.types import Samples

FITTED_ON: tuple[Split, ...] = ("dev", "seen_voice", "held_variant")

SpokenText = tuple[str, Samples]  # what is said, and its sound


@dataclass(frozen=True, kw_only=True, slots=True)
class HeardLine:
    """One recording as a model heard it.

    Attributes:
        found: (words, 2), the evidence of each word.
        plain: mean posterior of the least sure token of each word, which is what a decoder states by itself.
        right: whether each word is in the reference, where it belongs.
        errors: word errors, those of words that are missing included.
        reference_words: length of the reference.
    """

    found: NDArray[np.float64]
    plain: NDArray[np.float64]
    right: NDArray[np.bool_]
    errors: int
    reference_words: int


def decoders(blank: int, lm: NgramLm | None, settings: BeamSettings = BEAM_TUNED) -> dict[str, Decoder | None]:
    """The ways of decoding by mode of ``models/confidence``; None is greedy. ``lm`` only where there is one."""
    ways: dict[str, Decoder | None] = {"greedy": None, "beam": Decoder(blank=blank, settings=settings)}
    return ways if lm is None else {**ways, "lm": Decoder(blank=blank, lm=lm, settings=settings)}


def spoken_lines(corpus: Path, splits: Iterable[Split]) -> Iterator[SpokenText]:
    """The lines of some splits of a corpus, those that it has."""
    for split in splits:
        spoken = load_corpus(corpus, split)
        for number, line in enumerate(spoken.lines):
            yield line.text, spoken.samples(number).astype(np.float32) / np.float32(32768)


@torch.inference_mode()
def hear_lines(
    network: LasrForCTC, pieces: Sequence[str], lines: Iterable[SpokenText], ways: dict[str, Decoder | None]
) -> dict[str, list[HeardLine]]:
    """What each way of decoding hears in the lines."""
    heard: dict[str, list[HeardLine]] = {mode: [] for mode in ways}
    blank = network.config.pad_token_id
    for text, samples in lines:
        logits = network(torch.from_numpy(log_mel(samples))[None])[0]
        logprobs = log_probabilities(logits)
        for mode, decoder in ways.items():
            tokens = greedy(logits, blank) if decoder is None else decoder.decode(logprobs)[0].tokens
            heard[mode].append(compare(tokens, logprobs, pieces, text))
    return heard


def compare(
    tokens: Sequence[DecodedToken], logprobs: NDArray[np.float32], pieces: Sequence[str], text: str
) -> HeardLine:
    """One recording's tokens against what is said in it; a word that normalises to nothing does not count."""
    written = [
        (word, normalise(raw_text(words_from_tokens([tokens[place] for place in word], pieces))).split())
        for word in words_of(tokens, pieces)
    ]
    written = [(word, parts) for word, parts in written if parts]
    owners = [number for number, (_, parts) in enumerate(written) for _ in parts]
    reference = normalise(text).split()
    right, errors = np.ones(len(written), dtype=bool), 0
    for step in align(reference, [part for _, parts in written for part in parts]):
        if step.edit is not Edit.CORRECT:
            errors += 1
            if step.hypothesis is not None:
                right[owners[step.hypothesis]] = False
    return HeardLine(
        found=evidence(tokens, [word for word, _ in written], logprobs),
        plain=np.array([min(tokens[place].probability for place in word) for word, _ in written]),
        right=right,
        errors=errors,
        reference_words=len(reference),
    )


def fit_confidence(
    network: LasrForCTC, pieces: Sequence[str], corpus: Path, lm: NgramLm | None = None
) -> dict[str, Calibration]:
    """The weights of word confidence for each way of decoding, from the held-out splits that are not test material.

    Args:
        network: as it ships.
        pieces: its vocabulary by id.
        corpus: folder of ``synth/corpus``.
        lm: the language model that ships beside it.
    """
    ways = decoders(network.config.pad_token_id, lm)
    heard = hear_lines(network, pieces, spoken_lines(corpus, FITTED_ON), ways)
    return {mode: fit(*pooled(lines)) for mode, lines in heard.items()}


def pooled(lines: Sequence[HeardLine]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Evidence and truth of the words of all lines."""
    return np.concatenate([line.found for line in lines]), np.concatenate([line.right for line in lines])
