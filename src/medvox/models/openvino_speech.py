"""The speech network on a CPU through OpenVINO, in place of ``LasrForCTC``: float32, bfloat16 or 8-bit products.

Beside ``models/conformer``. A folder's graph (``models/speech_graph``) is made once and kept in the user's cache; with
it the network starts without its weights being read again. OpenVINO runs a graph for one length a sixth faster than one
for any length, so full windows of long recordings have one of their own. Knows no sound and no text; the speech that
8-bit scales are fitted to is given. Needs the package ``openvino``, which the extra ``fast`` brings. Shapes as in
``models/conformer``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medvox.errors import InputError, SetupError
from medvox.models.conformer import LasrConfig, LasrForCTC
from medvox.models.openvino_state import graph_cache, openvino_fault, own_signal_stack
from medvox.models.weights import load_speech, read_config, weights_hash
from medvox.types import Features

Precision = Literal["fp32", "bf16", "int8"]
Floats = Literal["f32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "int8")
GRAPH = 3  # raised when speech_graph makes another graph of the same weights
FULL_FRAMES = 2000  # of a window of `models/listening`
LONGEST_FRAMES = 40_000  # 400 s, as far as the graph has rotary tables
COMPILED = 2  # graphs that stay compiled, each with its own copy of the weights
CACHED = 8  # graphs that stay in the cache
FLOATS: dict[Precision, Floats] = {"fp32": "f32", "bf16": "bf16", "int8": "bf16"}
PARTS = ("graph.xml", "graph.bin")
MADE = "made.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How ``int8`` is spread over a network.

    Attributes:
        spared: products that stay in floats, by parts of the names of what enters them.
        floats: what these and all that is no product are computed in, where the CPU can.
    """

    spared: tuple[str, ...] = ()
    floats: Floats = "bf16"


# From the fastest to the truest, in the order in which 8 bits do harm in medvox-mini-asr.
_FIRST = ("subsampler", "linear2", "pointwise_conv2")
_SECOND = (*_FIRST, "norm_conv", "out_norm")
_THIRD = (*_SECOND, "norm_self_att", "o_proj", "_proj.out")
PLANS = (Plan(), Plan(spared=_FIRST), Plan(spared=_SECOND), Plan(spared=_THIRD), Plan(spared=_THIRD, floats="f32"))
# Shares of the probability that 8 bits may move to other tokens, on the speech they are fitted to.
GOOD, BEARABLE = 0.005, 0.01

Speech = Callable[[], Sequence[Features]]  # (F, M) of some recordings, asked for only where they are needed


def load_openvino_speech(folder: Path, precision: Precision, speech: Speech) -> OpenVinoSpeech:
    """A MedASR folder as a network that OpenVINO runs.

    Args:
        folder: hub layout.
        precision: what is not an 8-bit product is bfloat16 in ``bf16`` and ``int8`` where the CPU has it, else float32.
        speech: features of typical speech, 30 s or more in all, for ``int8``; asked for the first time only.

    Raises:
        SetupError: OpenVINO cannot be used (``E_OPENVINO``), the folder is broken, ``int8`` changes too much
            (``E_SPEECH_INT8``), OpenVINO cannot run this network (``E_SPEECH_GRAPH``), or there is no place for the
            graph (``E_SPEECH_CACHE``).
    """
    if fault := openvino_fault():
        raise SetupError(fault.found, fix=f"{fault.fix}, or use fp32", code="E_OPENVINO")
    hub = read_config(folder)
    config = LasrConfig.from_hub(hub)
    kept = graph_cache() / _key(weights_hash(folder), hub, precision)
    made = _read(kept)
    if made is None:
        try:
            made = _make(folder, kept, precision, speech)
        except OSError as error:
            raise SetupError(
                f"the graph of {folder.name} cannot be kept in {graph_cache()} ({type(error).__name__})",
                fix="make room, or set MEDVOX_CACHE to a folder that you may write to",
                code="E_SPEECH_CACHE",
            ) from error
    if made.moved > BEARABLE:
        raise SetupError(
            f"{folder.name}: 8-bit products move {100 * made.moved:.1f} % of the probability to other tokens",
            fix="use bf16, or fp32",
            code="E_SPEECH_INT8",
        )
    return OpenVinoSpeech(kept / PARTS[0], config, made.floats)


