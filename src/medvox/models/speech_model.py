"""A speech model's folder -> the network with its vocabulary, and how its log-probabilities become tokens.

Glue between ``models/speech_engine`` and the decoders, shared by the verbs that hear. Knows no sound and no transcript.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer
from torch import Tensor

from medvox.errors import SetupError, UsageError
from medvox.models.arpa import open_lm
from medvox.models.beam import BEAM_MEDASR, BEAM_TUNED, Decoder, Hypothesis
from medvox.models.confidence import UNFITTED, Calibration, judged, read_calibrations
from medvox.models.conformer import LasrForCTC
from medvox.models.ctc import DecodedToken, greedy, log_probabilities
from medvox.models.hotwords import HotWords
from medvox.models.ngram import NgramLm
from medvox.models.openvino_speech import Speech
from medvox.models.speech_engine import open_engine
from medvox.models.weights import weights_hash

BEST_OF_EACH_FRAME = "greedy"
SEARCHES = {"beam.medasr": BEAM_MEDASR, "beam.tuned": BEAM_TUNED}
METHODS = (BEST_OF_EACH_FRAME, *SEARCHES)
LM_FILE = "lm.ngram"
UNKNOWN_PIECE = "<unk>"

Decode = Callable[[Tensor], list[Hypothesis]]  # log-probabilities (T, V) -> hypotheses, the best first


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeechModel:
    """A loaded speech model.

    Attributes:
        network: features -> token logits; see ``models/speech_engine``.
        pieces: its vocabulary by id.
        name: what transcripts call it.
        sha256: of the weights.
        tokenizer: for texts that are to become tokens.
        lm: the language model that came with it.
        calibrations: how its posteriors become the chance that a word is right, by way of decoding.
        engine: what runs the network, and in which numbers.
    """

    network: LasrForCTC
    pieces: tuple[str, ...]
    name: str
    sha256: str
    tokenizer: Tokenizer | None = None
    lm: NgramLm | None = None
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    engine: str = ""

    @property
    def blank(self) -> int:
        """Id of the token that stands for nothing."""
        return self.network.config.pad_token_id

    def token_ids(self, texts: Sequence[str]) -> tuple[int, ...]:
        """Ids of the first of the texts that the model can write; empty when it can write none.

        Raises:
            SetupError: the model was made without its tokenizer.
        """
        if self.tokenizer is None:
            raise SetupError(f"{self.name} has no tokenizer", fix="load it from its folder", code="E_TOKENIZER")
        for text in texts:
            ids = tuple(self.tokenizer.encode(text, add_special_tokens=False).ids)
            if ids and all(number < len(self.pieces) and self.pieces[number] != UNKNOWN_PIECE for number in ids):
                return ids
        return ()


def load_speech_model(folder: Path, *, precision: str = "fp32", speech: Speech = list) -> SpeechModel:
    """A speech model from a folder in the hub's layout, with its language model where ``lm.ngram`` lies there.

    Args:
        folder: the folder.
        precision: what runs it, and in which numbers: ``fp32`` is PyTorch, see ``models/speech_engine`` for others.
        speech: features of typical speech that 8-bit numbers are fitted to.

    Raises:
        UsageError: no such precision.
        SetupError: the folder is not a speech model, a file of it is missing or broken, or it cannot be run so.
    """
    engine = open_engine(folder, precision, speech)
    network = engine.network
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises plain Exception
        raise SetupError(
            f"{folder.name} has no readable tokenizer.json", fix="download the whole model folder", code="E_TOKENIZER"
        ) from error
    pieces = tuple(tokenizer.id_to_token(number) or UNKNOWN_PIECE for number in range(network.config.vocab_size))
    lm = folder / LM_FILE
    return SpeechModel(
        network=network,
        pieces=pieces,
        name=folder.name,
        sha256=weights_hash(folder),
        tokenizer=tokenizer,
        lm=open_lm(lm, pieces) if lm.exists() else None,
        calibrations=read_calibrations(folder),
        engine=engine.name,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenDecoder:
    """How a model's log-probabilities (T, V) become hypotheses, the best first.

    Attributes:
        model: the model.
        search: None for the best token of each frame.
    """

    model: SpeechModel
    search: Decoder | None

    def __call__(self, rows: Tensor) -> list[Hypothesis]:
        """The hypotheses; their tokens carry mean posteriors."""
        if self.search is None:
            return [_best_of_each_frame(rows, self.model.blank)]
        return self.search.decode(log_probabilities(rows))

    def judged(self, tokens: Sequence[DecodedToken], rows: Tensor) -> tuple[DecodedToken, ...]:
        """Tokens that were decoded from the rows, each with the chance that its word is right."""
        mode = "greedy" if self.search is None else "beam" if self.search.lm is None else "lm"
        calibration = self.model.calibrations.get(mode, UNFITTED)
        return tuple(judged(tokens, log_probabilities(rows), self.model.pieces, calibration))


def decoder_of(
    model: SpeechModel, method: str = "", *, lm: NgramLm | None = None, hotwords: HotWords | None = None
) -> TokenDecoder:
    """How a model is decoded.

    Args:
        model: the model; its own language model is used where a search is made and no other is given.
        method: a name from ``METHODS``; empty for a search where there is something to search with (as published where
            the model came without a language model, since the tuned one trusts it more), else greedy.
        lm: a language model over the model's tokens.
        hotwords: phrases to favour.

    Raises:
        UsageError: the method is unknown, or greedy with something that only a search can use (``E_DECODING``).
    """
    if method not in ("", *METHODS):
        raise UsageError(f"no decoding is called {method!r}", fix=f"use one of {', '.join(METHODS)}", code="E_DECODING")
    if method == BEST_OF_EACH_FRAME and (lm or hotwords):
        raise UsageError(
            "greedy decoding uses neither a language model nor hot words",
            fix="leave the decoding out, or use beam.tuned",
            code="E_DECODING",
        )
    usual = BEAM_MEDASR if lm and not model.lm else BEAM_TUNED
    lm = lm or model.lm
    if method == BEST_OF_EACH_FRAME or (not method and lm is None and hotwords is None):
        return TokenDecoder(model=model, search=None)
    settings = SEARCHES.get(method, usual)
    search = Decoder(blank=model.blank, lm=lm, hotwords=hotwords, settings=settings)
    return TokenDecoder(model=model, search=search)


def spellings(text: str) -> list[str]:
    """A text as it stands, and in lower case without punctuation, as small models write, if no letter or figure goes.

    For "5 mm nodule" would be learned as "mm nodule".
    """
    lower = text.lower()
    return [text] if re.search(r"[^\W_a-z]", lower) else [text, " ".join(re.findall(r"[a-z']+", lower))]


def _best_of_each_frame(rows: Tensor, blank: int) -> Hypothesis:
    tokens = tuple(greedy(rows, blank))
    score = float(rows.amax(dim=-1).sum())
    return Hypothesis(tokens=tokens, acoustic=score, language=0.0, hotwords=0.0, total=score)
