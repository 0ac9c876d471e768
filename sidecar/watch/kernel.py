"""Kernel evidence: which process touched which session file or database, once a canary has proven that it is told."""

import asyncio
import contextlib
import errno
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

from sidecar.core.errors import SidecarError
from sidecar.core.facts.bounded import Bounded
from sidecar.core.facts.process import Act, Process
from sidecar.faults import NO_FAULTS, Faults
from sidecar.watch.database.place import written_database
from sidecar.watch.fanotify import NO_PIDFD, Fanotify, FanotifyError, Handle, Mask, Raw
from sidecar.watch.identity import executable_of, identify, started
from sidecar.watch.tree import Kind, is_plain, kind_of

CANARY_SECONDS: Final = 10.0
"""How long the child that proves the evidence may take."""

MAX_WRITERS: Final = 64
"""Processes that wrote to databases of which is remembered who they are."""

_WRITES: Final = Mask.MODIFY | Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO
_CHILD: Final = (
    "import sys; f = open(sys.argv[1], 'a'); f.write('canary'); f.flush(); print(flush=True); sys.stdin.read()"
)
_HINTS: Final = {
    errno.EPERM: "it needs CAP_SYS_ADMIN in the initial user namespace",
    errno.ENOSYS: "this kernel has no fanotify",
    errno.EINVAL: "it needs Linux 5.9 or newer",
    errno.EMFILE: "raise fs.fanotify.max_user_groups",
    errno.ENOSPC: "raise fs.fanotify.max_user_marks",
    errno.EOPNOTSUPP: "the file system can't name its directories to fanotify",
    errno.ENODEV: "the file system can't name its directories to fanotify",
    errno.EXDEV: "the file system can't name its directories to fanotify",
}


class KernelEvidenceError(SidecarError, OSError):
    """There is no kernel evidence to be had here."""


class KernelHandler(Protocol):
    """Who is told what the kernel says."""

    def process_seen(self, path: Path, process: Process, act: Act) -> None:
        """A process touched a session file or a database."""

    def kernel_listening(self, directory: Path) -> None:
        """What is done in this directory is heard from now on."""

    def kernel_overflowed(self) -> None:
        """The kernel's queue was full: sightings are lost."""

    def kernel_heard(self) -> None:
        """The queue is empty."""


class KernelWatch:
    """Listens to fanotify in the directories that it is told to."""

    def __init__(self, handler: KernelHandler, faults: Faults = NO_FAULTS) -> None:
        """Nothing is opened yet; ``faults`` loses events on purpose, as a full queue would."""
        self._faults = faults
        self.events = 0
        self.overflows = 0
        self.unknown = 0
        """Events whose process the kernel did not tell, or that was gone before it could be looked at."""
        self.pidfds = False
        """The kernel gives a descriptor of the writer, too."""
        self._handler = handler
        self._fanotify: Fanotify | None = None
        self._directories: dict[Handle, Path] = {}
        self._writers: Bounded[int, Process] = Bounded(MAX_WRITERS)

    @property
    def on(self) -> bool:
        """The evidence is proven and listened to."""
        return self._fanotify is not None

    @property
    def directories(self) -> int:
        """How many directories are listened to."""
        return len(self._directories)

    def start(self, state_dir: Path, own: Iterable[Path]) -> None:
        """Prove with a canary that the kernel names the right process, then listen.

        Args:
            state_dir: What is watched.
            own: Directories of the sidecar's own; the first one on the file system of the state directory is used.

        Raises:
            KernelEvidenceError: Something of it can't be had; the text says what and why.
        """
        try:
            self.pidfds = prove(_place(state_dir, own))
            self._fanotify = Fanotify()
        except KernelEvidenceError:
            raise
        except OSError as error:
            raise _refused(error) from error
        asyncio.get_running_loop().add_reader(self._fanotify.fileno(), self.drain)

    def stop(self) -> None:
        """Listen no more."""
        if self._fanotify is not None:
            asyncio.get_running_loop().remove_reader(self._fanotify.fileno())
            self._fanotify.close()
            self._fanotify = None
            self._directories.clear()

    def listen(self, directory: Path) -> str:
        """Listen in a directory from now on.

        Returns:
            Why that can't be done; empty when it can.
        """
        if self._fanotify is None:
            return ""
        try:
            handle = self._fanotify.mark(directory)
        except FanotifyError as error:
            return str(_refused(error))
        if self._directories.get(handle) != directory:
            self._directories[handle] = directory
            self._handler.kernel_listening(directory)
        return ""

    def forget(self, directory: Path) -> None:
        """The directory is gone, or has another name."""
        self._directories = {handle: path for handle, path in self._directories.items() if path != directory}

    def drain(self) -> None:
        """Read until the queue is empty: whatever was done before this call is known after it."""
        if self._fanotify is None:
            return
        dropped = False
        for raw in self._fanotify.read():
            try:
                if self._faults.lose_next():
                    dropped = True
                else:
                    self._take(raw)
            finally:
                _close(raw)
        if dropped:
            self._overflow()
        self._handler.kernel_heard()

    def _overflow(self) -> None:
        self.overflows += 1
        self._handler.kernel_overflowed()

    def _take(self, raw: Raw) -> None:
        self.events += 1
        if raw.mask & Mask.OVERFLOW:
            self._overflow()
            return
        directory = self._directories.get(raw.directory) if raw.directory is not None else None
        name = os.fsdecode(raw.name)
        database = written_database(name)
        if directory is None or not (database or kind_of(name) is Kind.SESSION) or not is_plain(name):
            return
        process = self._writer_of_database(raw) if database else identify(raw.pid, raw.pidfd)
        self.unknown += not process.started_at_ns
        for act in _acts(raw.mask):
            self._handler.process_seen(directory / (database or name), process, act)

    def _writer_of_database(self, raw: Raw) -> Process:
        """A database may be written to a thousand times a second by one process: not all of it is looked at anew."""
        known = self._writers.get(raw.pid)
        if known is None or (started(raw.pid), executable_of(raw.pid)) != (known.started_at_ns, known.exe):
            known = identify(raw.pid, raw.pidfd)
            if known.started_at_ns:
                self._writers.put(raw.pid, known)
        return known


