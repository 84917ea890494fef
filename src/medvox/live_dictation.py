"""Speech as it is spoken -> text that grows: voice activity, log-mel, Conformer, CTC, words, written text.

The live form of ``dictate``. An utterance ends with a short pause, a sentence need not. What is *committed* are raw
words, as they were recognised, and never change; what is *written* from them may, since spoken commands reach back
("scratch that") and some marks depend on the next word.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from medvox.data.results import Word
from medvox.encode.batch import to_features
from medvox.encode.long_speech import FeatureStream
from medvox.encode.speech import HOP_SAMPLES, MEL_BANDS, SAMPLE_RATE_HZ
from medvox.encode.voice import EndOfSpeech
from medvox.models.ctc import DecodedToken
from medvox.models.live import Live
from medvox.models.live_tokens import LiveTokens, Phrasing
from medvox.models.speech_model import Decode, SpeechModel, decoder_of
from medvox.parse.commands import DEFAULT_WRITING, Writer, WritingSettings
from medvox.parse.transcript import WORD_START, end_of_text, raw_text, words_from_tokens
from medvox.types import Flag, Samples, to_json

FRAMES_A_S = SAMPLE_RATE_HZ // HOP_SAMPLES
PIECE_SAMPLES = SAMPLE_RATE_HZ // 10  # longer blocks are heard in pieces
TAIL_S = 0.2  # silence that the network must have heard after the voice before an utterance may end
NOTICED_S = 0.9  # a voice is noticed at the latest so long after its begin
CLEAR_S = 0.1  # what lies so far behind a voice has none of its words


@dataclass(frozen=True, kw_only=True, slots=True)
class Listening:
    """How live speech is heard.

    Attributes:
        pause_s: silence that ends an utterance.
        step_s: new sound after which the network hears again while someone speaks.
        lead_s: sound before a voice that is heard with it.
        phrasing: where words are committed within an utterance.
    """

    pause_s: float = 0.25
    step_s: float = 0.24
    lead_s: float = 0.3
    phrasing: Phrasing = field(default_factory=Phrasing)


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveText:
    """What is known at a moment.

    Attributes:
        utterance: number of the utterance, from 1.
        committed: its words that never change; each text of an utterance begins with that of the one before.
        tentative: its words after them, as they look now.
        final: whether the utterance has ended; then all its words are committed.
        written: the whole dictation as a clinician writes it, with what is known of this utterance.
        words: of the utterance, with times from the start of the sound.
        flags: of the writing and the hearing.
        heard_s: sound heard so far.
        latency_s: of a final text, seconds since the voice fell silent, computing included; None before.
    """

    utterance: int
    committed: str
    tentative: str
    final: bool
    written: str
    words: tuple[Word, ...]
    flags: tuple[Flag, ...]
    heard_s: float
    latency_s: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The text as the contract's JSON object."""
        fields: dict[str, Any] = to_json(self)
        return fields


DEFAULT_LISTENING = Listening()


def listen(
    blocks: Iterable[Samples],
    model: SpeechModel,
    *,
    decode: Decode | None = None,
    writing: WritingSettings = DEFAULT_WRITING,
    listening: Listening = DEFAULT_LISTENING,
) -> Iterator[LiveText]:
    """Recognises speech while it is spoken.

    Args:
        blocks: mono samples, 16 kHz, -1..1, as they come; the longer they are, the later their end is noticed.
        model: a loaded speech model.
        decode: how log-probabilities become tokens, see ``decoder_of``; what suits the model when None.
        writing: how dictated text is written.
        listening: how speech is heard.

    Yields:
        a text whenever the words changed, and one for the end of each utterance.

    Raises:
        ModelError: the model gave unusable numbers.
    """
    ear = _Ear(model, decode or decoder_of(model), writing, listening)
    for block in blocks:
        for start in range(0, len(block), PIECE_SAMPLES):
            yield from ear.hear(block[start : start + PIECE_SAMPLES])
    yield from ear.end()


