"""Links that are not believed: what they say is kept apart from all that a verdict on others rests on.

Theory of operation. Each process that is not believed and has a window gets an engine of its own. That one believes it,
hears what believed links say of the same transcripts, and is shown the same readings; nobody hears it. So its windows
and lost turns are told as those of any gateway, and each judgement of them is narrowed to what its word is worth
(`sidecar.core.verdict.judge.narrowed`). The engine proper never hears of such a link. From its book of claims it learns
names for what it finds unexplained, and nothing else.
"""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from sidecar.core import events as ev
from sidecar.core.custody.claims import Claim, Claims
from sidecar.core.decisions import AnswerWait, Decision, ReadFile, Refuse, ReportIllegalStep, SaveIncident
from sidecar.core.facts.gateway import Gateway
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.window_name import link_of
from sidecar.core.outcomes import AnyOutcome, CustodyLost
from sidecar.core.verdict.judge import Verdict
from sidecar.core.windows.window import Window

MAX_APART: Final = 8
"""Processes that are not believed and have windows at one time; those of further ones are not looked after."""

MAX_WINDOWS: Final = 64
"""Windows of each of them."""

_OPENING: Final = (ev.FenceSet, ev.VerdictAsked, ev.LockTimedOut, ev.TurnTripped, ev.TurnLost)
"""After these there may be a window, or an incident, of a process that had none."""

_OF_WINDOWS: Final = (*_OPENING, ev.FenceClosed, ev.AnswerLate, ev.GatewayLogged, ev.TimelineNote)
"""Of all that such a link says this alone is heard, beside its claims: by its own engine."""

_OVERHEARD: Final = (ev.FileChanged, ev.FingerprintChanged, ev.SnapshotTaken, ev.AccountBroken)
"""What these engines hear beside it, where it is of a transcript that they have a window on."""

_OF_ALL: Final = (ev.LinkLost, ev.DatabaseChanged, ev.PolicyChanged, ev.PauseChanged, ev.SidecarHalted)
"""What they hear in any case."""

_HEEDED: Final = (SaveIncident, Refuse, AnswerWait, ReportIllegalStep)
"""What they may decide. A recovery is not among it."""


class Apart(Protocol):
    """An engine of a process that is not believed; see `sidecar.core.engine.Engine`."""

    @property
    def windows(self) -> tuple[Window, ...]:
        """The open windows."""

    @property
    def outcomes(self) -> tuple[AnyOutcome, ...]:
        """What came of the event that was handled last."""

    def handle(self, event: ev.Event) -> list[Decision]:
        """Take in one event."""


