"""What it costs to have an intent on disk before an action (rule 6)."""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sidecar.core.decisions import SaveIncident
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Gateway, Run
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import replace
from sidecar.core.verdict.incident import Incident, incident_id
from sidecar.core.verdict.judge import Verdict
from sidecar.store.chains import ChainStore
from sidecar.store.incidents import IncidentStore
from sidecar.store.records import RecordStore

ROUNDS: Final = 200


def measure_store() -> Iterator[dict[str, Any]]:
    """Median time of one committed save, next to one fsync of a plain file of the same directory."""
    with tempfile.TemporaryDirectory() as directory:
        store = IncidentStore(Path(directory) / "data" / "sidecar.db", time.time_ns)
        chains = ChainStore(store)
        records = RecordStore(store, chains, lambda _pages: None)
        plain = os.open(Path(directory) / "plain", os.O_WRONLY | os.O_CREAT)
        incident = Incident(
            incident_id=incident_id(0, "w", "f"),
            session_file="f",
            opened_at_ns=0,
            verdict=Verdict.CO_TENANT,
            grade=Grade.BYTES,
            reason=Reason(ReasonCode.EVERY_BYTE_OWN),
            fence=Fingerprint.absent(),
            current=Fingerprint.absent(),
            run=Run(),
            gateway=Gateway(link="", pid=0),
        )
        saves, syncs = [], []
        for number in range(ROUNDS):
            started = time.perf_counter()
            os.write(plain, b"x" * 1000)
            os.fsync(plain)
            between = time.perf_counter()
            records.commit([SaveIncident(incident=replace(incident, incident_id=str(number)))])
            saves.append((time.perf_counter() - between) * 1000)
            syncs.append((between - started) * 1000)
        os.close(plain)
        chains.close()
        store.close()
    save, sync = statistics.median(saves), statistics.median(syncs)
    p99 = sorted(saves)[int(len(saves) * 0.99)]
    yield {
        "fsync_ms": round(sync, 2),
        "save_ms": round(save, 2),
        "save_p99_ms": round(p99, 2),
        "ratio": round(save / sync, 2),
    }
