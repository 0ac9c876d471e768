"""The watch, on real directories and the kernel's own queue."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from inotify_simple import INotify
from structlog.testing import capture_logs

from sidecar.faults import Faults
from sidecar.watch.tree import printable
from sidecar.watch.watcher import WatchError
from tests.watch.kit import INOTIFY, Told, Watch, limited

StartWatch = Callable[[Path], Watch]
PID: Final = 4711
NOBODY: Final = 65534


def lock(path: Path, pid: int = PID) -> None:
    """Take a lock as the gateway does: the file is empty at first."""
    with path.with_name(f"{path.name}.lock").open("x") as out:
        out.write(f'{{\n  "pid": {pid},\n  "createdAt": "2026-01-01T00:00:00.000Z"\n}}\n')


def unlock(path: Path) -> None:
    path.with_name(f"{path.name}.lock").unlink()


# Session files


@pytest.mark.parametrize("name", ["0a1b.jsonl", "a b.jsonl", ".jsonl"])
def test_every_kind_of_change_of_a_session_file_is_told(
    watch: StartWatch, state: Path, sessions: Path, name: str
) -> None:
    watched = watch(state)
    file = sessions / name
    steps: list[Callable[[], object]] = [
        lambda: file.write_text("a"),
        lambda: file.write_text("b"),
        lambda: os.utime(file, (1, 1)),
        lambda: file.chmod(0o600),
        lambda: os.truncate(file, 0),
        lambda: file.rename(sessions / "away"),
        lambda: (sessions / "away").rename(file),
        lambda: shutil.copy(file, sessions / "copy") and (sessions / "copy").replace(file),
        file.unlink,
    ]
    for number, step in enumerate(steps):
        step()
        assert set(watched.look().touched) == {file}, number
    assert watched.watcher.files == set()


def test_what_is_no_session_file_is_not_told(watch: StartWatch, state: Path, sessions: Path) -> None:
    watched = watch(state)
    for name in ("sessions.json", "x.trajectory.jsonl", "x.jsonl.tmp", "x.jsonl.reset.17", "jsonl", "x.lock", "x"):
        (sessions / name).write_text("a")
    (sessions.parent / "x.jsonl").write_text("a")
    (state / "x.jsonl").write_text("a")
    (sessions / "x.jsonl").mkdir()
    (sessions / "deeper").mkdir()
    (sessions / "deeper" / "x.jsonl").write_text("a")
    told = watched.look()
    assert (told.touched, told.locks, told.unlocked, told.refused) == ([], [], [], [])


def test_files_that_were_there_are_found_and_not_touched(watch: StartWatch, state: Path, sessions: Path) -> None:
    files = [sessions / "a.jsonl", sessions / "b.jsonl"]
    for file in files:
        file.touch()
    lock(files[0])
    watched = watch(state)
    told = watched.look()
    assert (told.found, told.touched, told.locks) == (files, [], [(files[0], PID)])
    assert watched.watcher.files == {str(file) for file in files}
    assert watched.watcher.directories == 1


def test_a_drain_knows_every_change_that_was_made_before_it(watch: StartWatch, state: Path, sessions: Path) -> None:
    watched = watch(state)
    for number in range(200):
        file = sessions / f"{number}.jsonl"
        file.touch()
        assert watched.look().touched[-1] == file


def test_a_drain_knows_what_another_process_did_before_it_ended(watch: StartWatch, state: Path, sessions: Path) -> None:
    watched = watch(state)
    code = "import sys, pathlib\nfor n in range(500): pathlib.Path(sys.argv[1], f'{n}.jsonl').write_text('x')"
    subprocess.run([sys.executable, "-c", code, str(sessions)], check=True)
    assert {path.name for path in watched.look().touched} == {f"{n}.jsonl" for n in range(500)}


def test_changes_are_told_without_anybody_asking(watch: StartWatch, state: Path, sessions: Path) -> None:
    watched = watch(state)
    (sessions / "a.jsonl").touch()
    watched.wait()
    assert watched.told.touched[0] == sessions / "a.jsonl"


def test_a_stopped_watch_is_silent(watch: StartWatch, state: Path, sessions: Path) -> None:
    watched = watch(state)
    watched.stop()
    (sessions / "a.jsonl").touch()
    assert watched.look().touched == []


# Directories that come, go and move


@pytest.mark.parametrize("there", ["", "agents", "agents/new"])
def test_an_agent_that_appears_later_is_watched(watch: StartWatch, state: Path, there: str) -> None:
    """Made in one go: by the time the first directory is known, the file in the last one has been written."""
    shutil.rmtree(state / "agents")
    (state / there).mkdir(parents=True, exist_ok=True)
    watched = watch(state)
    assert watched.watcher.directories == 0
    sessions = state / "agents" / "new" / "sessions"
    sessions.mkdir(parents=True)
    (sessions / "a.jsonl").write_text("a")
    lock(sessions / "a.jsonl")
    told = watched.look()
    assert set(told.touched) == {sessions / "a.jsonl"}
    assert set(told.locks) == {(sessions / "a.jsonl", PID)}
    assert watched.watcher.directories == 1
    (sessions / "b.jsonl").write_text("b")
    assert set(watched.look().touched) == {sessions / "b.jsonl"}


def test_directories_that_appear_one_after_the_other_are_watched(watch: StartWatch, state: Path) -> None:
    shutil.rmtree(state / "agents")
    watched = watch(state)
    for part in ("agents", "agents/new", "agents/new/sessions"):
        (state / part).mkdir()
        watched.look()
    (state / "agents/new/sessions/a.jsonl").touch()
    assert set(watched.look().touched) == {state / "agents/new/sessions/a.jsonl"}


def test_an_agent_that_is_moved_in_is_watched(watch: StartWatch, state: Path, tmp_path: Path) -> None:
    watched = watch(state)
    (tmp_path / "restored" / "sessions").mkdir(parents=True)
    (tmp_path / "restored" / "sessions" / "a.jsonl").touch()
    (tmp_path / "restored").rename(state / "agents" / "restored")
    sessions = state / "agents" / "restored" / "sessions"
    assert set(watched.look().touched) == {sessions / "a.jsonl"}
    (sessions / "b.jsonl").touch()
    assert set(watched.look().touched) == {sessions / "b.jsonl"}


def test_an_agent_that_is_renamed_is_watched_by_its_new_name(watch: StartWatch, state: Path, sessions: Path) -> None:
    (sessions / "a.jsonl").touch()
    watched = watch(state)
    watched.look()
    (state / "agents" / "main").rename(state / "agents" / "renamed")
    moved = state / "agents" / "renamed" / "sessions"
    told = watched.look()
    assert set(told.touched) == {sessions / "a.jsonl", moved / "a.jsonl"}, "one is gone, one has come"
    assert watched.watcher.files == {str(moved / "a.jsonl")}
    (moved / "b.jsonl").touch()
    assert set(watched.look().touched) == {moved / "b.jsonl"}
    assert watched.watcher.directories == 1


def test_an_agent_that_is_moved_away_is_watched_no_more(
    watch: StartWatch, state: Path, sessions: Path, tmp_path: Path
) -> None:
    (sessions / "a.jsonl").touch()
    watched = watch(state)
    watched.look()
    (state / "agents" / "main").rename(tmp_path / "away")
    assert set(watched.look().touched) == {sessions / "a.jsonl"}
    assert (watched.watcher.directories, watched.watcher.files) == (0, set())
    (tmp_path / "away" / "sessions" / "b.jsonl").touch()
    assert watched.look().touched == []


def test_an_agent_that_comes_back_is_watched_again(watch: StartWatch, state: Path, sessions: Path) -> None:
    (sessions / "a.jsonl").touch()
    watched = watch(state)
    for _ in range(3):
        shutil.rmtree(sessions.parent)
        assert set(watched.look().touched) == {sessions / "a.jsonl"}
        assert (watched.watcher.directories, watched.watcher.files) == (0, set())
        sessions.mkdir(parents=True)
        (sessions / "a.jsonl").touch()
        assert set(watched.look().touched) == {sessions / "a.jsonl"}
        assert watched.watcher.directories == 1


def test_a_sessions_directory_that_is_replaced_is_watched(watch: StartWatch, state: Path, sessions: Path) -> None:
    watched = watch(state)
    fresh = sessions.with_name("fresh")
    fresh.mkdir()
    (fresh / "a.jsonl").touch()
    sessions.rename(sessions.with_name("old"))
    fresh.rename(sessions)
    assert set(watched.look().touched) == {sessions / "a.jsonl"}
    (sessions / "b.jsonl").touch()
    (sessions.with_name("old") / "c.jsonl").touch()
    assert set(watched.look().touched) == {sessions / "b.jsonl"}


def test_a_directory_that_vanishes_while_it_is_looked_at_harms_nothing(watch: StartWatch, state: Path) -> None:
    watched = watch(state)
    for number in range(20):
        passing = state / "agents" / f"passing{number}" / "sessions"
        passing.mkdir(parents=True)
        (passing / "a.jsonl").touch()
        shutil.rmtree(passing.parent)
    (state / "agents" / "main" / "sessions" / "b.jsonl").touch()
    assert watched.look().touched[-1].name == "b.jsonl"


def test_a_directory_that_appears_while_the_one_above_it_is_looked_at_is_not_missed(
    watch: StartWatch, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last moment in which nobody would be told: just before the watch is in place."""
    watched = watch(state)
    agent = state / "agents" / "new"
    add_watch = INotify.add_watch

    def late(self: INotify, path: Path, mask: int) -> int:
        if path == agent and not (agent / "sessions").exists():
            (agent / "sessions").mkdir()
            (agent / "sessions" / "a.jsonl").touch()
        return int(add_watch(self, path, mask))

    monkeypatch.setattr(INotify, "add_watch", late)
    agent.mkdir()
    assert set(watched.look().touched) == {agent / "sessions" / "a.jsonl"}


