"""answer.py: the whole path with the small model that ships, and everything that must be refused."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medvox.answer import ask, ask_volume
from medvox.catalog import WEIGHTS
from medvox.conversion import convert
from medvox.data.results import Answer, Transcript
from medvox.demo import SAMPLES
from medvox.errors import InputError, MedvoxError, SetupError, UsageError
from medvox.synth.ct import generate_ct
from medvox.types import Flag

CT_SAMPLE = SAMPLES / "ct_abdomen"
QUESTION = "Which body region does this CT scan show?"


@pytest.fixture(scope="module")
def answer() -> Answer:
    return ask(QUESTION, SAMPLES / "ct_abdomen")


def test_the_shipped_series_is_recognised(answer: Answer) -> None:
    assert answer.label == "abdomen"
    assert answer.probability is not None
    assert 0 < answer.probability <= 1


def test_the_receipt_tells_what_went_in(answer: Answer) -> None:
    receipt = answer.receipt
    assert len(receipt["sources"]) == 20
    assert all(len(source["sha256"]) == 64 for source in receipt["sources"])
    assert receipt["slices"] == {"used": list(range(20)), "dropped": []}
    assert receipt["preset"]["name"] == "ct.medgemma-1.5"
    assert receipt["windows_hu"] == [[-1024, 1024], [-135, 215], [0, 80]]
    assert receipt["tokens"]["image"] == 20 * 20
    assert receipt["model"]["id"] == "medvox-mini-vlm"
    assert set(receipt["seconds"]) >= {"read", "prepare", "vision", "prefill", "decode"}
    assert "Research use only" in receipt["research_use"]


def test_the_contract_has_its_fields(answer: Answer) -> None:
    fields = {"answer", "label", "probability", "boxes", "flags", "transcript", "receipt"}
    assert set(answer.as_dict()) == fields


def test_a_real_scan_is_flagged_as_outside_the_training(answer: Answer) -> None:
    assert "F_TRAINED_ON_GENERATED" in {flag.code for flag in answer.flags}


def test_a_generated_scan_is_not() -> None:
    case = generate_ct(2_020_003, region="pelvis", slices=8)
    found = ask_volume("Which body region is shown?", case.volume)
    assert not {"F_TRAINED_ON_GENERATED", "F_QUESTION_NOT_LEARNED"} & {flag.code for flag in found.flags}


def test_the_same_question_gives_the_same_answer(answer: Answer) -> None:
    again = ask(QUESTION, SAMPLES / "ct_abdomen")
    assert (again.answer, again.probability) == (answer.answer, answer.probability)


def test_noise_is_flagged_as_unlike_any_training_scan() -> None:
    volume = generate_ct(2_020_004, region="chest", slices=8).volume
    noise = np.random.default_rng(0).integers(-1000, 1000, volume.voxels.shape).astype(np.int16)
    found = ask_volume("Which body region is shown?", replace(volume, voxels=noise))
    assert "F_OUT_OF_DOMAIN" in {flag.code for flag in found.flags}


def test_a_question_that_was_never_taught_is_flagged() -> None:
    case = generate_ct(2_020_000, region="head", slices=6)
    found = ask_volume("Is there appendicitis?", case.volume)
    assert "F_QUESTION_NOT_LEARNED" in {flag.code for flag in found.flags}


def test_a_transcript_travels_into_the_answer_with_its_flags() -> None:
    case = generate_ct(2_020_001, region="head", slices=6)
    flag = Flag(code="F_TRANSCRIPT_UNSURE", text="1 of 3 words are unsure")
    spoken = Transcript(
        file="q.wav", text="which body region is this", raw_text="which body region is this", words=(), duration_s=2.0,
        model="medvox-mini-asr", flags=(flag,),
    )  # fmt: skip
    found = ask_volume(spoken, case.volume)
    assert found.transcript is spoken
    assert flag in found.flags
    assert found.receipt["question"] == "which body region is this"


def test_thinned_slices_are_flagged() -> None:
    case = generate_ct(2_020_002, region="abdomen", findings=(), slices=90)
    found = ask_volume("Which body region is shown?", case.volume)
    assert "F_SLICES_DROPPED" in {flag.code for flag in found.flags}
    assert len(found.receipt["slices"]["used"]) == 85


def test_a_blank_question_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        ask("  ", SAMPLES / "ct_abdomen")
    assert caught.value.code == "E_QUESTION_EMPTY"


def test_a_question_without_images_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        ask(QUESTION, None)
    assert caught.value.code == "E_NO_IMAGE"


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(SetupError) as caught:
        ask(QUESTION, SAMPLES / "ct_abdomen", model="no-such-model")
    assert caught.value.code == "E_MODEL_UNKNOWN"


def test_a_speech_model_cannot_answer_about_images() -> None:
    with pytest.raises(MedvoxError) as caught:
        ask(QUESTION, SAMPLES / "ct_abdomen", model=str(WEIGHTS / "medvox-mini-asr"))
    assert caught.value.code == "E_MODEL_TYPE"


def test_a_mislabelled_mr_is_not_windowed_as_ct(shared_data: Path, unzip: Callable[[Path], Path]) -> None:
    with pytest.raises(InputError) as caught:
        ask(QUESTION, unzip(shared_data / "dicom" / "ct_small_ge" / "series.zip"))
    assert caught.value.code == "E_CT_UNIT"


def test_a_report_is_written(tmp_path: Path) -> None:
    ask(QUESTION, SAMPLES / "ct_abdomen", report=tmp_path / "new" / "report.html")
    assert "abdomen" in (tmp_path / "new" / "report.html").read_text(encoding="utf-8")


def test_a_zip_of_a_series_is_answered_like_its_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "ct.zip", "w") as archive:
        for file in sorted(CT_SAMPLE.glob("*.dcm")):
            archive.write(file, file.name)
    asked = [ask("Which body region is this?", path) for path in (tmp_path / "ct.zip", CT_SAMPLE)]
    assert asked[0].answer == asked[1].answer
    assert asked[0].receipt["sources"] == asked[1].receipt["sources"]


def test_nifti_is_answered_when_its_modality_is_said(tmp_path: Path) -> None:
    convert(CT_SAMPLE, tmp_path / "ct.nii.gz")
    answer = ask("Which body region is this?", tmp_path / "ct.nii.gz", modality="CT")
    assert answer.label == ask("Which body region is this?", CT_SAMPLE).label


def test_what_is_no_ct_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "photo.png")
    with pytest.raises(InputError) as refusal:
        ask("What is this?", tmp_path / "photo.png")
    assert refusal.value.code == "E_ASK_KIND"
