"""inotify events to core events: compares fingerprints after a short wait, passes on lock files and lost events."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sidecar.core import events as ev
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.process import Process
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.driver.driver import Driver
from sidecar.intake.gateways import KnownGateways
from sidecar.intake.kernel import KernelIntake
from sidecar.intake.link import Losing
from sidecar.watch.identity import executable_of, identify
from sidecar.watch.lockfile import LockPayload
from sidecar.watch.namespaces import Sight
from sidecar.watch.openers import open_for_writing
from sidecar.watch.reading import fingerprint_of, jsonl_problem
from sidecar.watch.tree import printable

SETTLE_SECONDS: Final = 0.02
"""A burst of events on one file is looked at once, so long after its first."""


HINT_SECONDS: Final = 0.25
"""So long after a search for open files there is no other."""


@dataclass(eq=False, slots=True)
class FileIntake:
    """The `WatchHandler` of the service.

    Attributes:
        _lost: Is called when file events may be missing.
        _refuse: Is called for names that are left alone.
        _named: Adds what is known of a process as a program that an agent started.
    """

    _driver: Driver
    _known_gateways: KnownGateways
    _kernel_intake: KernelIntake
    _now_ns: Callable[[], int]
    _lost: Losing
    _refuse: Callable[[str, str], None]
    _named: Callable[[Process], Process]
    _dirty: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    _last: dict[str, Fingerprint] = field(default_factory=dict)
    _strange: set[Path] = field(default_factory=set)
    _resolved: dict[Path, Path] = field(default_factory=dict)
    _hint_again: float = 0.0

    def directory_watched(self, path: Path) -> None:
        """The kernel is asked who writes there, too."""
        self._resolved.pop(path, None)
        self._kernel_intake.listen(path)

    def directory_renamed(self, path: Path) -> None:
        """What happened to the files below it meanwhile is not known."""
        self._resolved.clear()
        renamed = Reason.of(ReasonCode.DIRECTORY_RENAMED, directory=printable(str(path)))
        for known in [known for known in self._last if known.startswith(f"{path}/")]:
            self._lost(Loss.RENAMED, renamed, self._key(Path(known)))

    def directory_gone(self, path: Path) -> None:
        """Nothing is heard of it any more."""
        self._resolved.pop(path, None)
        self._kernel_intake.forget(path)

    def file_found(self, path: Path) -> None:
        """It was there before we were: nothing has happened to it."""
        with contextlib.suppress(OSError):
            self._last[str(path)] = fingerprint_of(path)
        self._check(path)

    def file_touched(self, path: Path) -> None:
        """Look at the file soon."""
        name = str(path)
        if name not in self._dirty:
            self._dirty[name] = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self.look, name)

    def lock_seen(self, path: Path, holder: LockPayload) -> None:
        """Somebody holds a session lock."""
        if self._known_gateways.speaks(holder.pid, holder.start):
            return
        found = self._known_gateways.holder(holder.pid, holder.start)
        hidden = found.sight is Sight.HIDDEN
        exe = executable_of(found.pid) if found.pid else ""
        if hidden:
            self._known_gateways.not_visible(holder.pid)
        elif found.pid:
            self._known_gateways.noticed(found.pid, exe, "it took a session lock")
        self._driver.handle(
            ev.LockFileSeen(
                file=self._key(path), pid=found.pid or holder.pid, exe=exe, at_ns=self._now_ns(), hidden=hidden
            )
        )

    def lock_gone(self, path: Path) -> None:
        """A session lock was given back. What was written under it is looked at first."""
        name = str(path)
        if name in self._dirty:
            self.look(name)
        self._driver.handle(ev.LockFileGone(file=self._key(path), at_ns=self._now_ns()))

    def watch_overflowed(self, problem: str) -> None:
        """File events are lost."""
        self._lost(Loss.OVERFLOW, Reason.of(ReasonCode.WATCH_OVERFLOWED, problem=problem))

    def name_refused(self, path: Path, code: str, reason: str) -> None:
        """A name is left alone, or can't be followed all the way."""
        self._refuse(code, f"{path}: {reason}")

    def look(self, name: str) -> None:
        """Compare the fingerprint of the file of that path with the last one seen, and tell the core of a change."""
        pending = self._dirty.pop(name, None)
        if pending is not None:
            pending.cancel()
        try:
            current = fingerprint_of(name)
        except OSError as error:
            self._refuse("unreadable", f"{name}: {error.strerror or error}")
            return
        before = self._last.get(name, Fingerprint.absent())
        if before == current:
            return
        path = Path(name)
        self._check(path)
        self._last[name] = current
        self._hint(path)
        event = ev.FingerprintChanged(file=self._key(path), before=before, fingerprint=current, at_ns=self._now_ns())
        self._driver.handle(event)

    def _hint(self, path: Path) -> None:
        """Who has a fenced file open for writing, besides its gateways: a line for people, on which nothing rests."""
        file, now = self._key(path), time.monotonic()
        if now < self._hint_again or not self._driver.is_fenced(file):
            return
        self._hint_again = now + HINT_SECONDS
        for pid in open_for_writing(Path(file)):
            if pid not in self._known_gateways.believed_pids():
                who = self._named(identify(pid)).label()
                detail = f"the file is open for writing by {who}; that proves nothing"
                self._driver.handle(
                    ev.TimelineNote(file=file, run_id="", what="hint", detail=detail, at_ns=self._now_ns())
                )

    def _check(self, path: Path) -> None:
        """Say once of a file that it is no JSONL. Its bytes are accounted for all the same."""
        problem = "" if path in self._strange else jsonl_problem(path)
        if problem:
            self._strange.add(path)
            text = "changes are judged by their bytes all the same; look at it before the gateway does"
            self._refuse("not_jsonl", f"{path}: {problem}; {text}")

    def _key(self, path: Path) -> str:
        """The name under which the preload knows the file: its directory with all links followed."""
        directory = self._resolved.get(path.parent)
        if directory is None:
            directory = self._resolved[path.parent] = path.parent.resolve()
        return f"{directory}/{path.name}"

    def stop(self) -> None:
        """Forget what was to be looked at."""
        for pending in self._dirty.values():
            pending.cancel()
        self._dirty.clear()
