"""Train ``medvox-mini-vlm`` from nothing on generated CT scans, score it on held-out ones, and write its hub folder.

    python recipes/mini_vlm.py --out src/medvox/weights/medvox-mini-vlm

About 110 minutes on one core (phantoms 5, vision 45, slices 8, language 45, scores 8). Every stage saves its state
every two minutes under ``--work`` and goes on from there when the same command is given again. ``--export-only`` scores
and writes whatever has been learned so far.

Expected: see the model card that this writes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from medvox.encode.text import TextTokenizer
from medvox.models.gemma import FULL, LOCAL, GemmaConfig
from medvox.models.siglip import SiglipConfig
from medvox.models.vlm import MedGemma, VlmConfig
from medvox.train.chat_vocabulary import learn_chat_vocabulary
from medvox.train.export_vlm import chat_corpus, export
from medvox.train.loop import Schedule
from medvox.train.phantoms import PhantomPlan, PhantomSet, phantom_set
from medvox.train.vision import DenseHeads, train_tower
from medvox.train.vlm import pooled_cells, train_language

PLANS = {
    "train": PhantomPlan(first_seed=0, cases=3_600),
    "long": PhantomPlan(first_seed=500_000, cases=150, slices=(33, 100)),
    "val": PhantomPlan(first_seed=1_000_000, cases=300),
    "test": PhantomPlan(first_seed=3_000_000, cases=500),  # 2_000_000 shaped the recipe: not for scores
}
SIZE, PATCH, TOKENS = 128, 8, 16
LANGUAGE_CASES = 1_800  # of the training set, for the second stage
VOCABULARY = 1024


def mini_config(tokenizer: TextTokenizer) -> VlmConfig:
    """The architecture of MedGemma 1.5 at about a thousandth of its size."""
    return VlmConfig(
        text=GemmaConfig(
            vocab_size=VOCABULARY, hidden_size=192, intermediate_size=576, num_hidden_layers=6, num_attention_heads=4,
            num_key_value_heads=2, head_dim=48, query_pre_attn_scalar=48, sliding_window=512,
            max_position_embeddings=8192, layer_types=(LOCAL, LOCAL, FULL, LOCAL, LOCAL, FULL),
        ),
        vision=SiglipConfig(
            hidden_size=128, intermediate_size=512, num_hidden_layers=5, num_attention_heads=4, image_size=SIZE,
            patch_size=PATCH,
        ),
        mm_tokens_per_image=TOKENS,
        boi_token_index=tokenizer.token_id("<start_of_image>"),
        eoi_token_index=tokenizer.token_id("<end_of_image>"),
        image_token_index=tokenizer.token_id("<image_soft_token>"),
        stop_token_ids=(tokenizer.token_id("<eos>"), tokenizer.token_id("<end_of_turn>")),
    )  # fmt: skip


LEARNED_FROM = f"""\
1. Vision: the tower learned from dense labels (organ and finding of every patch) of the slices of
   {PLANS["train"].cases:,} generated scans.
2. Language: with the tower frozen, the decoder learned to answer questions about runs of slices of
   {LANGUAGE_CASES:,} of these scans and of {PLANS["long"].cases} longer ones.

The data are made by `medvox.synth` from seeds; nothing else went in."""


def log(what: str, done: int, total: int) -> None:
    """One line now and then, with the time: the run may last hours."""
    now = time.monotonic()
    if done == total or now - log_state["last"] > 20:
        log_state["last"] = now
        print(f"{time.strftime('%H:%M:%S')} {what} {done}/{total}", file=sys.stderr, flush=True)


log_state = {"last": 0.0}


def open_set(work: Path, name: str) -> PhantomSet:
    """One of the three sets of generated scans."""
    return phantom_set(work / f"phantoms_{name}", PLANS[name], size=SIZE, patch=PATCH, progress=log)


def cells_of(work: Path, name: str, model: MedGemma, data: PhantomSet) -> Tensor:
    """Pooled vectors of a set under the trained tower, computed once."""
    cached = work / f"cells_{name}.safetensors"
    if not cached.exists():
        save_file({"cells": pooled_cells(model, data, log)}, cached)
    return load_file(cached)["cells"]


def train(work: Path, model: MedGemma, tokenizer: TextTokenizer, vision: Schedule, language: Schedule) -> None:
    """Both stages; each resumes, or is skipped when it is done."""
    sets = {name: open_set(work, name) for name in ("train", "long")}
    projector = model.model.multi_modal_projector
    heads = DenseHeads(model.model.vision_tower.config.hidden_size, projector.pool, projector.grid)
    train_tower(model.model.vision_tower, heads, sets["train"], vision, work / "vision.ckpt", log)
    sets["train"] = sets["train"].first(LANGUAGE_CASES)
    pairs = [(data, cells_of(work, name, model, data)) for name, data in sets.items()]
    train_language(model, tokenizer, pairs, language, work / "language.ckpt", log)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="hub folder to write")
    parser.add_argument("--work", type=Path, default=Path("runs/mini_vlm"), help="phantoms and checkpoints")
    parser.add_argument("--minutes-vision", type=float, default=40)
    parser.add_argument("--minutes-language", type=float, default=45)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--export-only", action="store_true", help="score and write what has been learned so far")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    if not (args.work / "tokenizer.json").exists():
        (args.work / "tokenizer.json").write_text(learn_chat_vocabulary(chat_corpus(), VOCABULARY), encoding="utf-8")
    tokenizer = TextTokenizer(args.work)
    model = MedGemma(mini_config(tokenizer))
    model.initialise(seed=0)
    minutes = (0.0, 0.0) if args.export_only else (args.minutes_vision, args.minutes_language)
    vision = Schedule(total=150_000, minutes=minutes[0], peak_rate=1.5e-3, seed=1)
    language = Schedule(total=24_000, minutes=minutes[1], peak_rate=2e-3, seed=2)
    train(args.work, model, tokenizer, vision, language)
    sets = {name: open_set(args.work, name) for name in ("train", "val", "test")}
    sets["train"] = sets["train"].first(LANGUAGE_CASES)
    cells = {name: cells_of(args.work, name, model, sets[name]) for name in ("train", "val")}
    export(model, (args.work, args.out), sets, cells, LEARNED_FROM, log)


if __name__ == "__main__":
    main()
