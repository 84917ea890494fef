"""Speech recognised by a Whisper model through faster-whisper, which the extra ``whisper`` brings: ``whisper:NAME``.

One of the recognisers of ``recogniser``. Nothing is downloaded: the model is a folder, or lies in the hub's cache. Its
own guards against invented text would drop words in silence; here they all become flags. Knows no grammar.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medvox.errors import ModelError, SetupError
from medvox.models.recogniser import Heard, HeardWord, Span, cleaned, hear_speech, worded
from medvox.types import Flag, Progress, Samples

PREFIX = "whisper:"
LONGEST_S = 29.0  # one window of Whisper, so that nothing hangs on how it goes from one to the next
BEAM = 5
NO_SPEECH, UNLIKELY = 0.6, -1.0  # published limits: above the first and below the second a segment is no speech
FILES = ("config.json", "model.bin", "tokenizer.json")


class WhisperSpeech:
    """A loaded Whisper model as a recogniser."""

    notice = ""

    def __init__(self, folder: Path, name: str, *, compute_type: str = "auto") -> None:
        """Loads the model.

        Args:
            folder: in CTranslate2's layout.
            name: what transcripts call it.
            compute_type: of CTranslate2; ``auto`` is the fastest that the machine has, int8 on most CPUs.

        Raises:
            SetupError: faster-whisper is not installed, or a file is missing or broken.
        """
        missing = [file for file in FILES if not (folder / file).is_file()]
        if missing:  # without its tokenizer the library would look for one on the hub
            raise SetupError(
                f"{folder.name} is not a Whisper model of faster-whisper: no {', '.join(missing)}",
                fix="convert it: ct2-transformers-converter --model NAME --output_dir DIR --copy_files tokenizer.json",
                code="E_MODEL_MISSING",
            )
        library = _library()
        try:
            self._model = library.WhisperModel(str(folder), compute_type=compute_type, local_files_only=True)
        except Exception as error:  # the library raises whatever its parts raise
            raise SetupError(
                f"the Whisper model {folder.name} cannot be loaded",
                fix="download or convert it again; it may be damaged or too large for this machine",
                code="E_MODEL_BROKEN",
            ) from error
        self.name = PREFIX + name
        with (folder / "model.bin").open("rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()

    def hear(self, samples: Samples, *, speech: Sequence[Span], progress: Progress) -> Heard:
        """See ``Recogniser``."""
        return hear_speech(self._chunk, samples, speech, LONGEST_S, progress)

    def _chunk(self, samples: Samples, span: Span) -> Heard:
        segments, _ = self._model.transcribe(
            samples,
            language="en",
            beam_size=BEAM,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
            vad_filter=False,
            no_speech_threshold=None,
            log_prob_threshold=None,
            compression_ratio_threshold=None,
        )
        heard = list(segments)
        offered = [_word(word, span) for segment in heard for word in segment.words or () if word.word.strip()]
        words = worded(cleaned(" ".join(segment.text for segment in heard)), offered, span)
        doubtful = any(one.no_speech_prob > NO_SPEECH and one.avg_logprob < UNLIKELY for one in heard)
        flag = Flag(code="F_NO_SPEECH_LIKELY", text="some of the text may be no speech at all; it may be invented")
        return Heard(words=words, flags=(flag,) if doubtful else ())


def load_whisper(name: str) -> WhisperSpeech:
    """The model of ``whisper:NAME`` or ``whisper:FOLDER``.

    Args:
        name: with or without the prefix: a folder, a size such as ``small.en``, or ``OWNER/NAME`` on the hub; the last
            two must lie in the hub's cache already.

    Raises:
        SetupError: ``E_WHISPER_EXTRA`` without faster-whisper, ``E_MODEL_UNKNOWN`` or ``E_MODEL_MISSING`` for a model
            that is not here, ``E_MODEL_BROKEN`` for one that cannot be loaded.
    """
    name = name.removeprefix(PREFIX)
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return WhisperSpeech(folder, folder.resolve().name)
    library = _library()
    if name not in library.available_models() and not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        raise SetupError(
            f"no Whisper model is called {name!r}",
            fix=f"use a folder, or one of {', '.join(library.available_models())}",
            code="E_MODEL_UNKNOWN",
        )
    try:
        cached = Path(library.download_model(name, local_files_only=True))
    except Exception as error:  # the hub's library raises several kinds
        raise SetupError(
            f"the Whisper model {name} is not on this machine",
            fix=f"""download it: python -c "from faster_whisper import download_model as d; d('{name}')" """.strip(),
            code="E_MODEL_MISSING",
        ) from error
    return WhisperSpeech(cached, name)


def _word(word: Any, span: Span) -> HeardWord:
    if not all(map(math.isfinite, (word.start, word.end, word.probability))):
        raise ModelError(
            "the Whisper model gave times or probabilities that are no numbers",
            fix="download or convert it again, or use another one",
            code="E_MODEL_NOT_FINITE",
        )
    confidence = min(max(float(word.probability), 0.0), 1.0)
    start_s, end_s = span[0] + float(word.start), span[0] + float(word.end)
    return HeardWord(text=cleaned(word.word), start_s=start_s, end_s=end_s, confidence=confidence)


def _library() -> Any:
    try:
        import faster_whisper
    except ImportError as error:
        raise SetupError(
            "Whisper models need faster-whisper", fix="pip install 'medvox[whisper]'", code="E_WHISPER_EXTRA"
        ) from error
    return faster_whisper
