"""Does a picture hold writing? A detector of lines of small, sharp, evenly tall strokes; it reads no letter.

Used by ``deidentify_pixels`` and ``identity``. Pictures of 8 bits in, places of lines out. Knows no file and no header.
How often it finds drawn text, and how often it cries wolf, is measured in ``benchmarks/burned_in_text.py``.

The way: strokes stand out from an opening (or closing) with a small square; connected strokes of glyph size are glyphs;
glyphs of one height on one base line, close together and on calmer ground, are a line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Mask = NDArray[np.bool_]
Grey = NDArray[np.uint8]
Ints = NDArray[np.int64]

LONGEST_SIDE = 2048  # larger pictures are reduced: writing that people can read survives
SQUARE = 7  # pixels: strokes are thinner
SCALES = (1, 2, 4)
CONTRASTS = (24, 44, 80, 140)  # grey levels by which a stroke stands out
MIN_HEIGHT, MAX_HEIGHT = 6, 34  # pixels of a glyph, at its scale
MIN_GLYPHS = 4
MAX_GLYPHS = 2500  # more than that at one contrast is texture
MAX_PART = 1 / 16  # of the longest side: taller shapes are anatomy, or the tiles of a mosaic
MAX_INK = 0.25  # share of the picture


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenLine:
    """A line of writing: its box in pixels of the picture and the number of glyphs."""

    left: int
    top: int
    right: int
    bottom: int
    glyphs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Blobs:
    """Connected strokes: inclusive bounds in pixels, area, and mean height of the stroke above its ground."""

    top: Ints
    bottom: Ints
    left: Ints
    right: Ints
    area: Ints
    level: NDArray[np.float64]

    def chosen(self, keep: Mask | Ints) -> _Blobs:
        return _Blobs(
            top=self.top[keep],
            bottom=self.bottom[keep],
            left=self.left[keep],
            right=self.right[keep],
            area=self.area[keep],
            level=self.level[keep],
        )


def written_lines(picture: Grey) -> tuple[WrittenLine, ...]:
    """Lines of writing, bright or dark, in a grey picture (R, C). Stops at the first contrast that shows any."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    shrink = max(1.0, max(image.size) / LONGEST_SIDE)
    for scale in SCALES:
        size = (round(image.width / shrink / scale), round(image.height / shrink / scale))
        if min(size) < 2 * MIN_HEIGHT:
            break
        small = image if size == image.size else image.resize(size, Image.Resampling.BOX)
        for strokes in _strokes(small):
            for contrast in CONTRASTS:
                lines = _lines(strokes, contrast)
                if lines:
                    return tuple(_scaled(line, shrink * scale) for line in lines)
    return ()


def _strokes(image: Image.Image) -> tuple[Grey, Grey]:
    """By how much thin bright and thin dark structures stand out (R, C)."""
    opened = image.filter(ImageFilter.MinFilter(SQUARE)).filter(ImageFilter.MaxFilter(SQUARE))
    closed = image.filter(ImageFilter.MaxFilter(SQUARE)).filter(ImageFilter.MinFilter(SQUARE))
    grey = np.asarray(image)
    return grey - np.asarray(opened), np.asarray(closed) - grey


def _lines(strokes: Grey, contrast: int) -> list[WrittenLine]:
    ink = strokes >= contrast
    if not 0 < np.count_nonzero(ink) <= MAX_INK * ink.size:
        return []
    glyphs = _glyphs(_blobs(ink, strokes), min(MAX_HEIGHT, int(MAX_PART * max(ink.shape))))
    if not MIN_GLYPHS <= len(glyphs.top) <= MAX_GLYPHS:
        return []
    left, right = _neighbours(glyphs)
    chains = _components(len(glyphs.top), left, right)
    found = []
    for chain in np.flatnonzero(np.bincount(chains) >= MIN_GLYPHS):
        members = _on_base_line(glyphs.chosen(chains == chain))
        if members is not None and _is_written(members, ink, strokes):
            found.append(
                WrittenLine(
                    left=int(members.left.min()),
                    top=int(members.top.min()),
                    right=int(members.right.max()) + 1,
                    bottom=int(members.bottom.max()) + 1,
                    glyphs=len(members.top),
                )
            )
    return found


def _glyphs(blobs: _Blobs, tallest: int) -> _Blobs:
    """The blobs of the size and fullness of a letter or digit."""
    height, width = blobs.bottom - blobs.top + 1, blobs.right - blobs.left + 1
    fill = blobs.area / (height * width)
    upright = 3 * width <= height
    keep = (
        (height >= MIN_HEIGHT)
        & (height <= tallest)
        & (width <= 1.7 * height)
        & (fill >= 0.15)
        & (upright | (fill <= 0.85))
    )
    return blobs.chosen(keep)


