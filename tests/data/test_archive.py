"""Unpacking a zip: what comes out, what never leaves the folder, and what is refused."""

from __future__ import annotations

import io
import stat
import struct
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medvox.data import archive
from medvox.data.archive import unpacked
from medvox.data.limits import DEFAULT_LIMITS, MIB
from medvox.errors import BudgetError, InputError, MedvoxError

NOISE = np.random.default_rng(0).integers(0, 256, 100_000, dtype=np.uint8).tobytes()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files; empty before and after every archive."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def pack(tmp_path: Path, temporary: Path) -> Callable[..., Path]:
    def write(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
        path = tmp_path / "study.zip"
        with zipfile.ZipFile(path, "w", method) as opened:
            for name, content in members:
                opened.writestr(name, content)
        return path

    return write


Pack = Callable[..., Path]


def refusal(path: Path, temporary: Path, **limits: int) -> MedvoxError:
    with pytest.raises((InputError, BudgetError)) as caught, unpacked(path, limits=replace(DEFAULT_LIMITS, **limits)):
        pass
    assert list(temporary.iterdir()) == []
    assert path.name in caught.value.message
    return caught.value


def tampered(path: Path, *changes: tuple[bytes, int, str, int]) -> Path:
    """Overwrite a number (``struct`` format) at an offset from the first place of a mark."""
    content = bytearray(path.read_bytes())
    for mark, offset, form, value in changes:
        struct.pack_into("<" + form, content, content.index(mark) + offset, value)
    path.write_bytes(content)
    return path


LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


def test_members_become_files_and_the_folder_goes_away(pack: Pack, temporary: Path) -> None:
    path = pack(("a/1.dcm", NOISE), ("a/b/2.dcm", b""), ("c/", b""), ("Grüße ö.dcm", b"x"))
    with unpacked(path) as folder:
        files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert files == {"a/1.dcm": NOISE, "a/b/2.dcm": b"", "Grüße ö.dcm": b"x"}
    assert list(temporary.iterdir()) == []


def test_the_folder_goes_away_when_the_reader_fails(pack: Pack, temporary: Path) -> None:
    with pytest.raises(KeyboardInterrupt), unpacked(pack(("a", b"x"))):
        raise KeyboardInterrupt
    assert list(temporary.iterdir()) == []


def test_backslashes_part_folders_too(pack: Pack) -> None:
    with unpacked(pack(("a\\b.dcm", b"x"))) as folder:
        assert (folder / "a" / "b.dcm").read_bytes() == b"x"


def test_an_archive_inside_stays_packed(pack: Pack) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as opened:
        opened.writestr("a", b"x")
    with unpacked(pack(("inner.zip", inner.getvalue()))) as folder:
        assert [file.name for file in folder.iterdir()] == ["inner.zip"]


def test_a_zip64_is_read(pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "big.zip"
    with zipfile.ZipFile(path, "w") as opened, opened.open("a", "w", force_zip64=True) as member:
        member.write(b"x")
    with unpacked(path) as folder:
        assert (folder / "a").read_bytes() == b"x"


def test_real_archives_come_out_as_zipfile_reads_them(shared_data: Path) -> None:
    path = shared_data / "dicom" / "ct_small_ge" / "series.zip"
    with unpacked(path) as folder, zipfile.ZipFile(path) as opened:
        for member in opened.infolist():
            if not member.is_dir():
                assert (folder / member.filename).read_bytes() == opened.read(member)


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", b"\x1f\x8bgzip"])
def test_other_files_are_given_back(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "named.zip"
    path.write_bytes(content)
    with unpacked(path) as given:
        assert given == path


def test_folders_and_missing_files_are_given_back(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.zip"):
        with unpacked(path) as given:
            assert given == path


def test_a_document_is_no_archive(pack: Pack) -> None:
    path = pack(("[Content_Types].xml", b"<Types/>"), ("word/document.xml", b"<x/>"))
    with unpacked(path) as given:
        assert given == path


@pytest.mark.parametrize(
    "name",
    [
        "../out", "a/../../out", "/etc/out", "\\out", "..\\out", "C:\\out", "c:out", "//server/share/out", "a//b", "..",
        "a/..", ".", "a\nb", "a\x7fb", "CON", "a/nul.dcm", "Lpt1.txt", "x" * 300, "x/" * 40 + "x",
        "/".join(["x" * 200] * 6),
    ],
)  # fmt: skip
def test_a_name_that_leaves_the_folder_or_is_odd_is_refused(pack: Pack, temporary: Path, name: str) -> None:
    error = refusal(pack(("first", b"x"), (name, b"x")), temporary)
    assert error.code == "E_ARCHIVE_NAME"
    assert name == "." or name not in error.message


def test_a_zero_byte_in_a_name_is_refused(pack: Pack, temporary: Path) -> None:
    path = pack(("good.dcmX../evil", b"x"))
    path.write_bytes(path.read_bytes().replace(b"good.dcmX", b"good.dcm\0"))
    assert refusal(path, temporary).code == "E_ARCHIVE_NAME"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a", "a"), ("A.dcm", "a.DCM"), ("é", "e\u0301"), ("a", "a/b"), ("x/y/z", "X/y")])
def test_members_that_would_overwrite_each_other_are_refused(
    pack: Pack, temporary: Path, names: tuple[str, str]
) -> None:
    assert refusal(pack((names[0], b"x"), (names[1], b"y")), temporary).code == "E_ARCHIVE_NAME"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_are_refused(pack: Pack, temporary: Path, kind: int) -> None:
    member = zipfile.ZipInfo("link")
    member.external_attr = (kind | 0o777) << 16
    assert refusal(pack((member, b"/etc/passwd")), temporary).code == "E_ARCHIVE_LINK"


@pytest.mark.parametrize("members", [(), (("folder/", b""),)])
def test_an_empty_archive_is_refused(pack: Pack, temporary: Path, members: tuple[tuple[str, bytes], ...]) -> None:
    assert refusal(pack(*members), temporary).code == "E_ARCHIVE_EMPTY"


def test_an_encrypted_member_is_refused(pack: Pack, temporary: Path) -> None:
    path = tampered(pack(("a", b"x")), (LOCAL, 6, "H", 1), (CENTRAL, 8, "H", 1))
    assert refusal(path, temporary).code == "E_ARCHIVE_ENCRYPTED"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_packings_are_refused(pack: Pack, temporary: Path, method: int) -> None:
    assert refusal(pack(("a", b"x" * 100), method=method), temporary).code == "E_ARCHIVE_METHOD"


@pytest.mark.parametrize("kept", [4, 30, 60_000, -1, -22, -60])
def test_an_archive_that_was_cut_off_is_refused(pack: Pack, temporary: Path, kept: int) -> None:
    path = pack(("a", NOISE))
    path.write_bytes(path.read_bytes()[:kept])
    assert refusal(path, temporary).code == "E_ARCHIVE_CORRUPT"


def test_a_member_with_a_flipped_bit_is_refused(pack: Pack, temporary: Path) -> None:
    path = pack(("a", NOISE), method=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[5_000] ^= 1
    path.write_bytes(content)
    assert refusal(path, temporary).code == "E_ARCHIVE_CORRUPT"


@pytest.mark.parametrize("claimed", [0, 10, 99_999, 100_001, 150_000])
def test_a_size_that_lies_is_refused(pack: Pack, temporary: Path, claimed: int) -> None:
    path = tampered(pack(("a", NOISE)), (CENTRAL, 24, "I", claimed))
    assert refusal(path, temporary).code == "E_ARCHIVE_CORRUPT"


@pytest.mark.parametrize("count", [0, 1, 3, 65_535])
def test_a_count_that_lies_is_refused(pack: Pack, temporary: Path, count: int) -> None:
    path = tampered(pack(("a", b"x"), ("b", b"y")), (END, 10, "H", count))
    assert refusal(path, temporary).code == "E_ARCHIVE_CORRUPT"


def test_limits_hold_exactly(pack: Pack, temporary: Path) -> None:
    path = pack(("a", b"1234"), ("b", b"5678"))
    with unpacked(path, limits=replace(DEFAULT_LIMITS, files=2, archive_bytes=8, file_bytes=4)):
        pass
    for limits in ({"files": 1}, {"archive_bytes": 7}, {"file_bytes": 3}):
        assert refusal(path, temporary, **limits).code == "E_ARCHIVE_LIMIT"


def test_a_bomb_is_refused_at_once(pack: Pack, temporary: Path) -> None:
    path = pack(("a", bytes(64 * MIB)))
    started = time.perf_counter()
    assert refusal(path, temporary).code == "E_ARCHIVE_LIMIT"
    assert time.perf_counter() - started < 0.2


def test_many_small_bombs_are_refused(pack: Pack, temporary: Path) -> None:
    path = pack(*((str(number), bytes(MIB // 4)) for number in range(40)))
    assert refusal(path, temporary).code == "E_ARCHIVE_LIMIT"


def test_members_that_share_their_bytes_are_refused(pack: Pack, temporary: Path) -> None:
    path = pack(("a", NOISE), ("b", NOISE), method=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.rindex(CENTRAL) + 42, 0)  # "b" lies where "a" lies
    path.write_bytes(content)
    error = refusal(path, temporary)
    assert error.code == "E_ARCHIVE_LIMIT"
    assert "overlap" in error.message


def test_members_that_overlap_are_refused(pack: Pack, temporary: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as opened:
        opened.writestr("b", NOISE)
    packed = inner.getvalue()
    outer = pack(("a", packed[: packed.index(CENTRAL)]), ("b", NOISE), method=zipfile.ZIP_STORED)
    content = bytearray(outer.read_bytes())
    struct.pack_into("<I", content, content.rindex(CENTRAL) + 42, 31)  # the local header that lies inside of "a"
    outer.write_bytes(content)
    error = refusal(outer, temporary)
    assert error.code == "E_ARCHIVE_LIMIT"
    assert "overlap" in error.message


def test_a_full_disk_is_told_before_anything_is_written(
    pack: Pack, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "KEPT_FREE_BYTES", 2**62)
    assert refusal(pack(("a", b"x")), temporary).code == "E_ARCHIVE_DISK"


def test_a_missing_folder_for_temporary_files_is_told(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(("a", b"x"))
    monkeypatch.setattr("tempfile.tempdir", str(path))
    with pytest.raises(BudgetError) as caught, unpacked(path):
        pass
    assert caught.value.code == "E_ARCHIVE_DISK"


def test_random_damage_never_escapes_as_another_error(pack: Pack, temporary: Path) -> None:
    path = pack(("a/b.dcm", NOISE[:2000]), ("c.dcm", bytes(3000)))
    good = path.read_bytes()
    random = np.random.default_rng(7)
    codes = set()
    for _ in range(200):
        content = bytearray(good)
        for _ in range(random.integers(1, 5)):
            content[random.integers(4, len(content))] = random.integers(0, 256)
        path.write_bytes(content)
        try:
            with unpacked(path):
                pass
        except MedvoxError as error:
            codes.add(error.code)
        assert list(temporary.iterdir()) == []
    assert codes >= {"E_ARCHIVE_CORRUPT", "E_ARCHIVE_METHOD"}
    assert "E_ARCHIVE_UNREADABLE" not in codes
