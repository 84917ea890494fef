"""The rules of ``deidentify_notes``: forms of numbers and dates, labels, titles, and the ways names are written.

Every pattern has a group ``value``: what is replaced. No repetition nests over the same characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from medvox.data.person_names import AMBIGUOUS, GIVEN_NAMES, SURNAMES

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    r"Nov(?:ember)?|Dec(?:ember)?)"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_MONTH_NUMBER = r"(?:0?[1-9]|1[0-2])"
_YEAR = r"(?:19|20)\d\d"
_STREET = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Way|Terrace|Parkway|Pkwy|"
    r"Circle|Highway|Hwy|Square|Trail|Close|Crescent|Row|Alley)"
)
_STATE = (
    r"(?:AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|"
    r"NC|ND|OH|OK|OR|"
    r"PA|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY|DC)"
)
_CITY = r"[A-Z][a-z]+(?:[ -][A-Z][a-z]+){0,2}"
_ORGANIZATION = (
    r"(?:Hospital|Medical Cent(?:er|re)|Health Cent(?:er|re)|Clinic|University|Infirmary|Hospice|"
    r"Nursing Home|Healthcare|"
    r"Health System|Medical Group|Rehabilitation Cent(?:er|re)|Surgery Cent(?:er|re)|Cancer Cent(?:er|re)|Pharmacy|"
    r"Laborator(?:y|ies)|Associates|Insurance|High School|Elementary School|College|Imaging Cent(?:er|re)|"
    r"Heart Institute|"
    r"Cancer Institute|Memorial|Prison|Penitentiary|Shelter)"
)
_ID_LABEL = (
    r"(?:MRN|MR ?#|medical record(?: (?:number|no))?|record (?:number|no)|chart (?:number|no)|patient (?:id|number|no)|"
    r"hospital (?:number|no)|account(?: (?:number|no))?|acct|accession(?: (?:number|no))?|policy(?: (?:number|no))?|"
    r"member(?: id)|(?:insurance|plan|health plan|beneficiary|subscriber|group|claim)(?: (?:id|number|no))|"
    r"(?:driver'?s )?licen[cs]e(?: (?:number|no))?|DEA|NPI|encounter(?: (?:id|number|no))?|visit (?:id|number|no)|"
    r"case (?:number|no)|specimen(?: (?:id|number|no))|order (?:number|no)|certificate (?:number|no)|passport(?: no)?|"
    r"(?:licen[cs]e )?plate|VIN|NHS (?:number|no)|medicare(?: (?:id|number|no))?|medicaid(?: (?:id|number|"
    r"no))?|study id)"
)
_DEVICE_LABEL = (
    r"(?:serial(?: (?:number|no))?|S/N|SN|device (?:id|identifier)|lot(?: (?:number|no))?|UDI|implant (?:id|no))"
)
_AFTER = r"\s*(?:is|was|of)?\s*[.#:=]*\s*#?\s*"
_NUMBER = r"(?P<value>(?=[A-Za-z-]*\d)[A-Za-z0-9][A-Za-z0-9./-]*[A-Za-z0-9])"
_PHONE = r"(?:\+?\d{1,3}[ .-]?)?(?:\(\d{3}\)\s?|\d{3}[ .-])\d{3}[ .-]\d{4}(?:\s?(?:x|ext\.?)\s?\d{1,6})?"


def _compiled(*patterns: str, ignore_case: bool = True) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern, re.IGNORECASE if ignore_case else 0) for pattern in patterns)


PATTERNS: dict[str, tuple[re.Pattern[str], ...]] = {
    "EMAIL": _compiled(r"(?P<value>[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+)"),
    "URL": _compiled(r"(?P<value>(?:https?://|www\.)[^\s<>\"')\]]+[^\s<>\"')\].,;])"),
    "SSN": _compiled(
        r"(?<![\d-])(?P<value>\d{3}-\d{2}-\d{4})(?![\d-])",
        rf"\b(?:SSN|SS#|social security(?: (?:number|"
        rf"no))?){_AFTER}(?P<value>[\dxX*]{{3}}[- ]?[\dxX*]{{2}}[- ]?\d{{4}})\b",
    ),
    "FAX": _compiled(rf"\b(?:fax|facsimile)(?: (?:number|no))?{_AFTER}(?P<value>{_PHONE})(?!\d)"),
    "PHONE": _compiled(
        rf"(?<![\d-])(?P<value>{_PHONE})(?![\d-])",
        r"\b(?:phone|tel|telephone|cell|mobile|pager|beeper|ext|extension|call(?:ed)?(?: \w+)? (?:at|on))"
        rf"(?: (?:number|no))?{_AFTER}(?P<value>\+?\d[\d ().-]{{2,18}}\d)(?!\d)",
        r"(?<![\d-])(?P<value>\+\d{1,3}[ -]\d{2,4}[ -]\d{3,4}[ -]?\d{3,4})(?!\d)",
    ),
    "ID": _compiled(rf"\b{_ID_LABEL}{_AFTER}{_NUMBER}"),
    "DEVICE": _compiled(rf"\b{_DEVICE_LABEL}{_AFTER}{_NUMBER}"),
    "IP": _compiled(
        r"(?<![\d.])(?P<value>(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3})(?![\d.]*\d)",
        r"(?P<value>(?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:]))",
    ),
    "DATE": _compiled(
        rf"(?<![\d./-])(?P<value>{_YEAR}[-/.]{_MONTH_NUMBER}[-/.]{_DAY})(?![\d])",
        rf"(?<![\d./-])(?P<value>{_MONTH_NUMBER}([-/.]){_DAY}\2(?:{_YEAR}|\d\d))(?![\d/-])",
        rf"(?<![\d./-])(?P<value>{_DAY}([-/.]){_MONTH_NUMBER}\2(?:{_YEAR}|\d\d))(?![\d/-])",
        rf"\b(?P<value>{_MONTH}\.?\s+(?:the\s+)?{_DAY}(?:st|nd|rd|"
        rf"th)?(?:,?\s+(?:of\s+)?{_YEAR})?)\b(?!\s?(?:mg|mm|cm|ml))",
        rf"\b(?P<value>{_DAY}(?:st|nd|rd|th)?(?:\s+of)?[ -]{_MONTH}\.?(?:,?[ -]{_YEAR}|[ -]\d\d)?)\b",
        rf"\b(?P<value>{_MONTH}\.?,?\s+(?:of\s+)?{_YEAR})\b",
        rf"\b(?:on|dated|since|until|from|by|before|after|DOS|date)\s*:?\s+(?P<value>{_MONTH_NUMBER}/{_DAY})(?![\d/])",
        r"\b(?:date of birth|DOB|born)\b[ :on]*(?P<value>\d{6,8})\b",
    ),
    "AGE": _compiled(
        r"\b(?P<value>9\d|1[0-2]\d)(?=[ -]*(?:years?|yrs?|y)[ .-]*(?:old|/?o\b|of age))",
        r"\b(?P<value>9\d|1[0-2]\d)(?= ?(?:yo|y/o|y\.o\.)(?!\w))",
        r"\b(?:aged?|age is|age of)\s*:?\s*(?P<value>9\d|1[0-2]\d)\b",
        r"\b(?P<value>(?:ninety|one hundred)(?:[ -](?:and )?(?:one|two|three|four|five|six|seven|eight|nine))?)"
        r"(?=[ -]year)",
    ),
    "ADDRESS": (
        *_compiled(
            rf"(?P<value>\b\d{{1,6}}[A-Z]?\s+(?:[NSEW]\.?\s+)?(?:[A-Z][\w'.-]*\s+|\d+(?:st|nd|rd|"
            rf"th)\s+){{1,4}}{_STREET}\b\.?"
            rf"(?:,?\s*(?:Apt|Apartment|Suite|Ste|Unit|#)\.?\s*\w+)?"
            rf"(?:,?\s+{_CITY},?\s+{_STATE}(?:\s+\d{{5}}(?:-\d{{4}})?)?)?)",
            rf"(?P<value>\b{_CITY},\s*{_STATE}\s+\d{{5}}(?:-\d{{4}})?)\b",
            rf"(?P<value>\b{_CITY},\s*(?!MD|PA){_STATE})\b",  # these two are degrees as well
            rf"(?P<value>\b{_STATE}\s+\d{{5}}(?:-\d{{4}})?)\b",
            r"\b(?:from|in|near|of|to) (?P<value>(?:[A-Z][a-z]+ )?(?:[A-Z][a-z]+) (?:County|Township|Village))\b",
            rf"\b(?:lives in|resides in|resident of|moved (?:here )?from|moved to|visiting from|traveled to|"
            rf"travelled to)"
            rf"\s+(?P<value>{_CITY})",
            ignore_case=False,
        ),
        *_compiled(
            r"\b(?P<value>P\.?\s?O\.?\s?Box\s+\d+)\b",
            rf"\b(?:zip(?: code)?|postal code|postcode){_AFTER}(?P<value>[A-Z0-9]{{2,5}}(?:[- ][A-Z0-9]{{3,4}})?)\b",
        ),
    ),
    "ORGANIZATION": _compiled(
        rf"(?P<value>\b(?:(?:St|Mt)\.?\s+|[A-Z][\w'&-]+\s+)(?:(?:[A-Z][\w'&-]+|of|the|and|&)\s+){{0,4}}{_ORGANIZATION}"
        r"(?:\s+(?:of|at)\s+[A-Z]\w+)?)\b",
        r"\b(?:employed by|employed at|works at|works for|employer:|insured by|insurance:)\s+"
        r"(?P<value>[A-Z][\w&'-]+(?:\s+[A-Z&][\w&'-]*){0,3})",
        ignore_case=False,
    ),
}

NAME_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_CAPITAL = r"[A-Z][^\W\d_]*(?:['’-][A-Z]?[^\W\d_]+)*"
_PARTICLE = r"(?:(?:van|von|de|der|den|la|le|del|di|da|bin|ibn|al|el|ter|dos)\s+){0,2}"
_TITLE = r"(?:Dr|Drs|DR|Mr|MR|Mrs|MRS|Ms|MS|Miss|Prof|Professor|Doctor|Nurse|Rev|Sir|Madam|Sister|Pastor)"
_CREDENTIAL = (
    r"(?:M\.?D\.?|D\.?O\.?|R\.?N\.?|N\.?P\.?|P\.?A\.?(?:-C)?|Ph\.?D\.?|DDS|DPM|CRNA|LCSW|FACS|FACC|FRCS|"
    r"MBBS|PharmD|RPh|"
    r"CNM|LPN|PT|OTR)"
)
_FULL_NAME = rf"(?:{_CAPITAL}\.?)(?:,?[ \t]+{_PARTICLE}(?!{_CREDENTIAL}(?![a-z])){_CAPITAL}\.?){{0,3}}"
_NAME_LABEL = (
    r"(?:(?:patient|full|legal|first|last|family|given|maiden|surname|contact|mother'?s|father'?s|spouse'?s)\s*name|"
    r"name of patient|name|patient|pt|surgeon|assistant(?: surgeon)?|attending(?: physician| surgeon)?|"
    r"anesthesiologist|radiologist|pathologist|cardiologist|consultant|resident|fellow|operator|technologist|"
    r"(?:referring|primary(?: care)?|ordering|requesting|admitting|consulting|interpreting|supervising)"
    r"(?: (?:physician|provider|doctor|clinician|md))?|pcp|physician|provider|clinician|author|"
    r"(?:electronically |digitally )?(?:signed|dictated|transcribed|reviewed|verified|approved|read|"
    r"interpreted|reported|"
    r"prepared|performed|seen|examined|authenticated)(?: (?:and|&) \w+)? by|d|t|cc|"
    r"cop(?:y|ies)(?: to)?|emergency contact|"
    r"next of kin|guardian|attn|to|from|re|dear)"
)
_RELATION = (
    r"(?:wife|husband|spouse|partner|mother|father|mom|dad|son|daughter|sister|brother|aunt|uncle|cousin|niece|nephew|"
    r"grandson|granddaughter|grandmother|grandfather|friend|neighbor|neighbour|caregiver|roommate|"
    r"fianc[ée]e?|boyfriend|"
    r"girlfriend|interpreter|social worker|nurse|therapist|physician|doctor|surgeon|cardiologist|oncologist)"
)
# Capitalised words that follow a label or a relation and are nobody's name.
NOT_NAMES = frozenset(
    """
    they it who which family parents caregiver pt patients child boy girl baby infant mr mrs ms dr everyone nobody
    today yesterday currently then also both but when while after before since because although however therefore
    another each this these those his her their my our your its
    a an and as at by for from general he her his i if in is it male female man woman no none not on or our she the
    there this to was we with unknown patient physician doctor history medical present reports denies states same self
    wife husband spouse partner mother father mom dad son daughter sister brother aunt uncle cousin niece nephew
    signed dictated electronically digitally reviewed
    date age sex gender room bed unit service department radiology surgery pathology medicine emergency cardiology
    ct mri mr us xr xray pet chest abdomen pelvis head neck brain spine knee hip shoulder left right exam examination
    study procedure operation indication findings impression technique comparison conclusion diagnosis preoperative
    postoperative anesthesia estimated complications specimens disposition condition stable good fair dob mrn id
    number name phone fax address see above below pending noted please thank dear sir madam team staff all none
    sincerely truly regards american english spanish jehovah crohn parkinson alzheimer hodgkin foley doppler french
    """.split()  # noqa: SIM905
)
_DEEDS = r"(?:signed|dictated|transcribed|reviewed|seen|examined|performed|referred|read) by"
_PERSONAL = (
    r"(?:denies|denied|reports|reported|states|stated|complains|complained|agrees|agreed|says|said|feels|felt|admits|"
    r"admitted|is feeling|was feeling|lives|works|smokes|drinks|understands|wishes|declined|declines|tolerated|asked|"
    r"called|told|returns|returned|is doing|did well|is here|was here|is accompanied)"
)
_CLOSING = r"(?:sincerely|yours truly|best regards|kind regards|regards|respectfully|thank you|thanks)"
_LINK = r"(?:,|[ \t]+named|[ \t]+is|[ \t]*\(|:)?[ \t]+"
_SIGNING = frozenset({"signed", "sincerely", "dear", "electronically", "patient"})
_TITLES = frozenset(
    {"dr", "drs", "mr", "mrs", "ms", "miss", "prof", "professor", "doctor", "nurse", "md", "do", "rn", "np", "pa"}
)
_NAME_PATTERNS = (
    re.compile(rf"\b{_TITLE}\.?\s+(?P<value>{_FULL_NAME})"),
    re.compile(rf"(?P<value>\b{_FULL_NAME}),?[ \t]+{_CREDENTIAL}(?![A-Za-z])"),
    re.compile(rf"(?m)(?:^|[;|]|\t|  )[ \t]*(?i:{_NAME_LABEL})[ \t]*[:#][ \t]*(?P<value>{_FULL_NAME})"),
    re.compile(rf"\b(?i:{_DEEDS})[ \t:]+(?P<value>{_FULL_NAME})"),
    re.compile(rf"\b(?i:{_CLOSING}),?\s+(?P<value>{_FULL_NAME})"),
    re.compile(rf"\b(?i:{_RELATION}){_LINK}(?P<value>{_FULL_NAME})"),
    re.compile(rf"\b(?i:patient|pt\.?|named|called|dear)[ \t]+(?P<value>{_CAPITAL},?[ \t]+{_FULL_NAME})"),
    re.compile(rf"(?m)(?:^|[.!?][ \t])[ \t]*(?P<value>{_CAPITAL}(?:[ \t]+{_CAPITAL}){{0,2}})[ \t]+{_PERSONAL}\b"),
    re.compile(
        rf"(?m)^[ \t]*(?P<value>{_CAPITAL}(?:[ \t]+{_CAPITAL}\.?){{1,3}})[ \t]*\n[ \t]*\d{{1,6}}[A-Z]?[ \t]+[A-Z0-9]"
    ),
    re.compile(rf"(?P<value>\b{_FULL_NAME})[ \t]+(?:is|was)[ \t]+an?[ \t]+[^.\n]{{0,20}}\d{{1,3}}[ -]*(?:y|m|w|d)"),
    re.compile(rf"(?P<value>\b{_FULL_NAME}),?[ \t]+(?:DOB|born|MRN|age)\b"),
)
_TWO_WORDS = re.compile(
    rf"\b(?P<first>{_CAPITAL})(?P<link>,?[ \t]+(?:[A-Z]\.?[ \t]+)?{_PARTICLE})(?P<last>{_CAPITAL})\b"
)


def name_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where names of persons stand, by titles, credentials, labels, relations and lists of common names."""
    for pattern in _NAME_PATTERNS:
        for match in pattern.finditer(text):
            span = _trimmed(text, *match.span("value"))
            if span:
                yield span
    place = 0
    while pair := _TWO_WORDS.search(text, place):
        first, last = pair["first"].lower(), pair["last"].lower()
        place = pair.start("last")
        if first in NOT_NAMES or last in NOT_NAMES:
            continue
        backwards = "," in pair["link"]
        names = last in GIVEN_NAMES if backwards else first in GIVEN_NAMES
        if names or (last in GIVEN_NAMES and first in SURNAMES | AMBIGUOUS):
            yield pair.span()
            place = pair.end()
    for word in NAME_WORD.finditer(text):
        plain = word[0].lower()
        known = plain in GIVEN_NAMES or plain in SURNAMES
        if known and plain not in AMBIGUOUS and word[0][0].isupper() and not is_eponym(text, word.end()):
            yield word.span()


