"""Speed and memory of big speech models: MedASR's configuration with random weights, sound in, text out.

    python benchmarks/speech_speed.py --prepare      # makes the model and the peers' forms of it, once (10 minutes)
    python benchmarks/speech_speed.py                # measures, prints a table
    python benchmarks/speech_speed.py --only clip    # one of clip, batch, hour, memory, start
    python benchmarks/speech_speed.py --write        # and puts the page into benchmarks/results/

Peers get the same sound in the same rounds, alternating, and medians are compared. They are transformers' LasrForCTC in
float32; ONNX Runtime on that network with 8-bit weights (``quantize_dynamic``); sherpa-onnx, which runs such a file
itself, exported and rounded as its own script does; and OpenVINO on an NNCF ``quantize`` of the network, bfloat16
between, compiled for the very length. All have their own front ends, and the same greedy search and tokenizer. Speed
does not hang on what the weights are, but for one thing: medvox spares products that 8 bits would harm, and random
weights are harmed little.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from demo_stages import HERE, commit, machine
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models
from torch import Tensor, nn

from medvox.catalog import DEFAULT_ASR, TYPICAL_SPEECH
from medvox.dictate import load_recogniser, transcribe
from medvox.encode.speech import log_mel
from medvox.errors import ModelError
from medvox.models.conformer import EncoderConfig, LasrConfig, LasrForCTC
from medvox.models.ctc import greedy
from medvox.models.weights import save_folder
from medvox.parse.transcript import raw_text, words_from_tokens

RATE_HZ, CLIP_S, BATCH = 16_000, 20, 8
ROUNDS = {"clip": 15, "batch": 5}
WORK = Path("out") / "speech_speed"
PAUSE_S = 0.1  # between runs, so that no engine's idle threads are still awake in the next one's time
COMMAND = "python benchmarks/speech_speed.py --write"

Hear = Callable[[Sequence[NDArray[np.float32]]], list[str]]


# The model, and the peers' forms of it.


def make_model(folder: Path) -> None:
    torch.manual_seed(0)
    config = LasrConfig(encoder_config=EncoderConfig())
    network = LasrForCTC(config).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv1d):
                module.weight.normal_(0, 0.02)
    save_folder(network, config.to_hub(), folder, torch.float32)
    words = ["<epsilon>", "<s>", "</s>", "<unk>", *(f"▁w{number}" for number in range(508))]
    tokenizer = Tokenizer(models.Unigram([(word, -1.0) for word in words], unk_id=3))
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.save(str(folder / "tokenizer.json"))


def lasr(folder: Path) -> Any:
    from transformers import LasrForCTC as Reference

    return Reference.from_pretrained(folder, dtype=torch.float32).eval()


class Export(nn.Module):
    """What sherpa-onnx asks for: features and a mask of frames to logits and how many of them count."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        lengths = self.network._get_subsampling_output_length(mask.sum(-1))
        return self.network(input_features=x, attention_mask=mask.bool()).logits, lengths.to(torch.int64)


