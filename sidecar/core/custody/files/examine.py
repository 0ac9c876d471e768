"""Compares a session file with its account, and gives the finding that a verdict is made of."""

from collections.abc import Iterable

from sidecar.core.custody.account import Account
from sidecar.core.custody.files.explain import explain
from sidecar.core.custody.files.lost_writes import overwritten
from sidecar.core.custody.files.manifest import Manifest
from sidecar.core.custody.files.projection import seen_through
from sidecar.core.custody.finding import Absence, Finding, Share
from sidecar.core.custody.kernel_evidence import KernelEvidence
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.content import Snapshot
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer
from sidecar.core.policy.rules import Permission

_Account = Account[Fingerprint, Snapshot, Change]


def examine(
    account: _Account,
    manifest: Manifest | None,
    snapshot: Snapshot,
    kernel_evidence: KernelEvidence,
    gateway_uid: int,
) -> Finding:
    """Hold a file against its account since the fence.

    The ``manifest`` has the bytes at the fence; None while they are not known. The files of ``gateway_uid``, the user
    of the gateway's process, are its own; -1 when not known.
    """
    fence = account.head or Fingerprint.absent()
    seen = seen_through(fence, account.changes)
    if not snapshot.fingerprint.exists:
        absent, removers = _absence(fence, account)
        shares = tuple(Share(writer, 0) for writer in removers)
        return Finding(
            absent=absent, unknown=account.broken, shares=shares, seen_through=seen, kernel_evidence=kernel_evidence
        )
    unknown = account.broken
    if manifest is None:
        unknown = unknown or Reason(ReasonCode.FENCE_CONTENT_UNKNOWN)
    finding = Finding(
        unknown=unknown,
        another=_another(fence, account, snapshot) if unknown is None else None,
        problem=snapshot.problem,
        seen_through=seen,
        # An owner that nobody has looked up yet is the gateway's user, where the file still is of that user.
        owner_known=not fence.exists or account.uid >= 0 or 0 <= gateway_uid == snapshot.uid,
        kernel_evidence=kernel_evidence,
    )
    if manifest is None or snapshot.content is None:
        return finding
    found = explain(manifest, account.changes, snapshot.content)
    accounted = unknown is None and seen and not found.unexplained
    return replace(
        finding,
        compared=True,
        shares=tuple(replace(share, did=permission_used(account.changes, share.writer)) for share in found.shares),
        unexplained=found.unexplained,
        settled=found.determinate,
        replaced=not found.prefix_intact,
        overwritten=overwritten(account.changes, snapshot.content) if accounted else None,
    )


def permission_used(changes: Iterable[Change], writer: Writer) -> Permission:
    """The most that a writer did by its reports."""
    done = [_permission_of(change) for change in changes if change.writer == writer]
    return max(done, key=lambda may: may.strength, default=Permission.METADATA)


def _permission_of(change: Change) -> Permission:
    match change.operation:
        case Operation.METADATA:
            return Permission.METADATA
        case Operation.APPEND:
            return Permission.APPEND
        case Operation.WRITE if change.before is not None and change.offset >= change.before.size:
            return Permission.APPEND
        case _:
            return Permission.REWRITE


def _absence(fence: Fingerprint, account: _Account) -> tuple[Absence, tuple[Writer, ...]]:
    """What is known of a file that is gone, and the writer that removed it, where that is the gateway."""
    written = [c for c in account.changes if c.operation is not Operation.METADATA]
    doubt = False
    for removal in reversed(written):
        if removal.operation is not Operation.REMOVE:
            continue
        later = {_came_later(change, removal) for change in written}
        if later == {False}:
            return Absence.RESET, (removal.writer,)
        doubt = doubt or True not in later
    if doubt:
        return Absence.DOUBTFUL, ()
    if account.broken is not None:
        return Absence.UNKNOWN, ()
    still = not fence.exists and not any(c.finished for c in written)
    return (Absence.STILL if still else Absence.TAKEN_AWAY), ()


def _came_later(change: Change, removal: Change) -> bool | None:
    """This call put something there once more after the removal; None where that can't be told.

    No numbers order the calls of two links. Of those of another link, one that found no file made a new one, and its
    ctime says whether that is the one that was removed.
    """
    if change.link == removal.link:
        return removal.precedes(change) and change.finished
    made, gone = change.after, removal.before
    if made is None or not made.exists or change.before is None or change.before.exists:
        return False
    if gone is None or not gone.exists:
        return None
    if made.ctime_ns == gone.ctime_ns:
        return False if made == gone else None
    return made.ctime_ns > gone.ctime_ns


def _another(fence: Fingerprint, account: _Account, snapshot: Snapshot) -> Reason | None:
    """Why the file is no longer the kind of file it was; None when it is."""
    if not fence.exists and not account.changes:
        return Reason(ReasonCode.CREATED_BY_STRANGER)
    if not snapshot.regular:
        return Reason(ReasonCode.NOT_A_REGULAR_FILE)
    if account.uid >= 0 and snapshot.uid != account.uid:
        return Reason.of(ReasonCode.OWNER_CHANGED, before=account.uid, after=snapshot.uid)
    return None
