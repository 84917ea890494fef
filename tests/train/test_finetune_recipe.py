"""The recipe from a folder of recordings to a model that is run: what is written, what is refused."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from medvox.catalog import resolve_model
from medvox.data.utterance import read_utterance
from medvox.models.conformer import EncoderConfig, LasrConfig, LasrForCTC
from medvox.models.speech_model import load_speech_model
from medvox.models.weights import weights_hash
from medvox.train.speech_export import write_weights
from medvox.train.speech_score import model_recogniser
from medvox.train.vocabulary import learn_vocabulary

RECIPE = Path(__file__).parents[2] / "recipes" / "finetune_asr.py"
TEXTS = ("no nodule", "left lung", "small mass", "the liver is clear")
# Fast enough that a new network learns its four clips by heart.
FAST = [
    "--epochs", "80", "--batch", "4", "--accumulate", "1", "--learning-rate", "1e-2", "--warm-up", "20",
    "--validation", "0.5",
]  # fmt: skip


def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("finetune_asr", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments: object) -> int:
    return recipe().main([str(one) for one in arguments])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub folder with a tiny network that knows nothing, and the card of its licence."""
    folder = tmp_path_factory.mktemp("models") / "base"
    torch.manual_seed(0)
    vocabulary = learn_vocabulary(list(TEXTS) * 20, 40)
    encoder = EncoderConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_kernel_size=8,
        subsampling_conv_channels=32,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        layerdrop=0.0,
        batch_norm_momentum=0.2,
    )
    network = LasrForCTC(LasrConfig(encoder_config=encoder, vocab_size=vocabulary.get_vocab_size()))
    write_weights(network, vocabulary, folder)
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: strict-terms\n---\n# base\n")
    (folder / "confidence.json").write_text("{}")
    return folder


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Eight clips of four texts; each letter is a tone of its own, a second voice sounds lower."""
    folder = tmp_path / "clips"
    folder.mkdir()
    times = np.arange(1600) / 16_000
    for number, text in enumerate(TEXTS * 2):
        step = 90 if number < len(TEXTS) else 88
        tones = [0.4 * np.sin(2 * np.pi * (300 + step * (ord(letter) % 32)) * times) for letter in text]
        soundfile.write(folder / f"clip{number}.wav", np.concatenate(tones), 16_000)
        (folder / f"clip{number}.txt").write_text(text)
    return folder


def listed(pairs: Path, name: str = "manifest.jsonl", *, split: bool = True) -> Path:
    """The same as a manifest: the second voice is validation, and of one clip also test."""
    rows = []
    for number, text in enumerate(TEXTS * 2):
        part = "train" if number < len(TEXTS) else "test" if number == 7 else "validation"
        row = {"audio": f"clip{number}.wav", "text": text, "speaker": "a" if number < len(TEXTS) else "b"}
        rows.append(row | ({"split": part} if split else {}))
    path = pairs / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_recordings_become_a_model_that_is_run(base: Path, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    others = listed(pairs, "others.jsonl", split=False)
    assert run(listed(pairs), "--model", base, "--out", out, *FAST, "--check", others) == 0
    model = load_speech_model(out)
    assert model.tokenizer is not None
    hear = model_recogniser(model.network, model.tokenizer)  # the verb would take tones for no voice
    assert hear(read_utterance(pairs / "clip0.wav").samples) == "no nodule"
    provenance = json.loads((out / "finetune.json").read_text())
    assert provenance["base"] == {"name": "base", "weights_sha256": weights_hash(base)}
    assert provenance["weights_sha256"] == weights_hash(out)
    assert provenance["data"]["train"] | {"hours": 0} == {"clips": 4, "hours": 0, "speakers": 1}
    assert [row["recordings"] for row in provenance["scores"]] == ["validation", "test", "others.jsonl (--check)"]
    assert provenance["scores"][0]["before"]["wer"] >= 0.9
    assert provenance["scores"][0]["after"]["wer"] < 0.2
    card = (out / "README.md").read_text()
    assert "license: other\nlicense_name: strict-terms\n" in card
    assert "| validation | 3 |" in card
    written = card + json.dumps(provenance)
    assert not any(private in written for private in (*TEXTS, "clip0", str(tmp_path)))
    assert not (out / "confidence.json").exists()
    split = (tmp_path / "tuned-training" / "split.csv").read_text().splitlines()
    assert split[1].startswith("train,line 1,clip0.wav,a,")
    assert len(split) == 9


def test_transformers_reads_what_is_written(base: Path, pairs: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    out = tmp_path / "tuned"
    assert run(listed(pairs), "--model", base, "--out", out, *FAST[2:], "--epochs", 30) == 0
    theirs = transformers.LasrForCTC.from_pretrained(out).eval()
    ours = load_speech_model(out).network
    features = torch.randn(1, 100, 128)
    with torch.inference_mode():
        torch.testing.assert_close(theirs(features).logits, ours(features), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_to_the_same_weights(
    base: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stop: signal.Signals
) -> None:
    settings = [*FAST[2:], "--epochs", "30", "--save-every", "0.001", "--same-speakers", "--speed", "--noise"]
    command = [listed(pairs), "--model", base, *settings, "--out"]
    assert run(*command, tmp_path / "whole") == 0
    process = subprocess.Popen(
        [sys.executable, str(RECIPE), *map(str, command), str(tmp_path / "cut")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(RECIPE.parents[1] / "src"), "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 9, "):
            process.send_signal(stop)
            break
    _, complaint = process.communicate()
    if stop is signal.SIGINT:
        assert process.returncode == 130
        assert "the same command goes on" in complaint
        assert "Traceback" not in complaint
    capsys.readouterr()
    assert run(*command, tmp_path / "cut") == 0
    assert "goes on at epoch" in capsys.readouterr().out
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_json_on_stdout_is_the_result_or_the_error_alone(
    base: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tuned"
    assert run(listed(pairs), "--model", base, "--out", out, *FAST[2:], "--epochs", 30, "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == json.loads((out / "finetune.json").read_text())
    assert "validation WER" in shown.err
    assert run(tmp_path / "nowhere", "--model", base, "--out", out, "--json") == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "E_MANIFEST_MISSING"
    assert error["fix"]


def test_no_gain_writes_no_model(base: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "tuned"
    code = run(listed(pairs), "--model", base, "--out", out, "--epochs", 1, "--learning-rate", 1e-12)
    assert code == 6
    assert "E_FINETUNE_NO_GAIN" in capsys.readouterr().err
    assert not out.exists()


BAD_ROWS = {
    "missing": ({"audio": "nowhere.wav", "text": "no nodule"}, "the sound file is missing"),
    "empty": ({"audio": "clip4.wav", "text": " "}, "the text is empty"),
    "foreign": ({"audio": "clip4.wav", "text": "no 5 é nodule"}, "base cannot write '5', 'é'"),
    "twice": ({"audio": "clip0.wav", "text": "no nodule"}, "the sound is that of line 1"),
    "copy": ({"audio": "copy.wav", "text": "no nodule"}, "the sound is the same as that of line 1"),
    "nan": ({"audio": "nan.wav", "text": "no nodule"}, "holds samples that are not numbers"),
    "short": ({"audio": "short.wav", "text": "no"}, "the sound has 0.05 s; 0.6 to 30 s can be used"),
    "silent": ({"audio": "silent.wav", "text": "no nodule"}, "is silent"),
    "fast": ({"audio": "clip4.wav", "text": "the liver is clear " * 9}, "is the text another one's?"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_each_bad_row_is_named_with_its_reason_before_any_training(
    base: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    row, reason = BAD_ROWS[kind]
    (pairs / "copy.wav").write_bytes((pairs / "clip0.wav").read_bytes())
    sound = np.sin(np.arange(16_000) / 5)
    soundfile.write(pairs / "short.wav", sound[:800], 16_000)
    soundfile.write(pairs / "silent.wav", 0 * sound, 16_000)
    sound[500] = np.nan
    soundfile.write(pairs / "nan.wav", sound, 16_000, subtype="FLOAT")
    path = pairs / "manifest.jsonl"
    rows = [{"audio": f"clip{number}.wav", "text": TEXTS[number]} for number in range(4)]
    path.write_text("".join(json.dumps(one) + "\n" for one in (*rows, row)))
    assert run(path, "--model", base, "--out", tmp_path / "tuned") == 3
    shown = capsys.readouterr()
    assert "E_MANIFEST_ROWS: 1 of 5 rows of manifest.jsonl cannot be used: line 5: " in shown.err
    assert reason in shown.err
    assert "--skip-bad" in shown.err
    assert "validation WER" not in shown.out
    assert run(path, "--model", base, "--out", tmp_path / "tuned", *FAST[2:], "--epochs", 1, "--skip-bad") in (0, 6)
    assert "cannot be used: line 5: " in capsys.readouterr().out
    split = (tmp_path / "tuned-training" / "split.csv").read_text()
    assert "line 5" not in split
    assert split.count("\n") == 5


def test_without_a_validation_part_nothing_is_trained(
    base: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pairs / "manifest.jsonl"
    rows = [{"audio": f"clip{number}.wav", "text": TEXTS[number], "split": "train"} for number in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(path, "--model", base, "--out", tmp_path / "tuned") == 3
    assert "E_SPLIT_EMPTY: no recording is left for validation" in capsys.readouterr().err


def test_bad_rows_are_listed_and_left_out_only_when_told(
    base: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pairs / "clip1.txt").write_text("5 mm")
    (pairs / "clip2.wav").write_bytes(b"broken")
    command = (pairs, "--model", base, "--out", tmp_path / "tuned", *FAST[2:], "--epochs", 30)
    assert run(*command) == 3
    shown = capsys.readouterr()
    assert "2 of 8 rows of clips cannot be used" in shown.err
    assert "cannot be used: clip1.wav: base cannot write '5'" in shown.out
    assert "characters that base cannot write, by rows: '5' in 1" in shown.out
    run(*command, "--skip-bad")
    assert "cannot be used: clip2.wav" in capsys.readouterr().out
    assert (tmp_path / "tuned-training" / "split.csv").exists()


def test_nothing_is_written_over_unless_told(
    base: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tuned"
    command = (listed(pairs), "--model", base, "--out", out, *FAST[2:], "--epochs", 30)
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    assert run(*command) == run(*command, "--overwrite") == 3
    (out / "config.json").write_text("{}")
    (out / "model-00001-of-00002.safetensors").write_bytes(b"old")
    assert run(*command) == 3
    assert "E_OUTPUT_EXISTS" in capsys.readouterr().err
    assert run(*command, "--overwrite") == 0
    assert (out / "thesis.txt").read_text() == "mine"
    assert not list(out.glob("model-*"))
    load_speech_model(out)


def test_another_run_in_the_folder_is_not_continued(base: Path, pairs: Path, tmp_path: Path) -> None:
    command = (listed(pairs), "--model", base, "--out", tmp_path / "tuned", *FAST[2:], "--epochs", 30)
    assert run(*command) == 0
    before = (tmp_path / "tuned-training" / "split.csv").read_bytes()
    assert run(*command, "--seed", 7) == 3
    assert (tmp_path / "tuned-training" / "split.csv").read_bytes() == before
    assert run(*command, "--seed", 7, "--overwrite") == 0


@pytest.mark.parametrize("place", ["base", "run", "run/inside"])
def test_the_places_must_lie_apart(base: Path, pairs: Path, tmp_path: Path, place: str) -> None:
    out = base if place == "base" else tmp_path / place
    before = weights_hash(base)
    assert run(listed(pairs), "--model", base, "--out", out, "--run", tmp_path / "run", "--overwrite") == 2
    assert weights_hash(base) == before


@pytest.mark.parametrize("option", ["--epochs=0", "--learning-rate=nan", "--validation=1", "--warm-up=-1"])
def test_settings_without_sense(pairs: Path, tmp_path: Path, option: str) -> None:
    with pytest.raises(SystemExit):
        run(pairs, "--out", tmp_path / "tuned", option)


def test_effects_are_added_to_those_of_the_preset() -> None:
    module = recipe()
    given = ["data", "--out", "x", "--preset", "finetune.small", "--noise"]
    settings = module.settings_of(module.parser().parse_args(given))
    assert settings.effects is not None
    assert settings.effects.noise == "made"
    assert settings.effects.masks


def test_the_help_names_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--help")
    shown = capsys.readouterr().out
    assert "finetune.medasr" in shown
    assert "finetune.small" in shown
    assert "medvox transcribe letter.wav --model my-asr" in shown


def test_the_shipped_model_is_the_base_unless_told() -> None:
    module = recipe()
    args = module.parser().parse_args(["data", "--out", "x"])
    assert resolve_model(args.model).name == "medvox-mini-asr"
