"""What a file is, told by its content: the name is given wrong on purpose in nearly every test."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import PIL.Image
import pytest
import soundfile

from medvox.data.intake import Kind, kind_of
from medvox.errors import InputError


def kind_of_bytes(content: bytes, tmp_path: Path, name: str = "wrong.name") -> Kind:
    path = tmp_path / name
    path.write_bytes(content)
    return kind_of(path)


def picture(form: str, size: tuple[int, int] = (20, 10), **options: object) -> bytes:
    content = io.BytesIO()
    PIL.Image.new("RGB", size).save(content, form, **options)
    return content.getvalue()


def sound(form: str, subtype: str | None = None) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, np.sin(np.arange(8000)), 16_000, format=form, subtype=subtype)
    return content.getvalue()


def zipped(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as opened:
        for name in names:
            opened.writestr(name, b"x")
    return content.getvalue()


def nifti(pair: bool = False) -> bytes:
    kind = nibabel.Nifti1Pair if pair else nibabel.Nifti1Image
    return kind(np.zeros((2, 3, 4), np.int16), np.eye(4)).header.binaryblock


def dicom(sop_class: str = "1.2.840.10008.5.1.4.1.1.2") -> bytes:
    uid = sop_class.encode() + b"\0" * (len(sop_class) % 2)
    element = struct.pack("<HH2sH", 2, 2, b"UI", len(uid)) + uid
    return bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(element)) + element


def tiff_of(*directories: dict[int, tuple[int, int, bytes]], order: str = "<", big: bool = False) -> bytes:
    """A TIFF of directories only: tag -> (type, count, value), the values written behind them."""
    content = bytearray(struct.pack(order + "2sH", b"II" if order == "<" else b"MM", 43 if big else 42))
    content += struct.pack(order + "HHQ", 8, 0, 16) if big else struct.pack(order + "I", 8)
    wide, number = ("Q", "Q") if big else ("H", "I")
    for index, entries in enumerate(directories):
        size = struct.calcsize("=" + wide) + len(entries) * (20 if big else 12) + struct.calcsize("=" + number)
        values = len(content) + size
        content += struct.pack(order + wide, len(entries))
        behind = b""
        for tag, (kind, count, value) in entries.items():
            room = 8 if big else 4
            if len(value) > room:
                value, behind = struct.pack(order + number, values + len(behind)), behind + value
            content += struct.pack(order + "HH" + number, tag, kind, count) + value.ljust(room, b"\0")
        content += struct.pack(order + number, values + len(behind) if index + 1 < len(directories) else 0) + behind
    return bytes(content)


def short(value: int, order: str = "<") -> tuple[int, int, bytes]:
    return 3, 1, struct.pack(order + "H", value)


def text(value: bytes) -> tuple[int, int, bytes]:
    return 2, len(value), value


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
def test_pictures(form: str, tmp_path: Path) -> None:
    assert kind_of_bytes(picture(form), tmp_path, "scan.dcm") is Kind.PICTURE


@pytest.mark.parametrize("form", ["GIF", "ICO", "PPM", "JPEG2000"])
def test_pictures_that_are_not_read(form: str, tmp_path: Path) -> None:
    assert kind_of_bytes(picture(form), tmp_path, "photo.png") is Kind.UNKNOWN


def test_a_tiff_of_several_pages_is_a_picture(tmp_path: Path) -> None:
    pages = [PIL.Image.new("L", (size, size)) for size in (40, 20)]
    content = picture("TIFF", save_all=True, append_images=pages)
    assert kind_of_bytes(content, tmp_path) is Kind.PICTURE


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_a_tiled_pyramid_is_a_slide(order: str, big: bool, tmp_path: Path) -> None:
    levels = [{256: short(width, order), 322: short(256, order)} for width in (4000, 1000)]
    assert kind_of_bytes(tiff_of(*levels, order=order, big=big), tmp_path) is Kind.SLIDE
    assert kind_of_bytes(tiff_of(levels[0], order=order, big=big), tmp_path) is Kind.PICTURE


@pytest.mark.parametrize(
    ("tag", "mark"), [(270, b"Aperio Image Library v11"), (305, b"Philips DP v1"), (270, b"<OME x>")]
)
def test_a_vendors_mark_makes_a_slide_of_one_level(tag: int, mark: bytes, tmp_path: Path) -> None:
    assert kind_of_bytes(tiff_of({256: short(900), tag: text(mark), 322: short(256)}), tmp_path) is Kind.SLIDE


def test_a_tiff_whose_directories_form_a_loop_ends(tmp_path: Path) -> None:
    content = bytearray(tiff_of({256: short(9)}))
    content[-4:] = struct.pack("<I", 8)
    assert kind_of_bytes(bytes(content), tmp_path) is Kind.PICTURE


def test_real_slides(shared_data: Path) -> None:
    files = [file for file in (shared_data / "wsi").rglob("*") if file.suffix in {".svs", ".tiff", ".dcm"}]
    assert len(files) >= 3
    assert {kind_of(file) for file in files} == {Kind.SLIDE}


def test_dicom(tmp_path: Path) -> None:
    assert kind_of_bytes(dicom(), tmp_path, "picture.png") is Kind.DICOM
    assert kind_of_bytes(dicom("1.2.840.10008.1.3.10"), tmp_path) is Kind.DICOMDIR
    assert kind_of_bytes(dicom("1.2.840.10008.5.1.4.1.1.77.1.6"), tmp_path) is Kind.SLIDE


@pytest.mark.parametrize(
    "start", [b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", b"\x08\x00\x05\x00\x0a\x00\x00\x00ISO_IR 100"]
)
def test_dicom_without_a_preamble(start: bytes, tmp_path: Path) -> None:
    assert kind_of_bytes(start, tmp_path) is Kind.DICOM


def test_a_dicom_that_is_a_tiff_too_is_dicom(tmp_path: Path) -> None:
    assert kind_of_bytes(b"II*\0" + dicom()[4:], tmp_path) is Kind.DICOM


def test_real_dicom(shared_data: Path, unzip: Callable[[Path], Path]) -> None:
    folder = unzip(shared_data / "dicom_odd" / "pydicom.zip")
    files = [file for file in folder.rglob("*") if file.is_file() and file.read_bytes()[128:132] == b"DICM"]
    assert len(files) > 30
    assert {kind_of(file) for file in files} <= {Kind.DICOM, Kind.DICOMDIR, Kind.SLIDE}


@pytest.mark.parametrize("big", [False, True])
def test_places_beyond_the_end_of_a_file_are_no_error(big: bool, tmp_path: Path) -> None:
    content = bytearray(tiff_of({256: short(9), 270: text(b"x" * 40)}, order="<", big=big))
    content[-4:] = b"\xff" * 4
    place = 16 + 8 if big else 8 + 2
    content[place + 20 + 12 : place + 40] = b"\xff" * 8 if big else content[place + 32 : place + 40]
    assert kind_of_bytes(bytes(content), tmp_path) is Kind.PICTURE
    far = struct.pack(">I4sQ", 1, b"free", 2**64 - 1)
    assert kind_of_bytes(box(b"ftyp", b"M4A ") + far, tmp_path) is Kind.UNKNOWN


@pytest.mark.parametrize("content", [nifti(), nifti(pair=True), gzip.compress(nifti() + bytes(500))])
def test_nifti(content: bytes, tmp_path: Path) -> None:
    assert kind_of_bytes(content, tmp_path, "scan.txt") is Kind.NIFTI


def test_nifti_2_and_the_other_byte_order(tmp_path: Path) -> None:
    header = nibabel.Nifti2Image(np.zeros((2, 3, 4), np.int16), np.eye(4)).header
    assert kind_of_bytes(header.binaryblock, tmp_path) is Kind.NIFTI
    assert kind_of_bytes(header.as_byteswapped(">").binaryblock, tmp_path) is Kind.NIFTI


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "ULAW"), ("RF64", None), ("FLAC", None), ("OGG", "OPUS"), ("OGG", "VORBIS"),
     ("MP3", None), ("AIFF", None)],
)  # fmt: skip
def test_sound(form: str, subtype: str | None, tmp_path: Path) -> None:
    assert kind_of_bytes(sound(form, subtype), tmp_path, "speech.png") is Kind.AUDIO


@pytest.mark.parametrize("form", ["MAT5", "PAF", "VOC", "XI"])
def test_sound_that_is_not_read(form: str, tmp_path: Path) -> None:
    assert kind_of_bytes(sound(form, "PCM_16" if form != "XI" else "DPCM_16"), tmp_path, "speech.wav") is Kind.UNKNOWN


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


@pytest.mark.parametrize(("handler", "kind"), [(b"soun", Kind.AUDIO), (b"vide", Kind.UNKNOWN)])
@pytest.mark.parametrize("moov_last", [True, False])
def test_an_mp4_is_sound_when_it_has_a_sound_track(handler: bytes, kind: Kind, moov_last: bool, tmp_path: Path) -> None:
    boxes = [box(b"moov", box(b"trak", box(b"hdlr", bytes(8) + handler + bytes(12)))), box(b"mdat", bytes(200_000))]
    content = box(b"ftyp", b"M4A \0\0\0\0") + b"".join(boxes[::-1] if moov_last else boxes)
    assert kind_of_bytes(content, tmp_path) is kind


def test_a_picture_in_a_riff_is_no_sound(tmp_path: Path) -> None:
    assert kind_of_bytes(b"RIFF\x10\0\0\0AVI LIST", tmp_path, "x.wav") is Kind.UNKNOWN


def test_archives_and_documents(tmp_path: Path) -> None:
    assert kind_of_bytes(zipped("a.dcm"), tmp_path) is Kind.ZIP
    assert kind_of_bytes(zipped("word/document.xml", "[Content_Types].xml"), tmp_path) is Kind.DOCX
    assert kind_of_bytes(zipped("xl/workbook.xml", "[Content_Types].xml"), tmp_path) is Kind.UNKNOWN
    assert kind_of_bytes(zipped(), tmp_path) is Kind.ZIP
    assert kind_of_bytes(b"%PDF-1.7\n", tmp_path) is Kind.PDF
    assert kind_of_bytes(b"\r\n junk %PDF-1.4\n", tmp_path) is Kind.PDF


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"resourceType": "Bundle"}', Kind.FHIR),
        (b'\xef\xbb\xbf \n{"type": "collection", "resourceType": "Bundle"}', Kind.FHIR),
        (b'{"resourceType": "Patient"}\n{"resourceType": "Observation"}\n', Kind.FHIR),
        (gzip.compress(b'{"resourceType": "Patient"}\n'), Kind.FHIR),
        (b'<Bundle xmlns="http://hl7.org/fhir"/>', Kind.FHIR),
        (b'<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3">', Kind.CDA),
        (b"<?xml version='1.0'?><cda:ClinicalDocument xmlns:cda='urn:hl7-org:v3'>", Kind.CDA),
        (b"<?xml version='1.0'?><svg/>", Kind.UNKNOWN),
        (b"No acute findings.\r\n<3 mm nodule", Kind.NOTE),
        ("Übelkeit, 38,5 °C".encode("latin-1"), Kind.NOTE),
        ("Fever. ".encode("utf-16"), Kind.NOTE),
        (b'{"findings": "none"}', Kind.NOTE),
        (b"{\\rtf1 text}", Kind.UNKNOWN),
        (b"  \n", Kind.UNKNOWN),
        (b"\x7fELF\x02\x01\x01\x00", Kind.UNKNOWN),
        (b"\x1f\x8b broken", Kind.UNKNOWN),
        (gzip.compress(b"text"), Kind.UNKNOWN),
    ],
)
def test_texts(content: bytes, kind: Kind, tmp_path: Path) -> None:
    assert kind_of_bytes(content, tmp_path, "x.dcm") is kind


def test_a_mirax_slide_is_told_by_its_folder(tmp_path: Path) -> None:
    assert kind_of_bytes(picture("JPEG"), tmp_path, "slide.mrxs") is Kind.PICTURE
    (tmp_path / "slide").mkdir()
    assert kind_of(tmp_path / "slide.mrxs") is Kind.SLIDE


def test_a_folder(tmp_path: Path) -> None:
    assert kind_of(tmp_path) is Kind.FOLDER


def fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, "E_INPUT_MISSING"),
        (lambda path: path.symlink_to("nowhere"), "E_INPUT_MISSING"),
        (lambda path: path.symlink_to(path), "E_INPUT_UNREADABLE"),
        (lambda path: path.touch(), "E_INPUT_EMPTY"),
        (fifo, "E_INPUT_UNREADABLE"),
        (lambda path: path.symlink_to("/dev/zero"), "E_INPUT_UNREADABLE"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(make: Callable[[Path], None], code: str, tmp_path: Path) -> None:
    path = tmp_path / "input"
    make(path)
    with pytest.raises(InputError) as caught:
        kind_of(path)
    assert caught.value.code == code


def test_a_path_below_a_file_and_one_with_a_zero_byte(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for path, code in ((tmp_path / "file" / "x", "E_INPUT_MISSING"), (tmp_path / "a\0b", "E_INPUT_UNREADABLE")):
        with pytest.raises(InputError) as caught:
            kind_of(path)
        assert caught.value.code == code


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_right_to_read(tmp_path: Path) -> None:
    path = tmp_path / "locked"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(InputError) as caught:
        kind_of(path)
    assert caught.value.code == "E_INPUT_UNREADABLE"


def test_damaged_heads_never_raise(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    pyramid = tiff_of({256: short(4000), 322: short(9)}, {256: short(40), 322: short(9)})
    seeds = [pyramid, picture("PNG"), dicom(), nifti(), zipped("a"), box(b"ftyp", b"M4A ") + box(b"moov", b"hdlr")]
    for _ in range(300):
        content = bytearray(seeds[random.integers(len(seeds))])
        for _ in range(random.integers(1, 6)):
            content[random.integers(len(content))] = random.integers(256)
        assert kind_of_bytes(bytes(content[: random.integers(1, len(content) + 1)]), tmp_path) in set(Kind)
