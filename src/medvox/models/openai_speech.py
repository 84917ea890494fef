"""Speech recognised by a server with OpenAI's interface, ``POST /v1/audio/transcriptions``, through ``openai:URL``.

One of the recognisers of ``recogniser``; the standard library's HTTP and no other. A server on this machine may be
asked freely. Any other must be allowed by name, over https only, and its user is told that the recording leaves the
machine. Redirects are never followed. Knows no file, no grammar and no format of ours.
"""

from __future__ import annotations

import io
import ipaddress
import re
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

from medvox.errors import SetupError, UsageError
from medvox.models.http_post import Patience, Reply, Target, post
from medvox.models.openai_answer import answer_text, answer_words, read_answer
from medvox.models.recogniser import SAMPLE_RATE_HZ, Heard, Span, hear_speech, worded
from medvox.types import Flag, Progress, Samples

PREFIX = "openai:"
DEFAULT_MODEL = "whisper-1"  # OpenAI's name, which most servers take for their own model
ALLOWED = "MEDVOX_ALLOW_HOSTS"
KEY, OPENAI_KEY, OPENAI_HOST = "MEDVOX_OPENAI_API_KEY", "OPENAI_API_KEY", "api.openai.com"
ENDPOINT = "/audio/transcriptions"

LONGEST_S = 600.0  # 19 MB of WAV; OpenAI takes 25 MB
SHORTEST_S = 10.0  # what a server must take at least
SECONDS_A_SECOND, LEAST_WAIT_S = 2.0, 60.0  # how long an answer may take

