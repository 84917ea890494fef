"""Greedy CTC decoding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medvox.errors import ModelError
from medvox.models.ctc import greedy


def logits(best: list[int], vocabulary: int = 6) -> Tensor:
    """Logits whose best token per frame is given, with posterior 0.8."""
    table = torch.full((len(best), vocabulary), 0.2 / (vocabulary - 1))
    table[torch.arange(len(best)), torch.tensor(best)] = 0.8
    return table.log()


def ids(best: list[int]) -> list[int]:
    return [token.token_id for token in greedy(logits(best), blank=0)]


def test_repeats_are_merged() -> None:
    assert ids([3, 3, 3, 4, 4]) == [3, 4]


def test_a_blank_separates_equal_tokens() -> None:
    assert ids([3, 0, 3]) == [3, 3]


def test_only_blanks_give_nothing() -> None:
    assert ids([0, 0, 0]) == []


def test_the_blank_may_have_another_id() -> None:
    assert [token.token_id for token in greedy(logits([0, 5, 5, 0]), blank=5)] == [0, 0]


def test_frames_and_probability() -> None:
    (token,) = greedy(logits([0, 2, 2, 2, 0]), blank=0)
    assert (token.first_frame, token.last_frame) == (1, 3)
    assert token.probability == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_an_error(bad: float) -> None:
    broken = logits([1, 2, 3])
    broken[1, 4] = bad
    with pytest.raises(ModelError) as caught:
        greedy(broken, blank=0)
    assert caught.value.code == "E_MODEL_NOT_FINITE"
