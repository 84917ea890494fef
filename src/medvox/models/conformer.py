"""The LASR (MedASR) Conformer with a CTC head, in plain PyTorch, with the hub's parameter names.

Next in the path: ``models/ctc``. Knows no file, no sound and no text.
Source: transformers ``models/lasr``. Shapes: B batch, F feature frames, T encoder frames (4x fewer), M mel bands,
D width, H heads, V tokens.

Attention goes over the whole input. Its kernels keep no table of scores, so memory grows with the length, and only the
work with its square; ``models/listening`` cuts long recordings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from medvox.errors import InputError, SetupError

Activation = Callable[[Tensor], Tensor]


def _quick_gelu(hidden: Tensor) -> Tensor:
    return hidden * torch.sigmoid(1.702 * hidden)


_TANH_GELU: Activation = partial(functional.gelu, approximate="tanh")
ACTIVATIONS: dict[str, Activation] = {
    "silu": functional.silu,
    "swish": functional.silu,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "gelu": functional.gelu,
    "gelu_new": _TANH_GELU,
    "gelu_fast": _TANH_GELU,
    "gelu_pytorch_tanh": _TANH_GELU,
    "quick_gelu": _quick_gelu,
    "hardswish": functional.hardswish,
    "leaky_relu": functional.leaky_relu,
    "mish": functional.mish,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}
MAY_BE_0 = {"num_key_value_heads", "head_dim"}


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderConfig:
    """``encoder_config`` of a hub ``lasr_ctc`` folder; defaults are MedASR's.

    Attributes:
        hidden_act: of the feed-forward and the convolution modules, a name from ``ACTIVATIONS``.
        attention_bias: biases in the attention and, in spite of the name, in the feed-forward modules.
        num_key_value_heads: 0 for as many as there are attention heads.
        head_dim: width of an attention head; 0 for ``hidden_size`` divided by the heads.
        rope_factor: positions are divided by it.
    """

    hidden_size: int = 512
    num_hidden_layers: int = 17
    num_attention_heads: int = 8
    num_key_value_heads: int = 0
    head_dim: int = 0
    intermediate_size: int = 2048
    hidden_act: str = "silu"
    attention_bias: bool = False
    convolution_bias: bool = False
    conv_kernel_size: int = 32
    subsampling_conv_channels: int = 256
    subsampling_conv_kernel_size: int = 5
    subsampling_conv_stride: int = 2
    num_mel_bins: int = 128
    layer_norm_eps: float = 1e-6
    feed_forward_residual_weights: tuple[float, float] = (1.5, 0.5)
    conv_residual_weights: tuple[float, float] = (2.0, 1.0)
    batch_norm_momentum: float = 0.01
    rope_theta: float = 10_000.0
    rope_factor: float = 1.0
    dropout: float = 0.1
    dropout_positions: float = 0.0
    activation_dropout: float = 0.1
    attention_dropout: float = 0.1
    layerdrop: float = 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            size = getattr(self, field.name)
            if field.type == "int" and (type(size) is not int or size < (field.name not in MAY_BE_0)):
                raise _config_error(f"{field.name} = {size!r} is no size")
        if self.hidden_act not in ACTIVATIONS:
            raise _config_error(f"hidden_act = {self.hidden_act!r} is not supported")
        if not self.head_dim and self.hidden_size % self.num_attention_heads:
            raise _config_error("hidden_size is not a multiple of num_attention_heads")
        if self.head_size % 2:
            raise _config_error("rotary positions need heads of an even width")
        if self.num_attention_heads % self.key_value_heads:
            raise _config_error("num_attention_heads is not a multiple of num_key_value_heads")
        if not len(self.feed_forward_residual_weights) == len(self.conv_residual_weights) == 2:
            raise _config_error("feed_forward_residual_weights and conv_residual_weights have two numbers each")

    @property
    def head_size(self) -> int:
        """Width of an attention head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def key_value_heads(self) -> int:
        """Heads of the keys and values."""
        return self.num_key_value_heads or self.num_attention_heads

    @classmethod
    def from_hub(cls, config: dict[str, Any]) -> EncoderConfig:
        """From the hub's JSON; keys that do not change the network are ignored.

        Raises:
            SetupError: it asks for something that cannot be, or for rotary positions of a kind that is not supported.
        """
        values: dict[str, Any] = {
            field.name: tuple(config[field.name]) if isinstance(config[field.name], list) else config[field.name]
            for field in fields(cls)
            if config.get(field.name) is not None
        }
        rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind not in ("default", "linear") or (kind == "linear" and rope.get("partial_rotary_factor", 1.0) != 1.0):
            raise _config_error("only default and linear rotary positions are supported")
        if "rope_theta" in rope:
            values["rope_theta"] = float(rope["rope_theta"])
        if kind == "linear":
            values["rope_factor"] = float(rope["factor"])
        return cls(**values)


