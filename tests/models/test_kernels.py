"""Small C sources: compiled once, loaded from a private cache, and left alone where anything is in the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from medvox.models.kernels import build


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(build.SWITCH, raising=False)
    build.library.cache_clear()
    yield tmp_path / "medvox" / "kernels"
    build.library.cache_clear()


needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="no C compiler is here")


@needs_compiler
def test_a_library_is_compiled_once(cache: Path) -> None:
    assert build.library("beam") is not None
    (path,) = cache.iterdir()
    made = path.stat().st_mtime_ns
    build.library.cache_clear()
    assert build.library("beam") is not None
    assert path.stat().st_mtime_ns == made


@needs_compiler
def test_other_flags_make_another_library(cache: Path) -> None:
    assert build.library("beam") is not None
    assert build.library("beam", "-DOTHER") is not None
    assert len(list(cache.iterdir())) == 2


@needs_compiler
def test_a_damaged_library_is_not_loaded(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build.library("beam")
    (path,) = cache.iterdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))  # a path that is loaded is not read again
    build.folder().mkdir(parents=True)
    (build.folder() / path.name).write_bytes(b"no library")
    build.library.cache_clear()
    assert build.library("beam") is None


@needs_compiler
def test_a_library_that_others_may_write_is_not_loaded(cache: Path) -> None:
    build.library("beam")
    (path,) = cache.iterdir()
    path.chmod(0o666)
    build.library.cache_clear()
    assert build.library("beam") is None


def test_without_a_compiler_there_is_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert build.library("beam") is None
    assert "compiler" in build.obstacle()


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(build.SWITCH, "off")
    assert build.library("beam") is None
    assert build.SWITCH in build.obstacle()


@needs_compiler
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written_is_no_obstacle_to_the_caller(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert build.library("beam") is None
