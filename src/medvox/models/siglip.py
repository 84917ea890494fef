"""SigLIP vision tower: pixels -> one vector per patch. The eye of MedGemma.

Middle of the path: ``encode`` prepares pixels, ``vlm.py`` pools the patches into soft tokens. It knows nothing of text.

Axes: N images, H and W pixels, P patches (row by row), D hidden size, E head size.

Source: SigLIP (arXiv 2303.15343), So400m/14 in MedGemma; checked against transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medvox.errors import SetupError


@dataclass(frozen=True, kw_only=True, slots=True)
class SiglipConfig:
    """Sizes of a SigLIP vision tower, named as in the hub's ``config.json`` and with its defaults."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 16
    layer_norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise _config_error("hidden_size is not a multiple of num_attention_heads")

    @property
    def grid(self) -> int:
        """Patches along one side of an image."""
        return self.image_size // self.patch_size

    @classmethod
    def from_hub(cls, hub: Mapping[str, Any]) -> SiglipConfig:
        """Reads ``vision_config`` of a hub ``config.json``.

        Raises:
            SetupError: the config asks for something that no MedGemma uses (a pooling head, another activation).
        """
        if hub.get("vision_use_head", True):
            raise _config_error("a vision tower with a pooling head (vision_use_head) is not supported")
        if hub.get("hidden_act", "gelu_pytorch_tanh") != "gelu_pytorch_tanh":
            raise _config_error(f"hidden_act = {hub['hidden_act']} is not supported")
        return cls(**{field.name: hub[field.name] for field in fields(cls) if hub.get(field.name) is not None})

    def to_hub(self) -> dict[str, Any]:
        """The ``vision_config`` that ``from_hub`` and transformers read back."""
        fixed = {"model_type": "siglip_vision_model", "hidden_act": "gelu_pytorch_tanh", "vision_use_head": False}
        return {**asdict(self), **fixed}


def _config_error(what: str) -> SetupError:
    return SetupError(
        f"config.json: vision_config: {what}",
        fix="Use a Gemma 3 or MedGemma folder as published, with its own config.json.",
        code="E_MODEL_CONFIG",
    )


class PatchEmbedding(nn.Module):
    """Cuts images into patches and adds a learned vector for each place."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(
            config.num_channels, config.hidden_size, kernel_size=config.patch_size, stride=config.patch_size
        )
        self.position_embedding = nn.Embedding(config.grid**2, config.hidden_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, P, D)."""
        patches = self.patch_embedding(pixels.to(self.patch_embedding.weight.dtype))
        return patches.flatten(2).transpose(1, 2) + self.position_embedding.weight


class VisionAttention(nn.Module):
    """Full attention among the patches of one image."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(N, P, D) -> (N, P, D)."""
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (N, heads, P, E)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.out_proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class VisionMlp(nn.Module):
    """Feed-forward layer with the tanh form of gelu."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(N, P, D) -> (N, P, D)."""
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class VisionLayer(nn.Module):
    """Attention and feed-forward, each with a norm before it."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = VisionAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = VisionMlp(config)

    def forward(self, x: Tensor) -> Tensor:
        """(N, P, D) -> (N, P, D)."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class VisionEncoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(VisionLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: Tensor) -> Tensor:
        """(N, P, D) -> (N, P, D)."""
        for layer in self.layers:
            x = layer(x)
        return x


class SiglipVision(nn.Module):
    """The vision tower, without the pooling head that MedGemma does not use."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = PatchEmbedding(config)
        self.encoder = VisionEncoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) in -1..1 -> patch vectors (N, P, D)."""
        return self.post_layernorm(self.encoder(self.embeddings(pixels)))

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights."""
        return self.post_layernorm.weight.dtype
