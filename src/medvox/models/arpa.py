"""ARPA files <-> n-gram models. Streams; reads ``.arpa``, ``.arpa.gz`` and ``.arpa.xz``.

Before ``models/ngram`` in the path. Knows no audio and no acoustic model. Words of the file are pieces of the speech
model's vocabulary, in one of three spellings: the piece itself (``▁the``, ``ing``); the word mark written as ``#``
(``#the``, ``ing``); or that with a mark in front of every piece (``▁#the``, ``▁ing``), as the published MedASR recipe
does to make each piece a word of its own. The spelling that finds most of the vocabulary rules.
"""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, cast

import numpy as np

from medvox.errors import InputError
from medvox.models.ngram import (
    MAX_NGRAMS,
    MAX_ORDER,
    MAX_TOKENS,
    Floats,
    Ints,
    NgramLm,
    Table,
    is_compact,
    load_lm,
    sealed,
    vocabulary_hash,
)

MARK = "▁"
MAX_LINE, MAX_SLACK_LINES, XZ_MEMORY = 8192, 10_000, 256 * 2**20
BATCH = 10_000
NO_UNKNOWN = -100.0  # log10 of <unk> where the file lists none, as KenLM has it
NEVER = -99.0  # log10 by which ARPA files say "never predicted"
MAX_FOREIGN, MIN_COVERED = 0.1, 0.25  # of the file's words that are no piece; of the pieces that are in the file
SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda piece: piece,
    lambda piece: piece.replace(MARK, "#"),
    lambda piece: MARK + piece.replace(MARK, "#"),
)
FOREIGN, UNLISTED = -1, -2


def open_lm(path: Path, pieces: Sequence[str]) -> NgramLm:
    """A language model from its compact file or from ARPA, whichever it is; otherwise as ``read_arpa``."""
    return load_lm(path, pieces) if path.is_file() and is_compact(path) else read_arpa(path, pieces)


def read_arpa(path: Path, pieces: Sequence[str]) -> NgramLm:
    """Read an ARPA file, compressed or not.

    N-grams with a word that is no piece are left out: nothing can ask for them.

    Args:
        path: the file; its first bytes say how it is compressed.
        pieces: the speech model's vocabulary, in order of the ids.

    Raises:
        InputError: the file is missing, broken, cut off, too large, or of another vocabulary.
    """
    if not path.is_file():
        raise InputError(f"the language model {path.name} is missing", fix="check the path", code="E_LM_MISSING")
    named = [piece for piece in pieces if piece != "<unk>"]  # ids without a piece are <unk> too
    if not 0 < len(pieces) <= MAX_TOKENS or len(set(named)) != len(named):
        raise _fault("E_LM_VOCABULARY", "the speech model's vocabulary is empty, too large or has doubles")
    try:
        with path.open("rb") as raw, _inflated(raw) as stream:
            return _read(_Lines(stream=stream), pieces, path.name)
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise _fault("E_LM_TRUNCATED", "the compressed language model file is broken or cut off") from error


def write_arpa(lm: NgramLm, path: Path, pieces: Sequence[str]) -> None:
    """Write a model as ARPA, pieces spelled as they are; tokens without a word of their own are left out.

    Raises:
        InputError: the pieces are not those of the model, or one cannot be written.
    """
    if vocabulary_hash(pieces) != lm.vocabulary:
        raise _fault("E_LM_VOCABULARY", "the language model was made for another vocabulary")
    names = [*pieces, "<s>", "</s>", "<unk>"]
    listed = np.unique(np.append(lm.codes, [lm.tokens, lm.tokens + 1, lm.tokens + 2]))
    if any(len(names[word].encode().split()) != 1 or "\n" in names[word] for word in listed):
        raise _fault("E_LM_VOCABULARY", "a piece is empty or holds white space")
    counts = [len(listed), *lm.counts[1:]]
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\\data\\\n" + "".join(f"ngram {k}={count}\n" for k, count in enumerate(counts, start=1)))
        spelled: list[list[str]] = [names]
        for k, table in enumerate(lm.tables, start=1):
            if k > 1:
                before, last = np.divmod(table.keys[:-1], lm.words)
                spelled.append([f"{spelled[-1][b]} {names[w]}" for b, w in zip(before.tolist(), last.tolist())])
            file.write(f"\n\\{k}-grams:\n")
            for at in listed.tolist() if k == 1 else range(len(table.logp) - 1):
                back = f"\t{float(table.backoff[at]):.9g}" if k < lm.order else ""
                file.write(f"{float(table.logp[at]):.9g}\t{spelled[-1][at]}{back}\n")
        file.write("\n\\end\\\n")


