"""Geometry and voxels of ``medvox convert`` against dcm2niix, on every series and odd file at hand.

    python benchmarks/geometry_dcm2niix.py DATA                          # prints the page
    python benchmarks/geometry_dcm2niix.py DATA --dcm2niix BINARY --write
    python benchmarks/geometry_dcm2niix.py DATA --only mr_epi            # cases whose name holds the word

DATA is a folder laid out as the developers' shared data: ``dicom/*/series.zip`` with ``series.json``, and
``dicom_odd/*.zip``. dcm2niix comes with ``pip install dcm2niix``. Both programs convert the same folder; what they
write is compared voxel by voxel. Each difference must have an explanation below; one without makes the exit code 1.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from demo_stages import HERE, commit, machine
from nibabel.orientations import inv_ornt_aff, io_orientation, ornt_transform
from numpy.typing import NDArray

from medvox.conversion import convert_all
from medvox.errors import MedvoxError

COMMAND = "python benchmarks/geometry_dcm2niix.py DATA --write"
SAME_MM = 1e-3

# Why a file may differ: start of the case, what dcm2niix's file or our refusal holds, and the reason.
EXPLAINED = (
    ("", "_Eq", "Resampled by dcm2niix to even spacing; medvox does not resample and flags or refuses the spacing."),
    ("", "_Tilt", "Resampled by dcm2niix to straighten the gantry tilt; medvox does not resample and flags the tilt."),
    ("", "_ROI", "An overlay that somebody drew, not voxels of the scan."),
    (
        "ct_head_ge_tilt_varspacing",
        "affines",
        "The step between slices changes from 1.08 to 7.00 mm inside the series, which no affine can say. dcm2niix "
        "takes the first step, shortened by the cosine of the tilt; medvox takes the mean step and flags both.",
    ),
    (
        "dicom2nifti/failing/gantrytilting",
        "affines",
        "Gantry tilt of 14 degrees. The files state positions 5.000 mm apart along the table; dcm2niix writes steps of "
        "4.851 mm (the distance between the planes) along the table, medvox 5.000 mm. The tilt is flagged.",
    ),
    (
        "dicom2nifti/failing/sliceincrement",
        "E_DICOM_SLICE_MISSING",
        "A slice is missing in the middle; medvox refuses, dcm2niix closes the gap.",
    ),
    ("dicom2nifti/generic/rgb", "E_SERIES_KIND", "Colours, not measured values: medvox converts no colour volumes."),
    (
        "highdicom/sm_image",
        "E_SERIES_KIND",
        "A whole slide: its place is on the glass, not in the patient; dcm2niix stacks the tiles as slices.",
    ),
    (
        "highdicom/seg_image",
        "E_DICOM_NOT_READ",
        "A segmentation: recognised, and not converted as if it were a scan.",
    ),
    ("pydicom/liver", "E_DICOM_NOT_READ", "A segmentation: recognised, and not converted as if it were a scan."),
    (
        "pydicom/emri_small",
        "E_DICOM_FRAMES",
        "A multi-frame object that describes none of its frames: no orientation and no position; dcm2niix makes up an "
        "affine.",
    ),
    (
        "pydicom/explicit_VR-UN",
        "E_DICOM_SPACING_MISSING",
        "One slice without thickness or spacing; dcm2niix assumes 1 mm, medvox refuses.",
    ),
    *(
        (
            case,
            "E_SERIES_KIND",
            "A picture without orientation and position (X-ray, ultrasound, scintigram, capture): there is no affine; "
            "dcm2niix makes one up. It can be read as a picture.",
        )
        for case in (
            "highdicom/dx_image", "pydicom/HTJ2KLossless_08_RGB", "pydicom/JLSL_16_15_1_1F", "pydicom/JPEG-LL",
            "pydicom/JPEG2000_UNC", "pydicom/JPGLosslessP14SV1", "pydicom/OBXXXX1A_rle", "pydicom/OT-PAL-8-face",
            "pydicom/RG3_J2KI", "pydicom/SC_", "pydicom/US1_J2KR", "pydicom/color-p", "pydicom/gdcm-US-ALOKA-16",
            "pydicom/mlut_18", "pydicom/vlut_04",
        )
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Image:
    """One NIfTI file that was written: values, and the affine to RAS millimetres."""

    name: str
    voxels: NDArray[Any]  # (i, j, k, volumes), or with a record of colours
    affine: NDArray[np.float64]
    step: float  # the smallest difference that the file can state


@dataclass(frozen=True)
class Case:
    """A folder that both programs convert, with the developers' reference where there is one."""

    name: str
    archive: Path
    members: tuple[str, ...]
    reference: tuple[dict[str, Any], ...] = ()


@dataclass
class Row:
    """A line of the page."""

    case: str
    theirs: str
    ours: str
    layout: str = ""
    apart_mm: str = ""
    voxels: str = ""
    reference: str = ""
    problem: str = ""
    explained: str = field(default="", init=False)


