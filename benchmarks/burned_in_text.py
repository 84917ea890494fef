"""How often ``medvox deid`` finds writing in pictures, and how often it cries wolf.

    python benchmarks/burned_in_text.py [--images ../shared/data/images] [--dicom ../shared/data/dicom] [--each 60]

Recall: names, numbers and dates are drawn with Pillow's built-in font on real pictures and phantoms (512 x 512), in
several sizes and contrasts. False alarms: the pictures as they are. Prints a Markdown page.
"""

from __future__ import annotations

import argparse
import io
import random
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medvox.data.burned_in import written_lines
from medvox.data.dicom_pictures import read_pictures
from medvox.errors import MedvoxError
from medvox.synth.identities import planted_note

Grey = NDArray[np.uint8]
GROUNDS = ("nih_cxr", "brain_mri_tumour", "blood_cells", "noise")
SIZES = (10, 12, 16, 20, 28, 40)
CONTRASTS = {"white": None, "60 levels brighter": 60, "40 levels brighter": 40, "60 levels darker": -60}


def real_pictures(folder: Path, name: str, count: int, seed: int) -> Iterator[Grey]:
    """Grey pictures of a data set, drawn at random."""
    with zipfile.ZipFile(folder / name / "images.zip") as archive:
        names = sorted(item for item in archive.namelist() if not item.endswith("/"))
        for item in random.Random(seed).sample(names, min(count, len(names))):
            yield np.asarray(Image.open(io.BytesIO(archive.read(item))).convert("L"))


def grounds(folder: Path, name: str, count: int, seed: int) -> Iterator[Image.Image]:
    """512 x 512 pictures to draw on."""
    if name == "noise":
        rng = np.random.default_rng(seed)
        for _ in range(count):
            level, spread = rng.integers(0, 200), rng.uniform(1, 12)
            yield Image.fromarray(rng.normal(level, spread, (512, 512)).clip(0, 255).astype(np.uint8))
        return
    for picture in real_pictures(folder, name, count, seed):
        yield Image.fromarray(picture).resize((512, 512), Image.Resampling.BICUBIC)


def identifying_line(rng: random.Random) -> str:
    """A name, number or date as a scanner would burn it in."""
    note = planted_note(rng.randrange(10**6))
    values = [note.text[span.start : span.end] for span in note.spans if span.category in ("NAME", "ID", "DATE")]
    long = [value for value in values if len(value) >= 6]
    return " ".join(rng.sample(long, 2))[:34]


def drawn(ground: Image.Image, text: str, size: int, step: int | None, rng: random.Random) -> Image.Image | None:
    """The picture with a line of text; None where that contrast does not exist at the place."""
    font = ImageFont.load_default(size=size)
    picture = ground.copy()
    width = int(font.getlength(text))
    left, top = rng.randrange(2, max(3, 510 - width)), rng.randrange(2, 508 - size)
    under = np.asarray(ground)[top : top + size, left : left + width]
    level = float(np.median(under))
    fill = 255 if step is None else round(level + step)
    if not 0 <= fill <= 255 or abs(fill - level) < 35:
        return None
    ImageDraw.Draw(picture).text((left, top), text, fill=fill, font=font)
    return picture


def score_recall(folder: Path, each: int) -> None:
    """Print found / drawn by ground and contrast, and by size."""
    found, total = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    by_size, size_total = Counter[int](), Counter[int]()
    for name in GROUNDS:
        rng = random.Random(name)
        for ground in grounds(folder, name, each, seed=7):
            for contrast, step in CONTRASTS.items():
                size = rng.choice(SIZES)
                picture = drawn(ground, identifying_line(rng), size, step, rng)
                if picture is None:
                    continue
                hit = bool(written_lines(np.asarray(picture)))
                found[name, contrast] += hit
                total[name, contrast] += 1
                by_size[size] += hit
                size_total[size] += 1
    print("Found / drawn, by what is under the text and by contrast:\n")
    print(f"| ground | {' | '.join(CONTRASTS)} |\n|---|{'---|' * len(CONTRASTS)}")
    for name in GROUNDS:
        print(f"| {name} | " + " | ".join(f"{found[name, key]} / {total[name, key]}" for key in CONTRASTS) + " |")
    sizes = ", ".join(f"{size} px: {by_size[size]} / {size_total[size]}" for size in SIZES)
    print(f"\nBy size of the font: {sizes}. All: {sum(found.values())} / {sum(total.values())}.\n")


def score_alarms(images: Path, dicom: Path, each: int) -> None:
    """Print how many ordinary pictures are said to hold writing."""
    print("| pictures without identifying text | alarms |\n|---|---|")
    for name in ("nih_cxr", "brain_mri_tumour", "lung_histology", "blood_cells"):
        pictures = list(real_pictures(images, name, each, seed=8))
        print(f"| {name} | {sum(bool(written_lines(item)) for item in pictures)} / {len(pictures)} |")
    for archive in sorted(dicom.glob("*/series.zip")):
        alarms = count = 0
        for picture in dicom_pictures(archive, each // 3):
            alarms += bool(written_lines(picture))
            count += 1
        print(f"| DICOM {archive.parent.name} | {alarms} / {count} |")


def dicom_pictures(archive: Path, count: int) -> Iterator[Grey]:
    """The middle frames of some files of a series, over their range of values."""
    with zipfile.ZipFile(archive) as opened, tempfile.TemporaryDirectory() as folder:
        names = sorted(item for item in opened.namelist() if not item.endswith("/"))
        for item in random.Random(9).sample(names, min(count, len(names))):
            path = Path(opened.extract(item, folder))
            try:
                pictures = read_pictures(path)
            except MedvoxError:
                continue
            values = pictures[len(pictures) // 2].pixels.astype(np.float32)
            low, high = np.percentile(values, (0.5, 99.8))
            yield ((values - low) * (255 / max(high - low, 1e-6))).clip(0, 255).astype(np.uint8)


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path("../shared/data/images"))
    parser.add_argument("--dicom", type=Path, default=Path("../shared/data/dicom"))
    parser.add_argument("--each", type=int, default=60)
    args = parser.parse_args()
    score_recall(args.images, args.each)
    score_alarms(args.images, args.dicom, args.each)


if __name__ == "__main__":
    main()
