"""Recordings of windows: on disk beside their incident, and as files without names for other people."""

import hashlib
import json
import sqlite3
from typing import Any, Final

from sidecar.core.errors import SidecarError
from sidecar.core.facts.rows import is_of_rows, parts_of
from sidecar.core.replay.recording import NotRecordedError, Recording
from sidecar.core.replay.replay import compare, facts, replay
from sidecar.core.verdict.incident import Incident
from sidecar.store.printable import one_line
from sidecar.store.tapes import decode, encode, pack

FORMAT: Final = "openclaw-sidecar incident 1"
"""What an exported file says of itself."""

_NAMES: Final = frozenset({"file", "database", "session_file", "directory", "exe", "holder_exe", "cgroup", "container"})
"""Fields that hold paths and the like. What they say is hashed wherever it occurs in an export."""

_DATABASE: Final = ".sqlite"
"""Tells transcripts in a database from files, in an alias as well."""

_OWN_NAME: Final = 16
"""A shorter id of a session may be a part of any text."""

_TOO_LONG: Final = "the window had more events than are kept: it can't be replayed"
_NAMED: Final = "the policy in force names paths, which are hashed here: with --paths it can be replayed"


class ExportError(SidecarError):
    """A file is no exported incident."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{one_line(where)}: {one_line(reason)}; `openclaw-sidecar export ID` makes such files")


def put_recording(database: sqlite3.Connection, incident: Incident, recording: Recording) -> None:
    """Keep a recording, in the place of an earlier one of this incident, within a transaction of the store.

    It goes with its incident. Of one that could not be saved, nothing is kept.
    """
    database.execute(
        "INSERT OR REPLACE INTO recordings SELECT id, ? FROM incidents WHERE id = ?",
        (pack(recording), incident.incident_id),
    )


def exported(incident: Incident, recording: Recording | None, *, paths: bool = False) -> dict[str, Any]:
    """An incident for other people: facts, digests and times; no transcript text, no path, no session key.

    Args:
        incident: As it was saved last.
        recording: What led to it; None when nothing was kept, for want of a window or for its age.
        paths: Leave file names and executables as they are.

    Returns:
        A dictionary of JSON values. ``replays`` says whether it leads to the same verdict again here and now; if not,
        ``why_not`` says why.
    """
    body: dict[str, Any] = {
        "format": FORMAT,
        "incident": incident.incident_id,
        "about": "",
        "gateway": {"version": incident.gateway.version, "adapter": incident.gateway.adapter.value},
        "expected": facts(incident),
        "recording": None if recording is None else encode(recording),
    }
    if not paths:
        body = _hashed(body)
    why_not = _why_not(body)
    if why_not and not paths and recording is not None and not _why_not({**body, "recording": encode(recording)}):
        why_not = _NAMED
    return {**body, "replays": not why_not, "why_not": why_not}


def imported(where: str, text: bytes | str) -> tuple[dict[str, Any], Recording]:
    """The facts that an exported file expects, and its recording.

    Args:
        where: The file's name, for errors.
        text: What it holds.

    Raises:
        ExportError: It is no exported incident, or one that can't be replayed.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ExportError(where, f"it is no JSON: {error}") from error
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise ExportError(where, f"it does not say that it is an {FORMAT!r}")
    if not isinstance(body.get("expected"), dict):
        raise ExportError(where, "expected: there are no facts to compare with")
    if body.get("recording") is None:
        raise ExportError(where, "recording: nothing was recorded of this incident, so there is nothing to replay")
    try:
        recording = decode(body["recording"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(where, f"recording: {error}") from error
    if not recording.whole:
        raise ExportError(where, f"recording: {_TOO_LONG}")
    return body["expected"], recording


def _why_not(body: dict[str, Any]) -> str:
    """Why it does not lead to the same facts again; empty when it does."""
    try:
        expected, recording = imported("recording", json.dumps(body))
        different = compare(expected, replay(recording))
    except (ExportError, NotRecordedError) as error:
        return str(error)
    return ", ".join(f"{d.name}: {d.recorded!r} became {d.replayed!r}" for d in different)


def _hashed(body: dict[str, Any]) -> dict[str, Any]:
    """The same with a hash in the place of each path, wherever it occurs."""
    names = _found(body) - {""}
    parts = [parts_of(name) for name in names if is_of_rows(name)]
    names |= {database for database, _session_id in parts}
    names |= {session_id for _database, session_id in parts if len(session_id) >= _OWN_NAME}  # its first row's id, too
    directories = {name.rpartition("/")[0] for name in names}
    aliases = {name: _digest(name) if name in directories else _alias(name) for name in names}
    longest_first = sorted(aliases, key=len, reverse=True)
    return dict(_replaced(body, [(name, aliases[name]) for name in longest_first]))


def _found(value: Any) -> set[str]:  # noqa: ANN401 - any JSON value
    if isinstance(value, list | tuple):
        named = _found({value[0]: value[1]}) if len(value) == 2 and isinstance(value[0], str) else set()  # noqa: PLR2004 - a pair
        return named | {name for item in value for name in _found(item)}
    if not isinstance(value, dict):
        return set()
    found = {item for name, item in value.items() if name in _NAMES and isinstance(item, str)}
    if value.get("path") is True and isinstance(value.get("text"), str):
        found.add(value["text"])  # a policy's pattern of paths
    return found | {name for item in value.values() for name in _found(item)}


def _alias(name: str) -> str:
    """A path's directory is hashed by itself, so that what lies in one directory still does; and so is a database."""
    if is_of_rows(name):
        database, session_id = parts_of(name)
        return f"{_alias(database)}#{_digest(session_id)}"
    head, slash, tail = name.rpartition("/")
    kind = _DATABASE if tail.endswith(_DATABASE) else ""
    return f"{_digest(head)}/{_digest(tail)}{kind}" if slash and head else _digest(name)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _replaced(value: Any, aliases: list[tuple[str, str]]) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, list | tuple):
        return [_replaced(item, aliases) for item in value]
    if isinstance(value, dict):
        return {name: _replaced(item, aliases) for name, item in value.items()}
    if isinstance(value, str):
        for name, alias in aliases:
            value = value.replace(name, alias)
    return value
