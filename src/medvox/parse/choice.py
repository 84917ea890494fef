"""The label in a final answer, and its probability from the scores of the allowed answers.

Stage four of the path.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

YES_NO = ("yes", "no")
_MARKS = " \t\r\n.,;:!?*_`\"'()[]"


def parse_label(final: str | None, allowed: Sequence[str] | None = None) -> str | None:
    """The label that a final answer names.

    Args:
        final: the text after ``Final Answer:``.
        allowed: the labels that may be named; None takes the first line as it stands.

    Returns:
        The label, or None when the text names none of the allowed ones, or more than one of them.
    """
    if final is None:
        return None
    first = final.strip().splitlines()[0].strip(_MARKS) if final.strip() else ""
    if allowed is None:
        return first or None
    if first.lower() in {label.lower() for label in allowed}:
        return next(label for label in allowed if label.lower() == first.lower())
    named = [label for label in allowed if re.search(rf"\b{re.escape(label)}\b", first, re.IGNORECASE)]
    return named[0] if len(named) == 1 else None


def probabilities(scores: Sequence[float]) -> list[float]:
    """Log-probabilities of the allowed answers -> probabilities that sum to one."""
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    return [weight / sum(weights) for weight in weights]
