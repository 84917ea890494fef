"""Rows of interrupted work: taken up again, never trusted when damaged, never left behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from medvox.data.unfinished import KEPT_S, UnfinishedRows, unfinished_rows
from medvox.errors import ModelError

SHAPE = (100, 7)


def rows(first: int, last: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((100, 7)).astype(np.float32)[first:last]


def interrupt(folder: Path, work: str = "a", parts: tuple[int, ...] = (10, 30)) -> Path:
    """Leave rows up to 40 behind, and give the file."""
    with pytest.raises(KeyboardInterrupt), unfinished_rows(work, SHAPE, folder) as found:  # noqa: PT012
        for part in parts:
            found.add(rows(found.done, found.done + part))
        raise KeyboardInterrupt
    (file,) = folder.glob("*.rows")
    return file


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    interrupt(tmp_path)
    with unfinished_rows("a", SHAPE, tmp_path) as found:
        assert found.done == 40
        found.add(rows(40, 100))
        np.testing.assert_array_equal(found.rows, rows(0, 100))
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_what_it_had_written(tmp_path: Path) -> None:
    program = (
        "import sys, time, numpy as np; from pathlib import Path\n"
        "from medvox.data.unfinished import unfinished_rows\n"
        "with unfinished_rows('a', (100, 7), Path(sys.argv[1])) as found:\n"
        "    found.add(np.random.default_rng(3).standard_normal((100, 7))[:25])\n"
        "    print('there', flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "there\n"
    with unfinished_rows("a", SHAPE, tmp_path) as meanwhile:  # the file is the other process's
        assert meanwhile.done == 0
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with unfinished_rows("a", SHAPE, tmp_path) as found:
        np.testing.assert_array_equal(found.rows[: found.done], rows(0, 25))
        assert found.done == 25


@pytest.mark.parametrize("lost", [1, 11, 12, 500])
def test_a_part_that_was_being_written_is_done_again(tmp_path: Path, lost: int) -> None:
    file = interrupt(tmp_path)
    os.truncate(file, file.stat().st_size - lost)
    with unfinished_rows("a", SHAPE, tmp_path) as found:
        assert found.done == 10
        found.add(rows(10, 100))
        np.testing.assert_array_equal(found.rows, rows(0, 100))


@pytest.mark.parametrize("place", [0, 20, 50, 70, 80, 200, -1])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, place: int) -> None:
    file = interrupt(tmp_path)
    data = bytearray(file.read_bytes())
    data[place] ^= 0x40
    file.write_bytes(data)
    with unfinished_rows("a", SHAPE, tmp_path) as found:
        assert found.done == 0
        found.add(rows(0, 100))


@pytest.mark.parametrize("content", [b"", b"medvox", b"\0" * 10_000, os.urandom(5000)])
def test_a_file_of_anything_else_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    file = interrupt(tmp_path)
    file.write_bytes(content)
    interrupt(tmp_path)
    with unfinished_rows("a", SHAPE, tmp_path) as found:
        assert found.done == 40


def test_other_work_and_other_shapes_share_nothing(tmp_path: Path) -> None:
    interrupt(tmp_path)
    with unfinished_rows("b", SHAPE, tmp_path) as found:
        assert found.done == 0
    with unfinished_rows("a", (101, 7), tmp_path) as found:
        assert found.done == 0


def test_work_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError), unfinished_rows("a", SHAPE, tmp_path) as found:  # noqa: PT012
        found.add(rows(0, 10))
        raise ModelError("no", fix="none")
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_its_owners_alone_and_names_nothing(tmp_path: Path) -> None:
    file = interrupt(tmp_path / "cache" / "medvox", work="Mrs Smith's dictation")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "smith" not in str(file).lower()
    assert b"Smith" not in file.read_bytes()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    file = interrupt(tmp_path)
    target = tmp_path / "precious"
    target.write_text("mine")
    file.unlink()
    file.symlink_to(target)
    with unfinished_rows("a", SHAPE, tmp_path) as found:
        found.add(rows(0, 100))
    assert target.read_text() == "mine"


def test_a_folder_that_cannot_be_made_costs_only_the_resumption(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with unfinished_rows("a", SHAPE, blocked / "cache") as found:
        found.add(rows(0, 100))
        np.testing.assert_array_equal(found.rows, rows(0, 100))


def test_a_full_disk_costs_only_the_resumption() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    import io

    with io.FileIO(full, "r+") as file:
        found = UnfinishedRows(SHAPE, file, b"key")
        found.add(rows(0, 100))
        np.testing.assert_array_equal(found.rows, rows(0, 100))


def test_what_nobody_came_back_for_goes_after_a_week(tmp_path: Path) -> None:
    file = interrupt(tmp_path)
    os.utime(file, (time.time() - KEPT_S - 60,) * 2)
    with unfinished_rows("b", SHAPE, tmp_path):
        assert not file.exists()
