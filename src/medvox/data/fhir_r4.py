"""What FHIR R4 says that the record reader needs: its resource types, where dates and patients stand, other versions.

Tables only, beside ``record_fhir``. Source: https://hl7.org/fhir/R4 (4.0.1): resource list, the definition of each
resource, and the R4 and R5 difference pages ("R3 Diff", "R4 Diff").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TYPES = """
Account ActivityDefinition AdverseEvent AllergyIntolerance Appointment AppointmentResponse AuditEvent Basic Binary
BiologicallyDerivedProduct BodyStructure Bundle CapabilityStatement CarePlan CareTeam CatalogEntry ChargeItem
ChargeItemDefinition Claim ClaimResponse ClinicalImpression CodeSystem Communication CommunicationRequest
CompartmentDefinition Composition ConceptMap Condition Consent Contract Coverage CoverageEligibilityRequest
CoverageEligibilityResponse DetectedIssue Device DeviceDefinition DeviceMetric DeviceRequest DeviceUseStatement
DiagnosticReport DocumentManifest DocumentReference EffectEvidenceSynthesis Encounter Endpoint EnrollmentRequest
EnrollmentResponse EpisodeOfCare EventDefinition Evidence EvidenceVariable ExampleScenario ExplanationOfBenefit
FamilyMemberHistory Flag Goal GraphDefinition Group GuidanceResponse HealthcareService ImagingStudy Immunization
ImmunizationEvaluation ImmunizationRecommendation ImplementationGuide InsurancePlan Invoice Library Linkage List
Location Measure MeasureReport Media Medication MedicationAdministration MedicationDispense MedicationKnowledge
MedicationRequest MedicationStatement MedicinalProduct MedicinalProductAuthorization MedicinalProductContraindication
MedicinalProductIndication MedicinalProductIngredient MedicinalProductInteraction MedicinalProductManufactured
MedicinalProductPackaged MedicinalProductPharmaceutical MedicinalProductUndesirableEffect MessageDefinition
MessageHeader MolecularSequence NamingSystem NutritionOrder Observation ObservationDefinition OperationDefinition
OperationOutcome Organization OrganizationAffiliation Parameters Patient PaymentNotice PaymentReconciliation Person
PlanDefinition Practitioner PractitionerRole Procedure Provenance Questionnaire QuestionnaireResponse RelatedPerson
RequestGroup ResearchDefinition ResearchElementDefinition ResearchStudy ResearchSubject RiskAssessment
RiskEvidenceSynthesis Schedule SearchParameter ServiceRequest Slot Specimen SpecimenDefinition StructureDefinition
StructureMap Subscription Substance SubstanceNucleicAcid SubstancePolymer SubstanceProtein
SubstanceReferenceInformation SubstanceSourceMaterial SubstanceSpecification SupplyDelivery SupplyRequest Task
TerminologyCapabilities TestReport TestScript ValueSet VerificationResult VisionPrescription
"""
TYPES = frozenset(_TYPES.split())

PATIENT_ELEMENTS = ("patient", "subject", "beneficiary", "for", "individual")

# When it was true of the patient comes first, when somebody wrote it down last.
_EFFECTIVE = "effectiveDateTime effectivePeriod.start effectiveInstant"
_OCCURRENCE = "occurrenceDateTime occurrencePeriod.start"
DATES: Mapping[str, tuple[str, ...]] = {
    kind: tuple(elements.split())
    for kind, elements in {
        "AdverseEvent": "date detected recordedDate",
        "AllergyIntolerance": "onsetDateTime onsetPeriod.start recordedDate lastOccurrence",
        "Appointment": "start created",
        "CarePlan": "period.start created",
        "CareTeam": "period.start",
        "Claim": "billablePeriod.start created",
        "ClinicalImpression": f"{_EFFECTIVE} date",
        "Communication": "sent received",
        "Composition": "date",
        "Condition": "onsetDateTime onsetPeriod.start recordedDate",
        "Consent": "dateTime",
        "Coverage": "period.start",
        "DetectedIssue": "identifiedDateTime identifiedPeriod.start",
        "DeviceRequest": f"{_OCCURRENCE} authoredOn",
        "DeviceUseStatement": "timingDateTime timingPeriod.start recordedOn",
        "DiagnosticReport": f"{_EFFECTIVE} issued",
        "DocumentReference": "context.period.start date",
        "Encounter": "period.start",
        "EpisodeOfCare": "period.start",
        "ExplanationOfBenefit": "billablePeriod.start created",
        "FamilyMemberHistory": "date",
        "Flag": "period.start",
        "Goal": "startDate statusDate",
        "ImagingStudy": "started",
        "Immunization": "occurrenceDateTime recorded",
        "Media": "createdDateTime createdPeriod.start issued",
        "MedicationAdministration": _EFFECTIVE,
        "MedicationDispense": "whenHandedOver whenPrepared",
        "MedicationRequest": "authoredOn",
        "MedicationStatement": f"{_EFFECTIVE} dateAsserted",
        "NutritionOrder": "dateTime",
        "Observation": f"{_EFFECTIVE} issued",
        "Procedure": "performedDateTime performedPeriod.start",
        "Provenance": f"{_OCCURRENCE} recorded",
        "QuestionnaireResponse": "authored",
        "RiskAssessment": _OCCURRENCE,
        "ServiceRequest": f"{_OCCURRENCE} authoredOn",
        "Specimen": "collection.collectedDateTime collection.collectedPeriod.start receivedTime",
        "Task": "executionPeriod.start authoredOn",
        "VisionPrescription": "dateWritten created",
    }.items()
}

# Elements that R4 does not have, and resource types that it renamed or did not have yet.
_ELSEWHERE: Mapping[str, frozenset[str]] = {
    kind: frozenset(elements.split())
    for kind, elements in {
        "AllergyIntolerance": "assertedDate substance",
        "Condition": "assertedDate dateRecorded",
        "DiagnosticReport": "codedDiagnosis image",
        "DocumentReference": "indexed class",
        "Encounter": "actualPeriod admission",
        "Immunization": "notGiven wasNotGiven date",
        "MedicationAdministration": "medication notGiven",
        "MedicationDispense": "medication",
        "MedicationRequest": "medication",
        "MedicationStatement": "medication taken wasNotTaken",
        "Observation": "related comments triggeredBy bodyStructure",
        "Patient": "animal careProvider",
        "Procedure": "notDone notPerformed occurrenceDateTime occurrencePeriod",
    }.items()
}


def is_other_version(content: Mapping[str, Any]) -> bool:
    """Whether a resource has marks of DSTU2, STU3 or R5: a type or an element that R4 does not know."""
    kind = content["resourceType"]
    if kind not in TYPES or not _ELSEWHERE.get(kind, frozenset()).isdisjoint(content):
        return True
    if kind in {"AllergyIntolerance", "Condition"}:  # a code before R4, a CodeableConcept since
        return isinstance(content.get("clinicalStatus"), str)
    return kind == "Encounter" and isinstance(content.get("class"), str | list)  # a Coding in R4
