"""Transcript -> the formats that other programs read: plain text, SubRip, WebVTT and OpenAI's verbose JSON.

Last stage of the speech path. Cues show the formatted text; its times come from the recognised words, which may differ
from it in letters and number, so the two are matched first. Knows no recogniser and writes no file.
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any

from medvox.data.results import Transcript, Word

LINE_CHARACTERS = 42
CUE_MS = 7000
MIN_CUE_MS = 1000  # shorter cues stay on the screen into the pause behind them
PAUSE_MS = 500
SEGMENT_MS = 30_000
MARK_MS = 2000  # a spoken mark or command takes no longer; longer speech without text was taken back

_SENTENCE_END = re.compile(r"[.?!][\"'”’)\]]*$")
_LINE_BREAK = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Timed:
    """A piece of the formatted text without white space; ``ends`` after a sentence or a line."""

    text: str
    start_ms: int
    end_ms: int
    ends: bool


def as_srt(transcript: Transcript) -> str:
    """SubRip cues, at most two lines of 42 characters and 7 s each.

    SubRip has no escapes: an arrow ``-->`` within the text is written ``->``, everything else as it is.
    """
    blocks = []
    for number, (cue, lines) in enumerate(_cues(transcript), start=1):
        text = re.sub("-{2,}>", "->", "\n".join(lines))
        blocks.append(f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{text}\n")
    return "\n".join(blocks)


def as_vtt(transcript: Transcript) -> str:
    """WebVTT cues as in ``as_srt``; ``&``, ``<`` and ``>`` are escaped. Without text only the header."""
    blocks = ["WEBVTT\n"]
    for cue, lines in _cues(transcript):
        text = "\n".join(lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{text}\n")
    return "\n".join(blocks)


def as_verbose_json(transcript: Transcript, *, language: str = "english") -> dict[str, Any]:
    """The transcript in the shape of ``verbose_json`` of OpenAI's transcription interface.

    Segments are sentences, cut at pauses and at 30 s. ``seek`` is the 10 ms frame where a segment starts,
    ``avg_logprob`` the mean logarithm of the confidence of its words, ``compression_ratio`` that of zlib. Left out is
    what a CTC recogniser does not have: ``tokens``, ``temperature``, ``no_speech_prob``; ``avg_logprob`` also where a
    segment has no words of its own. ``words`` are as recognised, before formatting.
    """
    words = _clean_times(transcript)
    starts = [_ms(word.start_s) for word in words]
    segments = []
    for number, pieces in enumerate(_groups(_timed(transcript, words), SEGMENT_MS, lines=False)):
        start, end = pieces[0].start_ms, pieces[-1].end_ms
        own = words[bisect_left(starts, start) : bisect_left(starts, max(end, start + 1))]
        segments.append(_segment(number, pieces, [word.confidence for word in own]))
    return {
        "task": "transcribe",
        "language": language,
        "duration": _ms(transcript.duration_s) / 1000,
        "text": transcript.text,
        "segments": segments,
        "words": [{"word": word.word, "start": word.start_s, "end": word.end_s} for word in words],
    }


def _segment(number: int, pieces: Sequence[_Timed], confidences: Sequence[float]) -> dict[str, Any]:
    start, end, text = pieces[0].start_ms, pieces[-1].end_ms, " ".join(piece.text for piece in pieces)
    segment = {"id": number, "seek": start // 10, "start": start / 1000, "end": end / 1000, "text": text}
    logs = [math.log(min(max(confidence, 1e-6), 1.0)) for confidence in confidences if math.isfinite(confidence)]
    if logs and all(confidences):  # 0 is a word of which nothing is known
        segment["avg_logprob"] = round(sum(logs) / len(logs), 4)
    raw = text.encode()
    return segment | {"compression_ratio": round(len(raw) / len(zlib.compress(raw)), 4)}


def _cues(transcript: Transcript) -> Iterator[tuple[_Timed, tuple[str, ...]]]:
    """Cues with their lines, in order: each ends before the next one starts and lasts 1 ms to 7 s."""
    timed = _timed(transcript, _clean_times(transcript))
    groups = list(_groups(_broken(timed), CUE_MS, lines=True))
    total = _ms(transcript.duration_s)
    before = 0
    for place, group in enumerate(groups):
        start = max(before, group[0].start_ms)
        end = min(max(group[-1].end_ms, start + 1), start + CUE_MS)
        room = groups[place + 1][0].start_ms if place + 1 < len(groups) else total
        before = end = max(end, min(start + MIN_CUE_MS, room))
        text = [piece.text for piece in group]
        yield _Timed(text=" ".join(text), start_ms=start, end_ms=end, ends=True), _lines(text)


def _groups(timed: Iterable[_Timed], longest_ms: int, *, lines: bool) -> Iterator[list[_Timed]]:
    """Pieces cut at sentence ends and pauses, and where time or the two lines (with ``lines``) run out."""
    group: list[_Timed] = []
    for piece in timed:
        if group and (
            group[-1].ends
            or piece.start_ms - group[-1].end_ms > PAUSE_MS
            or piece.end_ms - group[0].start_ms > longest_ms
            or (lines and not _lines([item.text for item in group] + [piece.text]))
        ):
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


def _lines(words: Sequence[str]) -> tuple[str, ...]:
    """One line where it fits, else the two that are most alike in length; nothing where two do not hold the words."""
    whole = " ".join(words)
    if len(whole) <= LINE_CHARACTERS:
        return (whole,)
    splits = [(" ".join(words[:place]), " ".join(words[place:])) for place in range(1, len(words))]
    fitting = [split for split in splits if max(map(len, split)) <= LINE_CHARACTERS]
    return min(fitting, key=lambda split: abs(len(split[0]) - len(split[1])), default=())


def _broken(timed: Iterable[_Timed]) -> Iterator[_Timed]:
    """Words longer than a line in parts, each with its share of the time."""
    for piece in timed:
        count = -(-len(piece.text) // LINE_CHARACTERS)
        edges = _shares(piece.start_ms, piece.end_ms, count)
        for part in range(count):
            text = piece.text[part * LINE_CHARACTERS : (part + 1) * LINE_CHARACTERS]
            ends = piece.ends and part == count - 1
            yield _Timed(text=text, start_ms=edges[part], end_ms=edges[part + 1], ends=ends)


def _timed(transcript: Transcript, words: Sequence[Word]) -> list[_Timed]:
    """The pieces of the formatted text with the times of the words that they were made from.

    Pieces that replace some words share their time; pieces without any, such as an inserted text, share the pause
    where they stand; without any word all share the whole duration. Words that left nothing, such as a spoken
    ``period``, count to the piece before them.
    """
    pieces = list(_pieces(transcript.text))
    matcher = SequenceMatcher(None, [_key(text) for text, _ in pieces], [_key(word.word) for word in words])
    spans: list[tuple[int, int]] = []
    for _, first, last, first_word, last_word in matcher.get_opcodes():
        if last - first == last_word - first_word:
            spans += ((_ms(word.start_s), _ms(word.end_s)) for word in words[first_word:last_word])
            continue
        if first == last:
            end = _ms(words[last_word - 1].end_s)
            if spans and end - spans[-1][1] <= MARK_MS:
                spans[-1] = spans[-1][0], end
            continue
        if first_word < last_word:
            start, end = _ms(words[first_word].start_s), _ms(words[last_word - 1].end_s)
        else:
            start = _ms(words[first_word - 1].end_s) if first_word else 0
            end = _ms(words[first_word].start_s) if first_word < len(words) else max(start, _ms(transcript.duration_s))
        edges = _shares(start, end, last - first)
        spans += pairwise(edges)
    return [
        _Timed(text=text, start_ms=start, end_ms=end, ends=ends)
        for (text, ends), (start, end) in zip(pieces, spans, strict=True)
    ]


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """What stands between white space, without control characters, and whether a sentence or line ends behind it."""
    for line in _LINE_BREAK.split(text):
        shown = ("".join(c for c in piece if unicodedata.category(c) not in ("Cc", "Cs")) for piece in line.split())
        pieces = [piece for piece in shown if piece]
        for place, piece in enumerate(pieces, start=1):
            yield piece, place == len(pieces) or _SENTENCE_END.search(piece) is not None


def _clean_times(transcript: Transcript) -> list[Word]:
    """The words with times that only grow, whatever the recogniser gave."""
    words: list[Word] = []
    before = 0
    for word in transcript.words:
        if word.word.strip():
            start = max(before, _ms(word.start_s))
            before = max(start, _ms(word.end_s))
            words.append(replace(word, start_s=start / 1000, end_s=before / 1000))
    return words


def _key(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold())) or text


def _shares(start: int, end: int, count: int) -> list[int]:
    """Edges that cut a time into equal parts."""
    return [start + (end - start) * part // max(count, 1) for part in range(count + 1)]


def _ms(seconds: float) -> int:
    return round(max(0.0, seconds) * 1000) if math.isfinite(seconds) else 0


def _clock(time_ms: int, mark: str) -> str:
    seconds, thousandths = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{mark}{thousandths:03}"
