"""Decoded tokens -> those that were spoken: what the network made of clatter and noise is left out.

Between the decoders and ``parse/transcript``. A phrase, tokens without a long pause inside, is judged as a whole: where
voice activity heard a voice, only one in which the network is sure of nothing goes; where it heard none, perhaps since
someone whispered, only a longer one in which the network is sure stays. Knows no sound and no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medvox.models.ctc import DecodedToken

PAUSE_ROWS = 12  # 0.5 s
SURE_OF_NOTHING = 0.35  # mean sureness of the tokens of a phrase
SURE, FEWEST_SURE = 0.8, 6  # and that of so many different tokens; knocks give one, again and again


@dataclass(frozen=True, kw_only=True, slots=True)
class Spoken:
    """The tokens that were spoken, and how many phrases were left out; ``unclear`` ones came from a voice."""

    tokens: tuple[DecodedToken, ...]
    unclear: int = 0
    noises: int = 0


def spoken_tokens(tokens: Sequence[DecodedToken], speech: Sequence[tuple[int, int]]) -> Spoken:
    """Leaves out what was no speech.

    Args:
        tokens: of a recording, with how sure each is (0 to 1).
        speech: (first, last) rows of stretches where someone speaks, in order.
    """
    kept: list[DecodedToken] = []
    unclear = noises = at = 0
    for phrase in phrases(tokens):
        while at < len(speech) and speech[at][1] <= phrase[0].first_frame:
            at += 1
        voiced = at < len(speech) and speech[at][0] <= phrase[-1].last_frame
        sure = sureness(phrase)
        if sure >= SURE_OF_NOTHING if voiced else sure >= SURE and kinds(phrase) >= FEWEST_SURE:
            kept += phrase
        elif voiced:
            unclear += 1
        else:
            noises += 1
    return Spoken(tokens=tuple(kept), unclear=unclear, noises=noises)


def phrases(tokens: Sequence[DecodedToken]) -> list[list[DecodedToken]]:
    """The tokens, parted at long pauses."""
    found: list[list[DecodedToken]] = []
    for token in tokens:
        if not found or token.first_frame - found[-1][-1].last_frame > PAUSE_ROWS:
            found.append([])
        found[-1].append(token)
    return found


def kinds(phrase: Sequence[DecodedToken]) -> int:
    """Different tokens of a phrase."""
    return len({token.token_id for token in phrase})


def sureness(phrase: Sequence[DecodedToken]) -> float:
    """Mean sureness of the tokens of a phrase."""
    return sum(token.probability for token in phrase) / len(phrase)
