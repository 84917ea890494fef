"""Recognised text and how it is written: the table that holds the command grammar to its word.

``WRITTEN`` pairs change; every sentence of ``UNCHANGED`` must come out as it went in. Families that are regular
(every name of MedASR's markup, every way to damage it, every unit) are made here, each expectation from its own row.
"""

from __future__ import annotations

from collections.abc import Iterator

# What MedASR writes in braces, between "alpha" and "beta", and what a clinician reads.
MARKUP = {
    "period": "Alpha. Beta",
    "full stop": "Alpha. Beta",
    "comma": "Alpha, beta",
    "colon": "Alpha: beta",
    "hyphen": "Alpha-beta",
    "slash": "Alpha/beta",
    "quote": 'Alpha "beta',
    "close quote": 'Alpha" beta',
    "parenthesis": "Alpha (beta",
    "new paragraph": "Alpha\n\nBeta",
    "newline": "Alpha\nBeta",
    "new line": "Alpha\nBeta",
    "next line": "Alpha\nBeta",
    "next number": "Alpha\n1. Beta",
}
UNITS = {
    "millimeters": "mm", "millimeter": "mm", "millimetres": "mm", "centimeters": "cm", "centimetre": "cm",
    "meters": "m", "milligrams": "mg", "micrograms": "mcg", "grams": "g", "kilograms": "kg", "milliliters": "mL",
    "liters": "L", "litres": "L", "deciliters": "dL", "milliequivalents": "mEq", "millimoles": "mmol",
    "hounsfield units": "HU", "beats per minute": "bpm", "breaths per minute": "breaths/min",
    "millimeters of mercury": "mmHg", "degrees celsius": "°C", "degrees fahrenheit": "°F", "degrees": "degrees",
    "cubic centimeters": "cm3", "square meters": "m2", "m m": "mm", "m g": "mg", "c c": "cc", "units": "units",
    "milligrams per deciliter": "mg/dL", "milligrams per day": "mg/day", "liters per minute": "L/min",
    "micrograms per kilogram per minute": "mcg/kg/min", "milliliters per hour": "mL/h", "weeks": "weeks",
    "days": "days", "months": "months", "hours": "hours", "minutes": "minutes", "tablets": "tablets", "puffs": "puffs",
    "megahertz": "MHz", "milligray": "mGy", "french": "French",
}  # fmt: skip
NUMBERS = {
    "three": "3", "zero": "0", "eleven": "11", "twenty five": "25", "twenty-five": "25", "one hundred": "100",
    "one hundred and twenty": "120", "two hundred five": "205", "fifteen hundred": "1500", "two thousand": "2000",
    "twelve thousand three hundred forty five": "12345", "three point five": "3.5", "zero point zero five": "0.05",
    "three point twenty five": "3.25", "one hundred point oh": "100.0", "two and a half": "2.5", "3 point 5": "3.5",
    "point five": "0.5", "one million": "1000000",
}  # fmt: skip


def _damaged(name: str) -> Iterator[str]:
    """A marked name with a brace missing, doubled, misplaced or spaced, and torn in the midst of a word."""
    yield "{" + name
    yield name + "}"
    yield "{{" + name + "}}"
    yield "{{" + name + "}"
    yield "{" + name + "}}"
    yield "{ " + name + " }"
    yield "{" + name[:-1] + "}" + name[-1] + "}"
    yield "{" + name[:2] + " " + name[2:] + "}"
    yield name[:-1] + "}" + name[-1] + "}"
    yield "{" + name.upper() + "}"


def _families() -> Iterator[tuple[str, str]]:
    for name, written in MARKUP.items():
        yield f"alpha {{{name}}} beta", written
        yield f"alpha{{{name}}}beta", written
        for damaged in _damaged(name):
            torn_colon = name == "colon" and not ("{" in damaged and "}" in damaged)
            yield (f"findings {damaged} beta", "Findings: beta") if torn_colon else (f"alpha {damaged} beta", written)
    for unit, short in UNITS.items():
        yield f"about five {unit} here", f"About 5 {short} here"
    for words, digits in NUMBERS.items():
        yield f"about {words} milliliters", f"About {digits} mL"
        yield f"about {words} percent", f"About {digits}%"


