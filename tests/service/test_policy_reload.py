"""Policy and pause of a running sidecar: real files, a real process, a real SIGHUP."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import pytest

from sidecar.config.pause import PAUSE_NAME, read_pause, remove_pause, write_pause
from sidecar.config.policy import PolicyError
from sidecar.core import events as ev
from sidecar.core.policy.blocked import Pause
from sidecar.core.policy.policy import Policy
from sidecar.demo.companion import Companion
from sidecar.demo.errors import StartError
from sidecar.service.policy_reload import PolicyReload, first_policy
from sidecar.telemetry.names.labels import PolicyLoad

DENY: Final = '[[rule]]\nname = "no-notes"\nkinds = ["inject"]\nmay = "nothing"\n'
ALLOW: Final = DENY.replace('"nothing"', '"append"')
BAD: Final = DENY.replace('"nothing"', '"nothin"')
SOON: Final = 90


def put(file: Path, text: str) -> None:
    """As an editor does that writes in place."""
    file.write_text(text)


def rename_onto(file: Path, text: str) -> None:
    """As an editor does that replaces the file."""
    fresh = file.with_suffix(".tmp")
    fresh.write_text(text)
    fresh.replace(file)


def take_away(file: Path) -> None:
    file.unlink()


class Counts:
    """Stands in for telemetry, which has tests of its own."""

    def __init__(self) -> None:
        self.loads: list[PolicyLoad] = []
        self.refused = asyncio.Event()

    def policy_read(self, *, taken: bool) -> None:
        self.loads.append(PolicyLoad.LOADED if taken else PolicyLoad.REFUSED)
        if not taken:
            self.refused.set()


class Desk:
    """A policy and a pause on real files, and what it told the core."""

    def __init__(self, file: Path | None, data_dir: Path, now_ns: int = 1_000) -> None:
        self.counts = Counts()
        self.now_ns = now_ns
        self.told: asyncio.Queue[Any] = asyncio.Queue()
        policy, counts = first_policy(file), self.counts
        self.changes: list[Policy] = []
        self.book = PolicyReload(
            policy,
            file,
            data_dir,
            self.told.put_nowait,
            lambda: self.changes.append(self.book.policy),
            counts,  # type: ignore[arg-type] # a stand-in
            lambda: self.now_ns,
        )

    async def next(self) -> Any:  # noqa: ANN401 - an event
        return await asyncio.wait_for(self.told.get(), SOON)

    async def __aenter__(self) -> Self:
        self.book.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.book.stop()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(DENY)
    return path


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    return path


async def test_a_changed_file_comes_into_force_and_a_bad_one_does_not(file: Path, data_dir: Path) -> None:
    async with Desk(file, data_dir) as desk:
        denied = desk.book.policy
        assert (desk.book.status().rules, desk.book.status().good) == (1, True)

        put(file, BAD)
        await asyncio.wait_for(desk.counts.refused.wait(), SOON)
        assert desk.book.policy == denied
        assert desk.book.status().error.startswith(f"{file}:4: rule[0].may: 'nothin' is none of nothing")
        [problem] = desk.book.problems(kernel=False)
        assert problem.code == "policy_refused"
        assert f"{denied.digest} stays in force" in problem.what

        desk.now_ns = 5_000
        rename_onto(file, ALLOW)
        event = await desk.next()
        assert isinstance(event, ev.PolicyChanged)
        assert (event.policy, event.at_ns) == (desk.book.policy, 5_000)
        assert event.policy != denied
        assert (desk.book.status().good, desk.book.status().loaded_at_ns) == (True, 5_000)
        assert list(desk.book.problems(kernel=False)) == []
        assert desk.counts.loads == [PolicyLoad.LOADED, PolicyLoad.REFUSED, PolicyLoad.LOADED]


async def test_a_file_that_is_taken_away_leaves_its_policy_in_force(file: Path, data_dir: Path) -> None:
    async with Desk(file, data_dir) as desk:
        before = desk.book.policy
        take_away(file)
        desk.book.look()
        assert desk.book.policy == before
        assert "No such file or directory" in desk.book.status().error
        put(file, DENY)
        desk.book.look()
        assert desk.book.status().good
        assert desk.told.empty(), "the same policy is no change"


def test_the_same_bad_file_is_refused_once(file: Path, data_dir: Path) -> None:
    desk = Desk(file, data_dir)
    file.write_text(BAD)
    for _ in range(3):
        desk.book.look()
    assert desk.counts.loads == [PolicyLoad.LOADED, PolicyLoad.REFUSED]


def test_without_a_file_the_built_in_policy_is_in_force(data_dir: Path) -> None:
    desk = Desk(None, data_dir)
    desk.book.look()
    assert desk.book.policy == Policy()
    assert (desk.book.status().file, desk.book.status().digest, desk.counts.loads) == ("", "built-in", [])


def test_there_is_no_start_with_a_bad_file(file: Path, data_dir: Path) -> None:
    """No policy is in force that could stay, and the built-in one may grant more than was meant."""
    file.write_text(BAD)
    with pytest.raises(PolicyError):
        Desk(file, data_dir)


async def test_a_pause_is_told_as_it_comes_and_goes_and_is_there_after_a_restart(data_dir: Path) -> None:
    wanted = Pause("upgrade", 1_000, 9_000)
    async with Desk(None, data_dir) as desk:
        write_pause(data_dir, wanted)
        assert (await desk.next()).pause == wanted
        status = desk.book.pause_status()
        assert status is not None
        assert (status.reason, status.until_ns) == ("upgrade", 9_000)
    async with Desk(None, data_dir) as again:
        assert (await again.next()).pause == wanted
        again.now_ns = 9_000
        assert again.book.pause_status() is None
        assert remove_pause(data_dir)
        assert (await again.next()).pause is None
    assert not remove_pause(data_dir)


async def test_a_pause_that_can_not_be_read_is_a_pause(data_dir: Path) -> None:
    (data_dir / PAUSE_NAME).write_text("{")
    async with Desk(None, data_dir) as desk:
        assert (await desk.next()).pause.active(1 << 62)
        [problem] = desk.book.problems(kernel=False)
        assert problem.code == "pause_unreadable"
        desk.book.look()
        assert desk.told.empty()
        remove_pause(data_dir)
        assert (await desk.next()).pause is None
        assert list(desk.book.problems(kernel=False)) == []


def test_a_pause_file_is_for_its_user_only_and_holds_what_was_written(data_dir: Path) -> None:
    pause = Pause("why \N{SNOWMAN} \udcff" + "x" * 1000, 1, 2)
    write_pause(data_dir, pause)
    assert (data_dir / PAUSE_NAME).stat().st_mode & 0o777 == 0o600
    found = read_pause(data_dir)
    assert found is not None
    assert found.reason.startswith("why \N{SNOWMAN} \\xff")
    assert len(found.reason) < 600
    assert [path.name for path in data_dir.iterdir()] == [PAUSE_NAME]


@pytest.fixture
def place() -> Iterator[Path]:
    """Short, because a socket's path has 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="ocs-") as directory:
        path = Path(directory)
        (path / "state" / "agents" / "main" / "sessions").mkdir(parents=True)
        (path / "policies").mkdir()
        (path / "policies" / "policy.toml").write_text(DENY)
        yield path


