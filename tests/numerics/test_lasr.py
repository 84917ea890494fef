"""MedASR against transformers, on the same weights: front end, every switch of the config, batches, transcripts."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import LasrCTCConfig, LasrFeatureExtractor, LasrProcessor
from transformers import LasrForCTC as Published

from medvox.catalog import DEFAULT_ASR, WEIGHTS
from medvox.encode.speech import log_mel, log_mel_batch
from medvox.models.ctc import greedy
from medvox.models.weights import load_speech
from medvox.parse.transcript import raw_text, words_from_tokens
from medvox.types import Samples

VOCABULARY = 40
SIZES: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "subsampling_conv_channels": 32,
    "conv_kernel_size": 8,
}
SWITCHES: dict[str, dict[str, Any]] = {
    "as published": {},
    "attention bias": {"attention_bias": True},
    "convolution bias": {"convolution_bias": True},
    "odd kernel": {"conv_kernel_size": 9},
    "kernel of 1": {"conv_kernel_size": 1},
    "other subsampling": {"subsampling_conv_kernel_size": 3, "subsampling_conv_stride": 3},
    "no subsampling": {"subsampling_conv_kernel_size": 1, "subsampling_conv_stride": 1},
    "wide subsampling": {"subsampling_conv_kernel_size": 7, "subsampling_conv_channels": 20},
    "residual weights": {"feed_forward_residual_weights": [1.0, 0.25], "conv_residual_weights": [0.5, 2.0]},
    "norm eps": {"layer_norm_eps": 1e-2},
    "rotary base": {"rope_parameters": {"rope_type": "default", "rope_theta": 50.0}},
    "rotary base, flat": {"rope_theta": 50.0},
    "linear rotary": {"rope_parameters": {"rope_type": "linear", "rope_theta": 50.0, "factor": 4.0}},
    "linear rotary, old form": {"rope_scaling": {"type": "linear", "factor": 4.0}},
    "shared keys": {"num_key_value_heads": 2},
    "wide heads": {"head_dim": 20},
    "one head": {"num_attention_heads": 1},
    "80 bands": {"num_mel_bins": 80},
    **{act: {"hidden_act": act} for act in ("relu", "gelu", "gelu_new", "quick_gelu", "mish", "tanh", "swish")},
}


def published(seed: int = 0, **switches: Any) -> Any:
    """Their network, with weights and statistics large enough to make every part count."""
    torch.manual_seed(seed)
    config = LasrCTCConfig(vocab_size=VOCABULARY, encoder_config={**SIZES, **switches})
    network = Published(config).eval()
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight.copy_(torch.randn_like(weight) * 0.3 + (1.0 if "norm" in name and "weight" in name else 0.0))
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.copy_(torch.rand_like(buffer) + 0.5)
    return network


def noise(samples: int, seed: int) -> Samples:
    return (np.random.default_rng(seed).standard_normal(samples) * 0.2).astype(np.float32)


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("switches", SWITCHES.values(), ids=list(SWITCHES))
@torch.inference_mode()
def test_every_switch_of_the_config(switches: dict[str, Any], attention: str, tmp_path: Path) -> None:
    theirs = published(**switches)
    theirs.set_attn_implementation(attention)
    theirs.save_pretrained(tmp_path)
    ours = load_speech(tmp_path)
    bands = theirs.config.encoder_config.num_mel_bins
    features, lengths = log_mel_batch([noise(18_000, 1), noise(7_000, 2), noise(11_111, 3)], bands=bands)
    given = torch.from_numpy(features)
    mask = torch.arange(given.shape[1]) < torch.tensor(lengths)[:, None]
    expected = theirs(input_features=given, attention_mask=mask).logits
    got = ours(given, torch.tensor(lengths))
    assert got.shape == expected.shape
    for row, frames in enumerate(ours.output_lengths(torch.tensor(lengths)).tolist()):
        assert frames > 0
        assert relative(got[row, :frames], expected[row, :frames]) <= 1e-4


@torch.inference_mode()
def test_a_switch_that_is_ignored_would_be_seen() -> None:
    features = torch.from_numpy(log_mel(noise(9_000, 1)))[None]
    plain = published()(input_features=features).logits
    unseen = {"as published", "80 bands", "swish"}  # the same, another input, another name for the same
    for name, switches in SWITCHES.items():
        if name not in unseen:
            other = published(**switches)(input_features=features).logits
            assert other.shape != plain.shape or relative(other, plain) > 1e-3, name


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
@torch.inference_mode()
def test_weights_stored_in_half_precision_are_run_in_float32(stored: torch.dtype, tmp_path: Path) -> None:
    published().to(stored).save_pretrained(tmp_path)
    theirs = Published.from_pretrained(tmp_path, dtype=torch.float32).eval()
    features = torch.from_numpy(log_mel(noise(9_000, 1)))[None]
    ours = load_speech(tmp_path)
    assert ours.ctc_head.weight.dtype == torch.float32
    assert relative(ours(features), theirs(input_features=features).logits) <= 1e-4


@torch.inference_mode()
def test_bfloat16_is_as_coarse_as_theirs(tmp_path: Path) -> None:
    published().save_pretrained(tmp_path)
    exact = load_speech(tmp_path)
    features = torch.from_numpy(log_mel(noise(20_000, 1)))[None]
    expected = exact(features)
    ours = load_speech(tmp_path, dtype=torch.bfloat16)(features)
    theirs = (
        Published.from_pretrained(tmp_path, dtype=torch.bfloat16)
        .eval()(input_features=features.to(torch.bfloat16))
        .logits
    )
    assert ours.dtype == torch.bfloat16
    assert relative(ours.float(), expected) <= 1.5 * relative(theirs.float(), expected) + 0.01


@torch.inference_mode()
def test_a_file_without_batch_norm_counters_is_read(tmp_path: Path) -> None:
    theirs = published()
    theirs.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = {name: tensor for name, tensor in load_file(file).items() if "num_batches_tracked" not in name}
    save_file(weights, file)
    features = torch.from_numpy(log_mel(noise(9_000, 1)))[None]
    assert relative(load_speech(tmp_path)(features), theirs(input_features=features).logits) <= 1e-4


@pytest.mark.parametrize("bands", [128, 80])
def test_a_batch_of_recordings_has_their_features_and_mask(bands: int) -> None:
    sounds = [noise(samples, samples) for samples in (3_200, 2_320, 40_000, 39_999, 25_037)]
    theirs = LasrFeatureExtractor(feature_size=bands)(
        sounds, sampling_rate=16_000, return_attention_mask=True, return_tensors="np"
    )
    features, lengths = log_mel_batch(sounds, bands=bands)
    np.testing.assert_allclose(features, theirs["input_features"], atol=1e-4, rtol=0)
    assert lengths == theirs["attention_mask"].sum(axis=1).tolist()


def loud_bass_and_quiet_treble() -> Samples:
    time_s = np.arange(32_000) / 16_000
    return (0.99 * np.sin(2 * np.pi * 200 * time_s) + 2e-5 * np.sin(2 * np.pi * 5_000 * time_s)).astype(np.float32)


@pytest.mark.parametrize(
    "sound",
    [np.zeros(4_000, np.float32), np.ones(4_000, np.float32), loud_bass_and_quiet_treble(), noise(960_000, 5) * 1e-3],
    ids=["silence", "offset", "wide range", "a quiet minute"],
)
def test_sounds_that_try_the_precision(sound: Samples) -> None:
    theirs = LasrFeatureExtractor()(sound, sampling_rate=16_000, return_tensors="np")["input_features"][0]
    np.testing.assert_allclose(log_mel(sound), theirs, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model's folder, with what their processor needs to know about its tokenizer."""
    folder = tmp_path_factory.mktemp("shipped") / DEFAULT_ASR
    shutil.copytree(WEIGHTS / DEFAULT_ASR, folder)
    names = {"pad_token": "<epsilon>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "extra_ids": 0}
    settings = {"tokenizer_class": "LasrTokenizer", "processor_class": "LasrProcessor", **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def speech(shared_data: Path, count: int) -> list[Samples]:
    """Recordings of people who read aloud, of different lengths."""
    with zipfile.ZipFile(shared_data / "speech" / "librispeech.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith((".flac", ".wav")))[:count]
        clips = []
        for number, name in enumerate(names):
            with archive.open(name) as file:
                samples, rate_hz = soundfile.read(file, dtype="float32")
            assert rate_hz == 16_000
            clips.append(samples[: 16_000 * (1 + number)])
    return clips


@torch.inference_mode()
def their_texts(folder: Path, sounds: list[NDArray[np.float32]]) -> list[str]:
    processor = LasrProcessor.from_pretrained(folder)
    network = Published.from_pretrained(folder, dtype=torch.float32).eval()
    ids = network.generate(**processor(sounds, sampling_rate=16_000))
    return [" ".join(text.split()) for text in processor.batch_decode(ids, skip_special_tokens=True)]


@torch.inference_mode()
def our_texts(folder: Path, sounds: list[NDArray[np.float32]]) -> list[str]:
    network, pieces = load_speech(folder), LasrProcessor.from_pretrained(folder).tokenizer.convert_ids_to_tokens
    names = pieces(list(range(network.config.vocab_size)))
    features, lengths = log_mel_batch(sounds)
    logits = network(torch.from_numpy(features), torch.tensor(lengths))
    rows = network.output_lengths(torch.tensor(lengths)).tolist()
    tokens = [greedy(logits[i, :row], network.config.pad_token_id) for i, row in enumerate(rows)]
    known = [[token for token in heard if names[token.token_id] != "<unk>"] for heard in tokens]  # they drop it
    return [raw_text(words_from_tokens(heard, names)) for heard in known]


def test_the_shipped_folder_gives_their_transcripts_of_a_batch_of_real_speech(shipped: Path, shared_data: Path) -> None:
    sounds = speech(shared_data, 6)
    theirs = their_texts(shipped, sounds)
    assert our_texts(shipped, sounds) == theirs
    assert all(theirs)


def test_the_shipped_folder_gives_their_transcript_of_one_recording(shipped: Path) -> None:
    sound, _ = soundfile.read(WEIGHTS.parent / "samples" / "question.wav", dtype="float32")
    assert our_texts(shipped, [sound]) == their_texts(shipped, [sound]) == ["which body region does this c t scan show"]
