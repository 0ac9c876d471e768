"""Start, serve, stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import platform
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from sidecar import __version__
from sidecar.config.checks import check_settings
from sidecar.config.settings import Who
from sidecar.core import events as ev
from sidecar.core.budget import MAX_PERIOD_NS
from sidecar.core.custodian import Custodian
from sidecar.core.drops import Drops
from sidecar.core.errors import SidecarError
from sidecar.core.incident import NS_PER_SECOND
from sidecar.core.loss import Loss
from sidecar.driver.driver import Driver
from sidecar.link.server import LinkServer
from sidecar.notify.destination import destinations_of
from sidecar.notify.pager import Pager
from sidecar.service.chores import Chores
from sidecar.service.clocks import Clocks, read_clocks
from sidecar.service.custody import CustodyDesk
from sidecar.service.eyewitness import Eyewitness
from sidecar.service.hooks import Hooks
from sidecar.service.lookout import Lookout
from sidecar.service.pulse import Pulse
from sidecar.service.reception import Reception
from sidecar.service.roster import Roster
from sidecar.service.rulebook import Rulebook
from sidecar.service.sweep import LockSweep
from sidecar.service.turns import Turns
from sidecar.status import BudgetStatus, Problem, Status, WatchStatus
from sidecar.store.chains import ChainStore
from sidecar.store.incidents import IncidentStore
from sidecar.store.recordings import RecordingStore
from sidecar.telemetry.log import configure_logging
from sidecar.telemetry.telemetry import Telemetry
from sidecar.watch.filesystem import FileSystem, file_system_of
from sidecar.watch.reading import fingerprint_of
from sidecar.watch.watcher import Watcher
from sidecar.web.app import create_app
from sidecar.web.server import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sidecar.config.settings import Settings
    from sidecar.core.budget import Purse
    from sidecar.service.clocks import Reading

RETENTION_NS: Final = 30 * 24 * 3600 * 1_000_000_000
"""How long incidents are kept."""

NARROW: Final = frozenset({Loss.OVERFLOW, Loss.KERNEL_OVERFLOW, Loss.SUSPENDED})
"""What is lost are events of the past, so that a file which still is as it was has lost none. Of reports that can't be
said: a call that was not announced may be under way."""

log = structlog.get_logger("sidecar")


class Service:
    """One sidecar: every room, wired."""

    def __init__(self, settings: Settings, clocks: Callable[[], Reading] = read_clocks) -> None:
        """Wire the rooms; nothing is opened before `serve`. ``clocks`` tells whether time is what it seems."""
        self.settings = settings
        self.started_at_ns = time.time_ns()
        self.losses: Counter[str] = Counter()
        self.ready = False
        self.http = ""
        self.clocks = Clocks(clocks)
        self.file_system = FileSystem()
        self.telemetry = Telemetry(instance=f"{platform.node()}:{settings.state_dir}")
        self.rulebook = Rulebook(settings.policy, settings.data_dir, self.telemetry, time.time_ns)
        self.store = IncidentStore(settings.data_dir / "sidecar.db", time.time_ns)
        self.pager = Pager(destinations_of(settings.notify), self.store, time.time_ns, told=self.telemetry.page)
        spent = self.store.recoveries_since(time.time_ns() - MAX_PERIOD_NS)
        self.custodian = Custodian(self.rulebook.policy, settings.mode, spent)
        self.roster = Roster()
        self.watcher: Watcher
        self.chains = ChainStore(self.store)
        self.driver = Driver(
            self.custodian,
            self.store,
            self.pager,
            self.telemetry,
            self.roster,
            self._drain,
            time.time_ns,
            self.chains,
            RecordingStore(self.store),
        )
        drops = Drops(settings.simulate_loss)
        self.eyewitness = Eyewitness(self.driver.handle, time.time_ns, self.lose, drops)
        self.reception = Reception(
            self.driver, self.roster, self.telemetry, time.time_ns, self.lose, self.eyewitness.drain
        )
        self.lookout = Lookout(
            self.driver, self.roster, self.eyewitness, time.time_ns, self.lose, self.reception.refuse
        )
        self.custody = CustodyDesk(self.custodian, self.driver, self.chains, lambda: self.watcher, time.time_ns)
        self.watcher = Watcher(settings.state_dir, self.lookout, drops)
        self.sweep = LockSweep(self.watcher, self.roster, time.time_ns, self.telemetry.stale_lock)
        self.reception.locks = self.sweep
        self.links = LinkServer(
            settings.socket, self.reception, version=__version__, mode=settings.mode.value, drops=drops
        )
        self.pulse = Pulse(self.telemetry.delayed)
        self.chores = Chores(
            settings.state_dir,
            self.watcher,
            self.lookout,
            self.roster,
            self._retain,
            self.sweep.sweep,
            self.custody.keep,
            self.rulebook.look,
            self.check_clocks,
            self.pager.take_up,
        )
        self.hooks = Hooks(
            self.driver, settings.state_dir, settings.hooks_token_file, time.time_ns, self.reception.refuse
        )
        self.web = WebServer(
            create_app(self, self.store, self.telemetry.render_metrics, custody=self.custody, hooks=self.hooks),
            settings.http_host,
            settings.http_port,
        )
        self.telemetry.bind_custody(self._custody_unknown)
        self.telemetry.bind_status(self)

    async def serve(self, stopping: asyncio.Event) -> None:
        """Open everything, serve until told to stop, close everything.

        Raises:
            SidecarError: Something could not be opened; what had been opened is closed again.
        """
        async with AsyncExitStack() as stack:
            stack.callback(self.telemetry.shutdown)
            stack.callback(self.store.close)
            stack.callback(self.chains.close)
            await stack.enter_async_context(self.pager)
            self.rulebook.start(self.driver.handle)
            stack.callback(self.rulebook.stop)
            if self.settings.who is Who.KERNEL:
                self.eyewitness.start(self.settings.state_dir, (self.settings.data_dir, self.settings.socket.parent))
                stack.callback(self.eyewitness.stop)
            self._say_what_is_not_seen()
            self.watcher.start()
            stack.callback(self.watcher.stop)
            stack.callback(self.lookout.stop)
            await self.links.start()
            stack.push_async_callback(self.links.stop)
            stack.push_async_callback(self.driver.stop)
            self.http = await self.web.start()
            stack.callback(self.hooks.stop)
            stack.push_async_callback(self.web.stop)
            self.chores.start()
            stack.callback(self.chores.stop)
            _settle_heap()
            self.pulse.start()
            stack.callback(self.pulse.stop)
            stack.callback(self._stop_custody)
            stack.enter_context(self._runtime_file())
            self.ready = True
            log.info(
                "ready",
                state_dir=str(self.settings.state_dir),
                socket=str(self.settings.socket),
                http=self.http,
                mode=self.settings.mode.value,
                version=__version__,
            )
            await stopping.wait()
            self.ready = False
            log.info("stopping")

    def lose(self, loss: Loss, text: str, file: str = "") -> None:
        """Custody of one file, or of all, is unknown from now on (rule 5)."""
        self.losses[loss.value] += 1
        log.warning("custody_lost", reason=loss.value, detail=text)
        if loss is Loss.OVERFLOW:
            self.telemetry.overflow()
        at_ns = time.time_ns()
        touched = [file] if file or loss not in NARROW else self._touched()
        for path in touched:
            self.driver.handle(ev.AccountBroken(loss=loss, reason=text, at_ns=at_ns, file=path))
        if not touched:
            self.telemetry.spared(loss)

    def _say_what_is_not_seen(self) -> None:
        """Once, at the start."""
        self.file_system = file_system_of(self.settings.state_dir)
        if self.file_system.blind:
            found = self.file_system
            log.warning("file_system", kind=found.kind, mount=found.mount, detail=found.blind)
        if self.settings.simulate_loss:
            log.warning("simulated_loss", share=self.settings.simulate_loss)

    def check_clocks(self) -> None:
        """Notice that the machine slept or that its clock was set."""
        for loss, text in self.clocks.look():
            self.lose(loss, text)

    def _touched(self) -> list[str]:
        """The files that are not as they were: what was lost is about these."""
        files = set(self.custodian.files) | {window.file for window in self.custodian.windows}
        return [file for file in sorted(files) if not self._is_untouched(file)]

    def _is_untouched(self, file: str) -> bool:
        try:
            return self.custodian.is_untouched(file, fingerprint_of(Path(file)))
        except OSError:
            return False

    def status(self) -> Status:
        """What the sidecar says of itself."""
        settings = self.settings
        locks, oldest_lock_seconds = self.sweep.held()
        now_ns, brakes = time.time_ns(), self.custodian.brakes
        return Status(
            version=__version__,
            pid=os.getpid(),
            mode=settings.mode.value,
            started_at_ns=self.started_at_ns,
            ready=self.ready,
            state_dir=str(settings.state_dir),
            data_dir=str(settings.data_dir),
            socket=str(settings.socket),
            http=self.http,
            gateways=self.roster.gateways(),
            windows=len(self.custodian.windows),
            custody_unknown=self._custody_unknown(),
            custody_losses=dict(self.losses),
            incidents=self.store.counts_by_verdict(),
            rejected=dict(self.reception.rejected),
            watch=WatchStatus(
                directories=self.watcher.directories,
                files=len(self.watcher.files),
                events=self.watcher.events,
                overflows=self.watcher.overflows,
                file_system=self.file_system.kind,
                blind=self.file_system.blind,
                backlog_bytes=self.watcher.backlog_bytes,
                locks=locks,
                oldest_lock_seconds=oldest_lock_seconds,
            ),
            kernel=self.eyewitness.status(),
            pages=self.pager.status(),
            policy=self.rulebook.status(),
            budgets=tuple(map(_budget_status, brakes.budget.least(self.custodian.policy.limits, now_ns))),
            pause=self.rulebook.pause_status(),
            storm_until_ns=brakes.storm.until_ns if brakes.storm.active(now_ns) else 0,
            exports=self.telemetry.exports,
            problems=tuple(self._problems()),
        )

    def _problems(self) -> Iterable[Problem]:
        yield from self.roster.problems()
        yield from self.rulebook.problems(kernel=self.eyewitness.status().on)
        yield from self.pager.problems()
        yield from self.telemetry.problems()
        yield from self.eyewitness.problems()
        if self.file_system.blind and not self.file_system.layered:
            yield Problem(
                code="file_system_blind",
                what=f"{self.settings.state_dir} is on {self.file_system.kind} ({self.file_system.mount}):"
                f" {self.file_system.blind}",
                remedy="keep the state directory on a local file system of the machine that the gateway runs on",
            )
        if self.driver.unsaved:
            yield Problem(
                code="store_failing",
                what=f"{self.driver.unsaved} decision(s) were not carried out: {self.driver.last_error}",
                remedy=f"see that {self.settings.data_dir} has room and can be written to",
            )
        if self.ready and self.watcher.directories == 0:
            yield Problem(
                code="nothing_to_watch",
                what=f"there is no sessions directory below {self.settings.state_dir} yet",
                remedy="check --state-dir; with a new gateway this goes away with its first session",
            )

    def _custody_unknown(self) -> int:
        return len({window.file for window in self.custodian.windows if window.broken})

    def _drain(self) -> None:
        self.check_clocks()
        self.watcher.drain()
        self.eyewitness.drain()

    async def _retain(self) -> None:
        turns, before_ns = Turns(), time.time_ns() - RETENTION_NS
        while self.store.forget_before(before_ns):
            await turns.give()
        self.chains.forget_before(before_ns)

    def _stop_custody(self) -> None:
        """What could not be kept is known no more in the next life, and that is all that comes of it."""
        try:
            self.custody.stop()
        except SidecarError as error:
            log.warning("custody_not_kept", error=str(error))

    @contextlib.contextmanager
    def _runtime_file(self) -> Iterator[None]:
        """Tells the CLI where this sidecar can be asked."""
        path = self.settings.data_dir / "runtime.json"
        facts = {
            "pid": os.getpid(),
            "http": self.http,
            "socket": str(self.settings.socket),
            "started_at_ns": self.started_at_ns,
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


def run(settings: Settings) -> int:
    """Run a sidecar until SIGTERM or SIGINT, and return the exit code of an orderly end.

    Raises:
        SidecarError: It could not start; the text names what, where and what to do.
    """
    configure_logging(settings.log_format)
    logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it tells of every job that it schedules
    check_settings(settings)
    asyncio.run(_serve(settings))
    return 0


async def _serve(settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)  # its default would end a sidecar that is about to start
    service = Service(settings)
    loop.add_signal_handler(signal.SIGHUP, service.rulebook.look)
    await service.serve(stopping)


def _settle_heap() -> None:
    """What start-up has made stays for good: the collector need not walk through it while a gateway waits."""
    gc.collect()
    gc.freeze()


def _budget_status(purse: Purse) -> BudgetStatus:
    return BudgetStatus(
        scope=purse.scope.value,
        limit=purse.limit,
        period_seconds=purse.period_ns / NS_PER_SECOND,
        left=purse.left,
    )
