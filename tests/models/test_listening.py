"""Long recordings in windows: nothing lost, doubled or moved at the seams."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
import torch
from near_network import ROUNDING, TOKENS, Near, ids, near_features, whole
from torch import Tensor, nn
from torch.nn import functional

from medvox.errors import UsageError
from medvox.models.conformer import EncoderConfig, LasrConfig, LasrForCTC
from medvox.models.listening import (
    PUBLISHED,
    SEAMLESS,
    Chunking,
    FeatureSource,
    logits_of,
    logits_stream,
    plan,
    rows_of,
    silence_row,
)

ALL = pytest.mark.parametrize("chunking", [PUBLISHED, SEAMLESS], ids=["published", "seamless"])


class Jittery(nn.Module):
    """Writes the token that frame 4i holds, but one row early in every second window."""

    def forward(self, features: Tensor) -> Tensor:
        ids = features[0, :-12:4, 0].long()
        if (int(features[0, 0, 1]) // 1600) % 2:
            ids = torch.cat((ids[1:], ids.new_zeros(1)))
        return functional.one_hot(ids, TOKENS)[None].float() * 12.0


def tokens_at(places: list[int], frames: int) -> Tensor:
    """Features that hold token 1, 2, … at the given rows (0 elsewhere), and the number of each frame."""
    features = torch.stack((torch.zeros(frames), torch.arange(frames)), dim=1)
    for number, place in enumerate(places):
        features[4 * place, 0] = 1 + number % (TOKENS - 1)
    return features


def features_of(features: Tensor) -> FeatureSource:
    return lambda first, last: features[first:last]


@ALL
@pytest.mark.parametrize("frames", [1999, 2001, 3599, 3600, 3601, 5203, 12_000])
def test_a_network_with_short_sight_hears_the_same_as_in_one_piece(chunking: Chunking, frames: int) -> None:
    network, features = Near(), near_features(frames)
    torch.testing.assert_close(logits_of(network, features, chunking=chunking), whole(network, features), **ROUNDING)


@ALL
@pytest.mark.parametrize("frames", [13, 20, 500, 1998, 2000])
def test_a_short_recording_is_one_window(chunking: Chunking, frames: int) -> None:
    network, features = Near(), near_features(frames)
    torch.testing.assert_close(logits_of(network, features, chunking=chunking), whole(network, features), **ROUNDING)


@ALL
@pytest.mark.parametrize("frames", [20, 1997, 2013, 4100])
def test_lasr_gives_as_many_rows_as_for_the_whole(chunking: Chunking, frames: int) -> None:
    encoder = EncoderConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        subsampling_conv_channels=8,
        conv_kernel_size=8,
        num_mel_bins=4,
    )
    torch.manual_seed(0)
    network, features = LasrForCTC(LasrConfig(encoder_config=encoder, vocab_size=TOKENS)).eval(), near_features(frames)
    rows = logits_of(network, features, chunking=chunking)
    assert rows.shape == whole(network, features).shape
    torch.testing.assert_close(rows.exp().sum(dim=-1), torch.ones(len(rows)))


def test_the_published_recipe_cuts_where_it_always_did() -> None:
    windows = plan(5000, PUBLISHED, [(0, 900), (1100, 5000)])
    assert [(window.first, window.last, window.cut) for window in windows] == [
        (0, 1998, 0),
        (1600, 3598, 1800),
        (3200, 5000, 3400),
    ]


@pytest.mark.parametrize("offset", range(24))
def test_every_offset_of_a_seam_gives_the_same_path(offset: int) -> None:
    places = [offset + 24 * number for number in range(35)]  # about one a second, on both sides of the cut at row 450
    network, features = Near(), tokens_at([], 3500)
    features = torch.cat((features[:, :1], near_features(3500)[:, :3]), dim=1)
    features[[4 * place for place in places]] *= 5
    for chunking in (PUBLISHED, SEAMLESS):
        assert ids(logits_of(network, features, chunking=chunking)) == ids(whole(network, features))


@pytest.mark.parametrize("offset", range(380, 460, 2))
def test_a_window_that_hears_tokens_one_row_earlier_neither_loses_nor_doubles_one(offset: int) -> None:
    places = [offset + 9 * number for number in range(10)]
    heard = ids(logits_of(Jittery(), tokens_at(places, 3000), chunking=SEAMLESS))
    assert heard == list(range(1, 11))


def test_the_published_recipe_loses_such_a_token() -> None:
    heard = [len(ids(logits_of(Jittery(), tokens_at([place], 3000), chunking=PUBLISHED))) for place in range(440, 460)]
    assert 0 in heard


def test_a_cut_lies_in_the_middle_of_the_longest_pause_of_the_last_part() -> None:
    speech = [(0, 300), (700, 1200), (1260, 1500), (1640, 2600), (2620, 4000)]  # the longest pause is too early
    assert plan(4000, SEAMLESS, speech)[1].cut == 1568  # 1570, on the grid


def test_a_pause_that_reaches_out_of_the_last_part_counts_as_far_as_it_is_inside() -> None:
    assert plan(4000, SEAMLESS, [(0, 800), (1100, 4000)])[1].cut == 1048


def test_speech_without_a_pause_is_cut_at_the_latest_place() -> None:
    assert [window.cut for window in plan(4000, SEAMLESS, [(0, 4000)])] == [0, 1800, 3400]


@pytest.mark.parametrize("seed", range(30))
def test_windows_cover_any_recording_and_share_the_context(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    marks = torch.randint(0, 20_000, (40,), generator=generator).sort().values.tolist()
    windows = plan(20_000 + seed, SEAMLESS, list(zip(marks[::2], marks[1::2], strict=True)))
    assert windows[0].first == 0
    assert windows[-1].last == 20_000 + seed
    for before, window in pairwise(windows):
        assert window.first % 4 == 0
        assert window.cut - window.first == before.last - window.cut == SEAMLESS.context
    assert all(window.last - window.first <= SEAMLESS.window for window in windows)


def test_cuts_in_pauses_change_no_row_of_a_network_with_short_sight() -> None:
    network, features = Near(), near_features(9000)
    rows = logits_of(network, features, speech=[(0, 1150), (1190, 2700), (3100, 4000), (4004, 9000)])
    torch.testing.assert_close(rows, whole(network, features), **ROUNDING)


@ALL
def test_a_number_that_is_not_finite_is_not_hidden(chunking: Chunking) -> None:
    class Broken(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return torch.full((1, len(features[0]) // 4 - 2, TOKENS), torch.inf)

    assert not torch.isfinite(logits_of(Broken(), near_features(4000), chunking=chunking)).any()


def test_half_precision_networks_give_float32() -> None:
    class Half(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return torch.zeros(1, len(features[0]) // 4 - 2, TOKENS, dtype=torch.bfloat16)

    assert logits_of(Half(), near_features(2500)).dtype == torch.float32


def test_parts_come_while_later_features_have_not_been_asked_for() -> None:
    asked: list[int] = []

    def features(first: int, last: int) -> Tensor:
        asked.append(first)
        return near_features(12_000)[first:last]

    parts = logits_stream(Near(), features, plan(12_000))
    assert len(next(parts)) > 400
    assert len(asked) == 2


def test_twenty_minutes_never_show_the_network_more_than_a_window_and_are_quick() -> None:
    network, frames = Near(), 120_000
    start = time.process_time()
    features = near_features(frames)
    rows = sum(len(part) for part in logits_stream(network, features_of(features), plan(frames)))
    assert rows == (frames - 13) // 4 + 1
    assert network.longest <= SEAMLESS.window
    assert time.process_time() - start < 5


def test_progress_counts_the_windows() -> None:
    told: list[tuple[str, int, int]] = []
    logits_of(Near(), near_features(5000), progress=lambda *news: told.append(news))
    assert told == [("recognising speech", number, 3) for number in (1, 2, 3)]


@ALL
def test_what_is_done_is_not_heard_again_and_the_rest_is_the_same(chunking: Chunking) -> None:
    network, features = Near(), near_features(9100)
    windows = plan(9100, chunking, [(0, 1500), (1600, 5000), (5100, 9100)])
    parts = list(logits_stream(network, features_of(features), windows))
    for number in range(len(parts) + 1):
        asked: list[int] = []

        def source(first: int, last: int, asked: list[int] = asked) -> Tensor:
            asked.append(first)
            return features[first:last]

        rest = list(logits_stream(network, source, windows, done=sum(map(len, parts[:number]))))
        assert len(asked) == len(parts) - number
        assert len(rest) == len(parts) - number
        assert all(torch.equal(one, other) for one, other in zip(rest, parts[number:], strict=True))


@pytest.mark.parametrize("done", [1, 300, 10_000])
def test_rows_of_other_windows_cannot_be_gone_on_with(done: int) -> None:
    with pytest.raises(UsageError) as caught:
        list(logits_stream(Near(), features_of(near_features(9000)), plan(9000), done=done))
    assert caught.value.code == "E_LISTENING_DONE"


def test_windows_in_which_nothing_stirs_are_not_heard() -> None:
    features, asked = near_features(12_000), []

    def source(first: int, last: int) -> Tensor:
        asked.append((first, last))
        return features[first:last]

    speech = [(100, 900), (9000, 9200)]
    windows = plan(12_000, SEAMLESS, speech, speech)
    row = silence_row(TOKENS, 3)
    rows = torch.cat(list(logits_stream(Near(), source, windows, silence=row)))
    wanted = whole(Near(), features)
    assert rows.shape == wanted.shape
    assert all(any(first < stop and begin < last for begin, stop in speech) for first, last in asked)
    assert len(asked) < len(windows)
    for first, last in speech:
        torch.testing.assert_close(rows[first // 4 : last // 4], wanted[first // 4 : last // 4], **ROUNDING)
    assert torch.equal(rows[1000:1800], row.expand(800, -1))


def test_everything_is_heard_where_nobody_says_what_silence_gives() -> None:
    network, features = Near(), near_features(5000)
    rows = torch.cat(list(logits_stream(network, features_of(features), plan(5000, stirring=[]))))
    torch.testing.assert_close(rows, whole(network, features), **ROUNDING)


@pytest.mark.parametrize("frames", [0, 1, 12, 13, 16, 17, 18, 2000, 4099])
def test_rows_are_counted_as_the_network_makes_them(frames: int) -> None:
    wanted = whole(Near(), near_features(frames)).shape[0] if frames >= 13 else 0
    assert rows_of(frames) == wanted


def test_the_row_of_silence_is_one_of_log_probabilities() -> None:
    row = silence_row(TOKENS, 3)
    torch.testing.assert_close(row.exp().sum(), torch.tensor(1.0))
    assert ids(row.expand(5, -1).roll(-3, dims=-1)) == []
