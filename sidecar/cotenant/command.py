"""Runs COMMAND and takes what it prints."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from sidecar.cotenant.errors import CommandError

FILE_VARIABLE: Final = "OPENCLAW_SIDECAR_SESSION_FILE"
MAX_OUTPUT_BYTES: Final = 16 << 20
_CHUNK_BYTES: Final = 1 << 16
_GRACE_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.1


def output_of(command: Sequence[str], session_file: Path, environ: Mapping[str, str]) -> bytes:
    """What COMMAND prints, to its end. Its standard input and error are ours.

    Raises:
        CommandError: It could not be run, ended with an error, or printed too much.
    """
    process = _start(command, session_file, environ, subprocess.PIPE)
    output = bytearray()
    try:
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        while chunk := process.stdout.read1(_CHUNK_BYTES):  # type: ignore[attr-defined] # a BufferedReader, typed IO
            output += chunk
            if len(output) > MAX_OUTPUT_BYTES:
                raise CommandError(f"COMMAND printed more than {MAX_OUTPUT_BYTES} bytes")
        process.wait()
    finally:
        _end(process)
    _check(command, process.returncode)
    return bytes(output)


def edit(
    command: Sequence[str],
    copy: Path,
    environ: Mapping[str, str],
    bound_seconds: float,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Have COMMAND edit a copy of the session. What it prints goes to standard error.

    Raises:
        CommandError: It could not be run, ended with an error, or took too long.
    """
    process = _start(command, copy, environ, 2)
    end = time.monotonic() + bound_seconds
    try:
        while process.poll() is None:
            check()
            if time.monotonic() > end:
                raise CommandError(
                    f"COMMAND was stopped after {bound_seconds:.0f} s: the session lock is held while it edits, and the"
                    " gateway gives up waiting for it"
                )
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_SECONDS)
    finally:
        _end(process)
    _check(command, process.returncode)


def _start(command: Sequence[str], file: Path, environ: Mapping[str, str], stdout: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, env={**environ, FILE_VARIABLE: str(file)}, stdout=stdout)
    except OSError as error:
        raise CommandError(f"COMMAND {command[0]} can't be run: {error.strerror or error}") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing running that could still print or write."""
    if process.stdout is not None:
        process.stdout.close()
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _check(command: Sequence[str], code: int) -> None:
    if code:
        how = f"with exit code {code}" if code > 0 else f"by signal {-code}"
        raise CommandError(f"COMMAND {command[0]} ended {how}")
