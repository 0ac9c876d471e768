"""What the preload is to the processes and threads that a real gateway with sessions in a database starts."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.demo.packages import GatewayPackage
from sidecar.preload import preload_path
from tests.e2e.row_gateway import TOLD_SECONDS, VERSIONS, Trio, trios

HELPERS: Final = frozenset(re.findall(r'^  "([\w/.-]+)",$', preload_path().read_text(), re.MULTILINE))
"""The programs that the preload leaves alone."""

WRITES: Final = re.compile(
    r"^(?:async )?function (?:acquireSessionWriteLock|appendTranscriptEventInTransaction"
    r"|deleteTranscriptEventsInTransaction|canRebasePreparedAssistantInTransaction|runEmbeddedAttempt)\(",
    re.MULTILINE,
)
"""Whatever writes to a transcript, in any of these releases, loads a module that declares one of these."""

IMPORTS: Final = re.compile(r'(?:\bfrom\s*|^import\s*|\bimport\(\s*)"(\.[^"]+)"', re.MULTILINE)
DIRECTORY: Final = "OCS_TEST_DIRECTORY"
PROBE: Final = """
import fs from "node:fs";
import { registerHooks } from "node:module";
import { isMainThread, threadId } from "node:worker_threads";
const file = `${process.env.OCS_TEST_DIRECTORY}/${process.pid}-${threadId}.jsonl`;
const say = (fact) => fs.writeFileSync(file, JSON.stringify(fact) + "\\n", { flag: "a" });
say({ program: process.argv[1] ?? "", pid: process.pid, main: isMainThread });
registerHooks({
  load(url, context, next) {
    const part = /[/]preload[/](hooks|runtime|link|rows[/]worker_rows)[.]mjs$/.exec(url);
    if (part) say({ part: part[1] });
    return next(url, context);
  },
});
"""
"""Runs ahead of the preload in each process and thread: what it is, and which parts of the preload came in."""


@dataclass
class Entered:
    """A process or thread that Node has started with the preload."""

    program: str
    pid: int
    main: bool
    parts: list[str] = field(default_factory=list)

    @property
    def is_helper(self) -> bool:
        """It is one that the preload leaves alone."""
        return any(self.program.endswith(f"/{name}.js") for name in HELPERS)


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """The release of the gateway."""
    return str(request.param)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the probe writes."""
    return tmp_path_factory.mktemp("probe")


@pytest.fixture(scope="module")
def trio(
    runner: asyncio.Runner, version: str, packages: Callable[[str], GatewayPackage], directory: Path
) -> Iterator[Trio]:
    """A gateway whose processes and threads say what they are."""
    facts = directory / version
    facts.mkdir()
    probe = directory / "probe.mjs"
    probe.write_text(PROBE)
    imports = f"--import={probe} --import={preload_path()}"
    yield from trios(runner, packages(version), more={"NODE_OPTIONS": imports, DIRECTORY: str(facts)})


def entered(facts: Path) -> list[Entered]:
    """Everything that was started so far."""
    found = []
    for file in facts.glob("*.jsonl"):
        first, *parts = [json.loads(line) for line in file.read_text().splitlines()]
        found.append(Entered(**first, parts=[part["part"] for part in parts]))
    return found


def reached(program: Path) -> set[str]:
    """The modules with what writes to a transcript that a program could ever load."""
    seen: set[Path] = set()
    waiting = [program]
    writing = set()
    while waiting:
        module = waiting.pop().resolve()
        if module in seen or not module.is_file():
            continue
        seen.add(module)
        text = module.read_text(errors="replace")
        if WRITES.search(text):
            writing.add(module.name)
        waiting += [module.parent / name for name in IMPORTS.findall(text)]
    return writing


def test_no_program_that_is_left_alone_could_write_a_transcript(
    version: str, packages: Callable[[str], GatewayPackage]
) -> None:
    dist = packages(version).cli.parent / "dist"
    programs = {
        p for name in HELPERS for p in dist.rglob(f"{name}.js") if "node_modules" not in p.parts[len(dist.parts) :]
    }
    assert {p.name for p in programs} >= {"sqlite-readonly-location.worker.js", "openclaw-database-verify.worker.js"}
    assert {p.name: writing for p in programs if (writing := reached(p))} == {}


async def test_one_link_comes_from_a_gateway_and_nothing_from_its_helpers(
    trio: Trio, session_key: str, directory: Path, version: str
) -> None:
    assert (await trio.turn(session_key, "hello")).answered
    everything = entered(directory / version)
    helpers = [it for it in everything if it.is_helper]
    processes = [it for it in everything if it.main and not it.is_helper]
    threads = [it for it in everything if not it.main and not it.is_helper]

    assert {it.program.rpartition("/")[2] for it in helpers if it.main} >= {"sqlite-readonly-location.worker.js"}
    assert [it for it in helpers if it.parts] == []
    assert [it.pid for it in processes if "link" in it.parts] == [trio.gateway.pid]
    assert [it for it in threads if {"runtime", "link"} & set(it.parts)] == []

    status: dict[str, Any] = await trio.sidecar.status()
    assert [(gateway["pid"], gateway["threads"]) for gateway in status["gateways"]] == [(trio.gateway.pid, 1)]
    assert len([line for line in trio.sidecar.log.lines() if "gateway_linked" in line]) == 1
    said = (*trio.gateway.stdout.lines(), *trio.gateway.stderr.lines())
    assert [line for line in said if "openclaw-sidecar" in line] == []


async def test_a_gateway_and_its_helpers_are_no_strangers_and_a_file_that_is_removed_under_them_is_told(
    trio: Trio, session_key: str
) -> None:
    """The last test of its gateway: a database whose ``-shm`` is gone is no good to anybody."""
    assert (await trio.turn(session_key, "hello")).answered
    status: dict[str, Any] = await trio.sidecar.status()
    assert [problem for problem in status["problems"] if problem["code"].startswith("database")] == []
    remove(f"{trio.database}-shm")
    status = await trio.sidecar.wait_for(lambda status: status["databases"]["troubles"], TOLD_SECONDS)
    [problem] = [problem for problem in status["problems"] if problem["code"] == "database_split"]
    assert f"process {trio.gateway.pid} " in problem["what"]
    assert status["databases"]["troubles"] == {"split": 1}


def remove(path: str) -> None:
    """Remove a file under whoever has it open."""
    Path(path).unlink()
