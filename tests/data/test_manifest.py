"""Manifests of recordings and their texts: what is taken, and what is refused with its place and reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from made_sound import tone

from medvox.data.limits import Limits
from medvox.data.manifest import BadRow, Bounds, Manifest, read_manifest, refuse_bad_rows
from medvox.errors import BudgetError, InputError


def sound(path: Path, seconds: float = 1.0, frequency_hz: float = 440.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(seconds, frequency_hz=frequency_hz), 16_000)
    return path


def lines(folder: Path, *rows: dict[str, Any] | str, name: str = "manifest.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def only_reason(manifest: Manifest) -> str:
    assert len(manifest.bad) == 1
    return manifest.bad[0].reason


def code_of(path: Path) -> str:
    with pytest.raises(InputError) as refusal:
        read_manifest(path)
    return refusal.value.code


def test_json_lines(tmp_path: Path) -> None:
    sound(tmp_path / "wav" / "a.wav")
    row = {"audio": "wav/a.wav", "text": " no  nodule ", "speaker": 7, "split": "Dev", "note": "x"}
    manifest = read_manifest(lines(tmp_path, "", row))
    (clip,) = manifest.clips
    assert (clip.text, clip.where, clip.split, clip.speaker) == ("no nodule", "line 2", "validation", "7")
    assert clip.duration_s == 1.0
    assert manifest.hours == pytest.approx(1 / 3600)
    assert not manifest.bad


def test_a_table_with_quoted_texts_and_a_mark_of_the_encoding(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        sound(tmp_path / f"{name}.wav", frequency_hz=300 + 100 * number)
    table = 'path,sentence\na.wav,"no nodule,\nno effusion"\nb.wav,"a ""mass"""\n'
    (tmp_path / "metadata.csv").write_text("\ufeff" + table, encoding="utf-8")
    clips = read_manifest(tmp_path).clips
    assert [(clip.text, clip.where) for clip in clips] == [
        ("no nodule, no effusion", "line 2"),
        ('a "mass"', "line 4"),
    ]


@pytest.mark.parametrize(("name", "delimiter"), [("m.csv", ";"), ("m.tsv", "\t")])
def test_other_delimiters(tmp_path: Path, name: str, delimiter: str) -> None:
    sound(tmp_path / "a.wav")
    (tmp_path / name).write_text(f"file_name{delimiter}transcription\r\na.wav{delimiter}no, nodule\r\n")
    assert read_manifest(tmp_path / name).clips[0].text == "no, nodule"


def test_a_table_in_utf_16(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    (tmp_path / "m.csv").write_bytes("audio,text\na.wav,fièvre\n".encode("utf-16"))
    assert read_manifest(tmp_path / "m.csv").clips[0].text == "fièvre"


def test_pairs_in_a_folder_and_what_lacks_its_partner(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "day/b", "lonely")):
        sound(tmp_path / f"{name}.wav", frequency_hz=300 + 100 * number)
    for name in ("a", "day/b", "orphan"):
        (tmp_path / f"{name}.txt").write_text(f"text of {name}\n")
    sound(tmp_path / ".hidden.wav")
    manifest = read_manifest(tmp_path)
    assert [(clip.where, clip.text) for clip in manifest.clips] == [
        ("a.wav", "text of a"),
        ("day/b.wav", "text of day/b"),
    ]
    assert manifest.bad == (
        BadRow(where="lonely.wav", reason="lonely.txt is missing"),
        BadRow(where="orphan.txt", reason="there is no sound of this name"),
    )


def test_two_sounds_of_one_text_are_both_refused(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    sound(tmp_path / "a.flac", frequency_hz=300)
    (tmp_path / "a.txt").write_text("a")
    assert [row.reason for row in read_manifest(tmp_path).bad] == ["2 sounds belong to a.txt"] * 2


def test_the_sounds_may_lie_elsewhere(tmp_path: Path) -> None:
    sound(tmp_path / "sounds" / "a.wav")
    path = lines(tmp_path, {"audio": "a.wav", "text": "a"})
    assert len(read_manifest(path, bounds=Bounds(sounds=tmp_path / "sounds")).clips) == 1
    assert only_reason(read_manifest(path)) == "the sound file is missing"


def test_a_file_with_its_whole_path_is_found_inside_the_folder(tmp_path: Path) -> None:
    path = lines(tmp_path, {"audio_filepath": str(sound(tmp_path / "a.wav")), "text": "a"})
    assert len(read_manifest(path).clips) == 1


def test_what_the_reader_of_sounds_remarks_is_counted(tmp_path: Path) -> None:
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", tone(1.0, 8000, 300 + number), 8000)
    rows = [{"audio": f"{number}.wav", "text": "a"} for number in range(2)]
    (flag,) = read_manifest(lines(tmp_path, *rows)).flags
    assert flag.code == "F_AUDIO_RESAMPLED"
    assert flag.text.startswith("2 of 2 recordings")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"audio": "a.wav", "text": "  "}, "the text is empty"),
        ({"audio": "a.wav"}, "the text is empty"),
        ({"text": "a"}, "names no sound file"),
        ({"audio": "a.wav", "text": "a", "split": "half"}, "the split is none of train, validation, test"),
        ({"audio": "../outside.wav", "text": "a"}, "the sound lies outside the folder"),
        ({"audio": "link.wav", "text": "a"}, "the sound lies outside the folder"),
        ({"audio": "a\0.wav", "text": "a"}, "the sound's path cannot be used"),
        ({"audio": "no.wav", "text": "a"}, "the sound file is missing"),
        ({"audio": ".", "text": "a"}, "the sound file is missing"),
        ({"audio": "short.wav", "text": "a"}, "the sound has 0.50 s; 0.6 to 30 s can be used"),
        ({"audio": "long.wav", "text": "a"}, "the sound has 31.00 s; 0.6 to 30 s can be used"),
        ("[1]", "is no JSON object"),
        ('{"audio": "a.wav", "te', "is not JSON"),
    ],
)
def test_a_row_that_cannot_be_used(tmp_path: Path, row: dict[str, Any] | str, reason: str) -> None:
    folder = tmp_path / "data"
    for name, seconds in (("a", 1.0), ("short", 0.5), ("long", 31.0), ("../outside", 1.0)):
        sound(folder / f"{name}.wav", seconds)
    (folder / "link.wav").symlink_to(folder.parent / "outside.wav")
    assert only_reason(read_manifest(lines(folder, row))) == reason


