from collections.abc import Iterable

import pytest

from sidecar.core.decisions import KeepChains, KeepRecording, Record, SaveIncident
from sidecar.core.facts.value import replace
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.replay.recording import Recording
from sidecar.driver import journal as journals
from sidecar.driver.journal import Journal
from tests.driver.kit import FullError
from tests.store.samples import foreign


class Disk:
    """Keeps commits, unless it is full."""

    def __init__(self) -> None:
        self.commits: list[list[Record]] = []
        self.full = False
        self.broken: Record | None = None

    def commit(self, records: Iterable[Record]) -> None:
        if self.full:
            raise FullError
        wanted = list(records)
        if self.broken in wanted:
            raise TypeError
        self.commits.append(wanted)


def save(name: str = "i1", spent_at_ns: int = 0, *, turn_lost: bool = True) -> SaveIncident:
    return SaveIncident(incident=replace(foreign(name), turn_lost=turn_lost), spent_at_ns=spent_at_ns)


def full() -> tuple[Journal, Disk]:
    disk = Disk()
    disk.full = True
    return Journal(disk), disk


def test_what_could_not_be_saved_goes_along_with_the_next_commit_in_its_last_state() -> None:
    journal, disk = full()
    assert not journal.commit([save(turn_lost=False)])
    assert not journal.commit([save()])
    assert (journal.unsaved, journal.failing) == (1, True)
    disk.full = False
    assert journal.commit([save("i2")])
    assert disk.commits == [[save("i2"), save()]]
    assert (journal.unsaved, journal.failing) == (0, False)


def test_a_record_that_can_not_be_written_costs_no_other_incident_its_place() -> None:
    disk = Disk()
    journal = Journal(disk)
    recording = KeepRecording(incident=foreign("i1"), recording=Recording("w1", Policy(), Mode.RECOVER, (), whole=True))
    disk.broken = recording
    assert journal.commit([save(), recording])
    assert disk.commits == [[save()]]

    disk.broken = save("i2")
    with pytest.raises(TypeError):
        journal.commit([save("i2")])
    assert (journal.unsaved, journal.forgotten) == (0, 1)
    assert journal.commit([save("i3")])
    assert disk.commits[1:] == [[save("i3")]]


def test_what_goes_along_and_can_not_be_written_holds_up_nobody() -> None:
    journal, disk = full()
    journal.commit([save()])
    disk.full, disk.broken = False, save()
    assert journal.commit([save("i2")])
    assert (disk.commits, journal.unsaved) == ([[save("i2")]], 1)


def test_recoveries_that_could_not_be_counted_are_all_counted_in_the_end() -> None:
    journal, disk = full()
    for spent_at_ns in (7, 0, 9):
        journal.commit([save(spent_at_ns=spent_at_ns)])
    disk.full = False
    assert not journal.settle()
    assert disk.commits == [[save(spent_at_ns=7), save(spent_at_ns=9)]]


def test_a_commit_that_a_gateway_may_wait_for_takes_only_some_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "RETRIED_AT_ONCE", 2)
    journal, disk = full()
    for number in range(5):
        journal.commit([save(f"i{number}")])
    disk.full = False
    while journal.settle():
        pass
    assert [len(commit) for commit in disk.commits] == [2, 2, 1]


def test_what_is_given_up_is_counted_and_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MAX_UNSAVED", 2)
    journal, disk = full()
    for number in range(5):
        journal.commit([save(f"i{number}")])
    assert (journal.unsaved, journal.forgotten) == (2, 3)
    disk.full = False
    journal.settle()
    assert disk.commits == [[save("i3"), save("i4")]]


def test_a_recording_comes_after_its_incident_however_late_that_is() -> None:
    journal, disk = full()
    journal.commit([save()])
    disk.full = False
    kept = KeepRecording(incident=foreign("i1"), recording=Recording("w", Policy(), Mode.RECOVER, ()))
    journal.commit([kept])
    assert disk.commits == [[save(), kept]]


def test_chains_of_a_commit_that_failed_are_not_kept() -> None:
    journal, disk = full()
    assert not journal.commit([KeepChains(chains=())])
    disk.full = False
    assert not journal.settle()
    assert disk.commits == []
    assert journal.failing, "status goes on to say so until something is on disk again"
