"""Tokens -> tokens with heard phrases replaced by wanted ones, as the user's corrections say.

Behind ``parse/markup`` and before ``parse/spoken``, so a correction can also stand for a command. Whole words only, the
longest phrase first, and never twice over the same words. Knows no file and no confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from medvox.data.dictation_files import Correction
from medvox.errors import InputError
from medvox.parse.faithful import changed_risks
from medvox.parse.markup import Kind, Token, read_markup, span_of


class Corrector:
    """Corrections, ready to be looked up by their first word.

    Raises:
        InputError: one changes a number, unit, side or negation and its line does not begin with ``!``
            (``E_CORRECTIONS_RISK``).
    """

    def __init__(self, corrections: Sequence[Correction]) -> None:
        self._by_first: dict[str, list[tuple[list[str], Correction]]] = {}
        self._risky: set[Correction] = set()
        for correction in sorted(corrections, key=lambda one: -len(one.heard.split())):
            if changed_risks(correction.heard, correction.wanted):
                if not correction.changes_risk:
                    raise InputError(
                        f"the correction in line {correction.line} changes a number, unit, side or negation",
                        fix="begin the line with ! if that is what you want",
                        code="E_CORRECTIONS_RISK",
                    )
                self._risky.add(correction)
            words = correction.heard.lower().split()
            self._by_first.setdefault(words[0], []).append((words, correction))

    def correct(self, tokens: Sequence[Token]) -> tuple[list[Token], dict[str, int]]:
        """The tokens with the corrections made, and how many ``corrected`` and ``corrected risk`` there were."""
        made, counts = list[Token](), dict[str, int]()
        at = 0
        while at < len(tokens):
            found = self._found(tokens, at)
            if found is None:
                made.append(tokens[at])
                at += 1
                continue
            size, correction = found
            span = span_of(tokens[at : at + size])
            made += [replace(token, span=span) for token in read_markup(correction.wanted)]
            name = "corrected risk" if correction in self._risky else "corrected"
            counts[name] = counts.get(name, 0) + 1
            at += size
        return made, counts

    def _found(self, tokens: Sequence[Token], at: int) -> tuple[int, Correction] | None:
        for words, correction in self._by_first.get(_heard(tokens[at]), ()):
            part = tokens[at : at + len(words)]
            as_wanted = [token.text for token in part] == correction.wanted.split()
            if not as_wanted and [_heard(token) for token in part] == words:
                return len(words), correction
        return None


def _heard(token: Token) -> str:
    return token.text.lower() if token.kind is Kind.WORD else ""
