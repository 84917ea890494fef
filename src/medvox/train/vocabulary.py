"""Learns the output vocabulary of the speech model: a Unigram tokenizer in the layout of MedASR's.

Ids 0 to 3 are ``<epsilon>`` (the CTC blank), ``<s>``, ``</s>`` and ``<unk>``; pieces mark word starts with ``▁``.
Knows no sound and no network.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import Unigram
from tokenizers.trainers import UnigramTrainer

CONTROL_TOKENS = ("<epsilon>", "<s>", "</s>", "<unk>")
ALPHABET = "abcdefghijklmnopqrstuvwxyz'"


def learn_vocabulary(lines: Iterable[str], size: int) -> Tokenizer:
    """A tokenizer of ``size`` entries, control tokens included, that can spell every line of the spoken form."""
    tokenizer = Tokenizer(Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    trainer = UnigramTrainer(
        vocab_size=size,
        special_tokens=list(CONTROL_TOKENS),
        unk_token="<unk>",  # noqa: S106 (no password)
        initial_alphabet=["▁", *ALPHABET],
        max_piece_length=4,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer=trainer)
    return tokenizer
