"""The speech engines of Debian ``main`` that speak our dictation scripts, and who is held out of training.

A voice belongs to a person (kal, awb, rms, slt, ked) or to espeak-ng's formant synthesiser. Held out of training are
two whole persons (rms, ked) and one group of espeak-ng variants. Packages: ``espeak-ng``, ``flite``, ``festival``,
``festvox-kallpc16k``, ``festvox-kdlpc16k``, ``festvox-us-slt-hts``. Knows no text, no model and no feature.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr

from medvox.errors import SetupError
from medvox.types import Samples

SAMPLE_RATE_HZ = 16_000
TIMEOUT_S = 30

Engine = Literal["espeak-ng", "flite", "festival", "rhvoice", "pico"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Voice:
    """A voice of one engine. ``person`` is the human donor, or ``espeak`` for formant synthesis."""

    engine: Engine
    name: str
    person: str
    held_out: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """How a voice speaks one line.

    Attributes:
        rate: speaking rate, 1 is the engine's own.
        pitch: 0 to 99, 50 is neutral: espeak-ng's knob; elsewhere a shift of the voice's own pitch by up to a third.
        tape_speed: resampling factor; above 1 shortens the line and raises pitch and formants together.
    """

    rate: float
    pitch: int
    tape_speed: float


NEUTRAL = Delivery(rate=1.0, pitch=50, tape_speed=1.0)

_ESPEAK_TRAIN = "m1 m2 m3 m5 m7 f1 f2 f3 f5 Alex Alicia Andrea Andy Denis Gene Lee Mr Michael adam anika benjamin boris"
_ESPEAK_TRAIN += " david edward iven2 klatt klatt2 max quincy robert steph steph2 travis victor zac"
_ESPEAK_HELD_OUT = "f4 m4 Mike linda klatt4 paul"
_ESPEAK_ACCENTS = ("en-us", "en-us", "en-us", "en-gb", "en-gb-x-rp", "en-us-nyc")


def _espeak(variants: str, *, held_out: bool) -> tuple[Voice, ...]:
    names = variants.split()
    return tuple(
        Voice(
            engine="espeak-ng",
            name=f"{_ESPEAK_ACCENTS[i % len(_ESPEAK_ACCENTS)]}+{name}",
            person="espeak",
            held_out=held_out,
        )
        for i, name in enumerate(names)
    )


SLT = Voice(engine="flite", name="slt", person="slt")
AWB = Voice(engine="flite", name="awb", person="awb")
KAL = Voice(engine="flite", name="kal16", person="kal")
ALAN = Voice(engine="rhvoice", name="alan", person="awb")
CLB = Voice(engine="rhvoice", name="clb", person="clb")
SLT_RHVOICE = Voice(engine="rhvoice", name="slt", person="slt")
BDL = Voice(engine="rhvoice", name="bdl", person="bdl", held_out=True)
RMS = Voice(engine="flite", name="rms", person="rms", held_out=True)
KED = Voice(engine="festival", name="ked_diphone", person="ked", held_out=True)
SLT_HTS = Voice(engine="festival", name="cmu_us_slt_arctic_hts", person="slt")
KAL_FESTIVAL = Voice(engine="festival", name="kal_diphone", person="kal")
PICO = (
    Voice(engine="pico", name="en-US", person="pico us", held_out=True),
    Voice(engine="pico", name="en-GB", person="pico gb", held_out=True),
)
DEV = (
    Voice(engine="rhvoice", name="evgeniy-eng", person="evgeniy", held_out=True),
    Voice(engine="rhvoice", name="lyubov", person="lyubov", held_out=True),
)  # licences CC BY-NC-ND: for choosing weights of the decoder at home, never for training
ESPEAK_TRAIN = _espeak(_ESPEAK_TRAIN, held_out=False)
ESPEAK_HELD_OUT = _espeak(_ESPEAK_HELD_OUT, held_out=True)

# Share of the training lines that each group speaks.
TRAINING_MIX: tuple[tuple[float, tuple[Voice, ...]], ...] = (
    (0.17, (CLB,)),
    (0.16, (ALAN,)),
    (0.10, (SLT_RHVOICE,)),
    (0.11, (AWB,)),
    (0.09, (SLT,)),
    (0.08, (KAL,)),
    (0.02, (SLT_HTS,)),
    (0.02, (KAL_FESTIVAL,)),
    (0.25, ESPEAK_TRAIN),
)


def draw_voice(rng: random.Random) -> Voice:
    """A training voice, drawn by ``TRAINING_MIX``."""
    groups = [group for _, group in TRAINING_MIX]
    return rng.choice(rng.choices(groups, weights=[share for share, _ in TRAINING_MIX])[0])


def draw_delivery(rng: random.Random, voice: Voice) -> Delivery:
    """A varied delivery: rate and tape speed cancel in part, so that lines stay intelligible."""
    high = voice.person in ("clb", "slt")  # a woman's voice played slowly is a new person
    tape_speed = rng.uniform(0.8, 1.12) if high else rng.uniform(0.88, 1.22)
    rate = rng.uniform(0.85, 1.25) / tape_speed
    pitch = rng.randint(15, 85) if rng.random() < 0.8 else 50
    return Delivery(rate=rate, pitch=pitch, tape_speed=tape_speed)


def missing_engines() -> list[str]:
    """Names of the engines that are not installed."""
    programs = {"espeak-ng": "espeak-ng", "flite": "flite", "festival": "text2wave", "rhvoice": "RHVoice-test"}
    programs["pico"] = "pico2wave"
    return [engine for engine, program in programs.items() if shutil.which(program) is None]


def speak(text: str, voice: Voice, delivery: Delivery = NEUTRAL) -> Samples:
    """Text spoken by a voice, as mono samples at 16 kHz.

    Raises:
        SetupError: the engine or the voice is not installed, or it gave no sound.
    """
    with tempfile.TemporaryDirectory() as folder:
        wave = Path(folder) / "line.wav"
        try:
            subprocess.run(
                _command(text, voice, delivery, wave),
                input=text.encode(),
                check=True,
                timeout=TIMEOUT_S,
                capture_output=True,
            )
            samples, rate_hz = soundfile.read(wave, dtype="float32", always_2d=False)
        except (OSError, subprocess.SubprocessError, soundfile.SoundFileError) as error:
            raise SetupError(
                f"{voice.engine} voice {voice.name} did not speak",
                fix="install espeak-ng, flite, festival, festvox-kallpc16k, festvox-kdlpc16k and festvox-us-slt-hts",
                code="E_SPEECH_ENGINE",
            ) from error
    return np.asarray(soxr.resample(samples, rate_hz * delivery.tape_speed, SAMPLE_RATE_HZ), dtype=np.float32)


def _command(text: str, voice: Voice, delivery: Delivery, wave: Path) -> list[str]:
    if voice.engine == "espeak-ng":
        words_per_minute = str(round(165 * delivery.rate))
        return ["espeak-ng", "-v", voice.name, "-s", words_per_minute, "-p", str(delivery.pitch), "-w", str(wave), text]
    stretch = f"{1 / delivery.rate:.3f}"
    shift = f"{1 + (delivery.pitch - 50) / 150:.3f}"
    if voice.engine == "rhvoice":
        settings = ["-r", str(round(100 * delivery.rate)), "-t", str(round(100 * float(shift)))]
        return ["RHVoice-test", "-p", voice.name, *settings, "-o", str(wave)]
    if voice.engine == "pico":
        return ["pico2wave", "-l", voice.name, "-w", str(wave), text]
    if voice.engine == "flite":
        settings = ["--setf", f"duration_stretch={stretch}"]
        if delivery.pitch != NEUTRAL.pitch:
            mean_hz = f"int_f0_target_mean={100 * float(shift):.0f}"
            settings += ["--setf", mean_hz if voice.person == "kal" else f"f0_shift={shift}"]
        return ["flite", "-voice", voice.name, *settings, "-t", text, "-o", str(wave)]
    slower = f"(Parameter.set 'Duration_Stretch {stretch})"
    return ["text2wave", "-eval", f"(voice_{voice.name})", "-eval", slower, "-o", str(wave)]
