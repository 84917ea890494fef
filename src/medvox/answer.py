"""A question about a CT scan -> an answer with its label, probability, boxes, flags and receipt. The verb ``ask``.

The whole path in one file: read, prepare, prompt, run, parse, account. Knows every stage and no other verb.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from medvox.catalog import DEFAULT_VLM, resolve_model
from medvox.data.archive import unpacked
from medvox.data.material import Wanted, look, read_one_volume
from medvox.data.results import Answer, Box, Transcript
from medvox.data.volume import PHANTOM, Source, Volume
from medvox.encode.batch import LazyPixels
from medvox.encode.ct import CT_MEDGEMMA_1_5, prepare_ct
from medvox.encode.images import PreparedImages
from medvox.encode.prompt import Part, Prompt, QuestionKind, build_prompt, ct_question, question_kind
from medvox.encode.receipt import Receipt, versions
from medvox.encode.text import TextTokenizer
from medvox.errors import CheckError, InputError, ParseError, UsageError
from medvox.models.domain import Domain
from medvox.models.engine import Engine, Generation, Prefix
from medvox.models.weights import load_vlm, read_config, weights_hash
from medvox.parse.boxes import parse_boxes
from medvox.parse.choice import YES_NO, parse_label, probabilities
from medvox.parse.faithful import changed_risks
from medvox.parse.markup import UNKNOWN
from medvox.parse.text import ModelText, split_text
from medvox.report.ct_figures import NO_TRUTH, Truth, ct_figures
from medvox.report.html import render_report
from medvox.types import Flag, Progress, no_progress, to_json

FINAL_MARK = "Final Answer:"
UNSURE_BELOW = 0.7
HEARD_FROM = 0.75  # a spoken question is asked from this confidence on; benchmarks/speech_questions.py has the price
TURN_END = "<end_of_turn>\n<start_of_turn>model\n"
ACCEPTED = "F_QUESTION_ACCEPTED"
TAKEN_BACK_OR_CORRECTED = {"F_DICTATION_TAKEN_BACK", "F_DICTATION_CORRECTED_RISK"}
NOT_CT = {"mri": "an MR scan", "xray": "a picture", "slide": "a slide", "page": "a document"}


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedModel:
    """A vision-language model ready to answer, with what belongs to it."""

    name: str
    engine: Engine
    tokenizer: TextTokenizer
    image_size: int
    weights_sha256: str
    domain: Domain | None
    learned: tuple[str, ...]  # findings and regions that a small model was taught; empty for a general model
    generated_only: bool  # it was trained on generated scans and on no others


@dataclass(kw_only=True, slots=True)
class Stopwatch:
    """Seconds per stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def ask(
    question: str | Transcript, path: Path | None, *, model: str | None = None, series: str | None = None,
    modality: str = "", max_new_tokens: int = 512, report: Path | None = None, progress: Progress = no_progress,
) -> Answer:  # fmt: skip
    """Answer a question about the CT series at ``path``.

    Args:
        question: the question, or the transcript of a spoken one. Its numbers, units, sides and negations reach the
            model as they were heard; one that was heard unsurely is not asked, unless ``accept_unsure`` was called.
        path: a DICOM file, a folder or zip that holds the series, or a NIfTI file.
        model: name or folder of the vision-language model; the small one that ships when None.
        series: key of the series, needed when the folder holds several.
        modality: ``CT`` for a NIfTI file in Hounsfield units, which does not say so itself.
        max_new_tokens: the answer may not be longer.
        report: where to write the HTML report, if anywhere.
        progress: told about long steps.

    Raises:
        UsageError: no question, no images, or a choice between series is needed.
        CheckError: a spoken question is unsure (``E_QUESTION_UNSURE``), or would not be asked as it was heard
            (``E_QUESTION_CHANGED``).
        InputError: the series cannot be read safely, or it is no CT (``E_ASK_KIND``).
        SetupError: the model is missing.
        BudgetError: the prompt does not fit the model's context.
        ModelError: the model gave unusable numbers.
    """
    if path is None:
        raise UsageError("no image was given", fix="Name the folder of a CT series.", code="E_NO_IMAGE")
    _question_text(question)  # refused before anything is read
    watch = Stopwatch()
    with watch.stage("read"), unpacked(path) as root:
        material = look(root, Wanted(series=series, modality=modality), progress)
        if material.kind != "ct":
            raise InputError(
                f"{path.name} is {NOT_CT[material.kind]}, and questions are answered about CT only so far",
                fix="give a CT series; medvox prep makes the pictures of everything else",
                code="E_ASK_KIND",
            )
        volume = read_one_volume(material, progress)
    answer = ask_volume(
        question, volume, reason=material.reason, model=model, max_new_tokens=max_new_tokens, watch=watch,
        progress=progress,
    )  # fmt: skip
    if report is not None:
        write_report(report, answer, volume)
    return answer