class Logits(nn.Module):
    """Features to logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.network(input_features=x).logits


def prepare(work: Path) -> None:
    """Makes what is not there yet."""
    if not (work / "model" / "tokenizer.json").exists():
        make_model(work / "model")
    if not (work / "ort.int8.onnx").exists():
        make_onnx(work)
    if not (work / "plain.xml").exists():
        make_openvino(work)
    load_recogniser(work / "model", precision="int8")


def make_onnx(work: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    network, frames = lasr(work / "model"), torch.export.Dim("frames", min=64, max=20_000)
    batch = torch.export.Dim("batch", min=1, max=64)
    given = torch.randn(2, 998, 128), torch.ones(2, 998, dtype=torch.int64)
    names = {"input_names": ["x", "mask"], "output_names": ["logits", "logits_len"]}
    shapes = {"x": {0: batch, 1: frames}, "mask": {0: batch, 1: frames}}
    torch.onnx.export(
        Export(network), given, work / "fp32.onnx", dynamic_shapes=shapes, dynamo=True, external_data=False, **names
    )
    quantize_dynamic(work / "fp32.onnx", work / "ort.int8.onnx", weight_type=QuantType.QInt8)
    file = work / "sherpa.int8.onnx"  # as scripts/medasr of sherpa-onnx does it
    quantize_dynamic(work / "fp32.onnx", file, weight_type=QuantType.QUInt8, op_types_to_quantize=["MatMul"])
    model = onnx.load(file)
    for key, value in {"model_type": "medasr_ctc", "vocab_size": "512"}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, file)
    tokenizer = Tokenizer.from_file(str(work / "model" / "tokenizer.json"))
    pieces = ["<blk>", *(tokenizer.id_to_token(number) for number in range(1, 512))]
    (work / "tokens.txt").write_text("".join(f"{piece} {number}\n" for number, piece in enumerate(pieces)))


def make_openvino(work: Path) -> None:
    import nncf
    import openvino

    features = torch.from_numpy(log_mel(sound(CLIP_S)))[None]
    with torch.no_grad():
        model = openvino.convert_model(Logits(lasr(work / "model")), example_input=features)
    model.reshape({0: [-1, features.shape[1], 128]})
    typical = [log_mel(piece)[None] for piece in np.array_split(sound(60), 3)]
    rounded = nncf.quantize(model, nncf.Dataset(typical), model_type=nncf.ModelType.TRANSFORMER, subset_size=3)
    openvino.save_model(rounded, work / "plain.xml", compress_to_fp16=False)


def sound(seconds: float) -> NDArray[np.float32]:
    """Speech, repeated as often as it takes; a little noise keeps the repeats apart."""
    speech, _ = soundfile.read(TYPICAL_SPEECH, dtype="float32")
    count = round(seconds * RATE_HZ)
    return (np.resize(speech, count) + np.random.default_rng(0).normal(0, 1e-4, count)).astype(np.float32)


# The contenders: 16 kHz sound in, text out.


def contenders(work: Path, count: int) -> dict[str, Hear]:
    """By name; each hears ``count`` clips of ``CLIP_S`` at once."""
    tokenizer = Tokenizer.from_file(str(work / "model" / "tokenizer.json"))

    def text(logits: NDArray[np.float32]) -> list[str]:
        return [tokenizer.decode([one.token_id for one in greedy(torch.from_numpy(row), 0)]) for row in logits]

    return {
        "medvox int8": medvox(work),
        "transformers fp32": transformers(work, text),
        "ONNX Runtime int8": onnx_runtime(work, text),
        "sherpa-onnx int8": sherpa(work),
        "OpenVINO int8 + bf16": openvino_plain(work, count, text),
    }


def medvox(work: Path) -> Hear:
    model = load_recogniser(work / "model", precision="int8")

    def hear(clips: Sequence[NDArray[np.float32]]) -> list[str]:
        features = torch.stack([torch.from_numpy(log_mel(clip)) for clip in clips])
        rows = model.network(features)
        return [raw_text(words_from_tokens(greedy(row, model.blank), model.pieces)) for row in rows]

    return torch.inference_mode()(hear)


def transformers(work: Path, text: Callable[[NDArray[np.float32]], list[str]]) -> Hear:
    network, front = lasr(work / "model"), front_end()

    def hear(clips: Sequence[NDArray[np.float32]]) -> list[str]:
        return text(network(input_features=torch.from_numpy(front(clips))).logits.numpy())

    return torch.inference_mode()(hear)


def onnx_runtime(work: Path, text: Callable[[NDArray[np.float32]], list[str]]) -> Hear:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    session, front = onnxruntime.InferenceSession(str(work / "ort.int8.onnx"), options), front_end()

    def hear(clips: Sequence[NDArray[np.float32]]) -> list[str]:
        x = front(clips)
        return text(session.run(["logits"], {"x": x, "mask": np.ones(x.shape[:2], np.int64)})[0])

    return hear


def sherpa(work: Path) -> Hear:
    import sherpa_onnx

    recogniser = sherpa_onnx.OfflineRecognizer.from_medasr_ctc(
        str(work / "sherpa.int8.onnx"), str(work / "tokens.txt"), num_threads=os.cpu_count() or 1
    )

    def hear(clips: Sequence[NDArray[np.float32]]) -> list[str]:
        streams = [recogniser.create_stream() for _ in clips]
        for stream, clip in zip(streams, clips, strict=True):
            stream.accept_waveform(RATE_HZ, clip)
        recogniser.decode_streams(streams)
        return [stream.result.text for stream in streams]

    return hear


def openvino_plain(work: Path, count: int, text: Callable[[NDArray[np.float32]], list[str]]) -> Hear:
    import openvino

    core, front = openvino.Core(), front_end()
    model = core.read_model(work / "plain.xml")
    model.reshape({0: [count, *log_mel(sound(CLIP_S)).shape]})
    settings = {"INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def hear(clips: Sequence[NDArray[np.float32]]) -> list[str]:
        request.infer({0: front(clips)})
        return text(request.get_output_tensor(0).data)

    return hear


def front_end() -> Callable[[Sequence[NDArray[np.float32]]], NDArray[np.float32]]:
    from transformers import LasrFeatureExtractor

    extractor = LasrFeatureExtractor()
    return lambda clips: extractor(list(clips), sampling_rate=RATE_HZ, return_tensors="np").input_features


# What is measured.


def row(what: str, medvox: float, peer: str, value: float, goal: float, *, at_most: bool = False) -> dict[str, Any]:
    """A row of the contract; ``ratio`` is how many times less medvox takes, ``at_most`` makes the goal a limit."""
    ratio = value / medvox
    met = medvox <= goal if at_most else ratio >= goal
    return {"what": what, "medvox": medvox, "peer": peer, "peer_value": value, "ratio": ratio, "goal": goal, "met": met}


def alternating(work: Path, name: str, count: int) -> Iterator[dict[str, Any]]:
    """Everybody hears ``count`` clips of 20 s, in turns."""
    goals = {"transformers fp32": 4.4, "ONNX Runtime int8": 1.8, "sherpa-onnx int8": 1.8, "OpenVINO int8 + bf16": 1.0}
    clips = [sound(CLIP_S + number)[number * RATE_HZ :] for number in range(count)]
    hearing, seconds = contenders(work, count), {}
    for turn in range(ROUNDS[name] + 1):  # the first one warms up
        for who, hear in hearing.items():
            time.sleep(PAUSE_S)
            start = time.perf_counter()
            texts = hear(clips)
            took = time.perf_counter() - start
            assert len(texts) == count
            if turn:
                seconds.setdefault(who, []).append(took)
    median = {who: statistics.median(times) for who, times in seconds.items()}
    for who, times in seconds.items():
        print(f"  {name}: {who} {median[who]:.3f} s ({min(times):.3f} to {max(times):.3f})", file=sys.stderr)
    ours = median.pop("medvox int8")
    what = f"{count} x {CLIP_S} s, seconds" if count > 1 else f"{CLIP_S} s, seconds"
    for who, value in median.items():
        yield row(what, ours, who, value, goals[who])
    real = count * CLIP_S / ours
    yield row(what.replace("seconds", "times real time"), real, "aim", 110.0, 110.0) | {
        "ratio": real / 110, "met": real >= 110,
    }  # fmt: skip


def in_a_process(task: str, *arguments: str) -> dict[str, float]:
    """What ``TASKS[task]`` gives in a process of its own, with its peak memory and the time of the whole process."""
    start = time.perf_counter()
    words = [sys.executable, __file__, "--task", task, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1]) | {"process_s": time.perf_counter() - start}


def peak_mb() -> float:
    """Of this process; ``ru_maxrss`` would count its parent's from before it became a program of its own."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def hour_file(folder: Path) -> Path:
    """An hour of speech with its own pauses."""
    soundfile.write(folder / "hour.wav", sound(3600), RATE_HZ)
    return folder / "hour.wav"


