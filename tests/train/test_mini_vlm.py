"""train/vision.py, train/vlm.py and train/export_vlm.py: they learn, they resume, and what they write can be loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medvox.encode.text import TextTokenizer
from medvox.models.domain import Domain
from medvox.models.gemma import FULL, LOCAL, GemmaConfig
from medvox.models.siglip import SiglipConfig
from medvox.models.vlm import MedGemma, VlmConfig
from medvox.models.weights import load_vlm
from medvox.synth.questions import presence_exchange, region_exchange
from medvox.train.chat_vocabulary import learn_chat_vocabulary
from medvox.train.export_vlm import Report, chat_corpus, scan_averages, write_folder
from medvox.train.loop import Schedule, learning_rate
from medvox.train.phantom_scores import Share, mean_interval
from medvox.train.phantoms import PhantomPlan, PhantomSet, phantom_set
from medvox.train.vision import BATCH, DenseHeads, train_tower
from medvox.train.vlm import conversation_ids, pooled_cells, soft_tokens, train_language


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PhantomSet:
    plan = PhantomPlan(first_seed=11, cases=4, slices=(2, 3))
    return phantom_set(tmp_path_factory.mktemp("phantoms"), plan, size=32, patch=8)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "tokenizer.json").write_text(learn_chat_vocabulary(chat_corpus(), 512), encoding="utf-8")
    return TextTokenizer(folder)


@pytest.fixture
def model(tokenizer: TextTokenizer) -> MedGemma:
    config = VlmConfig(
        text=GemmaConfig(
            vocab_size=512, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, head_dim=24, query_pre_attn_scalar=24, sliding_window=64, layer_types=(LOCAL, FULL),
        ),
        vision=SiglipConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=32,
            patch_size=8,
        ),
        mm_tokens_per_image=4,
        boi_token_index=tokenizer.token_id("<start_of_image>"),
        eoi_token_index=tokenizer.token_id("<end_of_image>"),
        image_token_index=tokenizer.token_id("<image_soft_token>"),
        stop_token_ids=(tokenizer.token_id("<end_of_turn>"),),
    )  # fmt: skip
    built = MedGemma(config)
    built.initialise(seed=0)
    return built


def heads_for(model: MedGemma) -> DenseHeads:
    torch.manual_seed(0)
    projector = model.model.multi_modal_projector
    return DenseHeads(model.model.vision_tower.config.hidden_size, projector.pool, projector.grid)


def test_the_tower_learns(model: MedGemma, data: PhantomSet, tmp_path: Path) -> None:
    losses: list[float] = []
    run = Schedule(total=BATCH * 30, minutes=5, peak_rate=5e-3, seed=1)
    train_tower(
        model.model.vision_tower, heads_for(model), data, run, tmp_path / "a.ckpt",
        lambda what, done, total: losses.append(float(what.split()[-1])),
    )  # fmt: skip
    assert losses[-1] < 0.95 * losses[0]  # the loss told is a slow average


def test_a_finished_stage_is_not_trained_again(model: MedGemma, data: PhantomSet, tmp_path: Path) -> None:
    run = Schedule(total=BATCH, minutes=5, peak_rate=1e-3, seed=1)
    heads = heads_for(model)
    train_tower(model.model.vision_tower, heads, data, run, tmp_path / "a.ckpt")
    learned = model.model.vision_tower.state_dict()["post_layernorm.weight"].clone()
    model.initialise(seed=5)
    train_tower(model.model.vision_tower, heads, data, run, tmp_path / "a.ckpt")
    assert torch.equal(model.model.vision_tower.state_dict()["post_layernorm.weight"], learned)


def test_the_decoder_learns_with_the_tower_frozen(
    model: MedGemma, tokenizer: TextTokenizer, data: PhantomSet, tmp_path: Path
) -> None:
    losses: list[float] = []
    tower = {name: value.clone() for name, value in model.model.vision_tower.state_dict().items()}
    run = Schedule(total=200, minutes=5, peak_rate=1e-2, seed=2)
    train_language(
        model, tokenizer, [(data, pooled_cells(model, data))], run, tmp_path / "b.ckpt",
        lambda what, done, total: losses.append(float(what.split()[-1])),
    )  # fmt: skip
    assert losses[-1] < 0.95 * losses[0]  # the loss told is a slow average
    for name, value in model.model.vision_tower.state_dict().items():
        assert torch.equal(value, tower[name])


def test_pooled_cells_and_the_projector_give_the_models_soft_tokens(model: MedGemma, data: PhantomSet) -> None:
    from medvox.encode.batch import to_pixel_values

    with torch.no_grad():
        direct = model.encode_images(to_pixel_values(np.asarray(data.images[:2])))
        halved = soft_tokens(model, pooled_cells(model, data)[:2])
    assert torch.allclose(direct, halved, atol=2e-2)


def test_only_answers_are_learned(tokenizer: TextTokenizer) -> None:
    rng = np.random.default_rng(0)
    exchanges = [region_exchange("chest", rng), presence_exchange("lung nodule", True, rng)]
    ids, weights = conversation_ids(tokenizer, exchanges, 2, 4)
    text = tokenizer.decode([token for token, weight in zip(ids, weights, strict=True) if weight])
    assert text == "Final Answer: chest<end_of_turn>Final Answer: yes<end_of_turn>"
    assert tokenizer.decode(ids).count("<bos>") == 1


def test_the_written_folder_answers_as_the_model_did(
    model: MedGemma, tokenizer: TextTokenizer, data: PhantomSet, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_text(learn_chat_vocabulary(chat_corpus(), 512), encoding="utf-8")
    averages = scan_averages(model, data, pooled_cells(model, data))
    write_folder(model, tmp_path / "tokenizer.json", Domain.fit(averages, averages), tmp_path / "out")
    loaded = load_vlm(tmp_path / "out")
    ids = torch.tensor([tokenizer.encode_content("Final Answer: yes")])
    with torch.no_grad():
        assert torch.allclose(loaded(ids), model(ids), atol=3e-2)
    domain = Domain.load(tmp_path / "out")
    assert domain is not None
    assert domain.distance(averages[0]) <= domain.limit * 1.01
    assert domain.distance(averages[0] + 10) > domain.limit


def test_a_folder_without_statistics_has_no_domain(tmp_path: Path) -> None:
    assert Domain.load(tmp_path) is None


def test_the_rate_rises_then_falls() -> None:
    rates = [learning_rate(done, 0.1, 1.0) for done in (0.0, 0.05, 0.1, 0.5, 1.0)]
    assert rates[0] < rates[1] < rates[2] > rates[3] > rates[4] > 0


def test_wilson_interval_is_the_textbook_one() -> None:
    low, high = Share(hits=8, total=10).interval
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)  # Wilson 1927, as in statsmodels


def test_nothing_asked_gives_no_figure() -> None:
    assert str(Share(hits=0, total=0)) == mean_interval([]) == "none asked"


def test_a_set_is_generated_once(tmp_path: Path) -> None:
    plan = PhantomPlan(first_seed=3, cases=1, slices=(2, 2))
    first = phantom_set(tmp_path, plan, size=32, patch=8)
    again = phantom_set(tmp_path, replace(plan, cases=99), size=32, patch=8)
    assert np.array_equal(first.starts, again.starts)


def test_the_first_cases_of_a_set_are_a_set(data: PhantomSet) -> None:
    part = data.first(2)
    assert len(part.regions) == 2
    assert len(part.images) == len(part.boxes) == part.starts[-1]
    assert np.array_equal(part.slice_regions, data.slice_regions[: part.starts[-1]])


def test_only_findings_above_chance_count_as_learned() -> None:
    shares = {"lung nodule": Share(hits=40, total=80), "pleural effusion": Share(hits=74, total=80)}
    none = Share(hits=0, total=0)
    report = Report(learned_from="", region=none, presence=shares, blank=none, place={})
    assert report.learned == ["pleural effusion"]
