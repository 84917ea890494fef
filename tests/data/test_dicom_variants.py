"""Series that parse but are dangerous, next to harmless ones that look odd: each with its verdict and its code."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_variants import VERDICTS, Variant, accept, flagged, ids, judged, refuse
from made_series import Edit, WriteCt, on_slice, repeated, setting
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

CAPTURE, NAN = "1.2.840.10008.5.1.4.1.1.7", "NaN"


# edits


def words(change: Callable[[np.ndarray], np.ndarray], **elements: object) -> Edit:
    """An edit of the stored 16-bit words, and of elements."""

    def edit(dataset: Dataset, number: int) -> None:
        dataset.PixelData = change(np.frombuffer(dataset.PixelData, "<u2").copy()).tobytes()
        setting(**elements)(dataset, number)

    return edit


def at_heights(*heights: float) -> Edit:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.ImagePositionPatient = [-10, -20, heights[number]]

    return edit


def numbered(*numbers: int) -> Edit:
    def edit(dataset: Dataset, number: int) -> None:
        dataset.InstanceNumber = numbers[number]

    return edit


def from_slice(first: int, edit: Edit) -> Edit:
    return lambda dataset, number: edit(dataset, number) if number >= first else None


def sagittal(dataset: Dataset, number: int) -> None:
    dataset.ImageOrientationPatient, dataset.ImagePositionPatient = [0, 1, 0, 0, 0, -1], [2 * number, 0, 0]


def big_endian(dataset: Dataset, number: int) -> None:
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset["PixelData"].VR = "OW"


def compressed(dataset: Dataset, number: int) -> None:
    dataset.compress(RLELossless, generate_instance_uid=False)


def smooth(dataset: Dataset, number: int) -> None:
    """A picture of 24 rows and 40 columns that runs smoothly, with its sides swapped in the header."""
    rows, columns = np.mgrid[:24, :40]
    picture = 500 * np.sin(rows / 6) + 500 * np.cos(columns / 9) + 1000
    picture[:2] = 0
    dataset.PixelData = picture.astype("<u2").tobytes()
    dataset.Rows, dataset.Columns = 40, 24


# changes of the files


def cut(lost_bytes: int) -> Callable[[list[Path]], None]:
    return lambda files: files[1].write_bytes(files[1].read_bytes()[:-lost_bytes]) and None


def named(syntax: str) -> Callable[[list[Path]], None]:
    """Say another transfer syntax than the one of the bytes."""

    def change(files: list[Path]) -> None:
        for file in files:
            content = file.read_bytes()
            at = content.index(b"1.2.840.10008.1.2.1\0")
            file.write_bytes(content[:at] + syntax.encode().ljust(20, b"\0") + content[at + 20 :])

    return change


def without_preamble(files: list[Path]) -> None:
    for file in files:
        file.write_bytes(file.read_bytes()[132:])


def copied(files: list[Path]) -> None:
    shutil.copy(files[2], files[2].with_name("copy.dcm"))


def damaged_at_the_end(files: list[Path]) -> None:
    files[4].write_bytes(files[4].read_bytes()[:400])


def lost(files: list[Path]) -> None:
    files[2].unlink()


CT = [
    accept("as it is"),
    accept("numbered backwards", numbered(5, 4, 3, 2, 1)),
    accept("numbered alike", numbered(1, 1, 1, 1, 1)),
    accept("numbered below zero", numbered(-3, -2, -1, 0, 1)),
    accept("not numbered", setting(InstanceNumber=None)),
    accept("from head to foot", at_heights(8, 6, 4, 2, 0)),
    accept("thick slices that overlap", setting(SliceThickness=5)),
    accept("thickness not a number", setting(SliceThickness=NAN)),
    accept(
        "an acquisition for each slice",
        lambda dataset, number: setting(AcquisitionNumber=number)(dataset, number),
    ),
    accept(
        "a slope for each slice",
        lambda dataset, number: setting(RescaleSlope=1 + number / 10)(dataset, number),
    ),
    accept("spacing twice as exact", on_slice(1, setting(PixelSpacing=[0.5001, 0.8]))),
    accept("localiser among the slices", on_slice(5, setting(ImageType="LOCALIZER")), slices=6),
    accept("big endian", big_endian),
    accept("implicit", lambda d, n: setattr(d.file_meta, "TransferSyntaxUID", ImplicitVRLittleEndian)),
    accept("compressed", compressed),
    accept("no preamble", after=without_preamble),
    accept(
        "prone as it must be",
        setting(PatientPosition="HFP", ImageOrientationPatient=[-1, 0, 0, 0, -1, 0]),
    ),
    flagged("named explicit, is implicit", "F_DICOM_SYNTAX_INFERRED", after=named(ImplicitVRLittleEndian)),
    flagged("one slice", "F_DICOM_SINGLE_SLICE", slices=1),
    flagged("a copy", "F_DICOM_COPIES_DROPPED", after=copied),
    flagged(
        "inverted display",
        "F_DICOM_MONOCHROME1",
        setting(PhotometricInterpretation="MONOCHROME1"),
    ),
    flagged("not in HU", "F_DICOM_NOT_HU", setting(RescaleType="US")),
    flagged("padding", "F_DICOM_PADDING", setting(PixelPaddingValue=2000)),
    flagged(
        "padding as if unsigned",
        "F_DICOM_PADDING",
        words(
            lambda stored: np.where(stored == 0, np.uint16(63536), stored),
            PixelRepresentation=1,
            BitsStored=16,
            HighBit=15,
            PixelPaddingValue=63536 - 65536,
        ),
    ),
    flagged("ten bits stored", "F_DICOM_STRAY_BITS", setting(BitsStored=10, HighBit=9)),
    flagged(
        "unsigned read as signed",
        "F_CT_HU_IMPLAUSIBLE",
        words(lambda stored: np.where(stored > 900, stored * 3, stored), PixelRepresentation=1),
    ),
    flagged(
        "signed read as unsigned",
        "F_DICOM_CLIPPED",
        words(
            lambda stored: (stored.astype(np.int16) - 1024).view(np.uint16),
            RescaleIntercept=0,
            BitsStored=16,
            HighBit=15,
        ),
    ),
    flagged("intercept 0", "F_CT_HU_IMPLAUSIBLE", setting(RescaleIntercept=0)),
    flagged("slope 40", "F_DICOM_CLIPPED", setting(RescaleSlope=40)),
    flagged("no series UID", "F_DICOM_UID_MISSING", setting(SeriesInstanceUID="")),
    flagged("no class", "F_DICOM_SOP_CLASS_MISSING", setting(SOPClassUID=None)),
    flagged("one instance UID for all", "F_DICOM_UID_DUPLICATE", setting(SOPInstanceUID="1.2")),
    flagged("uneven steps", "F_DICOM_SPACING_VARIES", at_heights(0, 2, 4, 7, 10)),
    flagged(
        "tilted",
        "F_DICOM_GANTRY_TILT",
        setting(ImageOrientationPatient=[1, 0, 0, 0, 0.978147601, -0.207911691]),
    ),
    flagged(
        "shifted sideways",
        "F_DICOM_SLICES_SHIFTED",
        on_slice(2, setting(ImagePositionPatient=[-6, -20, 34])),
    ),
    flagged("prone, but rows run to the back", "F_DICOM_PATIENT_POSITION", setting(PatientPosition="HFP")),
    flagged(
        "patient orientation swapped",
        "F_DICOM_PATIENT_POSITION",
        setting(PatientOrientation=["P", "L"]),
    ),
    flagged("rows and columns swapped", "F_DICOM_ROWS_COLUMNS", smooth, shape=(24, 40)),
    flagged(
        "a frame of reference for each slice",
        "F_DICOM_FRAME_OF_REFERENCE",
        lambda dataset, number: setting(FrameOfReferenceUID=f"1.{number}")(dataset, number),
    ),
    flagged("last file damaged", "F_DICOM_FILES_DAMAGED", after=damaged_at_the_end),
    flagged("spacing in metres", "F_DICOM_SPACING_IMPLAUSIBLE", setting(PixelSpacing=[0.0005, 0.0008])),
    flagged(
        "two orientations",
        "F_DICOM_SPLIT",
        from_slice(3, sagittal),
    ),
    flagged("two pixel spacings", "F_DICOM_SPLIT", from_slice(3, setting(PixelSpacing=[0.6, 0.8]))),
    flagged("two sizes", "F_DICOM_SPLIT", from_slice(3, setting(Rows=4, Columns=6))),
    flagged(
        "two frames of reference",
        "F_DICOM_SPLIT",
        from_slice(3, setting(FrameOfReferenceUID="1.9")),
    ),
    refuse("a size of its own in the middle", "E_DICOM_SLICE_MISSING", on_slice(2, setting(Rows=4, Columns=6))),
    refuse(
        "another plane in the middle",
        "E_DICOM_SLICE_MISSING",
        on_slice(2, setting(ImageOrientationPatient=[0, 1, 0, 0, 0, -1])),
    ),
    refuse("two patients", "E_DICOM_PATIENTS_MIXED", lambda d, n: setting(PatientID=f"{n // 3}")(d, n)),
    refuse("slope missing", "E_DICOM_RESCALE_MISSING", setting(RescaleSlope=None)),
    refuse("intercept missing", "E_DICOM_RESCALE_MISSING", setting(RescaleIntercept=None)),
    refuse("rescale missing", "E_DICOM_RESCALE_MISSING", setting(RescaleSlope=None, RescaleIntercept=None)),
    refuse("slope missing in one slice", "E_DICOM_RESCALE_MISSING", on_slice(3, setting(RescaleSlope=None))),
    refuse("slope 0", "E_DICOM_RESCALE_INVALID", setting(RescaleSlope=0)),
    refuse("slope not a number", "E_DICOM_RESCALE_INVALID", on_slice(1, setting(RescaleSlope=NAN))),
    refuse("slope infinite", "E_DICOM_RESCALE_INVALID", setting(RescaleSlope="inf")),
    refuse("intercept not a number", "E_DICOM_RESCALE_INVALID", setting(RescaleIntercept=NAN)),
    refuse("high bit at the top", "E_DICOM_PIXEL_FORMAT", setting(HighBit=15)),
    refuse("more bits stored than allocated", "E_DICOM_PIXEL_FORMAT", setting(BitsStored=17, HighBit=16)),
    refuse(
        "32 bits allocated",
        "E_DICOM_PIXEL_FORMAT",
        setting(BitsAllocated=32, BitsStored=32, HighBit=31),
    ),
    refuse("eight bits", "E_DICOM_NOT_CT_IMAGE", setting(BitsAllocated=8, BitsStored=8, HighBit=7)),
    refuse("palette", "E_DICOM_NOT_CT_IMAGE", setting(PhotometricInterpretation="PALETTE COLOR")),
    refuse("colour", "E_DICOM_NOT_CT_IMAGE", setting(PhotometricInterpretation="RGB", SamplesPerPixel=3)),
    refuse("capture that claims to be CT", "E_DICOM_NOT_CT_IMAGE", setting(SOPClassUID=CAPTURE)),
    refuse("CT that claims to be MR", "E_DICOM_MODALITY", setting(Modality="MR")),
    refuse("no modality", "E_DICOM_MODALITY", setting(Modality=None)),
    refuse("spacing missing", "E_DICOM_SPACING_MISSING", setting(PixelSpacing=None)),
    refuse("spacing empty", "E_DICOM_SPACING_MISSING", setting(PixelSpacing="")),
    refuse("spacing 0", "E_DICOM_SPACING_INVALID", setting(PixelSpacing=[0, 0])),
    refuse("spacing below 0", "E_DICOM_SPACING_INVALID", setting(PixelSpacing=[-0.5, 0.5])),
    refuse("spacing not a number", "E_DICOM_SPACING_INVALID", setting(PixelSpacing=[NAN, 0.5])),
    refuse("spacing of three", "E_DICOM_SPACING_INVALID", setting(PixelSpacing=[0.5, 0.5, 2])),
    refuse("no thickness and one slice", "E_DICOM_SPACING_MISSING", setting(SliceThickness=None), slices=1),
    refuse("orientation missing", "E_DICOM_ORIENTATION_MISSING", setting(ImageOrientationPatient=None)),
    refuse(
        "orientation missing in the last slice",
        "E_DICOM_ORIENTATION_MISSING",
        on_slice(4, setting(ImageOrientationPatient=None)),
    ),
    refuse("orientation of zeros", "E_DICOM_ORIENTATION_INVALID", setting(ImageOrientationPatient=[0] * 6)),
    refuse(
        "one direction twice",
        "E_DICOM_ORIENTATION_INVALID",
        setting(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
    ),
    refuse(
        "directions not at right angles",
        "E_DICOM_ORIENTATION_INVALID",
        setting(ImageOrientationPatient=[1, 0, 0, 0.1, 1, 0]),
    ),
    refuse(
        "directions too long",
        "E_DICOM_ORIENTATION_INVALID",
        setting(ImageOrientationPatient=[2, 0, 0, 0, 2, 0]),
    ),
    refuse(
        "orientation not a number",
        "E_DICOM_ORIENTATION_INVALID",
        setting(ImageOrientationPatient=[NAN, 0, 0, 0, 1, 0]),
    ),
    refuse("position missing", "E_DICOM_POSITION_MISSING", on_slice(0, setting(ImagePositionPatient=None))),
    refuse(
        "position not a number",
        "E_DICOM_POSITION_MISSING",
        on_slice(2, setting(ImagePositionPatient=[0, 0, NAN])),
    ),
    refuse("a position beyond reason", "E_DICOM_POSITION_INVALID", at_heights(0, 2, 4, 6, 1e300)),
    refuse("all at one place", "E_DICOM_SLICE_DUPLICATE", setting(ImagePositionPatient=[0, 0, 0])),
    refuse("one place twice", "E_DICOM_SLICE_DUPLICATE", at_heights(0, 2, 4, 4, 6)),
    refuse("every place twice", "E_DICOM_SLICE_DUPLICATE", repeated(3), slices=6),
    refuse("a file lost", "E_DICOM_SLICE_MISSING", after=lost),
    refuse("a hole at the end", "E_DICOM_SLICE_MISSING", at_heights(0, 2, 4, 6, 10)),
    refuse("two frames in a file", "E_DICOM_FRAMES", setting(NumberOfFrames=2)),
    refuse("no frames in a file", "E_DICOM_FRAMES", setting(NumberOfFrames=0)),
    refuse("frames below zero", "E_DICOM_FRAMES", setting(NumberOfFrames=-1)),
    refuse("two bytes short", "E_DICOM_TRUNCATED", after=cut(2)),
    refuse("forty bytes short", "E_DICOM_TRUNCATED", after=cut(40)),
    refuse("odd pixel data", "E_DICOM_TRUNCATED", after=cut(1)),
    refuse("no pixel data", "E_DICOM_TRUNCATED", on_slice(1, setting(PixelData=None))),
    refuse("a row too many", "E_DICOM_TRUNCATED", setting(Rows=7)),
    refuse("a row too few", "E_DICOM_PIXEL_FORMAT", setting(Rows=5)),
    refuse("no rows", "E_DICOM_NOT_READ", setting(Rows=None)),
    refuse("compressed by name only", "E_DICOM_PIXEL_FORMAT", after=named(RLELossless)),
    refuse("an unknown transfer syntax", "E_DICOM_CODEC", after=named("1.2.840.10008.1.2.9")),
]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns while the broken file is written


@pytest.mark.parametrize("variant", CT, ids=ids(CT))
def test_ct(write_ct: WriteCt, variant: Variant) -> None:
    files = write_ct(variant.slices, edit=variant.edit, shape=variant.shape)
    variant.after(files)

    judged(variant, files[0].parent)


def test_there_are_enough_of_them() -> None:
    assert len(CT) >= 60
    assert min(len([one for one in CT if one.verdict == verdict]) for verdict in VERDICTS) >= 15


def test_a_plain_parser_takes_most_of_what_is_refused_here(write_ct: WriteCt) -> None:
    """The reason for this table: parsing and decoding alone do not tell."""
    taken = 0
    refused = [one for one in CT if one.verdict == "refuse"]
    for number, variant in enumerate(refused):
        files = write_ct(variant.slices, edit=variant.edit, shape=variant.shape, folder=f"v{number}")
        variant.after(files)
        try:
            for file in files:
                if file.exists():
                    assert dcmread(file).pixel_array.size
            taken += 1
        except Exception:  # whatever the parser raises
            continue
    assert taken > len(refused) / 2
