"""Reports of changes: whose they are, and which begin and end make one call."""

from dataclasses import dataclass
from typing import Final

from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.rows import is_of_rows
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.wire import messages as wire
from sidecar.wire.codec import WireError

MAX_WRITERS: Final = 256
"""Writers of one link that are remembered, so that a report by one of them makes no new value."""

_OPERATIONS: Final = {operation.value: operation for operation in Operation}


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whose reports these are, by the kernel's word.

    Attributes:
        pid: The process; 0 when it can't be seen.
        uid: Its user; -1 when not known.
        exe: Its executable; empty when it can't be seen.
        program: A co-tenant outside of OpenClaw, whose every report this is; None for a gateway.
    """

    pid: int
    uid: int = -1
    exe: str = ""
    program: Writer | None = None


class Writers:
    """Tells the writers of one link's reports."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        self._known: dict[wire.WireWriter, Writer] = {}

    def of(self, message: wire.WireWriter) -> Writer:
        """The writer of a report. An outside co-tenant is who it declared itself to be, and never part of a run."""
        known = self._known.get(message)
        if known is None:
            if len(self._known) >= MAX_WRITERS:
                self._known.clear()
            known = self._known[message] = self._new(message)
        return known

    def _new(self, message: wire.WireWriter) -> Writer:
        by = self._speaker
        if by.program is not None:
            return by.program
        return Writer(WriterKind.of(message.kind), message.name, by.pid, message.run, uid=by.uid, exe=by.exe)


def _fingerprint(text: str) -> Fingerprint | None:
    return Fingerprint.parse(text) if text else None


class ChangeReader:
    """Joins the begin and the end of a call into `Change` values; one for each link."""

    def __init__(self, link: str, speaker: Speaker, writers: Writers | None = None) -> None:
        """Begin with no call under way; ``writers`` are those of the link."""
        self._link = link
        self._speaker = speaker
        self._writers = writers or Writers(speaker)
        self._under_way: dict[str, Change] = {}

    def read(self, message: wire.Changed) -> Change:
        """The change as known after this report.

        Raises:
            WireError: An operation or phase that this protocol does not have.
        """
        if is_of_rows(message.file):
            raise WireError(f"change {message.change} is of a file, and {message.file} is a transcript in a database")
        operation = _OPERATIONS.get(message.op)
        if operation is None:
            raise WireError(f"unknown operation {message.op!r} of change {message.change}")
        if self._speaker.program is not None and operation is Operation.REMOVE:
            raise WireError(f"a co-tenant outside of OpenClaw may not remove a session file: change {message.change}")
        if message.phase == "end" and message.change in self._under_way:
            begun = self._under_way.pop(message.change)
            finished = begun.finish(
                ended=message.seq, length=message.length, sha256=message.sha256, after=_fingerprint(message.after)
            )
            # A call that failed without a trace ends as one that changed no byte.
            return replace(finished, operation=operation)
        if message.phase not in {"begin", "end", "done"}:
            raise WireError(f"unknown phase {message.phase!r} of change {message.change}")
        change = Change(
            change_id=message.change,
            operation=operation,
            writer=self._writers.of(message.writer),
            at_ns=int(message.at),
            length=message.length,
            sha256=message.sha256,
            offset=message.offset,
            before=_fingerprint(message.before),
            after=_fingerprint(message.after),
            link=self._link,
            began=message.seq,
            ended=None if message.phase == "begin" else message.seq,
        )
        if message.phase == "begin":
            self._under_way[message.change] = change
        return change
