"""The tokens of the API: files, so that they can be made, changed and mounted without a restart."""

import os
import secrets
import stat
from enum import StrEnum
from pathlib import Path
from typing import Final

from sidecar.config.errors import TokenError

MIN_CHARACTERS: Final = 32
_BYTES: Final = 32
_MAX_BYTES: Final = 4096


class TokenKind(StrEnum):
    """What a token is good for. Its command is ``openclaw-sidecar KIND token``."""

    HOOKS = "hooks"
    """To announce writes, and nothing else."""
    API = "api"
    """To read."""

    @property
    def file_name(self) -> str:
        """In the data directory, unless the configuration names another file."""
        return f"{self.value}.token"


def read_token(path: Path, kind: TokenKind = TokenKind.HOOKS) -> str | None:
    """The token; None when there is no file.

    Raises:
        TokenError: What is there can't be used as a secret.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TokenError(kind, path, error.strerror or str(error)) from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise TokenError(kind, path, "other users may write to it")
    token = text.strip()
    if len(text) > _MAX_BYTES or not token.isascii() or any(not 32 < byte < 127 for byte in token):  # noqa: PLR2004 - printable
        raise TokenError(kind, path, "it is no line of printable ASCII")
    if len(token) < MIN_CHARACTERS:
        raise TokenError(kind, path, f"it has {len(token)} characters, and {MIN_CHARACTERS} are needed")
    return token.decode()


def known_token(path: Path) -> str:
    """The token; empty where there is none that can be used, or none for this user."""
    try:
        return read_token(path) or ""
    except TokenError:
        return ""


def make_token(path: Path, kind: TokenKind = TokenKind.HOOKS) -> str:
    """Write a new one, in the place of an old one if there is one.

    Raises:
        TokenError: It can't be written.
    """
    token = secrets.token_urlsafe(_BYTES)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"{token}\n")
        fresh.replace(path)
    except OSError as error:
        raise TokenError(kind, path, error.strerror or str(error)) from error
    finally:
        fresh.unlink(missing_ok=True)
    return token
