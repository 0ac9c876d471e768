"""Drives one release's real session manager and appends, by themselves and with preload and sidecar."""

import asyncio
import contextlib
import json
import os
import re
import sqlite3
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.cli.doctor import examine
from sidecar.demo.companion import Companion, command
from sidecar.demo.packages import GatewayPackage
from sidecar.demo.pager import PageReceiver
from sidecar.preload import preload_path
from tests.compat.measure import LineProcess, line_process, pages_of
from tests.compat.rows.scenarios import SCENARIOS, Kind, Scenario
from tests.compat.rows.strangers import STRANGERS, opened

HARNESS: Final = Path(__file__).with_name("harness")
LOAD_SECONDS: Final = 120.0
"""How long the modules of a release may take to load."""
SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.02
ASKS: Final = "canRebasePreparedAssistantInTransaction"
SQLITE_BUSY: Final = 5

WORK: Final = {
    "command": "handleCommands",
    "note": "appendInjectedAssistantMessageToTranscript",
    "heartbeat": "runHeartbeatOnce",
    "cron": "executeJobCore",
    "channel": "dispatchReplyFromConfig",
    "delivery": "appendExactAssistantMessageToSessionTranscript",
    "subagent": "runSubagentAnnounceFlow",
    "sessions_send": "createSessionsSendTool",
    "message tool": "createMessageTool",
    "cli": "agentCliCommand",
    "compaction": "compactEmbeddedAgentSessionDirect",
}
"""Kinds of work, and the function by which the preload knows each."""

_ERRORS: Final = {
    "SqliteTranscriptMutationConflictError": "conflict",
    "SessionTranscriptWriterClaimReboundError": "rebound",
    "SessionTranscriptProjectionUnavailableError": "projection",
    f"Error {SQLITE_BUSY}": "busy",
}


@dataclass(frozen=True, slots=True)
class Told:
    """An incident: the sidecar's verdict, what it did, why in its words, and whether it says that the turn was lost."""

    verdict: str
    outcome: str
    reason: str
    turn_lost: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCell:
    """What came of one scenario.

    Attributes:
        error: Why the run was stopped, in a word; empty when it was not.
        stored: The row that stopped the run is stored all the same.
        beside: How many messages are not on the line from the last one to the root.
        cut: That line ends at a row that is gone.
        incidents: What the sidecar told of it.
        pages: How many pages a person got.
    """

    error: str
    stored: bool
    beside: int
    cut: bool
    incidents: tuple[Told, ...] = ()
    pages: int = 0


@dataclass(frozen=True, slots=True)
class MeasuredRows:
    """One release.

    Attributes:
        version: The release.
        integrity: npm's hash of the package.
        adapter: The preload's, as the sidecar reports it.
        doctor: What `doctor` says of the bundle: the adapter, and why if it is not in order.
        asks: The bundle asks whether newer rows forbid an answer.
        work: Kinds of work whose hook point the bundle declares.
        schema: ``user_version`` of an agent's database.
        compressed: Long rows are stored compressed.
        write: What `openclaw-sidecar write` does with a file that is left over of such a session.
        stock: By scenario, without preload and sidecar.
        guarded: The same with them.
    """

    version: str
    integrity: str
    adapter: str
    doctor: str
    asks: bool
    work: tuple[str, ...]
    schema: int
    compressed: bool
    write: str
    stock: Mapping[str, RowCell]
    guarded: Mapping[str, RowCell]


@dataclass(frozen=True, slots=True)
class Played:
    """A scenario that was played, before the sidecar was asked about it."""

    scenario: Scenario
    session_id: str
    checks: tuple[str, ...]

    @property
    def session_key(self) -> str:
        """The key of its session."""
        return f"agent:main:{self.session_id}"


async def measure_rows(package: GatewayPackage) -> MeasuredRows:
    """Play every scenario with a release as it is published, and with preload and sidecar."""
    with tempfile.TemporaryDirectory(prefix="ocr-") as work:  # short: a socket's path has 108 bytes
        stock_work, guarded_work = Path(work) / "stock", Path(work) / "guarded"
        stock, (guarded, adapter, write) = await asyncio.gather(
            _measure_stock(package, stock_work), _measure_guarded(package, guarded_work)
        )
        database = database_of(guarded_work)
        finding = await asyncio.to_thread(examine, str(package.cli.parent), str(package.node))
        declared = await asyncio.to_thread(_declared, package.cli.with_name("dist"))
        return MeasuredRows(
            version=package.version,
            integrity=_integrity(package),
            adapter=adapter,
            doctor=": ".join(filter(None, (finding.adapter, "" if finding.ok else finding.reason))),
            asks=ASKS in declared,
            work=tuple(kind for kind, function in WORK.items() if function in declared),
            schema=_value(database, "PRAGMA user_version"),
            compressed=_compresses(database),
            write=write,
            stock=stock,
            guarded=guarded,
        )


