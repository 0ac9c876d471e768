"""One fence of one run, from its setting until the run is done with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sidecar.core.change import Operation
from sidecar.core.ledger import remove, replace_or_append
from sidecar.core.life import Approval, Behind, Custody, State, Step
from sidecar.core.reasons import Reason, ReasonCode
from sidecar.core.record import Record
from sidecar.core.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.core.change import Change
    from sidecar.core.content import Manifest, Snapshot
    from sidecar.core.fingerprint import Fingerprint
    from sidecar.core.incident import Incident
    from sidecar.core.testimony import Mark

_NOT_SEEN: Final = Reason(ReasonCode.FENCE_NOT_SEEN)
_NOT_READ: Final = Reason(ReasonCode.FENCE_CONTENT_UNKNOWN)


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A step that the run's fence has left behind unexplained: its own write took in what nobody had reported.

    Attributes:
        fence: Where the step began.
        trusted: The bytes there.
        trusted_uid: Their owner; -1 when not known.
        changes: Reported since.
    """

    fence: Fingerprint
    trusted: Manifest
    trusted_uid: int
    changes: tuple[Change, ...]

    def reported(self, change: Change) -> Unjudged | None:
        """With one more report. None where it can't be told whether it came before the step began."""
        changes = list(self.changes)
        behind = change.came_after(self.fence, changes) if change.finished else True
        if behind is False:
            remove(changes, change)
        else:
            replace_or_append(changes, change)
        return None if behind is None else replace(self, changes=tuple(changes))


@dataclass(frozen=True, slots=True)
class LateAnswer:
    """A question that its gateway no longer waits for.

    Attributes:
        ask: The question.
        waited_ns: How long the gateway waited.
        reason: Why there was no answer in time.
    """

    ask: str
    waited_ns: int
    reason: Reason


