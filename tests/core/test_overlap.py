"""Calls that came in one another's midst lead to the next fence where their sizes say where the bytes of each lie."""

from itertools import permutations

import pytest

from sidecar.core import events as ev
from sidecar.core.custody.files.ledger import Ledger
from sidecar.core.custody.files.ordering import laid_out
from sidecar.core.decisions import Approve, Decision
from sidecar.core.engine import Engine
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.content import BytesContent, Snapshot
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Run
from sidecar.core.facts.value import replace
from sidecar.core.policy.policy import Mode, Policy
from tests.core.kit import CRON, FILE, HEARTBEAT, LINK, OTHER_LINK, digest, gateway

OLD = b"old\n"


def at(size: int, ctime_ns: int, ino: int = 7) -> Fingerprint:
    return Fingerprint(exists=True, dev=1, ino=ino, size=size, mtime_ns=ctime_ns, ctime_ns=ctime_ns)


def call(data: bytes, began: int, ended: int, before: Fingerprint, after: Fingerprint) -> Change:
    return Change(
        change_id=data.decode(),
        operation=Operation.APPEND,
        writer=CRON if began == ended else HEARTBEAT,
        at_ns=began,
        length=len(data),
        sha256=digest(data),
        offset=before.size,
        before=before,
        after=after,
        link=LINK,
        began=began,
        ended=ended,
    )


START = at(4, 10)
FENCE = at(9, 30)
SLOW_FIRST = (call(b"yyy", 1, 3, START, FENCE), call(b"xx", 2, 2, at(7, 20), FENCE))
SLOW_LAST = (call(b"yyy", 1, 3, START, FENCE), call(b"xx", 2, 2, START, at(6, 20)))
SLOW_BETWEEN = (
    call(b"a", 2, 2, START, at(5, 20)),
    call(b"yyy", 1, 4, START, at(9, 40)),
    call(b"b", 3, 3, at(8, 30), at(9, 40)),
)


def names(laid: list[Change] | None) -> list[str] | None:
    return None if laid is None else [c.change_id for c in laid]


@pytest.mark.parametrize(
    ("calls", "end", "order"),
    [
        (SLOW_FIRST, FENCE, ["yyy", "xx"]),
        (SLOW_LAST, FENCE, ["xx", "yyy"]),
        (SLOW_BETWEEN, at(9, 40), ["a", "yyy", "b"]),
        ((call(b"a", 1, 1, START, at(5, 20)), call(b"b", 2, 2, at(5, 20), at(6, 25))), at(6, 25), ["a", "b"]),
    ],
)
def test_the_bytes_of_each_call_are_placed_in_whatever_order_they_were_told(
    calls: tuple[Change, ...], end: Fingerprint, order: list[str]
) -> None:
    for told in permutations(calls):
        assert names(laid_out(START, told, end)) == order


SLOW, FAST = SLOW_LAST
DOUBTFUL = {
    "a call is under way": (replace(SLOW, ended=None, after=None), FAST),
    "a call came from another process": (SLOW, replace(FAST, link=OTHER_LINK)),
    "a call did something else": (SLOW, replace(FAST, operation=Operation.WRITE)),
    "a call wrote nothing that is known": (SLOW, replace(FAST, length=0)),
    "a fingerprint is missing": (SLOW, replace(FAST, before=None)),
    "the file was replaced": (SLOW, replace(FAST, after=at(6, 20, ino=8))),
    "a call was in pieces": (SLOW, replace(FAST, before=at(5, 15), after=at(7, 20))),
    "another's bytes came between the fingerprints of a call": (SLOW, replace(FAST, after=FENCE)),
    "two calls may have taken either place": (
        call(b"yyy", 1, 5, START, at(12, 30)),
        call(b"zzz", 2, 4, START, at(12, 30)),
        call(b"xx", 3, 3, at(7, 20), at(9, 25)),
    ),
    "two calls may have come in either order": (call(b"yyy", 1, 4, START, FENCE), call(b"zz", 2, 3, START, FENCE)),
    "there are more bytes than were told": (replace(SLOW, after=at(10, 30)), FAST),
    "the first call did not begin where the account stands": (replace(SLOW, before=at(4, 11)), FAST),
    "they do not lead to the fence": (replace(SLOW, after=at(9, 29)), FAST),
    "something came between two groups": (
        call(b"a", 1, 1, START, at(5, 20)),
        call(b"yyy", 2, 4, at(5, 21), at(10, 30)),
        call(b"xx", 3, 3, at(5, 21), at(7, 25)),
    ),
}


@pytest.mark.parametrize("why", DOUBTFUL)
def test_nothing_is_assumed_where(why: str) -> None:
    calls = DOUBTFUL[why]
    end = max((c.after for c in calls if c.after), key=lambda f: f.ctime_ns) if why.startswith("two") else FENCE

    assert laid_out(START, calls, end) is None


def test_a_fence_behind_overlapping_calls_needs_no_reading() -> None:
    ledger = Ledger()
    ledger.read(Snapshot(START, BytesContent(OLD), uid=1000), 1)
    slow, fast = SLOW_FIRST
    ledger.report(replace(slow, ended=None, after=None))
    ledger.report(fast)
    ledger.report(slow)

    account = ledger.advance(FENCE)

    assert account is not None
    manifest = account.manifest
    assert manifest is not None
    assert manifest.mismatches(BytesContent(OLD + b"yyyxx")) == ()
    assert manifest.mismatches(BytesContent(OLD + b"xxyyy")) != ()
    assert ledger.account.changes == ()


def ask(engine: Engine, current: Fingerprint, data: bytes) -> list[Decision]:
    snapshot = Snapshot(current, BytesContent(data), uid=1000)
    run = Run(run_id="run-1")
    return engine.handle(
        ev.VerdictAsked(
            ask="a", link=LINK, window="w", file=FILE, fence=FENCE, current=current, run=run, snapshot=snapshot, at_ns=9
        )
    )


@pytest.mark.parametrize(("data", "approved"), [(OLD + b"yyyxxz", True), (OLD + b"yyyxFz", False)])
def test_a_cotenant_that_writes_right_after_overlapping_calls_does_not_cost_the_turn(
    data: bytes, *, approved: bool
) -> None:
    """The file was written to again before it could be read at the fence."""
    engine = Engine(Policy(), Mode.RECOVER)
    engine.handle(ev.LinkOpened(gateway=gateway(LINK, 100), at_ns=1))
    earlier = Run(run_id="an-earlier-run")
    engine.handle(ev.FenceSet(link=LINK, window="earlier", file=FILE, fence=START, run=earlier, at_ns=1))
    engine.handle(
        ev.SnapshotTaken(file=FILE, snapshot=Snapshot(START, BytesContent(OLD), uid=1000), at_ns=1),
    )
    engine.handle(ev.FenceClosed(window="earlier", takeover=False, at_ns=1))
    slow, fast = SLOW_FIRST
    for change in (replace(slow, ended=None, after=None), fast, slow):
        engine.handle(ev.FileChanged(file=FILE, change=change))
    engine.handle(ev.FenceSet(link=LINK, window="w", file=FILE, fence=FENCE, run=Run(run_id="run-1"), at_ns=5))
    now = at(10, 50)
    engine.handle(ev.FileChanged(file=FILE, change=call(b"z", 4, 4, FENCE, now)))

    answers = ask(engine, now, data)

    assert any(isinstance(d, Approve) for d in answers) is approved
