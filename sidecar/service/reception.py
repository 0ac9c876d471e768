"""Receives what gateways say and passes it on: custody matters to the driver, the rest to telemetry."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from sidecar.core import events as ev
from sidecar.core.errors import FingerprintError
from sidecar.core.gateway import Role
from sidecar.core.loss import Loss
from sidecar.link import translate
from sidecar.watch.identity import started
from sidecar.watch.tree import printable
from sidecar.wire import messages as wire
from sidecar.wire.codec import WireError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sidecar.core.gateway import Gateway
    from sidecar.core.reports import Diagnostic, LockFailed
    from sidecar.driver.driver import Driver
    from sidecar.link.session import LinkSession
    from sidecar.service.roster import Roster

log = structlog.get_logger("sidecar.link")

_ACCOUNT: Final = "account"  # what the preload calls its watch over node:fs


class LinkTelemetry(Protocol):
    """What telemetry wants to know of the links. Never raises, never blocks."""

    def diagnostic(self, message: Diagnostic, gateway: Gateway) -> None:
        """An event of a gateway's diagnostics bus."""
        ...

    def lock_failed(self, message: LockFailed) -> None:
        """A session lock was not had."""
        ...

    def rejected(self, reason: str) -> None:
        """Input was refused."""
        ...

    def report(self, count: int) -> None:
        """Messages arrived."""
        ...

    def gap(self, count: int) -> None:
        """Messages are missing."""
        ...

    def lost(self, count: int) -> None:
        """A preload had to drop messages."""
        ...


class Losing(Protocol):
    """Who is told that custody is lost."""

    def __call__(self, loss: Loss, text: str, file: str = "") -> None:
        """Of one file, or of all."""
        ...


class Reception:
    """The `LinkHandler` of the service."""

    def __init__(  # noqa: PLR0917 - made of its ports
        self,
        driver: Driver,
        roster: Roster,
        telemetry: LinkTelemetry,
        now_ns: Callable[[], int],
        lost: Losing,
        hear: Callable[[], None],
    ) -> None:
        """``lost`` is called when reports may be missing, ``hear`` takes in what the kernel has to say so far."""
        self.rejected: Counter[str] = Counter()
        self._driver = driver
        self._roster = roster
        self._telemetry = telemetry
        self._now_ns = now_ns
        self._lost = lost
        self._hear = hear

    def link_opened(self, session: LinkSession) -> None:
        """A gateway said hello."""
        session.started_at_ns = started(session.pid)
        hello = session.hello
        at_ns = int(hello.at) if hello else 0
        self._driver.handle(ev.LinkOpened(gateway=session.gateway, at_ns=at_ns))
        if hello is not None and session.role is Role.COTENANT:
            log.info("cotenant_linked", pid=session.pid, name=hello.name, link=session.name)
        else:
            log.info("gateway_linked", pid=session.pid, openclaw=hello.openclaw if hello else "", link=session.name)
        if session.lost:
            self._telemetry.lost(session.lost)
            self._lost(Loss.DROPPED, f"process {session.pid} dropped {session.lost} reports before it linked")

    def link_message(self, session: LinkSession, message: wire.GatewayMessage) -> Awaitable[None] | None:
        """One message, in order.

        Returns:
            The answer that is given before the next message; None for what asks nothing.

        Raises:
            WireError: A field holds what no field of this protocol can hold; the message is refused, the link goes on.
        """
        self._telemetry.report(1)
        try:
            return self._take(session, message)
        except FingerprintError as error:
            raise WireError(str(error)) from error

    def link_gap(self, session: LinkSession, missing: int) -> None:
        """Reports of this gateway are missing."""
        self._telemetry.gap(missing)
        self._lost(Loss.GAP, f"{missing} reports of process {session.pid} are missing")

    def link_rejected(self, session: LinkSession, reason: str, text: str) -> None:
        """Something was refused: one line, counted."""
        if reason == "protocol_version" and not self._roster.refused(session.peer.pid, text):
            return  # it tries again each second, and `status` names it
        self.refuse(reason, text, pid=session.peer.pid)

    def link_closed(self, session: LinkSession, *, clean: bool) -> None:
        """A gateway is gone."""
        gone = "cotenant_gone" if session.role is Role.COTENANT else "gateway_gone"
        log.info(gone, pid=session.pid, clean=clean, link=session.name)
        self._driver.lost(ev.LinkLost(link=session.name, clean=clean, at_ns=self._now_ns()))

    def refuse(self, reason: str, text: str, **where: object) -> None:
        """Count bad input of any kind and say one line about it."""
        self.rejected[reason] += 1
        self._telemetry.rejected(reason)
        log.warning("rejected", reason=reason, detail=printable(text), **where)

    def _take(  # noqa: C901, PLR0912 - one case for each message
        self, session: LinkSession, message: wire.GatewayMessage
    ) -> Awaitable[None] | None:
        pid, speaker, at_ns = session.pid, session.speaker, int(message.at)
        match message:
            case wire.Changed():
                if message.failed:
                    self._lost(Loss.WRITE_FAILED, f"a write of process {pid} failed half-way", message.file)
                self._driver.handle(ev.FileChanged(file=message.file, change=session.changes.read(message)))
            case wire.LockTaken():
                self._driver.handle(translate.lock_taken(message, speaker, session.name))
            case wire.LockReleased():
                self._driver.handle(translate.lock_released(message, speaker, session.name))
            case wire.LockFailed():
                self._telemetry.lock_failed(translate.lock_failed(message, speaker))
            case wire.FenceSet():
                self._hear()  # what the kernel tells after this came after the fence
                self._driver.handle(translate.fence_set(message, session.name))
            case wire.FenceClosed():
                self._driver.closed(ev.FenceClosed(window=message.window, takeover=message.takeover, at_ns=at_ns))
            case wire.Ask():
                return self._driver.asked(session, message)
            case wire.LockAsked():
                return self._driver.lock_asked(session, message)
            case wire.LockWaited():
                self._driver.handle(translate.lock_waited(message))
            case wire.Applied(ask=""):
                self._driver.handle(translate.applied(message))
            case wire.Applied():
                self._driver.handle(translate.answer_late(message, self._now_ns()))
            case wire.Tripped():
                return self._driver.tripped(session, message)
            case wire.AdapterFound():
                self._adapter(session, message, at_ns)
            case wire.Diagnostic():
                self._diagnostic(session, message)
            case wire.Trouble():
                self._trouble(pid, message)
            case _:
                pass
        return None

    def _trouble(self, pid: int, message: wire.Trouble) -> None:
        """The preload caught an error of its own. In its account of writes, a report is missing for it (rule 5)."""
        log.warning("preload_trouble", pid=pid, where=message.where, reason=printable(message.reason))
        if message.where == _ACCOUNT:
            self._lost(Loss.PRELOAD, f"the preload of process {pid} could not account for a write")

    def _adapter(self, session: LinkSession, message: wire.AdapterFound, at_ns: int) -> None:
        known = session.adapter
        session.adapter = message
        self._driver.handle(ev.LinkOpened(gateway=session.gateway, at_ns=at_ns))
        if known is None or known.adapter != message.adapter:
            log.info("adapter", pid=session.pid, adapter=message.adapter, reason=message.reason)

    def _diagnostic(self, session: LinkSession, message: wire.Diagnostic) -> None:
        self._telemetry.diagnostic(translate.diagnostic(message), session.gateway)
        told = translate.turn_told(message)
        if told is not None:
            self._driver.handle(told)
        noted = translate.noted(message)
        if noted is not None:
            self._driver.handle(noted)
