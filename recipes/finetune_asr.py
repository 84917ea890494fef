"""Fine-tunes a speech model on your recordings, and writes a model folder that `medvox transcribe` runs at once.

    python recipes/finetune_asr.py DATA --model google/medasr --out my-medasr
    medvox transcribe letter.wav --model my-medasr

DATA is a manifest (JSON lines or CSV: a sound file, its text, if known speaker and split), a folder with one, or a
folder of pairs NAME.wav and NAME.txt. The default preset is the published recipe of MedASR. The same command goes on
where it was stopped, by Ctrl-C too. With --json stdout holds one JSON object, the new folder's finetune.json or the
error, and the lines of progress go to stderr. docs/how-to/finetune-speech.md tells when a language model of your texts
serves you better, what to expect, and how long it takes.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from medvox.catalog import DEFAULT_ASR, MODELS, resolve_model
from medvox.data.manifest import LONGEST_S, SHORTEST_S, Bounds, Manifest, read_manifest, refuse_bad_rows
from medvox.errors import MedvoxError
from medvox.models.speech_model import SpeechModel, load_speech_model
from medvox.score.normalise import NORMALISERS
from medvox.terminal import print_json
from medvox.train.finetune import PRESETS, FineTuner, FineTuning, Log
from medvox.train.finetune_augment import MADE, Effects, Material
from medvox.train.finetune_data import Division, Example, Parts, divide, foreign_characters, spell
from medvox.train.finetune_export import (
    PROVENANCE,
    Origin,
    compare,
    prepare_output,
    refuse_without_gain,
    write_card,
    write_model,
)

EXAMPLE = """\
example:
  python recipes/finetune_asr.py recordings --preset finetune.small --out my-asr
  medvox transcribe letter.wav --model my-asr

