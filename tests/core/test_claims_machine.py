"""Whatever a link says that is not believed: verdicts on all others are as if it had said nothing.

The machine of `test_engine_machine` goes on as ever. Beside its two engines, which hear the lies, there is a third one
that hears none. All that the first and the third say of windows of the believed gateway is compared.
"""

from __future__ import annotations

from typing import Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from sidecar.core import events as ev
from sidecar.core.decisions import AnswerWait, Approve, Decision, ReadFile, Refuse, SaveIncident
from sidecar.core.facts.change import Operation
from sidecar.core.facts.gateway import Gateway
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import replace
from sidecar.core.facts.window_name import apart, link_of
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.verdict.incident import Incident, Outcome
from sidecar.core.verdict.judge import Verdict
from tests.core.kit import FILE, LINK, OTHER_LINK, Disk, applied, asked, fence_set, timed_out, tripped
from tests.core.test_engine_machine import Checks, Fence, Sessions, Sidecar

LIARS: Final = ("liar-1", "liar-2")
_WHY: Final = Reason.of(ReasonCode.LINK_NOT_NODE, exe="/usr/bin/python3")


def _liar(link: str) -> Gateway:
    return Gateway(link, 4711, "2026.7.35", unverified=_WHY, exe="/usr/bin/python3")


def _unnamed(reason: Reason | None) -> Reason | None:
    """A reason without the names of liars."""
    if reason is None:
        return None
    details = (_unnamed(detail) for detail in reason.details if detail.code is not ReasonCode.CLAIMED_BY)
    return replace(reason, details=tuple(detail for detail in details if detail is not None))


def _as_of_the_honest(incident: Incident) -> Incident:
    """An incident without the names of liars."""
    reason = _unnamed(incident.reason)
    assert reason is not None
    return replace(
        incident,
        claims=(),
        reason=reason,
        recovery=replace(incident.recovery, reason=_unnamed(incident.recovery.reason)),
        timeline=tuple(replace(moment, reason=_unnamed(moment.reason)) for moment in incident.timeline),
    )


class Accompanied(Sidecar):
    """A sidecar that is lied to; whatever it is shown, the one that is not is shown, too."""

    def __init__(self, disk: Disk, honest: Sidecar, *, can_reload: bool) -> None:
        super().__init__(disk, can_reload=can_reload)
        self.honest = honest

    def look(self, *, settled: bool = True) -> Checks:
        if settled:
            self.honest.look()
        return super().look(settled=settled)


