"""One link: handshake, sequence, decoding, and what is sent back."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from sidecar.core.decisions import Command
from sidecar.core.errors import FingerprintError
from sidecar.core.facts.gateway import Adapter, Gateway, Proof, Role
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.faults import Faults
from sidecar.identity.errors import PinAwaitedError
from sidecar.identity.peer import Peer
from sidecar.identity.verification import UNKNOWN, Identity
from sidecar.link.changes import Speaker
from sidecar.link.connection import unread_bytes
from sidecar.link.greeting import adapter_of, not_declared, refused, shown_by, welcome
from sidecar.link.kinds import OF_COTENANTS, REPORTS
from sidecar.link.lines import LineReader
from sidecar.link.syncs import Syncs
from sidecar.link.translate import Heard, Translator, message_of
from sidecar.link.verifier import Verifier
from sidecar.wire import messages as wire
from sidecar.wire.codec import WireError, decode_from_gateway, encode
from sidecar.wire.proofs import to_prove

MAX_UNSENT_BYTES: Final = 1 << 20
"""A gateway that does not read its commands is cut off, rather than kept in memory."""

CHALLENGE_BYTES: Final = 16

TURN_SECONDS: Final = 0.005
"""How long the messages of one link may hold the event loop before others have their turn."""

_LOOK_AT_CLOCK: Final = 8
"""After so many messages each."""

_EVERYTHING: Final = 4 * wire.MAX_LINE_BYTES
"""More than asyncio buffers of a link: two lines of the maximum, and what one call reads beyond that."""

_QUIET_TURNS: Final = 4
"""What the loop has read in one turn is taken in by the reading task in the next; one more for good measure each."""

_links = itertools.count(1)


class LinkHandler(Protocol):
    """Understands what a link says."""

    def link_opened(self, session: LinkSession) -> None:
        """A hello was accepted."""

    def link_identified(self, session: LinkSession) -> None:
        """It is known anew whether a link that had been opened is believed."""

    def link_heard(self, session: LinkSession, heard: tuple[Heard, ...]) -> Awaitable[None] | None:
        """A message arrived, in order: what it means.

        Returns:
            What to wait for before the next message of this link; None when there is nothing to wait for.
        """

    def link_read(self, messages: int) -> None:
        """So many messages of a link have been taken in since the last time."""

    def link_gap(self, session: LinkSession, missing: int) -> None:
        """Messages are missing from the sequence, or the gateway had to drop some."""

    def link_rejected(self, session: LinkSession, reason: str, text: str) -> None:
        """Input was refused; ``reason`` is a short stable word, ``text`` a line for people."""

    def link_closed(self, session: LinkSession, *, clean: bool) -> None:
        """A link that had been opened is gone."""


class Register(Protocol):
    """Keeps the list of open links."""

    def add(self, session: LinkSession) -> None:
        """A hello was accepted."""

    def remove(self, session: LinkSession) -> None:
        """A link is closed."""

    def end(self, names: Collection[str], reason: str) -> None:
        """Have these link anew."""


@dataclass(eq=False)
class LinkSession:
    """The state of one link.

    Attributes:
        reader: Incoming lines.
        writer: Outgoing lines.
        peer: Who connected, by the kernel's word.
        handler: Told of everything.
        verifier: Says whether this link is believed.
        links: The list of open links; this one is in it from its hello to its end.
        version: The sidecar's version, for the welcome.
        mode: The mode, for the welcome.
        faults: Loses reports on purpose.
        identity: Whether it is believed, and what for.
        challenge: The number that this link's process proves itself with.
        disobeyed: Why the process does not obey us, as it says; empty while it has not said so.
        speaker: The process whose reports these are.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    peer: Peer
    handler: LinkHandler
    verifier: Verifier
    links: Register
    version: str
    mode: str
    faults: Faults
    name: str = field(default_factory=lambda: f"link-{next(_links)}")
    hello: wire.Hello | None = None
    adapter: wire.AdapterFound | None = None
    started_at_ns: int = 0
    pids: tuple[int, ...] = ()
    messages: int = 0
    gaps: int = 0
    lost: int = 0
    identity: Identity = UNKNOWN
    challenge: str = field(default_factory=lambda: secrets.token_hex(CHALLENGE_BYTES))
    disobeyed: str = ""
    speaker: Speaker = field(init=False)
    _translator: Translator = field(init=False)
    _lines: LineReader = field(default_factory=lambda: LineReader(wire.MAX_LINE_BYTES))
    _waiting: list[bytes] = field(default_factory=list)
    _gateway: tuple[object, Gateway] | None = None
    _seq: int = 0
    _idle: bool = False
    _clean: bool = False
    _syncs: Syncs = field(default_factory=Syncs)

    @property
    def pid(self) -> int:
        """The gateway's process id: the kernel's word first."""
        return self.peer.pid or (self.hello.pid if self.hello else 0)

    @property
    def role(self) -> Role:
        """What it said it is."""
        return self.hello.role if self.hello else Role.GATEWAY

    @property
    def gateway(self) -> Gateway:
        """The process, as the core knows it."""
        hello, adapter = self.hello, self.adapter
        made_of = (hello, adapter, self.started_at_ns, self.pids, self.identity)
        if self._gateway is None or self._gateway[0] != made_of:
            self._gateway = (made_of, self._make_gateway(hello, adapter))
        return self._gateway[1]

    def _make_gateway(self, hello: wire.Hello | None, adapter: wire.AdapterFound | None) -> Gateway:
        return Gateway(
            link=self.name,
            pid=self.pid,
            version=hello.openclaw if hello else "",
            adapter=adapter_of(adapter.adapter) if adapter else Adapter.PENDING,
            can_reload=adapter.reload if adapter else False,
            role=self.role,
            started_at_ns=self.started_at_ns,
            uid=self.peer.uid,
            pids=self.pids,
            unverified=self.identity.unverified,
            proof=self.identity.proof,
            checks=self.identity.checks,
            exe=self.peer.exe,
        )

    @property
    def backlog_bytes(self) -> int:
        """What the gateway said and nobody has read yet, and commands that it has not read."""
        unread = len(self.reader._buffer)  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio tells it in no other way
        return unread + sum(map(len, self._waiting)) + self.writer.transport.get_write_buffer_size()

    def __post_init__(self) -> None:
        """Until a hello says otherwise, this is a gateway."""
        self._speaks(None)

    def _speaks(self, program: Writer | None) -> None:
        self.speaker = Speaker(self.peer.pid, self.peer.uid, self.peer.exe, program)
        self._translator = Translator(self.name, self.speaker)

    async def serve(self) -> None:
        """Read until the gateway is gone. Never raises on bad input: it is answered, counted, and the link closed."""
        self._send(wire.Challenge(nonce=self.challenge))
        try:
            while await self._read():
                pass
        except ConnectionError:
            pass
        finally:
            self._syncs.end(clean=self._clean)
            self.writer.close()
            self.verifier.left(self.name)
            self.peer.close()
            if self.hello is not None:
                self.links.remove(self)
                self.handler.link_closed(self, clean=self._clean)

    def look_again(self) -> None:
        """See whether it is believed by now; where a rule of the policy admitted it, whether one still does."""
        if self.hello is None or self.writer.is_closing():
            return
        if self.speaker.program is not None:
            why = self.verifier.cotenant(self.name, self.speaker.program)
            if why is not None:
                self._reject(*not_declared(why))
                self.writer.close()
            return
        if self.identity.proof is Proof.POLICY and not self.verifier.admits(self.peer):
            self.end("no rule of the policy admits this link any more; link anew")
        if self.identity.unverified is None:
            return
        identity = self.verifier.verify_again(self.name, self.peer)
        if identity is None:
            self.end("link anew, to be verified")
        elif identity != self.identity:
            self.identity = identity
            self.handler.link_identified(self)

    def end(self, reason: str) -> None:
        """Have the other end link anew."""
        self._send(wire.Reject(protocol=wire.PROTOCOL, reason=reason))
        self.writer.close()

    def command(self, command: Command) -> bool:
        """Queue a command of the core; False when the link is closing or the gateway does not read."""
        return self._send(message_of(command))

    def _send(self, message: wire.SidecarMessage) -> bool:
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
        return await self._syncs.ask(self._send, bound_seconds)

    async def _drained(self, bound_seconds: float) -> bool:
        """Wait until all that has arrived is taken in; False when more and more comes."""
        loop = asyncio.get_running_loop()
        end = loop.time() + bound_seconds
        connection, quiet = self.writer.get_extra_info("socket"), 0
        while quiet < _QUIET_TURNS:
            if loop.time() > end:
                return False
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._idle and not unread_bytes(connection) else 0
        return True

    async def _read(self) -> bool:
        """Take in what has arrived, in turns with everything else; False to end the link."""
        self._idle = True  # it suspends only when nothing has arrived
        try:
            arrived = await self.reader.read(_EVERYTHING)
        finally:
            self._idle = False
        before = self.messages
        try:
            going_on = await self._take_all(self._lines.cut(arrived))
        finally:
            self.handler.link_read(self.messages - before)
        if going_on and self._lines.too_long:
            return self._reject("too_large", f"a message of more than {wire.MAX_LINE_BYTES} bytes")
        return going_on and bool(arrived)

    async def _take_all(self, lines: list[bytes]) -> bool:
        """Handle these lines; False to end the link."""
        until = time.monotonic() + TURN_SECONDS
        for number, line in enumerate(lines, start=1):
            going_on = self._take(line)
            if going_on is not True and (going_on is False or not await going_on):
                return False
            if not number % _LOOK_AT_CLOCK and time.monotonic() >= until:
                self._waiting = lines[number:]
                await asyncio.sleep(0)
                self._waiting = []
                until = time.monotonic() + TURN_SECONDS
        return True

    def _take(self, line: bytes) -> Awaitable[bool] | bool:
        """Handle one line.

        Returns:
            False to end the link; where the handler has something to wait for, the same once it has waited.
        """
        try:
            message = decode_from_gateway(line)
        except WireError as error:
            return self._reject("malformed", str(error))
        self.messages += 1
        kind, hello = type(message), self.hello
        if hello is None:
            return self._greet(message)
        if self.faults.share and kind in REPORTS and self.faults.lose_next():
            return True  # the next message shows that one is missing
        missing = message.seq - self._seq - 1
        self._seq = message.seq
        if missing:
            self.gaps += 1
            self.handler.link_gap(self, max(1, missing))
        taken = _OF_THE_LINK.get(kind)
        if taken is not None:
            return taken(self, message)
        if hello.role is Role.COTENANT and kind not in OF_COTENANTS:
            return self._reject("not_a_gateway", f"{kind.__name__} from a co-tenant that is no gateway")
        try:
            heard = self._translator.understand(message)
        except (WireError, FingerprintError) as error:
            return self._left_out(str(error))
        if type(message) is wire.AdapterFound:
            self.adapter = message
        waiting = self.handler.link_heard(self, heard)
        return True if waiting is None else _after(waiting)

    def _left_out(self, error: str) -> bool:
        """A report that is left out is as good as lost (rule 5)."""
        self.handler.link_rejected(self, "malformed", error)
        self.gaps += 1
        self.handler.link_gap(self, 1)
        return True

    def _synced(self, message: wire.Synced) -> bool:
        self._syncs.answered(message.sync)
        return True

    def _dropped(self, message: wire.Lost) -> bool:
        self.lost += message.count
        self.handler.link_gap(self, message.count)
        return True

    def _said_goodbye(self, _message: wire.Bye) -> bool:
        self._clean = True
        return True

    def _greeted_again(self, _message: wire.Hello) -> bool:
        return self._reject("malformed", "a second hello on one link")

    def _greet(self, message: wire.GatewayMessage) -> bool:
        if not isinstance(message, wire.Hello):
            return self._reject("no_hello", "the first message is no hello")
        if (no := refused(message, self.peer)) is not None:
            return self._reject(*no)
        program: Writer | None = None
        if message.role is Role.COTENANT:
            peer, known = self.peer, self._knows_token(message)
            program = Writer(WriterKind.DECLARED, message.name, peer.pid, uid=peer.uid, exe=peer.exe, token=known)
            why = self.verifier.cotenant(self.name, program)
            if why is not None:
                return self._reject(*not_declared(why))
        else:
            try:
                self.identity = self.verifier.verify(self.name, self.peer, self.challenge, shown_by(message))
            except PinAwaitedError as error:
                return self._reject("pin_awaited", str(error))
        self.hello = message
        self._speaks(program)
        self._seq = message.seq
        self.lost = message.lost
        self._send(welcome(message, self.identity, self.version, self.mode))
        self.links.end(self.identity.thrown_out, "a process that was pinned before this one is back")
        self.links.add(self)
        self.handler.link_opened(self)
        return True

    def _knows_token(self, hello: wire.Hello) -> bool:
        return self.verifier.knows_token(to_prove(self.challenge, hello.name), hello.proof)

    def _reject(self, reason: str, text: str) -> bool:
        """Say why the link ends; always False."""
        self._send(wire.Reject(protocol=wire.PROTOCOL, reason=text[:300], code=reason))
        self.handler.link_rejected(self, reason, text)
        return False


async def _after(waiting: Awaitable[None]) -> bool:
    await waiting
    return True


_OF_THE_LINK: Final[dict[type[wire.GatewayMessage], Callable[[LinkSession, Any], bool]]] = {
    wire.Synced: LinkSession._synced,  # noqa: SLF001 - the link's own table
    wire.Lost: LinkSession._dropped,  # noqa: SLF001
    wire.Bye: LinkSession._said_goodbye,  # noqa: SLF001
    wire.Hello: LinkSession._greeted_again,  # noqa: SLF001
}
"""Messages that are about the link itself."""
