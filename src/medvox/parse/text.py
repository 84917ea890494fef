"""Split a model's text: hidden thinking first, then the answer, then its ``Final Answer:``.

Stage four of the path. A MedGemma may think without being asked; the thinking never reaches an answer or a report.
Source: MedGemma 1.5 report, appendix B; the marks are ``<unused94>`` and ``<unused95>``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from medvox.errors import ParseError

THINK_OPEN, THINK_CLOSE = "<unused94>", "<unused95>"
_TURN_END = re.compile(r"(?:<end_of_turn>|<eos>|<pad>)\s*")
_FINAL = re.compile(r"final\s+answer\s*:", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelText:
    """A model's text in its parts.

    Attributes:
        thinking: the hidden thoughts, or None.
        answer: what the user may read.
        final: what stands after the last ``Final Answer:``, or None.
    """

    thinking: str | None
    answer: str
    final: str | None


def split_text(raw: str) -> ModelText:
    """Take a model's decoded turn apart.

    Raises:
        ParseError: the thinking began and never ended, so there is no answer (the token budget was too small).
    """
    text = _TURN_END.sub("", raw)
    thinking = None
    if THINK_CLOSE in text:
        hidden, _, text = text.rpartition(THINK_CLOSE)
        thinking = hidden.replace(THINK_OPEN, "").removeprefix("thought").strip()
    elif THINK_OPEN in text:
        raise ParseError(
            "the model was still thinking when its token budget ended",
            fix="Ask again with a larger --max-new-tokens.",
            code="E_PARSE_THINKING",
        )
    answer = text.strip()
    marks = list(_FINAL.finditer(answer))
    final = answer[marks[-1].end() :].strip() if marks else None
    return ModelText(thinking=thinking, answer=answer, final=final or None)
