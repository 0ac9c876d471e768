"""Who wrote which rows: a real sidecar asked with the real command, on a real database; gateways are played."""

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sidecar.core import events as ev
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.rows import Row, digest_of_span
from sidecar.intake.losses import Losses
from sidecar.telemetry.facade import Telemetry
from sidecar.watch.database.reader import DatabaseReader
from sidecar.wire import messages as wire
from tests.core.test_rows import Database
from tests.driver.kit import COTENANT, RUN, Gateway, now
from tests.kernel import require_kernel_evidence
from tests.link.kit import AT
from tests.service.kit import Place
from tests.watch.test_database import EVENT, make
from tests.watch.test_lock_holders import holding

KEY = "agent:main:main"


@dataclass
class Stage:
    """A database with three rows of some age, a state directory around it."""

    place: Place
    path: Path
    commits: int = 0

    @property
    def transcript(self) -> str:
        return f"{self.path}#s"

    @property
    def rows(self) -> tuple[Row, ...]:
        return self._read()[1]

    def _read(self) -> tuple[str, tuple[Row, ...]]:
        with closing(DatabaseReader(str(self.path))) as reader:
            snapshot = reader.snapshot("s")
        return snapshot.version.encode(), snapshot.rows or ()

    def changed(self, statement: str) -> None:
        """Somebody changes the database, and says nothing."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute(statement)

    def append(self) -> None:
        """Somebody adds a row, and says nothing."""
        number = len(self.rows)
        parent = f"'e{number - 1}'" if number else "NULL"
        self.changed(f"INSERT INTO transcript_events VALUES ('s', {number}, '{EVENT}', 0)")
        self.changed(
            f"INSERT INTO transcript_event_identities VALUES ('s', 'e{number}', {number}, 'message', {parent}, NULL, 0)"
        )

    def commit(self, gateway: Gateway) -> None:
        """A linked process adds a row and reports it."""
        self.append()
        after, rows = self._read()
        self.commits += 1
        last = rows[-1]
        told = wire.WireRow(
            seq=last.seq, sha256=last.digest, size=last.size, id=last.event_id, parent=last.parent_id, kind=last.kind
        )
        gateway.say(
            wire.Committed(
                seq=gateway.seq(),
                at=now(),
                file=self.transcript,
                change=f"t{self.commits}",
                op="append",
                after=after,
                writer=COTENANT,
                rows=(told,),
            )
        )

    def fence(self, gateway: Gateway) -> None:
        """A run stands on the last row."""
        run = wire.WireRun(run=RUN.run, kind=RUN.kind, session=hashlib.sha256(KEY.encode()).hexdigest()[:16])
        gateway.say(
            wire.FenceSet(
                seq=gateway.seq(), at=now(), window="w1", file=self.transcript, fence=self._read()[0], run=run
            )
        )


@pytest.fixture
def stage(place: Place) -> Stage:
    path = place.root / "state" / "agents" / "main" / "agent" / "openclaw-agent.sqlite"
    path.parent.mkdir(parents=True)
    return Stage(place, make(path.resolve()))


def writers(body: Any) -> list[tuple[int, int, str | None, str]]:  # noqa: ANN401 - a JSON value
    return [
        (r["offset"], r["length"], r["writer"] and f"{r['writer']['kind']} {r['writer']['name']}", r["grade"])
        for r in body["ranges"]
    ]


async def test_a_session_is_found_by_every_name_and_each_row_has_its_writer(stage: Stage) -> None:
    async with stage.place.companion() as sidecar:
        gateway = await stage.place.gateway(sidecar)
        stage.commit(gateway)
        stage.fence(gateway)
        stage.commit(gateway)
        hashed = hashlib.sha256(KEY.encode()).hexdigest()[:16]
        for name in (stage.transcript, f"{stage.path.name}#s", "s", KEY, hashed):
            code, body = await stage.place.ask("custody", name)
            assert (code, body["file"], body["unit"], body["size"]) == (0, stage.transcript, "rows", 5), name
        assert writers(body) == [
            (0, 3, None, "none"),
            (3, 1, "cron digest", "bytes"),
            (4, 1, "cron digest", "bytes"),
        ]
        assert body["ranges"][0]["sha256"] == digest_of_span(stage.rows[:3])
        assert body["known_rows"] == 2
        assert (await stage.place.ask("verify", "s"))[0] == 0
        assert (await stage.place.ask("verify", "nothing"))[0] == 2
        await gateway.hang_up()


async def test_verify_names_the_rows_that_a_stranger_changed_with_a_sidecar_and_without(stage: Stage) -> None:
    deeds = [(0, 1, "deleted"), (1, 1, "edited"), (4, 1, "inserted")]
    async with stage.place.companion() as sidecar:
        gateway = await stage.place.gateway(sidecar)
        stage.commit(gateway)
        assert (await stage.place.ask("verify", "s"))[0] == 0
        stage.append()
        stage.changed("UPDATE transcript_events SET event_json = '{}' WHERE seq = 1")
        stage.changed("DELETE FROM transcript_events WHERE seq = 0")
        await verified(stage, deeds, watched=True)
        code, text = await stage.place.read("verify", "s")
        assert code == 1
        assert "row 1 was edited by nobody known" in text
        await gateway.hang_up()
    await verified(stage, deeds, watched=False)


async def verified(stage: Stage, expected: list[tuple[int, int, str]], *, watched: bool) -> None:
    code, body = await stage.place.ask("verify", "s")
    found = [(d["offset"], d["length"], d["deed"]) for d in body["verified"]["differences"]]
    assert (code, found, body["watched"]) == (1, expected, watched)


async def test_rows_keep_their_writers_over_a_restart_and_what_came_meanwhile_has_none(stage: Stage) -> None:
    async with stage.place.companion() as sidecar:
        gateway = await stage.place.gateway(sidecar)
        stage.commit(gateway)
        assert (await stage.place.ask("verify", "s"))[0] == 0
        gateway.say(wire.Bye(seq=gateway.seq(), at=AT))
        await gateway.hang_up()
    stage.append()
    async with stage.place.companion() as sidecar:
        await verified(stage, [(4, 1, "inserted")], watched=True)
        gateway = await stage.place.gateway(sidecar)
        stage.commit(gateway)
        code, body = await stage.place.ask("custody", "s")
        assert code == 0
        assert writers(body) == [
            (0, 3, None, "none"),
            (3, 1, "cron digest", "bytes"),
            (4, 1, None, "none"),
            (5, 1, "cron digest", "bytes"),
        ]
        [gap] = body["gaps"]
        assert "sidecar" in gap["reason"]
        assert gap["to"]
        await gateway.hang_up()


EDIT = "UPDATE transcript_events SET event_json = '{}' WHERE seq = 1"


async def test_a_row_that_a_stranger_edits_in_a_window_is_named_with_its_process_and_when_the_turn_is_over(
    stage: Stage,
) -> None:
    async with stage.place.companion() as sidecar:
        gateway = await stage.place.gateway(sidecar)
        stage.fence(gateway)
        assert (await stage.place.ask("verify", "s"))[0] == 0
        with holding(str(stage.path), EDIT) as pid:
            await sidecar.wait_for(lambda status: status["incidents"].get("external") == 1)
        stage.commit(gateway)
        stage.fence(gateway)
        gateway.end()
        incident = await sidecar.closed_incident("s")
        assert (incident["verdict"], incident["evidence"], len(incident["pages"])) == ("external", "bytes", 1)
        assert [(u["offset"], u["length"], u["unit"], u["pid"]) for u in incident["unexplained"]] == [
            (1, 1, "rows", pid)
        ]
        await verified(stage, [(1, 1, "edited")], watched=True)
        await gateway.hang_up()


async def test_where_the_kernel_is_listened_to_it_names_who_wrote_to_the_database(stage: Stage) -> None:
    require_kernel_evidence(stage.place.root)
    async with stage.place.companion("--who", "kernel") as sidecar:
        gateway = await stage.place.gateway(sidecar)
        stage.fence(gateway)
        assert (await stage.place.ask("verify", "s"))[0] == 0
        await sidecar.wait_for(lambda status: status["kernel"]["settled"])
        stage.fence(gateway)
        stage.commit(gateway)
        assert writers((await stage.place.ask("custody", "s"))[1])[-1] == (3, 1, "cron digest", "kernel")
        with holding(str(stage.path), EDIT) as pid:
            pass  # it is gone before anybody looks
        await sidecar.wait_for(lambda status: status["incidents"].get("external") == 1)
        gateway.end()
        incident = await sidecar.closed_incident("s")
        assert (incident["verdict"], incident["evidence"]) == ("external", "kernel")
        [found] = incident["unexplained"]
        assert (found["offset"], found["pid"], found["processes"][0]["pid"]) == (1, pid, pid)
        await gateway.hang_up()


@pytest.mark.parametrize("loss", [Loss.OVERFLOW, Loss.KERNEL_OVERFLOW, Loss.SUSPENDED, Loss.GAP])
def test_lost_events_of_files_cost_no_custody_of_rows_and_lost_reports_do(loss: Loss) -> None:
    database = Database()
    database.begin()
    telemetry = Telemetry(core=database.engine, instance="test")

    def tell(event: ev.Event) -> None:
        database.engine.handle(event)

    losses = Losses(database.engine, tell, telemetry, lambda: 60)
    losses.lose(loss, Reason.of(ReasonCode.REPORTS_MISSING, count=1, pid=1))
    assert database.engine.custody_unknown() == int(loss in {Loss.SUSPENDED, Loss.GAP})
