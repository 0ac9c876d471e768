"""The sockets of linked processes: the one list of them."""

from sidecar.link.session import LinkSession


class OpenLinks:
    """The links whose hello was accepted and that are not closed, oldest first.

    What is known of the process at the other end is in the core's list of gateways.
    """

    def __init__(self) -> None:
        """No link is open."""
        self._sessions: dict[str, LinkSession] = {}

    def add(self, session: LinkSession) -> None:
        """A hello was accepted."""
        self._sessions[session.name] = session

    def remove(self, session: LinkSession) -> None:
        """A link is closed."""
        self._sessions.pop(session.name, None)

    def any(self) -> bool:
        """At least one is open."""
        return bool(self._sessions)

    def open_sessions(self) -> tuple[LinkSession, ...]:
        """All of them."""
        return tuple(self._sessions.values())
