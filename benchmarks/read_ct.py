"""How fast a CT series becomes a volume, and model-ready pictures, against two peers that build volumes.

    python benchmarks/read_ct.py                  # makes 300 slices of 512 x 512 in a temporary folder
    python benchmarks/read_ct.py --write          # and puts the page into benchmarks/results/

Peers: highdicom (`get_volume_from_series`) and SimpleITK (`ImageSeriesReader`), `pip install highdicom SimpleITK`. Each
reader runs in processes of its own, in turn, seven rounds; medians. Peak memory is that of the process above what it
has after its imports. Every reader starts from the folder: finding and ordering the files counts.
"""

from __future__ import annotations

import argparse
import datetime
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from demo_stages import HERE, commit, machine

SLICES, SIDE = 300, 512
VOLUME_MB = SLICES * SIDE * SIDE * 2 / 2**20
COMMAND = "python benchmarks/read_ct.py --write"
ROUNDS = 7


def write_series(folder: Path) -> None:
    """A CT of smooth noise, uncompressed, with shuffled file names."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    rng = np.random.default_rng(3)
    names = rng.permutation(SLICES)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for number in range(SLICES):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
        dataset.PatientName = dataset.PatientID = dataset.StudyDate = dataset.StudyTime = dataset.StudyID = ""
        dataset.PatientBirthDate = dataset.PatientSex = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
        dataset.Manufacturer, dataset.SeriesNumber = "", 1
        dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.AcquisitionNumber, dataset.InstanceNumber = 1, number + 1
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [-179.5, -179.5, -200 + 1.25 * number]
        dataset.PixelSpacing, dataset.SliceThickness = [0.703125, 0.703125], 1.25
        dataset.Rows = dataset.Columns = SIDE
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
        dataset.PixelData = rng.integers(0, 3000, (SIDE, SIDE), dtype=np.uint16).tobytes()
        dataset.save_as(folder / f"i{names[number]:04}.dcm", enforce_file_format=True)


def read_medvox(folder: Path) -> np.ndarray:
    from medvox.data.dicom import choose_series, find_study, read_volume

    return read_volume(choose_series(find_study(folder))[0]).voxels


def prepare_medvox(folder: Path) -> np.ndarray:
    from medvox.data.dicom import choose_series, find_study, read_volume
    from medvox.encode.ct import prepare_ct

    return prepare_ct(read_volume(choose_series(find_study(folder))[0])).images


def read_highdicom(folder: Path) -> np.ndarray:
    import highdicom

    datasets = [highdicom.imread(path) for path in sorted(folder.iterdir())]
    return highdicom.get_volume_from_series(datasets, dtype=np.int16).array


def read_simpleitk(folder: Path) -> np.ndarray:
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return SimpleITK.GetArrayFromImage(reader.Execute())


READERS = {
    "medvox": read_medvox,
    "highdicom": read_highdicom,
    "SimpleITK": read_simpleitk,
    "medvox, to 85 pictures": prepare_medvox,
}
IMPORTS = {"medvox": "medvox.data.dicom", "highdicom": "highdicom", "SimpleITK": "SimpleITK"}


def measure(name: str, folder: Path) -> dict[str, float]:
    """Runs in a process of its own: seconds, peak megabytes above the imports, and a checksum of the values."""
    __import__(IMPORTS[name.split(",")[0]])
    if name.startswith("medvox"):
        import medvox.encode.ct  # noqa: F401
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    voxels = READERS[name](folder)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak_mb": (after - before) / 1024, "sum": float(voxels.sum(dtype=np.int64))}


def run(name: str, folder: Path) -> dict[str, float] | None:
    """One measured process; None when the peer is not installed."""
    done = subprocess.run([sys.executable, __file__, "--reader", name, str(folder)], capture_output=True, text=True)
    if "ModuleNotFoundError" in done.stderr:
        return None
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def page(results: dict[str, list[dict[str, float]]]) -> str:
    today = datetime.date.today().isoformat()
    ours = statistics.median(row["seconds"] for row in results["medvox"])
    lines = [
        "# CT series to volume",
        "",
        f"- machine: {machine()}",
        f"- date: {today}",
        f"- commit: {commit()}",
        f"- command: `{COMMAND}`, {ROUNDS} rounds in turn, medians",
        f"- {SLICES} files of {SIDE} x {SIDE}, uncompressed; the volume has {VOLUME_MB:.0f} MB",
        "",
        "| reader | seconds | times medvox | peak memory above imports, MB | times the volume |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, rows in results.items():
        seconds = statistics.median(row["seconds"] for row in rows)
        peak = max(row["peak_mb"] for row in rows)
        lines.append(f"| {name} | {seconds:.2f} | {seconds / ours:.1f} | {peak:.0f} | {peak / VOLUME_MB:.2f} |")
    sums = {name: rows[0]["sum"] for name, rows in results.items() if "pictures" not in name}
    agree = len(set(sums.values())) == 1
    lines += ["", f"The sums of all voxels {'agree' if agree else 'DIFFER: ' + repr(sums)}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the page into benchmarks/results")
    parser.add_argument("--reader", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.reader:
        print(json.dumps(measure(args.reader[0], Path(args.reader[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_series(Path(folder))
        results: dict[str, list[dict[str, float]]] = {}
        for _ in range(ROUNDS):
            for name in READERS:
                row = run(name, Path(folder))
                if row:
                    results.setdefault(name, []).append(row)
    text = page(results)
    print(text)
    if args.write:
        (HERE / "results" / f"read-ct_{datetime.date.today().isoformat()}.md").write_text(text)


if __name__ == "__main__":
    main()
