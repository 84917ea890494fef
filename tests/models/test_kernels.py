"""Small C sources: compiled once, loaded from a private cache, and left alone where anything is in the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medvox.models.kernels import build


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MEDVOX_CACHE", str(tmp_path))
    monkeypatch.delenv(build.SWITCH, raising=False)
    build.library.cache_clear()
    yield tmp_path / "kernels"
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good library."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDVOX_CACHE", str(tmp_path_factory.mktemp("made")))
        patch.delenv(build.SWITCH, raising=False)
        build.library.cache_clear()
        build.library("beam")
        (path,) = build.folder().iterdir()
    return path


def damaged(made: Path, damage: Callable[[bytes], bytes]) -> Path:
    """A damaged library where the next search for one will look."""
    build.folder().mkdir(parents=True, mode=0o700)
    copy = build.folder() / made.name
    copy.write_bytes(damage(made.read_bytes()))
    copy.chmod(0o600)
    return copy


DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda data: b"no library",
    lambda data: b"",
    lambda data: data[: len(data) // 2],
    lambda data: data[:-1],
    lambda data: data[:5000] + bytes([data[5000] ^ 255]) + data[5001:],
]


@needs_compiler
def test_a_damaged_library_is_made_anew(made: Path) -> None:
    path = damaged(made, DAMAGES[2])
    assert build.library("beam") is not None
    assert len(path.read_bytes()) > made.stat().st_size // 2


@needs_compiler
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_library_is_not_loaded(
    made: Path, damage: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged(made, damage)
    monkeypatch.setenv("PATH", "")
    assert build.library("beam") is None


@needs_compiler
def test_a_good_library_needs_no_compiler(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged(made, lambda data: data)
    monkeypatch.setenv("PATH", "")
    assert build.library("beam") is not None


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written_is_no_obstacle_to_the_caller(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert build.library("beam") is None
    assert "cannot be written" in build.obstacle()


def test_a_cache_that_cannot_be_a_folder_is_no_obstacle_to_the_caller(tmp_path: Path) -> None:
    (tmp_path / "kernels").write_text("a file where the folder should be")
    assert build.library("beam") is None


def test_a_compiler_that_fails_is_no_obstacle_to_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "bin" / "cc"
    compiler.parent.mkdir()
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o700)
    monkeypatch.setenv("PATH", str(compiler.parent))
    assert build.library("beam") is None
    assert list(build.folder().iterdir()) == []
