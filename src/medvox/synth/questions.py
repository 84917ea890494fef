"""Questions about a generated CT and their true answers, in the words and answer forms of the published protocol.

The wordings are split: the last of each list are never trained on and measure whether a new wording still works.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

HELD_OUT_WORDINGS = 2
REGION_QUESTIONS = (
    "Which body region is shown?",
    "Which body region does this CT show?",
    "What body region is this?",
    "What part of the body is this?",
    "What part of the body does this scan show?",
    "Which part of the body is shown in this CT?",
    "which region is this",
    "what region of the body is shown in these images",
    "Which body region was scanned?",
    "Name the body region in this CT.",
    "Tell me which body region this is.",
    "What anatomical region is imaged?",
    "what body part is this scan of",
    "Which body region does this CT scan show?",
    "What part of the body was scanned here?",
)
PRESENCE_QUESTIONS = (
    'Is there "{name}" in the CT volume?',
    "Is there {a_name} in the CT volume?",
    "Is there {a_name}?",
    "Is there {a_name} in this scan?",
    "Is there {a_name} in this CT?",
    "Does this CT show {a_name}?",
    "Does the scan show {a_name}?",
    "Do you see {a_name}?",
    "Can you see {a_name}?",
    "Is {a_name} present?",
    "is there evidence of {a_name}",
    "Does this patient have {a_name}?",
    "Are there signs of {a_name}?",
    "Is {a_name} visible in these slices?",
)
PLACE_QUESTIONS = (
    "Where is the {name}?",
    "where is the {name}",
    "Locate the {name}.",
    "Where is the {name} in this CT?",
    "Where is the {name} in this scan?",
    "Point to the {name}.",
    "Where do you see the {name}?",
    "Localise the {name} in these slices.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """A question, its true answer text, and the kind of question (``region``, ``presence``, ``place``)."""

    kind: str
    question: str
    answer: str
    finding: str | None = None


def wordings(kind: str, *, held_out: bool) -> tuple[str, ...]:
    """The wordings for training, or those kept away from it."""
    table = {"region": REGION_QUESTIONS, "presence": PRESENCE_QUESTIONS, "place": PLACE_QUESTIONS}[kind]
    return table[-HELD_OUT_WORDINGS:] if held_out else table[:-HELD_OUT_WORDINGS]


def region_exchange(case_region: str, rng: np.random.Generator, *, held_out: bool = False) -> Exchange:
    """Which body region the scan shows."""
    question = str(rng.choice(wordings("region", held_out=held_out)))
    return Exchange(kind="region", question=question, answer=f"Final Answer: {case_region}")


def presence_exchange(finding: str, present: bool, rng: np.random.Generator, *, held_out: bool = False) -> Exchange:
    """Whether a finding is there."""
    wording = str(rng.choice(wordings("presence", held_out=held_out)))
    written = str(rng.choice(spellings(finding)))
    question = wording.format(name=written, a_name=with_article(written))
    answer = f"Final Answer: {'yes' if present else 'no'}"
    return Exchange(kind="presence", question=question, answer=answer, finding=finding)


def place_exchange(
    finding: str,
    place: tuple[int, tuple[int, int, int, int]] | None,
    rng: np.random.Generator,
    *,
    held_out: bool = False,
) -> Exchange:
    """Where a finding is: ``place`` is (slice from 1, box y0 x0 y1 x1 in 0..1000 of the square), None if absent."""
    wording = str(rng.choice(wordings("place", held_out=held_out)))
    question = wording.format(name=str(rng.choice(spellings(finding))))
    items = [] if place is None else [{"slice": place[0], "box_2d": list(place[1]), "label": finding}]
    return Exchange(
        kind="place", question=question, answer=f"Final Answer: ```json\n{json.dumps(items)}\n```", finding=finding
    )


def spellings(name: str) -> tuple[str, ...]:
    """How a finding may be written in a question; answers always use the first."""
    american = name.replace("haemorrhage", "hemorrhage")
    return (name,) if american == name else (name, american)


def with_article(name: str) -> str:
    """``a lung nodule``, ``an intracranial haemorrhage``."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
