"""What a request will cost: floating-point work, memory and seconds, from a model's sizes and this machine's speed.

Beside ``engine.py``; the planning verb uses it. Arithmetic on sizes; nothing is loaded. The seconds are estimates.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from medvox.errors import InputError
from medvox.models.gemma import FULL
from medvox.models.vlm import VlmConfig

PUBLISHED_BYTES_PER_WEIGHT = 2  # bfloat16
PIXEL_BYTES = 3  # of one pixel: RGB as uint8; only a few pictures at a time are floats
ATTENTION_SHARE = 0.35  # attention over small heads reaches about a third of the speed of a large matrix product
MATRIX, STREAM = 1536, 2**26  # side of the test matrix; bytes of the test stream


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """How fast this machine multiplies (float operations a second) and reads memory (bytes a second)."""

    flop_per_s: float
    bytes_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Work and memory of one request.

    Attributes:
        vision_flop: all pictures through the vision tower.
        prefill_flop: the prompt through the decoder.
        decode_bytes: read from memory for every new token: weights and cache.
        weight_bytes: the model in memory.
        cache_bytes: keys and values of the prompt.
        pixel_bytes: the prepared pictures.
    """

    vision_flop: float
    prefill_flop: float
    decode_bytes: float
    weight_bytes: int
    cache_bytes: int
    pixel_bytes: int

    @property
    def memory_bytes(self) -> int:
        """Everything that is in memory at once."""
        return self.weight_bytes + self.cache_bytes + self.pixel_bytes

    def seconds(self, speed: Speed, new_tokens: int) -> dict[str, float]:
        """Estimated seconds by stage."""
        return {
            "vision": self.vision_flop / speed.flop_per_s,
            "prefill": self.prefill_flop / speed.flop_per_s,
            "decode": new_tokens * self.decode_bytes / speed.bytes_per_s,
        }


def cost_of(config: VlmConfig, *, images: int, tokens: int, bytes_per_weight: int) -> Cost:
    """The cost of ``images`` pictures and a prompt of ``tokens`` positions, soft tokens included.

    Raises:
        InputError: pictures for a model that has no vision tower.
    """
    text, vision = config.text, config.vision
    if images and vision is None:
        raise InputError("the model reads text only", fix="Choose a multimodal model.", code="E_MODEL_TEXT_ONLY")
    heads = (text.num_attention_heads + 2 * text.num_key_value_heads) * text.head_dim
    layer = text.hidden_size * (heads + text.num_attention_heads * text.head_dim + 3 * text.intermediate_size)
    embedding = text.vocab_size * text.hidden_size
    seen = sum(tokens if kind == FULL else min(tokens, text.sliding_window) for kind in text.layer_types)
    attention = 2.0 * tokens * seen * text.num_attention_heads * text.head_dim  # half of the square is masked
    kept = 2 * seen * text.num_key_value_heads * text.head_dim * bytes_per_weight
    weights = text.num_hidden_layers * layer + embedding
    vision_flop = pixel_bytes = vision_weights = 0.0
    if vision is not None:
        patches, width = vision.grid**2, vision.hidden_size
        block = 4 * width * width + 2 * width * vision.intermediate_size
        entry = vision.num_channels * vision.patch_size**2 * width
        vision_weights = vision.num_hidden_layers * block + entry + patches * width
        one = vision.num_hidden_layers * (2.0 * patches * block + 4.0 * patches**2 * width / ATTENTION_SHARE)
        one += 2.0 * patches * entry
        vision_flop, pixel_bytes = images * one, images * vision.image_size**2 * PIXEL_BYTES
    weight_bytes = int((weights + vision_weights) * bytes_per_weight)
    return Cost(
        vision_flop=vision_flop,
        prefill_flop=2.0 * tokens * text.num_hidden_layers * layer + attention / ATTENTION_SHARE,
        decode_bytes=float(weights * bytes_per_weight + kept),
        weight_bytes=weight_bytes,
        cache_bytes=int(kept),
        pixel_bytes=int(pixel_bytes),
    )


def measure_speed(bytes_per_weight: int) -> Speed:
    """Time a matrix product and a read of memory on this machine; takes about half a second."""
    dtype = torch.float32 if bytes_per_weight == 4 else torch.bfloat16
    matrix = torch.ones(MATRIX, MATRIX, dtype=dtype)
    stream = torch.ones(STREAM // 4, dtype=torch.float32)
    product_s = _best_of_three(lambda: matrix @ matrix)
    read_s = _best_of_three(stream.sum)
    return Speed(flop_per_s=2.0 * MATRIX**3 / product_s, bytes_per_s=STREAM / read_s)


def _best_of_three(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
