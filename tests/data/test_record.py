"""Clinical records: FHIR bundles, resources and lines of one patient, CDA sections, notes; and what is refused."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from made_documents import bundle, cda, cda_section, observation, patient

from medvox.data.json_tree import MAX_VALUES, parse_json
from medvox.data.limits import Limits
from medvox.data.record import Record, read_record
from medvox.errors import BudgetError, InputError, MedvoxError


def read(path: Path, content: bytes, name: str = "record", **limits: int) -> Record:
    file = path / name
    file.write_bytes(content)
    return read_record(file, limits=Limits(**limits))


def codes(record: Record) -> list[str]:
    return [flag.code for flag in record.flags]


def refusal(path: Path, content: bytes, **limits: int) -> str:
    with pytest.raises(MedvoxError) as caught:
        read(path, content, **limits)
    assert caught.value.fix
    return caught.value.code


def lines(*resources: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(resource).encode() + b"\n" for resource in resources)


# FHIR: real bundles


def test_real_bundles_are_read_whole_and_without_flags(shared_data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared_data / "fhir" / "bundles_r4.zip") as archive:
        names = archive.namelist()
        assert len(names) == 24
        for name in names:
            content = archive.read(name)
            entries = [entry["resource"] for entry in json.loads(content)["entry"]]  # the plain count
            record = read(tmp_path, content)
            assert Counter(resource.type for resource in record.resources) == Counter(
                entry["resourceType"] for entry in entries
            )
            assert [resource.id for resource in record.resources] == [entry["id"] for entry in entries]
            assert record.flags == ()


def test_newest_value_of_real_records_is_the_one_that_is_asked_for(shared_data: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "fhir" / "questions.jsonl").read_text().splitlines()]
    asked = [row for row in rows if "most recent" in row["question"] and "Blood Pressure" not in row["question"]][::8]
    with zipfile.ZipFile(shared_data / "fhir" / "bundles_r4.zip") as archive:
        for row in asked:
            loinc = row["question"].split("LOINC ")[1].split(")")[0]
            observations = read(tmp_path, archive.read(row["file"])).of_type("Observation")
            measured = [item for item in observations if item.content["code"]["coding"][0]["code"] == loinc]
            newest = max(measured, key=lambda item: item.date)
            assert (newest.date, len(measured)) == (row["date"], row["n_measurements"])
            error = newest.content["valueQuantity"]["value"] - Decimal(str(row["answer"]))
            assert abs(error) <= Decimal(str(row["tolerance"]))
    assert len(asked) > 15


def test_lost_resource_of_a_real_bundle_is_noticed(shared_data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared_data / "fhir" / "bundles_r4.zip") as archive:
        content = json.loads(archive.read(archive.namelist()[0]))
    content["entry"] = [item for item in content["entry"] if item["resource"]["resourceType"] != "Encounter"]
    assert codes(read(tmp_path, json.dumps(content).encode())) == ["F_RECORD_DANGLING"]


# FHIR: forms


def test_bundle_one_resource_and_lines_give_the_same_resources(tmp_path: Path) -> None:
    one, two = patient(), observation(about="Patient/p1")
    from_bundle = read(tmp_path, bundle(one, two))
    from_lines = read(tmp_path, lines(one, two))
    assert (
        [item.content for item in from_bundle.resources]
        == [item.content for item in from_lines.resources]
        == [one, two]
    )
    assert read(tmp_path, json.dumps(one, indent=1).encode()).resources[0].content == one


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le"])
def test_encodings_of_json_are_understood(tmp_path: Path, encoding: str) -> None:
    content = json.dumps(patient(language="Größe"), ensure_ascii=False).encode(encoding)
    assert read(tmp_path, content).resources[0].content["language"] == "Größe"


def test_packed_lines_are_unpacked(tmp_path: Path) -> None:
    record = read(tmp_path, gzip.compress(lines(patient(), observation(about="Patient/p1"))), "export.ndjson.gz")
    assert [item.key for item in record.resources] == ["Patient/p1", "Observation/o1"]


def test_bundle_inside_of_a_bundle_is_opened(tmp_path: Path) -> None:
    inner = json.loads(bundle(patient(), observation()))
    assert [item.id for item in read(tmp_path, bundle(inner)).resources] == ["p1", "o1"]


def test_digits_of_decimals_are_kept(tmp_path: Path) -> None:
    content = json.dumps(observation(about="Patient/p1")).replace(
        '"final"', '"final", "valueQuantity": {"value": 1.50}'
    )
    value = read(tmp_path, content.encode()).resources[0].content["valueQuantity"]["value"]
    assert (value, str(value)) == (Decimal("1.5"), "1.50")


@pytest.mark.parametrize(
    ("kind", "content", "date", "origin"),
    [
        ("Observation", {"effectiveDateTime": "2020-02", "issued": "2020-03-03"}, "2020-02", "effectiveDateTime"),
        ("Observation", {"issued": "2020-01-03T00:00:00Z"}, "2020-01-03T00:00:00Z", "issued"),
        ("Observation", {"effectivePeriod": {"start": "2020"}}, "2020", "effectivePeriod.start"),
        ("Condition", {"onsetDateTime": "2019-05", "recordedDate": "2020-01-01"}, "2019-05", "onsetDateTime"),
        ("Condition", {"onsetAge": {"value": 40}, "recordedDate": "2020-01-01"}, "2020-01-01", "recordedDate"),
        ("Encounter", {"period": {"start": "2020-02-29"}}, "2020-02-29", "period.start"),
        ("Immunization", {"occurrenceDateTime": "2020-01-01"}, "2020-01-01", "occurrenceDateTime"),
        ("MedicationRequest", {"authoredOn": "2020-01-01"}, "2020-01-01", "authoredOn"),
        ("Procedure", {"performedPeriod": {"start": "2020-01-01"}}, "2020-01-01", "performedPeriod.start"),
        ("Specimen", {"collection": {"collectedDateTime": "2020-01-01"}}, "2020-01-01", "collection.collectedDateTime"),
        ("Organization", {"date": "2020-01-01"}, "", ""),
    ],
)  # fmt: skip
def test_date_is_the_clinical_one(tmp_path: Path, kind: str, content: dict[str, Any], date: str, origin: str) -> None:
    resource = read(tmp_path, json.dumps({"resourceType": kind, "id": "x", **content}).encode()).resources[0]
    assert (resource.date, resource.date_from) == (date, origin)


@pytest.mark.parametrize(
    "date", ["2021-02-29", "2020-13-01", "01.02.2020", "2020-1-2", 2020, "2020-01-01T25:00:00Z", ""]
)
def test_date_that_does_not_exist_is_passed_over_with_a_flag(tmp_path: Path, date: object) -> None:
    record = read(tmp_path, bundle(patient(), observation(effectiveDateTime=date, issued="2020-01-01T00:00:00Z")))
    assert record.resources[1].date_from == "issued"
    assert codes(record) == ["F_RECORD_DATE"]


# FHIR: references


@pytest.mark.parametrize(
    "reference",
    ["urn:uuid:p1", "Patient/p1", "Patient/p1/_history/3", "https://example.org/fhir/Patient/p1"],
)
def test_reference_leads_to_the_resource(tmp_path: Path, reference: str) -> None:
    entries = [
        {"fullUrl": "urn:uuid:p1", "resource": patient("p1")},
        {"fullUrl": "https://example.org/fhir/Patient/p1", "resource": observation(about=reference)},
    ]
    if not reference.startswith("https"):
        entries[1]["fullUrl"] = "urn:uuid:o1"
    else:
        entries.reverse()
        entries[0]["fullUrl"], entries[1]["fullUrl"] = "urn:uuid:o1", reference
    record = read(tmp_path, json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode())
    assert record.resolve(reference) == patient("p1")
    assert record.flags == ()


def test_contained_resource_is_found_only_in_its_owner(tmp_path: Path) -> None:
    specimen = {"resourceType": "Specimen", "id": "s"}
    record = read(tmp_path, bundle(patient(), observation(contained=[specimen], specimen={"reference": "#s"})))
    assert record.resolve("#s", record.resources[1]) == specimen
    assert record.resolve("#s", record.resources[0]) is None
    assert record.resolve("#s") is None
    assert record.flags == ()


@pytest.mark.parametrize(
    "reference", ["urn:uuid:lost", "Encounter/lost", "#lost", 7, "https://example.org/Encounter/1"]
)
def test_reference_to_nothing_is_flagged(tmp_path: Path, reference: object) -> None:
    record = read(tmp_path, bundle(patient(), observation(encounter={"reference": reference})))
    assert codes(record) == ["F_RECORD_DANGLING"]


def test_conditional_reference_is_no_dangling_one(tmp_path: Path) -> None:
    performer = [{"reference": "Practitioner?identifier=x|1"}]
    assert codes(read(tmp_path, bundle(patient(), observation(performer=performer)))) == []


# FHIR: flags


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (bundle(patient(), observation(), observation()), "F_RECORD_DUPLICATE_ID"),
        (bundle(patient(), observation("not allowed")), "F_RECORD_ID"),
        (bundle(patient(), observation(status="entered-in-error")), "F_RECORD_IN_ERROR"),
        (bundle(patient(), observation(modifierExtension=[{"url": "x"}])), "F_RECORD_MODIFIER"),
        (bundle(patient(), observation(), link=[{"relation": "next", "url": "x"}]), "F_RECORD_INCOMPLETE"),
        (bundle(patient(), observation(), total=900), "F_RECORD_INCOMPLETE"),
        (bundle(patient(), {"resourceType": "OperationOutcome"}), "F_RECORD_OUTCOME"),
        (bundle(patient(photo=[{"contentType": "image/png", "data": "AA=="}])), "F_RECORD_ATTACHMENT"),
        (bundle(patient(), {"resourceType": "ImagingSelection"}), "F_RECORD_NOT_R4"),
        (bundle(patient(), {"resourceType": "MedicationOrder"}), "F_RECORD_NOT_R4"),
        (bundle(patient(), {"resourceType": "Condition", "clinicalStatus": "active"}), "F_RECORD_NOT_R4"),
        (bundle(patient(), {"resourceType": "Encounter", "class": [{"coding": []}]}), "F_RECORD_NOT_R4"),
        (bundle(patient(), {"resourceType": "MedicationRequest", "medication": {"concept": {}}}), "F_RECORD_NOT_R4"),
        (bundle(patient()).replace(b'"entry": [', b'"entry": [{"request": {}}, '), "F_RECORD_ENTRY_EMPTY"),
    ],
)  # fmt: skip
def test_what_is_out_of_the_ordinary_is_flagged(tmp_path: Path, content: bytes, code: str) -> None:
    assert codes(read(tmp_path, content)) == [code]


def test_retracted_condition_is_marked(tmp_path: Path) -> None:
    status = {"coding": [{"code": "entered-in-error"}]}
    record = read(tmp_path, bundle(patient(), {"resourceType": "Condition", "id": "c", "verificationStatus": status}))
    assert [item.in_error for item in record.resources] == [False, True]


# FHIR: one patient


@pytest.mark.parametrize(
    "content",
    [
        bundle(patient("p1"), patient("p2")),
        bundle(patient("p1"), observation(about="urn:uuid:p1"), observation("o2", "urn:uuid:p2")),
        bundle(patient("p1"), observation(about="Patient/p2")),
        lines(observation("o1", "Patient/p1"), observation("o2", "Patient/p2")),
        bundle(patient("p1"), {"resourceType": "Coverage", "id": "c", "beneficiary": {"reference": "Patient/p2"}}),
    ],
)
def test_several_patients_are_refused(tmp_path: Path, content: bytes) -> None:
    assert refusal(tmp_path, content) == "E_RECORD_PATIENTS_MIXED"


def test_refusal_counts_the_resources_of_each_patient_without_naming_them(tmp_path: Path) -> None:
    content = lines(*(observation(f"o{n}", f"Patient/secret{n % 3 // 2}") for n in range(9)))
    with pytest.raises(InputError, match=r"2 patients .*: 6, 3") as caught:
        read(tmp_path, content)
    assert "secret" not in caught.value.message


def test_one_patient_named_in_three_ways_is_one(tmp_path: Path) -> None:
    content = bundle(patient("p1"), observation("o1", "urn:uuid:p1"), observation("o2", "Patient/p1"))
    assert read(tmp_path, content).flags == ()


def test_linked_patients_are_one_person(tmp_path: Path) -> None:
    link = [{"other": {"reference": "urn:uuid:p1"}, "type": "replaces"}]
    content = bundle(
        patient("p1"), patient("p2", link=link), observation("o1", "urn:uuid:p1"), observation("o2", "urn:uuid:p2")
    )
    assert len(read(tmp_path, content).resources) == 4


def test_groups_and_devices_are_no_patients(tmp_path: Path) -> None:
    record = read(tmp_path, bundle(patient(), {"resourceType": "Group", "id": "g"}, observation(about="Group/g")))
    assert record.resources[2].patient == ""


# JSON and FHIR that is refused


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"resourceType": "Patient", "id": "a", "id": "b"}', "E_JSON_DUPLICATE_KEY"),
        (b'{"resourceType": "Patient", "x": [{"y": 1, "y": 1}]}', "E_JSON_DUPLICATE_KEY"),
        (b'{"resourceType": "Patient", "x": NaN}', "E_JSON_UNREADABLE"),
        (b'{"resourceType": "Patient", "x": -Infinity}', "E_JSON_UNREADABLE"),
        (b'{"resourceType": "Patient", "x": 1e999}', "E_JSON_NUMBER"),
        (b'{"resourceType": "Patient", "x": ' + b"9" * 5000 + b"}", "E_JSON_NUMBER"),
        (b'{"resourceType": "Patient", "x": 0.' + b"9" * 5000 + b"}", "E_JSON_NUMBER"),
        (b'{"resourceType": "Patient", "x": "\\ud800"}', "E_JSON_UNREADABLE"),
        (b'{"resourceType": "Patient", "x": "a\nb"}', "E_JSON_UNREADABLE"),
        (b'{"resourceType": "Patient", "x": "\xff"}', "E_JSON_ENCODING"),
        (b'{"resourceType": "Patient"', "E_JSON_UNREADABLE"),
        (b'{"resourceType": "Patient"} trailing', "E_JSON_UNREADABLE"),
        (b"{'resourceType': 'Patient'}", "E_JSON_UNREADABLE"),
        (b'{"x":' * 65 + b"1" + b"}" * 65, "E_JSON_LIMIT"),
        (b'{"x":' * 200_000, "E_JSON_LIMIT"),
        (b'{"x":' + b"[" * 1_000_000, "E_JSON_LIMIT"),
        (b'{"x":[' + b"1," * MAX_VALUES + b"1]}", "E_JSON_LIMIT"),
        (b"{}", "E_RECORD_UNREADABLE"),
        (b'[{"resourceType": "Patient"}]', "E_RECORD_UNREADABLE"),
        (b'{"resourceType": 5}', "E_RECORD_UNREADABLE"),
        (b'{"resourceType": "not a type"}', "E_RECORD_UNREADABLE"),
        (b'{"resourceType": "Bundle", "entry": {}}', "E_RECORD_UNREADABLE"),
        (b'{"resourceType": "Bundle", "entry": [1]}', "E_RECORD_UNREADABLE"),
        (b'{"resourceType": "Bundle", "entry": [{"resource": {}}]}', "E_RECORD_UNREADABLE"),
        (b'{"resourceType": "Bundle", "entry": [{"fullUrl": 1}]}', "E_RECORD_UNREADABLE"),
        (b'{"resourceType": "Bundle"}', "E_RECORD_EMPTY"),
        (b'{"resourceType": "Patient"}\n{"resourceType": "Patient"', "E_JSON_UNREADABLE"),
        (b'{"resourceType": "Patient"}\n{"x": 1}', "E_RECORD_UNREADABLE"),
        (gzip.compress(b"{" + b" " * 2**20 * 40), "E_INFLATE_LIMIT"),
        (gzip.compress(b"{}")[:-4], "E_INFLATE_CORRUPT"),
    ],
)
def test_record_that_cannot_be_trusted_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    assert refusal(tmp_path, content) == code


def test_error_in_lines_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 3"):
        read(tmp_path, lines(patient()) + b"\n" + b'{"resourceType": "Patient", }\n')


@pytest.mark.parametrize(("depth", "refused"), [(5, False), (6, True)])
def test_depth_is_accepted_at_the_limit_and_refused_above(depth: int, refused: bool) -> None:
    content = b"[" * depth + b'"]]]]]]]["' + b"]" * depth
    try:
        parse_json(content, "x", limits=Limits(json_depth=5))
        assert not refused
    except BudgetError:
        assert refused


def test_brackets_and_quotes_in_strings_do_not_count_as_depth() -> None:
    text = '\\"[[[[[[[[{{{{{{\\\\'
    assert parse_json(f'["{text}"]'.encode(), "x", limits=Limits(json_depth=1)) == [json.loads(f'"{text}"')]


def test_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, bundle(patient()), text_bytes=20) == "E_INPUT_LIMIT"


def test_refusal_shows_nothing_of_the_record(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, b'{"resourceType": "Patient", "name": "Miller", "name": "Miller"}')
    assert "Miller" not in caught.value.message


# CDA


def test_cda_gives_its_sections_in_order(tmp_path: Path) -> None:
    inner = "<component><section><title>Inner</title><text>deep</text></section></component>"
    record = read(
        tmp_path, cda(cda_section("Medication", "Aspirin", inside=inner) + cda_section("Plan", "none", code="18776-5"))
    )
    assert [(s.title, s.code, s.depth, s.text) for s in record.sections] == [
        ("Medication", "10160-0", 0, "Aspirin"),
        ("Inner", "", 1, "deep"),
        ("Plan", "18776-5", 0, "none"),
    ]
    assert record.text == "Discharge summary\n\nMedication\nAspirin\n\nInner\ndeep\n\nPlan\nnone"
    assert (record.kind, record.date, record.flags) == ("cda", "2024-01-31T14:30:00+01:00", ())


@pytest.mark.parametrize(
    ("narrative", "text"),
    [
        ("<paragraph>one</paragraph><paragraph>two</paragraph>", "one\ntwo"),
        ("one<br/>two", "one\ntwo"),
        ("<list><caption>Drugs</caption><item>a</item><item><content>b</content> c</item></list>", "Drugs\n- a\n- b c"),
        ("<list><item>a<list><item>b</item></list></item></list>", "- a\n- b"),
        ("<table><thead><tr><th>Test</th><th>Value</th></tr></thead><tbody><tr><td>Na</td><td>140</td></tr></tbody></table>",
         "Test | Value\nNa | 140"),
        ("<table><tr>\n<td>a</td>\n<td/>\n<td>c</td></tr></table>", "a | | c"),
        ("<table><tr><td><paragraph>a</paragraph><paragraph>b</paragraph></td><td><list><item>c</item></list></td></tr></table>",
         "a b | - c"),
        ("H<sub>2</sub>O   and\n more", "H2O and more"),
    ],
)  # fmt: skip
def test_cda_narrative_becomes_lines(tmp_path: Path, narrative: str, text: str) -> None:
    assert read(tmp_path, cda(cda_section("x", narrative))).sections[0].text == text


def test_deleted_passage_is_left_out_and_flagged(tmp_path: Path) -> None:
    record = read(tmp_path, cda(cda_section("x", 'old <content revised="delete">not </content>seen')))
    assert (record.sections[0].text, codes(record)) == ("old seen", ["F_RECORD_DELETED"])


def test_coded_entries_without_narrative_are_flagged(tmp_path: Path) -> None:
    record = read(tmp_path, cda(cda_section("x", "text") + cda_section("y", "", inside="<entry/><entry/>")))
    assert (record.sections[1].entries, codes(record)) == (2, ["F_RECORD_ENTRIES_ONLY"])


def test_code_of_another_system_is_no_loinc_code(tmp_path: Path) -> None:
    content = cda(cda_section("x", "text")).replace(b"2.16.840.1.113883.6.1", b"2.16.840.1.113883.6.96")
    assert read(tmp_path, content).sections[0].code == ""


@pytest.mark.parametrize(
    ("stamp", "date"),
    [("2024", "2024"), ("202401", "2024-01"), ("20240131", "2024-01-31"), ("202401311430", "2024-01-31T14:30:00"),
     ("20240131143059.123-0500", "2024-01-31T14:30:59-05:00"), ("yesterday", ""), ("", "")],
)  # fmt: skip
def test_cda_date_keeps_its_precision(tmp_path: Path, stamp: str, date: str) -> None:
    content = cda(cda_section("x", "text")).replace(b"20240131143000+0100", stamp.encode())
    assert read(tmp_path, content).date == date


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (cda(cda_section("x", "text"), header="<recordTarget/><recordTarget/>"), "E_RECORD_PATIENTS_MIXED"),
        (cda(cda_section("x", "")), "E_RECORD_EMPTY"),
        (cda(""), "E_RECORD_EMPTY"),
        (b"<ClinicalDocument/>", "E_RECORD_KIND"),
        (b'<Bundle xmlns="http://hl7.org/fhir"/>', "E_RECORD_KIND"),
        (b"<?xml version='1.0'?><!DOCTYPE a><a/>", "E_XML_FORBIDDEN"),
        (cda("<a>" * 300), "E_XML_LIMIT"),
        (cda(cda_section("x", "text"))[:-5], "E_XML_UNREADABLE"),
    ],
)
def test_cda_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    assert refusal(tmp_path, content) == code


# Notes and other files


@pytest.mark.parametrize("text", ["CHEST: clear.", "[2020-01-01] seen", "CRP < 5 mg/dL", "a"])
def test_note_is_read_as_text(tmp_path: Path, text: str) -> None:
    record = read(tmp_path, text.encode())
    assert (record.kind, record.text, record.flags) == ("note", text, ())


def test_real_notes_are_read(shared_data: Path, tmp_path: Path) -> None:
    with gzip.open(shared_data / "text" / "mtsamples_notes.jsonl.gz", "rt", encoding="utf-8") as rows:
        notes = [json.loads(row) for row in rows][:20]
    for note in notes:
        text = max((value for value in note.values() if isinstance(value, str)), key=len)
        assert read(tmp_path, text.encode()).text.split() == text.split()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"%PDF-1.7", "E_RECORD_KIND"),
        (b"PK\x03\x04", "E_RECORD_KIND"),
        (b"{\\rtf1 x}", "E_RECORD_KIND"),
        (b"MSH|^~\\&|", "E_RECORD_KIND"),
        (b"<!DOCTYPE html><html/>", "E_RECORD_KIND"),
        (b"\xd0\xcf\x11\xe0", "E_RECORD_KIND"),
        (b"", "E_TEXT_EMPTY"),
        (b"\0\1\2\3", "E_TEXT_BINARY"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, code: str) -> None:
    assert refusal(tmp_path, content) == code


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_record(tmp_path / "absent.json")
    assert caught.value.code == "E_INPUT_UNREADABLE"
