"""Speech to Transcript: the shipped model on the shipped question, and the borders of the verb."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medvox.catalog import DEFAULT_ASR, WEIGHTS
from medvox.dictate import Decoding, convert_lm, learn_lm, transcribe
from medvox.errors import InputError, ModelError, SetupError, UsageError
from medvox.models.arpa import open_lm, write_arpa
from medvox.models.beam import BEAM_MEDASR, BEAM_TUNED
from medvox.models.listening import rows_of
from medvox.models.speech_model import SpeechModel, decoder_of, load_speech_model

QUESTION = Path(__file__).parents[1] / "src" / "medvox" / "samples" / "question.wav"
PIECES = ("<epsilon>", "<s>", "</s>", "<unk>", *(f"▁w{number}" for number in range(60)))


class Echo(nn.Module):
    """A network that hears the level of the middle frame of each output frame's context, in its own small language."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(pad_token_id=0, vocab_size=len(PIECES))

    def forward(self, features: Tensor) -> Tensor:
        heard = features[:, 6:-6:4, 64]  # as many frames as two convolutions of kernel 5 and stride 2 leave
        frames = ((features.shape[1] - 5) // 2 + 1 - 5) // 2 + 1
        ids = (4 + (heard[:, :frames] + 12).clamp(0, 14) * 4).long()
        return nn.functional.one_hot(ids, len(PIECES)).float() * 20


class Fixed(nn.Module):
    """A network that gives the same logits whatever it hears."""

    def __init__(self, token: int, value: float = 20.0) -> None:
        super().__init__()
        self.config = SimpleNamespace(pad_token_id=0, vocab_size=len(PIECES))
        self.token, self.value = token, value

    def forward(self, features: Tensor) -> Tensor:
        logits = torch.zeros(1, rows_of(features.shape[1]), len(PIECES))
        logits[..., self.token] = self.value
        return logits


def model_of(network: nn.Module) -> SpeechModel:
    return SpeechModel(network=network, pieces=PIECES, name="test", sha256="00")  # type: ignore[arg-type]


def syllables(seconds: float, seed: int = 0) -> NDArray[np.float64]:
    """Noise whose level moves as that of speech does."""
    rng = np.random.default_rng(seed)
    samples = int(seconds * 16_000)
    level = np.repeat(rng.choice([0.001, 0.02, 0.3], size=samples // 1600 + 1), 1600)[:samples]
    return rng.standard_normal(samples) * level * 0.3


def write(path: Path, sound: NDArray[np.float64], rate_hz: int = 16_000) -> Path:
    soundfile.write(path, sound, rate_hz)
    return path


@pytest.fixture(scope="module")
def shipped() -> SpeechModel:
    return load_speech_model(WEIGHTS / DEFAULT_ASR)


def test_the_demo_question_is_recognised(shipped: SpeechModel) -> None:
    transcript = transcribe(QUESTION, shipped)
    assert transcript.raw_text == "which body region does this c t scan show"
    assert transcript.text == "Which body region does this CT scan show?"
    assert transcript.model == "medvox-mini-asr"


def test_words_lie_in_order_inside_the_recording(shipped: SpeechModel) -> None:
    transcript = transcribe(QUESTION, shipped)
    times = [time for word in transcript.words for time in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert times[-1] <= transcript.duration_s
    assert all(0 < word.confidence <= 1 for word in transcript.words)
    assert " ".join(word.word for word in transcript.words) == transcript.raw_text


def test_8_khz_stereo_works(shipped: SpeechModel, tmp_path: Path) -> None:
    sound, _ = soundfile.read(QUESTION)
    path = write(tmp_path / "phone.wav", np.stack([sound[::2], sound[::2]], axis=1), 8_000)
    transcript = transcribe(path, shipped)
    assert {flag.code for flag in transcript.flags} >= {"F_AUDIO_RESAMPLED", "F_AUDIO_MIXED"}
    assert transcript.words


def test_the_default_model_is_the_shipped_one() -> None:
    assert transcribe(QUESTION).model == DEFAULT_ASR


def test_the_transcript_is_the_contract() -> None:
    fields = transcribe(QUESTION).as_dict()
    assert list(fields)[:7] == ["file", "text", "raw_text", "words", "duration_s", "model", "flags"]
    assert list(fields["words"][0]) == ["word", "start_s", "end_s", "confidence"]
    assert fields["file"] == "question.wav"


def test_the_transcript_names_what_was_heard_by_whom() -> None:
    transcript = transcribe(QUESTION)
    assert transcript.file_sha256 == hashlib.sha256(QUESTION.read_bytes()).hexdigest()
    weights = WEIGHTS / DEFAULT_ASR / "model.safetensors"
    assert transcript.model_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()


@pytest.mark.parametrize("seconds", [19.9, 20.0, 20.1, 36.2, 61.7])
def test_chunks_of_a_long_recording_join_without_seam(tmp_path: Path, seconds: float) -> None:
    path = write(tmp_path / "long.wav", syllables(seconds))
    long = transcribe(path, model_of(Echo()))
    network = Echo()
    from medvox.data.utterance import read_utterance
    from medvox.encode.speech import log_mel
    from medvox.models.ctc import greedy

    whole = greedy(network(torch.from_numpy(log_mel(read_utterance(path).samples))[None])[0], blank=0)
    assert [word.word for word in long.words] == [PIECES[token.token_id].removeprefix("▁") for token in whole]
    assert [word.start_s for word in long.words] == [round(token.first_frame * 0.04, 2) for token in whole]


def test_progress_counts_chunks(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    path = write(tmp_path / "long.wav", syllables(40))
    transcribe(path, model_of(Echo()), progress=lambda *step: seen.append(step))
    assert [step[1:] for step in seen] == [(1, 3), (2, 3), (3, 3)]


def test_the_end_token_never_leaks(tmp_path: Path) -> None:
    path = write(tmp_path / "tone.wav", 0.3 * np.sin(np.arange(16_000) / 5))
    transcript = transcribe(path, model_of(Fixed(token=2)))
    assert transcript.raw_text == ""


def test_a_tone_is_no_speech(tmp_path: Path) -> None:
    path = write(tmp_path / "tone.wav", 0.3 * np.sin(np.arange(32_000) / 5))
    transcript = transcribe(path, model_of(Fixed(token=0)))
    assert transcript.words == ()
    assert [flag.code for flag in transcript.flags] == ["F_NO_SPEECH"]


@pytest.mark.parametrize("method", ["greedy", "beam.tuned"])
def test_nothing_heard_in_speech_is_an_error(method: str) -> None:
    with pytest.raises(ModelError) as caught:
        transcribe(QUESTION, model_of(Fixed(token=0)), decoding=Decoding(method=method))
    assert caught.value.code == "E_TRANSCRIPT_EMPTY"


def test_clatter_without_a_voice_is_no_error(tmp_path: Path) -> None:
    path = write(tmp_path / "clatter.wav", syllables(2))
    transcript = transcribe(path, model_of(Fixed(token=0)))
    assert [flag.code for flag in transcript.flags] == ["F_NO_SPEECH"]


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    path = write(tmp_path / "speech.wav", syllables(2))
    with pytest.raises(ModelError) as caught:
        transcribe(path, model_of(Fixed(token=5, value=float("nan"))))
    assert caught.value.code == "E_MODEL_NOT_FINITE"


def test_unsure_words_are_flagged() -> None:
    even = math.log(len(PIECES) - 1)  # one word has as much as all others
    transcript = transcribe(QUESTION, model_of(Fixed(token=5, value=even)))
    assert [flag.code for flag in transcript.flags] == ["F_TRANSCRIPT_UNSURE"]
    assert transcript.confidence == transcript.words[0].confidence < 0.6
    assert transcript.flags[0].text.startswith("unsure words (confidence below 0.6): 1 of 1;")


def test_the_shipped_model_is_sure_of_the_question(shipped: SpeechModel) -> None:
    assert (transcribe(QUESTION, shipped).confidence or 0.0) > 0.9


def test_other_texts_come_where_they_are_asked_for(shipped: SpeechModel, tmp_path: Path) -> None:
    question, _ = soundfile.read(QUESTION, dtype="float32")
    noisy = write(tmp_path / "noisy.wav", question + 0.1 * np.random.default_rng(0).standard_normal(len(question)))
    transcript = transcribe(noisy, shipped, decoding=Decoding(method="beam.tuned", nbest=3))
    assert len(transcript.alternatives) == 2
    assert transcript.raw_text not in transcript.alternatives


def test_less_sound_than_the_network_needs(tmp_path: Path) -> None:
    path = write(tmp_path / "click.wav", syllables(0.1))
    with pytest.raises(InputError) as caught:
        transcribe(path, model_of(Fixed(token=5)))
    assert caught.value.code == "E_AUDIO_TOO_SHORT"


def test_an_unknown_model() -> None:
    with pytest.raises(SetupError) as caught:
        transcribe(QUESTION, "no-such-model")
    assert caught.value.code == "E_MODEL_UNKNOWN"


def test_a_folder_without_tokenizer(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((WEIGHTS / DEFAULT_ASR / name).read_bytes())
    with pytest.raises(SetupError) as caught:
        load_speech_model(tmp_path)
    assert caught.value.code == "E_TOKENIZER"


class Torn(nn.Module):
    """A network that cannot decide between two words of the shipped model's pieces at every output frame."""

    def __init__(self, choices: tuple[str, str], model: SpeechModel) -> None:
        super().__init__()
        self.config = model.network.config
        ids = [list(model.tokenizer.encode(word, add_special_tokens=False).ids) for word in choices]
        self.ids = ids

    def forward(self, features: Tensor) -> Tensor:
        logits = torch.full((1, rows_of(features.shape[1]), self.config.vocab_size), -20.0)
        logits[..., 0] = 0.0
        for number, (one, other) in enumerate(zip(*self.ids, strict=True)):
            place = 2 + 3 * number
            logits[0, place, 0] = -20.0
            logits[0, place, other] = 4.8
            logits[0, place, one] = 5.0  # a little likelier
        return logits


def torn_between(one: str, other: str, shipped: SpeechModel) -> SpeechModel:
    return replace(shipped, network=Torn((one, other), shipped))  # type: ignore[arg-type]


@pytest.fixture
def words(shipped: SpeechModel) -> tuple[str, str]:
    """Two words of as many tokens, which differ in each but perhaps the first (the mark of a word's start)."""
    candidates = ["liver", "kidney", "lung", "stone", "cyst", "nodule", "spleen", "chest", "head", "bone"]
    encoded = {word: tuple(shipped.tokenizer.encode(word, add_special_tokens=False).ids) for word in candidates}
    for one, left in encoded.items():
        for other, right in encoded.items():
            alike = len(left) == len(right) and len(set(left)) == len(left)
            if one != other and alike and all(a != b for a, b in zip(left[1:], right[1:], strict=True)):
                return one, other
    raise AssertionError


def test_a_hot_word_wins_a_close_race(shipped: SpeechModel, words: tuple[str, str], tmp_path: Path) -> None:
    one, other = words
    (tmp_path / "hot.txt").write_text(f"{other}\t10\n")
    model = torn_between(one, other, shipped)
    assert transcribe(QUESTION, model).raw_text == one
    assert transcribe(QUESTION, model, decoding=Decoding(hotwords=tmp_path / "hot.txt")).raw_text == other


def test_a_learned_text_wins_a_close_race(shipped: SpeechModel, words: tuple[str, str], tmp_path: Path) -> None:
    one, other = words
    (tmp_path / "texts.txt").write_text(f"{other}\n" * 20)
    counts = learn_lm([tmp_path / "texts.txt"], tmp_path / "a.lm", model=shipped, order=3)
    model = torn_between(one, other, shipped)
    assert counts == {"lines": 20, "left_out": 0, "with_figures": 0}
    assert transcribe(QUESTION, model, decoding=Decoding(lm=tmp_path / "a.lm")).raw_text == other


def test_an_arpa_file_becomes_one_that_opens_at_once(shipped: SpeechModel, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("no pleural effusion\nthe liver is normal\n")
    learn_lm([tmp_path / "texts.txt"], tmp_path / "a.lm", model=shipped, order=3)
    learned = open_lm(tmp_path / "a.lm", shipped.pieces)
    write_arpa(learned, tmp_path / "a.arpa", shipped.pieces)
    assert convert_lm(tmp_path / "a.arpa", tmp_path / "b.lm", model=shipped) == sum(learned.counts)
    assert open_lm(tmp_path / "b.lm", shipped.pieces).counts == learned.counts


def test_the_published_search_is_usual_for_a_model_without_a_language_model(shipped: SpeechModel) -> None:
    bare = replace(shipped, lm=None)
    assert decoder_of(bare, lm=shipped.lm).search.settings == BEAM_MEDASR
    assert decoder_of(shipped, lm=shipped.lm).search.settings == BEAM_TUNED
    assert decoder_of(bare).search is None


def test_a_beam_without_anything_to_favour_hears_what_greedy_hears(shipped: SpeechModel) -> None:
    beam = transcribe(QUESTION, shipped, decoding=Decoding(method="beam.medasr"))
    assert beam.raw_text == transcribe(QUESTION, shipped).raw_text


def test_lines_that_cannot_be_written_are_left_out(shipped: SpeechModel, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("The liver is normal.\nПечень в норме\n5 mm nodule.\nThe Müller muscle\n")
    counts = learn_lm([tmp_path / "texts.txt"], tmp_path / "a.lm", model=shipped)
    assert counts == {"lines": 1, "left_out": 3, "with_figures": 1}


def test_a_text_without_a_usable_line(shipped: SpeechModel, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("Печень в норме\n")
    with pytest.raises(InputError) as caught:
        learn_lm([tmp_path / "texts.txt"], tmp_path / "a.lm", model=shipped)
    assert caught.value.code == "E_LM_TEXT"
    assert not (tmp_path / "a.lm").exists()


def test_a_hot_word_that_the_model_cannot_write(shipped: SpeechModel, tmp_path: Path) -> None:
    (tmp_path / "hot.txt").write_text("печень\n")
    with pytest.raises(UsageError) as caught:
        transcribe(QUESTION, shipped, decoding=Decoding(hotwords=tmp_path / "hot.txt"))
    assert caught.value.code == "E_HOTWORDS_TOKENS"


def test_a_decoding_that_nobody_knows(shipped: SpeechModel) -> None:
    with pytest.raises(UsageError) as caught:
        transcribe(QUESTION, shipped, decoding=Decoding(method="lattice"))
    assert caught.value.code == "E_DECODING"
