"""One link: handshake, sequence, decoding, and what is sent back."""

from __future__ import annotations

import array
import asyncio
import fcntl
import itertools
import termios
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.core.drops import Drops
from sidecar.core.gateway import Role
from sidecar.link.translate import ChangeReader, Speaker
from sidecar.wire import messages as wire
from sidecar.wire.codec import WireError, decode_from_gateway, encode, negotiated

if TYPE_CHECKING:
    from sidecar.link.peer import Peer

MAX_UNSENT_BYTES: Final = 1 << 20
"""A gateway that does not read its commands is cut off, rather than kept in memory."""

OF_COTENANTS: Final = (wire.Changed, wire.LockTaken, wire.LockReleased, wire.LockFailed)
"""What a program outside of OpenClaw may report."""

_RESTART: Final = "restart the gateway so that it loads the preload of this version"
_QUIET_TURNS: Final = 4
"""What the loop has read in one turn is taken in by the reading task in the next; one more for good measure each."""

_REPORTS: Final = (
    wire.Changed,
    wire.LockTaken,
    wire.LockReleased,
    wire.FenceSet,
    wire.FenceClosed,
    wire.Applied,
    wire.Tripped,
    wire.Diagnostic,
)
"""What simulated loss may drop."""

_links = itertools.count(1)


class LinkHandler(Protocol):
    """Who understands what a link says."""

    async def link_opened(self, session: LinkSession) -> None:
        """A hello was accepted."""
        ...

    async def link_message(self, session: LinkSession, message: wire.GatewayMessage) -> None:
        """A message arrived, in order."""
        ...

    async def link_gap(self, session: LinkSession, missing: int) -> None:
        """Messages are missing from the sequence, or the gateway had to drop some."""
        ...

    async def link_rejected(self, session: LinkSession, reason: str, text: str) -> None:
        """Input was refused; ``reason`` is a short stable word, ``text`` a line for people."""
        ...

    async def link_closed(self, session: LinkSession, *, clean: bool) -> None:
        """A link that had been opened is gone."""
        ...


