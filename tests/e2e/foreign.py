"""Writers that the gateway knows nothing of: each act is done by a process of its own."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from sidecar.demo.errors import ForeignActError

TIMEOUT_SECONDS = 30.0


class ForeignVerb(StrEnum):
    """What a foreign process does to a session file."""

    APPEND = "append"
    """Adds a user's message that hangs on the last record."""
    APPEND_UNDER_LOCK = "append-under-lock"
    """The same, while a writer of the gateway is at work on the file; see `armed_append`."""
    TOUCH = "touch"
    """Sets its times."""
    CHMOD = "chmod"
    """Flips a permission."""
    HARD_LINK = "hard-link"
    """Gives it a second name."""
    REPLACE_WITH_COPY = "replace-with-copy"
    """Renames an identical copy onto it."""
    REWRITE_IN_PLACE = "rewrite-in-place"
    """Changes bytes, keeps length and modification time."""


@dataclass(frozen=True, slots=True)
class ForeignAct:
    """What was done, as the process that did it reports.

    Attributes:
        pid: The process; it has ended.
        exe: Its executable.
        offset: First changed byte; -1 when no byte was.
        length_bytes: How many bytes were added or changed.
        under_lock: The lock was still there after the write; only `ForeignVerb.APPEND_UNDER_LOCK` looks.
    """

    pid: int
    exe: Path
    offset: int = -1
    length_bytes: int = 0
    under_lock: bool = False


@dataclass(frozen=True, slots=True)
class ArmedAppend:
    """A foreign process that appends as soon as a writer of the gateway is at work."""

    _process: asyncio.subprocess.Process = field(repr=False)

    async def done(self) -> ForeignAct:
        """Wait until it has appended.

        Raises:
            TimeoutError: No writer came.
        """
        return await _report(ForeignVerb.APPEND_UNDER_LOCK, self._process)


async def act(verb: ForeignVerb, session_file: Path, text: str = "A stranger was here.") -> ForeignAct:
    """Do something to a session file from another process, and wait until it is done.

    Args:
        verb: What to do.
        session_file: The file; `ForeignVerb.APPEND` creates it when it is missing.
        text: The message that an append adds.

    Raises:
        ForeignActError: It could not be done.
    """
    process = await _start(verb, session_file, text)
    try:
        return await _report(verb, process)
    finally:
        await _end(process)


@asynccontextmanager
async def armed_append(session_file: Path, text: str = "A stranger was here.") -> AsyncIterator[ArmedAppend]:
    """Have a foreign process wait for the session's next writer; within the block it is ready."""
    process = await _start(ForeignVerb.APPEND_UNDER_LOCK, session_file, text)
    try:
        if process.stdout is None or not await process.stdout.readline():
            await _report(ForeignVerb.APPEND_UNDER_LOCK, process)
        yield ArmedAppend(process)
    finally:
        await _end(process)


async def _start(verb: ForeignVerb, session_file: Path, text: str) -> asyncio.subprocess.Process:
    script = Path(__file__).with_name("intruder.py")
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", script, verb, session_file, text),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def _report(verb: ForeignVerb, process: asyncio.subprocess.Process) -> ForeignAct:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        output, errors = await process.communicate()
    if process.returncode:
        raise ForeignActError(verb, errors.decode("utf-8", "replace"))
    done: dict[str, Any] = json.loads(output.splitlines()[-1])
    return ForeignAct(
        pid=done["pid"],
        exe=Path(done["exe"]),
        offset=done.get("offset", -1),
        length_bytes=done.get("length", 0),
        under_lock=bool(done.get("under_lock")),
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.communicate()
