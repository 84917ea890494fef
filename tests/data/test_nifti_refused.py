"""data/nifti.py: files that must not be believed, and what is flagged on the ones that are."""

from __future__ import annotations

import gzip
import os
import struct
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medvox.data.limits import DEFAULT_LIMITS
from medvox.data.nifti import find_nifti, read_nifti
from medvox.errors import InputError, MedvoxError

SHAPE = (4, 5, 6)
VOXELS = np.arange(120, dtype=np.int16).reshape(SHAPE)
EDGE = np.diag([2.0, 2.0, 3.0, 1.0])

Content = Callable[[bytearray], object]


def plain(dtype: str = "i2") -> bytearray:
    """The bytes of a sound file: 4 x 5 x 6 voxels of 2 x 2 x 3 mm, sform and qform alike."""
    image = nibabel.Nifti1Image(VOXELS.astype(dtype), EDGE, dtype=dtype)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(EDGE, 1)
    image.set_qform(EDGE, 1)
    return bytearray(image.to_bytes())


def put(place: int, kind: str, *values: float) -> Content:
    """A header with other values at a byte."""
    return lambda content: struct.pack_into("<" + kind, content, place, *values)


def written(folder: Path, *edits: Content, dtype: str = "i2") -> Path:
    content = plain(dtype)
    for edit in edits:
        edit(content)
    path = folder / "a.nii"
    path.write_bytes(content)
    return path


def refusal(path: Path, **options: object) -> MedvoxError:
    with pytest.raises(MedvoxError) as caught:
        read_nifti(path, **options)  # type: ignore[arg-type]
    assert path.name in caught.value.message
    assert str(path.parent) not in caught.value.message
    assert caught.value.fix
    return caught.value


def flags_of(path: Path) -> set[str]:
    return {flag.code for flag in read_nifti(path)[0].flags} - {"F_NIFTI_MODALITY_UNKNOWN"}


DIM, DATATYPE, BITPIX, PIXDIM, VOX_OFFSET, SLOPE, UNITS = 40, 70, 72, 76, 108, 112, 123
QFORM_CODE, SFORM_CODE, QUATERN, QOFFSET, SROW, MAGIC = 252, 254, 256, 268, 280, 344
NAN, INF = float("nan"), float("inf")


def test_the_sound_file_has_no_flag(tmp_path: Path) -> None:
    assert flags_of(written(tmp_path)) == set()


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (put(0, "i", 347), "E_NIFTI_MAGIC"),
        (put(MAGIC, "4s", b"n+2\0"), "E_NIFTI_MAGIC"),
        (put(MAGIC, "4s", b"\0\0\0\0"), "E_NIFTI_MAGIC"),
        (put(MAGIC, "4s", b"ni1\0"), "E_NIFTI_PAIR"),
        (put(DIM, "h", 0), "E_NIFTI_DIMS"),
        (put(DIM, "h", 1), "E_NIFTI_DIMS"),
        (put(DIM, "h", 8), "E_NIFTI_DIMS"),
        (put(DIM, "h", -3), "E_NIFTI_DIMS"),
        (put(DIM + 4, "h", 0), "E_NIFTI_DIMS"),
        (put(DIM + 4, "h", -5), "E_NIFTI_DIMS"),
        (put(DIM, "6h", 5, 4, 5, 2, 1, 3), "E_NIFTI_DIMS"),
        (put(DIM + 6, "h", 7), "E_NIFTI_TRUNCATED"),
        (put(DIM + 6, "h", 5), "E_NIFTI_SIZE"),
        (put(DATATYPE, "hh", 8, 32), "E_NIFTI_TRUNCATED"),
        (put(DATATYPE, "hh", 128, 24), "E_NIFTI_COLOUR"),
        (put(DATATYPE, "hh", 2304, 32), "E_NIFTI_COLOUR"),
        (put(DATATYPE, "hh", 32, 64), "E_NIFTI_COMPLEX"),
        (put(DATATYPE, "hh", 1536, 128), "E_NIFTI_DATATYPE"),
        (put(DATATYPE, "hh", 1, 1), "E_NIFTI_DATATYPE"),
        (put(DATATYPE, "hh", 4, 8), "E_NIFTI_DATATYPE"),
        (put(PIXDIM + 4, "f", 0.0), "E_NIFTI_SPACING"),
        (put(PIXDIM + 8, "f", -2.0), "E_NIFTI_SPACING"),
        (put(PIXDIM + 12, "f", NAN), "E_NIFTI_SPACING"),
        (put(PIXDIM + 12, "f", INF), "E_NIFTI_SPACING"),
        (put(VOX_OFFSET, "f", 0.0), "E_NIFTI_OFFSET"),
        (put(VOX_OFFSET, "f", 348.0), "E_NIFTI_OFFSET"),
        (put(VOX_OFFSET, "f", 352.5), "E_NIFTI_OFFSET"),
        (put(VOX_OFFSET, "f", NAN), "E_NIFTI_OFFSET"),
        (put(VOX_OFFSET, "f", 1e9), "E_NIFTI_TRUNCATED"),
        (put(SLOPE, "ff", INF, 0.0), "E_NIFTI_SCALE"),
        (put(SLOPE, "ff", 2.0, NAN), "E_NIFTI_SCALE"),
        (put(SLOPE, "ff", 3e38, 0.0), "E_NIFTI_RANGE"),
        (put(SROW, "4f", 0, 0, 0, 0), "E_NIFTI_AFFINE"),
        (put(SROW, "8f", 2, 0, 0, 0, 2, 0, 0, 0), "E_NIFTI_AFFINE"),
        (put(SROW, "f", NAN), "E_NIFTI_AFFINE"),
        (put(SROW + 12, "f", INF), "E_NIFTI_AFFINE"),
        (put(QUATERN, "3f", 1, 1, 1), "E_NIFTI_AFFINE"),
        (put(QUATERN, "f", NAN), "E_NIFTI_AFFINE"),
    ],
)
def test_a_header_that_cannot_be_relied_on_is_refused(tmp_path: Path, edit: Content, code: str) -> None:
    path = written(tmp_path, edit)
    error = refusal(path)
    assert error.code == code
    assert isinstance(error, InputError)
    if code in {"E_NIFTI_SPACING", "E_NIFTI_AFFINE", "E_NIFTI_DIMS", "E_NIFTI_COLOUR", "E_NIFTI_SIZE"}:
        series = find_nifti(path)
        assert (series.verdict, series.flags[0].code, series.spacing_mm) == ("refuse", code, None)