@dataclass(frozen=True, kw_only=True, slots=True)
class LasrConfig:
    """``config.json`` of a hub ``lasr_ctc`` folder. The blank is ``pad_token_id``."""

    encoder_config: EncoderConfig
    vocab_size: int = 512
    pad_token_id: int = 0

    def __post_init__(self) -> None:
        if not (isinstance(self.vocab_size, int) and isinstance(self.pad_token_id, int) and self.vocab_size > 1):
            raise _config_error("vocab_size and pad_token_id must be whole numbers")
        if not 0 <= self.pad_token_id < self.vocab_size:
            raise _config_error(f"pad_token_id = {self.pad_token_id} is none of {self.vocab_size} tokens")

    @classmethod
    def from_hub(cls, config: dict[str, Any]) -> LasrConfig:
        """From the hub's JSON.

        Raises:
            SetupError: see ``EncoderConfig.from_hub``.
        """
        encoder = config.get("encoder_config") or {}
        if not isinstance(encoder, dict):
            raise _config_error("encoder_config is no object")
        return cls(
            encoder_config=EncoderConfig.from_hub(encoder),
            vocab_size=config.get("vocab_size", 512),
            pad_token_id=config.get("pad_token_id", 0),
        )

    def to_hub(self) -> dict[str, Any]:
        """The hub's JSON, which transformers reads as well."""
        encoder = {field.name: getattr(self.encoder_config, field.name) for field in fields(self.encoder_config)}
        rope = {"rope_type": "default", "rope_theta": encoder.pop("rope_theta")}
        if (factor := encoder.pop("rope_factor")) != 1.0:
            rope |= {"rope_type": "linear", "factor": factor}
        for name in ("num_key_value_heads", "head_dim"):
            if not encoder[name]:
                del encoder[name]
        return {
            "architectures": ["LasrForCTC"],
            "model_type": "lasr_ctc",
            "vocab_size": self.vocab_size,
            "pad_token_id": self.pad_token_id,
            "ctc_loss_reduction": "mean",
            "ctc_zero_infinity": True,
            "encoder_config": {**encoder, "model_type": "lasr_encoder", "rope_parameters": rope},
        }


class Subsampling(nn.Module):
    """Linear, two strided convolutions, linear: 100 feature frames a second become 25."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, channels = config.hidden_size, config.subsampling_conv_channels
        kernel, stride = config.subsampling_conv_kernel_size, config.subsampling_conv_stride
        self.dense_0 = nn.Linear(config.num_mel_bins, width)
        self.conv_0 = nn.Conv1d(width, width, kernel, stride=stride)
        self.conv_1 = nn.Conv1d(width, channels, kernel, stride=stride)
        self.dense_1 = nn.Linear(channels, width)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, F, M) to (B, T, D)."""
        hidden = functional.relu(self.dense_0(features)).transpose(1, 2)  # (B, D, F)
        hidden = functional.relu(self.conv_0(hidden))
        hidden = functional.relu(self.conv_1(hidden)).transpose(1, 2)  # (B, T, channels)
        dense: Tensor = self.dense_1(hidden)
        return dense  # (B, T, D)


class FeedForward(nn.Module):
    """Two linears with an activation between."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.linear1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.attention_bias)
        self.linear2 = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.attention_bias)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.dropout = config.activation_dropout

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states (B, T, D) to the same shape."""
        hidden = self.activation(self.linear1(hidden))
        out: Tensor = self.linear2(functional.dropout(hidden, self.dropout, self.training))
        return out


