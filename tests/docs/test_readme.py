"""What the README and the start pages tell people to type is run here, as they would type it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "README.md"
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def commands(page: Path, program: str) -> list[str]:
    """Lines of the page's ``bash`` blocks that call the program, without their comments."""
    lines = [line.strip() for block in blocks(page, "bash") for line in block.splitlines()]
    return [line.partition("  #")[0].strip() for line in lines if line.startswith(f"{program} ")]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    return subprocess.run(words, capture_output=True, text=True, env=env, cwd=REPOSITORY, timeout=300, check=False)


@pytest.mark.parametrize("command", commands(README, "medvox"))
def test_command_of_the_readme_runs(command: str) -> None:
    done = run([sys.executable, "-m", "medvox", *shlex.split(command)[1:]])
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("source", blocks(README, "python"))
def test_python_of_the_readme_runs(source: str) -> None:
    done = run([sys.executable, "-c", source])
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    named = {command.split()[1] for command in commands(page, "make")}
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_command_stands_in_the_readme() -> None:
    done = run([sys.executable, "-m", "medvox", "--help"])
    listed = re.findall(r"^    (\w+) {2,}", done.stdout, flags=re.MULTILINE)
    text = README.read_text()
    assert listed
    assert [name for name in listed if f"`medvox {name}" not in text] == []
