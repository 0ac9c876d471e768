"""The work of `make bench-attribution`: sessions whose fence is set while several processes write to them at once."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import sys
import tempfile
import time
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.attribution_foreign import DEEDS
from sidecar.core.witness import LATE_NS
from sidecar.demo.companion import Companion
from sidecar.demo.packages import default_cache_dir, ensure_gateway
from sidecar.preload import preload_path
from tests.compat.catalogue import NODE_FROM
from tests.compat.measure import HARNESS
from tests.compat.packs import ensure_release, ensure_session_manager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

FOREIGN_SHARE: Final = 0.05
GATEWAYS: Final = 2
COTENANTS: Final = 2
STRANGERS: Final = 2
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - only ever as the parent of a directory of our own
"""Where the work is done if there is one: how fast a disk that others use, too, syncs is not what is measured."""

SECONDS: Final = 60.0
_NS_PER_SECOND: Final = 1_000_000_000


class Label(StrEnum):
    """Who makes a change."""

    INSIDE = "co-tenant in the run's process"
    OUTSIDE = "co-tenant in another process"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Planned:
    """One change, as it is labelled before anything happens.

    Attributes:
        label: Who makes it.
        deed: What is done; one of `DEEDS` for a stranger, an append under the lock else.
        marker: Unique text in what is written, where something is written that can hold it.
    """

    label: Label
    deed: str
    marker: str


@dataclass(slots=True)
class Played:
    """One window, and what came of it.

    Attributes:
        file: The session file.
        changes: What was done in the window.
        checks: What the run's calls of the controller gave: ok, or the name of the error.
        stopped: The gateway's fence stopped the run.
        strangers: Pids of those who made the foreign changes.
    """

    file: Path
    changes: tuple[Planned, ...]
    checks: tuple[str, ...] = ()
    stopped: bool = False
    strangers: set[int] = field(default_factory=set)

    @property
    def foreign(self) -> bool:
        """A stranger has changed the file."""
        return any(c.label is Label.FOREIGN for c in self.changes)


@dataclass(frozen=True, slots=True)
class Work:
    """All of it.

    Attributes:
        windows: Each with its changes.
        seconds: How long it took.
        data_dir: The sidecar's, which has stopped.
        status: The sidecar's last.
    """

    windows: tuple[Played, ...]
    seconds: float
    data_dir: Path
    status: dict[str, Any]


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

    async def do(self, deed: str, **what: str) -> dict[str, Any]:
        """Have something done, and wait for the answer."""
        number = str(next(self._numbers))
        self.tell(deed, number, **what)
        return await self.answer(number)

    def tell(self, deed: str, number: str, **what: str) -> None:
        """Have something done."""
        assert self._process.stdin is not None
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, "deed": deed, **what}).encode() + b"\n")

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


def plan(count: int, seed: int) -> list[tuple[Planned, ...]]:
    """Windows of one to four changes, ``count`` in all, of which exactly `FOREIGN_SHARE` are foreign."""
    rng = random.Random(seed)
    foreign = round(count * FOREIGN_SHARE)
    labels = [Label.FOREIGN] * foreign
    labels += [rng.choice((Label.INSIDE, Label.OUTSIDE)) for _ in range(count - foreign)]
    rng.shuffle(labels)
    deeds = itertools.cycle(DEEDS)
    changes = [
        Planned(c, next(deeds) if c is Label.FOREIGN else "write", uuid.UUID(int=rng.getrandbits(128)).hex)
        for c in labels
    ]
    windows: list[tuple[Planned, ...]] = []
    while changes:
        size = rng.randint(1, 4)
        windows.append(tuple(changes[:size]))
        del changes[:size]
    return windows


@asynccontextmanager
async def attributed(
    release: str, windows: Sequence[tuple[Planned, ...]], at_once: int, options: Sequence[str]
) -> AsyncIterator[Work]:
    """Do the work with a real sidecar beside it.

    Args:
        release: Which OpenClaw's code takes the locks and sets the fences.
        windows: What to do.
        at_once: How many windows are open at the same time. A gateway waits 250 ms for an answer.
        options: More options for the sidecar.
    """
    cache_dir = default_cache_dir()
    pack = await asyncio.to_thread(ensure_release, release, cache_dir)
    manager = await asyncio.to_thread(ensure_session_manager, pack, cache_dir)
    node = (await asyncio.to_thread(ensure_gateway, NODE_FROM, cache_dir, lambda _line: None)).node
    with tempfile.TemporaryDirectory(prefix="oca-", dir=_room()) as directory:  # short: a socket's path has 108 bytes
        root = Path(directory)
        sessions = root / "state" / "agents" / "main" / "sessions"
        sessions.mkdir(parents=True)
        companion = Companion(root / "state", root / "sidecar", root / "s.sock", options)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": directory,
            "OPENCLAW_STATE_DIR": str(root / "state"),
            "OPENCLAW_SIDECAR_SOCKET": str(root / "s.sock"),
            "COMPAT_BUNDLE": json.dumps({"dist": str(pack.dist), "manager": str(manager or "")}),
            "BENCH_OPERATIONS": (HARNESS / "operations.mjs").as_uri(),
        }
        script = Path(__file__).with_name("attribution.mjs")
        # The lock takes the holder of another's lock for a stranger unless its command line says what it is.
        openclaw = (node, "--import", HARNESS / "loader.mjs", "--import", preload_path(), script, "openclaw")
        stranger = (sys.executable, "-m", "benchmarks.attribution_foreign")
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(companion)
            listening = time.monotonic_ns()
            gateways, cotenants, strangers = [
                [
                    await stack.enter_async_context(_worker(command, environment, root / "stderr.log"))
                    for _ in range(count)
                ]
                for command, count in ((openclaw, GATEWAYS), (openclaw, COTENANTS), (stranger, STRANGERS))
            ]
            for worker in (*gateways, *cotenants):
                await companion.wait_linked(worker.pid, SECONDS)
            # What is seen so shortly before the word of a fence counts for nothing.
            await asyncio.sleep(max(0.0, (listening + 2 * LATE_NS - time.monotonic_ns()) / _NS_PER_SECOND))
            begun = time.monotonic()
            players = _Players(sessions, gateways, cotenants, strangers, at_once)
            played = await players.play_all(windows)
            seconds = time.monotonic() - begun
            lossy = "--simulate-loss" in options  # then the end of a window may be what is lost
            status = await companion.wait_for(lambda s: lossy or s["windows"] == 0)
            await companion.stop()
            yield Work(tuple(played), seconds, companion.data_dir, status)


@asynccontextmanager
async def _worker(command: Sequence[str | Path], environment: dict[str, str], errors: Path) -> AsyncIterator[Worker]:
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


class _Players:
    """Plays windows, several at once."""

    def __init__(
        self,
        sessions: Path,
        gateways: Sequence[Worker],
        cotenants: Sequence[Worker],
        strangers: Sequence[Worker],
        at_once: int,
    ) -> None:
        self._sessions = sessions
        self._gateways = itertools.cycle(gateways)
        self._cotenants = itertools.cycle(cotenants)
        self._strangers = itertools.cycle(strangers)
        self._rooms = asyncio.Semaphore(at_once)
        self._numbers = itertools.count(1)

    async def play_all(self, windows: Sequence[tuple[Planned, ...]]) -> list[Played]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._play(changes)) for changes in windows]
        return [task.result() for task in tasks]

    async def _play(self, changes: tuple[Planned, ...]) -> Played:
        async with self._rooms:
            played = Played(self._sessions / f"{uuid.uuid4()}.jsonl", changes)
            gateway = next(self._gateways)
            number = f"play-{next(self._numbers)}"
            gateway.tell("play", number, file=str(played.file), session=played.file.stem)
            await gateway.answer(number)
            await asyncio.gather(*(self._change(played, change, gateway) for change in changes))
            gateway.tell("go", number)
            result = (await gateway.answer(number))["done"]
            played.checks = tuple(result["checks"])
            played.stopped = result["takeover"]
            return played

    async def _change(self, played: Played, change: Planned, gateway: Worker) -> None:
        match change.label:
            case Label.INSIDE:
                worker = gateway
            case Label.OUTSIDE:
                worker = next(self._cotenants)
            case Label.FOREIGN:
                worker = next(self._strangers)
                played.strangers.add(worker.pid)
        await worker.do(change.deed, file=str(played.file), marker=change.marker)


def _room() -> Path | None:
    return MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else None


def _tail(file: Path) -> str:
    return file.read_text(errors="replace")[-1500:]
