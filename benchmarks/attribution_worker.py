"""A process of `make bench-attribution` that does what it is told, in lines of JSON."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

SECONDS: Final = 60.0
"""So long one answer may take."""


class Worker:
    """A process that is told what to do, several things at once."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Hear nothing before `hear` runs."""
        self._process = process
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {"ready": asyncio.Future()}
        self._numbers = itertools.count(1)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ready(self) -> None:
        """Wait until it takes commands."""
        async with asyncio.timeout(SECONDS):
            await self._waiting["ready"]

    async def do(self, request: str, **what: str) -> dict[str, Any]:
        """Have something done, and wait for the answer."""
        number = str(next(self._numbers))
        self.tell(request, number, **what)
        return await self.answer(number)

    def tell(self, request: str, number: str, **what: str) -> None:
        """Have something done."""
        assert self._process.stdin is not None
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, "deed": request, **what}).encode() + b"\n")

    async def answer(self, number: str) -> dict[str, Any]:
        """The next answer to a command.

        Raises:
            RuntimeError: It failed.
        """
        async with asyncio.timeout(SECONDS):
            heard = await self._waiting[number]
        if "error" in heard:
            raise RuntimeError(heard["error"])
        return heard

    async def hear(self) -> None:
        """Pass on what it says until it ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            heard = json.loads(line)
            waiting = self._waiting.get(str(heard["id"]))
            if waiting is not None and not waiting.done():
                waiting.set_result(heard)


@asynccontextmanager
async def working(command: Sequence[str | Path], environment: Mapping[str, str], errors: Path) -> AsyncIterator[Worker]:
    """Have a process at work, and end it.

    Args:
        command: What to run.
        environment: All of it.
        errors: The file that gets what it says to stderr.
    """
    with errors.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            cwd=Path(__file__).parents[1],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            limit=1 << 22,
            start_new_session=True,
        )
    worker = Worker(process)
    hearing = asyncio.create_task(worker.hear())
    try:
        await worker.ready()
        yield worker
    except (RuntimeError, TimeoutError) as error:
        error.add_note(await asyncio.to_thread(_tail, errors))
        raise
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await hearing


def _tail(file: Path) -> str:
    return file.read_text(errors="replace")[-1500:]
