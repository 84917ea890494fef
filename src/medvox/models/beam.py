"""Log-probabilities of frames -> the best token sequences: CTC prefix beam search, with language model and hot words.

The other way beside ``models/ctc``; next in the path: ``parse/transcript``. Knows no text and no file. A hypothesis is
a token sequence; its acoustic score is the logarithm of the summed probability of all its alignments that the beam
kept (Graves et al., 2006; Hannun et al., 2014), and

    total = acoustic + alpha * language model + beta * number of tokens + hot words,

the two in the middle only where there is a language model. The frames of a token are those of the most probable
alignment. The search itself is written twice, to the same results: in C for speed (``beam_fast``, where a compiler is)
and in Python (``beam_plain``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvox.errors import ModelError, UsageError
from medvox.models.beam_fast import fast_search
from medvox.models.beam_plain import Found, plain_search
from medvox.models.ctc import DecodedToken
from medvox.models.hotwords import HotWords
from medvox.models.ngram import NgramLm

MAX_BEAM = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class BeamSettings:
    """Settings of the search.

    Attributes:
        beam: hypotheses kept after each frame; as many again of those that borrow from a hot phrase, which therefore
            crowd out no others.
        alpha: weight of the language model's natural-log probability.
        beta: bonus of each token when there is a language model.
        unk_offset: added, in log10, to the language model's score of a token that it does not know.
        prune: hypotheses this far below the best are dropped.
        min_token: tokens below this log-probability are not tried in a frame, unless the best one.
        end_of_sentence: whether the language model scores the end.
        nbest: hypotheses to return, at most.
    """

    beam: int = 8
    alpha: float = 0.5
    beta: float = 1.5
    unk_offset: float = -10.0
    prune: float = -10.0
    min_token: float = -5.0
    end_of_sentence: bool = True
    nbest: int = 8

    def __post_init__(self) -> None:
        numbers = (self.alpha, self.beta, self.unk_offset, self.prune, self.min_token)
        if not (1 <= self.beam <= MAX_BEAM and 1 <= self.nbest <= MAX_BEAM):
            raise _refusal(f"beam and n-best must be from 1 to {MAX_BEAM}")
        if not all(math.isfinite(number) for number in numbers) or self.alpha < 0:
            raise _refusal("the weights must be finite, and alpha not negative")
        if self.prune > 0 or self.min_token > 0:
            raise _refusal("the thresholds are log-probabilities, at most 0")


BEAM_MEDASR = BeamSettings()  # as published: beam 8, all else the defaults of the decoder it uses
BEAM_TUNED = BeamSettings(beam=64, alpha=1.25, beta=3.25, prune=-15.0, min_token=-8.0)  # fewest errors on other speech


@dataclass(frozen=True, kw_only=True, slots=True)
class Hypothesis:
    """A token sequence and its scores, all natural logarithms.

    Attributes:
        tokens: with their frames in the most probable alignment, and the mean posterior on them.
        acoustic: summed probability of the alignments.
        language: the language model's log-probability, before its weight; 0 without one.
        hotwords: weights of the hot phrases in it.
        total: what hypotheses are ranked by.
    """

    tokens: tuple[DecodedToken, ...]
    acoustic: float
    language: float
    hotwords: float
    total: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoder:
    """The search with all but the recording fixed."""

    blank: int
    lm: NgramLm | None = None
    hotwords: HotWords | None = None
    settings: BeamSettings = BEAM_MEDASR

    def decode(self, logprobs: NDArray[np.float32]) -> list[Hypothesis]:
        """Best hypotheses first; arguments and errors as in ``beam_search``."""
        return beam_search(logprobs, self.blank, lm=self.lm, hotwords=self.hotwords, settings=self.settings)


def beam_search(
    logprobs: NDArray[np.float32],
    blank: int,
    *,
    lm: NgramLm | None = None,
    hotwords: HotWords | None = None,
    settings: BeamSettings = BEAM_MEDASR,
) -> list[Hypothesis]:
    """Search the best token sequences of one recording.

    Args:
        logprobs: (T, V) natural-log posteriors of the valid frames.
        blank: id of the blank.
        lm: language model over the same vocabulary.
        hotwords: phrases to favour.
        settings: see there.

    Returns:
        At least one hypothesis, the best first.

    Raises:
        ModelError: a log-probability is not finite.
        UsageError: the rows are no distributions, or the parts are of different vocabularies.
    """
    _check(logprobs, blank, lm, hotwords)
    logprobs = np.ascontiguousarray(logprobs, dtype=np.float32)
    found = fast_search(logprobs, blank, lm, hotwords, settings)
    if found is None:
        found = plain_search(logprobs, blank, lm, hotwords, settings)
    return _hypotheses(found, logprobs)


def _hypotheses(found: Sequence[Found], logprobs: NDArray[np.float32]) -> list[Hypothesis]:
    """With the mean posterior of each token; hypotheses share most of theirs."""
    spans = np.unique(np.concatenate([one.spans for one in found]), axis=0)
    tokens: dict[tuple[int, int, int], DecodedToken] = {}
    if len(spans):
        lengths = spans[:, 2] - spans[:, 1] + 1
        starts = np.cumsum(lengths) - lengths
        frames = np.arange(lengths.sum()) + np.repeat(spans[:, 1] - starts, lengths)
        posteriors = np.exp(logprobs[frames, np.repeat(spans[:, 0], lengths)], dtype=np.float64)
        means = np.minimum(np.add.reduceat(posteriors, starts) / lengths, 1.0)
        for (token, first, last), mean in zip(spans.tolist(), means.tolist()):
            tokens[token, first, last] = DecodedToken(
                token_id=token, first_frame=first, last_frame=last, probability=mean
            )
    return [
        Hypothesis(
            tokens=tuple(tokens[token, first, last] for token, first, last in one.spans.tolist()),
            acoustic=one.acoustic,
            language=one.language,
            hotwords=one.hotwords,
            total=one.total,
        )
        for one in found
    ]


def _check(logprobs: NDArray[np.float32], blank: int, lm: NgramLm | None, hotwords: HotWords | None) -> None:
    if logprobs.ndim != 2 or not 0 <= blank < logprobs.shape[1]:
        raise _refusal("the search needs (frames, tokens) and a blank that is one of the tokens")
    if not bool(np.isfinite(logprobs).all()):
        raise ModelError(
            "the speech model gave numbers that are not finite",
            fix="run the speech model in float32",
            code="E_MODEL_NOT_FINITE",
        )
    if (np.abs(np.exp(logprobs).sum(axis=1) - 1) > 0.01).any():
        raise _refusal("the search needs log-probabilities, whose exponentials sum to 1 in each frame")
    tokens = logprobs.shape[1]
    if lm is not None and lm.tokens != tokens:
        raise UsageError(
            f"the language model knows {lm.tokens} tokens, the speech model {tokens}",
            fix="use a language model made for this speech model",
            code="E_LM_VOCABULARY",
        )
    if hotwords is not None and len(hotwords.spelled) != tokens:
        raise UsageError(
            f"the hot words were made for {len(hotwords.spelled)} tokens, the speech model has {tokens}",
            fix="make the hot words with this speech model's pieces",
            code="E_HOTWORDS",
        )


def _refusal(message: str) -> UsageError:
    return UsageError(message, fix="see the settings of the beam search", code="E_BEAM")
