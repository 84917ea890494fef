"""Speech -> Transcript: read, log-mel, Conformer, CTC, words. A transcript can be the question of ``ask``.

Also learns a language model from texts, which is how the words of a clinic get into the recogniser without training it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from medvox.catalog import DEFAULT_ASR, resolve_model
from medvox.data.phrases import read_phrases
from medvox.data.record import read_record
from medvox.data.results import Transcript, Word
from medvox.data.utterance import read_utterance
from medvox.encode.batch import to_features
from medvox.encode.speech import HOP_SAMPLES, SAMPLE_RATE_HZ, log_mel
from medvox.encode.voice import speech_segments
from medvox.errors import InputError, ModelError, SetupError, UsageError
from medvox.models.arpa import open_lm
from medvox.models.beam import BEAM_MEDASR, BEAM_TUNED, Decoder
from medvox.models.conformer import LasrForCTC
from medvox.models.ctc import DecodedToken, greedy, log_probabilities
from medvox.models.hotwords import HotPhrase, HotWords
from medvox.models.kneser_ney import build_lm
from medvox.models.listening import logits_of
from medvox.models.ngram import save_lm
from medvox.models.weights import load_speech, weights_hash
from medvox.parse.transcript import format_text, raw_text, words_from_tokens
from medvox.types import Features, Flag, Progress, no_progress

UNSURE_BELOW = 0.6
FRAMES_A_S = SAMPLE_RATE_HZ / HOP_SAMPLES
SPEECH_RANGE_DB = 12.0  # speech has pauses and syllables; a tone or a fan keeps its level


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeechModel:
    """A loaded speech model: the network, its vocabulary by id, and the name and hash that go into transcripts."""

    network: LasrForCTC
    pieces: tuple[str, ...]
    name: str
    sha256: str
    tokenizer: Tokenizer | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoding:
    """How tokens are chosen.

    Attributes:
        method: a name from ``METHODS``: the best token of each frame, or a beam search.
        lm: a language model over the model's tokens: ARPA (also .gz, .xz) or what ``learn_lm`` wrote.
        hotwords: a file of phrases to favour.
    """

    method: str = "greedy"
    lm: Path | None = None
    hotwords: Path | None = None


METHODS = {"greedy": None, "beam.medasr": BEAM_MEDASR, "beam.tuned": BEAM_TUNED}
GREEDY = Decoding()
UNKNOWN_PIECE = "<unk>"


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
    return SpeechModel(
        network=network, pieces=pieces, name=folder.name, sha256=weights_hash(folder), tokenizer=tokenizer
    )


def transcribe(
    path: Path | str,
    model: SpeechModel | Path | str | None = None,
    *,
    decoding: Decoding = GREEDY,
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
    words = words_from_tokens(_tokens(logits, model, decoding), model.pieces)
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
    sentences = [ids for line in lines if (ids := _known_ids(model, _spellings(line)))]
    if not sentences:
        raise InputError(
            "no line of the texts can be written with the model's tokens",
            fix="give English text, one sentence a line",
            code="E_LM_TEXT",
        )
    save_lm(build_lm(sentences, order=order, pieces=model.pieces, blank=model.network.config.pad_token_id), out)
    return {"lines": len(sentences), "left_out": len(lines) - len(sentences)}


def _tokens(logits: Any, model: SpeechModel, decoding: Decoding) -> Sequence[DecodedToken]:
    blank = model.network.config.pad_token_id
    if decoding.method not in METHODS:
        raise UsageError(
            f"no decoding is called {decoding.method!r}", fix=f"use one of {', '.join(METHODS)}", code="E_DECODING"
        )
    settings = METHODS[decoding.method]
    if settings is None and decoding.lm is None and decoding.hotwords is None:
        return greedy(logits, blank)
    decoder = Decoder(
        blank=blank,
        lm=open_lm(decoding.lm, model.pieces) if decoding.lm else None,
        hotwords=_hot_words(decoding.hotwords, model) if decoding.hotwords else None,
        settings=settings or BEAM_TUNED,
    )
    return decoder.decode(log_probabilities(logits))[0].tokens


def _hot_words(path: Path, model: SpeechModel) -> HotWords:
    phrases = []
    for phrase in read_phrases(path):
        written = {_known_ids(model, [text]) for text in _spellings(phrase.text)} - {()}
        if not written:
            raise UsageError(
                f"{path.name}, line {phrase.line}: the phrase has characters that {model.name} cannot write",
                fix="write the phrase as it is spoken, in letters",
                code="E_HOTWORDS_TOKENS",
            )
        phrases += [HotPhrase(tokens=ids, weight=phrase.weight) for ids in sorted(written)]
    inside = (number for number, piece in enumerate(model.pieces) if piece.isalpha() and not piece.startswith("▁"))
    return HotWords(phrases, continuing=frozenset(inside))


def _spellings(text: str) -> list[str]:
    """A text as it stands, and in lower case without punctuation, as small models write."""
    return [text, " ".join(re.findall(r"[a-z']+", text.lower()))]


def _known_ids(model: SpeechModel, texts: Sequence[str]) -> tuple[int, ...]:
    """Token ids of the first of the texts that the model can write; empty when it can write none."""
    if model.tokenizer is None:
        raise SetupError(f"{model.name} has no tokenizer", fix="load it from its folder", code="E_TOKENIZER")
    for text in texts:
        ids = tuple(model.tokenizer.encode(text, add_special_tokens=False).ids)
        if ids and all(number < len(model.pieces) and model.pieces[number] != UNKNOWN_PIECE for number in ids):
            return ids
    return ()


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
