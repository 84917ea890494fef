"""The command line as it may be written: commands, options, help. ``cli`` runs what is read here.

Knows no stage of the path; nothing here may be slow to load.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from medvox import __version__
from medvox.errors import UsageError

DESCRIPTION = (
    "Read medical images, documents, records and speech; ask about a CT, by text or by voice, and trace the answer. "
    "Research software, not a medical device."
)

EPILOG = """examples:
  medvox demo --out out/demo                     the whole path on inputs that ship with medvox
  medvox ask "Which body region is this?" ct/    answer a question about a CT series
  medvox ask --speech question.wav ct/ --json    the question is spoken
  medvox transcribe dictation.wav                speech to text
  medvox dictate --template chest-xray           speech to text while it is spoken, into a report
  medvox inspect folder/                         what is in this folder, and can it be used
  medvox plan mr/                                what a question would cost
  medvox prep slide.svs --out patches/           the pictures that a model would be shown
  medvox convert scan.zip nifti/ --all           every series as NIfTI
  medvox deid scans/ clean/ --key project.key    copies without identifiers
"""

TEMPLATES = ("chest-xray", "ct-abdomen", "ct-head", "mri-brain", "pathology-lung")  # that ship; data/templates has them


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are UsageErrors, so that ``--json`` holds for them too."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As the library's, but what a command does not know is its own complaint, and not that of ``medvox``."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, fix=f"see `{self.prog} --help`")


def build_parser(runs: Mapping[str, Callable[..., int]]) -> argparse.ArgumentParser:
    """The parser of the whole command line; ``args.run`` is the command's entry in ``runs``."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="medvox", description=DESCRIPTION, epilog=EPILOG, formatter_class=formatter, allow_abbrev=False
    )
    parser.add_argument("-V", "--version", action="version", version=f"medvox {__version__}")
    output = _Parser(add_help=False)
    output.add_argument("--json", action="store_true", help="print JSON on stdout, errors too")
    output.add_argument("--debug", action="store_true", help="show the trace of an unexpected error; it may name data")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            parents=[output],
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=f"example:\n  {example}",
            formatter_class=formatter,
            allow_abbrev=False,
        )
        command.set_defaults(run=runs[name])
        return command

    _add_ask(add("ask", "answer a question about a CT series", 'medvox ask "Is there a nodule?" ct/ --json'))
    _add_transcribe(add("transcribe", "turn recorded speech into text", "medvox transcribe a.wav b.flac"))
    _add_dictate(add("dictate", "write while someone speaks", "medvox dictate --template chest-xray"))
    command = add("inspect", "list what lies at a path and whether it can be used", "medvox inspect ct/")
    command.add_argument("path", metavar="PATH", type=Path, help="a file, a folder or a zip")
    _add_material(add("plan", "say what asking about PATH would cost, before anything runs", "medvox plan ct/"), "plan")
    _add_material(
        add("prep", "write the pictures that a model would be shown", "medvox prep ct/ --out pictures/"),
        "prep",
    )
    _add_convert(add("convert", "write series as NIfTI", "medvox convert ct/ ct.nii.gz"))
    _add_deid(add("deid", "write copies without identifiers", "medvox deid scans/ clean/ --key project.key"))
    command = add("models", "list the models that medvox knows, or learn a language model", "medvox models list")
    command.usage = "medvox models [list]\n       medvox models lm TEXT... --out FILE [options]"
    command.add_argument("action", metavar="list|lm", choices=["list", "lm"], nargs="?", default="list")
    command.add_argument("texts", metavar="TEXT", nargs="*", type=Path, help="a sentence a line; or one ARPA file")
    command.add_argument("--out", metavar="FILE", type=Path, help="the language model to write")
    command.add_argument("--order", metavar="N", type=_positive, default=4, help="tokens looked at; default: 4")
    command.add_argument("--model", metavar="NAME", help="the speech model whose tokens it is for")
    add("doctor", "check this installation", "medvox doctor")
    command = add("demo", "run the whole path on inputs that ship with medvox", "medvox demo --out out/demo")
    command.add_argument("--out", metavar="DIR", type=Path, default=Path("out/demo"), help="default: out/demo")
    return parser


