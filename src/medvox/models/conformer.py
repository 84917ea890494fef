"""The LASR (MedASR) Conformer with a CTC head, in plain PyTorch, with the hub's parameter names.

Next in the path: ``models/ctc``. Knows no file, no sound and no text.
Source: transformers ``models/lasr``. Shapes: B batch, F feature frames, T encoder frames (4x fewer), M mel bands,
D width, H heads, V tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderConfig:
    """``encoder_config`` of a hub ``lasr_ctc`` folder; defaults are MedASR's."""

    hidden_size: int = 512
    num_hidden_layers: int = 17
    num_attention_heads: int = 8
    intermediate_size: int = 2048
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
    dropout: float = 0.1
    activation_dropout: float = 0.1
    attention_dropout: float = 0.1
    layerdrop: float = 0.1

    @classmethod
    def from_hub(cls, config: dict[str, Any]) -> EncoderConfig:
        """From the hub's JSON; keys that do not change the network are ignored."""
        known = {field.name for field in fields(cls)}
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in config.items() if key in known
        }
        rope = config.get("rope_parameters") or {}
        if "rope_theta" in rope:
            values["rope_theta"] = float(rope["rope_theta"])
        return cls(**values)


@dataclass(frozen=True, kw_only=True, slots=True)
class LasrConfig:
    """``config.json`` of a hub ``lasr_ctc`` folder. The blank is ``pad_token_id``."""

    encoder_config: EncoderConfig
    vocab_size: int = 512
    pad_token_id: int = 0

    @classmethod
    def from_hub(cls, config: dict[str, Any]) -> LasrConfig:
        """From the hub's JSON."""
        return cls(
            encoder_config=EncoderConfig.from_hub(config.get("encoder_config") or {}),
            vocab_size=config.get("vocab_size", 512),
            pad_token_id=config.get("pad_token_id", 0),
        )

    def to_hub(self) -> dict[str, Any]:
        """The hub's JSON, which transformers reads as well."""
        encoder = {field.name: getattr(self.encoder_config, field.name) for field in fields(self.encoder_config)}
        rope_theta = encoder.pop("rope_theta")
        encoder |= {
            "model_type": "lasr_encoder",
            "hidden_act": "silu",
            "attention_bias": False,
            "convolution_bias": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": rope_theta},
        }
        return {
            "architectures": ["LasrForCTC"],
            "model_type": "lasr_ctc",
            "vocab_size": self.vocab_size,
            "pad_token_id": self.pad_token_id,
            "ctc_loss_reduction": "mean",
            "ctc_zero_infinity": True,
            "encoder_config": encoder,
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
    """Two linears with SiLU between."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.linear1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.linear2 = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.dropout = config.activation_dropout

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states (B, T, D) to the same shape."""
        hidden = functional.silu(self.linear1(hidden))
        out: Tensor = self.linear2(functional.dropout(hidden, self.dropout, self.training))
        return out


class Attention(nn.Module):
    """Self-attention over the whole recording, rotary positions."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.dropout = config.attention_dropout
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, hidden: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """Hidden states (B, T, D), rotary tables and the mask of valid frames (B, T) to (B, T, D)."""
        split = (*hidden.shape[:2], self.heads, -1)
        query, key, value = (
            project(hidden).view(split).transpose(1, 2) for project in (self.q_proj, self.k_proj, self.v_proj)
        )  # (B, H, T, D/H)
        mixed = functional.scaled_dot_product_attention(
            _rotate(query, rope),
            _rotate(key, rope),
            value,
            attn_mask=None if mask is None else mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        out: Tensor = self.o_proj(mixed.transpose(1, 2).flatten(2))
        return out


class ConvolutionModule(nn.Module):
    """Pointwise, GLU, depthwise over time, batch norm, SiLU, pointwise; padded frames enter the depthwise as zeros."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, kernel = config.hidden_size, config.conv_kernel_size
        self.padding = ((kernel - 1) // 2, kernel - 1 - (kernel - 1) // 2)
        self.pointwise_conv1 = nn.Conv1d(width, 2 * width, 1, bias=False)
        self.depthwise_conv = nn.Conv1d(width, width, kernel, groups=width, bias=False)
        self.norm = nn.BatchNorm1d(width, momentum=config.batch_norm_momentum)
        self.pointwise_conv2 = nn.Conv1d(width, width, 1, bias=False)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """Hidden states (B, T, D) and the mask of valid frames (B, T) to (B, T, D)."""
        hidden = functional.glu(self.pointwise_conv1(hidden.transpose(1, 2)), dim=1)  # (B, D, T)
        if mask is not None:
            hidden = hidden.masked_fill(~mask[:, None, :], 0.0)
        hidden = self.depthwise_conv(functional.pad(hidden, self.padding))
        hidden = functional.silu(self.norm(hidden))
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
        rope = _rotary(self.config, hidden)
        hidden = functional.dropout(hidden, self.config.dropout, self.training)
        for layer in self.layers:
            if self.training and torch.rand(()).item() < self.config.layerdrop:
                continue
            hidden = layer(hidden, rope, mask)
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
            (B, T, V); frames past ``output_lengths(feature_lengths)`` mean nothing.
        """
        mask = None
        if feature_lengths is not None:
            lengths = self.output_lengths(feature_lengths)
            frames = int(self.output_lengths(torch.tensor(features.shape[1])))
            mask = torch.arange(frames, device=features.device) < lengths[:, None]
        logits: Tensor = self.ctc_head(self.encoder(features, mask))
        return logits

    def output_lengths(self, feature_lengths: Tensor) -> Tensor:
        """Encoder frames for feature frames: two unpadded strided convolutions."""
        kernel = self.config.encoder_config.subsampling_conv_kernel_size
        stride = self.config.encoder_config.subsampling_conv_stride
        for _ in range(2):
            feature_lengths = torch.div(feature_lengths - kernel, stride, rounding_mode="floor") + 1
        return feature_lengths


def _rotary(config: EncoderConfig, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine tables (T, D/H), half-split layout, computed in float32."""
    size = config.hidden_size // config.num_attention_heads
    steps = torch.arange(0, size, 2, dtype=torch.float32, device=hidden.device)
    angles = torch.arange(hidden.shape[1], dtype=torch.float32, device=hidden.device)[:, None] * (
        1.0 / config.rope_theta ** (steps / size)
    )
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos().to(hidden.dtype), angles.sin().to(hidden.dtype)


def _rotate(states: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    first, second = states.chunk(2, dim=-1)
    return states * rope[0] + torch.cat((-second, first), dim=-1) * rope[1]
