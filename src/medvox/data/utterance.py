"""A sound file -> Utterance: mono, 16 kHz, checked. First stage of the speech path; next is ``encode/speech``.

Reads WAV, AIFF, FLAC, OGG and MP3, and with the extra ``audio`` M4A, MP4, WEBM, AAC and AMR. Decodes in blocks, so that
hours of sound take the memory of the result and little more. Knows no feature, no model and no text.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from medvox.data.limits import DEFAULT_LIMITS, GIB, MIB, Limits
from medvox.data.sound_blocks import open_sound, unreadable
from medvox.data.sound_container import HEAD_BYTES, SoundContainer, end_of, sound_container
from medvox.data.volume import Source
from medvox.errors import BudgetError, InputError
from medvox.types import Flag, Samples

SAMPLE_RATE_HZ = 16_000
SILENCE_PEAK = 1e-4  # of full scale, after removing the offset: -80 dB
ANTI_PHASE_RATIO = 0.1  # channel mean against the channels themselves
CLIPPED_LEVEL, CLIPPED_SHARE = 0.999, 0.01
MISSING_S, MISSING_SHARE = 0.25, 0.01  # what decoders may leave out at the ends of what the header promises
GROWTH_SAMPLES = 60 * SAMPLE_RATE_HZ
EXACT = {SoundContainer.WAV, SoundContainer.AIFF, SoundContainer.FLAC, SoundContainer.OGG}  # in counting samples


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
        flags: what a reader must know: resampling, mixed channels, clipping, other tracks, an unmarked end.
    """

    samples: Samples
    sample_rate_hz: int = SAMPLE_RATE_HZ
    source_rate_hz: int
    channels: int
    duration_s: float
    source: Source
    flags: tuple[Flag, ...]


