"""Identifying content is counted and never shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from medvox.data.identity import Identity, identity_summary

WriteCt = Callable[..., list[Path]]


def test_the_header_of_a_clean_file_holds_only_its_description(write_ct: WriteCt) -> None:
    assert identity_summary(write_ct(2)) == Identity(free_text=2)


@pytest.mark.parametrize(
    ("keyword", "value", "category"),
    [
        ("PatientName", "CANARY^X", "names"),
        ("OperatorsName", "CANARY^X", "names"),
        ("PatientID", "CANARY", "ids"),
        ("AccessionNumber", "CANARY", "ids"),
        ("StudyDate", "20200101", "dates"),
        ("AcquisitionDateTime", "20200101120000", "dates"),
        ("InstitutionName", "CANARY", "places"),
        ("DeviceSerialNumber", "CANARY", "devices"),
        ("ImageComments", "CANARY", "free_text"),
        ("BurnedInAnnotation", "YES", "burned_in"),
    ],
)
def test_an_element_counts_in_its_category(write_ct: WriteCt, keyword: str, value: str, category: str) -> None:
    def plant(dataset: Dataset, number: int) -> None:
        setattr(dataset, keyword, value)

    found = identity_summary(write_ct(1, edit=plant))
    plain = {"free_text": 1}
    assert {name: count for name, count in found.as_dict().items() if count} == plain | {
        category: plain.get(category, 0) + 1
    }
    assert "CANARY" not in repr(found)


@pytest.mark.parametrize(("keyword", "value"), [("PatientName", ""), ("BurnedInAnnotation", "NO"), ("Rows", 6)])
def test_what_identifies_nobody_does_not_count(write_ct: WriteCt, keyword: str, value: object) -> None:
    def plant(dataset: Dataset, number: int) -> None:
        setattr(dataset, keyword, value)

    assert identity_summary(write_ct(1, edit=plant)) == Identity(free_text=1)


def test_nested_and_private_elements_count(write_ct: WriteCt) -> None:
    def plant(dataset: Dataset, number: int) -> None:
        item = Dataset()
        item.PatientID = "CANARY"
        dataset.OtherPatientIDsSequence = Sequence([item])
        dataset.private_block(0x0099, "MAKER", create=True).add_new(1, "LO", "CANARY")

    found = identity_summary(write_ct(1, edit=plant))
    assert (found.ids, found.private) == (1, 2)  # the private creator is an element too


def test_a_file_that_is_no_dicom_counts_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"no DICOM at all")
    assert identity_summary([tmp_path / "a.dcm", tmp_path / "missing.dcm"]) == Identity()
