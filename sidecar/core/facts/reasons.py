"""Why something is so, as a code with parameters. `sidecar.words` has the sentences.

Two reasons are equal if their codes, parameters and details are; no decision rests on how one reads. A parameter is a
name, a number, a label or an id, never text of a transcript (rule 7).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

from sidecar.core.facts.value import Value, replace

Parameter = str | int | tuple[str, ...]


class ReasonCode(StrEnum):
    """All reasons that there are. Each member is its code, followed by the names of its parameters.

    Attributes:
        parameters: What a `Reason` with this code must give, in this order.
    """

    _value_: str
    parameters: tuple[str, ...]

    def __new__(cls, code: str, *parameters: str) -> Self:
        """A code with the parameters that it takes."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.parameters = parameters
        return member

    # What a change is
    EVERY_BYTE_OWN = "every_byte_own"
    EVERY_BYTE_KNOWN = "every_byte_known", "writers"
    EVERY_ROW_OWN = "every_row_own"
    EVERY_ROW_KNOWN = "every_row_known", "writers"
    SAME_BYTES = "same_bytes"
    SAME_ROWS = "same_rows"
    FILE_AT_FENCE = "file_at_fence"
    NO_FILE_THEN_OR_NOW = "no_file_then_or_now"
    REMOVED_BY_GATEWAY = "removed_by_gateway"
    REMOVED_BY_STRANGER = "removed_by_stranger"
    CREATED_BY_STRANGER = "created_by_stranger"
    REMOVAL_ORDER_UNKNOWN = "removal_order_unknown"
    FILE_GONE = "file_gone"
    NOT_A_REGULAR_FILE = "not_a_regular_file"
    OWNER_CHANGED = "owner_changed", "before", "after"
    OWNER_AT_FENCE_UNKNOWN = "owner_at_fence_unknown"
    FILE_UNREADABLE = "file_unreadable", "problem"
    CHANGED_UNSEEN = "changed_unseen"
    UNEXPLAINED_BYTES = "unexplained_bytes", "ranges"
    UNEXPLAINED_ROWS = "unexplained_rows", "ranges"
    UNEXPLAINED_WHILE_WRITING = "unexplained_while_writing", "ranges"
    SEEN_BY_KERNEL = "seen_by_kernel", "processes"
    TAKEOVER_SEEN_BEFORE = "takeover_seen_before"
    TAKEN_INTO_NEXT_FENCE = "taken_into_next_fence"
    CHANGED_WHILE_LOOKED_AT = "changed_while_looked_at"
    NO_PRELOAD = "no_preload"
    NO_HOLDER_SEEN = "no_holder_seen"

    # Why a link is not believed, and what it says
    LINK_UNVERIFIED = "link_unverified", "pid", "exe"
    LINK_NOT_NODE = "link_not_node", "exe"
    LINK_NOT_OPENCLAW = "link_not_openclaw", "script"
    LINK_HIDDEN = "link_hidden"
    LINK_AGENT_TOOL = "link_agent_tool", "pid"
    LINK_ORPHAN = "link_orphan", "pid"
    LINK_PINNED = "link_pinned"
    LINK_KEY_WRONG = "link_key_wrong"
    LINK_PROCESS_CHANGED = "link_process_changed", "pid"
    CLAIMED_BY = "claimed_by", "pid", "exe", "writers"

    # Why custody is unknown
    CUSTODY_UNKNOWN = "custody_unknown"
    FENCE_CONTENT_UNKNOWN = "fence_content_unknown"
    FENCE_NOT_SEEN = "fence_not_seen"
    FENCE_NOT_AS_REPORTED = "fence_not_as_reported"
    PROCESS_UNHEARD = "process_unheard"
    REPORTED_LATE = "reported_late"
    GONE_WHILE_WRITING = "gone_while_writing"
    WRITE_NEVER_RETURNED = "write_never_returned"
    TOO_MANY_REPORTS = "too_many_reports"
    LINK_LOST = "link_lost"
    UNWATCHED = "unwatched"
    REPORTS_MISSING = "reports_missing", "count", "pid"
    REPORTS_DROPPED = "reports_dropped", "count", "pid"
    WRITE_FAILED = "write_failed", "pid"
    WRITE_UNACCOUNTED = "write_unaccounted", "pid"
    DIRECTORY_RENAMED = "directory_renamed", "directory"
    WATCH_OVERFLOWED = "watch_overflowed", "problem"
    KERNEL_LOG_OVERFLOWED = "kernel_log_overflowed"
    SUSPENDED = "suspended", "slept_ns"
    CLOCK_SET_AHEAD = "clock_set_ahead", "by_ns"
    CLOCK_SET_BACK = "clock_set_back", "by_ns"
    ILLEGAL_STEP = "illegal_step", "state", "step"

    # Why there is no recovery
    NEVER_A_COTENANT = "never_a_cotenant", "writer", "did"
    NOT_DECLARED_BY_POLICY = "not_declared_by_policy", "writer"
    COTENANT_UNSEEN = "cotenant_unseen"
    RULE_ASKS_MORE = "rule_asks_more", "rule", "keys"
    NOTHING_ALLOWED = "nothing_allowed", "rule", "writer"
    RULE_FORBIDS = "rule_forbids", "rule", "writer", "may", "did"
    DEFAULT_FORBIDS = "default_forbids", "writer", "may", "did"
    CONDITION_UNKNOWN = "condition_unknown"
    EVIDENCE_TOO_WEAK = "evidence_too_weak", "needs"
    NO_RELOAD = "no_reload"
    NOT_ONE_LINE = "not_one_line"
    INPUT_UNANSWERED = "input_unanswered", "writers"
    REWRITE_LOST_BYTES = "rewrite_lost_bytes", "writer", "lost"
    UNCHANGED_FORBIDDEN = "unchanged_forbidden"
    TOUCH_UNSEEN = "touch_unseen"
    TOUCH_OUTSIDE_NAMESPACE = "touch_outside_namespace"
    TOUCH_PROCESS_ENDED = "touch_process_ended", "pid"
    TOUCH_PROGRAM_FORBIDDEN = "touch_program_forbidden", "exe"
    TOUCH_USER_FORBIDDEN = "touch_user_forbidden", "exe", "uid"
    OBSERVING = "observing"
    PAUSED = "paused", "until_ns", "note"
    STORM = "storm", "sessions", "within_ns", "until_ns"
    SESSION_BUDGET_USED = "session_budget_used", "used", "limit", "period_ns", "free_at_ns"
    GATEWAY_BUDGET_USED = "gateway_budget_used", "used", "limit", "period_ns", "free_at_ns"
    NOT_AWAITED = "not_awaited"
    NOTHING_ASKED = "nothing_asked"
    APPROVED_TOO_LATE = "approved_too_late"
    ANSWERED_TOO_LATE = "answered_too_late", "waited_ns"
    SIDECAR_SLOW = "sidecar_slow"
    SIDECAR_HALTED = "sidecar_halted", "since_ns", "until_ns", "halted_ns"
    ANSWER_CAME_AFTER = "answer_came_after", "after_ns"
    NOT_REACHABLE = "not_reachable"
    NOT_RECORDED = "not_recorded"
    PRELOAD_REFUSED = "preload_refused", "problem"
    WITHDRAWN_POLICY_CHANGED = "withdrawn_policy_changed"
    WITHDRAWN_PAUSED = "withdrawn_paused"
    WITHDRAWN_STORM = "withdrawn_storm"

    # Session locks that were not acquired in time
    LOCK_TIMEOUT = "lock_timeout", "waited_ns"
    LOCK_HOLDER_KNOWN = "lock_holder_known", "writer", "pid"
    LOCK_HOLDER_FORBIDDEN = "lock_holder_forbidden", "writer", "pid"
    LOCK_HOLDER_STRANGER = "lock_holder_stranger", "pid", "exe"
    LOCK_HOLDER_HIDDEN = "lock_holder_hidden", "pid"
    LOCK_HOLDER_UNKNOWN_WRITER = "lock_holder_unknown_writer", "pid"
    LOCK_HOLDER_UNKNOWN = "lock_holder_unknown"
    DATABASE_HOLDER_KNOWN = "database_holder_known", "holder"
    LOCK_WAIT_IN_VAIN = "lock_wait_in_vain", "waited_ns"

    # Why a turn was lost where sessions are in a database
    LOST_TO_ROW = "lost_to_row", "row", "writer"
    LOST_TO_UNREPORTED_ROW = "lost_to_unreported_row", "row"
    LOST_TO_CHANGE = "lost_to_change"
    LOST_TO_CLAIM = "lost_to_claim", "run"
    CLAIMANT_RUNS = "claimant_runs"
    CLAIMANT_ENDED = "claimant_ended"
    LOST_TO_STRANGERS_CLAIM = "lost_to_strangers_claim", "run"
    LOST_TO_REMOVED_CLAIM = "lost_to_removed_claim"
    LOST_TO_REBOUND = "lost_to_rebound", "what"
    LOST_TO_NEWER_RUN = "lost_to_newer_run", "run"
    LOST_TO_LOCK = "lost_to_lock"
    LOST_TO_HOLDER = "lost_to_holder", "holder", "waited_ns"
    HOLDER_HIDDEN = "holder_hidden"
    LOST_AFTER_STORING = "lost_after_storing", "row"
    LOST_TO_PROJECTION = "lost_to_projection"
    LOST_TO_STORAGE = "lost_to_storage", "problem"
    LOST_AT_ADMISSION = "lost_at_admission", "why"
    LOST_TO_RESET = "lost_to_reset"
    NO_FENCE_STOPPED_IT = "no_fence_stopped_it"
    ROWS_NOT_COMPARED = "rows_not_compared"
    NO_CHANGE_SEEN = "no_change_seen"

    # What came of a recovery
    APPROVAL_NOT_NEEDED = "approval_not_needed"
    WENT_ON_AFTER_MOVE = "went_on_after_move"
    WENT_ON_AFTER_WAIT = "went_on_after_wait"
    LOST_AFTER_APPROVAL = "lost_after_approval"
    LOST_AFTER_MOVE = "lost_after_move"
    LOST_AFTER_WAIT = "lost_after_wait"
    HISTORY_FORKED = "history_forked", "records"
    HISTORY_UNREAD = "history_unread", "problem"
    END_UNSEEN = "end_unseen"
    SIDECAR_STOPPED = "sidecar_stopped"

    # What would lead to another end
    NO_POLICY_EXPLAINS = "no_policy_explains"
    NO_POLICY_KEEPS_SESSION = "no_policy_keeps_session"
    NO_POLICY_FILLS_GAP = "no_policy_fills_gap"
    NO_POLICY_HELPS = "no_policy_helps"
    LEAVE_OBSERVE = "leave_observe"
    END_PAUSE = "end_pause"
    END_STORM = "end_storm"
    RAISE_SESSION_BUDGET = "raise_session_budget"
    RAISE_GATEWAY_BUDGET = "raise_gateway_budget"
    ALLOW_UNCHANGED = "allow_unchanged"
    MOSTLY_SHORT_LIVED = "mostly_short_lived"
    UNCHANGED_ALLOWED_NOW = "unchanged_allowed_now"
    GRANT_BEYOND_DEFAULT = "grant_beyond_default", "writer", "did"
    NAME_IN_POLICY = "name_in_policy", "writer", "did"
    GRANT_BEYOND_RULE = "grant_beyond_rule", "writer", "did", "rule", "line"
    ASK_LESS_EVIDENCE = "ask_less_evidence", "found", "needs"
    WRITERS_ALLOWED_NOW = "writers_allowed_now"
    FORBID_BY_RULE = "forbid_by_rule", "writer", "did"
    FORBIDDEN_NOW = "forbidden_now", "writer"
    LOWER_BUDGET = "lower_budget"


