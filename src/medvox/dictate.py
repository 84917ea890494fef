"""Speech -> Transcript: read, log-mel, Conformer, CTC, words. A transcript can be the question of ``ask``.

Also learns a language model from texts, which is how the words of a clinic get into the recogniser without training it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medvox.catalog import DEFAULT_ASR, TYPICAL_SPEECH, resolve_model
from medvox.data.dictation_files import read_auto_texts, read_corrections, read_template
from medvox.data.phrases import read_phrases
from medvox.data.record import read_record
from medvox.data.recording import Recording, read_recording
from medvox.data.results import Transcript, Word
from medvox.data.unfinished import Rows, UnfinishedRows, unfinished_rows
from medvox.encode.batch import to_features
from medvox.encode.long_speech import FEWEST_FRAMES, FeatureWindows
from medvox.encode.speech import HOP_SAMPLES, SAMPLE_RATE_HZ, frame_count, log_mel
from medvox.encode.voice import Activity, Segment, voice_activity
from medvox.errors import InputError, ModelError, UsageError
from medvox.models.arpa import open_lm
from medvox.models.beam import Hypothesis
from medvox.models.confidence import overall
from medvox.models.ctc import DecodedToken
from medvox.models.hotwords import HotPhrase, HotWords
from medvox.models.kneser_ney import build_lm
from medvox.models.listening import STRIDE, logits_stream, plan, rows_of, silence_row, stretches
from medvox.models.ngram import save_lm
from medvox.models.noise_gate import spoken_tokens
from medvox.models.openai_speech import OpenAiSpeech, server_at
from medvox.models.recogniser import Recogniser
from medvox.models.speech_model import SpeechModel, TokenDecoder, decoder_of, load_speech_model, spellings
from medvox.models.whisper_speech import load_whisper
from medvox.parse.commands import DEFAULT_WRITING, WritingSettings
from medvox.parse.transcript import format_text, raw_text, words_from_tokens
from medvox.types import Features, Flag, Progress, cache_folder, no_progress

UNSURE_BELOW = 0.6
NO_SPEECH = Flag(code="F_NO_SPEECH", text="no speech was heard in the recording")
FRAMES_A_S = SAMPLE_RATE_HZ / HOP_SAMPLES
RESUMED_S = 300.0  # longer recordings go on after an interruption
SPEECH_S = 0.3  # so much speech must give a word


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoding:
    """How tokens are chosen.

    Attributes:
        method: a name from ``METHODS``: the best token of each frame, or a beam search; empty for a search where there
            is a language model (the given one, or the one that came with the model) or a hot word, else greedy.
        lm: a language model over the model's tokens: ARPA (also .gz, .xz) or what ``learn_lm`` wrote.
        hotwords: a file of phrases to favour.
        nbest: texts to give, the best among them, at most 8.
    """

    method: str = ""
    lm: Path | None = None
    hotwords: Path | None = None
    nbest: int = 1


DEFAULT_DECODING = Decoding()


def transcribe(
    path: Path | str,
    model: SpeechModel | Recogniser | TokenDecoder | Path | str | None = None,
    *,
    decoding: Decoding = DEFAULT_DECODING,
    writing: WritingSettings = DEFAULT_WRITING,
    progress: Progress = no_progress,
) -> Transcript:
    """Recognises the speech in a sound file.

    A recording of more than 5 minutes that was interrupted goes on where it stopped.

    Args:
        path: WAV, FLAC, OGG or MP3; any rate, any number of channels.
        model: from ``load_recogniser``, or what it takes; or from ``open_decoder``, then ``decoding`` says no more.
        decoding: how tokens are chosen; by medvox's own recogniser only.
        writing: how the words are written.
        progress: told about chunks of long recordings.

    Raises:
        InputError: the file, or one of the decoding, is missing, unreadable, empty, silent or too short.
        UsageError: the decoding does not fit the model.
        SetupError: the model is missing.
        ModelError: the model gave unusable numbers, or nothing at all for speech.
    """
    start = time.perf_counter()
    recording = read_recording(Path(path))
    if model is None or isinstance(model, Path | str):
        model = load_recogniser(model)
    if isinstance(model, SpeechModel):
        model = open_decoder(model, decoding)
    alternatives: tuple[str, ...] = ()
    if isinstance(model, TokenDecoder):
        words, flags, alternatives = _hear(recording, model, decoding.nbest, progress)
        model = model.model
    else:
        words, flags = _hear_elsewhere(recording, model, decoding, progress)
    written = format_text(words, settings=writing)
    return Transcript(
        file=recording.source.name,
        text=written.text,
        raw_text=raw_text(words),
        words=words,
        duration_s=recording.duration_s,
        model=model.name,
        flags=(*recording.flags, *flags, *_unsure(words), *written.flags),
        risks=written.risks,
        alternatives=alternatives,
        confidence=overall([word.confidence for word in words]) if words and all(w.confidence for w in words) else None,
        file_sha256=recording.source.sha256,
        model_sha256=model.sha256,
        seconds=time.perf_counter() - start,
    )


def read_writing(
    *, template: str | None = None, auto_texts: Path | None = None, corrections: Path | None = None
) -> WritingSettings:
    """How words are written, from the name or file of a template and from files.

    Raises:
        InputError: a file is missing, unreadable or not in its form.
        UsageError: no such template.
    """
    return WritingSettings(
        template=read_template(template).text if template else "",
        auto_texts=read_auto_texts(auto_texts) if auto_texts else {},
        corrections=read_corrections(corrections) if corrections else (),
    )


def load_recogniser(model: Path | str | None = None, *, precision: str = "auto") -> SpeechModel | Recogniser:
    """What hears speech, by its name.

    Args:
        model: name or folder of a model in the hub's layout, ``openai:URL[#MODEL]`` for a server with OpenAI's
            interface, or ``whisper:NAME`` or ``whisper:FOLDER``; the small model that ships when None.
        precision: in which numbers a model in the hub's layout is run: ``fp32``, ``bf16``, ``int8``, or ``auto`` for
            what suits it and this machine.

    Raises:
        SetupError: it is not here, the recording may not be sent to it, or it cannot be run so.
        UsageError: the address of the server is none, or the precision is not one for this recogniser.
    """
    name = str(model or DEFAULT_ASR)
    if name.startswith(("openai:", "whisper:")) and precision != "auto":
        raise UsageError(
            f"{name.partition(':')[0]}: chooses its numbers itself", fix="leave --precision out", code="E_SPEECH_DTYPE"
        )
    if name.startswith("openai:"):
        return OpenAiSpeech(server_at(name, os.environ))
    if name.startswith("whisper:"):
        return load_whisper(name)
    return load_speech_model(resolve_model(name), precision=precision, speech=_typical_speech)


def _typical_speech() -> list[Features]:
    """Features of the speech that ships, in pieces of 10 s."""
    samples = np.concatenate(list(read_recording(TYPICAL_SPEECH).blocks()))
    pieces = np.array_split(samples, len(samples) // (10 * SAMPLE_RATE_HZ))
    return [log_mel(piece) for piece in pieces]


def _hear(
    recording: Recording, decoder: TokenDecoder, nbest: int, progress: Progress
) -> tuple[tuple[Word, ...], list[Flag], tuple[str, ...]]:
    """Words, flags and other raw texts, from the product's own recogniser.

    Raises:
        ModelError: there is speech, and no word was heard.
    """
    model, activity = decoder.model, voice_activity(recording.blocks())
    rows = _rows(recording, model, activity, progress)
    tokens, others = _tokens(decoder, rows)
    spoken = spoken_tokens(tokens, [(first // STRIDE, last // STRIDE) for first, last in _frames(activity.speech)])
    words = tuple(
        replace(word, end_s=min(word.end_s, round(recording.duration_s, 2)))
        for word in words_from_tokens(decoder.judged(spoken.tokens, to_features(rows)), model.pieces)
    )
    if not words and sum(part.end_s - part.start_s for part in activity.speech) >= SPEECH_S:
        raise ModelError(
            "the speech model heard no word although the recording holds speech",
            fix="record closer to the microphone, or use another speech model",
            code="E_TRANSCRIPT_EMPTY",
        )
    flags = [] if words else [NO_SPEECH]
    if spoken.unclear:
        text = f"passages that sound like speech, left out because no word of them is sure: {spoken.unclear}"
        flags.append(Flag(code="F_SPEECH_UNCLEAR", text=text))
    found = dict.fromkeys(raw_text(words_from_tokens(other.tokens, model.pieces)) for other in others)
    found.pop(raw_text(words), None)
    return words, flags, tuple(found)[: nbest - 1]


def _tokens(decoder: TokenDecoder, rows: Rows) -> tuple[list[DecodedToken], list[Hypothesis]]:
    """Tokens of a recording, and other hypotheses where it is short enough to be decoded in one piece."""
    tokens: list[DecodedToken] = []
    others: list[Hypothesis] = []
    for first, end in stretches(to_features(rows), decoder.model.blank):
        best, *others = decoder(to_features(rows[first:end]))
        for token in best.tokens:
            at = token.first_frame + first, token.last_frame + first
            tokens.append(replace(token, first_frame=at[0], last_frame=at[1]))
    return tokens, others if not first else []


def _rows(recording: Recording, model: SpeechModel, activity: Activity, progress: Progress) -> Rows:
    """Log-probabilities (T, V); of a long recording they are kept as they come, should the work be interrupted."""
    frames = frame_count(recording.samples)
    if frames < FEWEST_FRAMES:
        log_mel(np.concatenate(list(recording.blocks())))  # says that it is too short
    windows = plan(frames, speech=_frames(activity.speech), stirring=_frames(activity.stirring))
    features = FeatureWindows(recording.blocks())
    pieces = len(model.pieces)
    silence = silence_row(pieces, model.blank)
    work = f"{recording.source.sha256} {model.sha256} {model.engine} {windows}"
    with ExitStack() as held:
        if recording.duration_s > RESUMED_S:
            found = held.enter_context(unfinished_rows(work, (rows_of(frames), pieces), cache_folder("unfinished")))
        else:
            found = UnfinishedRows((rows_of(frames), pieces))
        parts = logits_stream(
            model.network,
            lambda first, last: to_features(features(first, last)),
            windows,
            silence=silence,
            done=found.done,
            progress=progress,
        )
        for part in parts:
            found.add(part.numpy())
        return found.rows


def _frames(segments: Sequence[Segment]) -> list[tuple[int, int]]:
    """Segments in feature frames."""
    return [(round(part.start_s * FRAMES_A_S), round(part.end_s * FRAMES_A_S)) for part in segments]


def _hear_elsewhere(
    recording: Recording, model: Recogniser, decoding: Decoding, progress: Progress
) -> tuple[tuple[Word, ...], list[Flag]]:
    """The words of a server or of Whisper; 0 is the confidence where they give none, and a flag says so."""
    if decoding != DEFAULT_DECODING:
        raise UsageError(
            f"{model.name} chooses its words itself",
            fix="leave out --lm, --hotwords and --decoding, or use a model in the hub's layout",
            code="E_DECODING",
        )
    speech = [(part.start_s, part.end_s) for part in voice_activity(recording.blocks()).speech]
    heard = model.hear(np.concatenate(list(recording.blocks())), speech=speech, progress=progress)
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

    Lines that hold characters which the model cannot write are tried in lower case without punctuation, else left out:
    how a number is spoken is not guessed.

    Returns:
        how many ``lines`` were used and how many ``left_out``, of these how many ``with_figures``.

    Raises:
        InputError: a text cannot be read, or no line can be used (``E_LM_TEXT``).
        SetupError: the model is missing.
    """
    if not isinstance(model, SpeechModel):
        model = load_speech_model(resolve_model(model or DEFAULT_ASR))
    lines = [line for path in texts for line in read_record(path).text.splitlines() if line.strip()]
    found = [(line, model.token_ids(spellings(line))) for line in lines]
    sentences = [ids for _, ids in found if ids]
    with_figures = sum(not ids and any(map(str.isdigit, line)) for line, ids in found)
    if not sentences:
        raise InputError(
            "no line of the texts can be written with the model's tokens",
            fix="give English text, one sentence a line, with numbers as they are spoken",
            code="E_LM_TEXT",
        )
    save_lm(build_lm(sentences, order=order, pieces=model.pieces, blank=model.blank), out)
    return {"lines": len(sentences), "left_out": len(lines) - len(sentences), "with_figures": with_figures}


