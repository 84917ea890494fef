"""Error rates of a speech model on voices and sentences that it never learnt from, beside pocketsphinx where it is.

Every set is heard greedily and with the language model; the words that matter most (numbers, negations, sides, medical
words) are counted apart, and the words invented where nobody speaks. Next in the path: ``train/speech_export``.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from tokenizers import Tokenizer

from medvox.encode.speech import SAMPLE_RATE_HZ, log_mel
from medvox.models.beam import BeamSettings, Decoder
from medvox.models.conformer import LasrForCTC
from medvox.models.ctc import greedy, log_probabilities
from medvox.models.ngram import NgramLm
from medvox.parse.transcript import raw_text, words_from_tokens
from medvox.score.wer import interval, score_texts
from medvox.synth.corpus import Split, load_corpus
from medvox.synth.dictation import Kind
from medvox.train.human_speech import Recording, tested_digits, tested_sentences
from medvox.train.speech import wordless_sound
from medvox.types import Samples

PEER = "pocketsphinx_continuous"
PEER_LINES = 60  # the peer is slow; it hears the first lines of each set
DICTATION: tuple[Kind, ...] = ("question", "report")
QUIET_CLIPS, QUIET_S = 120, 15.0

Recogniser = Callable[[Samples], str]

_SETS: tuple[tuple[str, Split, tuple[Kind, ...]], ...] = (
    ("held-out persons (rms, ked, bdl): dictation", "held_person", DICTATION),
    ("held-out persons (rms, ked, bdl): questions only", "held_person", ("question",)),
    ("held-out persons (rms, ked, bdl): general text and loose words", "held_person", ("general",)),
    ("held-out engine (Pico, 2 voices): dictation", "held_engine", DICTATION),
    ("hand-written report sentences, held-out persons and engine", "written", DICTATION),
    ("held-out espeak-ng variants: dictation", "held_variant", DICTATION),
    ("training voices, new sentences: dictation", "seen_voice", DICTATION),
    ("the demo's questions, 11 voices", "demo", DICTATION),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSet:
    """Recordings with what is said in them."""

    title: str
    references: tuple[str, ...]
    sounds: tuple[Samples, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """How well one recogniser did on one set. All rates in percent.

    Attributes:
        title, recogniser: what was heard by whom.
        lines, words: size of the set.
        exact: lines without any error.
        word_error_rate, low, high: with the 95 % interval by line.
        letter_error_rate: by character.
        peer_lines: word error rate on the first ``PEER_LINES`` lines, those that the peer hears.
        terms: wrong words of each class per word of the class: number, negation, laterality, term (medical).
    """

    title: str
    recogniser: str
    lines: int
    exact: int
    words: int
    word_error_rate: float
    low: float
    high: float
    letter_error_rate: float
    peer_lines: float
    terms: dict[str, float]


def evaluation_sets(corpus: Path, human: Path | None) -> Iterator[EvaluationSet]:
    """The held-out splits, and the recordings of people where the archive is there."""
    for title, split, kinds in _SETS:
        yield split_set(corpus, title, split, kinds)
    if human is not None and (human / "manifest.jsonl").exists():
        yield _human_set("people: read books, speech, commands", tested_sentences(human))
        yield _human_set("people: single digits", tested_digits(human))


def split_set(corpus: Path, title: str, split: Split, kinds: Sequence[Kind]) -> EvaluationSet:
    """The lines of some kinds of one split."""
    spoken = load_corpus(corpus, split)
    picked = [index for index, line in enumerate(spoken.lines) if line.kind in kinds]
    return EvaluationSet(
        title=title,
        references=tuple(spoken.lines[index].text for index in picked),
        sounds=tuple(spoken.samples(index).astype(np.float32) / np.float32(32768) for index in picked),
    )


def _human_set(title: str, spoken: Sequence[Recording]) -> EvaluationSet:
    return EvaluationSet(
        title=title, references=tuple(one.text for one in spoken), sounds=tuple(one.samples for one in spoken)
    )


def model_recogniser(
    model: LasrForCTC, tokenizer: Tokenizer, lm: NgramLm | None = None, settings: BeamSettings | None = None
) -> Recogniser:
    """Samples to raw text through the shipped path: log-mel, network, greedy or search, words."""
    pieces = [tokenizer.id_to_token(number) or "<unk>" for number in range(model.config.vocab_size)]
    blank = model.config.pad_token_id
    decoder = Decoder(blank=blank, lm=lm, settings=settings) if settings is not None else None

    @torch.inference_mode()
    def recognise(samples: Samples) -> str:
        logits = model(torch.from_numpy(log_mel(samples))[None])[0]
        tokens = greedy(logits, blank) if decoder is None else decoder.decode(log_probabilities(logits))[0].tokens
        return raw_text(words_from_tokens(tokens, pieces))

    return recognise


def peer_recogniser(cache: Path) -> Recogniser | None:
    """Pocketsphinx with its own English model, or None when it is not installed.

    Args:
        cache: file where its answers are kept by the hash of the sound: it is slow, and its answers do not change.
    """
    if shutil.which(PEER) is None:
        return None
    rows = [json.loads(line) for line in cache.read_text(encoding="utf-8").splitlines()] if cache.exists() else []
    known: dict[str, str] = {row["sound"]: row["heard"] for row in rows}

    def recognise(samples: Samples) -> str:
        key = hashlib.sha256(np.round(samples * 32767).astype(np.int16).tobytes()).hexdigest()
        if key not in known:
            known[key] = _peer_hears(samples)
            with cache.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"sound": key, "heard": known[key]}) + "\n")
        return known[key]

    return recognise


def _peer_hears(samples: Samples) -> str:
    with tempfile.TemporaryDirectory() as folder:
        wave = Path(folder) / "line.wav"
        soundfile.write(wave, samples, SAMPLE_RATE_HZ, subtype="PCM_16")
        command = [PEER, "-infile", str(wave), "-logfn", "/dev/null"]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


def score(
    name: str, recognise: Recogniser, tested: EvaluationSet, *, limit: int | None = None, terms: Sequence[str] = ()
) -> Score:
    """Scores one recogniser on one set, or on its first ``limit`` lines; ``terms`` are words to count apart."""
    references = tested.references[:limit]
    heard = [normalise(recognise(sound)) for sound in tested.sounds[:limit]]
    scored = score_texts(references, heard, terms=terms)
    spread = interval(scored.utterances)
    first = scored.utterances[:PEER_LINES]
    first_words = sum(one.reference_tokens for one in first)
    return Score(
        title=tested.title,
        recogniser=name,
        lines=len(references),
        exact=scored.exact,
        words=scored.words.reference_tokens,
        word_error_rate=round(100 * scored.wer, 1),
        low=round(100 * spread.low, 1),
        high=round(100 * spread.high, 1),
        letter_error_rate=round(100 * scored.cer, 1),
        peer_lines=round(100 * sum(one.errors for one in first) / max(1, first_words), 1),
        terms={kind: round(100 * errors.rate, 1) for kind, errors in scored.terms.items() if errors.rate is not None},
    )


def invented_words_an_hour(recognise: Recogniser) -> float:
    """Words heard in silence, noise, hum and tones, an hour."""
    rng = random.Random(5)
    torch.manual_seed(5)
    words = 0
    for _ in range(QUIET_CLIPS):
        words += len(recognise(wordless_sound(int(QUIET_S * SAMPLE_RATE_HZ), rng).numpy()).split())
    return round(words / (QUIET_CLIPS * QUIET_S / 3600), 1)


def normalise(text: str) -> str:
    """Lower case; dots are dropped (``c.t.``), other characters outside a-z and the apostrophe become spaces."""
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower().replace(".", "")).split())