class Reason(Value, frozen=True):
    """Why something is so.

    Attributes:
        parameters: Names and values, in the order of `ReasonCode.parameters`.
        details: Further reasons: those behind this one, or those that come on top of it.

    Raises:
        ValueError: The parameters are not those of the code.
    """

    code: ReasonCode
    parameters: tuple[tuple[str, Parameter], ...] = ()
    details: tuple[Reason, ...] = ()

    def __post_init__(self) -> None:
        """Refuse parameters that the code does not have."""
        names = tuple(name for name, _value in self.parameters)
        if names != self.code.parameters:
            raise ValueError(f"reason {self.code.value}: expected parameters {self.code.parameters}, found {names}")

    @classmethod
    def of(cls, code: ReasonCode, *details: Reason, **parameters: Parameter) -> Reason:
        """The reason with this code; ``parameters`` in any order.

        Raises:
            ValueError: The parameters are not those of the code.
        """
        if parameters.keys() != set(code.parameters):
            raise ValueError(f"reason {code.value}: expected parameters {code.parameters}, found {tuple(parameters)}")
        return cls(code, tuple((name, parameters[name]) for name in code.parameters), details)

    def also(self, *details: Reason) -> Reason:
        """The same reason with further ones on top of it."""
        return replace(self, details=(*self.details, *details))

    def plain(self) -> dict[str, Any]:
        """The reason as values that JSON has."""
        parameters = {name: list(v) if isinstance(v, tuple) else v for name, v in self.parameters}
        details = [detail.plain() for detail in self.details]
        return {"code": self.code.value, "parameters": parameters, "details": details}

    def has(self, code: ReasonCode) -> bool:
        """The code is that of this reason, or of one of its details."""
        return self.code is code or any(detail.has(code) for detail in self.details)
