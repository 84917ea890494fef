"""What is dictated: questions about a scan, report sentences and plain clauses, as lower-case spoken text.

The spoken form has the letters a to z, the apostrophe and the space only. Abbreviations that are said letter by letter
are written letter by letter: CT is ``c t``, MRI is ``m r i``. Numbers are words, spoken punctuation is ``period`` and
``comma``. Next in the path: ``synth/voices`` speaks the lines. Knows no sound and no model.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from medvox.errors import SetupError
from medvox.synth.report_grammar import REPORT_RULES

Kind = Literal["question", "report", "general"]

KIND_SHARES: tuple[tuple[Kind, float], ...] = (("question", 0.25), ("report", 0.60), ("general", 0.15))
HELD_OUT_PERCENT = 6
MEDICAL_SHARE = 0.55  # of the general lines, where medical prose is there
MEDICAL_TEXTS = (
    "mtsamples_notes.jsonl.gz",
    "mts_dialog.jsonl.gz",
    "aci_bench.jsonl.gz",
    "negation_context.jsonl.gz",
    "pubmedqa.jsonl.gz",
    "medquad.jsonl.gz",
)
LONGEST_LINE = 150  # characters, about ten seconds

# The demo's questions are never trained on, whatever their hash says.
DEMO_QUESTIONS = (
    "which body region does this c t scan show",
    "is there a lung nodule in this scan",
    "is there a lung nodule in this c t scan",
    "where is the liver lesion",
    "is there a kidney stone",
    "which finding does this scan show",
    "is there a pleural effusion on the left",
)

_SPOKEN = re.compile(r"[a-z']+( [a-z']+)*")
_ODD = re.compile(r"(^| )[b-hj-z]( |$)|''|(^| )'|'( |$)")  # loose letters, quotes
_NO_VOWEL = re.compile(r"(^| )[^aeiouy ]+( |$)")  # abbreviations
_SLOT = re.compile(r"\{(\w+)\}")
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
]
_ONES += ["seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

# Rule -> alternatives, separated by " | ". A slot {name} is expanded by the rule of that name.
RULES: dict[str, str] = REPORT_RULES | {
    "question": "{ask_region} | {ask_region} | {ask_finding} | {ask_finding} | {ask_finding} | {ask_where}"
    " | {ask_which} | {ask_organ} | {ask_size} | {ask_other} | {politely} {ask_region}"
    " | {politely} {ask_finding} | {politely} {tell} | {tell} | {ask_coverage}",
    "politely": "please | okay | doctor | so | can you tell me | could you tell me | please tell me | i want to know",
    "ask_region": "which {region_word} does {scan} show | what {region_word} does {scan} show"
    " | which {region_word} is shown in {scan} | what {region_word} is shown | which {region_word} is this"
    " | what {region_word} is this | which {region_word} do you see in {scan}"
    " | what {region_word} can you see here | what does {scan} show | what part of the body is in {scan}"
    " | which part of the body does {scan} show | which {region_word} is covered by {scan}"
    " | what {region_word} is imaged here | which {region_word} was scanned | is this {a_region} or {a_region}"
    " | is this {a_scan} of the {region} | does {scan} show the {region} | is the {region} shown in {scan}"
    " | which {region_word} are we looking at | what are we looking at in {scan}"
    " | is {scan} {a_region} or the {region} | what kind of scan is this | which body region does {scan} cover"
    " | what region does {scan} cover | to which {region_word} does {scan} belong"
    " | what is the {region_word} of {scan} | does {scan} show the {region} or the {region} | is it {a_region}"
    " | what body region is this {modality} of",
    "ask_coverage": "is the whole {organ} in {scan} | does {scan} include the {region}"
    " | can you see the {organ} | is the {organ} included in {scan} | how many slices does {scan} have"
    " | where does {scan} start",
    "ask_finding": "is there {a_finding} in {scan} | is there {a_finding} | do you see {a_finding}"
    " | do you see any {finding} | does {scan} show {a_finding} | is there any {finding} in {scan}"
    " | is {a_finding} present in {scan} | can you see {a_finding} in {scan}"
    " | does the patient have {a_finding} | is there evidence of {a_finding} | are there any {findings}"
    " | are there any {findings} in {scan} | any sign of {a_finding} | is there {a_finding} in the {place}"
    " | do you see {a_finding} in the {place} | is there {a_finding} on the {side}"
    " | is there {a_finding} or {a_finding} | does {scan} contain {a_finding}"
    " | are there {findings} in the {organ} | can you find {a_finding} | check for {a_finding}"
    " | look for {a_finding} in the {place} | any {finding} | is the {finding} new | has the {finding} changed"
    " | is there still {a_finding} | yes or no is there {a_finding} | is there acute {finding}"
    " | rule out {a_finding}",
    "ask_where": "where is the {finding} | where is the {finding} in {scan}"
    " | in which {place_word} is the {finding} | on which side is the {finding}"
    " | which side is the {finding} on | where do you see the {finding} | where exactly is the {finding}"
    " | on which slice is the {finding} | which slice shows the {finding} | mark the {finding}"
    " | show me the {finding} | find the {finding} | locate the {finding} in {scan}"
    " | which {organ_group} contains the {finding} | where are the {findings} | point to the {finding}"
    " | draw a box around the {finding} | is the {finding} on the left or on the right"
    " | in which lobe is the {finding}",
    "ask_which": "which finding does {scan} show | what finding is shown in {scan}"
    " | which abnormality is present | what abnormality do you see | what is abnormal in {scan}"
    " | what do you see in the {organ} | what is this lesion | which of these findings is present"
    " | is {scan} normal | is {scan} normal or abnormal | is there anything abnormal"
    " | what is the main finding | what is the most important finding in {scan} | what findings are present"
    " | what is wrong in {scan} | is there an abnormality in the {place} | describe the {finding}"
    " | what is the diagnosis | what are the findings",
    "ask_organ": "is the {organ} normal | how does the {organ} look | is the {organ} enlarged"
    " | are the {organs} normal | is there anything in the {organ} | what about the {organ}"
    " | which organ is this | which organs do you see | is the {organ} {organ_state}",
    "ask_size": "how large is the {finding} | how big is the {finding} | what is the size of the {finding}"
    " | how many {findings} are there | how many {findings} do you see in {scan} | measure the {finding}"
    " | what is the diameter of the {finding} | is the {finding} larger than {count} millimeters"
    " | how dense is the {finding}",
    "ask_other": "was contrast given | is {scan} with contrast | is this {a_scan} with or without contrast"
    " | is the quality of {scan} good enough | what should be done next | is follow up needed"
    " | compare {scan} with the prior study | has anything changed since the last {modality}"
    " | which window is best for the {organ} | are there artifacts in {scan} | what is the slice thickness",
    "tell": "tell me which {region_word} {scan} shows | tell me if there is {a_finding}"
    " | tell me where the {finding} is | tell me what you see in {scan} | describe {scan}"
    " | describe the findings in {scan} | name the {region_word} shown | name the {region_word} in {scan}"
    " | say which {region_word} this is | answer yes or no | summarize {scan} | explain what {scan} shows"
    " | read {scan} | give me the {region_word} of {scan} | write a report for {scan}"
    " | tell me which finding {scan} shows",
    "region_word": "body region | body region | body region | region | body part | part of the body"
    " | anatomical region | anatomic region | area of the body | region of the body | area"
    " | section of the body",
    "place_word": "organ | region | lobe | part of the {organ} | slice | side",
    "scan": "this c t scan | this c t scan | this scan | this scan | this c t | the scan | the c t"
    " | the c t scan | this image | these images | this study | this series | the study | this volume"
    " | this c t study | this c t series | these slices | the images | this examination | this c t image"
    " | this picture | the image | the series",
    "a_scan": "a c t | a c t scan | a scan | an image | a study | an m r i | an x ray",
    "modality": "c t | scan | study | c t scan | examination | m r i | x ray",
    "region": "head | chest | abdomen | pelvis | head | chest | abdomen | pelvis | neck | brain | thorax"
    " | belly | spine | upper abdomen | lower abdomen | skull | trunk | lung bases",
    "a_region": "the {region} | a head | a chest | an abdomen | a pelvis | a head c t | a chest c t"
    " | an abdominal c t | a pelvic c t | a neck | a brain",
    "finding": "lung nodule | liver lesion | kidney stone | intracranial hemorrhage | pleural effusion"
    " | lung nodule | liver lesion | kidney stone | intracranial hemorrhage | pleural effusion"
    " | pulmonary nodule | renal stone | brain bleed | brain hemorrhage | hemorrhage | bleed | nodule | lesion"
    " | stone | effusion | mass | tumor | cyst | fracture | pneumothorax | liver cyst | lung mass | liver mass"
    " | hematoma | aneurysm | abscess | calcification | pneumonia | fluid | subdural hematoma | lymph node"
    " | infarct | metastasis",
    "a_finding": "a lung nodule | a liver lesion | a kidney stone | an intracranial hemorrhage"
    " | a pleural effusion | a lung nodule | a liver lesion | a kidney stone | intracranial hemorrhage"
    " | pleural effusion | a pulmonary nodule | a renal stone | a brain bleed | a hemorrhage | bleeding"
    " | a nodule | a lesion | a stone | an effusion | a mass | a tumor | a cyst | a fracture | a pneumothorax"
    " | a liver cyst | a lung mass | a hematoma | an aneurysm | free fluid | an abscess | a calcification"
    " | pneumonia | free air | an infarct | a subdural hematoma | an abnormality | a nodule in the lung"
    " | a lesion in the liver | a stone in the kidney | blood in the brain | metastases",
    "findings": "lung nodules | liver lesions | kidney stones | pleural effusions | nodules | lesions | stones"
    " | masses | hemorrhages | fractures | cysts | pulmonary nodules | lymph nodes | calcifications"
    " | abnormalities",
    "organ": "liver | lung | kidney | spleen | heart | brain | pancreas | bladder | aorta | stomach"
    " | gallbladder | bowel | colon | left lung | right lung | left kidney | right kidney | skull | spine"
    " | prostate | uterus | thyroid | adrenal gland | diaphragm | trachea | esophagus",
    "organs": "lungs | kidneys | adrenal glands | ventricles | bones | vessels | lymph nodes | vertebrae"
    " | ribs | airways",
    "organ_group": "organ | lung | kidney | lobe | lobe of the lung | segment | slice | lobe of the liver",
    "organ_state": "enlarged | displaced | intact | visible | dilated | cut off | compressed",
    "side": "left | right | left side | right side",
    "place": "{organ} | left lung | right lung | {lobe} | left kidney | right kidney | liver | {region}"
    " | left side | right side | brain | pleural space",
    "lobe": "left upper lobe | right upper lobe | left lower lobe | right lower lobe | right middle lobe"
    " | left lobe of the liver | right lobe of the liver | frontal lobe | temporal lobe | parietal lobe"
    " | occipital lobe | caudate lobe",
    "report": "{spoken} | {spoken} | {spoken} | {line}",
    "line": "{sentence} | {sentence} | {sentence} period | {sentence} period"
    " | {sentence} comma {tail} period | {heading} | impression {sentence} period | findings {sentence} period",
    "heading": "findings | impression | technique | indication {indication} period"
    " | comparison {modality} of {date} | exam {modality} of the {region} | history {indication}",
    "indication": "{symptom} | {symptom} and {symptom} | rule out {finding} | follow up of {finding}"
    " | {symptom} for {count} days",
    "symptom": "chest pain | abdominal pain | headache | shortness of breath | cough | fever | flank pain"
    " | hematuria | nausea | vomiting | fall | trauma | weight loss | seizure | weakness | dizziness"
    " | jaundice | back pain",
    "sentence": "there is {adjective} {finding} in the {place} | there is no {finding}"
    " | no evidence of {finding} | {adjective} {finding} in the {place} measuring {measure}"
    " | the {organ} is {normal} | the {organs} are {normal} | {finding} in the {lobe}"
    " | {finding} in the {place} measures {measure} | no {finding} or {finding}"
    " | unchanged {finding} in the {place} | new {finding} in the {place}"
    " | the {finding} has {changed} to {measure} | previously {measure} now {measure}"
    " | there are {number} {findings} in the {place} | the {organ} is {organ_state}"
    " | small {side_word} {finding} | {side_word} {finding} with {adjective} {finding}"
    " | mild degenerative changes of the {spine_part} spine | compression fracture of {level}"
    " | no acute intracranial abnormality | no midline shift | the ventricles are normal in size"
    " | no focal consolidation | the heart size is normal | clear lungs"
    " | recommend follow up in {number} months | recommend {modality} of the {region} in {number} weeks"
    " | the attenuation is {count} hounsfield units | {modality} of the {region} with contrast"
    " | {modality} of the {region} without contrast | slice thickness {number} millimeters"
    " | compared with {date} | series {number} image {count} | the patient is a {count} year old {person}"
    " | findings were discussed with doctor {surname} | blood pressure {count} over {count}"
    " | contrast dose {count} milliliters | {finding} not excluded | likely {finding}"
    " | suspicious for {finding}",
    "tail": "unchanged | not seen before | most likely benign | suspicious for malignancy"
    " | clinical correlation is advised | {measure} | no {finding} | without {finding} | measuring {measure}"
    " | follow up recommended",
    "adjective": "small | large | tiny | solid | calcified | acute | chronic | mild | moderate | severe | new"
    " | unchanged | stable | hypodense | hyperdense | round | irregular | focal | diffuse | subtle | simple"
    " | cystic | a | enhancing",
    "normal": "normal | unremarkable | within normal limits | normal in size | clear | intact | not enlarged"
    " | patent | mildly enlarged | well seen",
    "changed": "increased | decreased | grown | resolved | progressed",
    "side_word": "left | right | bilateral | left sided | right sided",
    "spine_part": "cervical | thoracic | lumbar",
    "level": "c {digit} | t {digit} | l {lumbar} | the {ordinal} rib | s one",
    "ordinal": "first | second | third | fourth | fifth | sixth | seventh | eighth | ninth | tenth",
    "person": "man | woman | male | female | patient",
    "surname": "smith | jones | miller | brown | davis | wilson | taylor | clark | lewis | walker",
    "date": "{month} {ordinal} | {month} {ordinal} two thousand {count} | {month} {count}",
    "month": "january | february | march | april | may | june | july | august | september | october | november"
    " | december",
    "measure": "{number} millimeters | {count} millimeters | {digit} point {digit} centimeters"
    " | {digit} centimeters | {digit} by {digit} millimeters | {count} by {count} millimeters"
    " | {digit} point {digit} by {digit} point {digit} centimeters | up to {number} millimeters",
    "digit": "one | two | three | four | five | six | seven | eight | nine",
    "lumbar": "one | two | three | four | five",
    "number": "one | two | three | four | five | six | seven | eight | nine | ten | eleven | twelve | {count}",
}
_ALTERNATIVES = {name: [one.strip() for one in text.split(" | ")] for name, text in RULES.items()}

_FORTUNES = Path("/usr/share/games/fortunes")
_FORTUNE_FILES = [
    "literature",
    "people",
    "wisdom",
    "science",
    "work",
    "medicine",
    "food",
    "love",
    "education",
    "platitudes",
]
_WORD_LISTS = (Path("/usr/share/dict/american-english"), Path("/usr/share/hunspell/en_med_glut.dic"))


def count_words(value: int) -> str:
    """A number from 0 to 999 as it is spoken: 120 is ``one hundred twenty``."""
    if value < 20:
        return _ONES[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        return _TENS[tens - 2] + (f" {_ONES[ones]}" if ones else "")
    hundreds, rest = divmod(value, 100)
    return f"{_ONES[hundreds]} hundred" + (f" {count_words(rest)}" if rest else "")


def expand(rule: str, rng: random.Random) -> str:
    """One line of the grammar's rule, every slot drawn at random."""
    if rule == "count":
        return count_words(rng.choice([rng.randint(1, 30), rng.randint(10, 99), rng.randint(10, 99)]))
    line = rng.choice(_ALTERNATIVES[rule])
    return _SLOT.sub(lambda slot: expand(slot.group(1), rng), line)


