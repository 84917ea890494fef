"""Broken files for the fuzzer: one mutation of one seed, the same for the same numbers on every machine."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom

Random = np.random.Generator
Mutation = Callable[[bytes, Random], bytes]

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
TAG_VALUES = (
    None, 0, -1, 1, 2, 8, 16, 255, 65_535, 2**31, 1e308, "", "0", "-1", "NaN", "inf", "1e999", "A\\B", "ü" * 70, [0],
    [0, 0], [1] * 20, b"", b"\0" * 7,
)  # fmt: skip
JSON_VALUES = (
    None, True, 0, -1, 1.5, 1e308, 10**400, "", "x" * 10_000, [], {}, [[]], {"a": {}}, "\ud800", "2020-13-45",
)  # fmt: skip


def mutate(content: bytes, kind: str, random: Random) -> bytes:
    """One or two mutations; of ``nifti`` that is gzipped and of ``png`` half of the time below the checksums."""
    if content.startswith(b"\x1f\x8b") and random.random() < 0.5:
        return gzip.compress(mutate(gzip.decompress(content), kind, random), 1, mtime=0)
    choices = [*MUTATIONS, *OWN_MUTATIONS.get(kind, ()) * len(MUTATIONS)]
    for _ in range(random.integers(1, 3)):
        content = choices[random.integers(len(choices))](content, random)
    if kind == "png" and random.random() < 0.5:
        content = _with_right_checksums(content)
    return content


def truncate(content: bytes, random: Random) -> bytes:
    return content[: random.integers(len(content) + 1)]


def flip(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.integers(1, 9)):
        if changed:
            changed[_place(changed, random)] ^= 1 << random.integers(8)
    return bytes(changed)


def tamper_length(content: bytes, random: Random) -> bytes:
    """Overwrite a number of 1 to 8 bytes with an extreme one, or move it a little."""
    form = "<>"[random.integers(2)] + "BHIQ"[random.integers(4)]
    size = struct.calcsize(form)
    if len(content) < size:
        return content
    place = min(_place(content, random), len(content) - size)
    was = struct.unpack_from(form, content, place)[0]
    new = (EXTREMES[random.integers(len(EXTREMES))], was + 1, was - 1, was * 2)[random.integers(4)]
    changed = bytearray(content)
    struct.pack_into(form, changed, place, new % 2 ** (8 * size))
    return bytes(changed)


def duplicate(content: bytes, random: Random) -> bytes:
    start, end = _piece(content, random)
    return content[:end] + content[start:end] * int(random.integers(1, 4)) + content[end:]


def delete(content: bytes, random: Random) -> bytes:
    start, end = _piece(content, random)
    return content[:start] + content[end:]


def insert(content: bytes, random: Random) -> bytes:
    place = _place(content, random)
    return content[:place] + random.bytes(random.integers(1, 65)) + content[place:]


def tamper_tag(content: bytes, random: Random) -> bytes:
    """Give an element of a DICOM file another value or VR, or take it out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(io.BytesIO(content), force=True)
            tags = [element.tag for element in dataset if element.tag.group in {0x0008, 0x0018, 0x0020, 0x0028, 0x5200}]
            tag = tags[random.integers(len(tags))]
            if random.random() < 0.2:
                del dataset[tag]
            else:
                value: Any = TAG_VALUES[random.integers(len(TAG_VALUES))]
                vr = (
                    dataset[tag].VR
                    if random.random() < 0.8
                    else ("US", "SS", "DS", "IS", "UI", "LO", "OB")[random.integers(7)]
                )
                dataset[tag] = pydicom.DataElement(tag, vr, value, validation_mode=0)
            file = io.BytesIO()
            dataset.save_as(file, enforce_file_format=False)
        except Exception:  # pydicom refuses to write much of what it reads
            return flip(content, random)
    return file.getvalue()


def tamper_json(content: bytes, random: Random) -> bytes:
    """Replace, rename, remove, double or nest one node."""
    try:
        root = json.loads(content)
    except ValueError:
        return flip(content, random)
    nodes = list(_nodes(root))
    if not nodes:
        return content
    parent, key = nodes[random.integers(len(nodes))]
    act = random.integers(6)
    if act == 0:
        del parent[key]
    elif act == 1 and isinstance(parent, dict):
        parent[f"{key}x"] = parent.pop(key)
    elif act == 2 and isinstance(parent, list):
        parent.append(parent[key])
    elif act == 3:
        for _ in range(random.integers(1, 200)):
            parent[key] = [parent[key]]
    else:
        parent[key] = JSON_VALUES[random.integers(len(JSON_VALUES))]
    return json.dumps(root).encode("utf-8", "surrogatepass")


def tamper_number(content: bytes, random: Random) -> bytes:
    """Replace a number that is written in digits (PDF)."""
    found = list(re.finditer(rb"\d+", content))
    if not found:
        return content
    match = found[random.integers(len(found))]
    new = (b"0", b"-1", b"99999999999999999999", b"2147483647", b"1e9", b"3.4e38", b"")[random.integers(7)]
    return content[: match.start()] + new + content[match.end() :]


MUTATIONS: tuple[Mutation, ...] = (truncate, flip, flip, tamper_length, tamper_length, duplicate, delete, insert)
OWN_MUTATIONS: dict[str, tuple[Mutation, ...]] = {
    "dicom": (tamper_tag,),
    "fhir": (tamper_json,),
    "pdf": (tamper_number,),
}


def _place(content: bytes | bytearray, random: Random) -> int:
    """Half of the time in the first 512 bytes, where the headers are."""
    size = len(content) if random.random() < 0.5 else min(512, len(content))
    return int(random.integers(max(1, size)))


def _piece(content: bytes, random: Random) -> tuple[int, int]:
    start = _place(content, random)
    return start, start + int(random.integers(1, 257))


def _nodes(node: Any) -> Any:
    for key in node if isinstance(node, dict) else range(len(node)):
        yield node, key
        if isinstance(node[key], dict | list):
            yield from _nodes(node[key])


def _with_right_checksums(content: bytes) -> bytes:
    """The chunks of a PNG with their checksums made right, so that damage gets past them."""
    out, place = [content[:8]], 8
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        end = place + 8 + length
        if end + 4 > len(content):
            break
        out += [content[place:end], zlib.crc32(content[place + 4 : end]).to_bytes(4, "big")]
        place = end + 4
    return b"".join([*out, content[place:]])
