"""The core's decisions and incidents in few words and small numbers. The only module here that reads decisions."""

from pathlib import Path
from textwrap import wrap

from sidecar.core import decisions as de
from sidecar.core import outcomes as oc
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.version import Version
from sidecar.core.policy.blocked import BlockReason
from sidecar.core.verdict.incident import Incident


class Labels:
    """Short names of fingerprints, and whether a line must say which window or session it is about."""

    def __init__(self) -> None:
        self.windows: set[str] = set()
        self.sessions = 0
        self._labels: dict[Version, str] = {}

    def learn(self, fingerprint: Version) -> str:
        """The label of a fingerprint: its size, with a prime for each earlier one of that size."""
        if fingerprint not in self._labels:
            size = str(fingerprint.size) if fingerprint.exists else "gone"
            primes = sum(label.rstrip("'") == size for label in self._labels.values())
            self._labels[fingerprint] = size + "'" * primes
        return self._labels[fingerprint]

    def fingerprint(self, label: str) -> Fingerprint:
        """The fingerprint with this label."""
        return next(f for f, known in self._labels.items() if known == label and isinstance(f, Fingerprint))

    def step(self, before: Version, after: Version) -> str:
        """From one fingerprint to another."""
        return f"{self.learn(before)} -> {self.learn(after)}"

    def window(self, window: str) -> str:
        """What stands ahead of a line about this window."""
        return f"{window}: " if len(self.windows) > 1 else ""

    def file(self, file: str) -> str:
        """What stands ahead of a line about this file."""
        return f"{Path(file).stem}: " if self.sessions > 1 else ""


def line_of(decision: de.Decision, labels: Labels) -> list[str]:  # noqa: C901, PLR0911, PLR0912 - one case for each decision
    """A decision in one line; none for what is kept in the background."""
    match decision:
        case de.ReadFile():
            return [f"{labels.file(decision.file)}read{' when settled' if decision.settle else ''}"]
        case de.SaveIncident():
            counted = " counted" if decision.spent_at_ns else ""
            return [f"{_of(decision.incident, labels)}save {_facts(decision.incident)}{counted}"]
        case de.Approve():
            step = labels.step(decision.fence, decision.current)
            return [f"{labels.window(decision.window)}approve {step}{'' if decision.ask else ' ahead'}"]
        case de.Withdraw():
            return [f"{labels.window(decision.window)}withdraw"]
        case de.Refuse():
            return [f"{labels.window(decision.window)}refuse {decision.verdict.value}"]
        case de.AnswerWait():
            return [f"{labels.window(decision.window)}{'wait on' if decision.granted else 'do not wait'}"]
        case de.GrantPatience():
            return [f"{labels.window(decision.window)}have patience {decision.tries} times"]
        case de.EndPatience():
            return [f"{labels.window(decision.window)}have no patience"]
        case de.CheckLineage():
            return [f"{labels.window(decision.window)}check history {' '.join(decision.records)}"]
        case de.KeepRecording():
            return [f"{_of(decision.incident, labels)}keep the recording"]
        case de.KeepChains():
            return [f"{labels.file(chain.file)}keep the chain" for chain in decision.chains]
        case de.ReportIllegalStep():
            return [f"illegal step: {_why(decision.reason)}"]
        case de.RecallChain():
            return []


def outcome_of(outcome: oc.AnyOutcome, labels: Labels) -> list[str]:
    """What came of things in one line; none where a decision says as much."""
    match outcome:
        case oc.ChangesJudged():
            verdict = outcome.verdict.value if outcome.verdict else "let pass"
            writers = ", ".join(dict.fromkeys(change.writer.label() for change in outcome.changes))
            return [f"= {labels.window(outcome.window)}judged {verdict}: {len(outcome.changes)} by {writers}"]
        case oc.UnexplainedFound():
            ranges = ", ".join(f"{r.length} at {r.offset}" for r in outcome.ranges)
            return [f"= {labels.window(outcome.window)}unexplained {outcome.verdict.value}: {ranges}"]
        case oc.RecoveryWithheld():
            return [f"= withheld: {outcome.hold.value}"]
        case oc.TurnLost():
            return [f"= {labels.window(outcome.window)}turn lost"]
        case oc.LockTimeoutSettled():
            return [f"= lock timeout {outcome.result.value}"]
        case oc.CustodyLost():
            return [f"= custody lost: {outcome.loss.value}"]
        case oc.WindowEnded():
            return [f"= {labels.window(outcome.window)}window {outcome.ending.value}"]
    return []


def story_of(incident: Incident, labels: Labels) -> list[str]:
    """What an incident says in the end, in a few lines."""
    recovery = incident.recovery
    lines = [f"{incident.window or 'no window'}: {_facts(incident)} {labels.step(incident.fence, incident.current)}"]
    lines.append(f"  {_why(incident.reason)}")
    if recovery.reason not in {None, incident.reason}:
        lines.append(f"  recovery: {_why(recovery.reason)}")
    if recovery.count or recovery.lock_waits:
        counts = f"  fence moved {recovery.count} times, {recovery.pushed} ahead"
        lines.append(counts + (f"; {recovery.lock_waits} waits for the lock" if recovery.lock_waits else ""))
    for writer in incident.writers:
        name = f"{writer.kind} {writer.name}".strip()
        ruled = f", rule {writer.rule}" if writer.rule else ""
        lines.append(f"  {name} of process {writer.pid}: {writer.bytes} bytes{', own' if writer.own else ''}{ruled}")
    for lack in incident.unexplained:
        by = f" by process {lack.pid} {lack.exe}".rstrip() if lack.pid else ""
        lines.append(f"  unexplained: {lack.length} bytes at {lack.offset}{by}")
    if incident.waited_ms:
        lines.append(f"  the user had waited {incident.waited_ms:g} ms")
    moments = [" ".join(part for part in (m.what, m.detail, _why(m.reason)) if part) for m in incident.timeline]
    story = "; ".join(moments)
    return lines + wrap(story, 116, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def summary(incident: Incident) -> tuple[str, ...]:
    """What a transcript expects of an incident."""
    words = [incident.verdict.value, incident.recovery.outcome.value]
    words += ["paged"] if incident.paged_for else []
    return (*words, "lost") if incident.turn_lost else tuple(words)


def _why(reason: Reason | None) -> str:
    """A reason as its code and parameters: how it reads for people is no decision."""
    if reason is None:
        return ""
    values = [f"{n}={','.join(v) if isinstance(v, tuple) else v}" for n, v in reason.parameters]
    details = [f"({'; '.join(_why(detail) for detail in reason.details)})"] if reason.details else []
    return " ".join([reason.code.value, *values, *details])


def _facts(incident: Incident) -> str:
    words = [incident.verdict.value, incident.grade.value, incident.recovery.outcome.value]
    if incident.recovery.hold is not BlockReason.NONE:
        words.append(f"({incident.recovery.hold.value})")
    if incident.turn_lost:
        words.append("lost")
    return " ".join([*words, *(f"paged:{about.value}" for about in incident.paged_for)])


def _of(incident: Incident, labels: Labels) -> str:
    return "taken in: " if incident.taken_in else labels.window(incident.window)
