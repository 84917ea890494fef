"""Sound while it is made -> blocks of mono samples at 16 kHz: a raw PCM stream, or a recording played as if live.

First stage of live dictation; next are ``encode/voice`` and ``encode/long_speech``. See ``microphone`` for the device.
Knows no feature, no model and no text.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soxr

from medvox.data.limits import DEFAULT_LIMITS, Limits
from medvox.data.recording import SAMPLE_RATE_HZ, read_recording
from medvox.data.sound_container import HEAD_BYTES, SoundContainer, sound_container
from medvox.errors import InputError, UsageError
from medvox.types import Samples

BLOCK_S = 0.08
NO_SAMPLES = {  # heads that raw samples do not have by chance
    SoundContainer.WAV,
    SoundContainer.AIFF,
    SoundContainer.FLAC,
    SoundContainer.OGG,
    SoundContainer.MP4,
    SoundContainer.WEBM,
}
PIPE = "arecord -q -f S16_LE -r 16000 -c 1 -t raw | medvox dictate -"


def pcm_blocks(
    stream: BinaryIO, *, rate_hz: int = SAMPLE_RATE_HZ, limits: Limits = DEFAULT_LIMITS
) -> Iterator[Samples]:
    """Raw PCM, 16 bit, little-endian, mono, in blocks as they arrive.

    Args:
        stream: where it comes from, until it ends; half a sample at the end is dropped.
        rate_hz: its samples a second.
        limits: what may come in.

    Raises:
        UsageError: ``E_PCM_RATE`` (the rate is none of sound), ``E_PCM_TERMINAL`` (nothing is piped in).
        InputError: ``E_PCM_CONTAINER`` (a sound file comes in, not raw samples), ``E_AUDIO_EMPTY``.
    """
    lowest, highest = limits.audio_rate_hz
    if not lowest <= rate_hz <= highest:
        fix = f"give a rate from {lowest} to {highest}"
        raise UsageError(f"{rate_hz} samples a second are no rate of speech", fix=fix, code="E_PCM_RATE")
    if stream.isatty():
        raise UsageError("no sound is piped into the standard input", fix=PIPE, code="E_PCM_TERMINAL")
    resampler = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, "float32") if rate_hz != SAMPLE_RATE_HZ else None
    for samples in _pcm(stream, round(rate_hz * BLOCK_S)):
        heard = resampler.resample_chunk(samples) if resampler else samples
        if len(heard):
            yield heard
    if resampler:
        yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def _pcm(stream: BinaryIO, size: int) -> Iterator[Samples]:
    """Blocks of ``size`` samples, and what is left."""
    head = stream.read(max(2 * size, HEAD_BYTES))
    if not head:
        raise InputError("no sound came in", fix=f"check the recorder: {PIPE}", code="E_AUDIO_EMPTY")
    if sound_container(head) in NO_SAMPLES:
        raise InputError(
            "a sound file came in where raw samples were expected",
            fix="give the name of the file, or let the recorder write raw PCM (arecord -t raw)",
            code="E_PCM_CONTAINER",
        )
    while len(head) > 1:
        yield np.frombuffer(head, "<i2", len(head) // 2).astype(np.float32) / np.float32(32768)
        head = stream.read(2 * size)


def played(path: Path, *, in_real_time: bool, limits: Limits = DEFAULT_LIMITS) -> Iterator[Samples]:
    """A recording in blocks, as if it were being spoken.

    Args:
        path: a sound file.
        in_real_time: each block comes when it would have been spoken; else as fast as it is taken.
        limits: what may come in.

    Raises:
        MedvoxError: as ``recording.read_recording``.
    """
    recording = read_recording(path, limits=limits)
    size, start, given = round(BLOCK_S * SAMPLE_RATE_HZ), time.monotonic(), 0
    held = np.empty(0, np.float32)
    for samples in recording.blocks():
        held = np.concatenate([held, samples])
        while len(held) >= size or (len(held) and given + len(held) == recording.samples):
            block, held = held[:size], held[size:]
            given += len(block)
            if in_real_time:
                time.sleep(max(0.0, start + given / SAMPLE_RATE_HZ - time.monotonic()))
            yield block


def as_they_come(blocks: Iterator[Samples]) -> Iterator[Samples]:
    """The blocks, read by a thread of their own; those that came while the last was worked on are given as one.

    So nothing is lost at the source when the work takes longer than the sound.
    """
    waiting: queue.SimpleQueue[Samples | BaseException | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            for block in blocks:
                waiting.put(block)
            waiting.put(None)
        except BaseException as error:  # belongs to the one who takes the blocks
            waiting.put(error)

    threading.Thread(target=read, daemon=True).start()
    end: BaseException | Samples | None = np.empty(0, np.float32)
    while isinstance(end, np.ndarray):
        taken = [waiting.get()]
        while not waiting.empty():
            taken.append(waiting.get())
        end = taken[-1]
        if heard := [block for block in taken if isinstance(block, np.ndarray)]:
            yield np.concatenate(heard)
    if end is not None:
        raise end
