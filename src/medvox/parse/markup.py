"""Recognised text -> tokens: words, marks, line breaks, section heads and the commands that models write in braces.

First step of written text; ``parse/spoken`` reads the tokens next. MedASR writes ``{period}`` and often damages it
(``{next} para}graph}``, ``xt line}``). A damaged form is repaired where exactly one command can be meant; anything else
is kept as it stands and marked odd, for a visible anomaly beats a guess. Knows no model and no number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Kind(StrEnum):
    """What a token is."""

    WORD = "word"
    MARK = "mark"  # punctuation that the recogniser wrote itself
    COMMAND = "command"  # ``text`` is a name of ``NAMES``
    HEAD = "head"
    BREAK = "break"  # one newline, or two for a paragraph
    KEPT = "kept"  # goes through as it is: placeholders, and what could not be repaired


def word_set(text: str) -> frozenset[str]:
    """A table of phrases set apart by commas, or of words where there is no comma."""
    return frozenset(part.strip() for part in text.split(",")) if "," in text else frozenset(text.split())


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A piece of recognised text.

    Attributes:
        kind: what it is.
        text: the word, mark or heading as written, or the name of the command.
        odd: markup that could not be repaired.
        source: what a command was before it was one, to put it back where it proves to be plain words.
        span: the characters of the recognised text that it was read from. Two tokens are equal whatever their spans.
    """

    kind: Kind
    text: str
    odd: bool = False
    source: str = ""
    span: tuple[int, int] = field(default=(0, 0), compare=False)


def span_of(tokens: Sequence[Token]) -> tuple[int, int]:
    """From the first to the last character that the tokens were read from."""
    return min(token.span[0] for token in tokens), max(token.span[1] for token in tokens)


# What a name in braces means. Several names may mean one command; ``next`` alone means something only in a list.
NAMES = {
    "period": "period",
    "full stop": "period",
    "comma": "comma",
    "colon": "colon",
    "semicolon": "semicolon",
    "question mark": "question mark",
    "exclamation point": "exclamation point",
    "exclamation mark": "exclamation point",
    "hyphen": "hyphen",
    "dash": "dash",
    "slash": "slash",
    "point": "point",
    "quote": "quote",
    "open quote": "open quote",
    "close quote": "close quote",
    "end quote": "close quote",
    "unquote": "close quote",
    "parenthesis": "parenthesis",
    "open parenthesis": "open parenthesis",
    "close parenthesis": "close parenthesis",
    "new paragraph": "paragraph",
    "next paragraph": "paragraph",
    "paragraph": "paragraph",
    "new line": "line",
    "next line": "line",
    "next": "next",
    "next number": "next number",
    "next patient": "next patient",
    "end": "end",
    "end of dictation": "end",
    "end dictation": "end",
}
_BY_LETTERS = {name.replace(" ", ""): command for name, command in NAMES.items()}
_BEGINS_OTHERS = frozenset({"next", "end"})  # without a closing brace, these may be halves of longer names
_MAX_FRAGMENTS, _MAX_BRACES = 5, 8  # of one name, torn apart
_MIN_HALF = 3  # letters
# Halves that are words of their own, and so may be plain text beside a stray brace.
_WORDS_OF_THEIR_OWN = frozenset({"per", "end", "top", "ash", "mark", "open", "close", "full", "quest", "pare", "graph"})

CONTROL_PIECES = frozenset({"<epsilon>", "<s>", "</s>", "<pad>"})
UNKNOWN_PIECE, UNKNOWN = "<unk>", "[unintelligible]"
_CONTROL = re.compile("|".join(sorted(CONTROL_PIECES)) + r"|</s\s*$")
_ATOM = re.compile(r"[ \t]*\n\s*|[{}]|(?:\[[^\[\]{}\n]*\]|[^\s{}])+")
_HEAD = re.compile(r"\[([A-Z][A-Z /&-]{2,40})\]:?")
# Placeholders of de-identified text in capitals, those of ``data/deidentify_notes`` among them; they are no headings.
_PLACEHOLDERS = word_set(
    "NAME, DATE, TIME, AGE, SSN, MRN, PHONE, FAX, EMAIL, URL, DEVICE, ADDRESS, CITY, LOCATION, HOSPITAL, ORGANIZATION,"
    " PATIENT, PATIENT NAME, DOCTOR, DOCTOR NAME"
)
_CLOSED = re.compile(r"[^\s{}]*\{[^{}\n]{0,40}\}[^\s{}]*")
_SENTENCE_MARKS = ".,;:?!"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Atom:
    text: str
    start: int
    end: int

    @property
    def is_brace(self) -> bool:
        return self.text in "{}"


