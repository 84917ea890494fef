"""Words that are invented where nobody speaks, and speech that the voice activity misses.

    python benchmarks/speech_silence.py             # 200 clips of 30 s, prints the page
    python benchmarks/speech_silence.py --clips 20  # a quick look
    python benchmarks/speech_silence.py --write     # and puts the page into benchmarks/results/

The clips are digital silence, noise of several colours, mains hum with harmonics, tones and sweeps, fans, clicks, steps
and knocks, and, where the developers' shared data lies, recorded noises; at many levels. Each goes through
``medvox.transcribe``, with the best token of each frame and with the model's default (a search, where it has a language
model). A clip without words but with a voice, as the voice activity has it, is an error of the verb and counted. Missed
speech is counted on real human speech: loud frames (within 25 dB of the loud end of the clip) outside of all segments,
and marked stretches.
"""

from __future__ import annotations

import argparse
import datetime
import io
import json
import os
import platform
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr
import torch
from demo_stages import HERE, commit, machine

from medvox.catalog import DEFAULT_ASR, resolve_model
from medvox.dictate import transcribe
from medvox.encode.voice import voice_activity
from medvox.errors import InputError, ModelError
from medvox.models.speech_model import SpeechModel, TokenDecoder, decoder_of, load_speech_model
from medvox.types import Samples

RATE_HZ, CLIP_S = 16_000, 30
COUNT = CLIP_S * RATE_HZ
REAL = Path(__file__).parents[2] / "shared" / "data" / "speech"
WAYS = {"greedy": "greedy", "default": ""}
GOAL = 1.0  # words an hour
LOUD_DB = 25.0
STEP = 320
Random = np.random.Generator
FIRST_SEED = 10_000  # clips of lower ones were looked at while the detector and the gate were made
COMMAND = "python benchmarks/speech_silence.py --write"


def level(random: Random, quietest_db: float = -60.0, loudest_db: float = -10.0) -> float:
    return float(10 ** (random.uniform(quietest_db, loudest_db) / 20))


def coloured(random: Random, slope: float) -> Samples:
    """Noise whose power falls with frequency ** slope, at 0 dB."""
    spectrum = np.fft.rfft(random.standard_normal(COUNT))
    frequency_hz = np.maximum(np.fft.rfftfreq(COUNT, 1 / RATE_HZ), 20.0)
    noise = np.fft.irfft(spectrum * frequency_hz ** (-slope / 2), COUNT)
    return noise / np.sqrt((noise**2).mean())


def seconds() -> np.ndarray:
    return np.arange(COUNT) / RATE_HZ


def room(random: Random) -> np.ndarray:
    return coloured(random, random.choice([0.0, 0.5, 1.0, 1.5, 2.0])) * level(random)


def hum(random: Random) -> np.ndarray:
    mains_hz, count, fall = random.choice([50, 60]), random.integers(2, 40), random.uniform(0.5, 1.5)
    waves = (np.sin(2 * np.pi * mains_hz * n * seconds() + random.uniform(0, 6)) / n**fall for n in range(1, count))
    return sum(waves) * level(random) + coloured(random, 1.0) * level(random, -70, -50)


def tone(random: Random) -> np.ndarray:
    first_hz, last_hz = random.uniform(80, 5000, 2)
    if random.random() < 0.5:
        last_hz = first_hz
    pitch_hz = first_hz * (last_hz / first_hz) ** (seconds() / CLIP_S)
    return np.sin(2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ) * level(random)


def fan(random: Random) -> np.ndarray:
    turns_hz, swell_hz = random.uniform(20, 200), random.uniform(0.05, 0.5)
    blades = sum(np.sin(2 * np.pi * turns_hz * n * seconds()) for n in range(1, 6)) / 3
    swell = 10 ** (random.uniform(0, 0.3) * np.sin(2 * np.pi * swell_hz * seconds()))
    return (coloured(random, 1.0) + blades) * swell * level(random)


def clicks(random: Random) -> np.ndarray:
    sound = coloured(random, 1.0) * level(random, -70, -50)
    for place in random.integers(0, COUNT - 800, random.integers(5, 120)):
        length = random.integers(1, 800)
        fading = random.standard_normal(length) * np.exp(-5 * np.arange(length) / length)
        sound[place : place + length] += fading * level(random, -30, 0) / 2
    return sound