class OpenVinoSpeech(nn.Module):
    """Features to token logits, as ``LasrForCTC`` gives them; has no parameters that torch knows of."""

    def __init__(self, graph: Path, config: LasrConfig, floats: Floats) -> None:
        """Reads a graph; it is compiled when its first input of a length comes.

        Args:
            graph: what ``speech_graph`` made, as OpenVINO saves it.
            config: of the network.
            floats: what is computed in floats, and where the CPU can, in which.
        """
        super().__init__()
        import openvino

        self.config, self._core = config, openvino.Core()
        self._model = self._core.read_model(graph)  # its weights are the file, and all that is compiled shares them
        with own_signal_stack():  # here the CPU plugin is loaded
            able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._floats = floats if floats.upper() in able else "f32"
        self._compiled: OrderedDict[tuple[bool, int], Any] = OrderedDict()

    def forward(self, features: Tensor, feature_lengths: Tensor | None = None) -> Tensor:
        """Token logits; several recordings are heard side by side, one a core.

        Args:
            features: (B, F, M) float.
            feature_lengths: (B,) valid frames of each; None when nothing is padded.

        Returns:
            (B, T, V) float32; frames past ``rows_of`` the lengths are 0.

        Raises:
            InputError: fewer frames than one output frame sees (``E_AUDIO_TOO_SHORT``), or more than the graph takes at
                once (``E_AUDIO_TOO_LONG``).
            SetupError: OpenVINO cannot run the graph (``E_OPENVINO``).
        """
        batch, frames, _ = features.shape
        if frames > LONGEST_FRAMES:
            raise InputError(
                f"the recording has {frames} feature frames; {LONGEST_FRAMES} can be heard at once",
                fix="hear it in windows, as `medvox transcribe` does",
                code="E_AUDIO_TOO_LONG",
            )
        if frames < self.shortest:
            raise InputError(
                f"the recording has {frames} feature frames; the speech model needs {self.shortest}",
                fix="record the sentence again",
                code="E_AUDIO_TOO_SHORT",
            )
        lengths = [frames] * batch if feature_lengths is None else [int(length) for length in feature_lengths]
        items = features.detach().float().cpu().numpy()
        out = np.zeros((batch, self.rows_of(frames), self.config.vocab_size), np.float32)
        side_by_side = min(batch, _threads())
        for first in range(0, batch, side_by_side):
            numbers = range(first, min(first + side_by_side, batch))
            requests = [
                self._started(items[number, : lengths[number]], side_by_side, number - first) for number in numbers
            ]
            for number, request in zip(numbers, requests, strict=True):
                request.wait()
                rows = self.rows_of(lengths[number])
                out[number, :rows] = request.get_output_tensor(0).data[0, :rows]
        return torch.from_numpy(out)

    @property
    def together(self) -> int:
        """Recordings that are heard side by side."""
        return _threads()

    @property
    def shortest(self) -> int:
        """Feature frames that one output frame sees."""
        encoder = self.config.encoder_config
        kernel = encoder.subsampling_conv_kernel_size
        return kernel + encoder.subsampling_conv_stride * (kernel - 1)

    def rows_of(self, frames: int) -> int:
        """Encoder frames for feature frames."""
        encoder = self.config.encoder_config
        for _ in range(2):
            frames = (frames - encoder.subsampling_conv_kernel_size) // encoder.subsampling_conv_stride + 1
        return max(frames, 0)

    def _started(self, features: NDArray[np.float32], streams: int, number: int) -> Any:
        """A request that hears (F, M) features, the ``number``-th of those that run side by side."""
        full = self.rows_of(len(features)) == self.rows_of(FULL_FRAMES)
        if full:  # up to a few frames that no output frame sees
            features = np.pad(features, ((0, max(0, FULL_FRAMES - len(features))), (0, 0)))[:FULL_FRAMES]
        request = self._requests(full, streams)[number]
        request.start_async({0: features[None]})
        return request

    def _requests(self, full: bool, streams: int) -> list[Any]:
        """Requests that run side by side: of the graph for windows of full length, or of that for any length."""
        key = (full, streams)
        if key not in self._compiled:
            while len(self._compiled) >= COMPILED:
                self._compiled.popitem(last=False)
            model = self._model.clone()
            model.reshape([1, FULL_FRAMES if full else -1, self.config.encoder_config.num_mel_bins])
            settings = {
                "INFERENCE_PRECISION_HINT": self._floats,
                "INFERENCE_NUM_THREADS": _threads(),
                "NUM_STREAMS": streams,
                "ENABLE_CPU_PINNING": False,  # other processes may have the same cores
            }
            try:
                compiled = self._core.compile_model(model, "CPU", settings)
            except RuntimeError as error:
                raise SetupError(
                    "OpenVINO could not compile the speech model", fix="use fp32 (--precision fp32)", code="E_OPENVINO"
                ) from error
            self._compiled[key] = [compiled.create_infer_request() for _ in range(streams)]
        self._compiled.move_to_end(key)
        return self._compiled[key]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Made:
    """What is kept beside a graph.

    Attributes:
        sums: SHA-256 of its files.
        moved: share of the probability that ``int8`` gives to other tokens than float32, on the given speech.
        floats: see ``Plan``.
    """

    sums: dict[str, str]
    moved: float
    floats: Floats


