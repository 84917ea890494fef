"""How far the confidence of words and of whole transcripts can be trusted, on recordings that it was not fitted to.

    python benchmarks/speech_confidence.py RUN                 # RUN: the folder of recipes/mini_asr.py, with its corpus
    python benchmarks/speech_confidence.py RUN --fit --write   # fits the weights anew, into the model's folder, first

Fitted on the splits `dev`, `seen_voice` and `held_variant`; everything else is test material: other persons, another
engine, other sentences, and people where the developers' shared data lies. `--json` prints the numbers, `--write` puts
the page into benchmarks/results/.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from demo_stages import HERE, commit, machine
from tokenizers import Tokenizer

from medvox.catalog import DEFAULT_ASR, resolve_model
from medvox.models.arpa import open_lm
from medvox.models.confidence import chances, overall, read_calibrations, write_calibrations
from medvox.models.kneser_ney import build_lm
from medvox.models.weights import load_speech
from medvox.score.calibration import calibration_error, reliability, separation
from medvox.synth.corpus import EVAL_SPLITS, load_corpus
from medvox.train.human_speech import tested_sentences
from medvox.train.speech_confidence import (
    FITTED_ON,
    HeardLine,
    SpokenText,
    decoders,
    fit_confidence,
    hear_lines,
    pooled,
    spoken_lines,
)

ORDER = 6
HUMAN = Path(__file__).parents[2] / "shared" / "data" / "speech"
USABLE_WER = 0.2
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
COMMAND = "python benchmarks/speech_confidence.py RUN --write"


def test_sets(corpus: Path) -> Iterator[tuple[str, Iterable[SpokenText]]]:
    """Name and lines of each set; those that the weights were fitted on come first, as one."""
    yield "fitted on", spoken_lines(corpus, FITTED_ON)
    for split in EVAL_SPLITS:
        if split not in FITTED_ON and load_corpus(corpus, split).lines:
            yield split, spoken_lines(corpus, (split,))
    if (HUMAN / "manifest.jsonl").exists():
        yield "people", ((one.text, one.samples) for one in tested_sentences(HUMAN))


def word_row(lines: list[HeardLine], stated: list[np.ndarray]) -> dict[str, Any]:
    """Figures of the words: ``before`` is what the decoder states by itself."""
    _, right = pooled(lines)
    before, after = np.concatenate([line.plain for line in lines]), np.concatenate(stated)
    return {
        "words": len(right),
        "right": float(right.mean()),
        "ece_before": calibration_error(before, right),
        "ece": calibration_error(after, right),
        "auc_before": separation(before, right),
        "auc": separation(after, right),
        "reliability": [(one.count, one.stated, one.true) for one in reliability(after, right)],
    }


def transcript_row(lines: list[HeardLine], stated: list[np.ndarray]) -> dict[str, Any]:
    """Figures of whole transcripts: the mean confidence against the word error rate."""
    confidence = np.array([overall(words.tolist()) for words in stated])
    error_rate = np.array([line.errors / max(1, line.reference_words) for line in lines])
    usable = error_rate <= USABLE_WER
    return {
        "transcripts": len(lines),
        "usable": float(usable.mean()),
        "correlation": float(np.corrcoef(confidence, 1 - np.minimum(error_rate, 1))[0, 1]),
        "auc": separation(confidence, usable),
        "refused_usable": [float((confidence[usable] < least).mean()) for least in THRESHOLDS],
        "asked_unusable": [float((confidence[~usable] >= least).mean()) for least in THRESHOLDS],
    }


def page(rows: list[dict[str, Any]]) -> list[str]:
    text = ["## Words", "", "| recordings | decoding | words | right % | ECE before | ECE | AUC before | AUC |"]
    text.append("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        word = row["word"]
        numbers = " | ".join(f"{word[name]:.3f}" for name in ("ece_before", "ece", "auc_before", "auc"))
        text.append(f"| {row['set']} | {row['mode']} | {word['words']} | {100 * word['right']:.1f} | {numbers} |")
    text += ["", f"## Transcripts (usable: word error rate up to {100 * USABLE_WER:.0f} %)", ""]
    text.append(
        "| recordings | decoding | transcripts | usable % | correlation with accuracy | AUC | "
        + " | ".join(f"below {least}" for least in THRESHOLDS)
        + " |"
    )
    text.append("| --- | --- | ---: | ---: | ---: | ---: |" + " --- |" * len(THRESHOLDS))
    for row in rows:
        whole = row["transcript"]
        pairs = zip(whole["refused_usable"], whole["asked_unusable"], strict=True)
        cells = " | ".join(f"{100 * refused:.0f} / {100 * asked:.0f}" for refused, asked in pairs)
        text.append(
            f"| {row['set']} | {row['mode']} | {whole['transcripts']} | {100 * whole['usable']:.1f} | "
            f"{whole['correlation']:.2f} | {whole['auc']:.3f} | {cells} |"
        )
    text += [
        "",
        "Under `below X`: usable transcripts that a threshold of X refuses / unusable ones it lets pass, in %.",
    ]
    text += ["", "## Reliability of words (stated % / right %, count)", ""]
    for row in rows:
        bins = ", ".join(
            f"{100 * stated:.0f} / {100 * true:.0f} ({count})" for count, stated, true in row["word"]["reliability"]
        )
        text.append(f"- {row['set']}, {row['mode']}: {bins}")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", type=Path)
    parser.add_argument("--model", default=DEFAULT_ASR, help="name or folder")
    parser.add_argument("--lm", type=Path, help="language model; learned from the training lines when not given")
    parser.add_argument("--fit", action="store_true", help="fit the weights and put them into the model's folder first")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="write the page into benchmarks/results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder, corpus = resolve_model(args.model), args.run / "corpus"
    network, tokenizer = load_speech(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    pieces = [tokenizer.id_to_token(number) or "<unk>" for number in range(network.config.vocab_size)]
    if args.lm:
        lm = open_lm(args.lm, pieces)
    else:
        texts = sorted({line.text for line in load_corpus(corpus, "train").lines})
        sentences = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        lm = build_lm(sentences, order=ORDER, pieces=pieces, blank=network.config.pad_token_id)
    if args.fit:
        write_calibrations(fit_confidence(network, pieces, corpus, lm), folder)
    weights, ways = read_calibrations(folder), decoders(network.config.pad_token_id, lm)
    rows = []
    for name, lines in test_sets(corpus):
        for mode, heard in hear_lines(network, pieces, lines, ways).items():
            stated = [chances(line.found, weights[mode]) for line in heard]
            rows.append({"set": name, "mode": mode})
            rows[-1] |= {"word": word_row(heard, stated), "transcript": transcript_row(heard, stated)}
    today = datetime.date.today().isoformat()
    used = ", ".join(f"{mode} {one.peak:.2f} {one.doubt:.2f} {one.offset:.2f}" for mode, one in weights.items())
    head = [f"# Confidence of words and transcripts, `{folder.name}`", ""]
    head += [f"- machine: {machine()}", f"- date: {today}", f"- commit: {commit()}", f"- command: `{COMMAND}`"]
    head += [f"- weights (peak, doubt, offset): {used}", f"- fitted on the splits {', '.join(FITTED_ON)}", ""]
    text = "\n".join([*head, *page(rows)]) + "\n"
    print(json.dumps(rows) if args.json else text)
    if args.write:
        (HERE / "results" / f"speech-confidence_{today}.md").write_text(text)


if __name__ == "__main__":
    main()
