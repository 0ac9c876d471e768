"""The chain of the records: each change of an incident's record appends an entry that rests on the entry before.

An entry holds digests of all that the store holds of its incident after the change, and the hash of the entry before.
So the last entry of an incident says what its rows are, and the last entry of all, the head, says what every entry is.
Nothing here is secret: who may write the file can make the whole chain anew. What tells is a head that has left the
machine (`sidecar.store.verify`).

A digest is the SHA-256 of rows in MessagePack: an array of rows, each an array of its values, text as bytes of UTF-8.
"""

import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from sidecar.core.errors import SidecarError

_SHOWN: Final = 16
"""Hexadecimal digits of a hash that are shown to people."""

MAX_PRUNED: Final = 1000
"""Entries that are removed in one commit."""

MAX_SAVED: Final = 1000
"""Incidents of which it is kept in memory what was saved."""

_TOO_HIGH: Final = 1 << 62
"""No entry of ours comes as far: one of a higher number must not be the last one that there can be."""

_PACKER: Final = msgspec.msgpack.Encoder()

log = structlog.get_logger("sidecar.store")


class Step(StrEnum):
    """What an entry says of its subject."""

    SAVED = "saved"
    """The record of that incident is this."""
    FOUND = "found"
    """The record was this when it was to be changed, and that is not what had been saved: somebody else changed it."""
    FORGOTTEN = "forgotten"
    """The record was this, and was removed for its age."""
    BEGINS = "begins"
    """The entries up to the one of that number, whose hash this is, were removed for their age."""


class HeadError(SidecarError, ValueError):
    """A text is no head of a chain."""

    def __init__(self) -> None:
        super().__init__("a head is the number of an entry, a colon, and 16 to 64 hexadecimal digits of its hash")


class Head(NamedTuple):
    """An entry by its number and its hash, or the start of its hash. Number 0 stands for no entry."""

    seq: int = 0
    hash: bytes = bytes(32)

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash.hex()[:_SHOWN]}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """The inverse of ``str``; more digits are taken, too.

        Raises:
            HeadError: It is none.
        """
        found = re.fullmatch(r"(\d{1,18}):((?:[0-9a-f]{2}){8,32})", text.strip(), re.ASCII | re.IGNORECASE)
        if found is None:
            raise HeadError
        return cls(int(found[1]), bytes.fromhex(found[2]))


class State(NamedTuple):
    """Digests of what the store holds of one incident.

    Attributes:
        record: Its row.
        history: Its events, in order.
        pages: Its pages, and which destination has taken them.
    """

    record: bytes
    history: bytes
    pages: bytes


class Entry(NamedTuple):
    """A row of the chain. Text is bytes: what somebody else has put there need not be UTF-8."""

    seq: int
    at_ns: int
    step: bytes
    subject: bytes
    record: bytes
    history: bytes
    pages: bytes
    previous: bytes
    hash: bytes

    @property
    def state(self) -> State:
        """What it says of its incident."""
        return State(self.record, self.history, self.pages)

    @property
    def sound(self) -> bool:
        """Its hash is that of the rest of it."""
        return digest([self[:-1]]) == self.hash

    @property
    def head(self) -> Head:
        """Its number and hash."""
        return Head(self.seq, self.hash)


ENTRIES: Final = """
    SELECT seq, at_ns, CAST(step AS BLOB), CAST(subject AS BLOB), record, history, pages, previous, hash FROM audit
"""
_OF_INCIDENT: Final = f"{ENTRIES} WHERE subject = CAST(? AS TEXT) AND step != 'begins'"
_LAST: Final = f"{_OF_INCIDENT} ORDER BY seq DESC LIMIT 1"
_BEFORE: Final = f"{_OF_INCIDENT} AND seq < ? ORDER BY seq DESC LIMIT 1"
_RECORD: Final = """
    SELECT CAST(id AS BLOB), opened_at_ns, closed_at_ns, CAST(verdict AS BLOB), session, session_file, file_name,
        file_stem, CAST(body AS BLOB)
    FROM incidents WHERE id = CAST(? AS TEXT)
"""
_HISTORY: Final = """
    SELECT seq, at_ns, CAST(verdict AS BLOB), CAST(outcome AS BLOB), CAST(reason AS BLOB), count, turn_lost
    FROM incident_events WHERE incident_id = CAST(? AS TEXT) ORDER BY seq
"""
_PAGES: Final = """
    SELECT CAST(about AS BLOB), due_at_ns, sent_at_ns, gave_up_at_ns, attempts, CAST(last_error AS BLOB),
        CAST(covered_by AS BLOB)
    FROM pages WHERE incident_id = CAST(? AS TEXT) ORDER BY about
"""
_DELIVERIES: Final = """
    SELECT CAST(about AS BLOB), CAST(destination AS BLOB), at_ns
    FROM page_deliveries WHERE incident_id = CAST(? AS TEXT) ORDER BY about, destination
"""
_INSERT: Final = "INSERT OR IGNORE INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FIRST_NEEDED: Final = """
    SELECT seq FROM audit AS this WHERE step != 'begins' AND 'forgotten' != (
        SELECT step FROM audit AS last WHERE last.subject = this.subject AND last.step != 'begins'
        ORDER BY seq DESC LIMIT 1
    )
    ORDER BY seq LIMIT 1
