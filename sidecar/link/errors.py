"""What can go wrong when the socket is opened."""

from pathlib import Path

from sidecar.core.errors import SidecarError


class SocketError(SidecarError, OSError):
    """The link socket can't be opened."""


class SocketTakenError(SocketError):
    """Another sidecar answers on the socket."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"socket {path} belongs to a sidecar that is running; stop it, or give this one another --socket"
        )


class SocketBlockedError(SocketError):
    """Something that is no socket lies at the socket's path, or the directory does not let us create one."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"can't open the link socket {path}: {reason}; move it away, or give another --socket")
