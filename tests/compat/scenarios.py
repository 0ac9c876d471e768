"""What happens to a session file while a run's fence is set, and what must come of it."""

import csv
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

RELEASES: Final = (
    "2026.5.18",
    "2026.5.19",
    "2026.5.20",
    "2026.5.22",
    "2026.5.26",
    "2026.5.27",
    "2026.5.28",
    "2026.6.1",
    "2026.6.5",
    "2026.6.6",
    "2026.6.8",
    "2026.6.9",
    "2026.6.10",
    "2026.6.11",
    "2026.6.33",
    "2026.6.34",
    "2026.6.35",
    "2026.7.1",
    "2026.7.1-1",
    "2026.7.1-2",
    "2026.7.33",
    "2026.7.34",
    "2026.7.35",
)
"""The stable releases whose fence is on a file."""


class Writer(StrEnum):
    """Who makes the change."""

    COTENANT = "cotenant"
    """The gateway's process, under the session lock, outside the run."""
    DECLARED = "declared"
    """A process of its own that writes as `openclaw-sidecar write` does; see declared.py."""
    FOREIGN = "foreign"
    """A process of its own, with no lock and no preload."""
    OWN = "own"
    """The run itself."""


class Change(StrEnum):
    """The columns of the table in issue 3."""

    NONE = "none"
    APPEND = "append"
    SAME = "same bytes"
    REWRITE = "rewrite"
    REMOVE = "deleted"
    LOCK_TIMEOUT = "lock timeout"


class Twice(StrEnum):
    """A check of the fence under which nothing is written, ahead of the run's next write."""

    NO = ""
    """There is none."""
    CHECK = "check"
    """There is one, after the change."""
    AGAIN = "again"
    """There is one, and the change is made again after it."""


ALL: Final = (Writer.COTENANT, Writer.DECLARED, Writer.FOREIGN)
UNDECLARED: Final = (Writer.COTENANT, Writer.FOREIGN)
DECLARED: Final = (Writer.DECLARED,)
COTENANT: Final = (Writer.COTENANT,)
OWN: Final = (Writer.OWN,)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the fence matrix.

    Attributes:
        name: As in the matrix.
        operation: As in harness/operations.mjs and harness/gateway.mjs.
        change: What kind of change it is.
        writers: Who makes it, each once.
        timeout_ms: How long the run waits for the lock; None for long.
        twice: Whether the run checks its fence before it writes, too.
        first: The session begins with this run: nothing is saved before its first answer.
        in_matrix: The fence matrix has it; else it is from here.
        branches: The writer itself leaves records behind and goes on from a branch of the history.
        overlapping: The writer still holds the session lock, and has written nothing, when the run comes back.
    """

    name: str
    operation: str
    change: Change
    writers: tuple[Writer, ...] = ALL
    timeout_ms: int | None = None
    twice: Twice = Twice.NO
    first: bool = False
    in_matrix: bool = True
    branches: bool = False
    overlapping: bool = False


SCENARIOS: Final = (
    Scenario("control: no change", "nothing", Change.NONE, COTENANT),
    Scenario("append user msg (heartbeat/cron/channel, other process or unpublished)", "user", Change.APPEND),
    Scenario("append real assistant msg", "assistant", Change.APPEND),
    Scenario("append toolResult msg", "toolResult", Change.APPEND),
    Scenario("append delivery-mirror", "mirror", Change.APPEND),
    Scenario("append gateway-injected", "injected", Change.APPEND),
    Scenario("append side mirror + leaf(side)", "side", Change.APPEND),
    Scenario("append custom", "custom", Change.APPEND),
    Scenario("append label", "label", Change.APPEND),
    Scenario("append session_info", "sessionInfo", Change.APPEND),
    Scenario("append model_change", "modelChange", Change.APPEND),
    Scenario("append thinking_level_change", "thinkingLevel", Change.APPEND),
    Scenario("append compaction entry (foreign)", "compaction", Change.APPEND),
    Scenario("touch mtime (same bytes)", "touch", Change.SAME),
    Scenario("chmod: ctime only", "chmod", Change.SAME),
    Scenario("hard link (Drive-style)", "hardLink", Change.SAME),
    Scenario("same-size rewrite in place, same bytes", "rewrite", Change.SAME),
    Scenario("tmp+rename, same bytes (new inode)", "replaceSame", Change.SAME),
    Scenario("tmp+rename + mirror appended (new inode)", "replaceAndMirror", Change.REWRITE),
    Scenario("compaction-style shrink rewrite", "shrink", Change.REWRITE),
    Scenario("file deleted (archived/reset)", "remove", Change.REMOVE),
    Scenario(
        "same-process 2nd controller appends user msg (unpublished)", "secondUnpublished", Change.APPEND, COTENANT
    ),
    Scenario("same-process 2nd controller appends user msg (published)", "secondPublished", Change.APPEND, COTENANT),
    Scenario("own locked write that then throws", "lockedThrows", Change.APPEND, OWN),
    Scenario("own unlocked write + onMessagePersisted refresh (if any)", "unlocked", Change.APPEND, OWN),
    Scenario("own compaction record outside the lock", "ownCompaction", Change.APPEND, OWN, in_matrix=False),
    Scenario("own metadata records outside the lock", "ownMetadata", Change.APPEND, OWN, in_matrix=False),
    Scenario("own tool results truncated", "ownTruncation", Change.APPEND, OWN, in_matrix=False, branches=True),
    Scenario("own delivery mirrored", "ownMirror", Change.APPEND, OWN, in_matrix=False),
    Scenario("one lock timeout, then retry", "lockTimeout", Change.LOCK_TIMEOUT, UNDECLARED, timeout_ms=150),
    Scenario(
        "lock timeout while a user msg is written",
        "lockTimeoutAndWrite",
        Change.LOCK_TIMEOUT,
        COTENANT,
        timeout_ms=150,
        in_matrix=False,
    ),
    Scenario("user msg, check, user msg", "user", Change.APPEND, COTENANT, twice=Twice.AGAIN, in_matrix=False),
    Scenario("user msg by the release's own append", "transcript", Change.APPEND, COTENANT, in_matrix=False),
    Scenario("mirror by the release's own append", "transcriptMirror", Change.APPEND, COTENANT, in_matrix=False),
    Scenario(
        "first turn, user msg by the own append", "transcript", Change.APPEND, COTENANT, first=True, in_matrix=False
    ),
    Scenario("user msg, as the run comes back", "user", Change.APPEND, DECLARED, in_matrix=False, overlapping=True),
    Scenario("after a trip: 2nd call / cleanup", "user", Change.APPEND, ALL, twice=Twice.CHECK),
)

BY_NAME: Final = {scenario.name: scenario for scenario in SCENARIOS}


def stock_matrix() -> dict[str, dict[str, str]]:
    """What each release's fence was measured to do by itself, by release and scenario.

    Raises:
        KeyError: A release stands in no column.
    """
    with Path(__file__).with_name("fence-matrix.tsv").open(newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    columns = {name: index for index, names in enumerate(header) if index for name in names.split(", ")}
    # Releases that the matrix does not name, with the one of the same generation that it does.
    for version, like in {
        "2026.6.33": "2026.6.35",
        "2026.6.34": "2026.6.35",
        "2026.7.1-1": "2026.7.1",
        "2026.7.33": "2026.7.35",
        "2026.7.34": "2026.7.35",
    }.items():
        columns.setdefault(version, columns[like])
    return {version: {row[0]: row[columns[version]] for row in rows} for version in RELEASES}
