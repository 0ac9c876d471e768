"""The sidecar is restarted while a window is open: the real preload in a model of the gateway, the real service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.demo.companion import Companion
from tests.driver.kit import foreign_append
from tests.preload.kit import Gateway
from tests.service.kit import Place

BOTH = (("swap", "foreign"), ("publish", "co-tenant"))
EXPECTED = {"co-tenant": ("answered", "co_tenant"), "foreign": ("takeover", "external")}


@asynccontextmanager
async def stopped_in_a_window(place: Place, node: Path, model: str) -> AsyncIterator[tuple[Companion, Gateway]]:
    """A run waits for its model; the sidecar knew of it, and has been stopped."""
    state, work = place.root / "gateway", place.root / "w"
    state.mkdir()
    work.mkdir()
    socket = place.root / "s.sock"
    with Gateway(node, state, socket, model=model) as gateway:
        sidecar = Companion(state, work, socket, believes=node)
        await sidecar.start()
        await sidecar.wait_linked(gateway.process.pid)
        gateway.do("await startRun()")
        await sidecar.wait_for(lambda status: status["windows"] == 1 and status["custody_unknown"] == 0)
        assert await sidecar.stop() == 0
        yield sidecar, gateway
        await sidecar.stop()


def write(gateway: Gateway, who: str) -> None:
    if who == "foreign":
        foreign_append(gateway.file)
    else:
        gateway.do("await coTenant()")


async def told_again(sidecar: Companion, gateway: Gateway) -> dict[str, Any]:
    """Start it anew, and wait until the gateway has told of its window."""
    await sidecar.start()
    await sidecar.wait_linked(gateway.process.pid)
    return await sidecar.wait_for(lambda status: bool(status["windows"]))


@pytest.mark.parametrize(("model", "who"), BOTH)
async def test_a_check_while_no_sidecar_runs_is_stock_and_stays_so(
    place: Place, node: Path, model: str, who: str
) -> None:
    """The turn is lost as it is unpatched. The sidecar that comes back was not there, and makes no incident of it."""
    async with stopped_in_a_window(place, node, model) as (sidecar, gateway):
        write(gateway, who)
        assert gateway.do("return await endRun()")["outcome"] == "takeover"
        await sidecar.start()
        await sidecar.wait_linked(gateway.process.pid)
        assert await sidecar.incidents() == []
        assert (await sidecar.status())["custody_unknown"] == 0


@pytest.mark.parametrize(("model", "who"), BOTH)
async def test_a_change_from_the_time_without_a_sidecar_is_unattributed_and_stops_the_turn(
    place: Place, node: Path, model: str, who: str
) -> None:
    """The window is told again on another link, and the file is not as it was at its fence: nobody knows who wrote."""
    async with stopped_in_a_window(place, node, model) as (sidecar, gateway):
        write(gateway, who)
        status = await told_again(sidecar, gateway)
        assert status["custody_unknown"] == 1
        assert gateway.do("return await endRun()")["outcome"] == "takeover"
        incident = await sidecar.closed_incident(gateway.file.name)
        assert (incident["verdict"], incident["turn_lost"]) == ("unattributed", True)
        assert incident["recovery"]["outcome"] == "refused"
        assert incident["page"]["due"] is False
        assert "what the file held at the fence could not be established" in incident["reason"]


@pytest.mark.parametrize(("model", "who"), BOTH)
async def test_a_window_that_is_as_at_its_fence_is_known_again_after_a_restart(
    place: Place, node: Path, model: str, who: str
) -> None:
    async with stopped_in_a_window(place, node, model) as (sidecar, gateway):
        await told_again(sidecar, gateway)
        await sidecar.wait_for(lambda status: status["custody_unknown"] == 0)
        write(gateway, who)
        ended = gateway.do("return await endRun()")["outcome"]
        incident = await sidecar.closed_incident(gateway.file.name)
        assert (ended, incident["verdict"]) == EXPECTED[who]
