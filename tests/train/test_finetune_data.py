"""Clips spelled in tokens, divided and batched."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from made_sound import tone
from torch.nn import functional

from medvox.data.manifest import Clip
from medvox.data.utterance import read_utterance
from medvox.encode.speech import log_mel
from medvox.errors import InputError, SetupError
from medvox.models.conformer import EncoderConfig, LasrConfig, LasrForCTC
from medvox.models.speech_model import SpeechModel
from medvox.train.finetune_augment import Effects
from medvox.train.finetune_data import (
    Division,
    Example,
    Loader,
    divide,
    epoch_batches,
    foreign_characters,
    frames_needed,
    spell,
    spoken_form,
    token_frames,
)
from medvox.train.vocabulary import learn_vocabulary

VOCABULARY = learn_vocabulary(["there is no nodule in the left lung", "a small effusion"] * 20, 40)


def tiny_model() -> SpeechModel:
    torch.manual_seed(0)
    encoder = EncoderConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_kernel_size=8,
        subsampling_conv_channels=16,
    )
    size = VOCABULARY.get_vocab_size()
    network = LasrForCTC(LasrConfig(encoder_config=encoder, vocab_size=size)).eval()
    pieces = tuple(VOCABULARY.id_to_token(number) for number in range(size))
    return SpeechModel(network=network, pieces=pieces, name="tiny", sha256="", tokenizer=VOCABULARY)


MODEL = tiny_model()


def clip(text: str = "a lung", *, speaker: str = "", split: str = "", seconds: float = 2.0, number: int = 0) -> Clip:
    return Clip(
        path=Path(f"{number}.wav"),
        text=text,
        where=f"line {number}",
        split=split,
        speaker=speaker,
        duration_s=seconds,
        sha256=str(number),
    )


def examples_of(clips: Sequence[Clip]) -> list[Example]:
    return [Example(clip=one, text=one.text, ids=(5, 6)) for one in clips]


def people(seconds: dict[str, float], *, clips: int = 4) -> list[Example]:
    """So many clips of each speaker, every text another one."""
    return examples_of(
        [
            clip(f"{name} {number}", speaker=name, seconds=length / clips, number=number)
            for name, length in seconds.items()
            for number in range(clips)
        ]
    )


def test_texts_are_spelled_without_an_end_token() -> None:
    (example,), bad = spell([clip("no nodule")], MODEL)
    assert VOCABULARY.decode(list(example.ids)) == "no nodule"
    assert MODEL.pieces.index("</s>") not in example.ids
    assert not bad


def test_what_the_model_cannot_write_is_listed_and_counted() -> None:
    examples, bad = spell([clip("no nodule"), clip("5 mm é", number=3), clip("15 in", number=4)], MODEL)
    assert len(examples) == 1
    assert [str(row) for row in bad] == [
        "line 3: tiny cannot write '5', 'é'",
        "line 4: tiny cannot write '1', '5'",
    ]
    assert foreign_characters(bad) == {"5": 2, "é": 1, "1": 1}


def test_ids_beyond_the_network_cannot_be_written() -> None:
    small = SpeechModel(
        network=MODEL.network, pieces=MODEL.pieces[:5], name="small", sha256="", tokenizer=MODEL.tokenizer
    )
    assert spell([clip("no nodule")], small)[0] == []


def test_lower_case_is_only_taken_when_told_and_drops_no_digit() -> None:
    assert len(spell([clip("No nodule.")], MODEL)[1]) == 1
    (example,), _ = spell([clip("No nodule.")], MODEL, lower_case=True)
    assert example.text == "no nodule"
    assert len(spell([clip("No 5 nodules.")], MODEL, lower_case=True)[1]) == 1
    assert spoken_form("Don\u2019t; left-sided (small) 3.5!") == "don't left sided small 3 5"


def test_a_text_of_marks_alone_leaves_no_word() -> None:
    assert spell([clip("...")], MODEL, lower_case=True)[1][0].reason == "no word is left of the text"


def test_a_text_too_long_for_its_sound_is_refused() -> None:
    long = "no nodule in the left lung " * 8
    examples, bad = spell([clip(long, seconds=1.0), clip(long, seconds=9.0)], MODEL)
    assert len(examples) == 1
    assert "frames of 40 ms, the sound has 22" in bad[0].reason


def test_without_a_tokenizer_nothing_is_spelled() -> None:
    with pytest.raises(SetupError):
        spell([clip()], SpeechModel(network=MODEL.network, pieces=MODEL.pieces, name="bare", sha256=""))


@pytest.mark.parametrize("ids", [(5, 7), (5, 5), (5, 6, 6, 6, 5), (7, 8, 9)])
def test_the_frames_needed_are_the_fewest_with_a_finite_loss(ids: tuple[int, ...]) -> None:
    def loss(frames: int) -> float:
        rows = torch.zeros(frames, 1, 12).log_softmax(-1)
        return functional.ctc_loss(rows, torch.tensor([ids]), torch.tensor([frames]), torch.tensor([len(ids)])).item()

    assert np.isfinite(loss(frames_needed(ids)))
    assert not np.isfinite(loss(frames_needed(ids) - 1))


def test_token_frames_are_those_of_the_network() -> None:
    for seconds in (0.7, 1.0, 3.21):
        features = torch.from_numpy(log_mel(tone(seconds).astype(np.float32)))[None]
        assert MODEL.network(features).shape[1] == token_frames(MODEL.network, seconds)


def test_the_manifests_splits_are_kept() -> None:
    clips = [clip(split=split, number=number) for number, split in enumerate(("train", "validation", "test", "train"))]
    parts = divide(examples_of(clips), Division())
    assert [len(side) for side in (parts.train, parts.validation, parts.test)] == [2, 1, 1]
    assert parts.notes == (
        "1 of 1 validation texts are also said in training",
        "1 of 1 test texts are also said in training",
    )


def test_no_speaker_is_on_two_sides() -> None:
    examples = people(dict.fromkeys("abcdefghij", 60.0))
    parts = divide(examples, Division(share=0.3))
    sides = [{example.clip.speaker for example in side} for side in (parts.train, parts.validation)]
    assert [len(side) for side in sides] == [7, 3]
    assert not sides[0] & sides[1]
    other = divide(examples, Division(share=0.3, seed=1))
    assert {example.clip.speaker for example in other.validation} != sides[1]


def test_a_new_speaker_moves_at_most_one_other() -> None:
    before = divide(people(dict.fromkeys("abcdefgh", 60.0)), Division(share=0.25))
    after = divide(people(dict.fromkeys("abcdefghi", 60.0)), Division(share=0.25))
    held = [{example.clip.speaker for example in parts.validation} for parts in (before, after)]
    assert len((held[0] ^ held[1]) - {"i"}) <= 1


def test_a_speaker_is_always_left_for_training() -> None:
    parts = divide(people({"a": 10.0, "b": 10.0}), Division(share=0.99))
    assert parts.train
    assert parts.validation


def test_without_speakers_the_text_decides() -> None:
    examples = examples_of([clip(f"text {number % 10}", number=number) for number in range(40)])
    parts = divide(examples, Division(share=0.3))
    texts = [{example.text for example in side} for side in (parts.train, parts.validation)]
    assert [len(side) for side in texts] == [7, 3]
    assert not texts[0] & texts[1]


def test_one_voice_is_divided_by_text_when_told() -> None:
    examples = people({"a": 60.0}, clips=10)
    with pytest.raises(InputError) as refusal:
        divide(examples, Division())
    assert refusal.value.code == "E_SPLIT_SPEAKERS"
    assert len(divide(examples, Division(same_speakers=True)).validation) == 3


@pytest.mark.parametrize(
    ("clips", "code"),
    [
        ([clip("a", split="train"), clip("b")], "E_SPLIT_PARTIAL"),
        ([clip("a", split="train"), clip("b", split="train")], "E_SPLIT_EMPTY"),
        ([clip("a", split="validation")], "E_SPLIT_EMPTY"),
        ([clip("a")], "E_SPLIT_EMPTY"),
        ([clip("a", speaker="x"), clip("b")], "E_SPLIT_SPEAKERS"),
        ([clip("a", speaker="x", split="train"), clip("b", speaker="x", split="validation")], "E_SPLIT_SPEAKERS"),
        (
            [clip(split="train", speaker="x"), clip(split="validation"), clip(split="test", speaker="x")],
            "E_SPLIT_SPEAKERS",
        ),
    ],
)
def test_a_division_that_cannot_be_made(clips: list[Clip], code: str) -> None:
    with pytest.raises(InputError) as refusal:
        divide(examples_of(clips), Division())
    assert refusal.value.code == code


def test_a_test_part_may_be_named_alone() -> None:
    clips = [clip("t", split="test"), *(clip(f"text {number}", number=number) for number in range(5))]
    parts = divide(examples_of(clips), Division(share=0.2))
    assert [len(side) for side in (parts.train, parts.validation, parts.test)] == [4, 1, 1]


def test_an_epoch_holds_every_clip_once_in_batches_of_like_length() -> None:
    rng = random.Random(0)
    examples = examples_of([clip(seconds=rng.uniform(1, 20), number=number) for number in range(41)])
    batches = epoch_batches(examples, 4, seed=1, epoch=2)
    assert sorted(index for batch in batches for index in batch) == list(range(41))
    spreads = [np.ptp([examples[index].clip.duration_s for index in batch]) for batch in batches]
    assert np.mean(spreads) < 3
    assert batches == epoch_batches(examples, 4, seed=1, epoch=2)
    assert batches != epoch_batches(examples, 4, seed=1, epoch=3)


@pytest.fixture
def recorded(tmp_path: Path) -> list[Example]:
    """Six clips that are really there."""
    made = []
    for number in range(6):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, tone(0.7 + 0.1 * number, frequency_hz=300 + 50 * number), 16_000)
        source = read_utterance(path).source
        one = Clip(path=path, text="a", where=f"line {number}", duration_s=0.7 + 0.1 * number, sha256=source.sha256)
        made.append(Example(clip=one, text="a", ids=(5 + number,)))
    return made


def test_a_batch_is_padded_and_in_order(recorded: list[Example]) -> None:
    (batch,) = Loader(MODEL.network, None).batches(recorded, [[4, 0]], 0)
    assert batch.targets == [(9,), (5,)]
    assert batch.lengths.tolist() == [108, 68]
    np.testing.assert_array_equal(batch.features[1, :68], log_mel(read_utterance(recorded[0].clip.path).samples))
    assert not batch.features[1, 68:].any()


def test_threads_change_nothing(recorded: list[Example]) -> None:
    plan = [[0, 1], [5], [2, 3], [4]]
    effects = Effects(speed=True, noise="made", rooms="made", masks=True)
    alone = list(Loader(MODEL.network, effects, seed=3).batches(recorded, plan, 1))
    ahead = list(Loader(MODEL.network, effects, seed=3, workers=3).batches(recorded, plan, 1))
    assert [batch.targets for batch in alone] == [batch.targets for batch in ahead]
    for one, other in zip(alone, ahead, strict=True):
        assert torch.equal(one.features, other.features)


def test_effects_differ_between_epochs_and_not_between_visits(recorded: list[Example]) -> None:
    loader = Loader(MODEL.network, Effects(noise="made", noise_share=1.0), seed=3)
    first, again, next_epoch = (next(loader.batches(recorded, [[2]], epoch)).features for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, next_epoch)


def test_a_clip_is_not_sped_up_beyond_what_ctc_can_write(recorded: list[Example]) -> None:
    full = recorded[5].clip
    ids = tuple(range(5, 5 + token_frames(MODEL.network, full.duration_s)))
    tight = [Example(clip=full, text="", ids=ids)]
    loader = Loader(MODEL.network, Effects(speed=True), seed=0)
    lengths = {next(loader.batches(tight, [[0]], epoch)).lengths.item() for epoch in range(12)}
    assert min(lengths) == len(log_mel(read_utterance(full.path).samples))
    assert len(lengths) == 2  # as it is, and slower


def test_a_sound_that_changes_during_the_training_is_noticed(recorded: list[Example]) -> None:
    soundfile.write(recorded[0].clip.path, tone(0.7, frequency_hz=999), 16_000)
    with pytest.raises(InputError) as refusal:
        next(Loader(MODEL.network, None).batches(recorded, [[0]], 0))
    assert refusal.value.code == "E_CLIP_CHANGED"
