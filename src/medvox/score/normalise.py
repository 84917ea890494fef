"""Text -> the words that are compared when speech recognition is scored, by published rules.

Before ``score/alignment``. A word error rate means nothing without the name of its normaliser: the same output scores
points apart under these. Knows no metric. Never used for text that a clinician reads.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType

from medvox.errors import UsageError
from medvox.score.spoken_numbers import digits_for_words

Normaliser = Callable[[str], str]

_END_TOKEN = "</s>"  # noqa: S105

# Letters that are not taken apart by NFKD.
_LETTERS = {
    "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "ß": "ss", "ẞ": "SS", "đ": "d", "Đ": "D",
    "ð": "d", "Ð": "D", "þ": "th", "Þ": "th", "ł": "l", "Ł": "L",
}  # fmt: skip
_KEPT = frozenset(".%$¢€£")
_CONTRACTIONS = {
    r"\bwon't\b": "will not", r"\bcan't\b": "can not", r"\blet's\b": "let us", r"\bain't\b": "aint",
    r"\by'all\b": "you all", r"\bwanna\b": "want to", r"\bgotta\b": "got to", r"\bgonna\b": "going to",
    r"\bi'ma\b": "i am going to", r"\bimma\b": "i am going to", r"\bwoulda\b": "would have",
    r"\bcoulda\b": "could have", r"\bshoulda\b": "should have", r"\bma'am\b": "madam",
}  # fmt: skip
_TITLES = {
    "mr": "mister", "mrs": "missus", "st": "saint", "dr": "doctor", "prof": "professor", "capt": "captain",
    "gov": "governor", "ald": "alderman", "gen": "general", "sen": "senator", "rep": "representative",
    "pres": "president", "rev": "reverend", "hon": "honorable", "asst": "assistant", "assoc": "associate",
    "lt": "lieutenant", "col": "colonel", "jr": "junior", "sr": "senior", "esq": "esquire",
}  # fmt: skip
_SHORTENED_VERBS = {
    r"'d been\b": " had been", r"'s been\b": " has been", r"'d gone\b": " had gone", r"'s gone\b": " has gone",
    r"'d done\b": " had done", r"'s got\b": " has got", r"n't\b": " not", r"'re\b": " are", r"'s\b": " is",
    r"'d\b": " would", r"'ll\b": " will", r"'t\b": " not", r"'ve\b": " have", r"'m\b": " am",
}  # fmt: skip
_REPLACED = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        *_CONTRACTIONS.items(),
        *((rf"\b{title}\b", f"{spoken} ") for title, spoken in _TITLES.items()),
        *_SHORTENED_VERBS.items(),
    )
)


def quick_start(text: str) -> str:
    """The rule of MedASR's quick-start notebook: other characters than a-z, 0-9, apostrophe become spaces.

    ``{period}`` counts as a word, ``3.5`` as two, and ``%`` as none.
    """
    return " ".join(re.sub(r"[^a-z0-9' ]", " ", text.lower().replace(_END_TOKEN, "")).split())


def fine_tune(text: str) -> str:
    """The rule of MedASR's fine-tuning notebook: other characters than a-z and 0-9 are deleted (``3.5`` to ``35``)."""
    kept = re.sub(r"[^a-z0-9\s]", "", text.lower().replace(_END_TOKEN, ""))
    return " ".join(kept.split())


def whisper_english(text: str) -> str:
    """Whisper's English normaliser, used by the Open ASR leaderboard.

    Text in any brackets and a few fillers vanish, contractions and titles are written out, spoken numbers become
    digits, British spellings American. Braces leave the command word behind; ``col`` and ``st`` count as titles.
    """
    text = re.sub(r"[<\[][^>\]]*[>\]]", "", text.lower())
    text = re.sub(r"\(([^)]+?)\)", "", text)
    text = re.sub(r"\b(hmm|mm|mhm|mmm|uh|um)\b", "", text)
    text = re.sub(r"\s+'", "'", text)
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    text = re.sub(r"(\d),(\d)", r"\1\2", text)
    text = re.sub(r"\.([^0-9]|$)", r" \1", text)
    text = digits_for_words("".join(map(_plain, unicodedata.normalize("NFKD", text))))
    spellings = _spellings()
    text = " ".join(spellings.get(word, word) for word in text.split())
    text = re.sub(r"[.$¢€£]([^0-9])", r" \1", text)
    text = re.sub(r"([^0-9])%", r"\1 ", text)
    return re.sub(r"\s+", " ", text)


NORMALISERS: Mapping[str, Normaliser] = MappingProxyType(
    {"quick-start": quick_start, "fine-tune": fine_tune, "whisper-english": whisper_english}
)


def normaliser(name: str) -> Normaliser:
    """The normaliser of that name.

    Raises:
        UsageError: ``E_SCORE_NORMALISER``, no such name.
    """
    if name not in NORMALISERS:
        raise UsageError(
            f"there is no text normaliser {name!r}",
            fix=f"use one of {', '.join(NORMALISERS)}",
            code="E_SCORE_NORMALISER",
        )
    return NORMALISERS[name]


def _plain(character: str) -> str:
    """A character without its diacritics; marks, symbols and punctuation as a space."""
    if character in _KEPT:
        return character
    if character in _LETTERS:
        return _LETTERS[character]
    category = unicodedata.category(character)
    if category == "Mn":
        return ""
    return " " if category[0] in "MSP" else character


@lru_cache(maxsize=1)
def _spellings() -> Mapping[str, str]:
    """British spellings and their American forms."""
    lines = files("medvox.score").joinpath("spellings.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split() for line in lines if not line.startswith("#"))
