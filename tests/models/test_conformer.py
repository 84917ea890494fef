"""Our LASR network against transformers: same names, same numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from medvox.models.conformer import EncoderConfig, LasrConfig, LasrForCTC

SMALL = LasrConfig(
    encoder_config=EncoderConfig(
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        subsampling_conv_channels=32,
        conv_kernel_size=8,
    ),
    vocab_size=40,
)


def published(config: LasrConfig) -> Any:
    """The reference network with random weights and random batch-norm statistics."""
    configuration = pytest.importorskip("transformers.models.lasr.configuration_lasr")
    modeling = pytest.importorskip("transformers.models.lasr.modeling_lasr")
    torch.manual_seed(0)
    network = modeling.LasrForCTC(configuration.LasrCTCConfig(**config.to_hub())).eval()
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    return network


def pair() -> tuple[Any, LasrForCTC]:
    theirs = published(SMALL)
    ours = LasrForCTC(SMALL).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


def features(batch: int, frames: int) -> Tensor:
    return torch.randn(batch, frames, 128, generator=torch.Generator().manual_seed(1)) * 3 - 5


@torch.inference_mode()
def test_logits_without_padding() -> None:
    theirs, ours = pair()
    given = features(2, 150)
    torch.testing.assert_close(ours(given), theirs(input_features=given).logits, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_logits_with_padding() -> None:
    theirs, ours = pair()
    given, lengths = features(3, 140), torch.tensor([140, 101, 61])
    mask = torch.arange(140) < lengths[:, None]
    expected = theirs(input_features=given, attention_mask=mask).logits
    got = ours(given, lengths)
    for row, frames in enumerate(ours.output_lengths(lengths).tolist()):
        torch.testing.assert_close(got[row, :frames], expected[row, :frames], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_padding_does_not_change_a_recording() -> None:
    _, ours = pair()
    alone = features(1, 61)
    padded = torch.cat([alone, torch.full((1, 40, 128), -11.5)], dim=1)
    batch = torch.cat([padded, features(1, 101)])
    frames = int(ours.output_lengths(torch.tensor(61)))
    got = ours(batch, torch.tensor([61, 101]))[0, :frames]
    torch.testing.assert_close(got, ours(alone)[0], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_the_shortest_input_gives_one_frame() -> None:
    _, ours = pair()
    assert ours(features(1, 13)).shape == (1, 1, 40)


def test_the_published_config_has_the_published_size() -> None:
    with torch.device("meta"):
        network = LasrForCTC(LasrConfig.from_hub({"model_type": "lasr_ctc", "encoder_config": {}}))
    assert sum(parameter.numel() for parameter in network.parameters()) == 105_265_408


def test_every_published_name_and_shape() -> None:
    configuration = pytest.importorskip("transformers.models.lasr.configuration_lasr")
    modeling = pytest.importorskip("transformers.models.lasr.modeling_lasr")
    with torch.device("meta"):
        theirs = modeling.LasrForCTC(configuration.LasrCTCConfig())
        ours = LasrForCTC(LasrConfig(encoder_config=EncoderConfig()))
    shapes = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == shapes


def test_a_config_survives_the_hub_form() -> None:
    assert LasrConfig.from_hub(SMALL.to_hub()) == SMALL


def test_a_hub_config_with_other_rotary_base() -> None:
    hub = {"encoder_config": {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}}
    assert LasrConfig.from_hub(hub).encoder_config.rope_theta == 500.0
