"""A Conformer's weights -> the graph that OpenVINO runs, in float or with 8-bit products.

Beside ``models/conformer``, whose numbers it gives; ``models/openvino_speech`` compiles and keeps it. Knows no file and
no sound. Shapes as in ``models/conformer``: B batch, F feature frames, T encoder frames, M mel bands, D width, H heads,
V tokens.

The graph is made for speed, in four ways that do not change its numbers: the gains of norms live in the weights behind
them; the residual stream is divided by the factors that blocks multiply it with, so that adding is all that is left;
batch norms live in the convolutions before them; the two halves of a gate are two products. 8-bit products round their
input on one scale a tensor, fixed by ``activation_ranges``, and their weights on one a row. The depthwise convolutions,
the softmax with what follows it, and the sums are never rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import openvino as ov
import openvino.opset15 as ops
import torch
from numpy.typing import NDArray
from openvino import Node
from torch import Tensor, nn
from torch.nn import functional

from medvox.errors import SetupError
from medvox.models.conformer import Attention, Block, ConvolutionModule, CtcHead, FeedForward, LasrForCTC

LEVELS = 127  # of a signed 8-bit number, on each side of 0
MOST_ROWS = 10_000  # encoder frames (400 s) for which rotary tables are stored

SHARE = 0.3  # of a channel's size that its weights take over; the rest stays in the input


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Lowest and highest value of each channel, (channels,)."""

    low: Tensor
    high: Tensor


Ranges = Mapping[str, Range]  # by place: the name of the module that the tensor enters, or a norm's that it leaves
NO_RANGES: Ranges = {}
Wave = Callable[[Node], Node]


def _leaky(hidden: Node) -> Node:
    return ops.prelu(hidden, _constant(np.float32(0.01)))


ACTIVATIONS: dict[str, Wave] = {
    "silu": lambda hidden: ops.swish(hidden),
    "swish": lambda hidden: ops.swish(hidden),
    "relu": lambda hidden: ops.relu(hidden),
    "relu6": lambda hidden: ops.clamp(hidden, 0.0, 6.0),
    "gelu": lambda hidden: ops.gelu(hidden, "erf"),
    "gelu_new": lambda hidden: ops.gelu(hidden, "tanh"),
    "gelu_fast": lambda hidden: ops.gelu(hidden, "tanh"),
    "gelu_pytorch_tanh": lambda hidden: ops.gelu(hidden, "tanh"),
    "quick_gelu": lambda hidden: ops.swish(hidden, _constant(np.float32(1.702))),
    "hardswish": lambda hidden: ops.hswish(hidden),
    "leaky_relu": _leaky,
    "mish": lambda hidden: ops.mish(hidden),
    "sigmoid": lambda hidden: ops.sigmoid(hidden),
    "tanh": lambda hidden: ops.tanh(hidden),
}


def speech_graph(network: LasrForCTC, ranges: Ranges = NO_RANGES) -> ov.Model:
    """The graph of a network, for recordings of one length, of up to ``MOST_ROWS``.

    Args:
        network: float32, on the CPU; its weights are copied.
        ranges: of ``activation_ranges``; products whose place it lacks stay in float.

    Returns:
        Features (B, F, M) float32 to logits (B, T, V). After ``reshape`` to a fixed length it is a sixth faster.
    """
    return _Graph(network, ranges).model()


@torch.inference_mode()
def activation_ranges(network: LasrForCTC, clips: Sequence[Tensor]) -> dict[str, Range]:
    """Between what bounds the inputs of products lie on typical speech, by place.

    Args:
        network: float32.
        clips: log-mel features of speech, each (F, M).
    """
    seen: dict[str, Range] = {}

    def note(place: str, states: Tensor) -> None:
        low, high = (states.amin(dim=(0, 1)), states.amax(dim=(0, 1)))
        before = seen.get(place, Range(low=low, high=high))
        seen[place] = Range(low=torch.minimum(low, before.low), high=torch.maximum(high, before.high))

    with _watched(network, note):
        for clip in clips:
            network(clip[None])
    return seen