@pytest.mark.parametrize(
    ("edits", "flags"),
    [
        ([put(SFORM_CODE, "h", 0)], set()),
        ([put(QFORM_CODE, "h", 0)], set()),
        ([put(QFORM_CODE, "hh", 0, 0)], {"F_NIFTI_NO_ORIENTATION"}),
        ([put(QFORM_CODE, "hh", 0, -1)], {"F_NIFTI_NO_ORIENTATION"}),
        ([put(QOFFSET, "f", 0.09)], set()),
        ([put(QOFFSET, "f", 0.2)], {"F_NIFTI_FORMS_DISAGREE"}),
        ([put(QUATERN, "3f", 0, 0, 1)], {"F_NIFTI_FORMS_DISAGREE"}),  # half a turn about z: left is right
        ([put(PIXDIM, "f", -1.0)], {"F_NIFTI_FORMS_DISAGREE"}),
        ([put(QFORM_CODE, "h", 0), put(PIXDIM + 4, "f", 2.5)], {"F_NIFTI_SPACING_DIFFERS"}),
        ([put(UNITS, "B", 1)], {"F_NIFTI_SPACING_IMPLAUSIBLE"}),
        ([put(UNITS, "B", 8)], {"F_NIFTI_UNITS_UNKNOWN"}),
        ([put(UNITS, "B", 7)], {"F_NIFTI_UNITS_UNKNOWN"}),
        ([put(SFORM_CODE, "h", 4)], {"F_NIFTI_TEMPLATE_SPACE"}),
        ([put(SROW + 4, "f", 0.2), put(QFORM_CODE, "h", 0)], {"F_NIFTI_SHEARED"}),
        ([put(SLOPE, "ff", 0.0, 7.0)], set()),
        ([put(SLOPE, "ff", NAN, NAN)], {"F_NIFTI_SCALE_INVALID"}),
    ],
)
def test_what_is_odd_but_readable_is_flagged(tmp_path: Path, edits: list[Content], flags: set[str]) -> None:
    path = written(tmp_path, *edits)
    assert flags_of(path) == flags
    assert {flag.code for flag in find_nifti(path).flags} - {"F_NIFTI_MODALITY_UNKNOWN"} == flags
    assert sorted(read_nifti(path)[0].voxels.ravel().tolist()) == list(range(120))  # unscaled, none lost