class _Xz(io.RawIOBase):
    """An xz stream inflated within a memory limit, which ``lzma.open`` does not offer."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._inflate = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = b""
        while not data and not self._inflate.eof:
            fresh = self._raw.read(65536) if self._inflate.needs_input else b""
            if not fresh and self._inflate.needs_input:
                raise EOFError
            data = self._inflate.decompress(fresh, max_length=len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _inflated(raw: IO[bytes]) -> IO[bytes]:
    """The stream itself, or inflated by what its first bytes say."""
    head = raw.read(6)
    raw.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    if head.startswith(b"\xfd7zXZ\x00"):
        return cast(IO[bytes], io.BufferedReader(_Xz(raw), 2**20))
    return raw


@dataclass(kw_only=True, slots=True)
class _Lines:
    """Lines of a stream, counted and bounded."""

    stream: IO[bytes]
    number: int = 0
    limit: int = MAX_SLACK_LINES
    kept: list[bytes] = field(default_factory=list)

    def next(self) -> bytes:
        """The next line that is not empty."""
        if self.kept:
            return self.kept.pop()
        while True:
            line = self.stream.readline(MAX_LINE + 1)
            self.number += 1
            if not line:
                raise _fault(
                    "E_LM_TRUNCATED", f"the language model file ends at line {self.number}, before its end mark"
                )
            if len(line) > MAX_LINE or self.number > self.limit:
                raise _fault(
                    "E_LM_FORMAT", f"line {self.number} of the language model file is too long or one too many"
                )
            if stripped := line.strip():
                return stripped


def _read(lines: _Lines, pieces: Sequence[str], file: str) -> NgramLm:
    try:
        while lines.next() != b"\\data\\":
            pass
    except InputError as error:
        fix = "give an ARPA file, or learn a model from texts first: medvox models lm TEXT... --out FILE"
        raise InputError(f"{file} is no language model: it has no line \\data\\", fix=fix, code=error.code) from error
    counts = _counts(lines)
    lines.limit = lines.number + sum(counts) + MAX_SLACK_LINES
    unigrams = _unigrams(lines, counts[0], last=len(counts) == 1)
    spelling = _spelling(unigrams, pieces)
    ids, codes = _words(unigrams, pieces, spelling)
    words = len(pieces) + 3
    logp = np.full(words, NEVER, dtype=np.float32)
    backoff = np.zeros(words if len(counts) > 1 else 0, dtype=np.float32)
    logp[words - 1] = NO_UNKNOWN
    for name, (chance, back) in unigrams.items():
        if ids[name] >= 0:
            logp[ids[name]] = chance
            backoff[ids[name] : ids[name] + 1] = back
    tables = [sealed(np.arange(words, dtype=np.int64), logp, backoff)]
    for order, count in enumerate(counts[1:], start=2):
        tables.append(_section(lines, count, ids, tables, last=order == len(counts)))
    if lines.next() != b"\\end\\":
        raise _fault("E_LM_COUNT", f"line {lines.number}: more n-grams or sections than the file announces")
    return NgramLm(vocabulary=vocabulary_hash(pieces), codes=codes, tables=tuple(tables))


def _counts(lines: _Lines) -> list[int]:
    """The announced numbers of n-grams; leaves the first section's head to be read."""
    counts: list[int] = []
    while (line := lines.next()).startswith(b"ngram "):
        order, _, count = line[6:].partition(b"=")
        order, count = order.strip(), count.strip()
        if not (order.isdigit() and count.isdigit() and len(count) < 20):
            raise _fault("E_LM_FORMAT", f"line {lines.number} of the language model file is no count")
        if int(order) != len(counts) + 1 or len(counts) == MAX_ORDER:
            raise _fault("E_LM_ORDER", f"line {lines.number}: orders must run from 1, to {MAX_ORDER} at most")
        counts.append(int(count))
        if counts[-1] > (MAX_TOKENS if len(counts) == 1 else MAX_NGRAMS):
            raise _fault("E_LM_TOO_LARGE", f"the language model announces too many n-grams of order {len(counts)}")
    if not counts:
        raise _fault("E_LM_FORMAT", "the language model file announces no n-grams")
    lines.kept.append(line)
    return counts


