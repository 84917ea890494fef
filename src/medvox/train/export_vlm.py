"""The end of the recipe: score the model on held-out phantoms, and write the hub folder with its model card."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template

import torch
from torch import Tensor

from medvox.encode.prompt import CT_INSTRUCTION, FORMAT_RULES
from medvox.encode.text import TextTokenizer
from medvox.models.domain import Domain
from medvox.models.engine import Engine
from medvox.models.vlm import MedGemma
from medvox.models.weights import load_vlm, save_folder
from medvox.synth.ct import REGIONS
from medvox.synth.findings import FINDINGS
from medvox.synth.questions import PLACE_QUESTIONS, PRESENCE_QUESTIONS, REGION_QUESTIONS, spellings, with_article
from medvox.train.phantom_scores import (
    Examiner,
    Share,
    macro,
    mean_interval,
    place_score,
    presence_score,
    region_score,
)  # fmt: skip
from medvox.train.phantoms import PhantomSet
from medvox.train.vlm import soft_tokens
from medvox.types import Progress, no_progress

REGION_WORDS = ("region", "body part", "part of the body")
TEMPLATES = Path(__file__).parent  # chat_template.jinja and mini_vlm_card.md lie beside this file


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What the model card tells, as finished lines of text."""

    learned_from: str
    region: Share
    presence: dict[str, Share]
    blank: Share
    place: dict[str, tuple[Share, list[float]]]

    @property
    def learned(self) -> list[str]:
        """The findings whose presence is answered better than by chance: the whole interval lies above one half."""
        return [name for name, share in self.presence.items() if share.interval[0] > 0.5]


def chat_corpus() -> Iterator[str]:
    """Text from which the small model's vocabulary is learned: everything the protocol says, and its numbers."""
    draw = random.Random(0)
    for _ in range(40):
        yield "user\n" + CT_INSTRUCTION + "\n\nSLICE " + str(draw.randint(1, 85))
        yield "model\n"
        for rule in FORMAT_RULES.values():
            yield " " + rule
        for region in REGIONS:
            yield f"Final Answer: {region}"
        for name in FINDINGS:
            for wording in (*PRESENCE_QUESTIONS, *PLACE_QUESTIONS, *REGION_QUESTIONS):
                written = draw.choice(spellings(name))
                yield wording.format(name=written, a_name=with_article(written))
            box = ", ".join(str(draw.randint(0, 1000)) for _ in range(4))
            item = f'{{"slice": {draw.randint(1, 85)}, "box_2d": [{box}], "label": "{name}"}}'
            yield f"Final Answer: ```json\n[{item}]\n```"
        yield "Final Answer: yes Final Answer: no ```json\n[]\n```"


@torch.no_grad()
def scan_averages(model: MedGemma, data: PhantomSet, cells: Tensor) -> Tensor:
    """(cases, D): the average soft token of each case."""
    tokens = soft_tokens(model, cells).mean(1)  # (L, D)
    cases = range(len(data.regions))
    return torch.stack([tokens[data.starts[case] : data.starts[case + 1]].mean(0) for case in cases])