def hear_file(model: str, precision: str, file: str) -> dict[str, float]:
    recogniser = load_recogniser(model, precision=precision)
    start = time.perf_counter()
    try:
        transcribe(file, recogniser)
    except ModelError as error:  # random weights are sure of nothing, so that no word passes; all has been heard then
        if error.code != "E_TRANSCRIPT_EMPTY":
            raise
    return {"seconds": time.perf_counter() - start}


def hear_clips(model: str, precision: str, count: str) -> dict[str, float]:
    recogniser = load_recogniser(model, precision=precision)
    features = torch.stack([torch.from_numpy(log_mel(sound(CLIP_S)))] * int(count))
    start = time.perf_counter()
    with torch.inference_mode():
        recogniser.network(features)
    return {"seconds": time.perf_counter() - start}


TASKS: dict[str, Callable[..., dict[str, float]]] = {"file": hear_file, "clips": hear_clips}


def hour(work: Path) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        took = in_a_process("file", str(work / "model"), "int8", str(hour_file(Path(folder))))
    yield row("1 h file, seconds", took["seconds"], "limit", 45.0, 45.0, at_most=True)
    yield row("1 h file, peak MB", took["peak_mb"], "limit", 900.0, 900.0, at_most=True)


def memory(work: Path) -> Iterator[dict[str, Any]]:
    for count in (1, BATCH):
        took = in_a_process("clips", str(work / "model"), "int8", str(count))
        yield row(f"{count} x {CLIP_S} s, peak MB", took["peak_mb"], "limit", 900.0, 900.0, at_most=True)


