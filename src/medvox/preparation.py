"""The verbs ``plan`` and ``prep``: what a model would be shown of a scan, a slide or a document, and what that costs.

``plan`` looks at headers and counts; ``prep`` makes the pictures and writes them with a receipt. ``data/material.py``
says what lies at a path, the catalog names the preset for it. Runs no model and knows no answer.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medvox.catalog import DEFAULT_VLM, PREPARERS, PRESETS, load, resolve_model
from medvox.data.archive import unpacked
from medvox.data.limits import MIB
from medvox.data.material import NOT_SAID, Content, Material, Wanted, flags_of, look, opened, sources_of
from medvox.data.slide import Slide
from medvox.encode.images import PreparedImages
from medvox.encode.prompt import build_prompt, image_question
from medvox.encode.receipt import RESEARCH_USE, versions
from medvox.encode.slide import choose_patches, overview_picture
from medvox.encode.text import TextTokenizer
from medvox.errors import BudgetError, SetupError, UsageError
from medvox.models.cost import PUBLISHED_BYTES_PER_WEIGHT, Cost, cost_of, measure_speed
from medvox.models.published import PUBLISHED_VLM
from medvox.models.vlm import VlmConfig
from medvox.models.weights import SMALL, read_config
from medvox.types import Flag, Progress, no_progress, to_json

NEW_TOKENS = 512
MARKS_PER_IMAGE = 4  # two line breaks (one token each), start and end of the image
TOKENS_PER_LABEL, LETTERS_PER_TOKEN = 6, 4.0  # estimates for a tokenizer that is not on the machine
LIMIT_FIELDS = {"ct": "max_slices", "mri": "max_slices", "page": "max_pages"}
LABELLED = ("ct", "mri")
OWN_FILES = re.compile(r"\d{4}\.png|overview\.png|receipt\.json")
QUESTION = "Describe the findings."


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The model that a request is planned for."""

    name: str
    config: VlmConfig
    folder: Path | None  # None: only its published sizes are known

    @property
    def image_size(self) -> int:
        """Edge of a picture in pixels."""
        if self.config.vision is None:
            raise SetupError(f"{self.name} reads text only", fix="Choose a multimodal model.", code="E_MODEL_TEXT_ONLY")
        return self.config.vision.image_size


def plan(
    paths: Sequence[str | Path], *, model: str = DEFAULT_VLM, preset: str | None = None, wanted: Wanted = NOT_SAID,
    question: str = QUESTION, progress: Progress = no_progress,
) -> dict[str, Any]:  # fmt: skip
    """What asking about ``paths`` would cost; no pixel is decoded and no weight is loaded.

    Args:
        paths: files or folders of one kind: series, pictures (a prior and a current one), a slide, or a document.
        model: a name from ``medvox models list``, or a model folder. For Google's, the published sizes are enough.
        preset: the recipe; the first of the catalog for the kind when None.
        wanted: what only the user knows.
        question: as it will be asked.
        progress: told about long steps.

    Returns:
        the contract of ``docs/reference/json-contracts.md``: pictures, tokens, memory in MiB, estimated seconds.

    Raises:
        BudgetError: it does not fit the model's context (``E_PLAN_CONTEXT``) or the memory (``E_PLAN_MEMORY``).
        InputError, UsageError, SetupError: it cannot be read, chosen or planned.
    """
    target = _target(model)
    with ExitStack() as stack:
        materials = _look(paths, wanted, stack, progress)
        recipe_name, recipe = _recipe(materials[0], preset)
        shown, parts, flags = _count(materials, recipe, progress)
    tokens = _tokens(target, shown, question, labelled=materials[0].kind in LABELLED)
    cost = _cost(target, shown, tokens["total"])
    memory = _memory(cost, sum(material.voxels for material in materials))
    seconds = cost.seconds(measure_speed(_bytes_per_weight(target)), NEW_TOKENS)
    found = {
        "inputs": [Path(path).name for path in paths],
        "kind": materials[0].kind,
        "preset": {"name": recipe_name, "hash": recipe.hash},
        "model": {"id": target.name, "on_this_machine": target.folder is not None},
        "pictures": {"shown": shown, "of": parts, "size": target.image_size},
        "tokens": tokens,
        "memory_mib": memory,
        "seconds": {stage: round(value, 2) for stage, value in seconds.items()} | {"new_tokens": NEW_TOKENS},
        "flags": to_json(flags),
    }
    _check_fit(found)
    return found


