"""A cut training run goes on exactly where it was."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch import nn

from medvox.errors import InputError
from medvox.train.checkpoint import TrainingState, resume_checkpoint, save_checkpoint


def new_state(width: int = 4) -> TrainingState:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width))
    return TrainingState(
        module=module,
        optimizer=torch.optim.AdamW(module.parameters(), lr=0.01),
        rng=random.Random(5),
        averaged={name: value.clone() for name, value in module.state_dict().items()},
        progress={"step": 0.0},
    )


def train(state: TrainingState, steps: int) -> None:
    for _ in range(steps):
        given = torch.randn(8, 4) * state.rng.random()
        state.optimizer.zero_grad()
        state.module(given).square().sum().backward()
        state.optimizer.step()
        state.progress["step"] += 1


def test_a_resumed_run_equals_an_uncut_one(tmp_path: Path) -> None:
    uncut = new_state()
    train(uncut, 6)
    cut = new_state()
    train(cut, 3)
    save_checkpoint(tmp_path / "run.safetensors", cut)
    resumed = new_state()
    assert resume_checkpoint(tmp_path / "run.safetensors", resumed)
    train(resumed, 3)
    assert resumed.progress == {"step": 6.0}
    for name, value in uncut.module.state_dict().items():
        assert torch.equal(resumed.module.state_dict()[name], value), name


def test_averaged_weights_come_back(tmp_path: Path) -> None:
    state = new_state()
    state.averaged["0.weight"] += 1
    save_checkpoint(tmp_path / "run.safetensors", state)
    resumed = new_state()
    resume_checkpoint(tmp_path / "run.safetensors", resumed)
    assert torch.equal(resumed.averaged["0.weight"], state.averaged["0.weight"])


def test_nothing_to_resume(tmp_path: Path) -> None:
    assert not resume_checkpoint(tmp_path / "none.safetensors", new_state())


def test_no_half_file_is_left(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "deep" / "run.safetensors", new_state())
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["run.safetensors"]


def test_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "run.safetensors", new_state())
    with pytest.raises(InputError) as caught:
        resume_checkpoint(tmp_path / "run.safetensors", new_state(width=5))
    assert caught.value.code == "E_CHECKPOINT_MISMATCH"


def test_a_damaged_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, new_state())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError) as caught:
        resume_checkpoint(path, new_state())
    assert caught.value.code == "E_CHECKPOINT_MISMATCH"
