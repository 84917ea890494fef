"""Subtitle formats, read back by a small parser of their own."""

from __future__ import annotations

import html
import json
import random
import re
import time
from dataclasses import dataclass

import pytest

from medvox.data.results import Transcript, Word
from medvox.report.subtitles import as_srt, as_verbose_json, as_vtt

STAMP = r"(\d{2,}):(\d{2}):(\d{2})([.,])(\d{3})"


@dataclass(frozen=True, kw_only=True)
class Cue:
    start: float
    end: float
    lines: list[str]


def seconds(stamp: str, mark: str) -> float:
    match = re.fullmatch(STAMP, stamp)
    assert match is not None
    assert match[4] == mark
    hours, minutes, whole, _, thousandths = match.groups()
    assert int(minutes) < 60 > int(whole)
    return int(hours) * 3600 + int(minutes) * 60 + int(whole) + int(thousandths) / 1000


def cue_of(lines: list[str], mark: str) -> Cue:
    start, arrow, end = lines[0].split(" ")
    assert arrow == "-->"
    return Cue(start=seconds(start, mark), end=seconds(end, mark), lines=lines[1:])


def read_srt(text: str) -> list[Cue]:
    cues = []
    for number, block in enumerate((block for block in text.split("\n\n") if block.strip()), start=1):
        lines = block.rstrip("\n").split("\n")
        assert lines[0] == str(number)
        cues.append(cue_of(lines[1:], ","))
    return cues


def read_vtt(text: str) -> list[Cue]:
    head, *blocks = text.split("\n\n")
    assert head.rstrip("\n") == "WEBVTT"
    cues = [cue_of(block.rstrip("\n").split("\n"), ".") for block in blocks if block.strip()]
    for cue in cues:
        assert not any("<" in line or "-->" in line for line in cue.lines)
    return [Cue(start=cue.start, end=cue.end, lines=[html.unescape(line) for line in cue.lines]) for cue in cues]


def letters(cues: list[Cue]) -> str:
    return "".join("".join(cue.lines) for cue in cues).replace(" ", "")


def check(cues: list[Cue]) -> None:
    """What every list of cues must hold to."""
    before = 0.0
    for cue in cues:
        assert before <= cue.start < cue.end <= cue.start + 7.0005
        assert 1 <= len(cue.lines) <= 2
        assert all(0 < len(line) <= 42 for line in cue.lines)
        before = cue.end


def words_of(raw: str, *, each_s: float = 0.4, start_s: float = 0.0) -> tuple[Word, ...]:
    return tuple(
        Word(word=text, start_s=start_s + each_s * place, end_s=start_s + each_s * (place + 1), confidence=0.9)
        for place, text in enumerate(raw.split())
    )


def transcript(text: str, words: tuple[Word, ...] = (), duration_s: float | None = None) -> Transcript:
    if duration_s is None:
        duration_s = words[-1].end_s if words else 0.0
    raw = " ".join(word.word for word in words)
    return Transcript(file="a.wav", text=text, raw_text=raw, words=words, duration_s=duration_s, model="m", flags=())


SHORT = transcript("No effusion. Heart is normal.", words_of("no effusion period heart is normal period"))


def test_a_sentence_is_a_cue_with_the_times_of_its_words() -> None:
    cues = read_srt(as_srt(SHORT))
    assert [cue.lines for cue in cues] == [["No effusion."], ["Heart is normal."]]
    assert [(cue.start, cue.end) for cue in cues] == [(0.0, 1.2), (1.2, 2.8)]


def test_srt_and_vtt_hold_the_same_cues() -> None:
    assert read_srt(as_srt(SHORT)) == read_vtt(as_vtt(SHORT))


@pytest.mark.parametrize("text", ["", " ", "\n\n"])
def test_no_text_gives_no_cue(text: str) -> None:
    empty = transcript(text, words_of("scratch that"))
    assert as_srt(empty) == ""
    assert as_vtt(empty) == "WEBVTT\n"
    assert as_verbose_json(empty)["segments"] == []


def test_one_short_word_stays_for_a_second_if_there_is_time() -> None:
    cues = read_srt(as_srt(transcript("Normal", words_of("normal", each_s=0.1), duration_s=5.0)))
    assert cues == [Cue(start=0.0, end=1.0, lines=["Normal"])]


