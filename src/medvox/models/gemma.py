"""Gemma 3 text decoder: embedded tokens -> hidden states and logits. The largest part of every MedGemma.

Middle of the path: ``vlm.py`` feeds it token and image embeddings, ``engine.py`` runs it with a cache. It knows nothing
of images except which positions belong to one image, and nothing of files, studies or prompts.

Axes: B batch, T new positions, S all positions a query may look at (cached and new), D hidden size, H query heads,
G key and value heads, E head size, V vocabulary.

Source: Gemma 3 technical report (arXiv 2503.19786) and google-deepmind/gemma; checked against transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medvox.errors import SetupError
from medvox.models.cache import KvCache, LayerCache

LOCAL = "sliding_attention"
FULL = "full_attention"


@dataclass(frozen=True, kw_only=True, slots=True)
class GemmaConfig:
    """Sizes of a Gemma 3 decoder, named as in the hub's ``config.json`` and with its defaults for absent fields.

    Attributes:
        query_pre_attn_scalar: attention scores are divided by its square root.
        sliding_window: positions a local layer sees, the query's own included.
        layer_types: for every layer ``sliding_attention`` (local) or ``full_attention`` (global).
        rope_theta: base of the rotary positions in global layers.
        rope_scaling_factor: positions are divided by it in global layers.
        rope_local_base_freq: base of the rotary positions in local layers.
    """

    vocab_size: int = 262_208
    hidden_size: int = 2304
    intermediate_size: int = 9216
    num_hidden_layers: int = 26
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    head_dim: int = 256
    max_position_embeddings: int = 131_072
    rms_norm_eps: float = 1e-6
    query_pre_attn_scalar: float = 256
    sliding_window: int = 4096
    layer_types: tuple[str, ...] = ()
    rope_theta: float = 1_000_000.0
    rope_scaling_factor: float = 1.0
    rope_local_base_freq: float = 10_000.0

    def __post_init__(self) -> None:
        if not self.layer_types:
            object.__setattr__(self, "layer_types", _layer_types(self.num_hidden_layers, period=6))
        if len(self.layer_types) != self.num_hidden_layers or set(self.layer_types) - {LOCAL, FULL}:
            raise _config_error("layer_types does not give every layer a known type")
        if self.num_attention_heads % self.num_key_value_heads:
            raise _config_error("num_attention_heads is not a multiple of num_key_value_heads")

    @classmethod
    def from_hub(cls, hub: Mapping[str, Any]) -> GemmaConfig:
        """Reads ``text_config`` of a hub ``config.json``; both the flat and the nested rotary fields are understood.

        Raises:
            SetupError: the config asks for something that no MedGemma uses (soft-capping, attention bias ...).
        """
        _refuse_unsupported(hub)
        plain = {field.name for field in fields(cls)} - {"layer_types", "rope_scaling_factor"}
        values = {name: hub[name] for name in plain if hub.get(name) is not None}
        layers = values.get("num_hidden_layers", cls().num_hidden_layers)
        if hub.get("layer_types"):
            values["layer_types"] = tuple(hub["layer_types"])
        else:
            period = hub.get("sliding_window_pattern") or hub.get("_sliding_window_pattern") or 6
            values["layer_types"] = _layer_types(layers, period=period)
        return cls(**{**values, **_rope_fields(hub)})

    def to_hub(self) -> dict[str, Any]:
        """The ``text_config`` that ``from_hub`` and transformers read back."""
        hub: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        hub["model_type"] = "gemma3_text"
        hub["layer_types"] = list(self.layer_types)
        hub["hidden_activation"] = "gelu_pytorch_tanh"
        factor = hub.pop("rope_scaling_factor")
        hub["rope_scaling"] = None if factor == 1.0 else {"rope_type": "linear", "factor": factor}
        return hub


def _layer_types(layers: int, *, period: int) -> tuple[str, ...]:
    """Every ``period``-th layer is global, all others are local."""
    return tuple(LOCAL if (index + 1) % period else FULL for index in range(layers))


def _config_error(what: str) -> SetupError:
    return SetupError(
        f"config.json: {what}",
        fix="Use a Gemma 3 or MedGemma folder as published, with its own config.json.",
        code="E_MODEL_CONFIG",
    )


def _refuse_unsupported(hub: Mapping[str, Any]) -> None:
    for name in ("attn_logit_softcapping", "final_logit_softcapping", "attention_bias", "use_bidirectional_attention"):
        if hub.get(name):
            raise _config_error(f"{name} = {hub[name]} is not supported")
    if hub.get("hidden_activation", "gelu_pytorch_tanh") != "gelu_pytorch_tanh":
        raise _config_error(f"hidden_activation = {hub['hidden_activation']} is not supported")
    if hub.get("tie_word_embeddings") is False:
        raise _config_error("a head that is not tied to the embeddings is not supported")


def _rope_fields(hub: Mapping[str, Any]) -> dict[str, float]:
    """Rotary fields from either spelling: flat (Gemma 3 as published) or ``rope_parameters`` per layer type."""
    nested = hub.get("rope_parameters") or {}
    full = {**(nested.get(FULL) or {}), **(hub.get("rope_scaling") or {})}
    local = nested.get(LOCAL) or {}
    kind = full.get("rope_type", full.get("type", "default"))
    if kind not in ("default", "linear") or local.get("rope_type", "default") != "default":
        raise _config_error("only default and linear rotary positions are supported")
    theta = {"rope_theta": full.get("rope_theta"), "rope_local_base_freq": local.get("rope_theta")}
    values = {name: float(value) for name, value in theta.items() if value is not None}
    if kind == "linear":
        values["rope_scaling_factor"] = float(full["factor"])
    return values


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionMasks:
    """Which of S positions each of T queries may look at, for the two kinds of layer; None: all of them."""

    full: Tensor | None  # (B, 1, T, S) bool
    local: Tensor | None  # (B, 1, T, S) bool


def attention_masks(token_types: Tensor, valid: Tensor | None, window: int, *, past: int = 0) -> AttentionMasks:
    """Masks for the last T of ``past + T`` positions, once per forward pass.

    A position sees itself and everything before it, and within one image (a contiguous run of token type 1) also what
    comes after it. Local layers see at most ``window`` positions back and are handed only the last ``window - 1`` of
    the past, as ``LayerCache`` keeps them. An image must not be longer than the window and must lie wholly among the
    new positions or wholly in the past.

    Args:
        token_types: (B, T), 1 on image soft tokens.
        valid: (B, T), false on padding, which nobody sees but itself; None when nothing is padded.
        window: see ``GemmaConfig.sliding_window``.
        past: number of positions that were already run.
    """
    new = token_types.shape[1]
    at = torch.arange(past + new, device=token_types.device)
    query, key = at[past:, None], at[None, :]
    allowed = _same_image(token_types, past) | (key <= query)  # (B, T, S)
    if valid is not None:
        visible = F.pad(valid.bool(), (past, 0), value=True)
        allowed = (allowed & visible[:, None, :]) | (key == query)
    local = allowed & (query - key < window)
    kept = min(past, window - 1)
    return AttentionMasks(full=allowed[:, None], local=local[:, None, :, past - kept :])


def _same_image(token_types: Tensor, past: int) -> Tensor:
    """(B, T, S) true where query and key belong to the same image."""
    soft = token_types == 1
    starts = soft & ~F.pad(soft, (1, 0))[:, :-1]
    image = torch.where(soft, starts.cumsum(1), 0)  # (B, T): 1, 2, ... within images, 0 elsewhere
    same = (image[:, :, None] == image[:, None, :]) & soft[:, :, None]
    return F.pad(same, (past, 0))


class RmsNorm(nn.Module):
    """Root-mean-square norm in float32 with a zero-centred weight: ``x / rms(x) * (1 + weight)``."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape whose last axis is ``size``; dtype is kept."""
        return F.rms_norm(x.float(), self.weight.shape, 1.0 + self.weight.float(), self.eps).type_as(x)


