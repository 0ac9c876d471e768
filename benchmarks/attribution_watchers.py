"""File watchers beside the sidecar, on the same work: watchdog, watchfiles, inotifywait. Each is a process of its own.

As such a process, `python -m benchmarks.attribution_watchers TOOL DIRECTORY` writes one line of JSON for each report:
when it came (CLOCK_MONOTONIC, which all processes share), its kind, and the path. The first line says what the tool's
reports carry, as its own code has it.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any, Final

TOOLS: Final = ("watchdog", "watchfiles", "inotifywait")
GRACE_NS: Final = 5 * 1_000_000_000
"""So long after the end of its window a change may be reported yet. watchfiles gathers changes for 1.6 s."""

GATHER_SECONDS: Final = 3.0
"""What a tool gathers is told with a delay."""

_READY_SECONDS: Final = 30.0
_FORMAT: Final = "%e %w%f"


@dataclass(frozen=True, slots=True)
class Made:
    """A change that was made.

    Attributes:
        file: The session file.
        began_ns: Before it was made, by CLOCK_MONOTONIC.
        ended_ns: After it was made.
        until_ns: When the next use of the file can't be mistaken for it any more: the end of its window.
    """

    file: str
    began_ns: int
    ended_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Watched:
    """What one tool has told.

    Attributes:
        tool: Its name and version.
        missing: Why it could not be tried; empty when it was.
        carries: What one report holds.
        reports: About session files, all of them: the runs' own writes, opens and closes included.
        apart: Changes that may have a report of their own: no report is counted for two. An upper bound, for nothing in
            a report says which change it is about.
        noticed: Changes in whose time there was any report about the file.
    """

    tool: str
    missing: str = ""
    carries: tuple[str, ...] = ()
    reports: int = 0
    apart: int = 0
    noticed: int = 0


class Watchers:
    """The tools at work."""

    def __init__(self) -> None:
        """None is started yet."""
        self._outputs: dict[str, Path] = {}
        self._missing: dict[str, str] = {}
        self._read: dict[str, list[dict[str, Any]]] = {}

    @asynccontextmanager
    async def watching(self, directory: Path) -> AsyncIterator[None]:
        """Have every tool that is there watch a directory."""
        with tempfile.TemporaryDirectory(prefix="oca-watch-") as place:
            async with AsyncExitStack() as stack:
                for tool in TOOLS:
                    self._missing[tool] = _missing(tool)
                    if not self._missing[tool]:
                        self._outputs[tool] = Path(place) / tool
                        await stack.enter_async_context(_running(tool, directory, self._outputs[tool]))
                yield
                await asyncio.sleep(GATHER_SECONDS)
            self._read = {tool: _lines(output) for tool, output in self._outputs.items()}

    def compare(self, made: Sequence[Made]) -> tuple[Watched, ...]:
        """Hold what each tool told against the changes that were made. The tools have ended."""
        return tuple(
            Watched(tool, missing) if missing else _compared(self._read[tool], made)
            for tool, missing in self._missing.items()
        )


def table(watched: Iterable[Watched], made: int, sidecar: int) -> Iterable[str]:
    """Side by side, for a terminal or a page."""
    yield "| | changes | reports | with a report of their own, at most | noticed with others only | missed |"
    yield "|---|---:|---:|---:|---:|---:|"
    yield f"| openclaw-sidecar | {made} | | {sidecar} | 0 | {made - sidecar} |"
    for found in watched:
        if found.missing:
            yield f"| {found.tool} | not tried: {found.missing} | | | | |"
            continue
        together, missed = found.noticed - found.apart, made - found.noticed
        yield f"| {found.tool} | {made} | {found.reports} | {found.apart} | {together} | {missed} |"


def cannot_tell(watched: Iterable[Watched]) -> Iterable[str]:
    """What the reports of each tool do not hold."""
    for found in watched:
        if not found.missing:
            yield (
                f"{found.tool}: a report is ({', '.join(found.carries)}). Not in it: the writer's pid, which bytes, "
                "whether under the session lock, how many writes it stands for"
            )


def _missing(tool: str) -> str:
    if tool == "inotifywait" and shutil.which(tool) is None:
        return "not installed (apt-get install inotify-tools)"
    if tool != "inotifywait":
        try:
            metadata.version(tool)
        except metadata.PackageNotFoundError:
            return f"not installed (pip install {tool}, or make venv)"
    return ""


@asynccontextmanager
async def _running(tool: str, directory: Path, output: Path) -> AsyncIterator[None]:
    with output.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.attribution_watchers", tool, str(directory)),
            cwd=Path(__file__).parents[1],
            stdin=asyncio.subprocess.PIPE,
            stdout=out,
            start_new_session=True,
        )
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while not await asyncio.to_thread(_has_begun, output):
                if process.returncode is not None:
                    raise RuntimeError(f"{tool} ended with {process.returncode}")
                await asyncio.sleep(0.05)
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()  # it ends with its input
        await process.wait()


def _has_begun(output: Path) -> bool:
    return output.read_bytes().endswith(b"\n")


def _lines(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _compared(lines: list[dict[str, Any]], made: Sequence[Made]) -> Watched:
    hello, reports = lines[0], lines[1:]
    of_file: dict[str, list[int]] = defaultdict(list)
    files = {change.file for change in made}
    for report in reports:
        if report["path"] in files:
            of_file[report["path"]].append(report["at_ns"])
    changes: dict[str, list[Made]] = defaultdict(list)
    for change in made:
        changes[change.file].append(change)
    apart = noticed = 0
    for file, done in changes.items():
        here = _counts(sorted(of_file[file]), done)
        apart, noticed = apart + here[0], noticed + here[1]
    return Watched(
        tool=hello["tool"],
        carries=tuple(hello["carries"]),
        reports=sum(map(len, of_file.values())),
        apart=apart,
        noticed=noticed,
    )


def _counts(reports: list[int], done: Sequence[Made]) -> tuple[int, int]:
    """How many changes of one file may have a report of their own, and how many were noticed at all.

    A report can be about any change that had begun. Each change takes the first report that is left in its time.
    """
    noticed = sum(any(c.began_ns <= at <= c.until_ns + GRACE_NS for at in reports) for c in done)
    left = list(reports)
    apart = 0
    for change in sorted(done, key=lambda c: c.began_ns):
        mine = next((at for at in left if change.began_ns <= at <= change.until_ns + GRACE_NS), None)
        if mine is not None:
            left.remove(mine)
            apart += 1
    return apart, noticed


# In the process of a tool


def _say(**what: object) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def _tell(kind: str, path: str) -> None:
    _say(at_ns=time.monotonic_ns(), kind=kind, path=path)


def _at_the_end(act: Callable[[], None]) -> None:
    """Do this when nobody wants to hear any more."""

    def wait() -> None:
        sys.stdin.read()
        act()

    threading.Thread(target=wait, daemon=True).start()


def _watchdog(directory: str) -> None:
    from watchdog.events import FileSystemEvent, FileSystemEventHandler  # noqa: PLC0415 - one tool for each process
    from watchdog.observers import Observer  # noqa: PLC0415 - likewise

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if event.event_type in {"opened", "closed_no_write"} or event.is_directory:
                return  # no change
            _tell(event.event_type, os.fsdecode(event.dest_path or event.src_path))

    observer = Observer()
    observer.schedule(Handler(), directory)
    observer.start()
    _say(tool=f"watchdog {metadata.version('watchdog')}", carries=[field.name for field in fields(FileSystemEvent)])
    sys.stdin.read()
    observer.stop()
    observer.join()


def _watchfiles(directory: str) -> None:
    from watchfiles import Change, watch  # noqa: PLC0415 - one tool for each process

    carries = [f"change: {', '.join(change.name for change in Change)}", "path"]
    over = threading.Event()
    _at_the_end(over.set)
    # It says nothing when it is ready: with a timeout, its first word comes after the watch is there.
    ready = False
    for changes in watch(directory, watch_filter=None, stop_event=over, rust_timeout=100, yield_on_timeout=True):
        if not ready:
            ready = True
            _say(tool=f"watchfiles {metadata.version('watchfiles')}", carries=carries)
        for change, path in changes:
            _tell(change.name, path)


def _inotifywait(directory: str) -> None:
    said = subprocess.run(["inotifywait", "--help"], capture_output=True, text=True, check=False).stdout
    changes = ("modify", "attrib", "close_write", "create", "delete", "moved_to", "moved_from")
    command = ["inotifywait", "--monitor", "--format", _FORMAT, *(f"--event={event}" for event in changes), directory]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Watches established"):
            break
    _say(
        tool=said.partition("\n")[0],
        carries=["%e: the events", "%w%f: the path", "%T: the time of day", "%c: a cookie for moves"],
    )
    _at_the_end(process.terminate)
    for line in process.stdout:
        kind, _, path = line.rstrip("\n").partition(" ")
        _tell(kind, path)
    process.wait()


_MAINS: Final[Mapping[str, Callable[[str], None]]] = {
    "watchdog": _watchdog,
    "watchfiles": _watchfiles,
    "inotifywait": _inotifywait,
}

if __name__ == "__main__":
    _MAINS[sys.argv[1]](sys.argv[2])
