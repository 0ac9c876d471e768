"""Who is on the other end of a Unix socket, as the kernel says (unix(7), SO_PEERCRED)."""

import os
import socket
import struct
from dataclasses import dataclass
from typing import Final, Self

from sidecar.watch.identity import executable_of, start_ticks
from sidecar.watch.namespaces import pids_of, proc_is_ours

UCRED: Final = struct.Struct("3i")
"""Process, user and group (unix(7), SCM_CREDENTIALS)."""

SO_PEERPIDFD: Final = 77
"""Of asm-generic/socket.h; Python has no name for it. Since Linux 6.5."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected.

    Attributes:
        pid: Its process id in our namespace; 0 when it lives in one that we can't see, or /proc is that of another one:
            its id means another process there.
        uid: Its effective user.
        exe: Its executable when it connected; empty when it can't be seen.
        start: When it was started, in clock ticks since the machine was; -1 when not known.
        pidfd: A descriptor of it, to be closed with `close`; -1 when there is none. As long as it is open, no other
            process is taken for this one.
    """

    pid: int
    uid: int
    exe: str = ""
    start: int = -1
    pidfd: int = -1

    @classmethod
    def of(cls, connection: socket.socket) -> Self:
        """Ask the kernel. The answer was fixed when the peer connected."""
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
        pid, uid, _gid = UCRED.unpack(raw)
        if not pid or not proc_is_ours():
            return cls(pid=0, uid=uid)
        ticks = start_ticks(pid)
        return cls(pid, uid, executable_of(pid), -1 if ticks is None else ticks, _pidfd(connection, pid))

    def close(self) -> None:
        """Give the descriptor back."""
        if self.pidfd >= 0:
            os.close(self.pidfd)

    def may_be(self, announced: int) -> bool:
        """Whether this process can call itself ``announced``: its pid in any of the namespaces that it lives in.

        Where the kernel or /proc does not let us see, nothing speaks against it.
        """
        if self.pid in {0, announced}:
            return True
        ids = pids_of(self.pid)
        return not ids or announced in ids


def _pidfd(connection: socket.socket, pid: int) -> int:
    """A descriptor of the process that connected; on an older kernel, of the one that has its id now."""
    try:
        return connection.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError:
        pass
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1
