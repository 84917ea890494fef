"""An open sound file -> its samples in blocks, with what its header promises. Below ``utterance``.

libsndfile reads WAV, AIFF, FLAC, OGG and MP3. FFmpeg (package ``av``, the extra ``audio``) reads MP4 and M4A, WEBM, AAC
and AMR, with a closed list of decoders and no way to open another file. Knows no limits but those on what comes in, and
nothing of mixing or resampling.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from medvox.data.limits import Limits
from medvox.data.sound_container import SoundContainer, flac_samples
from medvox.errors import BudgetError, InputError, MedvoxError, SetupError
from medvox.types import Flag

Block = NDArray[np.float32]  # (samples, channels)

BLOCK_SAMPLES = 2**16
_UNKNOWN_FRAMES = 2**62  # libsndfile says 2**63 - 1 where the header does not know
_BY_FILE = {
    SoundContainer.WAV,
    SoundContainer.AIFF,
    SoundContainer.FLAC,  # but libsndfile loses its way where the length is not known
    SoundContainer.OGG,
    SoundContainer.MP3,
}
_FILE_FORMATS = {"WAV", "WAVEX", "RF64", "AIFF", "FLAC", "OGG", "MP3"}
_CODECS = {
    "aac", "aac_latm", "ac3", "alac", "amr_nb", "amr_wb", "flac", "mp2", "mp3", "opus", "vorbis", "pcm_alaw",
    "pcm_mulaw", "pcm_s8", "pcm_u8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be",
    "pcm_f32le", "pcm_f32be",
}  # fmt: skip
_DECODERS = _CODECS | {"libopus", "libopencore_amrnb", "libopencore_amrwb", "amrnb", "amrwb", "mp3float", "mp2float"}
_FULL_SCALE = {"u8": 2**7, "s16": 2**15, "s32": 2**31}


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundStream:
    """Samples still to be decoded.

    Attributes:
        rate_hz: sample rate.
        channels: number of channels.
        promised_s: length by the header; None where it does not say.
        blocks: the samples as (n, channels) float32 in -1..1; may raise ``InputError``.
        flags: what else is in the file.
    """

    rate_hz: int
    channels: int
    promised_s: float | None
    blocks: Iterator[Block]
    flags: tuple[Flag, ...]


@contextmanager
def open_sound(file: io.FileIO, container: SoundContainer, name: str, limits: Limits) -> Iterator[SoundStream]:
    """Open a sound file for decoding; the limits hold for the header here and for each block that is read.

    Raises:
        InputError: ``E_AUDIO_UNREADABLE``.
        BudgetError: ``E_AUDIO_LIMIT`` (length, channels, rate).
        SetupError: ``E_AUDIO_CODEC`` (the container needs the extra ``audio``).
    """
    file.seek(0)
    by_file = container in _BY_FILE and not (container is SoundContainer.FLAC and flac_samples(file.read(26)) == 0)
    file.seek(0)
    with _sound_file(file, name) if by_file else _track(file, container, name) as stream:
        _check_header(stream, name, limits)
        yield replace(stream, blocks=_checked_blocks(stream, name, limits))


def unreadable(name: str, problem: str, fix: str) -> InputError:
    """The error for a sound file that does not hold what it should."""
    return InputError(f"{name} {problem}", fix=fix, code="E_AUDIO_UNREADABLE")


@contextmanager
def _sound_file(file: io.FileIO, name: str) -> Iterator[SoundStream]:
    try:
        sound = soundfile.SoundFile(file.fileno(), closefd=False)
    except Exception as error:  # soundfile raises LibsndfileError, TypeError, ValueError and others by file
        raise _no_sound(name) from error
    with sound:
        if sound.format not in _FILE_FORMATS or sound.samplerate <= 0 or sound.channels <= 0:
            raise _no_sound(name)
        promised_s = sound.frames / sound.samplerate if 0 <= sound.frames < _UNKNOWN_FRAMES else None
        yield SoundStream(
            rate_hz=sound.samplerate,
            channels=sound.channels,
            promised_s=promised_s,
            blocks=_file_blocks(sound, name),
            flags=(),
        )


def _file_blocks(sound: Any, name: str) -> Iterator[Block]:
    while True:
        try:
            block = sound.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)
        except Exception as error:  # as on opening
            raise _damaged(name) from error
        if not len(block):
            return
        yield block


@contextmanager
def _track(file: io.FileIO, container: SoundContainer, name: str) -> Iterator[SoundStream]:
    try:
        import av
    except ImportError as error:
        raise SetupError(
            f"{name} needs FFmpeg's decoders, which are not installed",
            fix="pip install 'medvox[audio]', or save the recording as WAV, FLAC, OGG or MP3",
            code="E_AUDIO_CODEC",
        ) from error
    try:
        opened: Any = av.open(
            _ReadOnly(file),
            format=container.value,
            container_options={"codec_whitelist": ",".join(sorted(_DECODERS))},  # pictures are not even looked at
            metadata_errors="ignore",
            io_open=_open_nothing,
        )
    except Exception as error:  # FFmpeg's errors come as thirty classes
        raise _no_sound(name) from error
    with opened:
        yield _first_track(opened, name)


def _first_track(opened: Any, name: str) -> SoundStream:
    try:
        track = opened.streams.audio[0]
        if track.codec_context.codec.canonical_name not in _CODECS:
            raise _no_sound(name)
        track.codec_context.thread_count = 1
        frames = _frames(opened, track)
        first = next(frames)  # the header may state half of the rate that the decoder gives
        promised = track.duration * track.time_base if track.duration else (opened.duration or 0) / 1_000_000
        several, videos = len(opened.streams.audio) > 1, [v for v in opened.streams.video if not v.disposition & 0x400]
    except MedvoxError:
        raise
    except Exception as error:  # as on opening; also IndexError and StopIteration where there is no sound
        raise _no_sound(name) from error
    flags = []
    if several:
        flags.append(Flag(code="F_AUDIO_TRACKS", text="the file holds several sound tracks; the first one was used"))
    if videos:
        flags.append(Flag(code="F_AUDIO_VIDEO", text="the file is a video; only its sound was used"))
    rate_hz, channels = first.sample_rate, first.layout.nb_channels
    return SoundStream(
        rate_hz=rate_hz,
        channels=channels,
        promised_s=float(promised) or None,
        blocks=_track_blocks(first, frames, (rate_hz, channels), name),
        flags=tuple(flags),
    )


def _frames(opened: Any, track: Any) -> Iterator[Any]:
    for packet in opened.demux(track):
        yield from packet.decode()


def _track_blocks(first: Any, frames: Iterator[Any], form: tuple[int, int], name: str) -> Iterator[Block]:
    frame = first
    while frame is not None:
        try:
            if (frame.sample_rate, frame.layout.nb_channels) != form:
                raise unreadable(name, "changes its sample rate or channels midway", "export it as WAV or FLAC")
            yield _samples(frame)
            frame = next(frames, None)
        except MedvoxError:
            raise
        except Exception as error:  # as on opening
            raise _damaged(name) from error


def _samples(frame: Any) -> Block:
    """A decoded frame as (n, channels) float32 in -1..1."""
    values = frame.to_ndarray()
    form = frame.format.name
    values = values.T if form.endswith("p") else values.reshape(-1, frame.layout.nb_channels)
    form = form.removesuffix("p")
    if form == "u8":
        return (values.astype(np.float32) - 128) / 128
    return values.astype(np.float32) / np.float32(_FULL_SCALE.get(form, 1))


class _ReadOnly:
    """A file that FFmpeg can only read and seek."""

    def __init__(self, file: io.FileIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def _open_nothing(*_: Any) -> None:
    raise PermissionError("a sound file may not name another file")


def _check_header(stream: SoundStream, name: str, limits: Limits) -> None:
    lowest, highest = limits.audio_rate_hz
    if not lowest <= stream.rate_hz <= highest:
        raise _over(name, f"has {stream.rate_hz} samples a second, outside of {lowest} to {highest}")
    if stream.channels > limits.audio_channels:
        raise _over(name, f"has {stream.channels} channels, more than {limits.audio_channels}")
    if stream.promised_s is not None and stream.promised_s > limits.audio_s:
        raise _over(name, f"lasts {stream.promised_s:.0f} s, more than {limits.audio_s:g} s")


def _checked_blocks(stream: SoundStream, name: str, limits: Limits) -> Iterator[Block]:
    samples = 0
    for block in stream.blocks:
        samples += len(block)
        if samples > limits.audio_s * stream.rate_hz:
            raise _over(name, f"lasts more than {limits.audio_s:g} s")
        yield block


def _no_sound(name: str) -> InputError:
    return unreadable(name, "is not a sound file that can be read", "save it as WAV or FLAC")


def _damaged(name: str) -> InputError:
    return unreadable(name, "is damaged: its sound cannot be decoded", "copy or export the file again")


def _over(name: str, problem: str) -> BudgetError:
    return BudgetError(
        f"{name} {problem}", fix="cut it into shorter parts, or export it as 16 kHz mono WAV", code="E_AUDIO_LIMIT"
    )
