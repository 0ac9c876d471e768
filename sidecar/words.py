"""The words of the core's codes: reasons, verdicts, evidence and outcomes, for page, command line, log and API."""

import string
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sidecar.core.facts.grade import Grade
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.reasons import ReasonCode as Code
from sidecar.core.facts.rows import rows_named
from sidecar.core.facts.units import NS_PER_MS, NS_PER_SECOND
from sidecar.core.verdict.incident import Incident, Moment, Outcome
from sidecar.core.verdict.judge import Verdict

_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))

_DID: Final = {
    "nothing": "did nothing",
    "metadata": "changed its metadata",
    "append": "appended",
    "rewrite": "replaced old bytes",
}
_MAY: Final = {
    "nothing": "to do nothing",
    "metadata": "to change metadata only",
    "append": "to append only",
    "rewrite": "to do anything",
}

REASONS: Final[Mapping[Code, str]] = {
    Code.EVERY_BYTE_OWN: "every byte is the run's own",
    Code.EVERY_BYTE_KNOWN: "every byte is the run's own or was written by {writers}",
    Code.EVERY_ROW_OWN: "every row is the run's own",
    Code.EVERY_ROW_KNOWN: "every row is the run's own or was written by {writers}",
    Code.SAME_BYTES: "the bytes are the same; only metadata or the inode differs",
    Code.SAME_ROWS: "the rows are the same",
    Code.FILE_AT_FENCE: "the file is as it was at the fence",
    Code.NO_FILE_THEN_OR_NOW: "there was no file at the fence, and there is none now",
    Code.REMOVED_BY_GATEWAY: "the gateway itself removed or archived the file",
    Code.REMOVED_BY_STRANGER: "the session file was removed, and not by the gateway",
    Code.CREATED_BY_STRANGER: "the session file was created, and not by the gateway",
    Code.REMOVAL_ORDER_UNKNOWN: (
        "the file is gone; whether the gateway removed it before or after it was created again is not known"
    ),
    Code.FILE_GONE: "the file is gone",
    Code.NOT_A_REGULAR_FILE: "the session file is no longer a regular file",
    Code.OWNER_CHANGED: "the owner of the session file changed from uid {before} to {after}",
    Code.OWNER_AT_FENCE_UNKNOWN: "the owner of the file at the fence is not known",
    Code.FILE_UNREADABLE: "the file could not be read: {problem}",
    Code.CHANGED_UNSEEN: (
        "the file changed unseen before a known writer replaced its bytes, which may have taken the change in"
    ),
    Code.UNEXPLAINED_BYTES: "bytes {ranges:places} were written by nobody in the gateway's unbroken account",
    Code.UNEXPLAINED_ROWS: "nobody in the gateway's unbroken account added, changed or deleted {ranges:rows}",
    Code.UNEXPLAINED_WHILE_WRITING: (
        "bytes {ranges:places} are not explained while a write of the gateway is under way or its place is not known"
    ),
    Code.SEEN_BY_KERNEL: "the kernel saw {processes} write to the file, without a link",
    Code.TAKEOVER_SEEN_BEFORE: "a foreign change was seen in this window before:",
    Code.TAKEN_INTO_NEXT_FENCE: "the run took it into its next fence, and no check came to it",
    Code.CHANGED_WHILE_LOOKED_AT: "the file changed again while it was looked at",
    Code.NO_PRELOAD: (
        "the gateway carries no preload, so it is not known which run wrote; `openclaw-sidecar hook` adds it"
    ),
    Code.NO_HOLDER_SEEN: "no gateway is linked, and no process was seen to hold the lock: see `status`",
    Code.LINK_UNVERIFIED: "what {pid:process} ({exe:known}) says is not believed:",
    Code.LINK_NOT_NODE: "its executable, {exe:known}, is not Node",
    Code.LINK_NOT_OPENCLAW: "its main script, {script:known}, is not in an installed openclaw package",
    Code.LINK_HIDDEN: "a title hides its command line, it does not say what it runs, and it holds no gateway's lock",
    Code.LINK_AGENT_TOOL: "it was started by {pid:process}, a linked gateway, and is no program of OpenClaw's",
    Code.LINK_ORPHAN: (
        "its parent is gone, {pid:process}, a linked gateway of the same control group, is older, and it runs another"
        " program than that"
    ),
    Code.LINK_PINNED: "it can't be seen from here, and another that can't be seen is believed for as long as it runs",
    Code.LINK_KEY_WRONG: "it did not prove the key that it says it holds",
    Code.LINK_PROCESS_CHANGED: "{pid:process} ended, or became another one, while it was looked at",
    Code.CLAIMED_BY: "{pid:process} ({exe:known}) says that it wrote this as {writers}; not believed:",
    Code.CUSTODY_UNKNOWN: "custody is unknown:",
    Code.FENCE_CONTENT_UNKNOWN: "what the file held at the fence could not be established",
    Code.FENCE_NOT_SEEN: "the sidecar did not see this fence being set",
    Code.FENCE_NOT_AS_REPORTED: "the fence is not the one that was reported",
    Code.PROCESS_UNHEARD: "another linked process did not say in time what it had done",
    Code.REPORTED_LATE: "a write that was reported late may have come before the fence or after it",
    Code.GONE_WHILE_WRITING: "a process was gone before its write returned",
    Code.WRITE_NEVER_RETURNED: "what a write under way has done will never be known",
    Code.TOO_MANY_REPORTS: "there were too many reports that lead nowhere",
    Code.LINK_LOST: "a gateway's link was lost without a goodbye",
    Code.UNWATCHED: "no sidecar kept an account of this file meanwhile",
    Code.REPORTS_MISSING: "{count} reports of process {pid} are missing",
    Code.REPORTS_DROPPED: "process {pid} dropped {count} reports before it linked",
    Code.WRITE_FAILED: "a write of process {pid} failed half-way",
    Code.WRITE_UNACCOUNTED: "the preload of process {pid} could not account for a write",
    Code.DIRECTORY_RENAMED: "the directory {directory} was renamed",
    Code.WATCH_OVERFLOWED: "file events were lost: {problem}",
    Code.KERNEL_LOG_OVERFLOWED: "fanotify's event queue was full",
    Code.SUSPENDED: "the machine was suspended for {slept_ns:seconds}",
    Code.CLOCK_SET_AHEAD: "the clock was set forward by {by_ns:seconds}",
    Code.CLOCK_SET_BACK: "the clock was set back by {by_ns:seconds}",
    Code.ILLEGAL_STEP: "the sidecar lost its way in this window: no step {step!r} while it is {state!r}",
    Code.NEVER_A_COTENANT: "{writer} is never a co-tenant, and it {did:did}",
    Code.NOT_DECLARED_BY_POLICY: "no rule of the policy makes {writer}, a program outside of OpenClaw, a co-tenant",
    Code.COTENANT_UNSEEN: "its process can't be seen from here, so it must prove the hooks token",
    Code.RULE_ASKS_MORE: "rule {rule} could, and it does not meet {keys} of it",
    Code.NOTHING_ALLOWED: "the policy's rule {rule} lets {writer} do nothing",
    Code.RULE_FORBIDS: "the policy's rule {rule} allows {writer} {may:may}, and it {did:did}",
    Code.DEFAULT_FORBIDS: "the policy's default allows {writer} {may:may}, and it {did:did}",
    Code.CONDITION_UNKNOWN: "not all that the rule asks for is known",
    Code.EVIDENCE_TOO_WEAK: "recovery refused: the policy asks for evidence of grade {needs}",
    Code.NO_RELOAD: "recovery refused: old bytes were replaced and this release can't make the run reload them",
    Code.NOT_ONE_LINE: "recovery refused: what was added is not one line from what the run has read",
    Code.INPUT_UNANSWERED: (
        "recovery refused: {writers} added input of a user that nobody has answered; no rule allows that (`unanswered`)"
    ),
    Code.REWRITE_LOST_BYTES: "recovery refused: a rewrite by {writer} left out what {lost} had written",
    Code.UNCHANGED_FORBIDDEN: "the policy forbids recovery",
    Code.TOUCH_UNSEEN: "the policy allows it to some programs or users only, and who touched the file is not known",
    Code.TOUCH_OUTSIDE_NAMESPACE: (
        "the policy allows it to some programs or users only, and a process outside of this pid namespace touched the"
        " file"
    ),
    Code.TOUCH_PROCESS_ENDED: (
        "the policy allows it to some programs or users only, and process {pid} had ended before it could be seen which"
        " program it was"
    ),
    Code.TOUCH_PROGRAM_FORBIDDEN: "the policy does not allow it to {exe}",
    Code.TOUCH_USER_FORBIDDEN: "the policy does not allow it to {exe} of user {uid}",
    Code.OBSERVING: "the mode is observe",
    Code.PAUSED: "recovery is paused until {until_ns:utc}: {note}",
    Code.STORM: (
        "{sessions} or more sessions changed within {within_ns:span}; recovery is stopped until {until_ns:utc}"
    ),
    Code.SESSION_BUDGET_USED: (
        "the budget of this session is used up: {used} of {limit} recoveries in {period_ns:span}{free_at_ns:next}"
    ),
    Code.GATEWAY_BUDGET_USED: (
        "the budget of this gateway is used up: {used} of {limit} recoveries in {period_ns:span}{free_at_ns:next}"
    ),
    Code.NOTHING_ASKED: "this release lets a run answer behind newer rows, whoever wrote them",
    Code.NOT_AWAITED: "the gateway did not wait for a command",
    Code.APPROVED_TOO_LATE: "the run's answer came before the approval had reached the gateway, which waits for none",
    Code.ANSWERED_TOO_LATE: "the answer came too late: the gateway waited {waited_ns:ms} for it",
    Code.SIDECAR_SLOW: "the sidecar was too slow",
    Code.SIDECAR_HALTED: (
        "the sidecar was not running for {halted_ns:seconds}, from {since_ns:clock} to {until_ns:clock} UTC"
    ),
    Code.ANSWER_CAME_AFTER: "it came {after_ns:ms} after the gateway had stopped waiting",
    Code.NOT_REACHABLE: "no command reaches a gateway without the preload",
    Code.NOT_RECORDED: "the intent could not be put on disk, so no command was given",
    Code.PRELOAD_REFUSED: "the gateway's preload refused: {problem}",
    Code.WITHDRAWN_POLICY_CHANGED: "the approval was taken back: policy changed; the next check is judged anew",
    Code.WITHDRAWN_PAUSED: "the approval was taken back: paused; the next check is judged anew",
    Code.WITHDRAWN_STORM: "the approval was taken back: storm; the next check is judged anew",
    Code.LOCK_TIMEOUT: "the session lock was not acquired in {waited_ns:seconds}",
    Code.LOCK_HOLDER_KNOWN: "it was held by {writer} (process {pid})",
    Code.LOCK_HOLDER_FORBIDDEN: (
        "it was held by {writer} (process {pid}), which the policy does not allow to write here"
    ),
    Code.LOCK_HOLDER_STRANGER: "it was held by process {pid} ({exe:known}), which is no co-tenant",
    Code.LOCK_HOLDER_HIDDEN: (
        "who held it is not known: the lock file names process {pid}, which is gone, or lives in a pid namespace that"
        " can't be seen from here and has no link"
    ),
    Code.LOCK_HOLDER_UNKNOWN_WRITER: "it was held by an unknown writer of process {pid}",
    Code.LOCK_HOLDER_UNKNOWN: "it was held by nobody that is known",
    Code.DATABASE_HOLDER_KNOWN: "{holder} holds the database, and the policy lets runs wait longer for it",
    Code.LOCK_WAIT_IN_VAIN: ("the run was allowed to wait on, and did not acquire the lock in {waited_ns:seconds}:"),
    Code.LOST_TO_ROW: "row {row}, by {writer}, came behind the one that the run stood on",
    Code.LOST_TO_UNREPORTED_ROW: "row {row}, which nobody reported, came behind the one that the run stood on",
    Code.LOST_TO_CHANGE: "the transcript was changed while the run prepared what it stores",
    Code.LOST_TO_CLAIM: "run {run} of this gateway has claimed the session",
    Code.CLAIMANT_RUNS: "that run was under way",
    Code.CLAIMANT_ENDED: "that run had ended",
    Code.LOST_TO_STRANGERS_CLAIM: "the session was claimed for run {run}, which no linked process has begun",
    Code.LOST_TO_REMOVED_CLAIM: "the run's claim of the session was removed, and not by the gateway",
    Code.LOST_TO_REBOUND: "the session's {what} was changed",
    Code.LOST_TO_NEWER_RUN: "a newer run took the session over: {run}",
    Code.LOST_TO_LOCK: "the database stayed locked for longer than the gateway waits",
    Code.LOST_TO_HOLDER: "the gateway waited {waited_ns:seconds} for the database, and {holder} held it",
    Code.HOLDER_HIDDEN: "who held it can't be seen from here, in another pid namespace",
    Code.LOST_AFTER_STORING: (
        "the answer is stored as row {row}; the index of the transcript was not ready when it was read back"
    ),
    Code.LOST_TO_PROJECTION: "the index of the transcript was not ready, and nothing was stored",
    Code.LOST_TO_STORAGE: "the database could not be used: {problem}",
    Code.LOST_AT_ADMISSION: "the session did not take the turn: {why}",
    Code.LOST_TO_RESET: "the session was reset while the run was under way",
    Code.NO_FENCE_STOPPED_IT: "it was no fence that stopped the turn, so there is none to move",
    Code.ROWS_NOT_COMPARED: "the transcript was not read after the turn was lost",
    Code.NO_CHANGE_SEEN: "the run had not come to the transcript; nobody compared its rows",
    Code.APPROVAL_NOT_NEEDED: "the gateway's own fence let the change pass; the approval was not needed",
    Code.WENT_ON_AFTER_MOVE: "the run went on after its fence was moved",
    Code.WENT_ON_AFTER_WAIT: "the run went on after it was allowed to wait on for the lock",
    Code.LOST_AFTER_APPROVAL: "the command was given, and the turn was lost all the same",
    Code.LOST_AFTER_MOVE: "the fence was moved, and the turn was lost all the same",
    Code.LOST_AFTER_WAIT: "the run was allowed to wait on for the lock, and the turn was lost all the same",
    Code.HISTORY_FORKED: "records {records} are not on the path to the root: the history has forked",
    Code.HISTORY_UNREAD: "whether a record was lost could not be checked: {problem}",
    Code.END_UNSEEN: "the link was lost before the run was done: whether it went on is not known",
    Code.SIDECAR_STOPPED: "the sidecar stopped before the outcome was seen",
    Code.NO_POLICY_EXPLAINS: "nothing in a policy: bytes that nobody explained are never recovered across",
    Code.NO_POLICY_KEEPS_SESSION: "nothing in a policy: the gateway itself ended the session",
    Code.NO_POLICY_FILLS_GAP: (
        "nothing in a policy: the evidence has a gap, and a policy can only narrow what evidence allows"
    ),
    Code.NO_POLICY_HELPS: "nothing in a policy:",
    Code.LEAVE_OBSERVE: "run the sidecar without --observe: the mode gave no commands",
    Code.END_PAUSE: "end the pause with `openclaw-sidecar resume`, or wait for its end",
    Code.END_STORM: "wait until the storm is over, or raise `sessions` or lower `cooldown` in [storm]",
    Code.RAISE_SESSION_BUDGET: "raise `recoveries` in [budget.session], or wait: its period passes",
    Code.RAISE_GATEWAY_BUDGET: "raise `recoveries` in [budget.gateway], or wait: its period passes",
    Code.ALLOW_UNCHANGED: "let [unchanged] allow it (allow = true, no executables or uids):",
    Code.MOSTLY_SHORT_LIVED: "of a command that ends at once, such as touch, that is mostly so",
    Code.UNCHANGED_ALLOWED_NOW: "nothing more: by this policy such a change is recovered from",
    Code.GRANT_BEYOND_DEFAULT: (
        "grant {writer} may = {did!r}: no rule of the policy names it, and its default is too little"
    ),
    Code.NAME_IN_POLICY: (
        "add a rule that names {writer}, with may = {did!r}: `openclaw-sidecar policy allow` writes one"
    ),
    Code.GRANT_BEYOND_RULE: (
        "grant {writer} may = {did!r}: rule {rule!r} in line {line} decides, so change it or put a rule ahead of it"
    ),
    Code.ASK_LESS_EVIDENCE: (
        "ask for evidence = {found!r} instead of {needs!r}, or give the sidecar that evidence: run it with --who kernel"
    ),
    Code.WRITERS_ALLOWED_NOW: "nothing more: by this policy every writer may do what it did",
    Code.FORBID_BY_RULE: "a rule ahead of the others that grants {writer} less than may = {did!r} would stop it",
    Code.FORBIDDEN_NOW: "this policy grants {writer} less than it did: it would be stopped now",
    Code.LOWER_BUDGET: "a lower budget, a pause or --observe: no co-tenant wrote, so no rule decides",
}
"""Of each code: its sentence, without a full stop. A colon at its end leads to the details, else a semicolon does."""

