"""What the core wants done. The driver carries it out (docs/driving-the-core.md)."""

from collections.abc import Iterable
from typing import Final

from sidecar.core.custody.kept import AnyKeptChain
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.value import Value
from sidecar.core.facts.version import Version
from sidecar.core.replay.recording import Recording
from sidecar.core.verdict.incident import Incident
from sidecar.core.verdict.judge import Verdict

MAX_KEPT_AT_ONCE: Final = 25
"""Chains of files, and likewise of rows, that one `sidecar.core.events.TimePassed` gives out: a gateway may be waiting
for an answer."""


class ReadFile(Value, frozen=True, kw_only=True):
    """Read the file and answer with `sidecar.core.events.SnapshotTaken`.

    With ``settle`` every link first reports what it has done so far. Without it the answer must be immediate.
    """

    file: str
    settle: bool = False


class SaveIncident(Value, frozen=True, kw_only=True):
    """The incident is new or has changed; the pages that it names are due from then on. One for each incident.

    With ``spent_at_ns`` a recovery of its session is counted, at this time; 0 when none is.
    """

    incident: Incident
    spent_at_ns: int = 0


class Approve(Value, frozen=True, kw_only=True):
    """Command the preload to move this window's fence from exactly ``fence`` to exactly ``current``.

    Attributes:
        ask: The question that this answers; empty when it is pushed ahead of one.
        span: Digest of exactly what was added from one to the other, where versions do not tell it; else empty.
    """

    link: str
    window: str
    file: str
    fence: Version
    current: Version
    ask: str = ""
    span: str = ""


class Withdraw(Value, frozen=True, kw_only=True):
    """Take back what was approved ahead of a question for this window, as far as it was not acted upon."""

    link: str
    window: str


class Refuse(Value, frozen=True, kw_only=True):
    """Answer a question with no: the gateway's own fence decides."""

    link: str
    window: str
    ask: str
    verdict: Verdict
    reason: Reason


class AnswerWait(Value, frozen=True, kw_only=True):
    """Tell a run that did not get the session lock in time whether it may wait on."""

    link: str
    window: str
    ask: str
    granted: bool
    reason: Reason


class GrantPatience(Value, frozen=True, kw_only=True):
    """Tell a run, ahead, that it may ask so often more for its database where it does not get it."""

    link: str
    window: str
    tries: int


class EndPatience(Value, frozen=True, kw_only=True):
    """Take that back, as far as it was not acted upon."""

    link: str
    window: str


class CheckLineage(Value, frozen=True, kw_only=True):
    """Read the history and say which of these records are off the path from the last record to the root."""

    window: str
    file: str
    records: tuple[str, ...]


class RecallChain(Value, frozen=True, kw_only=True):
    """Nothing is known of this file: if a chain of it was kept, answer with `sidecar.core.events.ChainRecalled`."""

    file: str


class KeepChains(Value, frozen=True, kw_only=True):
    """These chains have changed, and should outlive the sidecar."""

    chains: tuple[AnyKeptChain, ...]


class KeepRecording(Value, frozen=True, kw_only=True):
    """A window with an incident is over, or its turn is lost: keep what led to it."""

    incident: Incident
    recording: Recording


class ReportIllegalStep(Value, frozen=True, kw_only=True):
    """A window was to take a step that its state does not allow; its custody is lost. Log it."""

    window: str
    reason: Reason


Command = Approve | Withdraw | Refuse | AnswerWait | GrantPatience | EndPatience
"""What a gateway is sent."""

Record = SaveIncident | KeepChains | KeepRecording
"""What is put on disk."""

Decision = Command | Record | ReadFile | CheckLineage | RecallChain | ReportIllegalStep


def once_each(decisions: Iterable[Decision]) -> list[Decision]:
    """The same with one `SaveIncident` for each incident: its last state, in the place of its first."""
    made: list[Decision] = []
    places: dict[str, int] = {}
    for decision in decisions:
        if not isinstance(decision, SaveIncident):
            made.append(decision)
            continue
        place = places.setdefault(decision.incident.incident_id, len(made))
        if place == len(made):
            made.append(decision)
            continue
        earlier = made[place]
        spent_at_ns = decision.spent_at_ns or (earlier.spent_at_ns if isinstance(earlier, SaveIncident) else 0)
        made[place] = SaveIncident(incident=decision.incident, spent_at_ns=spent_at_ns)
    return made
