"""Makes every part of the sidecar, in the order in which one needs the other. Nothing is started here.

Facts flow from the sensors to the driver and from there to the effects, so the core and the effects are made first,
then the driver, then the sensors. Two things are needed on both sides of the driver, and are made before it: the list
of open links, and the list of sensors to drain.
"""

import platform
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from sidecar import __version__
from sidecar.config.settings import Settings
from sidecar.config.token import known_token
from sidecar.core.engine import Engine
from sidecar.core.policy.budget import MAX_PERIOD_NS
from sidecar.driver.driver import Driver
from sidecar.faults import Faults
from sidecar.identity.verification import Verification
from sidecar.intake.announcements import Hooks
from sidecar.intake.clocks import Clocks, Reading, read_clocks
from sidecar.intake.database_locks import DatabaseLockIntake
from sidecar.intake.databases import DatabaseIntake
from sidecar.intake.files import FileIntake
from sidecar.intake.gateways import KnownGateways
from sidecar.intake.halts import Halts
from sidecar.intake.kernel import KernelIntake
from sidecar.intake.link import LinkIntake
from sidecar.intake.losses import Losses
from sidecar.intake.sensors import Sensors
from sidecar.intake.tools import AgentTools
from sidecar.job import Job
from sidecar.link.open_links import OpenLinks
from sidecar.link.server import LinkServer
from sidecar.notify.destination import destinations_of
from sidecar.notify.pager import Pager
from sidecar.service.custody import CustodyDesk
from sidecar.service.database_health import DatabaseHealth
from sidecar.service.jobs import Jobs
from sidecar.service.listeners import api_listener, probes_listener
from sidecar.service.loop_lag import LoopLag
from sidecar.service.policy_reload import PolicyReload, first_policy
from sidecar.service.reconcile import Reconcile
from sidecar.service.records import RecordsCheck
from sidecar.service.retention import Retention
from sidecar.service.stale_locks import StaleLocks
from sidecar.service.status import Running, StatusReport
from sidecar.store.chains import ChainStore
from sidecar.store.incidents import IncidentStore
from sidecar.store.records import RecordStore
from sidecar.telemetry.facade import Telemetry
from sidecar.watch.filesystem import file_system_of
from sidecar.watch.watcher import Watcher
from sidecar.web.app import create_app
from sidecar.web.probes import create_probes

LOOK_AGAIN_SECONDS: Final = 5
"""How often it is seen whether links that are not believed are by now."""


