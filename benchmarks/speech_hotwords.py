"""How many drug names that the model never heard are right with and without a list of hot words, and what that costs.

    python benchmarks/speech_hotwords.py                         # the test list, prints the page
    python benchmarks/speech_hotwords.py --names dev             # the list on which weights were chosen
    python benchmarks/speech_hotwords.py --run RUN --write       # RUN: the folder of recipes/mini_asr.py

Each name of ``drug_names.py`` is spoken in four sentences, by two voices of persons that the model was not trained on
and two that it was. The hot words are all names of the list, in a file without weights, as a user would write it.
``recall`` is the share of clips in which the name is a word of the text; a wrong name is another of the list. Control
sentences hold none of the hot words; the short ones are drug names that lie near to plain words. With ``--run`` the
page says how many of the names the training lines hold; ``--sounds FOLDER`` keeps the spoken clips.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import platform
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from demo_stages import HERE, commit, machine
from drug_names import DEV, TEST
from torch import Tensor

from medvox.catalog import DEFAULT_ASR, resolve_model
from medvox.dictate import Decoding, open_decoder
from medvox.encode.batch import to_features
from medvox.encode.speech import log_mel
from medvox.models.speech_model import SpeechModel, load_speech_model
from medvox.parse.transcript import raw_text, words_from_tokens
from medvox.score.wer import score_texts
from medvox.synth.corpus import load_corpus
from medvox.synth.dictation import ScriptWriter, is_held_out
from medvox.synth.voices import AWB, BDL, CLB, ESPEAK_TRAIN, KAL, KED, PICO, RMS, SLT, Voice, speak
from medvox.types import Samples

GOAL = 30.0  # points
CONTROLS = 200
NEW, KNOWN = (RMS, KED, BDL, *PICO), (SLT, KAL, AWB, CLB, ESPEAK_TRAIN[0])
SENTENCES = (
    "the patient was given {} period",
    "history of treatment with {} comma no change",
    "the lesion has decreased with {}",
    "follow up of {} in three months",
    "there is no pleural effusion with {} period",
    "impression likely {} comma clinical correlation is advised",
    "the patient is on {} and the lungs are clear",
    "is there a reaction to {}",
    "recommend {} for five days period",
    "compared with march four {} is new",
)
_SHORT = "advil alba asa bactrim clio eliquis gout lasix lund norco pica plavix raas stent tosh xarelto zofran"
SHORT = tuple(_SHORT.split())
COMMAND = "python benchmarks/speech_hotwords.py --run RUN --write"

Hear = Callable[[Tensor], str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """A spoken sentence, the hot word in it, if any, and whether the person is new to the model."""

    text: str
    name: str
    voice: Voice

    @property
    def new(self) -> bool:  # noqa: D102
        return self.voice.held_out


def named_clips(names: Sequence[str]) -> list[Clip]:
    rng = random.Random(1)
    return [
        Clip(text=rng.choice(SENTENCES).format(name), name=name, voice=voice)
        for name in names
        for voice in (*rng.sample(NEW, 2), *rng.sample(KNOWN, 2))
    ]


def control_clips() -> list[Clip]:
    """Held-out sentences of the dictation grammar."""
    rng, writer, texts = random.Random(5), ScriptWriter(5), dict[str, None]()
    while len(texts) < CONTROLS:
        text = writer.line(rng.choice(("report", "report", "question")))[1]
        if is_held_out(text) and not set(SHORT) & set(text.split()):
            texts[text] = None
    return [Clip(text=text, name="", voice=rng.choice((*NEW, *KNOWN))) for text in texts]


def spoken(clip: Clip, folder: Path) -> Samples:
    """The sound of a clip, kept by what is said by whom."""
    said = f"{clip.voice.engine} {clip.voice.name} {clip.text}"
    path = folder / f"{hashlib.sha256(said.encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        np.save(path, (np.clip(speak(clip.text, clip.voice), -1, 1) * 32767).astype(np.int16))
    return np.load(path).astype(np.float32) / np.float32(32767)


@torch.inference_mode()
def logits_of(model: SpeechModel, clips: Sequence[Clip], folder: Path) -> Iterator[tuple[Clip, Tensor]]:
    for clip in clips:
        yield clip, model.network(to_features(log_mel(spoken(clip, folder)))[None])[0]


def hearing(model: SpeechModel, phrases: Sequence[str]) -> Hear:
    """Logits to text, as ``medvox transcribe --hotwords FILE`` does; without hot words where there are no phrases."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "hot.txt"
        file.write_text("\n".join(phrases))
        decoder = open_decoder(model, Decoding(hotwords=file if phrases else None))
    return lambda logits: raw_text(words_from_tokens(decoder(logits)[0].tokens, model.pieces))


