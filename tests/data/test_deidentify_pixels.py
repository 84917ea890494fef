"""Files are held back when their pixels may identify, and hidden bits do not go out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import ct_slice
from PIL import Image, ImageDraw, ImageFont
from planted_dicom import stored
from pydicom import Dataset
from pydicom.dataset import FileDataset

from medvox.data.deidentify_pixels import check_pixels, clean_pixel_data, declared_writing
from medvox.errors import InputError

FILE = Path(__file__)  # only its name and size are looked at


def scan(text: str = "", **values: object) -> FileDataset:
    """A 200 x 240 CT slice of noise, with a text drawn on it."""
    dataset = ct_slice(0, rows=200, columns=240, step_mm=1.0)
    noise = np.random.default_rng(1).normal(120, 4, (200, 240)).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(noise)
    if text:
        ImageDraw.Draw(picture).text((12, 20), text, fill=255, font=ImageFont.load_default(size=16))
    dataset.PixelData = (np.asarray(picture).astype(np.uint16) * 4).tobytes()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return stored(dataset)


def test_a_scan_without_writing_may_go() -> None:
    check = check_pixels(scan(), FILE)
    assert (check.reasons, check.searched) == ((), 1)


def test_writing_in_the_pixels_is_found() -> None:
    assert check_pixels(scan("DOE JANE 1957-03-12"), FILE).reasons == ("writing was found in frame 1",)


def test_no_in_the_header_is_not_believed() -> None:
    assert check_pixels(scan("DOE JANE 1957-03-12", BurnedInAnnotation="NO"), FILE).reasons


def test_yes_in_the_header_is_believed() -> None:
    assert check_pixels(scan(BurnedInAnnotation="YES"), FILE).reasons


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"Modality": "US"}, True),
        ({"Modality": "US", "BurnedInAnnotation": "NO"}, False),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2"}, True),
        ({"ConversionType": "WSD"}, True),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6", "ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]},
            True,
        ),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6", "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME"]}, False),
        ({"Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, False),
        ({"Modality": "MG", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2"}, False),
    ],
)
def test_kinds_that_usually_carry_writing_are_known(values: dict[str, object], expected: bool) -> None:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    assert bool(declared_writing(dataset)) is expected


def test_writing_hidden_above_the_stored_bits_is_found() -> None:
    dataset = scan()
    hidden = Image.new("L", (240, 200))
    ImageDraw.Draw(hidden).text((12, 60), "DOE JANE MRN 4711", fill=1, font=ImageFont.load_default(size=16))
    words = np.frombuffer(dataset.PixelData, np.uint16).reshape(200, 240)
    dataset.PixelData = (words | (np.asarray(hidden).astype(np.uint16) << 14)).tobytes()
    assert check_pixels(dataset, FILE).reasons


def test_overlays_in_spare_bits_are_cleared_and_the_image_stays() -> None:
    dataset = scan()
    clean = dataset.PixelData
    dataset.add_new(0x60000102, "US", 14)
    dataset.PixelData = (np.frombuffer(clean, np.uint16) | (1 << 14)).tobytes()
    assert clean_pixel_data(dataset, FILE) == clean


def test_sign_bits_are_no_overlay() -> None:
    dataset = scan(PixelRepresentation=1)
    dataset.add_new(0x60000102, "US", 14)
    dataset.PixelData = np.full((200, 240), -500, np.int16).tobytes()
    assert clean_pixel_data(dataset, FILE) is None


def test_bytes_after_the_last_pixel_go() -> None:
    dataset = scan()
    clean = dataset.PixelData
    dataset.PixelData = clean + b"Doe, Jane "
    assert clean_pixel_data(dataset, FILE) == clean


def test_overlays_in_compressed_pixels_are_refused() -> None:
    dataset = scan()
    dataset.add_new(0x60000102, "US", 14)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.5"
    with pytest.raises(InputError) as refusal:
        clean_pixel_data(dataset, FILE)
    assert refusal.value.code == "E_DEID_OVERLAY_BITS"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"EncapsulatedDocument": b"%PDF-1.4 Jane Doe "}, "E_DEID_DOCUMENT"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.9.4.1"}, "E_DEID_VOICE"),
        ({"PixelData": b"\0\0"}, "E_DEID_PIXELS_UNCHECKED"),
    ],
)
def test_what_cannot_be_searched_is_refused(values: dict[str, object], code: str) -> None:
    with pytest.raises(InputError) as refusal:
        check_pixels(scan(**values), FILE)
    assert refusal.value.code == code
