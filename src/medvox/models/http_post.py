"""A sound and some fields -> a server's reply: one multipart POST, with limits on time and size and with patience.

Under ``openai_speech``. Follows no redirect, uses no proxy, asks for no compression; its errors show neither what was
sent nor what came back. Knows nothing of speech.
"""

from __future__ import annotations

import email.utils
import http.client
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address

from medvox.errors import MedvoxError, ModelError, SetupError

REPLY_BYTES = 8 * 2**20
CONNECT_S = 10.0
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_BUSY = (429, 503)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where to post. ``only_loopback``: the host is this machine, and no name server may say otherwise."""

    secure: bool
    host: str
    port: int
    path: str
    only_loopback: bool

    @property
    def shown(self) -> str:
        """Host and port, for messages."""
        usual = 443 if self.secure else 80
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == usual else f"{host}:{self.port}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How often to try, and for how long.

    Attributes:
        tries: posts in all, where the server is busy, fails or cannot be reached.
        pause_s: before the second try; doubled before each further one, unless the server names a time.
        longest_pause_s: a server that wants a longer one is given up.
        answer_s: for one try, from connecting to the last byte.
    """

    tries: int = 4
    pause_s: float = 0.5
    longest_pause_s: float = 30.0
    answer_s: float = 120.0

    def for_answers(self, answer_s: float) -> Patience:
        """With another time for a try, if that is longer than its own."""
        return replace(self, answer_s=max(self.answer_s, answer_s))


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came back: status, content type in lower case without parameters, and the bytes."""

    status: int
    content_type: str
    body: bytes
    retry_after: str = ""


def post(
    target: Target, fields: Sequence[tuple[str, str]], sound: bytes, headers: Mapping[str, str], patience: Patience
) -> Reply:
    """Posts a WAV as ``file`` and the fields, trying again where that can help.

    Returns:
        the reply, whatever its status, unless that says to try again.

    Raises:
        SetupError: the server cannot be reached (``E_SPEECH_SERVER_DOWN``), or its certificate is not good
            (``E_SPEECH_SERVER_TLS``).
        ModelError: it took too long (``E_SPEECH_SERVER_TIME``), stayed busy or failed (``E_SPEECH_SERVER_BUSY``), or
            its reply is no HTTP or too large (``E_SPEECH_SERVER_ANSWER``).
    """
    boundary = secrets.token_hex(16)
    body = _multipart(fields, sound, boundary)
    heads = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Accept": "application/json", **headers}
    pause_s = patience.pause_s
    for left in range(patience.tries - 1, -1, -1):
        try:
            reply = _post_once(target, body, heads, patience.answer_s)
        except ssl.SSLError as error:
            raise _unsafe(target, error) from None
        except (OSError, http.client.IncompleteRead) as error:
            failure: MedvoxError = _unreached(target, error)
            wanted_s = pause_s
        else:
            if reply.status not in _AGAIN:
                return reply
            failure = _failed(target, reply)
            wanted_s = _seconds(reply.retry_after, pause_s)
        if left == 0 or wanted_s > patience.longest_pause_s:
            raise failure
        time.sleep(wanted_s)
        pause_s *= 2
    raise AssertionError("the last try returns or raises")


def _post_once(target: Target, body: bytes, headers: Mapping[str, str], answer_s: float) -> Reply:
    """One exchange; a timer shuts the connection when its time is over, wherever it waits."""
    connection = _connection(target)
    over = threading.Event()
    try:
        connection.connect()
        wire = connection.sock
        if target.only_loopback and not ip_address(wire.getpeername()[0]).is_loopback:
            fix = "write 127.0.0.1 instead"
            raise SetupError(f"{target.host} is not this machine here", fix=fix, code="E_REMOTE_OFF")
        wire.settimeout(answer_s)
        timer = threading.Timer(answer_s, _shut, (wire, over))
        timer.daemon = True
        timer.start()
        try:
            return _exchange(connection, target, body, headers)
        finally:
            timer.cancel()
    except (OSError, http.client.HTTPException) as error:
        if over.is_set():
            raise _too_slow(target, answer_s) from None
        if isinstance(error, OSError | http.client.IncompleteRead):
            raise
        raise _unusable(target, "is no HTTP") from None
    finally:
        connection.close()


def _shut(wire: socket.socket, over: threading.Event) -> None:
    over.set()
    with suppress(OSError):
        socket.socket.shutdown(wire, socket.SHUT_RDWR)  # also under TLS, which would wait for its own good-bye


def _exchange(connection: http.client.HTTPConnection, target: Target, body: bytes, headers: Mapping[str, str]) -> Reply:
    with suppress(BrokenPipeError, ConnectionResetError):  # a server may refuse a large body before it has read it
        connection.request("POST", target.path, body, dict(headers))
    response = connection.getresponse()
    content = response.read(REPLY_BYTES + 1)
    if len(content) > REPLY_BYTES:
        raise _unusable(target, f"has more than {REPLY_BYTES // 2**20} MiB")
    if response.length:
        raise http.client.IncompleteRead(content, response.length)
    return Reply(
        status=response.status,
        content_type=response.headers.get_content_type(),
        body=content,
        retry_after=response.headers.get("Retry-After", ""),
    )


def _connection(target: Target) -> http.client.HTTPConnection:
    if target.secure:
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(target.host, target.port, timeout=CONNECT_S, context=context)
    return http.client.HTTPConnection(target.host, target.port, timeout=CONNECT_S)


def _multipart(fields: Sequence[tuple[str, str]], sound: bytes, boundary: str) -> bytes:
    """The form; the file's own name stays at home, it may name a patient."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="speech.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    )
    return "".join(parts).encode() + sound + f"\r\n--{boundary}--\r\n".encode()


