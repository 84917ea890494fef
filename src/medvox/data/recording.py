"""A sound file of any length -> Recording: checked once, then given in blocks of mono sound at 16 kHz.

First stage of the speech path; next are ``encode/voice`` and ``encode/speech``. Short recordings are kept, long ones
are decoded again each time they are asked for, so that hours of sound take no more memory than minutes. Reads WAV,
AIFF, FLAC, OGG and MP3, and with the extra ``audio`` M4A, MP4, WEBM, AAC and AMR. Knows no feature, no model and no
text.
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
from medvox.data.sound_blocks import SoundStream, open_sound, unreadable
from medvox.data.sound_container import HEAD_BYTES, SoundContainer, end_of, sound_container
from medvox.data.volume import Source
from medvox.errors import BudgetError, InputError
from medvox.types import Flag, Samples

SAMPLE_RATE_HZ = 16_000
KEPT_S = 900.0  # 58 MB
SILENCE_PEAK = 1e-4  # of full scale, after removing the offset: -80 dB
ANTI_PHASE_RATIO = 0.1  # channel mean against the channels themselves
CLIPPED_LEVEL, CLIPPED_SHARE = 0.999, 0.01
MISSING_S, MISSING_SHARE = 0.25, 0.01  # what decoders may leave out at the ends of what the header promises
GROWTH_SAMPLES = 60 * SAMPLE_RATE_HZ
EXACT = {SoundContainer.WAV, SoundContainer.AIFF, SoundContainer.FLAC, SoundContainer.OGG}  # in counting samples


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """A sound file that was heard once and found sound.

    Attributes:
        path: where it lies.
        source: its name and hash.
        samples: how many ``blocks`` give in all.
        kept: the samples themselves, where they are few.
        source_rate_hz: rate in the file.
        channels: channels in the file.
        channel: the one that is used where the mean of all is not.
        duration_s: length.
        flags: what a reader must know: resampling, mixed channels, clipping, other tracks, an unmarked end.
        limits: what may come in.
        stamp: size and time of the file when it was heard.
    """

    path: Path
    source: Source
    samples: int
    kept: Samples | None
    source_rate_hz: int
    channels: int
    channel: int | None
    duration_s: float
    flags: tuple[Flag, ...]
    limits: Limits
    stamp: tuple[int, int]

    def blocks(self) -> Iterator[Samples]:
        """All samples in order: mono float32, 16 kHz, -1..1; may be called again and again.

        Raises:
            InputError: ``E_AUDIO_UNREADABLE`` (the file changed since it was checked).
        """
        if self.kept is not None:
            yield self.kept
            return
        with _opened(self.path) as file:
            if _stamp(file) != self.stamp:
                raise _changed(self.source.name)
            container, _ = _container(file, self.source.name)
            with open_sound(file, container, self.source.name, self.limits) as stream:
                yield from _mono(stream, _Tally(stream.channels), self.channel)
            if _stamp(file) != self.stamp:
                raise _changed(self.source.name)


def read_recording(path: Path, *, kept_s: float = KEPT_S, limits: Limits = DEFAULT_LIMITS) -> Recording:
    """Hears a sound file through and checks it.

    Args:
        path: the file.
        kept_s: recordings up to this length are kept in memory.
        limits: what may come in.

    Raises:
        InputError: ``E_AUDIO_UNREADABLE`` (missing, no sound file, damaged, cut off, changed while it was read),
            ``E_AUDIO_EMPTY``, ``E_AUDIO_NOT_FINITE`` or ``E_AUDIO_SILENT``.
        BudgetError: ``E_AUDIO_LIMIT`` (bytes, seconds, channels, sample rate).
        SetupError: ``E_AUDIO_CODEC`` (the format needs the extra ``audio``).
    """
    name = path.name
    with _opened(path) as file:
        stamp = _stamp(file)
        digest = _digest(file, stamp[0], name, limits)
        container, flags = _container(file, name)
        channel = None
        heard = _hear(file, container, name, limits, kept_s, channel)
        if heard.tally.cancels:  # the mean is nearly silent: once more, with the loudest channel alone
            channel = heard.tally.loudest
            heard = _hear(file, container, name, limits, kept_s, channel)
        if _stamp(file) != stamp:
            raise _changed(name)
    return Recording(
        path=path,
        source=Source(name=name, sha256=digest),
        samples=heard.samples,
        kept=heard.kept,
        source_rate_hz=heard.rate_hz,
        channels=heard.tally.channels,
        channel=channel,
        duration_s=heard.tally.frames / heard.rate_hz,
        flags=(*flags, *heard.flags),
        limits=limits,
        stamp=stamp,
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
    """One pass over a recording, and what is to be said about it."""

    samples: int
    kept: Samples | None
    rate_hz: int
    tally: _Tally
    flags: tuple[Flag, ...]


class _Buffer:
    """Samples that grow in place (a list of blocks would take twice the memory when joined), up to a length."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._samples: Samples | None = np.empty(0, np.float32)
        self.count = 0

    def add(self, block: Samples) -> None:
        start, self.count = self.count, self.count + len(block)
        if self.count > self._most:
            self._samples = None
        if self._samples is None:
            return
        if self.count > len(self._samples):
            self._samples.resize(self.count + GROWTH_SAMPLES, refcheck=False)
        self._samples[start : self.count] = block

    def taken(self) -> Samples | None:
        if self._samples is not None:
            self._samples.resize(self.count, refcheck=False)
        return self._samples


def _hear(
    file: io.FileIO, container: SoundContainer, name: str, limits: Limits, kept_s: float, channel: int | None
) -> _Heard:
    """Decode once; ``channel`` is heard instead of the mean of all."""
    buffer = _Buffer(kept_s * SAMPLE_RATE_HZ)
    with open_sound(file, container, name, limits) as stream:
        tally = _Tally(stream.channels)
        for block in _mono(stream, tally, channel):
            buffer.add(block)
    _check(tally, name)
    _check_length(tally.frames / stream.rate_hz, stream.promised_s, container, name)
    flags = (*stream.flags, *_flags(tally, stream.rate_hz, channel))
    return _Heard(samples=buffer.count, kept=buffer.taken(), rate_hz=stream.rate_hz, tally=tally, flags=flags)


def _mono(stream: SoundStream, tally: _Tally, channel: int | None) -> Iterator[Samples]:
    """Mix and resample."""
    resampler = None
    if stream.rate_hz != SAMPLE_RATE_HZ:
        resampler = soxr.ResampleStream(stream.rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")
    for block in stream.blocks:
        planes = np.ascontiguousarray(block.T)
        mean = planes.mean(axis=0, dtype=np.float32)
        tally.add(planes, mean)
        heard = mean if channel is None else planes[channel]
        yield np.clip(resampler.resample_chunk(heard) if resampler else heard, -1.0, 1.0)
    if resampler:
        yield np.clip(resampler.resample_chunk(np.empty(0, np.float32), last=True), -1.0, 1.0)


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


def _stamp(file: io.FileIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


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


def _changed(name: str) -> InputError:
    return unreadable(name, "changed while it was read", "wait until the recording is finished")


def _cut_off(name: str) -> InputError:
    return unreadable(name, "ends before the sound that its header promises", "copy or export the file again")


def _empty(name: str) -> InputError:
    return InputError(f"{name} holds no sound (0 seconds)", fix="record the sentence again", code="E_AUDIO_EMPTY")
