"""The chain of custody as data: who wrote what, what is lost with custody, and how much of it is kept at hand."""

from typing import Final

import pytest

from sidecar.core import events as ev
from sidecar.core.custody.files.chain import Chain, KeptChain
from sidecar.core.custody.files.ledger import MAX_CHANGES, Ledger
from sidecar.core.custody.files.ledgers import IDLE_NS, MAX_LEDGERS
from sidecar.core.custody.gaps import MAX_GAPS, Gap, widened
from sidecar.core.decisions import MAX_KEPT_AT_ONCE, KeepChains, ReadFile, RecallChain, Refuse
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import replace
from tests.core.kit import CHANNEL, CRON, FILE, LINK, MISSING, OTHER_RUN, OWN, RUN, Bench, Disk, fenced

OLD = b'{"type":"session"}\n'

UNWATCHED: Final = Reason(ReasonCode.UNWATCHED)
RENAMED: Final = Reason.of(ReasonCode.DIRECTORY_RENAMED, directory="/state/agents")


def chain(bench: Bench) -> Chain:
    return bench.engine.files.chain(FILE, bench.disk.snapshot, bench.now())


def ranges(found: Chain) -> list[tuple[int, int, str, Grade]]:
    return [(r.offset, r.length, r.writer.label() if r.writer else "", r.grade) for r in found.ranges]


def kept(bench: Bench) -> list[KeptChain]:
    made = bench.engine.handle(ev.TimePassed(at_ns=bench.now()))
    return [k for d in made if isinstance(d, KeepChains) for k in d.chains if isinstance(k, KeptChain)]


def test_custody_begins_with_the_first_word_of_a_file_and_not_with_its_first_fence() -> None:
    bench = Bench()
    bench.write(CRON, b"one\n")
    bench.look()
    bench.write(CHANNEL, b"three\n")

    found = chain(bench)
    assert ranges(found) == [
        (0, len(OLD), "", Grade.NONE),
        (len(OLD), 4, "cron daily-digest", Grade.BYTES),
        (len(OLD) + 4, 6, "channel telegram", Grade.BYTES),
    ]
    assert all(r.at_ns > 0 for r in found.ranges if r.writer)
    assert found.differences == ()


def test_a_file_of_which_nothing_was_heard_has_no_known_writer_and_no_difference() -> None:
    found = chain(Bench())

    assert ranges(found) == [(0, len(OLD), "", Grade.NONE)]
    assert found.differences == ()


def test_to_look_changes_nothing() -> None:
    bench = fenced()
    bench.disk.append(b"foreign\n", foreign=1)

    assert [chain(bench).differences for _ in range(2)] == [chain(bench).differences] * 2
    assert chain(bench).differences[0].offset == len(OLD)


@pytest.mark.parametrize("seen", ["early", "at the check", "both"])
def test_a_takeover_is_a_difference_until_a_fence_takes_it_in_whenever_it_was_seen(seen: str) -> None:
    bench = fenced()
    bench.disk.append(b"foreign\n", foreign=1)
    if seen != "at the check":
        bench.look()
    if seen != "early":
        bench.ask()
    bench.trip()
    bench.close(takeover=True)
    bench.read()

    assert [(r.offset, r.length) for r in chain(bench).differences] == [(len(OLD), len(b"foreign\n"))]

    bench.fence("another window", OTHER_RUN)
    assert chain(bench).differences == ()
    assert ranges(chain(bench)) == [(0, len(OLD) + len(b"foreign\n"), "", Grade.NONE)]


@pytest.mark.parametrize("what", ["overwritten", "cut", "gone", "same bytes again", "renamed copy"])
def test_a_difference_is_found_by_its_offset(what: str) -> None:
    bench = fenced()
    bench.write(CRON, b"note\n")
    bench.fence()
    match what:
        case "overwritten":
            bench.disk.overwrite(len(OLD) + 1, b"X", foreign=1)
        case "cut":
            bench.disk.truncate(len(OLD))
        case "gone":
            bench.disk.remove()
        case "same bytes again":
            bench.disk.replace(bytes(bench.disk.data))
        case _:
            bench.disk.rename_copy()

    offsets = [r.offset for r in chain(bench).differences]
    assert offsets == {"overwritten": [len(OLD)], "cut": [len(OLD)], "gone": [0]}.get(what, [])


