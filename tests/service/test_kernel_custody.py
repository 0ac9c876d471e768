"""The ranges of a file say that the kernel saw them being written: real preload, real sidecar, real kernel."""

import json
from pathlib import Path

from sidecar.demo.companion import Companion
from tests.driver.kit import foreign_append
from tests.kernel import require_kernel_evidence
from tests.preload.kit import Gateway
from tests.service.kit import Place


async def test_ranges_have_the_grade_of_the_evidence_and_keep_it_over_a_restart(place: Place, node: Path) -> None:
    """One with the kernel's word, and one that a stranger stood beside."""
    require_kernel_evidence(place.root)
    state, work = place.root / "gateway", place.root / "w"
    state.mkdir()
    work.mkdir()
    socket = place.root / "s.sock"
    sidecar = Companion(state, work, socket, ("--who", "kernel"), believes=node)
    with Gateway(node, state, socket) as gateway:
        await sidecar.start()
        try:
            await sidecar.wait_linked(gateway.process.pid)
            await sidecar.wait_for(lambda status: status["kernel"]["settled"])
            gateway.do("await startRun()")
            await sidecar.wait_for(lambda status: status["windows"] == 1 and status["custody_unknown"] == 0)
            gateway.do("await coTenant()")
            assert gateway.do("return await endRun()")["outcome"] == "answered"
            incident = await sidecar.closed_incident(gateway.file.name)
            assert (incident["verdict"], incident["evidence"]) == ("co_tenant", "kernel")
            assert await graded(sidecar, gateway.file) == ["none", "kernel", "kernel"]

            foreign_append(gateway.file)
            gateway.do("await coTenant('more')")
            assert await graded(sidecar, gateway.file) == ["none", "kernel", "kernel", "none", "bytes"]
        finally:
            await sidecar.stop()
        restarted = Companion(state, work, socket, believes=node)
        await restarted.start()
        try:
            await restarted.wait_linked(gateway.process.pid)
            assert (await graded(restarted, gateway.file))[:3] == ["none", "kernel", "kernel"]
        finally:
            await restarted.stop()


async def graded(sidecar: Companion, file: Path) -> list[str]:
    body = await sidecar.custody(file.name)
    assert all((r["writer"] is None) == (r["grade"] == "none") for r in body["ranges"]), json.dumps(body)
    return [r["grade"] for r in body["ranges"]]
