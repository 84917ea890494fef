"""Geometry by hand, and window arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from medvox.data.affine import (
    direction_letters,
    index_to_mm,
    lps_affine,
    lps_to_ras,
    mm_to_index,
    orthonormal_error,
    side_letters,
    slice_normal,
    spacing_of,
    tilt_deg,
)

AXIAL = (1, 0, 0, 0, 1, 0)
SAGITTAL = (0, 1, 0, 0, 0, -1)
CORONAL = (1, 0, 0, 0, 0, -1)
OBLIQUE = (0.8, 0.6, 0, 0, 0, -1)


@pytest.mark.parametrize(
    ("orientation", "normal"),
    [(AXIAL, (0, 0, 1)), (SAGITTAL, (-1, 0, 0)), (CORONAL, (0, 1, 0)), ((-1, 0, 0, 0, -1, 0), (0, 0, 1))],
)
def test_normal_is_row_cross_column(orientation: tuple[float, ...], normal: tuple[float, ...]) -> None:
    assert slice_normal(orientation).tolist() == list(normal)


def test_index_order_is_slice_row_column() -> None:
    affine = lps_affine((10, 20, 30), (0, 0, 5), AXIAL, (0.5, 0.8))

    assert index_to_mm(affine, (0, 0, 0)).tolist() == [10, 20, 30]
    assert index_to_mm(affine, (2, 0, 0)).tolist() == [10, 20, 40]
    assert index_to_mm(affine, (0, 2, 0)).tolist() == [10, 21, 30]  # rows run to the back, 0.5 mm apart
    assert index_to_mm(affine, (0, 0, 2)).tolist() == [11.6, 20, 30]  # columns run to the left, 0.8 mm apart


def test_spacing_is_in_array_order() -> None:
    affine = lps_affine((0, 0, 0), 5 * slice_normal(OBLIQUE), OBLIQUE, (0.5, 0.8))

    np.testing.assert_allclose(spacing_of(affine), (5, 0.5, 0.8))


def test_index_and_mm_are_inverse() -> None:
    affine = lps_affine((3, -7, 11), (0.3, -0.9, 2), OBLIQUE, (0.5, 0.8))
    index = np.random.default_rng(0).uniform(0, 100, size=(50, 3))

    np.testing.assert_allclose(mm_to_index(affine, index_to_mm(affine, index)), index, atol=1e-9)


def test_ras_flips_x_and_y_and_flips_back() -> None:
    affine = lps_affine((3, -7, 11), (0, 0, 2), AXIAL, (0.5, 0.8))

    assert index_to_mm(lps_to_ras(affine), (0, 0, 0)).tolist() == [-3, 7, 11]
    assert (lps_to_ras(lps_to_ras(affine)) == affine).all()


def test_straight_stack_has_no_tilt() -> None:
    assert tilt_deg(lps_affine((0, 0, 0), 3 * slice_normal(OBLIQUE), OBLIQUE, (1, 1))) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("angle", [-20, 0.4, 0.6, 18.5])
def test_tilt_is_the_angle_between_step_and_normal(angle: float) -> None:
    step = (0, 4 * np.sin(np.radians(angle)), 4 * np.cos(np.radians(angle)))

    assert tilt_deg(lps_affine((0, 0, 0), step, AXIAL, (1, 1))) == pytest.approx(abs(angle))


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, OBLIQUE])
def test_perpendicular_unit_vectors_have_no_error(orientation: tuple[float, ...]) -> None:
    assert orthonormal_error(orientation) < 1e-12


@pytest.mark.parametrize(
    "orientation", [(1, 0, 0, 1, 0, 0), (2, 0, 0, 0, 1, 0), (0, 0, 0, 0, 0, 0), (1, 0, 0, 0.1, 1, 0)]
)
def test_other_vectors_have_an_error(orientation: tuple[float, ...]) -> None:
    assert orthonormal_error(orientation) >= 0.01


@pytest.mark.parametrize(
    ("direction", "letters"),
    [((1, 0, 0), "L"), ((-2, 0, 0), "R"), ((0, 1, 0), "P"), ((0, 0, 1), "H"), ((0.1, -0.8, 0.6), "AH")],
)
def test_letters_name_the_direction(direction: tuple[float, ...], letters: str) -> None:
    assert direction_letters(direction) == letters


@pytest.mark.parametrize(
    ("orientation", "edges"),
    [
        (AXIAL, ("R", "L", "A", "P")),  # seen from the feet: the patient's right is on the left of the picture
        ((-1, 0, 0, 0, -1, 0), ("L", "R", "P", "A")),
        ((1, 0, 0, 0, -1, 0), ("R", "L", "P", "A")),
        (CORONAL, ("R", "L", "H", "F")),
        (SAGITTAL, ("A", "P", "H", "F")),
    ],
)
def test_edges_of_a_displayed_slice(orientation: tuple[float, ...], edges: tuple[str, ...]) -> None:
    letters = side_letters(lps_affine((0, 0, 0), slice_normal(orientation), orientation, (1, 1)))

    assert (letters.left, letters.right, letters.top, letters.bottom) == edges
