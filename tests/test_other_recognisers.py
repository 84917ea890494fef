"""Other recognisers behind the same verbs, a server on loopback and Whisper: from the recording to text and answer."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from medvox.demo import SAMPLES
from medvox.dictate import Decoding, load_recogniser, transcribe
from medvox.errors import InputError, SetupError, UsageError

QUESTION = SAMPLES / "question.wav"
SERVER = Path(__file__).parent / "speech_server.py"
SOURCE = SERVER.parents[1] / "src"


def script(reply: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps([reply]).encode()).decode()


def address(port: int, **reply: Any) -> str:
    return f"openai:http://127.0.0.1:{port}/{script(reply)}/v1#small"


def says(port: int, text: str) -> str:
    return address(port, do="say", body=json.dumps({"text": text}))


def medvox(*words: str | Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(SOURCE)}
    return subprocess.run(
        [sys.executable, "-m", "medvox", *map(str, words)], capture_output=True, text=True, env=env, check=False
    )


def test_a_server_gives_the_transcript_that_the_model_gives_here(port: int) -> None:
    here, there = transcribe(QUESTION), transcribe(QUESTION, address(port, shape="probability"))
    assert there.text == here.text
    assert there.model == f"openai:127.0.0.1:{port}#small"
    assert there.file_sha256 == here.file_sha256
    assert there.raw_text == " ".join(word.word for word in there.words)
    assert "F_SPEECH_SERVER" in {flag.code for flag in there.flags}


def test_the_grammar_holds_for_its_text(port: int) -> None:
    raw = "Mass of three point five centimeters in the left lobe {period} no effusion {next} para}graph} stable"
    heard = transcribe(QUESTION, says(port, raw))
    assert heard.text == "Mass of 3.5 cm in the left lobe. No effusion\n\nStable"
    assert heard.raw_text == raw
    assert {risk.kind for risk in heard.risks} >= {"number", "unit", "laterality", "negation"}


def test_words_of_unknown_confidence_have_none_of_it(port: int) -> None:
    heard = transcribe(QUESTION, says(port, "no nodule"))
    assert {word.confidence for word in heard.words} == {0.0}
    assert heard.confidence is None
    assert [flag.code for flag in heard.flags] == ["F_SPEECH_SERVER", "F_CONFIDENCE_UNKNOWN"]


def test_one_unknown_confidence_leaves_that_of_the_whole_unknown(port: int) -> None:
    words = [
        {"word": "no", "start": 0.1, "end": 0.2, "probability": 0.9},
        {"word": "left", "start": 0.3, "end": 0.4, "probability": 0.3},
        {"word": "nodule", "start": 0.5, "end": 0.6},
    ]
    body = json.dumps({"text": "no left nodule", "words": words})
    heard = transcribe(QUESTION, address(port, do="say", body=body))
    assert heard.confidence is None
    (unsure,) = [flag for flag in heard.flags if flag.code == "F_TRANSCRIPT_UNSURE"]
    assert "1 of 3" in unsure.text


def test_what_only_our_own_recogniser_can_use_is_refused(port: int, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("nodule\n")
    with pytest.raises(UsageError) as caught:
        transcribe(QUESTION, says(port, "no nodule"), decoding=Decoding(hotwords=tmp_path / "words.txt"))
    assert caught.value.code == "E_DECODING"


def test_a_recording_without_speech_is_no_failure(port: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=48_000) * 0.01
    soundfile.write(tmp_path / "noise.wav", noise, 16_000)
    heard = transcribe(tmp_path / "noise.wav", says(port, "thank you for watching"))
    assert (heard.text, [flag.code for flag in heard.flags]) == ("", ["F_NO_SPEECH"])


def test_the_checks_of_the_reader_come_first(port: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    with pytest.raises(InputError) as caught:
        transcribe(tmp_path / "silent.wav", says(port, "no nodule"))
    assert caught.value.code == "E_AUDIO_SILENT"


def test_a_foreign_host_is_refused_before_the_recording_is_read(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as caught:
        load_recogniser("openai:https://stt.example.org/v1")
    assert caught.value.code == "E_REMOTE_OFF"


@pytest.mark.parametrize("shown", ["txt", "json", "srt", "vtt", "verbose_json"])
def test_every_format_works_with_it(port: int, shown: str) -> None:
    done = medvox("transcribe", QUESTION, "--model", address(port), "--format", shown)
    assert done.returncode == 0, done.stderr
    assert "Which body region does this CT scan show?" in done.stdout


def test_a_server_that_is_down_is_an_error_with_a_fix() -> None:
    done = medvox("transcribe", QUESTION, "--model", "openai:http://127.0.0.1:9/v1", "--json")
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["code"] == "E_SPEECH_SERVER_DOWN"


def test_a_spoken_question_is_shown_and_asked(port: int) -> None:
    model = address(port, shape="probability")
    done = medvox("ask", "--speech", QUESTION, "--speech-model", model, SAMPLES / "ct_abdomen", "--json")
    assert done.returncode == 0, done.stderr
    assert "heard: Which body region does this CT scan show?" in done.stderr
    answer = json.loads(done.stdout)
    assert answer["transcript"]["model"].startswith("openai:")
    assert answer["receipt"]["speech_model"]["id"].startswith("openai:")


def test_an_unsure_one_is_refused_and_shown_and_asked_with_yes(port: int) -> None:
    words = ["ask", "--speech", QUESTION, "--speech-model", says(port, "is there a mass"), SAMPLES / "ct_abdomen"]
    done = medvox(*words, "--json")
    assert done.returncode == 6
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "E_QUESTION_UNSURE"
    assert "does not say how sure it is" in error["message"]
    assert "0.00" not in error["message"] + done.stderr
    assert "heard: Is there a mass?" in done.stderr
    done = medvox(*words, "--json", "--yes")
    assert done.returncode == 0, done.stderr
    flags = {flag["code"]: flag["text"] for flag in json.loads(done.stdout)["flags"]}
    assert "does not say how sure it is" in flags["F_QUESTION_ACCEPTED"]


def test_yes_without_speech_is_refused() -> None:
    done = medvox("ask", "Is there a mass?", SAMPLES / "ct_abdomen", "--yes")
    assert done.returncode == 2


def test_whisper_without_its_model_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faster_whisper", reason="the extra whisper is not installed")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    done = medvox("transcribe", QUESTION, "--model", "whisper:small.en", "--json")
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["code"] == "E_MODEL_MISSING"
