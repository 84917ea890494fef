"""A DICOM data set with a value of its own in every attribute that table E.1-1 of PS3.15 names."""

from __future__ import annotations

import io
from datetime import date, timedelta

from pydicom import DataElement, Dataset, config, dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_keyword, dictionary_VR
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

SILENT = {"US", "UL", "SS", "SL", "FL", "FD", "AT", "OW", "OF", "OD", "OL", "OV", "SV", "UV"}  # hold no text


def planted_value(vr: str, number: int) -> str:
    """A value that is valid for the VR and that no other attribute has; empty where the VR holds no text."""
    day = (date(1951, 1, 1) + timedelta(days=number)).strftime("%Y%m%d")
    moment = f"07{number // 60 % 60:02}{number % 60:02}.{number:06}"
    values = {
        "DA": day,
        "TM": moment,
        "DT": day + moment,
        "UI": f"1.2.3.77777.{number}",
        "AS": f"{number % 80:03}Y",
        "IS": f"77{number:06}",
        "DS": f"{number}.1234567",
    }
    return "" if vr in SILENT else values.get(vr, f"CNRY{number:04}")


def planted_dataset(tags: list[int]) -> tuple[FileDataset, dict[str, str]]:
    """A CT header with planted values in these attributes, and {keyword: planted value} of those that hold text."""
    dataset, planted = Dataset(), {}
    for number, tag in enumerate(tags, start=1):
        if not dictionary_has_tag(tag) or tag >> 16 < 4:
            continue
        vr = dictionary_VR(tag).split(" or ")[0]
        value = planted_value(vr, number)
        if not value or vr == "AS":
            continue
        planted[dictionary_keyword(tag)] = value
        content = {"SQ": [_item(value)], "OB": value.encode(), "UN": value.encode()}.get(vr, value)
        dataset[tag] = DataElement(tag, vr, content, validation_mode=config.IGNORE)
    dataset.SOPClassUID = CTImageStorage
    dataset.setdefault("SOPInstanceUID", "1.2.3.5")
    return stored(dataset), planted


def stored(dataset: Dataset) -> FileDataset:
    """The data set as it comes back from a file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = str(dataset.SOPInstanceUID)
    dataset.file_meta.SourceApplicationEntityTitle = "CNRYMETA"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    return dcmread(buffer)


def _item(value: str) -> Dataset:
    item = Dataset()
    item.ValueType = "TEXT"
    item.TextValue = value
    item.CodeValue = "121071"
    return item
