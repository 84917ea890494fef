"""``medvox plan`` and ``medvox prep``: what a model would be shown, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from medvox.catalog import DEFAULT_VLM, resolve_model
from medvox.data.dicom import choose_series, find_study, read_volume
from medvox.data.material import Wanted
from medvox.encode.ct import prepare_ct
from medvox.encode.prompt import build_prompt, image_question
from medvox.encode.text import TextTokenizer
from medvox.errors import BudgetError, InputError, SetupError, UsageError
from medvox.models.weights import load_vlm
from medvox.preparation import plan, prep
from medvox.synth.slide import make_slide, write_slide

WriteCt = Callable[..., list[Path]]
MEDGEMMA = "google/medgemma-1.5-4b-it"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(path)
    return path


def test_the_plan_counts_the_tokens_of_the_prompt(write_ct: WriteCt) -> None:
    folder = write_ct(7)[0].parent
    found = plan([folder], question="Is there a stone?")

    model = load_vlm(resolve_model(DEFAULT_VLM))
    labels = [f"SLICE {number}" for number in range(1, 8)]
    prompt = build_prompt(
        TextTokenizer(resolve_model(DEFAULT_VLM)),
        image_question("Is there a stone?", labels),
        model.config.mm_tokens_per_image,
    )
    assert found["tokens"]["total"] == len(prompt.token_ids)
    assert found["tokens"]["exact"]
    assert found["pictures"] == {"shown": 7, "of": 7, "size": model.config.vision.image_size}


def test_google_s_model_is_planned_from_its_published_sizes(write_ct: WriteCt) -> None:
    found = plan([write_ct(90, shape=(4, 4))[0].parent], model=MEDGEMMA)

    assert found["tokens"]["image"] == 85 * 260
    assert found["pictures"]["shown"] == 85
    assert not found["tokens"]["exact"]
    assert found["memory_mib"]["weights"] == pytest.approx(8_600_158_944 / 2**20, rel=0.01)


def test_the_plan_is_strict_json(write_ct: WriteCt) -> None:
    json.dumps(plan([write_ct(3)[0].parent]), allow_nan=False)


def test_what_exceeds_the_context_is_refused(picture: Path) -> None:
    with pytest.raises(BudgetError) as refusal:
        plan([picture] * 600, model=MEDGEMMA)
    assert refusal.value.code == "E_PLAN_CONTEXT"


def test_what_exceeds_the_memory_is_refused(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medvox.preparation._available_bytes", lambda: 2**30)
    with pytest.raises(BudgetError) as refusal:
        plan([picture], model=MEDGEMMA)
    assert refusal.value.code == "E_PLAN_MEMORY"


def test_a_model_that_nobody_knows_cannot_be_planned(picture: Path) -> None:
    with pytest.raises(SetupError) as refusal:
        plan([picture], model="nobody/nothing")
    assert refusal.value.code == "E_MODEL_UNKNOWN"


def test_prep_writes_what_the_preset_makes(write_ct: WriteCt, tmp_path: Path) -> None:
    folder = write_ct(3)[0].parent
    receipt = prep([folder], tmp_path / "out", size=32)

    expected = prepare_ct(read_volume(choose_series(find_study(folder))[0]), size=32).images
    written = [np.asarray(Image.open(tmp_path / "out" / row["file"])) for row in receipt["pictures"]]
    assert np.array_equal(written, expected)
    assert [row["label"] for row in receipt["pictures"]] == ["SLICE 1", "SLICE 2", "SLICE 3"]
    assert json.loads((tmp_path / "out" / "receipt.json").read_text()) == receipt


def test_the_receipt_names_files_without_their_folder(write_ct: WriteCt, tmp_path: Path) -> None:
    receipt = prep([write_ct(3)[0].parent], tmp_path / "out", size=8)
    assert str(tmp_path) not in json.dumps(receipt)
    assert [source["name"] for source in receipt["sources"]] == ["ct000.dcm", "ct001.dcm", "ct002.dcm"]


def test_two_series_stand_one_after_the_other(write_ct: WriteCt, tmp_path: Path) -> None:
    one, other = write_ct(3, folder="a")[0].parent, write_ct(2, folder="b")[0].parent
    receipt = prep([one, other], tmp_path / "out", size=8)
    assert [(row["source"], row["index"]) for row in receipt["pictures"]] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_a_picture_becomes_a_square(picture: Path, tmp_path: Path) -> None:
    receipt = prep([picture], tmp_path / "out", size=60)
    shown = np.asarray(Image.open(tmp_path / "out" / "0001.png"))
    assert np.array_equal(shown[10:50], np.asarray(Image.open(picture)))
    assert receipt["preset"]["name"] == "xray.medgemma-1.5"


def test_a_slide_comes_with_an_overview(tmp_path: Path) -> None:
    write_slide(make_slide(4000, 3000, mpp_um=0.5), tmp_path / "slide.tiff")
    receipt = prep([tmp_path / "slide.tiff"], tmp_path / "out", preset="slide.medgemma-1.5-20x", size=64)
    assert receipt["pictures"]
    width, height = Image.open(tmp_path / "out" / receipt["overview"]).size
    assert width / height == pytest.approx(4 / 3, rel=0.01)


def test_a_nifti_file_needs_its_modality_said(tmp_path: Path) -> None:
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)), path)
    with pytest.raises(UsageError) as refusal:
        prep([path], tmp_path / "out")
    assert refusal.value.code == "E_NIFTI_MODALITY"
    assert prep([path], tmp_path / "out", size=8, wanted=Wanted(modality="MR"))["kind"] == "mri"


@pytest.mark.parametrize(
    ("preset", "code"), [("mri.medgemma-1.5", "E_PRESET"), ("no.such-preset", "E_PRESET")]
)  # fmt: skip
def test_a_preset_must_fit(write_ct: WriteCt, tmp_path: Path, preset: str, code: str) -> None:
    with pytest.raises(UsageError) as refusal:
        prep([write_ct(3)[0].parent], tmp_path / "out", preset=preset)
    assert refusal.value.code == code


def test_kinds_are_not_mixed(write_ct: WriteCt, picture: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        prep([write_ct(3)[0].parent, picture], tmp_path / "out")
    assert refusal.value.code == "E_KINDS_MIXED"


def test_sound_cannot_be_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80>\0\0\0}\0\0\x02\0\x10\0data\0\0\0\0")
    with pytest.raises(InputError) as refusal:
        plan([path])
    assert refusal.value.code == "E_NOT_SHOWABLE"


def test_a_folder_that_holds_something_is_left_alone(picture: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        prep([picture], tmp_path)
    assert refusal.value.code == "E_OUTPUT_EXISTS"
    assert picture.exists()


def test_an_earlier_result_is_replaced_only_when_asked(picture: Path, tmp_path: Path) -> None:
    prep([picture], tmp_path / "out", size=8)
    with pytest.raises(UsageError) as refusal:
        prep([picture], tmp_path / "out", size=16)
    assert refusal.value.code == "E_OUTPUT_EXISTS"
    prep([picture], tmp_path / "out", size=16, overwrite=True)
    assert Image.open(tmp_path / "out" / "0001.png").size == (16, 16)


def test_what_others_wrote_is_never_replaced(picture: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        prep([picture], tmp_path, size=8, overwrite=True)
    assert picture.exists()


def test_nothing_remains_after_an_error(write_ct: WriteCt, tmp_path: Path) -> None:
    files = write_ct(3)
    files[1].write_bytes(files[1].read_bytes()[:-9])
    with pytest.raises(InputError):
        prep([files[0].parent], tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct"]


def test_nothing_remains_after_an_interrupt(picture: Path, tmp_path: Path) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if what == "writing pictures":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prep([picture], tmp_path / "new" / "out", progress=interrupt)
    assert list((tmp_path / "new").iterdir()) == []
