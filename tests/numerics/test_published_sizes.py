"""The published models, without their weights: every name, shape and count is that of transformers."""

from __future__ import annotations

import torch
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, LasrCTCConfig, LasrForCTC

from medvox.models import conformer
from medvox.models.published import MEDGEMMA_1_5_4B
from medvox.models.vlm import MedGemma, VlmConfig
from medvox.models.weights import _own_name, _published_name

MEDGEMMA = MEDGEMMA_1_5_4B.to_hub()


def _shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def test_medgemma_4b() -> None:
    with torch.device("meta"):
        ours = MedGemma(VlmConfig.from_hub(MEDGEMMA))
        theirs = Gemma3ForConditionalGeneration(Gemma3Config(**MEDGEMMA))
    shapes = _shapes(theirs)
    shapes.pop("lm_head.weight")  # tied
    assert sum(weight.numel() for weight in ours.parameters()) == 4_300_079_472
    assert _shapes(ours) == shapes
    assert ours.config.text.layer_types == tuple(theirs.config.text_config.layer_types)


def test_medgemma_4b_published_names() -> None:
    with torch.device("meta"):
        names = set(_shapes(MedGemma(VlmConfig.from_hub(MEDGEMMA))))
    published = {_published_name(name, text_only=False) for name in names}
    assert {name.split(".")[0] for name in published} == {"language_model", "vision_tower", "multi_modal_projector"}
    assert "vision_tower.vision_model.encoder.layers.26.self_attn.out_proj.bias" in published
    assert "language_model.model.layers.33.post_feedforward_layernorm.weight" in published
    assert {_own_name(name) for name in published} == names


def test_medasr() -> None:
    with torch.device("meta"):
        ours = conformer.LasrForCTC(conformer.LasrConfig.from_hub({"model_type": "lasr_ctc"}))
        theirs = LasrForCTC(LasrCTCConfig())
    assert sum(weight.numel() for weight in ours.parameters()) == 105_265_408
    assert _shapes(ours) == _shapes(theirs)
