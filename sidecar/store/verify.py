"""Holds the records against their chain, and names what somebody else has changed.

What this can show: a record that was edited, removed, put in or moved, and an entry of the chain likewise, as long as
not everything behind it was made anew to fit. Who may write the file can do that, since nothing in it is secret; then
only a head that has left the machine before tells.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from sidecar.store.audit import ABSENT, ENTRIES, Entry, Head, State, Step, entry_before, last_entry, state_of
from sidecar.store.database import Reader, reading, understood
from sidecar.store.schema import TABLES

STEP_ROWS: Final = 25
"""Rows that are looked at in one step: a few milliseconds, with long timelines."""

MAX_FINDINGS: Final = 100
"""So many are named; further ones are counted."""

_FIRST_ENTRIES: Final = f"{ENTRIES} ORDER BY seq LIMIT {STEP_ROWS}"
_ENTRIES: Final = f"{ENTRIES} WHERE seq > ? ORDER BY seq LIMIT {STEP_ROWS}"
_SUBJECT: Final = "SELECT DISTINCT CAST(subject AS BLOB) FROM audit WHERE step != 'begins'"
_FIRST_SUBJECTS: Final = f"{_SUBJECT} ORDER BY subject LIMIT {STEP_ROWS}"
_SUBJECTS: Final = f"{_SUBJECT} AND subject > CAST(? AS TEXT) ORDER BY subject LIMIT {STEP_ROWS}"
_TOTAL: Final = """
    SELECT (SELECT count(*) FROM audit) + (SELECT count(DISTINCT subject) FROM audit WHERE step != 'begins')
"""
_WITHOUT_ENTRY: Final = """
    SELECT DISTINCT CAST(id AS BLOB) FROM (
        SELECT id FROM incidents UNION SELECT incident_id FROM incident_events UNION SELECT incident_id FROM pages
        UNION SELECT incident_id FROM page_deliveries
    )
    WHERE NOT EXISTS (SELECT 1 FROM audit WHERE subject = id AND step != 'begins') LIMIT ?
