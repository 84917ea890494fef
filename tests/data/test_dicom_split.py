"""What of one SeriesInstanceUID forms one grid, and what repeats it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_series import WriteCt, as_mr, both, codes, enhanced_mr, only_series, repeated, setting, written
from pydicom import Dataset, dcmread

from medvox.data.dicom import choose_series, find_study, read_volume, read_volumes
from medvox.errors import InputError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns while odd files are written

# parts


def test_parts_are_numbered_and_named(write_ct: WriteCt) -> None:
    files = write_ct(6, edit=both(as_mr, repeated(3, EchoTime=lambda n: 5 + n)))
    first, second = find_study(files[0].parent).series

    assert (first.key, second.key) == ("1.2.3.4#1", "1.2.3.4#2")
    assert (first.parts, second.files) == (2, tuple(files[3:]))
    assert first.flags[0].text.endswith("which differ in echo time")


def test_a_part_can_be_chosen_by_its_key(write_ct: WriteCt) -> None:
    files = write_ct(6, edit=both(as_mr, repeated(3, EchoTime=lambda n: 5 + n)))
    study = find_study(files[0].parent)

    assert choose_series(study, "1.2.3.4#2")[0].files == tuple(files[3:])
    with pytest.raises(UsageError, match=r"1\.2\.3\.4#1 .*; 1\.2\.3\.4#2 ") as caught:
        choose_series(study, "1.2.3.4")
    assert caught.value.code == "E_SERIES_CHOICE"
    with pytest.raises(UsageError) as caught:
        choose_series(study, "1.2.3.4#3")
    assert caught.value.code == "E_SERIES_UNKNOWN"


def test_directions_that_differ_by_rounding_stay_together(write_ct: WriteCt) -> None:
    def jitter(dataset: Dataset, number: int) -> None:
        dataset.ImageOrientationPatient = [1, 0, 4e-4 * number, 0, 1, 0]

    assert len(find_study(write_ct(3, edit=jitter)[0].parent).series) == 1


def test_acquisitions_that_overlap_are_parts(write_ct: WriteCt) -> None:
    def two(dataset: Dataset, number: int) -> None:
        dataset.AcquisitionNumber = 1 + number // 4
        dataset.ImagePositionPatient = [0, 0, [0, 2, 4, 6, 6, 8, 10][number]]

    first, second = find_study(write_ct(7, edit=two)[0].parent).series
    assert (first.shape[0], second.shape[0]) == (4, 3)
    assert "acquisition" in first.flags[0].text


def test_image_types_that_fill_the_same_places_are_parts(write_ct: WriteCt) -> None:
    def two(dataset: Dataset, number: int) -> None:
        repeated(3)(dataset, number)
        dataset.ImageType = ["DERIVED", "PRIMARY", "MIP" if number < 3 else "AVERAGE"]

    series = find_study(write_ct(6, edit=two)[0].parent).series
    assert [item.shape[0] for item in series] == [3, 3]


def test_image_types_that_continue_each_other_are_one_part(write_ct: WriteCt) -> None:
    def two(dataset: Dataset, number: int) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "A" if number < 3 else "B"]

    assert len(find_study(write_ct(6, edit=two)[0].parent).series) == 1


def test_pictures_beside_slices_are_a_part_of_their_own(write_ct: WriteCt) -> None:
    def capture(dataset: Dataset, number: int) -> None:
        if number == 4:
            dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
            del dataset.ImagePositionPatient, dataset.ImageOrientationPatient

    study = find_study(write_ct(5, edit=capture)[0].parent)
    assert [(item.kind, item.shape[0]) for item in study.series] == [("volume", 4), ("pictures", 1)]
    assert choose_series(study)[0].kind == "volume"


KINDS = {
    "1.2.840.10008.5.1.4.1.1.1": "pictures",  # computed radiography
    "1.2.840.10008.5.1.4.1.1.1.2": "pictures",  # mammography
    "1.2.840.10008.5.1.4.1.1.6.1": "pictures",  # ultrasound
    "1.2.840.10008.5.1.4.1.1.12.1": "pictures",  # angiography
    "1.2.840.10008.5.1.4.1.1.77.1.1": "pictures",  # endoscopy
    "1.2.840.10008.5.1.4.1.1.77.1.6": "slide",
    "1.2.840.10008.5.1.4.1.1.66.4": "other",  # segmentation
    "1.2.840.10008.5.1.4.1.1.481.2": "other",  # dose
    "1.2.840.10008.5.1.4.1.1.104.1": "document",
}


@pytest.mark.parametrize("uid", KINDS)
def test_other_objects_are_recognised_and_no_volumes(write_ct: WriteCt, uid: str) -> None:
    series = only_series(write_ct(1, edit=setting(SOPClassUID=uid, Modality="OT")))

    assert series.kind == KINDS[uid]
    with pytest.raises(InputError) as caught:
        read_volume(series)
    assert caught.value.code == ("E_DICOM_NOT_READ" if series.kind == "other" else "E_SERIES_KIND")


# volumes


def test_volumes_over_time_are_in_order_with_their_own_voxels(write_ct: WriteCt) -> None:
    def backwards(dataset: Dataset, number: int) -> None:
        repeated(3, TemporalPositionIdentifier=lambda n: 2 - n)(dataset, number)

    files = write_ct(6, edit=both(as_mr, backwards))
    series = only_series(files)
    first, second = read_volumes(series)

    assert (series.volumes, series.shape, first.moment, second.moment) == (2, (3, 6, 4), "time 1", "time 2")
    assert (first.voxels == np.stack([dcmread(file).pixel_array for file in files[3:]])).all()
    assert (second.voxels == np.stack([dcmread(file).pixel_array for file in files[:3]])).all()
    assert [source.name for source in first.sources] == [file.name for file in files[3:]]


def test_one_volume_cannot_be_read_from_several(write_ct: WriteCt) -> None:
    series = only_series(write_ct(6, edit=both(as_mr, repeated(3, TriggerTime=lambda n: n))))

    with pytest.raises(InputError) as caught:
        read_volume(series)
    assert caught.value.code == "E_SERIES_4D"


def test_diffusion_weightings_name_the_volumes(write_ct: WriteCt) -> None:
    series = only_series(write_ct(6, edit=both(as_mr, repeated(3, DiffusionBValue=lambda n: 800.0 * n))))

    assert [volume.moment for volume in read_volumes(series)] == ["b 0", "b 800"]


def test_weightings_in_any_order_are_sorted_out(write_ct: WriteCt) -> None:
    """At every second place the weighted slice comes first; a volume still has one weighting."""

    def mixed(dataset: Dataset, number: int) -> None:
        repeated(4)(dataset, number)
        dataset.DiffusionBValue = 1000.0 * ((number // 4 + number) % 2)

    files = write_ct(8, edit=both(as_mr, mixed))
    for volume in read_volumes(only_series(files)):
        values = {dcmread(files[0].with_name(source.name)).DiffusionBValue for source in volume.sources}
        assert len(values) == 1


def test_contrast_phases_of_a_ct_are_volumes(write_ct: WriteCt) -> None:
    series = only_series(write_ct(6, edit=repeated(3, AcquisitionNumber=lambda n: n + 1)))

    assert [volume.moment for volume in read_volumes(series)] == ["acquisition 1", "acquisition 2"]


def test_a_stated_number_of_times_explains_repetition(write_ct: WriteCt) -> None:
    files = write_ct(6, edit=both(as_mr, repeated(3), setting(NumberOfTemporalPositions=2)))

    assert (only_series(files).volumes, only_series(files).verdict) == (2, "accept")


def test_different_sets_of_weightings_at_different_places_are_refused(write_ct: WriteCt) -> None:
    def uneven(dataset: Dataset, number: int) -> None:
        repeated(3, TemporalPositionIdentifier=lambda n: n + 1)(dataset, number)
        if number == 5:
            dataset.TemporalPositionIdentifier = 1
            dataset.InstanceNumber = 3

    assert codes(only_series(write_ct(6, edit=both(as_mr, uneven)))) == {"E_DICOM_SLICE_DUPLICATE"}


# enhanced


def test_frames_are_slices(tmp_path: Path) -> None:
    dataset = enhanced_mr(5)
    volume = read_volume(find_study(written(dataset, tmp_path / "one.dcm")).series[0])

    assert (volume.voxels == dataset.pixel_array).all()
    np.testing.assert_allclose(volume.affine_lps @ [1, 2, 3, 1], [-10 + 3 * 0.8, -20 + 2 * 0.5, 32, 1])
    assert len(volume.sources) == 1


def test_frames_over_time_and_echo_are_parts_and_volumes(tmp_path: Path) -> None:
    dataset = enhanced_mr(3, times=2, echoes=(5.0, 9.0))
    pixels = dataset.pixel_array.reshape(2, 2, 3, 6, 4)  # time, echo, slice
    series = find_study(written(dataset, tmp_path / "one.dcm")).series

    assert [(item.shape, item.volumes) for item in series] == [((3, 6, 4), 2)] * 2
    for echo, item in enumerate(series):
        assert all((volume.voxels == pixels[time, echo]).all() for time, volume in enumerate(read_volumes(item)))


def test_parts_of_one_file_are_read_apart(tmp_path: Path) -> None:
    """Both parts name the same file; each gives its own frames."""
    series = find_study(written(enhanced_mr(3, echoes=(5.0, 9.0)), tmp_path / "one.dcm")).series
    first, second = (read_volume(item) for item in series)

    assert series[0].files == series[1].files
    assert (first.voxels != second.voxels).any()
