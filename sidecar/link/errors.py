"""What can go wrong when the socket is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.core.errors import SidecarError

if TYPE_CHECKING:
    from pathlib import Path


class SocketError(SidecarError, OSError):
    """The link socket can't be opened."""


class SocketTakenError(SocketError):
    """Another sidecar answers on the socket."""

    def __init__(self, path: Path) -> None:
        """Name the socket and the way out."""
        super().__init__(
            f"socket {path} belongs to a sidecar that is running; stop it, or give this one another --socket"
        )


class SocketBlockedError(SocketError):
    """Something that is no socket lies at the socket's path, or the directory does not let us create one."""

    def __init__(self, path: Path, reason: str) -> None:
        """Name the path, the reason and the way out."""
        super().__init__(f"can't open the link socket {path}: {reason}; move it away, or give another --socket")
