"""Speech -> Transcript: read, log-mel, Conformer, CTC, words. A transcript can be the question of ``ask``.

Also learns a language model from texts, which is how the words of a clinic get into the recogniser without training it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medvox.catalog import DEFAULT_ASR, resolve_model
from medvox.data.phrases import read_phrases
from medvox.data.record import read_record
from medvox.data.results import Transcript, Word
from medvox.data.utterance import Utterance, read_utterance
from medvox.encode.batch import to_features
from medvox.encode.speech import HOP_SAMPLES, SAMPLE_RATE_HZ, log_mel
from medvox.encode.voice import speech_segments
from medvox.errors import InputError, ModelError, UsageError
from medvox.models.arpa import open_lm
from medvox.models.hotwords import HotPhrase, HotWords
from medvox.models.kneser_ney import build_lm
from medvox.models.listening import logits_of
from medvox.models.ngram import save_lm
from medvox.models.openai_speech import OpenAiSpeech, server_at
from medvox.models.recogniser import Recogniser
from medvox.models.speech_model import (
    Decode,
    SpeechModel,
    decoder_of,
    load_speech_model,
    spellings,
)
from medvox.models.whisper_speech import load_whisper
from medvox.parse.transcript import format_text, raw_text, words_from_tokens
from medvox.types import Features, Flag, Progress, no_progress

UNSURE_BELOW = 0.6
NO_SPEECH = Flag(code="F_NO_SPEECH", text="no speech was heard in the recording")
FRAMES_A_S = SAMPLE_RATE_HZ / HOP_SAMPLES
SPEECH_RANGE_DB = 12.0  # speech has pauses and syllables; a tone or a fan keeps its level


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoding:
    """How tokens are chosen.

    Attributes:
        method: a name from ``METHODS``: the best token of each frame, or a beam search; empty for a search where there
            is a language model (the given one, or the one that came with the model) or a hot word, else greedy.
        lm: a language model over the model's tokens: ARPA (also .gz, .xz) or what ``learn_lm`` wrote.
        hotwords: a file of phrases to favour.
    """

    method: str = ""
    lm: Path | None = None
    hotwords: Path | None = None


DEFAULT_DECODING = Decoding()


def transcribe(
    path: Path | str,
    model: SpeechModel | Recogniser | Path | str | None = None,
    *,
    decoding: Decoding = DEFAULT_DECODING,
    progress: Progress = no_progress,
) -> Transcript:
    """Recognises the speech in a sound file.

    Args:
        path: WAV, FLAC, OGG or MP3; any rate, any number of channels.
        model: from ``load_recogniser``, or what it takes.
        decoding: how tokens are chosen; by medvox's own recogniser only.
        progress: told about chunks of long recordings.

    Raises:
        InputError: the file, or one of the decoding, is missing, unreadable, empty, silent or too short.
        UsageError: the decoding does not fit the model.
        SetupError: the model is missing.
        ModelError: the model gave unusable numbers, or nothing at all for speech.
    """
    start = time.perf_counter()
    utterance = read_utterance(Path(path))
    if model is None or isinstance(model, Path | str):
        model = load_recogniser(model)
    if isinstance(model, SpeechModel):
        words, flags = _hear(model, utterance, decoding, progress)
    else:
        words, flags = _hear_elsewhere(model, utterance, decoding, progress)
    raw = raw_text(words)
    written = format_text(raw)
    return Transcript(
        file=utterance.source.name,
        text=written.text,
        raw_text=raw,
        words=words,
        duration_s=utterance.duration_s,
        model=model.name,
        flags=(*utterance.flags, *flags, *_unsure(words), *written.flags),
        file_sha256=utterance.source.sha256,
        model_sha256=model.sha256,
        seconds=time.perf_counter() - start,
    )


def load_recogniser(model: Path | str | None = None) -> SpeechModel | Recogniser:
    """What hears speech, by its name.

    Args:
        model: name or folder of a model in the hub's layout, ``openai:URL[#MODEL]`` for a server with OpenAI's
            interface, or ``whisper:NAME`` or ``whisper:FOLDER``; the small model that ships when None.

    Raises:
        SetupError: it is not here, or the recording may not be sent to it.
        UsageError: the address of the server is none.
    """
    name = str(model or DEFAULT_ASR)
    if name.startswith("openai:"):
        return OpenAiSpeech(server_at(name, os.environ))
    if name.startswith("whisper:"):
        return load_whisper(name)
    return load_speech_model(resolve_model(name))


def _hear(
    model: SpeechModel, utterance: Utterance, decoding: Decoding, progress: Progress
) -> tuple[tuple[Word, ...], list[Flag]]:
    features = log_mel(utterance.samples)
    found = speech_segments(utterance.samples)  # long recordings are cut in pauses
    speech = [(round(part.start_s * FRAMES_A_S), round(part.end_s * FRAMES_A_S)) for part in found]
    logits = logits_of(model.network, to_features(features), speech=speech, progress=progress)
    hypotheses = _decode(model, decoding)(logits)
    words = words_from_tokens(hypotheses[0].tokens, model.pieces)
    words = tuple(replace(word, end_s=min(word.end_s, round(utterance.duration_s, 2))) for word in words)
    return words, _flags(words, features)


def _hear_elsewhere(
    model: Recogniser, utterance: Utterance, decoding: Decoding, progress: Progress
) -> tuple[tuple[Word, ...], list[Flag]]:
    """The words of a server or of Whisper; 0 is the confidence where they give none, and a flag says so."""
    if decoding != DEFAULT_DECODING:
        raise UsageError(
            f"{model.name} chooses its words itself",
            fix="leave out --lm, --hotwords and --decoding, or use a model in the hub's layout",
            code="E_DECODING",
        )
    speech = [(part.start_s, part.end_s) for part in speech_segments(utterance.samples)]
    heard = model.hear(utterance.samples, speech=speech, progress=progress)
    words = tuple(
        Word(word=word.text, start_s=word.start_s, end_s=word.end_s, confidence=word.confidence or 0.0)
        for word in heard.words
    )
    silent = [] if speech else [NO_SPEECH]
    return words, [*silent, *heard.flags]


def learn_lm(
    texts: Sequence[Path], out: Path, *, model: SpeechModel | Path | str | None = None, order: int = 4
) -> dict[str, int]:
    """Learn a language model over a speech model's tokens from texts, one sentence a line.

    Lines that hold characters which the model cannot write are tried in lower case without punctuation, else left out.

    Returns:
        how many ``lines`` were used and how many ``left_out``.

    Raises:
        InputError: a text cannot be read, or no line can be used (``E_LM_TEXT``).
        SetupError: the model is missing.
    """
    if not isinstance(model, SpeechModel):
        model = load_speech_model(resolve_model(model or DEFAULT_ASR))
    lines = [line for path in texts for line in read_record(path).text.splitlines() if line.strip()]
    sentences = [ids for line in lines if (ids := model.token_ids(spellings(line)))]
    if not sentences:
        raise InputError(
            "no line of the texts can be written with the model's tokens",
            fix="give English text, one sentence a line",
            code="E_LM_TEXT",
        )
    save_lm(build_lm(sentences, order=order, pieces=model.pieces, blank=model.blank), out)
    return {"lines": len(sentences), "left_out": len(lines) - len(sentences)}


def _decode(model: SpeechModel, decoding: Decoding) -> Decode:
    lm = open_lm(decoding.lm, model.pieces) if decoding.lm else None
    hotwords = _hot_words(decoding.hotwords, model) if decoding.hotwords else None
    return decoder_of(model, decoding.method, lm=lm, hotwords=hotwords)


def _hot_words(path: Path, model: SpeechModel) -> HotWords:
    phrases = (
        HotPhrase(text=phrase.text, weight=phrase.weight, where=f"line {phrase.line} of {path.name}")
        for phrase in read_phrases(path)
    )
    return HotWords(phrases, model.pieces)


def _flags(words: tuple[Word, ...], features: Features) -> list[Flag]:
    """Flags of the recognition.

    Raises:
        ModelError: no word, although the level moves as it does in speech.
    """
    if not words:
        level_db = 10 * np.log10(np.exp(features).sum(axis=1))
        low, high = np.percentile(level_db, [15, 95])
        if high - low > SPEECH_RANGE_DB and len(features) * HOP_SAMPLES > SAMPLE_RATE_HZ // 2:
            raise ModelError(
                "the speech model heard no word although the recording sounds like speech",
                fix="record closer to the microphone, or use another speech model",
                code="E_TRANSCRIPT_EMPTY",
            )
        return [NO_SPEECH]
    return []


def _unsure(words: Sequence[Word]) -> list[Flag]:
    unsure = [word.word for word in words if word.confidence < UNSURE_BELOW]
    if not unsure:
        return []
    text = f"{len(unsure)} of {len(words)} words are unsure (confidence below {UNSURE_BELOW}); check the transcript"
    return [Flag(code="F_TRANSCRIPT_UNSURE", text=text)]
