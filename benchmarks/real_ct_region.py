"""Which body region is it? The small model on every real CT at hand; it was trained on none of them.

    python benchmarks/real_ct_region.py DATA           # DATA: a folder laid out as the developers' shared data
    python benchmarks/real_ct_region.py DATA --write   # and puts the page into benchmarks/results/

The truth is what the publishers say of each series. NIfTI volumes are read here with nibabel, for this page only.
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from demo_stages import HERE, commit, machine

from medvox.answer import ask, ask_volume
from medvox.data.results import Answer
from medvox.data.volume import Volume
from medvox.errors import MedvoxError

COMMAND = "python benchmarks/real_ct_region.py DATA --write"
QUESTIONS = (
    "Which body region does this CT scan show?",
    "Which body region is shown?",
    "What part of the body is this?",
)


@dataclass(frozen=True)
class Scan:
    """A scan, the region it shows, and how to ask about it."""

    name: str
    truth: str
    ask: Callable[[str], Answer]


def zipped(archive: Path, member: str, truth: str, name: str) -> Scan:
    """A series (or one file) inside a zip of DICOM files."""

    def question(text: str) -> Answer:
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(archive) as opened:
            names = [item for item in opened.namelist() if item.startswith(member) and not item.endswith("/")]
            for item in names:
                (Path(folder) / Path(item).name).write_bytes(opened.read(item))
            return ask(text, Path(folder))

    return Scan(name=name, truth=truth, ask=question)


def nifti(path: Path, truth: str) -> Scan:
    """A NIfTI volume of Hounsfield units, rows turned front to back, columns right to left."""
    image = nibabel.as_closest_canonical(nibabel.load(path))
    ras = np.asarray(image.dataobj)  # (left to right, back to front, foot to head)
    voxels = np.clip(np.rint(ras[::-1, ::-1].transpose(2, 1, 0)), -32768, 32767).astype(np.int16)
    dx, dy, dz = (float(size) for size in image.header.get_zooms()[:3])
    affine = np.array([[0, 0, dx, 0], [0, dy, 0, 0], [dz, 0, 0, 0], [0, 0, 0, 1]], np.float64)
    volume = Volume(
        voxels=np.ascontiguousarray(voxels), unit="HU", spacing_mm=(dz, dy, dx), affine_lps=affine,
        slice_positions_mm=tuple(dz * index for index in range(len(voxels))), modality="CT", series_uid=path.stem,
        description="", flags=(), sources=(),
    )  # fmt: skip
    return Scan(name=path.name, truth=truth, ask=lambda text: ask_volume(text, volume))


def scans(data: Path) -> list[Scan]:
    dicom, odd = data / "dicom", data / "dicom_odd"
    return [
        zipped(dicom / "ct_body_siemens_j2k/series.zip", "", "abdomen", "ct_body_siemens_j2k (ships with medvox)"),
        zipped(dicom / "ct_head_ge_tilt_varspacing/series.zip", "", "head", "ct_head_ge_tilt_varspacing"),
        zipped(dicom / "ct_small_ge/series.zip", "", "refused", "ct_small_ge (a brain MR labelled CT)"),
        nifti(data / "volumes/ct_abdomen_3mm.nii.gz", "abdomen"),
        nifti(data / "volumes/ct_abdomen_crop.nii.gz", "abdomen"),
        zipped(odd / "pydicom.zip", "693_J2KR.dcm", "head", "pydicom-data 693_J2KR.dcm, one slice"),
        zipped(
            odd / "pydicom.zip",
            "explicit_VR-UN.dcm",
            "refused",
            "pydicom-data explicit_VR-UN.dcm, one slice, no thickness",
        ),
    ]


def row(scan: Scan) -> tuple[str, int, int]:
    """The line of one scan, how many of its questions were answered right, and how many were asked."""
    told, right = [], 0
    flags = ""
    for question in QUESTIONS:
        try:
            answer = scan.ask(question)
            sure = "" if answer.probability is None else f" ({answer.probability:.2f})"
            told.append(f"{answer.label}{sure}")
            right += answer.label == scan.truth
            flags = ", ".join(flag.code for flag in answer.flags)
        except MedvoxError as error:
            told.append(error.code)
            right += scan.truth == "refused"
    return f"| {scan.name} | {scan.truth} | {' / '.join(told)} | {right} of {len(told)} | {flags} |", right, len(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", action="store_true", help="write the page to benchmarks/results/ as well")
    args = parser.parse_args()
    found = scans(args.data)
    rows = [row(scan) for scan in found]
    named = [row for row, scan in zip(rows, found, strict=True) if scan.truth != "refused"]
    right, asked = sum(hits for _, hits, _ in named), sum(total for _, _, total in named)
    page = "\n".join(
        [
            "# Body region of real CT series, `medvox-mini-vlm`",
            "",
            f"- machine: {machine()}",
            f"- date: {datetime.date.today()}",
            f"- commit: {commit()}",
            f"- command: `{COMMAND}`",
            "- none of these scans, and no other real scan, was trained on; the phantoms were drawn with them in view",
            f"- questions: {' / '.join(QUESTIONS)}",
            "",
            f"**{right} of {asked} answers right** about the {len(named)} scans that can be read safely; the rest must",
            "be refused. Left out: CT test files whose region nobody states (a spine in a small field, mixed pixels).",
            "",
            "| scan | truth | answers (probability) | right | flags |",
            "| --- | --- | --- | --- | --- |",
            *(line for line, _, _ in rows),
            "",
        ]
    )
    print(page)
    if args.write:
        (HERE / "results" / f"real-ct-region_{datetime.date.today()}.md").write_text(page)


if __name__ == "__main__":
    main()