"""


def digest(rows: Sequence[Sequence[Any]]) -> bytes:
    """The digest of rows."""
    return hashlib.sha256(_PACKER.encode(rows)).digest()


ABSENT: Final = State(digest([]), digest([]), digest([]))
"""Of an incident that the store does not hold."""


def state_of(database: sqlite3.Connection, incident_id: str | bytes) -> State:
    """What the store holds of that incident now."""
    key = (incident_id,)
    return State(
        digest(database.execute(_RECORD, key).fetchall()),
        digest(database.execute(_HISTORY, key).fetchall()),
        digest(database.execute(_PAGES, key).fetchall() + database.execute(_DELIVERIES, key).fetchall()),
    )


def last_entry(database: sqlite3.Connection, incident_id: str | bytes) -> Entry | None:
    """The last entry of that incident; None where there is none."""
    row = database.execute(_LAST, (incident_id,)).fetchone()
    return None if row is None else Entry(*row)


def entry_before(database: sqlite3.Connection, incident_id: str | bytes, seq: int) -> Entry | None:
    """The last entry of that incident ahead of that number; None where there is none."""
    row = database.execute(_BEFORE, (incident_id, seq)).fetchone()
    return None if row is None else Entry(*row)


class Trail:
    """Appends to the chain, in the transactions that change the records.

    Attributes:
        head: The last entry that is on the disk. It is kept here, and not read: what is made of the file meanwhile
            does not go unnoticed.
        found: How many records somebody else had changed, since the start.
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        """Nothing can be appended before `begin`."""
        self.head = Head()
        self.found = 0
        self._next = Head()
        self._now_ns = now_ns
        self._saved: dict[str, State] = {}
        """What this sidecar saved itself while nobody else wrote to the file."""
        self._version = -1

    def begin(self, database: sqlite3.Connection) -> None:
        """Go on behind the last entry of the file."""
        row = database.execute(f"{ENTRIES} WHERE seq < ? ORDER BY seq DESC LIMIT 1", (_TOO_HIGH,)).fetchone()
        self.head = Head() if row is None else Entry(*row).head

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Around a transaction: its entries are the chain's when it is on the disk, and never were when it is not."""
        self._next = self.head
        try:
            yield
        except BaseException:
            self._saved.clear()
            raise
        self.head = self._next

    def look(self, database: sqlite3.Connection) -> None:
        """At the begin of a transaction: whether another connection has written to the file since the last one."""
        (version,) = database.execute("PRAGMA data_version").fetchone()
        if version != self._version or len(self._saved) > MAX_SAVED:
            self._saved.clear()  # each record is looked at again ahead of a change
            self._version = version

    @contextmanager
    def changing(self, database: sqlite3.Connection, *incident_ids: str) -> Iterator[None]:
        """Around a change of the records of these incidents, within a transaction."""
        before = {incident_id: self._before(database, incident_id) for incident_id in incident_ids}
        yield
        for incident_id, known in before.items():
            state = state_of(database, incident_id)
            if state != known:
                self._append(database, Step.SAVED, incident_id, state)
            self._saved[incident_id] = state

    def forgetting(self, database: sqlite3.Connection, incident_ids: Iterable[str]) -> None:
        """Say that these are about to be removed for their age."""
        for incident_id in incident_ids:
            self._append(database, Step.FORGOTTEN, incident_id, self._before(database, incident_id))
            self._saved.pop(incident_id, None)

    def prune(self, database: sqlite3.Connection) -> None:
        """Remove the entries ahead of the first that is of an incident not forgotten, some at once.

        None is removed that does not follow from the one before it: what somebody else did stays to be found.
        """
        row = database.execute(_FIRST_NEEDED).fetchone()
        needed = self._next.seq + 1 if row is None else row[0]
        last: Entry | None = None
        for found in database.execute(f"{ENTRIES} WHERE seq < ? ORDER BY seq LIMIT ?", (needed, MAX_PRUNED)):
            entry = Entry(*found)
            if not entry.sound or (last is not None and (entry.seq, entry.previous) != (last.seq + 1, last.hash)):
                break
            last = entry
        if last is not None:
            database.execute("DELETE FROM audit WHERE seq <= ?", (last.seq,))
            self._append(database, Step.BEGINS, str(last.seq), State(last.hash, b"", b""))

    def _before(self, database: sqlite3.Connection, incident_id: str) -> State:
        """What the store holds of an incident; that this is not what was saved is put on record first."""
        if (saved := self._saved.get(incident_id)) is not None:
            return saved
        state = state_of(database, incident_id)
        last = last_entry(database, incident_id)
        known = ABSENT if last is None or last.step == Step.FORGOTTEN.value.encode() else last.state
        if state != known:
            self.found += 1
            self._append(database, Step.FOUND, incident_id, state)
            log.error("record_changed_by_somebody_else", incident=incident_id, entry=self._next.seq)
        return state

    def _append(self, database: sqlite3.Connection, step: Step, subject: str, state: State) -> None:
        at_ns, seq = self._now_ns(), self._next.seq
        inserted = False
        while not inserted:
            seq += 1  # one that is taken was put in by somebody else: it stays to be found
            row = (seq, at_ns, step.value, subject, *state, self._next.hash)
            hashed = digest([(*row[:2], step.value.encode(), subject.encode(), *row[4:])])
            inserted = database.execute(_INSERT, (*row, hashed)).rowcount == 1
        self._next = Head(seq, hashed)