def _neighbours(glyphs: _Blobs) -> tuple[Ints, Ints]:
    """Pairs of glyphs that can stand next to each other in a line."""
    height = glyphs.bottom - glyphs.top + 1
    tall = np.maximum(height[:, None], height[None, :])
    short = np.minimum(height[:, None], height[None, :])
    gap = glyphs.left[None, :] - glyphs.right[:, None] - 1
    slack = 0.12 * tall + 1
    on_line = np.abs(glyphs.bottom[:, None] - glyphs.bottom[None, :]) <= slack
    level = np.abs(glyphs.level[:, None] - glyphs.level[None, :]) <= 0.35 * np.maximum(
        glyphs.level[:, None], glyphs.level[None, :]
    )
    pairs = on_line & level & (gap >= -1) & (gap <= 1.1 * tall) & (tall <= 1.75 * short)
    left, right = np.nonzero(pairs)
    return left, right


def _on_base_line(chain: _Blobs) -> _Blobs | None:
    """The glyphs of a chain that stand on its base line; None where the chain wanders instead."""
    tall = np.percentile(chain.bottom - chain.top + 1, 75)
    on_line = np.abs(chain.bottom - np.median(chain.bottom)) <= 0.1 * tall + 1
    return chain.chosen(on_line) if on_line.sum() >= max(MIN_GLYPHS, 0.6 * len(on_line)) else None


def _is_written(members: _Blobs, ink: Mask, strokes: Grey) -> bool:
    """Whether glyphs on one base line have the regularity of writing and stand on calm ground."""
    tall = np.percentile(members.bottom - members.top + 1, 75)
    if members.right.max() - members.left.min() + 1 < 1.6 * tall:
        return False
    order = np.argsort(members.left)
    gaps = members.left[order][1:] - members.right[order][:-1] - 1
    pitch = np.diff((members.left + members.right)[order]) / 2
    if np.mean(gaps) >= 0.45 * tall and np.std(pitch) <= 0.08 * np.mean(pitch):
        return False  # a pattern that repeats, such as the tiles of a mosaic
    margin = max(2, int(tall // 4))
    rows = slice(max(0, int(members.top.min()) - margin), int(members.bottom.max()) + margin + 1)
    columns = slice(max(0, int(members.left.min()) - margin), int(members.right.max()) + margin + 1)
    ground = strokes[rows, columns][~ink[rows, columns]]
    return bool(ground.size and np.mean(ground) <= 0.16 * np.mean(members.level))


def _blobs(ink: Mask, strokes: Grey) -> _Blobs:
    """Connected (8 neighbours) pixels of a mask, from the runs of its rows."""
    width = ink.shape[1] + 2
    edges = np.diff(np.pad(ink, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, start = np.nonzero(edges == 1)
    end = np.nonzero(edges == -1)[1]  # one past the run
    below = (row + 1) * width
    first = np.searchsorted(row * width + end, below + start, side="left")
    last = np.searchsorted(row * width + start, below + end, side="right")
    count = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(row)), count)
    lower = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    label = _components(len(row), upper, lower)
    total = int(label.max()) + 1
    sums = np.concatenate([[0], np.cumsum(strokes[ink], dtype=np.int64)])
    lengths = end - start
    ends = np.cumsum(lengths)
    area = np.bincount(label, lengths, total).astype(np.int64)
    level = np.bincount(label, sums[ends] - sums[ends - lengths], total) / area
    top, left = np.full(total, ink.shape[0]), np.full(total, ink.shape[1])
    bottom, right = np.zeros(total, np.int64), np.zeros(total, np.int64)
    np.minimum.at(top, label, row)
    np.maximum.at(bottom, label, row)
    np.minimum.at(left, label, start)
    np.maximum.at(right, label, end - 1)
    return _Blobs(top=top, bottom=bottom, left=left, right=right, area=area, level=level)


def _components(count: int, one: Ints, other: Ints) -> Ints:
    """Labels 0.. of the connected components of a graph of ``count`` nodes with the edges (one, other)."""
    label = np.arange(count)
    while True:
        before = label.copy()
        lowest = np.minimum(label[one], label[other])
        np.minimum.at(label, label[one], lowest)
        np.minimum.at(label, label[other], lowest)
        label = label[label]
        if np.array_equal(before, label):
            return np.unique(label, return_inverse=True)[1]


def _scaled(line: WrittenLine, factor: float) -> WrittenLine:
    left, top, right, bottom = (round(side * factor) for side in (line.left, line.top, line.right, line.bottom))
    return WrittenLine(left=left, top=top, right=right, bottom=bottom, glyphs=line.glyphs)
