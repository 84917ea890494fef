"""A question and its pictures -> the token ids of one chat turn, in MedGemma 1.5's layout.

Stage two of the path. The layout for a volume: instruction, then each slice followed by its label ``SLICE n``, then the
question. Texts are stripped and joined without separators as the published chat template does, so the last label
and the question touch. Knows no model beyond its token names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum

from medvox.encode.text import TextTokenizer
from medvox.types import TokenIds

CT_INSTRUCTION = (
    "You are given the slices of one CT volume in order, each followed by its number. "
    "Look at all of them and answer the question."
)


class Slot(Enum):
    """A place in the user's turn that is not text. A text can never equal it, whatever it spells."""

    IMAGE = "<start_of_image>"


Part = str | Slot


class QuestionKind(StrEnum):
    """What form the answer takes."""

    YES_NO = "yes_no"
    BOXES = "boxes"
    OPEN = "open"


FORMAT_RULES = {
    QuestionKind.YES_NO: 'End with "Final Answer: yes" or "Final Answer: no".',
    QuestionKind.BOXES: (
        'End with "Final Answer:" and a JSON list of {"slice": n, "box_2d": [y0, x0, y1, x1], "label": name}, '
        "coordinates from 0 to 1000."
    ),
    QuestionKind.OPEN: 'End with "Final Answer: X".',
}
_PLACE_WORDS = r"where|locate|locali[sz]e|point|outline"
_YES_NO_WORDS = "is|are|was|were|do|does|did|has|have|had|can|could|should|would|will|isn't|aren't|doesn't|if|whether"
_FILLERS = re.compile(r"(?:(?:ok|okay|so|well|now|and|hi|hello|please|um|uh)[\s,]+)+")
_POLITE = re.compile(r"(?:(?:can|could|would|will) you (?:please )?)?(?:tell|show) me[\s,]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """Token ids of one prompt.

    Attributes:
        token_ids: with ``tokens_per_image`` placeholder ids for each picture.
        text: the readable form, each picture shown as its placeholder once.
        image_tokens: positions taken by pictures, their line breaks and marks included.
    """

    token_ids: TokenIds
    text: str
    image_tokens: int


def question_kind(question: str) -> QuestionKind:
    """The form of answer that a question asks for, by its first word after fillers and politeness."""
    text = " ".join(question.lower().split())
    for opening in (_FILLERS, _POLITE):
        if found := opening.match(text):
            text = text[found.end() :]
    if re.match(rf"(?:{_PLACE_WORDS})\b", text):
        return QuestionKind.BOXES
    return QuestionKind.YES_NO if re.match(rf"(?:{_YES_NO_WORDS})(?!\w)", text) else QuestionKind.OPEN


def ct_question(question: str, slices: int) -> list[Part]:
    """The user's turn about a CT volume: instruction, labelled slices, question with the form of the answer."""
    parts: list[Part] = [CT_INSTRUCTION]
    for number in range(1, slices + 1):
        parts.append(Slot.IMAGE)
        if slices > 1:
            parts.append(f"SLICE {number}")
    return [*parts, *text_question(question)]


def image_question(question: str, labels: Sequence[str]) -> list[Part]:
    """The user's turn about pictures of any kind: each followed by its label, where it has one, then the question."""
    parts: list[Part] = []
    for label in labels:
        parts += [Slot.IMAGE, label] if label else [Slot.IMAGE]
    return [*parts, *text_question(question)]


def text_question(question: str) -> list[Part]:
    """The user's turn without pictures."""
    return [f"{question.strip()} {FORMAT_RULES[question_kind(question)]}"]


def build_prompt(tokenizer: TextTokenizer, parts: Sequence[Part], tokens_per_image: int) -> Prompt:
    """Render the user's turn and the start of the model's turn.

    Args:
        tokenizer: the model's tokenizer.
        parts: texts and image slots in order.
        tokens_per_image: placeholder tokens for each picture.
    """
    start, end = tokenizer.token_id("<start_of_turn>"), tokenizer.token_id("<end_of_turn>")
    picture = [
        tokenizer.token_id(Slot.IMAGE.value),
        *[tokenizer.token_id("<image_soft_token>")] * tokens_per_image,
        tokenizer.token_id("<end_of_image>"),
    ]
    ids = [tokenizer.token_id("<bos>"), start]
    pending, images = "user\n", 0
    for part in parts:
        if isinstance(part, str):
            pending += part.strip()
            continue
        ids += tokenizer.encode_content(pending + "\n\n") + picture
        pending, images = "\n\n", images + 1
    ids += [*tokenizer.encode_content(pending), end, *tokenizer.encode_content("\n"), start]
    ids += tokenizer.encode_content("model\n")
    image_tokens = images * (len(picture) + 2 * len(tokenizer.encode_content("\n\n")))
    text = "".join(part.strip() if isinstance(part, str) else part.value for part in parts)
    return Prompt(
        token_ids=ids,
        text=f"<bos><start_of_turn>user\n{text}<end_of_turn>\n<start_of_turn>model\n",
        image_tokens=image_tokens,
    )
