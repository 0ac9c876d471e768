"""The socket on which gateways link."""

import asyncio
import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

from sidecar.faults import NO_FAULTS, Faults
from sidecar.identity.peer import Peer
from sidecar.link.connection import AnotherSpeaksError, Connection, Listener
from sidecar.link.errors import SocketBlockedError, SocketTakenError
from sidecar.link.open_links import OpenLinks
from sidecar.link.session import LinkHandler, LinkSession
from sidecar.link.verifier import Verifier
from sidecar.wire.messages import MAX_LINE_BYTES

_PRIVATE_UMASK: Final = 0o177
_SHARED_UMASK: Final = 0o111
_CONNECT_SECONDS: Final = 1.0
_CHUNK_BYTES: Final = 1 << 18


class _Ear(asyncio.StreamReaderProtocol):
    """Hears a gateway to its end.

    asyncio gives up what a peer has sent when it is gone before it could be answered. A short-lived process or thread
    says what it did and goodbye, and goes at once; without its last words custody would be lost.
    """

    _transport_heard: asyncio.BaseTransport
    another: int | None = None
    """The process that spoke, where it was not the one that had connected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember whom to read the rest from."""
        self._transport_heard = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Read what is left, and end the stream as if the peer had closed it in order."""
        if isinstance(exc, AnotherSpeaksError):
            self.another = exc.pid
        elif exc is not None:
            self._hear_the_rest()
        super().connection_lost(None)

    def _hear_the_rest(self) -> None:
        try:
            with Connection.of(os.dup(self._transport_heard.get_extra_info("socket").fileno())) as connection:
                while rest := connection.recv(_CHUNK_BYTES):
                    self.data_received(rest)
        except AnotherSpeaksError as error:
            self.another = error.pid
        except OSError:
            pass


class LinkServer:
    """Accepts gateways of the same user on a socket of mode 0600; of named other users as well, on one of mode 0666."""

    def __init__(
        self,
        path: Path,
        handler: LinkHandler,
        verifier: Verifier,
        links: OpenLinks,
        *,
        version: str,
        mode: str,
        uids: frozenset[int] = frozenset(),
        faults: Faults = NO_FAULTS,
    ) -> None:
        """Nothing is opened yet; ``links`` is kept as the list of open links, ``uids`` may link besides our own."""
        self.path = path
        self._links = links
        self._handler = handler
        self._verifier = verifier
        self._uids = uids
        self._version = version
        self._mode = mode
        self._faults = faults
        self._server: asyncio.Server | None = None
        self._bound: tuple[int, int] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the socket, taking over a stale one that nobody answers on.

        Raises:
            SocketTakenError: A live sidecar answers there.
            SocketBlockedError: Something else is there, or the directory can't be written to.
        """
        self._clear_stale()
        listener = self._bind()
        loop = asyncio.get_running_loop()

        def protocol() -> _Ear:
            return _Ear(asyncio.StreamReader(limit=MAX_LINE_BYTES, loop=loop), self._accept, loop=loop)

        self._server = await loop.create_unix_server(protocol, sock=listener)

    async def stop(self) -> None:
        """Close every link and remove the socket, if it still is ours."""
        if self._bound is not None and _identity(self.path) == self._bound:
            self.path.unlink()
        if self._server is not None:
            self._server.close()
        self._verifier.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _bind(self) -> socket.socket:
        """A listening socket that nobody else may connect to, from its first moment.

        Where other users may link, every user may connect, and is turned away by the kernel's word of who it is.
        """
        listener = Listener()
        before = os.umask(_SHARED_UMASK if self._uids else _PRIVATE_UMASK)
        try:
            listener.bind(str(self.path))
            listener.listen()
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                raise SocketTakenError(self.path) from error
            raise SocketBlockedError(self.path, error.strerror or str(error)) from error
        finally:
            os.umask(before)
        self._bound = _identity(self.path)
        return listener

    def _clear_stale(self) -> None:
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return
        except OSError as error:
            raise SocketBlockedError(self.path, error.strerror or str(error)) from error
        if not stat.S_ISSOCK(found.st_mode):
            raise SocketBlockedError(self.path, "there is a file that is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_CONNECT_SECONDS)
            try:
                probe.connect(str(self.path))
            except (ConnectionRefusedError, FileNotFoundError):
                self.path.unlink(missing_ok=True)
            except (BlockingIOError, TimeoutError) as error:
                # Somebody listens, and is too busy to accept.
                raise SocketTakenError(self.path) from error
            except OSError as error:
                raise SocketBlockedError(self.path, error.strerror or str(error)) from error
            else:
                raise SocketTakenError(self.path)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer.of(writer.get_extra_info("socket"))
        session = LinkSession(
            reader,
            writer,
            peer,
            self._handler,
            self._verifier,
            self._links,
            self._version,
            self._mode,
            self._faults,
        )
        allowed = self._uids | {os.geteuid()}
        if peer.uid not in allowed:
            peer.close()
            named = " or ".join(map(str, sorted(allowed)))
            text = f"process {peer.pid} of uid {peer.uid} tried to link; only uid {named} may"
            self._handler.link_rejected(session, "foreign_uid", text)
            writer.close()
            return
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._verifier.meet(session.name, peer)
        ear = writer.transport.get_protocol()
        try:
            await session.serve()
        except asyncio.CancelledError:
            # The server is stopping; asyncio's stream server would log a cancelled handler as an error.
            return
        if isinstance(ear, _Ear) and ear.another is not None:
            text = f"process {ear.another} spoke on the link of process {peer.pid}"
            self._handler.link_rejected(session, "another_speaks", text)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file lies at the path."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
