"""Delivers the pages that are due by the store: each to every destination, until it is taken or given up.

A commit that saves an incident makes its pages due; the pager is woken after it, and looks by itself each minute. What
is due, what was tried and which destination has taken it is in the store. So a restart goes on where the sidecar
stopped: no page is lost, whenever the sidecar is killed.

None is sent twice, as far as the destination allows. Where one has taken a page and the sidecar is killed before that
is on disk, nobody can know it, and the page is sent once more: twice is better than never. The same holds for a
destination that takes a page and does not say so.
"""

import asyncio
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import structlog

from sidecar.core.errors import SidecarError
from sidecar.job import Job
from sidecar.notify.destination import Destination
from sidecar.notify.errors import DeliveryError
from sidecar.notify.text import PageText, page_text
from sidecar.status import PageStatus, Problem
from sidecar.store.incidents import IncidentStore
from sidecar.store.stored import NewPage, PageKey

INTERVALS_SECONDS: Final = (10.0, 20.0, 40.0, 80.0, 160.0)
"""Waits between the attempts: six of them in a little over five minutes."""

STALE_NS: Final = 24 * 3600 * 1_000_000_000
"""A page that has waited so long, the sidecar down or without a destination, wakes nobody any more."""

TAKE_UP_SECONDS: Final = 60
"""How often pages that are due and that nobody delivers are taken up."""

STOP_SECONDS: Final = 10.0
"""How long the end waits for deliveries under way, so that their success is on record."""

log = structlog.get_logger("sidecar.notify")


@dataclass(slots=True)
class _Counts:
    sent: int = 0
    failed: int = 0
    failing: int = 0
    last_error: str = ""


