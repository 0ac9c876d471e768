"""What is started and stopped: as a context manager, and as a process."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

from sidecar.demo.errors import StartError
from sidecar.demo.logs import LogFile


class Running:
    """Started when a block is entered, stopped when it is left."""

    async def start(self) -> None:
        """Start it."""
        raise NotImplementedError

    async def stop(self) -> object:
        """Stop it; once more does no harm."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Stop."""
        await self.stop()


class Program(Running):
    """A process in a session of its own, so that its children end with it."""

    GRACE_SECONDS: ClassVar[float] = 15.0
    """How long it may take to end in order."""

    def __init__(self, stdout: LogFile, stderr: LogFile) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Its process id; 0 when it does not run."""
        return self._process.pid if self._process else 0

    async def stop(self, grace_seconds: float | None = None) -> int:
        """End it in order, and return its exit code; it and its children are killed after the grace time."""
        process, self._process = self._process, None
        if process is None:
            return 0
        signal_group(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(self.GRACE_SECONDS if grace_seconds is None else grace_seconds):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            signal_group(process, signal.SIGKILL)
            code = await process.wait()
        return code

    async def _launch(self, *command: str | Path, env: Mapping[str, str], cwd: Path | None = None) -> int:
        """Start the process; its output is appended to the logs. Returns its id."""
        with self.stdout.path.open("ab") as stdout, self.stderr.path.open("ab") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                cwd=cwd,
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        return self._process.pid

    async def _await_ready(self, what: str, ready: Awaitable[object], timeout_seconds: float) -> None:
        """Wait until the launched process is ready; end it when it is not.

        Raises:
            StartError: It ended, or was not ready in time; carries the end of its output.
        """
        assert self._process is not None  # noqa: S101 - it was launched
        waiting, ended = asyncio.ensure_future(ready), asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait({waiting, ended}, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                waiting.result()
                return
            late = f"it was not ready within {timeout_seconds:g} s"
            reason = f"it ended with status {ended.result()}" if ended.done() else late
            logs = {log.path: log for log in (self.stdout, self.stderr)}.values()
            raise StartError(what, reason, [line for log in logs for line in log.tail()])  # noqa: TRY301 - it is ended as after any failure
        except BaseException:
            await self.stop(grace_seconds=1.0)
            raise
        finally:
            for future in (waiting, ended):
                future.cancel()
            await asyncio.gather(waiting, ended, return_exceptions=True)


def signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Signal a process that leads its group, and its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
