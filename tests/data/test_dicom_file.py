"""data/dicom_file.py and dicom_walk.py: which bytes are DICOM, where a header ends, and what is too much."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from dicom_images import file_bytes, image_dataset, write_image
from pydicom import Dataset, dcmread
from pydicom import Sequence as DicomSequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medvox.data import dicom_file
from medvox.data.dicom_file import read_content, read_dataset, read_dataset_file, syntax_was_inferred
from medvox.data.limits import MIB, Limits
from medvox.errors import BudgetError, InputError, MedvoxError

PIXELS = np.arange(24, dtype=np.uint16).reshape(4, 6)
NESTED = "ReferencedSeriesSequence"


def in_syntax(syntax: str) -> bytes:
    dataset = image_dataset(PIXELS)
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = PIXELS.astype(">u2").tobytes()
    return file_bytes(dataset)


def meta_end(content: bytes) -> int:
    return 144 + int.from_bytes(content[140:144], "little")


def outcome(content: bytes) -> str:
    """The number of elements read, or the code of the refusal (its text when that quotes the file)."""
    try:
        return str(len(read_dataset(content, "a.dcm")))
    except MedvoxError as error:
        return error.code if "Secret" not in error.message + error.fix else error.message


def nested(depth: int, *, undefined: bool) -> bytes:
    """A file whose sequences lie ``depth`` deep."""
    inner = Dataset()
    inner.PatientComments = "deepest"
    for _ in range(depth):
        outer = Dataset()
        inner.is_undefined_length_sequence_item = undefined
        setattr(outer, NESTED, DicomSequence([inner]))
        outer[NESTED].is_undefined_length = undefined
        inner = outer
    dataset = image_dataset(PIXELS)
    dataset.update(inner)
    return file_bytes(dataset)


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_every_uncompressed_transfer_syntax_gives_the_elements_that_were_written(syntax: str) -> None:
    dataset = read_dataset(in_syntax(syntax), "a.dcm")
    assert (dataset.Rows, dataset.Columns, dataset.SOPInstanceUID) == (4, 6, "1.2.3.4.5")
    assert dataset.file_meta.TransferSyntaxUID == syntax
    assert not syntax_was_inferred(dataset)


def test_our_walk_and_the_parser_agree_on_every_public_file(shared_data: Path) -> None:
    folder = shared_data / "dicom_odd"
    archives = {path.stem: zipfile.ZipFile(path) for path in folder.glob("*.zip")}
    names = [item["file"] for item in json.loads((folder / "index.json").read_text())["files"]]
    compared = 0
    for name in names:
        archive, member = name.split("/", 1)
        content = archives[archive].read(member)
        if "too_short" in name or "dicom2nifti" in name:
            continue
        expected = dcmread(io.BytesIO(content), force=True)
        found = read_dataset(content, name)
        assert list(found.keys()) == list(expected.keys()), name
        compared += 1
    assert compared > 60


def test_a_file_without_preamble_is_read() -> None:
    dataset = read_dataset(in_syntax(ExplicitVRLittleEndian)[132:], "a.dcm")
    assert dataset.Rows == 4
    assert not syntax_was_inferred(dataset)  # its meta information says how it is encoded


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_bare_data_set_is_read_and_its_encoding_marked_as_inferred(syntax: str) -> None:
    content = in_syntax(syntax)
    dataset = read_dataset(content[meta_end(content) :], "a.dcm")
    assert (dataset.Rows, dataset.file_meta.TransferSyntaxUID) == (4, syntax)
    assert syntax_was_inferred(dataset)


def test_a_file_that_states_the_wrong_encoding_is_read_and_marked() -> None:
    wrong = in_syntax(ExplicitVRLittleEndian).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0", 1)
    dataset = read_dataset(wrong, "a.dcm")
    assert dataset.Rows == 4
    assert syntax_was_inferred(dataset)


@pytest.mark.parametrize(
    "content",
    [b"", b"DICM", b"\0" * 200, b"P6 10 10 255\n" + b"\x08\0\x10\0" * 40, b"\x08\0\x05\0" + b"\xff" * 100],
)
def test_what_does_not_clearly_start_as_dicom_is_refused(content: bytes) -> None:
    with pytest.raises(InputError) as caught:
        read_dataset(content, "a.bin")
    assert caught.value.code == "E_DICOM_UNREADABLE"


def test_every_truncation_of_the_header_is_refused() -> None:
    content = in_syntax(ExplicitVRLittleEndian)
    whole = read_dataset(content, "a.dcm", stop_before_pixels=True)
    end = content.index(b"\xe0\x7f\x10\x00")
    outcomes = {outcome(content[:cut]) for cut in range(end - 8)}
    assert "E_DICOM_UNREADABLE" in outcomes
    shorter = outcomes - {"E_DICOM_UNREADABLE"}  # the cut lies between two elements
    assert all(int(count) < len(whole) for count in shorter)


def test_only_the_wanted_elements_are_kept() -> None:
    dataset = read_dataset(in_syntax(ExplicitVRLittleEndian), "a.dcm", specific_tags=["Rows"])
    assert "Rows" in dataset
    assert "Columns" not in dataset


def test_a_header_is_read_without_the_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_image(image_dataset(np.zeros((1000, 1000), np.uint16)), tmp_path / "a.dcm")
    taken: list[int] = []
    real = dicom_file._read
    monkeypatch.setattr(dicom_file, "_read", lambda file, count, name: taken.append(count) or real(file, count, name))
    assert read_dataset_file(path).Rows == 1000
    assert sum(taken) == 64 * 1024


def test_a_long_header_is_read_to_its_end(tmp_path: Path) -> None:
    dataset = image_dataset(PIXELS)
    dataset.add_new(0x00091010, "OB", b"x" * 300_000)  # private
    header = read_dataset_file(write_image(dataset, tmp_path / "a.dcm"))
    assert header.Rows == 4
    assert "PixelData" not in header


@pytest.mark.parametrize("undefined", [True, False])
def test_nesting_is_read_up_to_the_limit_and_refused_above_it(undefined: bool) -> None:
    assert read_dataset(nested(32, undefined=undefined), "a.dcm").Rows == 4
    with pytest.raises(BudgetError) as caught:
        read_dataset(nested(33, undefined=undefined), "a.dcm")
    assert caught.value.code == "E_DICOM_LIMIT"


def test_twenty_thousand_nested_sequences_are_refused_at_once() -> None:
    head = in_syntax(ImplicitVRLittleEndian)
    start = head.index(b"\x28\x00\x02\x00")
    level = struct.pack("<HHLHHL", 0x0008, 0x1115, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
    with pytest.raises(BudgetError):
        read_dataset(head[:start] + level * 20_000, "a.dcm")


def test_elements_are_counted_also_inside_sequences() -> None:
    content = nested(8, undefined=True)
    needed = len(read_dataset(content, "a.dcm")) + 8
    read_dataset(content, "a.dcm", stop_before_pixels=True, limits=Limits(dicom_elements=needed))
    with pytest.raises(BudgetError):
        read_dataset(content, "a.dcm", stop_before_pixels=True, limits=Limits(dicom_elements=needed - 2))


def test_a_deflated_bomb_is_refused() -> None:
    content = in_syntax(DeflatedExplicitVRLittleEndian)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = bytes(4 * MIB)
    bomb = b"".join(packer.compress(piece) for _ in range(5)) + packer.flush()
    with pytest.raises(BudgetError) as caught:
        read_dataset(content[: meta_end(content)] + bomb, "a.dcm")
    assert caught.value.code == "E_DICOM_LIMIT"


def test_a_damaged_deflated_data_set_is_refused() -> None:
    content = in_syntax(DeflatedExplicitVRLittleEndian)
    for broken in (content[:-12], content[:400] + b"\xff" * 30):
        with pytest.raises(InputError) as caught:
            read_dataset(broken, "a.dcm")
        assert caught.value.code == "E_DICOM_UNREADABLE"


def test_a_file_over_the_size_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = write_image(image_dataset(PIXELS), tmp_path / "a.dcm")
    for read in (read_content, read_dataset_file):
        with pytest.raises(BudgetError):
            read(path, limits=Limits(file_bytes=100))


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "broken link"])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "broken link":
        path.symlink_to(tmp_path / "nowhere")
    for read in (read_content, read_dataset_file):
        with pytest.raises(InputError) as caught:
            read(path)
        assert caught.value.code == "E_DICOM_UNREADABLE"


@pytest.mark.filterwarnings("error")
def test_no_byte_flip_in_the_header_raises_anything_untyped_or_quotes_the_file() -> None:
    dataset = image_dataset(PIXELS)
    dataset.PatientName = "Doe^Secret"
    content = file_bytes(dataset)
    draw = np.random.default_rng(0)
    for _ in range(1500):
        broken = bytearray(content)
        for place in draw.integers(128, len(content), size=3):
            broken[place] = draw.integers(256)
        assert "Secret" not in outcome(bytes(broken))
