"""The prefix beam search in plain Python: what the search is, and how it is done where no compiler is.

Asked by ``models/beam``, which also says what is searched; ``beam_fast`` does the same in C, to the same results.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medvox.models.hotwords import HotWords
from medvox.models.ngram import LN10, Ints, NgramLm

if TYPE_CHECKING:
    from medvox.models.beam import BeamSettings

NEVER = -math.inf
CLEAN_EVERY = 1024  # frames after which prefixes that no hypothesis stands on are forgotten


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Found:
    """A token sequence as the search gives it: rows (token, first frame, last frame), and scores as in Hypothesis."""

    spans: NDArray[np.int32]
    acoustic: float
    language: float
    hotwords: float
    total: float


def plain_search(
    logprobs: NDArray[np.float32], blank: int, lm: NgramLm | None, hotwords: HotWords | None, settings: BeamSettings
) -> list[Found]:
    """What ``beam_search`` finds, the best first."""
    search = _Search(lm=lm, hotwords=hotwords, settings=settings)
    root = _Prefix(parent=None, token=blank, state=None if lm is None else lm.start())
    beams: _Beams = {root: _Paths(blank=0.0, best_blank=0.0)}
    for frame, tokens in enumerate(_candidates(logprobs, settings.min_token)):
        if len(tokens) == 1 and tokens[0][0] == blank:
            _pause(beams, tokens[0][1])
        else:
            search.grow(beams, tokens, blank)
            beams = search.best(_advance(beams, frame, tokens, blank))
        if frame % CLEAN_EVERY == CLEAN_EVERY - 1:
            _forget(beams)
    return search.finish(beams)


# The frames of the tokens in an alignment, last token first: (those before, first frame, last frame).
_Spans = tuple["_Spans | None", int, int]


@dataclass(slots=True)
class _Paths:
    """The alignments of one prefix that end in blank, and those that end in its last token.

    Summed log-probability of each kind; then log-probability and frames of the most probable one of each kind.
    """

    blank: float = NEVER
    token: float = NEVER
    best_blank: float = NEVER
    best_token: float = NEVER
    spans_blank: _Spans | None = None
    spans_token: _Spans | None = None

    @property
    def total(self) -> float:
        """Summed log-probability of all."""
        return _sum(self.blank, self.token)

    def best(self) -> tuple[float, _Spans | None]:
        """Log-probability and frames of the most probable one."""
        if self.best_blank >= self.best_token:
            return self.best_blank, self.spans_blank
        return self.best_token, self.spans_token

    def add_blank(self, logp: float, best: float, spans: _Spans | None) -> None:
        """Add alignments that end in blank."""
        self.blank = _sum(self.blank, logp)
        if best > self.best_blank:
            self.best_blank, self.spans_blank = best, spans

    def add_token(self, logp: float, best: float, spans: _Spans | None) -> None:
        """Add alignments that end in the last token."""
        self.token = _sum(self.token, logp)
        if best > self.best_token:
            self.best_token, self.spans_token = best, spans


_Beams = dict["_Prefix", _Paths]


@dataclass(kw_only=True, slots=True, eq=False)
class _Prefix:
    """A token sequence: a node of a tree; there is one object for each sequence that lives."""

    parent: _Prefix | None
    token: int
    length: int = 0
    state: Ints | None = None  # of the language model
    language: float = 0.0
    node: int = 0  # of the hot words
    earned: float = 0.0  # of phrases that are complete whatever follows
    bonus: float = 0.0  # all but the acoustic score, for ranking
    borrows: bool = False  # whether part of it is borrowed from a hot phrase under way
    children: dict[int, _Prefix] = field(default_factory=dict)


class _Search:
    """What a new token adds to the score, and which hypotheses stay."""

    def __init__(self, *, lm: NgramLm | None, hotwords: HotWords | None, settings: BeamSettings) -> None:
        self.lm, self.hot, self.settings = lm, hotwords, settings
        if lm is not None:
            self.offset = np.where(lm.unknown(), settings.unk_offset * LN10, 0.0)
            self.ends = lm.ends()

    def grow(self, beams: _Beams, tokens: list[tuple[int, float]], blank: int) -> None:
        """Make the children that the frame may reach; the language model scores all new ones at once."""
        fresh: list[_Prefix] = []
        for prefix, beam in beams.items():
            children = prefix.children
            for token, _ in tokens:
                if token in children or token == blank or (token == prefix.token and beam.blank == NEVER):
                    continue
                child = _Prefix(parent=prefix, token=token, length=prefix.length + 1)
                children[token] = child
                fresh.append(child)
        if fresh:
            self._score(fresh)

    def _score(self, fresh: list[_Prefix]) -> None:
        alpha, beta, hot = self.settings.alpha, self.settings.beta, self.hot
        if self.lm is not None:
            tokens = np.array([child.token for child in fresh], dtype=np.int64)
            gains, states = self.lm.score(np.array([_parent(child).state for child in fresh]), tokens)
            for child, gain, state in zip(fresh, (gains + self.offset[tokens]).tolist(), states):
                child.language = _parent(child).language + gain
                child.state = state
                child.bonus = alpha * child.language + beta * child.length
        if hot is not None:
            for child in fresh:
                parent = _parent(child)
                child.node, sealed = hot.step(parent.node, child.token)
                child.earned = parent.earned + sealed
                borrowed = hot.earned[child.node] + hot.lent[child.node]
                child.bonus += child.earned + borrowed
                child.borrows = borrowed > 0

    def best(self, beams: _Beams) -> _Beams:
        """The hypotheses that stay: so many that borrow from a hot phrase, and so many that do not."""
        ranked = [(beam.total + prefix.bonus, prefix) for prefix, beam in beams.items()]
        ranked.sort(key=_rank, reverse=True)
        free = next((score for score, prefix in ranked if not prefix.borrows), NEVER)
        least = free + self.settings.prune, ranked[0][0] + self.settings.prune
        room = [self.settings.beam] * 2
        kept: _Beams = {}
        for score, prefix in ranked:
            if score >= least[prefix.borrows] and room[prefix.borrows]:
                room[prefix.borrows] -= 1
                kept[prefix] = beams[prefix]
        return kept

    def finish(self, beams: _Beams) -> list[Found]:
        """Score the end of the sentence; rank for good."""
        settings, hot = self.settings, self.hot
        prefixes = list(beams)
        ends = [0.0] * len(prefixes)
        if self.lm is not None and settings.end_of_sentence:
            chances = self.lm.end(np.array([prefix.state for prefix in prefixes])).tolist()
            ends = [0.0 if p.length and self.ends[p.token] else chance for p, chance in zip(prefixes, chances)]
        found: list[Found] = []
        for prefix, end in zip(prefixes, ends):
            beam = beams[prefix]
            acoustic, language = beam.total, prefix.language + end
            bonus = prefix.earned + (hot.earned[prefix.node] if hot is not None else 0.0)
            weighted = settings.alpha * language + settings.beta * prefix.length if self.lm is not None else 0.0
            total = acoustic + weighted + bonus
            spans = _rows(prefix, beam.best()[1])
            found.append(Found(spans=spans, acoustic=acoustic, language=language, hotwords=bonus, total=total))
        found.sort(key=lambda one: one.total, reverse=True)
        return found[: settings.nbest]


def _candidates(logprobs: NDArray[np.float32], least: float) -> Iterator[list[tuple[int, float]]]:
    """The tokens of each frame that are worth trying, with their log-probabilities; a block of frames at a time."""
    for first in range(0, len(logprobs), CLEAN_EVERY):
        block = logprobs[first : first + CLEAN_EVERY]
        worth = block >= least
        worth[np.arange(len(block)), block.argmax(axis=1)] = True
        rows, columns = np.nonzero(worth)
        pairs = list(zip(columns.tolist(), block[rows, columns].tolist()))
        ends = np.cumsum(worth.sum(axis=1)).tolist()
        yield from (pairs[start:end] for start, end in zip([0, *ends], ends))


def _pause(beams: _Beams, logp: float) -> None:
    """A frame where only the blank is worth trying."""
    for prefix, paths in beams.items():
        best, spans = paths.best()
        beams[prefix] = _Paths(blank=paths.total + logp, best_blank=best + logp, spans_blank=spans)


def _advance(beams: _Beams, frame: int, tokens: list[tuple[int, float]], blank: int) -> _Beams:
    """All hypotheses after one more frame; the children exist."""
    after: _Beams = {}

    def at(prefix: _Prefix) -> _Paths:
        paths = after.get(prefix)
        if paths is None:
            paths = after[prefix] = _Paths()
        return paths

    for prefix, paths in beams.items():
        total, (best, spans) = paths.total, paths.best()
        for token, logp in tokens:
            if token == blank:
                at(prefix).add_blank(total + logp, best + logp, spans)
            elif token != prefix.token:
                at(prefix.children[token]).add_token(total + logp, best + logp, (spans, frame, frame))
            else:
                if paths.spans_token is not None:
                    longer = (paths.spans_token[0], paths.spans_token[1], frame)
                    at(prefix).add_token(paths.token + logp, paths.best_token + logp, longer)
                if paths.blank != NEVER:
                    repeated = (paths.spans_blank, frame, frame)
                    again = at(prefix.children[token])
                    again.add_token(paths.blank + logp, paths.best_blank + logp, repeated)
    return after


def _sum(a: float, b: float) -> float:
    """ln(e^a + e^b)."""
    if a < b:
        a, b = b, a
    return a if b == NEVER else a + math.log1p(math.exp(b - a))


def _rank(scored: tuple[float, _Prefix]) -> float:
    return scored[0]


def _parent(prefix: _Prefix) -> _Prefix:
    assert prefix.parent is not None
    return prefix.parent


def _forget(beams: _Beams) -> None:
    """Drop the children on which no hypothesis stands; a sequence keeps its one object while anything stands on it."""
    used: dict[_Prefix, dict[int, _Prefix]] = {}
    for prefix in beams:
        child, node = None, prefix
        while True:
            known = node in used
            kept = used.setdefault(node, {})
            if child is not None:
                kept[child.token] = child
            if known or node.parent is None:
                break
            child, node = node, node.parent
    for prefix, kept in used.items():
        prefix.children = kept


def _rows(prefix: _Prefix, spans: _Spans | None) -> NDArray[np.int32]:
    """(n, 3) token, first and last frame of each token of a hypothesis."""
    rows: list[tuple[int, int, int]] = []
    node = prefix
    while spans is not None and node.parent is not None:
        before, first, last = spans
        rows.append((node.token, first, last))
        spans, node = before, node.parent
    return np.array(rows[::-1], dtype=np.int32).reshape(-1, 3)