def knocks(random: Random) -> np.ndarray:
    """Steps and knocks: a resonance or two that fade, with a little noise, in a rhythm."""
    sound, gap_s = coloured(random, 1.5) * level(random, -60, -35), random.uniform(0.25, 1.0)
    for place_s in np.arange(random.uniform(0, gap_s), CLIP_S - 0.6, gap_s):
        time_s, place = np.arange(RATE_HZ // 2) / RATE_HZ, round((place_s + random.uniform(0, 0.1)) * RATE_HZ)
        for _ in range(random.integers(1, 4)):
            ringing = np.sin(2 * np.pi * random.uniform(60, 1200) * time_s)
            sound[place : place + len(time_s)] += (
                ringing * np.exp(-random.uniform(15, 80) * time_s) * level(random, -20, 0)
            )
        rustle = random.standard_normal(len(time_s)) * np.exp(-random.uniform(20, 200) * time_s)
        sound[place : place + len(time_s)] += rustle * level(random, -30, -10)
    return sound / np.abs(sound).max() * level(random, -30, 0)


def silence(random: Random) -> np.ndarray:
    """Digital silence with a bit of dither, or with none and an offset; all zero would not get so far."""
    if random.random() < 0.5:
        return random.integers(-1, 2, COUNT) / 32768
    return np.full(COUNT, random.uniform(-0.01, 0.01))


def recorded(random: Random) -> np.ndarray:
    noises = list(shared("noise_and_rir.zip", "noise/"))
    _, sound = noises[random.integers(len(noises))]
    start = random.integers(len(sound))
    tiled = np.tile(sound, COUNT // len(sound) + 2)[start : start + COUNT]
    return tiled / np.abs(tiled).max() * level(random, -30, 0)


KINDS: dict[str, Callable[[Random], np.ndarray]] = {
    "digital silence": silence,
    "room noise": room,
    "mains hum": hum,
    "tones and sweeps": tone,
    "fans": fan,
    "clicks": clicks,
    "steps and knocks": knocks,
    "recorded noises": recorded,
}


def shared(archive: str, start: str = "") -> Iterator[tuple[str, Samples]]:
    """Sounds of an archive of the shared data, mono at 16 kHz."""
    with zipfile.ZipFile(REAL / archive) as opened:
        for name in sorted(opened.namelist()):
            if name.startswith(start) and name.endswith((".wav", ".flac")):
                sound, rate_hz = soundfile.read(io.BytesIO(opened.read(name)), dtype="float32", always_2d=True)
                mono = sound.mean(axis=1)
                yield name, mono if rate_hz == RATE_HZ else soxr.resample(mono, rate_hz, RATE_HZ)


@dataclass(kw_only=True)
class Tally:
    """What became of the clips of one kind; ``words`` by way of decoding."""

    clips: int = 0
    failed: dict[str, int]  # clips that end in an error: no words, but a voice
    words: dict[str, int]


def invented(ways: dict[str, TokenDecoder], samples: Samples, tally: Tally, file: Path) -> None:
    """Hear a clip in which nobody speaks."""
    soundfile.write(file, samples, RATE_HZ, subtype="PCM_16")
    tally.clips += 1
    for name, decoder in ways.items():
        try:
            words = transcribe(file, decoder).words
        except InputError:  # silent: refused
            continue
        except ModelError:  # no words, but a voice
            tally.failed[name] += 1
            continue
        tally.words[name] += len(words)


def missed(archive: str) -> dict[str, object]:
    """Loud frames of real speech outside of all segments."""
    loud = lost = clips = empty = 0
    for _, sound in shared(archive):
        count = len(sound) // STEP
        powers = (sound[: count * STEP].reshape(count, STEP) ** 2).mean(axis=1) + 1e-12
        speaking = powers > np.percentile(powers, 95) * 10 ** (-LOUD_DB / 10)
        found = np.zeros(count, bool)
        segments = voice_activity([sound]).speech
        for part in segments:
            found[round(part.start_s * 50) : round(part.end_s * 50) + 1] = True
        loud, lost = loud + int(speaking.sum()), lost + int((speaking & ~found).sum())
        clips, empty = clips + 1, empty + (not segments)
    return {"what": archive, "clips": clips, "missed_percent": 100 * lost / max(loud, 1), "clips_without": empty}


def marked() -> dict[str, object]:
    """The stretches that others marked as speech, in the files made for that."""
    total = lost = 0.0
    for sound_name, mark_name in (("vad/train.wav", "vad/VAD_train.json"), ("vad/valid.wav", "vad/VAD_dev.json")):
        with zipfile.ZipFile(REAL / "noise_and_rir.zip") as opened:
            marks = json.loads(opened.read(mark_name))
        ((_, sound),) = shared("noise_and_rir.zip", sound_name)
        found = np.zeros(len(sound), bool)
        for part in voice_activity([sound]).speech:
            found[round(part.start_s * RATE_HZ) : round(part.end_s * RATE_HZ)] = True
        for mark in marks.values():
            edges = [mark["wav"]["start"] + round(float(edge) * RATE_HZ) for edge in mark["speech"].split()]
            for first, last in zip(edges[::2], edges[1::2], strict=True):
                total, lost = total + last - first, lost + int((~found[first:last]).sum())
    return {"what": "files with marks", "clips": 2, "missed_percent": 100 * lost / total, "clips_without": 0}


def measure(model: SpeechModel, clips: int) -> list[dict[str, object]]:
    """Invented words by kind of noise."""
    ways = {name: decoder_of(model, method) for name, method in WAYS.items()}
    none = dict.fromkeys(ways, 0)
    kinds = {name: make for name, make in KINDS.items() if make is not recorded or REAL.is_dir()}
    tallies = {name: Tally(words=dict(none), failed=dict(none)) for name in kinds}
    with TemporaryDirectory() as folder:
        for seed in range(clips):
            name = list(kinds)[seed % len(kinds)]
            sound = np.clip(kinds[name](np.random.default_rng(FIRST_SEED + seed)), -1, 1).astype(np.float32)
            invented(ways, sound, tallies[name], Path(folder) / "clip.wav")
    rows = []
    for name, tally in [*tallies.items(), ("all", total(tallies))]:
        hours = tally.clips * CLIP_S / 3600
        rate = {f"{way}_words_an_hour": words / hours for way, words in tally.words.items()}
        row = {"what": name, "clips": tally.clips, "failed": max(tally.failed.values()), **tally.words, **rate}
        rows.append({**row, "goal": GOAL, "met": max(rate.values()) <= GOAL})
    return rows


def total(tallies: dict[str, Tally]) -> Tally:
    sums = Tally(words=dict.fromkeys(WAYS, 0), failed=dict.fromkeys(WAYS, 0))
    for tally in tallies.values():
        sums.clips += tally.clips
        for way in WAYS:
            sums.words[way] += tally.words[way]
            sums.failed[way] += tally.failed[way]
    return sums


def page(noises: list[dict[str, object]], speech: list[dict[str, object]], sha256: str) -> str:
    head = [f"- machine: {machine()}", f"- date: {datetime.date.today()}", f"- commit: {commit()}"]
    head += [f"- weights: {sha256[:12]}"]
    head += [f"- command: `{COMMAND}`", f"- goal: at most {GOAL:g} invented word an hour", ""]
    lines = [
        "| nobody speaks | clips | errors: no words, but a voice | words, greedy | words, default | met |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in noises:
        cells = [row[key] for key in ("what", "clips", "failed", "greedy", "default")]
        lines.append(f"| {' | '.join(map(str, cells))} | {'yes' if row['met'] else 'no'} |")
    lines += [
        "",
        "| someone speaks | clips | missed loud frames % | clips without speech |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [f"| {r['what']} | {r['clips']} | {r['missed_percent']:.3f} | {r['clips_without']} |" for r in speech]
    return "\n".join([f"# Silence and noise, `{DEFAULT_ASR}`", "", *head, *lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_ASR, help="a name from `medvox models list`, or a model folder")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the page")
    parser.add_argument("--write", action="store_true", help="write the page into benchmarks/results as well")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_speech_model(resolve_model(args.model))
    noises = measure(model, args.clips)
    archives = ("librispeech.zip", "ljspeech.zip", "misc.zip")
    speech = [*(missed(archive) for archive in archives), marked()] if REAL.is_dir() else []
    text = page(noises, speech, model.sha256)
    print(json.dumps({"noises": noises, "speech": speech}, indent=1) if args.json else text)
    if args.write:
        name = f"speech-silence_{platform.machine()}-{os.cpu_count()}cores_{datetime.date.today()}.md"
        (HERE / "results" / name).write_text(text)


if __name__ == "__main__":
    main()
