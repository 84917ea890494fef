"""The ``medvox`` command: reads arguments, calls one verb, prints its value.

Results go to stdout, everything else to stderr. With ``--json`` stdout holds nothing but JSON, errors included.
Imports of the path stand inside functions, so that ``--help`` answers at once; no medical logic lives here.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medvox.arguments import build_parser, form_of
from medvox.errors import MedvoxError, UsageError
from medvox.terminal import (
    LiveScreen,
    ProgressBar,
    print_answer,
    print_conversion,
    print_deid,
    print_demo,
    print_difference,
    print_error,
    print_flags,
    print_found,
    print_heard,
    print_json,
    print_notes,
    print_notice,
    print_plan,
    print_transcript,
    print_written,
    transcript_as,
    until_interrupted,
    write_whole,
)

if TYPE_CHECKING:
    from medvox.data.material import Wanted
    from medvox.data.results import Transcript
    from medvox.dictate import Decoding
    from medvox.parse.commands import WritingSettings
    from medvox.types import Samples

EXIT_INTERRUPTED = 130
ARPA_NAMES = (".arpa", ".arpa.gz", ".arpa.xz")
NO_VOLUME = {"E_SERIES_KIND", "E_DICOM_NOT_READ"}  # pictures, slides, reports: nothing that could be NIfTI


def run_ask(args: argparse.Namespace, progress: ProgressBar) -> int:
    """``medvox ask``: prints one Answer."""
    question: str | Transcript
    question, path = _question_and_path(args.words, spoken=args.speech is not None)
    from medvox.answer import accept_unsure, ask

    if args.speech:
        from medvox.dictate import load_recogniser, transcribe

        recogniser = load_recogniser(args.speech_model, precision=args.precision)
        print_notice(recogniser)
        heard = transcribe(args.speech, recogniser, progress=progress)
        progress.clear()
        print_heard(heard)
        question = accept_unsure(heard) if args.yes else heard
    elif args.yes or args.speech_model or args.precision != "auto":
        raise UsageError(
            "--yes, --speech-model and --precision are for spoken questions", fix="leave them out, or give --speech"
        )
    answer = ask(
        question,
        path,
        model=args.model,
        series=args.series,
        modality=args.modality or "",
        max_new_tokens=args.max_new_tokens,
        report=args.report,
        progress=progress,
    )
    progress.clear()
    if args.json:
        print_json(answer.as_dict())
    else:
        print_answer(answer)
    return 0


def run_transcribe(args: argparse.Namespace, progress: ProgressBar) -> int:
    """``medvox transcribe``: prints or writes one Transcript per file; a bad file does not stop the others."""
    from medvox.recordings import Dictation, find_recordings, transcribe_all

    shown, files = form_of(args), find_recordings(args.files)
    if args.diff and len(files) > 1:
        raise UsageError("--diff compares one recording", fix="give one file")
    targets = {file: args.out / f"{name}.{shown.replace('_', '.')}" for file, name in files.items()} if args.out else {}
    todo = [file for file in files if args.overwrite or file not in targets or not targets[file].exists()]
    decoding, writing = _hearing(args)
    dictation = Dictation(model=args.model, precision=args.precision, decoding=decoding, writing=writing)
    worst = 0
    heard = transcribe_all(todo, dictation, jobs=args.jobs, notice=print_notice, progress=progress) if todo else []
    for file, outcome in heard:
        progress.clear()
        if isinstance(outcome, MedvoxError):
            if len(files) == 1:
                raise outcome
            worst = max(worst, outcome.exit_code)
            print_error(outcome, as_json=args.json, file=file)
        elif file in targets:
            write_whole(targets[file], transcript_as(outcome, shown, raw=args.raw))
            print_written(targets[file], outcome, as_json=args.json)
        elif args.diff:
            print_difference(_text_of(args.diff), outcome.raw_text, as_json=args.json)
        else:
            print_transcript(outcome, shown, raw=args.raw, title=str(file) if len(files) > 1 else "")
    if len(todo) < len(files):
        print(f"note: written already: {len(files) - len(todo)}", file=sys.stderr)
    return worst


def run_dictate(args: argparse.Namespace, progress: ProgressBar) -> int:
    """``medvox dictate``: shows words as they are spoken, and prints the whole text at the end."""
    from medvox.dictate import load_recogniser, open_decoder
    from medvox.live_dictation import listen
    from medvox.models.speech_model import SpeechModel

    decoding, writing = _hearing(args)
    foreign = str(args.model).startswith(("openai:", "whisper:"))
    model = None if foreign else load_recogniser(args.model, precision=args.precision)
    if not isinstance(model, SpeechModel):
        raise UsageError(
            "only models in the hub's layout listen while someone speaks", fix="use `medvox transcribe` on a recording"
        )
    screen, last = LiveScreen(sys.stderr), None
    blocks = until_interrupted(_sound_of(args))
    for last in listen(blocks, model, decode=open_decoder(model, decoding), writing=writing):
        if args.json:
            print_json(last.as_dict(), flush=True)
        else:
            screen.show(f"{last.committed} {last.tentative}".strip(), final=last.final)
    if last is None:
        print("note: no speech was heard [F_NO_SPEECH]", file=sys.stderr)
    elif not args.json:
        print(last.written)
        print_flags(last.flags)
    return 0


def _sound_of(args: argparse.Namespace) -> Iterator[Samples]:
    from medvox.data.live_sound import as_they_come, pcm_blocks, played
    from medvox.data.microphone import microphone_blocks

    if args.rate is not None and args.source != "-":
        raise UsageError("--rate is for raw samples on stdin", fix="leave it out; a sound file tells its rate")
    if args.source == "-":
        rate = {} if args.rate is None else {"rate_hz": args.rate}
        return as_they_come(pcm_blocks(sys.stdin.buffer, **rate))
    if args.source is None:
        print("listening; Ctrl-C ends", file=sys.stderr)
        return as_they_come(microphone_blocks())
    blocks = played(Path(args.source), in_real_time=args.pace == "real")
    return as_they_come(blocks) if args.pace == "real" else blocks


def _hearing(args: argparse.Namespace) -> tuple[Decoding, WritingSettings]:
    """What `transcribe` and `dictate` share."""
    from medvox.dictate import Decoding, read_writing

    nbest = getattr(args, "nbest", 1)
    decoding = Decoding(method=args.decoding, lm=args.lm, hotwords=args.hotwords, nbest=nbest)
    return decoding, read_writing(template=args.template, auto_texts=args.auto_texts, corrections=args.corrections)


def _text_of(path: Path) -> str:
    from medvox.data.record import read_record

    return read_record(path).text


def run_inspect(args: argparse.Namespace, progress: ProgressBar) -> int:
    """``medvox inspect``: prints the series below a path, and the files that were left out."""
    from medvox.inspection import inspect

    found = inspect(args.path, progress)
    progress.clear()
    if args.json:
        print_json(found)
        return 0
    print_found(found)
    return 0


def run_plan(args: argparse.Namespace, progress: ProgressBar) -> int:
    """``medvox plan``: prints pictures, tokens, memory and estimated seconds."""
    from medvox.preparation import plan

    chosen = {name: value for name in ("model", "question") if (value := getattr(args, name))}
    found = plan(args.paths, preset=args.preset, wanted=_wanted(args), progress=progress, **chosen)
    progress.clear()
    if args.json:
        print_json(found)
    else:
        print_plan(found)
    return 0


def run_prep(args: argparse.Namespace, progress: ProgressBar) -> int:
    """``medvox prep``: writes pictures and a receipt."""
    from medvox.preparation import prep

    receipt = prep(
        args.paths,
        args.out,
        preset=args.preset,
        size=args.size,
        wanted=_wanted(args),
        overwrite=args.overwrite,
        progress=progress,
    )
    progress.clear()
    if args.json:
        print_json(receipt)
        return 0
    print(f"{len(receipt['pictures'])} picture(s) by {receipt['preset']['name']} and receipt.json in {args.out}")
    print_notes(receipt["flags"])
    return 0


def run_convert(args: argparse.Namespace, progress: ProgressBar) -> int:
    """``medvox convert``: writes NIfTI; with ``--all`` exits 3 when a volume, or nothing, could be written."""
    from medvox.conversion import convert, convert_all

    if args.all and args.series:
        raise UsageError("--all and --series contradict each other", fix="use one of them")
    if args.all:
        entries = convert_all(args.path, args.target, overwrite=args.overwrite, progress=progress)
    else:
        options = {"series": args.series, "overwrite": args.overwrite}
        entries = [convert(args.path, args.target, progress=progress, **options)]
    progress.clear()
    if args.json:
        print_json(entries if args.all else entries[0])
    else:
        for entry in entries:
            print_conversion(entry)
    unwritten = [entry["error"]["code"] for entry in entries if entry["file"] is None]
    return 3 if len(unwritten) == len(entries) or set(unwritten) - NO_VOLUME else 0


def run_deid(args: argparse.Namespace, progress: ProgressBar) -> int:
    """``medvox deid``: writes copies without identifiers; exits 6 when files were held back."""
    from medvox.data.deidentify import Options
    from medvox.deidentification import deid

    options = Options(
        dates=args.dates,
        keep_characteristics=args.keep_characteristics,
        keep_device=args.keep_device,
        keep_uids=args.keep_uids,
        keep_safe_private=args.keep_safe_private,
        clean_descriptors=args.clean_descriptors,
    )
    report = deid(
        args.path,
        args.target,
        key_file=args.key,
        options=options,
        allow_burned_in=args.allow_burned_in,
        progress=progress,
    )
    progress.clear()
    if args.json:
        print_json(report)
    else:
        print_deid(report)
    return 6 if report["counts"].get("blocked") else 0


def _wanted(args: argparse.Namespace) -> Wanted:
    from medvox.data.material import Wanted

    return Wanted(series=args.series, modality=args.modality or "", mpp_um=args.mpp)


def run_models(args: argparse.Namespace, progress: ProgressBar) -> int:
    """``medvox models``: prints every model that medvox knows, or learns a language model from texts."""
    if args.action == "lm":
        return _learn_lm(args)
    from medvox.catalog import list_models

    rows = list_models()
    if args.json:
        names = ("name", "kind", "shipped", "path", "summary")
        listed = [{name: getattr(row, name) for name in names} for row in rows]
        print_json({"models": [row | {"path": str(row["path"]) if row["path"] else None} for row in listed]})
        return 0
    for row in rows:
        where = "ships with medvox" if row.shipped and row.path else str(row.path or "not on this machine")
        print(f"{row.name:<28} {row.kind:<4} {where}\n{'':<28} {row.summary}")
    return 0


def _learn_lm(args: argparse.Namespace) -> int:
    from medvox.dictate import convert_lm, learn_lm

    if not args.texts or args.out is None:
        raise UsageError("models lm needs texts and a place to write", fix="medvox models lm TEXT... --out FILE")
    if len(args.texts) == 1 and args.texts[0].name.endswith(ARPA_NAMES):
        ngrams = convert_lm(args.texts[0], args.out, model=args.model)
        shown = {"ngrams": ngrams, "file": str(args.out)}
        print_json(shown) if args.json else print(f"{args.out}: {ngrams} n-grams")
        return 0
    counts = learn_lm(args.texts, args.out, model=args.model, order=args.order)
    if args.json:
        print_json(counts | {"file": str(args.out)})
    else:
        print(f"{args.out}: learned from {counts['lines']} lines, {counts['left_out']} left out")
        if counts["with_figures"]:
            text = f"left out for their figures: {counts['with_figures']}; write numbers as they are spoken"
            print(f"note: {text}", file=sys.stderr)
    return 0


def run_doctor(args: argparse.Namespace, progress: ProgressBar) -> int:
    """``medvox doctor``: prints every check; exits 4 when something that medvox needs is missing."""
    from medvox.doctor import examine

    checks = examine()
    broken = any(check.state == "bad" for check in checks)
    if args.json:
        print_json({"ok": not broken, "checks": [check.as_dict() for check in checks]})
    else:
        for check in checks:
            print(f"{check.state:<5} {check.name:<24} {check.found}" + (f"\n{'':<30} {check.fix}" if check.fix else ""))
    return 4 if broken else 0


def run_demo(args: argparse.Namespace, progress: ProgressBar) -> int:
    """``medvox demo``: runs the shipped cases and names the files that were written."""
    from medvox.demo import run_demo as run

    summary = run(args.out, progress)
    progress.clear()
    if args.json:
        print_json(summary)
    else:
        print_demo(summary)
    return 0


RUNS = {
    "ask": run_ask,
    "transcribe": run_transcribe,
    "dictate": run_dictate,
    "inspect": run_inspect,
    "plan": run_plan,
    "prep": run_prep,
    "convert": run_convert,
    "deid": run_deid,
    "models": run_models,
    "doctor": run_doctor,
    "demo": run_demo,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code of the process (the table is in CONTRIBUTING.md)."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json, debug = "--json" in words, "--debug" in words
    progress = ProgressBar(sys.stderr)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the processor to others
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may be no valid text
    try:
        args = build_parser(RUNS).parse_args(words)
        code: int = args.run(args, progress)
        sys.stdout.flush()
        return code
    except MedvoxError as error:
        progress.clear()
        print_error(error, as_json=as_json)
        return error.exit_code
    except KeyboardInterrupt:
        progress.clear()
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in `medvox ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # last resort: name the place, never the text, which may quote the data
        progress.clear()
        if debug:
            traceback.print_exc()
        print_error(_unexpected(error), as_json=as_json)
        return 1


def _question_and_path(words: list[str], *, spoken: bool) -> tuple[str, Path]:
    expected = 1 if spoken else 2
    if len(words) != expected:
        given = "a recording and" if spoken else "a question and"
        raise UsageError(
            f"ask takes {given} one path, got {len(words)} word(s)",
            fix='put the question in quotes and give one folder or file: medvox ask "QUESTION" PATH',
        )
    return words[0], Path(words[-1])


def _unexpected(error: Exception) -> MedvoxError:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(__file__).parent in Path(frame.filename).parents]
    return MedvoxError(
        f"unexpected {type(error).__name__} in {Path(ours[-1].filename).name}:{ours[-1].lineno}",
        fix="this is a bug in medvox: run again with --debug and report the trace (read it first, it may name data)",
        code="E_UNEXPECTED",
    )
