"""What the driver needs from the other rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from sidecar.core.chain import KeptChain
    from sidecar.core.decisions import Command
    from sidecar.core.events import Event
    from sidecar.core.incident import Incident, Subject
    from sidecar.core.outcomes import AnyOutcome
    from sidecar.core.recording import Recording


class IncidentSink(Protocol):
    """Where incidents are kept."""

    def save(self, incident: Incident, spent_at_ns: int = 0) -> None:
        """On disk when it returns, and with it that a recovery was counted at ``spent_at_ns``, if that is not 0."""
        ...


class ChainSink(Protocol):
    """Where chains of custody outlive the sidecar."""

    def keep(self, *chains: KeptChain) -> None:
        """On disk when it returns, all of them or none."""
        ...

    def recall(self, file: str) -> KeptChain | None:
        """What was kept of this file."""
        ...


class RecordingSink(Protocol):
    """Where recordings of windows are kept."""

    def keep(self, incident: Incident, recording: Recording) -> None:
        """On disk when it returns, in the place of an earlier one of this incident."""
        ...


class PageSink(Protocol):
    """Where pages go."""

    def page(self, incident: Incident, about: Subject) -> None:
        """Accept a page for delivery; durable when it returns, delivered later."""
        ...


class Listener(Protocol):
    """Told of everything that happens and of what came of it (telemetry). Never raises, never blocks."""

    def event(self, event: Event) -> None:
        """The core was told something."""
        ...

    def within(self, event: Event) -> AbstractContextManager[None]:
        """What is logged in this context is about this event."""
        ...

    def outcome(self, outcome: AnyOutcome) -> None:
        """This came of the event that the core was told last."""
        ...

    def answered(self, seconds: float) -> None:
        """A gateway's question was answered so long after it arrived."""
        ...


class Link(Protocol):
    """A linked process."""

    @property
    def name(self) -> str:
        """As events and commands name it."""
        ...

    async def sync(self, bound_seconds: float) -> bool:
        """Wait until the process has reported all that it did so far; False when it does not in time."""
        ...

    def command(self, command: Command) -> bool:
        """Send it; False when the process is gone or does not read."""
        ...


class Links(Protocol):
    """The processes that are linked now."""

    def open_sessions(self) -> Iterable[Link]:
        """All of them."""
        ...
