"""What fine-tuning on a few minutes of one voice does, and what a language model of the same texts does instead.

    python benchmarks/speech_finetune.py                    # a quarter of an hour of one core, prints the page
    python benchmarks/speech_finetune.py --only ked         # another voice; people: real human speech
    python benchmarks/speech_finetune.py --write            # and puts the page into benchmarks/results/

A voice that the base model never heard speaks sentences that it never heard, in three parts that share no sentence:
one is learned from, one chooses the epoch, one gives the figures. Hand-written sentences by the same voice tell whether
the voice was learned or the sentences; other persons, whether anything was forgotten. Each model is made by
``recipes/finetune_asr.py``, in a process of its own, with the published preset and with that for small models. The part
``people`` needs the developers' shared data; it learns from its train parts and is scored on other persons. The voices
need Debian's festival and festvox-kdlpc16k, flite, rhvoice and libttspico-utils.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
import torch
from demo_stages import HERE, commit, machine

from medvox.catalog import DEFAULT_ASR, resolve_model
from medvox.dictate import learn_lm
from medvox.models.arpa import open_lm
from medvox.models.beam import BEAM_TUNED, BeamSettings
from medvox.models.speech_model import SpeechModel, load_speech_model
from medvox.score.wer import TextScore, difference, interval, score_texts
from medvox.synth.corpus import load_corpus
from medvox.synth.dictation import ScriptWriter, is_held_out
from medvox.synth.voices import BDL, KED, PICO, RMS, SAMPLE_RATE_HZ, Voice, speak
from medvox.synth.written_sentences import WRITTEN_SENTENCES
from medvox.train.human_speech import Recording, make_human_shard, tested_digits, tested_sentences
from medvox.train.speech_score import model_recogniser, normalise

COMMAND = "python benchmarks/speech_finetune.py --write"
RECIPE = HERE.parent / "recipes" / "finetune_asr.py"
REAL = Path(__file__).parents[2] / "shared" / "data" / "speech"
PEOPLE = "people"
VOICES: Mapping[str, Voice] = {"pico": PICO[1], "ked": KED}
USUAL = ("pico", PEOPLE)
OTHERS = (RMS, KED, BDL)
LINES = {"train": 150, "validation": 40, "test": 80}
OTHER_LINES = 30  # of each other person
CHOOSING = ("libri-2033", "theo")  # of the human train part: they choose the epoch
ORDER = 6
PRESETS = {PEOPLE: ("finetune.small",)}
BOTH = ("finetune.medasr", "finetune.small")

Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What is learned from, by side, and what is scored, by title; all of it spoken."""

    name: str
    title: str
    learned: Mapping[str, Sequence[Recording]]
    scored: Mapping[str, Sequence[Recording]]


def spoken(texts: Sequence[str], voice: Voice) -> list[Recording]:
    return [Recording(speaker=voice.person, text=text, samples=speak(text, voice)) for text in texts]


def held_out_texts(seed: int) -> Iterator[str]:
    """Questions and report sentences that the base model never learned, each once."""
    writer, known = ScriptWriter(seed), set()
    while True:
        kind, text = writer.line()
        if kind != "general" and is_held_out(text) and text not in known and text not in WRITTEN_SENTENCES:
            known.add(text)
            yield text


def voice_part(name: str) -> Part:
    voice, texts = VOICES[name], held_out_texts(seed=21)
    sides = {side: spoken([next(texts) for _ in range(count)], voice) for side, count in LINES.items()}
    test = sides.pop("test")
    others = [one for one in OTHERS if one.person != voice.person]
    strangers = [one for other in others for one in spoken([next(texts) for _ in range(OTHER_LINES)], other)]
    scored = {
        f"{voice.person}, other sentences": test,
        f"{voice.person}, hand-written sentences": spoken(WRITTEN_SENTENCES, voice),
        f"other persons ({', '.join(one.person for one in others)})": strangers,
    }
    return Part(name=name, title=f"One voice: {voice.engine} {voice.name}", learned=sides, scored=scored)


