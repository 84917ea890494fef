"""The microphone of this machine -> blocks of samples at 16 kHz, through the optional package ``sounddevice``.

Beside ``live_sound`` at the start of live dictation. Knows no feature, no model and no text.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import numpy as np

from medvox.data.live_sound import BLOCK_S, PIPE
from medvox.data.recording import SAMPLE_RATE_HZ
from medvox.errors import SetupError
from medvox.types import Samples


def microphone_blocks() -> Iterator[Samples]:
    """What the microphone hears, until the caller has enough.

    Raises:
        SetupError: ``E_MICROPHONE`` (the package is not installed, there is no microphone, or it cannot be opened).
    """
    try:
        import sounddevice
    except ImportError as error:
        missing = "listening needs the package sounddevice, which is not installed here"
        raise _silent(missing, "pip install 'medvox[microphone]'") from error
    except OSError as error:
        raise _silent("listening needs the system's PortAudio library", "apt install libportaudio2") from error
    heard: queue.SimpleQueue[Samples] = queue.SimpleQueue()

    def take(block: Any, *_: Any) -> None:
        heard.put(np.array(block[:, 0], np.float32))

    try:
        stream = sounddevice.InputStream(
            samplerate=SAMPLE_RATE_HZ,
            channels=1,
            dtype="float32",
            blocksize=round(BLOCK_S * SAMPLE_RATE_HZ),
            callback=take,
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise _silent("the microphone cannot be opened", "connect one that no other program holds") from error
    with stream:
        while True:
            yield heard.get()


def _silent(problem: str, fix: str) -> SetupError:
    return SetupError(problem, fix=f"{fix}, or use a recorder: {PIPE}", code="E_MICROPHONE")