def _declared(dist: Path) -> set[str]:
    """The functions that a bundle declares, of those that are asked for."""
    pattern = re.compile(rf"^(?:async )?function ({'|'.join((ASKS, *WORK.values()))})\(", re.MULTILINE)
    return {name for path in dist.glob("*.*js") for name in pattern.findall(path.read_text())}


def _integrity(package: GatewayPackage) -> str:
    listed = json.loads((package.root / "node_modules" / ".package-lock.json").read_text())
    return str(listed["packages"]["node_modules/openclaw"]["integrity"])


def _value(database: Path, query: str) -> int:
    [(value,)] = _rows(database, query)
    return int(value)


def _compresses(database: Path) -> bool:
    columns = {row[1] for row in _rows(database, "PRAGMA table_info(transcript_events)")}
    if "event_zstd" not in columns:
        return False
    return _value(database, "SELECT count(*) FROM transcript_events WHERE event_zstd IS NOT NULL") > 0


def _rows(database: Path, query: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


async def _measure_stock(package: GatewayPackage, work: Path) -> dict[str, RowCell]:
    async with driven_gateway(package, work, ()) as gateway:
        played = [await _play(gateway, scenario, database_of(work), None) for scenario in SCENARIOS]
    return {p.scenario.name: _cell(p, database_of(work)) for p in played}


async def _measure_guarded(package: GatewayPackage, work: Path) -> tuple[dict[str, RowCell], str, str]:
    async with AsyncExitStack() as stack:
        pager = await stack.enter_async_context(PageReceiver())
        state_dir, socket = _state_dir(work), work / "s.sock"
        sidecar = await stack.enter_async_context(
            Companion(state_dir, work / "sidecar", socket, ("--notify", pager.url), believes=package.node)
        )
        gateway = await stack.enter_async_context(driven_gateway(package, work, ("--import", str(preload_path()))))
        status = await sidecar.wait_linked(gateway.pid)
        [adapter] = [g["adapter"] for g in status["gateways"] if g["pid"] == gateway.pid]
        database = database_of(work)
        played = [await _play(gateway, scenario, database, sidecar) for scenario in SCENARIOS]
        await sidecar.wait_for(lambda found: found["windows"] == 0)
        incidents = {p.session_id: await _settled(sidecar, p) for p in played}
        pages = pages_of(pager)
        cells = {
            p.scenario.name: _cell(
                p, database, incidents[p.session_id], pages.get(f"{database.resolve()}#{p.session_id}", 0)
            )
            for p in played
        }
        return cells, str(adapter), await asyncio.to_thread(_written, state_dir, played[0].session_id)


def _state_dir(work: Path) -> Path:
    state_dir = work / "state"
    (state_dir / "agents" / "main" / "sessions").mkdir(parents=True, exist_ok=True)
    return state_dir


def database_of(work: Path) -> Path:
    """The agent's database of a gateway that is driven in a directory."""
    return work / "state" / "agents" / "main" / "agent" / "openclaw-agent.sqlite"


@asynccontextmanager
async def driven_gateway(package: GatewayPackage, work: Path, preload: tuple[str, ...]) -> AsyncIterator[LineProcess]:
    """The process of a gateway that plays runs as it is told."""
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(work),
        "LANG": "C.UTF-8",
        "OPENCLAW_STATE_DIR": str(_state_dir(work)),
        "OPENCLAW_SIDECAR_SOCKET": str(work / "s.sock"),
        "COMPAT_DIST": str(package.cli.with_name("dist")),
    }
    loader = ("--import", str(HARNESS / "loader.mjs"))
    script, errors = HARNESS / "gateway.mjs", work / "stderr.log"
    async with line_process(package.node, *loader, *preload, script, env=env, errors=errors) as gateway:
        await gateway.hear(LOAD_SECONDS)
        yield gateway


async def _play(gateway: LineProcess, scenario: Scenario, database: Path, sidecar: Companion | None) -> Played:
    """Play a scenario on a session of its own."""
    session_id = str(uuid.uuid4())
    played = Played(scenario, session_id, ())
    operation = "nothing" if scenario.foreign else scenario.operation
    held = scenario.held_seconds > 0
    await gateway.tell({"id": session_id, "operation": operation, "tool": scenario.tool, "held": held})
    await gateway.hear(SECONDS)
    if scenario.foreign:
        with opened(database) as connection:
            connection.execute("BEGIN IMMEDIATE")
            STRANGERS[scenario.operation](connection, session_id)
            if held:
                await gateway.tell({"go": True})
                await gateway.hear(SECONDS)
                await asyncio.sleep(scenario.held_seconds)
            connection.execute("COMMIT")
    if not held:
        if sidecar is not None:
            await _noticed(sidecar, played, database)
        await gateway.tell({"go": True})
    heard = await gateway.hear(SECONDS)
    return Played(scenario, session_id, tuple(heard["result"]["checks"]))


