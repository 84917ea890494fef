"""Tokens -> tokens with the plainly spoken commands found: ``period``, ``new line``, ``go to impression``.

Between ``parse/markup`` and ``parse/commands``. Every command is a phrase in ``PHRASES``; where its words can also be
plain text ("the sigmoid colon", "a period of two weeks") a row of ``CONTEXTS`` decides by the words next to them, and
in doubt they stay words. Knows no model and no number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from medvox.parse.markup import Kind, Token, span_of, word_set
from medvox.parse.numbers import SMALL

PHRASES = {
    "period": "period",
    "full stop": "period",
    "comma": "comma",
    "colon": "colon",
    "semicolon": "semicolon",
    "semi colon": "semicolon",
    "question mark": "question mark",
    "exclamation point": "exclamation point",
    "exclamation mark": "exclamation point",
    "hyphen": "hyphen",
    "dash": "dash",
    "slash": "slash",
    "forward slash": "slash",
    "open parenthesis": "open parenthesis",
    "open paren": "open parenthesis",
    "left paren": "open parenthesis",
    "close parenthesis": "close parenthesis",
    "close paren": "close parenthesis",
    "right paren": "close parenthesis",
    "open quote": "open quote",
    "quote": "open quote",
    "close quote": "close quote",
    "end quote": "close quote",
    "unquote": "close quote",
    "new line": "line",
    "newline": "line",
    "next line": "line",
    "new paragraph": "paragraph",
    "next paragraph": "paragraph",
    "next number": "next number",
    "all caps": "all caps",
    "caps on": "caps on",
    "caps off": "caps off",
    "cap": "cap",
    "scratch that": "scratch",
    "strike that": "scratch",
    "delete that": "scratch",
    "next field": "next field",
    "previous field": "previous field",
    "end of dictation": "end",
    "end dictation": "end",
}
HEADS = word_set(
    "findings impression indication technique comparison history conclusion recommendation recommendations plan"
    " assessment diagnosis diagnoses procedure exam examination subjective objective medications allergies"
)
HEAD_PHRASES = ("exam type", "clinical history", "clinical indication", "past medical history", "chief complaint")
JOINED = {
    "m r i": "MRI",
    "m r a": "MRA",
    "c t": "CT",
    "c t a": "CTA",
    "x ray": "x-ray",
    "e k g": "EKG",
    "e c g": "ECG",
    "e e g": "EEG",
    "i v": "IV",
    "b twelve": "B12",
    "a one c": "A1c",
}

_ARTICLES = "the a an this that his her their my our your its whose each every any another"


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """When a phrase is a command. Each table holds words, or endings of up to three words, next to the phrase.

    Attributes:
        not_after: the phrase is plain words behind these; the longest ending that is listed anywhere decides.
        not_before: the phrase is plain words in front of these.
        only_after: the phrase is a command only behind these; None: behind anything.
        still_after: a command behind these although ``not_after`` speaks against it.
    """

    not_after: frozenset[str] = frozenset()
    not_before: frozenset[str] = frozenset()
    only_after: frozenset[str] | None = None
    still_after: frozenset[str] = frozenset()


_ORGAN = word_set(
    "cancer carcinoma adenocarcinoma polyp polyps polypectomy resection wall mucosa screening is was and with are has"
    " appears to cancers tumor tumour mass masses lesion lesions contains demonstrates shows without in from at surgery"
)
CONTEXTS = {
    "period": Context(
        not_after=word_set(
            _ARTICLES
            + " time of menstrual last latent latency incubation neonatal postpartum perinatal postoperative refractory"
            " recuperative convalescent preoperative perioperative antepartum peripartum prenatal postnatal antenatal"
            " preceding subsequent entire defined analyzed analysed window word grace waiting longer shorter long short"
            " brief extended prolonged day week month year hour"
        )
        | word_set(
            "during the study, during the treatment, during the observation, during the recovery, over the study"
        )
        | word_set("during the same, during this same, in the same, within the same, over the same, for the same")
        | word_set("a one day, a one week, a one month, a one year"),
        not_before=word_set("of pains cramps during after between was lasted lasting"),
        still_after=word_set("at this time, at that time, at the time, at the same time, the first time, the last time")
        | word_set("a long time, one week, one month, one year, next day, next week, same day, every day")
        | word_set("last week, last month, each day, per day, last year"),
    ),
    "full stop": Context(not_after=word_set("a the to")),
    "comma": Context(
        not_after=word_set("a the inverted word"), not_before=word_set("sign shaped shape-like bacillus bacilli")
    ),
    "colon": Context(
        only_after=HEADS | word_set("follows following complaint note summary addendum reason"),
        not_before=_ORGAN,
    ),
    "question mark": Context(not_after=word_set("a the this")),
    "exclamation point": Context(not_after=word_set("a the")),
    "dash": Context(not_after=word_set("a the"), not_before=word_set("diet score of questionnaire")),
    "hyphen": Context(not_after=word_set("a the")),
    "slash": Context(
        not_after=word_set("a the forward"), not_before=word_set("wound wounds injury injuries mark marks")
    ),
    "open quote": Context(not_after=word_set("a the to i this"), not_before=word_set("from")),
    "line": Context(
        not_after=word_set(
            _ARTICLES + " central arterial venous picc midline transverse pleural fracture suture gum hair joint for"
        ),
        not_before=word_set("placement placed insertion inserted was is of in infection treatment therapy drug sepsis"),
    ),
    "paragraph": Context(not_after=word_set("a the this that")),
    "next number": Context(not_after=word_set("the a this"), not_before=word_set("of is was")),
    "all caps": Context(not_after=word_set("the of"), not_before=word_set("are were is")),
    "caps on": Context(not_after=word_set("the a bottle gel screw plastic bone put puts")),
    "caps off": Context(not_after=word_set("the a bottle gel screw plastic bone took takes remove removed")),
    "cap": Context(
        only_after=word_set("doctor mister missus miss ms mrs mr dr professor nurse by named called hospital clinic"),
        not_before=word_set("the a it this refill of was is on off for and with or"),
    ),
    "scratch": Context(
        not_after=word_set(
            "a the corneal superficial cat deep linear small minor to not will should would can could may of and or"
            " another from this skin dog old healing any"
        ),
        not_before=word_set("is was has had bled healed itches itched looks looked will would"),
    ),
    "next field": Context(not_after=word_set("the a of in"), not_before=word_set("of visit")),
    "previous field": Context(not_after=word_set("the a of in"), not_before=word_set("of")),
    "field": Context(
        not_after=word_set(
            _ARTICLES
            + " lung visual operative surgical radiation treatment of in upper lower mid middle left right high"
            " low power full far near per depth wide"
        )
    ),
    "end": Context(not_after=word_set("the at")),
    "go to": Context(not_after=word_set("will to would should can may must did not could and or they i we patients")),
    "insert": Context(
        not_after=word_set(
            "the a an to tibial polyethylene plastic shoe orthotic package patellar acetabular liner will would should"
            " may muscles tendon fibers not can catheter"
        ),
        not_before=word_set("a an the was is were into on at in and with for to foley catheter tube needle it"),
    ),
}
# A colon after one of these that opens a sentence is a mark, unless another organ or the organ's own words follow.
_SYSTEMS = word_set(
    "lungs, heart, liver, spleen, pancreas, kidneys, adrenals, bones, bowel, brain, ventricles, pleura, mediastinum,"
    " bladder, gallbladder, biliary tree, bile ducts, adrenal glands, lymph nodes, soft tissues, osseous structures,"
    " bones and soft tissues, vessels, vasculature, aorta, airways, chest wall, abdominal wall, peritoneum, pelvis,"
    " uterus, ovaries, prostate, orbits, sinuses, skull base, cord, discs, heart and mediastinum, lungs and pleura,"
    " lines, tubes, vital signs, contrast, dose, review of systems, physical exam, reason for exam"
) | {f"number {word}" for word in SMALL}
_ALSO_ORGANS = word_set(
    "liver spleen pancreas kidneys kidney adrenals adrenal stomach rectum cecum appendix ileum jejunum duodenum bladder"
    " gallbladder uterus or nor colon sigmoid"
)
_PARTS_OF_THE_ORGAN = word_set("sigmoid transverse ascending descending distal proximal entire")
# "scratch that is there a mass" asks anew; "scratch that is there since May" does not.
_ASKING = word_set("is was has had will would")
_ASKED_OF = word_set("it he she they")
_POINTING = word_set("there this that these those")
_NOT_ASKED = word_set(
    "on in at from for since now today again still because when after but and with too big deep long wide large"
    " small painful red swollen size way bad"
)
_NAMING = word_set("the a an any his her their its my")
_QUESTIONS = _ASKING | word_set("are were do does did can could should have which what where who when why how")
_LONGEST_PHRASE = 6  # words
_LONGEST_NAME = 6
_LONGEST_QUOTE = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """What can be named in a command, in lower case, words set apart by one space.

    Attributes:
        auto_texts: for ``insert NAME``.
        heads: for ``go to NAME``, beside those of ``HEADS``.
        fields: for ``field NAME`` and ``go to NAME``.
    """

    auto_texts: frozenset[str] = frozenset()
    heads: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()


def read_spoken(tokens: Sequence[Token], names: Names, *, before: Sequence[Token] = ()) -> list[Token]:
    """Turns the spoken commands among the words into command tokens; ``go to impression`` becomes a heading.

    Args:
        tokens: as ``read_markup`` gives them.
        names: what commands may name.
        before: what was said before them, as this function returned it.
    """
    found = list(before)
    at = 0
    while at < len(tokens):
        here = _Here(tokens=tokens, at=at, found=found, behind=_behind(found), names=names)
        token, size = _auto_text(here) or _place(here) or _phrase(here)
        if size == 1 and token is tokens[at] and _misplaced_colon(token, here):
            token = Token(kind=Kind.KEPT, text=token.source, odd=True)
        found.append(replace(token, span=span_of(tokens[at : at + size])))
        at += size
        if token.kind in {Kind.COMMAND, Kind.HEAD} and at < len(tokens) and _belongs_to_command(token, tokens[at]):
            at += 1
    return found[len(before) :]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Here:
    """A place in the tokens, with what stands before it as it was read so far, and the last words of that."""

    tokens: Sequence[Token]
    at: int
    found: Sequence[Token]
    behind: list[str]
    names: Names

    def words(self, start: int, most: int) -> list[str]:
        """Up to ``most`` words in lower case that follow each other, ``start`` tokens on."""
        words: list[str] = []
        for token in self.tokens[self.at + start : self.at + start + most]:
            if token.kind is not Kind.WORD:
                break
            words.append(token.text.lower())
        return words

    def source(self, size: int) -> str:
        return " ".join(token.text for token in self.tokens[self.at : self.at + size])


def _behind(found: Sequence[Token]) -> list[str]:
    """Up to four words at the end, back to the last mark or command; a recogniser's comma is passed over."""
    words: list[str] = []
    for token in reversed(found[-5:]):
        if token.kind is Kind.MARK and token.text == "," and not words:
            continue
        if token.kind is not Kind.WORD:
            break
        words.insert(0, token.text.lower())
    return words[-4:]


