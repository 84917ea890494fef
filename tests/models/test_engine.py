"""Engine: prompts, answers and scores with a cache must be those of a plain forward pass."""

from __future__ import annotations

import pytest
import torch

from medvox.errors import BudgetError, InputError, ModelError, UsageError
from medvox.models.cache import LayerCache
from medvox.models.engine import Engine, chunks
from medvox.models.sampling import Greedy, Sample, Sampler, allowed_probabilities
from medvox.models.vlm import MedGemma


def _plain_greedy(model: MedGemma, prompt: list[int], pixels: torch.Tensor, new: int) -> list[int]:
    ids = list(prompt)
    for _ in range(new):
        ids.append(int(model(torch.tensor([ids]), pixel_values=pixels)[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("chunk", [1, 5, 1024])
def test_prefill_equals_a_plain_forward_pass(
    model: MedGemma, prompt: list[int], pixels: torch.Tensor, chunk: int
) -> None:
    expected = model(torch.tensor([prompt]), pixel_values=pixels)[0, -1]
    prefix = Engine(model, images_at_once=1, chunk=chunk).prefill(prompt, pixels)
    assert prefix.prompt_tokens == len(prompt)
    torch.testing.assert_close(prefix.logits, expected, rtol=1e-4, atol=1e-5)


def test_greedy_answer_equals_repeated_forward_passes(model: MedGemma, prompt: list[int], pixels: torch.Tensor) -> None:
    engine = Engine(model, chunk=8)
    generation = engine.generate(engine.prefill(prompt, pixels), max_new_tokens=30, stop_ids=[])
    assert list(generation.token_ids) == _plain_greedy(model, prompt, pixels, 30)
    assert not generation.stopped
    assert set(generation.seconds) == {"vision", "prefill", "decode"}


def test_log_probabilities_belong_to_the_tokens(model: MedGemma, prompt: list[int], pixels: torch.Tensor) -> None:
    engine = Engine(model)
    generation = engine.generate(engine.prefill(prompt, pixels), max_new_tokens=4, stop_ids=[])
    ids = torch.tensor([[*prompt, *generation.token_ids]])
    logits = model(ids, pixel_values=pixels)[0, len(prompt) - 1 : -1].log_softmax(-1)
    expected = logits.gather(1, torch.tensor(generation.token_ids)[:, None]).flatten()
    torch.testing.assert_close(torch.tensor(generation.logprobs), expected, rtol=1e-4, atol=1e-4)


def test_a_prefix_can_be_used_again(model: MedGemma, prompt: list[int], pixels: torch.Tensor) -> None:
    engine = Engine(model)
    prefix = engine.prefill(prompt, pixels)
    first = engine.generate(prefix, max_new_tokens=20, stop_ids=[])
    engine.score_choices(prefix, [[3, 4, 5]])
    assert engine.generate(prefix, max_new_tokens=20, stop_ids=[]).token_ids == first.token_ids


def test_an_answer_ends_before_the_stop_token(model: MedGemma, prompt: list[int], pixels: torch.Tensor) -> None:
    engine = Engine(model)
    prefix = engine.prefill(prompt, pixels)
    free = engine.generate(prefix, max_new_tokens=10, stop_ids=[]).token_ids
    stop = free[3]
    stopped = engine.generate(prefix, max_new_tokens=10, stop_ids=[stop])
    assert stopped.token_ids == free[: free.index(stop)]
    assert stopped.stopped


def test_tokens_are_reported_as_they_come(model: MedGemma, prompt: list[int], pixels: torch.Tensor) -> None:
    engine, seen = Engine(model), []
    prefix = engine.prefill(prompt, pixels)
    generation = engine.generate(prefix, max_new_tokens=5, stop_ids=[], on_token=seen.append)
    assert tuple(seen) == generation.token_ids


def test_progress_reaches_the_end_of_images_and_prompt(
    model: MedGemma, prompt: list[int], pixels: torch.Tensor
) -> None:
    seen: list[tuple[str, int, int]] = []
    Engine(model, images_at_once=1, chunk=10).prefill(prompt, pixels, progress=lambda *args: seen.append(args))
    assert [step for step in seen if step[0] == "images"] == [("images", done, 2) for done in (0, 1, 2)]
    assert seen[-1] == ("prompt", 19, 19)


def test_scores_are_those_of_a_plain_forward_pass(model: MedGemma, prompt: list[int], pixels: torch.Tensor) -> None:
    engine, choices = Engine(model), [[7], [8, 9, 10], [8, 9]]
    scores = engine.score_choices(engine.prefill(prompt, pixels), choices)
    for score, choice in zip(scores, choices, strict=True):
        logits = model(torch.tensor([[*prompt, *choice]]), pixel_values=pixels)[0].detach().log_softmax(-1)
        expected = sum(float(logits[len(prompt) - 1 + at, token]) for at, token in enumerate(choice))
        assert score == pytest.approx(expected, rel=1e-4)


def test_the_scores_of_all_single_tokens_sum_to_one(model: MedGemma, prompt: list[int], pixels: torch.Tensor) -> None:
    engine = Engine(model)
    scores = engine.score_choices(engine.prefill(prompt, pixels), [[token] for token in range(96)])
    assert float(torch.tensor(scores).exp().sum()) == pytest.approx(1, abs=1e-5)


def test_text_needs_no_images(model: MedGemma) -> None:
    engine = Engine(model)
    assert len(engine.generate(engine.prefill([2, 10, 11]), max_new_tokens=3, stop_ids=[]).token_ids) == 3


def test_sampling_is_reproducible_by_its_seed(model: MedGemma, prompt: list[int], pixels: torch.Tensor) -> None:
    engine = Engine(model)
    prefix = engine.prefill(prompt, pixels)
    answers = [
        engine.generate(prefix, max_new_tokens=20, sampling=Sample(seed=seed), stop_ids=[]).token_ids
        for seed in (1, 1, 2)
    ]
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]


def test_placeholders_without_an_image_are_refused(model: MedGemma, prompt: list[int], pixels: torch.Tensor) -> None:
    with pytest.raises(InputError) as caught:
        Engine(model).prefill(prompt, pixels[:1])
    assert caught.value.code == "E_IMAGE_COUNT"


def test_an_empty_prompt_is_refused(model: MedGemma) -> None:
    with pytest.raises(InputError) as caught:
        Engine(model).prefill([])
    assert caught.value.code == "E_PROMPT_EMPTY"


def test_a_prompt_longer_than_the_context_is_refused(model: MedGemma) -> None:
    with pytest.raises(BudgetError) as caught:
        Engine(model).prefill([3] * 65)
    assert caught.value.code == "E_CONTEXT_LENGTH"


def test_an_answer_that_would_not_fit_the_context_is_refused(model: MedGemma) -> None:
    engine = Engine(model)
    with pytest.raises(BudgetError) as caught:
        engine.generate(engine.prefill([3] * 60), max_new_tokens=5)
    assert caught.value.code == "E_CONTEXT_LENGTH"


def test_an_empty_choice_is_refused(model: MedGemma) -> None:
    engine = Engine(model)
    with pytest.raises(InputError) as caught:
        engine.score_choices(engine.prefill([2]), [[]])
    assert caught.value.code == "E_CHOICE_EMPTY"


@pytest.mark.parametrize("part", ["vision_tower.post_layernorm.weight", "language_model.norm.weight"])
def test_numbers_that_are_not_finite_are_an_error(
    model: MedGemma, prompt: list[int], pixels: torch.Tensor, part: str
) -> None:
    with torch.no_grad():
        model.model.get_parameter(part)[0] = float("nan")
    with pytest.raises(ModelError) as caught:
        Engine(model).prefill(prompt, pixels)
    assert caught.value.code == "E_MODEL_NOT_FINITE"


def test_an_image_is_never_divided_between_chunks() -> None:
    assert list(chunks([0, 0, 1, 1, 1, 0, 1, 1], 3)) == [(0, 5), (5, 8)]


def test_a_local_cache_keeps_the_order_and_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medvox.models.cache.SLACK", 2)  # so that the buffer is renewed
    cache, seen = LayerCache(keep=3), []
    for step in (4, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1):
        new = torch.arange(len(seen), len(seen) + step, dtype=torch.float32).reshape(1, 1, step, 1)
        before = seen[-3:]
        seen += range(len(seen), len(seen) + step)
        keys, values = cache.append(new, -new)
        assert keys.flatten().tolist() == before + seen[len(seen) - step :]
        assert torch.equal(values, -keys)


def test_a_forked_cache_leaves_the_first_alone() -> None:
    cache = LayerCache(keep=None)
    cache.append(torch.zeros(1, 1, 2, 1), torch.zeros(1, 1, 2, 1))
    forked, _ = cache.fork().append(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
    assert forked.flatten().tolist() == [0, 0, 1]
    keys, _ = cache.append(torch.full((1, 1, 1, 1), 2.0), torch.zeros(1, 1, 1, 1))
    assert keys.flatten().tolist() == [0, 0, 2]


def test_greedy_takes_the_most_likely_token() -> None:
    assert Sampler(Greedy()).pick(torch.tensor([0.0, 3.0, 1.0])) == 1


def test_top_k_and_top_p_leave_the_most_likely_tokens() -> None:
    logits = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()
    by_rank = allowed_probabilities(logits, Sample(top_k=2, top_p=1.0))
    torch.testing.assert_close(by_rank, torch.tensor([0, 4 / 7, 0, 3 / 7]))
    by_mass = allowed_probabilities(logits, Sample(top_k=None, top_p=0.6))
    torch.testing.assert_close(by_mass, torch.tensor([0, 4 / 7, 0, 3 / 7]))


@pytest.mark.parametrize("field", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_k": 0}])
def test_sampling_that_makes_no_sense_is_refused(field: dict[str, float]) -> None:
    with pytest.raises(UsageError) as caught:
        Sample(**field)  # type: ignore[arg-type]
    assert caught.value.code == "E_SAMPLING"
