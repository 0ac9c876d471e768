"""Lines of the real gateway's log reach the incident of the turn that they are about, and no text of them does."""

import asyncio
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from sidecar.demo.companion import Companion
from sidecar.demo.rig import Rig
from tests.e2e.foreign import ForeignVerb, act


def value(metrics: str, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(metrics)
    samples = [s for f in families for s in f.samples if s.name == name]
    return float(sum(s.value for s in samples if labels.items() <= s.labels.items()))


async def test_an_incident_shows_how_long_the_user_waited_for_the_lost_turn(
    hooked: Rig, session_key: str, tmp_path: Path
) -> None:
    socket = Path(hooked.env["OPENCLAW_SIDECAR_SOCKET"])
    await hooked.say(session_key)
    async with Companion(hooked.gateway.state_dir, tmp_path, socket) as sidecar:
        await sidecar.wait_linked(hooked.gateway.pid)
        async with hooked.window(session_key) as window:
            await act(ForeignVerb.APPEND, window.session_file)
            turn = await window.close("The answer.")
        assert not turn.answered
        incident = await _told(sidecar, window.session_file)
        metrics = await sidecar.metrics()
    assert incident["turn_lost"]
    assert 0 < incident["waited_ms"] <= turn.elapsed_seconds * 1000
    assert "lane task error" in [line["what"] for line in incident["timeline"]]
    assert value(metrics, "openclaw_sidecar_gateway_takeovers_total", source="fence") == 1
    assert value(metrics, "openclaw_sidecar_gateway_takeovers_total", source="log") == 0
    assert value(metrics, "openclaw_sidecar_turn_lost_wait_seconds_count") == 1


async def _told(sidecar: Companion, session_file: Path) -> dict[str, Any]:
    async with asyncio.timeout(15):
        while True:
            incident = await sidecar.closed_incident(session_file.name)
            if incident["waited_ms"]:
                return incident
            await asyncio.sleep(0.05)
