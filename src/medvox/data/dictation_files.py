"""Files that steer dictation -> values: a report template, auto-texts, corrections. Beside ``phrases``.

All are plain UTF-8 text in which lines that start with # are comments. Knows no grammar and no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from medvox.data.limits import MIB
from medvox.data.text_file import file_bytes, plain_text
from medvox.errors import InputError, UsageError

MOST_BYTES = MIB
MOST_CORRECTIONS, MOST_AUTO_TEXTS = 20_000, 2_000
LONGEST_NAME, LONGEST_PHRASE = 6, 12  # words
_NAME_LINE = re.compile(r"==\s*(.*?)\s*==")
_SPOKEN = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*(?: [A-Za-z]+(?:['-][A-Za-z]+)*)*")
_SHIPPED = resources.files("medvox.data").joinpath("templates")


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """What a report starts from: its name, its title (the first comment of the file) and its text."""

    name: str
    title: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Correction:
    """What to write where a phrase is heard.

    Attributes:
        heard: the phrase in words, one space between them.
        wanted: what is written instead.
        changes_risk: the file says that it may change a number, unit, side or negation.
        line: of the file, from 1.
    """

    heard: str
    wanted: str
    changes_risk: bool
    line: int


def shipped_templates() -> tuple[Template, ...]:
    """The templates that come with the package, by name."""
    files = sorted(_SHIPPED.iterdir(), key=lambda file: file.name)
    return tuple(_template(file.read_text(encoding="utf-8"), file.name) for file in files if file.name.endswith(".txt"))


def read_template(name_or_path: Path | str) -> Template:
    """A template by its name, or from a file.

    Raises:
        UsageError: it is neither (``E_TEMPLATE_NAME``).
        InputError: the file has brackets that do not close or no text (``E_TEMPLATE_FILE``), and the errors of reading.
        BudgetError: the file is too large.
    """
    shipped = {template.name: template for template in shipped_templates()}
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    path = Path(name_or_path)
    if not path.exists():
        raise UsageError(
            f"no template is called {path.name!r}, and there is no such file",
            fix=f"use one of {', '.join(shipped)}, or the path of a text file",
            code="E_TEMPLATE_NAME",
        )
    return _template(_text(path), path.name)


def read_auto_texts(path: Path) -> dict[str, str]:
    """Auto-texts by name: each begins with a line ``== name ==`` and goes on to the next.

    Raises:
        InputError: a name that cannot be spoken or stands twice, a text without a name or without content
            (``E_AUTO_TEXTS_FILE``), and the errors of reading.
        BudgetError: the file is too large.
    """
    found: dict[str, str] = {}
    name, started = "", 0
    for number, line in _lines(path, "E_AUTO_TEXTS_FILE"):
        heading = _NAME_LINE.fullmatch(line.strip())
        if heading is None and not name and line.strip():
            raise _bad(
                path.name, number, "text before the first name", "E_AUTO_TEXTS_FILE", "write == name == above it"
            )
        if heading is None:
            if name:
                found[name] += f"{line}\n"
            continue
        _refuse_empty(path, found, name, started)
        name, started = " ".join(heading[1].lower().split()), number
        if not _SPOKEN.fullmatch(name) or len(name.split()) > LONGEST_NAME:
            what = f"a name is 1 to {LONGEST_NAME} words of letters, as it is spoken"
            raise _bad(path.name, number, "the name cannot be spoken", "E_AUTO_TEXTS_FILE", what)
        if name in found:
            raise _bad(path.name, number, "the name stands twice", "E_AUTO_TEXTS_FILE", "give each text its own name")
        found[name] = ""
        if len(found) > MOST_AUTO_TEXTS:
            raise _bad(path.name, number, f"more than {MOST_AUTO_TEXTS} texts", "E_AUTO_TEXTS_FILE", "split the file")
    _refuse_empty(path, found, name, started)
    if not found:
        raise InputError(f"{path.name} holds no text", fix="write == name == and its text", code="E_AUTO_TEXTS_FILE")
    for name, text in found.items():
        _check_brackets(text, f"{path.name}, text {list(found).index(name) + 1}", "E_AUTO_TEXTS_FILE")
    return {name: text.strip("\n") for name, text in found.items()}


def read_corrections(path: Path) -> tuple[Correction, ...]:
    """One correction a line: ``heard -> wanted``, with ``!`` before it where it may change a number or side.

    Raises:
        InputError: a line without ``->``, an empty side, a phrase that is corrected twice or to itself
            (``E_CORRECTIONS_FILE``), and the errors of reading.
        BudgetError: the file is too large.
    """
    code = "E_CORRECTIONS_FILE"
    found: dict[str, Correction] = {}
    for number, line in _lines(path, code):
        if not line.strip():
            continue
        heard, arrow, wanted = line.strip().removeprefix("!").partition("->")
        heard, wanted = " ".join(heard.split()), " ".join(wanted.split())
        if not arrow or not heard or not wanted or "->" in wanted:
            raise _bad(path.name, number, "this is no correction", code, "write: heard phrase -> wanted phrase")
        if len(heard.split()) > LONGEST_PHRASE or re.search(r"[^\w\s'-]|_", heard):
            what = f"1 to {LONGEST_PHRASE} words, without punctuation"
            raise _bad(path.name, number, "the heard phrase cannot be heard so", code, f"write it as {what}")
        if heard.lower() in found:
            raise _bad(path.name, number, "the phrase is corrected twice", code, "keep one of the lines")
        if heard == wanted:
            raise _bad(path.name, number, "the correction changes nothing", code, "take the line out")
        explicit = line.lstrip().startswith("!")
        found[heard.lower()] = Correction(heard=heard, wanted=wanted, changes_risk=explicit, line=number)
        if len(found) > MOST_CORRECTIONS:
            raise _bad(path.name, number, f"more than {MOST_CORRECTIONS} corrections", code, "split the file")
    if not found:
        raise InputError(f"{path.name} holds no correction", fix="write: heard phrase -> wanted phrase", code=code)
    return tuple(found.values())


def _template(text: str, file: str) -> Template:
    lines = text.splitlines()
    comments = [line.lstrip("# ") for line in lines if line.startswith("#")]
    body = "\n".join(line for line in lines if not line.startswith("#")).strip("\n")
    if not body.strip():
        raise InputError(f"{file} holds no text", fix="write the report with [fields]", code="E_TEMPLATE_FILE")
    _check_brackets(body, file, "E_TEMPLATE_FILE")
    return Template(name=file.removesuffix(".txt"), title=comments[0] if comments else "", text=body)


def _check_brackets(text: str, where: str, code: str) -> None:
    for line in text.split("\n"):
        if re.search(r"[\[\]]", re.sub(r"\[[^\[\]]*\]", "", line)):
            raise InputError(
                f"{where} has a bracket without its other half in the line",
                fix="write each field as [text] within one line",
                code=code,
            )


def _refuse_empty(path: Path, found: dict[str, str], name: str, line: int) -> None:
    if name and not found[name].strip():
        raise _bad(path.name, line, "nothing stands under the name", "E_AUTO_TEXTS_FILE", "write its text, or drop it")


def _lines(path: Path, code: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if len(line) > MOST_BYTES // 100:
            raise _bad(path.name, number, "the line is too long", code, "break it up")
        if not line.startswith("#"):
            yield number, line


def _text(path: Path) -> str:
    """The text of a file that must be clean: what it says is written into reports."""
    text, flags = plain_text(file_bytes(path, most=MOST_BYTES), path.name, most=MOST_BYTES)
    if flags:
        raise InputError(
            f"{path.name} is not clean UTF-8 text ({', '.join(flag.code for flag in flags)})",
            fix="save it as UTF-8, without control or invisible characters",
            code="E_DICTATION_FILE",
        )
    return text


def _bad(file: str, line: int, what: str, code: str, fix: str) -> InputError:
    return InputError(f"{file}, line {line}: {what}", fix=fix, code=code)