def test_an_unreadable_sound(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no sound at all")
    assert "not a sound file" in only_reason(read_manifest(lines(tmp_path, {"audio": "a.wav", "text": "a"})))


def test_a_silent_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000), 16_000)
    assert "is silent" in only_reason(read_manifest(lines(tmp_path, {"audio": "a.wav", "text": "a"})))


def test_a_sound_of_hours_is_not_read_whole(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.tile(tone(1.0, 8000), 90), 8000)
    reason = only_reason(read_manifest(lines(tmp_path, {"audio": "a.wav", "text": "a"})))
    assert reason.endswith("cut it into pieces")


def test_a_sound_that_is_there_twice(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    (tmp_path / "copy.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    names = ("a.wav", "./a.wav", "copy.wav")
    manifest = read_manifest(lines(tmp_path, *({"audio": name, "text": "a"} for name in names)))
    assert len(manifest.clips) == 1
    assert [str(row) for row in manifest.bad] == [
        "line 2: the sound is that of line 1",
        "line 3: the sound is the same as that of line 1",
    ]


def test_a_text_with_a_comma_and_no_quotes(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    (tmp_path / "m.csv").write_text("audio,text\na.wav,no nodule, no mass\n")
    assert only_reason(read_manifest(tmp_path / "m.csv")) == "has 3 fields, the header 2; texts with ',' need quotes"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("m.jsonl", b"", "E_MANIFEST_EMPTY"),
        ("m.csv", b"audio,text\n", "E_MANIFEST_EMPTY"),
        ("m.csv", b"a.wav,SECRET\n", "E_MANIFEST_COLUMNS"),
        ("m.csv", b"audio,text,text\na.wav,a,b\n", "E_MANIFEST_COLUMNS"),
        ("m.csv", b'audio,text\na.wav,"SECRET\n', "E_MANIFEST_UNREADABLE"),
        ("m.csv", "audio,text\na.wav,fi\xe8vre\n".encode("latin-1"), "E_MANIFEST_ENCODING"),
        ("m.jsonl", b'{"audio": "a.wav", "text": "\0"}', "E_MANIFEST_UNREADABLE"),
        ("m.xlsx", b"PK", "E_MANIFEST_KIND"),
    ],
)
def test_a_manifest_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refusal:
        read_manifest(tmp_path / name)
    assert refusal.value.code == code
    assert "SECRET" not in str(refusal.value)


def test_no_manifest_and_no_sounds(tmp_path: Path) -> None:
    assert code_of(tmp_path / "nowhere") == "E_MANIFEST_MISSING"
    assert code_of(tmp_path) == "E_MANIFEST_EMPTY"


def test_two_manifests_in_a_folder(tmp_path: Path) -> None:
    lines(tmp_path)
    lines(tmp_path, name="metadata.csv")
    assert code_of(tmp_path) == "E_MANIFEST_AMBIGUOUS"


def test_too_many_files(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text("a")
    with pytest.raises(BudgetError):
        read_manifest(tmp_path, bounds=Bounds(limits=Limits(files=3)))


def test_bad_rows_are_refused_by_number_and_place() -> None:
    bad = tuple(BadRow(where=f"line {number}", reason="why") for number in range(1, 9))
    with pytest.raises(InputError) as refusal:
        refuse_bad_rows(bad, 20, "m.csv")
    assert refusal.value.code == "E_MANIFEST_ROWS"
    assert refusal.value.message.startswith("8 of 20 rows of m.csv")
    assert "line 5: why; and 3 more" in refusal.value.message
    refuse_bad_rows((), 20, "m.csv")
