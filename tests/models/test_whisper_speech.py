"""whisper_speech.py with a tiny Whisper of random weights that faster-whisper really runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import string
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medvox.data.utterance import read_utterance
from medvox.demo import SAMPLES
from medvox.encode.voice import speech_segments
from medvox.errors import SetupError
from medvox.models.recogniser import Heard, Span
from medvox.models.whisper_speech import WhisperSpeech, load_whisper
from medvox.types import Samples, no_progress

SPECIAL = [
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>",
    "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
]  # fmt: skip
TIMESTAMPS = 1501


def make_whisper(folder: Path, *, no_speech: float, scale: float = 0.4) -> Path:
    """A Whisper that writes letters at random, in faster-whisper's layout.

    ``no_speech`` lifts that token's logit; a smaller ``scale`` of the weights makes it less sure of every letter.
    """
    torch, transformers, converters = (
        pytest.importorskip(name, reason=f"{name} is needed to make a Whisper model")
        for name in ("torch", "transformers", "ctranslate2.converters")
    )
    from tokenizers.pre_tokenizers import ByteLevel

    vocabulary = {token: number for number, token in enumerate([*sorted(ByteLevel.alphabet()), *SPECIAL])}
    tokenizer = transformers.WhisperTokenizer(vocab=vocabulary, merges=[])
    tokenizer.save_pretrained(folder / "hub")
    end = vocabulary["<|endoftext|>"]
    torch.manual_seed(1)
    model = transformers.WhisperForConditionalGeneration(
        transformers.WhisperConfig(
            vocab_size=len(tokenizer) + TIMESTAMPS, d_model=64, encoder_layers=1, decoder_layers=2,
            encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64,
            bos_token_id=end, eos_token_id=end, pad_token_id=end, init_std=scale,
            decoder_start_token_id=vocabulary["<|startoftranscript|>"], suppress_tokens=[], begin_suppress_tokens=[],
        )
    )  # fmt: skip
    with torch.no_grad():  # the first state becomes a constant, and with it the logits of some tokens
        model.model.decoder.layer_norm.weight[0], model.model.decoder.layer_norm.bias[0] = 0.0, 1.0
        embedded = model.model.decoder.embed_tokens.weight
        embedded[:, 0] = -8.0
        embedded[[vocabulary[letter] for letter in string.ascii_lowercase], 0] = 0.0
        embedded[[vocabulary["Ġ"], end], 0] = 2.0
        embedded[vocabulary["<|nospeech|>"], 0] = no_speech
    model.generation_config = transformers.GenerationConfig(suppress_tokens=[], begin_suppress_tokens=[])
    model.save_pretrained(folder / "hub")
    converter = converters.TransformersConverter(str(folder / "hub"), copy_files=["tokenizer.json"])
    converter.convert(str(folder / "tiny"))
    return folder / "tiny"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("faster_whisper", reason="the extra whisper is not installed")
    return make_whisper(tmp_path_factory.mktemp("whisper"), no_speech=-8.0)


@pytest.fixture(scope="module")
def whisper(folder: Path) -> WhisperSpeech:
    return load_whisper(f"whisper:{folder}")


@pytest.fixture(scope="module")
def question() -> Samples:
    return read_utterance(SAMPLES / "question.wav").samples


def speech_of(samples: Samples) -> list[Span]:
    return [(segment.start_s, segment.end_s) for segment in speech_segments(samples)]


def hear(whisper: WhisperSpeech, samples: Samples) -> Heard:
    return whisper.hear(samples, speech=speech_of(samples), progress=no_progress)


def test_it_says_what_it_is(whisper: WhisperSpeech, folder: Path) -> None:
    assert whisper.name == "whisper:tiny"
    assert whisper.sha256 == hashlib.sha256((folder / "model.bin").read_bytes()).hexdigest()


def test_words_have_times_inside_the_recording_and_a_confidence(whisper: WhisperSpeech, question: Samples) -> None:
    heard = hear(whisper, question)
    assert heard.words
    times = [time for word in heard.words for time in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= len(question) / 16_000
    sure = [word.confidence for word in heard.words if word.confidence is not None]
    assert sure
    assert all(0 <= value <= 1 for value in sure)


def test_the_text_is_that_of_the_library(whisper: WhisperSpeech, folder: Path, question: Samples) -> None:
    library = pytest.importorskip("faster_whisper")
    model = library.WhisperModel(str(folder), compute_type="auto", local_files_only=True)
    segments, _ = model.transcribe(question, language="en", temperature=0.0, condition_on_previous_text=False)
    expected = "".join(segment.text for segment in segments).split()
    whole = whisper.hear(question, speech=[(0.0, len(question) / 16_000)], progress=no_progress)
    assert "".join(word.text for word in whole.words) == "".join(expected)


def test_the_same_sound_gives_the_same_words_later_in_the_recording(whisper: WhisperSpeech, question: Samples) -> None:
    silence = np.zeros(16_000 * 20, np.float32)
    heard = hear(whisper, np.concatenate([silence, question, silence, question, silence]))
    half = len(heard.words) // 2
    first, second = heard.words[:half], heard.words[half:]
    assert [word.text for word in first] == [word.text for word in second]
    apart = [later.start_s - word.start_s for word, later in zip(first, second, strict=True)]
    assert apart == pytest.approx([len(question) / 16_000 + 20] * half, abs=0.05)


def test_silence_is_not_heard(whisper: WhisperSpeech) -> None:
    assert hear(whisper, np.zeros(16_000 * 30, np.float32)).words == ()


def test_text_where_the_model_heard_no_speech_is_flagged_and_kept(
    tmp_path_factory: pytest.TempPathFactory, question: Samples
) -> None:
    pytest.importorskip("faster_whisper", reason="the extra whisper is not installed")
    doubting = load_whisper(str(make_whisper(tmp_path_factory.mktemp("doubting"), no_speech=60.0, scale=0.1)))
    heard = hear(doubting, question)
    assert heard.words
    assert "F_NO_SPEECH_LIKELY" in {flag.code for flag in heard.flags}


@pytest.mark.parametrize("file", ["tokenizer.json", "model.bin", "config.json"])
def test_a_folder_without_one_of_its_files_is_refused(folder: Path, tmp_path: Path, file: str) -> None:
    shutil.copytree(folder, tmp_path / "tiny")
    (tmp_path / "tiny" / file).unlink()
    with pytest.raises(SetupError) as caught:
        load_whisper(str(tmp_path / "tiny"))
    assert caught.value.code == "E_MODEL_MISSING"
    assert file in caught.value.message


@pytest.mark.parametrize("size", [0, 1000])
def test_a_damaged_model_is_refused(folder: Path, tmp_path: Path, size: int) -> None:
    shutil.copytree(folder, tmp_path / "tiny")
    model = tmp_path / "tiny" / "model.bin"
    model.write_bytes(model.read_bytes()[:size])
    with pytest.raises(SetupError) as caught:
        load_whisper(str(tmp_path / "tiny"))
    assert caught.value.code == "E_MODEL_BROKEN"


@pytest.mark.parametrize("name", ["small.en", "Systran/faster-whisper-large-v3"])
def test_a_model_that_is_not_here_is_not_downloaded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faster_whisper", reason="the extra whisper is not installed")
    code = (
        "import socket, sys\n"
        "def no(*_): print('network'); raise OSError\n"
        "socket.getaddrinfo = socket.socket.connect = no\n"
        "from medvox.models.whisper_speech import load_whisper\n"
        "try:\n    load_whisper(sys.argv[1])\n"
        "except Exception as error:\n    print(error.code, error.fix)\n"
    )
    env = os.environ | {"HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, env=env, timeout=120)
    assert "network" not in done.stdout
    assert done.stdout.startswith("E_MODEL_MISSING")
    assert f"download_model as d; d('{name}')" in done.stdout


@pytest.mark.parametrize("name", ["", "whisper:", "enormous", "a/b/c", "../x", "x'); evil('/y"])
def test_a_name_that_no_model_has_is_refused(name: str) -> None:
    pytest.importorskip("faster_whisper", reason="the extra whisper is not installed")
    with pytest.raises(SetupError) as caught:
        load_whisper(name)
    assert caught.value.code == "E_MODEL_UNKNOWN"


def test_without_the_extra_it_says_how_to_get_it() -> None:
    code = (
        "import sys; sys.modules['faster_whisper'] = None\n"
        "from medvox.models.whisper_speech import load_whisper\n"
        "try:\n    load_whisper('small.en')\n"
        "except Exception as error:\n    print(error.code, error.fix)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("E_WHISPER_EXTRA pip install 'medvox[whisper]'")
