"""The guide to fine-tuning: its manifests are read, and its commands run from first to last."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import soxr

from medvox.data.manifest import read_manifest
from medvox.train.finetune import PRESETS

REPOSITORY = Path(__file__).parents[2]
GUIDE = REPOSITORY / "docs" / "how-to" / "finetune-speech.md"
QUESTION = REPOSITORY / "src" / "medvox" / "samples" / "question.wav"
SAID = "which body region does this c t scan show"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), flags=re.MULTILINE | re.DOTALL)


COMMANDS = [shlex.split(line) for block in blocks("bash") for line in block.splitlines()]


def at_speed(path: Path, speed: float) -> None:
    """The sample's question as if a tape ran at another speed: another voice, and one that is heard badly."""
    samples, rate_hz = soundfile.read(QUESTION, dtype="float32")
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, soxr.resample(samples, rate_hz * speed, rate_hz), rate_hz)


@pytest.mark.parametrize(("language", "name"), [("json", "manifest.jsonl"), ("csv", "manifest.csv")])
def test_a_manifest_of_the_guide_is_read(tmp_path: Path, language: str, name: str) -> None:
    (shown,) = blocks(language)
    (tmp_path / name).write_text(shown)
    for number, sound in enumerate(("ann/001.wav", "ben/001.wav", "eve/001.flac")):
        at_speed(tmp_path / sound, 1.0 + 0.1 * number)
    manifest = read_manifest(tmp_path)
    assert not manifest.bad
    assert [(clip.speaker, clip.split) for clip in manifest.clips] == [
        ("ann", "train"), ("ben", "train"), ("eve", "validation"),
    ]  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """What the guide speaks of: recordings, others, texts, a letter."""
    rows = []
    for number in range(40):
        at_speed(tmp_path / "recordings" / f"{number}.wav", 1.7 + 0.0075 * number)
        split = "validation" if number % 4 == 3 else "train"
        rows.append({"audio": f"{number}.wav", "text": SAID, "speaker": f"{split} {number % 2}", "split": split})
    (tmp_path / "recordings" / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    at_speed(tmp_path / "others" / "a.wav", 1.05)
    (tmp_path / "others" / "a.txt").write_text(SAID)
    at_speed(tmp_path / "letter.wav", 1.0)
    (tmp_path / "letter.txt").write_text("Which body region does this CT scan show?")
    (tmp_path / "reports.txt").write_text(f"{SAID}\nthere is no pleural effusion period\n")
    return tmp_path


def test_the_commands_of_the_guide_run_one_after_the_other(desk: Path) -> None:
    programs = {"medvox": ["-m", "medvox"], "python": []}
    env = os.environ | {"PYTHONPATH": str(REPOSITORY / "src"), "OMP_NUM_THREADS": "1"}
    assert len(COMMANDS) >= 5
    for program, *words in COMMANDS:
        words = [str(REPOSITORY / word) if word.startswith("recipes/") else word for word in words]
        command = [sys.executable, *programs[program], *words]
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=desk, timeout=300, check=False)
        assert done.returncode == 0, f"{program} {shlex.join(words)}\n{done.stderr}"
        assert done.stdout
    assert "my-asr" in (desk / "my-asr" / "README.md").read_text()
    assert [row["recordings"] for row in json.loads((desk / "my-asr" / "finetune.json").read_text())["scores"]] == [
        "validation", "others (--check)",
    ]  # fmt: skip


def test_the_numbers_of_the_presets_are_those_of_the_code() -> None:
    text = " ".join(GUIDE.read_text().split())
    published, small = PRESETS["finetune.medasr"], PRESETS["finetune.small"]
    assert f"rate {published.peak_rate:.0e}".replace("e-0", "e-") in text
    assert f"after {published.warm_up_steps} warm-up steps" in text
    assert f"batches of {published.batch}, {published.accumulate} of them a step, {published.epochs} epochs" in text
    numbers = f"({small.peak_rate:.0e}, {small.warm_up_steps} steps, {small.batch * small.accumulate} recordings a step"
    assert f"{numbers}, {small.epochs} epochs".replace("e-0", "e-") in text