def cases(data: Path) -> Iterator[Case]:
    for archive in sorted(data.glob("dicom/*/series.zip")):
        reference = json.loads((archive.parent / "series.json").read_text())["reference"]
        yield Case(archive.parent.name, archive, _members(archive), tuple(reference))
    for name in ("pydicom", "highdicom"):
        archive = data / "dicom_odd" / f"{name}.zip"
        yield from (Case(f"{name}/{member}", archive, (member,)) for member in _members(archive))
    archive = data / "dicom_odd" / "dicom2nifti.zip"
    members = [member for member in _members(archive) if not member.endswith(".nii.gz")]
    for folder in sorted({member.rpartition("/")[0] for member in members}):
        inside = tuple(member for member in members if member.rpartition("/")[0] == folder)
        yield Case(f"dicom2nifti/{folder}", archive, inside)


def _members(archive: Path) -> tuple[str, ...]:
    with zipfile.ZipFile(archive) as opened:
        return tuple(name for name in opened.namelist() if not name.endswith(("/", "LICENSE")))


def load(path: Path) -> Image:
    image = nibabel.load(path)
    voxels = np.asarray(image.dataobj)
    step = float(image.dataobj.slope) if np.issubdtype(image.get_data_dtype(), np.integer) else 0.0
    voxels = voxels.reshape(*voxels.shape, *(1,) * (4 - voxels.ndim))
    return Image(name=path.name, voxels=voxels, affine=image.affine, step=step)


def apart_mm(one: Image, other: Image) -> float:
    """The largest difference between two affines: a step from voxel to voxel, or the place of the first one."""
    return float(np.abs(one.affine - other.affine).max())


def turned(image: Image, like: Image) -> Image:
    """The image with its axes permuted and flipped to run as those of another."""
    change = ornt_transform(io_orientation(image.affine), io_orientation(like.affine))
    affine = image.affine @ inv_ornt_aff(change, image.voxels.shape[:3])
    voxels = nibabel.apply_orientation(image.voxels, change)
    return Image(name=image.name, voxels=voxels, affine=affine, step=image.step)


def compare(case: Case, theirs: Image, ours: Image) -> Row:
    row = Row(case=case.name, theirs=_shape(theirs), ours=_shape(ours), layout="same")
    if ours.voxels.shape != theirs.voxels.shape or apart_mm(ours, theirs) > SAME_MM:
        if nibabel.aff2axcodes(ours.affine) != nibabel.aff2axcodes(theirs.affine):
            row.layout, row.problem = "flipped or permuted", "layout"
        ours = turned(ours, theirs)
    if ours.voxels.shape != theirs.voxels.shape:
        row.layout, row.problem = "other", f"shape {theirs.voxels.shape} against {ours.voxels.shape}"
        return row
    distance = apart_mm(ours, theirs)
    row.apart_mm = f"{distance:.1e}"
    difference = float(np.abs(theirs.voxels.astype(np.float64) - ours.voxels.astype(np.float64)).max())
    row.voxels = "equal" if difference == 0.0 else f"differ by up to {difference:.3g}"
    scale = max(theirs.step, ours.step, float(np.abs(theirs.voxels).max()) * 2.0**-23)
    if distance > SAME_MM:
        row.problem = f"affines {distance:.3g} mm apart"
    elif difference > scale * (1 + 1e-6):
        row.problem = f"voxels {row.voxels}"
    return row


def _shape(image: Image) -> str:
    *space, volumes = image.voxels.shape
    return " x ".join(str(size) for size in space) + (f", {volumes} volumes" if volumes > 1 else "")


def against_reference(case: Case, images: list[Image]) -> dict[str, str]:
    """For each of our files: how many of the developers' sampled voxels it holds at their millimetres."""
    told = {}
    for image in images:
        best, of = 0, 0
        for reference in case.reference:
            hits = sum(_holds(image, sample) for sample in reference["samples"])
            best, of = max((best, of), (hits, len(reference["samples"])))
        told[image.name] = f"{best} of {of}" if of else ""
    return told


def _holds(image: Image, sample: dict[str, Any]) -> bool:
    index = np.linalg.solve(image.affine, [*sample["xyz_mm"], 1.0])[:3]
    nearest = np.rint(index).astype(int)
    inside = bool(np.all(nearest >= 0) and np.all(nearest < image.voxels.shape[:3]))
    volume = sample["ijk"][3] if len(sample["ijk"]) > 3 else 0
    if not inside or np.abs(index - nearest).max() > 0.01 or volume >= image.voxels.shape[3]:
        return False
    one_step = (float(image.voxels.max()) - float(image.voxels.min())) / 65535.0
    return abs(float(image.voxels[(*nearest, volume)]) - sample["value"]) <= one_step


