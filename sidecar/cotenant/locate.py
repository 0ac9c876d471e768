"""Which session file a person means: by path, by id, or by session key."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from sidecar.cotenant.errors import SessionFileError, SessionNameError
from sidecar.watch.database.place import DATABASE, database_of, databases_of, holds_sessions
from sidecar.watch.tree import Kind, is_inside, is_plain, is_sessions_directory, kind_of, printable

_INSTEAD: Final = "have the gateway itself add the record: `chat.inject` of its API"


def locate(session: str, state_dir: Path) -> Path:
    """The session file, by the name that gateways and the sidecar know it by.

    Args:
        session: A path, a session id, or a key as in an agent's ``sessions.json``.
        state_dir: OpenClaw's state directory.

    Raises:
        SessionNameError: It names no session file below the state directory, or several.
    """
    found = _by_path(session) if "/" in session else _by_name(session, state_dir)
    if not found:
        raise SessionNameError(
            f"no session {printable(session)} below {state_dir}; give a session file's path, a session id, or a key as"
            " in sessions.json, and the right --state-dir"
        )
    if len(found) > 1:
        names = ", ".join(str(path) for path in sorted(found))
        raise SessionNameError(f"{printable(session)} names several sessions: {names}; give the path of one")
    return _checked(found.pop(), state_dir)


def writable(session: str, state_dir: Path) -> Path:
    """The session file that a program outside of OpenClaw may write to.

    Raises:
        SessionNameError: As `locate`.
        SessionFileError: The agent's sessions are in a database (OpenClaw from 2026.8.1 on): the file is left over, and
            no gateway reads it.
    """
    try:
        path = locate(session, state_dir)
    except SessionNameError as error:
        agents = (Path(name) for name in databases_of(state_dir) if Path(name).name == DATABASE)
        if database := next(filter(holds_sessions, agents), None):
            raise SessionNameError(
                f"{error}; from 2026.8.1 on OpenClaw's sessions are in a database ({database}), and only its gateway"
                f" may write to that: {_INSTEAD}"
            ) from None
        raise
    database = database_of(path)
    if holds_sessions(database):
        raise SessionFileError(
            path,
            f"the sessions of this agent are in {database}, so no gateway reads this file any more",
            _INSTEAD,
        )
    return path


def _by_path(session: str) -> set[Path]:
    path = Path(session)
    return {path.parent.resolve() / path.name} if path.is_file() else set()


def _by_name(session: str, state_dir: Path) -> set[Path]:
    found: set[Path] = set()
    for directory in sorted(state_dir.glob("agents/*/sessions")):
        own = directory / (session if kind_of(session) is Kind.SESSION else f"{session}.jsonl")
        candidates = [own, *_by_key(session, directory)]
        found |= {path.parent.resolve() / path.name for path in candidates if path.is_file()}
    return found


def _by_key(key: str, directory: Path) -> Iterator[Path]:
    """What the agent's list of sessions says: a file, or the id that a file is named after."""
    try:
        listed: Any = msgspec.json.decode((directory / "sessions.json").read_bytes())
        entry = listed[key]
        file, own = entry.get("sessionFile"), entry.get("sessionId")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    if isinstance(file, str) and file:
        yield directory / file
    elif isinstance(own, str) and own:
        yield directory / f"{own}.jsonl"


def _checked(path: Path, state_dir: Path) -> Path:
    if kind_of(path.name) is not Kind.SESSION or not is_plain(path.name):
        raise SessionNameError(f"{printable(str(path))} is no session file: its name must be <id>.jsonl")
    if not is_sessions_directory(path.parent, state_dir.resolve()) or not is_inside(path, state_dir):
        raise SessionNameError(
            f"{path} does not lie in a sessions directory of {state_dir}, so that no sidecar watches it; give the right"
            " --state-dir"
        )
    if path.is_symlink():
        raise SessionNameError(f"{path} is a symbolic link: sessions are not written through links")
    return path
