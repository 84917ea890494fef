"""Model folders in the hub's layout <-> modules. Safetensors only, nothing in a folder is ever executed.

Beside the models: the verbs load with it, ``train`` saves with it. It knows no tokenizer, no preprocessing and no data.

Every defect of a folder is found from the headers, before a weight is read, and named in a ``SetupError``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from medvox.errors import SetupError, UsageError
from medvox.models.conformer import LasrConfig, LasrForCTC
from medvox.models.vlm import MedGemma, VlmConfig

Module = TypeVar("Module", bound=nn.Module)
Header = tuple[tuple[int, ...], bool]  # shape, floating point

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
FOREIGN = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf")
FLOATING = ("F64", "F32", "F16", "BF16")
SPEECH_TYPES = (torch.float32, torch.bfloat16)
COUNTER = ".num_batches_tracked"  # of batch norms; says nothing about the network, and some writers leave it out
SMALL = 1_000_000_000  # models with fewer parameters are run in float32 unless told otherwise

# Names in files -> names in the modules; the first prefix that fits counts. The files of Google name the parts without
# "model.", newer ones with it, text-only ones leave "language_model" out; only our vision tower has no "vision_model".
PREFIXES = (
    ("language_model.lm_head.", "lm_head."),
    ("language_model.model.", "model.language_model."),
    ("vision_tower.vision_model.", "model.vision_tower."),
    ("vision_tower.", "model.vision_tower."),
    ("multi_modal_projector.", "model.multi_modal_projector."),
    ("model.vision_tower.vision_model.", "model.vision_tower."),
    ("model.embed_tokens.", "model.language_model.embed_tokens."),
    ("model.layers.", "model.language_model.layers."),
    ("model.norm.", "model.language_model.norm."),
)
HEAD, EMBEDDING = "lm_head.weight", "model.language_model.embed_tokens.weight"


def load_vlm(folder: Path, *, dtype: torch.dtype | None = None, device: str = "cpu") -> MedGemma:
    """Loads a MedGemma or Gemma 3 folder.

    Args:
        folder: hub layout: ``config.json`` and ``model*.safetensors``.
        dtype: of the weights; None: float32 for a small model, else as stored.
        device: where the weights are put.

    Raises:
        SetupError: the folder is missing, broken, of another model, or its weights do not fit its config.
    """
    config = VlmConfig.from_hub(read_config(folder))
    with torch.device("meta"):
        module = MedGemma(config)
    return _load(module, folder, dtype, device)


def load_speech(folder: Path, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> LasrForCTC:
    """Loads a MedASR folder; see ``load_vlm``.

    Args:
        folder: hub layout; weights may be stored in any type, float16 too.
        dtype: float32, or bfloat16, which is coarser. float16 ends at 65 504, which states inside a block exceed.
        device: where the weights are put.

    Raises:
        UsageError: the network cannot be run in this type.
        SetupError: as ``load_vlm``, or a weight is not finite.
    """
    if dtype not in SPEECH_TYPES:
        raise UsageError(
            f"the speech model cannot be run in {_dtype_name(dtype)}: states inside its blocks exceed that type",
            fix="use float32 or bfloat16",
            code="E_SPEECH_DTYPE",
        )
    hub = read_config(folder)
    if hub.get("model_type") != "lasr_ctc":
        raise SetupError(
            f"config.json: model_type {hub.get('model_type')!r} is not a MedASR model",
            fix="Give the folder of a MedASR model.",
            code="E_MODEL_TYPE",
        )
    with torch.device("meta"):
        module = LasrForCTC(LasrConfig.from_hub(hub))
    module = _load(module, folder, dtype, device)
    if broken := [name for name, tensor in module.state_dict().items() if not bool(torch.isfinite(tensor).all())]:
        raise _unfit(folder, "weights are not finite", broken, "E_WEIGHTS_NOT_FINITE")
    return module


def read_preprocessor(folder: Path) -> dict[str, Any]:
    """Settings of the feature extractor of a speech folder; empty where it states none.

    Raises:
        SetupError: the file is no JSON object.
    """
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            settings = _read_json(folder / name)
            nested = settings.get("feature_extractor", settings)
            return nested if isinstance(nested, dict) else settings
    return {}


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's ``config.json``.

    Raises:
        SetupError: there is no such folder or file, or the file is no JSON object.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise SetupError(
            f"{folder.name}: no config.json",
            fix="Give the path of a model folder in the hub's layout (config.json, model.safetensors, ...).",
            code="E_MODEL_MISSING",
        )
    return _read_json(path)


def save_folder(module: nn.Module, config: Mapping[str, Any], folder: Path, dtype: torch.dtype) -> None:
    """Writes ``config.json`` and ``model.safetensors`` under the hub's names; files appear whole or not at all.

    Args:
        module: a ``MedGemma`` or a ``LasrForCTC``.
        config: the module's ``config.to_hub()``.
        folder: is made if missing.
        dtype: floating point weights are stored in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: _cast(tensor, dtype).detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    if isinstance(module, MedGemma):
        text_only = module.config.vision is None
        tensors = {_published_name(name, text_only=text_only): tensor for name, tensor in tensors.items()}
    part = folder / f"{SINGLE}.part"
    save_file(tensors, part, metadata={"format": "pt"})
    part.chmod(0o644)  # the library writes it for the owner only
    os.replace(part, folder / SINGLE)
    text = json.dumps({**config, "torch_dtype": _dtype_name(dtype)}, indent=2)
    part = folder / "config.json.part"
    part.write_text(text + "\n", encoding="utf-8")
    os.replace(part, folder / "config.json")


