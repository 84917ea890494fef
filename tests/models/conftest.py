"""A tiny MedGemma with random weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from medvox.models.vlm import MedGemma, VlmConfig

IMAGE, TOKENS = 90, 4  # image token id, soft tokens of one image


@pytest.fixture
def hub() -> dict[str, Any]:
    """A small ``config.json`` with both kinds of layer."""
    return {
        "model_type": "gemma3",
        "text_config": {
            "vocab_size": 96,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "max_position_embeddings": 64,
            "sliding_window": 8,
            "sliding_window_pattern": 3,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        },
        "vision_config": {
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 4,
            "vision_use_head": False,
        },
        "mm_tokens_per_image": TOKENS,
        "image_token_index": IMAGE,
        "boi_token_index": 88,
        "eoi_token_index": 89,
        "eos_token_id": [1, 5],
    }


@pytest.fixture
def model(hub: dict[str, Any]) -> MedGemma:
    """The model of ``hub``, in float32."""
    module = MedGemma(VlmConfig.from_hub(hub)).eval()
    module.initialise(seed=0)
    return module


@pytest.fixture
def prompt() -> list[int]:
    """Text, an image, text, an image, text: 19 tokens."""
    return [2, 10, 11, 88, *[IMAGE] * TOKENS, 89, 12, 88, *[IMAGE] * TOKENS, 89, 13, 14, 15]


@pytest.fixture
def pixels() -> torch.Tensor:
    """Two images, (2, 3, 16, 16)."""
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
