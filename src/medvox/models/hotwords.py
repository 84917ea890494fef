"""Phrases that the listener should favour, as token ids -> bonuses while a hypothesis grows.

Beside ``models/ngram``; asked by ``models/beam``. Knows no text: whoever calls has turned phrases into token ids. One
automaton over all phrases (Aho and Corasick, 1975). A hypothesis earns the weight of a phrase each time it completes
one; while it is inside a phrase it borrows the share that it has matched, and gives it back when the match breaks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from medvox.errors import UsageError

MAX_PHRASES, MAX_PHRASE_TOKENS = 20_000, 128


@dataclass(frozen=True, kw_only=True, slots=True)
class HotPhrase:
    """A phrase in token ids, and its bonus when complete, in natural-log units (about 2 to 20)."""

    tokens: tuple[int, ...]
    weight: float


class HotWords:
    """The automaton.

    Attributes:
        tokens: all token ids in the phrases.
        earned: for each node, the weights of all phrases that are complete there.
        lent: for each node, the share borrowed for the phrases that are under way there.
        continuing: tokens that continue a word.
    """

    def __init__(self, phrases: Iterable[HotPhrase], *, continuing: frozenset[int] = frozenset()) -> None:
        """Build the automaton; of a phrase that is given twice, the larger weight rules.

        Args:
            phrases: what to favour.
            continuing: tokens that continue a word; a phrase does not count when one of these follows it.

        Raises:
            UsageError: an empty, too long or negative-weight phrase, or too many of them.
        """
        weights: dict[tuple[int, ...], float] = {}
        for phrase in phrases:
            _check(phrase)
            weights[phrase.tokens] = max(phrase.weight, weights.get(phrase.tokens, 0.0))
        if len(weights) > MAX_PHRASES:
            raise _refusal(f"there are more than {MAX_PHRASES} hot phrases")
        self.continuing = continuing
        self.tokens = frozenset(token for tokens in weights for token in tokens)
        self.earned, self.lent = [0.0], [0.0]
        self._next: list[dict[int, int]] = [{}]
        self._shorter = [0]  # the node of the longest proper suffix
        for tokens, weight in weights.items():
            self._add(tokens, weight)
        self._link()

    def step(self, node: int, token: int) -> int:
        """The node after one more token; 0 where no phrase is under way."""
        while True:
            following = self._next[node].get(token)
            if following is not None:
                return following
            if node == 0:
                return 0
            node = self._shorter[node]

    def _add(self, tokens: tuple[int, ...], weight: float) -> None:
        node = 0
        for depth, token in enumerate(tokens, start=1):
            if token not in self._next[node]:
                self._next[node][token] = len(self._next)
                self._next.append({})
                self._shorter.append(0)
                self.earned.append(0.0)
                self.lent.append(0.0)
            node = self._next[node][token]
            if depth < len(tokens):
                self.lent[node] = max(self.lent[node], weight * depth / len(tokens))
        self.earned[node] = weight

    def _link(self) -> None:
        """Suffix links in order of depth, and with them the phrases that end or run inside others."""
        queue = list(self._next[0].values())
        for node in queue:  # grows on the way
            for token, child in self._next[node].items():
                queue.append(child)
                self._shorter[child] = self.step(self._shorter[node], token)
            shorter = self._shorter[node]
            self.earned[node] += self.earned[shorter]
            self.lent[node] = max(self.lent[node], self.lent[shorter])


def _check(phrase: HotPhrase) -> None:
    if not 1 <= len(phrase.tokens) <= MAX_PHRASE_TOKENS or min(phrase.tokens) < 0:
        raise _refusal(f"a hot phrase has no tokens, more than {MAX_PHRASE_TOKENS}, or a negative one")
    if not (math.isfinite(phrase.weight) and phrase.weight > 0):
        raise _refusal("the weight of a hot phrase is not a positive number")


def _refusal(message: str) -> UsageError:
    return UsageError(message, fix="correct the list of hot words", code="E_HOTWORDS")
