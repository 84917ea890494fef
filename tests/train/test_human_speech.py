"""Recordings of people: nobody who is tested is learnt from, and texts are as the small model writes."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from made_sound import tone

from medvox.synth.corpus import load_corpus
from medvox.train import human_speech
from medvox.train.human_speech import DIGIT_STRINGS, TRAIN_SPEAKERS, make_human_shard

WORDS = ("zero", "one", "two")


def sound(frequency_hz: float, *, rate_hz: int = 16_000, channels: int = 1) -> bytes:
    file = io.BytesIO()
    samples = np.repeat(tone(0.5, rate_hz, frequency_hz)[:, None], channels, axis=1)
    soundfile.write(file, samples, rate_hz, format="WAV")
    return file.getvalue()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A learner and a stranger who read, three learners and a stranger who say digits."""
    folder = tmp_path / "archive"
    folder.mkdir()
    spoken = {
        "a.wav": (TRAIN_SPEAKERS[0], "THE AIR'S COLD, says he."),
        "b.wav": (TRAIN_SPEAKERS[0], "in 1463"),  # digits are said in more than one way
        "c.wav": ("stranger", "Printing, in 1463"),
        "d.wav": ("stranger", None),
    }
    with zipfile.ZipFile(folder / "books.zip", "w") as books:
        books.writestr("a.wav", sound(300, rate_hz=8000, channels=2))
        for number, name in enumerate(("b.wav", "c.wav", "d.wav")):
            books.writestr(name, sound(400 + 100 * number))
    rows = [{"file": f"books.zip/{name}", "speaker": who, "text": text} for name, (who, text) in spoken.items()]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = ["file,digit,word,speaker,split"]
    with zipfile.ZipFile(folder / "spoken_digits.zip", "w") as digits:
        for speaker in ("jackson", "nicolas", "theo", "george"):
            for split in ("train", "val"):
                for digit, word in enumerate(WORDS):
                    name = f"{digit}_{speaker}_{split}.wav"
                    digits.writestr(name, sound(300 + 10 * digit))
                    lines.append(f"{name},{digit},{word},{speaker},{split}")
    (folder / "spoken_digits.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_sentences_of_learners_become_lines_without_marks_and_digits(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    make_human_shard(archive, tmp_path / "corpus")
    corpus = load_corpus(tmp_path / "corpus", "train")
    assert [line.text for line in corpus.lines if "libri" in line.voice] == ["the air's cold says he"]
    assert len(corpus.samples(0)) == 8000  # half a second at 16 kHz, mixed to one channel
    assert np.abs(corpus.samples(0)).max() > 1000


def test_digit_strings_are_of_one_learner_each(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    make_human_shard(archive, tmp_path / "corpus")
    corpus = load_corpus(tmp_path / "corpus", "train")
    strings = [index for index, line in enumerate(corpus.lines) if "libri" not in line.voice]
    assert len(strings) == DIGIT_STRINGS
    assert {corpus.lines[index].voice for index in strings} == {"human jackson", "human nicolas", "human theo"}
    for index in strings:
        said = corpus.lines[index].text.split()
        assert 2 <= len(said) <= 7
        assert set(said) <= set(WORDS)
        assert 0.5 * len(said) <= len(corpus.samples(index)) / 16_000 <= 0.8 * len(said)  # pauses up to 0.3 s


def test_only_strangers_are_tested(archive: Path) -> None:
    assert [(one.speaker, one.text) for one in human_speech.tested_sentences(archive)] == [("stranger", "printing in")]
    digits = human_speech.tested_digits(archive)
    assert {one.speaker for one in digits} == {"george"}
    assert [one.text for one in digits] == list(WORDS)  # not the publisher's train part


def test_a_shard_that_is_there_is_kept(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "train-human.jsonl").write_text("")
    make_human_shard(archive, tmp_path)
    assert (tmp_path / "train-human.jsonl").read_text() == ""
    assert not (tmp_path / "train-human.npy").exists()


def test_without_the_archive_nothing_is_made(tmp_path: Path) -> None:
    make_human_shard(tmp_path / "nowhere", tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_archive_without_digits_gives_sentences_alone(archive: Path, tmp_path: Path) -> None:
    (archive / "spoken_digits.csv").unlink()
    (tmp_path / "corpus").mkdir()
    make_human_shard(archive, tmp_path / "corpus")
    assert len(load_corpus(tmp_path / "corpus", "train").lines) == 1
    assert human_speech.tested_digits(archive) == []


def test_the_real_archive_shares_no_person_between_the_sides(shared_data: Path, tmp_path: Path) -> None:
    archive = shared_data / "speech"
    make_human_shard(archive, tmp_path)
    learnt = load_corpus(tmp_path, "train")
    tested = [*human_speech.tested_sentences(archive), *human_speech.tested_digits(archive)]
    assert len({one.speaker for one in tested}) >= 5
    assert not {line.voice.removeprefix("human ") for line in learnt.lines} & {one.speaker for one in tested}
    assert not {line.text for line in learnt.lines if len(line.text) > 40} & {one.text for one in tested}
    for text in (*(line.text for line in learnt.lines), *(one.text for one in tested)):
        assert re.fullmatch(r"[a-z']+( [a-z']+)*", text)
    assert all(np.abs(one.samples).max() > 0.01 and len(one.samples) >= 1600 for one in tested)