def _head(lines: _Lines, order: int) -> None:
    if lines.next() != b"\\%d-grams:" % order:
        raise _fault("E_LM_SECTION", f"line {lines.number}: the section of order {order} should start here")


def _entries(lines: _Lines, count: int, order: int, *, last: bool) -> tuple[list[list[bytes]], Floats, Floats]:
    """Words, log-probabilities and back-offs of the next n-grams."""
    split = [lines.next().split() for _ in range(count)]
    sizes = set(map(len, split))
    if not sizes <= ({order + 1} if last else {order + 1, order + 2}):
        ends = any(len(fields) == 1 and fields[0].startswith(b"\\") for fields in split)
        if ends:
            raise _fault("E_LM_COUNT", f"before line {lines.number}: fewer n-grams of order {order} than announced")
        raise _fault("E_LM_FORMAT", f"at or before line {lines.number}: this is no n-gram of order {order}")
    logp = _chances([fields[0] for fields in split], lines)
    back = _numbers([fields[order + 1] if len(fields) > order + 1 else b"0" for fields in split], lines)
    return [fields[1 : order + 1] for fields in split], logp, back


def _numbers(fields: list[bytes], lines: _Lines) -> Floats:
    """Finite numbers."""
    try:
        numbers = np.array(list(map(float, fields)), dtype=np.float32)
    except ValueError as error:
        raise _fault("E_LM_NUMBER", f"no number where one should be, at or before line {lines.number}") from error
    if not np.isfinite(numbers).all():
        raise _fault("E_LM_NUMBER", f"a number is not finite, at or before line {lines.number}")
    return numbers


def _chances(fields: list[bytes], lines: _Lines) -> Floats:
    """Log-probabilities; rounding may lift a certain one a little above 0."""
    numbers = _numbers(fields, lines)
    if (numbers > 1e-3).any():
        raise _fault("E_LM_NUMBER", f"a log-probability is positive, at or before line {lines.number}")
    return np.minimum(numbers, 0)


def _unigrams(lines: _Lines, count: int, *, last: bool) -> dict[bytes, tuple[float, float]]:
    _head(lines, 1)
    words, logp, backoff = _entries(lines, count, 1, last=last)
    unigrams: dict[bytes, tuple[float, float]] = {}
    for (word,), chance, back in zip(words, logp.tolist(), backoff.tolist()):
        name = b"<unk>" if word == b"<UNK>" else word
        if name in unigrams:
            raise _fault("E_LM_DUPLICATE", f"a word is there twice, before line {lines.number}")
        unigrams[name] = (chance, back)
    if b"<s>" not in unigrams or b"</s>" not in unigrams:
        raise _fault("E_LM_FORMAT", "the language model has no <s> or no </s>")
    return unigrams