def read_utterance(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> Utterance:
    """Reads a sound file as mono at 16 kHz.

    Raises:
        InputError: ``E_AUDIO_UNREADABLE`` (missing, no sound file, damaged, cut off, changed while it was read),
            ``E_AUDIO_EMPTY``, ``E_AUDIO_NOT_FINITE`` or ``E_AUDIO_SILENT``.
        BudgetError: ``E_AUDIO_LIMIT`` (bytes, seconds, channels, sample rate).
        SetupError: ``E_AUDIO_CODEC`` (the format needs the extra ``audio``).
    """
    name = path.name
    with _opened(path) as file:
        before = os.fstat(file.fileno())
        digest = _digest(file, before.st_size, name, limits)
        container, flags = _container(file, name)
        heard = _hear(file, container, name, limits)
        if heard.tally.cancels:  # the mean is nearly silent: once more, with the loudest channel alone
            heard = _hear(file, container, name, limits, channel=heard.tally.loudest)
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise unreadable(name, "changed while it was read", "wait until the recording is finished")
    return Utterance(
        samples=np.clip(heard.samples, -1.0, 1.0, out=heard.samples),
        source_rate_hz=heard.rate_hz,
        channels=heard.tally.channels,
        duration_s=heard.tally.frames / heard.rate_hz,
        source=Source(name=name, sha256=digest),
        flags=(*flags, *heard.flags),
    )


class _Tally:
    """What the checks and the flags need to know of all samples, summed up block by block."""

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.frames = self.clipped = 0
        self.finite = True
        self.mean_energy = 0.0
        self.energy = np.zeros(channels)  # float64, sums of squares
        self.sums = np.zeros(channels)
        self.low = np.full(channels, np.inf, np.float32)
        self.high = np.full(channels, -np.inf, np.float32)

    def add(self, planes: NDArray[np.float32], mean: Samples) -> None:
        """Count a block of (channels, n) samples and the mean of its channels."""
        self.frames += len(mean)
        self.clipped += int(np.count_nonzero(np.abs(planes) >= CLIPPED_LEVEL))
        self.finite = self.finite and bool(np.isfinite(planes).all())
        self.mean_energy += float(np.dot(mean, mean))
        self.energy += [float(np.dot(plane, plane)) for plane in planes]
        self.sums += planes.sum(axis=1, dtype=np.float64)
        self.low = np.minimum(self.low, planes.min(axis=1))
        self.high = np.maximum(self.high, planes.max(axis=1))

    @property
    def silent(self) -> bool:
        middle = self.sums / self.frames
        return bool(np.maximum(self.high - middle, middle - self.low).max() < SILENCE_PEAK)

    @property
    def overdriven(self) -> bool:
        return self.clipped > CLIPPED_SHARE * self.frames * self.channels

    @property
    def cancels(self) -> bool:
        """Whether the mean of the channels is nearly nothing although the channels are not."""
        loudness = np.sqrt(self.energy / self.frames).mean()
        return self.channels > 1 and bool(np.sqrt(self.mean_energy / self.frames) < ANTI_PHASE_RATIO * loudness)

    @property
    def loudest(self) -> int:
        return int(self.energy.argmax())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Heard:
    """One pass over a recording: 16 kHz mono, and what is to be said about it."""

    samples: Samples
    rate_hz: int
    tally: _Tally
    flags: tuple[Flag, ...]


class _Buffer:
    """Samples that grow in place: a list of blocks would take twice the memory when joined."""

    def __init__(self) -> None:
        self._samples = np.empty(0, np.float32)
        self._count = 0

    def add(self, block: Samples) -> None:
        needed = self._count + len(block)
        if needed > len(self._samples):
            self._samples.resize(needed + GROWTH_SAMPLES, refcheck=False)
        self._samples[self._count : needed] = block
        self._count = needed

    def taken(self) -> Samples:
        self._samples.resize(self._count, refcheck=False)
        return self._samples


def _hear(
    file: io.FileIO, container: SoundContainer, name: str, limits: Limits, *, channel: int | None = None
) -> _Heard:
    """Decode, mix and resample in one pass; ``channel`` is kept instead of the mean of all."""
    buffer = _Buffer()
    with open_sound(file, container, name, limits) as stream:
        tally = _Tally(stream.channels)
        resampler = None
        if stream.rate_hz != SAMPLE_RATE_HZ:
            resampler = soxr.ResampleStream(stream.rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")
        for block in stream.blocks:
            planes = np.ascontiguousarray(block.T)
            mean = planes.mean(axis=0, dtype=np.float32)
            tally.add(planes, mean)
            kept = mean if channel is None else planes[channel]
            buffer.add(resampler.resample_chunk(kept) if resampler else kept)
        if resampler:
            buffer.add(resampler.resample_chunk(np.empty(0, np.float32), last=True))
    _check(tally, name)
    _check_length(tally.frames / stream.rate_hz, stream.promised_s, container, name)
    flags = (*stream.flags, *_flags(tally, stream.rate_hz, channel))
    return _Heard(samples=buffer.taken(), rate_hz=stream.rate_hz, tally=tally, flags=flags)


def _flags(tally: _Tally, rate_hz: int, channel: int | None) -> Iterator[Flag]:
    if tally.overdriven:
        yield Flag(code="F_AUDIO_CLIPPED", text="the recording is overdriven; words may be misheard")
    if channel is not None:
        text = f"the {tally.channels} channels cancel each other (opposite phase); the loudest one was used"
        yield Flag(code="F_AUDIO_ANTI_PHASE", text=text)
    elif tally.channels > 1:
        yield Flag(code="F_AUDIO_MIXED", text=f"{tally.channels} channels were averaged")
    if rate_hz != SAMPLE_RATE_HZ:
        yield Flag(code="F_AUDIO_RESAMPLED", text=f"resampled from {rate_hz} Hz to {SAMPLE_RATE_HZ} Hz")


def _check(tally: _Tally, name: str) -> None:
    if tally.frames == 0:
        raise _empty(name)
    if not tally.finite:
        raise InputError(
            f"{name} holds samples that are not numbers", fix="export the recording again", code="E_AUDIO_NOT_FINITE"
        )
    if tally.silent:
        raise InputError(
            f"{name} is silent", fix="check the microphone and record the sentence again", code="E_AUDIO_SILENT"
        )


def _check_length(decoded_s: float, promised_s: float | None, container: SoundContainer, name: str) -> None:
    """Compare with the header; only the lossy containers may round their length to whole packets."""
    slack_s = 0.0 if container in EXACT else max(MISSING_S, MISSING_SHARE * decoded_s)
    if promised_s is not None and decoded_s + slack_s < promised_s:
        raise _cut_off(name)


@contextmanager
def _opened(path: Path) -> Iterator[io.FileIO]:
    try:
        file = io.FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # no wait for a pipe
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise unreadable(path.name, "cannot be opened", "check the path and the rights of the file") from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise unreadable(path.name, "is no regular file", "give a sound file")
        yield file


def _digest(file: io.FileIO, size: int, name: str, limits: Limits) -> str:
    if size == 0:
        raise _empty(name)
    if size > limits.file_bytes:
        fix = "cut it into shorter parts, or export it as 16 kHz mono WAV"
        raise BudgetError(f"{name} has more than {limits.file_bytes / GIB:g} GiB", fix=fix, code="E_AUDIO_LIMIT")
    digest = hashlib.sha256()
    while piece := file.read(MIB):
        digest.update(piece)
    return digest.hexdigest()


def _container(file: io.FileIO, name: str) -> tuple[SoundContainer, tuple[Flag, ...]]:
    file.seek(0)
    container = sound_container(file.read(HEAD_BYTES))
    if container is None:
        raise unreadable(name, "is not a sound file that can be read", "save it as WAV or FLAC")
    end = end_of(container, file)
    if end == "cut off":
        raise _cut_off(name)
    text = "the recording does not say where it ends; its last words may be missing"
    return container, (Flag(code="F_AUDIO_END_UNMARKED", text=text),) if end == "unmarked" else ()


def _cut_off(name: str) -> InputError:
    return unreadable(name, "ends before the sound that its header promises", "copy or export the file again")


def _empty(name: str) -> InputError:
    return InputError(f"{name} holds no sound (0 seconds)", fix="record the sentence again", code="E_AUDIO_EMPTY")
