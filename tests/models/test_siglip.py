"""SigLIP vision tower."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from medvox.errors import SetupError
from medvox.models.siglip import SiglipConfig, SiglipVision


def test_absent_fields_take_the_defaults_of_the_hub() -> None:
    config = SiglipConfig.from_hub({"vision_use_head": False})
    assert (config.hidden_size, config.image_size, config.patch_size, config.grid) == (768, 224, 16, 14)


def test_config_survives_the_way_to_the_hub_and_back() -> None:
    config = SiglipConfig(hidden_size=16, num_attention_heads=2, image_size=32)
    assert SiglipConfig.from_hub(config.to_hub()) == config


@pytest.mark.parametrize(
    "field",
    [
        {"vision_use_head": True},
        {},  # the hub's default is a head
        {"vision_use_head": False, "hidden_act": "relu"},
        {"vision_use_head": False, "hidden_size": 10, "num_attention_heads": 3},
    ],
)
def test_what_no_medgemma_uses_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(SetupError) as caught:
        SiglipConfig.from_hub(field)
    assert caught.value.code == "E_MODEL_CONFIG"


def test_images_do_not_influence_each_other() -> None:
    torch.manual_seed(0)
    tower = SiglipVision(SiglipConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=2, image_size=32))
    pixels = torch.randn(2, 3, 32, 32)
    together, alone = tower(pixels), tower(pixels[:1])
    assert together.shape == (2, 4, 16)
    torch.testing.assert_close(together[:1], alone)