def prep(
    paths: Sequence[str | Path], folder: str | Path, *, preset: str | None = None, size: int = 896,
    wanted: Wanted = NOT_SAID, overwrite: bool = False, progress: Progress = no_progress,
) -> dict[str, Any]:  # fmt: skip
    """Write the pictures that a model would be shown, as PNG files, with a receipt.

    Args:
        paths: as in ``plan``.
        folder: a new or empty folder. It appears when everything is written; after an error there is none.
        preset: the recipe; the first of the catalog for the kind when None.
        size: edge of the pictures in pixels.
        wanted: what only the user knows.
        overwrite: replace the result of an earlier run.
        progress: told about long steps.

    Returns:
        the receipt, as written to ``receipt.json``.

    Raises:
        UsageError: the folder holds something (``E_OUTPUT_EXISTS``) or cannot be written (``E_OUTPUT_WRITE``).
        InputError, BudgetError: what the readers and presets raise.
    """
    target = Path(folder)
    _check_free(target, overwrite)
    with ExitStack() as stack:
        materials = _look(paths, wanted, stack, progress)
        _, recipe = _recipe(materials[0], preset)
        contents = [stack.enter_context(opened(material, progress)) for material in materials]
        prepare = load(PREPARERS[materials[0].kind])
        images: PreparedImages = prepare(_joined(contents), recipe, size=size, progress=progress)
        receipt = {
            "inputs": [Path(path).name for path in paths],
            "kind": materials[0].kind,
            "series": [_series_facts(material) for material in materials if material.series],
            "sources": to_json([source for content in contents for source in sources_of(content)]),
            "preset": {"name": images.preset, "hash": images.preset_hash},
            "pictures": _listing(images),
            "overview": "overview.png" if materials[0].kind == "slide" else None,
            "dropped": list(images.dropped),
            "facts": to_json(dict(images.facts)),
            "flags": to_json(list(dict.fromkeys([*(f for c in contents for f in flags_of(c)), *images.flags]))),
            "versions": versions(),
            "research_use": RESEARCH_USE,
        }
        overview = _overview(contents[0], recipe)
    _write(target, images, overview, receipt, progress)
    return receipt


def _look(paths: Sequence[str | Path], wanted: Wanted, stack: ExitStack, progress: Progress) -> list[Material]:
    materials = [look(stack.enter_context(unpacked(Path(path))), wanted, progress) for path in paths]
    kinds = {material.kind for material in materials}
    if len(kinds) > 1:
        raise UsageError(
            f"the paths are of different kinds: {', '.join(sorted(kinds))}",
            fix="give paths of one kind, or one path at a time",
            code="E_KINDS_MIXED",
        )
    if len(materials) > 1 and materials[0].kind in ("slide", "page"):
        raise UsageError(
            "several slides or documents do not go into one request", fix="give one path", code="E_KINDS_MIXED"
        )
    return materials


def _joined(contents: Sequence[Content]) -> Content:
    """The volumes or pictures of all paths in one row; a slide or a document stands alone."""
    if len(contents) == 1:
        return contents[0]
    return tuple(part for content in contents if isinstance(content, tuple) for part in content)  # type: ignore[return-value]


def _recipe(material: Material, name: str | None) -> tuple[str, Any]:
    fitting = [known for known in PRESETS if known.split(".")[0] == material.kind]
    chosen = name or fitting[0]
    if chosen not in fitting:
        raise UsageError(
            f"preset {chosen!r} is not for this input", fix=f"choose one of {', '.join(fitting)}", code="E_PRESET"
        )
    return chosen, load(PRESETS[chosen])


def _target(model: str) -> Target:
    try:
        folder = resolve_model(model)
    except SetupError:
        if model not in PUBLISHED_VLM:
            raise
        return Target(name=model, config=PUBLISHED_VLM[model], folder=None)
    return Target(name=model, config=VlmConfig.from_hub(read_config(folder)), folder=folder)


def _bytes_per_weight(target: Target) -> int:
    if target.folder is None:
        return PUBLISHED_BYTES_PER_WEIGHT
    return 4 if cost_of(target.config, images=0, tokens=1, bytes_per_weight=1).weight_bytes < SMALL else 2


def _cost(target: Target, images: int, tokens: int) -> Cost:
    return cost_of(target.config, images=images, tokens=tokens, bytes_per_weight=_bytes_per_weight(target))


def _tokens(target: Target, images: int, question: str, *, labelled: bool) -> dict[str, Any]:
    """Positions of the prompt: exact with the model's tokenizer, else estimated from the published layout."""
    labels = [f"SLICE {number}" for number in range(1, images + 1)] if labelled else [""] * images
    limit = target.config.text.max_position_embeddings
    if target.folder is not None:
        prompt = build_prompt(
            TextTokenizer(target.folder), image_question(question, labels), target.config.mm_tokens_per_image
        )
        total, image = len(prompt.token_ids), prompt.image_tokens
    else:
        image = images * (target.config.mm_tokens_per_image + MARKS_PER_IMAGE)
        text = sum(map(bool, labels)) * TOKENS_PER_LABEL + int(len(question) / LETTERS_PER_TOKEN) + 64
        total = image + text
    return {
        "image": image,
        "text": total - image,
        "total": total,
        "limit": limit,
        "exact": target.folder is not None,
    }


