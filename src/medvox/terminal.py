"""What the command line shows: JSON or text on stdout, notes, errors and a progress bar on stderr.

Beside ``cli.py``, which decides what to show. Knows the values that verbs give, and runs none.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from medvox.errors import MedvoxError

if TYPE_CHECKING:
    from medvox.data.results import Answer
    from medvox.types import Flag

BAR_WIDTH = 24


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


def print_answer(answer: Answer) -> None:
    """An answer: what was heard, the text, the label with its probability, the boxes, the notes."""
    if answer.transcript is not None:
        print(f"heard: {answer.transcript.text}")
    print(answer.answer)
    if answer.label is not None:
        sure = "" if answer.probability is None else f"  (probability {answer.probability:.2f})"
        print(f"label: {answer.label}{sure}")
    for box in answer.boxes:
        print(f"box: {box.label} on {box.image} at {', '.join(f'{edge:.0f}' for edge in box.box_xyxy)}")
    print_flags(answer.flags)


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
        where = f"{file.name}: " if file else ""
        print(f"error: {where}{error.message}\n  fix: {error.fix}", file=sys.stderr)


def print_json(value: Any) -> None:
    """One line of strict JSON on stdout."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))
