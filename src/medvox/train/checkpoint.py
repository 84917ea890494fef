"""Training checkpoints: everything needed to go on with the same command, written atomically. Knows no task.

A checkpoint is for resuming a run, not for shipping. It is one safetensors file, so reading it runs no code: tensors
under ``module.``, ``averaged.`` and ``optimizer.``, and the plain values as JSON in the file's metadata.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from medvox.errors import InputError


@dataclass(kw_only=True, slots=True)
class TrainingState:
    """What changes while training.

    Attributes:
        module: the network.
        optimizer: its optimizer; its state may hold tensors only, one dict a parameter, as AdamW's does.
        rng: draws data and augmentation; PyTorch's own generator is kept beside it.
        averaged: running average of the module's state, by its state-dict names; empty when the run keeps none.
        progress: counters and running values, such as steps and seconds used.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    rng: random.Random
    averaged: dict[str, Tensor]
    progress: dict[str, float]


def save_checkpoint(path: Path, state: TrainingState) -> None:
    """Writes the state beside the target and renames it, so that a cut run never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    optimizer = state.optimizer.state_dict()
    tensors = {f"module.{name}": tensor for name, tensor in state.module.state_dict().items()}
    tensors |= {f"averaged.{name}": tensor for name, tensor in state.averaged.items()}
    for number, values in optimizer["state"].items():
        tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in values.items()}
    tensors["torch_rng"] = torch.get_rng_state()
    plain = {"groups": optimizer["param_groups"], "rng": state.rng.getstate(), "progress": state.progress}
    partial = path.with_suffix(".partial")
    # clones: tied parameters may share memory, which the format refuses
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(own, partial, metadata={"plain": json.dumps(plain)})
    partial.replace(path)


def resume_checkpoint(path: Path, state: TrainingState) -> bool:
    """Fills ``state`` from a checkpoint. False when there is none yet.

    Raises:
        InputError: the file is there but is damaged or does not belong to this run.
    """
    if not path.exists():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            plain = json.loads(file.metadata()["plain"])
        state.module.load_state_dict(_below("module", tensors))
        state.optimizer.load_state_dict({"state": _by_parameter(tensors), "param_groups": plain["groups"]})
        state.rng.setstate(_as_tuples(plain["rng"]))
        torch.set_rng_state(tensors["torch_rng"])
        state.averaged = _below("averaged", tensors)
        state.progress = dict(plain["progress"])
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError, OSError) as error:
        raise InputError(
            f"the checkpoint {path.name} is damaged or does not fit this run",
            fix="delete it to start anew, or run with the settings that wrote it",
            code="E_CHECKPOINT_MISMATCH",
        ) from error
    return True


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    head = f"{prefix}."
    return {name.removeprefix(head): tensor for name, tensor in tensors.items() if name.startswith(head)}


def _by_parameter(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below("optimizer", tensors).items():
        number, _, value = name.partition(".")
        state.setdefault(int(number), {})[value] = tensor
    return state


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list | tuple) else value
