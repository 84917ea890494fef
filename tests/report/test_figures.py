"""Pictures: what is drawn where."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from medvox.data.affine import SideLetters
from medvox.report.figures import COLOURS, LabelledBox, draw_slice, montage

ORANGE, BLUE = (tuple(bytes.fromhex(COLOURS[kind][1:])) for kind in ("prediction", "target"))


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def grey(height: int, width: int, value: int = 60) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


def places(picture: np.ndarray, colour: tuple[int, ...]) -> np.ndarray:
    """(row, column) of every pixel of a colour."""
    return np.argwhere((picture == colour).all(axis=2))


def test_a_plain_slice_is_unchanged() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, size=(512, 512, 3), dtype=np.uint8)

    assert (pixels(draw_slice(rgb)) == rgb).all()


def test_small_slices_are_enlarged_without_smoothing() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, size=(128, 64, 3), dtype=np.uint8)
    drawn = pixels(draw_slice(rgb))

    assert drawn.shape == (512, 256, 3)
    assert (drawn[::4, ::4] == rgb).all()


@pytest.mark.parametrize("size", [512, 128, 64])
def test_a_box_lies_where_it_is_said(size: int) -> None:
    scale = 512 // size
    box = (size / 4, size / 2, size / 2, size * 0.75)
    found = places(pixels(draw_slice(grey(size, size), [("", box, "prediction")])), ORANGE)

    (top, left), (bottom, right) = found.min(axis=0), found.max(axis=0)
    assert np.abs(np.array([left, top, right, bottom]) / scale - box).max() <= 2 / scale + 0.5


def test_the_picture_given_is_not_drawn_on() -> None:
    rgb = grey(512, 512)
    draw_slice(rgb, [("nodule", (10, 10, 90, 90), "prediction")])

    assert (rgb == 60).all()


def test_predictions_are_solid_and_targets_dashed() -> None:
    box = (100.0, 100.0, 400.0, 400.0)
    solid = pixels(draw_slice(grey(512, 512), [("", box, "prediction")]))[100, 110:390]
    dashed = pixels(draw_slice(grey(512, 512), [("", box, "target")]))[100, 110:390]

    assert (solid == ORANGE).all()
    assert 0.3 < (dashed == BLUE).all(axis=1).mean() < 0.8


@pytest.mark.parametrize("box", [(-50, -50, 20, 20), (500, 500, 900, 900), (0, 0, 512, 512), (30, 30, 30, 30)])
def test_boxes_at_the_edge_and_beyond_are_drawn(box: tuple[float, float, float, float]) -> None:
    labelled: LabelledBox = ("a rather long label for a small box", box, "prediction")

    assert len(places(pixels(draw_slice(grey(512, 512), [labelled])), ORANGE))


def test_labels_are_kept_inside_the_picture() -> None:
    drawn = pixels(draw_slice(grey(512, 512), [("nodule", (490, 2, 510, 20), "prediction")]))
    tag = places(drawn, (0, 0, 0))

    assert tag[:, 1].max() <= 511
    assert tag[:, 1].min() < 470  # the tag was moved to the left


def test_letters_stand_at_their_edges() -> None:
    letters = SideLetters(left="R", right="L", top="A", bottom="P")
    white = places(pixels(draw_slice(grey(512, 512), letters=letters)), (255, 255, 255))

    near = {
        "left": (white[:, 1] < 40).any(),
        "right": (white[:, 1] > 472).any(),
        "top": (white[:, 0] < 40).any(),
        "bottom": (white[:, 0] > 472).any(),
        "middle": ((white > 100) & (white < 400)).all(axis=1).any(),
    }
    assert near == {"left": True, "right": True, "top": True, "bottom": True, "middle": False}


@pytest.mark.parametrize("count", [1, 2, 7, 20, 24, 85])
def test_a_montage_holds_every_picture_once(count: int) -> None:
    images = np.stack([grey(32, 32, 100 + number) for number in range(count)])
    sheet = pixels(montage(images, names=[""] * count))

    shown = {int(value) for value in np.unique(sheet[sheet[..., 0] >= 100])}
    assert shown == {100 + number for number in range(count)}
    assert sheet.shape[1] <= 1800


def test_a_montage_reads_like_text() -> None:
    images = [grey(32, 32, 100), grey(32, 32, 150), grey(32, 32, 200)]
    sheet = pixels(montage(images, names=["", "", ""]))

    assert sheet[90, 90, 0] == 100
    assert sheet[90, 90 + 180, 0] == 150


def test_pictures_keep_their_proportions_in_a_montage() -> None:
    assert pixels(montage([grey(100, 50)])).shape == (176, 88, 3)


def test_names_and_pictures_must_match() -> None:
    with pytest.raises(ValueError, match="zip"):
        montage([grey(8, 8)], names=["1", "2"])
