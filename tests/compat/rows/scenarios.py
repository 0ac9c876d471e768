"""What happens to a transcript in a database while a run stands on it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

RELEASES: Final = (
    "2026.8.1",
    "2026.8.2",
    "2026.9.1",
    "2026.9.2",
    "2026.9.3",
    "2026.9.4",
    "2026.9.5",
    "2026.9.6",
)
"""The stable releases whose sessions are rows of a database."""


class Kind(StrEnum):
    """What a change is to the sidecar, and so what must come of it."""

    NOTHING = "nothing"
    """No row changes, and nobody takes the session."""
    KNOWN = "known"
    """Rows that a run may answer behind: notes, mirrors, typed commands with their replies."""
    UNANSWERED = "unanswered"
    """Input that looks answered when a run's answer comes behind it."""
    FOREIGN = "foreign"
    """Rows of a process without a link."""
    SEIZED = "seized"
    """A process without a link changes who may write; no row changes."""
    HELD = "held"
    """A process without a link holds the write lock."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One column.

    Attributes:
        name: Its heading.
        kind: What it is.
        operation: As in harness/gateway.mjs, or in strangers.py for a foreign process.
        tool: The change comes while a tool runs; the run's next row is the tool's result.
        held_seconds: For how long the write lock is held from the moment that the run comes to write.
    """

    name: str
    kind: Kind
    operation: str
    tool: bool = False
    held_seconds: float = 0.0

    @property
    def foreign(self) -> bool:
        """A process without a link makes the change."""
        return self.kind in {Kind.FOREIGN, Kind.SEIZED, Kind.HELD}


GATEWAY: Final = (
    Scenario("control: no change", Kind.NOTHING, "nothing"),
    Scenario("injected note", Kind.KNOWN, "note"),
    Scenario("delivery mirror", Kind.KNOWN, "mirror"),
    Scenario("answer of another run", Kind.KNOWN, "answer"),
    Scenario("compaction", Kind.KNOWN, "compaction"),
    Scenario("typed command", Kind.KNOWN, "command"),
    Scenario("typed command while a tool runs", Kind.KNOWN, "command", tool=True),
    Scenario("five typed commands", Kind.KNOWN, "commands"),
    Scenario("command that is no context", Kind.KNOWN, "contextFree"),
    Scenario("user message", Kind.UNANSWERED, "input"),
)
"""Made in the gateway's process."""

STRANGER: Final = (
    Scenario("user row", Kind.FOREIGN, "user"),
    Scenario("assistant row", Kind.FOREIGN, "assistant"),
    Scenario("row without identity", Kind.FOREIGN, "nameless"),
    Scenario("old row rewritten", Kind.FOREIGN, "rewrite"),
    Scenario("the run's own row deleted", Kind.FOREIGN, "delete_last"),
    Scenario("all rows deleted", Kind.FOREIGN, "delete_all"),
    Scenario("generation changed", Kind.FOREIGN, "generation"),
    Scenario("claim changed", Kind.SEIZED, "claim"),
    Scenario("write lock held 3 s", Kind.HELD, "nothing", held_seconds=3.0),
    Scenario("write lock held 7 s", Kind.HELD, "nothing", held_seconds=7.0),
)
"""Made by a process without a link."""

SCENARIOS: Final = GATEWAY + STRANGER