def test_the_sform_wins_and_the_qform_serves_where_it_is_alone(tmp_path: Path) -> None:
    shifted = put(QOFFSET, "f", 50.0)
    assert read_nifti(written(tmp_path, shifted))[0].affine_lps[0, 3] == pytest.approx(-6)  # the last column, in LPS
    alone = read_nifti(written(tmp_path, shifted, put(SFORM_CODE, "h", 0)))[0]
    assert alone.affine_lps[0, 3] == pytest.approx(-56)


@pytest.mark.parametrize(("unit", "millimetres"), [(1, 2000.0), (2, 2.0), (3, 0.002)])
@pytest.mark.parametrize("code", [QFORM_CODE, SFORM_CODE], ids=["sform", "qform"])
def test_metres_and_micrometres_become_millimetres(tmp_path: Path, unit: int, millimetres: float, code: int) -> None:
    volume = read_nifti(written(tmp_path, put(UNITS, "B", unit), put(code, "h", 0), put(QOFFSET, "f", 0.0)))[0]
    assert volume.spacing_mm == pytest.approx((1.5 * millimetres, millimetres, millimetres))


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("modality", ["", "CT"])
def test_a_voxel_that_is_no_number_is_refused(tmp_path: Path, value: float, modality: str) -> None:
    path = written(tmp_path, put(352 + 4 * 60, "f", value), dtype="f4")
    assert refusal(path, modality=modality).code == "E_NIFTI_NOT_FINITE"


def test_a_ct_outside_16_bits_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, put(352, "i", 40_000), dtype="i4")
    assert read_nifti(path)[0].voxels.max() == 40_000
    assert refusal(path, modality="CT").code == "E_NIFTI_RANGE"


def test_a_number_that_no_volume_holds_is_refused(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, put(352, "q", 2**40), dtype="i8")).code == "E_NIFTI_RANGE"


def test_a_ct_without_air_is_flagged(tmp_path: Path) -> None:
    (volume,) = read_nifti(written(tmp_path), modality="CT")
    assert {flag.code for flag in volume.flags} == {"F_CT_HU_IMPLAUSIBLE"}


