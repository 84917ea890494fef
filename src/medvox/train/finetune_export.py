"""The best weights of a fine-tuning -> a hub folder that is run like its base, scored anew, with card and provenance.

Last step of the fine-tuning. What the card says is measured on the folder as written. Holds counts of the material,
never a text, a file name or a speaker.
"""

from __future__ import annotations

import datetime
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from medvox.data.manifest import Manifest
from medvox.errors import CheckError, InputError, UsageError
from medvox.models.conformer import LasrForCTC
from medvox.models.speech_model import LM_FILE, SpeechModel, load_speech_model
from medvox.models.weights import SINGLE, read_config, save_folder
from medvox.score.wer import Difference, TextScore, difference, interval, score_texts
from medvox.train.finetune import FineTuning, Outcome, hear
from medvox.train.finetune_data import Example, Loader, Parts
from medvox.types import to_json

PROVENANCE = "finetune.json"
CARD = "README.md"
# What a folder needs beside the weights; the language model of the tokens stays valid, calibrated confidences do not.
COMPANIONS = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model", "preprocessor_config.json",
    "processor_config.json", LM_FILE, "LICENSE", "NOTICE",
)  # fmt: skip
WRITTEN = (*COMPANIONS, "config.json", SINGLE, PROVENANCE, CARD)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How the base and the new model hear the same recordings."""

    title: str
    before: TextScore
    after: TextScore

    @property
    def change(self) -> Difference:
        """Of the word error rate, paired."""
        return difference(self.before.utterances, self.after.utterances)


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What the card tells about where the weights come from.

    Attributes:
        base: name of the base model.
        base_sha256: of its weights.
        manifest: of the material.
        parts: how it was divided.
        preset: name of the settings before they were changed one by one.
        settings: of the run.
        outcome: of the run.
    """

    base: str
    base_sha256: str
    manifest: Manifest
    parts: Parts
    preset: str
    settings: FineTuning
    outcome: Outcome


def prepare_output(out: Path, base: Path, run: Path, *, overwrite: bool) -> None:
    """Makes sure that nothing is written over by accident.

    Raises:
        UsageError: ``E_OUTPUT_PLACE``, the output is the base, or holds or lies in the folder of the run.
        InputError: ``E_OUTPUT_EXISTS``, there is something else, or it may not be overwritten.
    """
    places = out.resolve(), run.resolve()
    if places[0] == base.resolve() or places[0].is_relative_to(places[1]) or places[1].is_relative_to(places[0]):
        raise UsageError(
            "the new model, its base and the folder of the run must lie apart",
            fix="give another --out or --run",
            code="E_OUTPUT_PLACE",
        )
    present = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if out.exists() and (not out.is_dir() or (present and "config.json" not in present)):
        raise InputError(f"{out.name} is no model folder", fix="give an empty or new folder", code="E_OUTPUT_EXISTS")
    if overwrite:
        for name in (*WRITTEN, *(one for one in present if one.startswith("model") and ".safetensors" in one)):
            (out / name).unlink(missing_ok=True)
        for path in run.glob("*") if run.is_dir() else ():
            if path.name in ("last.safetensors", "history.json", "run.json", "split.csv"):
                path.unlink()
    elif present and not (run / "run.json").exists():
        raise InputError(
            f"{out.name} holds a model that this run did not write",
            fix="give another --out, or --overwrite",
            code="E_OUTPUT_EXISTS",
        )


def write_model(network: LasrForCTC, base: Path, out: Path) -> None:
    """Weights in float32, the base's configuration, and the files that belong to the tokens."""
    out.mkdir(parents=True, exist_ok=True)
    for name in COMPANIONS:
        if (base / name).is_file():
            shutil.copyfile(base / name, out / name)
    config = {key: value for key, value in read_config(base).items() if key not in ("dtype", "torch_dtype")}
    save_folder(network, config, out, torch.float32)


def compare(
    base: Path, out: Path, sets: Sequence[tuple[str, Sequence[Example]]], settings: FineTuning
) -> list[Comparison]:
    """Both folders, loaded anew, on the same recordings; greedy."""
    rows = []
    models = [load_speech_model(folder) for folder in (base, out)]
    for title, examples in sets:
        references = [example.text for example in examples]
        scores = [
            score_texts(references, heard(model, examples, settings.batch), normalise_by=settings.normaliser)
            for model in models
        ]
        rows.append(Comparison(title=title, before=scores[0], after=scores[1]))
    return rows


