"""Variants of good DICOM series: what is changed, and what must come of it. Used by the tables of variants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from made_series import Edit
from pydicom import Dataset

from medvox.data.dicom import find_study, read_volumes
from medvox.errors import MedvoxError

VERDICTS = ("accept", "flagged", "refuse")


def unchanged(dataset: Dataset, number: int) -> None:
    """The edit that does nothing."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A change of a good series, and what must come of it. ``code`` is empty for what is accepted."""

    name: str
    verdict: str
    code: str = ""
    edit: Edit = unchanged
    after: Callable[[list[Path]], None] = len  # a change of the files
    slices: int = 5
    shape: tuple[int, int] = (6, 4)


def accept(name: str, edit: Edit = unchanged, **more: Any) -> Variant:
    return Variant(name=name, verdict="accept", edit=edit, **more)


def flagged(name: str, code: str, edit: Edit = unchanged, **more: Any) -> Variant:
    return Variant(name=name, verdict="flagged", code=code, edit=edit, **more)


def refuse(name: str, code: str, edit: Edit = unchanged, **more: Any) -> Variant:
    return Variant(name=name, verdict="refuse", code=code, edit=edit, **more)


def outcome(path: Path) -> tuple[str, set[str]]:
    """The worst verdict at a path, after decoding what may be decoded, and all codes."""
    found: set[str] = set()
    verdicts = []
    try:
        for series in find_study(path).series:
            flags, verdict = list(series.flags), series.verdict
            if verdict != "refuse" and series.kind == "volume":
                try:
                    flags = [flag for volume in read_volumes(series) for flag in volume.flags]
                    verdict = "flagged" if flags else verdict
                except MedvoxError as error:
                    verdict = "refuse"
                    found.add(error.code)
            verdicts.append(verdict)
            found |= {flag.code for flag in flags}
    except MedvoxError as error:
        return "refuse", {error.code}
    return max(verdicts, key=VERDICTS.index), found


def judged(variant: Variant, path: Path) -> None:
    verdict, found = outcome(path)

    assert verdict == variant.verdict, found
    assert (variant.code in found) if variant.code else not found, found


def ids(variants: list[Variant]) -> list[str]:
    return [variant.name for variant in variants]