def people_part(folder: Path) -> Part:
    make_human_shard(REAL, folder)
    corpus = load_corpus(folder, "train")
    sides: dict[str, list[Recording]] = {"train": [], "validation": []}
    for index, line in enumerate(corpus.lines):
        speaker = line.voice.removeprefix("human ")
        samples = corpus.samples(index).astype(np.float32) / np.float32(32768)
        side = "validation" if speaker in CHOOSING else "train"
        sides[side].append(Recording(speaker=speaker, text=line.text, samples=samples))
    texts = held_out_texts(seed=22)
    strangers = [one for voice in OTHERS for one in spoken([next(texts) for _ in range(OTHER_LINES)], voice)]
    scored = {
        "other people: books, speech, commands": tested_sentences(REAL),
        "another person: digits": tested_digits(REAL),
        "synthetic persons (rms, ked, bdl)": strangers,
    }
    return Part(name=PEOPLE, title="People reading books and saying digits", learned=sides, scored=scored)


def write_recordings(part: Part, folder: Path) -> None:
    """A folder as a user has one: sounds and ``manifest.jsonl``; and ``texts.txt`` of the training."""
    folder.mkdir()
    rows = []
    for side, recordings in part.learned.items():
        for number, one in enumerate(recordings):
            name = f"{side}-{number}.wav"
            soundfile.write(folder / name, np.clip(one.samples, -1, 1), SAMPLE_RATE_HZ, subtype="PCM_16")
            rows.append({"audio": name, "text": one.text, "speaker": one.speaker, "split": side})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    texts = sorted({one.text for one in part.learned["train"]})
    (folder / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")


def fine_tune(part: Part, base: SpeechModel, preset: str, folder: Path) -> dict[str, Any]:
    """Run the recipe; what it did, with the processor minutes that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [folder / "recordings", "--model", folder / "base", "--preset", preset, "--out", folder / preset, "--json"]
    words += ["--shortest", "0.2"] if part.name == PEOPLE else ["--same-speakers"]
    done = subprocess.run(
        [sys.executable, str(RECIPE), *map(str, words)], stdout=subprocess.PIPE, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    minutes = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60
    answer = json.loads(done.stdout)
    row = {"part": part.title, "preset": preset, "core_minutes": round(minutes, 1)}
    if "error" in answer:
        return row | {"outcome": answer["error"]["code"]}
    if answer["base"]["weights_sha256"] != base.sha256:
        raise SystemExit("the weights of the base changed meanwhile")
    training, data, settings = answer["training"], answer["data"], answer["settings"]
    best = next(one for one in training["evaluations"] if one["step"] == training["best_step"])
    return row | {
        "outcome": "written",
        "clips": data["train"]["clips"],
        "minutes": round(60 * data["train"]["hours"], 1),
        "steps": training["steps"],
        "highest_rate": settings["peak_rate"] * min(1, training["steps"] / settings["warm_up_steps"]),
        "best_epoch": best["epoch"],
        "validation_before": training["evaluations"][0]["wer"],
        "validation_after": best["wer"],
    }


def ways(base: SpeechModel, runs: Rows, folder: Path) -> dict[tuple[str, str], tuple[SpeechModel, BeamSettings | None]]:
    """Models with the settings of the search, by name and way of searching; the base is the first of each way."""
    texts = folder / "texts.ngram"
    learn_lm([folder / "recordings" / "texts.txt"], texts, model=base, order=ORDER)
    written = [run["preset"] for run in runs if run["outcome"] == "written"]
    models = {"base": base} | {name: load_speech_model(folder / name) for name in written}
    found: dict[tuple[str, str], tuple[SpeechModel, BeamSettings | None]] = {}
    for name, model in models.items():
        found[name, "greedy"] = (model, None)
        found[name, "LM of the texts"] = (replace(model, lm=open_lm(texts, model.pieces)), BEAM_TUNED)
        if model.lm is not None:
            found[name, "LM of the base"] = (model, BEAM_TUNED)
    return found


def measure(part: Part, base: SpeechModel, folder: Path) -> tuple[Rows, Rows]:
    """What the runs did, and the error rates of every way on every set."""
    write_recordings(part, folder / "recordings")
    runs = [fine_tune(part, base, preset, folder) for preset in PRESETS.get(part.name, BOTH)]
    rows: Rows = []
    tried = ways(base, runs, folder)
    for title, recordings in part.scored.items():
        references = [one.text for one in recordings]
        before: dict[str, TextScore] = {}  # the base's, by way of searching
        for (name, how), (heard_by, settings) in tried.items():
            hear = model_recogniser(heard_by.network, heard_by.tokenizer, heard_by.lm, settings)
            scored = score_texts(references, [normalise(hear(one.samples)) for one in recordings])
            first = before.setdefault(how, scored)
            bounds, change = interval(scored.utterances), difference(first.utterances, scored.utterances)
            rows.append(
                {
                    "part": part.title, "recordings": title, "clips": len(references), "way": f"{name}, {how}",
                    "wer": 100 * scored.wer, "low": 100 * bounds.low, "high": 100 * bounds.high, "p": change.p_value,
                }
            )  # fmt: skip
            print(f"{part.name}: {title}: {name}, {how}: {100 * scored.wer:.1f}", file=sys.stderr, flush=True)
    return runs, rows


def page(runs: Rows, rows: Rows, base: SpeechModel) -> str:
    lines = [
        f"# Fine-tuning, `{base.name}`",
        "",
        f"- machine: {machine()}",
        f"- date: {datetime.date.today()}",
        f"- commit: {commit()}",
        f"- weights of the base: {base.sha256[:12]}",
        f"- command: `{COMMAND}`",
        "- word error rate in percent (95 % interval by clip), the training's own normaliser; * differs from the base's"
        " with the same search, p < 0.05, paired by clip",
        f"- language models: order {ORDER} of the texts of the training part only, or the one that comes with the base;"
        " searched as `medvox transcribe` does",
    ]
    for title in dict.fromkeys(run["part"] for run in runs):
        mine = [row for row in rows if row["part"] == title]
        done = [run for run in runs if run["part"] == title]
        lines += ["", f"## {title}", "", *_runs_table(done), "", *_rates_table(mine)]
    return "\n".join([*lines, ""])


def _runs_table(runs: Rows) -> list[str]:
    lines = [
        "| preset | clips | minutes | steps | highest rate | epoch chosen | validation before, after | core-minutes |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for run in runs:
        if run["outcome"] != "written":
            lines.append(f"| `{run['preset']}` | | | | | {run['outcome']} | | {run['core_minutes']} |")
            continue
        rates = f"{100 * run['validation_before']:.1f}, {100 * run['validation_after']:.1f}"
        cells = (run["clips"], run["minutes"], run["steps"], f"{run['highest_rate']:.1e}", run["best_epoch"], rates)
        lines.append(f"| `{run['preset']}` | {' | '.join(map(str, cells))} | {run['core_minutes']} |")
    return lines


def _rates_table(rows: Rows) -> list[str]:
    heads = dict.fromkeys(f"{row['recordings']} ({row['clips']} clips)" for row in rows)
    lines = [f"| heard by | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for way in dict.fromkeys(row["way"] for row in rows):
        cells = [
            f"{row['wer']:.1f}{'*' if row['p'] < 0.05 else ''} ({row['low']:.1f} to {row['high']:.1f})"
            for row in rows
            if row["way"] == way
        ]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_ASR, help="a name from `medvox models list`, or a model folder")
    parser.add_argument("--only", choices=(*VOICES, PEOPLE), help="one part")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the page")
    parser.add_argument("--write", action="store_true", help="write the page into benchmarks/results as well")
    args = parser.parse_args()
    torch.set_num_threads(1)
    place = resolve_model(args.model)
    base = load_speech_model(place)
    runs: Rows = []
    rows: Rows = []
    for name in [args.only] if args.only else USUAL if REAL.is_dir() else USUAL[:1]:
        with TemporaryDirectory() as folder:
            shutil.copytree(place, Path(folder) / "base")
            part = people_part(Path(folder)) if name == PEOPLE else voice_part(name)
            for found, kept in zip(measure(part, base, Path(folder)), (runs, rows), strict=True):
                kept += found
    text = page(runs, rows, base)
    print(json.dumps({"runs": runs, "rows": rows}, indent=1) if args.json else text)
    if args.write:
        name = f"speech-finetune_{platform.machine()}-{os.cpu_count()}cores_{datetime.date.today()}.md"
        (HERE / "results" / name).write_text(text)


if __name__ == "__main__":
    main()