def _belongs_to_command(command: Token, token: Token) -> bool:
    """A recogniser puts its own marks after a spoken command (``Period.``); one behind a quotation is the text's."""
    closes = command.text.endswith(("quote", "parenthesis"))
    return token.kind is Kind.MARK and (token.text == "," or (not closes and token.text in {".", ":"}))


def _misplaced_colon(token: Token, here: _Here) -> bool:
    """Whether a colon in braces is likely the organ: half its braces gone and no heading before it, or ``sigmoid``."""
    if token.kind is not Kind.COMMAND or token.text != "colon":
        return False
    torn = "{" not in token.source or "}" not in token.source
    return bool(here.behind) and (here.behind[-1] in _PARTS_OF_THE_ORGAN or (torn and not _allowed(here, 1, "colon")))


def _auto_text(here: _Here) -> tuple[Token, int] | None:
    """``insert`` and a known name; the longest wins. An unknown name that opens a sentence is marked odd."""
    words = here.words(0, 1 + _LONGEST_NAME)
    if words[:1] != ["insert"]:
        return None
    for size in range(len(words), 1, -1):
        name = " ".join(words[1:size])
        if name in here.names.auto_texts:
            return Token(kind=Kind.COMMAND, text="insert", source=name), size
    if here.behind or len(words) < 2 or not _allowed(here, 1, "insert"):
        return None
    return Token(kind=Kind.WORD, text=here.tokens[here.at].text, odd=True), 1


