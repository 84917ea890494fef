"""Writes the trained speech model as a hub folder with its model card. Last step of the speech training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

from medvox.models.conformer import LasrForCTC
from medvox.models.weights import save_folder
from medvox.synth.voices import ESPEAK_TRAIN
from medvox.train.speech_score import PEER_LINES, Score

PREPROCESSOR = {
    "feature_extractor_type": "LasrFeatureExtractor",
    "feature_size": 128,
    "hop_length": 160,
    "n_fft": 512,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
    "sampling_rate": 16000,
    "win_length": 400,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingFacts:
    """What the model card says about the training run."""

    corpus_lines: int
    corpus_hours: float
    seen_hours: float
    cpu_minutes: float
    steps: int


def write_weights(model: LasrForCTC, tokenizer: Tokenizer, folder: Path) -> None:
    """Config, float16 weights, tokenizer and preprocessor settings. The network itself must run in float32."""
    save_folder(model, model.config.to_hub(), folder, torch.float16)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n", encoding="utf-8")


def write_card(
    model: LasrForCTC, facts: TrainingFacts, scores: Sequence[Score], invented: Mapping[str, float], folder: Path
) -> None:
    """``README.md`` and ``evaluation.json`` from the scores, and words ``invented`` in an hour where nobody speaks."""
    values = {"training": asdict(facts), "scores": [asdict(one) for one in scores], "invented_an_hour": dict(invented)}
    (folder / "evaluation.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    encoder = model.config.encoder_config
    text = _CARD.format(
        parameters=f"{parameters:,}",
        layers=encoder.num_hidden_layers,
        width=encoder.hidden_size,
        vocabulary=model.config.vocab_size,
        table=_table(scores),
        espeak_voices=len(ESPEAK_TRAIN),
        peer_lines=PEER_LINES,
        invented=", ".join(f"{name} {value:.1f}" for name, value in invented.items()),
        **{
            name: f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" for name, value in asdict(facts).items()
        },
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _table(scores: Sequence[Score]) -> str:
    lines = [
        "| set | recogniser | lines | WER % (95 %) | first lines | CER % | without error | wrong words of a class, % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in scores:
        terms = ", ".join(f"{kind} {rate}" for kind, rate in one.terms.items())
        lines.append(
            f"| {one.title} | {one.recogniser} | {one.lines} | {one.word_error_rate} ({one.low} to {one.high}) "
            f"| {one.peer_lines} | {one.letter_error_rate} | {one.exact} | {terms} |"
        )
    return "\n".join(lines)


_CARD = """\
---
license: apache-2.0
language: en
pipeline_tag: automatic-speech-recognition
tags: [medvox, lasr_ctc, dictation, radiology, research]
---
# medvox-mini-asr

A small speech model that shows the whole medvox path on two CPU cores: a spoken question about a CT scan becomes
text. **Not for clinical use.** It knows the voices of free speech engines and a small language; it is not a recogniser
of human dictation. For that, load `google/medasr` with the same code.

## What it is
The MedASR architecture (LASR Conformer with CTC), small: {parameters} parameters, {layers} blocks of width {width},
{vocabulary} output pieces, 128 log-mel bands, 25 output frames a second. Stored in float16, run in float32.

Output is the spoken form: lower-case a to z and the apostrophe. Abbreviations said letter by letter are written letter
by letter (`c t`, `m r i`), numbers are words, spoken punctuation is `period` and `comma`. medvox formats this (`CT`,
`MRI`, `.`, `,`); the spelling is American (`hemorrhage`).

## Training data
{corpus_lines} lines, {corpus_hours} hours, nearly all spoken by Debian's free speech engines; a few minutes of people
reading public-domain books and saying digits
(three speakers of LibriSpeech's test-other, LJ Speech, three of the free-spoken-digit-dataset);
no patient text. Do not score it on LibriSpeech test-other: the three are speakers 1688, 2033 and 2414.

* Questions about a scan, report sentences with measurements, sides, drugs and spoken punctuation, plain clauses (Debian
  `fortunes`, open medical prose) and loose words (`wamerican`, `hunspell-en-med`).
* Voices in training: flite slt, awb, kal16; Festival kal, slt (HTS); RHVoice alan, clb, slt; {espeak_voices} variants
  of espeak-ng. Rate, pitch and tape speed vary.
* Held out: the persons rms (flite), ked (Festival) and bdl (RHVoice), the whole engine SVOX Pico, 6 variants of
  espeak-ng, 6 % of all sentences by hash, hand-written sentences, and the demo's questions word for word.
* Clips up to 20 s of joined lines with pauses; some hold no speech at all but silence, noise, hum or knocks.
  Augmentation: gain, rooms, coloured noise, equaliser, vocal-tract warp, SpecAugment.

Recipe: `recipes/mini_asr.py`; {steps} steps, {seen_hours} hours heard, {cpu_minutes} minutes of one CPU core.

## Scores (measured on the float16 weights)
{table}

"greedy" takes the best token of each frame; the plain name searches with the language model that ships beside it
(`lm.ngram`, order 6), as `medvox transcribe` does. Its weights were chosen on a development split that is not in the
table. WER and CER count substitutions, deletions and insertions. pocketsphinx (its own US English model, open
vocabulary) hears the first {peer_lines} lines of each set; "first lines" is the WER on these. It was not made for these
voices or this language: the comparison says that the task is not trivial, not that this model is the better recogniser.

Words invented in an hour of silence, noise, hum and tones, without voice detection: {invented}.

## Limits
* Real human speech is hardly recognised (last rows). Accents, noise and microphones of real rooms were not in training.
* New sentences share the grammar with the training sentences; other wordings are heard worse. Spelling of unseen
  medical words is unreliable. Numbers and sides can be wrong: check the transcript, whose words carry a confidence.
* English only. One speaker at a time.

## Licences of the voices
The weights are Apache-2.0. They were trained on the output of flite and Festival (kal, awb, slt; rms and ked in the
evaluation; free, BSD-like licences of Carnegie Mellon University and the University of Edinburgh), of RHVoice (alan,
clb, slt; LGPL-2.1-or-later voices) and of espeak-ng (GPL-3 program; its output is not covered by that licence). SVOX
Pico (Apache-2.0) and bdl speak in the evaluation only. Recordings of people: LibriSpeech (CC BY 4.0), LJ Speech (public
domain), free-spoken-digit-dataset (CC BY-SA 4.0). No voice data is contained in this folder.
"""
