"""A network for tests that sees half a second around each row, so that windows must not change what it hears."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from medvox.models.ctc import greedy

BLANK, TOKENS = 0, 12
ROUNDING = {"rtol": 1e-5, "atol": 1e-4}


class Near(nn.Module):
    """Two strided convolutions as in LASR, and one that sees 0.4 s more on both sides, padded with zeros."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.kernels = [torch.randn(shape, generator=generator) for shape in ((6, 4, 5), (6, 6, 5), (TOKENS, 6, 21))]
        self.longest = 0

    def forward(self, features: Tensor) -> Tensor:
        self.longest = max(self.longest, features.shape[1])
        hidden = features.transpose(1, 2)
        for kernel in self.kernels[:2]:
            hidden = functional.conv1d(hidden, kernel, stride=2).tanh()
        return functional.conv1d(hidden, self.kernels[2], padding=10).transpose(1, 2)


def near_features(frames: int) -> Tensor:
    return torch.randn(frames, 4, generator=torch.Generator().manual_seed(1))


def whole(network: nn.Module, features: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(features[None])[0].log_softmax(dim=-1)


def ids(rows: Tensor) -> list[int]:
    return [token.token_id for token in greedy(rows, BLANK)]
