"""Sound in other containers: what comes out is the tone that went in, and what ends early is refused."""

from __future__ import annotations

import builtins
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from made_sound import tone, write_track

from medvox.data.limits import DEFAULT_LIMITS, MIB
from medvox.data.utterance import Utterance, read_utterance
from medvox.errors import BudgetError, InputError, SetupError

TRACKS = [
    ("mono.m4a", "ipod", "aac", 44_100),
    ("alac.m4a", "ipod", "alac", 44_100),
    ("mono.mp4", "mp4", "aac", 48_000),
    ("phone.3gp", "3gp", "libopencore_amrnb", 8_000),
    ("phone.amr", "amr", "libopencore_amrnb", 8_000),
    ("browser.webm", "webm", "libopus", 48_000),
    ("flac.mka", "matroska", "flac", 48_000),
    ("plain.mov", "mov", "pcm_s16le", 22_050),
    ("adts.aac", "adts", "aac", 16_000),
]
STRUCTURED = [track for track in TRACKS if track[1] not in {"amr", "adts"}]


def pitch_hz(utterance: Utterance) -> float:
    """The strongest frequency in the middle of a recording of at least 0.75 s."""
    middle = utterance.samples[2000:10_000]
    return float(np.abs(np.fft.rfft(middle * np.hanning(8000))).argmax() * 2)


def level(utterance: Utterance) -> float:
    """Amplitude of a sine of the same power."""
    return float(np.sqrt(2 * np.square(utterance.samples[2000:10_000]).mean()))


def refusal(path: Path, **limits: Any) -> str:
    with pytest.raises((InputError, BudgetError)) as caught:
        read_utterance(path, limits=replace(DEFAULT_LIMITS, **limits))
    assert caught.value.message.startswith(path.name)
    return caught.value.code


def flags_of(path: Path) -> set[str]:
    return {flag.code for flag in read_utterance(path).flags} - {"F_AUDIO_RESAMPLED"}


@pytest.mark.parametrize(("name", "form", "codec", "rate_hz"), TRACKS)
def test_a_track_keeps_pitch_level_and_length(tmp_path: Path, name: str, form: str, codec: str, rate_hz: int) -> None:
    sound = tone(1.0, rate_hz)
    utterance = read_utterance(write_track(tmp_path / "wrong.wav", form, codec, sound, rate_hz))
    assert utterance.source_rate_hz == rate_hz
    assert utterance.duration_s == pytest.approx(1.0, abs=0.15)
    assert pitch_hz(utterance) == pytest.approx(440, abs=2)
    assert level(utterance) == pytest.approx(0.5, abs=0.1 if "amr" in codec else 0.04)  # AMR is made for speech


@pytest.mark.parametrize(("name", "form", "codec", "rate_hz"), STRUCTURED)
@pytest.mark.parametrize("kept", [0.98, 0.5])
def test_a_track_that_ends_early_is_refused(
    tmp_path: Path, name: str, form: str, codec: str, rate_hz: int, kept: float
) -> None:
    path = write_track(tmp_path / name, form, codec, tone(1.0, rate_hz), rate_hz)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert refusal(path) == "E_AUDIO_UNREADABLE"


def test_a_fragmented_recording_that_lost_its_end_is_refused(tmp_path: Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "200000"}
    path = write_track(tmp_path / "safari.mp4", "mp4", "aac", tone(1.0, 48_000), 48_000, options=options)
    assert read_utterance(path).duration_s == pytest.approx(1.0, abs=0.1)
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(path) == "E_AUDIO_UNREADABLE"


def test_a_live_recording_that_states_no_end_is_flagged(tmp_path: Path) -> None:
    path = write_track(tmp_path / "x.webm", "webm", "libopus", tone(1.0, 48_000), 48_000, options={"live": "1"})
    assert flags_of(path) == {"F_AUDIO_END_UNMARKED"}