def convert_lm(path: Path, out: Path, *, model: SpeechModel | Path | str | None = None) -> int:
    """Turn an ARPA file into the compact form, which opens at once.

    Returns:
        how many n-grams it holds.

    Raises:
        InputError: the file is missing, broken, or of another vocabulary.
        SetupError: the model is missing.
    """
    if not isinstance(model, SpeechModel):
        model = load_speech_model(resolve_model(model or DEFAULT_ASR))
    lm = open_lm(path, model.pieces)
    save_lm(lm, out)
    return sum(lm.counts)


def open_decoder(model: SpeechModel, decoding: Decoding = DEFAULT_DECODING) -> TokenDecoder:
    """How a model is decoded, with the files that it takes.

    Raises:
        InputError: a file is missing or unreadable.
        UsageError: the decoding does not fit the model.
    """
    lm = open_lm(decoding.lm, model.pieces) if decoding.lm else None
    hotwords = _hot_words(decoding.hotwords, model) if decoding.hotwords else None
    return decoder_of(model, decoding.method, lm=lm, hotwords=hotwords)


def _hot_words(path: Path, model: SpeechModel) -> HotWords:
    phrases = (
        HotPhrase(text=phrase.text, weight=phrase.weight, where=f"line {phrase.line} of {path.name}")
        for phrase in read_phrases(path)
    )
    return HotWords(phrases, model.pieces)


def _unsure(words: Sequence[Word]) -> list[Flag]:
    unsure = [word.word for word in words if 0 < word.confidence < UNSURE_BELOW]
    if not unsure:
        return []
    text = f"unsure words (confidence below {UNSURE_BELOW}): {len(unsure)} of {len(words)}; check the transcript"
    return [Flag(code="F_TRANSCRIPT_UNSURE", text=text)]
