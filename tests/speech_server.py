"""A transcription server for tests, in a process of its own: it really recognises, and misbehaves on request.

    python tests/speech_server.py [--tls CERTIFICATE KEY]      prints its port

``POST /SCRIPT/v1/audio/transcriptions``: SCRIPT is base64 of a JSON list of replies; the n-th post to the same path
gets the n-th reply, later ones the last. ``GET /seen`` gives every post as it arrived. A reply is a dict with

- ``do``: ``hear`` (the small model transcribes, the default), ``say`` (the ``body``), ``cut`` (says it, but promises
  more), ``drip`` (a byte now and then), ``endless`` or ``hang up``;
- ``status``, ``type``, ``headers``, ``body``;
- ``shape`` of what was heard: ``openai``, ``probability`` (words have one), ``nested`` (words inside segments);
- ``refuses``: form values that are answered with 400, as servers do that lack a format;
- ``takes_bytes``: larger posts get 413.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import sys
import tempfile
import threading
import time
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SEEN: list[dict[str, Any]] = []
LOCK = threading.Lock()
ENDPOINT = "/v1/audio/transcriptions"


def transcription(sound: bytes, response_format: str, shape: str) -> dict[str, Any]:
    """What the small model hears, in one of the shapes that servers give."""
    from medvox.catalog import DEFAULT_ASR, resolve_model
    from medvox.dictate import transcribe
    from medvox.models.speech_model import load_speech_model
    from medvox.report.subtitles import as_verbose_json

    with LOCK, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        path.write_bytes(sound)
        if not hasattr(transcription, "model"):
            transcription.model = load_speech_model(resolve_model(DEFAULT_ASR))
        heard = transcribe(path, transcription.model)
    if response_format == "json":
        return {"text": heard.text}
    answer = as_verbose_json(heard)
    if shape == "probability":
        for word, own in zip(answer["words"], heard.words, strict=True):
            word["probability"] = own.confidence
    if shape == "nested":
        words = answer.pop("words")
        for segment in answer["segments"]:
            segment["words"] = [word for word in words if segment["start"] <= word["start"] <= segment["end"]]
    return answer


class Handler(BaseHTTPRequestHandler):
    """Answers as the script in the path says."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *words: Any) -> None:
        pass

    def do_GET(self) -> None:
        assert self.path == "/seen"
        self.reply(200, "application/json", json.dumps(SEEN).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.close_connection = True
        script = self.path.split("/")[1]
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = list(BytesParser(policy=HTTP).parsebytes(head + body).iter_parts())
        named = [(part.get_param("name", header="content-disposition"), part) for part in parts]
        sound = next(part for name, part in named if name == "file").get_payload(decode=True)
        fields = [(name, part.get_payload(decode=True).decode()) for name, part in named if name != "file"]
        with LOCK:
            before = sum(post["script"] == script for post in SEEN)
            SEEN.append(
                {
                    "script": script,
                    "path": self.path.removeprefix(f"/{script}"),
                    "fields": fields,
                    "authorization": self.headers["Authorization"],
                    "file": next(part.get_filename() for name, part in named if name == "file"),
                    "sha256": hashlib.sha256(sound).hexdigest(),
                    "bytes": len(body),
                    "at_s": time.monotonic(),
                }
            )
        replies = json.loads(base64.urlsafe_b64decode(script))
        self.act(replies[min(before, len(replies) - 1)], dict(fields), {value for _, value in fields}, sound, len(body))

    def act(self, reply: dict[str, Any], fields: dict[str, str], values: set[str], sound: bytes, size: int) -> None:
        do = reply.get("do", "hear")
        if values & set(reply.get("refuses", ())):
            self.reply(400, "application/json", b'{"error": {"message": "not offered"}}')
        elif size > reply.get("takes_bytes", size):
            self.reply(413, "text/html", b"<html>too large</html>")
        elif do == "hang up":
            self.connection.close()
        else:
            self.answer(do, reply, fields, sound)

    def answer(self, do: str, reply: dict[str, Any], fields: dict[str, str], sound: bytes) -> None:
        content = reply.get("body", "").encode("latin-1")
        if do == "hear":
            heard = transcription(sound, fields["response_format"], reply.get("shape", "openai"))
            content = json.dumps(heard).encode()
        head = {"Content-Length": str(len(content) + 100)} if do == "cut" else reply.get("headers", {})
        if do in ("drip", "endless"):
            head = {"Content-Length": str(10**10)}
        self.reply(reply.get("status", 200), reply.get("type", "application/json"), content, head)
        while do in ("drip", "endless"):
            self.wfile.write(b" " * (1 if do == "drip" else 2**20))
            self.wfile.flush()
            time.sleep(0.05 if do == "drip" else 0)

    def reply(self, status: int, kind: str, content: bytes, head: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(head or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def main() -> None:
    server = QuietServer(("127.0.0.1", 0), Handler)
    if sys.argv[1:2] == ["--tls"]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
