"""Many recordings: what is found in folders, several at once, files beside each other, and one bad among good ones."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import soundfile

from medvox import cli, recordings
from medvox.data.results import Transcript
from medvox.demo import SAMPLES
from medvox.errors import InputError, MedvoxError, ModelError, UsageError
from medvox.recordings import Dictation, find_recordings, transcribe_all

QUESTION = SAMPLES / "question.wav"
SAID = "which body region does this c t scan show"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings, a broken one between them, and what is none."""
    found = tmp_path / "sounds"
    (found / "deep").mkdir(parents=True)
    shutil.copy(QUESTION, found / "a.wav")
    (found / "b.wav").write_bytes(QUESTION.read_bytes()[:30])
    shutil.copy(QUESTION, found / "deep" / "c.wav")
    (found / "notes.txt").write_text("not a sound")
    return found


def test_a_folder_gives_its_recordings_in_order(folder: Path) -> None:
    (folder / "b.wav").unlink()
    assert list(find_recordings([folder]).values()) == [Path("a.wav"), Path("deep/c.wav")]


def test_hidden_files_and_links_are_passed_over(folder: Path) -> None:
    shutil.copy(QUESTION, folder / ".hidden.wav")
    (folder / ".cache").mkdir()
    shutil.copy(QUESTION, folder / ".cache" / "d.wav")
    (folder / "link.wav").symlink_to(QUESTION)
    assert not {".hidden.wav", "d.wav", "link.wav"} & {path.name for path in find_recordings([folder])}


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a sound")
    with pytest.raises(InputError, match="holds no recording") as caught:
        find_recordings([tmp_path])
    assert caught.value.code == "E_NO_RECORDING"


def test_two_recordings_of_one_name_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find_recordings([folder / "a.wav", Path(shutil.copy(QUESTION, folder / "deep" / "a.wav"))])
    assert caught.value.code == "E_SAME_NAME"


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_bad_file_leaves_the_others_as_they_are(folder: Path, jobs: int) -> None:
    files = [folder / "a.wav", folder / "b.wav", folder / "deep" / "c.wav"]
    heard = dict(transcribe_all(files, Dictation(), jobs=jobs))
    assert list(heard) == files
    first, bad, last = heard.values()
    assert isinstance(bad, MedvoxError)
    assert isinstance(first, Transcript)
    assert isinstance(last, Transcript)
    assert first.raw_text == last.raw_text == SAID


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_model_that_is_not_there_stops_everything(folder: Path, jobs: int) -> None:
    files = [folder / "a.wav", folder / "deep" / "c.wav"]
    with pytest.raises(MedvoxError) as caught:
        list(transcribe_all(files, Dictation(model=str(folder / "nothing")), jobs=jobs))
    assert caught.value.exit_code in {2, 4}


def test_a_process_that_was_lost_is_named() -> None:
    lost: Future[Transcript] = Future()
    lost.set_exception(BrokenProcessPool())
    with pytest.raises(ModelError, match="was lost") as caught:
        recordings._result(lost)
    assert caught.value.code == "E_WORKER_LOST"


def test_a_file_is_written_for_each_recording(folder: Path, tmp_path: Path) -> None:
    assert cli.main(["transcribe", str(folder), "--out", str(tmp_path / "out"), "--raw"]) == 3
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")) == [
        "a.wav.txt",
        "deep/c.wav.txt",
    ]
    assert (tmp_path / "out" / "deep" / "c.wav.txt").read_text() == f"{SAID}\n"


def test_what_was_written_is_not_heard_again(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "out" / "a.wav.txt"
    written.parent.mkdir()
    written.write_text("kept")
    call = ["transcribe", str(folder / "a.wav"), "--out", str(tmp_path / "out"), "--raw"]
    assert cli.main(call) == 0
    assert written.read_text() == "kept"
    assert "written already: 1" in capsys.readouterr().err
    assert cli.main([*call, "--overwrite"]) == 0
    assert written.read_text() == f"{SAID}\n"


def test_an_error_names_its_file_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["transcribe", str(folder)]) == 3
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert error.count("b.wav") == 1


def test_json_has_a_line_for_every_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["transcribe", str(folder), "--json"]) == 3
    good, bad, also_good = map(json.loads, capsys.readouterr().out.splitlines())
    assert good["raw_text"] == also_good["raw_text"] == SAID
    assert bad["file"] == "b.wav"
    assert bad["error"]["fix"]


def test_other_texts_come_with_nbest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question, rate_hz = soundfile.read(QUESTION)
    noisy = tmp_path / "noisy.wav"
    soundfile.write(noisy, question + 0.1 * np.random.default_rng(0).standard_normal(len(question)), rate_hz)
    assert cli.main(["transcribe", str(noisy), "--decoding", "beam.tuned", "--nbest", "3", "--json"]) == 0
    transcript = json.loads(capsys.readouterr().out)
    assert 1 <= len(transcript["alternatives"]) <= 2
    assert transcript["raw_text"] not in transcript["alternatives"]


@pytest.mark.parametrize("number", ["0", "9", "two"])
def test_an_nbest_out_of_range_is_refused(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["transcribe", str(QUESTION), "--nbest", number]) == 2
    assert "nbest" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--template", "chest-xray", "--format", "srt"],
        ["--template", "chest-xray", "--format", "vtt"],
        ["--template", "chest-xray", "--format", "verbose_json"],
        ["--diff", "said.txt", "--out", "folder"],
        ["--diff", "said.txt", "--format", "srt"],
        ["--diff", "said.txt", "--nbest", "2", "--json"],
        ["--raw", "--json"],
        ["--raw", "--format", "srt"],
        ["--nbest", "2"],
        ["--nbest", "2", "--format", "verbose_json"],
        ["--json", "--format", "txt"],
        ["--json", "--format", "vtt"],
        ["--overwrite"],
    ],
)
def test_options_that_would_have_no_effect_are_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["transcribe", "no-such.wav", "--model", "no-such-model", *options]) == 2
    printed = capsys.readouterr()
    assert options[0] in printed.out + printed.err
    assert "fix" in printed.out + printed.err


@pytest.mark.parametrize(
    ("options", "first"),
    [(["--json", "--format", "json"], "file"), (["--json", "--format", "verbose_json"], "task")],
)
def test_json_of_both_kinds_goes_with_json(options: list[str], first: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["transcribe", str(QUESTION), *options]) == 0
    assert next(iter(json.loads(capsys.readouterr().out))) == first


def test_files_in_one_form_and_lines_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["transcribe", str(QUESTION), "--json", "--format", "srt", "--out", str(tmp_path)]) == 0
    assert Path(json.loads(capsys.readouterr().out)["out"]).read_text().startswith("1\n00:00:00,")


def test_one_text_has_one_reference(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["transcribe", str(folder), "--diff", str(folder / "notes.txt")]) == 2
    assert "one recording" in capsys.readouterr().err


def test_a_folder_of_another_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "array.npy", np.zeros(3))
    assert cli.main(["transcribe", str(tmp_path)]) == 3
    assert "fix:" in capsys.readouterr().err


def test_the_rate_of_a_file_is_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000), 16_000)
    assert cli.main(["dictate", str(tmp_path / "a.wav"), "--rate", "8000"]) == 2
    assert "--rate" in capsys.readouterr().err
