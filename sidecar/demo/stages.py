"""The real gateway as a stage for the demonstration."""

import asyncio
from typing import Any, Final

from sidecar.demo.companion import Companion
from sidecar.demo.rig import Rig
from sidecar.demo.scenes import Played, Stage
from sidecar.demo.sessionfile import append_as_stranger, lost_records
from sidecar.demo.sessionrows import SessionRows
from sidecar.demo.window import OpenWindow

ANSWER: Final = "All quiet."
COMMAND: Final = "/help"
_POLL_SECONDS: Final = 0.05
_DECIDED_SECONDS: Final = 30.0


def real_stage(rig: Rig, sidecar: Companion | None = None) -> Stage:
    """A running gateway from npm, with the sidecar beside it or without one."""
    return RowStage(rig, sidecar) if rig.package.keeps_rows else FileStage(rig)


class FileStage:
    """Plays on a gateway whose sessions are files."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    async def cotenant(self, session_key: str) -> Played:
        """A cron job's note is injected while the model thinks."""
        await self._rig.say(session_key)
        async with self._rig.window(session_key) as window:
            await self._rig.client.chat_inject(session_key, "The backup has run.", "cron")
            return await self._played(window)

    async def foreign(self, session_key: str) -> Played:
        """Another process appends a user's message while the model thinks."""
        await self._rig.say(session_key)
        async with self._rig.window(session_key) as window:
            await append_as_stranger(window.session_file)
            return await self._played(window)

    async def _played(self, window: OpenWindow) -> Played:
        turn = await window.close(ANSWER)
        return Played(turn.answered, window.session_file.name, lost_records(window.session_file))


class RowStage:
    """Plays on a gateway whose sessions are rows of a database."""

    def __init__(self, rig: Rig, sidecar: Companion | None) -> None:
        self._rig = rig
        self._sidecar = sidecar

    async def cotenant(self, session_key: str) -> Played:
        """A person types a command while the model thinks."""
        await self._rig.say(session_key)
        rows = self._rows(session_key)
        async with self._rig.window(session_key) as window:
            await self._rig.client.chat_end(await self._rig.client.chat_send(session_key, COMMAND))
            await self._decided(rows)
            await self._rig.client.chat_history(session_key)  # what was sent to the gateway has been read by then
            return await self._played(window, rows)

    async def foreign(self, session_key: str) -> Played:
        """Another process adds a user's message while the model thinks."""
        await self._rig.say(session_key)
        rows = self._rows(session_key)
        async with self._rig.window(session_key) as window:
            await rows.insert_as_stranger()
            await self._decided(rows)
            return await self._played(window, rows)

    def _rows(self, session_key: str) -> SessionRows:
        return SessionRows(self._rig.gateway.database(session_key), session_key)

    async def _decided(self, rows: SessionRows) -> None:
        """Wait for what a model's call leaves the time for: the sidecar has met the change.

        Raises:
            TimeoutError: It has not in time.
        """
        if self._sidecar is None:
            return
        async with asyncio.timeout(_DECIDED_SECONDS):
            while not any(map(_is_decided, await self._sidecar.incidents(rows.transcript))):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(_POLL_SECONDS)

    async def _played(self, window: OpenWindow, rows: SessionRows) -> Played:
        turn = await window.close(ANSWER)
        return Played(turn.answered, rows.transcript, rows.lost_messages())


def _is_decided(incident: dict[str, Any]) -> bool:
    """An unfinished exchange is refused until its reply has come."""
    return bool(incident["verdict"] == "external" or incident["recovery"]["outcome"] == "approved")
