"""Seconds per stage and peak memory of ``medvox demo``, in a process of its own.

    python benchmarks/demo_stages.py             # prints the page
    python benchmarks/demo_stages.py --write     # and puts it into benchmarks/results/

The seconds of the stages are those of the receipts that the demo writes; the whole is measured from outside, with the
start of Python.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import medvox

HERE = Path(__file__).parent
COMMAND = "python benchmarks/demo_stages.py --write"


def machine() -> str:
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    name = cpu[1] if cpu else platform.processor()
    return f"{name}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, Python {platform.python_version()}"


def commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=False).stdout.strip()

    changed = " with uncommitted changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short", "HEAD") or "none") + changed


def stages(out: Path) -> Iterator[tuple[str, str, float]]:
    """(receipt, stage, seconds) of every receipt below the folder that the demo wrote."""
    for path in sorted(out.rglob("*receipt*.json")):
        receipt = json.loads(path.read_text())
        for stage, seconds in receipt["seconds"].items():
            yield path.relative_to(out).as_posix(), stage, seconds


def measure() -> str:
    """Run the demo once and return the page."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        start = time.perf_counter()
        command = [sys.executable, "-m", "medvox", "demo", "--out", str(out), "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        total_s = time.perf_counter() - start
        peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # ru_maxrss is in KiB on Linux
        rows = [f"| {receipt} | {stage} | {seconds:.2f} |" for receipt, stage, seconds in stages(out)]
    facts = [f"- machine: {machine()}", f"- date: {datetime.date.today()}", f"- commit: {commit()}"]
    facts += [f"- medvox {medvox.__version__}", f"- command: `{COMMAND}`, one run"]
    whole = [f"- whole process: **{total_s:.1f} s**", f"- peak resident memory: **{peak_mib:.0f} MiB**"]
    table = ["| receipt | stage | seconds |", "| --- | --- | ---: |", *rows]
    return "\n".join(["# Stages of `medvox demo`", "", *facts, "", *whole, "", *table, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds per stage and peak memory of `medvox demo`.")
    parser.add_argument("--write", action="store_true", help="write the page to benchmarks/results/ as well")
    write = parser.parse_args().write
    page = measure()
    print(page)
    if write:
        name = f"demo-stages_{platform.machine()}-{os.cpu_count()}cores_{datetime.date.today()}.md"
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / name).write_text(page)


if __name__ == "__main__":
    main()