def _seconds(retry_after: str, usual_s: float) -> float:
    """``Retry-After`` as seconds from now: a number or a date; ``usual_s`` where it is neither."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return usual_s
    return max(0.0, moment.timestamp() - time.time())


def _unsafe(target: Target, error: ssl.SSLError) -> SetupError:
    return SetupError(
        f"no safe connection to {target.shown}: {error.reason or 'its certificate was not accepted'}",
        fix="check the address; a certificate of your own goes into the system's store, or into SSL_CERT_FILE",
        code="E_SPEECH_SERVER_TLS",
    )


def _unreached(target: Target, error: Exception) -> SetupError:
    told = "broke off its answer" if isinstance(error, http.client.IncompleteRead) else "cannot be reached"
    return SetupError(
        f"the speech server {target.shown} {told}",
        fix="start it, or check the address: host, port and path",
        code="E_SPEECH_SERVER_DOWN",
    )


def _failed(target: Target, reply: Reply) -> ModelError:
    if reply.status in _BUSY:
        named_s = _seconds(reply.retry_after, 0.0)
        fix = f"try again in {named_s:.0f} s" if named_s else "try again later"
        return ModelError(
            f"the speech server {target.shown} is busy ({reply.status})", fix=fix, code="E_SPEECH_SERVER_BUSY"
        )
    return ModelError(
        f"the speech server {target.shown} failed ({reply.status})",
        fix="see its log, or use another speech model",
        code="E_SPEECH_SERVER_BUSY",
    )


def _too_slow(target: Target, answer_s: float) -> ModelError:
    return ModelError(
        f"the speech server {target.shown} gave no whole answer within {answer_s:.0f} s",
        fix="check that it is idle, or use a smaller speech model there",
        code="E_SPEECH_SERVER_TIME",
    )


def _unusable(target: Target, what: str) -> ModelError:
    return ModelError(
        f"the answer of the speech server {target.shown} {what}",
        fix="check that the address is that of a /v1/audio/transcriptions server",
        code="E_SPEECH_SERVER_ANSWER",
    )