@dataclass(slots=True)
class Window(Record):
    """A fence and all that was seen of it.

    Attributes:
        state: Where it stands; see `sidecar.core.life`.
        trusted: The bytes at the fence; None while they are not known.
        trusted_uid: Owner at the fence; -1 when not known.
        changes: Reported since the fence.
        broken: Why custody is not known; None while it is.
        approved: What a recovery was approved to; None while no approval stands.
        unjudged: What the fence has left behind; None where there is nothing to be judged.
        records: Ids of the co-tenants' records that recoveries took in; they must stay on the path to the root.
        mark: Where word of the fence came between the kernel's sightings; None while these are not listened to.
        late: The last question at this fence that the gateway stopped waiting for; None when there is none.
        tally: What has been said of it as an outcome.
    """

    state: State = field(default_factory=State)
    trusted: Manifest | None = None
    trusted_uid: int = -1
    changes: list[Change] = field(default_factory=list)
    broken: Reason | None = _NOT_SEEN
    approved: Fingerprint | None = None
    unjudged: Unjudged | None = None
    records: list[str] = field(default_factory=list)
    mark: Mark | None = None
    late: LateAnswer | None = None
    tally: Tally = field(default_factory=Tally)

    @property
    def awaiting(self) -> bool:
        """A reading of the transcript, still as at the fence, would establish custody."""
        return self.state.custody is Custody.AWAITED

    @property
    def counted(self) -> bool:
        """A recovery from the present fence is in the budgets."""
        return self.state.approval is not Approval.NONE

    def rebase(self, fence: Fingerprint, trusted: Manifest | None, uid: int, since: Iterable[Change]) -> None:
        """The run recorded a fence; what came before it is settled.

        Args:
            fence: What the run recorded.
            trusted: The bytes at the fence; None if they are not known, and the file is to be read.
            uid: Owner of the file.
            since: Reported already, and not part of the trusted bytes.
        """
        if trusted is None and self.trusted is not None and self.state.custody is Custody.KNOWN:
            self._leave_behind(self.trusted)
        if fence != self.fence:
            self._take(Step.FENCE_MOVED)
        self._take(Step.UNESTABLISHED if trusted is None else Step.ESTABLISHED)
        self.late = None
        self._stand(fence, trusted, uid, since)

    def read(self, trusted: Manifest, uid: int) -> None:
        """The transcript was read, and still was as at the fence."""
        self._take(Step.READ)
        self._stand(self.fence, trusted, uid, self.changes)

    def _stand(self, fence: Fingerprint, trusted: Manifest | None, uid: int, since: Iterable[Change]) -> None:
        self.fence = fence
        self.trusted = trusted
        self.trusted_uid = uid
        self.changes = []
        self.broken = None if trusted is not None else _NOT_READ
        self.approved = None
        self.settled = self.incident.writers if self.incident else ()
        for change in since:
            self.report(change)

    def _leave_behind(self, trusted: Manifest) -> None:
        if self.state.behind is Behind.NOTHING:
            self._take(Step.LEFT_BEHIND)
            self.unjudged = Unjudged(self.fence, trusted, self.trusted_uid, tuple(self.changes))

    def _take(self, step: Step) -> None:
        self.state = self.state.after(step, self.window_id)

    def lose_custody(self, reason: Reason) -> None:
        """Nothing may be assumed of this window any more, until the fence moves."""
        first = self.state.custody is not Custody.LOST
        self._take(Step.CUSTODY_LOST)
        if first:
            self.broken = reason
        self.unjudged = None

    def give_up(self, reason: Reason) -> None:
        """The core has lost its way in this window: whatever its state is, nothing is known of it any more."""
        self.state = State()
        self.broken, self.approved, self.unjudged = reason, None, None

    def approve(self, current: Fingerprint) -> None:
        """A recovery from the fence to this version is approved."""
        self._take(Step.APPROVED)
        self.approved = current

    def withdraw(self) -> None:
        """The approval that stands is taken back."""
        self._take(Step.WITHDRAWN)
        self.approved = None

    def answered(self) -> None:
        """The preload obeyed an approval, or refused it."""
        self._take(Step.ANSWERED)
        self.approved = None

    def stopped(self) -> None:
        """The gateway's own fence stopped the turn."""
        self._take(Step.STOPPED)

    def looked_back(self, *, taken_in: bool) -> None:
        """What the fence has left behind was judged; ``taken_in`` where it is a stranger's, and a person is told."""
        self._take(Step.TAKEN_IN if taken_in else Step.JUDGED)
        self.unjudged = None

    def end(self, at_ns: int, *, unproven: bool) -> Incident | None:
        """The run is done. ``unproven`` where its history must be read before the last word of its incident."""
        self._take(Step.ENDED_UNPROVEN if unproven else Step.ENDED)
        return self.close(at_ns)

    def history_read(self) -> None:
        """The history was searched, or could not be."""
        self._take(Step.HISTORY_READ)

    def report(self, change: Change) -> None:
        """Take in a report, unless it is about something that the fence has left behind.

        Reports of one link come in the order of the calls. Another link's may come after word of the fence that they
        led to, and so may the end of a call whose begin was not heard: there the fingerprints around the call decide.
        """
        if self.unjudged is not None:
            self.unjudged = self.unjudged.reported(change)
            if self.unjudged is None:
                self._take(Step.JUDGED)
        begun = any(c.change_id == change.change_id and c.link == change.link for c in self.changes)
        own_link = change.link == self.gateway.link
        behind: bool | None = True
        if change.finished and not (begun and own_link):
            ordered = own_link and change.began == change.ended
            behind = change.came_after(self.fence, self.changes, ordered=ordered)
        if behind is False:
            remove(self.changes, change)
            return
        replace_or_append(self.changes, change)
        if behind is None:
            self.lose_custody(Reason(ReasonCode.REPORTED_LATE))

    def owned(self, snapshot: Snapshot) -> None:
        """The file was read. If it still is as at the fence, so is its owner: a change of it shows in the ctime."""
        if self.trusted_uid < 0 and snapshot.fingerprint == self.fence:
            self.trusted_uid = snapshot.uid

    @property
    def may_be_read(self) -> bool:
        """A reading of the file at the fence establishes custody: no call can have changed it since.

        Calls under way have not begun to write, and an append that has returned is what led to the fence.
        """
        return self.awaiting and all(self._is_behind(c) if c.finished else c.before == self.fence for c in self.changes)

    def _is_behind(self, call: Change) -> bool:
        """This append grew the file to what it was at the fence, at which it still is."""
        grown = call.before is not None and call.before.size < self.fence.size
        return call.operation is Operation.APPEND and grown and call.after == self.fence

    def abandon(self, link: str) -> None:
        """Another link is gone; what its calls under way have done will never be known."""
        if self.unjudged is not None and any(c.link == link and not c.finished for c in self.unjudged.changes):
            self.looked_back(taken_in=False)
        kept = [c for c in self.changes if c.finished or c.link != link]
        if len(kept) < len(self.changes):
            self.changes = kept
            self.lose_custody(Reason(ReasonCode.GONE_WHILE_WRITING))