def write_folder(model: MedGemma, tokenizer_file: Path, domain: Domain, out: Path) -> None:
    """Weights in float16, config, tokenizer, preprocessing, decoding, template and domain, in the hub's layout."""
    config = {**model.config.to_hub(), "medvox": {"learned": list(REGION_WORDS), "generated_only": True}}
    save_folder(model, config, out, torch.float16)
    shutil.copyfile(tokenizer_file, out / "tokenizer.json")
    vision = model.config.vision
    size = vision.image_size if vision else 0
    stops = list(model.config.stop_token_ids)
    files = {
        "preprocessor_config.json": {
            "image_processor_type": "Gemma3ImageProcessor", "do_resize": True, "size": {"height": size, "width": size},
            "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
            "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_convert_rgb": True, "do_pan_and_scan": False,
        },
        "generation_config.json": {"do_sample": False, "eos_token_id": stops, "pad_token_id": 0},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>", "eos_token": "<eos>",
            "pad_token": "<pad>", "unk_token": "<unk>", "add_bos_token": True,
        },
    }  # fmt: skip
    for name, content in files.items():
        (out / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(TEMPLATES / "chat_template.jinja", out / "chat_template.jinja")
    domain.save(out)


def note_learned(folder: Path, findings: Sequence[str]) -> None:
    """Write into ``config.json`` what a question may be about; answers about anything else are flagged."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["medvox"]["learned"] = [*REGION_WORDS, *(name for finding in findings for name in spellings(finding))]
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def score(folder: Path, test: PhantomSet, learned_from: str, progress: Progress = no_progress) -> Report:
    """Examine the written folder, so that what ships is what is scored."""
    examiner = Examiner(engine=Engine(load_vlm(folder), images_at_once=16), tokenizer=TextTokenizer(folder), data=test)
    presence = {name: presence_score(examiner, name, 40, progress=progress) for name in FINDINGS}
    blanks = [presence_score(examiner, name, 10, blank=True, progress=progress) for name in FINDINGS]
    return Report(
        learned_from=learned_from,
        region=region_score(examiner, range(200), progress),
        presence=presence,
        blank=Share(hits=sum(share.hits for share in blanks), total=sum(share.total for share in blanks)),
        place={name: place_score(examiner, name, 30, progress) for name in FINDINGS},
    )


def model_card(report: Report) -> str:
    """README.md of the folder."""
    overlaps = [value for _, values in report.place.values() for value in values]
    slices = Share(
        hits=sum(share.hits for share, _ in report.place.values()),
        total=sum(share.total for share, _ in report.place.values()),
    )
    everything = Share(
        hits=sum(share.hits for share in report.presence.values()),
        total=sum(share.total for share in report.presence.values()),
    )
    rows = [
        ("body region, four choices", str(report.region), "25 %"),
        ("finding present or not, all findings", str(everything), "50 %"),
        *((f"- {name}", str(share), "50 %") for name, share in report.presence.items()),
        ("finding present or not, pictures blanked (control)", str(report.blank), "50 %"),
        ("named slice shows the finding", str(slices), ""),
        ("overlap (IoU) of the box on that slice, 0 if wrong", mean_interval(overlaps), ""),
        *((f"- {name}", mean_interval(values), "") for name, (_, values) in report.place.items()),
    ]
    card = Template((TEMPLATES / "mini_vlm_card.md").read_text(encoding="utf-8"))
    return card.substitute(
        regions=", ".join(REGIONS),
        findings=", ".join(FINDINGS),
        learned=", ".join(report.learned) or "none of them",
        learned_from=report.learned_from,
        date=f"{datetime.now(tz=UTC):%Y-%m-%d}",
        macro=f"{macro(list(report.presence.values())):.1%}",
        rows="\n".join(f"| {what} | {value} | {chance} |" for what, value, chance in rows),
    )


def export(
    model: MedGemma, folders: tuple[Path, Path], sets: dict[str, PhantomSet], cells: dict[str, Tensor],
    learned_from: str, progress: Progress = no_progress,
) -> None:  # fmt: skip
    """Write the folder, examine it, and write its card.

    Args:
        model: the trained model.
        folders: where the tokenizer lies, and where to write.
        sets: ``train``, ``val`` (sets the domain limit) and ``test``.
        cells: pooled vectors of ``train`` and ``val``.
        learned_from: a paragraph about the training for the card.
        progress: told about the scoring.
    """
    work, out = folders
    averages = {name: scan_averages(model, sets[name], cells[name]) for name in ("train", "val")}
    write_folder(model, work / "tokenizer.json", Domain.fit(averages["train"], averages["val"]), out)
    report = score(out, sets["test"], learned_from, progress)
    note_learned(out, report.learned)
    (out / "README.md").write_text(model_card(report), encoding="utf-8")
