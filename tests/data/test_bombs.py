"""Every bomb is refused at once and in little memory. The figures of the house: 1 s (5 s for sound and PDF), 512 MB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import bombs
import pytest

MOST_BYTES = 512 * 10**6
MOST_S = {"pdf": 5.0, "wav": 5.0, "sound": 5.0}
# What each is refused as, where it is neither a limit nor a file that does not hold what it claims.
ENDINGS = ("_LIMIT", "_TRUNCATED", "_CORRUPT", "_UNREADABLE", "_PIXEL_FORMAT", "_FORBIDDEN")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What reading each bomb took, measured in a process without anything else in it."""
    folder = tmp_path_factory.mktemp("bombs")
    done = subprocess.run(
        [sys.executable, bombs.__file__, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    assert list(folder.iterdir()) == []
    return {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", bombs.BOMBS)
def test_a_bomb_is_refused_at_once_and_in_little_memory(name: str, told: dict[str, Any]) -> None:
    line = told[name]
    assert line["outcome"].startswith("E_"), line
    assert line["outcome"].endswith(ENDINGS), line
    assert line["seconds"] <= MOST_S.get(line["kind"], 1.0), line
    assert line["peak_bytes"] <= MOST_BYTES, line


def test_there_are_as_many_bombs_as_promised(told: dict[str, Any]) -> None:
    assert len(told) == len(bombs.BOMBS) >= 20
    assert {"dicom", "nifti", "png", "tiff", "zip", "fhir", "pdf", "wav", "sound", "docx", "cda"} <= {
        line["kind"] for line in told.values()
    }
    assert max(line["bytes"] for line in told.values()) < 32 * 2**20


def test_the_measure_sees_memory_and_time(tmp_path: Path) -> None:
    code = (
        f"import sys, json; sys.path.insert(0, {str(Path(bombs.__file__).parent)!r})\n"
        "import bombs, time\n"
        "from pathlib import Path\n"
        "def hungry(path):\n"
        "    while time.process_time() < 0.4: pass\n"
        "    held = bytes(300 * 2**20).replace(b'\\0', b'x')\n"
        "bombs.READERS['hungry'] = hungry\n"
        "print(json.dumps(bombs.measured(Path('x'), 'hungry')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    line = json.loads(done.stdout)
    assert (line["outcome"], line["seconds"] > 0.3, line["peak_bytes"] > 300 * 10**6) == ("read", True, True)
