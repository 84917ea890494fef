"""Model folders: what is saved is loaded, and every broken folder is refused with its reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from medvox.errors import SetupError
from medvox.models.conformer import EncoderConfig, LasrConfig, LasrForCTC
from medvox.models.vlm import MedGemma, VlmConfig
from medvox.models.weights import load_speech, load_vlm, save_folder, weights_hash


@pytest.fixture
def folder(model: MedGemma, tmp_path: Path) -> Path:
    """The tiny model on disk."""
    save_folder(model, model.config.to_hub(), tmp_path / "tiny", torch.float32)
    return tmp_path / "tiny"


def _edit(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    path = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors)
    save_file(tensors, path)


def _code(folder: Path) -> str:
    with pytest.raises(SetupError) as caught:
        load_vlm(folder)
    assert str(folder.parent) not in caught.value.message
    return caught.value.code


def _same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(tensor, other[name]) for name, tensor in first.state_dict().items())


def test_what_is_saved_is_loaded(folder: Path, model: MedGemma) -> None:
    loaded = load_vlm(folder)
    assert loaded.config == model.config
    assert not loaded.training
    assert _same(loaded, model)


def test_files_carry_the_published_names(folder: Path) -> None:
    names = set(load_file(folder / "model.safetensors"))
    assert "language_model.model.layers.0.self_attn.q_proj.weight" in names
    assert "vision_tower.vision_model.post_layernorm.bias" in names
    assert "multi_modal_projector.mm_input_projection_weight" in names
    assert not [name for name in names if "lm_head" in name]


@pytest.mark.parametrize("vision", ["model.vision_tower.", "model.vision_tower.vision_model."])
def test_newer_names_are_read_too(folder: Path, model: MedGemma, vision: str) -> None:
    def rename(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            new = name.replace("vision_tower.vision_model.", vision)
            new = new.replace("language_model.model.", "model.language_model.")
            new = new.replace("multi_modal_projector.", "model.multi_modal_projector.")
            tensors[new] = tensors.pop(name)

    _edit(folder, rename)
    assert _same(load_vlm(folder), model)


def test_a_text_only_model_is_saved_and_loaded(tmp_path: Path, model: MedGemma) -> None:
    text = MedGemma(VlmConfig.from_hub({**model.config.text.to_hub(), "model_type": "gemma3_text"}))
    text.initialise(seed=0)
    save_folder(text, text.config.to_hub(), tmp_path, torch.float32)
    assert "model.embed_tokens.weight" in load_file(tmp_path / "model.safetensors")
    assert _same(load_vlm(tmp_path), text)


def test_a_small_model_is_loaded_in_float32(tmp_path: Path, model: MedGemma) -> None:
    save_folder(model, model.config.to_hub(), tmp_path, torch.float16)
    assert load_file(tmp_path / "model.safetensors")["language_model.model.norm.weight"].dtype == torch.float16
    assert {weight.dtype for weight in load_vlm(tmp_path).parameters()} == {torch.float32}


def test_a_dtype_can_be_asked_for(folder: Path) -> None:
    assert {weight.dtype for weight in load_vlm(folder, dtype=torch.bfloat16).parameters()} == {torch.bfloat16}


def test_shards_are_joined_by_their_index(folder: Path, model: MedGemma) -> None:
    tensors = load_file(folder / "model.safetensors")
    where = {name: f"model-{at % 2 + 1:05}-of-00002.safetensors" for at, name in enumerate(sorted(tensors))}
    for file in set(where.values()):
        save_file({name: tensors[name] for name in where if where[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    (folder / "model.safetensors").unlink()
    assert _same(load_vlm(folder), model)
    assert len(weights_hash(folder)) == 64


def test_a_stored_head_equal_to_the_embeddings_is_accepted(folder: Path, model: MedGemma) -> None:
    embedding = model.decoder.embed_tokens.weight.detach()
    _edit(folder, lambda tensors: tensors.update({"language_model.lm_head.weight": embedding.clone()}))
    assert _same(load_vlm(folder), model)


def test_the_hash_is_that_of_the_file(folder: Path) -> None:
    assert weights_hash(folder) == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_the_same_weights_have_the_same_hash(folder: Path, tmp_path: Path, model: MedGemma) -> None:
    save_folder(model, model.config.to_hub(), tmp_path / "again", torch.float32)
    assert weights_hash(tmp_path / "again") == weights_hash(folder)


def test_a_speech_model_is_saved_and_loaded(tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "subsampling_conv_channels": 8}
    config = LasrConfig(encoder_config=EncoderConfig(num_hidden_layers=2, **sizes), vocab_size=20)
    speech = LasrForCTC(config).eval()
    save_folder(speech, config.to_hub(), tmp_path, torch.float32)
    loaded = load_speech(tmp_path)
    assert _same(loaded, speech)
    assert loaded(torch.zeros(1, 40, 128)).shape[-1] == 20


def test_a_vision_model_is_no_speech_model(folder: Path) -> None:
    with pytest.raises(SetupError) as caught:
        load_speech(folder)
    assert caught.value.code == "E_MODEL_TYPE"


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert _code(tmp_path / "nothing") == "E_MODEL_MISSING"


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_broken_config_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert _code(folder) == "E_MODEL_CONFIG"


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert _code(folder) == "E_WEIGHTS_MISSING"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.gguf"])
def test_other_formats_are_refused_and_not_opened(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    assert _code(folder) == "E_WEIGHTS_FORMAT"


@pytest.mark.parametrize("name", ["model-00002-of-00002.safetensors", "../model.safetensors"])
def test_a_missing_shard_is_refused(folder: Path, name: str) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    assert _code(folder) == "E_WEIGHTS_MISSING"


@pytest.mark.parametrize("size", [4, 1000, -1])
def test_a_truncated_file_is_refused(folder: Path, size: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    assert _code(folder) == "E_WEIGHTS_BROKEN"


def test_a_missing_tensor_is_named(folder: Path) -> None:
    _edit(folder, lambda tensors: tensors.pop("language_model.model.norm.weight"))
    with pytest.raises(SetupError, match=r"model\.language_model\.norm\.weight") as caught:
        load_vlm(folder)
    assert caught.value.code == "E_WEIGHTS_MISSING_TENSOR"


def test_an_unexpected_tensor_is_refused(folder: Path) -> None:
    _edit(folder, lambda tensors: tensors.update(extra=torch.zeros(1)))
    assert _code(folder) == "E_WEIGHTS_UNEXPECTED"


def test_a_head_that_differs_from_the_embeddings_is_refused(folder: Path) -> None:
    _edit(folder, lambda tensors: tensors.update({"lm_head.weight": torch.zeros(96, 32)}))
    assert _code(folder) == "E_WEIGHTS_UNEXPECTED"


def test_a_tensor_of_another_shape_is_refused(folder: Path) -> None:
    _edit(folder, lambda tensors: tensors.update({"language_model.model.norm.weight": torch.zeros(31)}))
    assert _code(folder) == "E_WEIGHTS_SHAPE"


def test_quantised_weights_are_refused(folder: Path) -> None:
    name = "language_model.model.norm.weight"
    _edit(folder, lambda tensors: tensors.update({name: torch.zeros(32, dtype=torch.uint8)}))
    assert _code(folder) == "E_WEIGHTS_SHAPE"