async def _noticed(sidecar: Companion, played: Played, database: Path) -> None:
    """The sidecar has looked at what was done, and the gateway has been sent what comes of that."""
    if played.scenario.kind not in {Kind.KNOWN, Kind.UNANSWERED, Kind.FOREIGN}:
        return
    [(seq,)] = _rows(database, "SELECT max(seq) FROM transcript_events WHERE session_id = ?", played.session_id)
    found: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(SECONDS):
            while not (found and _is_judged(found[0], played.scenario, seq)):
                await asyncio.sleep(POLL_SECONDS)
                found = await sidecar.incidents(played.session_key)
    except TimeoutError:
        raise TimeoutError(f"{played.scenario.name} is not judged: {found}") from None
    # What was decided with that incident is sent in the same step; an answer to a later question comes after it.
    await sidecar.status()


def _is_judged(incident: Mapping[str, Any], scenario: Scenario, seq: int) -> bool:
    verdict, outcome = incident["verdict"], incident["recovery"]["outcome"]
    if scenario.kind is Kind.FOREIGN:
        return bool(verdict == "external")
    refused = outcome == "refused"
    return bool(incident["current"].get("seq") == seq and refused is (scenario.kind is Kind.UNANSWERED))


async def _settled(sidecar: Companion, played: Played) -> list[dict[str, Any]]:
    """The incidents of the session, when they have ended and their pages are sent."""
    found: list[dict[str, Any]] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            while True:
                found = await sidecar.incidents(played.session_key)
                if all(i["closed_at"] and i["page"]["due"] == i["page"]["sent"] for i in found):
                    return found
                await asyncio.sleep(POLL_SECONDS)
    raise TimeoutError(f"no settled incident for {played.scenario.name}: {found}")


def _written(state_dir: Path, session_id: str) -> str:
    """What `write` does with a session file that is left over: its record would be read by nobody."""
    left_over = state_dir / "agents" / "main" / "sessions" / f"{session_id}.jsonl"
    line = json.dumps({"type": "session", "id": session_id}) + "\n"
    left_over.write_text(line)
    ended = subprocess.run(
        (
            *(command(), "write", session_id, "--name", "backup", "--state-dir", state_dir, "--"),
            *("printf", "%s\\n", '{"type":"custom","customType":"backup","data":{}}'),
        ),
        env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(state_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    if left_over.read_text() != line:
        return "appended"
    return "refused" if ended.returncode and "nothing was written" in ended.stderr else f"exit code {ended.returncode}"


def _cell(played: Played, database: Path, incidents: Sequence[Mapping[str, Any]] = (), pages: int = 0) -> RowCell:
    last = played.checks[-1]
    line, messages, cut = _history(database, played.session_id)
    return RowCell(
        error="" if last == "ok" else _ERRORS.get(last, last),
        stored=last != "ok" and _is_stored(database, played),
        beside=len(messages - line),
        cut=cut,
        incidents=tuple(
            Told(i["verdict"], i["recovery"]["outcome"], i["reason"], turn_lost=i["turn_lost"]) for i in incidents
        ),
        pages=pages,
    )


def _history(database: Path, session_id: str) -> tuple[set[str], set[str], bool]:
    """The line from the last message to the root, all messages, and whether the line ends at a row that is gone."""
    rows = _rows(
        database,
        "SELECT event_id, parent_id, event_type FROM transcript_event_identities WHERE session_id = ? ORDER BY seq",
        session_id,
    )
    parents = {name: parent for name, parent, _kind in rows}
    messages = [name for name, _parent, kind in rows if kind == "message"]
    line: set[str] = set()
    here = messages[-1] if messages else None
    while here is not None and here in parents:
        line.add(here)
        here = parents[here]
    return line, set(messages), here is not None


def _is_stored(database: Path, played: Played) -> bool:
    """The row that the run wanted to append when it was stopped."""
    text = '%"toolResult"%' if played.scenario.tool and len(played.checks) == 1 else "%The answer.%"
    query = "SELECT count(*) FROM transcript_events WHERE session_id = ? AND event_json LIKE ?"
    [(count,)] = _rows(database, query, played.session_id, text)
    return bool(count)
