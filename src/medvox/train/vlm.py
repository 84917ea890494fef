"""Stage two of the small vision-language model: the decoder learns to answer, on top of a frozen vision tower.

The tower's pooled vectors are computed once for all slices; each training conversation then asks several questions
about one run of slices of one case. Only the answers are learned. Prompts are built by the same ``encode`` code as
serving.

Axes: B conversations, T positions, N pictures, M soft tokens of a picture, C hidden size of the tower, L slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medvox.encode.batch import to_pixel_values
from medvox.encode.prompt import build_prompt, ct_question, text_question
from medvox.encode.text import TextTokenizer
from medvox.models.vlm import MedGemma
from medvox.synth.ct import REGIONS
from medvox.synth.findings import FINDINGS, REGION_OF
from medvox.synth.questions import Exchange, place_exchange, presence_exchange, region_exchange
from medvox.train.loop import Schedule, learn
from medvox.train.phantoms import PhantomSet
from medvox.types import Progress, TokenIds, no_progress

CONVERSATIONS, TURNS = 8, 4  # in one batch, and questions in each
SLICES_FIRST, SLICES_LAST = 2, 32  # the longest run of slices at the start, and after two thirds of the training
SLICES_MOST = 85  # now and then, near the end


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """A run of slices of one case, ``first`` to ``last - 1`` of ``data``, and the finding it was chosen for."""

    data: PhantomSet
    cells: Tensor  # (L, M, C)
    region: str
    focus: str
    first: int
    last: int

    def place(self, finding: str) -> tuple[int, tuple[int, int, int, int]] | None:
        """Slice number (from 1) with the largest box of a finding, and the box in 0..1000; None when absent."""
        boxes = self.data.boxes[self.first : self.last, FINDINGS.index(finding)]  # (slices, 4) y0 x0 y1 x1
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        if np.isnan(areas).all():
            return None
        index = int(np.nanargmax(areas))
        y0, x0, y1, x1 = (round(float(value) * 1000) for value in boxes[index])
        return index + 1, (y0, x0, y1, x1)


@torch.no_grad()
def pooled_cells(model: MedGemma, data: PhantomSet, progress: Progress = no_progress) -> Tensor:
    """Pooled patch vectors of every slice, (L, M, C) float16: the projector's input after pooling."""
    vision = model.config.vision
    if vision is None:
        raise ValueError("the model has no vision tower")
    pool = model.model.multi_modal_projector.pool
    parts = []
    for start in range(0, len(data.images), 64):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            patches = model.model.vision_tower(to_pixel_values(data.images[start : start + 64])).float()
        image = patches.transpose(1, 2).unflatten(2, (vision.grid, vision.grid))
        parts.append(F.avg_pool2d(image, pool).flatten(2).transpose(1, 2).half())
        progress("encoding slices", start, len(data.images))
    return torch.cat(parts)


def soft_tokens(model: MedGemma, cells: Tensor) -> Tensor:
    """Pooled vectors (N, M, C) -> soft tokens (N, M, D): the rest of the projector."""
    projector = model.model.multi_modal_projector
    out: Tensor = projector.mm_soft_emb_norm(cells.float()) @ projector.mm_input_projection_weight
    return out


def draw_view(sets: Sequence[tuple[PhantomSet, Tensor]], length: int, rng: np.random.Generator) -> View:
    """A run of at most ``length`` slices of one case, mostly chosen for one finding: half of the time it is shown."""
    shares = np.array([len(data.regions) for data, _ in sets], float)
    data, cells = sets[int(rng.choice(len(sets), p=shares / shares.sum()))]
    shows = ~np.isnan(data.boxes[:, :, 0])  # (L, findings)
    focus, present = str(rng.choice(FINDINGS)), bool(rng.random() < 0.5)
    number = FINDINGS.index(focus)
    cases = np.arange(len(data.regions))
    if rng.random() < 0.85:
        has = np.maximum.reduceat(shows[:, number], data.starts[:-1])
        fitting = np.flatnonzero((data.regions == REGIONS.index(REGION_OF[focus])) & (has == present))
        cases = fitting if len(fitting) else cases
    case = int(rng.choice(cases))
    start, end = int(data.starts[case]), int(data.starts[case + 1])
    length = min(length, end - start)
    low, high = start, end - length
    showing = start + np.flatnonzero(shows[start:end, number])
    if present and len(showing):
        wanted = int(rng.choice(showing))
        low, high = max(low, wanted - length + 1), min(high, wanted)
    first = int(rng.integers(low, high + 1))
    region = REGIONS[data.regions[case]]
    return View(data=data, cells=cells, region=region, focus=focus, first=first, last=first + length)


