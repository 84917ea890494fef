"""What lies at a path, as material that a model can be shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset

from medvox.data.material import Wanted, flags_of, look, opened, sources_of
from medvox.errors import InputError, UsageError

WriteCt = Callable[..., list[Path]]


def test_a_ct_folder_is_a_stack_of_slices(write_ct: WriteCt) -> None:
    material = look(write_ct(5)[0].parent)
    assert (material.kind, material.parts, material.voxels) == ("ct", 5, 5 * 6 * 4)


def test_an_opened_stack_has_its_files_as_sources(write_ct: WriteCt) -> None:
    files = write_ct(3)
    with opened(look(files[0].parent)) as content:
        assert [source.name for source in sources_of(content)] == [file.name for file in files]
        assert flags_of(content) == ()


def test_several_series_need_a_choice(write_ct: WriteCt, tmp_path: Path) -> None:
    def other(dataset: Dataset, number: int) -> None:
        dataset.SeriesInstanceUID = "1.2.3.5"

    write_ct(3, folder="a")
    write_ct(4, folder="b", edit=other)
    with pytest.raises(UsageError) as refusal:
        look(tmp_path)
    assert refusal.value.code == "E_SERIES_CHOICE"
    assert look(tmp_path, Wanted(series="1.2.3.5")).parts == 4


def test_a_refused_series_is_no_material(write_ct: WriteCt) -> None:
    def without_spacing(dataset: Dataset, number: int) -> None:
        del dataset.PixelSpacing

    with pytest.raises(InputError) as refusal:
        look(write_ct(3, edit=without_spacing)[0].parent)
    assert refusal.value.code == "E_DICOM_SPACING_MISSING"


def test_a_photograph_is_one_picture(tmp_path: Path) -> None:
    path = tmp_path / "skin.jpg"
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
    material = look(path)
    assert (material.kind, material.parts) == ("xray", 1)


def test_a_note_is_a_page_of_text(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("Chest pain since Monday.\n")
    assert (look(path).kind, look(path).parts) == ("page", 1)


@pytest.mark.parametrize(("modality", "kind"), [("CT", "ct"), ("MR", "mri")])
def test_the_modality_of_nifti_is_the_user_s_word(
    write_ct: WriteCt, tmp_path: Path, modality: str, kind: str
) -> None:  # fmt: skip
    from medvox.conversion import convert

    convert(write_ct(3)[0].parent, tmp_path / "a.nii.gz")
    material = look(tmp_path / "a.nii.gz", Wanted(modality=modality))
    assert material.kind == kind
    assert "F_NIFTI_MODALITY_UNKNOWN" not in {flag.code for flag in material.flags}
    with opened(material) as content:
        assert isinstance(content, tuple)
        assert content[0].modality == modality


def test_a_pet_has_no_preset(write_ct: WriteCt) -> None:
    def pet(dataset: Dataset, number: int) -> None:
        dataset.Modality = "PT"
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.128"
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.Units = "BQML"

    with pytest.raises(InputError) as refusal:
        look(write_ct(3, edit=pet)[0].parent)
    assert refusal.value.code == "E_NOT_SHOWABLE"


@pytest.mark.parametrize("content", [b"\x00\x01\x02\x03" * 50, b'{"resourceType": "Patient", "id": "1"}'])
def test_what_cannot_be_shown_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "something"
    path.write_bytes(content)
    with pytest.raises(InputError):
        look(path)


def test_a_folder_of_photographs_is_refused_as_such(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "skin.png")
    with pytest.raises(InputError) as refusal:
        look(tmp_path)
    assert refusal.value.code == "E_NOT_SHOWABLE"


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refusal:
        look(tmp_path / "no")
    assert refusal.value.code == "E_INPUT_MISSING"
