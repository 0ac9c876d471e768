"""A transcript whose records are rows of a database: one row, a version, a reading, and a reported change.

The id of such a transcript is the path of its database, ``#`` and the id of its session.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Final, Protocol, TypeVar

from sidecar.core.errors import FingerprintError
from sidecar.core.facts.change import Operation
from sidecar.core.facts.value import Value, replace
from sidecar.core.facts.writer import Writer

T = TypeVar("T")

_ABSENT_TEXT: Final = "absent"
_TEXT: Final = re.compile(r"rows:([^:\n]{0,80}):([0-9]{1,15}):([0-9a-f]{64})")
_DATABASE: Final = ".sqlite#"
"""Ends the path of a database, ahead of the id of a session."""


class RowVersion(Value, frozen=True, tag="rows"):
    """Which state of a transcript: its generation and its last row.

    Attributes:
        exists: False where the session has no row; every other field is then empty.
        generation: The gateway gives a new one with each rewrite and removal of its own.
        seq: Place of the last row; places begin at 0.
        digest: Digest of the last row, see `Row`.
    """

    exists: bool
    generation: str = ""
    seq: int = -1
    digest: str = ""

    @staticmethod
    def absent() -> "RowVersion":
        """The version of a session without rows."""
        return _ABSENT

    @staticmethod
    @lru_cache(maxsize=1024)
    def parse(text: str) -> "RowVersion":
        """Read the wire form: ``absent`` or ``rows:GENERATION:SEQ:DIGEST``.

        Raises:
            FingerprintError: The text has another form.
        """
        if text == _ABSENT_TEXT:
            return _ABSENT
        found = _TEXT.fullmatch(text)
        if found is None:
            raise FingerprintError(text)
        return RowVersion(exists=True, generation=found[1], seq=int(found[2]), digest=found[3])

    def encode(self) -> str:
        """The wire form, the inverse of `parse`."""
        return f"rows:{self.generation}:{self.seq}:{self.digest}" if self.exists else _ABSENT_TEXT

    @property
    def size(self) -> int:
        """How many rows there are: their places have no gaps."""
        return self.seq + 1


_ABSENT: Final = RowVersion(exists=False)


class Row(Value, frozen=True):
    """One row, without its text.

    Attributes:
        seq: Its place in the transcript.
        digest: SHA-256, in hexadecimal, of all that is stored of it; the preload and the reader make the same one.
        size: Bytes of the stored record.
        event_id: Its id; empty when it has none.
        parent_id: The row that it follows; empty for a root.
        kind: The type of its record, such as ``message``.
        role: Who speaks in a message; empty where that was not reported.
        injected: The gateway wrote it itself, as it answers commands and keeps notes.
        key: A digest of its idempotency key, the same for a user's input and the gateway's reply; empty without one.
    """

    seq: int
    digest: str
    size: int = 0
    event_id: str = ""
    parent_id: str = ""
    kind: str = ""
    role: str = ""
    injected: bool = False
    key: str = ""


class RowSnapshot(Value, frozen=True, tag="rows"):
    """A transcript as it was read: the version was the same before and after.

    Attributes:
        version: Which state was read.
        rows: Its rows, in order; None when they could not be read.
        uid: Owner of the database; -1 when there is none.
        problem: Why there are no rows; empty when there are, or when the session has none.
        shared: So many rows at the begin are those of the reading before, and left out here; in recordings only.
    """

    version: RowVersion
    rows: tuple[Row, ...] | None = None
    uid: int = -1
    problem: str = ""
    shared: int = 0

    def without(self, before: Sequence[Row]) -> "RowSnapshot":
        """The reading without the rows at its begin that are those of an earlier one."""
        if not self.rows:
            return self
        same = takewhile(lambda pair: pair[0] == pair[1], zip(before, self.rows, strict=False))
        shared = sum(1 for _pair in same)
        return replace(self, rows=self.rows[shared:], shared=shared)

    def behind(self, before: Sequence[Row]) -> "RowSnapshot":
        """The inverse of `without`."""
        if not self.shared:
            return self
        return replace(self, rows=(*before[: self.shared], *(self.rows or ())), shared=0)


class RowChange(Value, frozen=True, tag="rows"):
    """What one committed transaction did to one transcript.

    Attributes:
        change_id: Unique on its link.
        operation: ``APPEND`` where it added rows and did nothing else, ``REMOVE`` where it left none, else ``REWRITE``.
        writer: Who did it.
        at_ns: When it was reported, the gateway's clock, nanoseconds since the epoch.
        after: The version that it left.
        rows: The rows that it inserted or updated, as they are now.
        gone: Places whose rows it deleted: first and last of each run of them.
        link: The link that reported it.
    """

    change_id: str
    operation: Operation
    writer: Writer
    at_ns: int
    after: RowVersion
    rows: tuple[Row, ...] = ()
    gone: tuple[tuple[int, int], ...] = ()
    link: str = ""

    @property
    def finished(self) -> bool:
        """It was committed; nothing else is reported of transactions."""
        return True

    @property
    def length(self) -> int:
        """Bytes that it stored."""
        return sum(row.size for row in self.rows)

    @property
    def written(self) -> int:
        """Bytes that it stored."""
        return self.length

    @property
    def offset(self) -> int:
        """Place of its first row; -1 where it stored none."""
        return self.rows[0].seq if self.rows else -1


def is_of_rows(transcript: str) -> bool:
    """The id is of a transcript in a database, and not the path of a session file, whatever its name is."""
    name = transcript.rpartition("/")[2]
    return _DATABASE in name and not name.endswith(".jsonl")


def parts_of(transcript: str) -> tuple[str, str]:
    """The path of the database, and the id of the session, of a transcript in a database."""
    directory, slash, name = transcript.rpartition("/")
    database, _, session_id = name.partition(_DATABASE)
    return f"{directory}{slash}{database}{_DATABASE[:-1]}", session_id


def place_of(transcript: str) -> str:
    """The file that a transcript is in: itself, or its database."""
    return parts_of(transcript)[0] if is_of_rows(transcript) else transcript


def rows_named(first: int, count: int) -> str:
    """Rows of one transcript, for people; there is at least one."""
    return f"rows {first} to {first + count - 1}" if count > 1 else f"row {first}"


class Placed(Protocol):
    """A row, as far as its place and its contents tell it from others."""

    @property
    def seq(self) -> int:
        """Its place in the transcript."""

    @property
    def digest(self) -> str:
        """See `Row`."""


def digest_of_span(rows: Iterable[Placed]) -> str:
    """What ties an approval to exactly these rows, in this order."""
    made = hashlib.sha256()
    for row in rows:
        made.update(f"{row.seq}:{row.digest}\n".encode())
    return made.hexdigest()


def take_out(rows: dict[int, T], gone: Iterable[tuple[int, int]]) -> None:
    """Remove the rows of these places; each is the first and the last of some, which need not be there."""
    for first, last in gone:
        places = range(first, last + 1)
        for seq in places if len(places) <= len(rows) else [seq for seq in rows if seq in places]:
            rows.pop(seq, None)


def applied(rows: Mapping[int, Row], changes: Sequence[RowChange]) -> dict[int, Row]:
    """The rows of a transcript after these changes, by place."""
    known = dict(rows)
    for change in changes:
        take_out(known, change.gone)
        known.update((row.seq, row) for row in change.rows)
    return known