def _memory(cost: Cost, voxels: int) -> dict[str, int]:
    sizes = {
        "weights": cost.weight_bytes,
        "cache": cost.cache_bytes,
        "pictures": cost.pixel_bytes,
        "input": 2 * voxels,
        "total": cost.memory_bytes + 2 * voxels,
        "available": _available_bytes(),
    }
    return {name: round(value / MIB) for name, value in sizes.items()}


def _available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _count(materials: list[Material], recipe: Any, progress: Progress) -> tuple[int, int, list[Flag]]:
    """How many pictures the recipe shows, of how many there are, and what is flagged. Pages are never dropped."""
    first = materials[0]
    if first.kind == "slide":
        with opened(first, progress) as slide:
            assert isinstance(slide, Slide)
            choice = choose_patches(slide, recipe)
        return len(choice.chosen), len(choice.candidates), list(choice.flags)
    parts = sum(material.parts for material in materials)
    most = getattr(recipe, LIMIT_FIELDS.get(first.kind, ""), parts)
    if first.kind == "page" and parts > most:
        raise BudgetError(
            f"the document has {parts} pages, the preset takes {most}",
            fix="give a part of the document, for example the pages with the results",
            code="E_PAGE_LIMIT",
        )
    return min(parts, most), parts, [flag for material in materials for flag in material.flags]


def _check_fit(found: dict[str, Any]) -> None:
    tokens, memory = found["tokens"], found["memory_mib"]
    if tokens["total"] + NEW_TOKENS > tokens["limit"]:
        raise BudgetError(
            f"the prompt needs {tokens['total']} tokens and {NEW_TOKENS} for the answer, {found['model']['id']} "
            f"has room for {tokens['limit']}",
            fix="give fewer pictures: one series, one sequence, or a part of the slide; or choose a larger model",
            code="E_PLAN_CONTEXT",
        )
    if memory["total"] > memory["available"]:
        raise BudgetError(
            f"it needs about {memory['total']} MiB of memory, {memory['available']} MiB are free",
            fix="close other programs, choose a smaller model, or use a machine with more memory",
            code="E_PLAN_MEMORY",
        )


def _series_facts(material: Material) -> dict[str, Any]:
    series = material.series
    assert series is not None
    facts = ("key", "modality", "shape", "volumes", "spacing_mm", "affine_lps")
    return {name: to_json(getattr(series, name)) for name in facts} | {"chosen_because": material.reason}


def _listing(images: PreparedImages) -> list[dict[str, Any]]:
    return [
        {
            "file": f"{number:04}.png",
            "label": label,
            "source": origin.source,
            "index": origin.index,
            "rows": origin.square.rows,
            "columns": origin.square.columns,
            "corner_xy": list(origin.corner_xy),
            "scale": origin.scale,
        }
        for number, (label, origin) in enumerate(zip(images.labels, images.origins, strict=True), start=1)
    ]


def _check_free(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds anything, or with ``overwrite`` anything that ``prep`` did not write."""
    if not folder.exists():
        return
    foreign = not folder.is_dir() or any(OWN_FILES.fullmatch(file.name) is None for file in folder.iterdir())
    if foreign or (not overwrite and any(folder.iterdir())):
        raise UsageError(
            f"{folder.name} is not empty",
            fix="name a new folder" if foreign else "name a new folder, or replace the earlier result with --overwrite",
            code="E_OUTPUT_EXISTS",
        )


def _overview(content: Content, recipe: Any) -> NDArray[np.uint8] | None:
    """A slide as a whole, with its tissue and the patches that were taken."""
    return overview_picture(content, recipe, choose_patches(content, recipe)) if isinstance(content, Slide) else None


def _write(
    folder: Path,
    images: PreparedImages,
    overview: NDArray[np.uint8] | None,
    receipt: dict[str, Any],
    progress: Progress,
) -> None:
    """Everything into a folder beside the target, which then takes its name: never a partial result."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as hidden:
            made = Path(hidden) / "made"
            made.mkdir()
            for done, picture in enumerate(receipt["pictures"], start=1):
                Image.fromarray(images.images[done - 1]).save(made / picture["file"], compress_level=1)
                progress("writing pictures", done, len(receipt["pictures"]))
            if overview is not None:
                Image.fromarray(overview).save(made / receipt["overview"])
            text = json.dumps(receipt, ensure_ascii=False, allow_nan=False, indent=1)
            (made / "receipt.json").write_text(text, encoding="utf-8")
            if folder.exists():
                os.replace(folder, Path(hidden) / "earlier")
            os.replace(made, folder)
    except OSError as error:
        raise UsageError(
            f"{folder.name} cannot be written ({type(error).__name__})",
            fix="check the path, the rights and the free space",
            code="E_OUTPUT_WRITE",
        ) from error
