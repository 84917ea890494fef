"""Tokens -> tokens with the plainly spoken commands found: ``period``, ``new line``, ``go to impression``.

Between ``parse/markup`` and ``parse/commands``. Every command is a phrase in ``PHRASES``; where its words can also be
plain text ("the sigmoid colon", "a period of two weeks") a row of ``CONTEXTS`` decides by the words next to them, and
in doubt they stay words. Knows no model and no number.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from medvox.parse.markup import Kind, Token, word_set

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

_ARTICLES = "the a an this that his her their each every any another"


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
            " window word grace waiting longer shorter long short brief extended prolonged day week month year hour"
        )
        | word_set(
            "during the study, during the treatment, during the observation, during the recovery, over the study"
        )
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
        not_after=word_set(
            "the a an bottle knee end ice cervical cradle enamel apical left right pleural lead severe of for with and"
            " medicine patella bone dental screw this her his no gel polar"
        ),
        not_before=word_set(
            "the a it this refill refills of was"
            " is on off for and with or lesion thickening in to at are has pneumonia period comma"
        ),
    ),
    "scratch": Context(
        not_after=word_set(
            "a the corneal superficial cat deep linear small minor to not will should would can could may of and or"
            " another from this skin dog old healing"
        ),
        not_before=word_set("is was has had bled healed itches itched looks looked will would"),
    ),
    "next field": Context(not_after=word_set("the a of in"), not_before=word_set("of visit")),
    "previous field": Context(not_after=word_set("the a of in"), not_before=word_set("of")),
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
# A colon after an organ system that opens a sentence, in front of a word that begins a finding.
_SYSTEMS = word_set(
    "lungs heart liver spleen pancreas kidneys adrenals bones bowel brain ventricles pleura mediastinum bladder"
)
_BEGINS_A_FINDING = word_set("normal unremarkable clear no the there negative intact within mild stable")
_PARTS_OF_THE_ORGAN = word_set("sigmoid transverse ascending descending distal proximal entire")
_LONGEST_PHRASE = 6  # words
_LONGEST_NAME = 6
_LONGEST_QUOTE = 200


def read_spoken(tokens: Sequence[Token], auto_texts: Collection[str] = ()) -> list[Token]:
    """Turns the spoken commands among the words into command tokens; ``go to impression`` becomes a heading.

    Args:
        tokens: as ``read_markup`` gives them.
        auto_texts: names that ``insert`` knows, in lower case.
    """
    found: list[Token] = []
    at = 0
    while at < len(tokens):
        here = _Here(tokens=tokens, at=at, behind=_behind(found))
        token, size = _auto_text(here, auto_texts) or _phrase(here)
        if size == 1 and token is tokens[at] and _misplaced_colon(token, here):
            token = Token(kind=Kind.KEPT, text=token.source, odd=True)
        found.append(token)
        at += size
        if token.kind in {Kind.COMMAND, Kind.HEAD} and at < len(tokens) and _belongs_to_command(token, tokens[at]):
            at += 1
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class _Here:
    """A place in the tokens, with the words before it as they were read so far."""

    tokens: Sequence[Token]
    at: int
    behind: list[str]

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


def _auto_text(here: _Here, names: Collection[str]) -> tuple[Token, int] | None:
    """``insert`` and a known name; the longest wins. An unknown name that opens a sentence is marked odd."""
    words = here.words(0, 1 + _LONGEST_NAME)
    if words[:1] != ["insert"]:
        return None
    for size in range(len(words), 1, -1):
        name = " ".join(words[1:size])
        if name in names:
            return Token(kind=Kind.COMMAND, text="insert", source=name), size
    if here.behind or len(words) < 2 or not _allowed(here, 1, "insert"):
        return None
    return Token(kind=Kind.WORD, text=here.tokens[here.at].text, odd=True), 1


def _phrase(here: _Here) -> tuple[Token, int]:
    """The token that begins here, read as a command where it is one, and how many tokens it takes."""
    words = here.words(0, _LONGEST_PHRASE)
    for size in range(len(words), 0, -1):
        phrase = " ".join(words[:size])
        if phrase in JOINED:
            return Token(kind=Kind.WORD, text=JOINED[phrase]), size
        if phrase in PHRASES and _is_command(here, size, phrase):
            return Token(kind=Kind.COMMAND, text=PHRASES[phrase], source=here.source(size)), size
        head = phrase.removeprefix("go to ").removeprefix("the ")
        if phrase.startswith("go to ") and (head in HEADS or head in HEAD_PHRASES) and _allowed(here, size, "go to"):
            return Token(kind=Kind.HEAD, text=head.upper()), size
    return here.tokens[here.at], 1


def _is_command(here: _Here, size: int, phrase: str) -> bool:
    """Whether a phrase of the table is meant as a command where it stands."""
    command = PHRASES[phrase]
    after = here.words(size, 1)
    if command in {"cap", "all caps"} and not after:
        return False
    if phrase == "quote" and not _is_closed(here.tokens, here.at):
        return False
    if command == "end":
        rest = here.tokens[here.at + size :]
        return all(token.kind is Kind.MARK for token in rest) and _allowed(here, size, command)
    if command == "colon" and after == ["colon"]:  # the mark, then the organ
        return bool(_endings(here.behind) & (CONTEXTS["colon"].only_after or frozenset()))
    if command == "colon" and len(here.behind) == 1 and here.behind[0] in _SYSTEMS:
        return bool(after) and after[0] in _BEGINS_A_FINDING
    return _allowed(here, size, command)


def _allowed(here: _Here, size: int, name: str) -> bool:
    """Whether the words around a phrase let it be a command, by its row in ``CONTEXTS``."""
    context = CONTEXTS.get(name, Context())
    if context.not_before.intersection(here.words(size, 1)):
        return False
    for count in range(len(here.behind), 0, -1):
        ending = " ".join(here.behind[-count:])
        ending = ending.rpartition("-")[2] if count == 1 else ending  # post-menstrual
        if ending in context.not_after:
            return False
        if ending in context.still_after:
            return True
    return context.only_after is None or bool(_endings(here.behind) & context.only_after)


def _endings(words: Sequence[str]) -> set[str]:
    return {" ".join(words[-count:]) for count in range(1, len(words) + 1)}


def _is_closed(tokens: Sequence[Token], at: int) -> bool:
    """Whether a closing quote follows, spoken or in braces."""
    rest = " ".join(token.text.lower() for token in tokens[at + 1 : at + _LONGEST_QUOTE])
    return any(f" {phrase} " in f" {rest} " for phrase in ("unquote", "close quote", "end quote"))
