"""Recognised text to tokens: what is repaired, what is kept, what a stray brace may not do."""

from __future__ import annotations

import pytest

from medvox.data.deidentify_notes import _ORDER
from medvox.parse.markup import NAMES, Kind, read_markup


def kinds(raw: str) -> list[tuple[str, str]]:
    return [(token.kind.value, token.text) for token in read_markup(raw)]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_is_read(name: str) -> None:
    assert kinds(f"{{{name}}}") == [("command", NAMES[name])]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_is_read_when_torn_before_its_last_letter(name: str) -> None:
    assert kinds(f"a {{{name[:-1]}}}{name[-1]}}} b")[1] == ("command", NAMES[name])


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_name_without_braces_is_no_markup(name: str) -> None:
    assert all(kind == "word" for kind, _ in kinds(name))


def test_commands_without_a_space_between_them() -> None:
    assert kinds("a{comma}{new paragraph}b") == [
        ("word", "a"),
        ("command", "comma"),
        ("command", "paragraph"),
        ("word", "b"),
    ]


def test_a_torn_command_does_not_swallow_the_next() -> None:
    assert kinds("{comma {period}") == [("command", "comma"), ("command", "period")]


@pytest.mark.parametrize("raw", ["{foo bar}", "{}", "x}", "{ne", "{next pa", "{close", "line}", "{qeriod}", "{a{b}"])
def test_what_is_no_single_command_is_kept_and_odd(raw: str) -> None:
    assert any(token.odd for token in read_markup(raw))
    assert " ".join(token.text for token in read_markup(raw)) == raw


def test_a_command_remembers_what_stood_there() -> None:
    assert read_markup("{next} para}graph}")[0].source == "{next} para}graph}"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("[FINDINGS]", [("head", "FINDINGS")]),
        ("[EXAM TYPE]", [("head", "EXAM TYPE")]),
        ("[PatientName].", [("kept", "[PatientName]"), ("mark", ".")]),
        ("[unintelligible]", [("kept", "[unintelligible]")]),
        ("[CT]", [("kept", "[CT]")]),
        ("[Age]-year-old", [("kept", "[Age]-year-old")]),
        ("3.5, x", [("word", "3.5"), ("mark", ","), ("word", "x")]),
        (" . ", [("mark", ".")]),
        ("a\nb\n \nc", [("word", "a"), ("break", "\n"), ("word", "b"), ("break", "\n\n"), ("word", "c")]),
        ("</s>", []),
    ],
)
def test_plain_parts(raw: str, expected: list[tuple[str, str]]) -> None:
    assert kinds(raw) == expected


@pytest.mark.parametrize("category", _ORDER)
def test_what_de_identification_leaves_is_no_heading(category: str) -> None:
    assert kinds(f"[{category}]") == [("kept", f"[{category}]")]


def test_placeholders_are_not_odd() -> None:
    assert not any(token.odd for token in read_markup("[PatientName] [Date] [unintelligible] {period}"))


def test_kept_text_is_one_token() -> None:
    assert [token.kind for token in read_markup("{unknown comma}")] == [Kind.KEPT]
