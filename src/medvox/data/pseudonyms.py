"""The secret key of a project, and what is made from it: stable UIDs, patient codes, date shifts and file names.

Used by ``deidentify`` and the verb ``deid``. Whoever lacks the key can neither repeat nor reverse a mapping; the same
key gives the same mapping in every run. Knows no data set.

Source: DICOM PS3.5 B.2 (UIDs derived from a UUID, root 2.25), RFC 2104 (HMAC).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from medvox.errors import InputError, SetupError

KEY_BYTES = 32
MAX_SHIFT_DAYS = 3652
STANDARD_ROOT = "1.2.840.10008."


class Pseudonyms:
    """Everything that is replaced by a code under one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def of_this_run(cls) -> Pseudonyms:
        """A fresh random key that is forgotten afterwards: consistent within the run, never again."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @property
    def fingerprint(self) -> str:
        """Tells two keys apart without telling anything about them."""
        return self._digest("fingerprint", "").hex()[:16]

    def uid(self, uid: str) -> str:
        """The replacement of an instance UID (root 2.25). UIDs that the standard defines stay as they are."""
        if uid.startswith(STANDARD_ROOT):
            return uid
        return f"2.25.{int.from_bytes(self._digest('uid', uid)[:16], 'big')}"

    def patient(self, identity: str) -> str:
        """The code of a patient: 13 capital letters and digits."""
        return "P" + base64.b32encode(self._digest("patient", identity)[:10]).decode("ascii")[:12]

    def shift_days(self, identity: str) -> int:
        """By how many days a patient's dates move: the same for all of them, -1 to about -10 years."""
        return -1 - int.from_bytes(self._digest("dates", identity)[:8], "big") % MAX_SHIFT_DAYS

    def file_name(self, content: bytes) -> str:
        """A name for a file made from its content: 24 hexadecimal digits."""
        return self._digest("file", hashlib.sha256(content).hexdigest()).hex()[:24]

    def _digest(self, purpose: str, value: str) -> bytes:
        return hmac.new(self._key, f"{purpose}\0{value}".encode(errors="surrogateescape"), hashlib.sha256).digest()


def read_key(path: Path) -> Pseudonyms:
    """The key in a file; the file is made, readable by its owner only, where there is none.

    Raises:
        InputError: the file holds no key (``E_DEID_KEY``).
        SetupError: others may read the file (``E_DEID_KEY_OPEN``), or it cannot be read or made (``E_DEID_KEY``).
    """
    try:
        if not path.exists():
            _write_key(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise SetupError(
                f"other users may read the key {path.name}",
                code="E_DEID_KEY_OPEN",
                fix=f"Take their rights away: chmod 600 {path.name}",
            )
        with path.open("rb") as file:
            text = file.read(4 * KEY_BYTES)
    except OSError as error:
        raise SetupError(
            f"the key {path.name} cannot be read or made ({type(error).__name__})",
            code="E_DEID_KEY",
            fix="Name a file in a folder that exists and that you may write to.",
        ) from error
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise InputError(
            f"{path.name} holds no key of {2 * KEY_BYTES} hexadecimal digits",
            code="E_DEID_KEY",
            fix="Name the key file of the project, or a file that does not exist yet to have a key made.",
        )
    return Pseudonyms(key)


def _write_key(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_hex(KEY_BYTES).encode("ascii") + b"\n")
