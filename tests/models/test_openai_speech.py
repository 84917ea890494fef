"""openai_speech.py against a real server process on loopback, which recognises with the small model or misbehaves."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from medvox.data.results import Transcript
from medvox.data.utterance import read_utterance
from medvox.demo import SAMPLES
from medvox.dictate import transcribe
from medvox.encode.voice import speech_segments
from medvox.errors import MedvoxError, ModelError, SetupError, UsageError
from medvox.models.http_post import Patience, Target, post
from medvox.models.openai_speech import OpenAiSpeech, server_at, wav_bytes
from medvox.models.recogniser import Heard
from medvox.types import Samples, no_progress

QUESTION = SAMPLES / "question.wav"
SERVER = Path(__file__).parents[1] / "speech_server.py"
HASTY = Patience(tries=3, pause_s=0.01, longest_pause_s=2.0, answer_s=60.0)
TEXT = '{"text": "no nodule"}'


class Running:
    """A server process."""

    def __init__(self, *words: str | Path) -> None:
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SERVER.parents[1] / "src")}
        self.process = subprocess.Popen(
            [sys.executable, SERVER, *words], stdout=subprocess.PIPE, text=True, env=env, stdin=subprocess.DEVNULL
        )
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())

    def address(self, *replies: dict[str, Any], scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"openai:{scheme}://{host}:{self.port}/{script(*replies)}/v1"

    def seen(self, *replies: dict[str, Any]) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/seen") as answer:
            return [post for post in json.load(answer) if post["script"] == script(*replies)]


def script(*replies: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(list(replies)).encode()).decode()


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    running = Running()
    yield running
    running.process.kill()
    running.process.wait()


@pytest.fixture(scope="module")
def here() -> Transcript:
    """What the same model hears without a server."""
    return transcribe(QUESTION)


@pytest.fixture(scope="module")
def question() -> Samples:
    return read_utterance(QUESTION).samples


def hear(
    address: str, samples: Samples, environment: dict[str, str] | None = None, *, patience: Patience = HASTY,
    longest_s: float = 600.0,
) -> Heard:  # fmt: skip
    recogniser = OpenAiSpeech(server_at(address, environment or {}), patience=patience, longest_s=longest_s)
    speech = [(segment.start_s, segment.end_s) for segment in speech_segments(samples)]
    return recogniser.hear(samples, speech=speech, progress=no_progress)


def failure(address: str, samples: Samples, **settings: Any) -> MedvoxError:
    with pytest.raises(MedvoxError) as caught:
        hear(address, samples, **settings)
    return caught.value


def say(body: str = TEXT, **more: Any) -> dict[str, Any]:
    return {"do": "say", "body": body, **more}


@pytest.mark.parametrize("shape", ["openai", "probability", "nested"])
def test_a_server_hears_what_its_model_hears_here(
    server: Running, question: Samples, here: Transcript, shape: str
) -> None:
    heard = hear(server.address({"shape": shape}), question)
    assert heard.text == here.text
    ends = {word.word: word.end_s for word in here.words}
    for word in heard.words:
        if word.text in ends:
            assert word.end_s == pytest.approx(ends[word.text], abs=0.1)  # less the silence that was not sent


def test_a_word_that_was_written_short_has_the_time_and_the_least_confidence_of_its_words(
    server: Running, question: Samples, here: Transcript
) -> None:
    heard = hear(server.address({"shape": "probability"}), question)
    (short,) = [word for word in heard.words if word.text == "CT"]
    letters = [word for word in here.words if word.word in ("c", "t")]
    assert short.confidence == pytest.approx(min(word.confidence for word in letters), abs=0.05)
    assert "F_CONFIDENCE_OF_SENTENCES" not in {flag.code for flag in heard.flags}


def test_confidence_of_sentences_is_said_to_be_no_more(server: Running, question: Samples) -> None:
    heard = hear(server.address({"shape": "openai"}), question)
    assert len({word.confidence for word in heard.words}) == 1
    assert "F_CONFIDENCE_OF_SENTENCES" in {flag.code for flag in heard.flags}


def test_a_server_without_word_times_is_asked_for_less(server: Running, question: Samples, here: Transcript) -> None:
    replies = {"refuses": ["word"]}
    assert hear(server.address(replies), question).text == here.text
    assert [dict(seen["fields"])["response_format"] for seen in server.seen(replies)] == ["verbose_json"] * 2


def test_a_server_with_text_only_gives_words_of_unknown_confidence(
    server: Running, question: Samples, here: Transcript
) -> None:
    replies = {"refuses": ["verbose_json"]}
    heard = hear(server.address(replies), question)
    assert heard.text == here.text
    assert {word.confidence for word in heard.words} == {None}
    assert "F_CONFIDENCE_UNKNOWN" in {flag.code for flag in heard.flags}


def test_what_is_sent(server: Running, question: Samples) -> None:
    replies = say(what="sent")
    hear(server.address(replies) + "#Systran/small", question)
    (seen,) = server.seen(replies)
    assert seen["path"] == "/v1/audio/transcriptions"
    assert dict(seen["fields"])["model"] == "Systran/small"
    assert ("timestamp_granularities[]", "word") in [tuple(field) for field in seen["fields"]]
    assert seen["authorization"] is None
    assert seen["file"] == "speech.wav"  # never the name of the recording


def test_the_sound_arrives_as_it_is(server: Running) -> None:
    written = np.random.default_rng(0).integers(-32_768, 32_768, 16_000).astype(np.int16)
    content = wav_bytes((written / 32_768).astype(np.float32))
    read, rate = soundfile.read(io.BytesIO(content), dtype="int16")
    assert (rate, read.tolist()) == (16_000, written.tolist())
    replies = say(what="sound")
    post(server_at(server.address(replies), {}).target, (("model", "m"),), content, {}, HASTY)
    assert server.seen(replies)[0]["sha256"] == hashlib.sha256(content).hexdigest()


def test_overdriven_sound_does_not_wrap() -> None:
    read, _ = soundfile.read(io.BytesIO(wav_bytes(np.float32([1.0, 2.0, -1.0, -2.0]))), dtype="int16")
    assert read.tolist() == [32_767, 32_767, -32_768, -32_768]


def test_a_long_recording_is_cut_in_pauses_and_its_times_go_on(
    server: Running, question: Samples, here: Transcript
) -> None:
    pause = np.zeros(16_000, np.float32)
    long = np.concatenate([question, pause, question, pause, question])
    replies = {"what": "long"}
    heard = hear(server.address(replies), long, longest_s=6.0)
    assert len(server.seen(replies)) == 3
    assert heard.text == " ".join([here.text] * 3)
    starts = [word.start_s for word in heard.words if word.text == "scan"]
    apart = len(question) / 16_000 + 1
    assert np.diff(starts) == pytest.approx([apart, apart], abs=0.1)


def test_a_server_that_takes_little_at_once_gets_parts(server: Running, question: Samples, here: Transcript) -> None:
    pause = np.zeros(8_000, np.float32)
    long = np.concatenate([question, pause] * 6)
    replies = {"takes_bytes": 400_000, "what": "little"}  # 12.5 s
    heard = hear(server.address(replies), long)
    assert heard.text.count("scan") == 6
    assert [seen["bytes"] > 400_000 for seen in server.seen(replies)].count(True) == 1  # it learns from one refusal
    assert [word.start_s for word in heard.words] == sorted(word.start_s for word in heard.words)


def test_silence_is_not_sent(server: Running) -> None:
    replies = say(what="silence")
    heard = hear(server.address(replies), np.zeros(48_000, np.float32))
    assert heard == Heard(words=(), flags=())
    assert server.seen(replies) == []


@pytest.mark.parametrize("failing", [{"status": 500}, {"status": 503}, {"do": "hang up"}, {"do": "cut", "body": TEXT}])
def test_a_failure_that_passes_is_tried_again(server: Running, question: Samples, failing: dict[str, Any]) -> None:
    address = server.address({**say(), **failing}, say())
    assert hear(address, question).text == "no nodule"


def test_the_pause_that_a_busy_server_names_is_kept(server: Running, question: Samples) -> None:
    replies = say(status=429, headers={"Retry-After": "1"}), say()
    assert hear(server.address(*replies), question).text == "no nodule"
    first, second = server.seen(*replies)
    assert second["at_s"] - first["at_s"] >= 1.0


def test_a_busy_server_that_wants_too_long_a_pause_is_given_up(server: Running, question: Samples) -> None:
    replies = say(status=429, headers={"Retry-After": "3600"})
    error = failure(server.address(replies), question)
    assert (error.code, len(server.seen(replies))) == ("E_SPEECH_SERVER_BUSY", 1)
    assert "3600" in error.fix


def test_tries_come_to_an_end(server: Running, question: Samples) -> None:
    replies = say(status=500, what="end")
    assert failure(server.address(replies), question).code == "E_SPEECH_SERVER_BUSY"
    assert len(server.seen(replies)) == HASTY.tries


DEEP = "[" * 20_000
BAD = {
    "html": (say("<html>log in</html>", type="text/html"), ModelError, "E_SPEECH_SERVER_ANSWER"),
    "plain": (say(TEXT, type="text/plain"), ModelError, "E_SPEECH_SERVER_ANSWER"),
    "cut json": (say('{"text": "no nod'), ModelError, "E_SPEECH_SERVER_ANSWER"),
    "no json": (say("no nodule"), ModelError, "E_SPEECH_SERVER_ANSWER"),
    "not utf-8": (say('{"text": "\xff\xfe"}'), ModelError, "E_SPEECH_SERVER_ANSWER"),
    "list": (say("[]"), ModelError, "E_SPEECH_SERVER_ANSWER"),
    "no text": (say('{"transcript": "no nodule"}'), ModelError, "E_SPEECH_SERVER_ANSWER"),
    "text null": (say('{"text": null}'), ModelError, "E_SPEECH_SERVER_ANSWER"),
    "not a number": (say('{"text": "a", "duration": NaN}'), ModelError, "E_SPEECH_SERVER_ANSWER"),
    "deep": (say(DEEP), ModelError, "E_SPEECH_SERVER_ANSWER"),
    "gzip": (say("\x1f\x8b", headers={"Content-Encoding": "gzip"}), ModelError, "E_SPEECH_SERVER_ANSWER"),
    "empty": (say('{"text": " "}'), ModelError, "E_TRANSCRIPT_EMPTY"),
    "a flood": (say(json.dumps({"text": "no " * 2000})), ModelError, "E_TRANSCRIPT_TOO_LONG"),
    "error as 200": (say('{"error": "could not decode"}'), ModelError, "E_SPEECH_SERVER_REFUSED"),
    "400": (say(status=400), ModelError, "E_SPEECH_SERVER_REFUSED"),
    "401": (say(status=401), SetupError, "E_SPEECH_SERVER_KEY"),
    "403": (say(status=403), SetupError, "E_SPEECH_SERVER_KEY"),
    "404": (say(status=404), SetupError, "E_SPEECH_SERVER_MISSING"),
    "413": (say(status=413), ModelError, "E_SPEECH_SERVER_SIZE"),
    "204": (say("", status=204), ModelError, "E_SPEECH_SERVER_ANSWER"),
    "hangs up": ({"do": "hang up", "always": True}, SetupError, "E_SPEECH_SERVER_DOWN"),
    "cut": ({"do": "cut", "body": TEXT, "always": True}, SetupError, "E_SPEECH_SERVER_DOWN"),
    "endless": ({"do": "endless"}, ModelError, "E_SPEECH_SERVER_ANSWER"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_answer_is_an_error_that_says_what_to_do(server: Running, question: Samples, name: str) -> None:
    reply, branch, code = BAD[name]
    error = failure(server.address(reply), question)
    assert (type(error), error.code) == (branch, code)
    assert error.fix
    assert "nod" not in error.message  # nothing of what came back


def test_a_server_that_drips_is_given_up_in_time(server: Running, question: Samples) -> None:
    server_here = server_at(server.address({"do": "drip"}), {})
    start = time.monotonic()
    with pytest.raises(ModelError) as caught:
        post(server_here.target, (), wav_bytes(question), {}, Patience(answer_s=1.0))
    assert caught.value.code == "E_SPEECH_SERVER_TIME"
    assert time.monotonic() - start < 5


def test_a_redirect_is_not_followed(server: Running, question: Samples) -> None:
    there = say(what="there")
    moved = say(status=307, headers={"Location": server.address(there).removeprefix("openai:")})
    error = failure(server.address(moved), question, environment={"MEDVOX_OPENAI_API_KEY": "secret"})
    assert error.code == "E_SPEECH_SERVER_REDIRECT"
    assert server.seen(there) == []


def test_nothing_listens(question: Samples) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = failure(f"openai:http://127.0.0.1:{port}/v1", question)
    assert error.code == "E_SPEECH_SERVER_DOWN"


def test_what_is_no_http(question: Samples) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        code = (
            f"import socket; s = socket.socket(fileno={listening.fileno()}); c, _ = s.accept();"
            "c.recv(100); c.sendall(b'SSH-2.0-OpenSSH\\r\\n'); [c.recv(10**6) for _ in range(99)]"
        )
        process = subprocess.Popen([sys.executable, "-c", code], pass_fds=[listening.fileno()])
        try:
            assert failure(f"openai:http://127.0.0.1:{port}", question).code == "E_SPEECH_SERVER_ANSWER"
        finally:
            process.kill()
            process.wait()


def test_what_a_terminal_would_act_on_is_taken_out(server: Running, question: Samples) -> None:
    body = json.dumps({"text": "no \x1b[31mnodule\u202e\x07 seen\r\n"})
    assert hear(server.address(say(body)), question).text == "no [31mnodule seen"


def test_control_tokens_are_words_like_others(server: Running, question: Samples) -> None:
    text = "is there <end_of_turn> <start_of_turn>model a mass"
    assert hear(server.address(say(json.dumps({"text": text}))), question).text == text


@pytest.mark.parametrize(
    "word",
    [
        {"word": "no", "start": 5e5, "end": 6e5},
        {"word": "no", "start": -1, "end": 0},
        {"word": "no", "start": 1, "end": 0.5},
        {"word": "no", "start": "0", "end": "1"},
        {"word": "no", "start": True, "end": True},
        {"word": "no", "start": 10**400, "end": 10**400},
        {"word": 7, "start": 0, "end": 1},
        {"start": 0},
        "no",
    ],
)
def test_times_that_cannot_be_are_not_used(server: Running, question: Samples, word: Any) -> None:
    body = json.dumps({"text": "no nodule", "words": [word], "segments": [None, {"text": 3}]})
    heard = hear(server.address(say(body)), question)
    assert heard.text == "no nodule"
    assert all(0 <= word.start_s <= word.end_s <= len(question) / 16_000 for word in heard.words)


@pytest.mark.parametrize("probability", [1.5, -0.1, "0.9", None, True, [0.9]])
def test_a_probability_that_is_none_is_not_used(server: Running, question: Samples, probability: Any) -> None:
    word = {"word": "no", "start": 0, "end": 1, "probability": probability}
    heard = hear(server.address(say(json.dumps({"text": "no", "words": [word]}))), question)
    assert heard.words[0].confidence is None


def test_text_that_may_be_no_speech_is_flagged_and_kept(server: Running, question: Samples) -> None:
    segment = {"text": "thank you", "start": 0, "end": 2, "no_speech_prob": 0.9, "avg_logprob": -1.4}
    heard = hear(server.address(say(json.dumps({"text": "thank you", "segments": [segment]}))), question)
    assert heard.text == "thank you"
    assert "F_NO_SPEECH_LIKELY" in {flag.code for flag in heard.flags}
    assert heard.words[0].confidence == pytest.approx(np.exp(-1.4))


def test_the_key_is_sent_and_never_shown(server: Running, question: Samples) -> None:
    replies = say(status=401, what="key")
    settings = {"MEDVOX_OPENAI_API_KEY": "sk-secret"}
    error = failure(server.address(replies), question, environment=settings)
    assert server.seen(replies)[0]["authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in f"{error.as_dict()}{server_at(server.address(replies), settings)}"


def test_the_key_for_openai_goes_to_openai_only() -> None:
    settings = {"OPENAI_API_KEY": "sk-secret", "MEDVOX_ALLOW_HOSTS": "api.openai.com, stt.example.org"}
    assert server_at("openai:https://api.openai.com/v1", settings).key == "sk-secret"
    assert server_at("openai:https://stt.example.org/v1", settings).key == ""
    assert server_at("openai:http://127.0.0.1:8000/v1", settings).key == ""


@pytest.mark.parametrize("key", ["sk secret", "sk-secret\n", "sk-sécret", "a\r\nX-Evil: 1"])
def test_a_key_that_no_header_can_hold_is_refused(key: str) -> None:
    with pytest.raises(SetupError) as caught:
        server_at("openai:http://127.0.0.1/v1", {"MEDVOX_OPENAI_API_KEY": key})
    assert caught.value.code == "E_SPEECH_SERVER_KEY"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "[::1]", "LOCALHOST"])
def test_this_machine_needs_no_leave(host: str) -> None:
    server = server_at(f"openai:http://{host}:8000/v1", {})
    assert server.local
    assert OpenAiSpeech(server).notice == ""


@pytest.mark.parametrize(
    "host", ["stt.example.org", "10.0.0.5", "0.0.0.0", "127.0.0.1.example.org", "localhost.example.org", "[fe80::1]"]
)
def test_another_machine_needs_leave_by_name(host: str) -> None:
    with pytest.raises(SetupError) as caught:
        server_at(f"openai:https://{host}/v1", {"MEDVOX_ALLOW_HOSTS": "example.org"})
    assert caught.value.code == "E_REMOTE_OFF"


def test_another_machine_is_never_asked_in_the_clear() -> None:
    with pytest.raises(SetupError) as caught:
        server_at("openai:http://stt.example.org/v1", {"MEDVOX_ALLOW_HOSTS": "stt.example.org"})
    assert caught.value.code == "E_REMOTE_PLAIN"


def test_leave_is_told_to_the_user() -> None:
    server = server_at("openai:https://STT.example.org/v1", {"MEDVOX_ALLOW_HOSTS": "stt.example.org"})
    assert OpenAiSpeech(server).notice == "the recording is sent to stt.example.org"


def test_a_name_of_this_machine_that_leads_elsewhere_is_not_used() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only picks an own address
        except OSError:
            pytest.skip("this machine has no address but loopback")
        own = probe.getsockname()[0]
    with socket.create_server((own, 0)) as listening:
        target = Target(secure=False, host=own, port=listening.getsockname()[1], path="/v1", only_loopback=True)
        with pytest.raises(SetupError) as caught:
            post(target, (), b"", {}, HASTY)
    assert caught.value.code == "E_REMOTE_OFF"


@pytest.mark.parametrize(
    ("address", "path", "model"),
    [
        ("openai:http://127.0.0.1:8000", "/v1/audio/transcriptions", "whisper-1"),
        ("openai:http://127.0.0.1:8000/", "/v1/audio/transcriptions", "whisper-1"),
        ("openai:http://127.0.0.1:8000/v1/", "/v1/audio/transcriptions", "whisper-1"),
        ("openai:http://127.0.0.1/stt/v1#large", "/stt/v1/audio/transcriptions", "large"),
        ("http://127.0.0.1/v1/audio/transcriptions#a/b", "/v1/audio/transcriptions", "a/b"),
    ],
)
def test_an_address_is_read(address: str, path: str, model: str) -> None:
    server = server_at(address, {})
    assert (server.target.path, server.model) == (path, model)


@pytest.mark.parametrize(
    "address",
    [
        "openai:", "openai:127.0.0.1:8000", "openai:ftp://127.0.0.1/v1", "openai:http:///v1", "openai:http://[::1/v1",
        "openai:http://127.0.0.1:99999/v1", "openai:http://user:word@127.0.0.1/v1", "openai:http://127.0.0.1/v1?key=1",
        "openai:http://127.0.0.1/a b", "openai:http://127.0.0.1/v1#a\nb", "openai:http://127.0.0.1 evil/v1",
        "openai:file:///etc/passwd", "openai:http://exämple.org/v1",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError) as caught:
        server_at(address, {})
    assert caught.value.code == "E_SPEECH_SERVER_ADDRESS"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "made.pem", folder / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", made]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    return made, key


def test_a_certificate_of_ones_own_must_be_trusted_first(
    certificate: tuple[Path, Path], question: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running("--tls", *certificate)
    try:
        address = running.address(say(), scheme="https")
        assert failure(address, question).code == "E_SPEECH_SERVER_TLS"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert hear(address, question).text == "no nodule"
    finally:
        running.process.kill()
        running.process.wait()
