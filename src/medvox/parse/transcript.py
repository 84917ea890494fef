"""Recognised tokens -> words with times and confidence, and readable text.

Last stage of the speech path. Knows no model; a token is anything with an id, its frames and its probability.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from medvox.data.results import Word

FRAME_S = 0.04  # one encoder frame
WORD_START = "▁"
CONTROL_PIECES = frozenset({"<epsilon>", "<s>", "</s>", "<pad>"})
UNKNOWN = "[unintelligible]"

# Letters said one by one, marks that speech models write out, and how questions start.
_SPELLED = {"m r i": "MRI", "c t": "CT", "x ray": "x-ray"}
_MARKUP = {
    "{period}": ".",
    "{full stop}": ".",
    "{comma}": ",",
    "{colon}": ":",
    "{new paragraph}": "\n\n",
    "{new line}": "\n",
    "{newline}": "\n",
}
_SPOKEN_PERIOD = re.compile(r"(?<!\bthe)(?<!\ba)(?<!\bthis)(?<!\btime)(?<!\bof) period\b")
_ASKS = re.compile(
    r"(so |okay |please |doctor )*"
    r"(((to|on|in) )?(which|what)|where|who|when|why|how|any|is|are|was|were|do|does|did|can|could|has|have|had|will"
    r"|would|should)\b"
)


class HeardToken(Protocol):
    """A token as the decoder gives it."""

    @property
    def token_id(self) -> int: ...  # noqa: D102
    @property
    def first_frame(self) -> int: ...  # noqa: D102
    @property
    def last_frame(self) -> int: ...  # noqa: D102
    @property
    def probability(self) -> float: ...  # noqa: D102


def words_from_tokens(tokens: Sequence[HeardToken], pieces: Sequence[str]) -> tuple[Word, ...]:
    """Joins pieces into words. A word is as sure as its least sure piece; times are frame numbers times 40 ms.

    Args:
        tokens: in the order of the recording.
        pieces: the vocabulary by id; a piece that starts a word begins with ``▁``.
    """
    groups: list[list[HeardToken]] = []
    for token in tokens:
        piece = pieces[token.token_id]
        if piece in CONTROL_PIECES:
            continue
        if not groups or piece.startswith(WORD_START) or piece == "<unk>":
            groups.append([])
        groups[-1].append(token)
    words = (_word(group, pieces) for group in groups)
    return tuple(word for word in words if word.word)


def _word(group: Sequence[HeardToken], pieces: Sequence[str]) -> Word:
    text = "".join(UNKNOWN if pieces[token.token_id] == "<unk>" else pieces[token.token_id] for token in group)
    return Word(
        word=text.removeprefix(WORD_START),
        start_s=round(group[0].first_frame * FRAME_S, 2),
        end_s=round((group[-1].last_frame + 1) * FRAME_S, 2),
        confidence=min(token.probability for token in group),
    )


def raw_text(words: Sequence[Word]) -> str:
    """The words as they were recognised."""
    return " ".join(word.word for word in words)


def format_text(raw: str) -> str:
    """Readable text: CT and MRI in capitals, spoken punctuation as marks, sentences capitalised, a question its mark.

    Words are never added, dropped or changed otherwise; numbers stay as they were said.
    """
    text = raw
    for spoken, written in _SPELLED.items():
        text = re.sub(rf"\b{spoken}\b", written, text)
    for markup, mark in _MARKUP.items():
        text = text.replace(markup, mark)
    text = re.sub(r" comma\b", ",", _SPOKEN_PERIOD.sub(".", text))
    text = re.sub(r" +([.,:?])", r"\1", text)
    text = re.sub(r" *(\n+) *", r"\1", text).strip()
    text = re.sub(r"(^|[.?]\s+|\n)([a-z])", lambda found: found[1] + found[2].upper(), text)
    if text and text[-1].isalnum() and _asks(text):
        text += "?"
    return text


def _asks(text: str) -> bool:
    """Whether the last sentence starts as a question does."""
    return _ASKS.match(re.split(r"[.?]\s+|\n", text)[-1].lower()) is not None
