"""Which kinds of identifying content DICOM headers hold: counts by category, never a value.

Beside the readers; the verb ``inspect`` shows it. It looks and changes nothing; ``deidentify`` removes. Values are not
judged: a made-up name counts like a real one.

Source: the categories of the HIPAA safe harbor list, as far as DICOM attributes hold them (PS3.15 Annex E).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pydicom import DataElement, Dataset

from medvox.data.dicom_file import quiet_pydicom, read_dataset_file
from medvox.errors import MedvoxError

IDS = (
    "PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "AdmissionID", "IssuerOfPatientID",
    "MedicalRecordLocator",
)  # fmt: skip
PLACES = (
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "PatientAddress",
    "CountryOfResidence", "RegionOfResidence", "CurrentPatientLocation", "PatientTelephoneNumbers",
)  # fmt: skip
DEVICES = ("DeviceSerialNumber", "DetectorID", "PlateID", "GantryID", "DeviceUID")
FREE_TEXT = (
    "StudyDescription", "SeriesDescription", "ProtocolName", "PatientComments", "ImageComments",
    "AdditionalPatientHistory", "RequestedProcedureDescription", "ReasonForStudy", "MedicalAlerts", "Allergies",
    "Occupation",
)  # fmt: skip

BY_VR = {"PN": "names", "DA": "dates", "DT": "dates"}
BY_KEYWORD = {"ids": IDS, "places": PLACES, "devices": DEVICES, "free_text": FREE_TEXT}


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Elements with content, by category, over the files that were looked at.

    Attributes:
        names: of persons, the patient's, physicians' and operators'.
        ids: of patient, visit and request.
        dates: and date-times.
        places: institutions, addresses, telephone numbers.
        devices: serial numbers and the like.
        free_text: descriptions and comments, where people write names.
        private: elements of manufacturers, whose meaning is not public.
        burned_in: files that say that their pixels show text.
    """

    names: int = 0
    ids: int = 0
    dates: int = 0
    places: int = 0
    devices: int = 0
    free_text: int = 0
    private: int = 0
    burned_in: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counts as a JSON object."""
        return asdict(self)


def identity_summary(paths: Iterable[Path]) -> Identity:
    """Count identifying content in the headers of DICOM files; what cannot be read counts as nothing."""
    counts: Counter[str] = Counter()
    for path in paths:
        try:
            dataset = read_dataset_file(path)
        except MedvoxError:
            continue
        with quiet_pydicom():
            counts.update(_categories(dataset))
    return Identity(**counts)


def _categories(dataset: Dataset) -> Iterator[str]:
    try:
        elements = list(dataset)
    except Exception:  # a damaged element; pydicom documents no single kind of error
        return
    for element in elements:
        if element.VR == "SQ":
            for item in element.value or ():
                yield from _categories(item)
        elif element.value not in (None, "", b"") and (category := _category(element)):
            yield category


def _category(element: DataElement) -> str:
    """The category of an element that holds something; empty for what identifies nobody."""
    if element.tag.is_private:
        return "private"
    if element.keyword == "BurnedInAnnotation":
        return "burned_in" if str(element.value).upper() == "YES" else ""
    if element.VR in BY_VR:
        return BY_VR[element.VR]
    return next((name for name, keywords in BY_KEYWORD.items() if element.keyword in keywords), "")
