"""Our MedGemma against Gemma 3 of transformers, on the same random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import Gemma3Config, Gemma3ForCausalLM, Gemma3ForConditionalGeneration, Gemma3TextConfig

from medvox.models.engine import Engine
from medvox.models.vlm import MedGemma, VlmConfig
from medvox.models.weights import load_vlm, save_folder

IMAGE, TOKENS = 290, 16


def _prompt(starts: list[int], length: int, seed: int = 0) -> Tensor:
    """(1, length) random text with an image at each of the starts."""
    ids = torch.randint(3, 105, (1, length), generator=torch.Generator().manual_seed(seed))
    for start in starts:
        ids[0, start : start + TOKENS] = IMAGE
    return ids


def _pixels(images: int) -> Tensor | None:
    return torch.randn(images, 3, 32, 32, generator=torch.Generator().manual_seed(7)) if images else None


@torch.no_grad()
def _expected(reference: Gemma3ForConditionalGeneration, ids: Tensor, images: int, valid: Tensor | None) -> Tensor:
    return reference(
        input_ids=ids,
        pixel_values=_pixels(images),
        token_type_ids=(ids == IMAGE).long() if images else None,
        attention_mask=valid,
    ).logits


def _close(found: Tensor, expected: Tensor) -> None:
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-4


@pytest.mark.parametrize(
    ("starts", "length"),
    [
        ([], 12),  # text within one window
        ([], 90),  # text far longer than the window of 16
        ([5], 40),
        ([0], 30),  # an image first
        ([3, 25, 43, 61, 80], 110),  # five images, each crossing windows
        ([4, 20], 60),  # two images without a token between them: one run
        ([64], 80),  # an image last
    ],
)
@torch.no_grad()
def test_logits(reference: Gemma3ForConditionalGeneration, ours: MedGemma, starts: list[int], length: int) -> None:
    ids = _prompt(starts, length)
    _close(ours(ids, pixel_values=_pixels(len(starts))), _expected(reference, ids, len(starts), None))


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_logits_of_a_padded_batch(reference: Gemma3ForConditionalGeneration, ours: MedGemma, side: str) -> None:
    ids = torch.cat([_prompt([10, 40], 70, seed=1), _prompt([30], 70, seed=2)])
    valid = torch.ones_like(ids)
    padding = slice(0, 8) if side == "left" else slice(-8, None)
    ids[1, padding], valid[1, padding] = 0, 0
    found = ours(ids, pixel_values=_pixels(3), attention_mask=valid)
    expected = _expected(reference, ids, 3, valid)
    _close(found[valid.bool()], expected[valid.bool()])


@torch.no_grad()
def test_soft_tokens(reference: Gemma3ForConditionalGeneration, ours: MedGemma) -> None:
    pixels = _pixels(2)
    assert pixels is not None
    _close(ours.encode_images(pixels), reference.model.get_image_features(pixels).pooler_output)


@pytest.mark.parametrize("chunk", [7, 32, 1024])
@torch.no_grad()
def test_prefill_in_chunks(reference: Gemma3ForConditionalGeneration, ours: MedGemma, chunk: int) -> None:
    ids = _prompt([3, 25, 43], 100)
    prefix = Engine(ours, images_at_once=2, chunk=chunk).prefill(ids[0].tolist(), _pixels(3))
    _close(prefix.logits, _expected(reference, ids, 3, None)[0, -1])


@pytest.mark.parametrize("starts", [[], [6, 30]])
@torch.no_grad()
def test_greedy_answers(reference: Gemma3ForConditionalGeneration, ours: MedGemma, starts: list[int]) -> None:
    ids = _prompt(starts, 64, seed=5)
    images = {"pixel_values": _pixels(len(starts)), "token_type_ids": (ids == IMAGE).long()} if starts else {}
    valid = torch.ones_like(ids)
    out = reference.generate(input_ids=ids, attention_mask=valid, **images, do_sample=False, max_new_tokens=40)
    expected = out[0, 64:].tolist()
    engine = Engine(ours)
    generation = engine.generate(engine.prefill(ids[0].tolist(), _pixels(len(starts))), max_new_tokens=40)
    assert list(generation.token_ids) == [token for token in expected if token not in (1, 106)]


@torch.no_grad()
def test_cached_decoding_equals_a_full_pass(ours: MedGemma) -> None:
    ids, text = _prompt([6, 30], 64), _prompt([], 40, seed=9)
    whole = ours(torch.cat([ids, text], dim=1), pixel_values=_pixels(2))[0, 63:-1].log_softmax(-1)
    engine = Engine(ours)
    prefix = engine.prefill(ids[0].tolist(), _pixels(2))
    (score,) = engine.score_choices(prefix, [text[0].tolist()])
    assert score == pytest.approx(float(whole.gather(1, text.T).sum()), rel=1e-5)


@torch.no_grad()
def test_bfloat16_stays_close(reference_folder: Path) -> None:
    reference = Gemma3ForConditionalGeneration.from_pretrained(reference_folder, dtype=torch.bfloat16).eval()
    ours = load_vlm(reference_folder, dtype=torch.bfloat16)
    ids = _prompt([5], 40)
    expected = _expected(reference, ids, 1, None).float()
    found = ours(ids, pixel_values=_pixels(1)).float()
    assert float((found - expected).abs().mean() / expected.abs().mean()) < 0.02


@torch.no_grad()
def test_transformers_reads_what_we_save(
    reference: Gemma3ForConditionalGeneration, ours: MedGemma, tmp_path: Path
) -> None:
    save_folder(ours, ours.config.to_hub(), tmp_path, torch.float32)
    again = Gemma3ForConditionalGeneration.from_pretrained(tmp_path).eval()
    ids = _prompt([5], 40)
    assert torch.equal(_expected(again, ids, 1, None), _expected(reference, ids, 1, None))


@torch.no_grad()
def test_text_only_model(tmp_path: Path) -> None:
    torch.manual_seed(1)
    sizes = {"vocab_size": 128, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 7}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 16}
    reference = Gemma3ForCausalLM(Gemma3TextConfig(**sizes, **heads)).eval()
    for weight in reference.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    reference.save_pretrained(tmp_path)
    ids = _prompt([], 50)
    _close(load_vlm(tmp_path)(ids), reference(input_ids=ids).logits)


def test_config_defaults_are_those_of_transformers() -> None:
    vision = {"model_type": "siglip_vision_model", "vision_use_head": False, "image_size": 256}
    theirs = Gemma3Config(vision_config=vision)
    assert VlmConfig.from_hub({"model_type": "gemma3", "vision_config": vision}) == VlmConfig.from_hub(theirs.to_dict())
