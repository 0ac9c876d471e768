"""The driver and transcripts in a real database."""

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.core import events as ev
from sidecar.core.facts.database import DatabaseHold, LockKind
from sidecar.core.facts.process import Process
from sidecar.core.facts.rows import RowVersion
from sidecar.core.facts.value import replace
from sidecar.core.policy.glob import Glob
from sidecar.core.policy.policy import Patience, Policy
from sidecar.core.verdict.judge import Verdict
from sidecar.core.windows.life import Custody
from sidecar.driver import reads
from sidecar.driver.transcripts import TranscriptReader
from sidecar.intake.databases import DatabaseIntake
from sidecar.wire import messages as wire
from tests.core.kit import RUN, WINDOW
from tests.driver.kit import Desk, desk
from tests.watch.test_database import make

PATIENCE_SECONDS = 30.0


def _changed(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(statement)


async def _fenced(stage: Desk, place: Path) -> tuple[Path, str]:
    """A run of a linked process whose fence is the last row, and custody of what is there is known."""
    database = make(place / "openclaw-agent.sqlite")
    transcript = f"{database}#s"
    reader = TranscriptReader()
    version = reader.version(transcript)
    reader.close()
    assert isinstance(version, RowVersion)
    await stage.link()
    [link] = [session.name for session in stage.links.open_sessions()]
    fence = ev.FenceSet(link=link, window=WINDOW, file=transcript, fence=version, run=RUN, at_ns=time.time_ns())
    stage.driver.handle(fence)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while stage.engine.windows[0].state.custody is not Custody.KNOWN:  # noqa: ASYNC110 - a reading that is under way
            await asyncio.sleep(0.01)
    return database, transcript


async def _closed(stage: Desk) -> None:
    stage.driver.closed(ev.FenceClosed(window=WINDOW, takeover=False, at_ns=time.time_ns()))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while stage.engine.windows:  # noqa: ASYNC110 - a reading that is under way
            await asyncio.sleep(0.01)


async def test_rule_1_an_old_row_that_is_another_is_found_when_the_window_ends(place: Path) -> None:
    async with desk(place) as stage:
        database, _transcript = await _fenced(stage, place)
        _changed(database, "UPDATE transcript_events SET event_json = '{}' WHERE seq = 0")
        await _closed(stage)
        assert stage.incident.verdict is Verdict.EXTERNAL
        assert [incident.incident_id for incident in stage.sinks.paged] == [stage.incident.incident_id]


async def test_a_gateway_that_stands_still_for_its_database_is_waited_for_at_the_end_of_a_window(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says no word while it asks for the lock, 5 s each time; what it has committed would be a stranger's."""
    monkeypatch.setattr(reads, "PATIENT_SECONDS", 0.05)
    async with desk(place) as stage:
        database, _transcript = await _fenced(stage, place)
        [gateway] = stage.gateways
        gateway.deaf = True
        _changed(database, "UPDATE transcript_events SET event_json = '{}' WHERE seq = 0")
        asyncio.get_running_loop().call_later(0.5, gateway.hear_again)
        await _closed(stage)
        assert stage.incident.verdict is Verdict.EXTERNAL


async def test_a_window_on_rows_that_nobody_touched_ends_without_an_incident(place: Path) -> None:
    async with desk(place) as stage:
        await _fenced(stage, place)
        await _closed(stage)
        assert stage.sinks.saved == []


async def test_a_commit_that_the_kernel_told_too_early_or_never_is_found_by_the_counter(place: Path) -> None:
    async with desk(place) as stage:
        database, transcript = await _fenced(stage, place)
        intake = DatabaseIntake(stage.driver, time.time_ns, lambda: None, lambda _directory: None)
        intake.spoken_of(transcript)  # and no event of the kernel's is taken in
        try:
            _changed(database, "UPDATE transcript_events SET event_json = '{}' WHERE seq = 0")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not stage.sinks.saved:  # noqa: ASYNC110 - a reading that is under way
                    await asyncio.sleep(0.01)
            assert stage.incident.verdict is Verdict.EXTERNAL
            await _closed(stage)
        finally:
            intake.stop()


async def test_rule_6_patience_is_granted_when_that_is_on_disk_and_not_before(place: Path) -> None:
    hold = DatabaseHold(Process(7, exe="/usr/bin/restic"), "restic", LockKind.WRITE, 1)
    patient = Policy(patience=Patience(2, (Glob("/usr/bin/restic", path=True),)))
    async with desk(place) as stage:
        database, _transcript = await _fenced(stage, place)
        [gateway] = stage.gateways
        while not gateway.commands.empty():
            gateway.commands.get_nowait()
        stage.driver.handle(ev.PolicyChanged(policy=patient, at_ns=time.time_ns()))
        for full in (True, False):
            stage.sinks.full = full
            stage.driver.handle(ev.DatabaseHeld(database=str(database), hold=hold, at_ns=2))
            over = replace(hold, until_ns=3)
            stage.driver.handle(ev.DatabaseHeld(database=str(database), hold=over, at_ns=4))
        async with asyncio.timeout(PATIENCE_SECONDS):
            said = [await gateway.commands.get() for _ in range(3)]
        assert said == [wire.Patience(window=WINDOW, tries=tries) for tries in (0, 2, 0)]
        assert stage.sinks.saved
