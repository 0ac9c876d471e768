"""Files that a gateway, an agent's tool or an editor writes: lock files, session files, -shm, policies."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.config.policy import MAX_BYTES, PolicyError, parse_policy
from sidecar.core.custody.lineage import off_path, path_to_root
from sidecar.watch.database.commits import CommitHeader, commits_between
from sidecar.watch.lockfile import read_lock
from sidecar.watch.namespaces import HIDDEN
from sidecar.watch.reading import MAX_FILE_BYTES, jsonl_problem, take_snapshot
from sidecar.watch.records import parse_records, read_lines, read_records
from sidecar.watch.stale import inspect_lock
from tests.fuzz.mutate import bounded, fuzzed, mutated

NOW = 1_780_315_200.0


@given(mutated("lock"))
@fuzzed
def test_a_lock_file_has_a_payload_or_none(tmp_path: Path, data: bytes) -> None:
    session = tmp_path / "0a1b.jsonl"
    lock = tmp_path / "0a1b.jsonl.lock"
    lock.write_bytes(data)
    os.utime(lock, (NOW - 100, NOW - 100))
    with bounded():
        payload = read_lock(lock)
        assert payload is None or payload.start is None or payload.start >= 0
        found = inspect_lock(session, NOW, lambda _pid, _start: HIDDEN, lambda _pid, _made: True)
        assert found is not None
        assert found.age_seconds >= 0


@given(mutated("jsonl"))
@fuzzed
def test_a_session_file_has_records_and_lines_that_are_none(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "0a1b.jsonl"
    file.write_bytes(data)
    with bounded():
        records, strange = read_records(file)
        assert len(records) + strange <= data.count(b"\n") + 1
        path = path_to_root(records)
        assert off_path(records, path) == ()
        jsonl_problem(file)
        assert take_snapshot(file).problem == ""


@given(st.lists(mutated("jsonl"), max_size=6))
@example([b'{"id":' + b"[" * 100_000])
@fuzzed
def test_lines_are_records_or_none(lines: list[bytes]) -> None:
    with bounded():
        records, strange = parse_records(lines)
        assert len(records) + strange <= len(lines)


@given(st.lists(mutated("shm"), min_size=1, max_size=4))
@fuzzed
def test_a_header_is_two_equal_copies_or_nothing_and_commits_are_counted(tmp_path: Path, states: list[bytes]) -> None:
    header = CommitHeader(str(tmp_path / "a.sqlite"))
    shm = tmp_path / "a.sqlite-shm"
    before = b""
    try:
        with bounded():
            for state in states:
                shm.write_bytes(state)
                found = header.read()
                assert found in {b"", state[:96]}
                assert commits_between(before, found) >= 0
                before = found
    finally:
        header.close()


def policy_is_taken_or_refused(data: bytes) -> None:
    with bounded():
        try:
            parse_policy(Path("policy.toml"), data)
        except PolicyError as error:
            found = error
        else:
            return
    assert found.findings
    assert "\n" not in str(found)


@given(mutated("policy"))
@example(b"a = " + b"[" * 100_000)
@example(b"a = " + b"{a=" * 50_000)
@example(b"version = " + b"1" * 5000)
@example(b"a" + b".a" * 100_000 + b" = 1")
@example(b"[a" + b".a" * 100_000 + b"]")
@example(b'"a"' + b' . "a"' * 40_000 + b" = 1")
@example(b"a" * (MAX_BYTES - 4))
@example(b" " * MAX_BYTES)
@example(b"[[rule]]\n" * 20_000)
@example(b"".join(b'a%d="""\n"""\n' % number for number in range(16_000)))
@fuzzed
def test_a_policy_is_taken_or_refused_with_findings(data: bytes) -> None:
    policy_is_taken_or_refused(data)


def big(make: Callable[[int], bytes]) -> bytes:
    """As much of it as a policy file may have."""
    return make(MAX_BYTES)[:MAX_BYTES]


@given(st.sampled_from([b"[", b"{", b'"', b"'", b"#", b"=", b".", b"a.", b"[[a]]\n", b'"""', b"\\", b"a=[\n", b"\r\n"]))
@fuzzed
def test_a_policy_as_large_as_it_may_be_is_read_in_bounded_time(piece: bytes) -> None:
    policy_is_taken_or_refused(big(lambda size: piece * (size // len(piece) + 1)))


def test_a_session_file_larger_than_any_that_is_read_has_no_lines(tmp_path: Path) -> None:
    file = tmp_path / "0a1b.jsonl"
    file.touch()
    os.truncate(file, MAX_FILE_BYTES + 1)
    with pytest.raises(OSError, match="too large"):
        read_lines(file)
