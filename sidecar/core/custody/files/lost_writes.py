"""Whether what co-tenants wrote since the fence is still there (rule 3)."""

from collections.abc import Sequence
from typing import Final

from sidecar.core.custody.files.projection import REPLACING
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.content import Content
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.writer import WriterKind

_SHORTENING: Final = frozenset({WriterKind.COMPACTION, WriterKind.TRUNCATION})
"""The gateway's own ways to leave records out: that is what they are for."""

_ADDING: Final = frozenset({Operation.APPEND, Operation.WRITE})


def overwritten(changes: Sequence[Change], content: Content) -> Reason | None:
    """Whose bytes a later rewrite by somebody else did away with; None where nobody's.

    Bytes count as kept where they were written. A rewrite that keeps a record elsewhere can't be told from one that
    does not, and then the turn is better stopped than the record lost.
    """
    for index, rewrite in enumerate(changes):
        if rewrite.operation not in REPLACING or rewrite.writer.kind in _SHORTENING:
            continue
        for earlier in changes[:index]:
            others = earlier.operation in _ADDING and earlier.length and not _same(earlier, rewrite)
            if others and not _holds(content, earlier):
                writer, lost = rewrite.writer.label(), earlier.writer.label()
                return Reason.of(ReasonCode.REWRITE_LOST_BYTES, writer=writer, lost=lost)
    return None


def _same(one: Change, other: Change) -> bool:
    run = one.writer.run_id
    return one.writer == other.writer or bool(run and run == other.writer.run_id)


def _holds(content: Content, change: Change) -> bool:
    offset = change.offset if change.offset >= 0 else (change.before.size if change.before else 0)
    inside = offset + change.length <= content.size
    return inside and content.digest(offset, change.length) == change.sha256
