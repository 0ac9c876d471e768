"""The work of `make bench-attribution`: sessions whose fence is set while several processes write to them at once."""

import asyncio
import itertools
import json
import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from benchmarks.attribution_foreign import DEEDS
from benchmarks.attribution_watchers import Made, Watchers
from benchmarks.attribution_worker import SECONDS, Worker, working
from sidecar.core.custody.kernel_log import LATE_NS
from sidecar.demo.companion import Companion
from sidecar.demo.packages import default_cache_dir, ensure_gateway
from sidecar.preload import preload_path
from tests.compat.catalogue import NODE_FROM
from tests.compat.measure import HARNESS
from tests.compat.packs import ensure_release, ensure_session_manager

FOREIGN_SHARE: Final = 0.05
GATEWAYS: Final = 2
COTENANTS: Final = 2
STRANGERS: Final = 2
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - only ever as the parent of a directory of our own
"""Where the work is done if there is one: how fast a disk that others use, too, syncs is not what is measured."""

WITHIN_SECONDS: Final = 0.25
"""Changes are made so long after the fence at most. Some come after the model's answer: the run waits for them."""

TELL_SECONDS: Final = 10.0
"""How often it is said how far the work is."""
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
        after_seconds: When, within the model call.
    """

    label: Label
    request: str
    marker: str
    after_seconds: float = 0.0


@dataclass(slots=True)
class Played:
    """One window, and what came of it.

    Attributes:
        file: The session file.
        changes: What was done in the window.
        checks: What the run's calls of the controller gave: ok, or the name of the error.
        stopped: The gateway's fence stopped the run.
        strangers: Pids of those who made the foreign changes.
        times: When each of the changes began and ended, by CLOCK_MONOTONIC.
        ended_ns: When the window ended, likewise.
    """

    file: Path
    changes: tuple[Planned, ...]
    checks: tuple[str, ...] = ()
    stopped: bool = False
    strangers: set[int] = field(default_factory=set)
    times: list[tuple[int, int]] = field(default_factory=list)
    ended_ns: int = 0

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
        metrics: The sidecar's last, as Prometheus would scrape them.
    """

    windows: tuple[Played, ...]
    seconds: float
    data_dir: Path
    status: dict[str, Any]
    metrics: str

    @property
    def made(self) -> list[Made]:
        """Every change, as a file watcher could see it."""
        return [
            Made(str(window.file), began_ns, ended_ns, window.ended_ns)
            for window in self.windows
            for began_ns, ended_ns in window.times
        ]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the work comes.

    Attributes:
        per_second: Windows that open in a second; no matter how long the earlier ones take, up to a limit.
        at_once: That limit: windows that are open at the same time.
        call_seconds: A model call takes at least so long. The changes are spread over it.
    """

    per_second: float = 16.0
    at_once: int = 4
    call_seconds: float = 0.2


def plan(count: int, seed: int) -> list[tuple[Planned, ...]]:
    """Windows of one to four changes, ``count`` in all, of which exactly `FOREIGN_SHARE` are foreign."""
    rng = random.Random(seed)
    foreign = round(count * FOREIGN_SHARE)
    labels = [Label.FOREIGN] * foreign
    labels += [rng.choice((Label.INSIDE, Label.OUTSIDE)) for _ in range(count - foreign)]
    rng.shuffle(labels)
    requests = itertools.cycle(DEEDS)
    changes = [
        Planned(
            label=label,
            request=next(requests) if label is Label.FOREIGN else "write",
            marker=uuid.UUID(int=rng.getrandbits(128)).hex,
            after_seconds=rng.random() * WITHIN_SECONDS,
        )
        for label in labels
    ]
    windows: list[tuple[Planned, ...]] = []
    while changes:
        size = rng.randint(1, 4)
        windows.append(tuple(changes[:size]))
        del changes[:size]
    return windows


@asynccontextmanager
async def attributed(
    release: str,
    windows: Sequence[tuple[Planned, ...]],
    pace: Pace,
    options: Sequence[str],
    *,
    watchers: Watchers | None = None,
    progress: Callable[[str], None] | None = None,
) -> AsyncIterator[Work]:
    """Do the work with a real sidecar beside it.

    Args:
        release: Which OpenClaw's code takes the locks and sets the fences.
        windows: What to do.
        pace: How fast.
        options: More options for the sidecar.
        watchers: File watchers that look on.
        progress: Gets a line now and then.
    """
    cache_dir = default_cache_dir()
    pack = await asyncio.to_thread(ensure_release, release, cache_dir)
    manager = await asyncio.to_thread(ensure_session_manager, pack, cache_dir)
    node = (await asyncio.to_thread(ensure_gateway, NODE_FROM, cache_dir, lambda _line: None)).node
    with tempfile.TemporaryDirectory(prefix="oca-", dir=_room()) as directory:  # short: a socket's path has 108 bytes
        root = Path(directory)
        sessions = root / "state" / "agents" / "main" / "sessions"
        sessions.mkdir(parents=True)
        companion = Companion(root / "state", root / "sidecar", root / "s.sock", options, believes=node)
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
                    await stack.enter_async_context(working(command, environment, root / "stderr.log"))
                    for _ in range(count)
                ]
                for command, count in ((openclaw, GATEWAYS), (openclaw, COTENANTS), (stranger, STRANGERS))
            ]
            for worker in (*gateways, *cotenants):
                await companion.wait_linked(worker.pid, SECONDS)
            # What is seen so shortly before the word of a fence counts for nothing.
            await asyncio.sleep(max(0.0, (listening + 2 * LATE_NS - time.monotonic_ns()) / _NS_PER_SECOND))
            players = _Players(sessions, gateways, cotenants, strangers, pace)
            async with watchers.watching(sessions) if watchers else nullcontext():
                begun = time.monotonic()
                telling = asyncio.create_task(_tell(players, progress or _say_nothing))
                try:
                    played = await players.play_all(windows)
                finally:
                    telling.cancel()
                seconds = time.monotonic() - begun
            lossy = "--simulate-loss" in options  # then the end of a window may be what is lost
            status = await companion.wait_for(lambda s: lossy or s["windows"] == 0)
            metrics = await companion.metrics()
            await companion.stop()
            yield Work(tuple(played), seconds, companion.data_dir, status, metrics)


class _Players:
    """Plays windows, several at once."""

    def __init__(
        self,
        sessions: Path,
        gateways: Sequence[Worker],
        cotenants: Sequence[Worker],
        strangers: Sequence[Worker],
        pace: Pace,
    ) -> None:
        self._sessions = sessions
        self._gateways = itertools.cycle(gateways)
        self._cotenants = itertools.cycle(cotenants)
        self._strangers = itertools.cycle(strangers)
        self._pace = pace
        self._rooms = asyncio.Semaphore(pace.at_once)
        self._numbers = itertools.count(1)
        self.done = 0

    async def play_all(self, windows: Sequence[tuple[Planned, ...]]) -> list[Played]:
        begun = time.monotonic()
        tasks: list[asyncio.Task[Played]] = []
        async with asyncio.TaskGroup() as group:
            for number, changes in enumerate(windows):
                await asyncio.sleep(begun + number / self._pace.per_second - time.monotonic())
                await self._rooms.acquire()
                tasks.append(group.create_task(self._play(changes)))
        return [task.result() for task in tasks]

    async def _play(self, changes: tuple[Planned, ...]) -> Played:
        try:
            played = Played(self._sessions / f"{uuid.uuid4()}.jsonl", changes)
            gateway = next(self._gateways)
            number = f"play-{next(self._numbers)}"
            gateway.tell("play", number, file=str(played.file), session=played.file.stem)
            await gateway.answer(number)
            called = asyncio.create_task(asyncio.sleep(self._pace.call_seconds))
            played.times = await asyncio.gather(*(self._change(played, change, gateway) for change in changes))
            await called
            gateway.tell("go", number)
            result = (await gateway.answer(number))["done"]
            played.ended_ns = time.monotonic_ns()
            played.checks = tuple(result["checks"])
            played.stopped = result["takeover"]
            self.done += len(changes)
            return played
        finally:
            self._rooms.release()

    async def _change(self, played: Played, change: Planned, gateway: Worker) -> tuple[int, int]:
        await asyncio.sleep(change.after_seconds)
        match change.label:
            case Label.INSIDE:
                worker = gateway
            case Label.OUTSIDE:
                worker = next(self._cotenants)
            case Label.FOREIGN:
                worker = next(self._strangers)
                played.strangers.add(worker.pid)
        began_ns = time.monotonic_ns()
        await worker.do(change.request, file=str(played.file), marker=change.marker)
        return began_ns, time.monotonic_ns()


def _say_nothing(_line: str) -> None:
    pass


async def _tell(players: _Players, progress: Callable[[str], None]) -> None:
    begun = time.monotonic()
    while True:
        await asyncio.sleep(TELL_SECONDS)
        progress(f"... {players.done} changes in {time.monotonic() - begun:.0f} s")


def _room() -> Path | None:
    return MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else None