def test_the_files_are_looked_at_now_and_then_whatever_inotify_says(file: Path, data_dir: Path) -> None:
    desk = Desk(file, data_dir)
    [job] = desk.book.jobs
    file.write_text(BAD)
    job.run()
    assert desk.counts.loads == [PolicyLoad.LOADED, PolicyLoad.REFUSED]


async def test_a_running_sidecar_takes_a_policy_on_a_signal_and_refuses_a_bad_one(place: Path) -> None:
    """Through a link into another directory, which inotify does not see."""
    target, link = place / "policies" / "policy.toml", place / "policy.toml"
    link.symlink_to(target)
    options = ("--policy", str(link))
    async with Companion(place / "state", place / "sidecar", place / "s.sock", options) as sidecar:
        before = (await sidecar.status())["policy"]
        assert (before["rules"], before["good"]) == (1, True)

        target.write_text(BAD)
        os.kill(sidecar.pid, signal.SIGHUP)
        status = await sidecar.wait_for(lambda s: not s["policy"]["good"])
        assert status["policy"]["digest"] == before["digest"]
        assert [p["code"] for p in status["problems"]] == ["policy_refused"]
        metrics = await sidecar.metrics()
        assert 'openclaw_sidecar_policy_loads_total{outcome="refused"} 1.0' in metrics
        assert "openclaw_sidecar_policy_reload_successful 0.0" in metrics
        [line] = [line for line in sidecar.log.lines() if '"policy_refused"' in line]
        assert f"{link}:4: rule[0].may: " in line

        target.write_text(ALLOW)
        os.kill(sidecar.pid, signal.SIGHUP)
        status = await sidecar.wait_for(lambda s: s["policy"]["good"])
        assert status["policy"]["digest"] != before["digest"]
        assert status["problems"] == []
        metrics = await sidecar.metrics()
        assert 'openclaw_sidecar_policy_loads_total{outcome="loaded"} 2.0' in metrics
        assert 'openclaw_sidecar_policy_info{source="file"} 1.0' in metrics


async def test_a_sidecar_does_not_start_with_a_bad_policy_and_says_where_it_is_bad(place: Path) -> None:
    path = place / "policies" / "policy.toml"
    path.write_text(BAD)
    sidecar = Companion(place / "state", place / "sidecar", place / "s.sock", ("--policy", str(path)))
    with pytest.raises(StartError, match="ended with status 3") as refused:
        await sidecar.start()
    assert f"{path}:4: rule[0].may: 'nothin' is none of" in str(refused.value)


async def test_budgets_and_pause_of_a_running_sidecar_are_in_its_status_and_metrics(place: Path) -> None:
    path = place / "policies" / "policy.toml"
    path.write_text('[budget]\nsession = { recoveries = 3, per = "1h" }\ngateway = { recoveries = 9, per = "1d" }\n')
    options = ("--policy", str(path))
    async with Companion(place / "state", place / "sidecar", place / "s.sock", options) as sidecar:
        status = await sidecar.status()
        assert status["budgets"] == [
            {"scope": "session", "limit": 3, "period_seconds": 3600.0, "left": 3},
            {"scope": "gateway", "limit": 9, "period_seconds": 86_400.0, "left": 9},
        ]
        write_pause(sidecar.data_dir, Pause("upgrade", status["started_at_ns"], status["started_at_ns"] * 2))
        status = await sidecar.wait_for(lambda s: s["pause"] is not None)
        assert status["pause"]["reason"] == "upgrade"
        metrics = await sidecar.metrics()
        assert 'openclaw_sidecar_recovery_budget_remaining{scope="session"} 3.0' in metrics
        assert 'openclaw_sidecar_recovery_budget_limit{scope="gateway"} 9.0' in metrics
        assert "openclaw_sidecar_paused 1.0" in metrics
        remove_pause(sidecar.data_dir)
        await sidecar.wait_for(lambda s: s["pause"] is None)
