"""N-gram models against a plain back-off implementation, and everything that may be wrong with their files."""

from __future__ import annotations

import gzip
import lzma
import math
import random
from pathlib import Path

import numpy as np
import pytest

from medvox.errors import InputError, MedvoxError, UsageError
from medvox.models.arpa import SPELLINGS, open_lm, read_arpa, write_arpa
from medvox.models.kneser_ney import build_lm
from medvox.models.ngram import NgramLm, load_lm, save_lm

PIECES = ["<epsilon>", "<s>", "</s>", "<unk>", "▁the", "▁lung", "s", "ing", "▁a", "#", "b"]
ORDINARY = range(4, len(PIECES))
Entries = list[dict[tuple[str, ...], tuple[float, float]]]


def random_entries(order: int, seed: int) -> Entries:
    """An arbitrary model; values in 1/1024, which float32 holds exactly. Every n-gram's first words are listed."""
    rng = random.Random(seed)
    number = lambda low, high: rng.randrange(low * 1024, high * 1024) / 1024  # noqa: E731
    names = ["<s>", "</s>", "<unk>", *PIECES[4:-1]]  # "b" is not known
    entries: Entries = [{(name,): (number(-5, 0), number(-2, 1)) for name in names}]
    for _ in range(order - 1):
        contexts = [words for words in entries[-1] if words[-1] != "</s>"]
        grams = {(*rng.choice(contexts), rng.choice(names[1:])) for _ in range(60)}
        entries.append({words: (number(-5, 0), number(-2, 1)) for words in sorted(grams)})
    return entries


def arpa(entries: Entries, spell=SPELLINGS[0]) -> str:
    special = {"<s>", "</s>", "<unk>"}
    lines = ["", "\\data\\", *(f"ngram {k}={len(part)}" for k, part in enumerate(entries, start=1)), ""]
    for k, part in enumerate(entries, start=1):
        lines.append(f"\\{k}-grams:")
        for words, (logp, back) in part.items():
            text = " ".join(word if word in special else spell(word) for word in words)
            lines.append(f"{logp}\t{text}" + (f"\t{back}" if k < len(entries) else ""))
        lines.append("")
    return "\n".join([*lines, "\\end\\", ""])


def reference(entries: Entries, history: tuple[str, ...], word: str) -> float:
    """log10 P(word | history), by the book."""
    history = history[max(0, len(history) - len(entries) + 1) :]
    if not history and (word,) not in entries[0]:
        word = "<unk>"
    if (*history, word) in entries[len(history)]:
        return entries[len(history)][(*history, word)][0]
    back = entries[len(history) - 1].get(history, (0.0, 0.0))[1]
    return back + reference(entries, history[1:], word)


def named(tokens: list[int]) -> tuple[str, ...]:
    return tuple("<unk>" if PIECES[token] in {"b", "<unk>"} else PIECES[token] for token in tokens)


def fault(path: Path, pieces: list[str] = PIECES) -> str:
    with pytest.raises(InputError) as caught:
        open_lm(path, pieces)
    return caught.value.code


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lm.arpa"


@pytest.fixture
def trained() -> NgramLm:
    return build_lm(sentences(), order=4, pieces=PIECES, blank=0)


def sentences() -> list[list[int]]:
    rng = random.Random(3)
    return [[rng.choice([4, 4, 5, 5, 5, 6, 7, 8, 9]) for _ in range(rng.randrange(1, 12))] for _ in range(80)]


@pytest.mark.parametrize("order", range(1, 7))
def test_scores_are_those_of_the_reference(path: Path, order: int) -> None:
    entries = random_entries(order, seed=order)
    path.write_text(arpa(entries))
    lm, rng = read_arpa(path, PIECES), random.Random(order)
    for _ in range(20):
        tokens = [rng.choice([3, *ORDINARY]) for _ in range(rng.randrange(0, 12))]
        words = ("<s>", *named(tokens), "</s>")
        expected = sum(reference(entries, words[:at], words[at]) for at in range(1, len(words)))
        assert lm.sentence(tokens) == pytest.approx(expected * math.log(10), abs=1e-6)


