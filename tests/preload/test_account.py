"""For every way in which node:fs changes a file: what the preload reports is exactly what happened, each byte once."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from sidecar.core.facts.change import Operation
from sidecar.watch.reading import fingerprint_of
from tests.preload import changes as ways
from tests.preload.account import (
    STYLES,
    Account,
    Outcome,
    assert_complete,
    assert_unbroken,
    digest,
    imported_names,
    replay,
)
from tests.preload.changes import BEFORE, BESIDE, SIZE, UNKNOWN, Case, Expected, append

LIMIT: Final = 4096
IN_EVERY_STYLE: Final = (*(c.code for c in ways.SEQUENTIAL), ways.EVERYTHING)


@pytest.fixture(scope="module", params=STYLES)
def account(request: pytest.FixtureRequest, node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """A process that has node:fs from before the watch began, in each of the styles."""
    with Account(node, tmp_path_factory.mktemp("a"), request.param, imported_names(IN_EVERY_STYLE)) as opened:
        yield opened


@pytest.fixture(scope="module")
def process(node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """A process with the default import, for what does not depend on the style."""
    with Account(node, tmp_path_factory.mktemp("p"), "default", ()) as opened:
        yield opened


@pytest.fixture(scope="module")
def cramped(node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """A process that can't make a file larger than `LIMIT`."""
    with Account(node, tmp_path_factory.mktemp("c"), "default", (), fsize=LIMIT) as opened:
        yield opened


def session_file(account: Account) -> Path:
    """A fresh session file below the working directory of the process, with another file beside it."""
    sessions = account.fresh_directory() / "sessions"
    sessions.mkdir()
    (sessions.parent / "alias").mkdir()
    (sessions.parent / "alias" / "sessions").symlink_to(sessions)
    path = sessions / "s 1.jsonl"
    path.write_bytes(BEFORE)
    path.with_suffix(".tmp").write_bytes(BESIDE)
    return path


def told(outcome: Outcome) -> list[tuple[str, int, str, int]]:
    return [(r.op, r.length, r.sha256, r.offset) for r in outcome.ends]


def expected(changes: tuple[Expected, ...]) -> list[tuple[str, int, str, int]]:
    silent = {"truncate", "remove", "metadata"}
    return [
        (op, len(data), "" if op in silent or (op, data, at) == UNKNOWN else digest(data), at)
        for op, data, at in changes
    ]


@pytest.mark.parametrize("case", ways.SEQUENTIAL, ids=str)
def test_a_change_is_reported_as_it_happened(account: Account, case: Case) -> None:
    file = session_file(account)
    first = fingerprint_of(file).encode()
    outcome = account.do(case.code, file)
    assert outcome.error == ""
    assert told(outcome) == expected(case.changes)
    assert {r.file for r in outcome.reports} <= {str(file)}
    assert_complete(BEFORE, outcome, file)
    if case.changes:
        assert_unbroken(first, outcome, file)


@pytest.mark.parametrize("case", ways.UNTELLABLE, ids=str)
def test_a_change_whose_bytes_can_not_be_placed_proves_nothing_against_anybody(process: Account, case: Case) -> None:
    file = session_file(process)
    outcome = process.do(case.code, file)
    assert (outcome.error, outcome.troubles) == ("", ())
    assert told(outcome) == expected(case.changes)
    assert not replay(BEFORE, outcome, file.read_bytes()).determinate


@pytest.mark.parametrize("code", ways.OVERLAPPING)
def test_calls_that_overlap_are_each_counted_once(process: Account, code: str) -> None:
    file = session_file(process)
    outcome = process.do(code, file)
    assert outcome.error == ""
    assert_complete(BEFORE, outcome, file)


@pytest.mark.parametrize("code", ways.FLOATING)
def test_bytes_that_go_where_a_cursor_stands_are_found_by_their_digest(process: Account, code: str) -> None:
    file = session_file(process)
    outcome = process.do(code, file)
    assert outcome.error == ""
    assert replay(BEFORE, outcome, file.read_bytes()).unexplained == ()


@pytest.mark.parametrize(("code", "error"), ways.FAILING)
def test_a_call_that_fails_and_changes_nothing_is_no_change_of_bytes(process: Account, code: str, error: str) -> None:
    file = session_file(process)
    outcome = process.do(code, file)
    assert outcome.error == error
    assert [(r.op, r.failed) for r in outcome.ends] in ([], [("metadata", False)])
    assert_each_begin_has_its_end(outcome)
    assert_complete(BEFORE, outcome, file)


