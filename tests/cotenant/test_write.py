"""`openclaw-sidecar write` with a real sidecar; the gateway is a model (sidecar/demo/standin.py)."""

# ruff: noqa: ASYNC240 - one test, one loop: nobody waits for these small files

import asyncio
import hashlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.policyedit import CotenantRule
from sidecar.demo.companion import Companion
from sidecar.demo.standin import StandIn
from tests.cotenant.kit import Ended, run, start

NOTE = '{"type":"custom","customType":"note","data":{}}'
PRINT = ("--", "printf", "%s\\n", NOTE)
APPEND = 'echo \'{"type":"custom","customType":"note"}\' >> "$OPENCLAW_SIDECAR_SESSION_FILE"'
HALF = 'printf \'{"type"\' >> "$OPENCLAW_SIDECAR_SESSION_FILE"'
PROGRAMS = ("backup", "redact", "printf", "sh", "python3")
SHORT_WAIT = {"OPENCLAW_SESSION_WRITE_LOCK_ACQUIRE_TIMEOUT_MS": "200"}


@asynccontextmanager
async def _sidecar(state_dir: Path, programs: Sequence[str] = PROGRAMS) -> AsyncIterator[Companion]:
    with tempfile.TemporaryDirectory(prefix="ocs-") as work:  # short: a socket's path has 108 bytes
        socket_path = Path(work) / "s.sock"
        python = Path(sys.executable)  # runs the stand-in
        async with Companion(state_dir, Path(work), socket_path, believes=python, programs=programs) as companion:
            yield companion


@asynccontextmanager
async def _waiting(
    state_dir: Path, session_file: Path
) -> AsyncIterator[tuple[Companion, asyncio.subprocess.Process, Path]]:
    """A `write` that waits for a lock which this process holds, and the sidecar that it has linked to."""
    lock = session_file.with_name("abc.jsonl.lock")
    lock.write_text(json.dumps({"pid": os.getpid(), "createdAt": "2026-01-01T00:00:00.000Z"}))
    async with _sidecar(state_dir) as companion:
        process = await start("write", "abc", "--socket", companion.socket, *PRINT, state_dir=state_dir)
        while companion.log.text().count("cotenant_linked") < 2:  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.02)
        yield companion, process, lock


def _locks(state_dir: Path) -> list[Path]:
    return [*state_dir.rglob("*.lock"), *state_dir.rglob("*.new")]


async def _turn(
    state_dir: Path, companion: Companion, meanwhile: Callable[[Path], Awaitable[None]]
) -> tuple[bool, int, dict[str, Any]]:
    stand_in = StandIn(state_dir, companion.socket)
    async with stand_in.linked():
        played = await stand_in._turn("agent:main:main", meanwhile)
    return played.answered, played.lost_records, await companion.closed_incident(played.session)


async def test_its_record_in_a_window_is_a_declared_cotenants(state_dir: Path) -> None:
    ended: list[Ended] = []
    async with _sidecar(state_dir) as companion:

        async def backup(file: Path) -> None:
            options = ("--socket", companion.socket, "--name", "backup", "--json")
            ended.append(await run("write", file.stem, *options, *PRINT, state_dir=state_dir))

        answered, lost, incident = await _turn(state_dir, companion, backup)
        status = await companion.status()
    [done] = ended
    report = done.report
    data = Path(report["session_file"]).read_bytes()[report["offset"] :][: report["length"]]

    assert (done.code, done.errors) == (0, "")
    assert (answered, lost, incident["verdict"]) == (True, 0, "co_tenant")
    assert [(w["kind"], w["name"], w["bytes"]) for w in incident["writers"] if not w["own"]] == [
        ("declared", "backup", report["length"])
    ]
    assert hashlib.sha256(data).hexdigest() == report["sha256"]
    assert [json.loads(data)["id"]] == report["records"]
    assert report["announced"] is report["lock_kept"] is True
    assert _locks(state_dir) == []
    assert status["custody_losses"] == status["rejected"] == {}
    assert [g for g in status["gateways"] if g["pid"] != os.getpid()] == [], "it was taken for a gateway"


