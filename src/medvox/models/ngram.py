"""Back-off n-gram language models over token ids: scoring of many (state, token) pairs at once, and their own file.

Beside ``models/ctc`` in the path: ``models/beam`` asks it while it searches; ``models/arpa`` and ``models/kneser_ney``
make one. Knows no text, no audio and no acoustic model.

Layout: the n-grams of order k are one sorted array of int64 keys, ``index of the first k-1 words in order k-1`` times
the number of words plus ``last word``. A state is, for each length 1..N-1, the index of the last words of that length,
or -1; so a step is one binary search per order, for any number of pairs. Every array ends with a sentinel (a key beyond
all others, a back-off of 0), so index -1 needs no branch. Numbers are log10 inside, as in ARPA, natural log outside.

Legend: B pairs, N order, V tokens of the model, W = V + 3 words (the tokens, then <s>, </s>, <unk>).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medvox.errors import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

MAX_ORDER = 10
MAX_NGRAMS = 2**29  # of one order; with MAX_TOKENS every key fits int64
MAX_TOKENS = 2**20
LN10 = math.log(10.0)
NO_KEY = np.iinfo(np.int64).max
MAGIC, VERSION, ALIGN, MAX_HEADER = b"medvoxLM", 1, 64, 65536


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Table:
    """The n-grams of one order, sorted by key; each array has one sentinel more than there are n-grams."""

    keys: Ints  # order 1: 0..W-1
    logp: Floats  # log10
    backoff: Floats  # log10; only the sentinel in the highest order

    def find(self, keys: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """Where each key is, and whether it is there."""
        at = self.keys.searchsorted(keys)
        return at, self.keys[at] == keys


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NgramLm:
    """A back-off n-gram model over the token ids of one vocabulary.

    Attributes:
        vocabulary: ``vocabulary_hash`` of the model's pieces, in order of their ids.
        codes: (V,) the word of each token id; tokens that the model does not know share the word <unk>.
        tables: one per order, from 1.
    """

    vocabulary: str
    codes: Ints
    tables: tuple[Table, ...]

    @property
    def order(self) -> int:
        """The longest n-gram."""
        return len(self.tables)

    @property
    def tokens(self) -> int:
        """V, the size of the speech model's vocabulary."""
        return len(self.codes)

    @property
    def words(self) -> int:
        """W: the tokens and <s>, </s>, <unk>."""
        return self.tokens + 3

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of n-grams of each order (order 1: of words, listed or not)."""
        return tuple(len(table.logp) - 1 for table in self.tables)

    def start(self) -> Ints:
        """(N-1,) The state at the beginning of a sentence."""
        state = np.full(self.order - 1, -1, dtype=np.int64)
        state[:1] = self.tokens
        return state

    def score(self, states: Ints, tokens: Ints) -> tuple[NDArray[np.float64], Ints]:
        """Natural-log probability of each token after its state, and the states that follow.

        Args:
            states: (B, N-1).
            tokens: (B,) ids of the speech model's vocabulary.
        """
        return self._step(states, self.codes[tokens])

    def end(self, states: Ints) -> NDArray[np.float64]:
        """(B,) Natural-log probability that the sentence ends after each state (B, N-1)."""
        return self._step(states, np.full(len(states), self.tokens + 1, dtype=np.int64))[0]

    def unknown(self) -> NDArray[np.bool_]:
        """(V,) Whether the model has no word for the token."""
        return self.codes == self.tokens + 2

    def ends(self) -> NDArray[np.bool_]:
        """(V,) Whether the token is the sentence end itself, as some speech models emit it."""
        return self.codes == self.tokens + 1

    def sentence(self, tokens: Sequence[int]) -> float:
        """Natural-log probability of a whole sentence, its end included."""
        states = self.start()[None]
        total = 0.0
        for token in tokens:
            gain, states = self.score(states, np.array([token], dtype=np.int64))
            total += float(gain[0])
        return total + float(self.end(states)[0])

    def _step(self, states: Ints, words: Ints) -> tuple[NDArray[np.float64], Ints]:
        """From the shortest context up: the listed n-gram, else the back-off of its context and the result below."""
        following = np.empty_like(states)
        logp = self.tables[0].logp[words].astype(np.float64)
        following[:, :1] = words[:, None]
        for k in range(1, self.order):
            context = states[:, k - 1]
            at, found = self.tables[k].find(context * self.words + words)  # context -1: a negative key, never found
            logp = np.where(found, self.tables[k].logp[at], logp + self.tables[k - 1].backoff[context])
            if k < self.order - 1:
                following[:, k] = np.where(found, at, -1)
        return logp * LN10, following


def vocabulary_hash(pieces: Sequence[str]) -> str:
    """SHA-256 of the pieces in order of their ids."""
    return hashlib.sha256(json.dumps(list(pieces), ensure_ascii=False).encode()).hexdigest()


def sealed(keys: Ints, logp: Floats, backoff: Floats) -> Table:
    """A table from sorted arrays without sentinels."""
    zero = np.zeros(1, dtype=np.float32)
    return Table(
        keys=np.append(keys, NO_KEY),
        logp=np.append(logp.astype(np.float32), zero),
        backoff=np.append(backoff.astype(np.float32), zero),
    )


def save_lm(lm: NgramLm, path: Path) -> None:
    """Write the model as one file that ``load_lm`` maps into memory; it is complete or absent."""
    header = json.dumps({"tokens": lm.tokens, "vocabulary": lm.vocabulary, "counts": lm.counts}).encode()
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(MAGIC + np.array([VERSION, len(header)], dtype="<u4").tobytes() + header)
            for array in [lm.codes, *(part for table in lm.tables for part in (table.keys, table.logp, table.backoff))]:
                file.write(b"\0" * (-file.tell() % ALIGN))
                np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tofile(file)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_lm(path: Path, pieces: Sequence[str]) -> NgramLm:
    """Map a file of ``save_lm`` into memory.

    Args:
        path: the file.
        pieces: the speech model's vocabulary, in order of the ids.

    Raises:
        InputError: no such file, another format or version, cut off, or made for another vocabulary.
    """
    if not path.is_file():
        raise InputError("the language model file is missing", fix="check the path", code="E_LM_MISSING")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(len(MAGIC) + 8)
        if len(head) < len(MAGIC) + 8 or not head.startswith(MAGIC):
            raise _broken("is not a compact language model")
        version, length = (int(value) for value in np.frombuffer(head[len(MAGIC) :], dtype="<u4"))
        if version != VERSION:
            raise InputError(
                f"the language model file has version {version}; this program reads version {VERSION}",
                fix="build the file again from its ARPA file or its text",
                code="E_LM_VERSION",
            )
        header = file.read(length) if length <= MAX_HEADER else b""
    counts, vocabulary = _header(header, pieces)
    arrays: list[np.ndarray] = []
    offset = len(head) + length
    for dtype, count in _arrays(len(pieces), counts):
        offset += -offset % ALIGN
        if offset + count * dtype.itemsize > size:
            raise _broken("is cut off")
        arrays.append(np.asarray(np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=(count,))))
        offset += count * dtype.itemsize
    if offset != size:
        raise _broken("is longer than its header says")
    codes, parts = arrays[0], arrays[1:]
    ends = [int(parts[3 * k][-1]) for k in range(len(counts))]
    if codes.min() < 0 or codes.max() >= len(pieces) + 3 or any(end != NO_KEY for end in ends):
        raise _broken("holds impossible numbers")
    tables = tuple(
        Table(keys=keys, logp=logp, backoff=backoff)
        for keys, logp, backoff in zip(parts[0::3], parts[1::3], parts[2::3])
    )
    return NgramLm(vocabulary=vocabulary, codes=codes, tables=tables)


def is_compact(path: Path) -> bool:
    """Whether the file is one of ``save_lm``."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _header(header: bytes, pieces: Sequence[str]) -> tuple[list[int], str]:
    """Counts of the n-grams and the vocabulary, checked."""
    try:
        fields = json.loads(header)
        tokens, vocabulary, counts = fields["tokens"], fields["vocabulary"], fields["counts"]
    except (ValueError, KeyError, TypeError) as error:
        raise _broken("has no readable header") from error
    if not isinstance(counts, list) or not 1 <= len(counts) <= MAX_ORDER:
        raise _broken("has an impossible order")
    if not all(type(count) is int and 0 <= count <= MAX_NGRAMS for count in counts):
        raise _broken("has impossible counts")
    if tokens != len(pieces) or vocabulary != vocabulary_hash(pieces):
        raise InputError(
            "the language model was made for another vocabulary than the speech model's",
            fix="build the language model with this speech model's tokenizer",
            code="E_LM_VOCABULARY",
        )
    if counts[0] != tokens + 3:
        raise _broken("has impossible counts")
    return counts, vocabulary


def _arrays(tokens: int, counts: list[int]) -> list[tuple[np.dtype, int]]:
    """Types and lengths of the arrays in the file, in order."""
    ints, floats = np.dtype("<i8"), np.dtype("<f4")
    arrays: list[tuple[np.dtype, int]] = [(ints, tokens)]
    for k, count in enumerate(counts, start=1):
        backoffs = 1 if k == len(counts) else count + 1
        arrays += [(ints, count + 1), (floats, count + 1), (floats, backoffs)]
    return arrays


def _broken(what: str) -> InputError:
    return InputError(
        f"the language model file {what}",
        fix="copy the file again, or build it again from its ARPA file or its text",
        code="E_LM_FORMAT",
    )
