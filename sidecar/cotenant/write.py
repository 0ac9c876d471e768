"""`openclaw-sidecar write`: from COMMAND to the session, step by step."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sidecar.cotenant.announcer import Announcer, Announces
from sidecar.cotenant.change import Change
from sidecar.cotenant.command import edit, output_of
from sidecar.cotenant.errors import RecordsError
from sidecar.cotenant.interrupts import Interrupts
from sidecar.cotenant.lock import LockTimes
from sidecar.cotenant.records import check_edited, complete, split_records
from sidecar.cotenant.session import LockedSession, locked

Work = Callable[[LockedSession, Interrupts], tuple[Change, tuple[str, ...]]]

MAX_EDIT_SECONDS: Final = 30.0
"""How long COMMAND may edit, or half of the time that others wait for the lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be written, and how.

    Attributes:
        session_file: The session.
        name: Who writes.
        command: COMMAND and its arguments.
        socket: Where the sidecar listens.
        state_dir: OpenClaw's.
        environ: The environment of COMMAND.
        times: Of the lock.
        announced: False to write without a sidecar.
        token: The hooks token, to be proved to the sidecar; empty when it is not known.
    """

    session_file: Path
    name: str
    command: Sequence[str]
    socket: Path
    state_dir: Path
    environ: Mapping[str, str]
    times: LockTimes
    announced: bool = True
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What came of it.

    Attributes:
        change: What was done to the file.
        records: The ids of the records that were added.
        announced: A sidecar was told, all the way.
        lock_kept: Nobody took the lock away while it was held.
        waited_ns: How long the lock was waited for; 0 when it was not taken.
        held_ns: How long it was held.
    """

    change: Change
    records: tuple[str, ...] = ()
    announced: bool = False
    lock_kept: bool = True
    waited_ns: int = 0
    held_ns: int = 0


def append_output(order: Order) -> Written:
    """Run COMMAND, and append the records that it prints.

    The lock is taken when COMMAND has ended, so that it may take its time.

    Raises:
        CotenantError: Something was not as it must be. Nothing was written, unless the message says otherwise.
    """
    with _announcing(order):
        pass  # to say at once that there is no sidecar, before COMMAND does anything
    lines = split_records(output_of(order.command, order.session_file, order.environ))
    if not lines and _ends_whole(order.session_file):
        return Written(change=Change(), announced=order.announced)

    def work(session: LockedSession, _interrupts: Interrupts) -> tuple[Change, tuple[str, ...]]:
        if not lines:
            return Change(), ()
        completed = complete(lines, session.records, time.time_ns())
        return session.append(completed.data), completed.ids

    return _under_lock(order, work)


def edit_session(order: Order) -> Written:
    """Have COMMAND edit a copy of the session under the lock, and make the session what the copy is then.

    Raises:
        CotenantError: Something was not as it must be. Nothing was written, unless the message says otherwise.
    """
    bound = min(MAX_EDIT_SECONDS, order.times.acquire_seconds / 2)

    def work(session: LockedSession, interrupts: Interrupts) -> tuple[Change, tuple[str, ...]]:
        with tempfile.TemporaryDirectory(prefix="openclaw-sidecar-") as directory:
            copy = Path(directory) / session.path.name
            copy.write_bytes(session.data)
            edit(order.command, copy, order.environ, bound, interrupts.check)
            try:
                edited = copy.read_bytes()
            except OSError:
                raise RecordsError("COMMAND left no session behind; a session is not deleted this way") from None
        return _take_over(session, edited)

    return _under_lock(order, work)


def _take_over(session: LockedSession, edited: bytes) -> tuple[Change, tuple[str, ...]]:
    if edited == session.data:
        return Change(), ()
    known = session.records
    if edited.startswith(session.data):
        completed = complete(split_records(edited[len(session.data) :]), known, time.time_ns())
        return (session.append(completed.data), completed.ids) if completed.data else (Change(), ())
    new = check_edited(edited, known)
    return session.replace(edited), new


def _under_lock(order: Order, work: Work) -> Written:
    interrupts = Interrupts()
    with interrupts.noted(), _announcing(order) as announces:
        with locked(order.session_file, order.times, announces, interrupts.check) as session:
            change, ids = work(session, interrupts)
        return Written(
            change=change,
            records=ids,
            announced=announces.is_heard,
            lock_kept=session.lock_kept,
            waited_ns=session.hold.waited_ns,
            held_ns=session.held_ns,
        )


def _ends_whole(file: Path) -> bool:
    """It is there, and its last record has its newline. If not, the lock is taken to see whether that is so."""
    try:
        with file.open("rb") as opened:
            opened.seek(-1, os.SEEK_END)
            return opened.read() == b"\n"
    except OSError:
        return False


@contextmanager
def _announcing(order: Order) -> Iterator[Announces]:
    if not order.announced:
        yield Announces()
        return
    with Announcer(order.socket, order.name, order.state_dir, order.token) as announcer:
        yield announcer