def test_a_batch_scores_as_its_members(path: Path) -> None:
    path.write_text(arpa(random_entries(4, seed=9)))
    lm, rng = read_arpa(path, PIECES), np.random.default_rng(0)
    states = np.repeat(lm.start()[None], 50, axis=0)
    for _ in range(6):
        tokens = rng.integers(4, len(PIECES), 50)
        scores, following = lm.score(states, tokens)
        single = [lm.score(states[i : i + 1], tokens[i : i + 1]) for i in range(50)]
        assert scores.tolist() == [float(score[0]) for score, _ in single]
        states = following


@pytest.mark.parametrize("spell", SPELLINGS)
def test_every_spelling_gives_the_same_scores(path: Path, spell) -> None:
    entries = random_entries(3, seed=1)
    path.write_text(arpa(entries))
    plain = read_arpa(path, PIECES).sentence([4, 6, 5, 7])
    path.write_text(arpa(entries, spell))
    assert read_arpa(path, PIECES).sentence([4, 6, 5, 7]) == plain


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_compressed_files_are_read(path: Path, compress) -> None:
    path.write_bytes(compress(arpa(random_entries(3, seed=2)).encode()))
    assert read_arpa(path, PIECES).order == 3


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_a_cut_compressed_file_is_refused(path: Path, compress) -> None:
    path.write_bytes(compress(arpa(random_entries(3, seed=2)).encode())[:-40])
    assert fault(path) == "E_LM_TRUNCATED"


def test_ngrams_of_foreign_words_are_left_out(path: Path) -> None:
    entries = random_entries(2, seed=4)
    entries[0][("zzz",)] = (-1.0, 0.0)
    entries[1][("zzz", "s")] = (-1.0, 0.0)
    path.write_text(arpa(entries))
    assert read_arpa(path, PIECES).counts[1] == len(entries[1]) - 1


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("-1.0\ts\t0.0", "nan\ts\t0.0", "E_LM_NUMBER"),
        ("-1.0\ts\t0.0", "-1.0\ts\tinf", "E_LM_NUMBER"),
        ("-1.0\ts\t0.0", "0.5\ts\t0.0", "E_LM_NUMBER"),
        ("-1.0\ts\t0.0", "x\ts\t0.0", "E_LM_NUMBER"),
        ("-1.0\ts\t0.0", "-1.0\t▁lung\t0.0", "E_LM_DUPLICATE"),
        ("-1.0\ts\t0.0", "-1.0", "E_LM_FORMAT"),
        ("-1.0\ts\t0.0", "-1.0\ts\t0.0" + " " * 9000, "E_LM_FORMAT"),
        ("-1.0\t<s>\t0.0", "-1.0\tS\t0.0", "E_LM_FORMAT"),
        ("-0.5\t▁lung s", "-0.5\t▁lung s\t0.0", "E_LM_FORMAT"),
        ("-0.5\t▁lung s", "-0.5\t<s> ▁lung", "E_LM_DUPLICATE"),
        ("-0.5\t▁lung s", "-0.5\t▁lung qqq", "E_LM_WORD"),
        ("-0.5\t▁lung s\n", "", "E_LM_COUNT"),
        ("-0.5\t▁lung s\n", "-0.5\t▁lung s\n-0.5\t▁lung ing\n", "E_LM_COUNT"),
        ("ngram 2=2", "ngram 2=3", "E_LM_COUNT"),
        ("ngram 2=2", "ngram 3=2", "E_LM_ORDER"),
        ("ngram 2=2", "ngram 2=-2", "E_LM_FORMAT"),
        ("ngram 2=2", "ngram 2=99999999999", "E_LM_TOO_LARGE"),
        ("ngram 2=2", "ngram 2=2\nngram 3=1", "E_LM_SECTION"),
        ("ngram 1=8\nngram 2=2\n", "", "E_LM_FORMAT"),
        ("\\2-grams:", "\\3-grams:", "E_LM_SECTION"),
        ("\\end\\", "", "E_LM_TRUNCATED"),
        ("\\data\\", "data", "E_LM_TRUNCATED"),
    ],
)
def test_a_broken_file_is_refused(path: Path, old: str, new: str, code: str) -> None:
    names = ["<s>", "</s>", "▁the", "▁lung", "s", "ing", "▁a", "#"]
    unigrams = {(name,): (-1.0, 0.0) for name in names}
    bigrams = {("<s>", "▁lung"): (-0.25, 0.0), ("▁lung", "s"): (-0.5, 0.0)}
    text = arpa([unigrams, bigrams])
    assert text.count(old) == 1
    path.write_text(text)
    assert read_arpa(path, PIECES).order == 2
    path.write_text(text.replace(old, new))
    assert fault(path) == code


