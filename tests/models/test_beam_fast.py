"""The search in C against the search in Python: the same hypotheses and the same numbers, to the last bit."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from medvox.models import beam_fast
from medvox.models.beam import BeamSettings, Hypothesis, beam_search
from medvox.models.beam_fast import fast_search
from medvox.models.beam_plain import Found, plain_search
from medvox.models.hotwords import HotPhrase, HotWords
from medvox.models.kernels import build
from medvox.models.kneser_ney import build_lm
from medvox.models.ngram import NgramLm, load_lm, save_lm

PIECES = [
    "<epsilon>",
    "</s>",
    "<unk>",
    *"abcdefg",
    "-",
    "'",
    *(f"▁{letter}" for letter in "abcdefg"),
    "▁ab",
    "bca",
    "▁",
]
SAID = range(3, len(PIECES))

needs_library = pytest.mark.skipif(bool(build.obstacle()), reason=f"no C search here: {build.obstacle()}")


def posteriors(rng: random.Random, frames: int) -> np.ndarray:
    """Random, from flat to nearly certain; some frames are equal, as in silence, so that scores tie."""
    noise = np.random.default_rng(rng.randrange(2**32))
    logits = noise.normal(size=(frames, len(PIECES))) * rng.uniform(0.5, 8)
    logits[noise.random(frames) < rng.random() / 2, 0] += 20
    if frames and rng.random() < 0.3:
        logits[noise.random(frames) < 0.5] = 0.0
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def language_model(rng: random.Random) -> NgramLm:
    """Of any order; knows all tokens but some."""
    known = rng.sample(SAID, k=rng.randrange(4, len(SAID)))
    text = [rng.choices(known, k=rng.randrange(1, 9)) for _ in range(60)]
    return build_lm(text, order=rng.randrange(1, 7), pieces=PIECES, blank=0)


def hot_words(rng: random.Random) -> HotWords:
    """Phrases that share beginnings, hold each other and end in one another."""
    words = ["".join(rng.choices("abc", k=rng.randrange(1, 5))) for _ in range(rng.randrange(1, 40))]
    texts = [" ".join(rng.choices(words, k=rng.randrange(1, 3))) for _ in words]
    return HotWords([HotPhrase(text=text, weight=rng.uniform(0.1, 20)) for text in texts], PIECES)


def search_settings(rng: random.Random) -> BeamSettings:
    return BeamSettings(
        beam=rng.choice([1, 3, 8, 16, 100]),
        alpha=rng.uniform(0, 1),
        beta=rng.uniform(-1, 2),
        unk_offset=rng.uniform(-10, 0),
        prune=rng.uniform(-20, -2),
        min_token=rng.uniform(-9, -1),
        end_of_sentence=rng.random() < 0.5,
        nbest=rng.choice([1, 8, 64]),
    )


def numbers(found: Sequence[Found]) -> list[tuple[object, ...]]:
    return [(one.spans.tolist(), one.acoustic, one.language, one.hotwords, one.total) for one in found]


@needs_library
@pytest.mark.parametrize("seed", range(60))
def test_both_searches_find_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    lm, hot = rng.choice([language_model(rng), None]), rng.choice([hot_words(rng), None])
    settings = search_settings(rng)
    if rng.random() < 0.3:
        monkeypatch.setattr(beam_fast, "ROOM", rng.randrange(1, 300))  # forgets often
    given = (posteriors(rng, rng.randrange(0, 150)), 0, lm, hot, settings)
    fast = fast_search(*given)
    assert fast is not None
    assert numbers(fast) == numbers(plain_search(*given))


@needs_library
def test_a_model_that_stays_on_disk_is_read_alike(tmp_path: Path) -> None:
    rng = random.Random(1)
    lm, rows = language_model(rng), posteriors(rng, 80)
    save_lm(lm, tmp_path / "lm.ngram")
    mapped = load_lm(tmp_path / "lm.ngram", PIECES)
    fast = fast_search(rows, 0, mapped, None, BeamSettings())
    assert fast is not None
    assert numbers(fast) == numbers(plain_search(rows, 0, lm, None, BeamSettings()))


@needs_library
def test_forgetting_what_no_hypothesis_needs_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(2)
    rows = np.tile(posteriors(rng, 100), (20, 1))
    monkeypatch.setattr(beam_fast, "ROOM", 64)
    often = fast_search(rows, 0, None, None, BeamSettings())
    monkeypatch.setattr(beam_fast, "ROOM", 1 << 30)
    never = fast_search(rows, 0, None, None, BeamSettings())
    assert often is not None
    assert never is not None
    assert numbers(often) == numbers(never)


@needs_library
@pytest.mark.parametrize("obstacle", ["switch", "no compiler"])
def test_without_a_library_the_answer_is_the_same(
    obstacle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(3)
    rows, lm, hot = posteriors(rng, 60), language_model(rng), hot_words(rng)

    def found() -> list[Hypothesis]:
        return beam_search(rows, 0, lm=lm, hotwords=hot)

    fast = found()
    if obstacle == "switch":
        monkeypatch.setenv(build.SWITCH, "off")
    else:
        monkeypatch.setenv("MEDVOX_CACHE", str(tmp_path))
        monkeypatch.setenv("PATH", "")
    build.library.cache_clear()
    try:
        assert fast_search(rows, 0, lm, hot, BeamSettings()) is None
        assert found() == fast
    finally:
        build.library.cache_clear()