class Attention(nn.Module):
    """Self-attention over the whole recording, rotary positions."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, bias = config.hidden_size, config.attention_bias
        queries, keys = (heads * config.head_size for heads in (config.num_attention_heads, config.key_value_heads))
        self.head_size, self.grouped = config.head_size, queries != keys
        self.dropout = config.attention_dropout
        self.q_proj = nn.Linear(width, queries, bias=bias)
        self.k_proj = nn.Linear(width, keys, bias=bias)
        self.v_proj = nn.Linear(width, keys, bias=bias)
        self.o_proj = nn.Linear(queries, width, bias=bias)

    def forward(self, hidden: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """Hidden states (B, T, D), rotary tables and the mask of valid frames (B, T) to (B, T, D)."""
        split = (*hidden.shape[:2], -1, self.head_size)
        query, key, value = (
            project(hidden).view(split).transpose(1, 2) for project in (self.q_proj, self.k_proj, self.v_proj)
        )  # (B, H, T, D/H)
        mixed = functional.scaled_dot_product_attention(
            _rotate(query, rope),
            _rotate(key, rope),
            value,
            attn_mask=None if mask is None else mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
            enable_gqa=self.grouped,
        )
        out: Tensor = self.o_proj(mixed.transpose(1, 2).flatten(2))
        return out


class ConvolutionModule(nn.Module):
    """Pointwise, GLU, depthwise over time, batch norm, activation, pointwise; padded frames count as zeros."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, kernel, bias = config.hidden_size, config.conv_kernel_size, config.convolution_bias
        self.padding = ((kernel - 1) // 2, kernel - 1 - (kernel - 1) // 2)
        self.pointwise_conv1 = nn.Conv1d(width, 2 * width, 1, bias=bias)
        self.depthwise_conv = nn.Conv1d(width, width, kernel, groups=width, bias=bias)
        self.norm = nn.BatchNorm1d(width, momentum=config.batch_norm_momentum)
        self.pointwise_conv2 = nn.Conv1d(width, width, 1, bias=bias)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """Hidden states (B, T, D) and the mask of valid frames (B, T) to (B, T, D)."""
        hidden = functional.glu(self.pointwise_conv1(hidden.transpose(1, 2)), dim=1)  # (B, D, T)
        if mask is not None:
            hidden = hidden.masked_fill(~mask[:, None, :], 0.0)
        hidden = self.depthwise_conv(functional.pad(hidden, self.padding))
        hidden = self.activation(self.norm(hidden))
        out: Tensor = self.pointwise_conv2(hidden).transpose(1, 2)
        return out


class Block(nn.Module):
    """Feed-forward, attention, convolution, feed-forward, norm, with LASR's residual weights."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.feed_forward1 = FeedForward(config)
        self.self_attn = Attention(config)
        self.conv = ConvolutionModule(config)
        self.feed_forward2 = FeedForward(config)
        self.norm_feed_forward1 = nn.LayerNorm(width, eps, bias=False)
        self.norm_self_att = nn.LayerNorm(width, eps, bias=False)
        self.norm_conv = nn.LayerNorm(width, eps, bias=False)
        self.norm_feed_forward2 = nn.LayerNorm(width, eps, bias=False)
        self.norm_out = nn.LayerNorm(width, eps, bias=False)
        self.feed_forward_weights = config.feed_forward_residual_weights
        self.conv_weights = config.conv_residual_weights

    def forward(self, hidden: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """Hidden states (B, T, D), rotary tables and the mask of valid frames (B, T) to (B, T, D)."""
        keep, add = self.feed_forward_weights
        hidden = keep * hidden + add * self.feed_forward1(self.norm_feed_forward1(hidden))
        hidden = hidden + self.self_attn(self.norm_self_att(hidden), rope, mask)
        hidden = self.conv_weights[0] * hidden + self.conv_weights[1] * self.conv(self.norm_conv(hidden), mask)
        hidden = keep * hidden + add * self.feed_forward2(self.norm_feed_forward2(hidden))
        out: Tensor = self.norm_out(hidden)
        return out


class Encoder(nn.Module):
    """Subsampling and the stack of blocks."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.subsampler = Subsampling(config)
        self.layers = nn.ModuleList([Block(config) for _ in range(config.num_hidden_layers)])
        self.out_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps, bias=False)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Features (B, F, M) and a mask of encoder frames (B, T), True where valid, to hidden states (B, T, D)."""
        hidden = self.subsampler(features)
        cosine, sine = (
            functional.dropout(table, self.config.dropout_positions, self.training)
            for table in _rotary(self.config, hidden)
        )
        hidden = functional.dropout(hidden, self.config.dropout, self.training)
        for layer in self.layers:
            if self.training and torch.rand(()).item() < self.config.layerdrop:
                continue
            hidden = layer(hidden, (cosine, sine), mask)
        out: Tensor = self.out_norm(hidden)
        return out


class CtcHead(nn.Conv1d):
    """A 1x1 convolution, as the hub stores it, computed as a linear."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states (B, T, D) to logits (B, T, V)."""
        return functional.linear(hidden, self.weight.squeeze(-1), self.bias)