def test_lost_reports_leave_a_gap_and_the_writers_of_what_is_still_there() -> None:
    bench = fenced()
    bench.write(CRON, b"note\n")
    bench.fence()
    bench.lose(MISSING, Loss.GAP)
    bench.disk.append(b"who knows\n")
    bench.fence()

    found = chain(bench)
    assert ranges(found) == [
        (0, len(OLD), "", Grade.NONE),
        (len(OLD), 5, "cron daily-digest", Grade.BYTES),
        (len(OLD) + 5, 10, "", Grade.NONE),
    ]
    (gap,) = found.gaps
    assert gap.reason == MISSING
    assert 0 < gap.from_ns < gap.to_ns


@pytest.mark.parametrize("order", ["lost, then gone", "gone, then lost", "gone only"])
def test_a_file_that_was_away_for_a_moment_keeps_the_writers_of_what_has_come_back(order: str) -> None:
    """Its directory was renamed and renamed back, and a reading fell in between."""
    bench = Bench()
    bench.write(CRON, b"note\n")
    bench.look()
    there = bytes(bench.disk.data)
    if order == "lost, then gone":
        bench.lose(RENAMED, Loss.RENAMED)
    bench.disk.remove()
    bench.read()
    if order == "gone, then lost":
        bench.lose(RENAMED, Loss.RENAMED)
    bench.disk.replace(there, foreign=())
    bench.write(CHANNEL, b"more\n")
    bench.disk.append(b"who knows\n")
    bench.read()

    assert ranges(chain(bench)) == [
        (0, len(OLD), "", Grade.NONE),
        (len(OLD), 5, "cron daily-digest", Grade.BYTES),
        (len(OLD) + 5, 5, "channel telegram", Grade.BYTES),
        (len(OLD) + 10, 10, "", Grade.NONE),
    ]


def test_a_file_that_its_gateway_made_anew_has_no_writers_of_the_old_one() -> None:
    bench = Bench()
    bench.write(CRON, b"note\n")
    bench.look()
    bench.disk.remove()
    bench.read()
    bench.write(CHANNEL, b"anew\n")
    bench.read()

    assert ranges(chain(bench)) == [(0, 5, "channel telegram", Grade.BYTES)]


def test_a_rewrite_by_nobody_known_costs_only_what_it_changed() -> None:
    bench = fenced(disk=Disk(b"a" * 8192))
    bench.write(CRON, b"note\n")
    bench.fence()
    bench.disk.overwrite(0, b"X", foreign=1)
    bench.look()

    assert ranges(chain(bench)) == [(0, 8192, "", Grade.NONE), (8192, 5, "cron daily-digest", Grade.BYTES)]


def test_what_was_kept_is_asked_for_once_and_names_the_writers_of_what_is_still_there() -> None:
    before = fenced()
    before.write(CRON, b"note\n")
    (known,) = kept(before)

    bench = Bench(disk=before.disk)
    bench.disk.append(b"unwatched\n")
    change = bench.write(CHANNEL, b"more\n")
    assert bench.engine.handle(ev.FileChanged(file=FILE, change=change)) == [ReadFile(file=FILE, settle=True)]
    bench.handle(ev.ChainRecalled(chain=known, reason=UNWATCHED, at_ns=bench.now()))
    bench.read()

    found = chain(bench)
    assert [(r.length, r.writer and r.writer.label()) for r in found.ranges] == [
        (len(OLD), None),
        (5, "cron daily-digest"),
        (10, None),
        (5, "channel telegram"),
    ]
    assert [(g.from_ns, g.reason) for g in found.gaps] == [(known.watched_ns, UNWATCHED)]
    assert found.gaps[0].to_ns > 0


def test_what_was_recalled_proves_nothing_about_a_window() -> None:
    """A restart within a window: whatever was kept, the window stays unknown."""
    before = fenced()
    before.write(CRON, b"note\n")
    (known,) = kept(before)
    bench = Bench(disk=before.disk)
    fence = bench.disk.fingerprint
    bench.handle(ev.ChainRecalled(chain=known, reason=UNWATCHED, at_ns=bench.now()))
    bench.write(CRON, b"more\n")

    answer = bench.ask(fence=fence)
    assert isinstance(answer, Refuse)
    assert answer.reason == Reason.of(ReasonCode.CUSTODY_UNKNOWN, Reason(ReasonCode.FENCE_NOT_SEEN))


def test_only_what_has_changed_and_has_a_known_writer_is_kept() -> None:
    bench = fenced()
    assert kept(bench) == []
    bench.write(CRON, b"note\n")
    (first,) = kept(bench)
    assert first.manifest is not None
    assert first.manifest.size == len(bench.disk.data)
    assert kept(bench) == []


