"""Sound for tests: tones, and files that only FFmpeg can write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


def tone(seconds: float = 0.5, rate_hz: int = 16_000, frequency_hz: float = 440.0) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def write_track(
    path: Path, form: str, codec: str, sound: NDArray[np.floating[Any]], rate_hz: int, **extras: Any
) -> Path:
    """Encode mono sound with FFmpeg; skips the test where the extra ``audio`` is not installed.

    ``tracks`` repeats the sound track, ``video=True`` adds pictures, ``options`` go to the muxer.
    """
    av = pytest.importorskip("av")
    with av.open(str(path), "w", format=form, options=extras.get("options", {})) as out:
        pictures = out.add_stream("mpeg4", rate=10) if extras.get("video") else None
        if pictures:
            pictures.width = pictures.height = 64
            pictures.pix_fmt = "yuv420p"
        tracks = [out.add_stream(codec, rate=rate_hz, layout="mono") for _ in range(extras.get("tracks", 1))]
        for track in tracks:
            track.codec_context.bit_rate = extras.get("bit_rate", 96_000)
            _encode(av, out, track, sound, rate_hz)
        if pictures:
            frames = [av.VideoFrame.from_ndarray(np.full((64, 64, 3), i, np.uint8), format="rgb24") for i in range(10)]
            for frame in (*frames, None):
                out.mux(pictures.encode(frame))
    return path


def _encode(av: Any, out: Any, track: Any, sound: NDArray[Any], rate_hz: int) -> None:
    context = track.codec_context
    frame = av.AudioFrame.from_ndarray(sound.astype(np.float32)[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = rate_hz, 0
    queue = av.AudioFifo()
    for converted in av.AudioResampler(format=context.format, layout="mono", rate=rate_hz).resample(frame):
        queue.write(converted)
    while (piece := queue.read(context.frame_size or 1024)) is not None:
        out.mux(track.encode(piece))
    if queue.samples:
        out.mux(track.encode(queue.read(0, partial=True)))
    out.mux(track.encode(None))