def weights_hash(folder: Path) -> str:
    """SHA-256 (hex) of the weight files, one after the other in name order; of a single file as ``sha256sum`` has it.

    Raises:
        SetupError: the folder has no usable weight files.
    """
    digest = hashlib.sha256()
    for path in weight_files(folder):
        with path.open("rb") as file:
            while block := file.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the model, in name order.

    Raises:
        SetupError: there are none, some are missing, or the weights are in another format.
    """
    index = folder / INDEX
    if index.is_file():
        names = sorted(set((_read_json(index).get("weight_map") or {}).values()))
        missing = [name for name in names if name != Path(name).name or not (folder / name).is_file()]
        if missing or not names:
            raise SetupError(
                f"{folder.name}: the index names weight files that are not there: {_some(missing)}",
                fix="Download the model folder again, all of its files.",
                code="E_WEIGHTS_MISSING",
            )
        return [folder / name for name in names]
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    foreign = sorted(path.name for path in folder.glob("*") if path.suffix in FOREIGN)
    if foreign:
        raise SetupError(
            f"{folder.name}: weights are only in a format that is not read: {_some(foreign)}",
            fix="Convert the weights to safetensors; other formats can run code or are not supported.",
            code="E_WEIGHTS_FORMAT",
        )
    raise SetupError(
        f"{folder.name}: no {SINGLE}",
        fix="Download the model folder again, all of its files.",
        code="E_WEIGHTS_MISSING",
    )


def _load(module: Module, folder: Path, dtype: torch.dtype | None, device: str) -> Module:
    """Gives the module, made on the meta device, the weights of the folder; only one copy is ever held."""
    expected = module.state_dict()
    if dtype is None and sum(tensor.numel() for tensor in expected.values()) < SMALL:
        dtype = torch.float32
    files = weight_files(folder)
    head = None
    counters = {name: torch.tensor(0, device=device) for name in expected if name.endswith(COUNTER)}
    module.load_state_dict(counters, strict=False, assign=True)
    try:
        _check(expected, _headers(files), folder)
        for path in files:
            with safe_open(path, framework="pt", device=device) as file:
                state = {_own_name(name): _cast(file.get_tensor(name), dtype) for name in file.keys()}  # noqa: SIM118
            head = state.pop(HEAD, head)
            module.load_state_dict(state, strict=False, assign=True)
    except SafetensorError as error:
        raise SetupError(
            f"{folder.name}: a weight file is cut off or damaged ({error})",
            fix="Download the model folder again and compare the file sizes.",
            code="E_WEIGHTS_BROKEN",
        ) from error
    if head is not None and not torch.equal(head, module.get_parameter(EMBEDDING)):
        raise _unfit(folder, "a head that differs from the embeddings it is tied to", [HEAD], "E_WEIGHTS_UNEXPECTED")
    return module.eval()


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _cast(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)


def _headers(files: Iterable[Path]) -> dict[str, Header]:
    """Shape of every tensor under its own name, and whether it is floating point, from the headers of the files."""
    headers: dict[str, Header] = {}
    for path in files:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a dict)
                tensor = file.get_slice(name)
                headers[_own_name(name)] = (tuple(tensor.get_shape()), tensor.get_dtype() in FLOATING)
    return headers


def _check(expected: Mapping[str, Tensor], found: dict[str, Header], folder: Path) -> None:
    """Refuses a folder whose tensors are not exactly those of the module."""
    wanted = {name: (tuple(tensor.shape), tensor.is_floating_point()) for name, tensor in expected.items()}
    if EMBEDDING in wanted:  # the head is tied to it and may be stored or not
        wanted[HEAD] = wanted[EMBEDDING]
        found = {HEAD: wanted[HEAD], **found}
    found = {**{name: header for name, header in wanted.items() if name.endswith(COUNTER)}, **found}
    if missing := sorted(wanted.keys() - found.keys()):
        raise _unfit(folder, "tensors are missing", missing, "E_WEIGHTS_MISSING_TENSOR")
    if unexpected := sorted(found.keys() - wanted.keys()):
        raise _unfit(folder, "tensors that the model does not have", unexpected, "E_WEIGHTS_UNEXPECTED")
    if differing := sorted(name for name in wanted if found[name] != wanted[name]):
        raise _unfit(folder, "tensors of another shape or kind than config.json says", differing, "E_WEIGHTS_SHAPE")


def _unfit(folder: Path, problem: str, names: list[str], code: str) -> SetupError:
    return SetupError(
        f"{folder.name}: {problem}: {_some(names)}",
        fix="Use config.json and weights of the same model, whole and not quantised.",
        code=code,
    )


def _own_name(name: str) -> str:
    """Name in a published file -> name in the module."""
    for published, own in PREFIXES:
        if name.startswith(published):
            return own + name.removeprefix(published)
    return name


def _published_name(name: str, *, text_only: bool) -> str:
    """Name in a ``MedGemma`` module -> name in a published file."""
    if text_only:
        return name.replace("model.language_model.", "model.", 1)
    for published, own in PREFIXES:
        if name.startswith(own):
            return published + name.removeprefix(own)
    return name


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise _broken_json(path) from error
    if not isinstance(value, dict):
        raise _broken_json(path)
    return value


def _broken_json(path: Path) -> SetupError:
    return SetupError(
        f"{path.name} is not a readable JSON object",
        fix="Download the model folder again, all of its files.",
        code="E_MODEL_CONFIG",
    )


def _some(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more