def _make(folder: Path, kept: Path, precision: Precision, speech: Speech) -> _Made:
    """Makes the graph and puts it into the cache, whole or not at all."""
    network = load_speech(folder).requires_grad_(False)
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=kept.parent))
    try:
        moved, floats = 0.0, FLOATS[precision]
        if precision == "int8":
            moved, floats = _fit(network, [torch.from_numpy(clip) for clip in speech()], part)
        else:
            _save(network, {}, part)
        made = _Made(sums={name: _sum(part / name) for name in PARTS}, moved=moved, floats=floats)
        (part / MADE).write_text(json.dumps(asdict(made)), encoding="utf-8")
        if _read(kept) is None:  # another process may have been faster
            shutil.rmtree(kept, ignore_errors=True)  # a damaged one
            os.replace(part, kept)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _prune(kept.parent)
    return made


def _fit(network: LasrForCTC, clips: Sequence[Tensor], part: Path) -> tuple[float, Floats]:
    """Writes the graph of the first plan that is good, else of the last; returns what ``_Made`` says of it."""
    from medvox.models.speech_graph import activation_ranges

    right, ranges = _posteriors(network, clips), activation_ranges(network, clips)
    for plan in PLANS:
        rounded = {place: bounds for place, bounds in ranges.items() if not any(name in place for name in plan.spared)}
        _save(network, rounded, part)
        fast = OpenVinoSpeech(part / PARTS[0], network.config, plan.floats)
        moved = float((_posteriors(fast, clips) - right).abs().sum(dim=-1).mean()) / 2
        if moved <= GOOD:
            break
    return moved, plan.floats


def _save(network: LasrForCTC, ranges: dict[str, Any], part: Path) -> None:
    import openvino

    from medvox.models.speech_graph import speech_graph

    openvino.save_model(speech_graph(network, ranges), part / PARTS[0], compress_to_fp16=False)


@torch.inference_mode()
def _posteriors(network: nn.Module, clips: Sequence[Tensor]) -> Tensor:
    return torch.cat([network(clip[None])[0].softmax(dim=-1) for clip in clips])


def _read(kept: Path) -> _Made | None:
    """What was kept; None where there is nothing, or it was damaged."""
    try:
        made = _Made(**json.loads((kept / MADE).read_text(encoding="utf-8")))
        if made.sums != {name: _sum(kept / name) for name in PARTS}:
            return None
        os.utime(kept)
        return made
    except (OSError, ValueError, TypeError):
        return None


def _prune(cache: Path) -> None:
    """Removes what was not used for longest, and what processes left that were killed."""
    folders = sorted(cache.iterdir(), key=lambda folder: folder.stat().st_mtime)
    for folder in folders[:-CACHED]:
        shutil.rmtree(folder, ignore_errors=True)


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _key(weights: str, hub: dict[str, Any], precision: str) -> str:
    import openvino

    parts = [weights, json.dumps(hub, sort_keys=True), precision, str(GRAPH), openvino.get_version()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _threads() -> int:
    """Threads that may be used: one a core, or what the variable says that PyTorch goes by too."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(wanted)) if wanted.isdecimal() and int(wanted) else cores