"""
_PARTS: Final = {"record": "its record", "history": "its history", "pages": "its pages"}


class Tampering(StrEnum):
    """What was done."""

    EDITED = "edited"
    """It is another than was saved."""
    MISSING = "missing"
    """It was saved and is gone."""
    ADDED = "added"
    """It was never saved by a sidecar."""
    REPLACED = "replaced"
    """It does not follow from what comes before it: one of the two was replaced, put in or moved."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as the sidecar left it.

    Attributes:
        kind: What was done.
        incident: Id of the incident that it was done to; None where it can't be told.
        entry: Number of the entry of the chain that tells, or that it was done to; None where none is concerned.
        what: A sentence.
    """

    kind: Tampering
    incident: str | None
    entry: int | None
    what: str


class Verification(Reader):
    """One look at all records, as they were when it began. Beside a running sidecar or without one.

    Attributes:
        total: Entries and incidents that there are to look at.
        entries: Entries of the chain that have been looked at.
        incidents: Incidents that have been looked at, those removed for their age included.
        forgotten: Of these, so many were removed for their age.
        head: The last entry.
        findings: What is not as it was left, as far as it has been looked at; at most `MAX_FINDINGS`.
        more: Further ones.
    """

    def __init__(self, path: Path, head: Head | None = None) -> None:
        """Open the store, to hold it against a head that has left the machine, if there is one.

        Raises:
            StoreError: It can't be read.
        """
        super().__init__(path)
        self._wanted = head
        self.total = self.entries = self.incidents = self.forgotten = self.more = 0
        self.head = Head()
        self.findings: list[Finding] = []
        self._start: Entry | None = None
        self._begins: dict[bytes, Entry] = {}
        """What the chain says of entries that were removed, by the number of the last of them."""

    @property
    def good(self) -> bool:
        """Nothing was found so far."""
        return not self.findings

    @property
    def first(self) -> int:
        """Number of the first entry; 0 where there is none."""
        return 0 if self._start is None else self._start.seq

    @property
    def too_old(self) -> bool:
        """The head that it was to be held against was removed for its age: it can't be compared."""
        return self._wanted is not None and 0 < self._wanted.seq < self.first

    def run(self) -> None:
        """Look at everything."""
        for _ in self.steps():
            pass

    def steps(self) -> Iterator[None]:
        """Look at everything, a part at a time.

        Raises:
            StoreError: It can't be read.
        """
        with self._read_lock, reading(self.path):
            self._read.execute("BEGIN")
            self.total = self._read.execute(_TOTAL).fetchone()[0]
        for steps in (self._schema(), self._chain(), self._records(), self._strangers()):
            while self._stepped(steps):
                yield
        with self._read_lock, reading(self.path):
            self._read.execute("ROLLBACK")

    def _stepped(self, steps: Iterator[None]) -> bool:
        """One step; False when there is none left."""
        with self._read_lock, reading(self.path), understood(self.path, "the tables are not those of a sidecar"):
            return next(steps, self) is not self

    def _schema(self) -> Iterator[None]:
        """A trigger or a view can change what a sidecar saves while it saves it."""
        missing = {" ".join(statement.split()) for statement in TABLES}
        found = "SELECT CAST(name AS BLOB), CAST(sql AS BLOB) FROM sqlite_schema WHERE sql IS NOT NULL"
        for name, sql in self._read.execute(found).fetchall():
            statement = " ".join(_text(sql).split())
            if statement not in missing:
                self._find(Tampering.ADDED, f"the database has {_text(name)}, which no sidecar made")
            missing.discard(statement)
        for statement in missing:
            self._find(Tampering.MISSING, f"the database lacks what this makes: {statement}")
        yield

    def _chain(self) -> Iterator[None]:
        """Each entry follows from the one before."""
        last: Entry | None = None
        rows = self._read.execute(_FIRST_ENTRIES).fetchall()
        while rows:
            for row in rows:
                entry = Entry(*row)
                self._entry(entry, last)
                last = entry
            yield
            rows = self._read.execute(_ENTRIES, (entry.seq,)).fetchall()
        if last is not None:
            self.head = last.head
        self._begin()
        wanted = self._wanted
        if wanted is not None and wanted.seq > self.head.seq:
            what = f"the chain ends with entry {self.head.seq}, and entry {wanted.seq} has left the machine: it was cut"
            self._find(Tampering.MISSING, what, entry=wanted.seq)

    def _entry(self, entry: Entry, last: Entry | None) -> None:
        self.entries += 1
        seq, incident = entry.seq, entry.subject if entry.step != _BEGINS else None
        if last is None:
            self._start = entry
        elif seq != last.seq + 1:
            gone = f"entry {seq - 1} is" if seq == last.seq + 2 else f"entries {last.seq + 1} to {seq - 1} are"
            self._find(Tampering.MISSING, f"{gone} missing from the chain", entry=last.seq + 1)
        elif entry.previous != last.hash and entry.sound and last.sound:
            what = f"entry {seq} does not follow from entry {last.seq}: one of them was replaced or put in"
            self._find(Tampering.REPLACED, what, entry=last.seq)
        if not entry.sound:
            self._find(Tampering.EDITED, f"entry {seq} of the chain was edited", incident, seq)
            return
        wanted = self._wanted
        if wanted is not None and wanted.seq == seq and not entry.hash.startswith(wanted.hash):
            what = f"entry {seq} is not the one that has left the machine: the chain was made anew before it"
            self._find(Tampering.REPLACED, what, incident, seq)
        self._said(entry)

    def _said(self, entry: Entry) -> None:
        """What a sound entry says can be held against the one before of the same incident."""
        if entry.step == _BEGINS:
            self._begins[entry.subject] = entry
            return
        before = entry_before(self._read, entry.subject, entry.seq)
        known = before.state if before is not None and before.step != _FORGOTTEN else ABSENT
        removed = before is None and self.first > 1
        incident, seq = _text(entry.subject), entry.seq
        if entry.step == _FOUND:
            what = f"the record of {incident} was another than had been saved when entry {seq} was made"
            self._find(Tampering.EDITED, f"{what}: {_differing(known, entry.state)}", entry.subject, seq)
        elif entry.step == _SAVED and entry.state == known:
            what = f"entry {seq} repeats what the one before says of {incident}: it was put in"
            self._find(Tampering.ADDED, what, entry.subject, seq)
        elif entry.step == _FORGOTTEN and entry.state != known and not removed:
            what = f"entry {seq} says that {incident} was removed for its age, with another record than was saved"
            self._find(Tampering.REPLACED, what, entry.subject, seq)
        elif entry.step not in _KNOWN_STEPS:
            self._find(Tampering.ADDED, f"entry {seq} says what no sidecar says", entry.subject, seq)

    def _begin(self) -> None:
        """The first entry is the first of all, or the chain itself says what was removed before it."""
        start = self._start
        if start is None:
            return
        said = self._begins.get(b"%d" % (start.seq - 1))
        before = bytes(32) if start.seq == 1 else said.record if said is not None else None
        if before is None:
            what = f"the chain begins with entry {start.seq}, and does not say that those before it were removed"
            self._find(Tampering.MISSING, what, entry=start.seq - 1)
        elif before != start.previous and start.sound:
            what = f"entry {start.seq} does not follow from what came before it: it was replaced"
            self._find(Tampering.REPLACED, what, start.subject, start.seq)

    def _records(self) -> Iterator[None]:
        """Each record is what its last entry says."""
        rows = self._read.execute(_FIRST_SUBJECTS).fetchall()
        while rows:
            for (subject,) in rows:
                self._record(subject)
            yield
            rows = self._read.execute(_SUBJECTS, (subject,)).fetchall()

    def _record(self, subject: bytes) -> None:
        self.incidents += 1
        last = last_entry(self._read, subject)
        if last is None:
            return
        state, incident = state_of(self._read, subject), _text(subject)
        if last.step == _FORGOTTEN:
            self.forgotten += 1
            if state != ABSENT:
                what = f"{incident} was removed for its age by entry {last.seq}, and is there"
                self._find(Tampering.ADDED, what, subject, last.seq)
        elif state.record == ABSENT.record != last.record:
            what = f"{incident} is missing: entry {last.seq} says that it was saved"
            self._find(Tampering.MISSING, what, subject, last.seq)
        elif state != last.state:
            what = f"{incident} is not as it was saved with entry {last.seq}: {_differing(last.state, state)}"
            self._find(Tampering.EDITED, what, subject, last.seq)

    def _strangers(self) -> Iterator[None]:
        """Each record has an entry."""
        for (subject,) in self._read.execute(_WITHOUT_ENTRY, (MAX_FINDINGS + 1,)).fetchall():
            what = f"no entry of the chain says that {_text(subject)} was saved: it was put in, or its entries are gone"
            self._find(Tampering.ADDED, what, subject)
        yield

    def _find(self, kind: Tampering, what: str, incident: bytes | None = None, entry: int | None = None) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(kind, None if incident is None else _text(incident), entry, what))
        else:
            self.more += 1


_SAVED, _FOUND, _FORGOTTEN, _BEGINS = (
    step.value.encode() for step in (Step.SAVED, Step.FOUND, Step.FORGOTTEN, Step.BEGINS)
)
_KNOWN_STEPS: Final = {_SAVED, _FOUND, _FORGOTTEN}


def _text(found: bytes) -> str:
    return found.decode("utf-8", "backslashreplace")


def _differing(left: State, right: State) -> str:
    return ", ".join(words for part, words in _PARTS.items() if getattr(left, part) != getattr(right, part))
