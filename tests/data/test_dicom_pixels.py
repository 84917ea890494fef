"""data/dicom_pixels.py, dicom_codec.py, dicom_colour.py: stored values against a second decoder or what was encoded."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import av
import gdcm
import numpy as np
import pytest
from dicom_images import (
    as_jpeg,
    encapsulated,
    frames_in,
    gdcm_pixels,
    image_dataset,
    transcoded,
    write_image,
)
from jpeg_12_bit import encode_12_bit
from numpy.typing import NDArray
from openjpeg.utils import encode_array
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLSLossless,
    RLELossless,
)

from medvox.data.dicom_colour import expanded, rgb_from_palette, rgb_from_ybr
from medvox.data.dicom_file import read_dataset

PLAIN = [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32"]


def waves(shape: tuple[int, ...], dtype: Any, bits: int | None = None, seed: int = 0) -> NDArray[Any]:
    """Smooth patterns with noise that use the whole range of ``bits``."""
    kind = np.dtype(dtype)
    bits = bits or 8 * kind.itemsize
    grid = np.indices(shape).sum(axis=0)
    noise = np.random.default_rng(seed).normal(0, 0.02, shape)
    unit = np.clip(0.5 + 0.5 * np.sin(grid / 7) + noise, 0, 1)
    low = -(2 ** (bits - 1)) if kind.kind == "i" else 0
    return np.clip(np.rint(low + unit * (2**bits - 1)), low, low + 2**bits - 1).astype(kind)


def test_every_public_file_decodes_to_the_reference_pixels(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "dicom_odd"
    archives = {path.stem: zipfile.ZipFile(path) for path in folder.glob("*.zip")}
    equal, syntaxes = 0, set()
    for item in json.loads((folder / "index.json").read_text())["files"]:
        expected, (archive, member) = item.get("pixels"), item["file"].split("/", 1)
        if expected is None or ("dicom2nifti" in item["file"] and "/failing/" in item["file"]):
            continue
        path = tmp_path / "file.dcm"
        path.write_bytes(archives[archive].read(member))
        values = frames_in(path).values
        shape = list(values.shape) if len(values) > 1 else list(values.shape[1:])
        digest = hashlib.sha256(np.ascontiguousarray(values).astype(expected["dtype"]).tobytes()).hexdigest()
        assert (shape, digest) == (expected["shape"], expected["sha256"]), item["file"]
        equal, syntaxes = equal + 1, syntaxes | {item["transfer_syntax"]}
    assert equal > 80
    assert len(syntaxes) >= 9


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("syntax", PLAIN)
def test_uncompressed_numbers_of_every_width_come_back(tmp_path: Path, dtype: str, syntax: str) -> None:
    pixels = waves((3, 6, 5), dtype)
    dataset = image_dataset(pixels)
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        data = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
        dataset.PixelData = data + b"\0" * (len(data) % 2)
    values = frames_in(write_image(dataset, tmp_path / "a.dcm")).values
    assert values.dtype == dtype
    assert np.array_equal(values, pixels)


@pytest.mark.parametrize(
    ("dtype", "stored"), [("uint8", 7), ("uint16", 10), ("uint16", 12), ("int16", 12), ("int16", 15)]
)
def test_fewer_bits_than_allocated_come_back(tmp_path: Path, dtype: str, stored: int) -> None:
    pixels = waves((1, 8, 6), dtype, stored)
    found = frames_in(write_image(image_dataset(pixels, stored=stored), tmp_path / "a.dcm"))
    assert np.array_equal(found.values, pixels)
    assert found.stray_bits == 0


def test_negative_numbers_may_be_stored_without_repeating_their_sign(tmp_path: Path) -> None:
    pixels = np.array([[-5, 7, -2048, 2047]], np.int16)
    dataset = image_dataset(pixels, stored=12)
    dataset.PixelData = (pixels & 0x0FFF).astype("<u2").tobytes()
    found = frames_in(write_image(dataset, tmp_path / "a.dcm"))
    assert np.array_equal(found.values[0], pixels)
    assert found.stray_bits == 0


def test_stray_high_bits_are_masked_and_counted(tmp_path: Path) -> None:
    dataset = image_dataset(np.array([[5, 0xF005, 0x1000, 7]], np.uint16), stored=12)
    found = frames_in(write_image(dataset, tmp_path / "a.dcm"))
    assert found.values.tolist() == [[[5, 5, 0, 7]]]
    assert found.stray_bits == 2


def test_single_bits_are_unpacked_across_the_borders_of_frames(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (5, 3, 7), dtype=np.uint8)  # 21 bits a frame
    dataset = image_dataset(pixels)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 1, 0
    data = np.packbits(pixels.reshape(-1), bitorder="little").tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    path = write_image(dataset, tmp_path / "a.dcm")
    assert np.array_equal(frames_in(path).values, pixels)
    assert np.array_equal(frames_in(path, first=2, count=2).values, pixels[2:4])


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", "float32"), ("DoubleFloatPixelData", "float64")])
def test_floating_point_pixels_come_back(tmp_path: Path, keyword: str, dtype: str) -> None:
    pixels = np.random.default_rng(0).normal(size=(2, 4, 4)).astype(dtype)
    dataset = image_dataset(np.zeros((2, 4, 4), np.uint16))
    del dataset.PixelData
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    del dataset.BitsStored, dataset.HighBit
    setattr(dataset, keyword, pixels.tobytes())
    values = frames_in(write_image(dataset, tmp_path / "a.dcm")).values
    assert values.dtype == dtype
    assert np.array_equal(values, pixels)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colours_stored_by_pixel_and_by_plane_come_back(tmp_path: Path, planar: int, dtype: str) -> None:
    pixels = waves((2, 6, 4, 3), dtype)
    dataset = image_dataset(pixels, photometric="RGB")
    dataset.PlanarConfiguration = planar
    dataset.PixelData = (pixels.transpose(0, 3, 1, 2) if planar else pixels).tobytes()
    assert np.array_equal(frames_in(write_image(dataset, tmp_path / "a.dcm")).values, pixels)


def test_some_frames_are_those_of_all_frames(tmp_path: Path) -> None:
    pixels = waves((6, 20, 24), "uint16")
    dataset = image_dataset(pixels)
    plain = write_image(dataset, tmp_path / "plain.dcm")
    dataset.compress(JPEGLSLossless)
    packed = write_image(dataset, tmp_path / "packed.dcm")
    for path in (plain, packed):
        assert np.array_equal(frames_in(path, first=1, count=3).values, pixels[1:4])


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize(
    ("dtype", "bits"), [("uint8", 8), ("uint16", 10), ("uint16", 12), ("int16", 16), ("uint16", 16)]
)
def test_lossless_codecs_give_what_was_encoded_and_what_gdcm_decodes(
    tmp_path: Path, syntax: str, dtype: str, bits: int
) -> None:
    pixels = waves((2, 34, 41), dtype, bits)
    dataset = image_dataset(pixels, stored=bits)
    dataset.compress(syntax)
    path = write_image(dataset, tmp_path / "a.dcm")
    values = frames_in(path).values
    assert np.array_equal(values, pixels)
    if not (syntax == JPEGLSLossless and bits == 16 and dtype == "int16"):
        assert np.array_equal(gdcm_pixels(path, dtype).reshape(pixels.shape), values)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_lossless_codecs_give_colours_back(tmp_path: Path, syntax: str) -> None:
    pixels = waves((34, 40, 3), "uint8")
    dataset = image_dataset(pixels, photometric="RGB")
    dataset.compress(syntax, **({"planar_configuration": 0} if syntax == JPEGLSLossless else {}))
    assert np.array_equal(frames_in(write_image(dataset, tmp_path / "a.dcm")).values[0], pixels)


@pytest.mark.parametrize("kind", ["JPEGLosslessProcess14", "JPEGLosslessProcess14_1"])
@pytest.mark.parametrize(("dtype", "bits"), [("uint8", 8), ("uint16", 12), ("uint16", 16), ("int16", 12)])
def test_jpeg_lossless_is_what_was_encoded_and_what_ffmpeg_decodes(
    tmp_path: Path, kind: str, dtype: str, bits: int
) -> None:
    pixels = waves((20, 31), dtype, bits)
    plain = write_image(image_dataset(pixels, stored=bits), tmp_path / "plain.dcm")
    packed = transcoded(plain, tmp_path / "packed.dcm", getattr(gdcm.TransferSyntax, kind))
    assert np.array_equal(frames_in(packed).values[0], pixels)
    stream = next(generate_frames(dcmread(packed).PixelData, number_of_frames=1))
    if dtype != "int16":
        assert np.array_equal(by_ffmpeg(stream), pixels)


def by_ffmpeg(stream: bytes) -> NDArray[Any]:
    """What another decoder makes of a grey JPEG stream."""
    context = av.CodecContext.create("mjpeg", "r")
    return (context.decode(av.Packet(stream)) or context.decode(None))[0].to_ndarray()


def test_jpeg_with_12_bits_is_what_was_encoded_and_what_ffmpeg_decodes(tmp_path: Path) -> None:
    pixels = waves((40, 48), "uint16", 12)
    stream = encode_12_bit(pixels)
    dataset = encapsulated(image_dataset(pixels, stored=12), [stream], JPEGExtended12Bit)
    found = frames_in(write_image(dataset, tmp_path / "a.dcm"))
    ours = found.values[0].astype(int)
    assert np.abs(ours - pixels).max() <= 1
    assert np.abs(ours - (by_ffmpeg(stream) >> 4)).max() <= 1
    assert found.stray_bits == 0


def test_jpeg_baseline_grey_is_what_gdcm_decodes(tmp_path: Path) -> None:
    dataset = image_dataset(waves((33, 40), "uint8"))
    path = write_image(as_jpeg(dataset, waves((33, 40), "uint8"), quality=90), tmp_path / "a.dcm")
    ours, theirs = frames_in(path).values[0], gdcm_pixels(path, np.uint8).reshape(33, 40)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422", "RGB"])
def test_jpeg_baseline_colours_are_what_pillow_makes_of_them(tmp_path: Path, photometric: str) -> None:
    pixels = waves((32, 40, 3), "uint8")
    dataset = image_dataset(pixels, photometric=photometric)
    path = write_image(as_jpeg(dataset, pixels, quality=95, subsampling=0), tmp_path / "a.dcm")
    found = frames_in(path)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=0)
    expected = np.asarray(Image.open(file))
    assert np.abs(found.values[0].astype(int) - expected).max() <= 1
    assert found.photometric == "RGB"
    assert bool(found.flags) == (photometric == "RGB")  # the codestream is YCbCr, whatever the header says


def test_jpeg_2000_with_losses_is_what_gdcm_decodes(tmp_path: Path) -> None:
    pixels = waves((64, 64), "uint16", 12)
    dataset = image_dataset(pixels, stored=12)
    dataset.compress("1.2.840.10008.1.2.4.91", j2k_cr=[10])
    path = write_image(dataset, tmp_path / "a.dcm")
    ours, theirs = frames_in(path).values[0], gdcm_pixels(path, np.uint16).reshape(64, 64)
    assert not np.array_equal(ours, pixels)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_jpeg_ls_with_losses_stays_within_its_bound(tmp_path: Path) -> None:
    pixels = waves((40, 40), "uint8")
    dataset = image_dataset(pixels)
    dataset.compress("1.2.840.10008.1.2.4.81", jls_error=2)
    path = write_image(dataset, tmp_path / "a.dcm")
    ours = frames_in(path).values[0]
    assert np.abs(ours.astype(int) - pixels).max() <= 2
    assert np.array_equal(gdcm_pixels(path, np.uint8).reshape(40, 40), ours)


def test_luminance_and_chrominance_become_the_colours_that_pillow_makes_of_them() -> None:
    ybr = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(ybr, mode="YCbCr").convert("RGB"))
    assert np.abs(rgb_from_ybr(ybr).astype(int) - expected).max() <= 1


def test_uncompressed_subsampled_colours_share_chrominance_between_two_pixels(tmp_path: Path) -> None:
    dataset = image_dataset(np.zeros((1, 2, 3), np.uint8), photometric="YBR_FULL_422")
    dataset.PixelData = bytes([90, 200, 100, 160])
    values = frames_in(write_image(dataset, tmp_path / "a.dcm")).values
    expected = rgb_from_ybr(np.array([[90, 100, 160], [200, 100, 160]], np.uint8))
    assert np.array_equal(values[0, 0], expected)


def test_frames_may_lie_in_several_fragments(tmp_path: Path) -> None:
    pixels = waves((2, 34, 40), "uint16", 12)
    dataset = image_dataset(pixels, stored=12)
    streams = [encode_array(frame, bits_stored=12) for frame in pixels]
    items = [b"\xfe\xff\x00\xe0\0\0\0\0"]
    for stream in streams:
        for part in (stream[:100], stream[100:]):
            even = part + b"\0" * (len(part) % 2)
            items.append(b"\xfe\xff\x00\xe0" + len(even).to_bytes(4, "little") + even)
    encapsulated(dataset, [b"\0\0"], JPEG2000Lossless)
    dataset.PixelData = b"".join(items) + b"\xfe\xff\xdd\xe0\0\0\0\0"
    assert np.array_equal(frames_in(write_image(dataset, tmp_path / "a.dcm")).values, pixels)


@pytest.mark.parametrize("name", ["OBXXXX1A_rle.dcm", "OT-PAL-8-face.dcm", "gdcm-US-ALOKA-16.dcm"])
def test_palettes_give_the_colours_that_pydicom_gives(shared_data: Path, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(shared_data / "dicom_odd" / "pydicom.zip") as archive:
        content = archive.read(name)
    path = tmp_path / name
    path.write_bytes(content)
    dataset = read_dataset(content, name)
    numbers = frames_in(path).values[0]
    expected = apply_color_lut(numbers, dataset)
    ours = rgb_from_palette(numbers, dataset, name)
    assert np.array_equal(ours, expected if expected.dtype == np.uint8 else expected >> 8)


def palette_dataset(entries: int, first: int, bits: int) -> tuple[Any, NDArray[Any]]:
    table = np.random.default_rng(0).integers(0, 1 << bits, (3, entries), dtype=np.uint16)
    dataset = image_dataset(np.zeros((2, 2), np.uint8), photometric="PALETTE COLOR")
    for channel, row in zip(("Red", "Green", "Blue"), table, strict=True):
        setattr(dataset, f"{channel}PaletteColorLookupTableDescriptor", [entries, first, bits])
        data = row.astype("<u2").tobytes()
        setattr(dataset, f"{channel}PaletteColorLookupTableData", data)
    dataset.set_original_encoding(False, True, "ascii")
    return dataset, table


def test_numbers_outside_a_palette_take_its_ends() -> None:
    dataset, table = palette_dataset(entries=4, first=10, bits=16)
    colours = rgb_from_palette(np.array([0, 9, 10, 13, 14, 255], np.uint8), dataset, "a.dcm")
    assert np.array_equal(colours[:, 0], table[0][[0, 0, 0, 3, 3, 3]] >> 8)


def test_palette_entries_of_8_bits_may_take_a_byte_each() -> None:
    dataset, table = palette_dataset(entries=6, first=0, bits=8)
    for channel, row in zip(("Red", "Green", "Blue"), table, strict=True):
        setattr(dataset, f"{channel}PaletteColorLookupTableData", row.astype(np.uint8).tobytes())
    colours = rgb_from_palette(np.arange(6, dtype=np.uint8), dataset, "a.dcm")
    assert np.array_equal(colours[:, 1], table[1])


def test_a_segmented_palette_unfolds_as_the_standard_says() -> None:
    # discrete 0 1 2; a ramp of 4 up to 10; then both segments once more
    segments = [0, 3, 0, 1, 2, 1, 4, 10, 2, 2, 0, 0]
    assert expanded(segments, 16) == [0, 1, 2, 4, 6, 8, 10, 0, 1, 2, 4, 6, 8, 10]
