"""A sidecar that is killed with -9, for real."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sidecar.store.errors import StoreInUseError
from sidecar.store.incidents import IncidentStore
from sidecar.store.reader import IncidentReader
from sidecar.store.verify import Verification
from tests.store.samples import Clock

ROOT = Path(__file__).parents[2]
SAVE_FOR_EVER = textwrap.dedent(
    """
    import itertools, sys, time
    from pathlib import Path
    from sidecar.core.verdict.incident import Outcome, Recovery
    from sidecar.store.incidents import IncidentStore
    from tests.store.samples import foreign, save_incident

    store = IncidentStore(Path(sys.argv[1]), time.time_ns)
    for number in itertools.count():
        name = f"i{number}"
        approved = Recovery(Outcome.APPROVED)
        save_incident(store, foreign(name, session_file=f"/s/{name}.jsonl", closed_at_ns=0, recovery=approved))
        print(name, flush=True)
    """
)


def saver(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SAVE_FOR_EVER, str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("count", [1, 25, 120])
def test_every_save_that_returned_is_there_after_kill_9(path: Path, clock: Clock, count: int) -> None:
    with saver(path) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(count)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().split()
    assert process.returncode == -signal.SIGKILL

    with IncidentReader(path) as reader:
        assert {s.incident.incident_id for s in reader.find(limit=10_000)} >= set(told)
    with IncidentStore(path, clock) as store:
        found = {s.incident.incident_id: s for s in store.find(limit=10_000)}
        assert found.keys() >= set(told)
        assert len(found) <= len(told) + 1
        assert store.left_open == len(found)
        assert {s.incident.closed_at_ns for s in found.values()} == {clock.now_ns}
        assert {s.key.incident_id for s in store.pending_pages()} == found.keys()
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
    verification = Verification(path)
    verification.run()
    verification.close()
    assert verification.findings == []
    assert verification.incidents == len(found)


def test_a_store_that_is_in_use_is_refused_and_free_after_kill_9(path: Path, clock: Clock) -> None:
    with saver(path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(StoreInUseError, match="another sidecar"):
            IncidentStore(path, clock)
        process.send_signal(signal.SIGKILL)
        process.stdout.read()
    IncidentStore(path, clock).close()