def _place(here: _Here) -> tuple[Token, int] | None:
    """``go to`` a heading or a field, and ``field NAME``; the longest name wins."""
    words = here.words(0, 3 + _LONGEST_NAME)
    start = 2 + (words[2:3] == ["the"]) if words[:2] == ["go", "to"] else 0
    by_field = words[start : start + 1] == ["field"]
    if not start and not by_field:
        return None
    for size in range(len(words), start, -1):
        name = " ".join(words[start + by_field : size])
        if not by_field and (name in HEADS or name in HEAD_PHRASES or name in here.names.heads):
            token = Token(kind=Kind.HEAD, text=name.upper(), source=here.source(size))
        elif name in here.names.fields:
            token = Token(kind=Kind.COMMAND, text="field", source=name)
        else:
            continue
        return (token, size) if _allowed(here, size, "go to" if start else "field") else None
    return None


def _phrase(here: _Here) -> tuple[Token, int]:
    """The token that begins here, read as a command where it is one, and how many tokens it takes."""
    words = here.words(0, _LONGEST_PHRASE)
    for size in range(len(words), 0, -1):
        phrase = " ".join(words[:size])
        if phrase in JOINED and not (_is_letter(here.behind[-1:]) or _is_letter(here.words(size, 1))):
            return Token(kind=Kind.WORD, text=JOINED[phrase]), size
        if phrase in PHRASES and _is_command(here, size, phrase):
            return Token(kind=Kind.COMMAND, text=PHRASES[phrase], source=here.source(size)), size
    return here.tokens[here.at], 1


