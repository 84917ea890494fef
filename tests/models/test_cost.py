"""The planned cost of a request, against PyTorch's own counter and the published sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from medvox.errors import InputError
from medvox.models import cost
from medvox.models.cost import Speed, cost_of, measure_speed
from medvox.models.gemma import GemmaConfig
from medvox.models.published import MEDGEMMA_1_5_4B
from medvox.models.siglip import SiglipConfig
from medvox.models.vlm import MedGemma, VlmConfig

SMALL = VlmConfig(
    text=GemmaConfig(
        vocab_size=100,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
    ),
    vision=SiglipConfig(
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=56,
        patch_size=14,
    ),
    mm_tokens_per_image=4,
    image_token_index=99,
)


def test_vision_work_is_what_pytorch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "ATTENTION_SHARE", float("inf"))  # PyTorch does not count fused attention on the CPU
    model = MedGemma(SMALL).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.model.vision_tower(torch.zeros(2, 3, 56, 56))
    planned = cost_of(SMALL, images=2, tokens=10, bytes_per_weight=4).vision_flop
    assert planned == counter.get_total_flops()


def test_medgemma_takes_its_published_memory() -> None:
    planned = cost_of(MEDGEMMA_1_5_4B, images=85, tokens=32_768, bytes_per_weight=2)
    assert planned.weight_bytes == pytest.approx(4_300_079_472 * 2, rel=0.002)
    assert planned.cache_bytes == pytest.approx(0.74 * 2**30, rel=0.05)  # local layers keep a window of 1024
    assert planned.vision_flop / 85 >= 5.45e12


def test_time_grows_with_pictures_and_prompt() -> None:
    speed = Speed(flop_per_s=1e11, bytes_per_s=1e10)
    few = cost_of(MEDGEMMA_1_5_4B, images=1, tokens=300, bytes_per_weight=2).seconds(speed, new_tokens=100)
    many = cost_of(MEDGEMMA_1_5_4B, images=85, tokens=22_500, bytes_per_weight=2).seconds(speed, new_tokens=100)
    assert many["vision"] == pytest.approx(85 * few["vision"])
    assert many["prefill"] > 75 * few["prefill"]
    assert few["decode"] == pytest.approx(100 * 7.77e9 / 1e10, rel=0.02)


def test_pictures_need_a_vision_tower() -> None:
    with pytest.raises(InputError) as refusal:
        cost_of(replace(SMALL, vision=None), images=1, tokens=10, bytes_per_weight=4)
    assert refusal.value.code == "E_MODEL_TEXT_ONLY"


def test_the_machine_has_a_speed() -> None:
    speed = measure_speed(4)
    assert 1e8 < speed.flop_per_s < 1e16
    assert 1e7 < speed.bytes_per_s < 1e14
