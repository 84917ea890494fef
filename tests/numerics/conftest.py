"""The same random weights in ours and in transformers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from medvox.models.vlm import MedGemma
from medvox.models.weights import load_vlm

HUB: dict[str, Any] = {
    "model_type": "gemma3",
    "text_config": {
        "vocab_size": 300,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 8,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 24,
        "query_pre_attn_scalar": 24,
        "sliding_window": 16,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
    "vision_config": {
        "model_type": "siglip_vision_model",
        "hidden_size": 48,
        "intermediate_size": 72,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 4,
        "vision_use_head": False,
    },
    "mm_tokens_per_image": 16,
    "image_token_index": 290,
    "boi_token_index": 288,
    "eoi_token_index": 289,
    "eos_token_id": [1, 106],
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def reference() -> transformers.Gemma3ForConditionalGeneration:
    """Gemma 3 of transformers with weights large enough to make every part count."""
    torch.manual_seed(0)
    model = transformers.Gemma3ForConditionalGeneration(transformers.Gemma3Config(**HUB)).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    model.generation_config.eos_token_id = [1, 106]
    return model


@pytest.fixture(scope="session")
def reference_folder(
    reference: transformers.Gemma3ForConditionalGeneration, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The reference, saved by transformers."""
    folder = tmp_path_factory.mktemp("reference")
    reference.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def ours(reference_folder: Path) -> MedGemma:
    """The same weights, loaded by us."""
    return load_vlm(reference_folder)
