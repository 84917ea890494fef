"""demo.py: the main job, as a user runs it, on what ships."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], float]:
    out = tmp_path_factory.mktemp("demo") / "new" / "folder"
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "medvox", "demo", "--out", str(out), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no progress bar when nobody watches
    return out, json.loads(done.stdout), time.monotonic() - start


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_it_takes_less_than_two_minutes(demo: tuple[Path, dict[str, Any], float]) -> None:
    assert demo[2] < 120


def test_the_spoken_question_is_recognised_and_answered(demo: tuple[Path, dict[str, Any], float]) -> None:
    answer = read(demo[0] / "answer.json")
    assert answer["transcript"]["text"] == "Which body region does this CT scan show?"
    assert answer["label"] == "abdomen"
    assert all(word["end_s"] > word["start_s"] for word in answer["transcript"]["words"])


def test_the_receipt_names_the_recording_and_both_models(demo: tuple[Path, dict[str, Any], float]) -> None:
    receipt = read(demo[0] / "receipt.json")
    assert receipt["sources"][0]["name"] == "question.wav"
    assert receipt["model"]["id"] == "medvox-mini-vlm"
    assert receipt["speech_model"]["id"] == "medvox-mini-asr"
    assert {"transcribe", "read", "prepare", "vision", "prefill", "decode"} <= set(receipt["seconds"])


def test_the_planted_finding_is_beside_the_truth(demo: tuple[Path, dict[str, Any], float]) -> None:
    out, summary, _ = demo
    truth = read(out / "phantom" / "truth.json")
    assert truth["truth"]["findings"] == ["pleural effusion"]
    assert read(out / "phantom" / "presence.json")["label"] == "yes"
    assert read(out / "phantom" / "answer.json")["boxes"]
    assert summary["iou"] == truth["iou"]


@pytest.mark.parametrize("page", ["report.html", "phantom/report.html"])
def test_the_pages_stand_alone(demo: tuple[Path, dict[str, Any], float], page: str) -> None:
    text = (demo[0] / page).read_text(encoding="utf-8")
    assert "Research use only" in text
    assert "data:image/png;base64," in text
    assert "http://" not in text
    assert "https://" not in text
    assert "<script" not in text