VERDICTS: Final = {
    Verdict.OWN: "the run's own writes",
    Verdict.CO_TENANT: "a known co-tenant of the session wrote",
    Verdict.UNCHANGED: "the bytes are the same, only the file's metadata or inode changed",
    Verdict.RESET: "the gateway itself reset, archived or deleted the session",
    Verdict.EXTERNAL: "someone outside the gateway changed the session",
    Verdict.UNATTRIBUTED: "who changed the session is not known",
}

EVIDENCE: Final = {
    Grade.KERNEL: "the kernel named the process that wrote",
    Grade.BYTES: "every byte was compared with the gateway's account of its writes",
    Grade.BRACKET: "the change lies inside a time in which a known process held the session lock",
    Grade.CLAIMED: "the word of a process that is not believed",
    Grade.NONE: "nothing but the file's fingerprint",
}

OUTCOMES: Final = {
    Outcome.NONE: "nothing: the gateway's own fence decided",
    Outcome.NOT_ATTEMPTED: "not attempted",
    Outcome.REFUSED: "refused",
    Outcome.APPROVED: "approved; nothing was seen of it yet",
    Outcome.APPLIED: "the fence was moved; the effect is not yet proven",
    Outcome.EFFECTIVE: "the fence was moved and the run went on",
    Outcome.INEFFECTIVE: "the fence was moved, and it did not help",
    Outcome.LATE: "nothing: the sidecar's answer came too late",
}

