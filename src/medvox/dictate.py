"""Speech -> Transcript: read, log-mel, Conformer, CTC, words. A transcript can be the question of ``ask``."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from medvox.catalog import DEFAULT_ASR, resolve_model
from medvox.data.results import Transcript, Word
from medvox.data.utterance import read_utterance
from medvox.encode.batch import to_features
from medvox.encode.speech import HOP_SAMPLES, SAMPLE_RATE_HZ, log_mel
from medvox.errors import ModelError, SetupError
from medvox.models.conformer import LasrForCTC
from medvox.models.ctc import greedy
from medvox.models.listening import logits_of
from medvox.models.weights import load_speech, weights_hash
from medvox.parse.transcript import format_text, raw_text, words_from_tokens
from medvox.types import Features, Flag, Progress, no_progress

UNSURE_BELOW = 0.6
SPEECH_RANGE_DB = 12.0  # speech has pauses and syllables; a tone or a fan keeps its level


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeechModel:
    """A loaded speech model: the network, its vocabulary by id, and the name and hash that go into transcripts."""

    network: LasrForCTC
    pieces: tuple[str, ...]
    name: str
    sha256: str


def load_speech_model(folder: Path) -> SpeechModel:
    """A speech model from a folder in the hub's layout.

    Raises:
        SetupError: the folder is not a speech model, or a file of it is missing or broken.
    """
    network = load_speech(folder)
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises plain Exception
        raise SetupError(
            f"{folder.name} has no readable tokenizer.json", fix="download the whole model folder", code="E_TOKENIZER"
        ) from error
    pieces = tuple(tokenizer.id_to_token(number) or "<unk>" for number in range(network.config.vocab_size))
    return SpeechModel(network=network, pieces=pieces, name=folder.name, sha256=weights_hash(folder))


def transcribe(
    path: Path | str, model: SpeechModel | Path | str | None = None, *, progress: Progress = no_progress
) -> Transcript:
    """Recognises the speech in a sound file.

    Args:
        path: WAV, FLAC, OGG or MP3; any rate, any number of channels.
        model: a loaded model, or the name or folder of one; the small one that ships when None.
        progress: told about chunks of long recordings.

    Raises:
        InputError: the file is missing, unreadable, empty, silent or too short.
        SetupError: the model is missing.
        ModelError: the model gave unusable numbers, or nothing at all for speech.
    """
    start = time.perf_counter()
    utterance = read_utterance(Path(path))
    if not isinstance(model, SpeechModel):
        model = load_speech_model(resolve_model(model or DEFAULT_ASR))
    features = log_mel(utterance.samples)
    logits = logits_of(model.network, to_features(features), progress=progress)
    words = words_from_tokens(greedy(logits, model.network.config.pad_token_id), model.pieces)
    words = tuple(replace(word, end_s=min(word.end_s, round(utterance.duration_s, 2))) for word in words)
    raw = raw_text(words)
    return Transcript(
        file=utterance.source.name,
        text=format_text(raw),
        raw_text=raw,
        words=words,
        duration_s=utterance.duration_s,
        model=model.name,
        flags=(*utterance.flags, *_flags(words, features)),
        file_sha256=utterance.source.sha256,
        model_sha256=model.sha256,
        seconds=time.perf_counter() - start,
    )


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