def _place(state_dir: Path, own: Iterable[Path]) -> Path:
    device = state_dir.stat().st_dev
    for directory in own:
        if directory.is_dir() and directory.stat().st_dev == device:
            return directory
    raise KernelEvidenceError(
        f"no directory of the sidecar's own is on the file system of {state_dir}, so the kernel's word can't be tried "
        "there; put --data-dir or --socket on it"
    )


def prove(place: Path) -> bool:
    """Have a child of ours write to a file, and see whether the kernel names it.

    Args:
        place: A directory of the sidecar's own, on the file system that is to be watched. Nothing is left in it.

    Returns:
        The kernel gives a descriptor of the writer, too.

    Raises:
        KernelEvidenceError: It does not, or names another.
        OSError: fanotify is not to be had.
    """
    with contextlib.ExitStack() as stack:
        fanotify = Fanotify()
        stack.callback(fanotify.close)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".canary-", dir=place)))
        handle = fanotify.mark(directory)
        child = stack.enter_context(
            subprocess.Popen(
                (sys.executable, "-I", "-S", "-c", _CHILD, str(directory / "canary")),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        )
        stack.callback(child.kill)
        if child.stdout is None or not select.select([child.stdout], [], [], CANARY_SECONDS)[0]:
            raise KernelEvidenceError(f"the canary's child did not write within {CANARY_SECONDS:g} s")
        child.stdout.readline()
        seen = list(fanotify.read())
        for raw in seen:
            _close(raw)
        written = [raw for raw in seen if raw.directory == handle and raw.name == b"canary" and raw.mask & Mask.MODIFY]
        pids = {raw.pid for raw in written}
        if pids != {child.pid}:
            named = ", ".join(str(pid) for pid in sorted(pids)) or "nobody"
            text = f"the canary was written by process {child.pid}, and the kernel names {named}"
            hint = (
                "; outside the initial user namespace, or without CAP_SYS_ADMIN, it tells no pid" if 0 in pids else ""
            )
            raise KernelEvidenceError(text + hint)
        return all(raw.pidfd != NO_PIDFD for raw in written)


def _acts(mask: Mask) -> Iterable[Act]:
    if mask & _WRITES:
        yield Act.WRITE
    if mask & Mask.CLOSE_WRITE and not mask & _WRITES:
        yield Act.CLOSE
    if mask & Mask.ATTRIB:
        yield Act.METADATA


def _close(raw: Raw) -> None:
    if raw.pidfd >= 0:
        os.close(raw.pidfd)


def _refused(error: OSError) -> KernelEvidenceError:
    hint = _HINTS.get(error.errno or 0)
    return KernelEvidenceError(f"{error}; {hint}" if hint else str(error))