_EPONYM = re.compile(
    r"['’]?s?[ -](?:disease|syndrome|sign|test|score|scale|criteria|classification|procedure|operation|"
    r"maneuver|retractor|"
    r"catheter|clamp|forceps|incision|ligament|fracture|nodes?|lesion|stain|suture|drain|tube|needle|stent|filter|cyst|"
    r"pouch|scissors|elevator|approach|technique|point|space|triangle|duct|gland|canal|fascia|tumou?r|fundoplication|"
    r"cannula|dilators?|trocar|speculum|rongeur|lymphoma|esophagus|contracture|mesh|position|knot|reaction|wires?)",
    re.IGNORECASE,
)


def is_eponym(text: str, end: int) -> bool:
    """Whether what ends here names a thing: "Murphy sign", "Foley catheter"."""
    return bool(_EPONYM.match(text, end))


def _trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    """A span without the words at its ends that are nobody's name; None where nothing is left."""
    words = [(match.start() + start, match.end() + start) for match in NAME_WORD.finditer(text[start:end])]
    kept: list[tuple[int, int]] = []
    for first, last in words:
        word = text[first:last]
        if not kept and word.lower() in _TITLES | _SIGNING:
            continue
        initial = kept and len(word) == 1 and word.isupper()
        if word.lower() in NOT_NAMES | _TITLES and not initial:
            break
        kept.append((first, last))
    if not kept or (len(kept) == 1 and kept[0][1] - kept[0][0] < 2) or is_eponym(text, kept[-1][1]):
        return None
    return kept[0][0], kept[-1][1]
