"""A sound file -> Utterance: mono, 16 kHz, checked. First stage of the speech path; next is ``encode/speech``.

Reads what libsndfile reads (WAV, FLAC, OGG, MP3). Knows no feature, no model and no text.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from medvox.data.volume import Source
from medvox.errors import InputError
from medvox.types import Flag, Samples

SAMPLE_RATE_HZ = 16_000
SILENCE_PEAK = 1e-4  # of full scale, after removing the offset: -80 dB
ANTI_PHASE_RATIO = 0.1  # channel mean against the channels themselves
CLIPPED_SHARE = 0.01
STREAMED_SIZE = 0x7FFF0000  # a writer to a pipe cannot know the size and declares at least this much


@dataclass(frozen=True, kw_only=True, slots=True)
class Utterance:
    """One recording, ready for the speech front end.

    Attributes:
        samples: mono float32 in -1..1 at ``sample_rate_hz``.
        sample_rate_hz: always 16 000.
        source_rate_hz: rate in the file.
        channels: channels in the file.
        duration_s: length.
        source: the file.
        flags: what a reader must know: resampling, mixed channels, clipping.
    """

    samples: Samples
    sample_rate_hz: int = SAMPLE_RATE_HZ
    source_rate_hz: int
    channels: int
    duration_s: float
    source: Source
    flags: tuple[Flag, ...]


def read_utterance(path: Path) -> Utterance:
    """Reads a sound file as mono at 16 kHz.

    Raises:
        InputError: ``E_AUDIO_UNREADABLE`` (missing, no sound file, cut off), ``E_AUDIO_EMPTY``,
            ``E_AUDIO_NOT_FINITE`` or ``E_AUDIO_SILENT``.
    """
    content = _read_bytes(path)
    sound, rate_hz = _decode(content, path.name)  # (samples, channels)
    _check(sound, path.name)
    mono, flags = _mix(sound)
    if rate_hz != SAMPLE_RATE_HZ:
        mono = np.asarray(soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ), dtype=np.float32)
        flags.append(Flag(code="F_AUDIO_RESAMPLED", text=f"resampled from {rate_hz} Hz to {SAMPLE_RATE_HZ} Hz"))
    return Utterance(
        samples=np.clip(mono, -1.0, 1.0),
        source_rate_hz=rate_hz,
        channels=sound.shape[1],
        duration_s=len(sound) / rate_hz,
        source=Source(name=path.name, sha256=hashlib.sha256(content).hexdigest()),
        flags=tuple(flags),
    )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path.name, "cannot be opened", "check the path and the rights of the file") from error


def _decode(content: bytes, name: str) -> tuple[NDArray[np.float32], int]:
    if not content:
        raise _empty(name)
    if _is_cut_off(content):
        raise _unreadable(name, "ends before the sound that its header promises", "copy or export the file again")
    try:
        sound, rate_hz = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, ValueError) as error:
        raise _unreadable(name, "is not a sound file that can be read", "save it as WAV or FLAC") from error
    if len(sound) == 0:
        raise _empty(name)
    return sound, int(rate_hz)


def _is_cut_off(content: bytes) -> bool:
    """Whether a RIFF file is shorter than its data chunk says; libsndfile would silently read what is left."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return False
    place = 12
    while place + 8 <= len(content):
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        if content[place : place + 4] == b"data":
            return size < STREAMED_SIZE and place + 8 + size > len(content)
        place += 8 + size + size % 2
    return True


def _check(sound: NDArray[np.float32], name: str) -> None:
    if not np.isfinite(sound).all():
        raise InputError(
            f"{name} holds samples that are not numbers", fix="export the recording again", code="E_AUDIO_NOT_FINITE"
        )
    if np.abs(sound - sound.mean(axis=0)).max() < SILENCE_PEAK:
        raise InputError(
            f"{name} is silent", fix="check the microphone and record the sentence again", code="E_AUDIO_SILENT"
        )


def _mix(sound: NDArray[np.float32]) -> tuple[Samples, list[Flag]]:
    """Mean of the channels; of channels that cancel each other, the loudest."""
    flags: list[Flag] = []
    if (np.abs(sound) >= 0.999).mean() > CLIPPED_SHARE:
        flags.append(Flag(code="F_AUDIO_CLIPPED", text="the recording is overdriven; words may be misheard"))
    if sound.shape[1] == 1:
        return sound[:, 0], flags
    mean = sound.mean(axis=1, dtype=np.float32)
    loudness = np.sqrt(np.square(sound).mean(axis=0))
    if np.sqrt(np.square(mean).mean()) < ANTI_PHASE_RATIO * loudness.mean():
        text = f"the {sound.shape[1]} channels cancel each other (opposite phase); the loudest one was used"
        flags.append(Flag(code="F_AUDIO_ANTI_PHASE", text=text))
        return sound[:, int(loudness.argmax())].copy(), flags
    flags.append(Flag(code="F_AUDIO_MIXED", text=f"{sound.shape[1]} channels were averaged"))
    return mean, flags


def _unreadable(name: str, problem: str, fix: str) -> InputError:
    return InputError(f"{name} {problem}", fix=fix, code="E_AUDIO_UNREADABLE")


def _empty(name: str) -> InputError:
    return InputError(f"{name} holds no sound (0 seconds)", fix="record the sentence again", code="E_AUDIO_EMPTY")
