"""Recall of the note rules of ``medvox deid`` by category on generated notes, and what they take from real ones.

    python benchmarks/deid_notes.py [--notes 5000] [--real ../shared/data/text/mtsamples_notes.jsonl.gz]

The held-out templates were written by the author of the rules and scored without a look at what was missed. Two thirds
of the names are outside of the rules' lists. An identifier is found when all its letters and digits are replaced.
Prints a Markdown page.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import re
from collections import Counter
from pathlib import Path

from medvox.data.deidentify_notes import find_identifiers
from medvox.synth.identities import HELD_OUT, PlantedNote, planted_note


def wilson(found: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson score)."""
    z, share = 1.96, found / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def found_in(note: PlantedNote) -> list[tuple[str, bool]]:
    """(category, was it found) of every planted identifier of a note."""
    taken = {place for span in find_identifiers(note.text) for place in range(span.start, span.end)}
    return [
        (span.category, all(i in taken for i in range(span.start, span.end) if note.text[i].isalnum()))
        for span in note.spans
    ]


def score_generated(notes: int) -> None:
    """Print recall by category, and the share of words taken that were no identifiers."""
    planted, found = Counter[str](), Counter[str]()
    words = wrong = 0
    for seed in range(notes):
        note = planted_note(seed, templates=HELD_OUT)
        for category, was_found in found_in(note):
            planted[category] += 1
            found[category] += was_found
        truth = {place for span in note.spans for place in range(span.start, span.end)}
        taken = {place for span in find_identifiers(note.text) for place in range(span.start, span.end)}
        outside = [match for match in re.finditer(r"\w+", note.text) if match.start() not in truth]
        words += len(outside)
        wrong += sum(match.start() in taken for match in outside)
    print("| category | planted | found | recall | 95 % interval |\n|---|---|---|---|---|")
    for category in sorted(planted):
        low, high = wilson(found[category], planted[category])
        share = found[category] / planted[category]
        print(f"| {category} | {planted[category]} | {found[category]} | {share:.4f} | {low:.4f} to {high:.4f} |")
    print(f"\nWords outside of identifiers that were taken: {wrong} of {words} ({wrong / words:.3%}).")


def score_real(path: Path) -> None:
    """Print what is taken from public notes, most of which have no identifiers left."""
    words = 0
    taken = Counter[str]()
    with gzip.open(path, "rt") as lines:
        for line in lines:
            text = max((value for value in json.loads(line).values() if isinstance(value, str)), key=len)
            words += len(re.findall(r"\w+", text))
            for span in find_identifiers(text):
                taken[span.category] += len(re.findall(r"\w+", text[span.start : span.end]))
    total = sum(taken.values())
    parts = ", ".join(f"{category} {count}" for category, count in taken.most_common())
    print(f"\nReal notes ({path.name}): {total} of {words} words taken ({total / words:.2%}): {parts}.")
    dates = taken["DATE"] + taken["ORGANIZATION"]
    print(
        f"Dates and organisations in them are real finds; of the other words {(total - dates) / words:.2%} were taken."
    )


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, default=5000)
    parser.add_argument("--real", type=Path, default=Path("../shared/data/text/mtsamples_notes.jsonl.gz"))
    args = parser.parse_args()
    score_generated(args.notes)
    if args.real.exists():
        score_real(args.real)


if __name__ == "__main__":
    main()