class Parts:
    """The parts that are started and stopped, and those that are asked."""

    def __init__(self, settings: Settings, read: Callable[[], Reading] = read_clocks) -> None:
        """Make the parts. The kernel's clocks are ``read``.

        Raises:
            SidecarError: The policy, the store, a destination of pages or OpenTelemetry's configuration can't be used.
        """
        self.settings = settings
        now_ns = time.time_ns
        running = self.running = Running(started_at_ns=now_ns())
        file_system = self.file_system = file_system_of(settings.state_dir)
        faults = Faults(settings.simulate_loss)

        # Core
        policy = first_policy(settings.policy)
        store = self.store = IncidentStore(settings.data_dir / "sidecar.db", now_ns)
        engine = Engine(policy, settings.mode, store.recoveries_since(now_ns() - MAX_PERIOD_NS))

        # Effects
        instance = f"{platform.node()}:{settings.state_dir}"
        telemetry = self.telemetry = Telemetry(core=engine, instance=instance, head=lambda: str(store.head))
        chains = self.chains = ChainStore(store)
        pager = self.pager = Pager(destinations_of(settings.notify), store, now_ns, told=telemetry.page)
        records = RecordStore(store, chains, pager.wake)
        open_links = self._open_links = OpenLinks()

        # Driver
        sensors = Sensors()
        driver = self.driver = Driver(engine, records, chains, telemetry, open_links, sensors.drain, now_ns)
        losses = Losses(engine, driver.handle, telemetry, now_ns)
        known_gateways = self.known_gateways = KnownGateways(open_links, settings.state_dir)

        tools = AgentTools(known_gateways.roots)

        # Sensors
        policy_reload = self.policy_reload = PolicyReload(
            policy, settings.policy, settings.data_dir, driver.handle, self._policy_changed, telemetry, now_ns
        )
        clocks = self.clocks = Clocks(losses.lose, read)
        kernel_intake = self.kernel_intake = KernelIntake(driver.handle, now_ns, losses.lose, faults, tools.named)
        database_locks = self.database_locks = DatabaseLockIntake(
            driver.handle, engine, lambda: databases.watch.databases, now_ns, named=tools.named
        )
        databases = self.databases = DatabaseIntake(driver, now_ns, database_locks.touched, kernel_intake.listen)
        link_intake = LinkIntake(
            driver, known_gateways, telemetry, now_ns, losses.lose, kernel_intake.drain, databases.spoken_of, tools
        )
        file_intake = self.file_intake = FileIntake(
            driver, known_gateways, kernel_intake, now_ns, losses.lose, link_intake.refuse, tools.named
        )
        watcher = self.watcher = Watcher(settings.state_dir, file_intake, faults)
        verification = Verification(
            settings.data_dir, lambda: engine.policy, partial(known_token, settings.hooks_token_file)
        )
        self.links = LinkServer(
            settings.socket,
            link_intake,
            verification,
            open_links,
            version=__version__,
            mode=settings.mode.value,
            uids=settings.gateway_uids,
            faults=faults,
        )
        hooks = self.hooks = Hooks(
            driver,
            settings.state_dir,
            settings.hooks_token_file,
            now_ns,
            link_intake.refuse,
            lambda program: engine.policy.refusal(program),  # noqa: PLW0108 - of the policy in force then
        )
        halts = Halts(driver.handle, telemetry.halted, now_ns)
        loop_lag = self.loop_lag = LoopLag(telemetry.delayed, halts.halted, open_links.any)
        sensors.add(clocks.check, loop_lag.check, watcher.drain, kernel_intake.drain)

        # Upkeep
        custody = self.custody = CustodyDesk(engine, driver, chains, watcher, databases, now_ns)
        database_health = self.database_health = DatabaseHealth(
            settings.state_dir, known_gateways.pids, time.monotonic_ns
        )
        stale_locks = StaleLocks(watcher, engine.locks, open_links, known_gateways.holder, now_ns, telemetry.stale_lock)
        reconcile = Reconcile(watcher, file_intake)
        retention = Retention(store, chains, now_ns)
        records_check = self.records_check = RecordsCheck(store, now_ns)
        owners = (
            clocks,
            custody,
            stale_locks,
            database_health,
            known_gateways,
            reconcile,
            policy_reload,
            pager,
            retention,
            records_check,
        )
        look_again = Job("links that are not believed", LOOK_AGAIN_SECONDS, open_links.look_again)
        self.jobs = Jobs((look_again, *(job for owner in owners for job in owner.jobs)))

        # Answers
        status = self.status = StatusReport(
            settings=settings,
            running=running,
            file_system=file_system,
            engine=engine,
            driver=driver,
            store=store,
            pager=pager,
            telemetry=telemetry,
            known_gateways=known_gateways,
            losses=losses,
            link_intake=link_intake,
            watcher=watcher,
            databases=databases,
            kernel_intake=kernel_intake,
            database_locks=database_locks,
            stale_locks=stale_locks,
            database_health=database_health,
            policy_reload=policy_reload,
            records=records_check,
            halts=halts,
            now_ns=now_ns,
        )
        telemetry.bind_status(status.status)

        def refused(detail: str) -> None:
            link_intake.refuse("bad_request", detail)

        api = create_app(status.status, store, custody=custody, hooks=hooks)
        self.api = api_listener(api, settings, refused)
        self.probes = probes_listener(create_probes(status.status, telemetry.render_metrics), settings, refused)

    def _policy_changed(self) -> None:
        """End what programs outside of OpenClaw, and links that a rule admitted, may not do by the new policy."""
        self._open_links.look_again()
        self.hooks.policy_changed()
