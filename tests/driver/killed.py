"""A sidecar's way from a takeover to its page, with the real store, core, driver and pager; killed at a given step.

Run as a program: for each step a process is forked that is killed there, and another one that starts anew in its place.
Prints a line of JSON for each: the step, the answers that the gateway got, the incidents on disk, and the pages sent.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

from sidecar.core import events as ev
from sidecar.core.decisions import Command
from sidecar.core.engine import Engine
from sidecar.core.policy.policy import Mode, Policy
from sidecar.driver.driver import Driver
from sidecar.notify.pager import Pager
from sidecar.notify.text import PageText
from sidecar.store.chains import ChainStore
from sidecar.store.incidents import IncidentStore
from sidecar.store.reader import IncidentReader
from sidecar.store.records import RecordStore
from sidecar.watch.reading import fingerprint_of, take_snapshot
from tests.core.kit import LINK, RUN, gateway
from tests.driver.kit import FOREIGN, HEADER, Sinks

MAX_STEPS: Final = 60
_STEPS: Final = frozenset({"commit", "command", "send", "page_delivered", "page_attempted", "pending_pages"})


class Steps:
    """Counts what is done, and kills the process at one of it."""

    def __init__(self, directory: Path, last: int) -> None:
        self._directory = directory
        self._last = last
        self._count = 0

    def at(self, name: str) -> None:
        self._count += 1
        if self._count == self._last:
            (self._directory / "step").write_text(name)
            os.kill(os.getpid(), signal.SIGKILL)


class Port:
    """A port of which each use is a step, before and after."""

    def __init__(self, port: object, steps: Steps) -> None:
        self._port = port
        self._steps = steps

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the port has
        found = getattr(self._port, name)
        if name not in _STEPS:
            return found

        def used(*args: Any) -> Any:  # noqa: ANN401 - as the port takes and gives
            self._steps.at(f"before {name}")
            result = found(*args)
            self._steps.at(f"after {name}")
            return result

        return used


class Gateway:
    """A link: what the gateway hears is a line of a file."""

    name = LINK

    def __init__(self, heard: Path) -> None:
        self._heard = heard

    async def sync(self, bound_seconds: float) -> bool:
        return bound_seconds > 0

    def command(self, command: Command) -> bool:
        _add(self._heard, type(command).__name__)
        return True


class Destination:
    """Takes pages into a file."""

    key = "file"
    label = "file"

    def __init__(self, pages: Path) -> None:
        self._pages = pages

    def send(self, text: PageText) -> None:
        _add(self._pages, text.title)


class Links:
    """One link."""

    def __init__(self, link: Any) -> None:  # noqa: ANN401 - a port
        self._link = link

    def open_sessions(self) -> list[Any]:
        return [self._link]


def _add(file: Path, line: str) -> None:
    with file.open("a", encoding="utf-8") as out:
        out.write(line + "\n")


async def live(directory: Path, last: int, *, story: bool) -> None:
    """One life of the sidecar."""
    steps = Steps(directory, last)
    store = IncidentStore(directory / "sidecar.db", time.time_ns)
    chains = ChainStore(store)
    pages: Any = Port(Destination(directory / "pages"), steps)
    stored: Any = Port(store, steps)
    pager = Pager([pages], stored, time.time_ns, host="here")
    records: Any = Port(RecordStore(store, chains, pager.wake), steps)
    links = Links(Port(Gateway(directory / "heard"), steps))
    core = Engine(Policy(), Mode.RECOVER)
    driver = Driver(core, records, chains, Sinks(), links, lambda: None, time.time_ns)
    async with pager:
        if story:
            _take_over(driver, core, directory / "s.jsonl")
        await asyncio.sleep(0)
        while pager._tasks:
            await asyncio.wait(pager._tasks.values())
    await driver.stop()
    store.close()


def _take_over(driver: Driver, core: Engine, file: Path) -> None:
    """A stranger writes; the gateway asks, hears no, and stops the turn."""
    file.write_bytes(HEADER)
    fence = fingerprint_of(file)
    now_ns = time.time_ns()
    driver.handle(ev.LinkOpened(gateway=gateway(), at_ns=now_ns))
    driver.handle(ev.FenceSet(link=LINK, window="w1", file=str(file), fence=fence, run=RUN, at_ns=now_ns))
    with file.open("ab") as out:
        out.write(FOREIGN)
    snapshot = take_snapshot(file)
    same: Any = {"link": LINK, "window": "w1", "file": str(file), "fence": fence, "run": RUN, "snapshot": snapshot}
    driver.handle(ev.VerdictAsked(ask="a1", current=snapshot.fingerprint, at_ns=now_ns, heard_ns=now_ns, **same))
    driver.handle(ev.TurnTripped(at_ns=now_ns, heard_ns=now_ns, **same))
    driver.handle(ev.FenceClosed(window="w1", takeover=True, at_ns=now_ns))
    assert core.windows == ()


def _fork(directory: Path, last: int, *, story: bool) -> bool:
    """Live in another process. Returns whether it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            asyncio.run(live(directory, last, story=story))
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    assert killed or os.WEXITSTATUS(status) == 0, f"step {last}: it failed"
    return killed


def main(root: Path) -> None:
    """Kill at each step, one after the other, until there is none left."""
    for last in range(1, MAX_STEPS):
        directory = root / str(last)
        directory.mkdir()
        killed = _fork(directory, last, story=True)
        step = (directory / "step").read_text() if killed else ""
        heard = _lines(directory / "heard")
        _fork(directory, 0, story=False)
        with IncidentReader(directory / "sidecar.db") as reader:
            incidents = len(reader.find())
        sent = len(_lines(directory / "pages"))
        line = json.dumps({"step": step, "heard": heard, "incidents": incidents, "sent": sent})
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        if not killed:
            return


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


if __name__ == "__main__":
    main(Path(sys.argv[1]))
