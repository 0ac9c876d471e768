"""Jobs are declared by their owners, all of them are scheduled, and each runs in the event loop's thread."""

import asyncio
import threading

from sidecar.config.settings import Settings
from sidecar.job import Job
from sidecar.service.jobs import Jobs
from sidecar.service.wiring import Parts
from tests.service.kit import Place

SOON = 90


async def test_a_plain_job_and_a_coroutine_run_again_and_again_in_the_loops_thread() -> None:
    ran: asyncio.Queue[tuple[str, threading.Thread]] = asyncio.Queue()

    def plain() -> None:
        ran.put_nowait(("plain", threading.current_thread()))

    async def waiting() -> None:
        await asyncio.sleep(0)
        ran.put_nowait(("waiting", threading.current_thread()))

    jobs = Jobs([Job("plain", 0.02, plain), Job("waiting", 0.02, waiting)])
    jobs.start()
    seen: list[str] = []
    try:
        async with asyncio.timeout(SOON):
            while min(seen.count("plain"), seen.count("waiting")) < 2:
                name, thread = await ran.get()
                assert thread is threading.current_thread()
                seen.append(name)
    finally:
        jobs.stop()


async def test_every_declared_job_of_the_service_is_scheduled(place: Place) -> None:
    data_dir = place.root / "data"
    data_dir.mkdir()
    settings = Settings(state_dir=place.root / "state", data_dir=data_dir, socket=place.root / "s.sock")
    parts = Parts(settings)
    try:
        assert {job.name: job.every_seconds for job in parts.jobs.declared} == {
            "links that are not believed": 5,
            "clocks": 5,
            "chains": 10,
            "stale locks": 30,
            "databases": 10,
            "who has databases open": 30,
            "gateways without the preload": 30,
            "reconcile": 60,
            "policy and pause": 60,
            "due pages": 60,
            "retention": 21_600,
            "records": 21_600,
        }
    finally:
        parts.chains.close()
        parts.store.close()
        parts.telemetry.shutdown()
