"""Counts of what identifies in a header, without a value."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from conftest import WriteCt, ct_slice
from planted_dicom import stored
from pydicom import Dataset, dcmread

from medvox.data.deidentify import Options, deidentify
from medvox.data.identity import Identity, identity_of, identity_summary
from medvox.data.pseudonyms import Pseudonyms


def header(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"PatientName": "Dobson"}, "names"),
        ({"ReferringPhysicianName": "Dobson"}, "names"),
        ({"PatientID": "1"}, "ids"),
        ({"AccessionNumber": "1"}, "ids"),
        ({"PatientBirthDate": "19570312"}, "dates"),
        ({"InstitutionName": "Mercy"}, "places"),
        ({"DeviceSerialNumber": "7"}, "devices"),
        ({"StudyDescription": "CT"}, "free_text"),
        ({"PatientSex": "F"}, "characteristics"),
        ({"Modality": "US"}, "burned_in"),
        ({"BurnedInAnnotation": "YES"}, "burned_in"),
    ],
)
def test_an_attribute_counts_for_its_kind(values: dict[str, object], kind: str) -> None:
    assert identity_of(header(**values)) == Identity(**{kind: 1})


@pytest.mark.parametrize("values", [{"PatientName": ""}, {"Modality": "CT"}, {"SOPInstanceUID": "1.2.3"}, {}])
def test_what_does_not_identify_does_not_count(values: dict[str, object]) -> None:
    assert identity_of(header(**values)) == Identity()


def test_nested_and_private_attributes_count() -> None:
    dataset = header(RequestAttributesSequence=[header(ReferringPhysicianName="Dobson")])
    dataset.private_block(0x0009, "ACME", create=True).add_new(1, "LO", "secret")
    assert identity_of(dataset) == Identity(names=1, private=1)


def test_an_element_that_cannot_be_parsed_hides_no_other() -> None:
    dataset = stored(header(SOPInstanceUID="1.2.3", PatientName="Dobson", PatientID="4711", PixelSpacing=[0.5, 0.5]))
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    broken = dcmread(io.BytesIO(content.getvalue().replace(b"PN\x06\x00Dobson", b"FD\x06\x00Dobson")))
    summary = identity_of(broken)
    assert (summary.ids, summary.unreadable) == (1, 1)


def test_summaries_add_up() -> None:
    assert Identity(names=2) + Identity(names=1, dates=3) == Identity(names=3, dates=3)


def test_files_are_counted_and_what_is_no_dicom_is_left_out(write_ct: WriteCt, tmp_path: Path) -> None:
    def named(dataset: Dataset, number: int) -> None:
        dataset.PatientName = "Dobson"

    files = write_ct(2, edit=named)
    (tmp_path / "x.dcm").write_text("no")
    summary = identity_summary([*files, tmp_path / "x.dcm", tmp_path / "nowhere.dcm"])
    assert (summary.names, summary.ids, summary.free_text) == (2, 0, 2)  # the slices have a description


def test_little_counts_after_the_rules() -> None:
    dataset = ct_slice(0, rows=4, columns=4, step_mm=1.0)
    dataset.InstitutionalDepartmentName, dataset.PatientSex, dataset.StudyDate = "Radiology", "F", "20200229"
    cleaned = deidentify(stored(dataset), Options(), Pseudonyms(b"k" * 32)).dataset
    assert identity_of(cleaned) == Identity()


def test_no_value_is_in_the_summary() -> None:
    summary = identity_of(header(PatientName="Dobson", PatientID="4711"))
    assert all(isinstance(value, int) for value in summary.as_dict().values())
