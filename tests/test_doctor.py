"""The doctor tells a broken installation from a sound one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from medvox import catalog, doctor


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder with one model whose digest is written down."""
    folder = tmp_path / "medvox-mini-asr"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  medvox-mini-asr/model.safetensors\n")
    monkeypatch.setattr(catalog, "WEIGHTS", tmp_path)
    monkeypatch.setattr(doctor, "WEIGHTS", tmp_path)
    monkeypatch.setattr(doctor, "SUMS", tmp_path / "SHA256SUMS")
    monkeypatch.setenv("MEDVOX_MODELS", str(tmp_path / "none"))
    return folder


def check_named(name: str) -> doctor.Check:
    return next(check for check in doctor.examine() if check.name == name)


def test_untouched_weights_are_ok(shipped: Path) -> None:
    assert check_named("model medvox-mini-asr").state == "ok"


def test_changed_weights_are_bad(shipped: Path) -> None:
    (shipped / "model.safetensors").write_bytes(b"other")
    check = check_named("model medvox-mini-asr")
    assert check.state == "bad"
    assert "model.safetensors" in check.found


def test_a_shipped_model_that_is_missing_is_bad(shipped: Path) -> None:
    assert check_named("model medvox-mini-vlm").state == "bad"


def test_a_model_that_does_not_ship_is_only_noted(shipped: Path) -> None:
    check = check_named("model google/medasr")
    assert check.state == "note"
    assert check.fix


def test_a_missing_package_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package",))
    check = check_named("no-such-package")
    assert check.state == "bad"
    assert "pip install" in check.fix


def test_every_fault_has_a_fix() -> None:
    assert all(check.fix for check in doctor.examine() if check.state != "ok")


def test_without_a_compiler_the_search_is_slow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MEDVOX_KERNELS", raising=False)
    check = check_named("speech search")
    assert check.state == "note"
    assert "no C compiler" in check.found


def test_with_a_compiler_the_search_is_fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cc").touch(mode=0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MEDVOX_CACHE", str(tmp_path))
    monkeypatch.delenv("MEDVOX_KERNELS", raising=False)
    check = check_named("speech search")
    assert (check.state, check.fix) == ("ok", "")
