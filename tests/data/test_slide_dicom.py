"""DICOM slides, through OpenSlide and frame by frame. Oracles: the pixels that were written, and each other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from made_slides import Rgb, speckled, write_wsi
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian, JPEGBaseline8Bit, JPEGLSLossless

from medvox.data.limits import DEFAULT_LIMITS
from medvox.data.slide import Slide, open_slide
from medvox.data.slide_dicom import DicomPyramid, find_slide
from medvox.data.slide_openslide import OpenSlidePyramid
from medvox.errors import BudgetError, InputError, MedvoxError

WIDTH, HEIGHT = 70, 50  # 5 x 4 tiles of 16 px, the last ones cut


@pytest.fixture
def pixels() -> Rgb:
    return speckled(WIDTH, HEIGHT)


def whole(slide: Slide, level: int = 0) -> Rgb:
    return slide.read_region((0, 0), level, (slide.levels[level].width, slide.levels[level].height))


def frame_by_frame(path: Path, size_xy: tuple[int, int]) -> Rgb:
    """The corner of level 0 without OpenSlide."""
    with closing(DicomPyramid(find_slide(path, DEFAULT_LIMITS))) as pyramid:
        return pyramid.region((0, 0), 0, size_xy)


def refused(path: Path) -> MedvoxError:
    with pytest.raises(MedvoxError) as caught, open_slide(path) as slide:
        whole(slide)
    return caught.value


def part_of(number: int, first: int, stop: int) -> Callable[[Dataset], None]:
    """Make a file the part of a concatenation that holds some of the 20 frames."""

    def edit(dataset: Dataset) -> None:
        dataset.ConcatenationUID, dataset.InConcatenationNumber = "1.2.9", number
        dataset.ConcatenationFrameOffsetNumber, dataset.NumberOfFrames = first, stop - first
        dataset.PixelData = dataset.PixelData[first * 768 : stop * 768]

    return edit


def test_openslide_reads_what_it_can(tmp_path: Path, pixels: Rgb) -> None:
    with open_slide(write_wsi(tmp_path / "slide.dcm", pixels)) as slide:
        assert isinstance(slide.pyramid, OpenSlidePyramid)
        assert np.array_equal(whole(slide), pixels)
        assert (slide.vendor, slide.mpp_um, slide.objective_power) == ("dicom", pytest.approx(0.5), 20)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, ImplicitVRLittleEndian])
def test_what_openslide_refuses_is_read_frame_by_frame(tmp_path: Path, pixels: Rgb, syntax: pydicom.uid.UID) -> None:
    with open_slide(write_wsi(tmp_path / "slide.dcm", pixels, syntax=syntax)) as slide:
        assert isinstance(slide.pyramid, DicomPyramid)
        assert np.array_equal(whole(slide), pixels)
        assert np.array_equal(slide.read_region((13, 7), 0, (40, 30)), pixels[7:37, 13:53])


def test_both_ways_agree_on_a_real_slide(shared_data: Path) -> None:
    path = shared_data / "wsi" / "camelyon_multiframe.dcm"
    with open_slide(path) as slide:
        own = frame_by_frame(path, (1152, 700))
        assert isinstance(slide.pyramid, OpenSlidePyramid)
        assert np.abs(whole(slide).astype(int) - own).mean() < 1  # two JPEG decoders, chroma at half width


@pytest.mark.parametrize("name", ["sm_image_jpegls.dcm", "sm_image_jpegls_nobot.dcm"])
def test_real_jpeg_ls_slides_equal_the_uncompressed_one(
    shared_data: Path, unzip: Callable[[Path], Path], name: str
) -> None:
    folder = unzip(shared_data / "dicom_odd" / "highdicom.zip")
    with open_slide(folder / name) as packed, open_slide(folder / "sm_image.dcm") as plain:
        assert np.array_equal(whole(packed), whole(plain))


def test_a_jpeg_slide_is_read_in_rgb_both_ways(tmp_path: Path) -> None:
    flat = np.full((HEIGHT, WIDTH, 3), (200, 60, 120), np.uint8)
    path = write_wsi(tmp_path / "slide.dcm", flat, syntax=JPEGBaseline8Bit)
    own = frame_by_frame(path, (16, 16))
    with open_slide(path) as slide:
        for region in (own, slide.read_region((0, 0), 0, (16, 16))):
            assert np.abs(region.astype(int) - (200, 60, 120)).max() <= 3


def test_uncompressed_frames_stored_plane_by_plane_are_read(tmp_path: Path, pixels: Rgb) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.PlanarConfiguration = 1
        frames = np.frombuffer(dataset.PixelData, np.uint8).reshape(20, 16, 16, 3)
        dataset.PixelData = frames.transpose(0, 3, 1, 2).tobytes()

    path = write_wsi(tmp_path / "slide.dcm", pixels, edit=edit)
    assert np.array_equal(frame_by_frame(path, (WIDTH, HEIGHT)), pixels)


def test_uncompressed_grey_is_read_as_grey(tmp_path: Path, pixels: Rgb) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        del dataset.PlanarConfiguration
        dataset.PixelData = dataset.PixelData[::3]

    path = write_wsi(tmp_path / "slide.dcm", pixels, edit=edit)
    assert np.array_equal(frame_by_frame(path, (WIDTH, HEIGHT)), pixels[:, :, :1].repeat(3, axis=2))


@pytest.mark.parametrize("own", [False, True])
def test_tiles_that_a_sparse_slide_leaves_out_are_white(tmp_path: Path, pixels: Rgb, own: bool) -> None:
    shown = [19, 3, 0, 7, 12]
    syntax = JPEGLSLossless if own else pydicom.uid.ExplicitVRLittleEndian
    expected = np.full_like(pixels, 255)
    for index in shown:
        y, x = 16 * (index // 5), 16 * (index % 5)
        expected[y : y + 16, x : x + 16] = pixels[y : y + 16, x : x + 16]
    with open_slide(write_wsi(tmp_path / "slide.dcm", pixels, syntax=syntax, sparse=shown)) as slide:
        assert isinstance(slide.pyramid, DicomPyramid if own else OpenSlidePyramid)
        assert np.array_equal(whole(slide), expected)


@pytest.mark.parametrize("own", [False, True])
def test_the_levels_of_a_folder_form_one_slide(tmp_path: Path, pixels: Rgb, own: bool) -> None:
    syntax = JPEGLSLossless if own else pydicom.uid.ExplicitVRLittleEndian
    low = speckled(35, 25, seed=1)
    write_wsi(tmp_path / "a_low.dcm", low, syntax=syntax, mpp_um=1.0)
    write_wsi(tmp_path / "b_high.dcm", pixels, syntax=syntax)
    (tmp_path / "notes.txt").write_text("not DICOM")
    for path in (tmp_path, tmp_path / "a_low.dcm", tmp_path / "b_high.dcm"):
        with open_slide(path) as slide:
            assert [(level.width, level.downsample) for level in slide.levels] == [(70, 1.0), (35, 2.0)]
            assert slide.mpp_um == pytest.approx(0.5)
            assert np.array_equal(whole(slide, 0), pixels)
            assert np.array_equal(whole(slide, 1), low)
            assert sorted(source.name for source in slide.sources) == ["a_low.dcm", "b_high.dcm"]


def test_the_parts_of_a_concatenation_form_one_level(tmp_path: Path, pixels: Rgb) -> None:
    write_wsi(tmp_path / "2.dcm", pixels, edit=part_of(2, 12, 20))
    write_wsi(tmp_path / "1.dcm", pixels, edit=part_of(1, 0, 12))
    with open_slide(tmp_path) as slide:
        assert len(slide.levels) == 1
        assert np.array_equal(whole(slide), pixels)
    assert np.array_equal(frame_by_frame(tmp_path, (WIDTH, HEIGHT)), pixels)


def test_a_missing_part_of_a_concatenation_is_refused(tmp_path: Path, pixels: Rgb) -> None:
    write_wsi(tmp_path / "1.dcm", pixels, edit=part_of(1, 0, 8))
    write_wsi(tmp_path / "3.dcm", pixels, edit=part_of(3, 12, 20))
    error = refused(tmp_path)
    assert (error.code, "frames 9 to 12" in error.message) == ("E_SLIDE_UNREADABLE", True)


def test_the_named_file_wins_over_its_twin_and_this_is_flagged(tmp_path: Path, pixels: Rgb) -> None:
    write_wsi(tmp_path / "a.dcm", speckled(WIDTH, HEIGHT, seed=9))
    with open_slide(write_wsi(tmp_path / "b.dcm", pixels)) as slide:
        assert np.array_equal(whole(slide), pixels)
        assert [flag.code for flag in slide.flags] == ["F_SLIDE_TWINS"]


def test_a_folder_with_two_levels_of_one_size_is_refused(tmp_path: Path, pixels: Rgb) -> None:
    write_wsi(tmp_path / "a.dcm", pixels)
    write_wsi(tmp_path / "b.dcm", pixels)
    assert refused(tmp_path).code == "E_SLIDE_FORMAT"


def test_a_folder_with_two_slides_is_refused(tmp_path: Path, pixels: Rgb) -> None:
    write_wsi(tmp_path / "a.dcm", pixels)
    write_wsi(tmp_path / "b.dcm", pixels, edit=lambda dataset: setattr(dataset, "SeriesInstanceUID", "1.2.4"))
    assert refused(tmp_path).code == "E_SLIDE_FORMAT"


def test_a_file_of_another_series_beside_is_no_level(tmp_path: Path, pixels: Rgb) -> None:
    write_wsi(tmp_path / "b.dcm", pixels[:25], edit=lambda dataset: setattr(dataset, "SeriesInstanceUID", "1.2.4"))
    with open_slide(write_wsi(tmp_path / "a.dcm", pixels)) as slide:
        assert len(slide.levels) == 1


def set_kind(kind: str) -> Callable[[Dataset], None]:
    return lambda dataset: setattr(dataset, "ImageType", ["ORIGINAL", "PRIMARY", kind, "NONE"])


def test_the_label_is_listed_and_flagged_but_is_no_level(tmp_path: Path, pixels: Rgb) -> None:
    write_wsi(tmp_path / "label.dcm", pixels[:20, :20], edit=set_kind("LABEL"))
    write_wsi(tmp_path / "slide.dcm", pixels)
    with open_slide(tmp_path) as slide:
        assert (len(slide.levels), slide.associated) == (1, ("label",))
        assert [flag.code for flag in slide.flags] == ["F_SLIDE_LABEL"]


def test_a_label_alone_is_refused(tmp_path: Path, pixels: Rgb) -> None:
    assert refused(write_wsi(tmp_path / "label.dcm", pixels, edit=set_kind("LABEL"))).code == "E_SLIDE_FORMAT"


def test_a_level_that_shows_the_label_is_flagged(tmp_path: Path, pixels: Rgb) -> None:
    edit: Callable[[Dataset], None] = lambda dataset: setattr(dataset, "SpecimenLabelInImage", "YES")  # noqa: E731
    with open_slide(write_wsi(tmp_path / "slide.dcm", pixels, edit=edit)) as slide:
        assert [flag.code for flag in slide.flags] == ["F_SLIDE_LABEL_IN_IMAGE"]


def test_a_folder_of_too_many_files_is_refused_not_cut(tmp_path: Path, pixels: Rgb) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("beside")
    write_wsi(tmp_path / "slide.dcm", pixels)
    for path in (tmp_path, tmp_path / "slide.dcm"):
        open_slide(path, limits=replace(DEFAULT_LIMITS, files=4)).close()
        with pytest.raises(BudgetError) as caught:
            open_slide(path, limits=replace(DEFAULT_LIMITS, files=3))
        assert caught.value.code == "E_SLIDE_LIMIT"


@pytest.mark.parametrize(
    ("keyword", "value", "code"),
    [
        ("SOPClassUID", CTImageStorage, "E_SLIDE_FORMAT"),
        ("BitsAllocated", 16, "E_SLIDE_FORMAT"),
        ("PhotometricInterpretation", "PALETTE COLOR", "E_SLIDE_FORMAT"),
        ("TotalPixelMatrixFocalPlanes", 3, "E_SLIDE_FORMAT"),
        ("NumberOfOpticalPaths", 4, "E_SLIDE_FORMAT"),
        ("TotalPixelMatrixColumns", 0, "E_SLIDE_FORMAT"),
        ("TotalPixelMatrixColumns", 1_000_000, "E_SLIDE_UNREADABLE"),
        ("TotalPixelMatrixColumns", 2**31, "E_SLIDE_LIMIT"),
        ("NumberOfFrames", 19, "E_SLIDE_UNREADABLE"),
        ("NumberOfFrames", 21, "E_SLIDE_UNREADABLE"),
        ("NumberOfFrames", 2**30, "E_SLIDE_UNREADABLE"),
        ("Rows", 0, "E_SLIDE_FORMAT"),
    ],
)
def test_headers_that_cannot_be_trusted_are_refused(
    tmp_path: Path, pixels: Rgb, keyword: str, value: object, code: str
) -> None:
    path = write_wsi(tmp_path / "slide.dcm", pixels, edit=lambda dataset: setattr(dataset, keyword, value))
    assert refused(path).code == code


def test_a_giant_tile_is_refused(tmp_path: Path, pixels: Rgb) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.Rows = dataset.Columns = dataset.TotalPixelMatrixRows = dataset.TotalPixelMatrixColumns = 60_000
        dataset.NumberOfFrames = 1

    assert refused(write_wsi(tmp_path / "slide.dcm", pixels, edit=edit)).code == "E_SLIDE_LIMIT"


def test_sparse_tiles_off_the_grid_are_refused(tmp_path: Path, pixels: Rgb) -> None:
    def edit(dataset: Dataset) -> None:
        frame = dataset.PerFrameFunctionalGroupsSequence[1]
        frame.PlanePositionSlideSequence[0].ColumnPositionInTotalImagePixelMatrix = 6

    path = write_wsi(tmp_path / "slide.dcm", pixels, sparse=[0, 1], syntax=JPEGLSLossless, edit=edit)
    assert refused(path).code == "E_SLIDE_FORMAT"


def test_sparse_tiles_without_positions_are_refused(tmp_path: Path, pixels: Rgb) -> None:
    def edit(dataset: Dataset) -> None:
        del dataset.PerFrameFunctionalGroupsSequence[1]

    path = write_wsi(tmp_path / "slide.dcm", pixels, sparse=[0, 1, 2], edit=edit)
    assert refused(path).code == "E_SLIDE_UNREADABLE"


@pytest.mark.parametrize("syntax", [JPEGLSLossless, ImplicitVRLittleEndian])
def test_a_truncated_file_is_refused(tmp_path: Path, pixels: Rgb, syntax: pydicom.uid.UID) -> None:
    path = write_wsi(tmp_path / "slide.dcm", pixels, syntax=syntax)
    path.write_bytes(path.read_bytes()[:-2000])
    assert refused(path).code == "E_SLIDE_UNREADABLE"


def test_a_damaged_frame_is_refused(tmp_path: Path, pixels: Rgb) -> None:
    path = write_wsi(tmp_path / "slide.dcm", pixels, syntax=JPEGLSLossless)
    content = bytearray(path.read_bytes())
    content[-3000:-2000] = bytes(1000)
    path.write_bytes(content)
    assert refused(path).code == "E_SLIDE_UNREADABLE"


def test_a_frame_that_announces_another_size_is_refused_before_it_is_decoded(tmp_path: Path, pixels: Rgb) -> None:
    path = write_wsi(tmp_path / "slide.dcm", pixels, syntax=JPEGLSLossless)
    start_of_frame = bytes.fromhex("fff7001108")
    content = path.read_bytes()
    assert content.count(start_of_frame) == 20
    path.write_bytes(content.replace(start_of_frame + b"\0\x10\0\x10", start_of_frame + b"\xff\xff\xff\xff"))
    error = refused(path)
    assert (error.code, "65535 x 65535" in error.message) == ("E_SLIDE_UNREADABLE", True)


def test_a_transfer_syntax_without_decoder_is_refused(tmp_path: Path, pixels: Rgb) -> None:
    path = write_wsi(tmp_path / "slide.dcm", pixels, syntax=JPEGLSLossless)
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.95"))
    assert refused(path).code == "E_SLIDE_FORMAT"


def test_mutated_files_raise_nothing_but_typed_errors_without_patient_text(tmp_path: Path, pixels: Rgb) -> None:
    seeds = [write_wsi(tmp_path / "ls.dcm", pixels, syntax=JPEGLSLossless, sparse=[0, 3, 7]).read_bytes()]
    seeds.append(write_wsi(tmp_path / "plain.dcm", pixels).read_bytes())
    rng, target = np.random.default_rng(8), tmp_path / "alone" / "mutant.dcm"
    target.parent.mkdir()
    outcomes = set()
    for number in range(150):
        mutant = bytearray(seeds[number % 2])
        for _ in range(rng.integers(1, 8)):
            mutant[rng.integers(132, min(len(mutant), 1600))] = rng.integers(256)
        target.write_bytes(mutant)
        try:
            with open_slide(target) as slide:
                slide.overview(64)
            outcomes.add("read")
        except MedvoxError as error:
            outcomes |= {type(error), "SECRET" in error.message}
    assert {"read", InputError, False} <= outcomes
    assert True not in outcomes
