"""Gemma 3 decoder: config, masks, norms."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from medvox.errors import SetupError
from medvox.models.gemma import FULL, LOCAL, GemmaConfig, RmsNorm, attention_masks, rotary_table, rotate


def test_absent_fields_take_the_defaults_of_the_hub() -> None:
    config = GemmaConfig.from_hub({"hidden_size": 2560, "num_hidden_layers": 34, "intermediate_size": 10240})
    assert (config.vocab_size, config.num_attention_heads, config.head_dim) == (262_208, 8, 256)
    assert [index for index, kind in enumerate(config.layer_types) if kind == FULL] == [5, 11, 17, 23, 29]


def test_default_layer_count_has_its_layer_types() -> None:
    assert len(GemmaConfig.from_hub({}).layer_types) == 26


def test_flat_rotary_fields() -> None:
    flat = {"rope_theta": 5e5, "rope_local_base_freq": 2e4, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    config = GemmaConfig.from_hub(flat)
    assert (config.rope_theta, config.rope_local_base_freq, config.rope_scaling_factor) == (5e5, 2e4, 8.0)


def test_nested_rotary_fields() -> None:
    nested = {
        FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e5},
        LOCAL: {"rope_type": "default", "rope_theta": 2e4},
    }
    config = GemmaConfig.from_hub({"rope_parameters": nested})
    assert (config.rope_theta, config.rope_local_base_freq, config.rope_scaling_factor) == (5e5, 2e4, 8.0)


def test_explicit_layer_types_win_over_the_pattern() -> None:
    config = GemmaConfig.from_hub({"num_hidden_layers": 2, "layer_types": [FULL, LOCAL], "sliding_window_pattern": 2})
    assert config.layer_types == (FULL, LOCAL)


def test_config_survives_the_way_to_the_hub_and_back() -> None:
    config = GemmaConfig(num_hidden_layers=7, rope_scaling_factor=8.0, sliding_window=16)
    assert GemmaConfig.from_hub(config.to_hub()) == config


@pytest.mark.parametrize(
    "field",
    [
        {"attn_logit_softcapping": 50.0},
        {"final_logit_softcapping": 30.0},
        {"attention_bias": True},
        {"use_bidirectional_attention": True},
        {"hidden_activation": "silu"},
        {"tie_word_embeddings": False},
        {"rope_scaling": {"rope_type": "yarn", "factor": 8.0}},
        {"layer_types": ["full_attention"], "num_hidden_layers": 2},
        {"layer_types": ["linear_attention"], "num_hidden_layers": 1},
        {"num_attention_heads": 8, "num_key_value_heads": 3},
    ],
)
def test_what_no_medgemma_uses_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(SetupError) as caught:
        GemmaConfig.from_hub(field)
    assert caught.value.code == "E_MODEL_CONFIG"


def _visible(mask: torch.Tensor | None, query: int) -> list[int]:
    assert mask is not None
    return mask[0, 0, query].nonzero().flatten().tolist()


def test_text_sees_itself_and_before() -> None:
    masks = attention_masks(torch.zeros(1, 6, dtype=torch.long), None, window=3)
    assert _visible(masks.full, 4) == [0, 1, 2, 3, 4]
    assert _visible(masks.local, 4) == [2, 3, 4]


def test_an_image_sees_all_of_itself_and_earlier_but_no_later_image() -> None:
    masks = attention_masks(torch.tensor([[0, 1, 1, 0, 1, 1, 0]]), None, window=4)
    assert _visible(masks.full, 1) == [0, 1, 2]
    assert _visible(masks.full, 4) == [0, 1, 2, 3, 4, 5]
    assert _visible(masks.local, 4) == [1, 2, 3, 4, 5]


def test_padding_is_seen_only_by_itself() -> None:
    masks = attention_masks(torch.zeros(1, 4, dtype=torch.long), torch.tensor([[0, 0, 1, 1]]), window=4)
    assert _visible(masks.full, 3) == [2, 3]
    assert _visible(masks.full, 1) == [1]


def test_a_later_chunk_is_masked_as_in_one_pass() -> None:
    types = torch.tensor([[0, 0, 1, 1, 0, 0, 1, 1, 0]])
    whole = attention_masks(types, None, window=4)
    later = attention_masks(types[:, 5:], None, window=4, past=5)
    assert whole.full is not None
    assert whole.local is not None
    assert torch.equal(later.full, whole.full[:, :, 5:])
    assert torch.equal(later.local, whole.local[:, :, 5:, 2:])


def test_norm_is_computed_in_float32_and_keeps_the_dtype() -> None:
    norm = RmsNorm(4, 1e-6)
    out = norm(torch.full((1, 4), 300.0, dtype=torch.float16))  # its square overflows float16
    assert out.dtype == torch.float16
    assert torch.equal(out, torch.ones(1, 4, dtype=torch.float16))


def test_scores_depend_on_the_distance_of_positions_only() -> None:
    query, key = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0))
    near = [rotary_table(torch.tensor([position]), 8, 1e4, 1.0) for position in (3, 5)]
    far = [rotary_table(torch.tensor([position]), 8, 1e4, 1.0) for position in (103, 105)]
    scores = [(rotate(query, at[1]) * rotate(key, at[0])).sum() for at in (near, far)]
    torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-5)
