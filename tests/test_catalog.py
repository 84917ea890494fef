"""Every name in the catalog stands for something, and models are found where people put them."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvox import catalog
from medvox.errors import SetupError


def make_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.fixture
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDVOX_MODELS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("target", [*catalog.PRESETS.values(), *catalog.VERBS.values()])
def test_every_target_loads(target: str) -> None:
    assert catalog.load(target) is not None


@pytest.mark.parametrize("name", [name for name, entry in catalog.MODELS.items() if entry.shipped])
def test_shipped_models_are_there(name: str) -> None:
    assert catalog.resolve_model(name) == catalog.WEIGHTS / name


@pytest.mark.parametrize("place", ["google/medasr", "medasr"])
def test_a_model_in_the_users_folder_is_found(place: str, user_folder: Path) -> None:
    folder = make_model(user_folder / place)
    assert catalog.resolve_model("google/medasr") == folder


def test_a_folder_is_a_model(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "mine")
    assert catalog.resolve_model(folder) == folder


def test_a_known_model_that_is_not_here_says_where_to_put_it(user_folder: Path) -> None:
    with pytest.raises(SetupError) as caught:
        catalog.resolve_model("google/medasr")
    assert caught.value.code == "E_MODEL_MISSING"
    assert str(user_folder / "google/medasr") in caught.value.fix


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"needs config\.json") as caught:
        catalog.resolve_model(tmp_path)
    assert caught.value.code == "E_MODEL_MISSING"


@pytest.mark.parametrize("name", ["nothing", "google/nothing"])
def test_an_unknown_name_lists_the_known_ones(name: str, user_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(user_folder)
    with pytest.raises(SetupError) as caught:
        catalog.resolve_model(name)
    assert caught.value.code == "E_MODEL_UNKNOWN"
    assert all(known in caught.value.fix for known in catalog.MODELS)


def test_the_list_marks_what_is_missing(user_folder: Path) -> None:
    listed = {status.name: status for status in catalog.list_models()}
    assert set(listed) == set(catalog.MODELS)
    assert listed["google/medasr"].path is None