def test_an_ngram_needs_its_context(path: Path) -> None:
    entries = random_entries(3, seed=5)
    context = next(iter(entries[2]))[:2]
    del entries[1][context]
    path.write_text(arpa(entries))
    assert fault(path) == "E_LM_CONTEXT"


def test_orders_above_ten_are_refused(path: Path) -> None:
    path.write_text("\\data\\\n" + "".join(f"ngram {k}=1\n" for k in range(1, 12)))
    assert fault(path) == "E_LM_ORDER"


def test_a_model_over_words_is_refused(path: Path) -> None:
    entries: Entries = [{(name,): (-1.0, 0.0) for name in ["<s>", "</s>", "lungs", "clear", "heart", "normal"]}]
    path.write_text(arpa(entries))
    assert fault(path) == "E_LM_VOCABULARY"


def test_a_vocabulary_with_doubles_is_refused(path: Path) -> None:
    path.write_text(arpa(random_entries(2, seed=1)))
    assert fault(path, [*PIECES, "▁the"]) == "E_LM_VOCABULARY"


def test_ids_without_a_piece_are_unknown(path: Path) -> None:
    path.write_text(arpa(random_entries(2, seed=1)))
    assert read_arpa(path, [*PIECES, "<unk>", "<unk>"]).unknown()[-2:].all()


def test_no_error_repeats_words_of_the_file(path: Path) -> None:
    path.write_text("\\data\\\nngram 1=1\n\\1-grams:\n-1 Smith John 5 6\n")
    with pytest.raises(InputError) as caught:
        read_arpa(path, PIECES)
    assert "Smith" not in caught.value.message


def test_a_missing_file_is_named_as_such(path: Path) -> None:
    assert fault(path) == "E_LM_MISSING"


@pytest.mark.parametrize("order", [1, 3, 6])
def test_the_compact_file_gives_the_same_scores(path: Path, order: int) -> None:
    path.write_text(arpa(random_entries(order, seed=7)))
    lm, rng = read_arpa(path, PIECES), random.Random(0)
    compact = path.with_suffix(".lm")
    save_lm(lm, compact)
    again = open_lm(compact, PIECES)
    for _ in range(10):
        tokens = [rng.choice(ORDINARY) for _ in range(8)]
        assert again.sentence(tokens) == lm.sentence(tokens)


def test_the_compact_file_stays_on_disk(path: Path, trained: NgramLm) -> None:
    save_lm(trained, path)
    keys = load_lm(path, PIECES).tables[3].keys
    assert isinstance(keys.base, np.memmap)
    assert not keys.flags.writeable


def test_the_compact_file_is_complete_or_absent(path: Path, trained: NgramLm) -> None:
    path.mkdir()
    with pytest.raises(OSError):  # noqa: PT011
        save_lm(trained, path)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda data: data[:-1], "E_LM_FORMAT"),
        (lambda data: data + b"\0", "E_LM_FORMAT"),
        (lambda data: data[:5], "E_LM_FORMAT"),
        (lambda data: b"x" + data[1:], "E_LM_FORMAT"),
        (lambda data: data[:8] + b"\2" + data[9:], "E_LM_VERSION"),
        (lambda data: data.replace(b"{", b"[", 1), "E_LM_FORMAT"),
        (lambda data: data[:12] + b"\xff\xff\xff\xff" + data[16:], "E_LM_FORMAT"),
    ],
)
def test_a_broken_compact_file_is_refused(path: Path, trained: NgramLm, change, code: str) -> None:
    save_lm(trained, path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError) as caught:
        load_lm(path, PIECES)
    assert caught.value.code == code