class _Ear:
    """All that was heard so far."""

    def __init__(self, model: SpeechModel, decode: Decode, writing: WritingSettings, how: Listening) -> None:
        self._model, self._decode, self._writing, self._how = model, decode, writing, how
        self._writer = Writer(settings=writing)
        self._starts = [number for number, piece in enumerate(model.pieces) if piece.startswith(WORD_START)]
        self._live = Live(model.network)
        self._voice = EndOfSpeech(pause_s=how.pause_s)
        self._stream = FeatureStream()
        self._recent = np.empty((0, MEL_BANDS), np.float32)  # features, the last of which the network has not heard
        self._unheard = 0  # how many those are
        self._frames = self._samples = self._utterances = self._unclear = 0
        self._tokens: LiveTokens | None = None  # of the utterance that goes on
        self._start_s = 0.0  # and where it starts
        self._shown = ("", "")

    def hear(self, block: Samples) -> Iterator[LiveText]:
        """The next sound."""
        arrived = time.perf_counter()
        self._samples += len(block)
        ended = self._voice.feed(block)
        new = self._stream.feed(block)
        self._frames += len(new)
        self._recent, self._unheard = np.concatenate([self._recent, new]), self._unheard + len(new)
        if self._tokens is None:
            self._keep(self._how.lead_s + NOTICED_S)
            if not (self._voice.speaking or ended):
                return
            self._open()
        tail_s = self._voice.silent_s - self._unheard / FRAMES_A_S  # silence that the network has heard
        step = self._unheard >= self._how.step_s * FRAMES_A_S and not self._voice.silent_s
        if step or (self._voice.silent_s >= TAIL_S and tail_s < TAIL_S) or (ended and tail_s < TAIL_S):
            yield from self._hear_again()
        if ended:
            yield from self._close(arrived)

    def end(self) -> Iterator[LiveText]:
        """There is no more sound."""
        arrived = time.perf_counter()
        if self._tokens is not None:
            if self._unheard:
                yield from self._hear_again()
            yield from self._close(arrived)

    def _keep(self, last_s: float) -> None:
        """Forget features that lie further back."""
        frames = max(self._unheard if self._tokens else 0, round(last_s * FRAMES_A_S))
        self._recent = self._recent[max(0, len(self._recent) - frames) :]

    def _open(self) -> None:
        """An utterance starts, somewhat before its voice."""
        self._keep(self._how.lead_s + self._voice.since_s)
        self._unheard = len(self._recent)
        self._start_s = (self._frames - self._unheard) / FRAMES_A_S
        self._tokens = LiveTokens(
            self._decode, blank=self._model.blank, starts=self._starts, phrasing=self._how.phrasing
        )
        self._shown = ("", "")
        self._utterances += 1

    def _hear_again(self) -> Iterator[LiveText]:
        assert self._tokens is not None
        heard = self._live.feed(to_features(self._recent[len(self._recent) - self._unheard :]))
        self._unheard = 0
        self._keep(self._how.lead_s + NOTICED_S)
        tentative = self._tokens.hear(heard)
        yield from self._tell(tentative)

    def _close(self, arrived: float) -> Iterator[LiveText]:
        """The utterance has ended; the silence behind it may belong to the next one."""
        assert self._tokens is not None
        self._tokens.finish(self._live.finish())
        yield from self._tell((), ended=arrived)
        self._unclear += self._tokens.unclear
        self._tokens = None
        self._keep(max(0.0, self._voice.silent_s - CLEAR_S))

    def _tell(self, tentative: tuple[DecodedToken, ...], *, ended: float | None = None) -> Iterator[LiveText]:
        """What is known, where it is new; ``ended`` is when the block came in with which the utterance ended."""
        assert self._tokens is not None
        committed = [word for phrase in self._tokens.phrases for word in self._words(phrase)]
        words = (*committed, *self._words(tentative))
        shown = (raw_text(committed), raw_text(words[len(committed) :]))
        before, self._shown = self._shown, shown
        if shown == before and (ended is None or shown == ("", "")):
            return
        if ended is None:
            written = self._writer.preview(words)
        else:
            self._writer.add(words)
            written = end_of_text(self._writer.written(), settings=self._writing)
        yield LiveText(
            utterance=self._utterances,
            committed=shown[0],
            tentative=shown[1],
            final=ended is not None,
            written=written.text,
            words=words,
            flags=(*self._hearing_flags(), *written.flags),
            heard_s=self._samples / SAMPLE_RATE_HZ,
            latency_s=None if ended is None else self._voice.silent_s + time.perf_counter() - ended,
        )

    def _words(self, tokens: tuple[DecodedToken, ...]) -> tuple[Word, ...]:
        """With times from the start of the sound."""
        return tuple(
            replace(word, start_s=round(word.start_s + self._start_s, 2), end_s=round(word.end_s + self._start_s, 2))
            for word in words_from_tokens(tokens, self._model.pieces)
        )

    def _hearing_flags(self) -> Iterator[Flag]:
        if unclear := self._unclear + (self._tokens.unclear if self._tokens else 0):
            text = f"passages that sound like speech, left out because no word of them is sure: {unclear}"
            yield Flag(code="F_SPEECH_UNCLEAR", text=text)
