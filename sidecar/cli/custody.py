"""Who wrote which bytes of a session file: asked of the running sidecar, or read from what one has kept."""

import http.client
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sidecar.cli.asking import ask, get
from sidecar.cli.options import session_name
from sidecar.cli.output import print_fields, print_line, print_rows
from sidecar.config.settings import Settings
from sidecar.core.custody.files.chain import Gap, examine, widened
from sidecar.core.errors import SidecarError
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import replace
from sidecar.store.chains import ChainReader
from sidecar.store.custody_json import chain_json
from sidecar.store.errors import StoreMissingError
from sidecar.store.incidents import DATABASE_NAME
from sidecar.store.printable import one_line
from sidecar.watch.reading import take_snapshot

_SHOWN_BYTES: Final = 12
_DOWN: Final = "no sidecar runs"


class SessionError(SidecarError):
    """A name stands for no session file, or for several."""

    def __init__(self, session: str, reason: str) -> None:
        super().__init__(f"session {one_line(session)!r}: {one_line(reason)}")


class NoAnswerError(SidecarError):
    """The sidecar runs, and does not answer this question."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the sidecar gave no answer: {one_line(reason)}; look at its log")


def custody_of(settings: Settings, session: str) -> dict[str, Any]:
    """The chain of custody of a session file as `sidecar.store.custody_json.chain_json` has it.

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
        status, body = get(str(answer.status["http"]), "/v1/custody", {"session": wanted})
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswerError(str(error)) from error
    if status != http.client.OK:
        raise SessionError(session, str(body.get("detail", f"HTTP {status}")))
    return body


def print_custody(body: Mapping[str, Any]) -> None:
    """Print the ranges of the file, one line each, and the times in which nobody watched."""
    _print_head(body)
    if body["ranges"]:
        print_line()
        print_rows([("BYTES", "WRITER", "GRADE", "WHEN", "SHA-256"), *(_row(item) for item in body["ranges"])])
    for gap in body["gaps"]:
        print_line()
        print_line(f"Custody was unknown {_span(gap)}: {gap['reason']}")


def print_verified(body: Mapping[str, Any]) -> None:
    """Print whether the file is what its chain says, and where it is not."""
    _print_head(body)
    verified = body["verified"]
    print_line()
    if verified["same"]:
        print_line("The file is what the chain says, to the byte.", style="green")
    elif body["problem"]:
        print_line(f"The file could not be read: {body['problem']}", style="bold red")
    else:
        print_line(f"The file differs from what the chain says at byte {verified['offset']}.", style="bold red")
        print_rows((_difference(item),) for item in verified["differences"])
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
    return chain_json(examine(kept, (), take_snapshot(Path(kept.file))), watched=False)


def _print_head(body: Mapping[str, Any]) -> None:
    where = f"{body['size']} bytes" if body["exists"] else "there is no such file"
    fields = [("Session", body["file"]), ("Now", where), ("Custody since", str(body["since"]))]
    if body["exists"] and not body["problem"]:
        fields.append(("Known writers", f"{body['known_bytes']} of {body['size']} bytes"))
    if not body["watched"]:
        fields.append(("Watched", f"no: {_DOWN}; this rests on what the last one kept"))
    print_fields(fields)


def _row(item: Mapping[str, Any]) -> tuple[str, ...]:
    writer = item["writer"]
    who = "nobody known" if writer is None else " ".join(part for part in (writer["kind"], writer["name"]) if part)
    span = f"{item['offset']}..{item['offset'] + item['length']}"
    return (span, who, item["grade"], item["at"] or "-", item["sha256"][:_SHOWN_BYTES])


def _difference(item: Mapping[str, Any]) -> str:
    offset, length = item["offset"], item["length"]
    return f"{offset}..{offset + length} was written by nobody known" if length else f"bytes are missing at {offset}"


def _span(gap: Mapping[str, Any]) -> str:
    until = f"until {gap['to']} ({gap['seconds']} s)" if gap["to"] else "and still is"
    return f"from {gap['from']} {until}"
