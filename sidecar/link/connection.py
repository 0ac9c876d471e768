"""Sockets on which only the process that has connected may speak.

A process that inherits a connection, or is handed it, sends in its own name, and the kernel says so with what it sends
(unix(7), SCM_CREDENTIALS). Python's own socket does not ask, so the one that is accepted here does.
"""

import array
import fcntl
import socket
import termios
from typing import Final, Self

from sidecar.identity.peer import UCRED

_CREDENTIALS: Final = socket.CMSG_SPACE(UCRED.size)
"""Room for the credentials and for nothing else: descriptors that are sent along are not taken."""


class AnotherSpeaksError(OSError):
    """What has arrived was not sent by the process that had connected.

    Attributes:
        pid: The process that sent it; 0 when it can't be seen.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(f"process {pid} speaks on the connection of another one")
        self.pid = pid


class Connection(socket.socket):
    """A connection of one process.

    Attributes:
        pid: The process that connected; 0 when it can't be seen.
    """

    pid = 0

    @classmethod
    def of(cls, descriptor: int) -> Self:
        """Of an accepted socket's descriptor, which belongs to it from here on."""
        connection = cls(fileno=descriptor)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        connection.pid = UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))[0]
        return connection

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """What has arrived.

        Raises:
            AnotherSpeaksError: Another process sent it.
        """
        data, told, _flags, _address = self.recvmsg(bufsize, _CREDENTIALS, flags)
        if data:  # the end of the stream is nobody's word
            sender: int = UCRED.unpack(told[0][2])[0] if told else 0
            if not told or sender != self.pid:
                raise AnotherSpeaksError(sender)
        return data


class Listener(socket.socket):
    """A listening Unix socket whose connections are such."""

    def __init__(self) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        # What is sent ahead of the accept carries credentials only if this is set when it is sent.
        self.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def accept(self) -> tuple[socket.socket, object]:
        """The next connection, and its address, which has no meaning."""
        descriptor, address = self._accept()  # type: ignore[attr-defined] # what socket.accept is made of
        return Connection.of(descriptor), address


def unread_bytes(connection: socket.socket) -> int:
    """What the kernel holds for us of this connection; nothing of one that is closed."""
    if connection.fileno() < 0:
        return 0
    size = array.array("i", [0])
    try:
        fcntl.ioctl(connection.fileno(), termios.FIONREAD, size)
    except OSError:
        return 0
    return size[0]
