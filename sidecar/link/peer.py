"""Who is on the other end of a Unix socket, as the kernel says (unix(7), SO_PEERCRED)."""

import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_UCRED: Final = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Peer:
    """Credentials of the process that connected.

    Attributes:
        pid: Its process id in our namespace; 0 when it lives in one that we can't see.
        uid: Its effective user.
        exe: Its executable when it connected; empty when it can't be seen.
    """

    pid: int
    uid: int
    exe: str = ""

    @classmethod
    def of(cls, connection: socket.socket) -> Self:
        """Ask the kernel. The answer was fixed when the peer connected."""
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        pid, uid, _gid = _UCRED.unpack(raw)
        return cls(pid=pid, uid=uid, exe=_executable(pid))

    def may_be(self, announced: int) -> bool:
        """Whether this process can call itself ``announced``: its pid in any of the namespaces that it lives in.

        Where the kernel or /proc does not let us see, nothing speaks against it.
        """
        if self.pid in {0, announced}:
            return True
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return True
        for line in status.splitlines():
            if line.startswith("NSpid:"):
                return str(announced) in line.split()[1:]
        return False


def _executable(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/exe").readlink()) if pid else ""
    except OSError:
        return ""
