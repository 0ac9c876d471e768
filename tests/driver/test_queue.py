"""One event at a time: the core is never entered while what it decided is being carried out."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from sidecar.core import events as ev
from sidecar.core.decisions import Decision, ReadFile, Record, SaveIncident
from sidecar.core.engine import Engine
from sidecar.core.outcomes import AnyOutcome
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.reports import Diagnostic
from sidecar.driver.driver import Driver
from sidecar.link.open_links import OpenLinks
from sidecar.watch.reading import fingerprint_of, take_snapshot
from tests.core.kit import LINK, RUN, fence_set, gateway, tripped
from tests.driver.kit import HEADER, Sinks, foreign_append

AT = 1_700_000_000_000_000_000


class Core(Engine):
    """A core that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(Policy(), Mode.RECOVER)
        self.told: list[ev.Event] = []
        self.made: list[Decision] = []

    def handle(self, event: ev.Event) -> list[Decision]:
        self.told.append(event)
        decisions = super().handle(event)
        self.made += decisions
        return decisions


class Meddling(Sinks):
    """Ports of which one has something to say whenever it is used."""

    def __init__(self, port: str) -> None:
        super().__init__()
        self.port = port
        self.interrupt: Callable[[], None] = lambda: None

    def drain(self) -> None:
        self._used("drain")

    def commit(self, records: Iterable[Record]) -> None:
        self._used("store")
        super().commit(records)

    def outcome(self, _outcome: AnyOutcome) -> None:
        self._used("listener")

    def recall(self, _file: str) -> None:
        self._used("chains")

    def _used(self, port: str) -> None:
        if port == self.port:
            self.interrupt()


class Stage:
    """A driver without links, on one file, whose ports interrupt it."""

    def __init__(self, place: Path, port: str) -> None:
        self.file = place / "sessions" / "s.jsonl"
        self.file.write_bytes(HEADER)
        self.core = Core()
        self.ports = Meddling(port)
        self.driver = Driver(self.core, self.ports, self.ports, self.ports, OpenLinks(), self.ports.drain, time.time_ns)
        self.interrupted = 0
        self.ports.interrupt = self._interrupt

    def _interrupt(self) -> None:
        before = len(self.core.told)
        self.interrupted += 1
        self.driver.handle(ev.KernelDrained(at_ns=AT + self.interrupted))
        assert len(self.core.told) == before, "the core was entered while its decisions were being carried out"

    def fence(self) -> None:
        self.driver.handle(ev.LinkOpened(gateway=gateway(), at_ns=AT))
        self.driver.handle(fence_set(fingerprint_of(self.file), AT, file=str(self.file)))

    def trip(self) -> None:
        """A stranger writes, and the gateway stops the turn."""
        foreign_append(self.file)
        fence = self.core.windows[0].fence
        self.driver.handle(tripped(fence, take_snapshot(self.file), AT, file=str(self.file)))


@pytest.mark.parametrize("port", ["drain", "store", "listener", "chains"])
async def test_what_a_port_says_while_a_decision_is_carried_out_is_told_when_all_of_them_are(
    place: Path, port: str
) -> None:
    stage = Stage(place, port)
    stage.fence()
    stage.trip()
    assert stage.interrupted
    heard = [event.at_ns - AT for event in stage.core.told if isinstance(event, ev.KernelDrained)]
    assert heard == [*range(1, stage.interrupted + 1)], "all of it, in the order of arrival"


async def test_what_was_heard_ahead_of_a_reading_is_told_ahead_of_it(place: Path) -> None:
    """The watch is drained before a file is read: word of a lost event must not come after the reading."""
    stage = Stage(place, "drain")
    stage.fence()
    told = [type(event).__name__ for event in stage.core.told]
    assert told == ["LinkOpened", "FenceSet", "KernelDrained", "SnapshotTaken"]


async def test_what_a_decision_brings_back_is_told_before_what_waited_already(place: Path) -> None:
    stage = Stage(place, "")

    def two_more() -> None:
        """The second file's reading must not come after what was said behind it."""
        stage.ports.port = ""
        for number in (1, 2):
            other = stage.file.with_name(f"{number}.jsonl")
            other.write_bytes(HEADER)
            event = fence_set(fingerprint_of(other), AT + number, window=f"v{number}", file=str(other))
            stage.driver.handle(event)

    stage.ports.port = "listener"
    stage.ports.interrupt = two_more
    stage.fence()
    told = [
        (type(event).__name__, event.file.rpartition("/")[2])
        for event in stage.core.told
        if isinstance(event, ev.FenceSet | ev.SnapshotTaken)
    ]
    assert told[0] == ("FenceSet", "s.jsonl")
    for number in ("1.jsonl", "2.jsonl"):
        at = told.index(("FenceSet", number))
        assert told[at + 1] == ("SnapshotTaken", number)


async def test_the_decisions_of_one_event_are_carried_out_in_their_order(place: Path) -> None:
    stage = Stage(place, "store")
    stage.fence()
    stage.trip()
    kinds = [type(decision) for decision in stage.core.made]
    assert kinds.index(ReadFile) < kinds.index(SaveIncident)


async def test_an_error_in_a_port_loses_no_event_that_waits(place: Path) -> None:
    stage = Stage(place, "listener")

    def broken() -> None:
        stage.ports.port = ""
        stage.driver.handle(ev.KernelDrained(at_ns=AT))
        raise ZeroDivisionError

    stage.ports.interrupt = broken
    with pytest.raises(ZeroDivisionError):
        stage.fence()
    stage.driver.handle(ev.TimePassed(at_ns=AT))
    assert [type(event) for event in stage.core.told[-2:]] == [ev.KernelDrained, ev.TimePassed]


async def test_a_line_for_timelines_is_told_only_where_there_is_one(place: Path) -> None:
    stage = Stage(place, "")
    report = Diagnostic(event="model.call.started", at=str(AT), run=RUN.run_id, provider="mock", model="slow")
    stage.driver.note(report, LINK)
    assert stage.core.told == []
    stage.fence()
    stage.driver.note(report, LINK)
    noted = ev.TimelineNote(
        file="", run_id=RUN.run_id, what="model.call.started", detail="mock/slow", at_ns=AT, link=LINK
    )
    assert noted in stage.core.told
