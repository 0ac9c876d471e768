"""Reports of several links come in any order; the fingerprints around the calls say which came first."""

from itertools import permutations

import pytest

from sidecar.core.custody.files.ledger import Ledger
from sidecar.core.custody.files.projection import chained, seen_through
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.value import replace
from tests.core.kit import CRON, LINK, OTHER_LINK, OWN, digest

ABSENT = Fingerprint.absent()


def at(size: int, ctime_ns: int, ino: int = 7) -> Fingerprint:
    return Fingerprint(exists=True, dev=1, ino=ino, size=size, mtime_ns=ctime_ns, ctime_ns=ctime_ns)


def call(number: int, before: Fingerprint, after: Fingerprint, *, link: str = LINK) -> Change:
    length = after.size - before.size
    return Change(
        change_id=f"c{number}",
        operation=Operation.APPEND if before.exists else Operation.REWRITE,
        writer=OWN if link == LINK else CRON,
        at_ns=number,
        length=length,
        sha256=digest(bytes([number]) * length),
        offset=before.size,
        before=before,
        after=after,
        link=link,
        began=number,
        ended=number,
    )


BORN = call(1, ABSENT, at(10, 100))
OWN_APPEND = call(2, at(10, 100), at(16, 200))
FENCE = at(16, 200)
AFTER = call(3, FENCE, at(20, 300), link=OTHER_LINK)
LATER = call(4, at(20, 300), at(25, 400), link="link-3")
FAR = call(6, at(30, 500), at(33, 600), link="link-3")
"""What lies between is still to be told."""


@pytest.mark.parametrize("order", list(permutations((BORN, OWN_APPEND, AFTER, LATER))))
def test_reports_in_any_order_lead_to_the_fence_and_the_later_ones_stay(order: tuple[Change, ...]) -> None:
    ledger = Ledger()
    for change in order:
        ledger.report(change)

    account = ledger.advance(FENCE)

    assert account is not None
    assert account.manifest is not None
    assert [(s.offset, s.length, s.sha256) for s in account.manifest.segments] == [
        (0, 10, BORN.sha256),
        (10, 6, OWN_APPEND.sha256),
    ]
    assert {c.change_id for c in ledger.account.changes} == {"c3", "c4"}


def test_a_later_call_whose_forerunners_are_still_to_be_told_does_not_break_the_chain() -> None:
    ledger = Ledger()
    for change in (BORN, OWN_APPEND, FAR):
        ledger.report(change)

    assert ledger.advance(FENCE) is not None
    assert ledger.account.changes == (FAR,)


def test_a_call_that_may_have_come_before_the_fence_and_does_not_fit_breaks_the_chain() -> None:
    ledger = Ledger()
    for change in (BORN, OWN_APPEND, call(5, at(12, 150), at(14, 160), link=OTHER_LINK)):
        ledger.report(change)

    assert ledger.advance(FENCE) is None


def test_a_missing_report_ahead_of_the_fence_breaks_the_chain() -> None:
    ledger = Ledger()
    for change in (BORN, AFTER):
        ledger.report(change)

    assert ledger.advance(FENCE) is None


def test_what_does_not_fit_follows_the_chain_as_it_came() -> None:
    lost = call(8, at(1, 1), at(2, 2))
    under_way = replace(call(9, at(10, 100), at(16, 200)), ended=None)
    assert chained(ABSENT, [lost, OWN_APPEND, under_way, BORN]) == [BORN, OWN_APPEND, lost, under_way]
    assert chained(at(99, 99), [OWN_APPEND, BORN]) == [OWN_APPEND, BORN]


def test_a_rewrite_is_seen_through_whatever_the_order_of_the_reports() -> None:
    append = call(3, FENCE, at(20, 300), link=OTHER_LINK)
    rewrite = replace(call(4, at(20, 300), at(5, 400)), operation=Operation.REWRITE, length=5)
    assert seen_through(FENCE, [append, rewrite])
    assert seen_through(FENCE, [rewrite, append])
    assert not seen_through(FENCE, [rewrite])
