"""Recognised tokens -> words with times and confidence, and readable text.

Last stage of the speech path. Knows no model; a token is anything with an id, its frames and its probability.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from medvox.data.results import Word
from medvox.parse.commands import DEFAULT_WRITING, Formatted, WritingSettings, format_spoken, format_words
from medvox.parse.markup import CONTROL_PIECES, UNKNOWN, UNKNOWN_PIECE

FRAME_S = 0.04  # one encoder frame
WORD_START = "▁"
_LEAKED = re.compile("|".join(map(re.escape, sorted(CONTROL_PIECES))))

# How questions start.
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
        if not groups or piece.startswith(WORD_START) or piece == UNKNOWN_PIECE:
            groups.append([])
        groups[-1].append(token)
    words = (_word(group, pieces) for group in groups)
    return tuple(word for word in words if word.word)


def _word(group: Sequence[HeardToken], pieces: Sequence[str]) -> Word:
    return Word(
        word=without_controls("".join(pieces[token.token_id] for token in group).removeprefix(WORD_START)),
        start_s=round(group[0].first_frame * FRAME_S, 2),
        end_s=round((group[-1].last_frame + 1) * FRAME_S, 2),
        confidence=min(token.probability for token in group),
    )


def without_controls(text: str) -> str:
    """The text without the control tokens of any recogniser that let them through; ``<unk>`` is shown as such."""
    return _LEAKED.sub("", text).replace(UNKNOWN_PIECE, UNKNOWN)


def raw_text(words: Sequence[Word]) -> str:
    """The words as they were recognised."""
    cleaned = (without_controls(word.word).strip() for word in words)
    return " ".join(word for word in cleaned if word)


def format_text(heard: Sequence[Word] | str, *, settings: WritingSettings = DEFAULT_WRITING) -> Formatted:
    """Written text: spoken and marked-up punctuation, numbers, units and commands; a question gets its mark at the end.

    Args:
        heard: the words with their times and confidence, which the risks then have too; or only their text.
        settings: see ``commands.WritingSettings``.
    """
    return end_of_text(
        format_spoken(heard, settings=settings) if isinstance(heard, str) else format_words(heard, settings=settings),
        settings=settings,
    )


def end_of_text(written: Formatted, *, settings: WritingSettings = DEFAULT_WRITING) -> Formatted:
    """The text behind which nothing more is said: a question gets its mark, unless a template is filled in."""
    if written.text and written.text[-1].isalnum() and not settings.template and _asks(written.text):
        return replace(written, text=written.text + "?")  # at the end, so that the risk spans stay right
    return written


def _asks(text: str) -> bool:
    """Whether the last sentence starts as a question does."""
    return _ASKS.match(re.split(r"[.?]\s+|\n", text)[-1].lower()) is not None
