"""The command line as a user meets it: ``python -m medvox`` in its own process, good and bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medvox import cli, terminal
from medvox.data.dictation_files import shipped_templates
from medvox.errors import BudgetError, InputError, SetupError
from medvox.synth.slide import make_slide, write_slide

REPOSITORY = Path(__file__).parents[1]
HELP_SECONDS = 0.3
SAMPLE_QUESTION = Path(__file__).parents[1] / "src" / "medvox" / "samples" / "question.wav"


def run(*words: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src"), "OMP_NUM_THREADS": "1"} | (env or {})
    command = [sys.executable, "-m", "medvox", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def error_of(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The error object of a ``--json`` call, after checking its form."""
    error = json.loads(done.stdout)["error"]
    assert set(error) == {"code", "message", "fix"}
    assert error["code"].startswith("E_")
    assert error["message"]
    assert error["fix"]
    return error


def write_ct(folder: Path, *, slices: int = 6, size: int = 64, change: Callable[[Dataset], None] | None = None) -> Path:
    """A small axial CT series: a bright cylinder in air, 5 mm apart."""
    folder.mkdir(parents=True, exist_ok=True)
    study, series = generate_uid(), generate_uid()
    rows, columns = np.mgrid[:size, :size] - size / 2
    stored = np.where(rows**2 + columns**2 < (size / 3) ** 2, 1064, 24).astype(np.uint16)
    for index in range(slices):
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID, image.SeriesInstanceUID = CTImageStorage, generate_uid(), series
        image.StudyInstanceUID, image.Modality, image.SeriesDescription = study, "CT", "cylinder"
        image.PatientName, image.PatientID = "SECRET^NAME", "SECRET-ID"
        image.InstanceNumber, image.ImageType = index + 1, ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-32, -32, 5.0 * index]
        image.PixelSpacing, image.SliceThickness = [1.0, 1.0], 5.0
        image.RescaleSlope, image.RescaleIntercept, image.RescaleType = 1, -1024, "HU"
        image.Rows = image.Columns = size
        image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
        image.PixelData = stored.tobytes()
        if change:
            change(image)
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.save_as(folder / f"{index:03d}.dcm", enforce_file_format=True)
    return folder


def write_sound(path: Path, samples: np.ndarray, rate_hz: int = 16000) -> Path:
    soundfile.write(path, samples, rate_hz)
    return path


def tone(seconds: float, rate_hz: int) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate_hz)) / rate_hz)


# --- help, version, usage


def test_help_is_quick() -> None:
    def seconds() -> float:
        start = time.perf_counter()
        assert run("--help").returncode == 0
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < HELP_SECONDS


@pytest.mark.parametrize("command", ["ask", "transcribe", "inspect", "models", "doctor", "demo"])
def test_each_command_shows_an_example(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert f"example:\n  medvox {command}" in done.stdout


@pytest.mark.parametrize("command", ["transcribe", "dictate"])
def test_help_names_every_template_that_ships(command: str) -> None:
    shown = " ".join(run(command, "--help").stdout.split())
    assert f"{', '.join(template.name for template in shipped_templates())}, or a file" in shown


def test_version() -> None:
    assert run("--version").stdout == "medvox 0.1.0\n"


def test_import_loads_no_torch_and_no_numpy() -> None:
    check = "import sys, medvox, medvox.cli; sys.exit(bool({'torch', 'numpy', 'pydicom'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False, cwd=REPOSITORY / "src").returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["no-such-command"],
        ["ask"],
        ["ask", "What?", "a", "b"],
        ["ask", "--speech", "q.wav", "What?", "a"],
        ["ask", "What?", "a", "--max-new-tokens", "0"],
        ["inspect"],
    ],
)
def test_wrong_usage_exits_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert "\n  fix: " in printed.err


