"""What may have been missed costs custody in the running service until the next fence, is counted, and shown."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.settings import Settings
from sidecar.demo.companion import believing
from sidecar.service.lifecycle import serve
from sidecar.service.wiring import Parts
from sidecar.status import Status
from sidecar.wire import messages as wire
from tests.driver.kit import Gateway, foreign_append
from tests.link.running import until
from tests.service.kit import PYTHON, Place, Turning


async def lost_turn(place: Place, gateway: Gateway, fence: str, window: str) -> str:
    """The gateway asks, gets no for an answer, and its own fence stops the turn; the reason."""
    gateway.ask(place.file, fence, window)
    answer = await gateway.answer()
    assert isinstance(answer, wire.Refuse), answer
    gateway.trip(place.file, fence, window)
    gateway.end(window, takeover=True)
    return answer.reason


async def kept_turn(place: Place, gateway: Gateway, window: str, known: Callable[[], Awaitable[object]]) -> None:
    """Another window, in which a co-tenant writes and nothing is lost, once custody is known again."""
    fence = gateway.fence(place.file, window)
    await known()
    gateway.append(place.file, f"note-{window}")
    gateway.ask(place.file, fence, window)
    answer = await gateway.answer()
    assert isinstance(answer, wire.Approve), answer
    gateway.applied(place.file, fence, f"note-{window}", window=window)
    gateway.fence(place.file, window)
    gateway.end(window)


def unknown(status: dict[str, Any]) -> tuple[int, dict[str, int]]:
    return status["custody_unknown"], status["custody_losses"]


def _known(status: dict[str, Any]) -> bool:
    """There is a window, and what the file held at its fence is known."""
    return bool(status["windows"]) and not status["custody_unknown"]


def _is_known(status: Status) -> bool:
    return bool(status.windows) and not status.custody_unknown


@pytest.mark.parametrize("renamed", ["sessions", "its agent"])
async def test_a_directory_renamed_under_the_watch_is_lost_custody_until_the_next_fence(
    place: Place, renamed: str
) -> None:
    """The directory goes away and comes back, with a byte more or not; nobody saw what was done in between."""
    directory = place.file.parent if renamed == "sessions" else place.file.parent.parent
    elsewhere = place.root / "elsewhere"
    async with place.companion() as sidecar:
        gateway = await place.gateway(sidecar)
        try:
            gateway.append(place.file, "early")
            fence = gateway.fence(place.file)
            await sidecar.wait_for(_known)
            directory.rename(elsewhere)
            await sidecar.wait_for(lambda status: status["watch"]["directories"] == 0)
            elsewhere.rename(directory)
            status = await sidecar.wait_for(lambda status: status["watch"]["directories"] == 1)
            assert unknown(status) == (1, {"renamed": 1})
            gateway.append(place.file, "note")
            await lost_turn(place, gateway, fence, "w1")
            incident = await sidecar.closed_incident(place.file.name)
            assert (incident["verdict"], incident["turn_lost"]) == ("unattributed", True)
            assert "renamed" in incident["reason"]
            metrics = await sidecar.metrics()
            assert "openclaw_sidecar_custody_losses_total{" in metrics
            assert 'reason="renamed"} 1.0' in metrics

            await kept_turn(place, gateway, "w2", lambda: sidecar.wait_for(_known))
            assert unknown(await sidecar.status()) == (0, {"renamed": 1})
            body = await sidecar.custody(place.file.name)
            assert [r["writer"]["name"] for r in body["ranges"] if r["writer"]] == ["digest", "digest", "digest"]
            [gap] = body["gaps"]
            assert "was renamed" in gap["reason"]
            assert gap["to"] is not None
        finally:
            await gateway.hang_up()


async def test_a_foreign_byte_from_the_time_of_another_name_is_not_recovered_across(place: Place) -> None:
    elsewhere = place.root / "elsewhere"
    async with place.companion() as sidecar:
        gateway = await place.gateway(sidecar)
        try:
            fence = gateway.fence(place.file)
            await sidecar.wait_for(_known)
            place.file.parent.rename(elsewhere)
            foreign_append(elsewhere / place.file.name)
            elsewhere.rename(place.file.parent)
            await lost_turn(place, gateway, fence, "w1")
            assert (await sidecar.closed_incident(place.file.name))["verdict"] in {"unattributed", "external"}
        finally:
            await gateway.hang_up()


@asynccontextmanager
async def turned(place: Place) -> AsyncIterator[tuple[Parts, Turning, Gateway]]:
    """The whole service in this process, with clocks that the test turns; and a linked gateway."""
    clocks = Turning()
    sidecar = place.companion()
    sidecar.data_dir.mkdir()
    policy = place.root / "policy.toml"
    policy.write_text(believing(PYTHON))
    settings = Settings(
        state_dir=sidecar.state_dir,
        data_dir=sidecar.data_dir,
        socket=sidecar.socket,
        policy=policy,
        http_port=0,
        metrics_port=0,
    )
    parts, stopping = Parts(settings, clocks.read), asyncio.Event()
    serving = asyncio.create_task(serve(parts, stopping))
    await until(lambda: parts.running.ready or serving.done())
    try:
        gateway = await place.gateway(sidecar)
        try:
            yield parts, clocks, gateway
        finally:
            await gateway.hang_up()
    finally:
        stopping.set()
        await serving


async def test_a_clock_that_was_set_is_lost_custody_of_every_file_until_the_next_fence(place: Place) -> None:
    async with turned(place) as (parts, clocks, gateway):
        fence = gateway.fence(place.file)
        await until(lambda: _is_known(parts.status.status()))
        clocks.run(5)
        clocks.step(-2)
        parts.clocks.check()  # as every 5 s
        status = parts.status.status()
        assert (status.custody_unknown, status.custody_losses) == (1, {"clock_step": 1})
        gateway.append(place.file, "note")
        assert "the clock was set back by 2.0 s" in await lost_turn(place, gateway, fence, "w1")
        await kept_turn(place, gateway, "w2", lambda: until(lambda: _is_known(parts.status.status())))
        await until(lambda: not parts.status.status().windows)
        assert parts.status.status().custody_losses == {"clock_step": 1}


@pytest.mark.parametrize("touched", [True, False], ids=["changed-meanwhile", "as-at-its-fence"])
async def test_a_machine_that_slept_costs_the_custody_of_what_is_not_as_it_was(place: Place, *, touched: bool) -> None:
    """It is noticed ahead of the answer."""
    async with turned(place) as (parts, clocks, gateway):
        fence = gateway.fence(place.file)
        await until(lambda: _is_known(parts.status.status()))
        if touched:
            gateway.append(place.file, "note")
        else:
            clocks.sleep(600)
            parts.clocks.check()
            gateway.append(place.file, "note")
        if touched:
            clocks.sleep(600)
        gateway.ask(place.file, fence)
        answer = await gateway.answer()
        assert isinstance(answer, wire.Refuse if touched else wire.Approve)
        assert parts.status.status().custody_losses == {"suspended": 1}


@contextmanager
def on_fuse(place: Place) -> Iterator[Path]:
    """The state directory is a FUSE mount (bindfs); gives the directory behind it."""
    if shutil.which("bindfs") is None:
        if os.environ.get("CI") == "true":
            raise FileNotFoundError("bindfs was not found on PATH: .ci/install")
        pytest.skip("bindfs was not found on PATH (Debian, Ubuntu: apt-get install bindfs)")
    behind, state = place.root / "behind", place.root / "state"
    state.rename(behind)
    state.mkdir()
    with subprocess.Popen(["bindfs", "-f", behind, state], stderr=subprocess.PIPE, text=True) as daemon:
        try:
            while not os.path.ismount(state):
                if daemon.poll() is not None:
                    assert daemon.stderr is not None
                    pytest.skip(f"nothing can be mounted with FUSE here: {daemon.stderr.read().strip()[:200]}")
            yield behind
        finally:
            daemon.terminate()  # it unmounts


async def test_a_fuse_mount_is_named_and_what_happens_behind_it_is_seen_when_a_gateway_asks(place: Place) -> None:
    with on_fuse(place) as behind:
        async with place.companion() as sidecar:
            status = await sidecar.status()
            assert status["watch"]["file_system"].partition(".")[0] == "fuse"
            [problem] = [p for p in status["problems"] if p["code"] == "file_system_blind"]
            assert "behind the mount come without any event" in problem["what"]
            assert str(place.root / "state") in problem["what"]
            gateway = await place.gateway(sidecar)
            try:
                fence = gateway.fence(place.file)
                before = await sidecar.wait_for(lambda status: status["windows"] == 1)
                foreign_append(behind / place.file.relative_to(place.root / "state"))
                await lost_turn(place, gateway, fence, "w1")
                incident = await sidecar.closed_incident(place.file.name)
                assert incident["verdict"] == "external"
                assert (await sidecar.status())["watch"]["events"] == before["watch"]["events"]
            finally:
                await gateway.hang_up()


@contextmanager
def on_overlay(place: Place) -> Iterator[None]:
    """The state directory is an overlay, as a container's own file system is."""
    state = place.root / "state"
    lower, upper, work = (place.root / name for name in ("lower", "upper", "work"))
    state.rename(lower)
    for directory in (upper, work, state):
        directory.mkdir()
    layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
    command = ("mount", "-t", "overlay", "overlay", "-o", layers, str(state))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no overlay can be mounted here: {done.stderr.strip()[:200]}")
    try:
        yield
    finally:
        subprocess.run(("umount", str(state)), check=True)


async def test_an_overlay_is_named_at_the_start_and_is_no_problem(place: Place) -> None:
    with on_overlay(place):
        async with place.companion() as sidecar:
            status = await sidecar.status()
            assert status["watch"]["file_system"] == "overlay"
            assert "in a layer itself" in status["watch"]["blind"]
            assert status["problems"] == []
            [line] = [line for line in sidecar.log.lines() if '"file_system"' in line]
            assert "in a layer itself" in line
            gateway = await place.gateway(sidecar)
            try:
                fence = gateway.fence(place.file)
                await sidecar.wait_for(_known)
                foreign_append(place.file)  # the file is copied up: another inode of the same name
                await lost_turn(place, gateway, fence, "w1")
                assert (await sidecar.closed_incident(place.file.name))["verdict"] == "external"
            finally:
                await gateway.hang_up()
