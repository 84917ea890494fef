"""The house rules of ARCHITECTURE.md, kept by walking the syntax trees of src/medvox."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "medvox"

STAGES = {"data", "encode", "models", "parse", "report", "score", "serve", "synth", "train"}
VERBS = {"answer", "conversion", "deidentification", "dictate", "inspection", "live_dictation", "preparation", "demo"}
VERBS |= {"doctor", "recordings"}
GROUND = {"types", "errors"}
GLUE = {"data", "encode", "models", "parse", "report", "catalog", *GROUND}

# Who may import whom, inside the package (ARCHITECTURE.md, section 2). Own folder is always allowed.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "types": {"errors"},
    "catalog": {"errors"},
    "data": GROUND,
    "encode": {"data", *GROUND},
    "parse": {"data", *GROUND},
    "report": {"data", *GROUND},
    "synth": {"data", *GROUND},
    "models": GROUND,
    "answer": GLUE,
    "dictate": GLUE,
    "live_dictation": GLUE,
    "inspection": GLUE,
    "conversion": GLUE,
    "deidentification": GLUE,
    "preparation": GLUE,
    "doctor": GLUE,
    "demo": {"answer", "dictate", "synth", *GLUE},
    "recordings": {"dictate", *GLUE},
    "score": {*VERBS, "data", "parse", "synth", "catalog", *GROUND},
    "train": {"data", "encode", "models", "parse", "score", "synth", "catalog", *GROUND},
    "serve": {*VERBS, "data", "report", "catalog", *GROUND},
    "testing": {"data", "encode", "models", "synth", *GROUND},
    "terminal": {"data", "report", "score", *GROUND},
    "arguments": {"__init__", *GROUND},
    "cli": {*VERBS, *STAGES, "catalog", "terminal", "arguments", "__init__", *GROUND},
    "__init__": {*(VERBS - {"demo", "recordings"}), "catalog"},
    "__main__": {"cli"},
}
CLI_MAY_LOAD_AT_IMPORT = {"__init__", "errors", "terminal", "arguments"}
TORCH = {"torch", "transformers", "peft", "trl", "accelerate"}
PACKAGES = {  # see docs/adr/0003, 0007, 0009, 0011 and 0012
    "PIL", "av", "faster_whisper", "gdcm", "jpeg_ls", "nibabel", "numpy", "openjpeg", "openslide", "openvino",
    "pydicom", "pypdfium2", "safetensors", "sounddevice", "soundfile", "soxr", "tokenizers", "torch",
}  # fmt: skip
MAY_TORCH = ("models/", "train/", "encode/batch.py", "testing.py")
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec", "torch.load", "os.system", "os.popen"}
ONLY_IN = {"xml": "data/xml_tree.py"}  # one guarded entry for a hazard
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_ARGUMENTS = 600, 80, 8  # the hard limits; 450, 45 and 6 are the aim


@dataclass(frozen=True, kw_only=True)
class Import:
    """One imported module, by its full dotted name."""

    module: str
    line: int
    in_function: bool
    type_checking: bool


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def layer_of(path: Path, package: Path = PACKAGE) -> str:
    return path.relative_to(package).parts[0].removesuffix(".py")


def imports_of(tree: ast.Module) -> Iterator[Import]:
    """Every import, also those inside functions and under ``if TYPE_CHECKING``."""

    def walk(node: ast.AST, in_function: bool, type_checking: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            names: list[str] = []
            if isinstance(child, ast.Import):
                names = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"line {child.lineno}: relative import; write the full name"
                names = [f"{child.module}.{alias.name}" for alias in child.names]
            for name in names:
                yield Import(module=name, line=child.lineno, in_function=in_function, type_checking=type_checking)
            guarded = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, in_function or function, type_checking or guarded)

    return walk(tree, False, False)


def inside(module: str) -> str | None:
    """The layer that ``medvox.layer.module`` names; None for other packages."""
    parts = module.split(".")
    if parts[0] != "medvox":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else "__init__"


def layer_faults(source: str, layer: str, where: str) -> list[str]:
    faults = []
    for found in imports_of(ast.parse(source)):
        target, root = inside(found.module), found.module.split(".")[0]
        if target is not None and target != layer and target not in MAY_IMPORT[layer]:
            faults.append(f"{where}:{found.line} {layer} imports {found.module}")
        if root in TORCH and not where.startswith(MAY_TORCH):
            faults.append(f"{where}:{found.line} imports {root}")
        if root in ONLY_IN and where != ONLY_IN[root]:
            faults.append(f"{where}:{found.line} imports {found.module}; only {ONLY_IN[root]} may")
        if target is None and root not in PACKAGES and root not in sys.stdlib_module_names:
            faults.append(f"{where}:{found.line} imports {found.module}, which is no dependency of the core")
        at_import = not (found.in_function or found.type_checking)
        if (
            layer == "cli"
            and at_import
            and root not in sys.stdlib_module_names
            and target not in CLI_MAY_LOAD_AT_IMPORT
        ):
            faults.append(f"{where}:{found.line} cli loads {found.module} before it is needed")
    return faults


def safety_faults(source: str, where: str) -> list[str]:
    tree = ast.parse(source)
    faults = [
        f"{where}:{found.line} imports {found.module}"
        for found in imports_of(tree)
        if found.module.split(".")[0] in FORBIDDEN_MODULES
    ]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in FORBIDDEN_CALLS:
            faults.append(f"{where}:{node.lineno} calls {name}")
        for keyword in node.keywords:
            if keyword.arg in {"shell", "trust_remote_code", "allow_pickle"} and ast.unparse(keyword.value) != "False":
                faults.append(f"{where}:{node.lineno} sets {keyword.arg}")
    return faults


def size_faults(source: str, where: str) -> list[str]:
    lines = source.count("\n")
    faults = [f"{where}: {lines} lines"] if lines > MAX_FILE_LINES else []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > MAX_FUNCTION_LINES:
            faults.append(f"{where}:{node.lineno} {node.name} has {length} lines")
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        count = sum(argument.arg not in {"self", "cls"} for argument in arguments)
        if count > MAX_ARGUMENTS:
            faults.append(f"{where}:{node.lineno} {node.name} takes {count} arguments")
    return faults


@pytest.fixture(params=modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def module(request: pytest.FixtureRequest) -> Path:
    return request.param


def where_is(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_layer_is_known(module: Path) -> None:
    assert layer_of(module) in MAY_IMPORT, "a new folder or file at the root needs its row in ARCHITECTURE.md and here"


def test_imports_keep_to_the_layers(module: Path) -> None:
    assert layer_faults(module.read_text(), layer_of(module), where_is(module)) == []


def test_nothing_unsafe_is_called(module: Path) -> None:
    assert safety_faults(module.read_text(), where_is(module)) == []


def test_sizes(module: Path) -> None:
    assert size_faults(module.read_text(), where_is(module)) == []


def test_name_is_a_noun_of_the_field(module: Path) -> None:
    assert module.stem not in DRAWERS


def test_module_says_what_it_is(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text()))


@pytest.mark.parametrize(
    ("source", "layer", "where"),
    [
        ("from medvox.data import volume", "models", "models/gemma.py"),
        ("import medvox.encode.ct", "data", "data/dicom.py"),
        ("from medvox import catalog", "errors", "errors.py"),
        ("def late():\n    from medvox.encode.ct import Preset", "parse", "parse/text.py"),
        ("from medvox.inspection import inspect", "answer", "answer.py"),
        ("import torch", "encode", "encode/ct.py"),
        ("from torch import nn", "data", "data/window.py"),
        ("import scipy", "data", "data/affine.py"),
        ("import numpy", "cli", "cli.py"),
        ("from xml.etree import ElementTree", "data", "data/record_cda.py"),
        ("from medvox.types import Flag", "cli", "cli.py"),
    ],
)
def test_a_forbidden_import_is_caught(source: str, layer: str, where: str) -> None:
    assert len(layer_faults(source, layer, where)) == 1


@pytest.mark.parametrize(
    ("source", "layer", "where"),
    [
        ("import torch", "encode", "encode/batch.py"),
        ("from medvox.encode.text import TextTokenizer", "encode", "encode/prompt.py"),
        ("def late():\n    import numpy", "cli", "cli.py"),
        ("if TYPE_CHECKING:\n    from medvox.types import Flag", "cli", "cli.py"),
    ],
)
def test_an_allowed_import_passes(source: str, layer: str, where: str) -> None:
    assert layer_faults(source, layer, where) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "eval(text)",
        "os.system(line)",
        "subprocess.run(line, shell=True)",
        "read(path, allow_pickle=flag)",
    ],
)
def test_an_unsafe_call_is_caught(source: str) -> None:
    assert len(safety_faults(source, "x.py")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "\n" * (MAX_FILE_LINES + 1),
        "def f():\n" + "    pass\n" * MAX_FUNCTION_LINES,
        f"def f({', '.join(f'a{i}' for i in range(MAX_ARGUMENTS + 1))}): pass",
    ],
)
def test_an_oversize_is_caught(source: str) -> None:
    assert len(size_faults(source, "x.py")) == 1