def _is_letter(words: Sequence[str]) -> bool:
    """Whether the word beside letters is one more of them: ``h i v`` holds no ``i v``."""
    return bool(words) and len(words[0]) == 1 and words[0] not in {"a", "i"}


def _is_command(here: _Here, size: int, phrase: str) -> bool:
    """Whether a phrase of the table is meant as a command where it stands."""
    command = PHRASES[phrase]
    after = here.words(size, 1)
    if (command in {"cap", "all caps"} and not after) or here.source(size) == "DASH":
        return False
    if phrase == "quote" and not _is_closed(here.tokens, here.at):
        return False
    if command == "end":
        rest = here.tokens[here.at + size :]
        return all(token.kind is Kind.MARK for token in rest) and _allowed(here, size, command)
    if command == "colon" and after == ["colon"]:  # the mark, then the organ
        return bool(_endings(here.behind) & (CONTEXTS["colon"].only_after or frozenset()))
    if command == "colon" and " ".join(here.behind) in _SYSTEMS:
        return bool(after) and after[0] not in _ORGAN | _ALSO_ORGANS
    return _allowed(here, size, command)


def _allowed(here: _Here, size: int, name: str) -> bool:
    """Whether the words around a phrase let it be a command, by its row in ``CONTEXTS``."""
    context = CONTEXTS.get(name, Context())
    if context.not_before.intersection(here.words(size, 1)) and not (name == "scratch" and _asks_anew(here, size)):
        return False
    for count in range(len(here.behind), 0, -1):
        ending = " ".join(here.behind[-count:])
        ending = ending.rpartition("-")[2] if count == 1 else ending  # post-menstrual
        if ending in context.not_after:
            return False
        if ending in context.still_after:
            return True
    return context.only_after is None or bool(_endings(here.behind) & context.only_after)


def _asks_anew(here: _Here, size: int) -> bool:
    """Whether a question begins behind ``scratch that``, so that its ``is`` tells nothing about a scratch."""
    verb, subject, rest = [*here.words(size, 3), "", "", ""][:3]
    if verb not in _ASKING or not rest:
        return False
    if subject in _ASKED_OF or (subject in _POINTING and rest not in _NOT_ASKED):
        return True
    a_scratch = _NAMING.intersection(here.behind[-2:-1])  # is it a visible scratch that is the cause
    return subject in _NAMING and not a_scratch and _asked_before(here.found)


def _asked_before(found: Sequence[Token]) -> bool:
    """Whether the unfinished sentence is a question."""
    first = ""
    for token in reversed(found):
        if token.kind is not Kind.WORD:
            break
        first = token.text.lower()
    return first in _QUESTIONS


def _endings(words: Sequence[str]) -> set[str]:
    return {" ".join(words[-count:]) for count in range(1, len(words) + 1)}


def _is_closed(tokens: Sequence[Token], at: int) -> bool:
    """Whether a closing quote follows, spoken or in braces."""
    rest = " ".join(token.text.lower() for token in tokens[at + 1 : at + _LONGEST_QUOTE])
    return any(f" {phrase} " in f" {rest} " for phrase in ("unquote", "close quote", "end quote"))
