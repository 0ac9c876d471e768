"""Takes a link's values: events and questions to the driver, diagnostics to telemetry, losses to custody."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from sidecar.core import events as ev
from sidecar.core.facts.gateway import Gateway, Role
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import replace
from sidecar.core.facts.window_name import apart
from sidecar.core.questions import AtFence, CheckAsked, TurnStopped, WaitAsked
from sidecar.core.reports import AdapterFound, Diagnostic, LockFailed, PreloadTrouble, WriteFailed
from sidecar.driver.driver import Driver
from sidecar.intake.gateways import KnownGateways
from sidecar.intake.tools import AgentTools
from sidecar.link.session import LinkSession
from sidecar.link.translate import Heard
from sidecar.watch.tree import names_transcript, printable
from sidecar.words import sentence

log = structlog.get_logger("sidecar.link")

_OF_WINDOW: Final = (
    AtFence,
    ev.FenceClosed,
    ev.AnswerLate,
    ev.LockWaitEnded,
    ev.RecoveryApplied,
    ev.TurnLost,
)
"""What a link says of a window."""


class LinkTelemetry(Protocol):
    """What telemetry wants to know of the links. Never raises, never blocks."""

    def diagnostic(self, message: Diagnostic, gateway: Gateway) -> None:
        """An event of a gateway's diagnostics bus."""

    def lock_failed(self, message: LockFailed) -> None:
        """A session lock was not had."""

    def rejected(self, reason: str) -> None:
        """Input was refused."""

    def report(self, count: int) -> None:
        """Messages arrived."""

    def gap(self, count: int) -> None:
        """Messages are missing."""

    def lost(self, count: int) -> None:
        """A preload had to drop messages."""


class Losing(Protocol):
    """Who is told that custody is lost."""

    def __call__(self, loss: Loss, reason: Reason, file: str = "") -> None:
        """Of one file, or of all."""


