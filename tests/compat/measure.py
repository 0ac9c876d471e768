"""Drives one release's real fence, lock and session manager, by themselves and with preload and sidecar."""

import asyncio
import json
import os
import re
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sidecar.core.custody import lineage
from sidecar.core.custody.lineage import HEADER
from sidecar.demo.companion import Companion
from sidecar.demo.pager import PageReceiver
from sidecar.preload import preload_path
from sidecar.watch.records import read_records
from tests.compat.packs import Pack
from tests.compat.scenarios import SCENARIOS, Change, Scenario, Writer

HARNESS: Final = Path(__file__).with_name("harness")
SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.02
OVERLAP_MS: Final = 300
"""How long a lock is held while the run waits for it: a few of the gateway's tries, which come every 50 ms."""

TAKEOVER: Final = "EmbeddedAttemptSessionTakeoverError"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What came of one scenario with one writer.

    Attributes:
        checks: What the run's calls of the controller gave: ok, or the name of the error.
        takeover: The controller's own word at the end.
        cleanup: ``ok`` when the run could be brought to its end.
        lost: How many records are missing, or not on the one line of history.
        verdict: The sidecar's; empty without one or without an incident.
        outcome: What the sidecar did.
        reason: Why, in its words.
        turn_lost: The sidecar's word.
        pages: How many pages a person got.
    """

    checks: tuple[str, ...]
    takeover: bool
    cleanup: str
    lost: int
    verdict: str = ""
    outcome: str = ""
    reason: str = ""
    turn_lost: bool = False
    pages: int = 0

    @property
    def tripped(self) -> bool:
        """The fence stopped the run."""
        return self.takeover or any(check == TAKEOVER for check in self.checks)


@dataclass(frozen=True, slots=True)
class Measured:
    """One release.

    Attributes:
        version: The release.
        integrity: npm's hash of the package.
        adapter: The preload's, as the sidecar reports it.
        stand_ins: What of npm packages was replaced.
        stock: By scenario and writer, without preload and sidecar.
        guarded: The same with them.
    """

    version: str
    integrity: str
    adapter: str
    stand_ins: tuple[str, ...]
    stock: Mapping[tuple[str, Writer], Cell]
    guarded: Mapping[tuple[str, Writer], Cell]


class LineProcess:
    """A process that is spoken to in lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def tell(self, message: Mapping[str, Any]) -> None:
        """Send one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        await self._process.stdin.drain()

    async def hear(self, seconds: float = SECONDS) -> dict[str, Any]:
        """The next line.

        Args:
            seconds: How long to wait for it.

        Raises:
            RuntimeError: The process failed.
        """
        assert self._process.stdout is not None
        async with asyncio.timeout(seconds):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with {await self._process.wait()}")
        heard: dict[str, Any] = json.loads(line)
        if "error" in heard:
            raise RuntimeError(heard["error"])
        return heard


@asynccontextmanager
async def line_process(*command: str | Path, env: Mapping[str, str], errors: Path) -> AsyncIterator[LineProcess]:
    """Start one, and end it afterwards."""
    with errors.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=dict(env),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            limit=1 << 22,
            start_new_session=True,
        )
    try:
        yield LineProcess(process)
    except RuntimeError as error:
        error.add_note(_tail(errors))
        raise
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        # Have the transport closed while its loop still runs.
        await asyncio.sleep(0)


def _tail(file: Path) -> str:
    return file.read_text(errors="replace")[-4000:]


@dataclass(slots=True)
class Played:
    """A scenario that was played, before the sidecar was asked about it."""

    scenario: Scenario
    writer: Writer
    file: Path
    result: dict[str, Any]
    written: list[str] = field(default_factory=list)


class Bench:
    """One state directory with the processes that work on it."""

    def __init__(self, gateway: LineProcess, outside: Mapping[Writer, LineProcess], state_dir: Path) -> None:
        self._gateway = gateway
        self._outside = outside
        self._sessions = state_dir / "agents" / "main" / "sessions"

    async def play_all(self) -> list[Played]:
        """Every scenario with every writer, one after the other, each on a session of its own."""
        return [await self._play(scenario, writer) for scenario in SCENARIOS for writer in scenario.writers]

    async def _play(self, scenario: Scenario, writer: Writer) -> Played:
        file = self._sessions / f"{uuid.uuid4()}.jsonl"
        message = {"file": str(file), "id": file.stem, "operation": scenario.operation, "writer": writer.value}
        await self._gateway.tell(
            {**message, "timeoutMs": scenario.timeout_ms, "twice": scenario.twice.value, "first": scenario.first}
        )
        heard = await self._gateway.hear()
        written: list[str] = []
        if heard.get("open"):
            process = self._outside[writer]
            await process.tell(_order(scenario, file))
            if scenario.overlapping:
                await _there(file.with_name(f"{file.name}.lock"))
                await self._gateway.tell({"go": True})
                written = (await process.hear())["records"]
            else:
                written = (await process.hear())["records"]
                await self._gateway.tell({"go": True})
            heard = await self._gateway.hear()
        result = heard["result"]
        return Played(scenario, writer, file, result, [*result["records"], *written])


def _order(scenario: Scenario, file: Path) -> dict[str, Any]:
    """What a process outside of the gateway is to do."""
    return {
        "operation": scenario.operation,
        "file": str(file),
        "editing": scenario.change in {Change.APPEND, Change.REWRITE},
        "delayMs": OVERLAP_MS if scenario.overlapping else 0,
    }


async def _there(file: Path) -> None:
    """Wait until a file is there."""
    async with asyncio.timeout(SECONDS):
        while not file.exists():  # noqa: ASYNC110, ASYNC240 - made by another process; on a local disk
            await asyncio.sleep(POLL_SECONDS)


async def measure(release: Pack, manager: Path | None, node: Path) -> Measured:
    """Play every scenario with a release as it is published, and with preload and sidecar.

    Args:
        release: The release.
        manager: The session manager's module if it is not in the bundle.
        node: The Node to run it with.
    """
    with tempfile.TemporaryDirectory(prefix="occ-") as work:  # short: a socket's path has 108 bytes
        bundle = {"dist": str(release.dist), "manager": str(manager or "")}
        stock, guarded = await asyncio.gather(
            _measure_stock(bundle, node, Path(work) / "stock"), _measure_guarded(bundle, node, Path(work) / "guarded")
        )
    cells, adapter, stand_ins = guarded
    return Measured(release.version, release.integrity, adapter, stand_ins, stock, cells)


Cells = dict[tuple[str, Writer], Cell]


async def _measure_stock(bundle: Mapping[str, str], node: Path, work: Path) -> Cells:
    async with _bench(bundle, node, work, ()) as (bench, _, _):
        return {(p.scenario.name, p.writer): _cell(p) for p in await bench.play_all()}


async def _measure_guarded(bundle: Mapping[str, str], node: Path, work: Path) -> tuple[Cells, str, tuple[str, ...]]:
    async with AsyncExitStack() as stack:
        pager = await stack.enter_async_context(PageReceiver())
        state_dir, socket = _state_dir(work), work / "s.sock"
        sidecar = await stack.enter_async_context(
            Companion(state_dir, work / "sidecar", socket, ("--notify", pager.url), believes=node, programs=("backup",))
        )
        preload = ("--import", str(preload_path()))
        bench, gateway, ready = await stack.enter_async_context(_bench(bundle, node, work, preload))
        status = await sidecar.wait_linked(gateway.pid)
        adapter = next(g["adapter"] for g in status["gateways"] if g["pid"] == gateway.pid)
        played = await bench.play_all()
        # One link, one order: with the last incident settled, a run without one will get none any more.
        await _settled(sidecar, played[-1], awaited=True)
        incidents = {p.file: await _settled(sidecar, p, awaited=False) for p in played}
        pages = pages_of(pager)
        cells = {(p.scenario.name, p.writer): _cell(p, incidents[p.file], pages.get(str(p.file), 0)) for p in played}
        return cells, str(adapter), tuple(ready["standIns"])


def _state_dir(work: Path) -> Path:
    state_dir = work / "state"
    (state_dir / "agents" / "main" / "sessions").mkdir(parents=True, exist_ok=True)
    return state_dir


@asynccontextmanager
async def _bench(
    bundle: Mapping[str, str], node: Path, work: Path, preload: tuple[str, ...]
) -> AsyncIterator[tuple[Bench, LineProcess, dict[str, Any]]]:
    state_dir = _state_dir(work)
    env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(work), "LANG": "C.UTF-8"}
    own = {
        "OPENCLAW_STATE_DIR": str(state_dir),
        "OPENCLAW_SIDECAR_SOCKET": str(work / "s.sock"),
        "COMPAT_BUNDLE": json.dumps(bundle),
    }
    declared = {
        "COMPAT_NODE": str(node),
        "COMPAT_ANNOUNCED": str(int(bool(preload))),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    loader, errors = ("--import", str(HARNESS / "loader.mjs")), work / "stderr.log"
    async with (
        line_process(node, *loader, *preload, HARNESS / "gateway.mjs", env={**env, **own}, errors=errors) as gateway,
        line_process(node, HARNESS / "foreign.mjs", "openclaw", env=env, errors=errors) as foreign,
        line_process(
            *(sys.executable, "-X", "openclaw", "-m", "tests.compat.declared"),
            env={**env, **own, **declared},
            errors=errors,
        ) as outside,
    ):
        ready = await gateway.hear()
        yield Bench(gateway, {Writer.FOREIGN: foreign, Writer.DECLARED: outside}, state_dir), gateway, ready


async def _settled(sidecar: Companion, played: Played, *, awaited: bool) -> dict[str, Any]:
    """The session's incident when it has ended and its page is sent; empty when there is none."""
    found: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                found = await sidecar.incidents(played.file.name)
                if found and found[0]["closed_at"] and found[0]["page"]["due"] == found[0]["page"]["sent"]:
                    return found[0]
                if not found and not awaited:
                    return {}
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise TimeoutError(f"no settled incident for {played.scenario.name} by {played.writer}: {found}") from None


def pages_of(pager: PageReceiver) -> dict[str, int]:
    """How many pages were sent about each transcript."""
    counts: dict[str, int] = {}
    for page in pager.pages:
        found = re.search(r"Session: (\S+)", page.message)
        if found:
            counts[found[1]] = counts.get(found[1], 0) + 1
    return counts


def _cell(played: Played, incident: Mapping[str, Any] | None = None, pages: int = 0) -> Cell:
    result = played.result
    recovery = incident["recovery"] if incident else {"outcome": "", "reason": ""}
    return Cell(
        checks=tuple(result["checks"]),
        takeover=result["takeover"],
        cleanup=result["cleanup"],
        lost=_lost(played),
        verdict=incident["verdict"] if incident else "",
        outcome=recovery["outcome"],
        reason=recovery["reason"],
        turn_lost=bool(incident and incident["turn_lost"]),
        pages=pages,
    )


def _lost(played: Played) -> int:
    """Records that their writers left there and that are missing now, or beside the line of history."""
    if not played.file.exists():
        return 0
    records, _ = read_records(played.file)
    wanted = set(played.written)
    if not played.scenario.branches:
        wanted |= {r.record_id for r in records if r.kind != HEADER}
    return len(lineage.off_path(records, sorted(wanted)))