def test_pictures_and_further_tracks_are_flagged(tmp_path: Path) -> None:
    sound = tone(1.0, 48_000)
    assert flags_of(write_track(tmp_path / "v.mp4", "mp4", "aac", sound, 48_000, video=True)) == {"F_AUDIO_VIDEO"}
    assert flags_of(write_track(tmp_path / "t.mp4", "mp4", "aac", sound, 48_000, tracks=2)) == {"F_AUDIO_TRACKS"}


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    path = write_track(tmp_path / "mute.mp4", "mp4", "aac", tone(), 16_000, video=True, tracks=0)
    assert refusal(path) == "E_AUDIO_UNREADABLE"


def test_a_codec_that_is_not_on_the_list_is_refused(tmp_path: Path) -> None:
    path = write_track(tmp_path / "odd.mka", "matroska", "wavpack", tone(1.0), 16_000)
    assert refusal(path) == "E_AUDIO_UNREADABLE"


def test_a_playlist_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "list.mp4"
    path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    assert refusal(path) == "E_AUDIO_UNREADABLE"


def test_without_the_extra_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_track(tmp_path / "mono.m4a", "ipod", "aac", tone(), 16_000)
    real_import = builtins.__import__

    def without_av(name: str, *rest: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_av)
    with pytest.raises(SetupError) as caught:
        read_utterance(path)
    assert caught.value.code == "E_AUDIO_CODEC"
    assert "pip install 'medvox[audio]'" in caught.value.fix


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
def test_every_depth_of_wav(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(1.0), 16_000, subtype=subtype)
    expected = 0.02 if subtype in {"PCM_U8", "ULAW", "ALAW"} else 1e-4
    np.testing.assert_allclose(read_utterance(path).samples, tone(1.0), atol=expected)


@pytest.mark.parametrize(
    ("form", "subtype"), [("RF64", None), ("AIFF", None), ("FLAC", "PCM_24"), ("OGG", "OPUS"), ("OGG", "VORBIS")]
)
def test_other_containers_of_libsndfile(tmp_path: Path, form: str, subtype: str | None) -> None:
    path = tmp_path / "wrong.name"
    soundfile.write(path, tone(1.0), 16_000, format=form, subtype=subtype)
    utterance = read_utterance(path)
    assert (pitch_hz(utterance), utterance.duration_s) == (pytest.approx(440, abs=2), 1.0)
    for kept in (0.95, 0.4):
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
        assert refusal(path) == "E_AUDIO_UNREADABLE"


def test_a_container_that_libsndfile_knows_and_we_do_not_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(), 16_000, format="VOC")
    assert refusal(path) == "E_AUDIO_UNREADABLE"


