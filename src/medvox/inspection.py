"""The verb behind ``medvox inspect``: what lies at a path, and can it be used.

Looks at headers only, decodes no pixels. One call into ``data/dicom``, then the public JSON contract.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medvox.data.dicom import find_study
from medvox.data.volume import Series
from medvox.types import Progress, no_progress, to_json


def inspect(path: str | Path, progress: Progress = no_progress) -> dict[str, Any]:
    """List the series below a path with their verdicts, and the files that were left out.

    Args:
        path: a DICOM file, or a folder that is searched with its subfolders.
        progress: called with (what, done, total) while files are looked at.

    Returns:
        ``{"series": [{"uid", "modality", "description", "shape", "spacing_mm", "affine_lps", "verdict", "flags",
        "files"}], "not_used": [{"path", "reason"}]}``. Files are named relative to ``path``, in slice order; shape and
        spacing run along (slice, row, column); ``affine_lps`` maps that index to LPS millimetres. A refused series
        carries the code of the refusal among its flags; its spacing and affine are null where geometry is the reason.

    Raises:
        InputError: nothing at the path, or nothing that is DICOM.
    """
    root = Path(path)
    study = find_study(root, progress)
    return {
        "series": [_series_json(series, root) for series in study.series],
        "not_used": to_json(study.not_used),
    }


def _series_json(series: Series, root: Path) -> dict[str, Any]:
    names = [file.name if file == root else file.relative_to(root).as_posix() for file in series.files]
    facts = ("uid", "modality", "description", "shape", "spacing_mm", "affine_lps", "verdict", "flags")
    return {name: to_json(getattr(series, name)) for name in facts} | {"files": names}