def _add_ask(command: argparse.ArgumentParser) -> None:
    command.usage = "medvox ask [options] QUESTION PATH\n       medvox ask [options] --speech FILE PATH"
    command.add_argument(
        "words",
        metavar="QUESTION PATH",
        nargs="+",
        help="the question, then a DICOM file, folder or zip, or a NIfTI file",
    )
    command.add_argument("--speech", metavar="FILE", type=Path, help="a recording of the question, instead of QUESTION")
    command.add_argument("--speech-model", metavar="NAME", help="what recognises --speech, as --model of transcribe")
    _add_precision(command)
    command.add_argument("--yes", action="store_true", help="ask a spoken question even if it was heard unsurely")
    command.add_argument("--series", metavar="UID", help="the series to use when PATH holds several")
    command.add_argument("--modality", choices=["CT"], help="what a NIfTI file holds; it does not say so itself")
    command.add_argument("--model", metavar="NAME", help="a name from `medvox models list`, or a model folder")
    command.add_argument("--report", metavar="FILE", type=Path, help="write an HTML report here as well")
    command.add_argument("--max-new-tokens", metavar="N", type=_positive, default=512, help="default: 512")


def _add_transcribe(command: argparse.ArgumentParser) -> None:
    formats = ["txt", "json", "srt", "vtt", "verbose_json"]
    command.add_argument("--format", choices=formats, help="default: txt; verbose_json is OpenAI's")
    command.add_argument("--raw", action="store_true", help="print the words as they were recognised, not formatted")
    command.add_argument(
        "--diff", metavar="REF.txt", type=Path, help="show the words that were really said beside those that were heard"
    )
    command.add_argument("--nbest", metavar="N", type=_up_to_eight, default=1, help="texts to give in JSON, at most 8")
    command.add_argument("--jobs", metavar="N", type=_positive, default=1, help="files at once; default: 1")
    command.add_argument("--out", metavar="DIR", type=Path, help="write a file for each recording here, if not there")
    command.add_argument("--overwrite", action="store_true", help="with --out: hear again what is there")
    command.add_argument("files", metavar="FILE", nargs="+", type=Path, help="sound files, or folders of them")
    _add_hearing(command)


def form_of(args: argparse.Namespace) -> str:
    """The form in which ``transcribe`` gives a transcript.

    Raises:
        UsageError: one of the options would have no effect beside another.
    """
    form: str = args.format or ("json" if args.json and not args.out else "txt")
    refused = (
        (
            args.diff and (args.out or args.format or args.nbest > 1),
            "--diff compares, and gives no transcript",
            "leave out --out, --format and --nbest, or --diff",
        ),
        (args.overwrite and not args.out, "--overwrite is for --out", "leave it out, or give --out DIR"),
        (args.raw and form != "txt", "--raw is for text alone", "leave it out: JSON holds the raw text too"),
        (args.nbest > 1 and form != "json", "--nbest is for JSON", "add --format json, or leave out --nbest"),
        (
            args.template and form not in ("txt", "json"),
            "--template makes a report, whose headings and fields have no times",
            "use --format txt or json, or leave out --template",
        ),
        (
            args.json and not args.out and not form.endswith("json"),
            f"--json and --format {form} contradict each other",
            "use one of them",
        ),
    )
    for given, message, fix in refused:
        if given:
            raise UsageError(message, fix=fix)
    return form


def _add_dictate(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "source", metavar="FILE|-", nargs="?", help="a recording, or - for raw 16-bit PCM; without it: the microphone"
    )
    command.add_argument("--rate", metavar="HZ", type=_positive, help="of raw PCM; default: 16000")
    command.add_argument("--pace", choices=["real", "fast"], default="fast", help="of a recording; default: fast")
    _add_hearing(command)


