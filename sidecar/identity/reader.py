"""Reads from /proc what the steps judge."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from sidecar.identity.arguments import main_script
from sidecar.identity.peer import Peer
from sidecar.identity.seen import Seen
from sidecar.watch.identity import cgroup_of, lives, start_ticks
from sidecar.watch.namespaces import pids_of
from sidecar.watch.processes import parent_of

PACKAGE: Final = "openclaw"

_PROC: Final = Path("/proc")
_DELETED: Final = " (deleted)"
_MAX_COMMAND_LINE: Final = 1 << 16
_MAX_PACKAGE: Final = 1 << 20
_MAX_LOCK: Final = 1 << 16
_MAX_GENERATIONS: Final = 64
_MAX_LINKS: Final = 40
_MANAGERS: Final = frozenset({"systemd", "init", "tini", "dumb-init", "docker-init", "catatonit", "conmon", "runsv"})
"""Programs that take over processes whose parent has ended, where they are not the init process of a namespace."""


class Reader:
    """Reads processes."""

    def __init__(self, proc: Path = _PROC) -> None:
        """``proc`` is where the kernel's files are."""
        self._proc = proc

    def look(self, peer: Peer) -> Seen:
        """The process that has connected, as it is now."""
        pid = peer.pid
        if not pid:
            return Seen(0)
        start = self._start(pid)
        exe = self._link(pid, "exe").removesuffix(_DELETED)
        hidden, script = self._script(pid) if exe else (False, "")
        seen = Seen(
            pid=pid,
            start=start,
            exe=exe,
            hidden=hidden,
            script=script,
            package=self._package(pid, script) if script else "",
            ancestors=tuple(self._ancestors(pid, start)),
            orphan=self._is_orphan(pid),
            cgroup=cgroup_of(pid, self._proc),
            lock=self._lock(pid, start) if hidden else "",
            same=True,
        )
        same = start >= 0 and start == peer.start == self._start(pid) and lives(peer.pidfd)
        return seen if same else Seen(pid, start, exe, same=False)

    def told(self, seen: Seen, script: str) -> Seen:
        """The same, with the main script that it names itself where its command line is hidden."""
        if not seen.hidden or not script.startswith("/"):
            return seen
        resolved = self._resolve(seen.pid, script)
        return replace(seen, script=resolved, package=self._package(seen.pid, resolved))

    def _start(self, pid: int) -> int:
        ticks = start_ticks(pid, self._proc)
        return -1 if ticks is None else ticks

    def _link(self, pid: int, name: str) -> str:
        try:
            return str((self._proc / str(pid) / name).readlink())
        except OSError:
            return ""

    def _read(self, path: Path, limit: int) -> bytes:
        """The start of a file; empty when it can't be read, is none, or is longer."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError:
            return b""
        with os.fdopen(handle, "rb") as file:
            try:
                content = file.read(limit + 1) or b""
            except OSError:
                return b""
        return content if len(content) <= limit else b""

    def _script(self, pid: int) -> tuple[bool, str]:
        """Whether the command line is hidden, and the main script that it names."""
        line = self._read(self._proc / str(pid) / "cmdline", _MAX_COMMAND_LINE)
        words = line.rstrip(b"\0").split(b"\0")
        if len(words) == 1 and (line.endswith(b"\0\0") or not words[0]):
            return True, ""  # a title is written over the words, and NULs over what is left of them
        named = main_script([os.fsdecode(word) for word in words])
        if not named:
            return False, ""
        absolute = str(PurePosixPath(self._link(pid, "cwd") or "/") / named)
        return False, self._resolve(pid, absolute)

    def _root(self, pid: int) -> Path:
        return self._proc / str(pid) / "root"

    def _resolve(self, pid: int, path: str) -> str:
        """A path as the process means it, links followed from its root on; empty for a loop of links."""
        root, left, links = self._root(pid), path.split("/")[::-1], 0
        done: list[str] = []
        while left:
            part = left.pop()
            if part in {"", "."}:
                continue
            if part == "..":
                done[-1:] = []
                continue
            try:
                target = str(root.joinpath(*done, part).readlink())
            except OSError:
                done.append(part)
                continue
            links += 1
            if links > _MAX_LINKS:
                return ""
            if target.startswith("/"):
                done.clear()
            left += target.split("/")[::-1]
        return "/" + "/".join(done)

    def _package(self, pid: int, script: str) -> str:
        """The directory of the openclaw package that the script lies in. The nearest package with a name decides."""
        root = self._root(pid)
        if not root.joinpath(*script.split("/")).is_file():
            return ""
        for directory in PurePosixPath(script).parents:
            text = self._read(root.joinpath(*directory.parts[1:], "package.json"), _MAX_PACKAGE)
            name = _json(text).get("name") if text else None
            if name is not None:
                return str(directory) if name == PACKAGE else ""
        return ""

    def _ancestors(self, pid: int, start: int) -> Iterator[tuple[int, int]]:
        """Its parent and so on. A parent that is younger than its child is another process under an old id."""
        for _ in range(_MAX_GENERATIONS):
            pid = parent_of(pid, self._proc)
            born = self._start(pid) if pid else -1
            if born < 0 or born > start:
                return
            yield pid, born
            start = born

    def _is_orphan(self, pid: int) -> bool:
        parent = parent_of(pid, self._proc)
        if parent <= 1:
            return True
        name = self._read(self._proc / str(parent) / "comm", _MAX_COMMAND_LINE).strip().decode(errors="replace")
        return name in _MANAGERS or pids_of(parent, self._proc)[-1:] == (1,)

    def _lock(self, pid: int, start: int) -> str:
        """The lock file of a gateway that the process has open for writing, and that names it."""
        try:
            descriptors = sorted((self._proc / str(pid) / "fd").iterdir())
        except OSError:
            return ""
        for descriptor in descriptors:
            try:
                path = str(descriptor.readlink())
            except OSError:
                continue
            name = PurePosixPath(path).name
            if not (name.startswith("gateway.") and name.endswith(".lock")):
                continue
            said = _json(self._read(descriptor, _MAX_LOCK))
            named = said.get("pid") in pids_of(pid, self._proc) and said.get("startTime", start) == start
            if named and self._writes(pid, descriptor.name):
                return path
        return ""

    def _writes(self, pid: int, descriptor: str) -> bool:
        for line in self._read(self._proc / str(pid) / "fdinfo" / descriptor, _MAX_LOCK).decode().splitlines():
            name, _, value = line.partition(":")
            if name == "flags":
                return int(value, 8) & os.O_ACCMODE != os.O_RDONLY
        return False


def _json(text: bytes) -> dict[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
