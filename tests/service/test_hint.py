"""Who has the file open for writing (/proc) is a line in the incident and in `explain`, and nothing rests on it."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.demo.companion import Companion
from sidecar.wire import messages as wire
from tests.driver.kit import foreign_append
from tests.service.kit import Place

HOLDER: Final = "import sys; f = open(sys.argv[1], 'ab'); print(flush=True); sys.stdin.read()"


@asynccontextmanager
async def held_open(file: Path) -> AsyncIterator[int]:
    """A foreign process has the file open for writing, and does not write; its pid."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", HOLDER, file), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    try:
        yield process.pid
    finally:
        await process.communicate(b"")


def hints(incident: dict[str, Any]) -> list[str]:
    return [moment["detail"] for moment in incident["timeline"] if moment["what"] == "hint"]


async def looked_at(sidecar: Companion, file: Path, *, held: bool) -> None:
    """Wait until the sidecar has looked by itself: what the gateway says may have opened the incident first."""
    async with asyncio.timeout(60):
        while not any(hints(found) or not held for found in await sidecar.incidents(file.name)):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)


async def window(place: Place, *, foreign: bool, held: bool) -> tuple[dict[str, Any], int, str]:
    """One window with a change: its incident, the pid that had the file open, and what ``explain`` says."""
    async with place.companion() as sidecar, held_open(place.file) if held else nullcontext(0) as pid:
        gateway = await place.gateway(sidecar)
        try:
            fence = gateway.fence(place.file)
            await sidecar.wait_for(lambda status: status["windows"] == 1)
            if foreign:
                foreign_append(place.file)
            else:
                gateway.append(place.file, "note")
            await looked_at(sidecar, place.file, held=held)
            if foreign:
                gateway.trip(place.file, fence)
            else:
                assert isinstance(await gateway.answer(), wire.Approve)
                gateway.applied(place.file, fence, "note")
                gateway.fence(place.file)
            gateway.end(takeover=foreign)
            incident = await sidecar.closed_incident(place.file.name)
        finally:
            await gateway.hang_up()
        code, text = await place.read("explain", incident["id"])
    assert code == 0
    return incident, pid, text


@pytest.mark.parametrize("foreign", [False, True], ids=["co-tenant", "foreign"])
async def test_a_process_that_has_the_file_open_is_a_hint_and_the_verdict_is_the_same_without_it(
    place: Place, tmp_path: Path, *, foreign: bool
) -> None:
    incident, pid, text = await window(place, foreign=foreign, held=True)
    (tmp_path / "without").mkdir()
    without, _, text_without = await window(type(place)(tmp_path / "without"), foreign=foreign, held=False)

    [hint] = hints(incident)
    # This process, which started it, is the gateway.
    assert hint.startswith("the file is open for writing by a program that the agent started: ")
    assert hint.endswith(f" (process {pid}), started by gateway {os.getpid()}; that proves nothing")
    assert hint in text
    assert "that proves nothing" in text
    assert hints(without) == []
    assert "that proves nothing" not in text_without
    assert incident["verdict"] == without["verdict"] == ("external" if foreign else "co_tenant")
    assert incident["evidence"] == without["evidence"] == "bytes"
    assert incident["recovery"]["outcome"] == without["recovery"]["outcome"] == ("refused" if foreign else "effective")
    assert incident["page"]["due"] == without["page"]["due"] == foreign
    assert pid not in {writer["pid"] for writer in incident["writers"]}
    assert incident["unexplained"] == without["unexplained"]
    assert incident["reason"] == without["reason"]
