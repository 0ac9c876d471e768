"""The real gateway as a stage for the demonstration."""

from pathlib import Path

from sidecar.demo.gateway import TurnResult
from sidecar.demo.rig import Rig
from sidecar.demo.scenes import Played
from sidecar.demo.sessionfile import append_as_stranger, lost_records

ANSWER = "All quiet."


class RealStage:
    """Plays on a running gateway from npm."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    async def cotenant(self, session_key: str) -> Played:
        """A cron job's note is injected while the model thinks."""
        await self._rig.say(session_key)
        async with self._rig.window(session_key) as window:
            await self._rig.client.chat_inject(session_key, "The backup has run.", "cron")
            return _played(await window.close(ANSWER), window.session_file)

    async def foreign(self, session_key: str) -> Played:
        """Another process appends a user's message while the model thinks."""
        await self._rig.say(session_key)
        async with self._rig.window(session_key) as window:
            await append_as_stranger(window.session_file)
            return _played(await window.close(ANSWER), window.session_file)


def _played(turn: TurnResult, session_file: Path) -> Played:
    return Played(turn.answered, session_file.name, lost_records(session_file))
