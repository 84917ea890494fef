"""The speech network through OpenVINO against PyTorch, the cache of its graphs, and what happens without OpenVINO."""

from __future__ import annotations

import builtins
import importlib.util
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medvox.catalog import DEFAULT_ASR, resolve_model
from medvox.dictate import load_recogniser, transcribe
from medvox.encode.speech import log_mel
from medvox.errors import InputError, ModelError, SetupError, UsageError
from medvox.models import openvino_speech, speech_engine
from medvox.models.conformer import EncoderConfig, LasrConfig, LasrForCTC
from medvox.models.listening import logits_of
from medvox.models.live import Live
from medvox.models.openvino_speech import OpenVinoSpeech, Precision, load_openvino_speech
from medvox.models.openvino_state import graph_cache, openvino_fault
from medvox.models.speech_engine import open_engine
from medvox.models.weights import load_speech, save_folder
from medvox.train import human_speech
from medvox.types import Features

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino, of the extra `fast`, is not installed"
)
QUESTION = Path(__file__).parents[2] / "src" / "medvox" / "samples" / "question.wav"
SMALL = EncoderConfig(
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=128,
    subsampling_conv_channels=32,
    num_mel_bins=80,
)
KINDS = {
    "published": SMALL,
    "grouped heads, biases, another activation": replace(
        SMALL, num_key_value_heads=2, attention_bias=True, convolution_bias=True, hidden_act="gelu_new", head_dim=32
    ),
    "odd kernel, stretched rotary positions": replace(SMALL, conv_kernel_size=7, rope_theta=500.0, rope_factor=2.0),
    "other residual weights, relu": replace(
        SMALL, feed_forward_residual_weights=(1.0, 0.7), conv_residual_weights=(1.3, 0.4), hidden_act="relu"
    ),
    "other subsampling": replace(SMALL, subsampling_conv_kernel_size=3, subsampling_conv_stride=3),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDVOX_CACHE", str(tmp_path / "cache"))
    return graph_cache()


@torch.no_grad()
def network_of(encoder: EncoderConfig, seed: int = 0) -> LasrForCTC:
    """Random weights, none of which is neutral: norms, batch statistics and biases too."""
    torch.manual_seed(seed)
    network = LasrForCTC(LasrConfig(encoder_config=encoder, vocab_size=40)).eval()
    for name, tensor in network.state_dict().items():
        if "running_mean" in name or name.endswith("bias"):
            tensor.normal_(0, 0.3)
        elif "norm" in name and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    network.ctc_head.weight.mul_(8)
    return network


def folder_of(network: nn.Module, path: Path) -> Path:
    save_folder(network, network.config.to_hub(), path, torch.float32)  # type: ignore[union-attr,operator,arg-type]
    return path


def sound(frames: int, batch: int = 1, seed: int = 1) -> Tensor:
    return torch.randn(batch, frames, 80, generator=torch.Generator().manual_seed(seed)) * 3 - 5


def typical() -> Sequence[Features]:
    return [sound(400, seed=seed)[0].numpy() for seed in (2, 3)]


def loaded(network: LasrForCTC, path: Path, precision: Precision) -> OpenVinoSpeech:
    return load_openvino_speech(folder_of(network, path), precision, typical)


@torch.inference_mode()
def relative_error(ours: nn.Module, reference: nn.Module, *given: Any) -> float:
    right = reference(*given)
    return float((ours(*given) - right).abs().max() / right.abs().max())


@needs_openvino
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frames", [26, 143, 500, 703])
def test_fp32_gives_the_numbers_of_pytorch(kind: str, frames: int, tmp_path: Path) -> None:
    network = network_of(KINDS[kind])
    assert relative_error(loaded(network, tmp_path, "fp32"), network, sound(frames)) < 1e-4


@needs_openvino
@torch.inference_mode()
def test_each_of_a_padded_batch_is_heard_as_if_alone(tmp_path: Path) -> None:
    network = network_of(SMALL)
    ours = loaded(network, tmp_path, "fp32")
    lengths = [703, 260, 499, 61, 120]
    batch = sound(703, batch=5)
    for row, frames in enumerate(lengths):
        batch[row, frames:] = 9.0
    got = ours(batch, torch.tensor(lengths))
    assert got.shape == (5, ours.rows_of(703), 40)
    for row, frames in enumerate(lengths):
        alone = network(batch[row : row + 1, :frames])[0]
        torch.testing.assert_close(got[row, : len(alone)], alone, rtol=1e-4, atol=1e-3)
        assert not got[row, len(alone) :].any()


@needs_openvino
@torch.inference_mode()
def test_300_random_recordings_have_the_same_best_tokens(tmp_path: Path) -> None:
    network = network_of(KINDS["grouped heads, biases, another activation"])
    ours, lengths = loaded(network, tmp_path, "fp32"), random.Random(0)
    for seed in range(300):
        given = sound(lengths.randint(13, 480), seed=seed)
        assert torch.equal(ours(given).argmax(-1), network(given).argmax(-1))


@needs_openvino
def test_bf16_is_near(tmp_path: Path) -> None:
    network = network_of(SMALL)
    assert relative_error(loaded(network, tmp_path, "bf16"), network, sound(500)) < 0.05


@needs_openvino
@torch.inference_mode()
def test_int8_is_near_and_has_8_bit_products(tmp_path: Path, cache: Path) -> None:
    network = network_of(SMALL)
    ours = loaded(network, tmp_path, "int8")
    assert relative_error(ours, network, sound(500)) < 0.15
    (graph,) = cache.glob("*/graph.xml")
    assert 'element_type="i8"' in graph.read_text()


@needs_openvino
@torch.inference_mode()
def test_int8_hears_a_held_out_recording_as_fp32_does(tmp_path: Path) -> None:
    exact, rounded = (load_recogniser(DEFAULT_ASR, precision=precision) for precision in ("fp32", "int8"))
    assert (exact.engine, rounded.engine) == ("PyTorch fp32", "OpenVINO int8")  # type: ignore[union-attr]
    assert transcribe(QUESTION, rounded).raw_text == transcribe(QUESTION, exact).raw_text


@needs_openvino
@torch.inference_mode()
def test_int8_changes_few_best_tokens_of_people(shared_data: Path) -> None:
    exact, rounded = (load_recogniser(DEFAULT_ASR, precision=precision) for precision in ("fp32", "int8"))
    people = [
        torch.from_numpy(log_mel(one.samples))[None] for one in human_speech.tested_sentences(shared_data / "speech")
    ]
    changed = [exact.network(one).argmax(-1) != rounded.network(one).argmax(-1) for one in people]  # type: ignore[union-attr]
    assert (
        torch.cat(changed, dim=1).float().mean() <= 0.01
    )  # 0.3 % on dictation, see docs/adr/0009; it does not know how people speak


@needs_openvino
def test_a_graph_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of(SMALL)
    first = loaded(network, tmp_path, "int8")(sound(100))
    monkeypatch.setattr(openvino_speech, "load_speech", None)  # would be called for the weights
    assert torch.equal(load_openvino_speech(tmp_path, "int8", lambda: pytest.fail("asked again"))(sound(100)), first)


@needs_openvino
@pytest.mark.parametrize("part", ["graph.bin", "graph.xml", "made.json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_graph_is_made_again(part: str, damage: str, tmp_path: Path, cache: Path) -> None:
    network = network_of(SMALL)
    loaded(network, tmp_path, "fp32")
    (file,) = cache.glob(f"*/{part}")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()
    if damage != "gone":
        file.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    assert relative_error(load_openvino_speech(tmp_path, "fp32", typical), network, sound(100)) < 1e-4


@needs_openvino
def test_other_weights_have_another_graph(tmp_path: Path, cache: Path) -> None:
    for seed in (0, 1):
        network = network_of(SMALL, seed)
        assert relative_error(loaded(network, tmp_path / str(seed), "fp32"), network, sound(100)) < 1e-4
    assert len(list(cache.iterdir())) == 2


@needs_openvino
def test_the_same_weights_under_another_config_have_another_graph(tmp_path: Path) -> None:
    folder = folder_of(network_of(SMALL), tmp_path)
    before = load_openvino_speech(folder, "fp32", typical)(sound(100))
    hub = json.loads((folder / "config.json").read_text())
    hub["encoder_config"]["feed_forward_residual_weights"] = [1.0, 1.0]
    (folder / "config.json").write_text(json.dumps(hub))
    after = load_openvino_speech(folder, "fp32", typical)
    assert not torch.allclose(after(sound(100)), before, atol=1e-2)
    assert relative_error(after, load_speech(folder), sound(100)) < 1e-4


@needs_openvino
def test_the_cache_keeps_what_was_used_last(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_speech, "CACHED", 2)
    for seed in range(4):
        loaded(network_of(SMALL, seed), tmp_path / str(seed), "fp32")
    kept = {path.name for path in cache.iterdir()}
    assert len(kept) == 2
    load_openvino_speech(tmp_path / "3", "fp32", typical)
    assert {path.name for path in cache.iterdir()} == kept


@needs_openvino
def test_an_interrupted_making_leaves_nothing(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(openvino_speech, "_sum", stop)
    with pytest.raises(KeyboardInterrupt):
        loaded(network_of(SMALL), tmp_path, "fp32")
    assert list(cache.iterdir()) == []


@needs_openvino
def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDVOX_CACHE", str(tmp_path / "file"))
    with pytest.raises(SetupError) as caught:
        loaded(network_of(SMALL), tmp_path / "model", "fp32")
    assert caught.value.code == "E_SPEECH_CACHE"


@needs_openvino
def test_8_bits_that_change_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_speech, "BEARABLE", 1e-6)
    with pytest.raises(SetupError) as caught:
        loaded(network_of(SMALL), tmp_path, "int8")
    assert caught.value.code == "E_SPEECH_INT8"


@needs_openvino
def test_where_8_bits_do_harm_products_are_spared(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounded = []
    for seed, good in enumerate((1.0, 0.0)):
        monkeypatch.setattr(openvino_speech, "GOOD", good)
        monkeypatch.setattr(openvino_speech, "BEARABLE", 1.0)
        before = set(cache.glob("*/graph.xml"))
        loaded(network_of(SMALL, seed), tmp_path / str(seed), "int8")
        (graph,) = set(cache.glob("*/graph.xml")) - before
        rounded.append(graph.read_text().count('element_type="i8"'))
    assert rounded[1] < rounded[0]


@needs_openvino
def test_a_network_that_the_graph_cannot_express(tmp_path: Path) -> None:
    network = network_of(replace(SMALL, conv_residual_weights=(0.0, 1.0)))
    with pytest.raises(SetupError) as caught:
        loaded(network, tmp_path, "fp32")
    assert caught.value.code == "E_SPEECH_GRAPH"


@needs_openvino
@pytest.mark.parametrize(("frames", "code"), [(12, "E_AUDIO_TOO_SHORT"), (40_001, "E_AUDIO_TOO_LONG")])
def test_what_cannot_be_heard_at_once(frames: int, code: str, tmp_path: Path) -> None:
    ours = loaded(network_of(SMALL), tmp_path, "fp32")
    with pytest.raises(InputError) as caught:
        ours(torch.zeros(1, frames, 80))
    assert caught.value.code == code


@needs_openvino
def test_numbers_that_are_not_finite_are_a_failed_job(tmp_path: Path) -> None:
    exact = load_recogniser(DEFAULT_ASR)
    network = load_speech(resolve_model(DEFAULT_ASR)).requires_grad_(False)
    network.ctc_head.weight.mul_(1e38)
    folder = folder_of(network, tmp_path)
    broken = replace(exact, network=load_openvino_speech(folder, "bf16", typical))  # type: ignore[type-var]
    with pytest.raises(ModelError) as caught:
        transcribe(QUESTION, broken)
    assert caught.value.code == "E_MODEL_NOT_FINITE"


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "openvino" else found(name))


@pytest.fixture
def broken_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def refuse(name: str, *more: Any) -> Any:
        if name.split(".")[0] == "openvino":
            raise OSError("libopenvino.so: cannot open shared object file")
        return load(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: object())
    for name in [name for name in sys.modules if name.split(".")[0] == "openvino"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.fixture
def big(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network counts as a big one."""
    monkeypatch.setattr(speech_engine, "BIG", 1)


@pytest.mark.usefixtures("big", "without_openvino")
@pytest.mark.parametrize(("precision", "engine"), [("auto", "PyTorch fp32"), ("bf16", "PyTorch bf16")])
def test_without_openvino_pytorch_hears(precision: str, engine: str) -> None:
    model = load_recogniser(DEFAULT_ASR, precision=precision)
    assert model.engine == engine  # type: ignore[union-attr]
    assert transcribe(QUESTION, model).raw_text


@pytest.mark.usefixtures("without_openvino")
def test_int8_without_openvino_says_how_to_get_it() -> None:
    with pytest.raises(SetupError) as caught:
        load_recogniser(DEFAULT_ASR, precision="int8")
    assert caught.value.code == "E_OPENVINO"
    assert "medvox[fast]" in caught.value.fix


@pytest.mark.usefixtures("big", "broken_openvino")
def test_with_a_broken_openvino_pytorch_hears() -> None:
    assert load_recogniser(DEFAULT_ASR).engine == "PyTorch fp32"  # type: ignore[union-attr]
    fault = openvino_fault()
    assert fault is not None
    assert "OSError" in fault.found


@needs_openvino
@pytest.mark.usefixtures("big")
def test_big_networks_are_run_in_8_bits() -> None:
    assert load_recogniser(DEFAULT_ASR).engine == "OpenVINO int8"  # type: ignore[union-attr]


@needs_openvino
@pytest.mark.usefixtures("big")
def test_big_networks_that_8_bits_harm_are_run_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_speech, "BEARABLE", 1e-6)
    assert load_recogniser(DEFAULT_ASR).engine == "OpenVINO bf16"  # type: ignore[union-attr]


@needs_openvino
@pytest.mark.usefixtures("big")
def test_big_networks_without_a_place_for_the_graph_are_run_by_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDVOX_CACHE", str(tmp_path / "file"))
    assert load_recogniser(DEFAULT_ASR).engine == "PyTorch fp32"  # type: ignore[union-attr]


@pytest.mark.usefixtures("big")
def test_a_broken_folder_is_broken_for_every_engine(tmp_path: Path) -> None:
    folder = folder_of(network_of(SMALL), tmp_path)
    (folder / "model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(SetupError) as caught:
        open_engine(folder, "auto", typical)
    assert caught.value.code.startswith("E_WEIGHTS") or caught.value.code.startswith("E_MODEL")


def test_small_networks_stay_with_pytorch() -> None:
    assert load_recogniser(DEFAULT_ASR).engine == "PyTorch fp32"  # type: ignore[union-attr]


@pytest.mark.parametrize("precision", ["float16", "fp16", "fp8", ""])
def test_no_other_precision(precision: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_recogniser(DEFAULT_ASR, precision=precision)
    assert caught.value.code == "E_SPEECH_DTYPE"
    assert "int8" in caught.value.fix


@pytest.mark.parametrize("model", ["openai:http://127.0.0.1:1", "whisper:tiny"])
def test_other_recognisers_choose_their_numbers(model: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_recogniser(model, precision="int8")
    assert caught.value.code == "E_SPEECH_DTYPE"


@needs_openvino
@torch.inference_mode()
def test_long_recordings_and_live_speech_are_heard_as_by_pytorch(tmp_path: Path) -> None:
    network, given = network_of(SMALL), sound(4700)[0]
    ours = loaded(network, tmp_path, "fp32")
    torch.testing.assert_close(logits_of(ours, given), logits_of(network, given), rtol=1e-4, atol=1e-3)
    ears = [Live(ours), Live(network)]
    for first in range(0, 600, 47):
        fast, exact = (ear.feed(given[first : first + 47]) for ear in ears)
        torch.testing.assert_close(fast.settled, exact.settled, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(fast.tentative, exact.tentative, rtol=1e-4, atol=1e-3)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signal stacks are Linux's")
def test_the_stack_for_signals_stays_the_threads_own() -> None:
    """OpenVINO puts a stack for signals in place of the thread's own, and frees it: Ctrl-C would crash then."""
    program = """
import ctypes
from medvox.models.openvino_state import openvino_fault, _SignalStack
from medvox.models.speech_engine import open_engine
from medvox.catalog import DEFAULT_ASR, WEIGHTS
import torch
def address():
    found = _SignalStack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
    return found.address
before = address()
network = open_engine(WEIGHTS / DEFAULT_ASR, "bf16", list).network
network(torch.zeros(1, 200, 128))
assert openvino_fault() is None
print(address() == before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