@pytest.mark.parametrize("code", ways.BREAKING_OFF)
def test_a_call_that_fails_half_way_is_marked_as_failed(cramped: Account, code: str) -> None:
    file = session_file(cramped)
    file.with_suffix(".tmp").write_bytes(b"y" * 5000)
    outcome = cramped.do(code, file)
    assert outcome.error == "EFBIG"
    assert not file.exists() or file.read_bytes() != BEFORE, "this is about calls that leave something behind"
    assert [r.failed for r in outcome.ends] == [True]
    assert_each_begin_has_its_end(outcome)


@pytest.mark.parametrize("code", ways.FALLING_SHORT)
def test_a_short_write_is_reported_with_what_it_wrote(cramped: Account, code: str) -> None:
    file = session_file(cramped)
    outcome = cramped.do(code, file)
    wrote = LIMIT - SIZE
    assert (outcome.error, outcome.value) == ("", wrote)
    assert told(outcome) == expected((append(b"x" * wrote),))
    assert_complete(BEFORE, outcome, file)


def assert_each_begin_has_its_end(outcome: Outcome) -> None:
    assert {r.change for r in outcome.reports} == {r.change for r in outcome.ends}


def test_an_asynchronous_call_is_announced_before_its_first_byte(process: Account) -> None:
    code = """
      const doing = fsp.appendFile(file, "ab");
      const announced = [reports.map((r) => r.phase), fs.statSync(file).size];
      await doing;
      return announced;
    """
    outcome = process.do(code, session_file(process))
    assert outcome.value == [["begin"], SIZE]
    assert [r.phase for r in outcome.reports] == ["begin", "end"]


def test_a_synchronous_call_is_one_report(process: Account) -> None:
    outcome = process.do('fs.appendFileSync(file, "a")', session_file(process))
    assert [r.phase for r in outcome.reports] == ["done"]


@pytest.mark.parametrize(
    "code",
    [
        "fs.renameSync(file, OTHER)",
        "await fsp.rename(file, OTHER)",
        "await called((cb) => fs.rename(file, OTHER, cb))",
    ],
)
def test_a_session_that_takes_the_place_of_another_is_reported_for_both(process: Account, code: str) -> None:
    file = session_file(process)
    other = file.with_name("other.jsonl")
    outcome = process.do(code.replace("OTHER", repr(str(other))), file)
    assert {(r.file, r.op, r.length) for r in outcome.ends} == {(str(file), "remove", 0), (str(other), "rewrite", SIZE)}


@pytest.mark.parametrize("name", ways.NAMED_OTHERWISE)
def test_a_file_is_known_by_its_real_name_whatever_it_is_called(process: Account, name: str) -> None:
    file = session_file(process)
    code = f'process.chdir(dir.slice(0, dir.indexOf("/sessions"))); fs.appendFileSync({name}, "a")'
    outcome = process.do(code, file)
    assert outcome.error == ""
    assert {r.file for r in outcome.reports} == {str(file)}
    assert_complete(BEFORE, outcome, file)


@pytest.mark.parametrize("name", ways.NO_SESSION_FILES)
def test_a_path_that_is_no_session_file_is_not_reported(account: Account, name: str) -> None:
    file = session_file(account).parent / name
    file.parent.mkdir(exist_ok=True)
    outcome = account.do(ways.EVERYTHING, file)
    assert (outcome.error, outcome.reports, outcome.troubles) == ("", (), ())
    assert file.read_bytes() == b"ab"


def test_what_a_call_gives_and_throws_is_what_it_always_was(process: Account) -> None:
    code = """
      const absent = `${dir}/absent.jsonl`;
      const given = [fs.appendFileSync(file, "a"), fs.renameSync(file, beside), await fsp.rename(beside, file)];
      let thrown;
      try { fs.unlinkSync(absent); } catch (error) { thrown = error; }
      const rejected = await fsp.unlink(absent).catch((error) => error);
      const called = await new Promise((done) => fs.unlink(absent, done));
      return [...given, ...[thrown, rejected, called].map((error) => `${error.syscall} ${error.code}`)];
    """
    assert process.do(code, session_file(process)).value == [None, None, None, *["unlink ENOENT"] * 3]


def test_a_call_that_is_not_permitted_is_no_change_of_bytes(process: Account) -> None:
    file = session_file(process)
    if os.geteuid() == 0:
        file.unlink()
        file.mkdir()  # root may write to every file, but not to a directory
        assert process.do('fs.appendFileSync(file, "a")', file).ends[0].op == "metadata"
    else:
        file.chmod(0o400)
        assert_complete(BEFORE, process.do('fs.appendFileSync(file, "a")', file), file)