def test_the_account_of_a_file_on_which_no_run_sets_a_fence_stays_small() -> None:
    bench = Bench()
    bench.write(CRON, b"first\n")
    bench.look()
    for n in range(3 * MAX_CHANGES):
        bench.write(CRON, b"%d\n" % n)

    ledger = bench.engine.files.ledgers[FILE]
    assert len(ledger.account.changes) <= MAX_CHANGES
    assert chain(bench).differences == ()
    assert len(chain(bench).ranges) == 3 * MAX_CHANGES + 2


def test_reports_that_lead_nowhere_are_given_up_and_custody_with_them() -> None:
    bench = fenced()
    for n in range(MAX_CHANGES + 1):
        bench.disk.append(b"foreign\n")
        bench.write(CRON, b"%d\n" % n)

    ledger = bench.engine.files.ledgers[FILE]
    assert len(ledger.account.changes) <= MAX_CHANGES
    assert ledger.account.manifest is None


def test_accounts_are_put_away_by_age_and_count_but_never_under_an_open_window() -> None:
    bench = fenced()
    for n in range(MAX_LEDGERS + 5):
        change = Change("c", Operation.METADATA, CRON, bench.now(), link=LINK, began=n, ended=n)
        bench.engine.handle(ev.FileChanged(file=f"/state/{n}.jsonl", change=change))
    while bench.engine.files.unsaved:
        bench.handle(ev.TimePassed(at_ns=bench.now()))
    assert len(bench.engine.files.sessions) == MAX_LEDGERS
    assert FILE in bench.engine.files.sessions

    bench.pass_time(IDLE_NS + 1)
    bench.handle(ev.TimePassed(at_ns=bench.now()))
    assert set(bench.engine.files.sessions) == {FILE}
    bench.cotenant(b"note\n")
    assert bench.look()


def test_chains_are_kept_a_part_at_a_time_and_none_is_put_away_before_it_was_kept() -> None:
    bench = Bench()
    files = {f"/state/{n}.jsonl" for n in range(MAX_LEDGERS + 2 * MAX_KEPT_AT_ONCE)}
    first = replace(bench.write(CRON, b"note\n"), before=Fingerprint.absent(), offset=0)
    for file in files:
        bench.engine.handle(ev.FileChanged(file=file, change=first))
    parts: list[list[KeptChain]] = []
    while bench.engine.files.unsaved:
        assert set(bench.engine.files.sessions) == {FILE, *files}
        parts.append(kept(bench))

    assert {c.file for part in parts for c in part} >= files
    assert max(map(len, parts)) <= MAX_KEPT_AT_ONCE
    assert len(bench.engine.files.sessions) == MAX_LEDGERS


def test_a_file_that_was_put_away_is_asked_for_again() -> None:
    bench = Bench()
    bench.write(CRON, b"note\n")
    bench.look()
    bench.pass_time(IDLE_NS + 1)
    bench.handle(ev.TimePassed(at_ns=bench.now()))
    fence = ev.FenceSet(link=LINK, window="w", file=FILE, fence=bench.disk.fingerprint, run=RUN, at_ns=bench.now())

    assert bench.engine.handle(fence) == [RecallChain(file=FILE), ReadFile(file=FILE)]


def test_a_gap_that_is_open_stands_for_those_that_follow_and_old_ones_go() -> None:
    once = widened((), Gap(1, 0, UNWATCHED))
    assert widened(once, Gap(2, 0, MISSING)) == once
    many: tuple[Gap, ...] = ()
    for n in range(MAX_GAPS + 3):
        many = widened(many, Gap(n, n + 1, UNWATCHED))
    assert len(many) == MAX_GAPS
    assert many[-1].from_ns == MAX_GAPS + 2


def test_a_rewrite_by_a_known_writer_is_one_range_of_its_own() -> None:
    bench = fenced()
    bench.write(CRON, b"note\n")
    bench.rewrite(OWN, b"all anew\n")

    assert ranges(chain(bench)) == [(0, 9, "user_turn", Grade.BYTES)]


def test_a_call_under_way_is_no_difference_that_is_settled() -> None:
    bench = fenced()
    bench.begin(Operation.APPEND, CRON, b"note\n")
    bench.disk.append(b"no")

    found = chain(bench)
    assert found.differences
    assert not found.settled


def test_an_account_that_was_never_begun_has_nothing_to_keep() -> None:
    assert not Ledger().saved(FILE, 1).witnessed
