"""Stated probabilities and what came true -> how far they can be trusted.

Beside the error rates; for word confidence, and for any answer with a probability. Knows no model and no text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating]
Truths = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    """Cases of about the same stated probability: how many, the mean stated, and the share that was true."""

    count: int
    stated: float
    true: float


def reliability(stated: Numbers, true: Truths, *, bins: int = 10) -> list[Bin]:
    """The cases in bins of equal width, lowest first; empty bins are left out.

    Args:
        stated: probabilities, 0 to 1.
        true: what came true.
        bins: of the whole range.
    """
    place = np.minimum((stated * bins).astype(int), bins - 1)
    chosen = [place == number for number in range(bins)]
    return [
        Bin(count=int(here.sum()), stated=float(stated[here].mean()), true=float(true[here].mean()))
        for here in chosen
        if here.any()
    ]


def calibration_error(stated: Numbers, true: Truths, *, bins: int = 10) -> float:
    """Mean distance of stated and true over the bins, by their size (ECE); NaN for no case."""
    if not len(stated):
        return float("nan")
    return sum(one.count * abs(one.stated - one.true) for one in reliability(stated, true, bins=bins)) / len(stated)


def separation(stated: Numbers, true: Truths) -> float:
    """Chance that a true case has the higher probability than a false one (AUC); NaN where one kind is missing."""
    positives = int(true.sum())
    negatives = len(true) - positives
    if not positives or not negatives:
        return float("nan")
    _, place, counts = np.unique(stated, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # ties share their mean rank
    return float((ranks[place][true].sum() - positives * (positives + 1) / 2) / (positives * negatives))
