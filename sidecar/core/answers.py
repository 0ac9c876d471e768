"""From a look at a file to what is done about it: approve, refuse, save, page."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sidecar.core.decisions import Approve, Decision, Page, Refuse, SaveIncident
from sidecar.core.incident import Outcome
from sidecar.core.policy import Mode
from sidecar.core.verdict import Evidence, Judgement, Verdict, judge

if TYPE_CHECKING:
    from sidecar.core.content import Snapshot
    from sidecar.core.events import LineageChecked, RecoveryApplied, TurnTripped, VerdictAsked
    from sidecar.core.fingerprint import Fingerprint
    from sidecar.core.incident import Incident
    from sidecar.core.policy import Policy
    from sidecar.core.registry import Registry
    from sidecar.core.window import Window

_NS_PER_MS: Final = 1_000_000


class Answers:
    """Judges windows by the rules in force.

    Attributes:
        policy: Who is a co-tenant, and what recovery needs.
        mode: Whether commands are given.
    """

    def __init__(self, registry: Registry, policy: Policy, mode: Mode) -> None:
        """Judge what the registry knows."""
        self._registry = registry
        self.policy = policy
        self.mode = mode

    def look(self, window: Window, snapshot: Snapshot, at_ns: int) -> list[Decision]:
        """Judge a change that the gateway has not asked about yet; push an approval or find a takeover early."""
        judgement = self._judge(window, snapshot)
        if judgement.verdict is Verdict.UNATTRIBUTED:
            return []
        judgement = self._observe(window, judgement, snapshot.fingerprint, at_ns)
        if not judgement.may_recover:
            return self._refused(window, judgement)
        if self.mode is not Mode.RECOVER:
            return self._not_attempted(window)
        step = (window.fence, snapshot.fingerprint)
        if window.approved == step:
            return []
        return self._approved(window, step, window.gateway.link, judgement)

    def asked(self, event: VerdictAsked) -> list[Decision]:
        """A gateway stands at its check and waits."""
        window = self._registry.window(event)
        if window.fence != event.fence:
            window.lose_custody("the fence is not the one that was reported")
        if event.unheard:
            window.lose_custody("another linked process did not say in time what it had done")
        if event.snapshot.fingerprint != event.current:
            # Nothing is concluded from it: the gateway asks again, or its own fence stops the turn.
            return [_no(event, Verdict.UNATTRIBUTED, "the file changed again while it was looked at")]
        judgement = self._judge(window, event.snapshot)
        judgement = self._observe(window, judgement, event.current, event.at_ns)
        if not judgement.may_recover:
            return [*self._refused(window, judgement), _no(event, judgement.verdict, judgement.reason)]
        if self.mode is not Mode.RECOVER:
            return [*self._not_attempted(window), _no(event, judgement.verdict, f"the mode is {self.mode.value}")]
        return self._approved(window, (event.fence, event.current), event.link, judgement, event.ask)

    def applied(self, event: RecoveryApplied) -> list[Decision]:
        """The preload obeyed a command, or refused it because something differed."""
        window = self._registry.windows.get(event.window)
        if window is None or window.incident is None:
            return []
        window.approved = None
        if not event.applied:
            window.note(event.at_ns, "recovery refused by the gateway's preload", event.reason)
            reason = f"the gateway's preload refused: {event.reason}"
            return saved(window.amend(window.recovery(Outcome.REFUSED, self.mode, reason)))
        window.note(event.at_ns, "recovery applied", "ahead of the check" if event.pushed else "at the check")
        window.records.extend(event.records)
        known = window.recovery(Outcome.APPLIED, self.mode, window.incident.reason, event.latency_ns / _NS_PER_MS)
        return saved(window.amend(known.counted(pushed=event.pushed)))

    def tripped(self, event: TurnTripped) -> list[Decision]:
        """The gateway's own fence stopped the turn."""
        window = self._registry.window(event)
        window.note(event.at_ns, "turn stopped", "by the gateway's own fence")
        outcome = window.incident.recovery.outcome if window.incident else Outcome.NONE
        judgement = self._judge(window, event.snapshot)
        # What was judged at the check, under the lock, stands, unless a takeover shows now.
        if window.incident is None or judgement.verdict is Verdict.EXTERNAL:
            foreign = self._registry.ledger(window.file).foreign
            window.observe(judgement, event.snapshot.fingerprint, foreign, event.at_ns)
        incident = window.amend(turn_lost=True)
        if incident.verdict is Verdict.EXTERNAL:
            if outcome is not Outcome.REFUSED:
                window.amend(window.recovery(Outcome.REFUSED, self.mode, incident.reason))
            return [SaveIncident(incident=window.snapshot()), *_page(window)]
        if outcome in {Outcome.APPROVED, Outcome.APPLIED}:
            return self.lost(window)
        if outcome is Outcome.NONE:
            reason = window.broken or "the gateway did not wait for a command"
            incident = window.amend(window.recovery(Outcome.NOT_ATTEMPTED, self.mode, reason))
        return [SaveIncident(incident=incident)]

    def lost(self, window: Window) -> list[Decision]:
        """The turn of a window is lost. A page is due where a command was given and had no effect."""
        incident = window.lost(self.mode)
        if incident is None:
            return []
        paging = _page(window) if incident.recovery.outcome is Outcome.INEFFECTIVE else []
        return [SaveIncident(incident=incident), *paging]

    def lineage_checked(self, event: LineageChecked) -> list[Decision]:
        """The history after a recovery was read."""
        window = self._registry.closed.pop(event.window, None)
        if window is None or window.incident is None or not event.missing:
            return []
        reason = f"records {', '.join(event.missing[:4])} are not on the path to the root: the history has forked"
        window.note(event.at_ns, "history forked", reason)
        window.amend(window.recovery(Outcome.INEFFECTIVE, self.mode, reason))
        return [SaveIncident(incident=window.snapshot()), *_page(window)]

    def _judge(self, window: Window, snapshot: Snapshot) -> Judgement:
        evidence = Evidence(
            run_id=window.run.run_id,
            fence=window.fence,
            trusted=window.trusted,
            trusted_uid=window.trusted_uid,
            changes=tuple(window.changes),
            snapshot=snapshot,
            broken=window.broken,
            can_reload=window.gateway.can_reload,
        )
        return judge(evidence, self.policy)

    def _observe(self, window: Window, judgement: Judgement, current: Fingerprint, at_ns: int) -> Judgement:
        """Take a judgement into the window's incident.

        Returns:
            The judgement, or a refusal if a takeover was seen in this window before: that its bytes are gone again
            does not mean that no one has read them.
        """
        incident = window.observe(judgement, current, self._registry.ledger(window.file).foreign, at_ns)
        if incident.verdict is not Verdict.EXTERNAL or judgement.verdict is Verdict.EXTERNAL:
            return judgement
        reason = f"a foreign change was seen in this window before: {incident.reason}"
        return replace(judgement, verdict=Verdict.EXTERNAL, reason=reason, may_recover=False)

    def _approved(
        self, window: Window, step: tuple[Fingerprint, Fingerprint], link: str, judgement: Judgement, ask: str = ""
    ) -> list[Decision]:
        """The intent goes to disk first (rule 6)."""
        window.approved = step
        intent = window.amend(window.recovery(Outcome.APPROVED, self.mode, judgement.reason))
        fence, current = step
        command = Approve(link=link, window=window.window_id, file=window.file, fence=fence, current=current, ask=ask)
        return [SaveIncident(incident=intent), command]

    def _refused(self, window: Window, judgement: Judgement) -> list[Decision]:
        incident = window.amend(window.recovery(Outcome.REFUSED, self.mode, judgement.reason))
        paging = _page(window) if incident.verdict is Verdict.EXTERNAL else []
        return [SaveIncident(incident=window.snapshot()), *paging]

    def _not_attempted(self, window: Window) -> list[Decision]:
        reason = f"the mode is {self.mode.value}"
        return saved(window.amend(window.recovery(Outcome.NOT_ATTEMPTED, self.mode, reason)))


def saved(incident: Incident | None) -> list[Decision]:
    """Save an incident, if there is one."""
    return [] if incident is None else [SaveIncident(incident=incident)]


def _page(window: Window) -> list[Decision]:
    """One page for each incident, whatever else happens in it."""
    if window.incident is None or window.incident.paged:
        return []
    incident = window.amend(paged=True)
    return [SaveIncident(incident=incident), Page(incident=incident)]


def _no(event: VerdictAsked, verdict: Verdict, reason: str) -> Refuse:
    return Refuse(link=event.link, window=event.window, ask=event.ask, verdict=verdict, reason=reason)
