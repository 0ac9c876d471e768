"""Start, serve, stop."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack

import msgspec
import structlog

from sidecar import __version__
from sidecar.config.checks import check_settings
from sidecar.config.settings import Settings, Who
from sidecar.core.errors import SidecarError
from sidecar.service.wiring import Parts
from sidecar.telemetry.logs.setup import configure_logging

log = structlog.get_logger("sidecar")


def run(settings: Settings) -> int:
    """Run a sidecar until SIGTERM or SIGINT, and return the exit code of an orderly end.

    Raises:
        SidecarError: It could not start; the text names what, where and what to do.
    """
    configure_logging(settings.log_format)
    logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it tells of every job that it schedules
    check_settings(settings)
    asyncio.run(_run(settings))
    return 0


async def _run(settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)  # its default would end a sidecar that is about to start
    parts = Parts(settings)
    loop.add_signal_handler(signal.SIGHUP, parts.policy_reload.look)
    await serve(parts, stopping)


async def serve(parts: Parts, stopping: asyncio.Event) -> None:
    """Open everything, serve until ``stopping`` is set, close everything in the opposite order.

    Raises:
        SidecarError: Something could not be opened; what had been opened is closed again.
    """
    async with AsyncExitStack() as stack:
        stack.callback(parts.telemetry.shutdown)
        stack.callback(parts.store.close)
        stack.callback(parts.chains.close)
        await stack.enter_async_context(parts.pager)
        parts.policy_reload.start()
        stack.callback(parts.policy_reload.stop)
        _start_sensors(parts, stack)
        await parts.links.start()
        stack.push_async_callback(parts.links.stop)
        stack.push_async_callback(parts.driver.stop)
        parts.running.http = await parts.api.start()
        stack.callback(parts.hooks.stop)
        stack.push_async_callback(parts.api.stop)
        parts.running.metrics = await parts.probes.start()
        stack.push_async_callback(parts.probes.stop)
        parts.jobs.start()
        stack.callback(parts.jobs.stop)
        parts.known_gateways.find()
        await parts.database_health.start()
        stack.callback(parts.database_health.stop)
        parts.records_check.start()
        stack.push_async_callback(parts.records_check.stop)
        _settle_heap()
        parts.loop_lag.start()
        stack.callback(parts.loop_lag.stop)
        stack.callback(_keep_custody, parts)
        stack.enter_context(_runtime_file(parts))
        parts.running.ready = True
        log.info(
            "ready",
            state_dir=str(parts.settings.state_dir),
            socket=str(parts.settings.socket),
            http=parts.running.http,
            metrics=parts.running.metrics,
            mode=parts.settings.mode.value,
            version=__version__,
        )
        await stopping.wait()
        parts.running.ready = False
        log.info("stopping")


def _start_sensors(parts: Parts, stack: AsyncExitStack) -> None:
    """Those of the machine itself; a restriction of one is logged once."""
    settings, file_system = parts.settings, parts.file_system
    if settings.who is Who.KERNEL:
        parts.kernel_intake.start(settings.state_dir, (settings.data_dir, settings.socket.parent))
        stack.callback(parts.kernel_intake.stop)
    if file_system.blind:
        log.warning("file_system", kind=file_system.kind, mount=file_system.mount, detail=file_system.blind)
    if settings.simulate_loss:
        log.warning("simulated_loss", share=settings.simulate_loss)
    parts.databases.watch.start()
    stack.callback(parts.databases.stop)
    parts.database_locks.start()
    stack.callback(parts.database_locks.stop)
    parts.watcher.start()
    stack.callback(parts.watcher.stop)
    stack.callback(parts.file_intake.stop)


def _settle_heap() -> None:
    """What start-up has made stays for good: the collector need not walk through it while a gateway waits."""
    gc.collect()
    gc.freeze()


def _keep_custody(parts: Parts) -> None:
    """What could not be kept is unknown after the restart. Nothing else depends on it."""
    try:
        parts.custody.stop()
    except SidecarError as error:
        log.warning("custody_not_kept", error=str(error))


@contextlib.contextmanager
def _runtime_file(parts: Parts) -> Iterator[None]:
    """Says where this sidecar can be asked, for the CLI."""
    path = parts.settings.data_dir / "runtime.json"
    facts = {
        "pid": os.getpid(),
        "http": parts.running.http,
        "metrics": parts.running.metrics,
        "socket": str(parts.settings.socket),
        "started_at_ns": parts.running.started_at_ns,
        "version": __version__,
    }
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(msgspec.json.encode(facts))
    fresh.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
