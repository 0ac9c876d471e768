"""Which session file a person means."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.cotenant.errors import SessionFileError, SessionNameError
from sidecar.cotenant.locate import locate, writable


def test_a_path_an_id_a_name_and_a_key_mean_the_same(state_dir: Path, session_file: Path) -> None:
    (session_file.parent / "sessions.json").write_text(
        json.dumps({"agent:main:main": {"sessionId": "abc"}, "agent:main:x": {"sessionFile": str(session_file)}})
    )

    for name in (str(session_file), "abc", "abc.jsonl", "agent:main:main", "agent:main:x"):
        assert locate(name, state_dir) == session_file


def test_links_among_directories_are_followed_as_the_gateway_does(state_dir: Path, session_file: Path) -> None:
    linked = state_dir.with_name("linked")
    linked.symlink_to(state_dir)

    assert locate("abc", linked) == session_file
    assert locate(str(linked / "agents" / "main" / "sessions" / "abc.jsonl"), state_dir) == session_file


def test_an_id_of_two_agents_is_told(state_dir: Path, session_file: Path) -> None:
    other = state_dir / "agents" / "other" / "sessions"
    other.mkdir(parents=True)
    (other / "abc.jsonl").write_bytes(session_file.read_bytes())

    with pytest.raises(SessionNameError, match=r"several sessions: .*main.*other"):
        locate("abc", state_dir)


@pytest.mark.parametrize("name", ["nope", "agent:main:nope", "", "..", "a\0b", "/etc/passwd", "./abc.jsonl"])
def test_what_is_no_session_is_told_with_the_remedy(state_dir: Path, name: str) -> None:
    with pytest.raises(SessionNameError, match=r"--state-dir|no session file"):
        locate(name, state_dir)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"k":1}', '{"k":{"sessionFile":5}}', '{"k":{"sessionId":""}}'])
def test_a_list_of_sessions_that_makes_no_sense_names_none(state_dir: Path, session_file: Path, text: str) -> None:
    (session_file.parent / "sessions.json").write_text(text)

    with pytest.raises(SessionNameError):
        locate("k", state_dir)


def test_files_beside_the_sessions_and_links_are_none(state_dir: Path, session_file: Path) -> None:
    for name in ("abc.trajectory.jsonl", "sessions.json"):
        (session_file.parent / name).write_text("{}")
        with pytest.raises(SessionNameError):
            locate(str(session_file.parent / name), state_dir)
    (session_file.parent / "link.jsonl").symlink_to(session_file)
    with pytest.raises(SessionNameError, match="symbolic link"):
        locate("link", state_dir)


def test_a_key_can_not_lead_out_of_the_state_directory(state_dir: Path, session_file: Path, tmp_path: Path) -> None:
    outside = tmp_path / "sessions" / "abc.jsonl"
    outside.parent.mkdir()
    outside.write_bytes(session_file.read_bytes())
    (session_file.parent / "sessions.json").write_text(json.dumps({"k": {"sessionFile": str(outside)}}))

    with pytest.raises(SessionNameError, match="no sidecar watches it"):
        locate("k", state_dir)


def _database(session_file: Path, rows: int) -> Path:
    database = session_file.parent.parent / "agent" / "openclaw-agent.sqlite"
    database.parent.mkdir()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE transcript_events (session_id TEXT, seq INTEGER)")
        connection.executemany("INSERT INTO transcript_events VALUES ('abc', ?)", [(seq,) for seq in range(rows)])
    return database


def test_a_file_that_is_left_over_beside_a_database_is_not_written_to(state_dir: Path, session_file: Path) -> None:
    database = _database(session_file, 1)
    with pytest.raises(SessionFileError) as refused:
        writable("abc", state_dir)
    assert str(database) in str(refused.value)
    assert "nothing was written" in str(refused.value)
    assert "chat.inject" in str(refused.value)


def test_a_database_without_sessions_forbids_nothing(state_dir: Path, session_file: Path) -> None:
    _database(session_file, 0)
    assert writable("abc", state_dir) == session_file


def test_a_database_that_can_not_be_read_forbids_nothing(state_dir: Path, session_file: Path) -> None:
    database = _database(session_file, 1)
    database.write_bytes(b"no database")
    assert writable("abc", state_dir) == session_file


@pytest.mark.parametrize("session", ["agent:main:main", "0000-4111", "/nowhere/openclaw-agent.sqlite#0000-4111"])
def test_a_session_that_is_in_a_database_alone_is_refused_with_the_reason(
    state_dir: Path, session_file: Path, session: str
) -> None:
    database = _database(session_file, 1)
    session_file.unlink()
    with pytest.raises(SessionNameError) as refused:
        writable(session, state_dir)
    assert str(database) in str(refused.value)
    assert "2026.8.1" in str(refused.value)
    assert "chat.inject" in str(refused.value)


def test_without_a_database_a_session_that_is_not_there_is_a_wrong_name(state_dir: Path, session_file: Path) -> None:
    assert session_file.is_file()
    with pytest.raises(SessionNameError) as refused:
        writable("agent:main:none", state_dir)
    assert "2026.8.1" not in str(refused.value)
