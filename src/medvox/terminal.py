"""What the command line shows: JSON or text on stdout, notes, errors and a progress bar on stderr.

Beside ``cli.py``, which decides what to show. Knows the values that verbs give, and runs none.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from medvox.errors import MedvoxError

if TYPE_CHECKING:
    from medvox.data.results import Answer, Transcript
    from medvox.types import Flag

Block = TypeVar("Block")
BAR_WIDTH = 24
UNSURE_BELOW = 0.75  # words of a spoken question below this confidence are shown; see answer.HEARD_FROM


class ProgressBar:
    """A one-line bar on a terminal; silent anywhere else. Colour unless NO_COLOR is set."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._enabled = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = not os.environ.get("NO_COLOR")
        self._width = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps of ``what`` are finished."""
        if not self._enabled:
            return
        filled = BAR_WIDTH * min(done, total) // max(total, 1)
        bar, rest = "#" * filled, "." * (BAR_WIDTH - filled)
        line = f"{what:<24.24} [{bar}{rest}] {done}/{total}"
        shown = line.replace(bar, f"\x1b[36m{bar}\x1b[0m", 1) if self._colour and bar else line
        self._stream.write("\r" + shown + " " * (self._width - len(line)))
        self._width = len(line)
        self._stream.flush()

    def clear(self) -> None:
        """Take the bar off the screen."""
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0


def until_interrupted(blocks: Iterator[Block]) -> Iterator[Block]:
    """The blocks up to the first Ctrl-C, so that what was said before it is still written; a second one interrupts."""
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, stop)
    try:
        for block in blocks:
            yield block
            if stopped:
                return
    finally:
        signal.signal(signal.SIGINT, before)


def print_answer(answer: Answer) -> None:
    """An answer: what was heard, the text, the label with its probability, the boxes, the notes."""
    print(answer.answer)
    if answer.label is not None:
        sure = "" if answer.probability is None else f"  (probability {answer.probability:.2f})"
        print(f"label: {answer.label}{sure}")
    for box in answer.boxes:
        print(f"box: {box.label} on {box.image} at {', '.join(f'{edge:.0f}' for edge in box.box_xyxy)}")
    print_flags(answer.flags)


def print_notice(recogniser: object) -> None:
    """What must be known before a recogniser hears anything, such as that the recording leaves this machine."""
    notice = getattr(recogniser, "notice", "")
    if notice:
        print(f"note: {notice}", file=sys.stderr)


def print_heard(transcript: Transcript) -> None:
    """A spoken question as it was heard, on stderr, with the words that were heard least surely."""
    print(f"heard: {transcript.text}", file=sys.stderr)
    unsure = [word for word in transcript.words if 0 < word.confidence < UNSURE_BELOW]
    if unsure:
        shown = ", ".join(f"{word.word} ({word.confidence:.2f} at {word.start_s:.1f} s)" for word in unsure)
        print(f"unsure: {shown}", file=sys.stderr)


def print_demo(summary: dict[str, Any]) -> None:
    """The cases of the demo and where their reports lie."""
    for title, case in (("a real CT, asked by voice", summary["real"]), ("a generated CT", summary["phantom"])):
        print(title)
        for answer in (value for value in case.values() if isinstance(value, dict)):
            sure = "" if answer["probability"] is None else f" (probability {answer['probability']:.2f})"
            print(f"  {answer['question']}\n    {answer['label']}{sure}")
            for code in answer["flags"]:
                print(f"    note: {code}")
        print(f"  report: {case['report']}")
    if "iou" in summary:
        print(f"  overlap of the box with the planted one: IoU {summary['iou']:.2f}")


def transcript_as(transcript: Transcript, shown: str, *, raw: bool = False) -> str:
    """A transcript as ``txt``, ``json``, ``verbose_json``, ``srt`` or ``vtt``, with its last line ended."""
    from medvox.report.subtitles import as_srt, as_verbose_json, as_vtt

    if shown in ("json", "verbose_json"):
        value = transcript.as_dict() if shown == "json" else as_verbose_json(transcript)
        return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"
    if shown in ("srt", "vtt"):
        return as_srt(transcript) if shown == "srt" else as_vtt(transcript)
    return (transcript.raw_text if raw else transcript.text) + "\n"


def print_transcript(transcript: Transcript, shown: str, *, raw: bool, title: str) -> None:
    """A transcript in one of its forms; ``title`` names the file where there are several."""
    print(f"{title}: " if title and shown == "txt" else "", transcript_as(transcript, shown, raw=raw), sep="", end="")
    if shown == "txt":
        print_flags(transcript.flags)
        unsure = [risk for risk in transcript.risks if risk.unsure]
        if unsure and not raw:
            places = ", ".join(f"{risk.text!r} ({risk.kind}, {risk.start_s:.1f} s)" for risk in unsure)
            print(f"check first: {places}", file=sys.stderr)


def write_whole(path: Path, text: str) -> None:
    """Writes a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def print_written(path: Path, transcript: Transcript, *, as_json: bool) -> None:
    """Which file a transcript was written to."""
    if as_json:
        print_json({"file": transcript.file, "out": str(path), "flags": [flag.code for flag in transcript.flags]})
        return
    print(path)
    print_flags(transcript.flags)


