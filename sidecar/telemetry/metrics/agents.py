"""The label `agent`: the agents that own session files, as many as a label may have."""

import re
from threading import Lock
from typing import Final

from sidecar.telemetry.names.labels import NONE, OTHER

MAX_AGENTS: Final = 32
"""Agents with a value of their own; all further ones share ``other``."""

_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)


class Agents:
    """Knows the agents that were seen."""

    def __init__(self, limit: int = MAX_AGENTS) -> None:
        self._limit = limit
        self._known: set[str] = set()
        self._lock = Lock()

    def of(self, file: str) -> str:
        """The agent of a session file, ``<state>/agents/<agent>/sessions/<id>.jsonl``; ``none`` for another path."""
        match file.split("/")[-4:]:
            case ["agents", agent, "sessions", _]:
                pass
            case _:
                return NONE
        if agent in self._known:
            return agent
        with self._lock:
            if len(self._known) >= self._limit or not _ID.fullmatch(agent):
                return OTHER
            self._known.add(agent)
        return agent
