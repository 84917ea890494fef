"""Sizes of the published models, so that a request can be planned before their weights are on the machine.

Beside the models; ``cost`` and the planning verb use it. Numbers are those of the hub's ``config.json`` files.
"""

from __future__ import annotations

from medvox.models.vlm import VlmConfig

MEDGEMMA_1_5_4B = VlmConfig.from_hub(
    {
        "model_type": "gemma3",
        "text_config": {
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": 1024,
        },
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 1152,
            "image_size": 896,
            "intermediate_size": 4304,
            "num_attention_heads": 16,
            "num_hidden_layers": 27,
            "patch_size": 14,
            "vision_use_head": False,
        },
    }
)

PUBLISHED_VLM = {"google/medgemma-1.5-4b-it": MEDGEMMA_1_5_4B}
