"""Keeps what fanotify reported of who wrote: it strengthens or refuses a verdict, and never replaces the bytes.

Theory of operation. The watch reports each sighting of a process at a session file. A sighting bears no time of its own
and comes over another way than the gateway's reports, so its place against a fence is known only on one side: what is
read after word of the fence came, with the kernel's queue emptied in between, was done after the fence. What was read
up to `LATE_NS` earlier may have been done after it, too. The first kind proves something, both kinds cast doubt.
"""

from collections.abc import Callable
from typing import Final

from sidecar.core.custody.kernel_evidence import NO_KERNEL_EVIDENCE, KernelEvidence, Mark
from sidecar.core.facts.process import Act, Process

LATE_NS: Final = 2 * 1_000_000_000
"""No word of a fence is under way for so long."""

MAX_SEEN: Final = 256
"""Processes remembered for each file; with more, nothing is concluded of the time before."""


class KernelLog:
    """Keeps the sightings: of each process and act at each file the latest one."""

    def __init__(self) -> None:
        self._directories: dict[str, int] = {}
        self._seen: dict[str, dict[tuple[Process, Act], tuple[int, int]]] = {}
        self._past: dict[int, int] = {}
        self._number = 0
        self._heard_ns = 0

    def listening(self, directory: str, at_ns: int) -> None:
        """The files in this directory are listened to from now on."""
        self._directories[directory] = at_ns

    def deaf(self, at_ns: int) -> None:
        """Sightings are lost: their absence proves something only from now on."""
        self._directories = dict.fromkeys(self._directories, at_ns)

    def heard(self, at_ns: int) -> None:
        """The kernel's queue is empty."""
        self._heard_ns = at_ns

    def ended(self, pid: int, started_at_ns: int) -> None:
        """A linked process is gone. What it did before is still its own."""
        self._past.pop(pid, None)
        self._past[pid] = started_at_ns
        if len(self._past) > MAX_SEEN:
            del self._past[next(iter(self._past))]

    def was_linked(self, process: Process) -> bool:
        """The process had a link."""
        return process.pid in self._past and process.may_be(process.pid, self._past[process.pid])

    def saw(self, file: str, process: Process, act: Act, at_ns: int) -> int:
        """A sighting.

        Returns:
            The number of the last one of the same kind; 0 when this is the first.
        """
        self._number += 1
        seen = self._seen.setdefault(file, {})
        before = seen.pop((process, act), (0, 0))
        seen[process, act] = (at_ns, self._number)
        if len(seen) > MAX_SEEN:
            del seen[next(iter(seen))]
            self._directories[_directory(file)] = at_ns
        return before[1]

    @property
    def past(self) -> tuple[tuple[int, int], ...]:
        """Pid and start of processes that had a link, in the order in which they ended."""
        return tuple(self._past.items())

    @property
    def drained_ns(self) -> int:
        """When all that the kernel had to say was taken in last; 0 while it is not listened to."""
        return self._heard_ns

    def listening_ns(self, file: str) -> int | None:
        """Since when the kernel names who touches this file; None where that is not known."""
        return self._directories.get(_directory(file))

    def accesses(self, file: str) -> list[tuple[Process, Act, int]]:
        """Who did what to this file, and when that was heard last; in the order of hearing."""
        seen = sorted(self._seen.get(file, {}).items(), key=lambda item: item[1][1])
        return [(process, act, at_ns) for (process, act), (at_ns, _number) in seen]

    def mark(self) -> Mark | None:
        """Here comes word of a fence; None while the kernel is not listened to."""
        return Mark(self._heard_ns, self._number) if self._heard_ns else None

    def testify(self, file: str, fence: Mark | None, knows: Callable[[Process], bool]) -> KernelEvidence:
        """What was seen since word of a fence came; ``knows`` a linked gateway or another known writer."""
        if fence is None:
            return NO_KERNEL_EVIDENCE
        since_ns = fence.at_ns - LATE_NS
        known: set[int] = set()
        touched: dict[Process, None] = {}
        doubtful: dict[Process, None] = {}
        proven: dict[Process, None] = {}
        for (process, act), (at_ns, number) in self._seen.get(file, {}).items():
            if at_ns < since_ns:
                continue
            if not knows(process):
                touched[process] = None
                if act is Act.METADATA:
                    continue
                doubtful[process] = None
                if act is Act.WRITE and number > fence.number and process.pid:
                    proven[process] = None
            elif act is Act.WRITE:
                known.add(process.pid)
        whole = self._directories.get(_directory(file), fence.at_ns) <= since_ns
        everyone = tuple(touched) if whole and touched else None
        return KernelEvidence(whole, frozenset(known), tuple(doubtful), tuple(proven), everyone)


def _directory(file: str) -> str:
    return file.rpartition("/")[0]
