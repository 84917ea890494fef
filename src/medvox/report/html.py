"""An Answer and its pictures -> one HTML page that needs nothing else: no script, no request, pictures inside.

Last step of the path. Everything that comes from a file, a model or a user is escaped; the page's own policy forbids
scripts and requests. Knows the contract's values only, and copes with receipts that lack parts.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from medvox.data.results import Answer, Box, Transcript, Word
from medvox.report.figures import Figure
from medvox.types import Flag

UNSURE = 0.6  # words below this confidence are marked
FEW_FILES = 30  # a longer list of sources starts closed; a browser prints only what is open
NOTICE = (
    "Research use only; this is not a medical device. "
    "Every statement on this page is a draft that a qualified person must check against the images."
)
SHOWN_ELSEWHERE = {
    "question", "prompt_text", "raw_text", "slices", "preset", "windows_hu", "tokens", "sources", "seconds", "versions",
    "research_use",
}  # fmt: skip


def render_report(answer: Answer, figures: Sequence[Figure], title: str) -> str:
    """Write the page.

    Args:
        answer: what was found, with its receipt.
        figures: pictures in the order in which they appear.
        title: heading of the page.

    Returns:
        A complete HTML document in one string.
    """
    css = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    css_hash = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{css_hash}'; base-uri 'none'; form-action 'none'"
    receipt = answer.receipt
    body = [
        _section("Question", _question(answer.transcript, receipt)),
        _section("Answer", _answer(answer)),
        _section("What you must know", _flags(answer.flags)),
        _section("Pictures", _figures(figures, answer.boxes)),
        _section("What the model was given", _model_input(receipt)),
        _section("Raw text of the model", _pre(receipt.get("raw_text"))),
        _section("Receipt", _receipt(receipt)),
    ]
    closing = escape(str(receipt.get("research_use") or NOTICE))
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{escape(title)}</title>",
            f"<style>{css}</style>",
            "</head>",
            "<body>",
            f'<div class="notice" role="note"><p><strong>Not for clinical use.</strong> {escape(NOTICE)}</p></div>',
            f"<main>\n<h1>{escape(title)}</h1>",
            f'<p class="soft">{escape(_byline(receipt))}</p>',
            *[part for part in body if part],
            f'<footer class="soft">{closing}</footer>',
            "</main>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{escape(heading)}</h2>\n{content}\n</section>" if content else ""


def _byline(receipt: Mapping[str, Any]) -> str:
    model, preset, versions = (_mapping(receipt.get(name)) for name in ("model", "preset", "versions"))
    parts = [model.get("id"), preset.get("name"), f"medvox {versions['medvox']}" if "medvox" in versions else None]
    return " · ".join(str(part) for part in parts if part)


def _question(transcript: Transcript | None, receipt: Mapping[str, Any]) -> str:
    question = receipt.get("question") or (transcript.text if transcript else "")
    if not question:
        return ""
    parts = [f'<p class="question">{escape(str(question))}</p>']
    if transcript:
        parts.append(_transcript(transcript))
    return '<div class="panel">' + "\n".join(parts) + "</div>"


def _transcript(transcript: Transcript) -> str:
    unsure = sum(0 < word.confidence < UNSURE for word in transcript.words)
    told = f"spoken, {transcript.duration_s:.1f} s, recognised by {transcript.model} from {transcript.file}"
    marks = f"; {unsure} of {len(transcript.words)} words below {UNSURE:.0%} confidence are marked" if unsure else ""
    parts = [f'<p class="soft">{escape(told + marks)}</p>']
    if transcript.words:
        parts.append('<ol class="words">' + "".join(_word(word) for word in transcript.words) + "</ol>")
    if transcript.raw_text != transcript.text:
        parts.append(f'<p class="soft">As heard: {escape(transcript.raw_text)}</p>')
    return "\n".join(parts)


def _word(word: Word) -> str:
    mark = ' class="unsure"' if word.confidence < UNSURE else ""
    when = f"{word.start_s:.2f}–{word.end_s:.2f} s"
    sure = f"{word.confidence:.0%}" if word.confidence else "?"
    return f"<li{mark}>{escape(word.word)}<small>{when}</small><small>{sure}</small></li>"


def _answer(answer: Answer) -> str:
    label = escape(answer.label) if answer.label is not None else "no final answer in the text"
    parts = [f'<span class="label{"" if answer.label is not None else " none"}">{label}</span>']
    if answer.probability is not None:
        text = f"the model's own probability: {answer.probability:.1%}"
        parts.append(f'<span class="probability">{_bar(answer.probability, 120)}{text}</span>')
    text = f'<p class="answer">{escape(answer.answer)}</p>' if answer.answer else ""
    return f'<div class="panel"><div class="verdict">{"".join(parts)}</div>{text}</div>' + _boxes(answer.boxes)


def _boxes(boxes: Sequence[Box]) -> str:
    if not boxes:
        return ""
    rows = [(box.label, box.image, ", ".join(f"{edge:.0f}" for edge in box.box_xyxy), _size(box)) for box in boxes]
    return "<h3>Boxes</h3>" + _table(rows, head=("finding", "image", "x0, y0, x1, y1 (pixels)", "width x height"))


def _size(box: Box) -> str:
    x0, y0, x1, y1 = box.box_xyxy
    return f"{x1 - x0:.0f} x {y1 - y0:.0f}"


def _flags(flags: Sequence[Flag]) -> str:
    if not flags:
        return '<p class="soft">No flags.</p>'
    items = "".join(f"<li><code>{escape(flag.code)}</code>{escape(flag.text)}</li>" for flag in flags)
    return f'<ul class="flags">{items}</ul>'


def _figures(figures: Sequence[Figure], boxes: Sequence[Box]) -> str:
    if not figures:
        return ""
    key = '<p class="soft"><span class="key"></span>predicted box <span class="key target"></span>known truth, if any'
    parts = [
        key + "; letters name the patient's side at each edge (R right, L left, A front, P back, H head, F feet)</p>"
    ]
    parts.append('<div class="figures">')
    for figure in figures:
        data = base64.b64encode(figure.png).decode()
        wide = ' class="wide"' if figure.wide else ""
        caption = escape(figure.caption)
        image = f'<img src="data:image/png;base64,{data}" alt="{caption}">'
        parts.append(f"<figure{wide}>{image}<figcaption>{caption}</figcaption></figure>")
    parts.append("</div>")
    return "\n".join(parts)


def _model_input(receipt: Mapping[str, Any]) -> str:
    slices, preset = _mapping(receipt.get("slices")), _mapping(receipt.get("preset"))
    rows: list[tuple[str, str]] = []
    if preset:
        rows.append(("preset", " ".join(str(preset[name]) for name in ("name", "hash") if name in preset)))
    if receipt.get("windows_hu"):
        rows.append(("windows", _windows(receipt["windows_hu"])))
    for name, told in (("used", "slices shown"), ("dropped", "slices left out")):
        if name in slices:
            rows.append((told, _indices(slices[name])))
    if receipt.get("tokens"):
        rows.append(("tokens", _plain(receipt["tokens"])))
    prompt = receipt.get("prompt_text")
    parts = [_table(rows) if rows else ""]
    if prompt:
        parts.append("<h3>Prompt</h3>" + _pre(prompt))
    return "\n".join(part for part in parts if part)


def _receipt(receipt: Mapping[str, Any]) -> str:
    if not receipt:
        return '<p class="soft">No receipt.</p>'
    rows: list[tuple[str, str]] = []
    for name, value in receipt.items():
        if name in SHOWN_ELSEWHERE:
            continue
        if isinstance(value, Mapping):
            rows.extend((f"{name} {inner}", _plain(item)) for inner, item in value.items())
        else:
            rows.append((name, _plain(value)))
    parts = [_table([(name.replace("_", " "), text) for name, text in rows])]
    parts.append(_seconds(_mapping(receipt.get("seconds"))))
    versions = _mapping(receipt.get("versions"))
    if versions:
        parts.append("<h3>Versions</h3><p>" + escape(_plain(versions)) + "</p>")
    parts.append(_sources(receipt.get("sources")))
    return "\n".join(part for part in parts if part)


def _seconds(seconds: Mapping[str, Any]) -> str:
    times = {name: float(value) for name, value in seconds.items() if isinstance(value, int | float)}
    if not times:
        return ""
    longest = max(times.values()) or 1.0
    rows = "".join(
        f'<tr><th scope="row">{escape(str(name))}</th><td class="number">{value:.2f} s</td>'
        f"<td>{_bar(value / longest, 320)}</td></tr>"
        for name, value in times.items()
    )
    return f"<h3>Seconds per stage</h3><table>{rows}</table>"


def _sources(sources: Any) -> str:
    if not isinstance(sources, Sequence) or not sources or isinstance(sources, str):
        return ""
    rows = [(str(_mapping(item).get("name", item)), str(_mapping(item).get("sha256", ""))) for item in sources]
    table = _table(rows, head=("file", "SHA-256"), code=True)
    opened = " open" if len(rows) <= FEW_FILES else ""
    return f"<details{opened}><summary>{len(rows)} source files</summary>{table}</details>"


def _table(rows: Iterable[Sequence[str]], head: Sequence[str] = (), *, code: bool = False) -> str:
    """A table whose first column names the row, or with column names when ``head`` is given."""
    parts = ["<table>"]
    if head:
        parts.append("<thead><tr>" + "".join(f'<th scope="col">{escape(name)}</th>' for name in head) + "</tr></thead>")
    parts.append("<tbody>")
    for first, *rest in rows:
        cells = [f"<code>{escape(cell)}</code>" if code else escape(cell) for cell in rest]
        opening = f"<td>{escape(first)}</td>" if head else f'<th scope="row">{escape(first)}</th>'
        parts.append(f"<tr>{opening}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    parts.append("</tbody></table>")
    return "".join(parts)


def _bar(share: float, width: int) -> str:
    share = min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
    return (
        f'<svg width="{width}" height="10" aria-hidden="true"><rect class="track" width="{width}" height="10" rx="5"/>'
        f'<rect class="fill" width="{share * width:.1f}" height="10" rx="5"/></svg>'
    )


def _pre(text: Any) -> str:
    return f"<pre>{escape(str(text))}</pre>" if text else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _plain(value: Any) -> str:
    """A JSON value as words: ``low -1024, high 1024``."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{str(name).replace('_', ' ')} {_plain(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        nested = any(isinstance(item, list | tuple | Mapping) for item in value)
        return ("; " if nested else ", ").join(_plain(item) for item in value)
    return str(value)


def _windows(value: Any) -> str:
    """Three windows as the channels that they fill, anything else as it is."""
    try:
        pairs = [(float(low), float(high)) for low, high in value]
    except (TypeError, ValueError):
        return _plain(value)
    named = zip(("red", "green", "blue"), pairs, strict=False)
    return ", ".join(f"{channel} {low:g} to {high:g} HU" for channel, (low, high) in named)


def _indices(value: Any) -> str:
    """Slice indices with runs drawn together: ``20: 0 to 19``."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, int) for item in value):
        return _plain(value)
    if not value:
        return "none"
    runs: list[list[int]] = [[value[0]]]
    for before, index in pairwise(value):
        if index == before + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    named = [f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return f"{len(value)} (index {', '.join(named)})"
