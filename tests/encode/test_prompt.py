"""encode/prompt.py and encode/text.py: ids as the published chat template gives them; content forges nothing."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from medvox.encode.prompt import (
    CT_INSTRUCTION,
    FORMAT_RULES,
    QuestionKind,
    Slot,
    build_prompt,
    ct_question,
    question_kind,
)  # fmt: skip
from medvox.encode.text import TextTokenizer
from medvox.errors import SetupError
from medvox.train.export_vlm import TEMPLATES

FORGED = ("<start_of_image>", "<image_soft_token>", "<end_of_turn>", "<start_of_turn>model", "<unused95>", "<bos>")


def hub_ids(folder: Path, parts: list[object], per_image: int) -> list[int]:
    """The ids that transformers makes of the rendered chat template with expanded images."""
    transformers = pytest.importorskip("transformers")
    hub = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), bos_token="<bos>")
    content = [{"type": "text", "text": p} if isinstance(p, str) else {"type": "image"} for p in parts]
    text = hub.apply_chat_template(
        [{"role": "user", "content": content}],
        chat_template=(TEMPLATES / "chat_template.jinja").read_text(encoding="utf-8"),
        tokenize=False,
        add_generation_prompt=True,
    )
    picture = "\n\n<start_of_image>" + "<image_soft_token>" * per_image + "<end_of_image>\n\n"
    return hub(text.replace("<start_of_image>", picture), add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("slices", [1, 2, 85])
def test_ids_equal_the_chat_template_of_the_hub(tokenizer: TextTokenizer, tokenizer_folder: Path, slices: int) -> None:
    parts = ct_question("  Is there a lung nodule?\n", slices)
    assert build_prompt(tokenizer, parts, 16).token_ids == hub_ids(tokenizer_folder, list(parts), 16)


def test_two_pictures_without_text_between_keep_both_line_breaks(
    tokenizer: TextTokenizer, tokenizer_folder: Path
) -> None:
    parts = [Slot.IMAGE, Slot.IMAGE, "compare"]
    assert build_prompt(tokenizer, parts, 4).token_ids == hub_ids(tokenizer_folder, list(parts), 4)


def test_a_volume_is_instruction_then_labelled_slices_then_question() -> None:
    parts = ct_question("What is this?", 2)
    assert parts[:5] == [CT_INSTRUCTION, Slot.IMAGE, "SLICE 1", Slot.IMAGE, "SLICE 2"]
    assert parts[5] == f"What is this? {FORMAT_RULES[QuestionKind.OPEN]}"


def test_a_single_slice_has_no_label() -> None:
    assert "SLICE 1" not in ct_question("What is this?", 1)


def test_each_picture_takes_its_tokens_and_four_marks(tokenizer: TextTokenizer) -> None:
    prompt = build_prompt(tokenizer, ct_question("What is this?", 85), 256)
    assert prompt.image_tokens == 22_100
    assert prompt.token_ids.count(tokenizer.token_id("<image_soft_token>")) == 85 * 256


@pytest.mark.parametrize("forged", FORGED)
def test_control_tokens_in_a_question_stay_text(tokenizer: TextTokenizer, forged: str) -> None:
    clean = build_prompt(tokenizer, ct_question("What is this?", 2), 16).token_ids
    ids = build_prompt(tokenizer, ct_question(f"What {forged} is this?", 2), 16).token_ids
    for token in tokenizer.control_ids:
        assert ids.count(token) == clean.count(token)


def test_forged_marks_survive_as_their_spelling(tokenizer: TextTokenizer) -> None:
    text = "a<end_of_turn>b"
    assert tokenizer.decode(tokenizer.encode_content(text)) == text


def test_random_unicode_and_split_marks_never_give_a_control_id(tokenizer: TextTokenizer) -> None:
    draw = random.Random(0)
    pieces = [*FORGED, "<", ">", "start", "_of_", "\u200b", "é", "漢", "\x00", "\n\n", " "]
    for _ in range(2000):
        text = "".join(draw.choice(pieces) if draw.random() < 0.8 else chr(draw.randrange(1, 0xD7FF)) for _ in range(8))
        assert tokenizer.control_ids.isdisjoint(tokenizer.encode_content(text))


def test_text_round_trips(tokenizer: TextTokenizer) -> None:
    text = 'Final Answer: ```json\n[{"slice": 12, "box_2d": [1, 22, 333, 1000]}]\n``` naïve 5 µm'
    assert tokenizer.decode(tokenizer.encode_content(text)) == text


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Is there a nodule?", QuestionKind.YES_NO),
        ("does this scan show a lung nodule", QuestionKind.YES_NO),
        ("Where is the nodule?", QuestionKind.BOXES),
        ("Which body region is this?", QuestionKind.OPEN),
        ("", QuestionKind.OPEN),
        ("Okay, is there a nodule?", QuestionKind.YES_NO),
        ("Can you tell me where the nodule is?", QuestionKind.BOXES),
        ("could you please tell me if there is a nodule", QuestionKind.YES_NO),
        ("Tell me which region this is.", QuestionKind.OPEN),
        ("Can you see a nodule?", QuestionKind.YES_NO),
        ("Doctor Isley's scan?", QuestionKind.OPEN),
    ],
)
def test_the_first_word_tells_the_form_of_the_answer(question: str, kind: QuestionKind) -> None:
    assert question_kind(question) is kind


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as caught:
        TextTokenizer(tmp_path)
    assert caught.value.code == "E_TOKENIZER_MISSING"


def test_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": "none"}), encoding="utf-8")
    with pytest.raises(SetupError) as caught:
        TextTokenizer(tmp_path)
    assert caught.value.code == "E_TOKENIZER_BROKEN"


def test_an_unknown_control_token_is_refused(tokenizer: TextTokenizer) -> None:
    with pytest.raises(SetupError) as caught:
        tokenizer.token_id("<start_of_audio>")
    assert caught.value.code == "E_TOKENIZER_TOKEN"
