"""`openclaw-sidecar write`: appends a script's records to a session under its name."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sidecar.cli.options import checked_word
from sidecar.cli.output import print_json, print_note, print_whole
from sidecar.config.settings import Settings
from sidecar.config.token import known_token
from sidecar.core.facts.change import Operation
from sidecar.core.facts.units import NS_PER_MS
from sidecar.cotenant.locate import writable
from sidecar.cotenant.lock import LockTimes
from sidecar.cotenant.owner import become_respected
from sidecar.cotenant.write import Order, Written, append_output, edit_session


def write_session(
    settings: Settings, session: str, command: Sequence[str], *, name: str | None, editing: bool, announced: bool
) -> tuple[Order, Written]:
    """Do it.

    Raises:
        ConfigError: The name is no word.
        CotenantError: It could not be done; nothing was written, unless the message says otherwise.
    """
    order = Order(
        session_file=writable(session, settings.state_dir),
        name=_name(name, command[0]),
        command=command,
        socket=settings.socket,
        state_dir=settings.state_dir,
        environ=os.environ,
        times=LockTimes.of(os.environ),
        announced=announced,
        token=known_token(settings.hooks_token_file),
    )
    become_respected()
    return order, edit_session(order) if editing else append_output(order)


def print_written(order: Order, written: Written, *, as_json: bool) -> None:
    """Say what was done, and what a person should know of it."""
    if as_json:
        print_json(_facts(order, written))
    else:
        print_whole(_sentence(order, written))
    if not written.lock_kept:
        print_note(
            "openclaw-sidecar: the session lock was taken away while it was held here; look at the session before its"
            " next turn"
        )
    if order.announced and not written.announced:
        print_note("openclaw-sidecar: the sidecar went away meanwhile: to it these bytes are a stranger's")


def is_well(order: Order, written: Written) -> bool:
    """There is nothing that a person should look at."""
    return written.lock_kept and written.announced is order.announced


def _name(given: str | None, program: str) -> str:
    if given is None:
        word = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(program).name).lstrip("._-")[:64]
        return word or "write"
    return checked_word(given, "--name")


def _facts(order: Order, written: Written) -> dict[str, Any]:
    change = written.change
    return {
        "session_file": str(order.session_file),
        "name": order.name,
        "operation": change.operation.value if change.length else "none",
        "offset": change.offset if change.length else None,
        "length": change.length,
        "sha256": change.sha256,
        "records": list(written.records),
        "announced": written.announced,
        "lock_kept": written.lock_kept,
        "lock_wait_ms": round(written.waited_ns / NS_PER_MS, 3),
        "lock_held_ms": round(written.held_ns / NS_PER_MS, 3),
    }


def _sentence(order: Order, written: Written) -> str:
    change, count = written.change, len(written.records)
    if not change.length:
        return f"nothing to write to {order.session_file}"
    records = f"{count} record{'' if count == 1 else 's'}"
    if change.operation is Operation.REWRITE:
        return f"rewrote {order.session_file} as {order.name}: {change.length} bytes, {records} added"
    return f"appended {records} to {order.session_file} as {order.name}: {change.length} bytes at {change.offset}"