def test_other_paths_cost_next_to_nothing(process: Account) -> None:
    """The bound is far above what is measured: it tells a string test from a look at the disk, not two machines."""
    code = """
      const own = fs.openSync("/dev/null", "w");
      const bytes = Buffer.from("x");
      const started = process.hrtime.bigint();
      for (let i = 0; i < 20000; i += 1) fs.writeSync(own, bytes);
      const each = Number(process.hrtime.bigint() - started) / 20000;
      fs.closeSync(own);
      return each;
    """
    assert process.do(code, session_file(process)).value < 50_000, "nanoseconds for one write to /dev/null"


def test_a_digest_is_of_the_bytes_as_they_were_written_though_their_buffer_is_used_again(process: Account) -> None:
    code = """
      const bytes = Buffer.from("first");
      fs.appendFileSync(file, bytes);
      bytes.fill("x");
      fs.appendFileSync(file, "text");
    """
    outcome = process.do(code, session_file(process))
    assert [r.sha256 for r in outcome.ends] == [digest(b"first"), digest(b"text")]


def test_fingerprints_are_those_around_the_call_though_others_write_after_it(process: Account) -> None:
    code = """
      const { execFileSync } = await import("node:child_process");
      fs.appendFileSync(file, "ours");
      execFileSync("/bin/sh", ["-c", `printf x >> "$0"`, file]);
    """
    file = session_file(process)
    outcome = process.do(code, file)
    [report] = outcome.ends
    assert file.stat().st_size == SIZE + 5
    assert [int(text.split(":")[2]) for text in (report.before, report.after)] == [SIZE, SIZE + 4]


def test_a_call_that_nobody_hears_of_is_counted_and_what_follows_it_is_reported_whole(process: Account) -> None:
    code = """
      const before = lost;
      const written = fs.openSync(file, "r+");
      link.hears = false;
      fs.appendFileSync(file, "a");
      fs.writeFileSync(file, "b");
      fs.unlinkSync(file);
      const missed = lost - before;
      link.hears = true;
      fs.closeSync(written);
      fs.appendFileSync(file, "c");
      return missed;
    """
    outcome = process.do(code, session_file(process))
    assert outcome.value == 3
    assert told(outcome) == expected((append(b"c", 0),))


def test_the_cursor_of_an_open_file_is_known_though_nobody_heard_of_the_write_before(process: Account) -> None:
    code = """
      const opened = fs.openSync(file, "w");
      link.hears = false;
      fs.writeSync(opened, "a");
      link.hears = true;
      fs.writeSync(opened, "b");
      fs.closeSync(opened);
    """
    assert told(process.do(code, session_file(process)))[-1:] == expected((append(b"b", 1),))


WATCHED: Final = """
    appendFile chmod chown copyFile cp fchmod fchown ftruncate futimes lchown link lutimes open rename rm truncate
    unlink utimes write writeFile writev
"""
READING: Final = """
    access close exists fdatasync fstat fsync glob lstat opendir openAsBlob read readFile readdir readlink readv
    realpath stat statfs unwatchFile watch watchFile createReadStream _toUnixTimestamp
"""
OTHERWISE_HARMLESS: Final = """
    mkdir mkdtemp mkdtempDisposable rmdir symlink lchmod createWriteStream
"""
"""They change what is no regular file (a link in a session's place shows as one), or write through what is watched."""

OF_HANDLES: Final = """
    appendFile chmod chown truncate utimes write writeFile writev
    constructor getAsyncId fd read readv readFile readLines stat datasync sync close readableWebStream
    createReadStream createWriteStream
"""


def test_no_function_of_node_fs_is_forgotten(process: Account) -> None:
    """A Node that brings a new way to change a file fails here."""
    code = """
      const names = (owner) => Object.keys(owner).filter((name) => typeof owner[name] === "function");
      const own = await fsp.open(file, "a");
      const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(own));
      await own.close();
      return [[...names(fs), ...names(fsp)], methods];
    """
    functions, methods = process.do(code, session_file(process)).value
    known = {*WATCHED.split(), *READING.split(), *OTHERWISE_HARMLESS.split()}
    assert {name.removesuffix("Sync") for name in functions if not name[0].isupper()} - known == set()
    assert set(methods) - set(OF_HANDLES.split()) == set()


def test_every_operation_of_the_core_is_in_the_table() -> None:
    assert {op for c in (*ways.SEQUENTIAL, *ways.UNTELLABLE) for op, _, _ in c.changes} == {str(op) for op in Operation}
