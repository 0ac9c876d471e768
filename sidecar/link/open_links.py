"""The links whose hello was accepted and that are not closed."""

from collections.abc import Collection

from sidecar.link.session import LinkSession


class OpenLinks:
    """The open links, oldest first.

    What is known of the process at the other end is in the core's list of gateways.
    """

    def __init__(self) -> None:
        self._sessions: dict[str, LinkSession] = {}

    def add(self, session: LinkSession) -> None:
        """A hello was accepted."""
        self._sessions[session.name] = session

    def remove(self, session: LinkSession) -> None:
        """A link is closed."""
        self._sessions.pop(session.name, None)

    def end(self, names: Collection[str], reason: str) -> None:
        """Have these link anew."""
        for name in names:
            session = self._sessions.get(name)
            if session is not None:
                session.end(reason)

    def look_again(self) -> None:
        """See which of them are believed by now, and which no rule of the policy admits any more."""
        for session in self.open_sessions():
            session.look_again()

    def any(self) -> bool:
        """At least one is open."""
        return bool(self._sessions)

    def open_sessions(self) -> tuple[LinkSession, ...]:
        """All of them."""
        return tuple(self._sessions.values())