# Lock files


def test_a_lock_is_told_with_its_holder_and_its_end(watch: StartWatch, state: Path, sessions: Path) -> None:
    watched = watch(state)
    file = sessions / "a.jsonl"
    lock(file)
    told = watched.look()
    assert set(told.locks) == {(file, PID)}
    assert told.touched == []
    unlock(file)
    assert watched.look().unlocked == [file]


def test_a_lock_file_is_read_when_it_is_written_and_not_when_it_is_made(
    watch: StartWatch, state: Path, sessions: Path
) -> None:
    watched = watch(state)
    file = sessions / "a.jsonl"
    with (sessions / "a.jsonl.lock").open("x") as out:
        assert watched.look().locks == []
        out.write('{"pid": 12')
        out.flush()
        assert watched.look().locks == []
        out.write('34, "createdAt": "x"}\n')
        out.flush()
        assert watched.look().locks == [(file, 1234)], "told before the file is closed"


NO_HOLDER: Final = (
    b"",
    b"{}",
    b"null",
    b"4711",
    b'{"pid": "4711"}',
    b'{"pid": 0}',
    b'{"pid": -1}',
    b'{"pid": 99999999999999999999}',
    b'{"pid": 1.5}',
    b"\xff\xfe",
    b'{"x":' + b"[" * 4000,
    b'{"x": "' + b"y" * 5000 + b'", "pid": 1}',
)