def draw_exchanges(view: View, turns: int, rng: np.random.Generator) -> list[Exchange]:
    """Questions about a view in random order: the region, the focus, other findings; no finding twice.

    A second question about the same finding could be answered by reading the first answer instead of the pictures.
    """
    others = [finding for finding in FINDINGS if finding != view.focus]
    others.sort(key=lambda finding: (REGION_OF[finding] != view.region, rng.random()))
    exchanges = [region_exchange(view.region, rng)]
    for finding in [view.focus, *others][: turns - 1]:
        place = view.place(finding)
        if rng.random() < (0.35 if place is not None else 0.15):
            exchanges.append(place_exchange(finding, place, rng))
        else:
            exchanges.append(presence_exchange(finding, place is not None, rng))
    return [exchanges[index] for index in rng.permutation(len(exchanges))]


def conversation_ids(
    tokenizer: TextTokenizer, exchanges: Sequence[Exchange], slices: int, tokens_per_image: int
) -> tuple[TokenIds, list[float]]:
    """Ids of a whole conversation, and the weight with which each is learned: 0 but for answers and their end mark.

    A token of an answer of n tokens weighs 1 / sqrt(n), so that one yes is not drowned by the digits of one box.
    """
    end = tokenizer.token_id("<end_of_turn>")
    ids: TokenIds = []
    weights: list[float] = []
    for turn, exchange in enumerate(exchanges):
        parts = ct_question(exchange.question, slices) if turn == 0 else text_question(exchange.question)
        asked = build_prompt(tokenizer, parts, tokens_per_image).token_ids
        if turn:
            asked = tokenizer.encode_content("\n") + asked[1:]
        answer = [*tokenizer.encode_content(exchange.answer), end]
        ids += asked + answer
        weights += [0.0] * len(asked) + [len(answer) ** -0.5] * len(answer)
    return ids, weights


def batch_loss(
    model: MedGemma, tokenizer: TextTokenizer, views: Sequence[View], turns: int, rng: np.random.Generator
) -> Tensor:
    """Weighted mean cross-entropy of the answers of one batch of conversations."""
    per_image = model.config.mm_tokens_per_image
    rows = [
        conversation_ids(tokenizer, draw_exchanges(view, turns, rng), view.last - view.first, per_image)
        for view in views
    ]
    width = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    weights = torch.zeros(len(rows), width)
    valid = torch.zeros(len(rows), width, dtype=torch.long)
    for row, (tokens, weight) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        weights[row, : len(tokens)] = torch.tensor(weight)
        valid[row, : len(tokens)] = 1
    cells = torch.cat([view.cells[view.first : view.last] for view in views])
    asks = F.pad(weights[:, 1:] > 0, (0, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(ids, soft_tokens=soft_tokens(model, cells), attention_mask=valid, logits_at=asks)
    wanted = weights > 0
    losses = F.cross_entropy(logits.float(), ids[wanted], reduction="none")
    return (losses * weights[wanted]).sum() / weights.sum()


def train_language(
    model: MedGemma, tokenizer: TextTokenizer, sets: Sequence[tuple[PhantomSet, Tensor]], schedule: Schedule,
    checkpoint: Path, progress: Progress = no_progress,
) -> None:  # fmt: skip
    """Train decoder and projector in place on conversations, short ones first; see ``loop.learn``."""
    model.model.vision_tower.requires_grad_(False)

    def batch(done: float, rng: np.random.Generator) -> tuple[Tensor, int]:
        longest = SLICES_FIRST * (SLICES_LAST / SLICES_FIRST) ** min(1.0, 1.5 * done)
        length = max(1, round(float(np.exp(rng.uniform(0, np.log(longest))))))
        if done > 0.7 and rng.random() < 0.05:
            length = SLICES_MOST
        size = max(1, min(CONVERSATIONS, CONVERSATIONS * 16 // length))
        views = [draw_view(sets, length, rng) for _ in range(size)]
        return batch_loss(model, tokenizer, views, TURNS, rng), size

    learn(model, batch, schedule, checkpoint, progress)
