"""All that one event leaves behind, on disk in one commit."""

from collections.abc import Callable, Iterable, Sequence
from typing import assert_never

from sidecar.core.decisions import KeepChains, KeepRecording, Record, SaveIncident
from sidecar.store.chains import ChainStore
from sidecar.store.incidents import IncidentStore
from sidecar.store.recordings import put_recording
from sidecar.store.stored import NewPage


class RecordStore:
    """Incidents with their pages, recoveries that count, recordings and chains of custody."""

    def __init__(
        self, incidents: IncidentStore, chains: ChainStore, pages_due: Callable[[Sequence[NewPage]], None]
    ) -> None:
        """Use the open stores; ``pages_due`` is called after each commit that made pages due."""
        self._incidents = incidents
        self._chains = chains
        self._pages_due = pages_due

    def commit(self, records: Iterable[Record]) -> None:
        """Put all of it on disk.

        Raises:
            StoreError: Nothing of it is on disk.
        """
        due: list[NewPage] = []
        with self._incidents.writing() as database:
            for record in records:
                match record:
                    case SaveIncident():
                        due += self._incidents.put(database, record.incident, record.spent_at_ns)
                    case KeepChains():
                        self._chains.put(database, *record.chains)
                    case KeepRecording():
                        put_recording(database, record.incident, record.recording)
                    case _:
                        assert_never(record)
        if due:
            self._pages_due(due)
