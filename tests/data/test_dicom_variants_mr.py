"""MR series, classic and enhanced, that are dangerous or only look odd: each with its verdict and its code."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_variants import Variant, accept, flagged, ids, judged, refuse
from made_series import Edit, WriteCt, as_mr, both, enhanced_mr, item, repeated, setting, written
from pydicom import Dataset

CAPTURE, NAN = "1.2.840.10008.5.1.4.1.1.7", "NaN"

MR = [
    accept("as it is"),
    accept("identity rescale", setting(RescaleSlope=1, RescaleIntercept=0)),
    accept(
        "capture without a place", setting(SOPClassUID=CAPTURE, ImageOrientationPatient=None, ImagePositionPatient=None)
    ),
    accept("over time", repeated(3, TemporalPositionIdentifier=lambda n: n + 1), slices=6),
    accept("weighted", repeated(3, DiffusionBValue=lambda n: 1000.0 * n), slices=6),
    accept("acquired twice", repeated(3, AcquisitionNumber=lambda n: n), slices=6),
    accept("triggered", repeated(3, TriggerTime=lambda n: 40 * n), slices=6),
    accept("two times of content", repeated(3, ContentTime=lambda n: f"12000{n}"), slices=6),
    flagged("told apart by number", "F_DICOM_VOLUMES_BY_NUMBER", repeated(3), slices=6),
    flagged("two echoes", "F_DICOM_SPLIT", repeated(3, EchoTime=lambda n: 5 + n), slices=6),
    flagged(
        "magnitude and phase",
        "F_DICOM_SPLIT",
        repeated(3, ImageType=lambda n: ["ORIGINAL", "PRIMARY", "MP"[n]]),
        slices=6,
    ),
    flagged(
        "water and fat",
        "F_DICOM_SPLIT",
        repeated(3, ImageType=lambda n: ["DERIVED", "PRIMARY", "WF"[n]]),
        slices=6,
    ),
    flagged("capture with a place", "F_DICOM_SECONDARY_CAPTURE", setting(SOPClassUID=CAPTURE)),
    refuse("not numbered and twice", "E_DICOM_SLICE_DUPLICATE", repeated(3, InstanceNumber=lambda n: 1), slices=6),
    refuse("a time cut short", "E_DICOM_SLICE_DUPLICATE", repeated(3, TemporalPositionIdentifier=lambda n: n + 1)),
    refuse("slope 0", "E_DICOM_RESCALE_INVALID", setting(RescaleSlope=0, RescaleIntercept=0)),
    refuse("slope not a number", "E_DICOM_RESCALE_INVALID", setting(RescaleSlope=NAN, RescaleIntercept=0)),
    refuse("slope alone", "E_DICOM_RESCALE_MISSING", setting(RescaleSlope=2)),
    refuse("colour", "E_DICOM_COLOUR", setting(PhotometricInterpretation="RGB", SamplesPerPixel=3)),
    refuse("mosaic of unknown count", "E_DICOM_MOSAIC", setting(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])),
    refuse(
        "PET without rescale",
        "E_DICOM_RESCALE_MISSING",
        setting(Modality="PT", SOPClassUID="1.2.840.10008.5.1.4.1.1.128"),
    ),
]


def on_frame(chosen: int, sequence: str, **elements: object) -> Edit:
    def edit(dataset: Dataset, number: int) -> None:
        frame = dataset.PerFrameFunctionalGroupsSequence[chosen]
        if elements:
            setattr(frame, sequence, item(**elements))
        else:
            delattr(frame, sequence)

    return edit


def shared(sequence: str, **elements: object) -> Edit:
    def edit(dataset: Dataset, number: int) -> None:
        groups = dataset.SharedFunctionalGroupsSequence[0]
        if elements:
            setattr(groups, sequence, item(**elements))
        else:
            delattr(groups, sequence)

    return edit


def one_description_less(dataset: Dataset, number: int) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[-1]


def rescaled_each(dataset: Dataset, number: int) -> None:
    for frame, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        groups.PixelValueTransformationSequence = item(RescaleSlope=1 + frame, RescaleIntercept=0, RescaleType="US")


def claimed_ct(dataset: Dataset, number: int) -> None:
    dataset.Modality, dataset.SOPClassUID = "CT", "1.2.840.10008.5.1.4.1.1.2.1"


def one_frame_short(dataset: Dataset, number: int) -> None:
    dataset.PixelData = dataset.PixelData[: -2 * dataset.Rows * dataset.Columns]


ENHANCED = [
    accept("as it is"),
    accept("a slope for each frame", rescaled_each),
    flagged(
        "real world values",
        "F_DICOM_REAL_WORLD_VALUES",
        shared("RealWorldValueMappingSequence", RealWorldValueSlope=0.5, RealWorldValueIntercept=-1.0),
    ),
    refuse("no shared orientation", "E_DICOM_ORIENTATION_MISSING", shared("PlaneOrientationSequence")),
    refuse("no pixel measures", "E_DICOM_SPACING_MISSING", shared("PixelMeasuresSequence")),
    refuse("a frame without place", "E_DICOM_POSITION_MISSING", on_frame(2, "PlanePositionSequence")),
    refuse(
        "a place that is no number",
        "E_DICOM_POSITION_MISSING",
        on_frame(2, "PlanePositionSequence", ImagePositionPatient=[0, 0, NAN]),
    ),
    refuse(
        "a degenerate frame",
        "E_DICOM_ORIENTATION_INVALID",
        on_frame(2, "PlaneOrientationSequence", ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
    ),
    refuse(
        "a place twice",
        "E_DICOM_SLICE_DUPLICATE",
        on_frame(2, "PlanePositionSequence", ImagePositionPatient=[-10, -20, 32]),
    ),
    refuse(
        "a hole",
        "E_DICOM_SLICE_MISSING",
        on_frame(4, "PlanePositionSequence", ImagePositionPatient=[-10, -20, 40]),
    ),
    refuse("a description too few", "E_DICOM_FRAMES", one_description_less),
    refuse("no descriptions", "E_DICOM_FRAMES", setting(PerFrameFunctionalGroupsSequence=None)),
    refuse("no frames", "E_DICOM_FRAMES", setting(NumberOfFrames=0)),
    refuse("frames below zero", "E_DICOM_FRAMES", setting(NumberOfFrames=-5)),
    refuse("frames beyond reason", "E_DICOM_FRAMES", setting(NumberOfFrames=2**31 - 1)),
    refuse("a frame short of pixels", "E_DICOM_TRUNCATED", one_frame_short),
    refuse("CT without rescale", "E_DICOM_RESCALE_MISSING", claimed_ct),
    refuse(
        "slope 0",
        "E_DICOM_RESCALE_INVALID",
        on_frame(1, "PixelValueTransformationSequence", RescaleSlope=0, RescaleIntercept=0),
    ),
]


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns while the broken file is written


@pytest.mark.parametrize("variant", MR, ids=ids(MR))
def test_mr(write_ct: WriteCt, variant: Variant) -> None:
    files = write_ct(variant.slices, edit=both(as_mr, variant.edit), shape=variant.shape)

    judged(variant, files[0].parent)


@pytest.mark.parametrize("variant", ENHANCED, ids=ids(ENHANCED))
def test_enhanced(tmp_path: Path, variant: Variant) -> None:
    dataset = enhanced_mr()
    variant.edit(dataset, 0)

    judged(variant, written(dataset, tmp_path / "enhanced" / "one.dcm").parent)