class LasrForCTC(nn.Module):
    """Features to token logits."""

    def __init__(self, config: LasrConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.encoder_config)
        self.ctc_head = CtcHead(config.encoder_config.hidden_size, config.vocab_size, 1)

    def forward(self, features: Tensor, feature_lengths: Tensor | None = None) -> Tensor:
        """Token logits.

        Args:
            features: (B, F, M) float.
            feature_lengths: (B,) valid frames of each item; None when nothing is padded.

        Returns:
            (B, T, V), of the type of the weights; frames past ``output_lengths(feature_lengths)`` mean nothing.

        Raises:
            InputError: fewer frames than one output frame sees.
        """
        if features.shape[1] < self.shortest:
            raise InputError(
                f"the recording has {features.shape[1]} feature frames; the speech model needs {self.shortest}",
                fix="record the sentence again",
                code="E_AUDIO_TOO_SHORT",
            )
        features = features.to(self.encoder.out_norm.weight.dtype)
        mask = None
        if feature_lengths is not None:
            lengths = self.output_lengths(feature_lengths)
            frames = int(self.output_lengths(torch.tensor(features.shape[1])))
            mask = torch.arange(frames, device=features.device) < lengths[:, None]
        logits: Tensor = self.ctc_head(self.encoder(features, mask))
        return logits

    @property
    def shortest(self) -> int:
        """Feature frames that one output frame sees."""
        encoder = self.config.encoder_config
        return encoder.subsampling_conv_kernel_size + encoder.subsampling_conv_stride * (
            encoder.subsampling_conv_kernel_size - 1
        )

    def output_lengths(self, feature_lengths: Tensor) -> Tensor:
        """Encoder frames for feature frames: two unpadded strided convolutions."""
        kernel = self.config.encoder_config.subsampling_conv_kernel_size
        stride = self.config.encoder_config.subsampling_conv_stride
        for _ in range(2):
            feature_lengths = torch.div(feature_lengths - kernel, stride, rounding_mode="floor") + 1
        return feature_lengths


def _rotary(config: EncoderConfig, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine tables (T, D/H), half-split layout, computed in float32."""
    size = config.head_size
    steps = torch.arange(0, size, 2, dtype=torch.float32, device=hidden.device)
    angles = torch.arange(hidden.shape[1], dtype=torch.float32, device=hidden.device)[:, None] * (
        1.0 / config.rope_theta ** (steps / size) / config.rope_factor
    )
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos().to(hidden.dtype), angles.sin().to(hidden.dtype)


def _rotate(states: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    first, second = states.chunk(2, dim=-1)
    return states * rope[0] + torch.cat((-second, first), dim=-1) * rope[1]


def _config_error(what: str) -> SetupError:
    return SetupError(
        f"config.json: {what}",
        fix="Use a MedASR folder as published, with its own config.json.",
        code="E_MODEL_CONFIG",
    )
