"""Small valid files of every kind that the fuzzer breaks; real ones too where the shared data is present."""

from __future__ import annotations

import gzip
import importlib.util
import io
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import soundfile
from dicom_images import as_jpeg, file_bytes, image_dataset, transcoded
from made_documents import (
    DRAWN,
    bundle,
    cda,
    cda_section,
    docx,
    grey_picture,
    observation,
    paragraph,
    patient,
    pdf,
    stream,
)
from made_series import enhanced_mr
from made_sound import write_track
from PIL import Image
from pydicom import Dataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

SHARED = Path(__file__).parents[2] / "shared" / "data"
LARGEST_REAL_BYTES = 48 * 1024
GDCM_JPEG_LOSSLESS, GDCM_JPEG_LS, GDCM_JPEG_2000 = 10, 14, 16  # gdcm.TransferSyntax


@dataclass(frozen=True, kw_only=True, slots=True)
class Seed:
    """A valid file; ``kind`` chooses the reader."""

    kind: str
    name: str
    content: bytes


def seeds() -> list[Seed]:
    """All seeds, in a fixed order."""
    return [*_dicom(), *_nifti(), *_pictures(), *_documents(), *_sounds(), *_tracks(), *_records(), *_zip(), *_real()]


def _noise(*shape: int, dtype: Any = np.uint16, high: int = 4096) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).integers(0, high, shape, dtype=dtype)


def _ct() -> Dataset:
    dataset = image_dataset(_noise(16, 16), stored=12)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.SeriesInstanceUID, dataset.Modality, dataset.InstanceNumber = "1.2.3", "CT", 1
    dataset.ImageOrientationPatient, dataset.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-10, -20, 30]
    dataset.PixelSpacing, dataset.SliceThickness = [0.5, 0.8], 2
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    return dataset


def _dicom() -> list[Seed]:
    found = {"ct": _ct()}
    for name, syntax in (
        ("implicit", ImplicitVRLittleEndian), ("big_endian", ExplicitVRBigEndian),
        ("deflated", DeflatedExplicitVRLittleEndian),
    ):  # fmt: skip
        found[name] = _ct()
        found[name].file_meta.TransferSyntaxUID = syntax
    found["rle"] = _ct()
    found["rle"].compress(RLELossless)
    found["mr"] = enhanced_mr()
    grey = _noise(24, 20, dtype=np.uint8, high=256)
    found["jpeg"] = as_jpeg(image_dataset(grey), grey)
    found["rgb"] = image_dataset(_noise(2, 12, 10, 3, dtype=np.uint8, high=256), photometric="RGB")
    found["xray"] = image_dataset(_noise(20, 24), photometric="MONOCHROME1", stored=12)
    seeds = [Seed(kind="dicom", name=f"{name}.dcm", content=file_bytes(dataset)) for name, dataset in found.items()]
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, "plain.dcm")
        plain.write_bytes(seeds[0].content)
        for name, syntax in (("lossless", GDCM_JPEG_LOSSLESS), ("ls", GDCM_JPEG_LS), ("j2k", GDCM_JPEG_2000)):
            packed = transcoded(plain, Path(folder, name), syntax)
            seeds.append(Seed(kind="dicom", name=f"{name}.dcm", content=packed.read_bytes()))
    return seeds


def _nifti() -> list[Seed]:
    plain = nibabel.Nifti1Image(_noise(6, 5, 4).astype(np.int16), np.diag([1.0, 1.0, 2.0, 1.0]))
    scaled = nibabel.Nifti1Image(_noise(4, 4, 3, 2).astype(np.float32), np.eye(4))
    other = nibabel.Nifti2Image(_noise(4, 4, 3).astype(np.uint8), np.eye(4))
    swapped = nibabel.Nifti1Image(plain.dataobj, plain.affine, plain.header.as_byteswapped(">"))
    contents = {"plain.nii": plain, "scaled.nii": scaled, "two.nii": other, "swapped.nii": swapped}
    seeds = [Seed(kind="nifti", name=name, content=image.to_bytes()) for name, image in contents.items()]
    packed = gzip.compress(plain.to_bytes(), mtime=0)
    return [*seeds, Seed(kind="nifti", name="packed.nii.gz", content=packed)]