UNHEEDED: Final = "a command was given and had no effect"
"""No fence was moved, and the gateway did not say why."""

_UNPROVEN: Final = "the fence was moved and the run went on; whether a record was lost could not be checked"

_NO_FENCE: Final = "nothing: it was no fence that stopped the turn"

_NOT_BY_OTHERS: Final = frozenset({Verdict.UNCHANGED, Verdict.OWN})

_CLAIM_CHANGED: Final = frozenset({Code.LOST_TO_STRANGERS_CLAIM, Code.LOST_TO_REMOVED_CLAIM})

LOCK_OUTCOMES: Final = {
    Outcome.APPROVED: "the run may wait on for the lock; nothing was seen of it yet",
    Outcome.APPLIED: "the run was allowed to wait on for the lock, and acquired it; no effect is proven yet",
    Outcome.EFFECTIVE: "the run was allowed to wait on for the lock, and went on",
    Outcome.INEFFECTIVE: "the run was allowed to wait on for the lock, and it did not help",
}
"""Where there was nothing else to do: the file is as it was at the fence."""


def sentence(reason: Reason | None) -> str:
    """A reason in words, its details included; empty where there is none. Names in it are as they came."""
    if reason is None:
        return ""
    own = _WRITTEN.vformat(REASONS[reason.code], (), dict(reason.parameters))
    if not reason.details:
        return own.removesuffix(":")
    details = "; ".join(sentence(detail) for detail in reason.details)
    return f"{own} {details}" if own.endswith(":") else f"{own}; {details}"