MARKS = [
    ("no nodule period", "No nodule."),
    ("no nodule full stop", "No nodule."),
    ("small comma round", "Small, round"),
    ("stable semicolon follow up", "Stable; follow up"),
    ("stable semi colon follow up", "Stable; follow up"),
    ("fracture question mark", "Fracture?"),
    ("stop exclamation point", "Stop!"),
    ("follow hyphen up", "Follow-up"),
    ("alpha dash beta", "Alpha - beta"),
    ("and slash or", "And/or"),
    ("mass open parenthesis image four close parenthesis period", "Mass (image 4)."),
    ("mass open paren stable close paren", "Mass (stable)"),
    ("mass left paren stable right paren", "Mass (stable)"),
    ("she said open quote no pain close quote period", 'She said "no pain".'),
    ("she said quote no pain unquote", 'She said "no pain"'),
    ("she said quote no pain end quote", 'She said "no pain"'),
    ("alpha new line beta", "Alpha\nBeta"),
    ("alpha next line beta", "Alpha\nBeta"),
    ("alpha newline beta", "Alpha\nBeta"),
    ("alpha period new paragraph beta period", "Alpha.\n\nBeta."),
    ("alpha new line new paragraph beta", "Alpha\n\nBeta"),
    ("No nodule, period. New paragraph. Impression, colon, normal.", "No nodule.\n\nImpression: normal."),
    ("No mass. Period. The liver is normal. Period.", "No mass. The liver is normal."),
    ("No mass. {period} Stable", "No mass. Stable"),
    ("no mass . the liver , spleen : normal .", "No mass. The liver, spleen: normal."),
    ("no mass period period stable", "No mass. Stable"),
    ("no change at this time period", "No change at this time."),
    ("follow up in one year period", "Follow up in one year."),
    ("seen the same day period", "Seen the same day."),
    ("the sigmoid colon period", "The sigmoid colon."),
    ("transverse colon period the liver", "Transverse colon. The liver"),
    ("impression colon normal", "Impression: normal"),
    ("impression colon colon cancer", "Impression: colon cancer"),
    ("findings colon the colon is normal period", "Findings: the colon is normal."),
    ("clinical history colon pain", "Clinical history: pain"),
    ("as follows colon rest", "As follows: rest"),
    ("lungs colon clear", "Lungs: clear"),
    ("no mass period heart colon normal", "No mass. Heart: normal"),
    ("liver colon small cyst period spleen colon large", "Liver: small cyst. Spleen: large"),
    ("soft tissues colon no swelling", "Soft tissues: no swelling"),
    ("bones and soft tissues colon intact", "Bones and soft tissues: intact"),
    ("vital signs colon stable", "Vital signs: stable"),
    ("contrast colon none", "Contrast: none"),
    ("number two colon small cyst", "Number two: small cyst"),
    ("seen at 3 p.m. today", "Seen at 3 p.m. today"),
    ("seen by dr. smith", "Seen by dr. smith"),
    ("mass . the liver", "Mass. The liver"),
    ("Mass . the liver", "Mass. the liver"),
    ("Mass period the liver", "Mass. The liver"),
    ("seen by nurse cap jones", "Seen by nurse Jones"),
    ("[ADDENDUM] stable [FINDINGS] mass", "ADDENDUM:\nStable\n\nFINDINGS:\nMass"),
    ("next number , mass", "1. Mass"),
    ("IMPRESSION colon no mass", "IMPRESSION: no mass"),
    ("all caps stat dose", "STAT dose"),
    ("caps on no contrast caps off given", "NO CONTRAST given"),
    ("seen by doctor cap smith", "Seen by doctor Smith"),
    ("c t of the head and m r i", "CT of the head and MRI"),
    ("a chest x ray", "A chest x-ray"),
    ("i v contrast and e k g", "IV contrast and EKG"),
    ("vitamin b twelve", "Vitamin B12"),
    ("question mark fracture", "? Fracture"),
    ("", ""),
]
LAYOUT = [
    ("[FINDINGS] no mass . [IMPRESSION] normal .", "FINDINGS:\nNo mass.\n\nIMPRESSION:\nNormal."),
    ("[EXAM TYPE] chest", "EXAM TYPE:\nChest"),
    ("[FINDINGS] : no mass", "FINDINGS:\nNo mass"),
    ("[FINDINGS]: no mass", "FINDINGS:\nNo mass"),
    ("[FINDINGS] {colon} {new line} no mass", "FINDINGS:\nNo mass"),
    *[(f"[{head}] x", f"{head}:\nX") for head in ("INDICATION", "TECHNIQUE", "PROCEDURE", "PLAN", "DIAGNOSES")],
    ("normal period go to impression no mass", "Normal.\n\nIMPRESSION:\nNo mass"),
    ("go to findings clear", "FINDINGS:\nClear"),
    ("go to the plan rest", "PLAN:\nRest"),
    ("Go to impression. No mass.", "IMPRESSION:\nNo mass."),
    ("seen {next} para}graph} stable", "Seen\n\nStable"),
    ("seen xt line} stable", "Seen\nStable"),
    ("seen ext line} stable", "Seen\nStable"),
    ("seen {next li stable", "Seen\nStable"),
    ("seen {new para stable", "Seen\n\nStable"),
    ("seen aragraph} stable", "Seen\n\nStable"),
    ("seen {new paragr stable", "Seen\n\nStable"),
    ("seen {new} {paragraph} stable", "Seen\n\nStable"),
    ("seen {new} paragraph} stable", "Seen\n\nStable"),
    ("seen new } line stable", "Seen\nStable"),
    ("seen {full} stop} stable", "Seen. Stable"),
    ("seen eriod} stable", "Seen. Stable"),
    ("seen {peri stable", "Seen. Stable"),
    ("seen {comm stable", "Seen, stable"),
    ("seen omma} stable", "Seen, stable"),
    ("seen {hyph stable", "Seen-stable"),
    ("seen {close quo stable", 'Seen" stable'),
    ("three {point} five centimeters", "3.5 cm"),
    ("three {point five centimeters", "3.5 cm"),
    ("impression {colon} {next number} mass {next number} cyst", "Impression:\n1. Mass\n2. Cyst"),
    ("1. mass {next number} cyst", "1. Mass\n2. Cyst"),
    ("1. mass . {next} cyst", "1. Mass.\n2. Cyst"),
    ("impression colon number one mass period number two cyst period", "Impression:\n1. Mass.\n2. Cyst."),
    ("[FINDINGS] number one mass period [PLAN] next number rest", "FINDINGS:\n1. Mass.\n\nPLAN:\n1. Rest"),
    ("one mass period next number two cysts", "One mass.\n1. Two cysts"),
    ("{quote} stable {quote} {period}", '"Stable".'),
    ("{parenthesis} stable {parenthesis} {period}", "(Stable)."),
    ("normal {period} {end of dictation}", "Normal."),
    ("normal {period} {end}", "Normal."),
    ("normal period end of dictation", "Normal."),
    ("normal . </s>", "Normal."),
    ("<s> normal </s>", "Normal"),
    ("normal </s", "Normal"),
    ("normal <unk> liver", "Normal [unintelligible] liver"),
    ("the {period} {new paragraph} {comma} x", "The.\n\n, x"),
    ("left mass period scratch that right mass period", "Right mass."),
    ("stable period left mass scratch that right mass period", "Stable. Right mass."),
    ("alpha period beta period scratch that gamma", "Alpha. Gamma"),
    ("alpha period beta scratch that scratch that gamma", "Gamma"),
    ("alpha new line beta strike that gamma", "Alpha\nGamma"),
    ("alpha beta delete that gamma", "Gamma"),
    ("go to findings mass scratch that clear", "FINDINGS:\nClear"),
    ("next number mass next number scratch that stable", "1. Mass stable"),
    ("scratch that clear", "Clear"),
    ("number one twenty six year old man period number two mass", "1. 26-year-old man.\n2. Mass"),
    ("number one ninety six percent narrowing", "1. 96% narrowing"),
    ("image number one twenty six", "Image number one twenty six"),
    ("is there a mass on the left scratch that is there a mass on the right", "Is there a mass on the right"),
    ("is there a mass scratch that is there no mass", "Is there no mass"),
    ("is this a c t scratch that is this an m r i", "Is this an MRI"),
    ("mass on the left scratch that was it on the right", "Was it on the right"),
    ("does she have pain strike that has she any cough", "Has she any cough"),
    ("is the right lung clear scratch that is the left lung clear", "Is the left lung clear"),
    ("which lung is clear delete that is the left lung clear", "Is the left lung clear"),
    ("stable period is the liver normal scratch that was the liver normal", "Stable. Was the liver normal"),
    ("mass scratch that are there any nodules", "Are there any nodules"),
]
QUANTITIES = [
    ("mass of three point five centimeters", "Mass of 3.5 cm"),
    ("blood pressure one hundred twenty over eighty", "Blood pressure 120/80"),
    ("blood pressure is one twenty over eighty", "Blood pressure is 120/80"),
    ("blood pressure was one oh five over sixty", "Blood pressure was 105/60"),
    ("blood pressure of one ten {slash} seventy", "Blood pressure of 110/70"),
    ("blood pressure 120 over 80", "Blood pressure 120/80"),
    ("measured one hundred forty over ninety millimeters of mercury", "Measured 140/90 mmHg"),
    ("b p one thirty slash eighty", "B p one thirty/eighty"),
    ("five by seven by three millimeters", "5 x 7 x 3 mm"),
    ("two point one by three centimeters", "2.1 x 3 cm"),
    ("five millimeters by seven millimeters", "5 mm x 7 mm"),
    ("5 by 7 mm", "5 x 7 mm"),
    ("five x seven millimeters", "5 x 7 mm"),
    ("two to three weeks", "2 to 3 weeks"),
    ("between two and three centimeters", "Between 2 and 3 cm"),
    ("two or three millimeters", "2 or 3 mm"),
    ("two hyphen three centimeters", "2-3 cm"),
    ("five {hyphen} six millimeters", "5-6 mm"),
    ("ten to twelve nodules", "10 to 12 nodules"),
    ("nine or ten nodules", "9 or 10 nodules"),
    ("grew from three to five millimeters", "Grew from 3 to 5 mm"),
    ("forty five year old man", "45-year-old man"),
    ("forty-five-year-old man", "45-year-old man"),
    ("45 year old man", "45-year-old man"),
    ("six month old", "6-month-old"),
    ("forty five years old", "45 years old"),
    ("five-millimeter nodule", "5-mm nodule"),
    ("two five millimeter nodules", "Two 5 mm nodules"),
    ("l four l five disc", "L4-L5 disc"),
    ("L four L five disc", "L4-L5 disc"),
    ("l five s one disc", "L5-S1 disc"),
    ("t twelve l one disc", "T12-L1 disc"),
    ("c seven t one", "C7-T1"),
    ("l four five disc", "L4-5 disc"),
    ("t twelve {hyphen} l one", "T12-L1"),
    ("T twelve fracture", "T12 fracture"),
    ("l one l two l three", "L1 L2 L3"),
    ("t one t two weighted images", "T1 T2 weighted images"),
    ("t two weighted", "T2 weighted"),
    ("c two to c four", "C2 to C4"),
    ("january fifth twenty twenty four", "January 5, 2024"),
    ("seen on march third two thousand nineteen", "Seen on March 3, 2019"),
    ("may the fourth nineteen ninety eight", "May 4, 1998"),
    ("december twenty first", "December 21"),
    ("january twenty four twenty twenty four", "January 24, 2024"),
    ("january twenty twenty four", "January 2024"),
    ("june two thousand and five", "June 2005"),
    ("june twenty oh five", "June 2005"),
    ("since on may first", "Since on May 1"),
    ("in nineteen ninety eight", "In 1998"),
    ("the twelfth rib", "The 12th rib"),
    ("the twenty first day", "The 21st day"),
    ("his thirtieth visit", "His 30th visit"),
    ("grade two injury", "Grade 2 injury"),
    ("stage three disease", "Stage 3 disease"),
    ("bi rads four", "Bi rads 4"),
    ("series three image forty two", "Series 3 image 42"),
    ("twelve nodules", "12 nodules"),
    ("Twelve nodules", "12 nodules"),
    ("oxygen 98 percent", "Oxygen 98%"),
    ("6 millimeters.", "6 mm."),
    ("5 ml", "5 mL"),
    ("take five milligrams two times", "Take 5 mg two times"),
    ("ninety eight point six degrees fahrenheit period", "98.6 °F."),
    ("twenty two gauge needle", "22 gauge needle"),
    ("gleason score three plus four", "Gleason score 3 plus 4"),
    ("hemoglobin a one c of seven point two percent", "Hemoglobin A1c of 7.2%"),
]
# Colon, period and the like that are no commands; numbers that can be read two ways; what must stay as it is.
UNCHANGED = [
    line.strip()
    for line in """
    The sigmoid colon is normal
    Colon cancer
    Colon carcinoma was resected
    Transverse colon without mass
    The colon
    History of colon cancer
    Impression colon cancer
    History colon polyps
    Plan colon resection
    Ascending colon and cecum
    Liver colon spleen and kidneys
    Colon
    The entire colon was seen
    Right colon wall thickening
    The {colon
    The sigmoid {colon} is normal
    Over a period of time
    A period of two of them
    The period
    This period was calm
    Last menstrual period
    My period
    She had her period
    During the same period
    In the preoperative period
    The recuperative period was short
    Within a defined period
    Post-menstrual period
    The menstrual period lasted long
    During the recovery period
    During the study period
    In the neonatal period
    The incubation period is long
    A longer period
    A waiting period
    Over a one year period
    During that time period
    Period pains
    Period cramps
    The window period
    The comma sign
    A comma shaped lesion
    The word comma
    The word period
    Inverted comma
    Comma bacillus
    The question mark
    A full stop
    A dash
    The DASH score
    Dash diet
    Read about DASH
    Liver colon rectum and kidneys
    Bowel colon is normal
    Spleen colon and liver
    H i v positive
    E c t was given
    The mass index [BMI] is high
    Rod cap locker
    Diameter cap without it
    Locking cap screws
    Visual field right
    Field of view
    Go to lungs
    Field lungs
    A slash
    Slash wounds of the arm
    Slash injury
    He can quote from it
    A quote
    To quote the patient
    Quote
    A new line was placed
    New line placement
    The new line
    A new central line
    New line sepsis
    The next line of therapy
    Next line treatment
    The new paragraph
    The next number
    Cap refill is normal
    Caps
    The bottle caps on the table
    A cap
    The pleural cap
    Apical cap
    Knee cap pain
    Cap
    All caps
    A scratch that is healing
    The scratch that she had
    Corneal scratch that healed
    Small scratch that bled
    Scratch that itches
    Asked to delete that file
    Will go to procedure
    Wants to go to plan
    Go to the gym
    Go to bed
    Will insert a catheter
    Insert a catheter
    Insert the needle
    The tibial insert
    Muscles insert on the tibia
    The end of dictation
    End of dictation was reached
    The next field
    In the next field of view
    The previous field
    One nodule
    Two nodules
    No one
    One day she fell
    One week later
    One twenty milligrams
    One twenty over eighty
    Nineteen oh five
    At nineteen oh five the patient left
    One oh five milligrams
    Two oh five millimeters
    Five to one twenty milligrams
    Two fifty milligrams
    Heart rate one ten
    Ten thirty
    Three thirty
    Two twelve millimeter nodules
    One two three four
    Nine nine nine
    Six one hundred milligram tablets
    Between one hundred and fifty
    Two thirds
    One half
    Three quarters of the liver
    Five tenths of a millimeter
    One hundred fifth
    Twenty second
    A tenth of it
    The first visit
    The second one
    Second degree burn
    May first be treated
    She may have two
    They march on
    Twenty twenty vision
    Two minute foci
    Right foot
    Several millimeters
    Percent
    At this point
    The point is tender
    Point tenderness
    Zero
    Hundreds of cells
    A hundred
    A thousand
    Oh
    Two by two
    Five by seven
    Three over six
    120 over 80
    He is [PatientName]
    He was seen by [NAME] on [DATE]
    [NAME] was seen in the [HOSPITAL]
    Seen on [Date] in [City]
    [Age]-year-old with pain
    [MedicalProfessionalName] at [MedicalCenterName]
    [OtherName], [FamilyMemberName] and [OtherId]
    The [Echo] shows
    So [unintelligible] left
    There is a [FINDINGS] mass
    Seen with the [PLAN] mass
    {next} stable
    Stable {next} mass
    Stable {next patient} mass
    {end} stable
    Stable {end of dictation} mass
    Stable {unknown} mass
    Stable {unknown comma} mass
    Stable {} mass
    Stable {next mass
    Stable {new mass
    Stable {next pa mass
    Stable {close mass
    Stable {per mass
    Central line} mass
    Between one hundred and one thousand
    One hundred and one thousand milligrams
    Full thickness {full mass
    Stable } mass
    Stable { mass
    Stable mark} mass
    Stable ash} mass
    Stable perixd} mass
    Stable {qeriod} mass
    Dr. smith was called, e.g. twice
    Mass... is stable
    Mass, stable; no change: see (image 4)
    He said "no pain." and left
    Pain is 10/10
    BP 120/80, HR 72
    The 45-year-old man
    A 3.5 cm mass at L4-L5
    On January 5, 2024 it was 98%
    Size 5 x 7 x 3 mm
    2 to 3 weeks
    PH was 7.4 at 37.2 degrees
    T2-weighted images
    1,200 mL
    C. difficile
    Left mass
    Not the right side
    Uh no uhm pain
    She did not deny it
    Point five
    Number
    Number two is better
    The number one reason
    Plus or minus
    Grade IV
    Five-year survival
    It's 5' tall
    A/B ratio 3:1
    Temp 37.0
    Zone
    Cancer of the colon, stage IV
    The descending colon was biopsied
    Distal colon mass
    The colon and rectum
    Right colon appears dilated
    No colon polyps
    The postoperative period
    Perinatal period
    A brief period
    A prolonged period
    Refractory period
    A forward slash
    Cap the vial
    Remove caps off the tubes
    End dictation now
    It s one of two
    P t two
    Five over five strength
    Describe the findings
    The impression
    Findings are stable
    The hyphen
    Left pleural cap
    Took the caps off
    Cat scratch that healed
    Could scratch that
    The scratch that is visible
    Is the scratch that is there deep
    Is there a visible scratch that is the cause of pain
    Is there any scratch that is there since May
    A long scratch that is there on the left
    A long scratch that is this deep
    A long scratch that was the cause
    Left arm scratch that is the worst
    Arm scratch that is there
    She saw a scratch that he was told about
    They go to the clinic
    Shoe insert
    The patellar insert
    One three
    Four fifty
    Eight thirty
    Twenty thirty
    """.splitlines()
    if line.strip()
]
WRITTEN = [*MARKS, *LAYOUT, *QUANTITIES, *_families()]
