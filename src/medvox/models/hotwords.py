"""Phrases that the listener should favour, as bonuses while a hypothesis grows token by token.

Beside ``models/ngram``; asked by ``models/beam``. Knows no file and no tokenizer: it goes through the letters of the
pieces, so a phrase counts in whatever pieces the network spells it, in upper or lower case, with a hyphen or a space
between its words. One automaton over all phrases (Aho and Corasick, 1975). A hypothesis earns the weight of a phrase
each time it completes one as whole words; while it is inside a phrase it borrows the share that it has matched, and
gives it back when the match breaks.

Letters are small numbers: 0 stands for those that no phrase holds, 1 for what ends a word and no phrase holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medvox.errors import UsageError

MAX_PHRASES, MAX_PHRASE_LETTERS = 20_000, 256
MARK = "▁"
STRANGE, STRANGE_END = 0, 1
CONTROL = frozenset({"<epsilon>", "<s>", "</s>", "<unk>", "<pad>"})


@dataclass(frozen=True, kw_only=True, slots=True)
class HotPhrase:
    """A phrase, its bonus when complete in natural-log units (about 5 to 30), and what errors call it."""

    text: str
    weight: float
    where: str = "a hot phrase"


class Arrays(NamedTuple):
    """The automaton as ``kernels/beam.c`` reads it; see ``HotWords``."""

    keys: NDArray[np.int64]  # of the edges, sorted, and one beyond all others
    targets: NDArray[np.int32]
    shorter: NDArray[np.int32]
    spelled: NDArray[np.int32]  # letters of all tokens, one after another
    spelled_at: NDArray[np.int32]  # where each token starts, and the end
    ends: NDArray[np.bool_]
    earned: NDArray[np.float64]
    lent: NDArray[np.float64]


class HotWords:
    """The automaton.

    Attributes:
        spelled: letters of each token.
        ends: for each letter, whether it ends the word before it.
        earned: for each node, the weights of all phrases that are complete there if the word ends.
        lent: for each node, the share borrowed for the phrases that are under way there.
        edges: node after ``node * len(ends) + letter``, where a phrase goes on so.
        shorter: for each node, that of its longest proper suffix.
    """

    def __init__(self, phrases: Iterable[HotPhrase], pieces: Sequence[str]) -> None:
        """Build the automaton; of a phrase that is given twice, the larger weight rules.

        Args:
            phrases: what to favour.
            pieces: the speech model's vocabulary, in order of the ids.

        Raises:
            UsageError: an empty, too long or negative-weight phrase, or too many of them (``E_HOTWORDS``); one that
                the pieces cannot spell (``E_HOTWORDS_TOKENS``).
        """
        folded = ["\n" if piece in CONTROL else _folded(piece) for piece in pieces]
        weights: dict[str, float] = {}
        for phrase in phrases:
            _check(phrase)
            text = _spelling(phrase, frozenset(folded))
            weights[text] = max(phrase.weight, weights.get(text, 0.0))
        if len(weights) > MAX_PHRASES:
            raise _refusal(f"there are more than {MAX_PHRASES} hot phrases")
        alphabet = sorted(set("".join(weights)))
        codes = {letter: code for code, letter in enumerate(alphabet, start=2)}
        self.ends = (False, True, *(not letter.isalnum() for letter in alphabet))
        self.spelled = [
            tuple(codes.get(letter, STRANGE if letter.isalnum() else STRANGE_END) for letter in piece)
            for piece in folded
        ]
        self.earned, self.lent = [0.0], [0.0]
        self.edges: dict[int, int] = {}
        self.shorter = [0]
        self._depths = [0]
        for text, weight in weights.items():
            self._add([codes[letter] for letter in text], weight)
        self._link()

    def step(self, node: int, token: int) -> tuple[int, float]:
        """The node after one more token, 0 where no phrase is under way; and the weights of phrases that it sealed."""
        sealed = 0.0
        for letter in self.spelled[token]:
            if self.ends[letter]:
                sealed += self.earned[node]
            node = self._after(node, letter)
        return node, sealed

    @cached_property
    def arrays(self) -> Arrays:
        """The same in arrays."""
        edges = sorted(self.edges.items())
        lengths = [len(letters) for letters in self.spelled]
        return Arrays(
            keys=np.array([*(key for key, _ in edges), np.iinfo(np.int64).max], dtype=np.int64),
            targets=np.array([target for _, target in edges], dtype=np.int32),
            shorter=np.array(self.shorter, dtype=np.int32),
            spelled=np.array([letter for letters in self.spelled for letter in letters], dtype=np.int32),
            spelled_at=np.array([0, *np.cumsum(lengths)], dtype=np.int32),
            ends=np.array(self.ends),
            earned=np.array(self.earned),
            lent=np.array(self.lent),
        )

    def _after(self, node: int, letter: int) -> int:
        width = len(self.ends)
        while True:
            following = self.edges.get(node * width + letter)
            if following is not None:
                return following
            if node == 0:
                return 0
            node = self.shorter[node]

    def _add(self, letters: list[int], weight: float) -> None:
        node = 0
        for depth, letter in enumerate(letters, start=1):
            edge = node * len(self.ends) + letter
            if edge not in self.edges:
                self.edges[edge] = len(self.shorter)
                self.shorter.append(0)
                self.earned.append(0.0)
                self.lent.append(0.0)
                self._depths.append(depth)
            node = self.edges[edge]
            if depth < len(letters):  # the word mark alone is no match yet
                self.lent[node] = max(self.lent[node], weight * (depth - 1) / (len(letters) - 1))
        self.earned[node] = weight

    def _link(self) -> None:
        """Suffix links in order of depth, and with them the phrases that end or run inside others."""
        width = len(self.ends)
        for edge, child in sorted(self.edges.items(), key=lambda item: self._depths[item[1]]):
            node, letter = divmod(edge, width)
            if node:
                self.shorter[child] = self._after(self.shorter[node], letter)
            shorter = self.shorter[child]
            self.earned[child] += self.earned[shorter]
            self.lent[child] = max(self.lent[child], self.lent[shorter])


def _folded(text: str) -> str:
    """Letters without case; a hyphen and a space are the word mark."""
    return text.lower().replace("-", MARK).replace(" ", MARK)


def _spelling(phrase: HotPhrase, pieces: frozenset[str]) -> str:
    """The phrase as letters of the pieces; without its punctuation where they have none."""
    words = phrase.text.replace("-", " ").split()
    plain = "".join(letter if letter.isalnum() or letter in " '" else " " for letter in " ".join(words)).split()
    for written in (words, plain):
        text = _folded(f" {' '.join(written)}")
        if written and _can_spell(text, pieces):
            return text
    raise UsageError(
        f"{phrase.where} has characters that the speech model cannot write",
        fix="write it as it is spoken, in letters",
        code="E_HOTWORDS_TOKENS",
    )


def _can_spell(text: str, pieces: frozenset[str]) -> bool:
    """Whether the text is some row of pieces."""
    longest = max(map(len, pieces))
    reached = [True]
    for end in range(1, len(text) + 1):
        starts = range(max(0, end - longest), end)
        reached.append(any(reached[start] and text[start:end] in pieces for start in starts))
    return reached[-1]


def _check(phrase: HotPhrase) -> None:
    if not phrase.text.split() or len(phrase.text) > MAX_PHRASE_LETTERS:
        raise _refusal(f"{phrase.where} is empty or has more than {MAX_PHRASE_LETTERS} letters")
    if not (math.isfinite(phrase.weight) and phrase.weight > 0):
        raise _refusal(f"the weight of {phrase.where} is not a positive number")


def _refusal(message: str) -> UsageError:
    return UsageError(message, fix="correct the list of hot words", code="E_HOTWORDS")