@dataclass(eq=False)
class LinkSession:
    """The state of one link.

    Attributes:
        reader: Incoming lines.
        writer: Outgoing lines.
        peer: Who connected, by the kernel's word.
        handler: Told of everything.
        version: The sidecar's version, for the welcome.
        mode: The mode, for the welcome.
        drops: Loses reports on purpose.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    peer: Peer
    handler: LinkHandler
    version: str
    mode: str
    drops: Drops = field(default_factory=Drops)
    name: str = field(default_factory=lambda: f"link-{next(_links)}")
    hello: wire.Hello | None = None
    adapter: wire.AdapterFound | None = None
    started_at_ns: int = 0
    messages: int = 0
    gaps: int = 0
    lost: int = 0
    _seq: int = 0
    _idle: bool = False
    _clean: bool = False
    _syncs: dict[str, asyncio.Future[bool]] = field(default_factory=dict)
    _sync_ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def pid(self) -> int:
        """The gateway's process id: the kernel's word first."""
        return self.peer.pid or (self.hello.pid if self.hello else 0)

    @property
    def role(self) -> Role:
        """What it said it is."""
        return self.hello.role if self.hello else Role.GATEWAY

    @property
    def speaker(self) -> Speaker:
        """Whose reports these are."""
        declared = self.hello.name if self.hello and self.role is Role.COTENANT else ""
        return Speaker(self.peer.pid, self.peer.uid, self.peer.exe, declared)

    @property
    def backlog_bytes(self) -> int:
        """What the gateway said and nobody has read yet, and commands that it has not read."""
        unread = len(self.reader._buffer)  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio tells it in no other way
        return unread + self.writer.transport.get_write_buffer_size()

    def __post_init__(self) -> None:
        """Changes are joined per link."""
        self.changes = ChangeReader(self.name, self.speaker)

    async def serve(self) -> None:
        """Read until the gateway is gone. Never raises on bad input: it is answered, counted, and the link closed."""
        try:
            while await self._read():
                pass
        except ConnectionError:
            pass
        finally:
            for waiting in self._syncs.values():
                if not waiting.done():
                    waiting.set_result(self._clean)
            self.writer.close()
            if self.hello is not None:
                await self.handler.link_closed(self, clean=self._clean)

    def send(self, message: wire.SidecarMessage) -> bool:
        """Queue a message; False when the link is closing or the gateway does not read."""
        if self.writer.is_closing():
            return False
        if self.writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self.writer.transport.abort()
            return False
        self.writer.write(encode(message))
        return True

    async def sync(self, bound_seconds: float) -> bool:
        """Wait until the other end has said all that it has done so far; False when it does not in time.

        A gateway is asked. A co-tenant outside of OpenClaw announces each write before it makes it: what it has done is
        in our socket already, so that nobody depends on how fast it is.
        """
        if self._clean:
            return True  # whoever said goodbye has said everything
        if self.role is Role.COTENANT:
            return await self._drained(bound_seconds)
        name = str(next(self._sync_ids))
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._syncs[name] = waiting
        try:
            if not self.send(wire.Sync(sync=name)):
                return False
            return await asyncio.wait_for(waiting, bound_seconds)
        except TimeoutError:
            return False
        finally:
            self._syncs.pop(name, None)

    async def _drained(self, bound_seconds: float) -> bool:
        """Wait until all that has arrived is taken in; False when more and more comes."""
        loop = asyncio.get_running_loop()
        end = loop.time() + bound_seconds
        quiet = 0
        while quiet < _QUIET_TURNS:
            if loop.time() > end:
                return False
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._idle and not self._pending_bytes() else 0
        return True

    def _pending_bytes(self) -> int:
        """What the kernel holds for us and the loop has not read."""
        if self.writer.is_closing():
            return 0
        size = array.array("i", [0])
        try:
            fcntl.ioctl(self.writer.get_extra_info("socket").fileno(), termios.FIONREAD, size)
        except OSError:
            return 0
        return size[0]

    async def _read(self) -> bool:
        """Read and handle one line; False to end the link."""
        self._idle = True  # it suspends only when there is no whole line
        try:
            line = await self.reader.readline()
        except ValueError:
            await self._reject("too_large", f"a message of more than {wire.MAX_LINE_BYTES} bytes")
            return False
        finally:
            self._idle = False
        return line.endswith(b"\n") and await self._take(line)

    async def _take(self, line: bytes) -> bool:
        """Handle one line; False to end the link."""
        try:
            message = decode_from_gateway(line)
        except (WireError, RecursionError) as error:
            await self._reject("malformed", str(error))
            return False
        self.messages += 1
        if self.hello is None:
            return await self._greet(message)
        if isinstance(message, _REPORTS) and self.drops.next():
            return True  # the next message shows that one is missing
        if message.seq != self._seq + 1:
            missing = max(1, message.seq - self._seq - 1)
            self.gaps += 1
            await self.handler.link_gap(self, missing)
        self._seq = message.seq
        return await self._dispatch(message)

    async def _dispatch(self, message: wire.GatewayMessage) -> bool:
        match message:
            case wire.Synced():
                waiting = self._syncs.get(message.sync)
                if waiting is not None and not waiting.done():
                    waiting.set_result(True)
            case wire.Lost():
                self.lost += message.count
                await self.handler.link_gap(self, message.count)
            case wire.Bye():
                self._clean = True
            case wire.Hello():
                await self._reject("malformed", "a second hello on one link")
                return False
            case _ if self.role is Role.COTENANT and not isinstance(message, OF_COTENANTS):
                await self._reject("not_a_gateway", f"{type(message).__name__} from a co-tenant that is no gateway")
                return False
            case _:
                try:
                    await self.handler.link_message(self, message)
                except WireError as error:
                    await self.handler.link_rejected(self, "malformed", str(error))
                    # A report that is left out is as good as lost (rule 5).
                    self.gaps += 1
                    await self.handler.link_gap(self, 1)
        return True

    async def _greet(self, message: wire.GatewayMessage) -> bool:
        if not isinstance(message, wire.Hello):
            await self._reject("no_hello", "the first message is no hello")
            return False
        protocol = negotiated(message)
        if protocol is None:
            remedy = "update openclaw-sidecar" if message.protocol > wire.PROTOCOL else _RESTART
            text = f"process {self.peer.pid} speaks protocol {message.protocol}, this sidecar {wire.PROTOCOL}: {remedy}"
            await self._reject("protocol_version", text)
            return False
        if not self.peer.may_be(message.pid):
            await self._reject("pid_mismatch", f"process {self.peer.pid} calls itself {message.pid}")
            return False
        if message.role is Role.COTENANT and not message.name:
            await self._reject("malformed", f"process {self.peer.pid} is a co-tenant without a name")
            return False
        self.hello = message
        self.changes = ChangeReader(self.name, self.speaker)
        self._seq = message.seq
        self.lost = message.lost
        welcome = wire.Welcome(protocol=protocol, sidecar=self.version, mode=self.mode, answers=wire.ANSWERS)
        self.send(welcome)
        await self.handler.link_opened(self)
        return True

    async def _reject(self, reason: str, text: str) -> None:
        self.send(wire.Reject(protocol=wire.PROTOCOL, reason=text[:300]))
        await self.handler.link_rejected(self, reason, text)
