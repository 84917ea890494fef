"""The files in examples/ run on the samples that ship with the package."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SAMPLES = REPOSITORY / "src" / "medvox" / "samples"


def run_example(name: str, *words: str | Path) -> str:
    env = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    command = [sys.executable, str(REPOSITORY / "examples" / name), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ask_ct() -> None:
    printed = run_example("ask_ct.py", SAMPLES / "ct_abdomen", "Which body region does this CT show?")
    assert "label:" in printed
    assert "receipt:" in printed


def test_transcribe() -> None:
    printed = run_example("transcribe.py", SAMPLES / "question.wav")
    assert len(printed.splitlines()) > 1


def test_ask_by_voice() -> None:
    printed = run_example("ask_by_voice.py", SAMPLES / "question.wav", SAMPLES / "ct_abdomen")
    assert "heard:" in printed
    assert "answer:" in printed


def test_prepare(tmp_path: Path) -> None:
    printed = run_example("prepare.py", SAMPLES / "ct_abdomen", tmp_path / "out")
    assert "pictures:" in printed
    assert (tmp_path / "out" / "receipt.json").is_file()


def test_convert(tmp_path: Path) -> None:
    printed = run_example("convert.py", SAMPLES / "ct_abdomen", tmp_path / "out")
    (written,) = (tmp_path / "out").iterdir()
    assert written.name in printed


def test_deidentify(tmp_path: Path, write_ct: Callable[..., list[Path]]) -> None:
    printed = run_example("deidentify.py", write_ct(3)[0].parent, tmp_path / "out", tmp_path / "key")
    assert "'written': 3" in printed


def test_every_example_is_tested() -> None:
    tested = Path(__file__).read_text()
    assert [path.name for path in (REPOSITORY / "examples").glob("*.py") if f'"{path.name}"' not in tested] == []
