"""One fence of one run, from its setting until the run is done with it."""

from dataclasses import dataclass, field
from typing import Final

from sidecar.core.custody.account import AnyAccount
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.turn_loss import TurnLoss
from sidecar.core.facts.value import Value
from sidecar.core.facts.version import AnyChange, Version
from sidecar.core.verdict.incident import Incident
from sidecar.core.windows.life import Approval, Behind, Custody, State, Step
from sidecar.core.windows.record import Record
from sidecar.core.windows.tally import Tally

NOT_READ: Final = Reason(ReasonCode.FENCE_CONTENT_UNKNOWN)


class LateAnswer(Value, frozen=True):
    """A question that its gateway no longer waits for."""

    ask: str
    waited_ns: int
    reason: Reason


@dataclass(slots=True)
class Window(Record):
    """A fence and all that was seen of it.

    Attributes:
        state: Where it stands; see `sidecar.core.windows.life`.
        account: The transcript since the fence.
        approved: What a recovery was approved to; None while no approval stands.
        unjudged: The account that the fence has left behind; None where there is nothing to be judged.
        records: Ids of the co-tenants' records that recoveries took in; they must stay on the path to the root.
        late: The last question at this fence that the gateway stopped waiting for; None when there is none.
        loss: Why its turn was lost, where sessions are in a database; None while it is not.
        compared: Since then a reading has shown that the transcript is as at the fence.
        patient: Its run was told that it may wait longer for its database.
        tally: What has been said of it as an outcome.
    """

    state: State = field(default_factory=State)
    account: AnyAccount = field(kw_only=True)
    approved: Version | None = None
    unjudged: AnyAccount | None = None
    records: list[str] = field(default_factory=list)
    late: LateAnswer | None = None
    loss: TurnLoss | None = None
    compared: bool = False
    patient: bool = False
    tally: Tally = field(default_factory=Tally)

    @property
    def counted(self) -> bool:
        """A recovery from the present fence is in the budgets."""
        return self.state.approval is not Approval.NONE

    def rebase(self, fence: Version, account: AnyAccount) -> None:
        """The run recorded a fence; what came before it is settled.

        Args:
            fence: What the run recorded.
            account: The transcript since then; where it does not say what was there, the transcript is to be read.
        """
        if not account.known and self.state.custody is Custody.KNOWN and self.state.behind is Behind.NOTHING:
            self._take(Step.LEFT_BEHIND)
            self.unjudged = self.account
        if fence != self.fence:
            self._take(Step.FENCE_MOVED)
        self._take(Step.ESTABLISHED if account.known else Step.UNESTABLISHED)
        self.fence, self.late = fence, None
        self._stand(account)

    def read(self, account: AnyAccount) -> None:
        """The transcript was read, and still was as at the fence; ``account`` says what it holds."""
        self._take(Step.READ)
        self._stand(self.account.with_contents_of(account))

    def _stand(self, account: AnyAccount) -> None:
        self.account = account.at_head
        self.approved = None
        self.settled = self.incident.writers if self.incident else ()
        for change in account.changes:
            self.report(change)

    def _take(self, step: Step) -> None:
        self.state = self.state.after(step, self.window_id)

    def lose_custody(self, reason: Reason) -> None:
        """Nothing may be assumed of this window any more, until the fence moves."""
        first = self.state.custody is not Custody.LOST
        self._take(Step.CUSTODY_LOST)
        if first:
            self.account = self.account.doubted(reason)
        self.unjudged = None

    def give_up(self, reason: Reason) -> None:
        """The core has lost its way in this window: whatever its state is, nothing is known of it any more."""
        self.state = State()
        self.account = self.account.doubted(reason)
        self.approved = self.unjudged = None

    def approve(self, current: Version) -> None:
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

    def report(self, change: AnyChange) -> None:
        """Take in a report, unless it is about something that the fence has left behind."""
        if self.unjudged is not None:
            self.unjudged, known = self.unjudged.reported(change)
            if known is None:
                self.looked_back(taken_in=False)
        self.account, known = self.account.reported(change, self.gateway.link)
        if known is None:
            self.lose_custody(Reason(ReasonCode.REPORTED_LATE))

    @property
    def may_be_read(self) -> bool:
        """A reading of the transcript at the fence establishes custody: no call can have changed it since."""
        return self.state.custody is Custody.AWAITED and self.account.at_rest

    def abandon(self, link: str) -> None:
        """Another link is gone; what its calls under way have done will never be known."""
        if self.unjudged is not None and self.unjudged.calls_of(link):
            self.looked_back(taken_in=False)
        calls = self.account.calls_of(link)
        if calls:
            self.account = self.account.abandoned(calls)
            self.lose_custody(Reason(ReasonCode.GONE_WHILE_WRITING))
