"""What the driver needs from the other rooms."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from sidecar.core.custody.kept import AnyKeptChain
from sidecar.core.decisions import Command, Record
from sidecar.core.events import Event
from sidecar.core.outcomes import AnyOutcome
from sidecar.core.verdict.incident import Incident


class Records(Protocol):
    """Where everything is kept that must not be forgotten."""

    def commit(self, records: Iterable[Record]) -> None:
        """Put all of it on disk in one commit, and make the pages due that its incidents name.

        Raises:
            SidecarError: Nothing of it is on disk.
        """


class Chains(Protocol):
    """Chains of custody of the sidecar's earlier lives."""

    def recall(self, file: str) -> AnyKeptChain | None:
        """What was kept of this transcript."""


class Listener(Protocol):
    """Told of everything that happens and of what came of it (telemetry). Never raises, never blocks."""

    def event(self, event: Event) -> None:
        """The core was told something."""

    def within(self, event: Event) -> AbstractContextManager[None]:
        """What is logged in this context is about this event."""

    def outcome(self, outcome: AnyOutcome) -> None:
        """This came of the event that the core was told last."""

    def recorded(self, incident: Incident) -> None:
        """The incident has come to something new, and is on record as far as it could be put there."""

    def answered(self, seconds: float) -> None:
        """A gateway's question was answered so long after it arrived."""


class Link(Protocol):
    """A linked process."""

    @property
    def name(self) -> str:
        """As events and commands name it."""

    async def sync(self, bound_seconds: float) -> bool:
        """Wait until the process has reported all that it did so far; False when it does not in time."""

    def command(self, command: Command) -> bool:
        """Send it; False when the process is gone or does not read."""


class Trust(Protocol):
    """Which links are believed; see `sidecar.core.engine.Engine`."""

    def believes(self, link: str) -> bool:
        """What this link says is taken for true."""

    def is_alone(self, link: str, file: str) -> bool:
        """It is not believed, and has a window on a transcript on which nobody has one who is."""


class Links(Protocol):
    """The processes that are linked now."""

    def open_sessions(self) -> Iterable[Link]:
        """All of them."""