@pytest.mark.parametrize(
    "payload",
    NO_HOLDER,
    ids=lambda payload: payload[:25].decode(errors="replace"),
)
def test_a_lock_file_that_names_no_process_is_passed_over(
    watch: StartWatch, state: Path, sessions: Path, payload: bytes
) -> None:
    watched = watch(state)
    (sessions / "a.jsonl.lock").write_bytes(payload)
    assert watched.look().locks == []
    lock(sessions / "b.jsonl")
    assert (sessions / "b.jsonl", PID) in watched.look().locks


@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", ["fifo", "open fifo", "directory", "link to a fifo", "dangling link", "socket"])
def test_a_lock_file_that_is_none_hangs_nobody(
    watch: StartWatch, state: Path, sessions: Path, what: str, request: pytest.FixtureRequest
) -> None:
    watched = watch(state)
    path = sessions / "a.jsonl.lock"
    match what:
        case "fifo":
            os.mkfifo(path)
        case "open fifo":
            os.mkfifo(path)
            descriptor = os.open(path, os.O_RDWR)  # somebody might write to it any time
            request.addfinalizer(lambda: os.close(descriptor))
        case "directory":
            path.mkdir()
        case "link to a fifo":
            os.mkfifo(sessions / "fifo")
            path.symlink_to(sessions / "fifo")
        case "dangling link":
            path.symlink_to(sessions / "absent")
        case _:
            os.mknod(path, 0o140600)
    assert watched.look().locks == []
    assert watch(state).look().locks == []