# What to ask for, the richest first: a server that refuses one is asked for the next.
_FORMATS: tuple[tuple[tuple[str, str], ...], ...] = (
    (
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
    ),
    (("response_format", "verbose_json"),),
    (("response_format", "json"),),
)
_NOT_TAKEN = (400, 422, 501)


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server that transcribes.

    Attributes:
        target: where it is.
        local: it is this machine.
        model: the model that it is asked for.
        key: for its ``Authorization`` header; never shown.
    """

    target: Target
    local: bool
    model: str
    key: str = field(default="", repr=False)


def server_at(address: str, environment: Mapping[str, str]) -> Server:
    """The server of ``openai:URL[#MODEL]``.

    Args:
        address: with or without the prefix; a URL without a path means ``/v1``.
        environment: ``MEDVOX_ALLOW_HOSTS`` names the hosts outside this machine that may be sent recordings, parted by
            commas; ``MEDVOX_OPENAI_API_KEY`` is the key for any server, ``OPENAI_API_KEY`` for OpenAI's own only.

    Raises:
        UsageError: ``E_SPEECH_SERVER_ADDRESS`` for what is no such URL, or holds a password.
        SetupError: ``E_REMOTE_OFF`` for a host that was not allowed, ``E_REMOTE_PLAIN`` for one without https,
            ``E_SPEECH_SERVER_KEY`` for a key that no header can hold.
    """
    target, model = _split(address)
    local = _is_loopback(target.host)
    if not local and not target.secure:
        raise SetupError(
            f"{target.host} is not this machine, and http would send the recording in the clear",
            fix=f"use https, or a tunnel: ssh -L {target.port}:localhost:{target.port} {target.host}",
            code="E_REMOTE_PLAIN",
        )
    allowed = {host.strip().lower() for host in environment.get(ALLOWED, "").split(",")}
    if not local and target.host not in allowed:
        raise SetupError(
            f"recordings may not be sent to {target.host}",
            fix=f"if patients' speech may leave this machine for it, set {ALLOWED}={target.host}",
            code="E_REMOTE_OFF",
        )
    key = environment.get(KEY) or (environment.get(OPENAI_KEY, "") if target.host == OPENAI_HOST else "")
    if not re.fullmatch(r"[!-~]*", key):
        raise SetupError(
            "the key for the speech server holds characters that no key has",
            fix=f"set {KEY} again, without spaces or line breaks",
            code="E_SPEECH_SERVER_KEY",
        )
    return Server(target=target, local=local, model=model, key=key)


class OpenAiSpeech:
    """A server as a recogniser."""

    sha256 = ""

    def __init__(self, server: Server, *, patience: Patience | None = None, longest_s: float = LONGEST_S) -> None:
        """Nothing is sent yet.

        Args:
            server: from ``server_at``.
            patience: how often to try, and how long to wait between; an answer has twice the time of its speech.
            longest_s: speech sent at once.
        """
        self._server = server
        self._patience = patience or Patience()
        self._longest_s = longest_s
        self._taken_s = longest_s  # less, once the server has found something too large
        self._format = 0

    @property
    def name(self) -> str:
        """Host, port and model."""
        return f"{PREFIX}{self._server.target.shown}#{self._server.model}"

    @property
    def notice(self) -> str:
        """That the recording leaves this machine, where it does."""
        return "" if self._server.local else f"the recording is sent to {self._server.target.shown}"

    def hear(self, samples: Samples, *, speech: Sequence[Span], progress: Progress) -> Heard:
        """See ``Recogniser``.

        Raises:
            SetupError: the server is down, unknown, wants another key or lies elsewhere.
            ModelError: it failed, refused or gave no usable answer.
        """
        heard = hear_speech(self._chunk, samples, speech, self._longest_s, progress)
        where = self._server.target.shown
        flags = [Flag(code="F_SPEECH_SERVER", text=f"recognised by {where}; which weights it used is not known")]
        if not self._server.local:
            flags.append(Flag(code="F_AUDIO_SENT", text=f"the recording was sent to {where}"))
        return Heard(words=heard.words, flags=(*(flags if speech else ()), *heard.flags))

    def _chunk(self, samples: Samples, span: Span) -> Heard:
        length_s = span[1] - span[0]
        if length_s > self._taken_s:
            return self._halves(samples, span)
        reply = self._ask(samples)
        if reply.status == 413 and length_s > SHORTEST_S:
            self._taken_s = max(SHORTEST_S, length_s / 2)
            return self._halves(samples, span)
        answer = read_answer(reply, self._server.target.shown)
        offered, flags = answer_words(answer, span)
        return Heard(words=worded(answer_text(answer), offered, span), flags=flags)

    def _halves(self, samples: Samples, span: Span) -> Heard:
        """Heard in two parts, for a server that takes no more at once."""
        middle = _quietest(samples)
        at_s = span[0] + middle / SAMPLE_RATE_HZ
        parts = [self._chunk(samples[:middle], (span[0], at_s)), self._chunk(samples[middle:], (at_s, span[1]))]
        flags = dict.fromkeys(flag for part in parts for flag in part.flags)
        return Heard(words=tuple(word for part in parts for word in part.words), flags=tuple(flags))

    def _ask(self, samples: Samples) -> Reply:
        """The server's reply, in the richest form that it has."""
        headers = {"Authorization": f"Bearer {self._server.key}"} if self._server.key else {}
        sound = wav_bytes(samples)
        wait_s = LEAST_WAIT_S + SECONDS_A_SECOND * len(samples) / SAMPLE_RATE_HZ
        fixed = (("model", self._server.model), ("language", "en"), ("temperature", "0"))
        while True:
            fields = (*fixed, *_FORMATS[self._format])
            reply = post(self._server.target, fields, sound, headers, self._patience.for_answers(wait_s))
            if reply.status not in _NOT_TAKEN or self._format + 1 == len(_FORMATS):
                return reply
            self._format += 1


def wav_bytes(samples: Samples) -> bytes:
    """A 16-bit mono WAV of samples at 16 kHz; without loss where they came from one."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(np.clip(np.round(samples * 32768), -32768, 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def _quietest(samples: Samples) -> int:
    """The quietest tenth of a second in the middle half."""
    step = SAMPLE_RATE_HZ // 10
    low = len(samples) // 4
    middle = samples[low : low + len(samples) // 2 // step * step].reshape(-1, step)
    return low + int((middle**2).sum(axis=1).argmin()) * step + step // 2


def _split(address: str) -> tuple[Target, str]:
    """Where to post, and the model."""
    url, _, model = address.removeprefix(PREFIX).partition("#")
    fix = "write openai:http://127.0.0.1:8000/v1, and #MODEL behind it where the server has several"
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise UsageError(
            "the address of the speech server is no URL", fix=fix, code="E_SPEECH_SERVER_ADDRESS"
        ) from None
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[\w.:-]+", host, re.ASCII):
        raise UsageError("the address of the speech server is no http URL", fix=fix, code="E_SPEECH_SERVER_ADDRESS")
    if "@" in parts.netloc or parts.query:
        fix = f"put the key into {KEY}, and nothing but the path behind the host"
        raise UsageError("the speech server's address holds more than a place", fix=fix, code="E_SPEECH_SERVER_ADDRESS")
    if not re.fullmatch(r"[!-~]*", parts.path) or not model.isprintable():
        raise UsageError("the speech server's address holds odd letters", fix=fix, code="E_SPEECH_SERVER_ADDRESS")
    path = parts.path.rstrip("/") or "/v1"
    secure = parts.scheme == "https"
    target = Target(
        secure=secure,
        host=host,
        port=port or (443 if secure else 80),
        path=path if path.endswith(ENDPOINT) else path + ENDPOINT,
        only_loopback=_is_loopback(host),
    )
    return target, model or DEFAULT_MODEL


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