def rotary_table(positions: Tensor, size: int, base: float, factor: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine (T, E) of the rotary angles of ``positions`` (T,), in float32."""
    exponent = torch.arange(0, size, 2, dtype=torch.float32, device=positions.device) / size
    angles = positions.float()[:, None] * (1.0 / base**exponent / factor)  # (T, E/2)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Rotates the pairs (i, i + E/2) of ``x`` (B, H, T, E) by the angles of ``table``."""
    cos, sin = (part.to(x.dtype) for part in table)
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class Attention(nn.Module):
    """Grouped-query attention with a norm on every query and key."""

    def __init__(self, config: GemmaConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.scale = config.query_pre_attn_scalar**-0.5
        queries, keys = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, keys, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, keys, bias=False)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=False)
        self.q_norm = RmsNorm(config.head_dim, config.rms_norm_eps)
        self.k_norm = RmsNorm(config.head_dim, config.rms_norm_eps)

    def forward(self, x: Tensor, table: tuple[Tensor, Tensor], mask: Tensor | None, cache: LayerCache | None) -> Tensor:
        """(B, T, D) -> (B, T, D). ``cache`` takes the new keys and values and gives back all S that count."""
        batch, new, _ = x.shape
        heads = (batch, new, -1, self.head_dim)
        query = rotate(self.q_norm(self.q_proj(x).view(heads)).transpose(1, 2), table)  # (B, H, T, E)
        key = rotate(self.k_norm(self.k_proj(x).view(heads)).transpose(1, 2), table)  # (B, G, S, E)
        value = self.v_proj(x).view(heads).transpose(1, 2)
        if cache is not None:
            key, value = cache.append(key, value)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=self.scale, enable_gqa=True)
        return self.o_proj(out.transpose(1, 2).reshape(batch, new, -1))


