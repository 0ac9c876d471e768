"""Reports of committed transactions: whose they are, and which messages make one change."""

from typing import Final

from sidecar.core.facts.change import Operation
from sidecar.core.facts.rows import Row, RowChange, RowVersion, is_of_rows
from sidecar.link.changes import Speaker, Writers
from sidecar.wire import messages as wire
from sidecar.wire.codec import WireError

MAX_ROWS: Final = 200_000
"""Of one change. More is no transcript that any gateway keeps."""

_OPERATIONS: Final = {Operation.APPEND, Operation.REWRITE, Operation.REMOVE}


class CommitReader:
    """Joins the messages of a change into one `RowChange`; one for each link."""

    def __init__(self, link: str, speaker: Speaker, writers: Writers) -> None:
        """Begin with no part of a change."""
        self._link = link
        self._speaker = speaker
        self._writers = writers
        self._change = ""
        self._rows: list[Row] = []

    def read(self, message: wire.Committed) -> RowChange | None:
        """The change; None while parts of it are to come.

        Raises:
            WireError: An operation that this protocol does not have, a version that is none of rows, parts that do not
                belong together, or a report that only a gateway may make.
        """
        if self._speaker.program is not None:
            error = f"a co-tenant outside of OpenClaw commits nothing to a gateway's database: change {message.change}"
            raise WireError(error)
        if not is_of_rows(message.file):
            error = f"change {message.change} has rows, and {message.file} is no transcript in a database"
            raise WireError(error)
        if self._rows and message.change != self._change:
            error = f"change {self._change} was not ended ahead of change {message.change}"
            raise WireError(error)
        self._change = message.change
        self._rows += map(_row, message.rows)
        if len(self._rows) > MAX_ROWS:
            error = f"change {message.change} has more than {MAX_ROWS} rows"
            raise WireError(error)
        if message.more:
            return None
        rows, self._rows = tuple(self._rows), []
        return RowChange(
            change_id=message.change,
            operation=_operation(message),
            writer=self._writers.of(message.writer),
            at_ns=int(message.at),
            after=RowVersion.parse(message.after),
            rows=rows,
            gone=message.gone,
            link=self._link,
        )


def _operation(message: wire.Committed) -> Operation:
    try:
        operation = Operation(message.op)
    except ValueError:
        operation = Operation.METADATA
    if operation not in _OPERATIONS:
        error = f"unknown operation {message.op!r} of change {message.change}"
        raise WireError(error)
    return operation


def _row(row: wire.WireRow) -> Row:
    return Row(
        seq=row.seq,
        digest=row.sha256,
        size=row.size,
        event_id=row.id,
        parent_id=row.parent,
        kind=row.kind,
        role=row.role,
        injected=row.injected,
        key=row.key,
    )