def ask_volume(
    question: str | Transcript, volume: Volume, *, reason: str = "given in memory", model: str | None = None,
    max_new_tokens: int = 512, watch: Stopwatch | None = None, progress: Progress = no_progress,
) -> Answer:  # fmt: skip
    """``ask`` for a volume that is already in memory."""
    text = _question_text(question)
    watch = watch or Stopwatch()
    with watch.stage("load model"):
        loaded = load_model(str(resolve_model(model or DEFAULT_VLM)))
    with watch.stage("prepare"):
        images = prepare_ct(volume, CT_MEDGEMMA_1_5, size=loaded.image_size, progress=progress)
        tokens_per_image = loaded.engine.model.config.mm_tokens_per_image
        parts = ct_question(text, len(images.used))
        prompt = build_prompt(loaded.tokenizer, parts, tokens_per_image)
        if isinstance(question, Transcript):
            _check_prompt(prompt, parts, loaded.tokenizer)
    asked = Asked(question=text, volume=volume, reason=reason, loaded=loaded, images=images, prompt=prompt)
    prefix = loaded.engine.prefill(prompt.token_ids, LazyPixels(images.images), progress=progress)
    generation = loaded.engine.generate(prefix, max_new_tokens=max_new_tokens)
    watch.seconds |= generation.seconds
    raw_text = loaded.tokenizer.decode(list(generation.token_ids))
    with watch.stage("parse"):
        result = _parse(raw_text, asked)
        probability = _probability(asked, prefix, generation, result.label)
    transcript = question if isinstance(question, Transcript) else None
    heard = transcript.flags if transcript else ()
    return Answer(
        answer=result.text,
        label=result.label,
        probability=probability,
        boxes=result.boxes,
        flags=(*volume.flags, *heard, *_flags(asked, prefix, generation, probability), *result.flags),
        transcript=transcript,
        receipt=_receipt(asked, transcript, generation, raw_text, watch).as_dict(),
    )


def accept_unsure(transcript: Transcript) -> Transcript:
    """The transcript for ``ask`` after its user has read it and stands by it, however unsurely it was heard.

    Where that makes a difference, a flag says so in the answer.
    """
    if question_confidence(transcript) >= HEARD_FROM:
        return transcript
    text = f"the question was heard {_how_surely(transcript)}, and its user accepted it"
    return replace(transcript, flags=(*transcript.flags, Flag(code=ACCEPTED, text=text)))


def question_confidence(transcript: Transcript) -> float:
    """How surely a question was heard, 0 to 1: its least sure word, for one wrong word makes another question."""
    if UNKNOWN in transcript.raw_text:
        return 0.0
    return min((word.confidence for word in transcript.words), default=0.0)


def write_report(path: Path, answer: Answer, volume: Volume, truth: Truth = NO_TRUTH) -> None:
    """Write the HTML page of an answer: one file with everything in it."""
    rows, columns = volume.voxels.shape[1:]
    prepared = prepare_ct(volume, CT_MEDGEMMA_1_5, size=max(rows, columns))
    square = prepared.origins[0].square
    top, left = square.top, square.left
    shown = prepared.images[:, top : top + rows, left : left + columns]
    figures = ct_figures(volume, shown, prepared.used, answer.boxes, truth)
    path.parent.mkdir(parents=True, exist_ok=True)
    title = "A spoken question about a CT series" if answer.transcript else "A question about a CT series"
    path.write_text(render_report(answer, figures, title), encoding="utf-8")