# Links


def test_a_link_that_leads_outside_is_refused_once(
    watch: StartWatch, state: Path, sessions: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.jsonl"
    outside.touch()
    link = sessions / "a.jsonl"
    link.symlink_to(outside)
    watched = watch(state)
    outside.write_text("a")
    os.utime(link, (1, 1), follow_symlinks=False)
    link.rename(sessions / "other")
    (sessions / "other").rename(link)
    watched.watcher._scan()
    told = watched.look()
    assert [(path, code) for path, code, _ in told.refused] == [(link, "symlink_outside")]
    assert (told.touched, told.found, watched.watcher.files) == ([], [], set())


def test_a_file_in_the_place_of_a_refused_link_is_watched(
    watch: StartWatch, state: Path, sessions: Path, tmp_path: Path
) -> None:
    link = sessions / "a.jsonl"
    watched = watch(state)
    link.symlink_to(tmp_path / "outside.jsonl")
    assert [path for path, _, _ in watched.look().refused] == [link]
    link.unlink()
    link.write_text("a")
    assert set(watched.look().touched) == {link}


def test_a_link_that_stays_inside_is_watched(watch: StartWatch, state: Path, sessions: Path) -> None:
    watched = watch(state)
    (sessions / "a.jsonl").write_text("a")
    (sessions / "b.jsonl").symlink_to(sessions / "a.jsonl")
    told = watched.look()
    assert set(told.touched) == {sessions / "a.jsonl", sessions / "b.jsonl"}
    assert told.refused == []


@pytest.mark.parametrize("place", ["agents/linked", "agents/main2/sessions"])
def test_a_directory_that_leads_outside_is_not_watched(
    watch: StartWatch, state: Path, tmp_path: Path, place: str
) -> None:
    outside = tmp_path / "outside"
    (outside / "sessions").mkdir(parents=True)
    link = state / place
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside if place.endswith("linked") else outside / "sessions")
    watched = watch(state)
    (outside / "sessions" / "a.jsonl").touch()
    told = watched.look()
    assert (told.touched, told.found) == ([], [])
    assert watched.watcher.directories == 1


def test_links_in_a_circle_harm_nothing(watch: StartWatch, state: Path, sessions: Path) -> None:
    (state / "agents" / "loop").symlink_to(state / "agents" / "loop")
    (state / "agents" / "up").symlink_to(state)
    (sessions / "a.jsonl").symlink_to(sessions / "a.jsonl")
    watched = watch(state)
    assert [path for path, _, _ in watched.look().refused] == [sessions / "a.jsonl"]
    (sessions / "b.jsonl").touch()
    assert set(watched.look().touched) == {sessions / "b.jsonl"}


# Names


STRANGE: Final = [b"two\nlines.jsonl", b"\x1b[31mred.jsonl", b"\xff\xfe.jsonl"]


@pytest.mark.parametrize("name", [*STRANGE, "ä😀 b.jsonl".encode()])
def test_any_name_is_watched_and_a_strange_one_is_told_once(
    watch: StartWatch, state: Path, sessions: Path, name: bytes
) -> None:
    watched = watch(state)
    with open(os.path.join(os.fsencode(sessions), name), "wb") as out:  # noqa: PTH118, PTH123 - a Path takes no bytes
        out.write(b"a")
    watched.watcher._scan()
    told = watched.look()
    [path] = set(told.touched)
    assert os.fsencode(path.name) == name
    assert path.exists()
    assert [(where, code) for where, code, _ in told.refused] == ([(path, "bad_name")] if name in STRANGE else [])


@pytest.mark.parametrize("name", STRANGE)
def test_any_name_can_be_said_in_one_line(name: bytes) -> None:
    said = printable(os.fsdecode(name))
    assert said.isprintable()
    assert said.encode().isascii()


# Lost events


def overflowing(watch: StartWatch, state: Path, limit: int = 16) -> Watch:
    """A watch whose queue holds few events."""
    with limited("max_queued_events", limit):
        return watch(state)


