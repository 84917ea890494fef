"""How much of anything a reader accepts. Checked before memory is taken; every limit can be raised by the caller.

Used by every reader in ``data``. Knows no format.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB, GIB = 2**20, 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Upper bounds on what comes in.

    Attributes:
        files: files below a folder, and members of an archive.
        file_bytes: one file on disk.
        archive_bytes: everything in an archive, unpacked.
        inflate_ratio: unpacked bytes per packed byte of one stream; small streams (below 1 MiB unpacked) are exempt.
        inflate_bytes: one unpacked stream.
        dicom_depth: nested sequences.
        dicom_elements: elements in a data set, nested ones included.
        frames: frames in a DICOM object.
        decoded_bytes: decoded pixels of one volume or object.
        picture_pixels: pixels of a 2-D picture.
        picture_side: longest side of a 2-D picture.
        picture_min_side: shortest side of a 2-D picture.
        picture_aspect: longest side over shortest side.
        region_pixels: pixels of one region read from a slide.
        pages: pages of a document.
        page_pixels: pixels of one rendered page.
        text_bytes: one text, note or record file.
        json_depth: nested objects and lists.
        xml_depth: nested elements.
        audio_s: seconds of sound.
        audio_channels: channels of sound.
        audio_rate_hz: lowest and highest sample rate.
        child_bytes: address space of a limited child process, above what it starts with.
        child_cpu_s: processor time of a limited child process.
    """

    files: int = 20_000
    file_bytes: int = 2 * GIB
    archive_bytes: int = 8 * GIB
    inflate_ratio: int = 200
    inflate_bytes: int = GIB
    dicom_depth: int = 32
    dicom_elements: int = 200_000
    frames: int = 20_000
    decoded_bytes: int = 2 * GIB
    picture_pixels: int = 50_000_000
    picture_side: int = 16_384
    picture_min_side: int = 8
    picture_aspect: int = 64
    region_pixels: int = 64_000_000
    pages: int = 500
    page_pixels: int = 50_000_000
    text_bytes: int = 50 * MIB
    json_depth: int = 64
    xml_depth: int = 256
    audio_s: float = 7200.0
    audio_channels: int = 8
    audio_rate_hz: tuple[int, int] = (8_000, 192_000)
    child_bytes: int = 2 * GIB
    child_cpu_s: int = 30


DEFAULT_LIMITS = Limits()
