"""Who wrote which part of a transcript: asked of the running sidecar, or read from what one has kept."""

import contextlib
import http.client
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sidecar.cli.asking import ask, get
from sidecar.cli.options import session_name
from sidecar.cli.output import print_fields, print_line, print_rows
from sidecar.config.settings import Settings
from sidecar.core.custody.files.chain import KeptChain, examine
from sidecar.core.custody.gaps import Gap, widened
from sidecar.core.custody.kept import AnyChain, AnyKeptChain
from sidecar.core.custody.rows.chain import examine_chain
from sidecar.core.errors import SidecarError
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.rows import RowSnapshot, RowVersion, parts_of, rows_named
from sidecar.core.facts.span import Unit
from sidecar.core.facts.value import replace
from sidecar.store.chains import ChainReader
from sidecar.store.custody_json import chain_json
from sidecar.store.errors import StoreMissingError
from sidecar.store.incidents import DATABASE_NAME
from sidecar.store.printable import one_line
from sidecar.watch.database.reader import DatabaseReader
from sidecar.watch.reading import take_snapshot

_SHOWN_BYTES: Final = 12
_DOWN: Final = "no sidecar runs"


class SessionError(SidecarError):
    """A name stands for no transcript, or for several."""

    def __init__(self, session: str, reason: str) -> None:
        super().__init__(f"session {one_line(session)!r}: {one_line(reason)}")


class NoAnswerError(SidecarError):
    """The sidecar runs, and does not answer this question."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the sidecar gave no answer: {one_line(reason)}; look at its log")


def custody_of(settings: Settings, session: str) -> dict[str, Any]:
    """The chain of custody of a transcript as `sidecar.store.custody_json.chain_json` has it.

    Raises:
        SessionError: No chain is known by that name, or several are.
        NoAnswerError: A sidecar runs, and does not answer.
        StoreError: No sidecar runs, and what one has kept can't be read.
    """
    wanted = session_name(session)
    answer = ask(settings)
    if not answer.running:
        return _kept(settings, wanted)
    try:
        status, body = get(settings, str(answer.status["http"]), "/v1/custody", {"session": wanted})
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswerError(str(error)) from error
    if status != http.client.OK:
        raise SessionError(session, str(body.get("detail", f"HTTP {status}")))
    return body


def print_custody(body: Mapping[str, Any]) -> None:
    """Print the ranges of the transcript, one line each, and the times in which nobody watched."""
    _print_head(body)
    if body["ranges"]:
        print_line()
        print_rows(
            [
                (body["unit"].upper(), "WRITER", "GRADE", "WHEN", "SHA-256"),
                *(_row(item, body["unit"]) for item in body["ranges"]),
            ]
        )
    for gap in body["gaps"]:
        print_line()
        print_line(f"Custody was unknown {_span(gap)}: {gap['reason']}")


def print_verified(body: Mapping[str, Any]) -> None:
    """Print whether the transcript is what its chain says, and where it is not."""
    _print_head(body)
    verified = body["verified"]
    of_rows = body["unit"] == Unit.ROWS
    what, one = ("session", "row") if of_rows else ("file", "byte")
    print_line()
    if verified["same"]:
        print_line(f"The {what} is what the chain says, to the {one}.", style="green")
    elif body["problem"]:
        print_line(f"The {what} could not be read: {body['problem']}", style="bold red")
    else:
        print_line(f"The {what} differs from what the chain says at {one} {verified['offset']}.", style="bold red")
        print_rows((_rows_differ(item) if of_rows else _bytes_differ(item),) for item in verified["differences"])
        if not verified["settled"]:
            print_line("A write of the gateway is under way, or can't be placed: ask again.")
    for gap in body["gaps"]:
        print_line(f"Custody was unknown {_span(gap)}: {gap['reason']}")


def _kept(settings: Settings, session: str) -> dict[str, Any]:
    """With no sidecar there is what the last one kept, and the file."""
    try:
        reader = ChainReader(settings.data_dir / DATABASE_NAME)
    except StoreMissingError as error:
        raise SessionError(session, f"{_DOWN}, and none has kept anything: {error}") from error
    try:
        files = reader.files(session)
        kept = reader.recall(files[0]) if len(files) == 1 else None
    finally:
        reader.close()
    if kept is None:
        reason = "it may be any of " + ", ".join(files[:5]) + ": give the path" if files else "no chain of it was kept"
        raise SessionError(session, f"{reason} ({_DOWN})")
    now_ns = time.time_ns()
    unwatched = Gap(kept.watched_ns, now_ns, Reason(ReasonCode.UNWATCHED))
    kept = replace(kept, gaps=widened(kept.gaps, unwatched))
    return chain_json(_examined(kept), watched=False)


def _examined(kept: AnyKeptChain) -> AnyChain:
    if isinstance(kept, KeptChain):
        return examine(kept, (), take_snapshot(Path(kept.file)))
    path, session_id = parts_of(kept.file)
    try:
        with contextlib.closing(DatabaseReader(path)) as database:
            reading = database.snapshot(session_id)
    except sqlite3.Error as error:
        reading = RowSnapshot(RowVersion.absent(), problem=f"the database can't be read: {error}")
    return examine_chain(kept, (), reading)


def _print_head(body: Mapping[str, Any]) -> None:
    unit = body["unit"]
    of_rows = unit == Unit.ROWS
    where = f"{body['size']} {unit}" if body["exists"] else "it has no rows" if of_rows else "there is no such file"
    fields = [("Session", body["file"]), ("Now", where), ("Custody since", str(body["since"]))]
    if body["exists"] and not body["problem"]:
        fields.append(("Known writers", f"{body[f'known_{unit}']} of {body['size']} {unit}"))
    if not body["watched"]:
        fields.append(("Watched", f"no: {_DOWN}; this rests on what the last one kept"))
    print_fields(fields)


def _row(item: Mapping[str, Any], unit: str) -> tuple[str, ...]:
    writer = item["writer"]
    who = "nobody known" if writer is None else " ".join(part for part in (writer["kind"], writer["name"]) if part)
    first, length = item["offset"], item["length"]
    if unit == Unit.ROWS:
        span = f"{first} to {first + length - 1}" if length > 1 else str(first)
    else:
        span = f"{first}..{first + length}"
    return (span, who, item["grade"], item["at"] or "-", item["sha256"][:_SHOWN_BYTES])


def _bytes_differ(item: Mapping[str, Any]) -> str:
    offset, length = item["offset"], item["length"]
    return f"{offset}..{offset + length} was written by nobody known" if length else f"bytes are missing at {offset}"


def _rows_differ(item: Mapping[str, Any]) -> str:
    first, length = item["offset"], item["length"]
    if not length:
        return "the generation was changed by nobody known"
    were = "was" if length == 1 else "were"
    return f"{rows_named(first, length)} {were} {item['deed']} by nobody known"


def _span(gap: Mapping[str, Any]) -> str:
    until = f"until {gap['to']} ({gap['seconds']} s)" if gap["to"] else "and still is"
    return f"from {gap['from']} {until}"
