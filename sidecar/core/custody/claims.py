"""What processes that are not believed say that they wrote.

Nothing rests on it: no byte and no row is explained by a claim. Of what nobody else explains it names who says that it
was him, so that a person is told of the liar.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from sidecar.core.custody.finding import Finding, Share
from sidecar.core.facts.bounded import Bounded
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.content import Content
from sidecar.core.facts.gateway import Gateway
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.rows import RowChange, RowSnapshot
from sidecar.core.facts.span import Span
from sidecar.core.facts.value import Value
from sidecar.core.facts.version import AnyChange, Reading
from sidecar.core.facts.writer import Writer

MAX_TRANSCRIPTS: Final = 256
"""Transcripts of which claims are remembered."""

MAX_CLAIMS: Final = 64
"""Claims that are remembered of one transcript."""

MAX_DIGESTED: Final = 16 << 20
"""Bytes that are digested to find whose claims they are: a liar must not keep the sidecar busy."""

_MAX_NAMED: Final = 256
"""Parts of one transcript that are named."""


class Claim(Value, frozen=True):
    """A change that was reported on a link that is not believed.

    Attributes:
        gateway: Who reported it, as it was known then.
        doubt: Why it is not believed, see `Gateway.doubt`.
    """

    gateway: Gateway
    doubt: Reason
    change: AnyChange


class Claimed(Value, frozen=True):
    """A part of a transcript that a process says it wrote, and is not believed.

    Attributes:
        span: The part; with a length of 0 where something is missing.
        writer: Who it says that it was, as a short name such as ``heartbeat``.
        pid: The process; 0 when it can't be seen.
        exe: Its executable; empty when not known.
        uid: Its user; -1 when not known.
        reason: Why it is not believed.
    """

    span: Span
    writer: str
    pid: int
    exe: str
    uid: int
    reason: Reason


class Claims:
    """The book of claims. Bounded: the oldest are forgotten."""

    def __init__(self) -> None:
        self._files: Bounded[str, tuple[Claim, ...]] = Bounded(MAX_TRANSCRIPTS)

    def add(self, file: str, claim: Claim) -> None:
        """A link that is not believed reported a change; the end of a call takes the place of its begin."""
        call = (claim.change.link, claim.change.change_id)
        others = (known for known in self.of(file) if (known.change.link, known.change.change_id) != call)
        self._files.put(file, (*others, claim)[-MAX_CLAIMS:])

    def of(self, file: str) -> tuple[Claim, ...]:
        """What was claimed of a transcript, in the order of the reports."""
        return self._files.get(file) or ()


def claimed(finding: Finding, reading: Reading, claims: Sequence[Claim]) -> tuple[Claimed, ...]:
    """Which parts of what nobody reported are just what a claim says, by digest."""
    if not claims:
        return ()
    if not reading.version.exists:
        removal = next((c for c in reversed(claims) if c.change.operation is Operation.REMOVE), None)
        return () if removal is None or finding.absent is None else (_of(removal, Span(0, 0)),)
    if isinstance(reading, RowSnapshot):
        return _of_rows(finding.unexplained, reading, claims)
    return () if reading.content is None else _of_bytes(finding.unexplained, reading.content, claims)


def own_claims(finding: Finding, gateway: Gateway) -> tuple[tuple[Share, ...], tuple[Claimed, ...]]:
    """The shares of a finding in which others wrote, and those of which only this gateway's own word is."""
    doubt = gateway.doubt
    if doubt is None:
        return finding.shares, ()
    its = {gateway.pid, gateway.visible_pid}
    others = tuple(share for share in finding.shares if share.writer.pid not in its)
    own = (share for share in finding.shares if share.writer.pid in its)
    said = tuple(_said(gateway, doubt, share.writer, span) for share in own for span in share.spans)
    return others, said[:_MAX_NAMED]


def _of_bytes(unexplained: Iterable[Span], content: Content, claims: Sequence[Claim]) -> tuple[Claimed, ...]:
    told = [(claim, claim.change) for claim in claims if isinstance(claim.change, Change)]
    frugal = _Frugal(content)
    found: list[Claimed] = []
    for span in unexplained:
        whole = next((claim for claim, change in reversed(told) if _leaves(change, frugal, span)), None)
        if whole is not None:
            found.append(_of(whole, span))
        elif span.length:
            found += _within(span, frugal, told)
    return tuple(found[:_MAX_NAMED])


class _Frugal:
    """A file's content of which so many bytes are digested and no more."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._left = MAX_DIGESTED
        self.size = content.size

    def holds(self, place: int, change: Change) -> bool:
        """What was written by this call is there; False when that is not looked at any more."""
        self._left -= change.length + 1024
        return self._left >= 0 and self._content.digest(place, change.length) == change.sha256


def _leaves(change: Change, content: _Frugal, span: Span) -> bool:
    """The claim is of the whole file, as it is now, or of its end."""
    if change.operation is Operation.TRUNCATE:
        return not span.length and change.length == content.size
    whole = change.operation is Operation.REWRITE and change.length == content.size
    return whole and content.holds(0, change)


def _within(span: Span, content: _Frugal, told: Sequence[tuple[Claim, Change]]) -> list[Claimed]:
    """The claims one behind the other, from the begin of the span, from where they say, or up to its end."""
    left = [(claim, change) for claim, change in told if 0 < change.written <= span.length]
    places = {span.offset, *(c.offset for _, c in left), *(span.end - c.length for _, c in left)}
    waiting = sorted(place for place in places if span.offset <= place < span.end)
    found: list[Claimed] = []
    reached = span.offset
    while waiting:
        place = waiting.pop(0)
        here = [pair for pair in left if reached <= place <= span.end - pair[1].length]
        here.sort(key=lambda pair: pair[1].offset != place)  # where it says first
        match = next((pair for pair in here if content.holds(place, pair[1])), None)
        if match is not None:
            left.remove(match)
            found.append(_of(match[0], Span(place, match[1].length)))
            reached = place + match[1].length
            waiting.insert(0, reached)
    return found


def _of_rows(unexplained: Iterable[Span], reading: RowSnapshot, claims: Sequence[Claim]) -> tuple[Claimed, ...]:
    told = [(claim, claim.change) for claim in claims if isinstance(claim.change, RowChange)]
    stored = {(row.seq, row.digest): claim for claim, change in told for row in change.rows}
    gone = [(first, last, claim) for claim, change in reversed(told) for first, last in change.gone]
    now = {row.seq: row.digest for row in reading.rows or ()}
    runs: list[tuple[Claim, Span]] = []
    for seq in (seq for span in unexplained for seq in range(span.offset, span.end)):
        digest = now.get(seq)
        if digest is None:
            said = next((claim for first, last, claim in gone if first <= seq <= last), None)
        else:
            said = stored.get((seq, digest))
        if said is None:
            continue
        if runs and runs[-1][0] is said and runs[-1][1].end == seq:
            runs[-1] = (said, Span(runs[-1][1].offset, runs[-1][1].length + 1))
        else:
            runs.append((said, Span(seq, 1)))
    return tuple(_of(claim, span) for claim, span in runs[:_MAX_NAMED])


def _of(claim: Claim, span: Span) -> Claimed:
    return _said(claim.gateway, claim.doubt, claim.change.writer, span)


def _said(gateway: Gateway, doubt: Reason, writer: Writer, span: Span) -> Claimed:
    return Claimed(span, writer.label(), gateway.pid, gateway.exe, gateway.uid, doubt)