def heard(model: SpeechModel, examples: Sequence[Example], size: int) -> list[str]:
    """Greedy texts, on a GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = model.network.to(device)
    return hear(replace(model, network=network), examples, Loader(network, None), size)[0]


def refuse_without_gain(outcome: Outcome) -> None:
    """Stops where no evaluation was better than the base.

    Raises:
        CheckError: ``E_FINETUNE_NO_GAIN``.
    """
    first = outcome.evaluations[0]
    if outcome.best is first:
        later = min(one.wer for one in outcome.evaluations[1:]) if len(outcome.evaluations) > 1 else first.wer
        raise CheckError(
            f"no evaluation was better than the base model (word error rate {100 * first.wer:.1f} %, best later "
            f"{100 * later:.1f} %), so no model was written",
            fix="more --epochs goes on with this run; else more recordings, another --learning-rate or --warm-up, or a "
            "language model of your texts (medvox models lm)",
            code="E_FINETUNE_NO_GAIN",
        )


def write_card(out: Path, base: Path, origin: Origin, scores: Sequence[Comparison]) -> None:
    """``README.md`` for people and ``finetune.json`` for programs."""
    provenance = _provenance(out, origin, scores)
    (out / PROVENANCE).write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
    settings, outcome = origin.settings, origin.outcome
    text = _CARD.format(
        licence=_licence(base),
        name=out.name,
        base=origin.base,
        base_sha256=origin.base_sha256,
        data=_data_table(origin.parts),
        bad=len(origin.manifest.bad),
        notes="".join(f"* {note}.\n" for note in (*origin.parts.notes, *(one.text for one in origin.manifest.flags))),
        normaliser=settings.normaliser,
        scores=_score_table(scores),
        preset=origin.preset,
        settings=_settings_line(settings),
        steps=outcome.steps,
        skipped=outcome.skipped,
        minutes=60 * outcome.heard_hours,
        best_epoch=outcome.best.epoch,
        best_step=outcome.best.step,
    )
    (out / CARD).write_text(text, encoding="utf-8")


def _provenance(out: Path, origin: Origin, scores: Sequence[Comparison]) -> dict[str, Any]:
    outcome = origin.outcome
    return {
        "base": {"name": origin.base, "weights_sha256": origin.base_sha256},
        "weights_sha256": load_speech_model(out).sha256,
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("medvox", "torch", "tokenizers")},
        "preset": origin.preset,
        "settings": _settings(origin.settings),
        "data": {
            "manifest_sha256": origin.manifest.sha256,
            "unusable_rows": len(origin.manifest.bad),
            "flags": [flag.as_dict() for flag in origin.manifest.flags],
            "notes": list(origin.parts.notes),
            **{name: _counts(examples) for name, examples in _sides(origin.parts)},
        },
        "training": {
            "steps": outcome.steps,
            "skipped": outcome.skipped,
            "heard_hours": round(outcome.heard_hours, 3),
            "best_step": outcome.best.step,
            "evaluations": [
                {"step": one.step, "epoch": one.epoch, "loss": one.loss, "wer": one.wer} for one in outcome.evaluations
            ],
        },
        "scores": [
            {
                "recordings": one.title,
                "before": one.before.as_dict() | {"interval": to_json(interval(one.before.utterances))},
                "after": one.after.as_dict() | {"interval": to_json(interval(one.after.utterances))},
                "change": to_json(one.change),
            }
            for one in scores
        ],
    }


def _sides(parts: Parts) -> tuple[tuple[str, Sequence[Example]], ...]:
    return ("train", parts.train), ("validation", parts.validation), ("test", parts.test)


def _counts(examples: Sequence[Example]) -> dict[str, Any]:
    return {
        "clips": len(examples),
        "hours": round(sum(example.clip.duration_s for example in examples) / 3600, 3),
        "speakers": len({example.clip.speaker for example in examples} - {""}),
    }


def _data_table(parts: Parts) -> str:
    lines = ["| part | clips | minutes | speakers |", "| --- | ---: | ---: | ---: |"]
    for name, examples in _sides(parts):
        values = _counts(examples)
        minutes, speakers = 60 * values["hours"], values["speakers"] or "not stated"
        lines.append(f"| {name} | {values['clips']} | {minutes:.1f} | {speakers} |")
    return "\n".join(lines)


def _score_table(scores: Sequence[Comparison]) -> str:
    lines = ["| recordings | clips | base | this model | change | p |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for one in scores:
        change = one.change
        span = f"{100 * change.value:+.1f} ({100 * change.interval.low:+.1f} to {100 * change.interval.high:+.1f})"
        cells = (one.title, len(one.before.utterances), _rate(one.before), _rate(one.after), span, change.p_value)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _rate(score: TextScore) -> str:
    bounds = interval(score.utterances)
    return f"{100 * score.wer:.1f} ({100 * bounds.low:.1f} to {100 * bounds.high:.1f})"


def _settings(settings: FineTuning) -> dict[str, Any]:
    values = asdict(settings)
    if settings.effects is not None:  # folders are places of one machine
        values["effects"] |= {
            name: "folder" if isinstance(value, Path) else value
            for name, value in (("noise", settings.effects.noise), ("rooms", settings.effects.rooms))
        }
    return to_json(values)


def _settings_line(settings: FineTuning) -> str:
    return ", ".join(f"{name} {value}" for name, value in _settings(settings).items() if name != "save_every_s")


def _licence(base: Path) -> str:
    """The licence lines of the base's card: a fine-tuned model stays under the terms of its base."""
    card = base / CARD
    head = card.read_text(encoding="utf-8", errors="replace").split("---")[1:2] if card.is_file() else []
    lines = re.findall(r"^license[a-z_]*:.*$", head[0], re.MULTILINE) if head else []
    return "\n".join(lines) or "license: other"


_CARD = """\
---
{licence}
language: en
pipeline_tag: automatic-speech-recognition
base_model: {base}
tags: [medvox, lasr_ctc, fine-tuned]
---
# {name}

{base} (weights `{base_sha256}`), trained on with recordings of its user. **Not for clinical use without an evaluation
of your own.** The terms of the base model apply. A model can keep parts of what it was trained on: do not pass it on if
the recordings or texts may not be passed on.

    medvox transcribe FILE --model FOLDER

## Material
{data}

{bad} rows of the manifest could not be used. Minutes are of the recordings as they are, before any augmentation.
{notes}
## Scores
Word error rate in percent with 95 % interval, greedy, words compared by the `{normaliser}` rule, measured on the
folder as written. The weights were chosen on the validation part, so its figure flatters; that of a test part does not.

{scores}

## Training
Preset `{preset}`; {settings}. {steps} steps, {skipped} of them skipped because the loss was not finite, {minutes:.1f}
minutes heard. The best weights are those of epoch {best_epoch}, step {best_step}. `finetune.json` holds all of this for
programs.
"""
