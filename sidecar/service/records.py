"""Holds the records against their chain: when the sidecar starts, and now and then."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from sidecar.job import Job
from sidecar.status import Problem, RecordStatus
from sidecar.store.incidents import IncidentStore
from sidecar.store.verify import Finding, Verification

VERIFY_SECONDS: Final = 6 * 3600
"""From one look at all records to the next."""

PAUSE_SECONDS: Final = 0.01
"""After each step, which takes a few milliseconds: a gateway may be waiting, and nothing waits for this."""

MAX_LOGGED: Final = 20
"""Findings of one look that get a line each."""

log = structlog.get_logger("sidecar.records")


class RecordsCheck:
    """Looks at all records in the background. What it finds stops nothing: the sidecar goes on recording behind it."""

    def __init__(self, store: IncidentStore, now_ns: Callable[[], int]) -> None:
        """Nothing is looked at before `start`."""
        self._store = store
        self._now_ns = now_ns
        self._task: asyncio.Task[None] | None = None
        self._under_way: Verification | None = None
        self._verified_at_ns = 0
        self._findings: tuple[Finding, ...] = ()
        self._changed = 0
        self._error = ""
        self.jobs = (Job("records", VERIFY_SECONDS, self.verify),)

    def start(self) -> None:
        """Look for the first time, beside everything else."""
        self._task = asyncio.create_task(self.verify())

    async def stop(self) -> None:
        """Look no further."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def verify(self) -> None:
        """Look at everything once, a part at a time."""
        if self._under_way is not None:
            return
        try:
            # What this sidecar has saved is known here: a chain that was made anew meanwhile is another.
            with Verification(self._store.path, self._store.head) as self._under_way:
                for _ in self._under_way.steps():
                    await asyncio.sleep(PAUSE_SECONDS)
                self._done(self._under_way)
        except Exception as error:
            # Of a file that somebody else has written to anything may come, and none of it may go unsaid.
            self._error = str(error) or repr(error)
            log.exception("records_not_verified")
        finally:
            self._under_way = None

    def status(self) -> RecordStatus:
        """How they are, as far as has been looked."""
        looking = self._under_way
        return RecordStatus(
            head=str(self._store.head),
            verified_at_ns=self._verified_at_ns,
            changed=self._changed + self._store.found_changed,
            looked_at=looking.entries + looking.incidents if looking is not None else 0,
            to_look_at=looking.total if looking is not None else 0,
        )

    def problems(self) -> Iterable[Problem]:
        """What an operator should look at."""
        if changed := self._changed + self._store.found_changed:
            first = self._findings[0].what if self._findings else "a record that the sidecar was to change itself"
            yield Problem(
                code="records_changed",
                what=f"somebody else has changed the records of incidents, {changed} finding(s): {first}",
                remedy="keep a copy of the data directory and run `openclaw-sidecar audit verify`; what pages and log"
                " records said was there before, and --head tells which of them still fit",
            )
        if self._error:
            yield Problem(
                code="records_not_verified",
                what=f"the records could not be held against their chain: {self._error}",
                remedy="run `openclaw-sidecar audit verify`",
            )

    def _done(self, verification: Verification) -> None:
        self._error = ""
        self._verified_at_ns = self._now_ns()
        self._findings = tuple(verification.findings)
        self._changed = len(self._findings) + verification.more
        for finding in self._findings[:MAX_LOGGED]:
            log.error(
                "record_changed",
                kind=finding.kind.value,
                incident=finding.incident,
                entry=finding.entry,
                what=finding.what,
            )
        if not self._findings:
            log.info("records_verified", entries=verification.entries, head=str(verification.head))
