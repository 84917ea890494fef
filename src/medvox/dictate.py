"""Speech -> Transcript: read, log-mel, Conformer, CTC, words. A transcript can be the question of ``ask``.

Also learns a language model from texts, which is how the words of a clinic get into the recogniser without training it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medvox.catalog import DEFAULT_ASR, resolve_model
from medvox.data.phrases import read_phrases
from medvox.data.record import read_record
from medvox.data.results import Transcript, Word
from medvox.data.utterance import read_utterance
from medvox.encode.batch import to_features
from medvox.encode.speech import HOP_SAMPLES, SAMPLE_RATE_HZ, log_mel
from medvox.encode.voice import speech_segments
from medvox.errors import InputError, ModelError, UsageError
from medvox.models.arpa import open_lm
from medvox.models.hotwords import HotPhrase, HotWords
from medvox.models.kneser_ney import build_lm
from medvox.models.listening import logits_of
from medvox.models.ngram import save_lm
from medvox.models.speech_model import (
    Decode,
    SpeechModel,
    decoder_of,
    inner_pieces,
    load_speech_model,
    spellings,
)
from medvox.parse.transcript import format_text, raw_text, words_from_tokens
from medvox.types import Features, Flag, Progress, no_progress

UNSURE_BELOW = 0.6
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
    model: SpeechModel | Path | str | None = None,
    *,
    decoding: Decoding = DEFAULT_DECODING,
    progress: Progress = no_progress,
) -> Transcript:
    """Recognises the speech in a sound file.

    Args:
        path: WAV, FLAC, OGG or MP3; any rate, any number of channels.
        model: a loaded model, or the name or folder of one; the small one that ships when None.
        decoding: how tokens are chosen.
        progress: told about chunks of long recordings.

    Raises:
        InputError: the file, or one of the decoding, is missing, unreadable, empty, silent or too short.
        UsageError: the decoding does not fit the model.
        SetupError: the model is missing.
        ModelError: the model gave unusable numbers, or nothing at all for speech.
    """
    start = time.perf_counter()
    utterance = read_utterance(Path(path))
    if not isinstance(model, SpeechModel):
        model = load_speech_model(resolve_model(model or DEFAULT_ASR))
    features = log_mel(utterance.samples)
    found = speech_segments(utterance.samples)  # long recordings are cut in pauses
    speech = [(round(part.start_s * FRAMES_A_S), round(part.end_s * FRAMES_A_S)) for part in found]
    logits = logits_of(model.network, to_features(features), speech=speech, progress=progress)
    hypotheses = _decode(model, decoding)(logits)
    words = words_from_tokens(hypotheses[0].tokens, model.pieces)
    words = tuple(replace(word, end_s=min(word.end_s, round(utterance.duration_s, 2))) for word in words)
    raw = raw_text(words)
    written = format_text(raw)
    return Transcript(
        file=utterance.source.name,
        text=written.text,
        raw_text=raw,
        words=words,
        duration_s=utterance.duration_s,
        model=model.name,
        flags=(*utterance.flags, *_flags(words, features), *written.flags),
        file_sha256=utterance.source.sha256,
        model_sha256=model.sha256,
        seconds=time.perf_counter() - start,
    )


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
    phrases = []
    for phrase in read_phrases(path):
        written = {model.token_ids([text]) for text in spellings(phrase.text)} - {()}
        if not written:
            raise UsageError(
                f"{path.name}, line {phrase.line}: the phrase has characters that {model.name} cannot write",
                fix="write the phrase as it is spoken, in letters",
                code="E_HOTWORDS_TOKENS",
            )
        phrases += [HotPhrase(tokens=ids, weight=phrase.weight) for ids in sorted(written)]
    return HotWords(phrases, continuing=inner_pieces(model.pieces))


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
        return [Flag(code="F_NO_SPEECH", text="no speech was heard in the recording")]
    unsure = [word.word for word in words if word.confidence < UNSURE_BELOW]
    if not unsure:
        return []
    text = f"{len(unsure)} of {len(words)} words are unsure (confidence below {UNSURE_BELOW}); check the transcript"
    return [Flag(code="F_TRANSCRIPT_UNSURE", text=text)]
