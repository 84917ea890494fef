"""How well a small vision-language model answers about generated scans that it never saw.

Asks through the same prompt, engine and parsers as the verb ``ask``, with wordings that were kept away from training.
Every figure comes with a 95 % interval, and beside it the score with blanked pictures: what can be guessed unseen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medvox.data.square import BoxXyxy, overlap
from medvox.encode.batch import to_pixel_values
from medvox.encode.prompt import build_prompt, ct_question
from medvox.encode.text import TextTokenizer
from medvox.errors import ParseError
from medvox.models.engine import Engine
from medvox.parse.boxes import parse_boxes
from medvox.parse.choice import YES_NO, parse_label
from medvox.parse.text import split_text
from medvox.synth.ct import REGIONS
from medvox.synth.findings import FINDINGS, REGION_OF
from medvox.synth.questions import place_exchange, presence_exchange, region_exchange
from medvox.train.phantoms import PhantomSet
from medvox.types import Progress, no_progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """So many of so many, with the Wilson 95 % interval."""

    hits: int
    total: int

    def __str__(self) -> str:
        if not self.total:
            return "none asked"
        low, high = self.interval
        return f"{self.hits / self.total:.1%} ({low:.1%} to {high:.1%}, n = {self.total})"

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson score interval of the share."""
        n, p, z = self.total, self.hits / self.total, 1.959964
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return centre - half, centre + half


@dataclass(frozen=True, kw_only=True, slots=True)
class Examiner:
    """Asks a model about cases of a set."""

    engine: Engine
    tokenizer: TextTokenizer
    data: PhantomSet

    def final(self, case: int, question: str, *, blank: bool = False) -> str | None:
        """The model's final answer about all slices of a case, or about black pictures of the same number."""
        images = self.data.images[self.data.starts[case] : self.data.starts[case + 1]]
        images = np.zeros_like(images) if blank else np.asarray(images)
        per_image = self.engine.model.config.mm_tokens_per_image
        prompt = build_prompt(self.tokenizer, ct_question(question, len(images)), per_image)
        prefix = self.engine.prefill(prompt.token_ids, to_pixel_values(images))
        generation = self.engine.generate(prefix, max_new_tokens=96)
        return split_text(self.tokenizer.decode(list(generation.token_ids))).final

    def boxes(self, case: int, finding: str) -> dict[int, BoxXyxy]:
        """True boxes of a finding: slice of the case -> y0 x0 y1 x1 in 0..1; empty when it is not visible."""
        rows = self.data.boxes[self.data.starts[case] : self.data.starts[case + 1], FINDINGS.index(finding)]
        return {int(i): tuple(rows[i].tolist()) for i in np.flatnonzero(~np.isnan(rows).any(1))}


def region_score(examiner: Examiner, cases: Sequence[int], progress: Progress = no_progress) -> Share:
    """How often the body region is named right."""
    rng, hits = np.random.default_rng(3), 0
    for done, case in enumerate(cases):
        truth = REGIONS[examiner.data.regions[case]]
        question = region_exchange(truth, rng, held_out=True).question
        hits += parse_label(examiner.final(case, question), REGIONS) == truth
        progress("scoring regions", done + 1, len(cases))
    return Share(hits=hits, total=len(cases))


def presence_score(
    examiner: Examiner, finding: str, each: int, *, blank: bool = False, progress: Progress = no_progress
) -> Share:
    """How often the presence of a finding is answered right, on as many cases with it as without it.

    All cases show the region that the finding belongs to, so that the region alone does not give the answer away.
    """
    own = [case for case, region in enumerate(examiner.data.regions) if REGIONS[region] == REGION_OF[finding]]
    with_it = [case for case in own if examiner.boxes(case, finding)]
    without = [case for case in own if not examiner.boxes(case, finding)]
    each = min(each, len(with_it), len(without))
    rng, hits = np.random.default_rng(4), 0
    asked = [(case, True) for case in with_it[:each]] + [(case, False) for case in without[:each]]
    for done, (case, present) in enumerate(asked):
        question = presence_exchange(finding, present, rng, held_out=True).question
        hits += parse_label(examiner.final(case, question, blank=blank), YES_NO) == ("yes" if present else "no")
        progress(f"scoring {finding}{' (blank)' if blank else ''}", done + 1, len(asked))
    return Share(hits=hits, total=len(asked))


def place_score(
    examiner: Examiner, finding: str, each: int, progress: Progress = no_progress
) -> tuple[Share, list[float]]:
    """Where a finding is, on cases that have it: how often the named slice shows it, and the overlap on that slice.

    The overlap is 0 where the slice is wrong or no box can be read.
    """
    with_it = [case for case in range(len(examiner.data.regions)) if examiner.boxes(case, finding)][:each]
    rng, hits, overlaps = np.random.default_rng(5), 0, []
    for done, case in enumerate(with_it):
        truth = examiner.boxes(case, finding)
        question = place_exchange(finding, None, rng, held_out=True).question
        share = 0.0
        try:
            found = parse_boxes(examiner.final(case, question))
        except ParseError:
            found = []
        if found and (found[0].slice or 1) - 1 in truth:
            hits += 1
            box = found[0]
            guess = (box.y0 / 1000, box.x0 / 1000, box.y1 / 1000, box.x1 / 1000)
            share = overlap(guess, truth[(box.slice or 1) - 1])
        overlaps.append(share)
        progress(f"scoring place of {finding}", done + 1, len(with_it))
    return Share(hits=hits, total=len(with_it)), overlaps


def mean_interval(values: Sequence[float]) -> str:
    """Mean with its bootstrap 95 % interval."""
    if not values:
        return "none asked"
    draws = np.random.default_rng(6).choice(np.asarray(values), (2000, len(values))).mean(1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return f"{np.mean(values):.2f} ({low:.2f} to {high:.2f}, n = {len(values)})"


def macro(shares: Sequence[Share]) -> float:
    """Mean of the shares."""
    return float(np.mean([share.hits / share.total for share in shares]))
