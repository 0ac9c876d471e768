"""Link keys: what a process proves itself with after it has been verified once.

Nothing is kept for a process. An id says when its key was given, and is marked with the process that it was given to;
the secret follows from the id and from the sidecar's own secret.
"""

import hmac
import os
import secrets
import time
from pathlib import Path
from typing import Final, Self

from sidecar.identity.errors import KeyFileError

KEY_FILE: Final = "link.key"
SECRET_BYTES: Final = 32

_HALF: Final = 16
"""Hexadecimal digits: the first half of an id is its time in nanoseconds, the second its mark."""

Process = tuple[int, int]
"""Id and start in clock ticks; zeros for a process that can't be seen."""


class Keys:
    """Gives keys, and knows them again."""

    def __init__(self, secret: bytes) -> None:
        """``secret`` is the sidecar's own."""
        self._secret = secret
        self._last = 0

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """The keys of the secret in this file, which is made where there is none.

        Raises:
            KeyFileError: It can't be used, or not be made.
        """
        try:
            return cls(_kept(path) or _make(path))
        except OSError as error:
            if isinstance(error, KeyFileError):
                raise
            raise KeyFileError(path, error.strerror or str(error)) from error

    def give(self, process: Process, *, pinned: bool) -> tuple[str, str]:
        """A new key for a process: its id and its secret."""
        self._last = max(self._last + 1, time.time_ns())
        time_of_it = f"{self._last:0{_HALF}x}"
        key = time_of_it + self._mark(time_of_it, process, pinned=pinned)
        return key, self.secret_of(key)

    def is_of(self, key: str, process: Process, *, pinned: bool) -> bool:
        """We gave this key, and to this process."""
        return hmac.compare_digest(key[_HALF:], self._mark(key[:_HALF], process, pinned=pinned))

    def secret_of(self, key: str) -> str:
        """The secret of a key."""
        return self._sign(self._secret, f"link key\n{key}")

    def proves(self, key: str, proof: str, challenge: str) -> bool:
        """Whoever made this proof for our challenge holds the secret of the key."""
        return hmac.compare_digest(proof, self._sign(bytes.fromhex(self.secret_of(key)), f"gateway\n{challenge}"))

    def prove(self, key: str, nonce: str) -> str:
        """Our own proof to whoever holds a key; empty when it holds none."""
        return self._sign(bytes.fromhex(self.secret_of(key)), f"sidecar\n{nonce}") if key else ""

    def _mark(self, time_of_it: str, process: Process, *, pinned: bool) -> str:
        kind = "pin" if pinned else "process"
        return self._sign(self._secret, f"key id\n{time_of_it}\n{kind}\n{process[0]}\n{process[1]}")[:_HALF]

    @staticmethod
    def _sign(secret: bytes, text: str) -> str:
        return hmac.digest(secret, text.encode(), "sha256").hex()


def _kept(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            secret = file.read(SECRET_BYTES + 1)
    except FileNotFoundError:
        return None
    if status.st_mode & 0o077 or status.st_uid != os.geteuid():
        raise KeyFileError(path, "other users may read or write it")
    if len(secret) != SECRET_BYTES:
        raise KeyFileError(path, f"it has not {SECRET_BYTES} bytes")
    return secret


def _make(path: Path) -> bytes:
    secret = secrets.token_bytes(SECRET_BYTES)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return secret
