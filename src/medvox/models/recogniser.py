"""What a recogniser of another maker gives, in one shape: words with times and confidence, and what to doubt.

Beside ``conformer`` on the speech path: the servers of ``openai_speech`` and the models of ``whisper_speech`` come in
here, and the same grammar, checks and formats follow. Recordings reach them in chunks that are cut in pauses. Knows no
file and no grammar.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Protocol

from medvox.errors import ModelError
from medvox.types import Flag, Progress, Samples

SAMPLE_RATE_HZ = 16_000
JOINED_PAUSE_S = 5.0  # longer pauses are not sent: there recognisers invent text
MARGIN_S = 0.5
FAST_WORDS_A_S = 7.0  # nobody dictates faster
MOST_WORDS, MOST_WORDS_A_S = 500, 20.0  # an answer with more is not the text of a recording
COMPRESSED_BELOW, COMPRESSED_WORDS = 2.4, 80  # Whisper's own limit for its windows of half a minute
REPEATS, LONGEST_REPEATED = 4, 8

_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories of characters

Span = tuple[float, float]  # seconds from the start of the recording


@dataclass(frozen=True, kw_only=True, slots=True)
class HeardWord:
    """A word between white space. ``confidence`` (0 to 1) is None where the recogniser gives none."""

    text: str
    start_s: float
    end_s: float
    confidence: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """The words of a recording in order, and what a reader must know about them."""

    words: tuple[HeardWord, ...]
    flags: tuple[Flag, ...] = ()

    @property
    def text(self) -> str:
        """The text as the recogniser gave it, in one line."""
        return " ".join(word.text for word in self.words)


class Recogniser(Protocol):
    """Anything that hears speech."""

    @property
    def name(self) -> str:
        """What transcripts call it."""

    @property
    def sha256(self) -> str:
        """Of its weights; empty where they are not known."""

    @property
    def notice(self) -> str:
        """What its user must be told before it hears; empty for nothing."""

    def hear(self, samples: Samples, *, speech: Sequence[Span], progress: Progress) -> Heard:
        """The words of a recording.

        Args:
            samples: mono, 16 kHz, -1..1, any length.
            speech: where someone speaks, in order; nothing else is heard.
            progress: told about chunks.

        Raises:
            ModelError: no word for speech (``E_TRANSCRIPT_EMPTY``), or an unusable answer.
        """


def hear_speech(
    hear: Callable[[Samples, Span], Heard],
    samples: Samples,
    speech: Sequence[Span],
    longest_s: float,
    progress: Progress,
) -> Heard:
    """Hears the speech of a recording in chunks; ``hear`` is given the samples of one and where it lies.

    Raises:
        ModelError: there is speech, and no chunk gave a word (``E_TRANSCRIPT_EMPTY``).
    """
    chunks = chunks_of(speech, len(samples) / SAMPLE_RATE_HZ, longest_s)
    words: list[HeardWord] = []
    flags: dict[Flag, None] = {}
    silent = 0
    for done, (start_s, end_s) in enumerate(chunks):
        progress("recognising", done, len(chunks))
        part = hear(samples[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)], (start_s, end_s))
        silent += not part.words
        words += part.words
        flags |= dict.fromkeys((*part.flags, *doubts(part.text, end_s - start_s)))
    progress("recognising", len(chunks), len(chunks))
    if chunks and not words:
        raise ModelError(
            "the recogniser gave no word although the recording holds speech",
            fix="record closer to the microphone, or use another speech model",
            code="E_TRANSCRIPT_EMPTY",
        )
    cuts = sum(start < chunk[1] < end for chunk in chunks for start, end in speech)
    unsure = any(word.confidence is None for word in words)
    more = (
        (silent, "F_SPEECH_WITHOUT_WORDS", f"{silent} of {len(chunks)} stretches of speech gave no word"),
        (cuts, "F_CUT_IN_SPEECH", f"cuts in speech without a pause: {cuts}; words there may be wrong"),
        (unsure, "F_CONFIDENCE_UNKNOWN", "the recogniser does not say how sure it is; check every word"),
    )
    return Heard(
        words=tuple(words), flags=(*flags, *(Flag(code=code, text=text) for given, code, text in more if given))
    )


def chunks_of(speech: Sequence[Span], duration_s: float, longest_s: float) -> list[Span]:
    """Stretches to hear, each at most ``longest_s``: cut in the longest pauses, without long silences.

    Speech that has no pause for so long is cut through.
    """
    bare: list[Span] = []
    group: list[Span] = []
    most_s = longest_s - 2 * MARGIN_S
    for segment in _without_giants(speech, most_s):
        if group and segment[0] - group[-1][1] > JOINED_PAUSE_S:
            bare.append((group[0][0], group[-1][1]))
            group = []
        group.append(segment)
        while group[-1][1] - group[0][0] > most_s:
            at = _best_cut(group, most_s)
            bare.append((group[0][0], group[at - 1][1]))
            group = group[at:]
    if group:
        bare.append((group[0][0], group[-1][1]))
    edges = [0.0, *((before[1] + after[0]) / 2 for before, after in pairwise(bare)), duration_s]
    return [
        (max(start - MARGIN_S, edges[place]), min(end + MARGIN_S, edges[place + 1]))
        for place, (start, end) in enumerate(bare)
    ]


def _without_giants(speech: Sequence[Span], most_s: float) -> list[Span]:
    """The segments, those that are too long in equal parts."""
    parts: list[Span] = []
    for start, end in speech:
        count = max(1, -(-round((end - start) * 1000) // round(most_s * 1000)))
        edges = [start + (end - start) * part / count for part in range(count)]
        parts += pairwise([*edges, end])
    return parts


def _best_cut(group: Sequence[Span], most_s: float) -> int:
    """Index of the segment after the longest pause of the second half; after the last that fits where there is none."""
    fitting = [at for at in range(1, len(group)) if group[at - 1][1] - group[0][0] <= most_s]
    late = [at for at in fitting if group[at - 1][1] - group[0][0] >= most_s / 2]
    return max(late or fitting[-1:], key=lambda at: group[at][0] - group[at - 1][1])


def worded(text: str, offered: Sequence[HeardWord], span: Span) -> tuple[HeardWord, ...]:
    """The words of ``text`` with times and confidence of the words offered beside it.

    The two may differ: in marks and capitals, and in numbers that one of them writes in digits. Words that stand for
    some others share their time and have the least of their confidences; without any offered they share ``span``.

    Raises:
        ModelError: there are more words than can be spoken in ``span`` (``E_TRANSCRIPT_TOO_LONG``).
    """
    pieces = text.split()
    if max(len(pieces), len(offered)) > MOST_WORDS_A_S * (span[1] - span[0]) + MOST_WORDS:
        raise ModelError(
            "the recogniser gave more words than can be spoken in that time",
            fix="use another speech model; this one invents text",
            code="E_TRANSCRIPT_TOO_LONG",
        )
    inside = _within(offered, span)
    keys, offered_keys = [_key(piece) for piece in pieces], [_key(word.text) for word in inside]
    if keys == offered_keys:
        return tuple(replace(word, text=piece) for piece, word in zip(pieces, inside, strict=True))
    words: list[HeardWord] = []
    for _, first, last, low, high in SequenceMatcher(None, keys, offered_keys, autojunk=False).get_opcodes():
        if last - first == high - low:
            words += (replace(word, text=piece) for piece, word in zip(pieces[first:last], inside[low:high]))
            continue
        source = inside[low:high]
        start_s = source[0].start_s if source else inside[low - 1].end_s if low else span[0]
        end_s = source[-1].end_s if source else inside[low].start_s if low < len(inside) else span[1]
        words += spread(pieces[first:last], (start_s, end_s), _least([word.confidence for word in source]))
    return tuple(words)


def spread(pieces: Sequence[str], span: Span, confidence: float | None) -> list[HeardWord]:
    """Words that share a time evenly."""
    step = (span[1] - span[0]) / max(len(pieces), 1)
    return [
        HeardWord(
            text=piece,
            start_s=round(span[0] + step * place, 3),
            end_s=round(span[0] + step * (place + 1), 3),
            confidence=confidence,
        )
        for place, piece in enumerate(pieces)
    ]


def cleaned(text: str) -> str:
    """A text in one line, without characters that steer a terminal or hide others."""
    shown = (" " if unicodedata.category(letter) in _UNSEEN else letter for letter in text)
    return " ".join("".join(shown).split())


def doubts(text: str, duration_s: float) -> tuple[Flag, ...]:
    """What a text shows of itself when its recogniser has lost the sound.

    ``F_TRANSCRIPT_REPEATS`` where it says the same again and again, ``F_TRANSCRIPT_TOO_FAST`` for more words than are
    spoken in that time.
    """
    words = re.findall(r"\w+", text.lower())
    windows = (words[at : at + COMPRESSED_WORDS] for at in range(0, len(words), COMPRESSED_WORDS))
    repeated = _says_again(words) or any(_compresses(" ".join(window)) for window in windows)
    fast = len(words) > FAST_WORDS_A_S * duration_s
    found = (
        (repeated, "F_TRANSCRIPT_REPEATS", "the text repeats itself; parts of it may be invented"),
        (fast, "F_TRANSCRIPT_TOO_FAST", "the text has more words than are spoken in that time; it may be invented"),
    )
    return tuple(Flag(code=code, text=text) for given, code, text in found if given)


def _compresses(text: str) -> bool:
    raw = text.encode()
    return len(raw) > COMPRESSED_BELOW * len(zlib.compress(raw))


def _says_again(words: Sequence[str]) -> bool:
    """Whether some words follow themselves ``REPEATS`` times."""
    for size in range(1, LONGEST_REPEATED + 1):
        run = 0
        for at in range(size, len(words)):
            run = run + 1 if words[at] == words[at - size] else 0
            if run >= size * (REPEATS - 1):
                return True
    return False


def _within(offered: Sequence[HeardWord], span: Span) -> list[HeardWord]:
    """The words with times that only grow and stay inside the span."""
    words = []
    before = span[0]
    for word in offered:
        start_s = min(max(before, word.start_s), span[1])
        before = min(max(start_s, word.end_s), span[1])
        words.append(replace(word, start_s=round(start_s, 3), end_s=round(before, 3)))
    return words


def _least(confidences: Sequence[float | None]) -> float | None:
    known = [confidence for confidence in confidences if confidence is not None]
    return min(known) if known and len(known) == len(confidences) else None


def _key(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold())) or text
