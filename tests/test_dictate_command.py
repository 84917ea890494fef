"""``medvox dictate``: a recording played, raw samples on the standard input, a template, Ctrl-C, and bad input."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from medvox.cli import main
from medvox.live_dictation import listen
from medvox.terminal import until_interrupted

QUESTION = Path(__file__).parents[1] / "src" / "medvox" / "samples" / "question.wav"
WRITTEN = "CT scan show"
RATE_HZ = 16_000


@pytest.fixture
def pcm() -> bytes:
    """The question and a second of a quiet room, as raw samples."""
    samples, _ = soundfile.read(QUESTION, dtype="int16")
    room = np.random.default_rng(0).integers(-10, 11, RATE_HZ).astype(np.int16)
    return np.concatenate([room, samples, room]).tobytes()


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_recording_becomes_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dictate", str(QUESTION)]) == 0
    printed = capsys.readouterr()
    assert WRITTEN in printed.out
    assert printed.out.count("\n") == 1


def test_raw_samples_become_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, pcm: bytes
) -> None:
    give(monkeypatch, pcm)
    assert main(["dictate", "-"]) == 0
    assert WRITTEN in capsys.readouterr().out


def test_raw_samples_of_another_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, pcm: bytes
) -> None:
    give(monkeypatch, np.repeat(np.frombuffer(pcm, np.int16), 2).tobytes())
    assert main(["dictate", "-", "--rate", "32000"]) == 0
    assert "scan" in capsys.readouterr().out


def test_json_is_a_line_for_each_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dictate", str(QUESTION), "--json"]) == 0
    texts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(texts) > 2
    assert [text["final"] for text in texts[-2:]] == [False, True]
    assert WRITTEN in texts[-1]["written"]
    assert texts[-1]["tentative"] == ""


def test_a_template_is_filled(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    template = tmp_path / "mine.txt"
    template.write_text("QUESTION:\n[question]\nANSWER:\n[answer]\n")
    assert main(["dictate", str(QUESTION), "--template", str(template)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("QUESTION:")
    assert "ANSWER:" in printed.out
    assert WRITTEN in printed.out


def test_in_real_time_it_takes_as_long_as_the_sound(capsys: pytest.CaptureFixture[str]) -> None:
    start = time.monotonic()
    assert main(["dictate", str(QUESTION), "--pace", "real"]) == 0
    assert time.monotonic() - start > soundfile.info(QUESTION).duration
    assert WRITTEN in capsys.readouterr().out


def test_words_come_before_the_stream_ends(pcm: bytes) -> None:
    """Of a process of its own, whose standard input stays open."""
    command = [sys.executable, "-m", "medvox", "dictate", "-", "--json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pcm)
        process.stdin.flush()
        texts = iter(lambda: json.loads(process.stdout.readline()), None)  # type: ignore[union-attr]
        final = next(text for text in texts if text["final"])
        assert process.poll() is None
        process.stdin.close()
        assert WRITTEN in final["written"]
        assert process.wait(20) == 0


def test_silence_gives_no_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, bytes(2 * RATE_HZ))
    assert main(["dictate", "-"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "F_NO_SPEECH" in printed.err


def test_the_first_interrupt_ends_the_dictation_and_not_the_text() -> None:
    def blocks() -> Iterator[int]:
        for number in range(10):
            if number == 3:
                os.kill(os.getpid(), signal.SIGINT)
            yield number

    before = signal.getsignal(signal.SIGINT)
    assert list(until_interrupted(blocks())) == [0, 1, 2, 3]
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_interrupt_interrupts() -> None:
    def blocks() -> Iterator[int]:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        yield 1

    with pytest.raises(KeyboardInterrupt):
        list(until_interrupted(blocks()))


def test_the_package_has_the_generator() -> None:
    import medvox

    assert medvox.listen is listen


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (["missing.wav"], "E_AUDIO_UNREADABLE", 3),
        ([str(QUESTION), "--rate", "8000"], "E_USAGE", 2),
        (["-", "--rate", "100"], "E_PCM_RATE", 2),
        (["-"], "E_AUDIO_EMPTY", 3),
        ([str(QUESTION), "--template", "no-such-template"], "E_TEMPLATE_NAME", 2),
        ([str(QUESTION), "--model", "no-such-model"], "E_MODEL_UNKNOWN", 4),
        ([str(QUESTION), "--model", "whisper:no-such-model"], "E_USAGE", 2),
        ([str(QUESTION), "--model", "openai:https://not.allowed.example"], "E_USAGE", 2),
        ([str(QUESTION), "--pace", "slow"], "E_USAGE", 2),
    ],
)
def test_what_cannot_be_heard(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: str,
    exit_code: int,
) -> None:
    give(monkeypatch, b"")
    assert main(["dictate", *words, "--json"]) == exit_code
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == code
    assert error["fix"]


def test_a_sound_file_on_the_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, QUESTION.read_bytes())
    assert main(["dictate", "-", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "E_PCM_CONTAINER"