@contextmanager
def _watched(network: LasrForCTC, note: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Notes what goes into products, (B, T, channels): past norms before their gains; queries and keys in size only."""

    def entering(place: str, module: nn.Module) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        channels_first = isinstance(module, nn.Conv1d) and not isinstance(module, CtcHead)
        return lambda _, inputs: note(place, inputs[0].transpose(1, 2) if channels_first else inputs[0])

    def normed(place: str, norm: nn.LayerNorm) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: note(place, functional.layer_norm(inputs[0], norm.normalized_shape, eps=norm.eps))

    def rotating(place: str, size: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _, inputs, out: note(
            place, out.unflatten(-1, (-1, 2, size // 2)).norm(dim=-2).flatten(1)[..., None]
        )

    hooks = []
    for place, module in network.named_modules():
        if isinstance(module, nn.LayerNorm):
            hooks.append(module.register_forward_pre_hook(normed(place, module)))
        elif isinstance(module, nn.Linear | nn.Conv1d):
            hooks.append(module.register_forward_pre_hook(entering(place, module)))
        elif isinstance(module, Attention):
            for name in ("q_proj", "k_proj"):
                project = module.get_submodule(name)
                hooks.append(project.register_forward_hook(rotating(f"{place}.{name}.out", module.head_size)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rotary:
    """Rotary tables, (1, 1, T, D/H)."""

    cosine: Node
    sine: Node


@dataclass(frozen=True, kw_only=True, slots=True)
class _Branch:
    """What a branch of a block starts from.

    Attributes:
        hidden: normed hidden states (B, T, D), before the gain.
        gain: (D,), for the weights behind.
        place: name of the norm.
        scale: what the branch has to be multiplied with.
    """

    hidden: Node
    gain: Tensor
    place: str
    scale: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Inlet:
    """The input of a product: ``hidden = true input / spread + shift``.

    Attributes:
        hidden: in 8 bits where ``rounded``.
        spread: (channels,).
        shift: what makes it positive, after the division.
        rounded: whether the product is one of 8-bit numbers.
    """

    hidden: Node
    spread: Tensor
    shift: float = 0.0
    rounded: bool = True


class _Graph:
    """Builds the graph; its methods take and give nodes."""

    def __init__(self, network: LasrForCTC, ranges: Ranges) -> None:
        self.network, self.ranges = network, ranges
        self.config = network.config.encoder_config
        for weights in (self.config.feed_forward_residual_weights, self.config.conv_residual_weights):
            if weights[0] <= 0:
                raise SetupError(
                    "OpenVINO does not run this network: a residual weight is not above 0",
                    fix="run it without OpenVINO, in fp32",
                    code="E_SPEECH_GRAPH",
                )
        self.activation = ACTIVATIONS[self.config.hidden_act]
        self.places = {module: name for name, module in network.named_modules()}

    def model(self) -> ov.Model:
        encoder, head = self.network.encoder, self.network.ctc_head
        features = ops.parameter([-1, -1, self.config.num_mel_bins], np.float32, name="features")
        hidden = self.subsample(features)
        rotary = self.rotary(hidden)
        for block in encoder.layers:
            hidden = self.block(hidden, cast(Block, block), rotary)
        weight = head.weight[:, :, 0] * encoder.out_norm.weight
        inlet = self.inlet(_norm(hidden, encoder.out_norm.eps), self.places[encoder.out_norm], weight)
        return ov.Model([ops.result(self.product(inlet, weight, head.bias))], [features], "lasr")

    def rotary(self, hidden: Node) -> _Rotary:
        size = self.config.head_size
        steps = np.arange(0, size, 2, dtype=np.float32)
        rates = 1.0 / np.float32(self.config.rope_theta) ** (steps / size) / np.float32(self.config.rope_factor)
        angles = np.tile(np.arange(MOST_ROWS, dtype=np.float32)[:, None] * rates, 2)[None, None]
        rows = ops.gather(ops.shape_of(hidden), _indices(1), _constant(np.int64(0)))
        cosine, sine = (
            ops.slice(_constant(table), _indices(0), rows, _indices(1), _indices(2))
            for table in (np.cos(angles), np.sin(angles))
        )
        return _Rotary(cosine=cosine, sine=sine)

    def subsample(self, features: Node) -> Node:
        part, stride = self.network.encoder.subsampler, self.config.subsampling_conv_stride
        hidden = _plus(ops.matmul(features, _constant(part.dense_0.weight), False, True), part.dense_0.bias)
        hidden = _transposed(ops.relu(hidden), 0, 2, 1)  # (B, D, F)
        for convolution in (part.conv_0, part.conv_1):
            inlet = self.inlet(hidden, self.places[convolution], convolution.weight, axis=1)
            weight, _ = self.weight(convolution.weight, inlet)
            hidden = ops.convolution(inlet.hidden, weight, [stride], [0], [0], [1])
            hidden = ops.relu(_plus(hidden, cast(Tensor, convolution.bias)[:, None]))
        return self.through(_transposed(hidden, 0, 2, 1), part.dense_1)

    def block(self, hidden: Node, block: Block, rotary: _Rotary) -> Node:
        """Four branches. On the way ``hidden`` stands for ``size * hidden``, so norms have their epsilon divided."""
        (keep, add), (keep_conv, add_conv) = block.feed_forward_weights, block.conv_weights
        branches: tuple[tuple[nn.LayerNorm, float, float, Callable[[_Branch], Node]], ...] = (
            (block.norm_feed_forward1, keep, add, partial(self.feed_forward, block.feed_forward1)),
            (block.norm_self_att, 1.0, 1.0, partial(self.attend, block.self_attn, rotary)),
            (block.norm_conv, keep_conv, add_conv, partial(self.convolve, block.conv)),
            (block.norm_feed_forward2, keep, add, partial(self.feed_forward, block.feed_forward2)),
        )
        size = 1.0
        for norm, kept, added, follow in branches:
            place, normed = self.places[norm], _norm(hidden, norm.eps / size**2)
            size *= kept
            branch = _Branch(hidden=normed, gain=norm.weight, place=place, scale=added / size)
            hidden = ops.add(hidden, follow(branch))
        return ops.multiply(_norm(hidden, block.norm_out.eps / size**2), _constant(block.norm_out.weight))

    def feed_forward(self, part: FeedForward, branch: _Branch) -> Node:
        weight = part.linear1.weight * branch.gain
        wide = self.product(self.inlet(branch.hidden, branch.place, weight), weight, part.linear1.bias)
        return self.through(self.activation(wide), part.linear2, branch.scale)

    def attend(self, part: Attention, rotary: _Rotary, branch: _Branch) -> Node:
        heads, size = self.config.num_attention_heads, self.config.head_size
        groups, projects = heads // self.config.key_value_heads, (part.q_proj, part.k_proj, part.v_proj)
        weights = [project.weight * branch.gain for project in projects]
        inlet = self.inlet(branch.hidden, branch.place, torch.cat(weights))

        def split(number: int, repeat: int, factor: float = 1.0) -> Node:
            """To (B, H, T, D/H); heads that several queries share are repeated."""
            bias = _times(projects[number].bias, factor)
            weight = _repeated(weights[number] * factor, repeat, size)
            hidden = self.product(inlet, weight, None if bias is None else _repeated(bias, repeat, size))
            return _transposed(ops.reshape(hidden, _indices(0, 0, heads, size), True), 0, 2, 1, 3)

        factor = size**-0.5
        query, key, value = _rotated(split(0, 1, factor), rotary), _rotated(split(1, groups), rotary), split(2, groups)
        query = self.rounded(query, f"{self.places[part.q_proj]}.out", factor)
        key = self.rounded(key, f"{self.places[part.k_proj]}.out")
        scores = ops.softmax(ops.matmul(query, key, False, True), -1)
        mixed = _transposed(ops.matmul(scores, value, False, False), 0, 2, 1, 3)
        return self.through(ops.reshape(mixed, _indices(0, 0, heads * size), True), part.o_proj, branch.scale)

    def convolve(self, part: ConvolutionModule, branch: _Branch) -> Node:
        norm, depthwise, first = part.norm, part.depthwise_conv, part.pointwise_conv1
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        scale = norm.weight / torch.sqrt(variance + norm.eps)
        shift = norm.bias + scale * ((0.0 if depthwise.bias is None else depthwise.bias) - mean)
        weight = first.weight[:, :, 0] * branch.gain
        inlet = self.inlet(branch.hidden, branch.place, weight)
        biases = (None, None) if first.bias is None else first.bias.chunk(2)
        value, gate = (self.product(inlet, *half) for half in zip(weight.chunk(2), biases, strict=True))
        hidden = _transposed(ops.multiply(value, ops.sigmoid(gate)), 0, 2, 1)  # (B, D, T)
        kernel, (before, after) = _constant((depthwise.weight * scale[:, None, None])[:, None]), part.padding
        hidden = ops.group_convolution(hidden, kernel, [1], [before], [after], [1])
        hidden = _transposed(self.activation(_plus(hidden, shift[:, None])), 0, 2, 1)
        return self.through(hidden, part.pointwise_conv2, branch.scale)

    def through(self, hidden: Node, module: nn.Linear | nn.Conv1d, scale: float = 1.0) -> Node:
        """Hidden states (B, T, in) through a linear or a 1x1 convolution."""
        weight = (module.weight if module.weight.ndim == 2 else module.weight[:, :, 0]) * scale
        return self.product(self.inlet(hidden, self.places[module], weight), weight, _times(module.bias, scale))

    def product(self, inlet: _Inlet, weight: Tensor, bias: Tensor | None) -> Node:
        """The input (B, T, in) with a weight (out, in)."""
        stored, correction = self.weight(weight, inlet)
        product = ops.matmul(inlet.hidden, stored, False, True)
        if inlet.shift:
            bias = correction if bias is None else bias + correction
        return product if bias is None else _plus(product, bias)

    def inlet(self, hidden: Node, place: str, weight: Tensor, axis: int = 2) -> _Inlet:
        """Rounds the input of products with a weight (out, in, ...) to 8 bits; its channels lie along the axis.

        Channels that are large against their weights give some of their size to them (SmoothQuant). What is hardly
        below 0, as activations leave it, is shifted above it and has all the levels for itself.
        """
        channels = weight.shape[1]
        if place not in self.ranges:
            return _Inlet(hidden=hidden, spread=torch.ones(channels), rounded=False)
        low, high = self.ranges[place].low, self.ranges[place].high
        spread = _spread(torch.maximum(high, -low), weight)
        least, most = float((low / spread).min()), float((high / spread).max())
        one_sided = -least < most / 2
        shift = max(0.0, -least) if one_sided else 0.0
        size = max(most + shift, 0.0 if one_sided else -least, 1e-9)
        lowest = 0.0 if one_sided else -size * (LEVELS + 1) / LEVELS
        shrink = (1 / spread).reshape([1, -1, 1] if axis == 1 else [1, 1, -1])
        bounds = (lowest - shift, size - shift, lowest, size)
        shrunk = ops.multiply(hidden, _constant(shrink))
        rounded = ops.fake_quantize(shrunk, *(_constant(np.float32(bound)) for bound in bounds), 256)
        return _Inlet(hidden=rounded, spread=spread, shift=shift)

    def rounded(self, states: Node, place: str, factor: float = 1.0) -> Node:
        """Queries or keys in 8 bits; ``factor`` is what they were multiplied with since they were watched."""
        if place not in self.ranges:
            return states
        high = float(self.ranges[place].high.max()) * factor + 1e-9
        low, high = _constant(np.float32(-high * (LEVELS + 1) / LEVELS)), _constant(np.float32(high))
        return ops.fake_quantize(states, low, high, low, high, 256)

    def weight(self, weight: Tensor, inlet: _Inlet) -> tuple[Node, Tensor]:
        """A weight (out, in, ...) as its inlet needs it, and what undoes the inlet's shift, (out,)."""
        spread = inlet.spread.reshape(-1, *[1] * (weight.ndim - 2))
        values = _array(weight * spread)
        if not inlet.rounded:
            return _constant(values), torch.zeros(len(values))
        scales = np.maximum(np.abs(values.reshape(len(values), -1)).max(axis=1), 1e-12) / LEVELS
        scales = scales.reshape(-1, *[1] * (values.ndim - 1)).astype(np.float32)
        whole = np.clip(np.rint(values / scales), -LEVELS, LEVELS).astype(np.int8)
        correction = -inlet.shift * torch.from_numpy(whole * scales).flatten(1).sum(dim=1)
        return ops.multiply(ops.convert(_constant(whole), np.float32), _constant(scales)), correction


def _spread(size: Tensor, weight: Tensor) -> Tensor:
    """By how much each channel of a product's input is divided, given its size and the weight (out, in, ...)."""
    beside = weight.detach().abs().transpose(0, 1).flatten(1).amax(dim=1)
    size, beside = (part.clamp_min(1e-3 * float(part.max()) + 1e-9) for part in (size, beside))
    return size**SHARE / beside ** (1 - SHARE)


def _norm(hidden: Node, eps: float) -> Node:
    return ops.mvn(hidden, _indices(-1), True, float(eps), "inside_sqrt")


def _rotated(states: Node, rotary: _Rotary) -> Node:
    half = states.get_output_partial_shape(0)[3].get_length() // 2
    first, second = ops.variadic_split(states, _constant(np.int64(3)), _indices(half, half)).outputs()
    turned = ops.concat([ops.multiply(second, _constant(np.float32(-1))), first], -1)
    return ops.add(ops.multiply(states, rotary.cosine), ops.multiply(turned, rotary.sine))


def _plus(hidden: Node, bias: Tensor) -> Node:
    return ops.add(hidden, _constant(bias[None] if bias.ndim > 1 else bias[None, None]))


def _transposed(hidden: Node, *order: int) -> Node:
    return ops.transpose(hidden, _indices(*order))


def _times(bias: Tensor | None, factor: float) -> Tensor | None:
    return None if bias is None else bias * factor


def _repeated(rows: Tensor, repeat: int, size: int) -> Tensor:
    """Rows (H * D/H, ...) with every head ``repeat`` times."""
    return rows.unflatten(0, (-1, size)).repeat_interleave(repeat, dim=0).flatten(0, 1)


def _indices(*values: int) -> Node:
    return _constant(np.array(values, np.int64))


def _constant(values: Any) -> Node:
    return ops.constant(_array(values) if isinstance(values, Tensor) else np.asarray(values))


def _array(values: Tensor) -> NDArray[np.float32]:
    return values.detach().float().contiguous().numpy()