def test_a_compact_file_of_another_vocabulary_is_refused(path: Path, trained: NgramLm) -> None:
    save_lm(trained, path)
    assert fault(path, [*PIECES[:-1], "c"]) == "E_LM_VOCABULARY"


@pytest.mark.parametrize("order", range(1, 7))
def test_probabilities_of_a_built_model_sum_to_one(order: int) -> None:
    lm, rng = build_lm(sentences(), order=order, pieces=PIECES, blank=0), random.Random(order)
    for _ in range(10):
        states = lm.start()[None]
        for token in rng.choices(ORDINARY, k=rng.randrange(0, 8)):
            states = lm.score(states, np.array([token]))[1]
        tokens = np.array([3, *ORDINARY])
        chances, _ = lm.score(np.repeat(states, len(tokens), axis=0), tokens)
        assert np.exp(chances).sum() + np.exp(lm.end(states)).sum() == pytest.approx(1, abs=1e-5)


def test_a_built_bigram_model_has_kneser_ney_probabilities() -> None:
    """Worked by hand: 'the lung', 'the a', 'the lung'; too small a text, so the discounts are 0.5, 1 and 1.5."""
    lm = build_lm([[4, 5], [4, 8], [4, 5]], order=2, pieces=PIECES, blank=0)
    # Preceded by: the 1 word, lung 1, a 1, </s> 2 -> total 5; discounts .5 .5 .5 1 leave 2.5 / 5 for 9 words alike.
    lung = (1 - 0.5) / 5 + 2.5 / 5 / 9
    # After 'the': lung 2 times, a once -> (2 - 1) / 3 + (1 + .5) / 3 of the unigram.
    expected = (2 - 1) / 3 + 1.5 / 3 * lung
    state = lm.score(lm.start()[None], np.array([4]))[1]
    assert math.exp(lm.score(state, np.array([5]))[0][0]) == pytest.approx(expected, rel=1e-6)


def test_a_built_model_prefers_what_it_has_read() -> None:
    text = [[4, 5, 6], [8, 5, 6]] * 20 + sentences()[:5]
    lm = build_lm(text, order=3, pieces=PIECES, blank=0)
    assert lm.sentence([4, 5, 6]) > lm.sentence([6, 4, 5]) + 1


def test_a_built_model_survives_arpa(path: Path, trained: NgramLm) -> None:
    write_arpa(trained, path, PIECES)
    again = read_arpa(path, PIECES)
    assert again.counts == trained.counts
    for tokens in sentences()[:10]:
        assert again.sentence(tokens) == pytest.approx(trained.sentence(tokens), abs=1e-6)


def test_arpa_is_not_written_with_another_vocabulary(path: Path, trained: NgramLm) -> None:
    with pytest.raises(InputError, match="another vocabulary"):
        write_arpa(trained, path, PIECES[:-1])


@pytest.mark.parametrize(
    ("text", "order", "error", "code"),
    [
        ([], 3, InputError, "E_LM_TEXT"),
        ([[]], 3, InputError, "E_LM_TEXT"),
        ([[4, 0]], 3, UsageError, "E_LM_TOKENS"),
        ([[4, 2]], 3, UsageError, "E_LM_TOKENS"),
        ([[4, 11]], 3, UsageError, "E_LM_TOKENS"),
        ([[4, 12]], 3, UsageError, "E_LM_TOKENS"),
        ([[4, 99]], 3, UsageError, "E_LM_TOKENS"),
        ([[-1]], 3, UsageError, "E_LM_TOKENS"),
        ([[4]], 0, UsageError, "E_LM_ORDER"),
        ([[4]], 11, UsageError, "E_LM_ORDER"),
    ],
)
def test_nothing_is_built_from_nonsense(text, order: int, error: type[MedvoxError], code: str) -> None:
    with pytest.raises(error) as caught:
        build_lm(text, order=order, pieces=PIECES, blank=0)
    assert caught.value.code == code
