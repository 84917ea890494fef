"""Capitalised words that no medical or everyday text has in small letters: the names that no mark betrays.

Used by ``deidentify_notes`` after the rules with marks. ``note_words.txt`` lists about 20,000 words that occur in small
letters (or, like drugs and eponyms, often with a capital) in public medical texts, and common products of operating
rooms; names of persons are left out.
Knows no note format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from itertools import pairwise

from medvox.data.note_rules import is_eponym
from medvox.data.person_names import AMBIGUOUS, GIVEN_NAMES, SURNAMES

MIN_LETTERS, MIN_CAPITALS = 3, 4
_WORD = re.compile(r"(?<![\w'’-])[A-Z][^\W\d_]*(?:['’-][^\W\d_]+)*(?![\w-])")
_PART = re.compile(r"[^\W\d_]+")
_BETWEEN = re.compile(r",? ")
_AFTER_INITIAL = re.compile(r"\.? ")
_INNER_CAPITAL = re.compile(r"(?<!Mc)(?<!Mac)(?<!De)(?<!Di)(?<!La)(?<!Le)(?<!Van)(?<!Fitz)(?<=[a-z])[A-Z]")  # brands
_PLURAL = re.compile(r"[A-Z]{2,}s")  # of an abbreviation
_BEGINNINGS = re.compile(
    r"^(?:sub|supra|post|pre|peri|para|non|trans|intra|inter|infra|super|hyper|hypo|hemi|semi|re|un|de|dis|micro|macro|"
    r"antero|postero|supero|infero|lateral|medio|retro|endo|extra|multi|poly|anti|arthro|neuro|osteo|laparo|electro)"
)
_ENDINGS = (
    ("ies", "y"),
    ("es", ""),
    ("s", ""),
    ("ed", ""),
    ("ed", "e"),
    ("ing", ""),
    ("ing", "e"),
    ("ly", ""),
    ("al", ""),
)


@cache
def known_words() -> frozenset[str]:
    """The words of ``note_words.txt``."""
    text = resources.files("medvox.data").joinpath("note_words.txt").read_text(encoding="utf-8")
    return frozenset(text.split())


def unknown_names(text: str) -> Iterator[tuple[int, int]]:
    """Where capitalised unknown words stand, with the names and initials next to them."""
    words = list(_WORD.finditer(text))
    unknown = [_is_unknown(word[0]) and not is_eponym(text, word.end()) for word in words]
    linked = [
        bool((_AFTER_INITIAL if len(one[0]) == 1 else _BETWEEN).fullmatch(text, one.end(), other.start()))
        and not (len(other[0]) == 1 and text[other.start() - 2] == ",")  # the M of a degree
        for one, other in pairwise(words)
    ]
    for number, word in enumerate(words):
        if not unknown[number]:
            continue
        first = last = number
        while first > 0 and linked[first - 1] and (unknown[first - 1] or _can_be_name(words[first - 1][0])):
            first -= 1
        while last < len(linked) and linked[last] and (unknown[last + 1] or _can_be_name(words[last + 1][0])):
            last += 1
        if words[first][0] in ("A", "I"):  # a word, not an initial
            first += 1
        if not word[0].isupper() or last > first:  # a lone word in capitals is rather an abbreviation
            yield words[first].start(), words[last].end()


def _is_unknown(word: str) -> bool:
    """Whether no part of a word is known; brands with inner capitals and plurals of abbreviations are no names."""
    if _INNER_CAPITAL.search(word) or _PLURAL.fullmatch(word):
        return False
    least = MIN_CAPITALS if word.isupper() else MIN_LETTERS
    parts = [part.lower() for part in _PART.findall(word)]
    longest = max(parts, key=len)
    return len(longest) >= least and not any(_is_known(part) for part in parts if len(part) >= MIN_LETTERS)


def _is_known(word: str) -> bool:
    words = known_words()
    stems = {word, *(word.removesuffix(ending) + stem for ending, stem in _ENDINGS if word.endswith(ending))}
    stems |= {shorter for stem in stems if len(shorter := _BEGINNINGS.sub("", stem)) >= MIN_CAPITALS}
    return not stems.isdisjoint(words)


def _can_be_name(word: str) -> bool:
    plain = word.lower()
    return len(word) == 1 or plain in GIVEN_NAMES or plain in SURNAMES or plain in AMBIGUOUS