def is_spoken_form(text: str) -> bool:
    """Whether the text keeps to a-z, apostrophes and single spaces."""
    return _SPOKEN.fullmatch(text) is not None


def is_held_out(text: str) -> bool:
    """Whether a line belongs to the evaluation side. Decided by the text alone, so no line is ever on both sides."""
    digest = hashlib.sha256(text.encode()).digest()
    return text in DEMO_QUESTIONS or int.from_bytes(digest[:4], "big") % 100 < HELD_OUT_PERCENT


class ScriptWriter:
    """Draws lines of each kind. Plain clauses and loose words come from Debian's text packages.

    Args:
        seed: decides every draw.
        texts: a folder of medical prose, whose clauses are mixed with the plain ones; none when None.

    Raises:
        SetupError: ``fortunes``, ``wamerican`` or ``hunspell-en-med`` is not installed.
    """

    def __init__(self, seed: int, texts: Path | None = None) -> None:
        self._rng = random.Random(seed)
        self._clauses = _plain_clauses()
        self._medical = medical_clauses(texts) if texts is not None else []
        self._words = [_plain_words(path) for path in _WORD_LISTS]

    def line(self, kind: Kind | None = None) -> tuple[Kind, str]:
        """A line and its kind; the kind is drawn by ``KIND_SHARES`` unless given."""
        if kind is None:
            kinds, shares = zip(*KIND_SHARES, strict=True)
            kind = self._rng.choices(kinds, weights=shares)[0]
        if kind == "general":
            return kind, self._general()
        while len(line := expand(kind, self._rng)) > LONGEST_LINE:
            pass
        return kind, line

    def _general(self) -> str:
        if self._medical and self._rng.random() < MEDICAL_SHARE:
            return self._rng.choice(self._medical) + self._rng.choice(("", "", " period"))
        if self._rng.random() < 0.75:
            return self._rng.choice(self._clauses)
        words = self._rng.choice(self._words)
        return " ".join(self._rng.choice(words) for _ in range(self._rng.randint(1, 4)))