Few recordings, or only texts? See docs/how-to/finetune-speech.md first."""
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the recipe; the exit code of an error is that of the command line."""
    args = parser().parse_args(arguments)
    log = partial(print, file=sys.stderr if args.json else sys.stdout, flush=True)
    try:
        fine_tune(args, log)
    except MedvoxError as error:
        if args.json:
            print_json({"error": error.as_dict()})
        else:
            print(f"{error.code}: {error.message}\n  fix: {error.fix}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return INTERRUPTED
    if args.json:
        print_json(json.loads((args.out / PROVENANCE).read_text(encoding="utf-8")))
    return 0


def fine_tune(args: argparse.Namespace, log: Log) -> None:
    """From the recordings to the folder."""
    base, run = resolve_model(args.model), args.run or args.out.with_name(args.out.name + "-training")
    settings = settings_of(args)
    if settings.effects is not None:
        settings.effects.check()
    prepare_output(args.out, base, run, overwrite=args.overwrite)
    model = load_speech_model(base)
    manifest, examples = usable(args.data, model, args, log)
    division = Division(share=args.validation, same_speakers=args.same_speakers, seed=settings.seed)
    parts = divide(examples, division)
    checks = [(f"{path.name} (--check)", usable(path, model, args, log)[1]) for path in args.check]
    for note in (*parts.notes, *(flag.text for flag in manifest.flags)):
        log(f"note: {note}")
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = replace(model, network=model.network.to(device))
    tuner = FineTuner(model, parts, settings, run, workers=args.workers)
    write_split(parts, run)
    outcome = tuner.run(lambda network: write_model(network, base, args.out), log)
    refuse_without_gain(outcome)
    log("scoring the written model")
    sets = [("validation", parts.validation), *([("test", parts.test)] if parts.test else []), *checks]
    scores = compare(base, args.out, sets, settings)
    origin = Origin(
        base=args.model if args.model in MODELS else base.name,
        base_sha256=model.sha256,
        manifest=manifest,
        parts=parts,
        preset=args.preset,
        settings=settings,
        outcome=outcome,
    )
    write_card(args.out, base, origin, scores)
    for one in scores:
        log(f"{one.title}: WER {100 * one.before.wer:.1f} % before, {100 * one.after.wer:.1f} % after")
    log(f"wrote {args.out}; try: medvox transcribe FILE --model {args.out}")


def usable(path: Path, model: SpeechModel, args: argparse.Namespace, log: Log) -> tuple[Manifest, list[Example]]:
    """The recordings that the model can learn from or be judged on; all others are listed."""
    bounds = Bounds(sounds=args.sounds, shortest_s=args.shortest, longest_s=args.longest)
    manifest = read_manifest(path, bounds=bounds, progress=partial(log_progress, log))
    examples, unfit = spell(manifest.clips, model, lower_case=args.lower_case)
    manifest = replace(manifest, bad=(*manifest.bad, *unfit))
    for row in manifest.bad:
        log(f"cannot be used: {row}")
    if foreign := foreign_characters(unfit):
        counted = ", ".join(f"{character!r} in {count}" for character, count in foreign.most_common())
        log(f"characters that {model.name} cannot write, by rows: {counted}; see also --lower-case")
    if not args.skip_bad:
        refuse_bad_rows(manifest.bad, len(examples) + len(manifest.bad), path.name)
    return manifest, examples


def write_split(parts: Parts, run: Path) -> None:
    """``split.csv``: which recording is on which side."""
    with (run / "split.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("split", "where", "audio", "speaker", "seconds"))
        for name, examples in (("train", parts.train), ("validation", parts.validation), ("test", parts.test)):
            for clip in (example.clip for example in examples):
                table.writerow((name, clip.where, clip.path.name, clip.speaker, f"{clip.duration_s:.2f}"))


def settings_of(args: argparse.Namespace) -> FineTuning:
    """The preset with what was given on the command line."""
    preset = PRESETS[args.preset]
    given = {
        "epochs": args.epochs, "peak_rate": args.learning_rate, "warm_up_steps": args.warm_up, "batch": args.batch,
        "accumulate": args.accumulate, "patience": args.patience, "freeze": args.freeze, "seed": args.seed,
        "normaliser": args.normaliser, "save_every_s": args.save_every,
    }  # fmt: skip
    settings = replace(preset, **{name: value for name, value in given.items() if value is not None})
    wanted = {"speed": args.speed, "noise": args.noise, "rooms": args.rooms, "masks": args.masks}
    if not any(wanted.values()):
        return settings
    wanted = {name: value for name, value in wanted.items() if value}
    return replace(settings, effects=replace(settings.effects or Effects(), **wanted))


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        description="Fine-tune a speech model on recordings and their texts.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("data", metavar="DATA", type=Path, help="manifest, or folder with one, or folder of pairs")
    made.add_argument(
        "--model", metavar="NAME", default=DEFAULT_ASR, help=f"name or folder of the base (default: {DEFAULT_ASR})"
    )
    made.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the new model")
    made.add_argument("--run", metavar="DIR", type=Path, help="checkpoint and split (default: OUT-training)")
    made.add_argument("--overwrite", action="store_true", help="start anew over an earlier model and run")
    made.add_argument("--json", action="store_true", help="print JSON on stdout, errors too")
    made.add_argument(
        "--preset",
        choices=PRESETS,
        default="finetune.medasr",
        help="as published (default), or for small models and few recordings",
    )
    data = made.add_argument_group("recordings")
    data.add_argument("--sounds", metavar="DIR", type=Path, help="the sounds, if not beside the manifest")
    data.add_argument("--skip-bad", action="store_true", help="leave unusable rows out and go on")
    data.add_argument("--lower-case", action="store_true", help="learn lower case without marks, as small models write")
    data.add_argument("--shortest", type=above_zero, default=SHORTEST_S, metavar="S", help=f"default: {SHORTEST_S:g} s")
    data.add_argument("--longest", type=above_zero, default=LONGEST_S, metavar="S", help=f"default: {LONGEST_S:g} s")
    data.add_argument(
        "--validation",
        metavar="SHARE",
        type=share,
        default=0.3,
        help="for choosing the epoch (default: 0.3)",
    )
    data.add_argument("--same-speakers", action="store_true", help="a speaker may be in training and validation")
    data.add_argument(
        "--check", metavar="DATA", type=Path, action="append", default=[], help="only scored, before and after"
    )
    steps = made.add_argument_group("training (default: the preset's)")
    steps.add_argument("--epochs", metavar="N", type=positive, help="passes over the recordings")
    steps.add_argument("--learning-rate", metavar="RATE", type=above_zero, help="the highest of the run")
    steps.add_argument("--warm-up", type=not_negative, metavar="STEPS")
    steps.add_argument("--batch", metavar="N", type=positive, help="recordings at once; less needs less memory")
    steps.add_argument("--accumulate", metavar="N", type=positive, help="batches of a step")
    steps.add_argument("--patience", metavar="N", type=not_negative, help="stop after so many epochs without gain")
    steps.add_argument("--freeze", type=not_negative, metavar="N", help="leave the lowest N blocks as they are")
    steps.add_argument("--normaliser", choices=NORMALISERS, help="by which words are compared")
    steps.add_argument("--seed", metavar="N", type=int)
    steps.add_argument("--save-every", type=above_zero, metavar="S", help="seconds between checkpoints")
    steps.add_argument("--device", metavar="NAME", help="cpu or cuda (default: cuda where there is one)")
    steps.add_argument(
        "--workers", metavar="N", type=not_negative, default=0, help="threads that read recordings ahead (default: 0)"
    )
    effects = made.add_argument_group("augmentation")
    effects.add_argument("--speed", action="store_true", help="0.9, 1.0 and 1.1 of the speed")
    effects.add_argument("--noise", type=material, nargs="?", const=MADE, metavar="FOLDER", help="made, or of a folder")
    effects.add_argument("--rooms", type=material, nargs="?", const=MADE, metavar="FOLDER", help="made, or of a folder")
    effects.add_argument("--masks", action="store_true", help="SpecAugment")
    return made


def material(text: str) -> Material:
    return MADE if text == MADE else Path(text)


def positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return int(text)


def not_negative(text: str) -> int:
    if int(text) < 0:
        raise argparse.ArgumentTypeError("must not be below 0")
    return int(text)


def above_zero(text: str) -> float:
    if not 0 < float(text) < math.inf:
        raise argparse.ArgumentTypeError("must be above 0")
    return float(text)


def share(text: str) -> float:
    if not 0 < float(text) < 1:
        raise argparse.ArgumentTypeError("must lie between 0 and 1")
    return float(text)


def log_progress(log: Log, what: str, done: int, total: int) -> None:
    if done == total or done % 1000 == 0:
        log(f"{what} {done}/{total}")


if __name__ == "__main__":
    sys.exit(main())