async def test_without_the_announcement_its_record_is_external(state_dir: Path) -> None:
    async with _sidecar(state_dir) as companion:

        async def backup(file: Path) -> None:
            done = await run("write", file.stem, "--without-sidecar", "--json", *PRINT, state_dir=state_dir)
            assert (done.code, done.report["announced"]) == (0, False)

        answered, _, incident = await _turn(state_dir, companion, backup)
    assert (answered, incident["verdict"]) == (False, "external")


async def test_an_edit_that_rewrites_is_announced_as_one(state_dir: Path) -> None:
    """The stand-in can't reload: what replaced old bytes is known and refused."""
    async with _sidecar(state_dir) as companion:

        async def shorten(file: Path) -> None:
            edit = 'sed -i "s/What is new/News/" "$OPENCLAW_SIDECAR_SESSION_FILE"'
            options = ("--socket", companion.socket, "--edit", "--name", "redact", "--json")
            done = await run("write", file.stem, *options, "--", "sh", "-c", edit, state_dir=state_dir)
            assert (done.code, done.report["operation"], done.report["records"]) == (0, "rewrite", [])

        answered, _, incident = await _turn(state_dir, companion, shorten)
    assert (answered, incident["verdict"], incident["recovery"]["outcome"]) == (False, "co_tenant", "refused")
    assert [(w["kind"], w["name"]) for w in incident["writers"] if not w["own"]] == [("declared", "redact")]


async def test_without_a_sidecar_nothing_happens_and_the_remedy_is_told(state_dir: Path, session_file: Path) -> None:
    before = session_file.read_bytes()
    done = await run("write", "abc", "--", "touch", state_dir / "was-run", state_dir=state_dir)

    assert done.code == 3
    assert "no sidecar at" in done.errors
    assert "--without-sidecar" in done.errors
    assert not (state_dir / "was-run").exists(), "COMMAND was run"
    assert (session_file.read_bytes(), _locks(state_dir)) == (before, [])


async def test_one_that_no_rule_names_is_refused_before_it_does_anything_and_a_rule_is_told(
    state_dir: Path, session_file: Path
) -> None:
    before = session_file.read_bytes()
    async with _sidecar(state_dir) as companion:
        for editing in ((), ("--edit",)):
            options = ("--socket", companion.socket, "--name", "evil", *editing)
            done = await run("write", "abc", *options, "--", "touch", state_dir / "was-run", state_dir=state_dir)
            said, _, rule = done.errors.partition("\n")
            assert (done.code, done.output) == (3, "")
            assert "no rule of the policy makes declared evil, a program outside of OpenClaw, a co-tenant" in said
            assert "nothing was written" in said
            assert rule == CotenantRule(name="evil").text
        status = await companion.status()
    assert status["rejected"] == {"not_declared": 2}
    assert not (state_dir / "was-run").exists(), "COMMAND was run"
    assert (session_file.read_bytes(), _locks(state_dir)) == (before, [])


async def test_the_rule_that_is_told_and_the_token_are_enough(state_dir: Path, session_file: Path) -> None:
    async with _sidecar(state_dir, programs=()) as companion:
        where = ("--socket", companion.socket, "--data-dir", companion.data_dir)
        policy = companion.data_dir.parent / "policy.toml"
        added = await run("policy", "allow", "backup", "--write", "--policy", policy, state_dir=state_dir)
        assert added.code == 0
        await companion.wait_for(lambda status: status["policy"]["rules"] == 2)
        without = await run("write", "abc", *where, "--name", "backup", *PRINT, state_dir=state_dir)
        assert (without.code, "does not meet token" in without.errors) == (3, True)

        made = await run("hooks", "token", "--data-dir", companion.data_dir, state_dir=state_dir)
        done = await run("write", "abc", *where, "--name", "backup", "--json", *PRINT, state_dir=state_dir)
        assert (done.code, done.errors, done.report["announced"]) == (0, "", True)
        assert made.output.strip() not in companion.log.text()
    assert json.loads(session_file.read_text().splitlines()[-1])["id"] == done.report["records"][0]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "did not answer"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "did not answer"),
        (b'{"t":"reject","protocol":1,"reason":"restart it"}\n', "it refused: restart it"),
    ],
)
async def test_who_listens_and_is_no_sidecar_is_none(
    state_dir: Path, session_file: Path, answer: bytes, why: str
) -> None:
    before = session_file.read_bytes()

    async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    with tempfile.TemporaryDirectory(prefix="ocs-") as work:
        path = Path(work) / "s.sock"
        async with await asyncio.start_unix_server(stranger, path):
            done = await run("write", "abc", "--socket", path, *PRINT, state_dir=state_dir)
    assert done.code == 3
    assert why in done.errors
    assert session_file.read_bytes() == before