@pytest.mark.parametrize(
    ("words", "page"),
    [
        (["transcribe", "a.wav", "--no-such"], "medvox transcribe --help"),
        (["inspect", "ct", "more"], "medvox inspect --help"),
        (["--no-such"], "medvox --help"),
    ],
)
def test_the_fix_is_the_help_of_the_command(words: list[str], page: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    assert f"see `{page}`" in capsys.readouterr().err


def test_wrong_usage_is_an_error_object_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ask", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "E_USAGE"


# --- errors on their way out


def fail_with(error: BaseException) -> Callable[..., Any]:
    def verb(*args: object, **kwargs: object) -> None:
        raise error

    return verb


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("m", fix="f"), 3),
        (SetupError("m", fix="f"), 4),
        (BudgetError("m", fix="f"), 5),
        (KeyboardInterrupt(), 130),
        (ValueError("m"), 1),
    ],
)
def test_exit_codes(error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medvox.inspection.inspect", fail_with(error))
    assert cli.main(["inspect", "x"]) == code


def test_an_unexpected_error_does_not_quote_the_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("medvox.inspection.inspect", fail_with(ValueError("SECRET^NAME")))
    assert cli.main(["inspect", "x", "--json"]) == 1
    printed = capsys.readouterr()
    assert "SECRET" not in printed.out + printed.err
    assert json.loads(printed.out)["error"]["code"] == "E_UNEXPECTED"


class Terminal:
    """A stream that says it is a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


def test_progress_shows_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    bar = terminal.ProgressBar(stream)  # type: ignore[arg-type]
    bar("read slices", 3, 6)
    assert "read slices" in stream.text
    assert "3/6" in stream.text
    assert "\x1b[36m" in stream.text
    bar.clear()
    assert stream.text.endswith("\r")


def test_progress_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    terminal.ProgressBar(stream)("read slices", 3, 6)  # type: ignore[arg-type]
    assert "\x1b" not in stream.text


def test_progress_is_silent_when_piped(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        terminal.ProgressBar(stream)("read slices", 3, 6)
    assert (tmp_path / "log").read_text() == ""


# --- scans


def test_inspect_a_good_series(tmp_path: Path) -> None:
    done = run("inspect", write_ct(tmp_path / "ct"), "--json")
    assert done.returncode == 0
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert set(found) == {"series", "files", "identity", "not_used"}
    (series,) = found["series"]
    expected = {"uid", "modality", "description", "shape", "spacing_mm", "affine_lps", "verdict", "flags", "files"}
    assert expected <= set(series)
    assert series["shape"] == [6, 64, 64]
    assert series["spacing_mm"] == [5.0, 1.0, 1.0]
    assert "SECRET" not in done.stdout


def test_inspect_prints_a_table(tmp_path: Path) -> None:
    done = run("inspect", write_ct(tmp_path / "ct"))
    assert done.returncode == 0
    assert "6 x 64 x 64" in done.stdout


def test_ask_a_missing_path(tmp_path: Path) -> None:
    done = run("ask", "What is this?", tmp_path / "gone", "--json")
    assert done.returncode == 3
    assert error_of(done)["code"] == "E_INPUT_MISSING"


def test_ask_an_empty_folder(tmp_path: Path) -> None:
    done = run("ask", "What is this?", tmp_path, "--json")
    assert done.returncode == 3
    assert error_of(done)["code"] == "E_INPUT_EMPTY"


def test_ask_a_text_file_named_dcm(tmp_path: Path) -> None:
    (tmp_path / "note.dcm").write_text("SECRET^NAME, not an image")
    done = run("ask", "What is this?", tmp_path / "note.dcm", "--json")
    assert done.returncode == 3
    assert "SECRET" not in done.stdout + done.stderr
    assert error_of(done)["code"] == "E_ASK_KIND"


def test_inspect_names_the_file_it_left_out(tmp_path: Path) -> None:
    folder = write_ct(tmp_path / "ct")
    (folder / "note.dcm").write_bytes(b"\x07\x00\x01 neither an image nor a text")
    found = json.loads(run("inspect", folder, "--json").stdout)
    assert [Path(left_out["path"]).name for left_out in found["not_used"]] == ["note.dcm"]


def test_ask_a_truncated_file(tmp_path: Path) -> None:
    folder = write_ct(tmp_path / "ct")
    cut = folder / "002.dcm"
    cut.write_bytes(cut.read_bytes()[:3000])
    done = run("ask", "What is this?", folder, "--json")
    assert done.returncode == 3
    error = error_of(done)
    assert error["code"] == "E_DICOM_TRUNCATED"
    assert "002.dcm" in error["message"]
    assert "SECRET" not in done.stdout + done.stderr


def test_ask_a_ct_without_rescale_intercept(tmp_path: Path) -> None:
    folder = write_ct(tmp_path / "ct", change=lambda image: image.__delattr__("RescaleIntercept"))
    done = run("ask", "What is this?", folder, "--json")
    assert done.returncode == 3
    assert error_of(done)["code"] == "E_DICOM_RESCALE_MISSING"


def test_ask_two_series_lists_them(tmp_path: Path) -> None:
    write_ct(tmp_path / "a")
    write_ct(tmp_path / "b", slices=4)
    uids = [series["uid"] for series in json.loads(run("inspect", tmp_path, "--json").stdout)["series"]]
    assert len(uids) == 2
    done = run("ask", "What is this?", tmp_path, "--json")
    assert done.returncode == 2
    error = error_of(done)
    assert error["code"] == "E_SERIES_CHOICE"
    assert all(uid in error["message"] + error["fix"] for uid in uids)
    assert "--series" in error["fix"]


# --- models


def test_a_known_model_that_is_not_here(tmp_path: Path) -> None:
    folder = write_ct(tmp_path / "ct")
    env = {"MEDVOX_MODELS": str(tmp_path / "models")}
    done = run("ask", "What is this?", folder, "--model", "google/medgemma-1.5-4b-it", "--json", env=env)
    assert done.returncode == 4
    assert error_of(done)["code"] == "E_MODEL_MISSING"


def test_an_unknown_model(tmp_path: Path) -> None:
    done = run("ask", "What is this?", write_ct(tmp_path / "ct"), "--model", "no-such-model", "--json")
    assert done.returncode == 4
    error = error_of(done)
    assert error["code"] == "E_MODEL_UNKNOWN"
    assert "medvox-mini-vlm" in error["fix"]


def test_models_list_names_the_shipped_ones() -> None:
    done = run("models", "list", "--json")
    assert done.returncode == 0
    models = {model["name"]: model for model in json.loads(done.stdout)["models"]}
    assert models["medvox-mini-vlm"]["path"]
    assert models["medvox-mini-asr"]["path"]


def test_doctor_finds_a_sound_installation() -> None:
    done = run("doctor", "--json")
    report = json.loads(done.stdout)
    assert [check for check in report["checks"] if check["state"] == "bad"] == []
    assert done.returncode == 0


# --- sound


def test_transcribe_an_empty_recording(tmp_path: Path) -> None:
    done = run("transcribe", write_sound(tmp_path / "empty.wav", np.zeros(0)), "--json")
    assert done.returncode == 3
    assert error_of(done)["code"] == "E_AUDIO_EMPTY"


def test_transcribe_silence(tmp_path: Path) -> None:
    done = run("transcribe", write_sound(tmp_path / "silence.wav", np.zeros(32000)), "--json")
    assert done.returncode == 3
    assert error_of(done)["code"] == "E_AUDIO_SILENT"


def test_transcribe_8_khz_stereo(tmp_path: Path) -> None:
    stereo = np.stack([tone(2, 8000), tone(2, 8000)], axis=1)
    done = run("transcribe", write_sound(tmp_path / "stereo.wav", stereo, 8000), "--json")
    assert done.returncode == 0, done.stdout
    transcript = json.loads(done.stdout)
    expected = {"file", "text", "raw_text", "words", "duration_s", "model", "flags"}
    assert expected <= set(transcript)
    assert transcript["duration_s"] == pytest.approx(2.0, abs=0.01)


def test_transcribe_goes_on_after_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_text("not sound")
    good = write_sound(tmp_path / "good.wav", tone(1, 16000))
    done = run("transcribe", tmp_path / "bad.wav", good, "--json")
    assert done.returncode == 3
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first["file"] == "bad.wav"
    assert first["error"]["code"].startswith("E_")
    assert second["file"] == "good.wav"


def test_transcribe_with_a_model_that_is_not_here(tmp_path: Path) -> None:
    good = write_sound(tmp_path / "good.wav", tone(1, 16000))
    done = run("transcribe", good, "--model", "google/medasr", "--json", env={"MEDVOX_MODELS": str(tmp_path)})
    assert done.returncode == 4
    assert error_of(done)["code"] == "E_MODEL_MISSING"


def test_transcribe_with_a_model_for_images(tmp_path: Path) -> None:
    good = write_sound(tmp_path / "good.wav", tone(1, 16000))
    done = run("transcribe", good, "--model", "medvox-mini-vlm", "--json")
    assert done.returncode == 4
    assert error_of(done)["code"] == "E_MODEL_TYPE"


def test_plan_prints_pictures_tokens_memory_and_seconds(tmp_path: Path) -> None:
    done = run("plan", write_ct(tmp_path / "ct"), "--question", "Is there a stone?")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ct", "pictures", "tokens", "memory", "seconds"]


def test_plan_refuses_what_does_not_fit(tmp_path: Path) -> None:
    ct = write_ct(tmp_path / "ct")
    done = run("plan", *[ct] * 60, "--json")
    assert done.returncode == 0  # the preset thins a stack to 85 slices
    done = run("plan", ct, "--model", "nobody/nothing", "--json")
    assert (done.returncode, error_of(done)["code"]) == (4, "E_MODEL_UNKNOWN")


def test_prep_writes_pictures_and_a_receipt(tmp_path: Path) -> None:
    done = run("prep", write_ct(tmp_path / "ct"), "--out", tmp_path / "out", "--size", "32")
    assert done.returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *[f"{number:04}.png" for number in range(1, 7)],
        "receipt.json",
    ]


def test_prep_of_a_slide_with_an_absurd_pixel_size_says_what_to_add(tmp_path: Path) -> None:
    write_slide(make_slide(1200, 1000, mpp_um=352.8), tmp_path / "slide.tiff")
    done = run("prep", tmp_path / "slide.tiff", "--out", tmp_path / "out")
    assert done.returncode == 3
    assert "--mpp" in done.stderr
    assert not (tmp_path / "out").exists()


def test_convert_writes_nifti_where_it_is_told(tmp_path: Path) -> None:
    done = run("convert", write_ct(tmp_path / "ct"), tmp_path / "ct.nii.gz", "--json")
    assert done.returncode == 0
    entry = json.loads(done.stdout)
    assert (entry["file"], entry["shape"]) == (str(tmp_path / "ct.nii.gz"), [64, 64, 6])


def test_convert_all_lists_what_it_could_not_write(tmp_path: Path) -> None:
    folder = write_ct(tmp_path / "ct")
    (folder / "003.dcm").unlink()  # a slice is missing
    done = run("convert", folder, tmp_path / "out", "--all", "--json")
    assert done.returncode == 3
    (entry,) = json.loads(done.stdout)
    assert (entry["file"], entry["error"]["code"]) == (None, "E_DICOM_SLICE_MISSING")


def test_convert_takes_either_all_or_one_series(tmp_path: Path) -> None:
    done = run("convert", write_ct(tmp_path / "ct"), tmp_path / "out", "--all", "--series", "1.2", "--json")
    assert (done.returncode, error_of(done)["code"]) == (2, "E_USAGE")


def test_deid_writes_copies_and_tells_what_it_held_back(tmp_path: Path) -> None:
    folder = write_ct(tmp_path / "ct")
    (folder / "other.bin").write_bytes(b"\x07\x00\x01\x02" * 9)
    done = run("deid", folder, tmp_path / "clean", "--key", tmp_path / "key")
    assert done.returncode == 0
    assert done.stdout.startswith("6 written, 1 skipped") or done.stdout.startswith("1 skipped, 6 written")
    assert "E_DICOM_UNREADABLE" in done.stderr
    assert not any(b"SECRET" in file.read_bytes() for file in (tmp_path / "clean").rglob("*") if file.is_file())


def test_deid_does_not_write_into_its_input(tmp_path: Path) -> None:
    folder = write_ct(tmp_path / "ct")
    done = run("deid", folder, folder / "clean", "--json")
    assert (done.returncode, error_of(done)["code"]) == (2, "E_DEID_TARGET")


def test_transcribe_as_subtitles() -> None:
    done = run("transcribe", SAMPLE_QUESTION, "--format", "srt")
    assert done.returncode == 0
    assert done.stdout.startswith("1\n00:00:00,")


def test_transcribe_against_what_was_said(tmp_path: Path) -> None:
    (tmp_path / "said.txt").write_text("which body region does this c t scan show\n")
    done = run("transcribe", SAMPLE_QUESTION, "--diff", tmp_path / "said.txt")
    assert "WER 0.0 %" in done.stdout


def test_a_language_model_is_learned_and_used(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("which body region does this c t scan show\n")
    done = run("models", "lm", tmp_path / "texts.txt", "--out", tmp_path / "a.lm", "--json")
    assert json.loads(done.stdout)["lines"] == 1
    done = run("transcribe", SAMPLE_QUESTION, "--lm", tmp_path / "a.lm", "--raw")
    assert done.stdout == "which body region does this c t scan show\n"


def test_figures_in_a_text_are_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("which body region\na nodule of 5 mm\n")
    done = run("models", "lm", tmp_path / "texts.txt", "--out", tmp_path / "a.lm")
    assert "learned from 1 lines, 1 left out" in done.stdout
    assert "note: left out for their figures: 1" in done.stderr


@pytest.mark.parametrize("there", [True, False])
def test_what_is_no_language_model_is_named(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "reports.txt").write_text("The liver is normal.\n" * 20)
    done = run("transcribe", SAMPLE_QUESTION, "--lm", tmp_path / "reports.txt", "--json")
    assert done.returncode == 3
    error = error_of(done)
    assert error["message"].count("reports.txt") == 1
    assert ("no language model" in error["message"], "models lm" in error["fix"]) == (there, there)


def test_a_language_model_needs_a_place_to_go(tmp_path: Path) -> None:
    done = run("models", "lm", tmp_path / "texts.txt", "--json")
    assert (done.returncode, error_of(done)["code"]) == (2, "E_USAGE")
