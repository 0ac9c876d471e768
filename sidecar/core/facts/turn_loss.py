"""Why a turn was lost where sessions are rows of a database: the first error of its run, in closed words."""

from enum import StrEnum

from sidecar.core.facts.database import DatabaseHold
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import Value


class LossCause(StrEnum):
    """Classes of causes; a label of the metric `turn.losses`."""

    CONFLICT = "conflict"
    """Rows came behind the one that the run stood on, and the gateway lets it answer across none of them."""
    REBOUND = "rebound"
    """The session is not the run's any more: its writer claim, its id or its lifecycle was changed."""
    SUPERSEDED = "superseded"
    """A newer run of the same gateway took the session over."""
    BUSY = "busy"
    """The database stayed locked for longer than the gateway waits."""
    PROJECTION = "projection"
    """The index of the transcript was not ready when the run read back what it had stored."""
    STORAGE = "storage"
    """The database could not be written: full, read-only, corrupt, quarantined, or an error of the disk."""
    ADMISSION = "admission"
    """The turn's start met another change of the session."""
    RESET = "reset"
    """A person, or the gateway itself, reset the session."""


class LossDetail(StrEnum):
    """What of it, as far as the error tells."""

    NONE = ""
    CLAIM = "claim"
    """Of a rebound: another run is named as the writer, or none is."""
    SESSION = "session"
    """The session has another id."""
    REVISION = "revision"
    """Its lifecycle has another revision."""
    ENTRY = "entry"
    """There is no such session any more."""
    FULL = "full"
    """Of storage: SQLite's words for its errors, and the gateway's quarantine."""
    READONLY = "readonly"
    CORRUPT = "corrupt"
    NOT_A_DATABASE = "notadb"
    INPUT_OUTPUT = "ioerr"
    CANNOT_OPEN = "cantopen"
    QUARANTINED = "quarantined"
    MUTATION = "mutation"
    """Of an admission: the session was changed while its entry was written."""
    START = "start"
    """The session was changed while the work began."""
    TURN_CLAIM = "turn_claim"
    """Another turn had the session."""
    TURN = "turn"
    """The turn's input was admitted otherwise."""
    READ_FENCE = "read_fence"
    """The row of the turn's input is not what it was."""


_PROBLEMS = {
    LossDetail.FULL: "the disk is full",
    LossDetail.READONLY: "it is read-only",
    LossDetail.CORRUPT: "it is corrupt",
    LossDetail.NOT_A_DATABASE: "the file is no database",
    LossDetail.INPUT_OUTPUT: "the disk had an error",
    LossDetail.CANNOT_OPEN: "it can't be opened",
    LossDetail.QUARANTINED: "the gateway has quarantined it",
}

_CHANGED = {
    LossDetail.CLAIM: "writer claim",
    LossDetail.SESSION: "id",
    LossDetail.REVISION: "lifecycle revision",
    LossDetail.ENTRY: "entry",
}

_ADMISSION = {
    LossDetail.MUTATION: "its entry was written by somebody else",
    LossDetail.START: "it was changed while the work began",
    LossDetail.TURN_CLAIM: "another turn had it",
    LossDetail.TURN: "the turn's input had been admitted otherwise",
    LossDetail.READ_FENCE: "the row of the turn's input is not what it was",
}


class Held(Value, frozen=True):
    """What is known of the database that a run did not get.

    Attributes:
        waited_ns: How long it was waited for.
        holder: Who was seen with it meanwhile; None where nobody was.
        hidden: Whoever holds it can't be seen from here.
    """

    waited_ns: int
    holder: DatabaseHold | None
    hidden: bool = False


