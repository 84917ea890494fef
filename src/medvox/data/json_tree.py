"""JSON bytes -> plain Python values, strictly: what two readers could understand differently is refused.

Used by ``record``. Decimals keep their digits (``Decimal``), as FHIR demands; whole numbers are ``int``. Knows no
vocabulary.

Source: RFC 8259 section 4 (names should be unique), section 6 (no NaN), section 8 (UTF-8); FHIR R4 datatypes, decimal.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np

from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.errors import BudgetError, InputError

MAX_VALUES = 4_000_000  # values and names of one document, about 70 bytes each in memory
MAX_DIGITS = 40  # of one number; FHIR needs 18
MAX_EXPONENT = 400
STEP_BYTES = 2**20
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_HALF_PAIR = re.compile("[\ud800-\udfff]")


def parse_json(content: bytes, name: str, *, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Parse one JSON document in UTF-8 (with or without a mark), UTF-16 or UTF-32.

    Args:
        content: the document.
        name: what to call it in an error.
        limits: ``text_bytes`` and ``json_depth`` are used, before anything is built.

    Raises:
        InputError: ``E_JSON_UNREADABLE`` (not JSON, NaN or infinity, half of a surrogate pair), ``E_JSON_ENCODING``,
            ``E_JSON_DUPLICATE_KEY``, ``E_JSON_NUMBER`` (absurdly long or large).
        BudgetError: ``E_JSON_LIMIT``.
    """
    if len(content) > limits.text_bytes:
        raise _too_much(name, f"{len(content)} bytes of JSON; the limit is {limits.text_bytes}")
    try:
        text = content.decode(json.detect_encoding(content))
    except UnicodeError:
        raise _no_utf8(name) from None
    _check_structure(content if content.isascii() else text.encode(), name, limits.json_depth)
    return _loads(text, name)


def parse_json_lines(content: bytes, name: str, *, limits: Limits = DEFAULT_LIMITS) -> Iterator[tuple[int, Any]]:
    """Parse newline-delimited JSON in UTF-8; gives line number, from 1, and value; empty lines are passed over.

    Raises:
        InputError, BudgetError: as ``parse_json``; the limits hold for the whole file.
    """
    if len(content) > limits.text_bytes:
        raise _too_much(name, f"{len(content)} bytes of JSON; the limit is {limits.text_bytes}")
    _check_structure(content, name, limits.json_depth)
    for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        if line.strip():
            where = f"line {number} of {name}"
            try:
                text = line.decode()
            except UnicodeError:
                raise _no_utf8(where) from None
            yield number, _loads(text, where)


def _loads(text: str, name: str) -> Any:
    numbers = _Numbers(name)
    try:
        value = json.loads(
            text,
            parse_int=numbers.whole,
            parse_float=numbers.decimal,
            parse_constant=numbers.constant,
            object_pairs_hook=lambda pairs: _unique(pairs, name),
        )
    except InputError:
        raise
    except Exception:  # JSONDecodeError, and what hostile input makes of its C code: RecursionError, MemoryError
        raise _unreadable(name, "is not JSON") from None
    if "\\u" in text and _has_half_pair(value):
        raise _unreadable(name, "holds half of a surrogate pair")
    return value


class _Numbers:
    def __init__(self, name: str) -> None:
        self._name = name

    def whole(self, text: str) -> int:
        if len(text) > MAX_DIGITS:
            raise self._absurd()
        return int(text)

    def decimal(self, text: str) -> Decimal:
        if len(text) > MAX_DIGITS:
            raise self._absurd()
        number = Decimal(text)
        if abs(number.adjusted()) > MAX_EXPONENT:
            raise self._absurd()
        return number

    def constant(self, _text: str) -> Any:
        raise _unreadable(self._name, "holds NaN or infinity, which JSON does not know")

    def _absurd(self) -> InputError:
        return InputError(
            f"{self._name} holds a number of more than {MAX_DIGITS} digits or beyond 1e{MAX_EXPONENT}",
            fix="export the file again",
            code="E_JSON_NUMBER",
        )


def _check_structure(content: bytes, name: str, max_depth: int) -> None:
    """Bound the nesting and the number of values without building any."""
    bare = _STRINGS.sub(b"", content)
    opened = bare.count(b"{") + bare.count(b"[")
    if opened + bare.count(b",") + bare.count(b":") > MAX_VALUES:
        raise _too_much(name, f"more than {MAX_VALUES} values")
    if opened <= max_depth:
        return
    depth = 0
    for place in range(0, len(bare), STEP_BYTES):
        part = np.frombuffer(bare, np.uint8, min(STEP_BYTES, len(bare) - place), place)
        step = ((part == ord("{")) | (part == ord("["))).astype(np.int32)
        step -= (part == ord("}")) | (part == ord("]"))
        depths = depth + np.cumsum(step)
        if depths.max() > max_depth:
            raise _too_much(name, f"values nested deeper than {max_depth}")
        depth = int(depths[-1])


def _unique(pairs: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise InputError(
            f"{name} gives a name twice in one object, so its value is ambiguous",
            fix="export the file again with a writer that does not repeat names",
            code="E_JSON_DUPLICATE_KEY",
        )
    return values


def _has_half_pair(value: Any) -> bool:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str) and _HALF_PAIR.search(item):
            return True
    return False


def _no_utf8(name: str) -> InputError:
    return InputError(f"{name} is not UTF-8", fix="save the JSON as UTF-8", code="E_JSON_ENCODING")


def _unreadable(name: str, problem: str) -> InputError:
    return InputError(f"{name} {problem}", fix="export the file again as JSON in UTF-8", code="E_JSON_UNREADABLE")


def _too_much(name: str, what: str) -> BudgetError:
    return BudgetError(f"{name} holds {what}", fix="split the file, or raise the limit", code="E_JSON_LIMIT")
