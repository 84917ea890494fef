"""A slice of ``make fuzz``, and proof that the fuzzer sees what it is to see."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz import KINDS, READERS
from fuzz_seeds import seeds
from mutants import mutate

from medvox.errors import MedvoxError

TESTS = Path(__file__).parent
SLICE = 3_600
RUN = """
import json, sys
sys.path.insert(0, {folder!r})
import drills, fuzz
def bad(path):
    raise KeyError("no error of ours")
def wild(path):
    fuzz._check_finite(fuzz.np.array([fuzz.np.nan]))
{body}
print(json.dumps({{"outcomes": tally.outcomes, "faults": tally.faults, "peak": tally.peak_bytes}}))
"""


def run(body: str) -> Any:
    """Run the fuzzer in an interpreter of its own, since it forks; what it tallied."""
    code = RUN.format(folder=str(TESTS), body=body)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_seed_is_read_before_it_is_broken(tmp_path: Path) -> None:
    read, refused = set(), set()
    for seed in seeds():
        path = tmp_path / "seed"
        path.write_bytes(seed.content)
        try:
            READERS[seed.kind](path)
            read.add(seed.kind)
        except MedvoxError as error:
            refused.add(error.code)
    assert read == set(KINDS)
    assert refused <= {"E_SLIDE_FORMAT"}  # among the real files are slides of 16-bit grey


def test_a_slice_of_mutants_gives_values_or_errors_of_ours() -> None:
    tally = run(f"tally = fuzz.run({SLICE}, 1)")
    assert tally["faults"] == []
    assert tally["peak"] < 2 * 2**30
    counts = {kind: sum(outcomes.values()) for kind, outcomes in tally["outcomes"].items()}
    assert sum(counts.values()) == SLICE
    assert min(counts.values()) >= SLICE // len(KINDS)
    for kind, outcomes in tally["outcomes"].items():
        assert 0.01 < outcomes["read"] / counts[kind] < 0.95, kind  # neither all harmless nor all beyond recognition


@pytest.mark.parametrize(
    ("reader", "fault"),
    [
        ("bad", "!KeyError"),
        ("wild", "!ArithmeticError"),
        ("lambda path: drills.segfault()", "!SIGSEGV"),
        ("lambda path: drills.abort()", "!SIGABRT"),
        ("lambda path: drills.sleep()", "!hang"),
        ("lambda path: drills.eat_memory()", "!MemoryError"),
    ],
)
def test_every_kind_of_fault_is_seen_and_the_run_goes_on(reader: str, fault: str) -> None:
    tally = run(f"tally = fuzz.run(12, 1, dict(fuzz.READERS, nifti={reader}), clock_s=1.0)")
    assert [(found["fault"], found["number"]) for found in tally["faults"]] == [(fault, 1)]
    assert sum(sum(outcomes.values()) for outcomes in tally["outcomes"].values()) == 12


def test_a_mutant_is_the_same_for_the_same_numbers() -> None:
    for seed in seeds():
        first, second, other = (
            mutate(seed.content, seed.kind, np.random.default_rng([number, 5])) for number in (1, 1, 2)
        )
        assert first == second
        assert first != other
