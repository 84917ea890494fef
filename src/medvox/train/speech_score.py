"""Word error rates of a speech model on the held-out splits and on real recordings, beside pocketsphinx where it is.

Greedy decoding, text lower-cased to a-z, apostrophe and space on both sides. Next in the path: ``train/speech_export``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from tokenizers import Tokenizer

from medvox.data.utterance import SAMPLE_RATE_HZ, read_utterance
from medvox.encode.speech import log_mel
from medvox.models.conformer import LasrForCTC
from medvox.models.ctc import greedy
from medvox.parse.transcript import raw_text, words_from_tokens
from medvox.score.alignment import align, count
from medvox.synth.corpus import EVAL_SPLITS, load_corpus
from medvox.types import Samples

PEER = "pocketsphinx_continuous"
PEER_LINES = 40  # the peer is slow; it hears the first lines of each set
REAL_ARCHIVES = ("librispeech.zip", "ljspeech.zip", "misc.zip")

Recogniser = Callable[[Samples], str]

_TITLES = {
    "seen_voice": "seen voices, new sentences",
    "held_person": "held-out persons (rms, ked), new sentences",
    "held_variant": "held-out espeak-ng variants, new sentences",
    "demo": "the demo's questions (never trained on), 8 voices",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSet:
    """Recordings with what is said in them."""

    title: str
    references: tuple[str, ...]
    sounds: tuple[Samples, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """How well one recogniser did on one set. Rates in percent; ``exact`` counts lines without any error."""

    title: str
    recogniser: str
    lines: int
    exact: int
    words: int
    word_error_rate: float
    letter_error_rate: float


def evaluation_sets(corpus: Path, real: Path | None) -> Iterator[EvaluationSet]:
    """The held-out splits, their questions alone, and the real recordings when the folder is there."""
    for split in EVAL_SPLITS:
        spoken = load_corpus(corpus, split)
        groups = [(_TITLES[split], list(range(len(spoken.lines))))]
        if split != "demo":
            questions = [index for index, line in enumerate(spoken.lines) if line.kind == "question"]
            groups.append((f"{_TITLES[split]}: questions only", questions))
        for title, indices in groups:
            yield EvaluationSet(
                title=title,
                references=tuple(spoken.lines[index].text for index in indices),
                sounds=tuple(spoken.samples(index).astype(np.float32) / np.float32(32768) for index in indices),
            )
    if real is not None and (real / "manifest.jsonl").exists():
        yield _real_set(real)


def _real_set(real: Path) -> EvaluationSet:
    rows = [json.loads(line) for line in (real / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    references, sounds = [], []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            archive, _, name = row["file"].partition("/")
            if archive not in REAL_ARCHIVES or not name or not normalise(row.get("text") or ""):
                continue
            with zipfile.ZipFile(real / archive) as opened:
                path = Path(opened.extract(name, folder))
            sounds.append(read_utterance(path).samples)
            references.append(normalise(row["text"]))
    title = "real human speech (read books, card names, commands)"
    return EvaluationSet(title=title, references=tuple(references), sounds=tuple(sounds))


def model_recogniser(model: LasrForCTC, tokenizer: Tokenizer) -> Recogniser:
    """Samples to raw text through the shipped path: log-mel, network, greedy, words."""
    pieces = [tokenizer.id_to_token(number) or "<unk>" for number in range(model.config.vocab_size)]

    @torch.inference_mode()
    def recognise(samples: Samples) -> str:
        logits = model(torch.from_numpy(log_mel(samples))[None])[0]
        return raw_text(words_from_tokens(greedy(logits, model.config.pad_token_id), pieces))

    return recognise


def peer_recogniser() -> Recogniser | None:
    """Pocketsphinx with its own English model, or None when it is not installed."""
    if shutil.which(PEER) is None:
        return None

    def recognise(samples: Samples) -> str:
        with tempfile.TemporaryDirectory() as folder:
            wave = Path(folder) / "line.wav"
            soundfile.write(wave, samples, SAMPLE_RATE_HZ, subtype="PCM_16")
            command = [PEER, "-infile", str(wave), "-logfn", "/dev/null"]
            return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout

    return recognise


def score(name: str, recognise: Recogniser, tested: EvaluationSet, limit: int | None = None) -> Score:
    """Scores one recogniser on one set, or on its first ``limit`` lines."""
    words = letters = word_errors = letter_errors = exact = 0
    references = tested.references[:limit]
    for reference, sound in zip(references, tested.sounds, strict=False):
        heard = normalise(recognise(sound))
        errors = count(align(reference.split(), heard.split())).errors
        exact += errors == 0
        word_errors += errors
        words += len(reference.split())
        letter_errors += count(align(reference, heard)).errors
        letters += len(reference)
    return Score(
        title=tested.title,
        recogniser=name,
        lines=len(references),
        exact=exact,
        words=words,
        word_error_rate=round(100 * word_errors / words, 1),
        letter_error_rate=round(100 * letter_errors / letters, 1),
    )


def normalise(text: str) -> str:
    """Lower case; dots are dropped (``c.t.``), other characters outside a-z and the apostrophe become spaces."""
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower().replace(".", "")).split())
