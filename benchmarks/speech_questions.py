"""How many misheard spoken questions `medvox ask` refuses, and how many rightly heard ones: the gate of answer.py.

    python benchmarks/speech_questions.py RUN          # RUN: the folder of recipes/mini_asr.py, with its corpus
    python benchmarks/speech_questions.py RUN --json   # one line of JSON
    python benchmarks/speech_questions.py RUN --write  # and puts the page into benchmarks/results/

A question is misheard when any word differs from what was said. The threshold is chosen on recordings of voices that
the model knows and of held-out variants; the other recordings were not looked at for it. Each goes through the whole
of ``transcribe`` with the model that ships.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from demo_stages import HERE, commit, machine

from medvox.answer import HEARD_FROM, question_confidence
from medvox.catalog import DEFAULT_ASR, resolve_model
from medvox.dictate import transcribe
from medvox.errors import MedvoxError
from medvox.models.speech_model import load_speech_model
from medvox.parse.risks import risks_of
from medvox.synth.corpus import load_corpus
from medvox.synth.voices import SAMPLE_RATE_HZ
from medvox.train.speech_score import normalise

CHOSEN_ON = ("dev", "seen_voice", "held_variant")
REPORTED = ("held_person", "held_engine", "demo")
RIGHT_REFUSED = 0.10  # of the questions that were heard rightly, at most, where the threshold is chosen
COMMAND = "python benchmarks/speech_questions.py RUN --write"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One spoken question: how surely it was heard, whether every word was right, whether the facts were."""

    confidence: float
    right: bool
    facts_right: bool


def asked(run: Path, splits: Sequence[str]) -> dict[str, list[Asked]]:
    """The questions of the splits that the run has."""
    model = load_speech_model(resolve_model(DEFAULT_ASR))
    found: dict[str, list[Asked]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for split in splits:
            corpus = load_corpus(run / "corpus", split)
            for index, line in enumerate(corpus.lines):
                if line.kind == "question":
                    path = Path(folder) / "question.wav"
                    soundfile.write(path, corpus.samples(index), SAMPLE_RATE_HZ)
                    found.setdefault(split, []).append(hear(path, line.text, model))
    return found


def hear(path: Path, said: str, model: Any) -> Asked:
    """One question; what gives no transcript at all is refused as well."""
    try:
        transcript = transcribe(path, model)
    except MedvoxError:
        return Asked(confidence=0.0, right=False, facts_right=False)
    heard, said = normalise(transcript.raw_text), normalise(said)
    return Asked(
        confidence=question_confidence(transcript), right=heard == said, facts_right=facts(heard) == facts(said)
    )


def facts(text: str) -> list[str]:
    """Numbers, units, sides and negations in words, in order."""
    return [text[start:end] for _, start, end in risks_of(text)]


def chosen(questions: Sequence[Asked]) -> float:
    """The highest threshold, in steps of 0.05, that refuses few of the rightly heard."""
    right = [question.confidence for question in questions if question.right]
    steps = [step / 20 for step in range(20)]
    return max(step for step in steps if sum(value < step for value in right) <= RIGHT_REFUSED * len(right))


def row(what: str, questions: Sequence[Asked], threshold: float) -> dict[str, Any]:
    """How many were refused, of the misheard, of those with a wrong fact and of the rightly heard."""
    groups = {
        "right": [question for question in questions if question.right],
        "misheard": [question for question in questions if not question.right],
        "wrong facts": [question for question in questions if not question.facts_right],
    }
    counts: dict[str, Any] = {"what": what, "questions": len(questions)}
    for name, group in groups.items():
        counts[name] = len(group)
        counts[f"{name} refused"] = sum(question.confidence < threshold for question in group)
    passed = [question for question in questions if question.confidence >= threshold]
    counts["misheard among asked"] = round(sum(not one.right for one in passed) / max(len(passed), 1), 3)
    counts["misheard among all"] = round(len(groups["misheard"]) / max(len(questions), 1), 3)
    return counts


def page(rows: Sequence[dict[str, Any]], threshold: float) -> str:
    """The result page."""
    head = [
        "# Spoken questions that are refused",
        "",
        f"- machine: {machine()}",
        f"- date: {datetime.date.today()}",
        f"- commit: {commit()}",
        f"- command: `{COMMAND}`",
        f"- model: `{DEFAULT_ASR}`; threshold in `answer.py`: {HEARD_FROM}; chosen here: {threshold}, the highest that"
        f" refuses at most {RIGHT_REFUSED:.0%} of the rightly heard where it is chosen",
        "- a question is misheard when any of its words is wrong",
        "",
        "| recordings | questions | misheard | of these refused | wrong number, unit, side or negation"
        " | of these refused | rightly heard | of these refused | misheard among those asked |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in rows:
        cells = [
            f"{one[name]} | {share(one[f'{name} refused'], one[name])}" for name in ("misheard", "wrong facts", "right")
        ]
        before, after = one["misheard among all"], one["misheard among asked"]
        head.append(f"| {one['what']} | {one['questions']} | {' | '.join(cells)} | {before:.1%} -> {after:.1%} |")
    return "\n".join(head) + "\n"


def share(part: int, whole: int) -> str:
    return f"{part} ({part / whole:.0%})" if whole else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", type=Path)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the page")
    parser.add_argument("--write", action="store_true", help="write the page into benchmarks/results")
    args = parser.parse_args()
    tuned, tested = asked(args.run, CHOSEN_ON), asked(args.run, REPORTED)
    together = [question for questions in tuned.values() for question in questions]
    threshold = chosen(together)
    rows = [row(f"chosen on: {', '.join(tuned)}", together, HEARD_FROM)]
    rows += [row(split, questions, HEARD_FROM) for split, questions in tested.items()]
    text = page(rows, threshold)
    print(json.dumps({"threshold": HEARD_FROM, "chosen": threshold, "rows": rows}) if args.json else text)
    if args.write:
        name = f"speech-questions_{platform.machine()}-{os.cpu_count()}cores_{datetime.date.today()}.md"
        (HERE / "results" / name).write_text(text)


if __name__ == "__main__":
    main()