class Doubted:
    """The links that are not believed, and their engines.

    Attributes:
        gateways: Who speaks on them, by link. Without any, nothing else is there, either.
        claims: What they said that they wrote.
        outcomes: What came of the event that was handled last.
    """

    def __init__(self, make: Callable[[], Apart], known: Callable[[str, int], Iterable[ev.Event]]) -> None:
        """No such link is there.

        Args:
            make: Gives an engine that knows nothing.
            known: The events that lead it to what believed links have told of a transcript, at this time.
        """
        self.gateways: dict[str, Gateway] = {}
        self.claims = Claims()
        self.outcomes: list[AnyOutcome] = []
        self._make = make
        self._known = known
        self._apart: dict[str, Apart] = {}

    @property
    def windows(self) -> list[Window]:
        """The open windows of all of them."""
        return [window for engine in self._apart.values() for window in engine.windows]

    def said_by(self, event: ev.Event) -> Gateway | None:
        """Who is not believed and says this; None for what comes from anybody else."""
        if isinstance(event, ev.FileChanged):
            return self.gateways.get(event.change.link)
        link: str = getattr(event, "link", "") or link_of(getattr(event, "window", ""))
        return self.gateways.get(link)

    def opened(self, event: ev.LinkOpened) -> list[Decision]:
        """A process that is not believed has a link, or has told more of itself."""
        self.gateways[event.gateway.link] = event.gateway
        engine = self._apart.get(_process(event.gateway))
        return [] if engine is None else self._handle(engine, event)

    def believed(self, link: str, at_ns: int) -> list[Decision]:
        """It is believed from now on. Its windows are over; those that it speaks of from now on are new ones."""
        gateway = self.gateways.get(link)
        return [] if gateway is None else self.heard(gateway, ev.LinkLost(link=link, clean=True, at_ns=at_ns))

    def heard(self, gateway: Gateway, event: ev.Event) -> list[Decision]:
        """A link that is not believed says this."""
        if isinstance(event, ev.LinkLost):
            del self.gateways[event.link]
        process, doubt = _process(gateway), gateway.doubt
        engine = self._apart.get(process)
        if isinstance(event, ev.FileChanged) and doubt is not None:
            self.claims.add(event.file, Claim(gateway, doubt, event.change))
            has_window = engine is not None and _has_window(engine, event.file)
            return self._handle(engine, event) if engine is not None and has_window else []
        if isinstance(event, _OPENING) and doubt is not None:
            return self._opening(process, doubt, event)
        decided = self._handle(engine, event) if engine is not None and isinstance(event, _OF_OWN) else []
        self._drop(process)
        return decided

    def overheard(self, event: ev.Event) -> list[Decision]:
        """Something else happened, which has been handled."""
        decisions: list[Decision] = []
        for process, engine in list(self._apart.items()):
            if isinstance(event, _OF_ALL) or (isinstance(event, _OVERHEARD) and _is_about(event, engine)):
                decisions += self._handle(engine, event)
                self._drop(process)
        return decisions

    def _opening(
        self,
        process: str,
        doubt: Reason,
        event: ev.FenceSet | ev.VerdictAsked | ev.LockTimedOut | ev.TurnTripped | ev.TurnLost,
    ) -> list[Decision]:
        engine = self._apart.get(process)
        if engine is None and len(self._apart) < MAX_APART:
            engine = self._apart[process] = self._make()
            for gateway in self.gateways.values():
                if _process(gateway) == process:
                    engine.handle(ev.LinkOpened(gateway=gateway, at_ns=event.at_ns))
        if engine is None or len(engine.windows) >= MAX_WINDOWS:
            return _refused(event, doubt)
        if not _has_window(engine, event.file):
            for known in self._known(event.file, event.at_ns):
                engine.handle(known)
        decided = self._handle(engine, event)
        self._drop(process)
        return decided

    def _handle(self, engine: Apart, event: ev.Event) -> list[Decision]:
        """What the engine decides, as far as it is heeded. Nothing is read at once for it."""
        decided = engine.handle(event)
        # Nobody's custody is lost with its word but its own.
        self.outcomes += [outcome for outcome in engine.outcomes if not isinstance(outcome, CustodyLost)]
        reads = [ReadFile(file=decision.file, settle=True) for decision in decided if isinstance(decision, ReadFile)]
        return [*(decision for decision in decided if isinstance(decision, _HEEDED)), *dict.fromkeys(reads)]

    def _drop(self, process: str) -> None:
        """Nothing is remembered of a process without a window."""
        engine = self._apart.get(process)
        if engine is not None and not engine.windows:
            del self._apart[process]


_OF_OWN: Final = (*_OF_WINDOWS, ev.LinkLost)


def _process(gateway: Gateway) -> str:
    """The process, which may have several links; of one that can't be seen each link stands for itself."""
    pid = gateway.visible_pid
    return f"{pid} {gateway.started_at_ns}" if pid else gateway.link


def _has_window(engine: Apart, file: str) -> bool:
    return any(window.file == file for window in engine.windows)


def _is_about(
    event: ev.FileChanged | ev.FingerprintChanged | ev.SnapshotTaken | ev.AccountBroken, engine: Apart
) -> bool:
    return not event.file or _has_window(engine, event.file)


def _refused(event: ev.Event, doubt: Reason) -> list[Decision]:
    """A question is answered with no all the same."""
    match event:
        case ev.VerdictAsked():
            return [
                Refuse(link=event.link, window=event.window, ask=event.ask, verdict=Verdict.UNATTRIBUTED, reason=doubt)
            ]
        case ev.LockTimedOut():
            return [AnswerWait(link=event.link, window=event.window, ask=event.ask, granted=False, reason=doubt)]
        case _:
            return []
