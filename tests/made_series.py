"""Made CT series: ways to break them and to read them back. The files come from the ``write_ct`` fixture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydicom import Dataset

from medvox.data.dicom import find_study, read_volume
from medvox.data.volume import Series, Volume

WriteCt = Callable[..., list[Path]]
Edit = Callable[[Dataset, int], None]


def only_series(files: list[Path]) -> Series:
    (series,) = find_study(files[0].parent).series
    return series


def read(files: list[Path]) -> Volume:
    return read_volume(only_series(files))


def codes(value: Series | Volume) -> set[str]:
    return {flag.code for flag in value.flags}


def setting(**elements: object) -> Edit:
    """An edit that sets elements of every slice; None deletes."""

    def edit(dataset: Dataset, number: int) -> None:
        for name, value in elements.items():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value)

    return edit


def on_slice(chosen: int, edit: Edit) -> Edit:
    return lambda dataset, number: edit(dataset, number) if number == chosen else None
