"""An incident as a story that a person understands without knowing the code."""

from typing import Final

from sidecar.cli.advice import advice
from sidecar.cli.output import print_fields, print_line, print_rows, print_whole
from sidecar.core.facts.gateway import Gateway
from sidecar.core.facts.span import Unit
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.core.policy.blocked import BlockReason
from sidecar.core.verdict.incident import Incident
from sidecar.notify import words
from sidecar.store.public import iso_utc
from sidecar.store.stored import PageRecord, StoredIncident
from sidecar.words import EVIDENCE, change, detail, outcome, sentence

_VERDICT: Final = "verdict"


def print_story(stored: StoredIncident) -> None:
    """Print what happened, to whom, what was done and why, the timeline, who wrote, and what to do."""
    incident = stored.incident
    print_line(f"Incident {incident.incident_id}", style="bold")
    print_line()
    print_fields(_head(stored))
    _print_timeline(incident)
    _print_record(stored)
    if incident.unexplained:
        _section(f"{incident.unexplained[0].unit.value.capitalize()} that nobody reported")
        print_rows((words.unexplained(item),) for item in incident.unexplained)
    if incident.claims:
        _section("Who says so and is not believed")
        unit = incident.unexplained[0].unit if incident.unexplained else Unit.BYTES
        print_rows((words.claim(claim, unit),) for claim in incident.claims)
    if incident.writers:
        _section("Who wrote how much since the fence")
        print_rows((words.writer(share),) for share in incident.writers)
    _section("What to do")
    for number, step in enumerate(advice(incident), start=1):
        # Not wrapped by us: there are commands in it, to be copied.
        print_whole(f"  {number}. {step}")


def page_words(page: PageRecord) -> str:
    """The state of the page in one phrase."""
    if not page.due:
        return "none"
    attempts = "1 attempt" if page.attempts == 1 else f"{page.attempts} attempts"
    if page.sent:
        return f"sent {iso_utc(page.sent_at_ns)}, {attempts}"
    if page.covered_by:
        return f"told by the page of {page.covered_by}, of the same session"
    reason = f": {page.last_error}" if page.last_error else ""
    return f"given up, {attempts}{reason}" if page.gave_up else f"due and not sent, {attempts}{reason}"


def _head(stored: StoredIncident) -> list[tuple[str, str]]:
    incident = stored.incident
    closed = iso_utc(incident.closed_at_ns)
    fields = [
        ("What happened", change(incident)),
        ("", sentence(incident.reason)),
        (
            "When",
            f"{iso_utc(incident.opened_at_ns)}, " + (f"window closed {closed}" if closed else "window still open"),
        ),
        ("To whom", words.whose_turn(incident)),
        ("Session", incident.session_file),
        ("Gateway", f"{words.gateway(incident)} (adapter {incident.gateway.adapter.value})"),
        *_verified(incident.gateway),
        ("Impact", words.impact(incident)),
        *_lost(incident),
        ("Verdict", incident.verdict.value),
        ("Evidence", f"{incident.grade.value}: {EVIDENCE[incident.grade]}"),
        ("What was done", outcome(incident)),
        ("Why", sentence(incident.recovery.reason) or "-"),
        ("Mode", incident.recovery.mode.value),
        *_policy(incident),
        *_pages(stored),
    ]
    if incident.recovery.count:
        how_often = f"{incident.recovery.count}, {incident.recovery.pushed} of them ahead of the gateway's check"
        fields.append(("Fence moved", f"{how_often}; the last took {incident.recovery.latency_ms:.1f} ms"))
    if incident.recovery.lock_waits:
        fields.append(("Lock timeouts", f"{incident.recovery.lock_waits} that the run was let wait out"))
    if incident.run.trace_id:
        fields.append(("Trace", incident.run.trace_id))
    return fields


def _verified(gateway: Gateway) -> list[tuple[str, str]]:
    """Whether the gateway is believed, and by what; nothing where that was not asked yet."""
    if gateway.doubt is not None:
        return [("Verified", f"no: {sentence(gateway.doubt)}")]
    if gateway.proof is None:
        return []
    found = f" ({'; '.join(gateway.checks)})" if gateway.checks else ""
    return [("Verified", f"by {gateway.proof.value}{found}")]


def _lost(incident: Incident) -> list[tuple[str, str]]:
    """Why the turn was lost, how often that happened, and what was done without the session's knowledge."""
    lost = incident.lost
    if lost is None:
        return []
    fields = [("Lost to", f"{lost.cause.value}: {sentence(lost.reason)}")]
    if lost.count > 1:
        fields.append(("How often", f"{lost.count} turns, the last one {iso_utc(lost.last_at_ns)}"))
    if lost.tools:
        fields.append(("Not stored", f"results of tools: {', '.join(lost.tools)}"))
    return fields


def _pages(stored: StoredIncident) -> list[tuple[str, str]]:
    """One line for each page; with several, each says what it is about."""
    if len(stored.pages) < 2:  # noqa: PLR2004 - several
        return [("Page", page_words(stored.page))]
    return [("Page", f"{page.about}: {page_words(page)}") for page in stored.pages]


def _policy(incident: Incident) -> list[tuple[str, str]]:
    """Which rule decided, and what else held the recovery back."""
    fields = []
    if incident.rule:
        fields.append(("Rule", f"{incident.rule} of policy {incident.policy}"))
    if incident.recovery.hold is not BlockReason.NONE:
        fields.append(("Held back by", incident.recovery.hold.value.replace("_", " ")))
    budget_use = incident.recovery.budget_use
    if budget_use is not None:
        fields.append(
            (
                "Budget",
                f"{budget_use.used} of {budget_use.limit} used; free again {iso_utc(budget_use.free_at_ns) or 'never'}",
            )
        )
    return fields


def _print_timeline(incident: Incident) -> None:
    if not incident.timeline:
        return
    begin = incident.timeline[0]
    _section(f"Timeline, in seconds from {iso_utc(begin.at_ns)} ({begin.what})")
    # What a gateway tells of is heard later than it was.
    moments = sorted(incident.timeline, key=lambda moment: moment.at_ns)
    lines = [(m.at_ns, m.what, detail(m)) for m in moments]
    before = [("", ""), *((what, said) for _, what, said in lines)]
    # A verdict that was given again says nothing new.
    new = (line for line, said in zip(lines, before, strict=False) if line[1] != _VERDICT or line[1:] != said)
    print_rows((_after(at_ns, begin.at_ns), what, said) for at_ns, what, said in new)


def _print_record(stored: StoredIncident) -> None:
    if not stored.history:
        return
    start_ns = (stored.incident.timeline[0].at_ns if stored.incident.timeline else 0) or stored.history[0].at_ns
    _section("On record, when it reached the disk")
    print_rows(
        (_after(h.at_ns, start_ns), h.verdict.value, h.outcome.value, sentence(h.reason)) for h in stored.history
    )


def _after(at_ns: int, start_ns: int) -> str:
    return f"{(at_ns - start_ns) / NS_PER_SECOND:+.3f}"


def _section(title: str) -> None:
    print_line()
    print_line(title, style="bold")
