"""What every stage shares: where the cache is."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvox.models.kernels.build import folder
from medvox.types import cache_folder


@pytest.mark.parametrize(
    ("variables", "where"),
    [
        ({"MEDVOX_CACHE": "/own", "XDG_CACHE_HOME": "/users"}, "/own"),
        ({"MEDVOX_CACHE": "", "XDG_CACHE_HOME": "/users"}, "/users/medvox"),
        ({"XDG_CACHE_HOME": ""}, "/home/me/.cache/medvox"),
    ],
)
def test_one_rule_for_every_cache(variables: dict[str, str], where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDVOX_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder("unfinished") == Path(where) / "unfinished"
    assert folder() == Path(where) / "kernels"
