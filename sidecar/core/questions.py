"""What a gateway asks, or says at its check: the driver adds what the file holds, and the core answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.core.events import LockTimedOut, TurnTripped, VerdictAsked
from sidecar.core.facts.value import Value

if TYPE_CHECKING:
    from sidecar.core.facts.content import Snapshot
    from sidecar.core.facts.fingerprint import Fingerprint
    from sidecar.core.facts.gateway import Run


class CheckAsked(Value, frozen=True, kw_only=True):
    """A run holds the session lock, stands at its check and sees a difference: may it go on?"""

    ask: str
    link: str
    window: str
    file: str
    fence: Fingerprint
    current: Fingerprint
    run: Run
    at_ns: int

    def seen(self, snapshot: Snapshot, *, heard: bool, heard_ns: int) -> VerdictAsked:
        """The question with the file as it is; ``heard``: every other link has reported what it did."""
        return VerdictAsked(
            ask=self.ask,
            link=self.link,
            window=self.window,
            file=self.file,
            fence=self.fence,
            current=self.current,
            run=self.run,
            snapshot=snapshot,
            at_ns=self.at_ns,
            unheard=not heard,
            heard_ns=heard_ns,
        )


class WaitAsked(Value, frozen=True, kw_only=True):
    """A fenced run did not acquire the session lock in ``waited_ns``: may it wait on?"""

    ask: str
    link: str
    window: str
    file: str
    fence: Fingerprint
    run: Run
    waited_ns: int
    at_ns: int

    def seen(self, snapshot: Snapshot, *, holder_pid: int, holder_exe: str, heard: bool, heard_ns: int) -> LockTimedOut:
        """The question with the file as it is, and who holds the lock by its lock file."""
        return LockTimedOut(
            ask=self.ask,
            link=self.link,
            window=self.window,
            file=self.file,
            fence=self.fence,
            run=self.run,
            snapshot=snapshot,
            waited_ns=self.waited_ns,
            holder_pid=holder_pid,
            holder_exe=holder_exe,
            at_ns=self.at_ns,
            unheard=not heard,
            heard_ns=heard_ns,
        )


class TurnStopped(Value, frozen=True, kw_only=True):
    """The gateway's own fence stopped the turn, at a file that was ``current``."""

    link: str
    window: str
    file: str
    fence: Fingerprint
    current: Fingerprint
    run: Run
    at_ns: int

    def seen(self, snapshot: Snapshot, *, heard: bool, heard_ns: int) -> TurnTripped:
        """The stopped turn with the file as it is."""
        return TurnTripped(
            link=self.link,
            window=self.window,
            file=self.file,
            fence=self.fence,
            run=self.run,
            snapshot=snapshot,
            at_ns=self.at_ns,
            unheard=not heard,
            heard_ns=heard_ns,
        )


Question = CheckAsked | WaitAsked | TurnStopped
"""Somebody waits for the answer, or for what comes of it."""