class LiveScreen:
    """Live dictation: on a terminal the last line is redrawn as words change; elsewhere each utterance is a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._redraws = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._width = 0

    def show(self, words: str, *, final: bool) -> None:
        """Show the words of an utterance as they are known now."""
        if self._redraws:
            room = shutil.get_terminal_size((100, 24)).columns - 1
            shown = words if len(words) <= room else "…" + words[-room + 1 :]
            self._stream.write("\r" + shown + " " * (self._width - len(shown)) + ("\n" if final else ""))
            self._width = 0 if final else len(shown)
        elif final:
            self._stream.write(words + "\n")
        self._stream.flush()


def print_difference(reference: str, heard: str, *, as_json: bool) -> None:
    """What was said above what was heard, and the word error rate by MedASR's published normaliser."""
    from medvox.score.difference import compared, render_diff, summary
    from medvox.score.normalise import quick_start
    from medvox.score.wer import score_texts

    if as_json:
        print_json(score_texts([reference], [heard]).as_dict())
        return
    wanted, got = quick_start(reference), quick_start(heard)
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    print(render_diff(wanted, got, colour=colour, width=shutil.get_terminal_size((100, 24)).columns))
    print(summary(compared(wanted, got)))


def print_found(found: dict[str, Any]) -> None:
    """What lies at a path: series, other files, identifying content, and what was left out."""
    for series in found["series"]:
        sizes = [*series["shape"], series["volumes"]] if series["volumes"] > 1 else series["shape"]
        spacing = series["spacing_mm"]
        mm = " x ".join(f"{length:.3g}" for length in spacing) + " mm" if spacing else "no spacing"
        shape = " x ".join(map(str, sizes))
        print(f"{series['verdict']:<8} {series['modality']:<4} {shape:<16} {mm:<22} {series['description']}")
        count = len(series["files"])
        print(f"         {series['key']}  ({series['files'][0] if count == 1 else f'{count} files'})")
        print_reasons(series["flags"])
    for item in found["files"]:
        facts = ", ".join(f"{name} {value}" for name, value in item["facts"].items())
        print(f"{item['verdict']:<8} {item['kind']:<9} {item['path']}  {facts}")
        print_reasons(item["flags"])
    for left_out in found["not_used"]:
        print(f"not used {left_out['path']}: {left_out['reason']}")
    present = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in found["identity"].items() if count)
    if present:
        print(f"identifying content in DICOM headers: {present}")


def print_reasons(flags: Sequence[dict[str, str]]) -> None:
    """The flags of one item, below it."""
    for flag in flags:
        print(f"         {flag['code']}: {flag['text']}")


def print_plan(found: dict[str, Any]) -> None:
    """What a request would cost."""
    pictures, tokens, memory, seconds = found["pictures"], found["tokens"], found["memory_mib"], found["seconds"]
    estimated = "" if tokens["exact"] else ", estimated"
    print(f"{found['kind']} by {found['preset']['name']} for {found['model']['id']}")
    print(f"pictures {pictures['shown']} of {pictures['of']}, {pictures['size']} px")
    print(f"tokens   {tokens['total']} of {tokens['limit']} ({tokens['image']} for pictures{estimated})")
    print(f"memory   {memory['total']} MiB of {memory['available']} MiB free ({memory['weights']} MiB of it weights)")
    print(
        f"seconds  about {seconds['vision']:.3g} for pictures, {seconds['prefill']:.3g} for the prompt, "
        f"{seconds['decode']:.3g} for {seconds['new_tokens']} new tokens on this machine"
    )
    print_notes(found["flags"])


def print_conversion(entry: dict[str, Any]) -> None:
    """One series that was written, or the reason why it was not."""
    if entry["file"] is None:
        print(f"not written {entry['series']}: {entry['error']['message']} [{entry['error']['code']}]", file=sys.stderr)
        return
    print(f"{entry['file']}  {' x '.join(map(str, entry['shape']))}")
    print_notes(entry["flags"])


def print_deid(report: dict[str, Any]) -> None:
    """What became of every file that was not written, and how many were."""
    for file in report["files"]:
        if file["status"] in ("blocked", "skipped"):
            print(f"{file['status']}: {file.get('reason') or file['input']} [{file['code']}]", file=sys.stderr)
    print(", ".join(f"{count} {status}" for status, count in report["counts"].items()) or "no files")
    print(report["statement"])


def print_notes(flags: Sequence[dict[str, str]]) -> None:
    """Flags of a JSON-ready result as notes on stderr."""
    for flag in flags:
        print(f"note: {flag['text']} [{flag['code']}]", file=sys.stderr)


def print_flags(flags: Sequence[Flag]) -> None:
    """Notes on stderr, one a line."""
    for flag in flags:
        print(f"note: {flag.text} [{flag.code}]", file=sys.stderr)


def print_error(error: MedvoxError, *, as_json: bool, file: Path | None = None) -> None:
    """An error with its fix: on stdout as JSON, or on stderr as text."""
    named = {"file": file.name} if file else {}
    if as_json:
        print_json(named | {"error": error.as_dict()})
    else:
        where = f"{file.name}: " if file and file.name not in error.message else ""
        print(f"error: {where}{error.message}\n  fix: {error.fix}", file=sys.stderr)


def print_json(value: Any, *, flush: bool = False) -> None:
    """One line of strict JSON on stdout."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False), flush=flush)
