"""PS3.15 Annex E on planted data sets. The oracle is the raw output: it is searched for every planted value."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from planted_dicom import planted_dataset, stored
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage

from medvox.data import deidentify_profile as profile
from medvox.data.deidentify import Options, deidentify, file_bytes, patient_identity, shifted_date
from medvox.data.pseudonyms import Pseudonyms
from medvox.errors import InputError

KEY = Pseudonyms(b"k" * 32)
TABLE = sorted(profile.BASIC)
# Sequences that the profile keeps with cleaned items: "X/Z/U*".
KEPT = {"ReferencedImageSequence", "SourceImageSequence"}


def cleaned_bytes(dataset: FileDataset, options: Options | None = None) -> bytes:
    return file_bytes(deidentify(dataset, options or Options(), KEY).dataset, dataset, "x.dcm")


def cleaned(dataset: Dataset, options: Options | None = None) -> FileDataset:
    source = stored(dataset)
    return dcmread(io.BytesIO(cleaned_bytes(source, options)))


def patient(**values: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3.4.5"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.4", "1.2.3.4.1"
    for keyword, value in ({"PatientName": "Zuleika^Dobson", "PatientID": "MRN-889911"} | values).items():
        setattr(dataset, keyword, value)
    return dataset


def names_left(options: Options) -> set[str]:
    """Keywords whose planted value is still in the bytes."""
    source, planted = planted_dataset(TABLE)
    result = cleaned_bytes(source, options)
    return {keyword for keyword, value in planted.items() if value.encode() in result}


def test_no_planted_value_of_the_table_survives_the_basic_profile() -> None:
    source, planted = planted_dataset(TABLE)
    assert len(planted) > 600
    before = io.BytesIO()
    source.save_as(before, enforce_file_format=True)
    assert all(value.encode() in before.getvalue() for value in planted.values())  # the search can fail
    assert names_left(Options()) == set()


def test_no_planted_value_survives_inside_a_sequence() -> None:
    inner, planted = planted_dataset(TABLE)
    outer = patient()
    item = Dataset()
    item.update({tag: inner[tag] for tag in inner.keys()})  # noqa: SIM118  # a Dataset iterates over elements
    outer.SharedFunctionalGroupsSequence = [item]
    result = cleaned_bytes(stored(outer))
    assert [keyword for keyword, value in planted.items() if value.encode() in result] == []


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (Options(keep_device=True), profile.DEVICE),
        (Options(keep_characteristics=True), profile.CHARACTERISTICS),
        (Options(keep_uids=True), profile.UIDS),
    ],
    ids=["device", "characteristics", "uids"],
)
def test_an_option_keeps_its_attributes_and_no_others(options: Options, kept: frozenset[int]) -> None:
    _, planted = planted_dataset(TABLE)
    texts = {word for word in planted if dictionary_VR(tag_for_keyword(word) or 0) != "SQ"}
    assert names_left(options) & texts == {word for word in texts if tag_for_keyword(word) in kept}


def test_full_dates_keeps_every_date_but_the_patients_own() -> None:
    _, planted = planted_dataset(TABLE)
    own = {"PatientBirthDate", "PatientBirthTime", "GPSTimeStamp"}
    temporal = {word for word in planted if dictionary_VR(tag_for_keyword(word) or 0) in ("DA", "DT", "TM")}
    extra = {"TimezoneOffsetFromUTC", "CertifiedTimestamp", "FrameOriginTimestamp"}
    assert names_left(Options(dates="keep")) == (temporal - own) | extra


@pytest.mark.parametrize(
    ("keyword", "action"),
    [
        ("PatientName", "Z"), ("PatientID", "Z/D"), ("PatientBirthDate", "Z"), ("AccessionNumber", "Z"),
        ("InstitutionName", "X/Z/D"), ("StudyInstanceUID", "U"), ("StudyDate", "Z"), ("SeriesDescription", "X"),
        ("ContentSequence", "D"), ("ReferencedImageSequence", "X/Z/U*"), ("PatientAddress", "X"),
        ("OperatorsName", "X/Z/D"), ("StationName", "X/Z/D"), ("ProtocolName", "X/D"), ("StudyID", "Z"),
        ("EncapsulatedDocument", "D"), ("OriginalAttributesSequence", "X"), ("IconImageSequence", "X"),
    ],
)  # fmt: skip
def test_the_table_says_what_the_standard_says(keyword: str, action: str) -> None:
    assert profile.BASIC[tag_for_keyword(keyword) or 0] == action


def test_private_attributes_are_removed() -> None:
    dataset = patient()
    dataset.private_block(0x0009, "ACME 1.0", create=True).add_new(1, "LO", "Zuleika private")
    result = cleaned(dataset)
    assert not [element for element in result.iterall() if element.tag.is_private]


def test_safe_private_keeps_the_listed_numbers_and_nothing_else() -> None:
    dataset = patient()
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "1000")
    block.add_new(0x08, "CS", "IMAGE NUM 4")
    result = cleaned(dataset, Options(keep_safe_private=True))
    values = [element.value for element in result if element.tag.is_private and not element.tag.is_private_creator]
    assert values == [1000]


def test_safe_private_believes_no_text_in_a_listed_place() -> None:
    dataset = patient()
    dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "LO", "Zuleika Dobson")
    assert not [tag for tag in cleaned(dataset, Options(keep_safe_private=True)).keys() if tag.is_private]  # noqa: SIM118


def test_curves_and_overlays_go() -> None:
    dataset = patient()
    dataset.add_new(0x60003000, "OW", b"\1\2\3\4")
    dataset.add_new(0x60004000, "LT", "Zuleika overlay")
    dataset.add_new(0x50000030, "SH", "Zuleika curve")
    assert not [tag for tag in cleaned(dataset).keys() if tag.group in (0x5000, 0x6000)]  # noqa: SIM118


def test_an_unknown_public_attribute_is_removed() -> None:
    dataset = patient()
    dataset.add_new(0x0010F00E, "LO", "Zuleika from the future")
    assert 0x0010F00E not in cleaned(dataset)


def test_uids_stay_consistent_across_files() -> None:
    first, second = patient(), patient()
    second.SOPInstanceUID = "1.2.3.4.6"
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, "1.2.3.4.5"
    second.ReferencedImageSequence = [item]
    one, other = cleaned(first), cleaned(second)
    reference = other.ReferencedImageSequence[0]
    assert (one.StudyInstanceUID, one.SOPInstanceUID) == (other.StudyInstanceUID, reference.ReferencedSOPInstanceUID)
    assert reference.ReferencedSOPClassUID == CTImageStorage
    assert one.SOPInstanceUID.startswith("2.25.")
    assert one.SOPInstanceUID.is_valid


def test_another_key_gives_other_uids() -> None:
    source = stored(patient())
    other = deidentify(source, Options(), Pseudonyms(b"o" * 32)).dataset
    assert other.StudyInstanceUID != deidentify(source, Options(), KEY).dataset.StudyInstanceUID


def test_the_file_meta_group_is_made_anew() -> None:
    source = stored(patient())
    content = cleaned_bytes(source)
    result = dcmread(io.BytesIO(content))
    assert content[:128] == bytes(128)
    assert "SourceApplicationEntityTitle" not in result.file_meta
    assert result.file_meta.MediaStorageSOPInstanceUID == result.SOPInstanceUID != source.SOPInstanceUID


def test_profile_and_options_are_recorded() -> None:
    result = cleaned(patient(), Options(dates="shift", keep_device=True))
    assert result.PatientIdentityRemoved == "YES"
    assert [item.CodeValue for item in result.DeidentificationMethodCodeSequence] == ["113100", "113107", "113109"]
    assert result.LongitudinalTemporalInformationModified == "MODIFIED"


def test_identity_is_not_called_removed_where_text_stays_in_the_pixels() -> None:
    result = deidentify(stored(patient()), Options(), KEY, text_remains=True).dataset
    assert (result.PatientIdentityRemoved, result.BurnedInAnnotation) == ("NO", "YES")


def test_dates_of_one_patient_move_together() -> None:
    first = cleaned(patient(StudyDate="20200229", AcquisitionDateTime="20200303101112.5"), Options(dates="shift"))
    second = cleaned(patient(StudyDate="20200310"), Options(dates="shift"))
    days = -KEY.shift_days(patient_identity(patient()))
    assert first.StudyDate == shifted_date("20200229", -days) != "20200229"
    assert int(second.StudyDate) > int(first.StudyDate)
    assert first.AcquisitionDateTime.endswith("101112.5")


def test_a_partial_date_is_not_moved_but_removed() -> None:
    result = cleaned(patient(AcquisitionDateTime="2020"), Options(dates="shift"))
    assert "2020" not in str(result.AcquisitionDateTime)


@pytest.mark.parametrize(
    ("text", "days", "moved"),
    [("20200301", -1, "20200229"), ("2020.03.01", -1, "20200229"), ("202003011530+0100", 1, "202003021530+0100"),
     ("20201341", 1, ""), ("", 1, ""), ("202003", 1, ""), ("99991231", 1, "")],
)  # fmt: skip
def test_whole_days_are_moved(text: str, days: int, moved: str) -> None:
    assert shifted_date(text, days) == moved


def test_a_description_keeps_words_of_imaging_only() -> None:
    dataset = patient(StudyDescription="CT chest abdomen pelvis - 55F Dr. Hand", ProtocolName="Dobson special")
    result = cleaned(dataset, Options(clean_descriptors=True))
    assert result.StudyDescription == "CT chest abdomen pelvis"
    assert result.ProtocolName == "REMOVED"  # required where it is present


def test_a_name_that_is_repeated_in_a_kept_attribute_is_found() -> None:
    dataset = patient(Manufacturer="Scanner of Zuleika", ConvolutionKernel="B30f")
    result = cleaned(dataset)
    assert (result.Manufacturer or "", result.ConvolutionKernel) == ("", "B30f")


def test_a_long_patient_number_is_found_among_numbers_too() -> None:
    result = cleaned(patient(PatientID="123456", SeriesNumber="123456", InstanceNumber="1234"))
    assert (result.SeriesNumber, result.InstanceNumber) == (None, 1234)


def test_an_image_number_that_equals_a_short_patient_number_stays() -> None:
    assert cleaned(patient(PatientID="1234", InstanceNumber="1234")).InstanceNumber == 1234


def test_a_source_without_a_class_is_refused() -> None:
    source = stored(patient())
    del source.SOPClassUID
    with pytest.raises(InputError) as refusal:
        cleaned_bytes(source)
    assert refusal.value.code == "E_DEID_UNWRITABLE"


def test_an_age_of_ninety_and_more_is_ninety() -> None:
    options = Options(keep_characteristics=True)
    assert cleaned(patient(PatientAge="097Y"), options).PatientAge == "090Y"
    assert cleaned(patient(PatientAge="089Y"), options).PatientAge == "089Y"


def test_the_patient_code_is_the_same_in_every_file_and_tells_nothing() -> None:
    first, second = cleaned(patient()), cleaned(patient(SOPInstanceUID="1.2.3.4.9"))
    assert first.PatientID == second.PatientID == str(first.PatientName)
    assert "889911" not in first.PatientID


def test_structured_content_becomes_a_dummy() -> None:
    dataset = patient()
    item = Dataset()
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", "Zuleika has a mass"
    measured = Dataset()
    measured.NumericValue = "93"
    item.MeasuredValueSequence = [measured]
    dataset.ContentSequence = [item, item]
    content = cleaned(dataset).ContentSequence
    assert [(entry.ValueType, entry.TextValue) for entry in content] == [("TEXT", "REMOVED")]
    assert content[0].MeasuredValueSequence[0].NumericValue == 0


def test_what_the_profile_does_not_name_stays() -> None:
    dataset = patient(Modality="CT", ConvolutionKernel="B30f", SliceThickness="2.5", PatientPosition="HFS")
    result = cleaned(dataset)
    assert (result.Modality, result.SliceThickness, result.PatientPosition) == ("CT", 2.5, "HFS")


def test_the_source_is_not_changed() -> None:
    source = stored(patient(StudyDate="20200229"))
    before = str(source)
    deidentify(source, Options(dates="shift"), KEY)
    assert str(source) == before


@pytest.mark.parametrize(
    ("keyword", "value"), [("SliceThickness", "77.5"), ("InstanceNumber", "7755"), ("TriggerTime", "7.75")]
)
def test_words_in_place_of_a_number_are_removed(keyword: str, value: str) -> None:
    source = stored(patient(**{keyword: value}))
    content = io.BytesIO()
    source.save_as(content, enforce_file_format=True)
    broken = dcmread(io.BytesIO(content.getvalue().replace(value.encode(), b"Zula")))
    result = deidentify(broken, Options(), KEY)
    assert keyword not in result.dataset
    assert result.counts["unreadable removed"] == 1


def test_two_options_keep_both() -> None:
    both = replace(Options(keep_device=True), keep_characteristics=True)
    result = cleaned(patient(PatientSex="F", StationName="CT 4"), both)
    assert (result.PatientSex, result.StationName) == ("F", "CT 4")