async def test_a_sidecar_that_goes_before_the_write_stops_it(state_dir: Path, session_file: Path) -> None:
    """The lock is waited for while the sidecar ends: the bytes could not be announced any more."""
    before = session_file.read_bytes()
    async with _waiting(state_dir, session_file) as (companion, process, lock):
        await companion.kill()
        lock.unlink()
        _, errors = await process.communicate()
    assert process.returncode == 3
    assert "nothing was written" in errors.decode()
    assert (session_file.read_bytes(), _locks(state_dir)) == (before, [])


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("printf", "%s", NOTE), 1, "no newline"),
        (("printf", '{"type":"custom"}\n{"type":"cus'), 1, "no newline"),
        (("sh", "-c", f"echo '{NOTE}'; exit 7"), 1, "ended with exit code 7"),
        (("sh", "-c", f"echo '{NOTE}'; kill -9 $$"), 1, "ended by signal 9"),
        (("no-such-program",), 1, "can't be run: No such file"),
        (("echo", "hello"), 1, "no JSON"),
        (("sh", "-c", "yes '{}' | head -c 17000000"), 1, "more than 16777216 bytes"),
        (
            ("sh", "-c", f"printf '{{\"type\"' >> \"$OPENCLAW_SIDECAR_SESSION_FILE\"; echo '{NOTE}'"),
            3,
            "middle of a rec",
        ),
        (("sh", "-c", 'rm "$OPENCLAW_SIDECAR_SESSION_FILE"'), 3, "No such file"),
        (("sh", "-c", HALF), 3, "ends in the middle of a record"),
        (("sh", "-c", 'rm "$OPENCLAW_SIDECAR_SESSION_FILE"; echo "{}"'), 3, "No such file"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
async def test_what_is_not_whole_is_not_written(
    state_dir: Path, session_file: Path, arguments: tuple[str, ...], code: int, why: str
) -> None:
    before = session_file.read_bytes()
    done = await run("write", "abc", "--without-sidecar", "--", *arguments, state_dir=state_dir)

    assert (done.code, done.output) == (code, "")
    assert why in done.errors
    assert "nothing was written" in done.errors
    assert len(done.errors.splitlines()) == 1
    left = session_file.read_bytes() if session_file.exists() else b""
    assert left.removeprefix(before) in {b"", b'{"type"'}, "more than COMMAND itself did"
    assert _locks(state_dir) == []


@pytest.mark.parametrize(
    ("edit", "code", "why"),
    [
        ('rm "$OPENCLAW_SIDECAR_SESSION_FILE"', 1, "left no session behind"),
        (': > "$OPENCLAW_SIDECAR_SESSION_FILE"', 1, "does not begin with its header"),
        ('printf x >> "$OPENCLAW_SIDECAR_SESSION_FILE"', 1, "no newline"),
        ('sed -i 2d "$OPENCLAW_SIDECAR_SESSION_FILE"', 1, "hang on others that are gone"),
        ("false", 1, "ended with exit code 1"),
    ],
)
async def test_an_edit_that_breaks_the_session_is_not_taken_over(
    state_dir: Path, session_file: Path, edit: str, code: int, why: str
) -> None:
    before = session_file.read_bytes()
    done = await run("write", "abc", "--without-sidecar", "--edit", "--", "sh", "-c", edit, state_dir=state_dir)

    assert done.code == code
    assert why in done.errors
    assert (session_file.read_bytes(), _locks(state_dir)) == (before, [])


async def test_an_edit_that_appends_is_completed_as_printed_records_are(state_dir: Path, session_file: Path) -> None:
    options = ("--without-sidecar", "--edit", "--json")
    inode = session_file.stat().st_ino
    done = await run("write", "abc", *options, "--", "sh", "-c", APPEND, state_dir=state_dir)

    last = json.loads(session_file.read_text().splitlines()[-1])
    assert (done.report["operation"], done.report["records"]) == ("append", [last["id"]])
    assert last["parentId"] == "b"
    assert session_file.stat().st_ino == inode


async def test_an_edit_that_takes_too_long_is_stopped_and_gives_the_lock_back(
    state_dir: Path, session_file: Path
) -> None:
    env = {"OPENCLAW_SESSION_WRITE_LOCK_ACQUIRE_TIMEOUT_MS": "600"}
    done = await run("write", "abc", "--without-sidecar", "--edit", "--", "sleep", "60", state_dir=state_dir, **env)

    assert done.code == 1
    assert "was stopped after 0 s" in done.errors
    assert _locks(state_dir) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_while_it_waits_ends_it_in_order(
    state_dir: Path, session_file: Path, number: signal.Signals
) -> None:
    before = session_file.read_bytes()
    async with _waiting(state_dir, session_file) as (companion, process, lock):
        process.send_signal(number)
        await process.communicate()
        lines = [json.loads(line) for line in companion.log.lines()]
    assert process.returncode == 130
    assert session_file.read_bytes() == before
    assert [line["clean"] for line in lines if line["event"] == "cotenant_gone"] == [True, True]
    assert lock.exists(), "the lock was somebody else's"


async def test_a_signal_while_it_holds_the_lock_gives_it_back_first(state_dir: Path, session_file: Path) -> None:
    edit = 'touch "$0/started"; exec sleep 60'
    process = await start(
        *("write", "abc", "--without-sidecar", "--edit", "--", "sh", "-c", edit, state_dir), state_dir=state_dir
    )
    while not (state_dir / "started").exists():  # noqa: ASYNC110 - a file
        await asyncio.sleep(0.02)
    assert _locks(state_dir) == [session_file.with_name("abc.jsonl.lock")]
    process.send_signal(signal.SIGTERM)
    await process.communicate()

    assert process.returncode == 130
    assert _locks(state_dir) == []


async def test_a_gateway_knows_the_holder_as_one_of_its_own(state_dir: Path) -> None:
    """The rule is read in every release: one argument must be the word openclaw, or the lock counts as stale."""
    edit = 'touch "$0/started"; exec sleep 60'
    process = await start(
        *("write", "abc", "--without-sidecar", "--edit", "--", "sh", "-c", edit, state_dir), state_dir=state_dir
    )
    while not (state_dir / "started").exists():  # noqa: ASYNC110 - a file
        await asyncio.sleep(0.02)
    [lock] = _locks(state_dir)
    holder = json.loads(lock.read_text())["pid"]
    arguments = Path(f"/proc/{holder}/cmdline").read_bytes().split(b"\0")
    process.terminate()
    await process.communicate()

    assert holder == process.pid
    assert b"openclaw" in arguments


async def test_a_lock_that_is_not_had_names_its_holder(state_dir: Path, session_file: Path) -> None:
    session_file.with_name("abc.jsonl.lock").write_text(json.dumps({"pid": os.getpid()}))
    done = await run("write", "abc", "--without-sidecar", *PRINT, state_dir=state_dir, **SHORT_WAIT)

    assert done.code == 3
    assert f"held by process {os.getpid()}" in done.errors


@pytest.mark.parametrize("name", ["", "a b", "-x", "a" * 65, "ü"])
async def test_a_name_that_is_no_word_is_bad_usage(state_dir: Path, name: str) -> None:
    done = await run("write", "abc", f"--name={name}", *PRINT, state_dir=state_dir)

    assert done.code == 2
    assert "--name: must be a word" in done.errors