class TurnLoss(Value, frozen=True):
    """The first error with which a run lost its turn.

    Attributes:
        row: Place of the row that it is about: the first one in the way, or the stored answer; -1 where there is none.
        other_run: The run that has the session now; empty when there is none, or it is not known.
        known: That run was begun by the process that tells; where there is none, that process has taken the claim back.
        live: That run was under way.
        tools: Tools whose result was not stored: what they did is done. Names only.
        held: Of a busy database; None where nothing was told of the wait.
    """

    cause: LossCause
    detail: LossDetail = LossDetail.NONE
    row: int = -1
    other_run: str = ""
    known: bool = False
    live: bool = False
    tools: tuple[str, ...] = ()
    held: Held | None = None

    @property
    def strangers_claim(self) -> bool:
        """The session was claimed for a run that the gateway did not begin, or somebody else removed the claim."""
        changed = self.other_run != "" or self.detail is LossDetail.CLAIM
        return self.cause is LossCause.REBOUND and changed and not self.known

    def reason(self, writer: str = "") -> Reason:
        """The cause as a reason; ``writer`` is who wrote the row in the way, empty when not known."""
        match self.cause:
            case LossCause.CONFLICT:
                return self._conflict(writer)
            case LossCause.REBOUND:
                return self._rebound()
            case LossCause.SUPERSEDED:
                return Reason.of(ReasonCode.LOST_TO_NEWER_RUN, run=self.other_run or "not known")
            case LossCause.BUSY:
                return self._busy()
            case LossCause.PROJECTION:
                stored = self.row >= 0
                after = ReasonCode.LOST_AFTER_STORING
                return Reason.of(after, row=self.row) if stored else Reason(ReasonCode.LOST_TO_PROJECTION)
            case LossCause.STORAGE:
                return Reason.of(ReasonCode.LOST_TO_STORAGE, problem=_PROBLEMS.get(self.detail, "SQLite had an error"))
            case LossCause.ADMISSION:
                why = _ADMISSION.get(self.detail, "it was changed meanwhile")
                return Reason.of(ReasonCode.LOST_AT_ADMISSION, why=why)
            case LossCause.RESET:
                return Reason(ReasonCode.LOST_TO_RESET)

    def _busy(self) -> Reason:
        held = self.held
        if held is None or (held.holder is None and not held.hidden):
            return Reason(ReasonCode.LOST_TO_LOCK)
        if held.holder is None:
            return Reason.of(ReasonCode.LOST_TO_LOCK, Reason(ReasonCode.HOLDER_HIDDEN))
        return Reason.of(ReasonCode.LOST_TO_HOLDER, holder=held.holder.label(), waited_ns=held.waited_ns)

    def _conflict(self, writer: str) -> Reason:
        if self.row < 0:
            return Reason(ReasonCode.LOST_TO_CHANGE)
        if writer:
            return Reason.of(ReasonCode.LOST_TO_ROW, row=self.row, writer=writer)
        return Reason.of(ReasonCode.LOST_TO_UNREPORTED_ROW, row=self.row)

    def _rebound(self) -> Reason:
        if self.strangers_claim:
            removed = Reason(ReasonCode.LOST_TO_REMOVED_CLAIM)
            claimed = ReasonCode.LOST_TO_STRANGERS_CLAIM
            return Reason.of(claimed, run=self.other_run) if self.other_run else removed
        if self.other_run:
            code = ReasonCode.CLAIMANT_RUNS if self.live else ReasonCode.CLAIMANT_ENDED
            return Reason.of(ReasonCode.LOST_TO_CLAIM, Reason(code), run=self.other_run)
        return Reason.of(ReasonCode.LOST_TO_REBOUND, what=_CHANGED.get(self.detail, "writer claim"))


class LostTurn(Value, frozen=True):
    """What an incident says of the turn that was lost, or of turns that were lost again and again.

    Attributes:
        tools: See `TurnLoss`; of all these turns.
        holder: Of a busy database: who was seen with it; None where nobody was.
        count: How many turns.
        last_at_ns: When the last one was lost.
    """

    cause: LossCause
    detail: LossDetail
    reason: Reason
    last_at_ns: int
    tools: tuple[str, ...] = ()
    count: int = 1
    holder: DatabaseHold | None = None