def flood(sessions: Path, count: int = 40) -> None:
    """More events than the queue holds."""
    for number in range(count):
        (sessions / f"flood{number}.jsonl").touch()


def test_lost_events_are_told_and_stock_is_taken_anew(watch: StartWatch, state: Path, sessions: Path) -> None:
    (sessions / "kept.jsonl").touch()
    (sessions / "gone.jsonl").touch()
    watched = overflowing(watch, state)
    flood(sessions)
    (sessions / "gone.jsonl").unlink()
    (sessions / "kept.jsonl").write_text("changed in the dark")
    told = watched.look()
    assert (told.overflows, watched.watcher.overflows) == (1, 1)
    assert {path.name for path in told.touched} == {f"flood{n}.jsonl" for n in range(40)} | {"kept.jsonl", "gone.jsonl"}
    assert {Path(name).name for name in watched.watcher.files} == {path.name for path in sessions.iterdir()}


def test_locks_that_came_and_went_in_the_dark_are_told(watch: StartWatch, state: Path, sessions: Path) -> None:
    stays, goes, comes, changes = (sessions / f"{name}.jsonl" for name in ("stays", "goes", "comes", "changes"))
    for file in (stays, goes, changes):
        lock(file)
    watched = overflowing(watch, state)
    watched.look()
    flood(sessions)
    unlock(goes)
    lock(comes)
    unlock(changes)
    lock(changes, PID + 1)
    told = watched.look()
    assert told.unlocked == [goes]
    assert {(comes, PID), (changes, PID + 1)} <= set(told.locks)


def test_directories_that_appeared_in_the_dark_are_watched(watch: StartWatch, state: Path, sessions: Path) -> None:
    watched = overflowing(watch, state)
    flood(sessions)
    new = state / "agents" / "new" / "sessions"
    new.mkdir(parents=True)
    (new / "a.jsonl").touch()
    assert new / "a.jsonl" in watched.look().touched
    (new / "b.jsonl").touch()
    assert set(watched.look().touched) == {new / "b.jsonl"}


def test_directories_that_vanished_in_the_dark_are_forgotten(watch: StartWatch, state: Path, sessions: Path) -> None:
    other = state / "agents" / "other" / "sessions"
    other.mkdir(parents=True)
    (other / "a.jsonl").touch()
    watched = overflowing(watch, state)
    flood(sessions)
    shutil.rmtree(other.parent)
    assert other / "a.jsonl" in watched.look().touched
    assert str(other / "a.jsonl") not in watched.watcher.files


def test_the_watch_goes_on_after_every_overflow(watch: StartWatch, state: Path, sessions: Path) -> None:
    watched = overflowing(watch, state)
    for number in range(3):
        flood(sessions)
        assert watched.look().overflows == 1
        (sessions / f"after{number}.jsonl").touch()
        assert set(watched.look().touched) == {sessions / f"after{number}.jsonl"}