def start(work: Path) -> Iterator[dict[str, Any]]:
    """A new process hears one short recording: the shipped model, and the big one from its kept graph."""
    question = TYPICAL_SPEECH.with_name("question.wav")
    for title, model in (("medvox-mini-asr", DEFAULT_ASR), ("105 M", str(work / "model"))):
        with tempfile.TemporaryDirectory() as folder:
            clip = Path(folder) / "clip.wav"
            soundfile.write(clip, sound(CLIP_S), RATE_HZ)
            for name, file in (("3 s", question), (f"{CLIP_S} s", clip)):
                took = {
                    precision: statistics.median(
                        in_a_process("file", model, precision, str(file))["process_s"] for _ in range(3)
                    )
                    for precision in ("auto", "fp32", "bf16", "int8")
                }
                others = {precision: took[precision] for precision in ("fp32", "bf16", "int8")}
                for precision, value in others.items():
                    what = f"{title}, {name} in a new process, auto, seconds"
                    yield row(what, took["auto"], precision, value, 0.9)


MEASURED: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    "clip": lambda work: alternating(work, "clip", 1),
    "batch": lambda work: alternating(work, "batch", BATCH),
    "hour": hour,
    "memory": memory,
    "start": start,
}


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        "| what | medvox | peer | peer's | ratio | goal | met |",
        "| --- | ---: | --- | ---: | ---: | ---: | --- |",
    ]
    for one in rows:
        numbers = [f"{one[key]:.3g}" for key in ("peer_value", "ratio", "goal")]
        met = "yes" if one["met"] else "no"
        lines.append(f"| {one['what']} | {one['medvox']:.3g} | {one['peer']} | {' | '.join(numbers)} | {met} |")
    return lines


def page(rows: Sequence[dict[str, Any]]) -> str:
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("openvino", "onnxruntime", "sherpa-onnx", "transformers")
    )
    head = [
        "# Speed of big speech models",
        "",
        f"- machine: {machine()}",
        f"- date: {datetime.date.today().isoformat()}",
        f"- commit: {commit()}",
        f"- command: `{COMMAND}`",
        f"- peers: {versions}",
        "- MedASR's configuration (105 M parameters), random weights; sound in memory to text",
        "- medians of alternating runs",
        "- a ratio above 1 is in favour of medvox; for limits the goal is the most that medvox may take",
        "",
    ]
    return "\n".join([*head, *table(rows)]) + "\n"


def version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=MEASURED, help="measure this alone")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--write", action="store_true", help="write the page into benchmarks/results")
    parser.add_argument("--prepare", action="store_true", help="make the model and its forms, measure nothing")
    parser.add_argument("--work", metavar="DIR", type=Path, default=WORK, help=f"where they lie; default: {WORK}")
    parser.add_argument("--task", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        result = TASKS[args.task[0]](*args.task[1:])
        print(json.dumps(result | {"peak_mb": peak_mb()}))
        return
    args.work.mkdir(parents=True, exist_ok=True)
    prepare(args.work)
    if args.prepare:
        return
    rows = [one for name in ([args.only] if args.only else MEASURED) for one in MEASURED[name](args.work)]
    print(json.dumps(rows, indent=1) if args.json else "\n".join(table(rows)))
    if args.write:
        name = f"speech-speed_{platform.machine()}-{os.cpu_count()}cores_{datetime.date.today().isoformat()}.md"
        (HERE / "results" / name).write_text(page(rows))


if __name__ == "__main__":
    main()
