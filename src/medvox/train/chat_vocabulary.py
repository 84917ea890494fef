"""Learns the tokenizer of the small vision-language model, in the layout of Gemma's ``tokenizer.json``.

Byte-pair encoding with spaces as ``▁``, every digit on its own, and single bytes for whatever the pieces cannot spell.
Knows no network.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

CONTROL_TOKENS = (
    "<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>",
    "<image_soft_token>", "<unused94>", "<unused95>",
)  # fmt: skip
LINE_BREAKS = ("\n\n",)


def learn_chat_vocabulary(lines: Iterable[str], size: int) -> str:
    """``tokenizer.json`` with ``size`` entries: control tokens, line breaks, 256 bytes, then learned pieces."""
    fixed = [*CONTROL_TOKENS, *LINE_BREAKS, *(f"<0x{byte:02X}>" for byte in range(256))]
    learner = Tokenizer(BPE())
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex("▁"), "merged_with_next"), pre_tokenizers.Digits(individual_digits=True)]
    )
    learner.train_from_iterator(lines, BpeTrainer(vocab_size=size - len(fixed), show_progress=False))
    learned = json.loads(learner.to_str())["model"]
    pieces = [piece for piece, _ in sorted(learned["vocab"].items(), key=lambda item: item[1])]
    vocabulary = {piece: index for index, piece in enumerate([*fixed, *(p for p in pieces if p not in fixed)])}
    tokenizer = Tokenizer(
        BPE(
            vocab=vocabulary,
            merges=[tuple(merge) for merge in learned["merges"]],
            unk_token="<unk>",  # noqa: S106 (not a password)
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    tokenizer.normalizer = learner.normalizer
    tokenizer.pre_tokenizer = learner.pre_tokenizer
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(list(CONTROL_TOKENS))
    tokenizer.add_tokens(list(LINE_BREAKS))
    return str(tokenizer.to_str(pretty=True))