def detail(moment: Moment) -> str:
    """What a line of a timeline says beside its name; empty where that is all."""
    return ": ".join(part for part in (moment.detail, sentence(moment.reason)) if part)


def change(incident: Incident) -> str:
    """What happened to the transcript."""
    lost = incident.lost
    if lost is not None and incident.verdict in _NOT_BY_OTHERS:
        return "a turn was lost; nobody else changed the transcript"
    if lost is not None and lost.reason.code in _CLAIM_CHANGED and not incident.unexplained:
        return "someone outside the gateway changed who may write to the session"
    if incident.reason.code is Code.DATABASE_HOLDER_KNOWN:
        return "nothing to the transcript: its database was held for writing"
    if incident.fence == incident.current:
        return "nothing to the file: the session lock was not acquired in time"
    return VERDICTS[incident.verdict]


def outcome(incident: Incident) -> str:
    """What was done about it."""
    recovery, outcomes = incident.recovery, OUTCOMES
    if recovery.unproven:
        return _UNPROVEN
    if recovery.reason is not None and recovery.reason.code is Code.NO_FENCE_STOPPED_IT:
        return _NO_FENCE
    if (incident.fence == incident.current and incident.lost is None) or (recovery.lock_waits and not recovery.count):
        outcomes = {**OUTCOMES, **LOCK_OUTCOMES}
    elif not recovery.count:
        outcomes = {**OUTCOMES, Outcome.INEFFECTIVE: UNHEEDED}
    return outcomes[recovery.outcome]