def _pictures() -> list[Seed]:
    grey, colour = _noise(24, 20, dtype=np.uint8, high=256), _noise(24, 20, 3, dtype=np.uint8, high=256)
    deep = _noise(24, 20, high=65_536)
    kinds: list[tuple[str, str, Image.Image, dict[str, Any]]] = [
        ("png", "grey", Image.fromarray(grey), {}),
        ("png", "colour", Image.fromarray(colour), {}),
        ("png", "deep", Image.fromarray(deep), {}),
        ("png", "palette", Image.fromarray(colour).quantize(16), {}),
        ("jpeg", "colour", Image.fromarray(colour), {}),
        ("jpeg", "grey", Image.fromarray(grey), {"progressive": True}),
        ("webp", "colour", Image.fromarray(colour), {"lossless": True}),
        ("bmp", "colour", Image.fromarray(colour), {}),
        ("tiff", "plain", Image.fromarray(colour), {}),
        ("tiff", "deep", Image.fromarray(deep), {}),
        ("tiff", "lzw", Image.fromarray(grey), {"compression": "tiff_lzw"}),
        ("tiff", "deflate", Image.fromarray(colour), {"compression": "tiff_adobe_deflate"}),
        ("tiff", "jpeg", Image.fromarray(colour), {"compression": "jpeg"}),
        ("tiff", "pages", Image.fromarray(colour), {"save_all": True, "append_images": [Image.fromarray(grey)]}),
    ]
    seeds = []
    for kind, name, image, options in kinds:
        content = io.BytesIO()
        image.save(content, kind.upper(), **options)
        reader = kind if kind in {"png", "tiff"} else "photo"
        seeds.append(Seed(kind=reader, name=f"{name}.{kind}", content=content.getvalue()))
    return seeds


def _zip() -> list[Seed]:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("study/1.dcm", bytes(2000))
        opened.writestr("study/2.dcm", _noise(300).tobytes())
    return [Seed(kind="zip", name="study.zip", content=content.getvalue())]


def _documents() -> list[Seed]:
    text = DRAWN.format("Potassium 4.1 mmol/l")
    contents = {
        "text": pdf(text, DRAWN.format("second page")),
        "picture": pdf("q 100 0 0 100 50 50 cm /X1 Do Q", objects={90: grey_picture(20, 30)}),
        "packed": pdf("", objects={5: stream(text.encode(), packed=True)}),
    }
    seeds = [Seed(kind="pdf", name=f"{name}.pdf", content=content) for name, content in contents.items()]
    return [*seeds, Seed(kind="docx", name="letter.docx", content=docx(paragraph("Potassium 4.1 mmol/l")))]


def _sounds() -> list[Seed]:
    sound = np.sin(np.arange(1600) / 5) / 2
    seeds = []
    for name, subtype, channels in (
        ("pcm16", "PCM_16", 1), ("pcm24", "PCM_24", 2), ("float", "FLOAT", 1), ("law", "ULAW", 1), ("u8", "PCM_U8", 2),
        ("adpcm", "IMA_ADPCM", 1),
    ):  # fmt: skip
        content = io.BytesIO()
        soundfile.write(content, np.stack([sound] * channels, axis=1), 16_000, subtype=subtype, format="WAV")
        seeds.append(Seed(kind="wav", name=f"{name}.wav", content=content.getvalue()))
    return seeds


def _tracks() -> list[Seed]:
    """Sound in other containers; those that FFmpeg writes where it is installed."""
    sound = np.sin(np.arange(4800) / 5) / 2
    seeds = []
    for name, subtype in (("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("AIFF", None)):
        content = io.BytesIO()
        soundfile.write(content, sound, 16_000, format=name, subtype=subtype)
        seeds.append(Seed(kind="sound", name=f"{name}-{subtype}", content=content.getvalue()))
    if importlib.util.find_spec("av"):
        with tempfile.TemporaryDirectory() as folder:
            for form, codec in (("mp4", "aac"), ("webm", "libopus"), ("adts", "aac"), ("matroska", "flac")):
                path = write_track(Path(folder, form), form, codec, sound, 48_000)
                seeds.append(Seed(kind="sound", name=form, content=path.read_bytes()))
    return seeds


def _records() -> list[Seed]:
    value = {"valueQuantity": {"value": 4.1, "unit": "mmol/l"}, "effectiveDateTime": "2020-05-17T10:00:00Z"}
    code = {"code": {"coding": [{"system": "http://loinc.org", "code": "2823-3"}], "text": "Potassium"}}
    return [
        Seed(kind="fhir", name="one.json", content=bundle(patient(), observation(**value, **code))),
        Seed(kind="fhir", name="two.json", content=bundle(patient(), observation("o1"), observation("o2", **code))),
        Seed(kind="cda", name="note.xml", content=cda(cda_section("Findings", "<list><item>none</item></list>"))),
    ]


def _real() -> list[Seed]:
    """Small real DICOM files."""
    found = []
    for archive in sorted((SHARED / "dicom_odd").glob("*.zip")):
        with zipfile.ZipFile(archive) as opened:
            for member in sorted(opened.infolist(), key=lambda member: member.filename):
                if 256 < member.file_size <= LARGEST_REAL_BYTES:
                    content = opened.read(member)
                    if content[128:132] == b"DICM":
                        found.append(Seed(kind="dicom", name=Path(member.filename).name, content=content))
    return found
