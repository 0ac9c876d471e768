"""Makes records out of what COMMAND printed, so that they continue the one line of history (rule 3).

As the gateway's ``appendSessionTranscriptMessage`` does, a record without a parent hangs on the last record of the
conversation; what else a record has stays as it was printed, to the byte.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from sidecar.core.custody.lineage import HEADER, LEAF, Record, off_path, path_to_root
from sidecar.core.facts.units import NS_PER_MS, NS_PER_SECOND
from sidecar.cotenant.errors import RecordsError
from sidecar.watch.records import parse_records

_MESSAGE: Final = "message"
_OWN: Final = ("type", "id", "parentId", "timestamp")
_Fields = dict[str, msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Completed:
    """Records that may be appended.

    Attributes:
        data: Their lines.
        ids: Their ids, in order.
    """

    data: bytes
    ids: tuple[str, ...]


def split_records(output: bytes) -> list[bytes]:
    """The lines that hold a record each; blank ones are left out.

    Raises:
        RecordsError: The last one has no end, or one is no JSON object. The text of it is never shown.
    """
    if output and not output.endswith(b"\n"):
        tail = len(output) - output.rfind(b"\n") - 1
        raise RecordsError(
            f"the output of COMMAND ends in the middle of a record: its last {tail} bytes have no newline"
        )
    lines = output.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            _check(line, number)
    return [line for line in lines if line.strip()]


def complete(lines: Sequence[bytes], known: Sequence[Record], now_ns: int) -> Completed:
    """Give each record what it lacks, and see that they all continue the history.

    Args:
        lines: As `split_records` gave them.
        known: The records of the session.
        now_ns: The time, nanoseconds since the epoch.

    Raises:
        RecordsError: A record would start a branch, has an id that is taken, or is of a type that is not appended.
    """
    history = list(known)
    _check_history(history)
    taken = {record.record_id for record in known}
    before = path_to_root(history)
    made: list[bytes] = []
    ids: list[str] = []
    for number, line in enumerate(lines, start=1):
        fields = msgspec.json.decode(line, type=_Fields)
        kind = _text(fields, "type", number)
        if not kind or kind == HEADER:
            raise RecordsError(f"record {number} of COMMAND has {'no type' if not kind else 'the type of a header'}")
        own = _text(fields, "id", number) or str(uuid.uuid4())
        if own in taken:
            raise RecordsError(f"record {number} of COMMAND has the id {own[:80]!r}, which the session has already")
        taken.add(own)
        ids.append(own)
        path = path_to_root(history) if kind == LEAF or not made or "appendMode" in fields else (ids[-2],)
        made.append(_line(fields, kind, own, path[-1] if path else None, now_ns))
        history += parse_records([made[-1]])[0]
    branched = off_path(history, [*before, *ids])
    if branched:
        raise RecordsError(
            f"{len(branched)} records would be beside the line of history ({', '.join(branched)[:200]}): leave parentId"
            " out, and each record hangs on the last one"
        )
    return Completed(b"".join(line + b"\n" for line in made), tuple(ids))


def check_edited(data: bytes, before: Sequence[Record]) -> tuple[str, ...]:
    """See that an edited session is whole records on one line of history.

    Returns:
        The ids of the records that are new.

    Raises:
        RecordsError: It is not; the text says in what.
    """
    lines = split_records(data)
    after, _strange = parse_records(lines)
    if not after or (bool(before) and before[0].kind == HEADER != after[0].kind):
        raise RecordsError("the edited session does not begin with its header")
    left = {record.record_id for record in after}
    if any(record.parent_id and record.parent_id not in left for record in after if record.kind != HEADER):
        raise RecordsError("records of the edited session hang on others that are gone: give them another parentId")
    known = {record.record_id for record in before}
    new = tuple(r.record_id for r in after if r.kind != HEADER and r.record_id and r.record_id not in known)
    branched = off_path(after, [*(i for i in path_to_root(before) if i in left), *new])
    if branched:
        raise RecordsError(f"{len(branched)} records of the edited session would be beside the line of history")
    return new


def _check(line: bytes, number: int) -> None:
    try:
        found = msgspec.json.decode(line)
        line.decode()
    except (ValueError, RecursionError) as error:
        # The decoder's own words may quote the record (rule 7).
        where = f" ({error})" if isinstance(error, msgspec.DecodeError) else ""
        raise RecordsError(f"line {number} of COMMAND is no JSON{where}") from None
    if not isinstance(found, dict):
        raise RecordsError(f"line {number} of COMMAND is no JSON object")


def _check_history(known: Sequence[Record]) -> None:
    """A history from before OpenClaw's records had parents is not continued here."""
    body = [record for record in known if record.kind != HEADER]
    if body and all(record.parent_id is None for record in body):
        raise RecordsError(
            "the records of this session have no parents yet; the gateway brings it up to date at its next write"
        )


def _text(fields: _Fields, name: str, number: int) -> str:
    if name not in fields:
        return ""
    try:
        return msgspec.json.decode(fields[name], type=str)
    except msgspec.DecodeError:
        raise RecordsError(f"record {number} of COMMAND has a field {name} that is no text") from None


def _line(fields: _Fields, kind: str, own: str, parent: str | None, now_ns: int) -> bytes:
    moment = (
        datetime.fromtimestamp(now_ns / NS_PER_SECOND, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
    made: dict[str, object] = {
        "type": kind,
        "id": own,
        "parentId": fields.get("parentId", parent),
        "timestamp": fields.get("timestamp", moment),
    }
    made |= {name: value for name, value in fields.items() if name not in _OWN}
    if kind == _MESSAGE:
        made["message"] = _message(fields, now_ns)
    return msgspec.json.encode(made)


def _message(fields: _Fields, now_ns: int) -> object:
    """What is said, with a time of its own, which every message of the gateway has."""
    try:
        message = msgspec.json.decode(fields.get("message", b"null"), type=_Fields)
        role = msgspec.json.decode(message.get("role", b"null"), type=str)
    except msgspec.DecodeError:
        raise RecordsError("a record of type message has no message with a role") from None
    if not role:
        raise RecordsError("a record of type message has no message with a role")
    return message if "timestamp" in message else message | {"timestamp": now_ns // NS_PER_MS}