def _add_hearing(command: argparse.ArgumentParser) -> None:
    """What `transcribe` and `dictate` share."""
    command.add_argument(
        "--model",
        metavar="NAME",
        help="a name from `medvox models list`, a model folder, openai:URL[#MODEL] or whisper:NAME",
    )
    _add_precision(command)
    methods = ["greedy", "beam.medasr", "beam.tuned"]
    command.add_argument(
        "--decoding",
        choices=methods,
        default="",
        help="default: beam.tuned where the model has a language model, beam.medasr with another, else greedy",
    )
    command.add_argument("--lm", metavar="FILE", type=Path, help="a language model: ARPA, or from `medvox models lm`")
    command.add_argument("--hotwords", metavar="FILE", type=Path, help="phrases to favour, one a line")
    command.add_argument("--template", metavar="NAME", help=f"a report to fill in: {', '.join(TEMPLATES)}, or a file")
    command.add_argument("--auto-texts", metavar="FILE", type=Path, help='what "insert NAME" writes')
    command.add_argument("--corrections", metavar="FILE", type=Path, help="heard phrases and what to write for them")


def _add_precision(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--precision",
        metavar="auto|fp32|bf16|int8",
        default="auto",
        help="numbers that a speech model in the hub's layout is run in; default: auto, what suits it and this machine",
    )


def _add_material(command: argparse.ArgumentParser, verb: str) -> None:
    command.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        type=Path,
        help="DICOM (file, folder, zip), NIfTI, picture, slide or document",
    )
    command.add_argument("--preset", metavar="NAME", help="the input recipe; one is chosen by what PATH holds")
    command.add_argument("--series", metavar="UID", help="the series to use when PATH holds several")
    command.add_argument("--modality", choices=["CT", "MR"], help="what a NIfTI file holds; it does not say so itself")
    command.add_argument(
        "--mpp", metavar="UM", type=_above_zero, help="micrometres per pixel of a slide, if not stated"
    )
    if verb == "plan":
        command.add_argument("--model", metavar="NAME", help="a name from `medvox models list`, or a model folder")
        command.add_argument("--question", metavar="TEXT", help="the question that will be asked")
        return
    command.add_argument("--out", metavar="DIR", type=Path, required=True, help="a new folder for pictures and receipt")
    command.add_argument("--size", metavar="N", type=_positive, default=896, help="edge in pixels; default: 896")
    command.add_argument("--overwrite", action="store_true", help="replace the result of an earlier run")


def _add_convert(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", metavar="PATH", type=Path, help="a DICOM file, folder or zip, or a NIfTI file")
    command.add_argument("target", metavar="OUT", type=Path, help="the file to write, or with --all the folder")
    command.add_argument("--series", metavar="UID", help="the series to write when PATH holds several")
    command.add_argument(
        "--all", action="store_true", help="write every series; one that cannot be does not stop the rest"
    )
    command.add_argument("--overwrite", action="store_true", help="replace what is there")


def _add_deid(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", metavar="PATH", type=Path, help="DICOM files and notes (.txt): a file, folder or zip")
    command.add_argument("target", metavar="OUT", type=Path, help="a new folder")
    command.add_argument(
        "--key", metavar="FILE", type=Path, help="the project's key, made if missing: same key, same UIDs"
    )
    command.add_argument("--dates", choices=["remove", "shift", "keep"], default="remove", help="default: remove")
    command.add_argument("--keep-characteristics", action="store_true", help="keep age, sex, size and weight")
    command.add_argument("--keep-device", action="store_true", help="keep names and numbers of devices")
    command.add_argument("--keep-uids", action="store_true", help="keep instance UIDs")
    command.add_argument("--keep-safe-private", action="store_true", help="keep the private elements known to be safe")
    command.add_argument("--clean-descriptors", action="store_true", help="reduce descriptions to words of imaging")
    command.add_argument(
        "--allow-burned-in", action="store_true", help="write files whose pixels may show text; marked as not clean"
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _above_zero(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be a number above 0")
    return number


def _up_to_eight(text: str) -> int:
    number = _positive(text)
    if number > 8:
        raise argparse.ArgumentTypeError("must be at most 8")
    return number
