"""Reports of changes: whose they are, and which begin and end make one call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sidecar.core.change import Change, Operation
from sidecar.core.fingerprint import Fingerprint
from sidecar.core.writer import Writer, WriterKind
from sidecar.wire.codec import WireError

if TYPE_CHECKING:
    from sidecar.wire import messages as wire


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whose reports these are, by the kernel's word.

    Attributes:
        pid: The process; 0 when it can't be seen.
        uid: Its user; -1 when not known.
        exe: Its executable; empty when it can't be seen.
        declared: The name of a co-tenant outside of OpenClaw; empty for a gateway.
    """

    pid: int
    uid: int = -1
    exe: str = ""
    declared: str = ""


def writer_of(message: wire.WireWriter, speaker: Speaker) -> Writer:
    """The writer of a report. An outside co-tenant is who it declared itself to be, and never part of a run."""
    if speaker.declared:
        return Writer(WriterKind.DECLARED, speaker.declared, speaker.pid, uid=speaker.uid, exe=speaker.exe)
    return Writer(WriterKind.of(message.kind), message.name, speaker.pid, message.run, uid=speaker.uid, exe=speaker.exe)


def _fingerprint(text: str) -> Fingerprint | None:
    return Fingerprint.parse(text) if text else None


class ChangeReader:
    """Joins the begin and the end of a call into `Change` values; one for each link."""

    def __init__(self, link: str, speaker: Speaker) -> None:
        """Begin with no call under way."""
        self._link = link
        self._speaker = speaker
        self._under_way: dict[str, Change] = {}

    def read(self, message: wire.Changed) -> Change:
        """The change as known after this report.

        Raises:
            WireError: An operation or phase that this protocol does not have.
        """
        try:
            operation = Operation(message.op)
        except ValueError:
            error = f"unknown operation {message.op!r} of change {message.change}"
            raise WireError(error) from None
        if self._speaker.declared and operation is Operation.REMOVE:
            error = f"a co-tenant outside of OpenClaw may not remove a session file: change {message.change}"
            raise WireError(error)
        if message.phase == "end" and message.change in self._under_way:
            begun = self._under_way.pop(message.change)
            finished = begun.finish(
                ended=message.seq, length=message.length, sha256=message.sha256, after=_fingerprint(message.after)
            )
            # A call that failed without a trace ends as one that changed no byte.
            return replace(finished, operation=operation)
        if message.phase not in {"begin", "end", "done"}:
            error = f"unknown phase {message.phase!r} of change {message.change}"
            raise WireError(error)
        change = Change(
            change_id=message.change,
            operation=operation,
            writer=writer_of(message.writer, self._speaker),
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