def span(length_ns: int) -> str:
    """A length of time for people, in the largest unit that gives a whole number."""
    seconds = length_ns // NS_PER_SECOND
    for unit, name in _UNITS:
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds // unit} {name}"
    return f"{length_ns / NS_PER_SECOND:g} s"


def seconds(length_ns: int) -> str:
    """A length of time for people, to a tenth of a second."""
    return f"{length_ns / NS_PER_SECOND:.1f} s"


def utc(at_ns: int) -> str:
    """A time for people, to the second."""
    return datetime.fromtimestamp(at_ns // NS_PER_SECOND, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _clock(at_ns: int) -> str:
    """A time of the day, UTC, to the millisecond."""
    return datetime.fromtimestamp(at_ns / NS_PER_SECOND, tz=UTC).strftime("%H:%M:%S.%f")[:-3]


def _place(written: str) -> str:
    """A range, given as ``offset+length``."""
    offset, length = (int(part) for part in written.split("+"))
    return f"{offset}..{offset + length}" if length else f"missing at {offset}"


def _rows(written: str) -> str:
    """Rows, given as ``seq+count``; none stand for the mark that a deletion of the gateway's leaves."""
    first, count = (int(part) for part in written.split("+"))
    return rows_named(first, count) if count else "the mark of its generation"


_FORMS: Final[Mapping[str, Callable[[Any], str]]] = {
    "clock": _clock,
    "did": lambda did: _DID[did],
    "known": lambda exe: exe or "unknown",
    "may": lambda may: _MAY[may],
    "ms": lambda length_ns: f"{length_ns / NS_PER_MS:.0f} ms",
    "next": lambda free_at_ns: f"; the next may come at {utc(free_at_ns)}" if free_at_ns else "",
    "places": lambda ranges: ", ".join(_place(item) for item in ranges),
    "process": lambda pid: f"process {pid}" if pid else "a process outside of this pid namespace",
    "rows": lambda ranges: ", ".join(_rows(item) for item in ranges),
    "seconds": seconds,
    "span": span,
    "utc": utc,
}
"""What may stand behind the colon of a parameter."""


class _Words(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:  # noqa: ANN401 - a parameter of any kind
        if format_spec:
            return _FORMS[format_spec](value)
        return ", ".join(value) if isinstance(value, tuple) else str(value)


_WRITTEN: Final = _Words()
