"""Trains medvox-mini-asr from scratch on speech made by free engines, and writes it as a hub folder.

    python recipes/mini_asr.py --minutes 75 --out src/medvox/weights/medvox-mini-asr

Needs Debian's espeak-ng, flite, festival with festvox-kallpc16k, festvox-kdlpc16k and festvox-us-slt-hts, fortunes,
wamerican and hunspell-en-med. Speaking the corpus takes about 10 minutes on two cores, training ``--minutes`` of one
core, evaluation a few minutes. The same command goes on where it was stopped; ``--export-only`` evaluates and writes
the latest checkpoint without training. Expected: word error rate under 10 % on new questions with seen voices; real
human speech is not recognised.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer

from medvox.models.weights import load_speech
from medvox.synth.corpus import build_corpus, load_corpus
from medvox.synth.dictation import ScriptWriter, is_held_out
from medvox.train.checkpoint import TrainingState, resume_checkpoint
from medvox.train.speech import CHECKPOINT, SpeechRun, averaged_model, new_state, train_speech
from medvox.train.speech_export import TrainingFacts, write_card, write_weights
from medvox.train.speech_score import PEER_LINES, Score, evaluation_sets, model_recogniser, peer_recogniser, score
from medvox.train.vocabulary import learn_vocabulary

VOCABULARY_SIZE = 128
VOCABULARY_LINES = 20_000
REAL_SPEECH = Path(__file__).parents[2] / "shared" / "data" / "speech"


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
        build_corpus(arguments.run / "corpus", arguments.hours, progress=log_progress)
        train_speech(run, arguments.run, load_vocabulary(arguments.run), log)
    export(run, arguments.run, arguments.out, peer=not arguments.no_peer)


def export(run: SpeechRun, folder: Path, out: Path, *, peer: bool) -> None:
    """Writes the averaged weights of the latest checkpoint, scores what was written, and writes the card."""
    tokenizer = load_vocabulary(folder)
    state = new_state(run, tokenizer.get_vocab_size())
    if not resume_checkpoint(folder / CHECKPOINT, state):
        raise SystemExit(f"{folder / CHECKPOINT} is not there: train first")
    write_weights(averaged_model(state), tokenizer, out)
    model = load_speech(out)
    ours, other = model_recogniser(model, tokenizer), peer_recogniser() if peer else None
    scores: list[Score] = []
    for tested in evaluation_sets(folder / "corpus", REAL_SPEECH):
        scores.append(score("medvox-mini-asr", ours, tested))
        log(str(scores[-1]))
        if other is not None:
            scores.append(score("pocketsphinx", other, tested, limit=PEER_LINES))
            log(str(scores[-1]))
    write_card(model, facts_of(state, folder), scores, out)
    log(f"wrote {out}")


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
