"""A list of phrases to favour."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvox.data.phrases import Phrase, read_phrases
from medvox.errors import InputError


def test_one_phrase_a_line_with_its_weight(tmp_path: Path) -> None:
    (tmp_path / "hot.txt").write_text("# drugs\npembrolizumab\n\nground  glass\t12.5\n")
    assert read_phrases(tmp_path / "hot.txt") == (
        Phrase(text="pembrolizumab", weight=55.0, line=2),
        Phrase(text="ground glass", weight=12.5, line=4),
    )


def test_spaces_and_hyphens_weigh_nothing(tmp_path: Path) -> None:
    (tmp_path / "hot.txt").write_text("T-DM1 trial\n")
    assert read_phrases(tmp_path / "hot.txt")[0].weight == 35.0


@pytest.mark.parametrize("phrase", ["x", "CT", "lid"])
def test_the_shortest_weigh_something(phrase: str, tmp_path: Path) -> None:
    (tmp_path / "hot.txt").write_text(phrase)
    assert read_phrases(tmp_path / "hot.txt")[0].weight == 5.0


@pytest.mark.parametrize("weight", ["much", "0", "-3", "nan", "inf"])
def test_a_weight_is_a_number_above_zero(tmp_path: Path, weight: str) -> None:
    (tmp_path / "hot.txt").write_text(f"SECRET\t{weight}\n")
    with pytest.raises(InputError) as refusal:
        read_phrases(tmp_path / "hot.txt")
    assert refusal.value.code == "E_HOTWORDS_FILE"
    assert "SECRET" not in str(refusal.value)


def test_a_file_of_comments_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hot.txt").write_text("# nothing\n")
    with pytest.raises(InputError) as refusal:
        read_phrases(tmp_path / "hot.txt")
    assert refusal.value.code == "E_HOTWORDS_FILE"


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refusal:
        read_phrases(tmp_path / "no.txt")
    assert refusal.value.code == "E_INPUT_UNREADABLE"
