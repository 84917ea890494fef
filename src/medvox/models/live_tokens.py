"""Log-probabilities of an utterance as they settle -> tokens, committed phrase by phrase.

Between ``models/live`` and ``parse/transcript``. A search may change its mind about what it heard long ago, so rows are
decoded in phrases: what lies before a silence between two words is decoded once and committed. Knows no sound and no
text.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medvox.models.ctc import DecodedToken
from medvox.models.live import Heard
from medvox.models.noise_gate import spoken_tokens
from medvox.models.speech_model import Decode, TokenDecoder

EVER = 2**62


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrasing:
    """Where phrases end, in rows (40 ms).

    Attributes:
        pause: rows of silence between two words, at least.
        longest: rows after which the longest silence so far ends the phrase, and if there is none, anything does.
    """

    pause: int = 6
    longest: int = 250


class LiveTokens:
    """The tokens of one utterance.

    Attributes:
        phrases: committed tokens, phrase by phrase; they never change.
        unclear: phrases that were left out since the network was sure of nothing in them.
    """

    def __init__(
        self, decode: Decode, *, blank: int, starts: Collection[int], phrasing: Phrasing | None = None
    ) -> None:
        """Starts an utterance.

        Args:
            decode: how rows become tokens; a ``TokenDecoder`` also judges them.
            blank: id of the token for nothing.
            starts: ids of the tokens that start a word.
            phrasing: where phrases end.
        """
        self._decode, self._blank, self._phrasing = decode, blank, phrasing or Phrasing()
        self._starts = torch.tensor(sorted(starts), dtype=torch.long)
        self._rows: list[Tensor] = []  # settled, not yet committed
        self._first = 0  # row of the utterance that they start at
        self.phrases: list[tuple[DecodedToken, ...]] = []
        self.unclear = 0

    def hear(self, heard: Heard) -> tuple[DecodedToken, ...]:
        """Commits what can be, and gives the tokens after that as they look now."""
        if len(heard.settled):
            self._rows.append(heard.settled)
        rows = torch.cat(self._rows) if self._rows else heard.settled
        if cut := self._cut(rows):
            self._commit(rows[:cut])
            rows = rows[cut:]
            self._rows = [rows]
        return self._tokens(torch.cat((rows, heard.tentative)) if len(rows) else heard.tentative)

    def finish(self, rows: Tensor) -> None:
        """Commits all, with the last rows of the utterance."""
        self._commit(torch.cat((*self._rows, rows)))
        self._rows = []

    def _commit(self, rows: Tensor) -> None:
        if tokens := self._tokens(rows, count=True):
            self.phrases.append(tokens)
        self._first += len(rows)

    def _tokens(self, rows: Tensor, *, count: bool = False) -> tuple[DecodedToken, ...]:
        if not len(rows):
            return ()
        spoken = spoken_tokens(self._decode(rows)[0].tokens, [(0, EVER)])
        self.unclear += spoken.unclear * count
        tokens = spoken.tokens
        if isinstance(self._decode, TokenDecoder):
            tokens = self._decode.judged(tokens, rows)
        return tuple(
            replace(token, first_frame=token.first_frame + self._first, last_frame=token.last_frame + self._first)
            for token in tokens
        )

    def _cut(self, rows: Tensor) -> int:
        """How many rows make whole phrases: up to the middle of the last long silence before a word, else 0."""
        best = rows.argmax(dim=-1)
        silent = best == self._blank
        starting = torch.isin(best, self._starts)
        starting[1:] &= best[1:] != best[:-1]
        places = torch.arange(len(best))
        before = places - torch.cummax(torch.where(silent, -1, places), dim=0).values  # silent rows up to each
        words = [(int(before[place - 1]), place) for place in starting.nonzero().flatten().tolist() if place]
        words = [(pause, place) for pause, place in words if pause < place]  # not the first word
        paused = [(pause, place) for pause, place in words if pause >= self._phrasing.pause]
        if paused:
            pause, place = paused[-1]
        elif len(rows) > self._phrasing.longest:
            pause, place = max(words, default=(0, len(rows)))
        else:
            return 0
        return place - pause // 2
