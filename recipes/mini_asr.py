"""Trains medvox-mini-asr from scratch on speech made by free engines, and writes it as a hub folder.

    python recipes/mini_asr.py --minutes 225 --out src/medvox/weights/medvox-mini-asr

Needs Debian's espeak-ng, flite, festival with festvox-kallpc16k, festvox-kdlpc16k and festvox-us-slt-hts, rhvoice with
its English voices, libttspico-utils, pocketsphinx, fortunes, wamerican and hunspell-en-med. Speaking the corpus takes
about 10 minutes on two cores, training ``--minutes`` of one core, evaluation a few minutes. The same command goes on
where it was stopped; ``--export-only`` evaluates and writes the latest checkpoint without training. The shipped weights
come from such a run that was stopped and gone on with while this recipe grew (docs/log.md): one from start to end has
not been measured.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from medvox.encode.speech import log_mel
from medvox.models.beam import BeamSettings, Decoder
from medvox.models.confidence import write_calibrations
from medvox.models.ctc import log_probabilities
from medvox.models.ngram import save_lm
from medvox.models.speech_model import LM_FILE, SpeechModel, load_speech_model
from medvox.parse.transcript import raw_text, words_from_tokens
from medvox.synth.corpus import build_corpus, load_corpus
from medvox.synth.dictation import ScriptWriter, is_held_out
from medvox.train.checkpoint import TrainingState, resume_checkpoint
from medvox.train.human_speech import make_human_shard
from medvox.train.speech import CHECKPOINT, SpeechRun, averaged_model, new_state, train_speech
from medvox.train.speech_confidence import fit_confidence
from medvox.train.speech_export import TrainingFacts, write_card, write_weights
from medvox.train.speech_lm import learn_shipped_lm, tuned_settings
from medvox.train.speech_score import (
    DICTATION,
    PEER_LINES,
    Score,
    evaluation_sets,
    invented_words_an_hour,
    model_recogniser,
    normalise,
    peer_recogniser,
    score,
    split_set,
)
from medvox.train.vocabulary import learn_vocabulary

VOCABULARY_SIZE = 128
VOCABULARY_LINES = 20_000
SHARED = Path(__file__).parents[2] / "shared" / "data"
HUMAN_SPEECH, MEDICAL_TEXTS = SHARED / "speech", SHARED / "text"


def main() -> None:
    parser = argparse.ArgumentParser(description="Train medvox-mini-asr on synthetic dictation.")
    parser.add_argument("--minutes", type=float, default=75.0, help="processor minutes of training, one core")
    parser.add_argument("--hours", type=float, default=9.0, help="hours of training speech to make")
    parser.add_argument("--run", type=Path, default=Path("runs/mini_asr"), help="folder for corpus and checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="hub folder to write")
    parser.add_argument("--export-only", action="store_true", help="evaluate and write the latest checkpoint")
    parser.add_argument("--no-peer", action="store_true", help="do not run pocketsphinx beside")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    run = SpeechRun(minutes=arguments.minutes)
    if not arguments.export_only:
        texts = MEDICAL_TEXTS if MEDICAL_TEXTS.is_dir() else None
        build_corpus(arguments.run / "corpus", arguments.hours, texts=texts, progress=log_progress)
        if HUMAN_SPEECH.is_dir():
            make_human_shard(HUMAN_SPEECH, arguments.run / "corpus")
        train_speech(run, arguments.run, load_vocabulary(arguments.run), log)
    export(run, arguments.run, arguments.out, peer=not arguments.no_peer)


def export(run: SpeechRun, folder: Path, out: Path, *, peer: bool) -> None:
    """Writes the averaged weights with all that ships beside them, scores them, and writes the card."""
    tokenizer = load_vocabulary(folder)
    state = new_state(run, tokenizer.get_vocab_size())
    if not resume_checkpoint(folder / CHECKPOINT, state):
        raise SystemExit(f"{folder / CHECKPOINT} is not there: train first")
    write_weights(averaged_model(state), tokenizer, out)
    lm_file = folder / LM_FILE
    if not lm_file.exists():
        save_lm(learn_shipped_lm(tokenizer, MEDICAL_TEXTS if MEDICAL_TEXTS.is_dir() else None), lm_file)
        log(f"language model: {lm_file.stat().st_size / 1e6:.1f} MB")
    shutil.copyfile(lm_file, out / LM_FILE)
    model = load_speech_model(out)
    settings = tuned(model, tokenizer, folder / "corpus")
    log(f"search: beam {settings.beam}, alpha {settings.alpha}, beta {settings.beta}")
    write_calibrations(fit_confidence(model.network, model.pieces, folder / "corpus", model.lm), out)
    recognisers = {
        "medvox-mini-asr, greedy": model_recogniser(model.network, tokenizer),
        "medvox-mini-asr": model_recogniser(model.network, tokenizer, model.lm, settings),
    }
    other = peer_recogniser(folder / "pocketsphinx.jsonl") if peer else None
    scores: list[Score] = []
    for tested in evaluation_sets(folder / "corpus", HUMAN_SPEECH):
        scores += [score(name, hear, tested) for name, hear in recognisers.items()]
        if other is not None:
            scores.append(score("pocketsphinx", other, tested, limit=PEER_LINES))
        for one in scores[-3:]:
            log(str(one))
    invented = {name: invented_words_an_hour(hear) for name, hear in recognisers.items()}
    log(f"invented words an hour of silence, noise and hum: {invented}")
    write_card(model.network, facts_of(state, folder), scores, invented, out)
    log(f"wrote {out}")


def tuned(model: SpeechModel, tokenizer: Tokenizer, corpus: Path) -> BeamSettings:
    """The weights of the search, from the lines of the development split, which no score is reported on."""
    lines = split_set(corpus, "dev", "dev", DICTATION)
    with torch.inference_mode():
        rows = [log_probabilities(model.network(torch.from_numpy(log_mel(one))[None])[0]) for one in lines.sounds]

    def hear(logprobs: NDArray[np.float32], settings: BeamSettings) -> str:
        decoder = Decoder(blank=model.blank, lm=model.lm, settings=settings)
        return normalise(raw_text(words_from_tokens(decoder.decode(logprobs)[0].tokens, model.pieces)))

    return tuned_settings(rows, lines.references, hear)


def facts_of(state: TrainingState, folder: Path) -> TrainingFacts:
    """The numbers of the run for the model card."""
    corpus = load_corpus(folder / "corpus", "train")
    return TrainingFacts(
        corpus_lines=len(corpus.lines),
        corpus_hours=corpus.hours,
        seen_hours=state.progress["audio_s"] / 3600,
        cpu_minutes=state.progress["cpu_s"] / 60,
        steps=int(state.progress["step"]),
    )


def load_vocabulary(run: Path) -> Tokenizer:
    """The run's tokenizer, learnt from training-side text at the first call."""
    path = run / "tokenizer.json"
    if not path.exists():
        writer = ScriptWriter(seed=1)
        lines = [text for _, text in (writer.line() for _ in range(VOCABULARY_LINES)) if not is_held_out(text)]
        learn_vocabulary(lines, VOCABULARY_SIZE).save(str(path))
    return Tokenizer.from_file(str(path))


def log_progress(what: str, done: int, total: int) -> None:
    """One line a shard."""
    log(f"{what} {done}/{total}")


def log(line: str) -> None:
    """One line of progress."""
    print(line, flush=True)


if __name__ == "__main__":
    main()