def test_an_mp3_that_lost_half_of_its_frames_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tone.mp3"
    soundfile.write(path, tone(4.0), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert refusal(path) == "E_AUDIO_UNREADABLE"


def flac_claiming(path: Path, samples: int) -> Path:
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 32_000), 16_000)
    content = bytearray(path.read_bytes())
    content[21] = content[21] & 0xF0 | samples >> 32
    content[22:26] = (samples & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(content)
    return path


def test_a_flac_from_a_pipe_does_not_know_its_length(tmp_path: Path) -> None:
    pytest.importorskip("av")
    assert read_utterance(flac_claiming(tmp_path / "pipe.flac", 0)).duration_s == 2.0


def test_a_flac_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    assert refusal(flac_claiming(tmp_path / "more.flac", 32_001)) == "E_AUDIO_UNREADABLE"
    assert refusal(flac_claiming(tmp_path / "days.flac", 2**36 - 1)) == "E_AUDIO_LIMIT"


def test_a_flac_that_claims_less_than_it_holds_is_flagged(tmp_path: Path) -> None:
    assert flags_of(flac_claiming(tmp_path / "less.flac", 1600)) == {"F_AUDIO_END_UNMARKED"}


def test_a_wav_whose_sound_goes_on_behind_its_stated_end_is_flagged(tmp_path: Path) -> None:
    path = tmp_path / "crashed.wav"
    soundfile.write(path, tone(), 16_000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = (8000).to_bytes(4, "little")
    path.write_bytes(content)
    assert flags_of(path) == {"F_AUDIO_END_UNMARKED"}


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_a_tone_below_the_band_edge_keeps_its_pitch_and_level(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(1.0, rate_hz, 1000.0), rate_hz, subtype="FLOAT")
    utterance = read_utterance(path)
    assert pitch_hz(utterance) == 1000
    assert level(utterance) == pytest.approx(0.5, rel=1e-3)
    assert len(utterance.samples) == pytest.approx(16_000, abs=2)


@pytest.mark.parametrize("frequency_hz", [9_000.0, 12_000.0, 20_000.0])
def test_a_tone_above_the_band_edge_does_not_fold_back(tmp_path: Path, frequency_hz: float) -> None:
    path = tmp_path / "whistle.wav"
    soundfile.write(path, tone(1.0, 48_000, frequency_hz), 48_000, subtype="FLOAT")
    heard = read_utterance(path).samples[1000:-1000]
    assert np.abs(heard).max() < 0.5 * 10 ** (-80 / 20)


def test_blocks_are_resampled_like_the_whole(tmp_path: Path) -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, 300_000).astype(np.float32)
    path = tmp_path / "noise.wav"
    soundfile.write(path, sound, 44_100, subtype="FLOAT")
    expected = soxr.resample(sound, 44_100, 16_000)
    np.testing.assert_allclose(read_utterance(path).samples, expected, atol=1e-6)


def test_channels_that_cancel_in_blocks_are_heard_from_the_loudest(tmp_path: Path) -> None:
    sound = np.tile(tone(0.5), 20)
    path = tmp_path / "anti.wav"
    soundfile.write(path, np.stack([0.9 * sound, -sound, 0.9 * sound, -0.81 * sound], axis=1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(read_utterance(path).samples, -sound, atol=1e-6)


@pytest.mark.parametrize(
    ("limits", "over"),
    [
        ({"audio_s": 0.5}, {"audio_s": 0.49}),
        ({"audio_channels": 2}, {"audio_channels": 1}),
        ({"audio_rate_hz": (16_000, 16_000)}, {"audio_rate_hz": (16_001, 48_000)}),
        ({"file_bytes": 32_044}, {"file_bytes": 32_043}),
    ],
)
def test_limits_hold_exactly(tmp_path: Path, limits: dict[str, Any], over: dict[str, Any]) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.stack([tone(), tone()], axis=1), 16_000, subtype="PCM_16")
    assert read_utterance(path, limits=replace(DEFAULT_LIMITS, **limits)).duration_s == 0.5
    assert refusal(path, **over) == "E_AUDIO_LIMIT"


def test_seconds_are_counted_while_decoding_where_the_header_is_silent(tmp_path: Path) -> None:
    path = write_track(tmp_path / "long.aac", "adts", "aac", tone(2.0), 16_000)
    assert refusal(path, audio_s=1.0) == "E_AUDIO_LIMIT"


def test_a_long_recording_takes_the_memory_of_its_result(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.tile(np.stack([tone(1.0, 48_000)] * 2, axis=1), (90, 1)), 48_000, subtype="PCM_U8")
    tracemalloc.start()
    utterance = read_utterance(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < utterance.samples.nbytes + 12 * MIB  # decoded at once it would be 33 MiB more


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "growing.wav"
    soundfile.write(path, tone(), 16_000)

    def grow(*_: Any) -> str:
        path.write_bytes(path.read_bytes() + b"more")
        return "digest"

    monkeypatch.setattr("medvox.data.utterance._digest", grow)
    assert refusal(path) == "E_AUDIO_UNREADABLE"
