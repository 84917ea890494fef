"""synth/ct.py: phantoms say the truth about themselves."""

from __future__ import annotations

import numpy as np
import pytest

from medvox.data.affine import side_letters
from medvox.synth.ct import REGIONS, generate_ct
from medvox.synth.findings import FINDINGS, REGION_OF
from medvox.synth.questions import presence_exchange, region_exchange, wordings
from medvox.synth.solids import Organ


def test_the_same_seed_gives_the_same_scan() -> None:
    one, two = generate_ct(7), generate_ct(7)
    assert np.array_equal(one.volume.voxels, two.volume.voxels)
    assert one.boxes == two.boxes


def test_another_seed_gives_another_scan() -> None:
    one, two = generate_ct(7, region="head", slices=6), generate_ct(8, region="head", slices=6)
    assert one.volume.voxels.shape != two.volume.voxels.shape or not np.array_equal(
        one.volume.voxels, two.volume.voxels
    )


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_planted_finding_is_visible_and_boxed(finding: str) -> None:
    shown = 0
    for seed in range(6):
        case = generate_ct(seed, region=REGION_OF[finding], findings=(finding,), slices=24)
        for index, (x0, y0, x1, y1) in case.boxes.get(finding, {}).items():
            mask = case.lesions[index] == FINDINGS.index(finding)
            rows, columns = np.nonzero(mask)
            assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x0, y0, x1, y1)
            shown += 1
    assert shown > 0


def test_nothing_is_planted_when_nothing_is_asked_for() -> None:
    case = generate_ct(3, region="chest", findings=())
    assert case.findings == ()
    assert (case.lesions == -1).all()


def test_densities_are_those_of_the_organs() -> None:
    case = generate_ct(1, region="chest", findings=(), slices=20)
    voxels, organs = case.volume.voxels, case.organs
    assert -1000 < np.median(voxels[organs == Organ.LUNG]) < -700
    assert np.median(voxels[organs == Organ.BONE]) > 150


@pytest.mark.parametrize("seed", range(12))
def test_slice_positions_agree_with_the_affine(seed: int) -> None:
    volume = generate_ct(seed, region="abdomen", slices=6).volume
    step = volume.affine_lps[:3, 0]
    normal = step / np.linalg.norm(step)
    for index, position in enumerate(volume.slice_positions_mm):
        assert (volume.affine_lps @ [index, 0, 0, 1])[:3] @ normal == pytest.approx(position)


def test_the_liver_is_on_the_patients_right_however_the_patient_lies() -> None:
    for seed in range(30):
        case = generate_ct(seed, region="abdomen", findings=(), slices=8)
        places = np.argwhere(case.organs == Organ.LIVER)
        if len(places):
            x = (case.volume.affine_lps @ np.append(places.mean(0), 1))[0]
            assert x < 0, f"seed {seed} {side_letters(case.volume.affine_lps)}"


def test_an_asked_number_of_slices_is_given() -> None:
    assert len(generate_ct(2, region="pelvis", slices=40).volume.voxels) == 40


def test_regions_are_drawn_evenly_enough() -> None:
    drawn = [generate_ct(seed, slices=1).region for seed in range(80)]
    assert min(drawn.count(region) for region in REGIONS) >= 8


def test_held_out_wordings_are_not_trained_on() -> None:
    for kind in ("region", "presence", "place"):
        assert not set(wordings(kind, held_out=True)) & set(wordings(kind, held_out=False))


def test_answers_have_the_promised_form() -> None:
    rng = np.random.default_rng(0)
    assert region_exchange("head", rng).answer == "Final Answer: head"
    assert presence_exchange("liver lesion", True, rng).answer == "Final Answer: yes"