def error_rate(clips: Sequence[Clip], texts: Sequence[str]) -> float:
    return round(100 * score_texts([clip.text for clip in clips], texts).wer, 1)


def recall_row(
    what: str, clips: Sequence[Clip], heard: dict[str, list[str]], names: Sequence[str]
) -> dict[str, object]:
    """What became of the names of some clips."""
    row: dict[str, object] = {"what": what, "clips": len(clips)}
    recalls = {}
    for way, texts in heard.items():
        words = [set(text.split()) for text in texts]
        recalls[way] = 100 * sum(clip.name in found for clip, found in zip(clips, words, strict=True)) / len(clips)
        wrong = sum(len(found & set(names) - {clip.name}) for clip, found in zip(clips, words, strict=True))
        row |= {f"recall_{way}": round(recalls[way], 1), f"wrong_{way}": wrong, f"wer_{way}": error_rate(clips, texts)}
    lift = recalls["with"] - recalls["without"]
    return {**row, "lift": round(lift, 1), "goal": GOAL, "met": lift >= GOAL}


def measure(model: SpeechModel, names: Sequence[str], folder: Path) -> dict[str, list[dict[str, object]]]:
    ways = {"without": hearing(model, ()), "with": hearing(model, names)}
    rows = list(logits_of(model, named_clips(names), folder))
    recalls = []
    for what, picked in (
        ("new persons", [row for row in rows if row[0].new]),
        ("training voices", [row for row in rows if not row[0].new]),
        ("all", rows),
    ):
        heard = {way: [hear(logits) for _, logits in picked] for way, hear in ways.items()}
        recalls.append(recall_row(what, [clip for clip, _ in picked], heard, names))
    rows = list(logits_of(model, control_clips(), folder))
    controls = []
    lists = {"none": (), "the names": tuple(names), f"{len(SHORT)} short words": SHORT}
    for what, phrases in lists.items():
        hear = hearing(model, phrases)
        texts = [hear(logits) for _, logits in rows]
        inserted = sum(word in phrases for text in texts for word in text.split())
        rate = error_rate([clip for clip, _ in rows], texts)
        controls.append({"what": what, "clips": len(rows), "inserted": inserted, "wer": rate})
    return {"names": recalls, "controls": controls}


def page(found: dict[str, list[dict[str, object]]], facts: Sequence[str]) -> str:
    lines = [
        "# Hot words",
        "",
        *(f"- {fact}" for fact in facts),
        "",
        "| spoken by | clips | recall %, without | with | lift (goal) | met | wrong names, without | with "
        "| WER %, without | with |",
        "| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in found["names"]:
        cells = [row[key] for key in ("what", "clips", "recall_without", "recall_with")]
        cells += [f"{row['lift']} ({row['goal']:g})", "yes" if row["met"] else "no"]
        cells += [row[key] for key in ("wrong_without", "wrong_with", "wer_without", "wer_with")]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", "| hot words, sentences without them | clips | inserted | WER % |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {r['what']} | {r['clips']} | {r['inserted']} | {r['wer']} |" for r in found["controls"]]
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_ASR, help="a name from `medvox models list`, or a model folder")
    parser.add_argument("--names", choices=("dev", "test"), default="test")
    parser.add_argument("--run", type=Path, help="folder of recipes/mini_asr.py with its corpus")
    parser.add_argument("--sounds", type=Path, help="folder that keeps the spoken clips")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the page")
    parser.add_argument("--write", action="store_true", help="write the page into benchmarks/results as well")
    args = parser.parse_args()
    if args.write and args.names == "dev":
        parser.error("the page in benchmarks/results is of the test list; nothing was chosen on it")
    torch.set_num_threads(1)
    model = load_speech_model(resolve_model(args.model))
    names = {"dev": DEV, "test": TEST}[args.names]
    with ExitStack() as held:
        folder = args.sounds or Path(held.enter_context(TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        found = measure(model, names, folder)
    facts = [f"machine: {machine()}", f"date: {datetime.date.today()}", f"commit: {commit()}"]
    facts += [
        f"model: {model.name}, weights {model.sha256[:12]}, {'with' if model.lm else 'without'} its language model"
    ]
    facts += [f"command: `{COMMAND}`", f"{args.names} list: {len(names)} names, all of them in the file of hot words"]
    facts.append("the weights of hot words are the usual ones, which were chosen on the dev list")
    if args.run:
        read = {word for line in load_corpus(args.run / "corpus", "train").lines for word in line.text.split()}
        facts.append(f"names in the training lines: {len(read & set(names))}")
    text = page(found, facts)
    print(json.dumps(found, indent=1) if args.json else text)
    if args.write:
        name = f"speech-hotwords_{platform.machine()}-{os.cpu_count()}cores_{datetime.date.today()}.md"
        (HERE / "results" / name).write_text(text)


if __name__ == "__main__":
    main()
