"""The main job on inputs that ship with the package. The verb ``demo``.

Case one: a real CT series and a recorded question about it. Case two: a generated scan with a planted finding, so that
the answer can be seen beside the truth. Nothing in it is scripted: both cases go the same way as a user's own files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medvox.answer import ask, ask_volume, write_report
from medvox.data.results import Answer
from medvox.data.square import BoxXyxy, overlap
from medvox.dictate import transcribe
from medvox.report.ct_figures import Truth, shown_number
from medvox.synth.ct import CtCase, generate_ct
from medvox.synth.findings import REGION_OF
from medvox.synth.questions import with_article
from medvox.types import Progress, no_progress

SAMPLES = Path(__file__).parent / "samples"
PHANTOM_SEED = 2_010_000  # beyond every seed that was trained or scored on
FINDING = "pleural effusion"  # the one that the small model locates best, see its card


def run_demo(out: Path, progress: Progress = no_progress) -> dict[str, Any]:
    """Run both cases and write their answers, receipts and reports below ``out``.

    Returns:
        A summary of what was asked, answered and written.
    """
    transcript = transcribe(SAMPLES / "question.wav", progress=progress)
    answer = ask(transcript, SAMPLES / "ct_abdomen", report=out / "report.html", progress=progress)
    real = _write(out, answer)

    case = generate_ct(PHANTOM_SEED, region=REGION_OF[FINDING], findings=(FINDING,), slices=24)
    present = ask_volume(f"Is there {with_article(FINDING)} in this scan?", case.volume, progress=progress)
    place = ask_volume(f"Where is the {FINDING}?", case.volume, progress=progress)
    truth = Truth(label=FINDING, boxes={index: _floats(box) for index, box in case.boxes.get(FINDING, {}).items()})
    write_report(out / "phantom" / "report.html", place, case.volume, truth)
    phantom = _write(out / "phantom", place)
    _write_json(out / "phantom" / "presence.json", present.as_dict())
    _write_json(out / "phantom" / "truth.json", _truth_facts(case, place))
    return {"real": real, "phantom": {**phantom, **_summary(present, "presence")}, **_truth_facts(case, place)}


def _truth_facts(case: CtCase, place: Answer) -> dict[str, Any]:
    """The planted truth beside what was found."""
    boxes = case.boxes.get(FINDING, {})
    facts: dict[str, Any] = {
        "truth": {
            "region": case.region,
            "findings": list(case.findings),
            "boxes": {f"slice {index}": list(box) for index, box in boxes.items()},
        }
    }
    if place.boxes:
        index = place.receipt["slices"]["used"][shown_number(place.boxes[0]) - 1]
        facts["iou"] = round(overlap(place.boxes[0].box_xyxy, _floats(boxes[index])), 3) if index in boxes else 0.0
    return facts


def _write(out: Path, answer: Answer) -> dict[str, Any]:
    """Write ``answer.json`` and ``receipt.json`` beside the report, and sum them up."""
    _write_json(out / "answer.json", answer.as_dict())
    _write_json(out / "receipt.json", answer.receipt)
    return {**_summary(answer, "answer"), "report": (out / "report.html").as_posix()}


def _summary(answer: Answer, name: str) -> dict[str, Any]:
    question = answer.transcript.text if answer.transcript else answer.receipt["question"]
    return {
        name: {
            "question": question,
            "label": answer.label,
            "probability": answer.probability,
            "flags": [flag.code for flag in answer.flags],
        }
    }


def _floats(box: tuple[int, int, int, int]) -> BoxXyxy:
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
