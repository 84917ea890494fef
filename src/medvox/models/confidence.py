"""Decoded tokens and log-probabilities -> how likely each word is right, by what a model did on held-out speech.

After ``ctc`` or ``beam`` on the speech path, before ``parse/transcript``. Knows no sound and no reference text.

Two things tell of a word: the *peak*, the product over its tokens of the highest posterior on the frames of each, and
the *doubt*, how far the posteriors on these frames are spread over other tokens (Tsallis entropy of order 1/3, 0 to 1).
A logistic function of both gives the probability. Its three weights are fitted once for each model and way of decoding
and lie as ``confidence.json`` in the model's folder; without them the peak counts alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medvox.errors import SetupError
from medvox.models.ctc import DecodedToken

FILE = "confidence.json"
MODES = ("greedy", "beam", "lm")  # the best token of each frame; a beam search without and with a language model
ORDER = 1 / 3
LEAST = 1e-6  # chances are kept this far from 0 and 1
PRIOR = 1.0  # strength of the unfitted weights, against a word of speech
STEPS = 50
SMALLEST_STEP = 1e-9

_CONTROL = re.compile(r"<[^<>\s]+>")
_UNKNOWN = "<unk>"
_Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Weights of the log-odds of a word's peak, of the logarithm of its doubt, and an offset; in log-odds."""

    peak: float = 1.2
    doubt: float = 0.0
    offset: float = 0.0


UNFITTED = Calibration()


def judged(
    tokens: Sequence[DecodedToken],
    logprobs: NDArray[np.float32],
    pieces: Sequence[str],
    calibration: Calibration = UNFITTED,
) -> list[DecodedToken]:
    """The same tokens, each with the probability that its word is right.

    Args:
        tokens: of one recording, greedy or of a beam search.
        logprobs: (T, V) natural-log posteriors that they were decoded from.
        pieces: the vocabulary by id; a piece that starts a word begins with ``▁``.
        calibration: for this model and way of decoding.
    """
    words = words_of(tokens, pieces)
    found = list(tokens)
    for word, chance in zip(words, chances(evidence(tokens, words, logprobs), calibration).tolist(), strict=True):
        for place in word:
            found[place] = replace(tokens[place], probability=chance)
    return found


def overall(words: Sequence[float]) -> float:
    """Expected share of right words of a transcript, from the probability of each; 0 for none."""
    return sum(words) / len(words) if words else 0.0


def words_of(tokens: Sequence[DecodedToken], pieces: Sequence[str]) -> list[list[int]]:
    """Places of the tokens of each word; those that make no text are in none."""
    words: list[list[int]] = []
    for place, token in enumerate(tokens):
        piece = pieces[token.token_id]
        if _CONTROL.fullmatch(piece) and piece != _UNKNOWN:
            continue
        if not words or piece.startswith("▁") or piece == _UNKNOWN:
            words.append([])
        words[-1].append(place)
    return words


def evidence(tokens: Sequence[DecodedToken], words: Sequence[Sequence[int]], logprobs: NDArray[np.float32]) -> _Numbers:
    """Log-odds of the peak and logarithm of the doubt of each word, (words, 2)."""
    most = logprobs.shape[1] ** (1 - ORDER) - 1
    found = np.empty((len(words), 2))
    for row, places in enumerate(words):
        peak = spread = frames = 0.0
        for token in (tokens[place] for place in places):
            rows = logprobs[token.first_frame : token.last_frame + 1].astype(np.float64)
            peak += float(rows[:, token.token_id].max())
            spread += float((np.exp(rows * ORDER).sum(axis=1) - 1).sum()) / most
            frames += len(rows)
        chance = min(max(math.exp(peak), LEAST), 1 - LEAST)
        found[row] = math.log(chance / (1 - chance)), math.log(max(spread / frames, 0.0) + LEAST)
    return found


def chances(found: _Numbers, calibration: Calibration) -> _Numbers:
    """Probability of each word (0 to 1) from its evidence."""
    odds = calibration.peak * found[:, 0] + calibration.doubt * found[:, 1] + calibration.offset
    return 1 / (1 + np.exp(-np.clip(odds, -30.0, 30.0)))


def fit(found: _Numbers, right: NDArray[np.bool_]) -> Calibration:
    """Weights under which the evidence is most likely (logistic regression, held near the unfitted weights).

    Args:
        found: (words, 2), of ``evidence``, of speech that the model was not trained on.
        right: whether each word was right.
    """
    table = np.column_stack([found, np.ones(len(found))])
    free = np.ones(3, dtype=bool)
    while True:
        weights = _maximum(table, right, free)
        wrong_way = np.array([weights[0] < 0, weights[1] > 0, False]) & free
        if not wrong_way.any():
            return Calibration(peak=float(weights[0]), doubt=float(weights[1]), offset=float(weights[2]))
        free &= ~wrong_way  # a higher peak never counts against a word, nor doubt for it


def _maximum(table: _Numbers, right: NDArray[np.bool_], free: NDArray[np.bool_]) -> _Numbers:
    """Newton's method over the free weights, in steps that never make it worse; the others are 0."""
    prior = np.array([UNFITTED.peak, UNFITTED.doubt, UNFITTED.offset]) * free
    signs = np.where(right, -1.0, 1.0)

    def cost(weights: _Numbers) -> float:
        return float(np.logaddexp(0.0, signs * (table @ weights)).sum() + PRIOR / 2 * ((weights - prior) ** 2).sum())

    weights = prior.copy()
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(table @ weights, -30.0, 30.0)))
        slope = table.T @ (chance - right) + PRIOR * (weights - prior)
        curvature = (table * (chance * (1 - chance))[:, None]).T @ table + PRIOR * np.eye(3)
        step = np.zeros(3)
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)], slope[free])
        while np.abs(step).max() > SMALLEST_STEP and cost(weights - step) > cost(weights):
            step /= 2
        weights -= step
    return weights


def read_calibrations(folder: Path) -> dict[str, Calibration]:
    """The calibrations of a model folder by mode; of a mode without one ``UNFITTED``.

    Raises:
        SetupError: the file is there and cannot be used.
    """
    path = folder / FILE
    if not path.is_file():
        return dict.fromkeys(MODES, UNFITTED)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        found = {mode: Calibration(**{name: float(one[name]) for name in _NAMES}) for mode, one in stored.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _broken(path) from error
    numbers = [number for one in found.values() for number in asdict(one).values()]
    if not set(found) <= set(MODES) or not all(math.isfinite(number) for number in numbers):
        raise _broken(path)
    return dict.fromkeys(MODES, UNFITTED) | found


def write_calibrations(calibrations: Mapping[str, Calibration], folder: Path) -> None:
    """Puts ``confidence.json`` into a model folder."""
    values = {
        mode: {name: round(value, 4) for name, value in asdict(calibrations[mode]).items()} for mode in calibrations
    }
    (folder / FILE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


_NAMES = [field.name for field in fields(Calibration)]


def _broken(path: Path) -> SetupError:
    return SetupError(
        f"{path.name} of the model folder does not hold the weights of word confidence",
        fix="download the model folder again, or delete this file: words are then judged without it",
        code="E_MODEL_CONFIDENCE",
    )