@pytest.mark.parametrize("length", [0, 1, 3, 4, 347, 348, 351, 352, 353, 591])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["nii", "nii.gz"])
def test_a_file_that_ends_early_is_refused(tmp_path: Path, length: int, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(pack(bytes(plain()[:length])))
    assert refusal(path).code == "E_NIFTI_TRUNCATED"


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["nii", "nii.gz"])
def test_bytes_after_the_last_voxel_are_refused(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(pack(bytes(plain()) + b"\0\0"))
    assert refusal(path).code == "E_NIFTI_SIZE"


@pytest.mark.parametrize("damage", ["cut", "flip", "garbage", "checksum"])
def test_a_damaged_gzip_stream_is_refused(tmp_path: Path, damage: str) -> None:
    packed = bytearray(gzip.compress(bytes(plain()), mtime=0))
    if damage == "cut":
        packed = packed[:-20]
    elif damage == "garbage":
        packed += b"other bytes"
    else:
        packed[len(packed) // 2 if damage == "flip" else -6] ^= 0xFF
    path = tmp_path / "a.nii.gz"
    path.write_bytes(packed)
    assert refusal(path).code in {"E_INFLATE_CORRUPT", "E_NIFTI_TRUNCATED"}


@pytest.mark.parametrize(
    ("sizes", "total", "code"),
    [
        ([16], 16, None),
        ([32, 16], 48, None),
        ([16, 0], 32, None),
        ([8], 16, "E_NIFTI_EXTENSION"),
        ([17], 32, "E_NIFTI_EXTENSION"),
        ([64], 32, "E_NIFTI_EXTENSION"),
        ([-16], 16, "E_NIFTI_EXTENSION"),
        ([16, 2**31 - 16], 48, "E_NIFTI_EXTENSION"),
    ],
)
def test_extensions_are_walked_over(tmp_path: Path, sizes: list[int], total: int, code: str | None) -> None:
    content = plain()
    chain, place = bytearray(total), 0
    for size in sizes:
        struct.pack_into("<ii", chain, place, size, 6)
        place += max(size, 0)
    content[348] = 1
    struct.pack_into("<f", content, VOX_OFFSET, 352 + total)
    path = tmp_path / "a.nii"
    path.write_bytes(content[:352] + chain + content[352:])
    if code:
        assert refusal(path).code == code
    else:
        assert read_nifti(path)[0].voxels.max() == 119


def bomb(path: Path, shape: tuple[int, ...], dtype: str = "<u1") -> Path:
    """A valid nii.gz of zeros, written without holding them."""
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_shape(shape)
    header.set_data_dtype(np.dtype(dtype))
    header.set_sform(EDGE, 1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    step = bytes(2**20)
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(int(np.prod(shape, dtype=np.int64)) // 2**20):
            file.write(step)
    return path


@pytest.mark.parametrize(
    "verdict", [lambda path: refusal(path).code, lambda path: find_nifti(path).flags[0].code], ids=["read", "find"]
)
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, verdict: Callable[[Path], str]) -> None:
    path = bomb(tmp_path / "a.nii.gz", (512, 512, 128))
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    start = time.process_time()
    code = verdict(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert code == "E_NIFTI_LIMIT"
    assert time.process_time() - start < 1.0
    assert peak < 8 * 2**20


def test_a_small_header_with_a_big_promise_costs_nothing(tmp_path: Path) -> None:
    huge = written(tmp_path, put(DIM, "4h", 3, 32767, 32767, 32767))
    assert refusal(huge).code == "E_NIFTI_LIMIT"
    packed = tmp_path / "b.nii.gz"
    packed.write_bytes(gzip.compress(huge.read_bytes()))
    assert refusal(packed).code == "E_NIFTI_LIMIT"


@pytest.mark.parametrize(
    ("limits", "fits"),
    [
        (replace(DEFAULT_LIMITS, decoded_bytes=240), True),
        (replace(DEFAULT_LIMITS, decoded_bytes=239), False),
        (replace(DEFAULT_LIMITS, file_bytes=592), True),
        (replace(DEFAULT_LIMITS, file_bytes=591), False),
    ],
)
def test_limits_hold_exactly(tmp_path: Path, limits: object, fits: bool) -> None:
    path = written(tmp_path)
    if fits:
        assert len(read_nifti(path, limits=limits)) == 1  # type: ignore[arg-type]
    else:
        assert refusal(path, limits=limits).code == "E_NIFTI_LIMIT"


def test_more_volumes_than_the_limit_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, put(DIM, "5h", 4, 1, 1, 1, 120))
    assert len(read_nifti(path)) == 120
    assert refusal(path, limits=replace(DEFAULT_LIMITS, frames=119)).code == "E_NIFTI_LIMIT"


@pytest.mark.parametrize("make", ["missing", "folder", "broken link", "empty", "text"])
def test_what_is_no_nifti_file_is_refused(tmp_path: Path, make: str) -> None:
    path = tmp_path / "a.nii"
    if make == "folder":
        path.mkdir()
    elif make == "broken link":
        path.symlink_to(tmp_path / "nowhere")
    elif make in {"empty", "text"}:
        path.write_bytes(b"a letter about somebody" * 40 if make == "text" else b"")
    expected = {"empty": "E_NIFTI_TRUNCATED", "text": "E_NIFTI_MAGIC"}.get(make, "E_INPUT_MISSING")
    assert refusal(path).code == expected
    with pytest.raises(InputError) as caught:
        find_nifti(path)
    assert caught.value.code == expected


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.chmod(0)
    assert refusal(path).code == "E_INPUT_UNREADABLE"


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path)
    judge = "medvox.data.nifti.judge_header"
    from medvox.data.nifti_header import judge_header

    def grow(content: bytes, name: str) -> object:
        os.utime(path, ns=(1, 1))
        return judge_header(content, name)

    monkeypatch.setattr(judge, grow)
    assert refusal(path).code == "E_NIFTI_CHANGED"


def test_mutated_files_never_raise_anything_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    seeds = [bytes(plain()), bytes(plain("f4")), bytes(plain("u1"))]
    path = tmp_path / "a.nii"
    outcomes = set()
    for number in range(500):
        content = bytearray(seeds[number % 3])
        for _ in range(int(rng.integers(1, 6))):
            place, length = int(rng.integers(0, 356)), int(rng.integers(1, 5))
            content[place : place + length] = rng.bytes(length if rng.random() < 0.9 else length - 1)
        path.write_bytes(content if number % 2 else gzip.compress(bytes(content), 1))
        try:
            (volume, *_) = read_nifti(path, modality="CT" if number % 5 == 0 else "")
            assert np.isfinite(volume.affine_lps).all()
            outcomes.add("read")
        except MedvoxError as error:
            outcomes.add(error.code)
    assert "read" in outcomes
    assert len(outcomes) > 8
