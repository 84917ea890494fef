"""data/dicom_pixels.py: pixel data that lies, is cut short, or would take too much is refused before it is decoded."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_images import as_jpeg, encapsulated, frames_in, image_dataset, write_image
from openjpeg.utils import encode_array
from pydicom import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from medvox.data import dicom_codec
from medvox.data.dicom_codec import BadFrameError, Layout, jpeg_2000_header, rle_decoded
from medvox.data.dicom_colour import expanded, rgb_from_palette
from medvox.data.dicom_fragments import FramesLostError, frames_of
from medvox.data.dicom_header import header_of
from medvox.data.dicom_pixels import codec_problem
from medvox.data.limits import MIB, Limits
from medvox.errors import BudgetError, InputError, MedvoxError

PIXELS = np.random.default_rng(0).integers(0, 4096, (2, 40, 40), dtype=np.uint16)


def refusal(dataset: Dataset, path: Path, **options: Any) -> str:
    with pytest.raises(MedvoxError) as caught:
        frames_in(write_image(dataset, path), **options)
    assert caught.value.fix
    return caught.value.code


def changed(**values: Any) -> Dataset:
    dataset = image_dataset(PIXELS, stored=12)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def compressed(syntax: str) -> Dataset:
    dataset = image_dataset(PIXELS, stored=12)
    dataset.compress(syntax)
    return dataset


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"Rows": 41}, "E_DICOM_TRUNCATED"),
        ({"Rows": 39}, "E_DICOM_PIXEL_FORMAT"),
        ({"NumberOfFrames": 3}, "E_DICOM_TRUNCATED"),
        ({"NumberOfFrames": 1}, "E_DICOM_PIXEL_FORMAT"),
        ({"NumberOfFrames": 0}, "E_DICOM_PIXEL_FORMAT"),
        ({"NumberOfFrames": -2}, "E_DICOM_PIXEL_FORMAT"),
        ({"Columns": 0}, "E_DICOM_PIXEL_FORMAT"),
        ({"BitsAllocated": 12}, "E_DICOM_PIXEL_FORMAT"),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "E_DICOM_PIXEL_FORMAT"),
        ({"BitsStored": 17}, "E_DICOM_PIXEL_FORMAT"),
        ({"HighBit": 15}, "E_DICOM_PIXEL_FORMAT"),
        ({"SamplesPerPixel": 2}, "E_DICOM_PIXEL_FORMAT"),
        ({"SamplesPerPixel": 3}, "E_DICOM_PIXEL_FORMAT"),
        ({"PhotometricInterpretation": "RGB"}, "E_DICOM_PIXEL_FORMAT"),
        ({"PhotometricInterpretation": "HSV"}, "E_DICOM_PIXEL_FORMAT"),
        ({"PixelData": b""}, "E_DICOM_TRUNCATED"),
    ],
)
def test_headers_that_do_not_fit_the_pixels_are_refused(tmp_path: Path, values: dict[str, Any], code: str) -> None:
    assert refusal(changed(**values), tmp_path / "a.dcm") == code


def test_colours_without_a_planar_configuration_are_refused(tmp_path: Path) -> None:
    dataset = image_dataset(np.zeros((4, 4, 3), np.uint8), photometric="RGB")
    del dataset.PlanarConfiguration
    assert refusal(dataset, tmp_path / "a.dcm") == "E_DICOM_PIXEL_FORMAT"


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"Rows": 39}, "E_DICOM_PIXEL_FORMAT"),
        ({"Columns": 20_000}, "E_DICOM_PIXEL_FORMAT"),
        ({"NumberOfFrames": 1}, "E_DICOM_PIXEL_FORMAT"),
        ({"NumberOfFrames": 3}, "E_DICOM_PIXEL_FORMAT"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}, "E_DICOM_PIXEL_FORMAT"),
    ],
)
def test_codestreams_must_be_what_the_header_says(
    tmp_path: Path, syntax: str, values: dict[str, Any], code: str
) -> None:
    dataset = compressed(syntax)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    expected = {code, "E_DICOM_TRUNCATED"} if syntax == RLELossless else {code}  # RLE states no size of its own
    assert refusal(dataset, tmp_path / "a.dcm") in expected


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("keep", [0.02, 0.3, 0.9])
def test_codestreams_that_are_cut_short_are_refused(tmp_path: Path, syntax: str, keep: float) -> None:
    dataset = compressed(syntax)
    table, first, *_ = fragments(dataset.PixelData)
    cut = first[: int(len(first) * keep) // 2 * 2]
    dataset.NumberOfFrames = 1
    encapsulated(dataset, [cut], syntax)
    assert table
    assert refusal(dataset, tmp_path / "a.dcm") in {"E_DICOM_TRUNCATED", "E_DICOM_PIXEL_FORMAT"}


def test_a_jpeg_that_is_cut_short_is_refused_and_not_half_decoded(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    dataset = as_jpeg(image_dataset(pixels), pixels)
    stream = fragments(dataset.PixelData)[1]
    encapsulated(dataset, [stream[: len(stream) // 2]], JPEGBaseline8Bit)
    assert refusal(dataset, tmp_path / "a.dcm") == "E_DICOM_TRUNCATED"


@pytest.mark.parametrize("entry", [1, 2**31])
def test_an_offset_table_that_lies_is_refused(tmp_path: Path, entry: int) -> None:
    dataset = compressed(JPEGLSLossless)
    first, second = fragments(dataset.PixelData)[1:3]
    encapsulated(dataset, [first, second], JPEGLSLossless)
    content = bytearray(dataset.PixelData)
    content[12:16] = struct.pack("<L", entry)
    dataset.PixelData = bytes(content)
    assert refusal(dataset, tmp_path / "a.dcm") == "E_DICOM_PIXEL_FORMAT"


def test_an_extended_offset_table_that_lies_is_refused(tmp_path: Path) -> None:
    dataset = compressed(JPEGLSLossless)
    encapsulated(dataset, fragments(dataset.PixelData)[1:3], JPEGLSLossless, table=False)
    dataset.ExtendedOffsetTable = struct.pack("<2Q", 0, 10)
    dataset.ExtendedOffsetTableLengths = struct.pack("<2Q", 10, 10)
    assert refusal(dataset, tmp_path / "a.dcm") == "E_DICOM_PIXEL_FORMAT"


def test_frames_hidden_behind_a_count_of_one_are_not_dropped_silently() -> None:
    item = b"\xfe\xff\x00\xe0"
    stream = b"\xff\xd8" + bytes(6)
    data = item + bytes(4) + 2 * (item + struct.pack("<L", len(stream)) + stream)
    with pytest.raises(FramesLostError):
        frames_of(data, 1)


def test_unknown_and_video_transfer_syntaxes_are_named_with_a_fix(tmp_path: Path) -> None:
    dataset = encapsulated(image_dataset(PIXELS), [b"\0\0\1\xb3"], "1.2.840.10008.1.2.4.102")
    with pytest.raises(InputError) as caught:
        frames_in(write_image(dataset, tmp_path / "a.dcm"))
    assert caught.value.code == "E_DICOM_CODEC"
    assert "MPEG-4" in caught.value.message
    assert "dcmconv" in caught.value.fix


def test_a_private_transfer_syntax_is_not_quoted(tmp_path: Path) -> None:
    dataset = encapsulated(image_dataset(PIXELS), [b"\0\0\1\xb3"], "1.2.3.4.5.6.7.8")
    path = write_image(dataset, tmp_path / "a.dcm")
    problem = codec_problem(header_of(dataset, path))
    assert problem is not None
    assert "1.2.3.4.5.6.7.8" not in problem.text


def limited(limits: Limits) -> Callable[[Dataset, Path], str]:
    return lambda dataset, path: refusal(dataset, path, limits=limits)


@pytest.mark.parametrize(
    ("limits", "fits"),
    [
        (Limits(frames=1), Limits(frames=2)),
        (Limits(picture_pixels=1599), Limits(picture_pixels=1600)),
        (Limits(decoded_bytes=6399), Limits(decoded_bytes=6400)),
    ],
)
def test_each_limit_holds_exactly(tmp_path: Path, limits: Limits, fits: Limits) -> None:
    path = write_image(image_dataset(PIXELS, stored=12), tmp_path / "a.dcm")
    assert frames_in(path, limits=fits).values.shape == PIXELS.shape
    with pytest.raises(BudgetError) as caught:
        frames_in(path, limits=limits)
    assert caught.value.code == "E_DICOM_LIMIT"


def rle_bomb(side: int, frames: int) -> Dataset:
    dataset = image_dataset(np.zeros((4, 4), np.uint8))
    dataset.Rows = dataset.Columns = side
    dataset.NumberOfFrames = frames
    runs = b"\x81\0" * (side * side // 128 + 1)
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + runs
    return encapsulated(dataset, [frame] * frames, RLELossless)


def j2k_bomb(side: int, frames: int) -> Dataset:
    dataset = image_dataset(np.zeros((4, 4), np.uint8))
    dataset.Rows = dataset.Columns = side
    dataset.NumberOfFrames = frames
    stream = encode_array(np.zeros((side, side), np.uint8))
    return encapsulated(dataset, [stream] * frames, JPEG2000Lossless)


@pytest.mark.parametrize(
    "bomb", [rle_bomb(8192, 1), rle_bomb(1024, 3000), j2k_bomb(512, 400)], ids=["rle", "rle frames", "j2k frames"]
)
def test_bombs_are_refused_at_once_and_without_memory(tmp_path: Path, bomb: Dataset) -> None:
    path = write_image(bomb, tmp_path / "bomb.dcm")
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(BudgetError) as caught:
        frames_in(path)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.code == "E_DICOM_LIMIT"
    assert seconds < 1
    assert peak < path.stat().st_size * 6 + 8 * MIB


def test_a_run_length_stream_that_is_too_short_for_its_size_never_allocates_it() -> None:
    layout = Layout(
        rows=7000, columns=7000, samples=1, bits=8, stored=8, signed=False, photometric="MONOCHROME2"
    )  # fmt: skip
    with pytest.raises(BadFrameError, match="too short"):
        rle_decoded(struct.pack("<16L", 1, 64, *[0] * 14) + bytes(1000), layout)


def test_a_run_length_segment_never_grows_past_its_frame() -> None:
    layout = Layout(rows=4, columns=4, samples=1, bits=8, stored=8, signed=False, photometric="MONOCHROME2")
    with pytest.raises(BadFrameError, match="longer"):
        rle_decoded(struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\0" * 100, layout)


def test_a_codestream_with_millions_of_tiles_never_reaches_the_decoder() -> None:
    stream = bytearray(encode_array(np.zeros((4000, 4000), np.uint8)))
    stream[24:32] = struct.pack(">LL", 1, 1)  # tile size
    with pytest.raises(BadFrameError, match="tiles"):
        jpeg_2000_header(bytes(stream))


def test_dct_streams_that_state_16_bits_are_refused(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8), np.uint8)
    dataset = as_jpeg(image_dataset(pixels.astype(np.uint16)), pixels)
    dataset.PixelData = dataset.PixelData.replace(b"\xff\xc0\x00\x0b\x08", b"\xff\xc0\x00\x0b\x10")
    assert refusal(dataset, tmp_path / "a.dcm") == "E_DICOM_PIXEL_FORMAT"


def test_no_decoder_sees_a_frame_of_another_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: Any) -> Any:
        raise AssertionError("the decoder was called")

    monkeypatch.setitem(dicom_codec._DECODERS, "jpeg-ls", explode)
    dataset = compressed(JPEGLSLossless)
    dataset.Rows = 80
    assert refusal(dataset, tmp_path / "a.dcm") == "E_DICOM_PIXEL_FORMAT"


@pytest.mark.parametrize("missing", ["RedPaletteColorLookupTableData", "BluePaletteColorLookupTableDescriptor"])
def test_a_palette_without_its_tables_is_refused(missing: str) -> None:
    dataset = image_dataset(np.zeros((2, 2), np.uint8), photometric="PALETTE COLOR")
    for channel in ("Red", "Green", "Blue"):
        setattr(dataset, f"{channel}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{channel}PaletteColorLookupTableData", bytes(512))
    delattr(dataset, missing)
    with pytest.raises(InputError) as caught:
        rgb_from_palette(np.zeros((2, 2), np.uint8), dataset, "a.dcm")
    assert caught.value.code == "E_DICOM_PALETTE"


@pytest.mark.parametrize(
    "segments", [[1, 4, 10], [0, 9, 1, 2], [7, 1, 1], [0, 1, 5, 1, 65_536, 0], [0, 1, 1, 2, 1, 99, 0]]
)
def test_segmented_palettes_that_are_damaged_or_too_long_are_refused(segments: list[int]) -> None:
    with pytest.raises((ValueError, IndexError)):
        expanded(segments, 16)


def fragments(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] != b"\xfe\xff\x00\xe0":
            break
        found.append(data[at + 8 : at + 8 + length])
        at += 8 + length
    return found