def test_a_short_cue_ends_before_the_next_one() -> None:
    words = (*words_of("yes", each_s=0.1), *words_of("no", start_s=0.7, each_s=0.1))
    first, second = read_srt(as_srt(transcript("Yes. No.", words)))
    assert (first.end, second.start) == (0.7, 0.7)


def test_a_cue_does_not_outlast_the_recording() -> None:
    (cue,) = read_srt(as_srt(transcript("yes", words_of("yes", each_s=0.3))))
    assert cue.end == 0.3


def test_a_pause_splits() -> None:
    words = (*words_of("the liver"), *words_of("is large", start_s=1.31))
    assert [cue.lines for cue in read_srt(as_srt(transcript("The liver is large", words)))] == [
        ["The liver"],
        ["is large"],
    ]


def test_a_short_pause_does_not_split() -> None:
    words = (*words_of("the liver"), *words_of("is large", start_s=1.3))
    assert len(read_srt(as_srt(transcript("The liver is large", words)))) == 1


def test_a_new_line_splits() -> None:
    text = "FINDINGS\n\nthe liver"
    assert [cue.lines for cue in read_srt(as_srt(transcript(text, words_of("findings the liver"))))] == [
        ["FINDINGS"],
        ["the liver"],
    ]


def test_a_decimal_point_does_not_split() -> None:
    assert len(read_srt(as_srt(transcript("a 3.5 cm cyst", words_of("a 3.5 cm cyst"))))) == 1


def test_words_without_punctuation_fill_two_balanced_lines() -> None:
    raw = " ".join(["abcdefghi"] * 40)
    cues = read_vtt(as_vtt(transcript(raw, words_of(raw, each_s=0.2))))
    check(cues)
    assert [len(line) for line in cues[0].lines] == [39, 39]
    assert letters(cues) == raw.replace(" ", "")


def test_slow_speech_splits_at_seven_seconds() -> None:
    cues = read_srt(as_srt(transcript("a b c d", words_of("a b c d", each_s=3.0))))
    assert [cue.lines for cue in cues] == [["a b"], ["c d"]]


def test_a_word_that_is_held_too_long_is_cut_at_seven_seconds() -> None:
    (cue,) = read_srt(as_srt(transcript("hum", words_of("hum", each_s=20.0))))
    assert cue.end == 7.0


def test_a_word_longer_than_a_line_is_broken() -> None:
    long = "x" * 200
    cues = read_srt(as_srt(transcript(f"a {long} b", words_of(f"a {long} b", each_s=2.0))))
    check(cues)
    assert letters(cues) == f"a{long}b"


def test_vtt_escapes_what_it_must() -> None:
    text = "a<b>c & --> &amp;"
    written = as_vtt(transcript(text, words_of(text)))
    assert "a&lt;b&gt;c &amp; --&gt; &amp;amp;" in written
    assert letters(read_vtt(written)) == text.replace(" ", "")


@pytest.mark.parametrize("text", ["-->", "--->", "a-->b --->>"])
def test_srt_text_holds_no_arrow(text: str) -> None:
    written = as_srt(transcript(text, words_of(text)))
    assert written.count("-->") == 1


def test_text_cannot_forge_a_cue() -> None:
    text = "yes\n\n2\n00:00:09,000 --> 00:00:10,000\nno"
    check(read_srt(as_srt(transcript(text, words_of("yes no")))))
    check(read_vtt(as_vtt(transcript(text, words_of("yes no")))))


@pytest.mark.parametrize("text", ["Überprüfung 心臓 é 🫀.", "a\u2028b", "a\x00b \x1b[31mc", "\ud800x"])
def test_unicode_and_control_characters(text: str) -> None:
    written = as_vtt(transcript(text, words_of("a b c d")))
    check(read_vtt(written))
    written.encode()
    assert "\x1b" not in written
    assert "\x00" not in written


def test_formatting_that_joins_words_takes_all_their_time() -> None:
    words = words_of("the m r i today")
    segment = as_verbose_json(transcript("MRI", words[1:4]))["segments"][0]
    assert (segment["start"], segment["end"]) == (0.4, 1.6)


