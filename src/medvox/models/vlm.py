"""MedGemma: token ids and images -> logits. Joins the vision tower to the text decoder.

Middle of the path: ``encode`` makes its inputs, ``engine.py`` runs it to write answers, ``train`` to learn. It knows
nothing of files, studies, prompts or tokenizers.

Axes: B prompts, T token positions, N images (all prompts' images, in reading order), H and W pixels, P patches of one
image, M soft tokens of one image, D hidden size of the decoder, C hidden size of the vision tower, V vocabulary.

Source: Gemma 3 technical report (arXiv 2503.19786), MedGemma 1.5 (arXiv 2604.05081); checked against transformers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medvox.errors import InputError, SetupError
from medvox.models.cache import KvCache
from medvox.models.gemma import LOCAL, AttentionMasks, GemmaConfig, GemmaDecoder, RmsNorm, attention_masks
from medvox.models.siglip import SiglipConfig, SiglipVision


@dataclass(frozen=True, kw_only=True, slots=True)
class VlmConfig:
    """A Gemma 3 model as the hub's ``config.json`` describes it.

    Attributes:
        vision: None for a text-only model.
        mm_tokens_per_image: soft tokens that stand for one image (a square number).
        image_token_index: token id whose embedding is replaced by a soft token.
        stop_token_ids: any of these ends an answer.
    """

    text: GemmaConfig = field(default_factory=GemmaConfig)
    vision: SiglipConfig | None = None
    mm_tokens_per_image: int = 256
    boi_token_index: int = 255_999
    eoi_token_index: int = 256_000
    image_token_index: int = 262_144
    stop_token_ids: tuple[int, ...] = (1, 106)

    def __post_init__(self) -> None:
        side = math.isqrt(self.mm_tokens_per_image)
        if side**2 != self.mm_tokens_per_image or (self.vision is not None and self.vision.grid % side):
            raise SetupError(
                "config.json: mm_tokens_per_image does not divide the grid of patches",
                fix="Use a Gemma 3 or MedGemma folder as published, with its own config.json.",
                code="E_MODEL_CONFIG",
            )

    @classmethod
    def from_hub(cls, hub: Mapping[str, Any]) -> VlmConfig:
        """Reads a hub ``config.json`` of model type ``gemma3``, or ``gemma3_text`` for a text-only model.

        Raises:
            SetupError: another model type, or something that no MedGemma uses.
        """
        kind = hub.get("model_type")
        if kind not in ("gemma3", "gemma3_text"):
            raise SetupError(
                f"config.json: model_type {kind!r} is not a Gemma 3 model",
                fix="Give the folder of a MedGemma or Gemma 3 model.",
                code="E_MODEL_TYPE",
            )
        text = hub if kind == "gemma3_text" else hub.get("text_config") or {}
        names = ("mm_tokens_per_image", "boi_token_index", "eoi_token_index", "image_token_index")
        stop = hub.get("eos_token_id") or text.get("eos_token_id") or 1
        return cls(
            text=GemmaConfig.from_hub({**text, "tie_word_embeddings": hub.get("tie_word_embeddings", True)}),
            vision=None if kind == "gemma3_text" else SiglipConfig.from_hub(hub.get("vision_config") or {}),
            stop_token_ids=(stop,) if isinstance(stop, int) else tuple(stop),
            **{name: hub[name] for name in names if hub.get(name) is not None},
        )

    def to_hub(self) -> dict[str, Any]:
        """The ``config.json`` that ``from_hub`` and transformers read back."""
        stop = {"eos_token_id": list(self.stop_token_ids)}
        if self.vision is None:
            return {"architectures": ["Gemma3ForCausalLM"], **self.text.to_hub(), **stop}
        return {
            "architectures": ["Gemma3ForConditionalGeneration"],
            "model_type": "gemma3",
            "text_config": self.text.to_hub(),
            "vision_config": self.vision.to_hub(),
            "mm_tokens_per_image": self.mm_tokens_per_image,
            "boi_token_index": self.boi_token_index,
            "eoi_token_index": self.eoi_token_index,
            "image_token_index": self.image_token_index,
            **stop,
        }


class Projector(nn.Module):
    """Patch vectors -> soft tokens: average over square groups of patches, norm, one matrix without bias."""

    def __init__(self, vision: SiglipConfig, tokens: int, size: int) -> None:
        super().__init__()
        self.grid = vision.grid
        self.pool = vision.grid // math.isqrt(tokens)
        self.mm_input_projection_weight = nn.Parameter(torch.zeros(vision.hidden_size, size))
        self.mm_soft_emb_norm = RmsNorm(vision.hidden_size, vision.layer_norm_eps)

    def forward(self, patches: Tensor) -> Tensor:
        """(N, P, C) -> (N, M, D). Soft tokens are not scaled as token embeddings are."""
        image = patches.transpose(1, 2).reshape(len(patches), -1, self.grid, self.grid)  # (N, C, rows, columns)
        pooled = F.avg_pool2d(image, self.pool).flatten(2).transpose(1, 2)  # (N, M, C)
        return self.mm_soft_emb_norm(pooled) @ self.mm_input_projection_weight


class VlmBody(nn.Module):
    """Everything but the head; the level exists so that parameters are named as in transformers."""

    def __init__(self, config: VlmConfig) -> None:
        super().__init__()
        self.language_model = GemmaDecoder(config.text)
        if config.vision is not None:
            self.vision_tower = SiglipVision(config.vision)
            self.multi_modal_projector = Projector(config.vision, config.mm_tokens_per_image, config.text.hidden_size)


class MedGemma(nn.Module):
    """A MedGemma model; weights are set by ``weights.load_vlm`` or ``initialise``."""

    def __init__(self, config: VlmConfig) -> None:
        super().__init__()
        self.config = config
        self.model = VlmBody(config)

    @property
    def decoder(self) -> GemmaDecoder:
        """The text decoder."""
        return self.model.language_model

    def encode_images(self, pixel_values: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) in -1..1 -> soft tokens (N, M, D).

        Raises:
            InputError: the model has no vision tower, or the images have another size than the model was made for.
        """
        vision = self.config.vision
        if vision is None:
            raise InputError(
                "this model reads text only", fix="Choose a multimodal model for images.", code="E_MODEL_TEXT_ONLY"
            )
        expected = (vision.num_channels, vision.image_size, vision.image_size)
        if pixel_values.ndim != 4 or tuple(pixel_values.shape[1:]) != expected:
            raise InputError(
                f"images of shape {tuple(pixel_values.shape)} do not fit a model for (N, {expected})",
                fix="Prepare the images with the preprocessor_config.json of the same model.",
                code="E_IMAGE_SIZE",
            )
        return self.model.multi_modal_projector(self.model.vision_tower(pixel_values))

    def embed(self, input_ids: Tensor, soft_tokens: Tensor | None) -> Tensor:
        """Token ids (B, T) and soft tokens (N, M, D) -> embeddings (B, T, D) with the images in their places.

        Raises:
            InputError: the placeholders in the ids are not as many as the soft tokens.
        """
        places = input_ids == self.config.image_token_index  # (B, T)
        found = 0 if soft_tokens is None else soft_tokens.shape[0] * soft_tokens.shape[1]
        if int(places.sum()) != found:
            raise InputError(
                f"{int(places.sum())} image placeholder tokens in the prompt, but {found} image soft tokens",
                fix=f"Give {self.config.mm_tokens_per_image} placeholder tokens for each image.",
                code="E_IMAGE_COUNT",
            )
        x = self.decoder.embed(input_ids.masked_fill(places, 0))
        if soft_tokens is None:
            return x
        return x.masked_scatter(places[:, :, None], soft_tokens.to(x.dtype))

    def forward(
        self,
        input_ids: Tensor,
        *,
        pixel_values: Tensor | None = None,
        soft_tokens: Tensor | None = None,
        attention_mask: Tensor | None = None,
        logits_at: Tensor | None = None,
    ) -> Tensor:
        """Logits of the next token at every position, for training and checking. No cache.

        Args:
            input_ids: (B, T). Positions that hold the image token are image positions.
            pixel_values: (N, 3, H, W) in -1..1; or else give ``soft_tokens``.
            soft_tokens: (N, M, D) from ``encode_images``.
            attention_mask: (B, T), 0 on padding (either side); None when nothing is padded.
            logits_at: (B, T) bool; where logits are wanted. The result is then (wanted, V) in reading order.

        Returns:
            Logits (B, T, V), or (wanted, V).
        """
        if pixel_values is not None:
            soft_tokens = self.encode_images(pixel_values)
        x = self.embed(input_ids, soft_tokens)
        masks = attention_masks(self.token_types(input_ids), attention_mask, self.config.text.sliding_window)
        hidden = self.decoder(x, masks)
        return self.decoder.head(hidden if logits_at is None else hidden[logits_at])

    def advance(self, x: Tensor, masks: AttentionMasks, cache: KvCache) -> Tensor:
        """Embeddings (B, T, D) of the next positions -> hidden states (B, T, D); the cache grows by T."""
        return self.decoder(x, masks, cache)

    def token_types(self, input_ids: Tensor) -> Tensor:
        """(B, T): 1 on image soft tokens, 0 elsewhere."""
        return (input_ids == self.config.image_token_index).long()

    def new_cache(self) -> KvCache:
        """An empty cache for one batch of prompts."""
        text = self.config.text
        return KvCache([text.sliding_window - 1 if kind == LOCAL else None for kind in text.layer_types])

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Random weights for training from nothing: unit variance is kept through every matrix."""
        draw = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                fan_in = module.weight[0].numel()
                module.weight.normal_(std=fan_in**-0.5, generator=draw)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.Embedding):
                module.weight.normal_(std=module.embedding_dim**-0.5, generator=draw)
            elif isinstance(module, Projector):
                weight = module.mm_input_projection_weight
                weight.normal_(std=weight.shape[0] ** -0.5, generator=draw)