def _plain_clauses() -> list[str]:
    """Clauses of 2 to 9 plain words from the fortune files."""
    clauses: set[str] = set()
    for name in _FORTUNE_FILES:
        text = _read(_FORTUNES / name, "fortunes").replace("\n", " ")
        for clause in re.split(r"[^A-Za-z' ]+", text):
            plain = " ".join(clause.lower().split())
            fits = is_spoken_form(plain) and 2 <= len(plain.split()) <= 9 and 8 <= len(plain) <= 60
            if fits and not _ODD.search(plain):
                clauses.add(plain)
    return sorted(clauses)


def medical_clauses(folder: Path) -> list[str]:
    """Clauses of 3 to 14 plain words from the medical texts that lie in the folder; empty when there are none.

    Clauses with digits or abbreviations are left out: nobody can tell how they would be said.
    """
    clauses: set[str] = set()
    for name in MEDICAL_TEXTS:
        if not (folder / name).exists():
            continue
        with gzip.open(folder / name, "rt", encoding="utf-8") as lines:
            for row in lines:
                for value in json.loads(row).values():
                    if isinstance(value, str) and " " in value:
                        clauses.update(_clauses_of(value))
    return sorted(clauses)


def _clauses_of(text: str) -> Iterator[str]:
    for clause in re.split(r"[^A-Za-z' -]+", text):
        words = clause.replace("-", " ").split()
        plain = " ".join(words).lower()
        if not (3 <= len(words) <= 14 and 15 <= len(plain) <= 100 and is_spoken_form(plain)) or _ODD.search(plain):
            continue
        if not any(word.isupper() and len(word) > 1 for word in words) and not _NO_VOWEL.search(plain):
            yield plain


def _plain_words(path: Path) -> list[str]:
    package = "wamerican" if "dict" in path.parts else "hunspell-en-med"
    lines = _read(path, package).splitlines()
    return sorted({line for line in lines if re.fullmatch(r"[a-z]{3,14}", line)})


def _read(path: Path, package: str) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="ignore")
    except OSError as error:
        raise SetupError(
            f"the word list {path.name} is missing", fix=f"install the Debian package {package}", code="E_TEXT_PACKAGE"
        ) from error