class Pager:
    """Delivers the pages that are due by the store, while it is entered as a context manager."""

    def __init__(
        self,
        destinations: Sequence[Destination],
        store: IncidentStore,
        clock: Callable[[], int],
        *,
        intervals_seconds: Sequence[float] = INTERVALS_SECONDS,
        host: str = "",
        told: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        """Nothing is sent before the pager is entered.

        Args:
            destinations: Who is told; with none, pages stay due.
            store: Where the state of each page is kept.
            clock: The time in nanoseconds since the epoch.
            intervals_seconds: Waits between attempts; their number bounds the attempts.
            host: The machine's name in the text; empty for the one the system gives.
            told: Called with sent, retried or failed as an attempt ends, and covered for one that is not to be made.
        """
        self._destinations = tuple(destinations)
        self._store = store
        self._clock = clock
        self._intervals = tuple(intervals_seconds)
        self._host = host or platform.node() or "an unnamed host"
        self._stopping = asyncio.Event()
        self._tasks: dict[PageKey, asyncio.Task[None]] = {}
        self._due: set[PageKey] = set()
        self._unrecorded: set[tuple[PageKey, str]] = set()
        """Pages that a destination has taken while the store did not."""
        self._counts = _Counts()
        self._told = told

    @property
    def jobs(self) -> tuple[Job, ...]:
        """What is to be done now and then."""
        return (Job("due pages", TAKE_UP_SECONDS, self.take_up),)

    async def __aenter__(self) -> Self:
        """Take up the pages that were due when the sidecar stopped."""
        self.take_up()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Start no further attempt; wait a while for those under way, so that a success is on record."""
        self._stopping.set()
        tasks = list(self._tasks.values())
        if tasks:
            _done, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self, made: Iterable[NewPage]) -> None:
        """A commit made these due. They are taken up in the next turn of the loop, when answers are on their way."""
        for page in made:
            if page.covered_by:
                self._told("covered")
                log.info("page_covered", incident=page.key.incident_id, about=page.key.about.value, by=page.covered_by)
        asyncio.get_running_loop().call_soon(self._awake)

    def take_up(self) -> None:
        """Deliver what is due by the store and not being delivered.

        Raises:
            StoreError: The store does not say what is due.
        """
        for due in self._store.pending_pages():
            idle = due.key not in self._tasks and not self._stopping.is_set()
            if idle and (self._destinations or due.key not in self._due):
                self._take(due.key, due.page.due_at_ns, due.page.attempts)

    def status(self) -> PageStatus:
        """How the notifications are doing since the start."""
        return PageStatus(
            destinations=len(self._destinations),
            sent=self._counts.sent,
            failed=self._counts.failed,
            pending=len(self._due),
            last_error=self._counts.last_error,
        )

    def problems(self) -> tuple[Problem, ...]:
        """What an operator should mend."""
        problems = []
        if self._due and not self._destinations:
            what = f"{len(self._due)} page(s) are due and no notification URL is configured, so nobody is told"
            remedy = "give one with --notify URL (or notify in the --config file) and restart the sidecar"
            problems.append(Problem(code="page_not_configured", what=what, remedy=remedy))
        if self._counts.failed or self._counts.failing:
            what = (
                f"{self._counts.failed} page(s) were given up and {self._counts.failing} wait for a further attempt:"
                f" {self._counts.last_error}"
            )
            remedy = (
                "see that the destination is reachable and its notification URL is right;"
                " `openclaw-sidecar incidents` lists the pages"
            )
            problems.append(Problem(code="page_failed", what=what, remedy=remedy))
        return tuple(problems)

    def _awake(self) -> None:
        try:
            self.take_up()
        except SidecarError as error:  # the job takes them up in a minute
            log.warning("pages_not_taken_up", error=str(error))

    def _take(self, key: PageKey, due_at_ns: int, attempts: int) -> None:
        """Start to deliver."""
        if self._clock() - due_at_ns > STALE_NS:
            self._give_up(key, f"it was due for more than a day; attempts made: {attempts}")
            return
        self._due.add(key)
        if self._destinations and not self._stopping.is_set():
            self._tasks[key] = asyncio.create_task(self._deliver(key, attempts))

    async def _deliver(self, key: PageKey, attempts: int) -> None:
        """Try until it is taken, given up, or the sidecar stops."""
        failing = False
        try:
            # A restart grants one attempt even to a page that has used up its own.
            for wait_seconds in (*self._intervals[attempts:], None):
                error = await self._attempt(key)
                if error is None:
                    self._counts.sent += 1
                    self._told("sent")
                    self._due.discard(key)
                    log.info("page_sent", incident=key.incident_id, about=key.about.value)
                    return
                attempts += 1
                self._counts.last_error = error
                log.warning("page_attempt_failed", incident=key.incident_id, attempt=attempts, error=error)
                if not failing:
                    failing = True
                    self._counts.failing += 1
                if wait_seconds is not None:
                    self._told("retried")
                else:
                    self._give_up(key, f"given up after {attempts} attempts: {error}")
                    return
                if await self._stopped_within(wait_seconds):
                    return
        except Exception as error:
            # The store fails, or we do. The page stays due, and is taken up again.
            self._counts.last_error = str(error)
            log.exception("page_attempt_broken", incident=key.incident_id)
        finally:
            self._counts.failing -= int(failing)
            self._tasks.pop(key, None)

    async def _attempt(self, key: PageKey) -> str | None:
        """Tell every destination that has not been told. Returns what went wrong, or None."""
        stored = self._store.get(key.incident_id)
        if stored is None:
            return "the incident is not in the store"
        text = page_text(stored.incident, key.about, self._host, str(self._store.head))
        told = self._store.deliveries(key)
        missing = [d for d in self._destinations if d.key not in told]
        answers = await asyncio.gather(*(self._tell(key, d, text) for d in missing))
        errors = [answer for answer in answers if answer is not None]
        error = "; ".join(errors) if errors else None
        self._store.page_attempted(key, self._clock(), error)
        return error

    async def _tell(self, key: PageKey, destination: Destination, text: PageText) -> str | None:
        if (key, destination.key) not in self._unrecorded:
            try:
                await asyncio.to_thread(destination.send, text)
            except DeliveryError as error:
                return str(error)
            self._unrecorded.add((key, destination.key))
        self._store.page_delivered(key, destination.key, self._clock())
        self._unrecorded.discard((key, destination.key))
        return None

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    def _give_up(self, key: PageKey, error: str) -> None:
        covered = self._store.page_gave_up(key, self._clock(), error)
        self._due.discard(key)
        self._counts.failed += 1
        self._told("failed")
        self._counts.last_error = error
        log.error("page_given_up", incident=key.incident_id, about=key.about.value, error=error)
        for other in covered:  # nobody heard of these: each is tried by itself
            self._take(other, self._clock(), 0)
