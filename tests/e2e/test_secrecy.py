"""No text of a session comes out of the sidecar anywhere: every output of a real run is searched for it (rule 7)."""

import asyncio
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from sidecar.demo.companion import Companion, command
from sidecar.demo.rig import Rig
from tests.e2e.foreign import ForeignVerb, act
from tests.telemetry.receivers import http_backend

QUESTION = "My word is marzipanquestion."
ANSWER = "Your word was marzipananswer."
NOTE = "The backup says marzipannote."
LOST = "This will be lost: marzipanlost."
NEEDLE = b"marzipan"


async def test_no_text_of_a_session_comes_out(hooked: Rig, session_key: str, tmp_path: Path) -> None:
    """A turn that is recovered, one that is lost, a note, a command: then everything that anybody can read."""
    socket = Path(hooked.env["OPENCLAW_SIDECAR_SOCKET"])
    with http_backend() as backend:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": backend.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_BLRP_SCHEDULE_DELAY": "100",
        }
        async with Companion(hooked.gateway.state_dir, tmp_path, socket, env=env) as sidecar:
            await sidecar.wait_linked(hooked.gateway.pid)
            await hooked.say(session_key, QUESTION, ANSWER)
            async with hooked.window(session_key, QUESTION) as window:
                await hooked.client.chat_inject(session_key, NOTE)
                recovered = await window.close(ANSWER)
            async with hooked.window(session_key, QUESTION) as window:
                await act(ForeignVerb.APPEND, window.session_file)
                lost = await window.close(LOST)
            assert (recovered.answered, lost.answered) == (True, False)
            assert NEEDLE in window.session_file.read_bytes()
            incident = await sidecar.closed_incident(window.session_file.name)
            answers = await asyncio.to_thread(lambda: dict(_answers(sidecar, incident["id"])))
        outputs = {
            **answers,
            "log": sidecar.log.path.read_bytes(),
            **{f"file {path.name}": path.read_bytes() for path in sidecar.data_dir.rglob("*") if path.is_file()},
            **{f"OTLP body {number}": body for number, body in enumerate(backend.bodies)},
        }
    assert {"traces", "metrics", "logs"} == {name for name in ("traces", "metrics", "logs") if getattr(backend, name)}
    assert len(outputs["log"]) > 0
    assert b"external" in outputs["incidents"]
    told = {name for name, output in outputs.items() if NEEDLE in output.lower()}
    assert told == set()


def _answers(sidecar: Companion, incident: str) -> Iterator[tuple[str, bytes]]:
    asked = [f"{sidecar.metrics_url}{path}" for path in ("/metrics", "/readyz")]
    asked += [f"{sidecar.url}{path}" for path in ("/v1/status", "/v1/incidents", f"/v1/incidents/{incident}")]
    for url in (*asked, f"{sidecar.url}/openapi.json"):
        with urllib.request.urlopen(url, timeout=10) as answer:
            yield url, answer.read()
    options = ("--data-dir", str(sidecar.data_dir))
    for words in (("status",), ("incidents",), ("incidents", "--json"), ("explain", incident)):
        done = subprocess.run([command(), *words, *options], capture_output=True, check=False, timeout=30)
        assert done.stdout, (words, done.stderr)
        yield " ".join(words), done.stdout + done.stderr
