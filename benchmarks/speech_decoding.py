"""What beam search and a language model of the training texts do for medvox-mini-asr, on its held-out recordings.

    python benchmarks/speech_decoding.py RUN          # RUN: the folder of recipes/mini_asr.py, with its corpus
    python benchmarks/speech_decoding.py RUN --write  # and puts the page into benchmarks/results/

The language model sees the texts of the training lines only; no held-out sentence is among them. Nothing was tuned
here: the two presets are used as they are. Real human speech is scored where the developers' shared data lies.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

import torch
from demo_stages import HERE, commit, machine

from medvox.catalog import DEFAULT_ASR, resolve_model
from medvox.encode.speech import log_mel
from medvox.models.beam import BEAM_MEDASR, BEAM_TUNED, Decoder
from medvox.models.ctc import greedy, log_probabilities
from medvox.models.kneser_ney import build_lm
from medvox.models.speech_model import SpeechModel, load_speech_model
from medvox.parse.transcript import raw_text, words_from_tokens
from medvox.score.wer import interval, score_texts
from medvox.synth.corpus import load_corpus
from medvox.train.speech_score import evaluation_sets, normalise

ORDER = 6
REAL = Path(__file__).parents[2] / "shared" / "data" / "speech"
COMMAND = "python benchmarks/speech_decoding.py RUN --write"


def decoders(model: SpeechModel, run: Path) -> dict[str, Decoder | None]:
    """The ways of decoding, by name; None is greedy."""
    texts = sorted({line.text for line in load_corpus(run / "corpus", "train").lines})
    sentences = [model.tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    blank = model.network.config.pad_token_id
    lm = build_lm(sentences, order=ORDER, pieces=model.pieces, blank=blank)
    print(f"language model of order {ORDER} from {len(texts)} lines", flush=True)
    return {
        "greedy": None,
        "beam.medasr, no LM": Decoder(blank=blank, settings=BEAM_MEDASR),
        "beam.medasr": Decoder(blank=blank, lm=lm, settings=BEAM_MEDASR),
        "beam.tuned": Decoder(blank=blank, lm=lm, settings=BEAM_TUNED),
    }


@torch.inference_mode()
def rows(model: SpeechModel, run: Path) -> list[str]:
    """One row of the table a recording set."""
    ways, blank = decoders(model, run), model.network.config.pad_token_id
    lines = [f"| recordings | lines | {' | '.join(ways)} |", f"| --- | ---: |{' ---: |' * len(ways)}"]
    for tested in evaluation_sets(run / "corpus", REAL if REAL.is_dir() else None):
        heard: dict[str, list[str]] = {name: [] for name in ways}
        for sound in tested.sounds:
            logits = model.network(torch.from_numpy(log_mel(sound))[None])[0]
            for name, decoder in ways.items():
                tokens = decoder.decode(log_probabilities(logits))[0].tokens if decoder else greedy(logits, blank)
                heard[name].append(normalise(raw_text(words_from_tokens(tokens, model.pieces))))
        cells = []
        for name in ways:
            scored = score_texts([normalise(text) for text in tested.references], heard[name])
            bounds = interval(scored.utterances)
            cells.append(f"{100 * scored.wer:.1f} ({100 * bounds.low:.1f} to {100 * bounds.high:.1f})")
        lines.append(f"| {tested.title} | {len(tested.references)} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", type=Path)
    parser.add_argument("--write", action="store_true", help="write the page into benchmarks/results")
    args = parser.parse_args()
    today = datetime.date.today().isoformat()
    head = [
        f"# Decoding, `{DEFAULT_ASR}`",
        "",
        f"- machine: {machine()}",
        f"- date: {today}",
        f"- commit: {commit()}",
        f"- command: `{COMMAND}`",
        "- word error rate in percent (95 % interval by line), the training's own normaliser",
        f"- language model: order {ORDER} over the model's tokens, from the texts of the training lines only",
        "",
    ]
    text = "\n".join([*head, *rows(load_speech_model(resolve_model(DEFAULT_ASR)), args.run)]) + "\n"
    if args.write:
        (HERE / "results" / f"speech-decoding_{today}.md").write_text(text)


if __name__ == "__main__":
    main()
