"""A real gateway together with a real sidecar and the person who is paged."""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from sidecar.demo.companion import Companion
from sidecar.demo.pager import Page, PageReceiver
from sidecar.demo.rig import Rig

_POLL_SECONDS: Final = 0.02


class Guard:
    """Starts a sidecar beside a rig and asks it questions.

    Args:
        rig: The gateway and its model; running.
        pager: Who is paged; running.
        work_dir: Gets the sidecar's files; must stay the same for the sidecar to find its store again.
        socket: Where the rig's preload looks for a sidecar.
        options: More options for ``run``.

    Attributes:
        rig: The gateway.
        pager: The person.
        sidecar: The sidecar.
    """

    def __init__(
        self, rig: Rig, pager: PageReceiver, work_dir: Path, socket: Path, options: Sequence[str] = ()
    ) -> None:
        self.rig = rig
        self.pager = pager
        self._pages_before = 0
        self.sidecar = Companion(rig.gateway.state_dir, work_dir, socket, ("--notify", pager.url, *options))

    async def start(self, *, linked: bool = True) -> None:
        """Start the sidecar, and wait until the gateway is linked if it has the preload."""
        await self.sidecar.start()
        if linked:
            await self.sidecar.wait_linked(self.rig.gateway.pid)

    def begin(self) -> None:
        """Pages that came until now are none of what follows."""
        self._pages_before = len(self.pager.pages)

    @property
    def pages(self) -> list[Page]:
        """The pages since `begin`."""
        return self.pager.pages[self._pages_before :]

    async def next_page(self, timeout_seconds: float = 60.0) -> Page:
        """Wait for the first page since `begin`.

        Raises:
            TimeoutError: None came in time.
        """
        async with asyncio.timeout(timeout_seconds):
            while not self.pages:
                await self.pager.next_page(timeout_seconds)
        return self.pages[0]

    async def ensure_running(self) -> None:
        """Start the sidecar again if something has ended it."""
        if not self.sidecar.pid:
            await self.start()

    async def stop(self) -> None:
        """Stop the sidecar in order."""
        await self.sidecar.stop()

    async def restart(self) -> None:
        """Start it again with the same store, and wait for the link."""
        await self.sidecar.stop()
        await self.start()

    async def knows_custody(self) -> None:
        """Wait until a window is open and custody of its file is known: for a new sidecar, that takes a reading."""
        await self.sidecar.wait_for(lambda status: status["windows"] > 0 and not status["custody_unknown"])

    async def incident(
        self, incident_id: str, what: Callable[[dict[str, Any]], bool], timeout_seconds: float = 60.0
    ) -> dict[str, Any]:
        """Wait until an incident satisfies a condition, and return it.

        Raises:
            TimeoutError: It does not in time.
        """
        async with asyncio.timeout(timeout_seconds):
            while True:
                found = [i for i in await self.sidecar.incidents() if i["id"] == incident_id]
                if found and what(found[0]):
                    return found[0]
                await asyncio.sleep(_POLL_SECONDS)

    async def closed_incident(self, session_file: Path, *besides: str) -> dict[str, Any]:
        """Wait until the newest incident of a session has ended, and return it.

        Args:
            session_file: The session's.
            besides: The ids of its earlier incidents.

        Raises:
            TimeoutError: There is none, or it does not end in time.
        """
        return await self.sidecar.closed_incident(session_file.name, besides=besides)

    def open_for_writing(self, directory: Path) -> list[str]:
        """The files below a directory that the sidecar has open for writing now."""
        found = []
        for entry in Path(f"/proc/{self.sidecar.pid}/fd").iterdir():
            try:
                target = entry.readlink()
                details = Path(f"/proc/{self.sidecar.pid}/fdinfo/{entry.name}").read_text(encoding="ascii")
            except FileNotFoundError:
                continue  # closed meanwhile
            access = int(details.split("flags:")[1].split()[0], 8)
            if target.is_relative_to(directory) and access & (os.O_WRONLY | os.O_RDWR):
                found.append(str(target))
        return found


def guarded(
    runner: asyncio.Runner, rig: Rig, pager: PageReceiver, work_dir: Path, *options: str, linked: bool = True
) -> Iterator[Guard]:
    """A running sidecar beside a rig, stopped behind the ``yield``: the body of a fixture."""
    socket = Path(rig.env.get("OPENCLAW_SIDECAR_SOCKET", rig.work_dir / "sidecar.sock"))
    guard = Guard(rig, pager, work_dir, socket, options)
    runner.run(guard.start(linked=linked))
    guard.begin()
    try:
        yield guard
    finally:
        runner.run(guard.stop())