@lru_cache(maxsize=2)
def load_model(folder: str) -> LoadedModel:
    """Load a model folder once; the next question finds it in memory."""
    path = Path(folder)
    own = read_config(path).get("medvox", {})
    vlm = load_vlm(path)
    if vlm.config.vision is None:
        raise InputError(
            f"{path.name} reads text only", fix="Choose a multimodal model.", code="E_MODEL_TEXT_ONLY"
        )  # fmt: skip
    return LoadedModel(
        name=path.name,
        engine=Engine(vlm),
        tokenizer=TextTokenizer(path),
        image_size=vlm.config.vision.image_size,
        weights_sha256=weights_hash(path),
        domain=Domain.load(path),
        learned=tuple(own.get("learned", ())),
        generated_only=bool(own.get("generated_only")),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A question as it goes into the model."""

    question: str
    volume: Volume
    reason: str
    loaded: LoadedModel
    images: PreparedImages
    prompt: Prompt

    @property
    def kind(self) -> QuestionKind:
        """The form of the answer."""
        return question_kind(self.question)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parsed:
    """What the model's text says, on the slices of the volume."""

    text: str
    label: str | None
    boxes: tuple[Box, ...]
    flags: tuple[Flag, ...]


def _question_text(question: str | Transcript) -> str:
    """The text of a question that may be asked."""
    spoken = isinstance(question, Transcript)
    text = question.text if isinstance(question, Transcript) else question
    if not text.strip():
        fix = "Speak it again, closer to the microphone." if spoken else "Ask something about the scan."
        raise UsageError("the question is empty", fix=fix, code="E_QUESTION_EMPTY")
    if isinstance(question, Transcript):
        _check_heard(question)
    return text.strip()


def _check_heard(spoken: Transcript) -> None:
    """That a spoken question was heard surely enough, and is asked as it was heard. The error quotes none of it."""
    codes = {flag.code for flag in spoken.flags}
    if question_confidence(spoken) < HEARD_FROM and ACCEPTED not in codes:
        unsure = [(place, word) for place, word in enumerate(spoken.words, 1) if 0 < word.confidence < HEARD_FROM]
        places = ", ".join(f"{place} at {word.start_s:.1f} s" for place, word in unsure)
        raise CheckError(
            f"the spoken question was heard {_how_surely(spoken)}"
            + (f"; unsure are its words {places}" if places else ""),
            fix="Read what was heard; if it is right, ask again with --yes (accept_unsure in Python). "
            "Else say it again or type it.",
            code="E_QUESTION_UNSURE",
        )
    explained = codes & TAKEN_BACK_OR_CORRECTED  # then what is left was compared when it was written
    changed = () if explained else changed_risks(spoken.raw_text, spoken.text)
    if changed or "F_DICTATION_CHANGED" in codes:
        raise CheckError(
            "the question would not be asked as it was heard: "
            f"{', '.join(changed) or 'a number, unit, side or negation'} differs in writing",
            fix="Type the question.",
            code="E_QUESTION_CHANGED",
        )


def _how_surely(spoken: Transcript) -> str:
    if not all(word.confidence for word in spoken.words):
        return "by a recogniser that does not say how sure it is"
    return f"with a confidence of {question_confidence(spoken):.2f}, below {HEARD_FROM}"


def _check_prompt(prompt: Prompt, parts: Sequence[Part], tokenizer: TextTokenizer) -> None:
    """That the token ids say the question letter by letter."""
    if not tokenizer.decode(prompt.token_ids).endswith(f"{parts[-1]}{TURN_END}"):
        raise CheckError(
            "the model's tokenizer cannot write the question as it is",
            fix="Ask without unusual letters.",
            code="E_QUESTION_CHANGED",
        )


def _parse(raw_text: str, asked: Asked) -> Parsed:
    """Typed parts of the text; what breaks its form becomes a flag, and the raw text stays in the receipt."""
    try:
        parts = split_text(raw_text)
        if asked.kind is QuestionKind.BOXES:
            return _parse_boxes(parts, asked.images)
    except ParseError as error:
        return Parsed(text=raw_text, label=None, boxes=(), flags=(Flag(code=error.code, text=error.message),))
    label = parse_label(parts.final, YES_NO if asked.kind is QuestionKind.YES_NO else None)
    missing = Flag(code="F_NO_FINAL_ANSWER", text="The model did not end with a final answer in the promised form.")
    return Parsed(text=parts.answer, label=label, boxes=(), flags=() if label else (missing,))


def _parse_boxes(parts: ModelText, images: PreparedImages) -> Parsed:
    found = parse_boxes(parts.final)
    boxes = []
    for item in found:
        shown = item.slice or 1
        if shown > len(images.used):
            raise ParseError(
                f"the model names slice {shown}, but {len(images.used)} were shown",
                fix="Ask again; the raw text is in the receipt.",
                code="E_PARSE_SLICE",
            )
        boxes.append(
            Box(label=item.label, box_xyxy=item.to_picture(images.origins[shown - 1].square), image=f"SLICE {shown}")
        )
    nothing = Flag(code="F_NOTHING_LOCATED", text="The model located nothing.")
    return Parsed(
        text=parts.answer,
        label=found[0].label if found else None,
        boxes=tuple(boxes),
        flags=() if found else (nothing,),
    )


def _probability(asked: Asked, prefix: Prefix, generation: Generation, label: str | None) -> float | None:
    """Probability of the label where the final answer begins: among yes and no, or of its own tokens if it is short."""
    ids, tokenizer = generation.token_ids, asked.loaded.tokenizer
    if label is None or asked.kind is QuestionKind.BOXES:
        return None
    reached = [n for n in range(1, len(ids) + 1) if tokenizer.decode(list(ids[:n])).endswith(FINAL_MARK)]
    if not reached:
        return None
    before = reached[-1]
    if asked.kind is QuestionKind.YES_NO:
        choices = [[*ids[:before], *tokenizer.encode_content(f" {word}")] for word in YES_NO]
        shares = probabilities(asked.loaded.engine.score_choices(prefix, choices))
        return shares[YES_NO.index(label)]
    return math.exp(sum(generation.logprobs[before:])) if len(ids) - before <= 8 else None


def _flags(asked: Asked, prefix: Prefix, generation: Generation, probability: float | None) -> list[Flag]:
    """What a reader of the answer must know about the question, the slices and the model."""
    loaded, images, flags = asked.loaded, asked.images, []
    if images.dropped:
        text = f"{len(images.used)} of {len(images.used) + len(images.dropped)} slices were shown to the model."
        flags.append(Flag(code="F_SLICES_DROPPED", text=text))
    if not generation.stopped:
        flags.append(Flag(code="F_ANSWER_CUT", text="The answer reached its longest allowed length and may be cut."))
    if probability is not None and probability < UNSURE_BELOW:
        flags.append(Flag(code="F_UNSURE", text=f"The model gives its answer a probability of only {probability:.2f}."))
    if loaded.generated_only and PHANTOM not in asked.volume.flags:
        text = f"{loaded.name} learned from generated scans only and has never seen a real one."
        flags.append(Flag(code="F_TRAINED_ON_GENERATED", text=text))
    if loaded.learned and not any(word in asked.question.lower() for word in loaded.learned):
        text = f"{loaded.name} has learned only about: {', '.join(loaded.learned)}. The question has none of them."
        flags.append(Flag(code="F_QUESTION_NOT_LEARNED", text=text))
    if loaded.domain is not None and prefix.image_average is not None:
        distance = loaded.domain.distance(prefix.image_average)
        if distance > loaded.domain.limit:
            text = (
                f"This scan is unlike the generated scans that {loaded.name} learned from "
                f"(distance {distance:.1f}, usual below {loaded.domain.limit:.1f})."
            )
            flags.append(Flag(code="F_OUT_OF_DOMAIN", text=text))
    return flags


def _receipt(
    asked: Asked, transcript: Transcript | None, generation: Generation, raw_text: str, watch: Stopwatch
) -> Receipt:
    volume, images, loaded = asked.volume, asked.images, asked.loaded
    spoken: tuple[Source, ...] = ()
    speech_model, seconds = None, watch.seconds
    if transcript is not None:
        spoken = (Source(name=transcript.file, sha256=transcript.file_sha256),)
        speech_model = {"id": transcript.model, "weights_sha256": transcript.model_sha256}
        seconds = {"transcribe": transcript.seconds, **seconds}
    return Receipt(
        sources=tuple({"name": source.name, "sha256": source.sha256} for source in (*spoken, *volume.sources)),
        series={
            "uid": volume.series_uid,
            "modality": volume.modality,
            "chosen_because": asked.reason,
            "shape": list(volume.voxels.shape),
            "spacing_mm": list(volume.spacing_mm),
            "affine_lps": to_json(volume.affine_lps),
        },
        slices={"used": list(images.used), "dropped": list(images.dropped)},
        preset={"name": images.preset, "hash": images.preset_hash},
        windows_hu=CT_MEDGEMMA_1_5.windows_hu,
        tokens={
            "prompt": len(asked.prompt.token_ids),
            "image": asked.prompt.image_tokens,
            "generated": len(generation.token_ids),
        },
        model={"id": loaded.name, "weights_sha256": loaded.weights_sha256},
        speech_model=speech_model,
        question=asked.question,
        prompt_text=asked.prompt.text,
        raw_text=raw_text,
        decoding="greedy",
        seed=None,
        seconds=seconds,
        versions=versions(),
    )
