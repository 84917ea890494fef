"""Listening along: what is settled never changes, and the end is what the whole utterance gives."""

from __future__ import annotations

import pytest
import torch
from near_network import ROUNDING, TOKENS, Near, ids, near_features, whole
from torch import Tensor, nn

from medvox.models.live import Live, Pace

WAVERING_ROWS = 15


class Wavering(nn.Module):
    """The last 0.6 s of rows depend on how long the window is."""

    def forward(self, features: Tensor) -> Tensor:
        rows = Near()(features)
        rows[:, -WAVERING_ROWS:] = rows[:, -WAVERING_ROWS:].roll(features.shape[1], dims=-1)
        return rows


class Restless(nn.Module):
    """Never twice the same."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(3)

    def forward(self, features: Tensor) -> Tensor:
        return torch.randn(1, (features.shape[1] - 13) // 4 + 1, TOKENS, generator=self.generator)


def blocks(frames: int, seed: int) -> list[int]:
    """Sizes of blocks from 1 to 60 frames that sum to ``frames``."""
    sizes = torch.randint(1, 61, (frames,), generator=torch.Generator().manual_seed(seed)).tolist()
    taken: list[int] = []
    while sum(taken) < frames:
        taken.append(min(sizes[len(taken)], frames - sum(taken)))
    return taken


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("network", [Near(), Wavering()], ids=["near", "wavering"])
def test_what_is_settled_is_what_the_whole_utterance_gives(network: nn.Module, seed: int) -> None:
    features = near_features(900 + 37 * seed)
    live = Live(network)
    parts, start = [], 0
    for size in blocks(len(features), seed):
        parts.append(live.feed(features[start : start + size]).settled)
        start += size
    rows, wanted = torch.cat([*parts, live.finish()]), whole(network, features)
    assert rows.shape == wanted.shape
    steady = len(rows) - WAVERING_ROWS * isinstance(network, Wavering)
    torch.testing.assert_close(rows[:steady], wanted[:steady], **ROUNDING)
    assert ids(rows[:steady]) == ids(wanted[:steady])


@pytest.mark.parametrize("seed", range(5))
def test_the_committed_tokens_only_grow(seed: int) -> None:
    live, features = Live(Wavering()), near_features(1200)
    settled, committed, start = torch.empty(0, TOKENS), [], 0
    for size in blocks(len(features), seed):
        heard = live.feed(features[start : start + size])
        start += size
        settled = torch.cat((settled, heard.settled))
        now = ids(settled)
        assert now[: len(committed)] == committed
        committed = now
    assert len(committed) > 100


def test_a_row_is_not_settled_before_it_was_heard_twice_with_its_right_context() -> None:
    live, features = Live(Near()), near_features(400)
    first = live.feed(features[:300])
    assert (len(first.settled), len(first.tentative)) == (0, 72)
    second = live.feed(features[300:320])
    assert (len(second.settled), len(second.tentative)) == (77 - 25, 25)


def test_rows_that_never_agree_are_settled_in_the_end() -> None:
    live = Live(Restless(), pace=Pace(open_frames=200))
    open_rows = [len(live.feed(near_features(20)).tentative) for _ in range(100)]
    assert max(open_rows) <= 200 // 4


def test_the_network_never_hears_more_than_the_pace_allows() -> None:
    network = Near()
    live, features = Live(network), near_features(20_000)
    for start in range(0, 20_000, 40):
        live.feed(features[start : start + 40])
    assert network.longest <= 300 + 100 + 60 + 4


def test_another_utterance_starts_afresh() -> None:
    live, features = Live(Near()), near_features(300)
    live.feed(near_features(500))
    live.finish()
    settled = live.feed(features).settled
    torch.testing.assert_close(torch.cat((settled, live.finish())), whole(Near(), features), **ROUNDING)


@pytest.mark.parametrize("frames", [0, 1, 12])
def test_too_little_for_a_row_gives_none(frames: int) -> None:
    live = Live(Near())
    heard = live.feed(near_features(20)[:frames])
    assert heard.settled.shape == heard.tentative.shape == live.finish().shape == (0, TOKENS)


def test_the_end_of_nothing_is_nothing() -> None:
    assert len(Live(Near()).finish()) == 0
