"""The frames of one DICOM slide file: found once, then read one at a time, so that memory stays small.

Used by ``slide_dicom``. Knows no levels and no order of tiles. Source: DICOM PS3.5 A.4 (encapsulated pixel data) and
section 8 (native pixel data).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medvox.data.dicom_codec import KINDS, BadFrameError, Layout, decode_frame
from medvox.data.dicom_colour import rgb_from_ybr
from medvox.data.dicom_file import quiet_pydicom
from medvox.data.slide_pyramid import Rgb, unreadable
from medvox.errors import MedvoxError

NATIVE = {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian}
ITEM, SEQUENCE_END = 0xE000FFFE, 0xE0DDFFFE  # group and element as one little-endian number
ITEM_HEAD = struct.Struct("<II")
UNDEFINED = 0xFFFFFFFF
SUPPORTED = {*NATIVE, *KINDS}  # transfer syntaxes
# Threads share a place in the file; pydicom's settings and the filter of warnings are global.
ONE_AT_A_TIME = Lock()
Piece = tuple[int, int]  # offset and length in the file


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """How the pixels of a frame are stored."""

    syntax: str
    photometric: str
    samples: int
    bits_allocated: int
    bits_stored: int
    planar: int


class Frames:
    """The frames of one file in a supported transfer syntax. The file is opened and walked at the first use.

    Raises:
        InputError: at any use: ``E_SLIDE_UNREADABLE``, damaged or cut short.
    """

    def __init__(self, path: Path, encoding: Encoding, tile_xy: tuple[int, int], count: int) -> None:
        self._path, self._encoding, self._tile_xy, self._count = path, encoding, tile_xy, count
        self._file: BinaryIO | None = None
        self._pieces: list[list[Piece]] = []

    def decoded(self, index: int) -> Rgb:
        """Pixels of one frame, (R, C, 3)."""
        try:
            with ONE_AT_A_TIME:
                content = self._content(index)
            pixels = self._decode(content)
        except MedvoxError:
            raise
        except BadFrameError as error:
            raise unreadable(self._path.name, f"frame {index + 1}: {error}") from error
        except Exception as error:  # damaged structure shows in many ways: struct, operating system, pydicom
            raise unreadable(self._path.name, f"frame {index + 1} is damaged ({type(error).__name__})") from error
        if pixels.dtype != np.uint8:
            raise unreadable(self._path.name, f"frame {index + 1} has more than 8 bits")
        width, height = self._tile_xy
        return np.broadcast_to(pixels.reshape(height, width, -1), (height, width, 3))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _decode(self, content: bytes) -> NDArray[Any]:
        """Samples of a frame, (R, C) or (R, C, 3), in RGB where there is colour."""
        encoding, (width, height) = self._encoding, self._tile_xy
        photometric = encoding.photometric
        if encoding.syntax in NATIVE:
            shape = (encoding.samples, height, width) if encoding.planar else (height, width, encoding.samples)
            values: NDArray[Any] = np.frombuffer(content, np.uint8).reshape(shape)
            values = values.transpose(1, 2, 0) if encoding.planar else values
        else:
            layout = Layout(
                rows=height,
                columns=width,
                samples=encoding.samples,
                bits=encoding.bits_allocated,
                stored=encoding.bits_stored,
                signed=False,
                photometric=photometric,
            )
            decoded = decode_frame(content, encoding.syntax, layout)
            values, photometric = decoded.values, decoded.photometric
        return rgb_from_ybr(values) if photometric.startswith("YBR") else values

    def _content(self, index: int) -> bytes:
        if self._file is None:
            self._file = self._path.open("rb")
        if not self._pieces:
            self._pieces = self._find(self._file)
        content = b""
        for offset, length in self._pieces[index]:
            self._file.seek(offset)
            content += self._file.read(length)
        if len(content) < sum(length for _, length in self._pieces[index]):
            raise unreadable(self._path.name, f"it ends inside frame {index + 1}")
        return content

    def _find(self, file: BinaryIO) -> list[list[Piece]]:
        """Where each frame lies."""
        with quiet_pydicom():
            dcmread(file, stop_before_pixels=True, specific_tags=["Rows"])  # leaves the file at the pixel data
        start = file.tell()
        if self._encoding.syntax in NATIVE:
            head = 8 if self._encoding.syntax == ImplicitVRLittleEndian else 12
            length = self._tile_xy[0] * self._tile_xy[1] * self._encoding.samples
            return [[(start + head + index * length, length)] for index in range(self._count)]
        table, fragments = self._walk(file, start + 12)
        if len(fragments) == self._count:
            return [[fragment] for fragment in fragments]
        if len(table) != self._count or not fragments:
            raise unreadable(self._path.name, f"{len(fragments)} pieces of pixel data for {self._count} frames")
        frames: list[list[Piece]] = [[] for _ in table]
        first = fragments[0][0]
        for fragment in fragments:
            frames[bisect_right(table, fragment[0] - first) - 1].append(fragment)
        return frames

    def _walk(self, file: BinaryIO, place: int) -> tuple[tuple[int, ...], list[Piece]]:
        """The basic offset table, and every fragment behind it."""
        pieces: list[Piece] = []
        while True:
            file.seek(place)
            tag, length = ITEM_HEAD.unpack(file.read(ITEM_HEAD.size))
            if tag == SEQUENCE_END:
                break
            if tag != ITEM or length == UNDEFINED:
                raise unreadable(self._path.name, "its pixel data is not a sequence of items")
            pieces.append((place + ITEM_HEAD.size, length))
            place += ITEM_HEAD.size + length
        if not pieces:
            return (), []
        file.seek(pieces[0][0])
        entries = pieces[0][1] // 4
        return struct.unpack(f"<{entries}I", file.read(4 * entries)), pieces[1:]
