"""Both ends of a link on a real socket: a handler that remembers, and a gateway that says what it is told to say."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sidecar.core import events as ev
from sidecar.core.facts.gateway import Proof
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.writer import Writer
from sidecar.identity.peer import Peer
from sidecar.identity.verification import Identity, Shown
from sidecar.link.open_links import OpenLinks
from sidecar.link.server import LinkServer
from sidecar.link.session import LinkSession
from sidecar.link.translate import Heard
from sidecar.link.verifier import Verifier
from sidecar.wire import messages as wire
from sidecar.wire.codec import decode_from_sidecar, encode

AT: Final = "1700000000000000000"


@dataclass(frozen=True)
class Rejected:
    """Input that was refused."""

    reason: str
    text: str


@dataclass(frozen=True)
class Gap:
    """Messages that are missing."""

    missing: int


@dataclass(frozen=True)
class Closed:
    """A link that is gone."""

    clean: bool


@dataclass(frozen=True)
class Identified:
    """A link of which it is known anew whether it is believed."""

    identity: Identity


Happened = wire.Hello | Heard | Rejected | Gap | Closed | Identified


def meant(message: wire.FenceClosed) -> ev.FenceClosed:
    """What is heard when this is said."""
    return ev.FenceClosed(window=message.window, takeover=message.takeover, at_ns=int(message.at))


@dataclass
class Recorder:
    """A `LinkHandler` that remembers what it was told, for each link and in order."""

    sessions: list[LinkSession] = field(default_factory=list)
    told: asyncio.Queue[tuple[LinkSession, Happened]] = field(default_factory=asyncio.Queue)
    waits: bool = True
    """There is something to wait for with each message."""
    read: int = 0
    """Messages that were taken in, of all links."""

    def link_identified(self, session: LinkSession) -> None:
        self.told.put_nowait((session, Identified(session.identity)))

    def link_opened(self, session: LinkSession) -> None:
        self.sessions.append(session)
        assert session.hello is not None
        self.told.put_nowait((session, session.hello))

    def link_heard(self, session: LinkSession, heard: tuple[Heard, ...]) -> Awaitable[None] | None:
        if self.waits:
            return self._waited(session, heard)
        self._take(session, heard)
        return None

    def link_read(self, messages: int) -> None:
        self.read += messages

    async def _waited(self, session: LinkSession, heard: tuple[Heard, ...]) -> None:
        await asyncio.sleep(0)
        self._take(session, heard)

    def _take(self, session: LinkSession, heard: tuple[Heard, ...]) -> None:
        for value in heard:
            self.told.put_nowait((session, value))

    def link_gap(self, session: LinkSession, missing: int) -> None:
        self.told.put_nowait((session, Gap(missing)))

    def link_rejected(self, session: LinkSession, reason: str, text: str) -> None:
        self.told.put_nowait((session, Rejected(reason, text)))

    def link_closed(self, session: LinkSession, *, clean: bool) -> None:
        self.told.put_nowait((session, Closed(clean)))

    async def next(self) -> Happened:
        """The next that is told."""
        _, happened = await self.told.get()
        return happened

    async def rejected(self) -> Rejected:
        """The next that is told: a refusal."""
        happened = await self.next()
        assert isinstance(happened, Rejected)
        return happened

    async def rest(self) -> list[Happened]:
        """All that is told until a link is gone."""
        happened = [await self.next()]
        while not isinstance(happened[-1], Closed):
            happened.append(await self.next())
        return happened


class Voice:
    """Numbered messages of a gateway."""

    def __init__(self) -> None:
        self._seq = 0

    def seq(self) -> int:
        """The next number."""
        self._seq += 1
        return self._seq

    def hello(self, **other: Any) -> wire.Hello:  # noqa: ANN401 - fields of the hello
        """A hello that is accepted, or differs from it."""
        fields = {"protocol": wire.PROTOCOL, "pid": os.getpid(), "openclaw": "2026.5.18"}
        return wire.Hello(seq=self.seq(), at=AT, **{**fields, **other})

    def bye(self) -> wire.Bye:
        """The goodbye."""
        return wire.Bye(seq=self.seq(), at=AT)

    def closed(self, window: str = "w", *, skip: int = 0) -> wire.FenceClosed:
        """A message like any other, after so many that are missing."""
        self._seq += skip
        return wire.FenceClosed(seq=self.seq(), at=AT, window=window)


class Client(Voice):
    """A gateway's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__()
        self.reader = reader
        self.writer = writer

    def say(self, *messages: wire.GatewayMessage | bytes) -> None:
        """Send messages, or bytes as they are, in one piece."""
        self.writer.write(b"".join(m if isinstance(m, bytes) else encode(m) for m in messages))

    async def hear(self) -> wire.SidecarMessage | None:
        """The next message but the challenge; None when the link is gone."""
        while line := await self.reader.readline():
            message = decode_from_sidecar(line)
            if not isinstance(message, wire.Challenge):
                return message
        return None

    async def hang_up(self) -> None:
        """Close the link."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@dataclass
class Stage:
    """A server, who it tells, and the gateways that are linked to it."""

    path: Path
    server: LinkServer
    recorder: Recorder
    links: OpenLinks
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        """Connect and say nothing."""
        client = Client(*await asyncio.open_unix_connection(self.path))
        self.clients.append(client)
        return client

    async def greeted(self, **hello: Any) -> Client:  # noqa: ANN401 - fields of the hello
        """Connect, say hello, be welcomed."""
        client = await self.connect()
        client.say(client.hello(**hello))
        assert isinstance(await client.hear(), wire.Welcome)
        assert isinstance(await self.recorder.next(), wire.Hello)
        return client


class Believing:
    """A `Verifier` that believes everybody, or nobody for a reason."""

    def __init__(self, unverified: Reason | None = None) -> None:
        self.unverified = unverified
        self.here: set[str] = set()
        self.told: list[Shown] = []

    def meet(self, link: str, _peer: Peer) -> None:
        self.here.add(link)

    def verify(self, link: str, _peer: Peer, _challenge: str, shown: Shown) -> Identity:
        assert link in self.here
        self.told.append(shown)
        return self._identity()

    def verify_again(self, link: str, _peer: Peer) -> Identity | None:
        assert link in self.here
        return self._identity()

    def admits(self, _peer: Peer) -> bool:
        return self.unverified is None

    def knows_token(self, _text: bytes, proof: str) -> bool:
        return bool(proof)

    def cotenant(self, link: str, _program: Writer) -> Reason | None:
        assert link in self.here
        return self.unverified

    def left(self, link: str) -> None:
        self.here.discard(link)

    def close(self) -> None:
        pass

    def _identity(self) -> Identity:
        return Identity(unverified=self.unverified) if self.unverified else Identity(Proof.PROCESS)


@asynccontextmanager
async def serving(path: Path, verifier: Verifier | None = None) -> AsyncIterator[Stage]:
    """A server on the path, and after it the end of all that was linked."""
    recorder, links = Recorder(), OpenLinks()
    server = LinkServer(path, recorder, verifier or Believing(), links, version="1.2.3", mode="recover")
    stage = Stage(path, server, recorder, links)
    await stage.server.start()
    try:
        yield stage
    finally:
        await stage.server.stop()
        for client in stage.clients:
            await client.hang_up()


@asynccontextmanager
async def greeted(path: Path, **hello: Any) -> AsyncIterator[tuple[Recorder, Client]]:  # noqa: ANN401 - see above
    """A server, and a gateway that is linked to it."""
    async with serving(path) as stage:
        yield stage.recorder, await stage.greeted(**hello)
