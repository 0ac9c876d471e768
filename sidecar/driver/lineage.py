"""The history of a session after a recovery: are the records that were taken in on the path to the root?"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from sidecar.core import events as ev
from sidecar.core.custody.lineage import Record, off_path
from sidecar.core.decisions import CheckLineage
from sidecar.core.facts.rows import RowSnapshot, is_of_rows
from sidecar.driver.tasks import Tasks
from sidecar.driver.transcripts import TranscriptReader
from sidecar.watch.records import parse_records, read_lines

LONG_BYTES: Final = 1 << 20
"""A longer history is understood in a thread (18 ms for each megabyte)."""

log = structlog.get_logger("sidecar.driver")


class LineageCheck:
    """Reads histories as runs have left them, and tells what is missing."""

    def __init__(
        self, tell: Callable[[ev.Event], None], now_ns: Callable[[], int], transcripts: TranscriptReader
    ) -> None:
        """Nothing is read; ``tell`` gets a `sidecar.core.events.LineageChecked` for each check."""
        self._tell = tell
        self._transcripts = transcripts
        self._now_ns = now_ns
        self._tasks = Tasks()
        self._stopped = False

    def check(self, decision: CheckLineage) -> None:
        """The file is read now, as the run has left it. To understand a long one takes longer than others can wait."""
        if is_of_rows(decision.file):
            _ = self._tasks.spawn(self._check_rows(decision))
            return
        try:
            lines = read_lines(Path(decision.file))
        except OSError as error:
            log.warning("history_unreadable", file=decision.file, error=str(error))
            self._checked(decision, (), f"the history can't be read: {error.strerror or error}")
            return
        if self._stopped or sum(map(len, lines)) <= LONG_BYTES:
            self._checked(decision, _missing(lines, decision.records))
            return
        _ = self._tasks.spawn(self._check_long(decision, lines))

    async def _check_rows(self, decision: CheckLineage) -> None:
        reading = await self._transcripts.read(decision.file)
        if not isinstance(reading, RowSnapshot) or reading.rows is None:
            self._checked(decision, (), f"the history can't be read: {reading.problem or 'it is gone'}")
            return
        records = [Record(row.event_id, row.kind, row.parent_id) for row in reading.rows]
        self._checked(decision, off_path(records, decision.records))

    async def stop(self) -> None:
        """Wait for what is under way: a recovery without a look at its history has no outcome."""
        self._stopped = True
        await self._tasks.finish()

    async def _check_long(self, decision: CheckLineage, lines: list[bytes]) -> None:
        self._checked(decision, await asyncio.to_thread(_missing, lines, decision.records))

    def _checked(self, decision: CheckLineage, missing: tuple[str, ...], problem: str = "") -> None:
        self._tell(ev.LineageChecked(window=decision.window, missing=missing, problem=problem, at_ns=self._now_ns()))


def _missing(lines: list[bytes], wanted: tuple[str, ...]) -> tuple[str, ...]:
    return off_path(parse_records(lines)[0], wanted)
