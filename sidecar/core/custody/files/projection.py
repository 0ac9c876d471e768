"""What the reports alone say of a file, without a look at it."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from sidecar.core.custody.files.manifest import Manifest
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.fingerprint import Fingerprint

REPLACING: Final = frozenset({Operation.REWRITE, Operation.TRUNCATE, Operation.REMOVE})
"""Operations that do away with old bytes."""


def project(trusted: Manifest, changes: Sequence[Change]) -> Manifest | None:
    """What the file must hold after these changes if nobody else wrote, without reading it.

    Returns:
        The manifest, or None where the reports do not settle it (a call under way, a write in the middle, a cut
        inside a segment).
    """
    manifest: Manifest | None = trusted
    for change in changes:
        if manifest is None or not change.finished:
            return None
        manifest = step(manifest, change)
    return manifest


def step(manifest: Manifest, change: Change) -> Manifest | None:
    """The manifest after one finished change, or None where that is not settled."""
    match change.operation:
        case Operation.METADATA:
            return manifest
        case Operation.APPEND:
            return manifest.appended(change)
        case Operation.WRITE if change.offset == manifest.size:
            return manifest.appended(change)
        case Operation.REWRITE:
            return manifest.rewritten(change)
        case Operation.REMOVE:
            return Manifest()
        case Operation.TRUNCATE:
            cut = Manifest(tuple(s for s in manifest.segments if s.range.end <= change.length))
            return cut if cut.size == change.length else None
        case _:
            return None


def chained(start: Fingerprint, changes: Sequence[Change]) -> list[Change]:
    """The changes in the order in which each call found the file as the one ahead of it had left it.

    Reports of several links come in any order; the fingerprints around the calls say which came first. What does not
    fit into the chain follows behind it, as it came.
    """
    waiting: dict[Fingerprint, deque[Change]] = {}
    for change in changes:
        if change.finished and change.before is not None and change.after is not None:
            waiting.setdefault(change.before, deque()).append(change)
    chain: list[Change] = []
    here: Fingerprint | None = start
    while here is not None and waiting.get(here):
        chain.append(waiting[here].popleft())
        here = chain[-1].after
    taken = {id(change) for change in chain}
    return chain + [change for change in changes if id(change) not in taken]


def seen_through(fence: Fingerprint, changes: Sequence[Change]) -> bool:
    """Whether the reports lead without a gap from the fence to the last replacement of old bytes.

    Each call must have found the file exactly as the one ahead of it left it. Where it did not, something was there
    that no one reported, and a rewrite may have taken it in. Without a replacement there is nothing to hide it.
    """
    changes = chained(fence, changes)
    last = max((index for index, change in enumerate(changes) if change.operation in REPLACING), default=-1)
    here: Fingerprint | None = fence
    for change in changes[: last + 1]:
        if here is None or change.before != here:
            return False
        here = change.after
    return True