class Slandered(Sessions):
    """The same sessions, and two links of a process that nobody believes."""

    def start(self) -> None:
        super().start()
        self.honest = Sidecar(self.disk, can_reload=self.can_reload)
        self.sidecar = Accompanied(self.disk, self.honest, can_reload=self.can_reload)
        for link in LIARS:
            self.lie(ev.LinkOpened(gateway=_liar(link), at_ns=self.disk.clock))

    def tell(self, event: ev.Event) -> None:
        self.honest.tell(event)
        super().tell(event)

    def ask(self, fence: Fence) -> Approve | Refuse:
        self.hear_everybody()
        event = asked(
            fence.at, self.disk.snapshot, self.disk.clock, ask=f"a{self.number + 1}", window=fence.window, run=fence.run
        )
        self.honest.tell(event)
        return super().ask(fence)

    def lie(self, event: ev.Event) -> None:
        """Only those hear it who can be lied to, and what they make of it concerns nobody else."""
        for sidecar in (self.sidecar, self.blind):
            for decision in sidecar.tell(event).decisions:
                assert self.is_harmless(decision), decision

    def is_harmless(self, decision: Decision) -> bool:
        match decision:
            case ReadFile(settle=settle):
                return settle
            case SaveIncident(incident=incident):
                return link_of(incident.window) in LIARS
            case Refuse(link=link):
                return link in LIARS
            case AnswerWait(link=link, granted=granted):
                return link in LIARS and not granted
            case _:
                return False

    def forged(self, link: str, operation: Operation, writer: Writer, data: bytes) -> ev.FileChanged:
        """What the liar says of a change that came to be just now, or did not."""
        change = replace(self.change(operation, writer, data, link=link), after=self.disk.fingerprint)
        for fence in self.fences.values():
            fence.acts.pop()
        return ev.FileChanged(file=FILE, change=change)

    @rule(
        link=st.sampled_from(LIARS),
        operation=st.sampled_from(Operation),
        kind=st.sampled_from(WriterKind),
        own=st.booleans(),
        begun=st.booleans(),
        data=st.data(),
    )
    def a_change_that_was_not(
        self, link: str, operation: Operation, kind: WriterKind, *, own: bool, begun: bool, data: st.DataObject
    ) -> None:
        run_id = self.some(data).run.run_id if own else ""
        writer = Writer(kind, "", 4711, run_id)
        content = data.draw(st.sampled_from((b"", b"x", self.disk.data, self.disk.data[1:])), label="content")
        event = self.forged(link, operation, writer, content)
        self.lie(replace(event, change=replace(event.change, ended=None, after=None)) if begun else event)

    @rule(link=st.sampled_from(LIARS), ahead=st.booleans())
    def a_foreign_append_that_is_claimed(self, link: str, *, ahead: bool) -> None:
        """The 25 lines of a script: it announces its own append as a heartbeat's, and makes it."""
        data = self.record("F")
        event = self.forged(link, Operation.APPEND, Writer(WriterKind.HEARTBEAT, "", 4711), data)
        if ahead:
            self.lie(event)
        self.disk.append(data, foreign=self.next())
        self.intrude()
        if not ahead:
            self.lie(replace(event, change=replace(event.change, after=self.disk.fingerprint)))

    @rule(
        link=st.sampled_from(LIARS),
        what=st.sampled_from(("fence", "ask", "wait", "trip", "close", "takeover", "obeyed", "had", "late")),
        true=st.booleans(),
        data=st.data(),
    )
    def a_word_of_a_window(self, link: str, what: str, *, true: bool, data: st.DataObject) -> None:
        """Of a window of its own, or of one that has the name of another's."""
        fence = self.some(data)
        name = apart(fence.window if data.draw(st.booleans(), label="anothers") else "w", link)
        at = self.disk.fingerprint if true else fence.at
        snapshot, at_ns = self.disk.snapshot, self.disk.clock
        event: ev.Event
        match what:
            case "fence":
                event = fence_set(at, at_ns, window=name, run=fence.run)
            case "ask":
                event = asked(at, snapshot, at_ns, window=name, run=fence.run)
            case "wait":
                event = timed_out(at, snapshot, at_ns, window=name)
            case "trip":
                event = tripped(at, snapshot, at_ns, window=name, run=fence.run)
            case "obeyed":
                approval = Approve(link=link, window=name, file=FILE, fence=at, current=at)
                event = applied(approval, at_ns, "r1")
            case "had":
                event = ev.LockWaitEnded(window=name, had=true, waited_ns=1, at_ns=at_ns)
            case "late":
                event = ev.AnswerLate(ask="a1", window=name, waited_ns=1, at_ns=at_ns, heard_ns=at_ns)
            case _:
                event = ev.FenceClosed(window=name, takeover=what == "takeover", at_ns=at_ns)
        if isinstance(event, ev.FenceSet | ev.VerdictAsked | ev.LockTimedOut | ev.TurnTripped):
            event = replace(event, link=link)
        self.lie(event)

    @rule(link=st.sampled_from(LIARS), what=st.sampled_from(("taken", "released", "claimed", "logged", "noted")))
    def another_word(self, link: str, what: str) -> None:
        at_ns, writer = self.disk.clock, Writer(WriterKind.CRON, "daily-digest", 4711)
        after = self.disk.fingerprint
        events: dict[str, ev.Event] = {
            "taken": ev.LockTaken(link=link, file=FILE, hold="h", writer=writer, wait_ns=0, at_ns=at_ns),
            "released": ev.LockReleased(
                link=link, file=FILE, hold="h", writer=writer, after=after, held_ns=0, at_ns=at_ns
            ),
            "claimed": ev.WriterClaimed(
                link=link, session="", run_id="run-1", previous="", superseded=True, at_ns=at_ns
            ),
            "logged": ev.GatewayLogged(
                link=link, file=FILE, run_id="", session="", what="x", waited_ns=9, at_ns=at_ns, takeover=True
            ),
            "noted": ev.TimelineNote(link=link, file=FILE, run_id="", what="x", detail="", at_ns=at_ns),
        }
        self.lie(events[what])

    @rule(link=st.sampled_from(LIARS), clean=st.booleans())
    def its_link_is_lost_and_comes_back(self, link: str, *, clean: bool) -> None:
        self.lie(ev.LinkLost(link=link, clean=clean, at_ns=self.disk.clock))
        self.lie(ev.LinkOpened(gateway=_liar(link), at_ns=self.disk.clock))

    @rule()
    def it_says_that_it_is_the_gateway(self) -> None:
        """A second link that claims the gateway's pid: the kernel tells another, and this is what it says."""
        self.lie(ev.LinkOpened(gateway=replace(_liar(LIARS[0]), pid=100), at_ns=self.disk.clock))

    @invariant()
    def all_others_are_judged_as_if_it_had_said_nothing(self) -> None:
        heard = {i.incident_id: i for i in self.sidecar.incidents.values() if link_of(i.window) not in LIARS}
        assert {name: _as_of_the_honest(i) for name, i in heard.items()} == self.honest.incidents
        assert self.sidecar.approvals == self.honest.approvals

    @invariant()
    def its_own_windows_are_never_recovered_nor_cleared(self) -> None:
        for incident in self.sidecar.incidents.values():
            if link_of(incident.window) in LIARS:
                assert incident.verdict in {Verdict.EXTERNAL, Verdict.UNATTRIBUTED}
                assert incident.grade in {Grade.NONE, Grade.CLAIMED, Grade.BYTES}
                assert incident.recovery.outcome in {Outcome.NONE, Outcome.REFUSED, Outcome.NOT_ATTEMPTED}

    @invariant()
    def custody_of_others_is_as_if_it_had_said_nothing(self) -> None:
        known, honest = self.sidecar.engine.registry.windows, self.honest.engine.registry.windows
        assert {name: (w.fence, w.account.broken) for name, w in known.items()} == {
            name: (w.fence, w.account.broken) for name, w in honest.items()
        }
        assert set(self.sidecar.engine.registry.gateways) == {LINK, OTHER_LINK}


TestSlandered = Slandered.TestCase
TestSlandered.settings = settings(
    max_examples=120,
    stateful_step_count=30,
    derandomize=True,
    report_multiple_bugs=False,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