def read_markup(raw: str) -> list[Token]:
    """Takes recognised text apart. Control tokens (``</s>``) are gone, ``<unk>`` is ``[unintelligible]``."""
    text = _CONTROL.sub(lambda found: " " * len(found[0]), raw)  # spans stay true
    braced = "{" in text or "}" in text
    atoms = [_Atom(text=found[0], start=found.start(), end=found.end()) for found in _ATOM.finditer(text)]
    tokens: list[Token] = []
    at = 0
    while at < len(atoms):
        if "\n" in atoms[at].text:
            lines = "\n\n" if atoms[at].text.count("\n") > 1 else "\n"
            tokens.append(Token(kind=Kind.BREAK, text=lines, span=(atoms[at].start, atoms[at].end)))
            at += 1
            continue
        found = (_whole_name(atoms, at) or _half_name(atoms, at)) if braced else None
        if found is not None:
            command, end = found
            span = atoms[at].start, atoms[end - 1].end
            tokens.append(Token(kind=Kind.COMMAND, text=command, source=text[slice(*span)], span=span))
            at = end
        elif atoms[at].is_brace or (_glued(atoms, at) and atoms[at + 1].is_brace and not _name_follows(atoms, at)):
            end = _unrepaired(text, atoms, at)
            span = atoms[at].start, atoms[end - 1].end
            kept = " ".join(text[slice(*span)].replace(UNKNOWN_PIECE, UNKNOWN).split())
            tokens.append(Token(kind=Kind.KEPT, text=kept, odd=True, span=span))
            at = end
        else:
            span = atoms[at].start, atoms[at].end
            tokens += [replace(token, span=span) for token in _plain(atoms[at].text.replace(UNKNOWN_PIECE, UNKNOWN))]
            at += 1
    return tokens


def _glued(atoms: Sequence[_Atom], at: int) -> bool:
    """Whether no space stands between this atom and the next."""
    return at + 1 < len(atoms) and atoms[at].end == atoms[at + 1].start


def _name_follows(atoms: Sequence[_Atom], at: int) -> bool:
    """Whether a command hangs at this word without a space: ``nodule{period}``."""
    following = atoms[at + 1 :]
    return following[0].text == "{" and (_whole_name(following, 0) or _half_name(following, 0)) is not None


def _whole_name(atoms: Sequence[_Atom], at: int) -> tuple[str, int] | None:
    """A command whose letters are all there, with at least one brace somewhere, and where it ends."""
    if atoms[at].text == "}":
        return None
    best: tuple[str, int] | None = None
    letters, fragments, braces = "", 0, 0
    for end, atom in enumerate(atoms[at:], at + 1):
        if atom.is_brace:
            braces += 1
        elif not re.fullmatch(r"[A-Za-z_-]+", atom.text):
            break
        else:
            fragments += 1
            letters += re.sub(r"[_-]", "", atom.text).lower()
        if fragments > _MAX_FRAGMENTS or braces > _MAX_BRACES or len(letters) > 20:
            break
        if braces and letters in _BY_LETTERS and (atom.text != "{"):
            best = _BY_LETTERS[letters], end
    if best is None or (best[0] in _BEGINS_OTHERS and all(atom.text != "}" for atom in atoms[at : best[1]])):
        return None
    return best[0], _past_braces(atoms, best[1])


def _past_braces(atoms: Sequence[_Atom], end: int) -> int:
    """Takes braces that hang at the end of a command with it, and not those that open the next."""
    while end < len(atoms) and atoms[end].is_brace and _glued(atoms, end - 1):
        opens = atoms[end].text == "{" and _glued(atoms, end)
        if opens:
            break
        end += 1
    return end


def _half_name(atoms: Sequence[_Atom], at: int) -> tuple[str, int] | None:
    """A command of which one end is missing: ``{new para``, ``xt line}``. The cut must lie inside a word."""
    for count in range(3, 0, -1):  # fragments; the longest first
        for braced_first in (True, False):
            size = count + 1
            part = atoms[at : at + size]
            words = part[1:] if braced_first else part[:-1]
            brace = part[0] if braced_first else part[-1]
            if len(part) < size or brace.text != ("{" if braced_first else "}"):
                continue
            if any(not re.fullmatch(r"[A-Za-z]+", word.text) for word in words):
                continue
            if not _glued(atoms, at if braced_first else at + size - 2):
                continue
            command = _only_meaning([word.text.lower() for word in words], head=braced_first)
            if command is not None:
                return command, _past_braces(atoms, at + size)
    return None


def _only_meaning(words: Sequence[str], *, head: bool) -> str | None:
    """The one command that has these words as its beginning (or its end), cut inside a word."""
    half = " ".join(words)
    cut = words[-1] if head else words[0]
    if len(half) < _MIN_HALF or half in _WORDS_OF_THEIR_OWN:
        return None
    meanings = set()
    for name, command in NAMES.items():
        fits = name.startswith(half) if head else name.endswith(half)
        rest = name[len(half) :] if head else name[: len(name) - len(half)]
        if not fits or not rest:
            continue
        if rest.startswith(" ") if head else rest.endswith(" "):
            return None  # a whole word, which may belong to the text: {next, line}
        meanings.add(command)
    return meanings.pop() if len(meanings) == 1 and cut not in _WORDS_OF_THEIR_OWN else None


def _unrepaired(text: str, atoms: Sequence[_Atom], at: int) -> int:
    """Where markup that is kept ends: at its closing brace, else where the run of glued pieces ends."""
    closed = _CLOSED.match(text, atoms[at].start)
    end = at + 1
    if closed is not None:
        while end < len(atoms) and atoms[end].start < closed.end():
            end += 1
        return end
    while end < len(atoms) and _glued(atoms, end - 1):
        end += 1
    return end


def _plain(text: str) -> list[Token]:
    """A word without braces: a heading, a placeholder, or a word and the marks after it."""
    head = _HEAD.fullmatch(text)
    if head is not None and head[1] not in _PLACEHOLDERS:
        return [Token(kind=Kind.HEAD, text=head[1])]
    word = text.rstrip(_SENTENCE_MARKS)
    marks = text[len(word) :]
    tokens = [Token(kind=Kind.KEPT if "[" in word else Kind.WORD, text=word)] if word else []
    if marks:
        tokens.append(Token(kind=Kind.MARK, text=marks))
    return tokens
