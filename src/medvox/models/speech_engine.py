"""What runs a speech folder: PyTorch, the reference, or OpenVINO, which is several times as fast on a CPU.

Glue between ``models/weights`` and ``models/openvino_speech`` on one side and ``models/speech_model`` on the other.
Small networks stay with PyTorch: a dictation is over before OpenVINO has been loaded and has compiled the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from medvox.errors import SetupError, UsageError
from medvox.models.conformer import LasrConfig, LasrForCTC
from medvox.models.openvino_speech import PRECISIONS, Precision, Speech, load_openvino_speech
from medvox.models.openvino_state import openvino_fault
from medvox.models.weights import load_speech, read_config

AUTO = "auto"
BIG = 30_000_000  # parameters from which on OpenVINO pays, see docs/adr/0009
WITHOUT_IT = {"E_OPENVINO", "E_SPEECH_GRAPH", "E_SPEECH_CACHE"}  # codes of what keeps a network from OpenVINO alone


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """A network that is ready to hear.

    Attributes:
        network: ``LasrForCTC``, or an ``OpenVinoSpeech``, which is called alike and gives the same.
        name: what runs it, and in which numbers.
    """

    network: LasrForCTC
    name: str


def open_engine(folder: Path, precision: str, speech: Speech) -> Engine:
    """Loads a MedASR folder into what runs it.

    Args:
        folder: hub layout.
        precision: ``fp32`` is PyTorch, the reference. ``bf16`` is OpenVINO, or PyTorch where it is missing. ``int8`` is
            OpenVINO. ``auto`` is PyTorch in fp32 for small networks, and for big ones the fastest that may be used:
            OpenVINO in int8, in bf16 where 8 bits change too much, and PyTorch where OpenVINO cannot run them.
        speech: see ``load_openvino_speech``.

    Raises:
        UsageError: no such precision (``E_SPEECH_DTYPE``).
        SetupError: the folder is broken, or ``int8`` is asked for and cannot be had.
    """
    if precision not in (AUTO, *PRECISIONS):
        more = ": states inside its blocks exceed that type" if precision in ("float16", "fp16") else ""
        raise UsageError(
            f"the speech model cannot be run in {precision}{more}",
            fix=f"use {', '.join((AUTO, *PRECISIONS))}",
            code="E_SPEECH_DTYPE",
        )
    if precision == "fp32" or (precision == AUTO and _parameters(folder) < BIG):
        return Engine(network=load_speech(folder), name="PyTorch fp32")
    if precision == "int8":
        return _openvino(folder, "int8", speech)
    fault = openvino_fault()
    wanted: list[Precision] = [] if fault else ["bf16"] if precision == "bf16" else ["int8", "bf16"]
    for kind in wanted:
        try:
            return _openvino(folder, kind, speech)
        except SetupError as error:
            if error.code not in {*WITHOUT_IT, "E_SPEECH_INT8"}:
                raise
    if precision == "bf16":
        return Engine(network=load_speech(folder, dtype=torch.bfloat16), name="PyTorch bf16")
    return Engine(network=load_speech(folder), name="PyTorch fp32")


def _openvino(folder: Path, precision: Precision, speech: Speech) -> Engine:
    network = load_openvino_speech(folder, precision, speech)
    return Engine(network=cast(LasrForCTC, network), name=f"OpenVINO {precision}")


def _parameters(folder: Path) -> int:
    with torch.device("meta"):
        network = LasrForCTC(LasrConfig.from_hub(read_config(folder)))
    return sum(parameter.numel() for parameter in network.parameters())