def examine(case: Case, binary: str) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        source, theirs, ours = (Path(folder) / name for name in ("source", "theirs", "ours"))
        theirs.mkdir()
        with zipfile.ZipFile(case.archive) as opened:
            for number, member in enumerate(case.members):
                place = source / (f"{number:04}" if len(case.members) > 1 else "") / Path(member).name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(opened.read(member))
        command = [binary, "-b", "n", "-z", "n", "-d", "9", "-f", "%s_%j", "-o", str(theirs), str(source)]
        subprocess.run(command, capture_output=True, check=False, timeout=120)
        expected = [load(path) for path in sorted(theirs.glob("*.nii"))]
        try:
            entries = convert_all(source, ours)
        except MedvoxError as error:
            entries = [{"file": None, "error": error.as_dict()}]
        made = [load(Path(entry["file"])) for entry in entries if entry["file"]]
        refused = [entry["error"] for entry in entries if not entry["file"]]
        return list(rows(case, expected, made, refused))


def rows(case: Case, expected: list[Image], made: list[Image], refused: list[dict[str, str]]) -> Iterator[Row]:
    known = against_reference(case, made)
    left = list(made)
    codes = ", ".join(sorted({error["code"] for error in refused}))
    for theirs in sorted(expected, key=lambda image: "_Eq" in image.name or "_Tilt" in image.name):
        pairs = [] if theirs.voxels.dtype.fields else [(compare(case, theirs, ours), ours) for ours in left]
        pairs.sort(key=lambda pair: (bool(pair[0].problem), pair[0].layout == "other", len(pair[0].problem)))
        if pairs and pairs[0][0].layout != "other":
            row, ours = pairs[0]
            row.reference = known[ours.name]
            left.remove(ours)
            yield row
        else:
            colour = " (colour)" if theirs.voxels.dtype.fields else ""
            suffix = "".join(word for word in ("_Tilt", "_Eq", "_ROI") if word in theirs.name)
            yield Row(case.name, _shape(theirs) + colour + suffix, codes or "none", problem=codes or "no such file")
    for ours in left:
        yield Row(case.name, "none", _shape(ours), reference=known[ours.name], problem="only ours")
    if not expected and not made:
        yield Row(case.name, "none", codes)


def explain(row: Row) -> None:
    for case, what, reason in EXPLAINED:
        if row.problem and row.case.startswith(case) and what in f"{row.theirs} {row.problem}":
            row.explained = reason
            return


def differences(found: list[Row]) -> Iterator[str]:
    """The rows that differ, one list for each reason."""
    by_reason: dict[str, list[Row]] = {}
    for row in found:
        if row.problem:
            by_reason.setdefault(row.explained or "NOT EXPLAINED", []).append(row)
    for reason, rows_of_it in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        yield f"- {len(rows_of_it)}: {reason}"
        yield from (f"  - {row.case}, {row.theirs}: {row.problem}" for row in rows_of_it)


def page(found: list[Row], binary: str) -> str:
    version = subprocess.run([binary, "-v"], capture_output=True, text=True, check=False).stdout.splitlines()
    converted = [row for row in found if row.theirs != "none"]
    same = [row for row in converted if not row.problem]
    refused = [row for row in converted if row.problem.startswith("E_")]
    derived = [row for row in converted if "_" in row.theirs and row not in refused]
    left = len(converted) - len(same) - len(refused) - len(derived)
    lines = [
        "# `medvox convert` against dcm2niix",
        "",
        f"- machine: {machine()}",
        f"- date: {datetime.date.today()}",
        f"- commit: {commit()}",
        f"- command: `{COMMAND}`",
        f"- dcm2niix: {version[0].strip() if version else 'unknown'}",
        "",
        f"dcm2niix writes {len(converted)} files. **{len(same)} are the same**: number of volumes, affine within",
        f"{SAME_MM} mm, voxels equal (within one step of the stored numbers where lossy or scaled). {len(refused)}",
        f"are refused by medvox, {len(derived)} hold resampled slices or drawings, {left} lie elsewhere; reasons are",
        "below.",
        "",
        "| case | dcm2niix | medvox | layout | affines apart (mm) | voxels | sampled reference voxels | difference |",
        "| --- | --- | --- | --- | ---: | --- | --- | --- |",
    ]
    for row in found:
        cells = (row.case, row.theirs, row.ours, row.layout, row.apart_mm, row.voxels, row.reference, row.problem)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", "## Differences, by reason", "", *differences(found), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--dcm2niix", default="dcm2niix", help="the program, if it is not on the PATH")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--write", action="store_true", help="write the page to benchmarks/results/ as well")
    args = parser.parse_args()
    found = [row for case in cases(args.data) if args.only in case.name for row in examine(case, args.dcm2niix)]
    for row in found:
        explain(row)
    text = page(found, args.dcm2niix)
    print(text)
    if args.write:
        name = f"geometry_{platform.machine()}-{os.cpu_count()}cores_{datetime.date.today()}.md"
        (HERE / "results" / name).write_text(text)
    sys.exit(any(row.problem and not row.explained for row in found))


if __name__ == "__main__":
    main()
