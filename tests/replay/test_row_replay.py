"""Incidents of sessions in a database, exported and judged again."""

import json
from collections.abc import Callable
from typing import Final

import pytest

from sidecar.core import events as ev
from sidecar.core.custody.kernel_log import LATE_NS
from sidecar.core.decisions import Decision, KeepRecording, SaveIncident
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.process import Act, Process
from sidecar.core.facts.rows import RowSnapshot, RowVersion, parts_of, place_of
from sidecar.core.facts.turn_loss import LossCause, LossDetail, TurnLoss
from sidecar.core.facts.value import replace
from sidecar.core.replay.recorder import Recorder
from sidecar.core.verdict.incident import Incident, Outcome
from sidecar.core.verdict.judge import Verdict
from sidecar.store.recordings import exported, imported
from tests.core.kit import LINK, OWN, RUN, WINDOW
from tests.core.test_rows import TRANSCRIPT, Database, row

LONG = 1000


class Taped(Database):
    """A database whose windows are recorded."""

    def __post_init__(self) -> None:
        self.recorder: Recorder | None = None
        super().__post_init__()

    def handle(self, event: ev.Event) -> list[Decision]:
        """By way of the recorder, which sees everything from the first link on."""
        if self.recorder is None:
            self.recorder = Recorder(self.engine)
        return self.recorder.handle(event)

    def recorded(self) -> tuple[Incident, KeepRecording]:
        incident = [d.incident for d in self.decisions if isinstance(d, SaveIncident)][-1]
        return incident, [d for d in self.decisions if isinstance(d, KeepRecording)][-1]

    def end(self, *, takeover: bool = False) -> None:
        self.clock += 1
        self.tell(ev.FenceClosed(window=WINDOW, takeover=takeover, at_ns=self.clock))
        self.tell(ev.LineageChecked(window=WINDOW, missing=(), problem="", at_ns=self.clock))


def _answered(database: Taped) -> None:
    """A typed command that costs no turn."""
    database.command(3)
    database.applied("e3", "e4")
    database.commit(OWN, row(5, "answer", role="assistant"))
    database.fence()
    database.end()


def _inserted(database: Taped) -> None:
    database.store(row(3, "foreign", role="user"))
    database.tick()
    database.end()


def _edited(database: Taped) -> None:
    database.store(replace(database.rows[0], digest="0" * 64))
    database.tick()
    database.commit(OWN, row(3, "answer", role="assistant"))
    database.fence()
    database.end()


def _deleted(database: Taped) -> None:
    del database.rows[1]
    database.tick()
    database.end()


def _cleared(database: Taped) -> None:
    fence = database.version
    database.rows.clear()
    gone = RowSnapshot(RowVersion.absent(), uid=0)
    database.tell(
        ev.TurnTripped(
            link=LINK, window=WINDOW, file=TRANSCRIPT, fence=fence, run=RUN, snapshot=gone, at_ns=90, heard_ns=90
        )
    )
    database.end(takeover=True)


def _command_beside_a_stranger(database: Taped) -> None:
    database.command(3)
    database.store(row(5, "foreign", role="assistant"))
    database.tick()
    database.end()


def _lost_to_a_lock(database: Taped) -> None:
    _lost(database, TurnLoss(LossCause.BUSY))


def _lost_to_damage_and_not_read_again(database: Taped) -> None:
    _lost(database, TurnLoss(LossCause.STORAGE, LossDetail.CORRUPT), read=False)


def _lost_to_a_strangers_claim(database: Taped) -> None:
    _lost(database, TurnLoss(LossCause.REBOUND, LossDetail.CLAIM, other_run="nobody"))


def _lost(database: Taped, loss: TurnLoss, *, read: bool = True) -> None:
    database.tell(ev.TurnLost(link=LINK, window=WINDOW, file=TRANSCRIPT, run=RUN, loss=loss, at_ns=database.clock))
    if read:
        database.read()
    database.end()


STORIES: Final[dict[Callable[[Taped], None], tuple[Verdict, Outcome]]] = {
    _answered: (Verdict.CO_TENANT, Outcome.EFFECTIVE),
    _inserted: (Verdict.EXTERNAL, Outcome.REFUSED),
    _edited: (Verdict.EXTERNAL, Outcome.REFUSED),
    _deleted: (Verdict.EXTERNAL, Outcome.REFUSED),
    _cleared: (Verdict.EXTERNAL, Outcome.REFUSED),
    _command_beside_a_stranger: (Verdict.EXTERNAL, Outcome.REFUSED),
    _lost_to_a_lock: (Verdict.UNCHANGED, Outcome.NONE),
    _lost_to_damage_and_not_read_again: (Verdict.UNATTRIBUTED, Outcome.NONE),
    _lost_to_a_strangers_claim: (Verdict.EXTERNAL, Outcome.REFUSED),
}


@pytest.mark.parametrize("story", STORIES, ids=[story.__name__ for story in STORIES])
@pytest.mark.parametrize("paths", [False, True])
def test_a_window_on_rows_is_exported_without_names_and_comes_out_the_same(
    story: Callable[[Taped], None], *, paths: bool
) -> None:
    database = Taped()
    database.begin()
    story(database)
    incident, kept = database.recorded()
    assert (incident.verdict, incident.recovery.outcome) == STORIES[story]
    body = exported(incident, kept.recording, paths=paths)
    assert body["replays"], body["why_not"]
    text = json.dumps(body)
    for name in ("openclaw-agent", parts_of(TRANSCRIPT)[1], "/state/agents"):
        assert (name in text) is paths


def test_what_the_kernel_saw_at_the_database_is_on_record() -> None:
    database = Taped(clock=10 * LATE_NS)
    place = place_of(TRANSCRIPT)
    database.tell(ev.KernelListening(directory=place.rpartition("/")[0], at_ns=1))
    database.tell(ev.KernelDrained(at_ns=database.clock))
    database.begin()
    database.fence()
    stranger = Process(4711, 1, "/opt/secret/python3")
    database.tell(ev.KernelAccess(file=place, process=stranger, act=Act.WRITE, at_ns=database.clock))
    _edited(database)
    incident, kept = database.recorded()
    assert (incident.grade, incident.unexplained[0].pid) == (Grade.KERNEL, 4711)
    body = exported(incident, kept.recording)
    assert body["replays"], body["why_not"]
    assert "secret" not in json.dumps(body)


def test_of_a_long_transcript_each_row_is_on_record_once() -> None:
    database = Taped()
    database.store(*(row(seq, f"{seq}") for seq in range(LONG)))
    database.commit(OWN, row(LONG, "question", role="user"))
    database.fence()
    for seq in range(LONG + 1, LONG + 100, 2):
        database.command(seq)
    database.store(row(LONG + 101, "foreign"))
    database.tick()
    database.end()
    incident, kept = database.recorded()
    body = exported(incident, kept.recording)
    assert body["replays"], body["why_not"]
    [_expected, recording] = imported("here", json.dumps(body))
    read = [e.snapshot for e in recording.events if isinstance(e, ev.SnapshotTaken)]
    assert sum(len(snapshot.rows or ()) for snapshot in read if isinstance(snapshot, RowSnapshot)) < 2 * LONG