class LinkIntake:
    """The `LinkHandler` of the service."""

    def __init__(  # noqa: PLR0917 - made of its ports
        self,
        driver: Driver,
        known_gateways: KnownGateways,
        telemetry: LinkTelemetry,
        now_ns: Callable[[], int],
        lost: Losing,
        hear: Callable[[], None],
        spoken_of: Callable[[str], None],
        tools: AgentTools,
    ) -> None:
        """What may be missing, the kernel's word to be taken in, and transcripts that a run has a fence on are told."""
        self.rejected: Counter[str] = Counter()
        self._driver = driver
        self._known_gateways = known_gateways
        self._telemetry = telemetry
        self._now_ns = now_ns
        self._lost = lost
        self._hear = hear
        self._spoken_of = spoken_of
        self._tools = tools

    def link_opened(self, session: LinkSession) -> None:
        """A gateway said hello."""
        self._known_gateways.linked(session)
        hello = session.hello
        at_ns = int(hello.at) if hello else 0
        self._driver.handle(ev.LinkOpened(gateway=session.gateway, at_ns=at_ns))
        if hello is not None and session.role is Role.COTENANT:
            log.info("cotenant_linked", pid=session.pid, name=hello.name, link=session.name)
        else:
            log.info("gateway_linked", pid=session.pid, openclaw=hello.openclaw if hello else "", link=session.name)
        self._say_unverified(session)
        if session.lost and session.gateway.believed:
            self._telemetry.lost(session.lost)
            dropped = Reason.of(ReasonCode.REPORTS_DROPPED, count=session.lost, pid=session.pid)
            self._lost(Loss.DROPPED, dropped)

    def link_identified(self, session: LinkSession) -> None:
        """Whether it is believed is known anew."""
        self._driver.handle(ev.LinkOpened(gateway=session.gateway, at_ns=self._now_ns()))
        self._say_unverified(session)

    def link_heard(self, session: LinkSession, heard: tuple[Heard, ...]) -> Awaitable[None] | None:
        """One message, in order.

        Returns:
            The answer that is given before the next message; None for what asks nothing.
        """
        answer: Awaitable[None] | None = None
        believed = session.gateway.believed
        for said in heard:
            if not believed and not self._may_name(session, said):
                continue
            value = said if believed else _apart(said, session.name)
            match value:
                # Almost all messages are of these kinds.
                case ev.FileChanged() | ev.LockTaken() | ev.LockReleased() | ev.DatabaseLocked():
                    self._driver.handle(value)
                case Diagnostic() if believed and self._tools.heard(session.gateway.visible_pid, value):
                    pass
                case Diagnostic():
                    self._telemetry.diagnostic(value, session.gateway)
                    self._driver.note(value, session.name)
                case CheckAsked() | WaitAsked() | TurnStopped():
                    answer = self._driver.asked(value)
                case LockFailed() | WriteFailed() | AdapterFound() | PreloadTrouble():
                    self._report(session, value)
                case _:
                    self._event(value, believed=believed)
        return answer

    def _may_name(self, session: LinkSession, said: Heard) -> bool:
        """What it speaks of is a transcript. Else it could have any file read that the sidecar may read."""
        file: str = getattr(said, "file", "")
        if not file or names_transcript(file):
            return True
        self.refuse(
            "bad_name", f"{file}: no transcript by its name, and who speaks of it is not believed", pid=session.pid
        )
        return False

    def link_read(self, messages: int) -> None:
        """Messages were taken in."""
        if messages:
            self._telemetry.report(messages)

    def link_gap(self, session: LinkSession, missing: int) -> None:
        """Reports of this gateway are missing. Of one that is not believed nothing rests on them."""
        if not session.gateway.believed:
            return
        self._telemetry.gap(missing)
        self._lost(Loss.GAP, Reason.of(ReasonCode.REPORTS_MISSING, count=missing, pid=session.pid))

    def link_rejected(self, session: LinkSession, reason: str, text: str) -> None:
        """Something was refused: one line, counted."""
        if reason == "protocol_version" and not self._known_gateways.refused(session.peer.pid, text):
            return  # it tries again each second, and `status` names it
        self.refuse(reason, text, pid=session.peer.pid)

    def link_closed(self, session: LinkSession, *, clean: bool) -> None:
        """A gateway is gone."""
        gone = "cotenant_gone" if session.role is Role.COTENANT else "gateway_gone"
        log.info(gone, pid=session.pid, clean=clean, link=session.name)
        if session.gateway.believed:
            self._tools.forget(session.gateway.visible_pid)
        self._driver.lost(ev.LinkLost(link=session.name, clean=clean, at_ns=self._now_ns()))

    def _say_unverified(self, session: LinkSession) -> None:
        doubt = session.gateway.doubt
        if doubt is not None:
            log.warning("link_unverified", pid=session.pid, link=session.name, detail=printable(sentence(doubt)))

    def refuse(self, reason: str, text: str, **where: object) -> None:
        """Count bad input of any kind and say one line about it."""
        self.rejected[reason] += 1
        self._telemetry.rejected(reason)
        log.warning("rejected", reason=reason, detail=printable(text), **where)

    def _event(self, event: ev.Event, *, believed: bool) -> None:
        match event:
            case ev.FenceClosed():
                self._driver.closed(event)
                return
            case ev.FenceSet() if believed:
                self._spoken_of(event.file)
                self._hear()  # what the kernel tells after this came after the fence
            case ev.AnswerLate():
                event = replace(event, heard_ns=self._now_ns())
        self._driver.handle(event)

    def _report(self, session: LinkSession, report: LockFailed | WriteFailed | AdapterFound | PreloadTrouble) -> None:
        match report:
            case LockFailed():
                self._telemetry.lock_failed(report)
            case WriteFailed() if session.gateway.believed:
                self._lost(Loss.WRITE_FAILED, Reason.of(ReasonCode.WRITE_FAILED, pid=session.pid), report.file)
            case AdapterFound():
                self._driver.handle(ev.LinkOpened(gateway=session.gateway, at_ns=report.at_ns))
                if report.new:
                    log.info("adapter", pid=session.pid, adapter=report.adapter, reason=report.reason)
            case PreloadTrouble():
                self._trouble(session, report)
            case _:
                pass

    def _trouble(self, session: LinkSession, trouble: PreloadTrouble) -> None:
        """The preload steps aside: in its watch over node:fs, where a report is then missing (rule 5), or before us."""
        log.warning("preload_trouble", pid=session.pid, where=trouble.where, reason=printable(trouble.reason))
        match trouble.where:
            case "account" if session.gateway.believed:
                self._lost(Loss.PRELOAD, Reason.of(ReasonCode.WRITE_UNACCOUNTED, pid=session.pid))
            case "sidecar":
                session.disobeyed = trouble.reason


def _apart(said: Heard, link: str) -> Heard:
    """The same, of a window that is set apart from those of links that are believed."""
    return replace(said, window=apart(said.window, link)) if isinstance(said, _OF_WINDOW) and said.window else said