class Mlp(nn.Module):
    """Gated feed-forward layer: ``down(gelu(gate x) * up x)`` with the tanh form of gelu."""

    def __init__(self, config: GemmaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.down_proj(F.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))


class DecoderLayer(nn.Module):
    """Attention and feed-forward, each with a norm before it and one on its output, before the residual is added."""

    def __init__(self, config: GemmaConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = Mlp(config)
        self.input_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.pre_feedforward_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.post_feedforward_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, table: tuple[Tensor, Tensor], mask: Tensor | None, cache: LayerCache | None) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x = x + self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), table, mask, cache))
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))


class GemmaDecoder(nn.Module):
    """The whole decoder. The head is tied: logits come from the embedding matrix."""

    def __init__(self, config: GemmaConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RmsNorm(config.hidden_size, config.rms_norm_eps)

    def embed(self, token_ids: Tensor) -> Tensor:
        """Token ids (B, T) -> (B, T, D), scaled by the square root of D rounded to the weights' dtype."""
        weight = self.embed_tokens.weight
        scale = torch.tensor(self.config.hidden_size**0.5, dtype=weight.dtype, device=weight.device)
        return F.embedding(token_ids, weight) * scale

    def forward(self, x: Tensor, masks: AttentionMasks, cache: KvCache | None = None) -> Tensor:
        """Embeddings (B, T, D) of the next T positions -> hidden states (B, T, D), ready for ``head``."""
        config = self.config
        past = 0 if cache is None else cache.length
        positions = torch.arange(past, past + x.shape[1], device=x.device)
        full = rotary_table(positions, config.head_dim, config.rope_theta, config.rope_scaling_factor)
        local = rotary_table(positions, config.head_dim, config.rope_local_base_freq, 1.0)
        for index, (layer, kind) in enumerate(zip(self.layers, config.layer_types, strict=True)):
            table, mask = (full, masks.full) if kind == FULL else (local, masks.local)
            x = layer(x, table, mask, None if cache is None else cache.layers[index])
        if cache is not None:
            cache.length += x.shape[1]
        return self.norm(x)

    def head(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., D) -> logits (..., V)."""
        return F.linear(hidden, self.embed_tokens.weight)
