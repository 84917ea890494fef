"""Templates, auto-texts, corrections and marks, from the command line to what is printed; a server says the words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_other_recognisers import QUESTION, address

from medvox import cli
from medvox.demo import SAMPLES

TEMPLATE = "# A short chest report\nFINDINGS:\nLungs: [lungs].\nHeart: [heart].\n\nIMPRESSION:\n[impression]\n"


@pytest.fixture
def hear(port: int, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs ``medvox transcribe`` on a recording that a server hears as these words, the unsure ones with 0.3."""

    def heard(words: str, *options: str | Path, unsure: str = "") -> tuple[int, str, str]:
        timed = [
            {
                "word": word,
                "start": at / 10,
                "end": at / 10 + 0.1,
                "probability": 0.3 if word in unsure.split() else 0.95,
            }
            for at, word in enumerate(words.split())
        ]
        model = address(port, do="say", body=json.dumps({"text": words, "words": timed}))
        code = cli.main(["transcribe", str(QUESTION), "--model", model, *map(str, options)])
        out, err = capsys.readouterr()
        return code, out, err

    return heard


def written(folder: Path, text: str, name: str = "file.txt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def error_of(out: str) -> dict[str, str]:
    error: dict[str, str] = json.loads(out)["error"]
    return error


def test_a_template_of_the_package_is_filled(hear: Any) -> None:
    code, out, err = hear("go to impression no acute disease period", "--template", "chest-xray")
    assert code == 0, err
    assert out.endswith("IMPRESSION:\nNo acute disease.\n")
    assert "F_DICTATION_UNFILLED" in err


def test_a_template_from_a_file_is_filled(hear: Any, tmp_path: Path) -> None:
    said = "clear next field enlarged go to impression number one big heart period"
    _, out, err = hear(said, "--template", written(tmp_path, TEMPLATE))
    assert out == "FINDINGS:\nLungs: clear.\nHeart: enlarged.\n\nIMPRESSION:\n1. Big heart.\n"
    assert "UNFILLED" not in err


def test_an_auto_text_is_inserted(hear: Any, tmp_path: Path) -> None:
    texts = written(tmp_path, "== normal chest ==\nThe lungs are [clear]. No effusion.\n")
    _, out, _ = hear("insert normal chest hazy period", "--auto-texts", texts)
    assert out == "The lungs are hazy. No effusion.\n"


def test_corrections_are_made_and_counted(hear: Any, tmp_path: Path) -> None:
    corrections = written(tmp_path, "new mow thorax -> pneumothorax\n")
    _, out, err = hear("no new mow thorax period", "--corrections", corrections)
    assert out == "No pneumothorax.\n"
    assert "F_DICTATION_CORRECTED" in err


def test_the_raw_words_stay(hear: Any, tmp_path: Path) -> None:
    corrections = written(tmp_path, "new mow thorax -> pneumothorax\n")
    said = "no new mow thorax period scratch that mass"
    _, out, _ = hear(said, "--corrections", corrections, "--raw")
    assert out == f"{said}\n"


def test_unsure_places_are_shown_beside_the_text(hear: Any) -> None:
    _, out, err = hear("no mass in the left lung period", unsure="left mass")
    assert out == "No mass in the left lung.\n"
    (line,) = [line for line in err.splitlines() if line.startswith("check first")]
    assert "'left' (laterality, 0.4 s)" in line
    assert "mass" not in line
    assert "F_DICTATION_UNSURE" in err


def test_sure_places_are_not_shown(hear: Any) -> None:
    _, _, err = hear("no mass in the left lung period", unsure="mass")
    assert "check first" not in err


def test_json_has_every_risky_place(hear: Any) -> None:
    _, out, _ = hear("no left mass of three point five centimeters period", "--json", unsure="point")
    transcript = json.loads(out)
    risks = {risk["kind"]: risk for risk in transcript["risks"]}
    assert set(risks) == {"negation", "laterality", "number", "unit"}
    number = risks["number"]
    assert transcript["text"][number["start"] : number["end"]] == number["text"] == "3.5"
    assert (number["confidence"], number["unsure"], number["start_s"]) == (0.3, True, 0.4)
    assert not risks["laterality"]["unsure"]


def test_a_question_that_is_asked_anew(hear: Any) -> None:
    _, out, err = hear("is there a mass on the left scratch that is there a mass on the right")
    assert out == "Is there a mass on the right?\n"
    assert "F_DICTATION_TAKEN_BACK" in err


@pytest.mark.parametrize(
    ("option", "content", "code"),
    [
        ("--template", "Lungs: [clear.\n", "E_TEMPLATE_FILE"),
        ("--auto-texts", "no name\n", "E_AUTO_TEXTS_FILE"),
        ("--corrections", "no arrow\n", "E_CORRECTIONS_FILE"),
        ("--corrections", "laughed -> left\n", "E_CORRECTIONS_RISK"),
    ],
)
def test_a_bad_file_is_refused_before_anything_is_heard(
    option: str, content: str, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, content)
    assert cli.main(["transcribe", str(QUESTION), option, str(file), "--model", "no-such-model", "--json"]) == 3
    assert error_of(capsys.readouterr().out)["code"] == code


@pytest.mark.parametrize("option", ["--auto-texts", "--corrections", "--template"])
def test_a_missing_file_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["transcribe", str(SAMPLES / "question.wav"), option, "nowhere.txt", "--json"]) != 0
    assert "nowhere.txt" in error_of(capsys.readouterr().out)["message"]
