"""Custody reports in the store, so that the names of writers outlive a restart."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sidecar.core.custody.files.chain import KeptChain
from sidecar.core.custody.files.manifest import Manifest, Segment
from sidecar.core.custody.gaps import Gap
from sidecar.core.custody.kept import AnyKeptChain
from sidecar.core.custody.rows.chain import ChainRow, KeptRows
from sidecar.core.facts.rows import is_of_rows
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer
from sidecar.store import codec
from sidecar.store.database import Reader, understood
from sidecar.store.incidents import IncidentStore
from sidecar.store.reader import column, names_of, session_hash

MAX_CHAINS: Final = 2000
"""Transcripts whose chain is kept, the last ones written to."""

_NAMES: Final = ":session IN (file, file_name, file_stem, session) OR session = :hash"


class ChainReader(Reader):
    """Answers questions about kept chains."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        rows = self._rows("SELECT at_ns FROM watched")
        self._watched_ns = int(rows[0][0]) if rows else 0

    def recall(self, file: str) -> AnyKeptChain | None:
        """The chain of that transcript, or None."""
        rows = self._rows("SELECT body FROM chains WHERE file = ?", (column(file),))
        return self._chain(file, rows[0][0]) if rows else None

    def files(self, session: str) -> tuple[str, ...]:
        """The transcripts that go by this name: see `names_of`; or a session key, or its hash."""
        conditions = {"session": column(session), "hash": column(session_hash(session))}
        rows = self._rows(f"SELECT file FROM chains WHERE {_NAMES} ORDER BY file", conditions)  # noqa: S608 - constants
        return tuple(row[0].decode("utf-8", "surrogatepass") for row in rows)

    def _chain(self, file: str, body: str) -> AnyKeptChain:
        with understood(self.path, f"chain of {file}"):
            chain = decode(file, body)
        return replace(chain, watched_ns=max(chain.watched_ns, self._watched_ns))


class ChainStore(ChainReader):
    """Keeps chains beside the incidents, in the same file."""

    def __init__(self, store: IncidentStore) -> None:
        """Use the open store.

        Raises:
            StoreError: It cannot be read.
        """
        super().__init__(store.path)
        self._store = store
        self._kept: set[str] = set()

    def put(self, database: sqlite3.Connection, *chains: AnyKeptChain) -> None:
        """Put chains on disk, within a transaction of the store."""
        rows = [_row(chain) for chain in chains]
        self._kept.update(chain.file for chain in chains)
        database.executemany("INSERT OR REPLACE INTO chains VALUES (?, ?, ?, ?, ?, ?)", rows)

    def watching(self, at_ns: int) -> None:
        """Every file is still being watched.

        Raises:
            StoreError: It is not on disk.
        """
        with self._store.writing() as database:
            database.execute("INSERT OR REPLACE INTO watched VALUES (1, ?)", (at_ns,))

    def forget_before(self, at_ns: int) -> None:
        """Remove chains that were kept last before that time, and the oldest of too many."""
        with self._store.writing() as database:
            database.execute("DELETE FROM chains WHERE watched_ns < ?", (at_ns,))
            database.execute(
                """
                DELETE FROM chains WHERE file IN
                    (SELECT file FROM chains ORDER BY watched_ns DESC LIMIT -1 OFFSET ?)
                """,
                (MAX_CHAINS,),
            )

    def _chain(self, file: str, body: str) -> AnyKeptChain:
        """What this life has kept was watched no longer than until then."""
        chain = super()._chain(file, body)
        return decode(file, body) if file in self._kept else chain


def _row(chain: AnyKeptChain) -> tuple[bytes, bytes, bytes, bytes, int, str]:
    file, name, stem = names_of(chain.file)
    return (
        column(file),
        column(chain.session),
        column(name),
        column(stem),
        chain.watched_ns,
        encode(chain),
    )


def encode(chain: AnyKeptChain) -> str:
    """The row's text: JSON. Writers are listed once, segments follow each other without offsets."""
    if isinstance(chain, KeptRows):
        own: dict[str, Any] = {"generation": chain.generation, "begun": chain.begun}
        parts: Sequence[ChainRow | Segment] = chain.rows
        described = [(row.seq, row.digest) for row in chain.rows]
    else:
        own = {}
        parts = segments = chain.manifest.segments if chain.manifest is not None else ()
        described = [(segment.length, segment.sha256) for segment in segments]
    writers = list(dict.fromkeys(part.writer for part in parts if part.writer is not None))
    place = {writer: number for number, writer in enumerate(writers)}
    body = {
        **own,
        "session": chain.session,
        "since_ns": chain.since_ns,
        "watched_ns": chain.watched_ns,
        "gaps": chain.gaps,
        "writers": writers,
        "segments": [
            [*what, None if part.writer is None else place[part.writer], part.at_ns]
            for what, part in zip(described, parts, strict=True)
        ],
        "kernel": [number for number, part in enumerate(parts) if part.kernel],
    }
    return codec.encode(body)


def decode(file: str, text: str) -> AnyKeptChain:
    """The inverse of `encode`.

    Raises:
        ValueError: The text is no chain; so are KeyError, TypeError and IndexError for one with pieces missing.
    """
    body = json.loads(text)
    writers = [codec.build(Writer, w) for w in body["writers"]]
    gaps = tuple(codec.build(Gap, gap) for gap in body["gaps"])
    seen = set(body["kernel"])
    parts = [
        (first, digest, None if writer is None else writers[writer], at_ns, number in seen)
        for number, (first, digest, writer, at_ns) in enumerate(body["segments"])
    ]
    if is_of_rows(file):
        return KeptRows(
            file=file,
            session=body["session"],
            rows=tuple(ChainRow(*part) for part in parts),
            generation=body["generation"],
            begun=body["begun"],
            since_ns=body["since_ns"],
            watched_ns=body["watched_ns"],
            gaps=gaps,
        )
    segments: list[Segment] = []
    offset = 0
    for length, *rest in parts:
        segments.append(Segment(offset, length, *rest))
        offset += length
    return KeptChain(
        file=file,
        session=body["session"],
        manifest=Manifest(tuple(segments)),
        since_ns=body["since_ns"],
        watched_ns=body["watched_ns"],
        gaps=gaps,
    )
