"""MedGemma as a whole: images and text to logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from medvox.errors import InputError, SetupError
from medvox.models.vlm import MedGemma, VlmConfig


def test_config_survives_the_way_to_the_hub_and_back(hub: dict[str, Any]) -> None:
    config = VlmConfig.from_hub(hub)
    assert config.stop_token_ids == (1, 5)
    assert VlmConfig.from_hub(config.to_hub()) == config


def test_text_only_config_survives_the_way_to_the_hub_and_back(hub: dict[str, Any]) -> None:
    config = VlmConfig.from_hub({**hub["text_config"], "model_type": "gemma3_text", "eos_token_id": 1})
    assert config.vision is None
    assert config.stop_token_ids == (1,)
    assert VlmConfig.from_hub(config.to_hub()) == config


def test_another_model_type_is_refused(hub: dict[str, Any]) -> None:
    with pytest.raises(SetupError) as caught:
        VlmConfig.from_hub({**hub, "model_type": "llama"})
    assert caught.value.code == "E_MODEL_TYPE"


@pytest.mark.parametrize("tokens", [3, 9])  # no square; does not divide the grid of 4 patches
def test_soft_tokens_that_do_not_fit_the_patches_are_refused(hub: dict[str, Any], tokens: int) -> None:
    with pytest.raises(SetupError) as caught:
        VlmConfig.from_hub({**hub, "mm_tokens_per_image": tokens})
    assert caught.value.code == "E_MODEL_CONFIG"


def test_pixels_reach_the_logits(model: MedGemma, prompt: list[int], pixels: torch.Tensor) -> None:
    ids = torch.tensor([prompt])
    shown, other = model(ids, pixel_values=pixels), model(ids, pixel_values=-pixels)
    assert shown.shape == (1, len(prompt), 96)
    assert not torch.allclose(shown[0, -1], other[0, -1], atol=1e-3)


def test_logits_at_gives_the_wanted_positions_only(model: MedGemma, prompt: list[int], pixels: torch.Tensor) -> None:
    ids = torch.tensor([prompt])
    wanted = torch.zeros_like(ids, dtype=torch.bool)
    wanted[0, [3, 18]] = True
    all_logits = model(ids, pixel_values=pixels)
    found = model(ids, pixel_values=pixels, logits_at=wanted)
    torch.testing.assert_close(found, all_logits[0, [3, 18]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(model: MedGemma, prompt: list[int], pixels: torch.Tensor, side: str) -> None:
    plain = model(torch.tensor([prompt]), pixel_values=pixels)[0]
    padded = [0, 0, 0, *prompt] if side == "left" else [*prompt, 0, 0, 0]
    valid = torch.tensor([padded]) != 0
    logits = model(torch.tensor([padded]), pixel_values=pixels, attention_mask=valid)[0]
    torch.testing.assert_close(logits[valid[0]], plain, rtol=1e-4, atol=1e-4)


def test_images_are_dealt_out_in_reading_order(model: MedGemma, prompt: list[int], pixels: torch.Tensor) -> None:
    ids = torch.tensor([prompt, prompt])
    both = model(ids, pixel_values=torch.cat([pixels, pixels.flip(0)]))
    torch.testing.assert_close(both[1], model(ids[:1], pixel_values=pixels.flip(0))[0], rtol=1e-4, atol=1e-4)


def test_gradients_reach_every_weight(model: MedGemma, prompt: list[int], pixels: torch.Tensor) -> None:
    model(torch.tensor([prompt]), pixel_values=pixels)[0, -1].log_softmax(-1)[7].backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


def test_initial_weights_depend_on_the_seed_alone(hub: dict[str, Any]) -> None:
    first, second = MedGemma(VlmConfig.from_hub(hub)), MedGemma(VlmConfig.from_hub(hub))
    first.initialise(seed=3)
    second.initialise(seed=3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_too_few_images_are_refused(model: MedGemma, prompt: list[int], pixels: torch.Tensor) -> None:
    with pytest.raises(InputError) as caught:
        model(torch.tensor([prompt]), pixel_values=pixels[:1])
    assert caught.value.code == "E_IMAGE_COUNT"


def test_images_of_another_size_are_refused(model: MedGemma) -> None:
    with pytest.raises(InputError) as caught:
        model.encode_images(torch.zeros(1, 3, 16, 20))
    assert caught.value.code == "E_IMAGE_SIZE"


def test_a_text_only_model_refuses_images(hub: dict[str, Any]) -> None:
    model = MedGemma(VlmConfig.from_hub({**hub["text_config"], "model_type": "gemma3_text"}))
    with pytest.raises(InputError) as caught:
        model.encode_images(torch.zeros(1, 3, 16, 16))
    assert caught.value.code == "E_MODEL_TEXT_ONLY"