def test_the_queue_of_the_kernel_can_really_overflow(watch: StartWatch, state: Path, sessions: Path) -> None:
    """As above, with the limit as it is, for those who may not change it."""
    limit = int((INOTIFY / "max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip(f"{limit} events are too many for a test")
    watched = watch(state)
    first, second = sessions / "a.jsonl", sessions / "b.jsonl"
    first.touch()
    second.touch()
    with first.open("ab", buffering=0) as one, second.open("ab", buffering=0) as two:
        for _ in range(limit // 2 + 10):
            one.write(b"x")  # in turn, or the kernel makes one event of them
            two.write(b"x")
    assert watched.look().overflows == 1


def test_an_event_that_can_not_be_taken_costs_no_other_and_is_told_as_lost(
    watch: StartWatch, state: Path, sessions: Path
) -> None:
    """Whatever went wrong: custody must not rest on a batch of which the half was heard."""

    class Failing(Told):
        def file_touched(self, path: Path) -> None:
            if not self.overflows:
                super().file_touched(path)
                raise RuntimeError("no room")
            super().file_touched(path)

    watched = watch(state)
    watched.told = watched.watcher._handler = Failing()
    first, second = sessions / "a.jsonl", sessions / "b.jsonl"
    first.touch()
    second.touch()
    with capture_logs() as logs:
        told = watched.look()
    assert (told.overflows, watched.watcher.overflows) == (1, 1)
    assert told.reasons == ["an event could not be taken in: RuntimeError: no room"]
    assert set(told.touched[told.touched.index(second) :]) == {first, second}, "stock was not taken anew"
    assert {line["event"] for line in logs} == {"watch_failed"}

    first.write_text("again")
    told = watched.look()
    assert (set(told.touched), told.overflows) == ({first}, 0)


# What can't be watched


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A state directory that every user can reach, with two agents."""
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        Path(directory).chmod(0o755)
        for agent in ("main", "other"):
            (Path(directory) / "agents" / agent / "sessions").mkdir(parents=True)
        yield Path(directory)


@contextmanager
def closed(directory: Path) -> Iterator[None]:
    """A directory whose names can be read, and nothing behind them."""
    directory.chmod(0o644)
    as_root = os.geteuid() == 0
    if as_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if as_root:
            os.seteuid(0)
        directory.chmod(0o755)


def test_a_directory_that_is_closed_costs_no_event_of_another(watch: StartWatch, reachable: Path) -> None:
    first, second = (reachable / "agents" / agent / "sessions" / "a.jsonl" for agent in ("main", "other"))
    watched = watch(reachable)
    first.touch()
    second.touch()
    with closed(first.parent):
        told = watched.look()
    assert (set(told.touched), told.overflows) == ({first, second}, 0)


@pytest.mark.parametrize("which", ["agents", "agents/main", "agents/main/sessions"])
def test_a_directory_that_is_closed_costs_no_start(watch: StartWatch, reachable: Path, which: str) -> None:
    (reachable / "agents" / "main" / "sessions" / "a.jsonl").touch()
    with closed(reachable / which):
        watched = watch(reachable)
    assert watched.look().overflows == 0


def test_a_state_directory_that_is_not_there_is_an_error(watch: StartWatch, tmp_path: Path) -> None:
    with pytest.raises(WatchError) as raised:
        watch(tmp_path / "absent")
    assert str(tmp_path / "absent") in str(raised.value)


def test_a_state_directory_that_is_a_file_is_an_error(watch: StartWatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WatchError) as raised:
        watch(tmp_path / "file")
    assert "Not a directory" in str(raised.value)


@pytest.mark.parametrize("limit", ["max_user_watches", "max_user_instances"])
def test_a_limit_of_the_kernel_is_told_by_its_name(watch: StartWatch, state: Path, limit: str) -> None:
    with limited(limit, 0), pytest.raises(WatchError) as raised:
        watch(state)
    assert f"raise fs.inotify.{limit}" in str(raised.value)


def test_a_directory_that_can_not_be_watched_any_more_costs_only_itself(
    watch: StartWatch, state: Path, sessions: Path
) -> None:
    watched = watch(state)
    with limited("max_user_watches", 1):
        (state / "agents" / "one too many" / "sessions").mkdir(parents=True)
        (sessions / "a.jsonl").touch()
        told = watched.look()
    assert set(told.touched) == {sessions / "a.jsonl"}
    [(path, code, reason)] = told.refused
    assert (path.name, code) == ("one too many", "unreadable")
    assert "raise fs.inotify.max_user_watches" in reason


def test_a_directory_that_is_renamed_is_told_ahead_of_the_end_of_its_files(
    watch: StartWatch, state: Path, sessions: Path
) -> None:
    (sessions / "a.jsonl").write_text("a\n")
    watched = watch(state)
    watched.look()
    sessions.rename(sessions.with_name("elsewhere"))
    told = watched.look()
    assert told.renamed == [sessions]
    assert told.touched == [sessions / "a.jsonl"]
    state.rename(state.with_name("moved"))
    assert state in watched.look().renamed


def test_events_that_are_dropped_on_purpose_show_as_an_overflow(watch: StartWatch, state: Path, sessions: Path) -> None:
    watched = watch(state)
    watched.look()
    watched.watcher._faults = Faults(1.0)
    (sessions / "a.jsonl").write_text("a\n")
    told = watched.look()
    assert told.overflows == watched.watcher.overflows == 1
    assert told.touched == [sessions / "a.jsonl"]  # found by looking again
