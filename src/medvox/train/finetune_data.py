"""Clips -> what fine-tuning learns from and is judged on: spelled in the model's tokens, divided, batched, as features.

After ``data/manifest``; next in the path: ``train/finetune``. Sounds are read when their batch is due, so memory does
not grow with the material. Knows no optimizer.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from medvox.data.manifest import BadRow, Clip
from medvox.data.utterance import SAMPLE_RATE_HZ, read_utterance
from medvox.encode.speech import frame_count, log_mel
from medvox.errors import InputError, SetupError
from medvox.models.conformer import LasrForCTC
from medvox.models.speech_model import UNKNOWN_PIECE, SpeechModel
from medvox.train.finetune_augment import Effects, altered, draw_speed, masked
from medvox.types import Features

SORTED_BATCHES = 50  # batches of similar length are made from so many at a time, as the published trainer does


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A clip, its text as it is learned, and its ids without ``</s>``: the tokenizer's own call would append one."""

    clip: Clip
    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What is learned from, what chooses the best weights, and what is only scored. ``notes`` say what to know."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Division:
    """How clips without a split are divided.

    Attributes:
        share: of the seconds (by speaker) or texts that validation gets.
        same_speakers: a speaker may be on both sides; then, and without speakers, the text decides.
        seed: of the order.
    """

    share: float = 0.3
    same_speakers: bool = False
    seed: int = 42


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Features (B, F, M), padded; their frames (B,); and the ids of the texts."""

    features: Tensor
    lengths: Tensor
    targets: list[tuple[int, ...]]


def spell(clips: Sequence[Clip], model: SpeechModel, *, lower_case: bool = False) -> tuple[list[Example], list[BadRow]]:
    """Texts as token ids; a text that the model cannot write, or that cannot fit its sound, becomes a bad row.

    Args:
        clips: the recordings.
        model: whose tokens.
        lower_case: write in lower case without marks, as small models do. Digits are never dropped.

    Raises:
        SetupError: the model has no tokenizer.
    """
    if model.tokenizer is None:
        raise SetupError(f"{model.name} has no tokenizer", fix="load it from its folder", code="E_TOKENIZER")
    examples, bad = [], []
    for clip in clips:
        text = spoken_form(clip.text) if lower_case else clip.text
        ids = tuple(model.tokenizer.encode(text, add_special_tokens=False).ids)
        if any(number >= len(model.pieces) or model.pieces[number] == UNKNOWN_PIECE for number in ids):
            bad.append(BadRow(where=clip.where, reason=f"{model.name} cannot write {_foreign(text, model)}"))
        elif not ids:
            bad.append(BadRow(where=clip.where, reason="no word is left of the text"))
        elif (needed := frames_needed(ids)) > (have := token_frames(model.network, clip.duration_s)):
            reason = (
                f"{len(ids)} tokens need {needed} frames of 40 ms, the sound has {have}: is the text another one's?"
            )
            bad.append(BadRow(where=clip.where, reason=reason))
        else:
            examples.append(Example(clip=clip, text=text, ids=ids))
    return examples, bad


def foreign_characters(bad: Iterable[BadRow]) -> Counter[str]:
    """The characters that texts hold and the model cannot write, by the number of rows."""
    counts: Counter[str] = Counter()
    for row in bad:
        counts.update(re.findall(r"'(.)'", row.reason.partition(" cannot write ")[2]))
    return counts


def spoken_form(text: str) -> str:
    """Lower case; marks that are not spoken become spaces, curly apostrophes straight ones. Digits and letters stay."""
    text = text.lower().replace("\u2019", "'")
    return " ".join(re.sub(r"[.,;:!?\"()\[\]\u201c\u201d\u2013\u2014-]", " ", text).split())


def frames_needed(ids: Sequence[int]) -> int:
    """Fewest frames that CTC can write the tokens in: one each, and a blank between equal neighbours."""
    return len(ids) + sum(first == second for first, second in pairwise(ids))


def token_frames(network: LasrForCTC, seconds: float) -> int:
    """Frames that the network gives for a recording."""
    return int(network.output_lengths(torch.tensor(frame_count(round(seconds * SAMPLE_RATE_HZ)))))


def divide(examples: Sequence[Example], how: Division) -> Parts:
    """Divides by the manifest's splits where it names them, else by speaker, else by text.

    No speaker is on two sides unless told, and without a manifest's word no text is. Adding clips moves few others.

    Raises:
        InputError: ``E_SPLIT_PARTIAL`` (only some rows name a split), ``E_SPLIT_SPEAKERS`` (speakers on two sides, or
            not known for all, or only one), ``E_SPLIT_EMPTY``.
    """
    named = sum(bool(example.clip.split) for example in examples)
    if 0 < named < len(examples) and not {example.clip.split for example in examples} <= {"", "test"}:
        raise _unsplit(f"{len(examples) - named} of {len(examples)} rows name no split", "E_SPLIT_PARTIAL")
    sides: dict[str, list[Example]] = {"train": [], "validation": [], "test": []}
    loose = [example for example in examples if not example.clip.split]
    for example in examples:
        if example.clip.split:
            sides[example.clip.split].append(example)
    for example, validation in zip(loose, _for_validation(loose, how), strict=True):
        sides["validation" if validation else "train"].append(example)
    if not sides["train"] or not sides["validation"]:
        empty = "training" if not sides["train"] else "validation"
        raise _unsplit(f"no recording is left for {empty}", "E_SPLIT_EMPTY")
    _check_speakers(sides, how)
    return Parts(
        train=tuple(sides["train"]),
        validation=tuple(sides["validation"]),
        test=tuple(sides["test"]),
        notes=tuple(_shared_texts(sides)),
    )


def _for_validation(examples: Sequence[Example], how: Division) -> list[bool]:
    speakers = {example.clip.speaker for example in examples}
    if speakers <= {""} or how.same_speakers:
        texts = sorted({example.clip.text.lower() for example in examples}, key=lambda text: _order(text, how))
        chosen = set(texts[: min(math.ceil(how.share * len(texts)), max(len(texts) - 1, 0))])
        return [example.clip.text.lower() in chosen for example in examples]
    if "" in speakers:
        unknown = sum(not example.clip.speaker for example in examples)
        raise _mixed(f"the speaker is missing in {unknown} of {len(examples)} rows")
    if len(speakers) == 1:
        raise _mixed("all recordings are of one speaker, so validation would hear the voice of the training")
    seconds: Counter[str] = Counter()
    for example in examples:
        seconds[example.clip.speaker] += round(1000 * example.clip.duration_s)
    held: set[str] = set()
    for speaker in sorted(speakers, key=lambda name: _order(name, how))[:-1]:
        if sum(seconds[one] for one in held) >= how.share * seconds.total():
            break
        held.add(speaker)
    return [example.clip.speaker in held for example in examples]


def _order(name: str, how: Division) -> bytes:
    return hashlib.sha256(f"{how.seed} {name}".encode()).digest()


def _check_speakers(sides: dict[str, list[Example]], how: Division) -> None:
    spoken = {side: {example.clip.speaker for example in examples} - {""} for side, examples in sides.items()}
    shared = spoken["train"] & (spoken["validation"] | spoken["test"])
    if shared and not how.same_speakers:
        raise _mixed(f"{len(shared)} speakers of the training are in validation or test too")


def _shared_texts(sides: dict[str, list[Example]]) -> Iterator[str]:
    learned = {example.clip.text.lower() for example in sides["train"]}
    for side in ("validation", "test"):
        known = sum(example.clip.text.lower() in learned for example in sides[side])
        if known:
            yield f"{known} of {len(sides[side])} {side} texts are also said in training"


def _unsplit(problem: str, code: str) -> InputError:
    fix = "name train, validation or test in every row, or in none; both sides need recordings"
    return InputError(problem, fix=fix, code=code)


def _mixed(problem: str) -> InputError:
    fix = "name a split by speaker in the manifest; to adapt to the very voices, --same-speakers divides by text"
    return InputError(problem, fix=fix, code="E_SPLIT_SPEAKERS")


def _foreign(text: str, model: SpeechModel) -> str:
    """The characters of a text that the model has no token for."""
    assert model.tokenizer is not None
    unknown = []
    for character in sorted(set(text) - {" "}):
        ids = model.tokenizer.encode(character, add_special_tokens=False).ids
        if any(number >= len(model.pieces) or model.pieces[number] == UNKNOWN_PIECE for number in ids):
            unknown.append(f"'{character}'")
    return ", ".join(unknown) or "a part of the text"


def epoch_batches(examples: Sequence[Example], size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of an epoch in batches of similar length, decided by seed and epoch alone."""
    rng = random.Random(f"{seed} {epoch}")
    order = list(range(len(examples)))
    rng.shuffle(order)
    batches = []
    for start in range(0, len(order), size * SORTED_BATCHES):
        group = order[start : start + size * SORTED_BATCHES]
        group.sort(key=lambda index: examples[index].clip.duration_s)
        batches += [group[first : first + size] for first in range(0, len(group), size)]
    rng.shuffle(batches)
    return batches


