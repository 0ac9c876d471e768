"""Reads a session file so that all reports about the bytes that were read are in."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from sidecar.core.facts.rows import is_of_rows
from sidecar.core.facts.version import Reading
from sidecar.driver.ports import Link, Links, Trust
from sidecar.driver.transcripts import TranscriptReader, without_contents

PATIENT_SECONDS: Final = 1.0
"""How long a look that nobody waits for may wait for links in all."""

ROWS_PATIENT_SECONDS: Final = 8.0
"""The same where sessions are rows: a gateway that waits for its database stands still, 5 s each time."""

DOUBTED_SECONDS: Final = 0.25
"""How long it waits for a link that is not believed."""

_TRIES: Final = 3

log = structlog.get_logger("sidecar.driver")


class SyncedReads:
    """Readings of session files that a verdict may rest on (query synchronisation).

    The bytes and the reports about them come over different ways. So a look reads the file, has every link report what
    it has done, and looks whether the file still is the same. What `look` returns as heard, and `settle` passes on:

    1. The snapshot is what the file was at one moment, between two equal fingerprints.
    2. Every report of what was done to the file until that moment has been taken in.
    3. No report of anything later has been taken in that the snapshot does not show.
    4. What the watch and the kernel had to say by then has been taken in, too.
    5. It ends in bounded time. A link that does not report in time costs the second guarantee, and that is returned; a
       file that does not hold still costs the content.
    6. A link that is not believed costs nothing: no question waits for it, and a look that nobody waits for gives it a
       moment only where nobody else has a window on the file.

    At most one look that nobody waits for is under way for each file.
    """

    def __init__(
        self,
        links: Links,
        drain: Callable[[], None],
        seen: Callable[[str, Reading], None],
        transcripts: TranscriptReader,
        trust: Trust,
    ) -> None:
        """No look is under way. ``drain`` takes in what the watch has to say so far.

        ``seen`` is told of the file after a look that `settle` asked for, if every link answered and it could be read.
        """
        self._links = links
        self._transcripts = transcripts
        self._drain = drain
        self._seen = seen
        self._trust = trust
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    def now(self, file: str) -> Reading:
        """Read the file, and wait for nobody."""
        self._drain()
        return self._transcripts.now(file)

    def others(self, asking: str) -> list[Link]:
        """The links but this one whose reports a verdict may rest on."""
        return [link for link in self._links.open_sessions() if link.name != asking and self._trust.believes(link.name)]

    async def look(self, file: str, asking: str, bound_seconds: float) -> tuple[Reading, bool]:
        """Read the file and hear every link but the asking one, whose reports are all in already; empty for none.

        Returns:
            The snapshot, true at the moment of the return, and whether every link answered in time. A file that keeps
            changing gives the last snapshot with a problem instead of content.
        """
        self._drain()
        snapshot = await self._transcripts.read(file)
        heard = True
        until = asyncio.get_running_loop().time() + bound_seconds
        for _ in range(_TRIES):
            others, alone = self.others(asking), [] if asking else self._alone(file)
            if not others and not alone:
                return snapshot, True
            left = max(0.0, until - asyncio.get_running_loop().time())
            doubted = asyncio.gather(*(link.sync(min(left, DOUBTED_SECONDS)) for link in alone))
            heard = all(await asyncio.gather(*(link.sync(left) for link in others)))
            await doubted
            self._drain()
            if self._transcripts.version(file) == snapshot.version:
                return snapshot, heard
            snapshot = await self._transcripts.read(file)
        return without_contents(snapshot, "it kept changing while it was looked at"), heard

    async def patient(self, file: str) -> tuple[Reading, bool]:
        """A look that nobody waits for; returns as `look`."""
        return await self.look(file, "", ROWS_PATIENT_SECONDS if is_of_rows(file) else PATIENT_SECONDS)

    def _alone(self, file: str) -> list[Link]:
        """Links that are not believed and alone have a window on the file: whether they answer makes no difference."""
        return [link for link in self._links.open_sessions() if self._trust.is_alone(link.name, file)]

    def settle(self, file: str) -> None:
        """Look when all reports about the file are in. One look at a time; a request meanwhile causes one more."""
        if file in self._under_way:
            self._again.add(file)
            return
        task = asyncio.create_task(self._settle(file))
        self._under_way[file] = task
        task.add_done_callback(lambda _done: self._done(file))

    def at(self, files: set[str]) -> set[asyncio.Task[None]]:
        """The looks at these files that are under way."""
        return {look for file, look in self._under_way.items() if file in files and not look.done()}

    async def stop(self) -> None:
        """End what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _settle(self, file: str) -> None:
        snapshot, heard = await self.patient(file)
        if heard and not snapshot.problem:
            self._seen(file, snapshot)

    def _done(self, file: str) -> None:
        task = self._under_way.pop(file, None)
        if task is not None and not task.cancelled() and task.exception() is not None:
            log.error("look_failed", file=file, exc_info=task.exception())
        if file in self._again:
            self._again.discard(file)
            if task is None or not task.cancelled():
                self.settle(file)
