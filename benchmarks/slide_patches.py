"""Seconds and memory from a slide on disk to model-ready patches, each case in a process of its own.

    python benchmarks/slide_patches.py             # prints the page
    python benchmarks/slide_patches.py --write     # and puts it into benchmarks/results/

The slides are generated pyramids (JPEG tiles of 256 px, levels 1, 4, 16, 64). Two questions: how long does the largest
usual slide take, and does the time follow the number of patches and not the size of the slide?
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from demo_stages import HERE, commit, machine

from medvox import catalog
from medvox.data.slide import open_slide
from medvox.encode.slide import choose_patches, prepare_slide
from medvox.synth.slide import make_slide, write_slide

COMMAND = "python benchmarks/slide_patches.py --write"
SIZES = ((50_000, 40_000), (100_000, 80_000), (200_000, 160_000))
LARGE = SIZES[1]
COUNTS = (32, 63, 126)
PRESETS = ("slide.medgemma-1.5-5x", "slide.medgemma-1.5-10x", "slide.medgemma-1.5-20x")
MOST_S, MOST_MIB = 10.0, 700


def one_case(path: str, preset_name: str, count: int) -> None:
    """Prepare a slide in this process and print what it took as JSON."""
    preset = replace(catalog.load(catalog.PRESETS[preset_name]), max_patches=count)
    start = time.perf_counter()
    with open_slide(path) as slide:
        choose_patches(slide, preset)
    mask_s = time.perf_counter() - start
    start = time.perf_counter()
    with open_slide(path) as slide:
        prepared = prepare_slide(slide, preset)
    total_s = time.perf_counter() - start
    took = {
        "patches": len(prepared.images),
        "candidates": prepared.facts["tissue_patches"],
        "coverage": prepared.facts["coverage"],
        "mask_s": mask_s,
        "total_s": total_s,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,  # in KiB on Linux
    }
    print(json.dumps(took))


def run_case(path: Path, preset: str, count: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--case", str(path), preset, str(count)]
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return result


def row(first: str, case: dict[str, float]) -> str:
    figures = f"{case['mask_s']:.1f} | {case['total_s']:.1f} | {case['peak_mib']:.0f}"
    return f"| {first} | {case['patches']} of {case['candidates']} | {case['coverage']:.0%} | {figures} |"


def measure() -> str:
    """Write the slides, run every case once, and return the page."""
    head = "patches | tissue shown | mask alone, s | mask and patches, s | peak MiB |"
    rule = "| --- | ---: | ---: | ---: | ---: | ---: |"
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for width, height in SIZES:
            paths[width, height] = Path(folder) / f"{width}.tif"
            start = time.perf_counter()
            write_slide(make_slide(width, height, artefacts=True), paths[width, height])
            written = f"{time.perf_counter() - start:.0f} s, {paths[width, height].stat().st_size / 2**20:.0f} MiB"
            print(f"{width} x {height} px: {written}", file=sys.stderr)
        cases = {preset: run_case(paths[LARGE], preset, 126) for preset in PRESETS}
        by_size = {(size, count): run_case(paths[size], PRESETS[-1], count) for size in SIZES for count in COUNTS}
    worst_s, worst_mib = (max(case[key] for case in cases.values()) for key in ("total_s", "peak_mib"))
    verdict = "reached" if worst_s <= MOST_S and worst_mib <= MOST_MIB else "NOT reached"
    lines = [
        "# Patches of whole slides", "",
        f"- machine: {machine()}", f"- date: {datetime.date.today()}", f"- commit: {commit()}",
        f"- command: `{COMMAND}`, one run; each case in a process of its own, memory with Python and all packages",
        "- slides: generated pyramids at 0.25 um per pixel with ink, faint tissue and a black border; file cache warm",
        "", f"## {LARGE[0]:,} x {LARGE[1]:,} px, up to 126 patches of 896 px", "",
        f"Slowest **{worst_s:.1f} s** and **{worst_mib:.0f} MiB**; the aim of {MOST_S:.0f} s and {MOST_MIB} MiB is"
        f" {verdict}.", "",
        f"| preset | {head}", rule, *(row(preset, case) for preset, case in cases.items()),
        "", "## By size of the slide and number of patches, 20x", "",
        "The mask is made at 8 um per pixel, or at 16 um where that would be more than 16 million pixels, so it costs"
        " about the same for every slide; the rest follows the number of patches.", "",
        f"| slide, px | {head}", rule,
        *(row(f"{size[0]:,} x {size[1]:,}", case) for (size, _), case in by_size.items()), "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds and memory from a slide on disk to model-ready patches.")
    parser.add_argument("--write", action="store_true", help="write the page to benchmarks/results/ as well")
    parser.add_argument("--case", nargs=3, metavar=("PATH", "PRESET", "COUNT"), help="run one case and print JSON")
    options = parser.parse_args()
    if options.case:
        one_case(options.case[0], options.case[1], int(options.case[2]))
        return
    page = measure()
    print(page)
    if options.write:
        name = f"slide-patches_{platform.machine()}-{os.cpu_count()}cores_{datetime.date.today()}.md"
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / name).write_text(page)


if __name__ == "__main__":
    main()