class Loader:
    """Reads batches. With ``workers`` threads a few batches are read ahead; the sounds are the same without."""

    def __init__(self, network: LasrForCTC, effects: Effects | None, *, seed: int = 0, workers: int = 0) -> None:
        self._network = network
        self._bands = network.config.encoder_config.num_mel_bins
        self._effects = effects
        self._seed = seed
        self._workers = workers

    def batches(self, examples: Sequence[Example], plan: Sequence[Sequence[int]], epoch: int) -> Iterator[Batch]:
        """The planned batches in order."""
        if not self._workers:
            for indices in plan:
                yield _padded([self._features(examples[index], epoch, index) for index in indices], examples, indices)
            return
        with ThreadPoolExecutor(self._workers) as pool:
            ahead: deque[list[Future[Features]]] = deque()
            for number, indices in enumerate(plan):
                for coming in plan[number + len(ahead) : number + 1 + self._workers]:
                    ahead.append([pool.submit(self._features, examples[one], epoch, one) for one in coming])
                yield _padded([future.result() for future in ahead.popleft()], examples, indices)

    def _features(self, example: Example, epoch: int, index: int) -> Features:
        clip = example.clip
        utterance = read_utterance(clip.path)
        if utterance.source.sha256 != clip.sha256:
            raise InputError(
                f"the sound of {clip.where} has changed since it was checked", fix="start again", code="E_CLIP_CHANGED"
            )
        if self._effects is None:
            return log_mel(utterance.samples, bands=self._bands)
        rng = np.random.default_rng([self._seed, epoch, index])
        speed = draw_speed(self._effects, rng)
        if frames_needed(example.ids) > token_frames(self._network, clip.duration_s / speed - 0.001):
            speed = 1.0  # CTC could not write the text so fast
        features = log_mel(altered(utterance.samples, speed, self._effects, rng), bands=self._bands)
        return masked(features, rng) if self._effects.masks else features


def _padded(features: Sequence[Features], examples: Sequence[Example], indices: Sequence[int]) -> Batch:
    lengths = torch.tensor([len(one) for one in features])
    padded = torch.zeros(len(features), int(lengths.max()), features[0].shape[1])
    for row, one in enumerate(features):
        padded[row, : len(one)] = torch.from_numpy(one)
    return Batch(features=padded, lengths=lengths, targets=[examples[index].ids for index in indices])
