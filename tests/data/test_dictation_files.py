"""Templates, auto-texts and corrections: what is read, and what is refused with the line and a fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvox.data.dictation_files import (
    MOST_BYTES,
    read_auto_texts,
    read_corrections,
    read_template,
    shipped_templates,
)
from medvox.errors import BudgetError, InputError, MedvoxError, UsageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.txt"


# Templates


def test_the_shipped_templates() -> None:
    templates = {template.name: template for template in shipped_templates()}
    assert list(templates) == ["chest-xray", "ct-abdomen", "ct-head", "mri-brain", "pathology-lung"]
    assert all(template.title and "[" in template.text for template in templates.values())


def test_a_template_by_name() -> None:
    assert read_template("ct-head").text.startswith("EXAM:\nCT of the head")


def test_a_template_from_a_file(file: Path) -> None:
    file.write_text("# Knee\n# more\n\nFINDINGS:\n[menisci]\n\n", encoding="utf-8")
    template = read_template(file)
    assert (template.name, template.title, template.text) == ("mine", "Knee", "FINDINGS:\n[menisci]")


def test_a_template_needs_no_title(file: Path) -> None:
    file.write_text("Knee [menisci]", encoding="utf-8")
    assert read_template(file).title == ""


@pytest.mark.parametrize("name", ["chest", "nowhere.txt", "", "ct-head.txt", "../templates/ct-head"])
def test_no_such_template(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MedvoxError) as caught:
        read_template(name)
    if name:
        assert isinstance(caught.value, UsageError)
        assert "ct-head" in caught.value.fix


@pytest.mark.parametrize(
    "text", ["[open", "open]", "[a [b]]", "[two\nlines]", "a ] b [ c", "# only a comment", "#a\n\n#b\n"]
)
def test_a_bad_template(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_template(file)
    assert caught.value.code == "E_TEMPLATE_FILE"


# Auto-texts


def test_auto_texts(file: Path) -> None:
    file.write_text(
        "# mine\n== Normal  Chest ==\nLungs [clear].\n\nHeart normal.\n\n==two view==\nTwo views\n", encoding="utf-8"
    )
    assert read_auto_texts(file) == {
        "normal chest": "Lungs [clear].\n\nHeart normal.",
        "two view": "Two views",
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("hello\n== a ==\nb", 1),
        ("\n\n# c\nhello", 4),
        ("== a ==\n== b ==\nc", 1),
        ("== a ==\nb\n== c ==\n\n", 3),
        ("== a ==\nb\n== A ==\nc", 3),
        ("== a  b ==\nb\n==a b==\nc", 3),
        ("== ==\nb", 1),
        ("== chest 2 ==\nb", 1),
        ("== a, b ==\nb", 1),
        ("== one two three four five six seven ==\nb", 1),
        ("== a ==\n" + "x" * 20_000, 2),
    ],
)
def test_bad_auto_texts(file: Path, text: str, line: int) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_auto_texts(file)
    assert caught.value.code == "E_AUTO_TEXTS_FILE"
    assert f"line {line}:" in caught.value.message


def test_a_bad_bracket_names_the_text_by_its_place(file: Path) -> None:
    file.write_text("== a ==\nfine\n== b ==\nbad [\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.txt, text 2"):
        read_auto_texts(file)


def test_an_auto_text_file_of_comments(file: Path) -> None:
    file.write_text("# a\n# b\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_auto_texts(file)
    assert caught.value.code == "E_AUTO_TEXTS_FILE"


# Corrections


def test_corrections(file: Path) -> None:
    file.write_text("# mine\nmeta  static -> metastatic\n\n! knot -> not\nmr x-ray's->Mr. X\n", encoding="utf-8")
    found = [(one.heard, one.wanted, one.changes_risk, one.line) for one in read_corrections(file)]
    assert found == [
        ("meta static", "metastatic", False, 2),
        ("knot", "not", True, 4),
        ("mr x-ray's", "Mr. X", False, 5),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("hello", 1),
        ("a => b", 1),
        ("a ->", 1),
        ("-> b", 1),
        ("! -> b", 1),
        ("a -> b -> c", 1),
        ("a -> a", 1),
        ("a -> b\nA -> c", 2),
        ("a  b -> b\n# c\na b -> c", 3),
        ("mass, left -> x", 1),
        ("{period} -> .", 1),
        ("one two three four five six seven eight nine ten eleven twelve thirteen -> x", 1),
        ("a -> " + "b" * 20_000, 1),
    ],
)
def test_bad_corrections(file: Path, text: str, line: int) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_corrections(file)
    assert caught.value.code == "E_CORRECTIONS_FILE"
    assert f"line {line}:" in caught.value.message


def test_a_corrections_file_of_comments(file: Path) -> None:
    file.write_text("# a\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_corrections(file)
    assert caught.value.code == "E_CORRECTIONS_FILE"


# Every reader refuses what is no clean text


READERS = [read_template, read_auto_texts, read_corrections]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "E_TEXT_EMPTY"),
        (b" \n\n", "E_TEXT_EMPTY"),
        (b"== a ==\nb\xe9 -> c [d]\n", "E_DICTATION_FILE"),  # Windows-1252
        ("== a ==\nb -> c‮d\n".encode(), "E_DICTATION_FILE"),  # turns the reading direction
        (b"== a ==\nb -> c\x07 d " + b"long enough " * 20, "E_DICTATION_FILE"),  # one control character
        (b"\x00\x01\x02\x03 -> \x04", "E_TEXT_BINARY"),
        (b"\xff\xfea", "E_TEXT_BINARY"),  # half a UTF-16 character
    ],
)
def test_unclean_text(file: Path, reader: object, content: bytes, code: str) -> None:
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        reader(file)  # type: ignore[operator]
    assert caught.value.code == code


@pytest.mark.parametrize("reader", READERS)
def test_too_large(file: Path, reader: object) -> None:
    file.write_bytes(b"a -> b\n" * (MOST_BYTES // 7 + 1))
    with pytest.raises(BudgetError) as caught:
        reader(file)  # type: ignore[operator]
    assert caught.value.code == "E_INPUT_LIMIT"


@pytest.mark.parametrize("reader", READERS)
def test_a_folder(tmp_path: Path, reader: object) -> None:
    with pytest.raises(InputError) as caught:
        reader(tmp_path)  # type: ignore[operator]
    assert caught.value.code == "E_INPUT_UNREADABLE"


@pytest.mark.parametrize("reader", READERS[1:])
def test_a_missing_file(file: Path, reader: object) -> None:
    with pytest.raises(InputError) as caught:
        reader(file)  # type: ignore[operator]
    assert caught.value.code == "E_INPUT_UNREADABLE"
