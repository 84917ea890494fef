"""A sequential JPEG encoder for 12-bit grey (ITU-T T.81, process 4), small and slow, to have an oracle for decoders.

Quantises by 1 and uses Huffman codes of one length, so that what is encoded can be told by reading this file.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def _along_diagonals(place: int) -> tuple[int, int]:
    row, column = divmod(place, 8)
    return row + column, row if (row + column) % 2 else column


ZIGZAG = sorted(range(64), key=_along_diagonals)
DC_SYMBOLS, DC_BITS = list(range(16)), 5
AC_SYMBOLS, AC_BITS = [run << 4 | size for run in range(16) for size in range(15)], 8  # 240 codes, none all ones


def encode_12_bit(pixels: NDArray[np.uint16]) -> bytes:
    """Encode (R, C), both a multiple of 8, with the level shift of 2048 that 12 bits have."""
    rows, columns = pixels.shape
    u, x = np.mgrid[:8, :8]
    basis = np.where(u == 0, np.sqrt(1 / 8), np.sqrt(2 / 8)) * np.cos((2 * x + 1) * u * np.pi / 16)
    bits: list[str] = []
    before = 0
    for top in range(0, rows, 8):
        for left in range(0, columns, 8):
            block = pixels[top : top + 8, left : left + 8].astype(float) - 2048
            values = np.rint(basis @ block @ basis.T).astype(int).reshape(64)[ZIGZAG].tolist()
            bits += _coded(DC_SYMBOLS, DC_BITS, 0, values[0] - before)
            before, run = values[0], 0
            last = max((place for place in range(1, 64) if values[place]), default=0)
            for value in values[1 : last + 1]:
                if not value:
                    run += 1
                    continue
                while run > 15:
                    bits.append(f"{AC_SYMBOLS.index(0xF0):0{AC_BITS}b}")
                    run -= 16
                bits += _coded(AC_SYMBOLS, AC_BITS, run, value)
                run = 0
            if last < 63:
                bits.append(f"{AC_SYMBOLS.index(0):0{AC_BITS}b}")
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    coded = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\0")
    frame = b"\x0c" + rows.to_bytes(2, "big") + columns.to_bytes(2, "big") + b"\1\1\x11\0"
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xDB, b"\0" + b"\1" * 64),
            _segment(0xC1, frame),
            _segment(0xC4, b"\0" + _lengths(DC_BITS, len(DC_SYMBOLS)) + bytes(DC_SYMBOLS)),
            _segment(0xC4, b"\x10" + _lengths(AC_BITS, len(AC_SYMBOLS)) + bytes(AC_SYMBOLS)),
            _segment(0xDA, b"\1\1\0\0\x3f\0"),
            coded,
            b"\xff\xd9",
        )
    )


def _coded(symbols: list[int], length: int, run: int, value: int) -> list[str]:
    size = abs(value).bit_length()
    code = f"{symbols.index(run << 4 | size):0{length}b}"
    return [code, f"{value if value > 0 else value + (1 << size) - 1:0{size}b}"] if size else [code]


def _segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def _lengths(bits: int, count: int) -> bytes:
    return bytes(count if length == bits else 0 for length in range(1, 17))
