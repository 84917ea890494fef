"""A transcription server's JSON -> text, and words with times and confidence where it offers them.

Under ``openai_speech``. Takes OpenAI's shapes (``json``, ``verbose_json``) and what other servers add: ``probability``
in words, words inside segments. Everything else is refused, and the text cleaned of what a terminal would act on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from medvox.errors import MedvoxError, ModelError, SetupError
from medvox.models.http_post import Reply
from medvox.models.recogniser import HeardWord, Span, cleaned, spread
from medvox.types import Flag

NO_SPEECH, UNLIKELY = 0.6, -1.0  # Whisper's own limits: above the first and below the second a segment is no speech
BEYOND_S = 1.0  # how far times may lie outside what was sent

_Json = dict[str, Any]


def read_answer(reply: Reply, where: str) -> _Json:
    """The JSON object of a reply.

    Args:
        reply: any reply.
        where: host and port, for messages.

    Raises:
        SetupError: ``E_SPEECH_SERVER_REDIRECT``, ``E_SPEECH_SERVER_KEY`` or ``E_SPEECH_SERVER_MISSING``.
        ModelError: ``E_SPEECH_SERVER_REFUSED`` or ``E_SPEECH_SERVER_ANSWER``.
    """
    if not 200 <= reply.status < 300:
        raise _refused(reply.status, where)
    if not reply.content_type.endswith("json"):
        raise _unusable(where, f"is {reply.content_type}, not JSON")
    try:
        answer = json.loads(reply.body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise _unusable(where, "is damaged JSON") from None
    if isinstance(answer, dict) and "error" in answer and "text" not in answer:
        raise _refused(reply.status, where)
    if not isinstance(answer, dict) or not isinstance(answer.get("text"), str):
        raise _unusable(where, "has no text")
    return answer


def answer_text(answer: _Json) -> str:
    """The text in one line, without control characters."""
    return cleaned(answer["text"])


def answer_words(answer: _Json, span: Span) -> tuple[list[HeardWord], tuple[Flag, ...]]:
    """Words with times and confidence, as far as the server offers them; none where it offers nothing usable.

    Words without a confidence have that of their segment; segments without words share their time among theirs.

    Args:
        answer: from ``read_answer``.
        span: where the sound that was sent lies in the recording; times are moved there.
    """
    segments = [item for item in _dicts(answer.get("segments")) if isinstance(item.get("text"), str)]
    listed = _dicts(answer.get("words")) or [word for one in segments for word in _dicts(one.get("words"))]
    words, measured = [], True
    for item in listed:
        at = _times(item, span)
        text = cleaned(item["word"]) if isinstance(item.get("word"), str) else ""
        if at is None or not text:
            continue
        own = _share(item.get("probability"))
        measured &= own is not None
        words.append(_word(text, at, own if own is not None else _segment_confidence(segments, at, span)))
    if not words:
        measured = False
        for segment in segments:
            at = _times(segment, span)
            if at is not None:
                words += spread(cleaned(segment["text"]).split(), at, _confidence(segment))
    words.sort(key=lambda word: word.start_s)
    return words, tuple(_flags(segments, words, measured))


def _flags(segments: list[_Json], words: list[HeardWord], measured: bool) -> Iterator[Flag]:
    if not measured and any(word.confidence is not None for word in words):
        text = "the recogniser says how sure it is of whole sentences only, not of words"
        yield Flag(code="F_CONFIDENCE_OF_SENTENCES", text=text)
    if any(_is_no_speech(segment) for segment in segments):
        yield Flag(code="F_NO_SPEECH_LIKELY", text="some of the text may be no speech at all; it may be invented")


def _is_no_speech(segment: _Json) -> bool:
    no_speech, likely = _number(segment.get("no_speech_prob")), _number(segment.get("avg_logprob"))
    return no_speech is not None and no_speech > NO_SPEECH and likely is not None and likely < UNLIKELY


def _segment_confidence(segments: list[_Json], at: Span, span: Span) -> float | None:
    """That of the segment that holds the middle of a word."""
    middle = (at[0] + at[1]) / 2
    for segment in segments:
        inside = _times(segment, span)
        if inside is not None and inside[0] <= middle <= inside[1]:
            return _confidence(segment)
    return None


def _confidence(segment: _Json) -> float | None:
    likely = _number(segment.get("avg_logprob"))
    return math.exp(likely) if likely is not None and likely <= 0 else None


def _word(text: str, at: Span, confidence: float | None) -> HeardWord:
    return HeardWord(text=text, start_s=at[0], end_s=at[1], confidence=confidence)


def _times(item: Mapping[str, Any], span: Span) -> Span | None:
    """Start and end in the recording; None where they are missing or lie outside."""
    start, end = _number(item.get("start")), _number(item.get("end"))
    if start is None or end is None or not 0 <= start <= end <= span[1] - span[0] + BEYOND_S:
        return None
    return span[0] + start, span[0] + end


def _share(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and 0 <= number <= 1 else None


def _number(value: Any) -> float | None:
    """A finite number; JSON may hold whole numbers that no float can."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e9 < value < 1e9:
        return None
    return float(value)


def _dicts(value: Any) -> list[_Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _no_number(name: str) -> float:
    raise ValueError(name)


def _refused(status: int, where: str) -> MedvoxError:
    if 300 <= status < 400:
        return SetupError(
            f"the speech server {where} points to another address, which is not followed",
            fix="give the address that it points to, if you trust it",
            code="E_SPEECH_SERVER_REDIRECT",
        )
    if status in (401, 403):
        return SetupError(
            f"the speech server {where} does not accept the key ({status})",
            fix="set MEDVOX_OPENAI_API_KEY to the server's key",
            code="E_SPEECH_SERVER_KEY",
        )
    if status in (404, 405):
        return SetupError(
            f"the speech server {where} has no such path or no such model ({status})",
            fix="check the path, which often ends in /v1, and name the model: openai:URL#MODEL",
            code="E_SPEECH_SERVER_MISSING",
        )
    if status == 413:
        return ModelError(
            f"the speech server {where} takes not even ten seconds of sound at once (413)",
            fix="raise its limit for uploads, and that of a proxy before it",
            code="E_SPEECH_SERVER_SIZE",
        )
    return ModelError(
        f"the speech server {where} refused the recording ({status})",
        fix="see its log; name the model with openai:URL#MODEL, or use another server",
        code="E_SPEECH_SERVER_REFUSED",
    )


def _unusable(where: str, what: str) -> ModelError:
    return ModelError(
        f"the answer of the speech server {where} {what}",
        fix="check that the address is that of a /v1/audio/transcriptions server",
        code="E_SPEECH_SERVER_ANSWER",
    )
