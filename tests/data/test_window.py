"""CT windows: known values, and the arithmetic of the published notebooks."""

from __future__ import annotations

import numpy as np
import pytest

from medvox.data.window import window


@pytest.mark.parametrize(
    ("hu", "grey"), [(-1024, 0), (-2000, 0), (1024, 255), (3000, 255), (0, 128), (-32768, 0), (32767, 255)]
)
def test_wide_window(hu: int, grey: int) -> None:
    assert window(np.array([[hu]], dtype=np.int16), -1024, 1024).tolist() == [[grey]]


def test_keeps_the_shape() -> None:
    assert window(np.zeros((3, 4, 5), dtype=np.int16), 0, 80).shape == (3, 4, 5)


@pytest.mark.parametrize(("low", "high"), [(-1024, 1024), (-135, 215), (0, 80), (-1225, 1025)])
def test_equals_the_notebook_arithmetic(low: int, high: int) -> None:
    hu = np.arange(-2000, 2001, dtype=np.int16)
    expected = np.clip(hu, low, high).astype(np.float32)
    expected -= low
    expected /= high - low
    expected *= 255.0

    assert (window(hu, low, high) == np.round(expected, 0).astype(np.uint8)).all()


@pytest.mark.parametrize(("low", "high"), [(5, 5), (10, -10), (float("nan"), 1)])
def test_refuses_an_empty_window(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="low < high"):
        window(np.zeros((1, 1), dtype=np.int16), low, high)