def _spelling(unigrams: dict[bytes, tuple[float, float]], pieces: Sequence[str]) -> Callable[[str], str]:
    """The way in which the file spells pieces, or the refusal of another vocabulary's file."""
    special = {b"<s>", b"</s>", b"<unk>"}
    plain = [piece for piece in pieces if piece.encode() not in special]
    hits = [sum(spell(piece).encode() in unigrams for piece in plain) for spell in SPELLINGS]
    best = int(np.argmax(hits))
    foreign = len(set(unigrams) - special) - hits[best]
    if foreign > MAX_FOREIGN * len(unigrams) or hits[best] < MIN_COVERED * len(plain):
        raise _fault(
            "E_LM_VOCABULARY",
            f"the language model has {hits[best]} of the speech model's {len(plain)} pieces and {foreign} more words",
        )
    return SPELLINGS[best]


def _words(
    unigrams: dict[bytes, tuple[float, float]], pieces: Sequence[str], spell: Callable[[str], str]
) -> tuple[dict[bytes, int], Ints]:
    """Code of each word of the file (or FOREIGN), and the code of each token id."""
    start, end, unknown = range(len(pieces), len(pieces) + 3)
    ids = dict.fromkeys(unigrams, FOREIGN)
    codes = np.full(len(pieces), unknown, dtype=np.int64)
    for token, piece in enumerate(pieces):
        name = spell(piece).encode()
        if piece == "</s>":
            codes[token] = end
        elif name in unigrams and piece not in {"<s>", "<unk>"}:
            ids[name] = codes[token] = token
    ids |= {b"<s>": start, b"</s>": end, b"<unk>": unknown, b"<UNK>": unknown}
    return ids, codes


def _section(lines: _Lines, count: int, ids: dict[bytes, int], below: list[Table], *, last: bool) -> Table:
    """The n-grams of one order above 1."""
    order = len(below) + 1
    _head(lines, order)
    parts: list[tuple[Ints, Floats, Floats]] = []
    for first in range(0, count, BATCH):
        entries = _entries(lines, min(BATCH, count - first), order, last=last)
        parts.append(_batch(lines, entries, ids, below))
    if not parts:
        return sealed(np.empty(0, dtype=np.int64), *(np.empty(0, dtype=np.float32),) * 2)
    keys, logp, backoff = (np.concatenate(columns) for columns in zip(*parts))
    rank = np.argsort(keys, kind="stable")
    keys = keys[rank]
    if (keys[1:] == keys[:-1]).any():
        raise _fault("E_LM_DUPLICATE", f"an n-gram of order {order} is there twice, before line {lines.number}")
    return sealed(keys, logp[rank], backoff[rank][: 0 if last else None])


def _batch(
    lines: _Lines, entries: tuple[list[list[bytes]], Floats, Floats], ids: dict[bytes, int], below: list[Table]
) -> tuple[Ints, Floats, Floats]:
    """Keys, log-probabilities and back-offs of some n-grams of one order, in the order of the file."""
    names, logp, backoff = entries
    flat = [ids.get(name, UNLISTED) for name in chain.from_iterable(names)]
    words = np.array(flat, dtype=np.int64).reshape(len(names), -1)
    if (words == UNLISTED).any():
        raise _fault("E_LM_WORD", f"a word is not among the 1-grams, at or before line {lines.number}")
    own = (words != FOREIGN).all(axis=1)
    words, logp, backoff = words[own], logp[own], backoff[own]
    width = len(below[0].logp) - 1
    context = words[:, 0]
    for table, word in zip(below[1:], words.T[1:-1]):
        context, found = table.find(context * width + word)
        if not found.all():
            raise _fault(
                "E_LM_CONTEXT", f"the first words of an n-gram are not listed, at or before line {lines.number}"
            )
    return context * width + words[:, -1], logp, backoff


def _fault(code: str, message: str) -> InputError:
    fixes = {
        "E_LM_VOCABULARY": "use a language model over this speech model's own pieces, or build one from text",
        "E_LM_TRUNCATED": "copy or download the language model file again",
        "E_LM_TOO_LARGE": "prune the language model",
    }
    return InputError(message, fix=fixes.get(code, "write the ARPA file again with its toolkit"), code=code)