def test_inserted_text_shares_the_pause_where_it_stands() -> None:
    words = (*words_of("before", each_s=1.0), *words_of("after", start_s=3.0, each_s=1.0))
    cues = read_srt(as_srt(transcript("before.\none two.\nafter", words)))
    assert [(cue.start, cue.end) for cue in cues] == [(0.0, 1.0), (1.0, 3.0), (3.0, 4.0)]


def test_a_text_without_word_times_shares_the_whole_duration() -> None:
    cues = read_srt(as_srt(transcript("One two. Three four.", duration_s=8.0)))
    assert [(cue.start, cue.end) for cue in cues] == [(0.0, 4.0), (4.0, 8.0)]


def test_hours_are_counted() -> None:
    (cue,) = read_srt(as_srt(transcript("late", words_of("late", start_s=7325.5))))
    assert cue.start == 7325.5


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -3.0])
def test_times_that_make_no_sense_still_give_cues_in_order(bad: float) -> None:
    words = tuple(Word(word=text, start_s=bad, end_s=start, confidence=bad) for start, text in enumerate("abc"))
    spoken = transcript("A. B. C.", words, duration_s=bad)
    check(read_srt(as_srt(spoken)))
    json.dumps(as_verbose_json(spoken), allow_nan=False)


@pytest.mark.parametrize("seed", range(40))
def test_any_transcript_gives_sound_cues(seed: int) -> None:
    dice = random.Random(seed)
    pieces = ["mass", "3.5", "mm,", "liver.", "no?", "a" * 50, "\n\n", "&", "<i>", "心", "-->", "x-ray", "(left)."]
    text = " ".join(dice.choice(pieces) for _ in range(dice.randrange(120)))
    now, words = 0.0, []
    for piece in text.split():
        if dice.random() < 0.8:
            start = now + dice.choice([0, 0, 0, 0.3, 0.8])
            now = start + dice.choice([0, 0.04, 0.4, 2.0])
            words.append(Word(word=piece.lower().strip(".,?"), start_s=start, end_s=now, confidence=dice.random()))
    spoken = transcript(text, tuple(words), duration_s=now)
    cues = read_vtt(as_vtt(spoken))
    check(cues)
    check(read_srt(as_srt(spoken)))
    assert letters(cues) == "".join(text.split())
    verbose = as_verbose_json(spoken)
    assert " ".join(segment["text"] for segment in verbose["segments"]) == " ".join(text.split())


def test_verbose_json_has_the_shape_of_openai() -> None:
    verbose = as_verbose_json(SHORT)
    assert {name: verbose[name] for name in ("task", "language", "duration", "text")} == {
        "task": "transcribe",
        "language": "english",
        "duration": 2.8,
        "text": SHORT.text,
    }
    assert [segment["text"] for segment in verbose["segments"]] == ["No effusion.", "Heart is normal."]
    assert verbose["segments"][1] == {
        "id": 1,
        "seek": 120,
        "start": 1.2,
        "end": 2.8,
        "text": "Heart is normal.",
        "avg_logprob": -0.1054,
        "compression_ratio": 0.6667,
    }
    assert verbose["words"][1] == {"word": "effusion", "start": 0.4, "end": 0.8}


def test_verbose_json_invents_no_field() -> None:
    segment = as_verbose_json(transcript("One two.", duration_s=8.0))["segments"][0]
    assert not {"tokens", "temperature", "no_speech_prob", "avg_logprob"} & segment.keys()


def test_segments_are_at_most_30_s() -> None:
    raw = " ".join(["word"] * 200)
    segments = as_verbose_json(transcript(raw, words_of(raw)))["segments"]
    assert all(segment["end"] - segment["start"] <= 30.0 for segment in segments)
    assert len(segments) == 3


def test_two_hours_are_written_in_a_moment() -> None:
    dice = random.Random(0)
    raw = " ".join(f"w{dice.randrange(2000)}" for _ in range(15_000))
    text = raw.replace("w7 ", "seven seven ")
    start = time.process_time()
    check(read_srt(as_srt(transcript(text, words_of(raw)))))
    assert time.process_time() - start < 3.0
