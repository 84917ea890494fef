"""Runs a MedGemma model: images and a prompt once, then answers, or probabilities of given answers, from there.

Middle of the path: ``encode`` makes token ids and pixels, ``parse`` reads the token ids that come out. It knows nothing
of files, studies, prompts' wording or tokenizers.

Axes: N images, M soft tokens of one image, T positions of the prompt, D hidden size, V vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from medvox.errors import BudgetError, InputError, ModelError
from medvox.models.cache import KvCache
from medvox.models.gemma import AttentionMasks, attention_masks
from medvox.models.sampling import Greedy, Sampler, Sampling
from medvox.models.vlm import MedGemma
from medvox.types import Progress, TokenIds, no_progress

ALL = AttentionMasks(full=None, local=None)  # for one new position, which sees all that the cache kept


class Pixels(Protocol):
    """Pixel values (N, 3, H, W) of images: a tensor, or something that makes them when a part is taken."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> Tensor: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefix:
    """A prompt that was run; any number of answers can start from it.

    Attributes:
        cache: keys and values of the prompt. Answers continue a copy.
        logits: (V,) float32, of the first token of an answer.
        prompt_tokens: length of the prompt, soft tokens included.
        vision_s: seconds spent on the images.
        prefill_s: seconds spent on the prompt.
        image_average: (D,) average soft token of all images, float32; None without images.
    """

    cache: KvCache
    logits: Tensor
    prompt_tokens: int
    vision_s: float
    prefill_s: float
    image_average: Tensor | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """An answer.

    Attributes:
        token_ids: without the stop token.
        logprobs: log-probability of each token under the model itself, before temperature, top_k and top_p.
        stopped: the model ended the answer; otherwise it ran into ``max_new_tokens``.
        prompt_tokens: length of the prompt, soft tokens included.
        seconds: spent on ``vision``, ``prefill`` and ``decode``.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stopped: bool
    prompt_tokens: int
    seconds: dict[str, float]


class Engine:
    """Runs one model, one prompt at a time.

    Args:
        model: with its weights, where it is to run.
        images_at_once: images that go through the vision tower together.
        chunk: positions of the prompt that go through the decoder together; bounds the memory for long prompts.
    """

    def __init__(self, model: MedGemma, *, images_at_once: int = 4, chunk: int = 1024) -> None:
        self.model = model
        self.images_at_once = images_at_once
        self.chunk = chunk

    @torch.inference_mode()
    def prefill(
        self, token_ids: Sequence[int], pixel_values: Pixels | None = None, *, progress: Progress = no_progress
    ) -> Prefix:
        """Runs images (N, 3, H, W) and a prompt that has M placeholder tokens for each of them.

        Raises:
            InputError: the prompt is empty, or its placeholders do not fit the images.
            BudgetError: the prompt is longer than the model's context.
            ModelError: the model gave numbers that are not finite.
        """
        images = 0 if pixel_values is None else len(pixel_values)
        self._check_prompt(token_ids, images)
        start = time.perf_counter()
        soft_tokens = None if pixel_values is None or not images else self._encode_images(pixel_values, progress)
        seen = time.perf_counter()
        cache = self.model.new_cache()
        logits = self._run_prompt(token_ids, soft_tokens, cache, progress)
        return Prefix(
            cache=cache,
            logits=logits,
            prompt_tokens=len(token_ids),
            vision_s=seen - start,
            prefill_s=time.perf_counter() - seen,
            image_average=None if soft_tokens is None else soft_tokens.float().mean((0, 1)),
        )

    @torch.inference_mode()
    def generate(
        self,
        prefix: Prefix,
        *,
        max_new_tokens: int,
        sampling: Sampling | None = None,
        stop_ids: Sequence[int] | None = None,
        on_token: Callable[[int], None] | None = None,
    ) -> Generation:
        """Writes an answer, greedily unless told otherwise.

        Args:
            prefix: from ``prefill``.
            max_new_tokens: upper limit of the answer's length.
            sampling: how the next token is chosen.
            stop_ids: token ids that end the answer; None: the model's own.
            on_token: is called with every token id as it comes.

        Raises:
            BudgetError: prompt and answer together are longer than the model's context.
            ModelError: the model gave numbers that are not finite.
        """
        self._check_length(prefix.prompt_tokens + max_new_tokens)
        stops = set(self.model.config.stop_token_ids if stop_ids is None else stop_ids)
        sampler = Sampler(Greedy() if sampling is None else sampling)
        cache, logits, start = prefix.cache.fork(), prefix.logits, time.perf_counter()
        token_ids: TokenIds = []
        logprobs: list[float] = []
        stopped = False
        while len(token_ids) < max_new_tokens:
            if token_ids:
                logits = self._step(token_ids[-1:], cache)[-1]
            token_id = sampler.pick(logits)
            if stopped := token_id in stops:
                break
            token_ids.append(token_id)
            logprobs.append(float(logits.log_softmax(-1)[token_id]))
            if on_token is not None:
                on_token(token_id)
        spent = {"vision": prefix.vision_s, "prefill": prefix.prefill_s, "decode": time.perf_counter() - start}
        return Generation(
            token_ids=tuple(token_ids),
            logprobs=tuple(logprobs),
            stopped=stopped,
            prompt_tokens=prefix.prompt_tokens,
            seconds=spent,
        )

    @torch.inference_mode()
    def score_choices(self, prefix: Prefix, choices: Sequence[Sequence[int]]) -> list[float]:
        """Log-probability that the answer begins with each choice: the sum over its tokens. Not normalised by length.

        Raises:
            InputError: a choice has no tokens.
            BudgetError: prompt and choice together are longer than the model's context.
            ModelError: the model gave numbers that are not finite.
        """
        scores = []
        for choice in choices:
            if not choice:
                raise InputError("a choice has no tokens", fix="Give every choice a text.", code="E_CHOICE_EMPTY")
            self._check_length(prefix.prompt_tokens + len(choice))
            logits = prefix.logits[None]
            if len(choice) > 1:
                cache = prefix.cache.fork()
                steps = [self._step([token_id], cache) for token_id in choice[:-1]]
                logits = torch.cat([logits, *steps])  # (tokens of the choice, V)
            picked = logits.log_softmax(-1).gather(1, torch.tensor(choice, device=logits.device)[:, None])
            scores.append(float(picked.sum()))
        return scores

    def _encode_images(self, pixel_values: Pixels, progress: Progress) -> Tensor:
        """Pixels (N, 3, H, W) -> soft tokens (N, M, D), a few images at a time."""
        device, total = self._device, len(pixel_values)
        done: list[Tensor] = []
        progress("images", 0, total)
        for start in range(0, total, self.images_at_once):
            batch = pixel_values[start : start + self.images_at_once].to(device)
            done.append(_finite(self.model.encode_images(batch), "for an image"))
            progress("images", min(start + self.images_at_once, total), total)
        return torch.cat(done)

    def _run_prompt(
        self, token_ids: Sequence[int], soft_tokens: Tensor | None, cache: KvCache, progress: Progress
    ) -> Tensor:
        """Fills the cache chunk by chunk; gives back the logits (V,) after the last position."""
        ids = torch.tensor([list(token_ids)], device=self._device)  # (1, T)
        types = self.model.token_types(ids)
        x = self.model.embed(ids, soft_tokens)  # (1, T, D)
        hidden = x
        window = self.model.config.text.sliding_window
        progress("prompt", 0, len(token_ids))
        for start, end in chunks(types[0].tolist(), self.chunk):
            masks = attention_masks(types[:, start:end], None, window, past=start)
            hidden = self.model.advance(x[:, start:end], masks, cache)
            progress("prompt", end, len(token_ids))
        return _finite(self.model.decoder.head(hidden[0, -1]).float(), "for the prompt")

    def _step(self, token_ids: Sequence[int], cache: KvCache) -> Tensor:
        """One more token through the decoder -> logits (1, V) of the next one."""
        x = self.model.decoder.embed(torch.tensor([list(token_ids)], device=self._device))
        hidden = self.model.advance(x, ALL, cache)
        return _finite(self.model.decoder.head(hidden[0]).float(), "while answering")

    def _check_prompt(self, token_ids: Sequence[int], images: int) -> None:
        config = self.model.config
        if not token_ids:
            raise InputError("the prompt is empty", fix="Ask a question.", code="E_PROMPT_EMPTY")
        self._check_length(len(token_ids))
        places = sum(token_id == config.image_token_index for token_id in token_ids)
        if places != images * config.mm_tokens_per_image:
            raise InputError(
                f"{places} image placeholder tokens in the prompt do not fit {images} images",
                fix=f"Give {config.mm_tokens_per_image} placeholder tokens for each image.",
                code="E_IMAGE_COUNT",
            )

    def _check_length(self, tokens: int) -> None:
        limit = self.model.config.text.max_position_embeddings
        if tokens > limit:
            raise BudgetError(
                f"prompt and answer need {tokens} tokens, the model's context has {limit}",
                fix="Give fewer images or less text, or allow a shorter answer.",
                code="E_CONTEXT_LENGTH",
            )

    @property
    def _device(self) -> torch.device:
        return self.model.decoder.embed_tokens.weight.device


def chunks(token_types: Sequence[int], size: int) -> Iterator[tuple[int, int]]:
    """Bounds of chunks of about ``size`` positions; an image (run of token type 1) is never divided."""
    start, total = 0, len(token_types)
    while start < total:
        end = min(start + size, total)
        while end < total and token_types[end - 1] == token_types[end] == 1:
            end += 1
        yield start, end
        start = end


def _finite(values: Tensor, where: str) -> Tensor:
    if not bool(torch.isfinite(values).all()):
        raise ModelError(
            f"the model gave numbers that are not finite {where}",
            fix="Check the weights against their published hash, and run float16 weights as bfloat16 or float32.",
            code="E_MODEL_NOT_FINITE",
        )
    return values
