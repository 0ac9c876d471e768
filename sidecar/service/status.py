"""What the sidecar says of itself, computed when it is asked."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sidecar import __version__
from sidecar.config.settings import Settings
from sidecar.core.engine import Engine
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.core.policy.budget import BudgetUse
from sidecar.driver.driver import Driver
from sidecar.intake.database_locks import DatabaseLockIntake
from sidecar.intake.databases import DatabaseIntake
from sidecar.intake.gateways import KnownGateways
from sidecar.intake.halts import Halts
from sidecar.intake.kernel import KernelIntake
from sidecar.intake.link import LinkIntake
from sidecar.intake.losses import Losses
from sidecar.notify.pager import Pager
from sidecar.service.database_health import DatabaseHealth
from sidecar.service.policy_reload import PolicyReload
from sidecar.service.records import RecordsCheck
from sidecar.service.stale_locks import StaleLocks
from sidecar.status import BudgetStatus, Problem, Status, WatchStatus
from sidecar.store.incidents import IncidentStore
from sidecar.telemetry.facade import Telemetry
from sidecar.watch.filesystem import FileSystem
from sidecar.watch.watcher import Watcher


@dataclass(slots=True)
class Running:
    """How far the sidecar has come; kept by the lifecycle.

    Attributes:
        ready: Everything is open.
        http: Host and port of the API; empty before it is open.
        metrics: Likewise for scrapers and probes.
    """

    started_at_ns: int
    ready: bool = False
    http: str = ""
    metrics: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """Asks every part how it is."""

    settings: Settings
    running: Running
    file_system: FileSystem
    engine: Engine
    driver: Driver
    store: IncidentStore
    pager: Pager
    telemetry: Telemetry
    known_gateways: KnownGateways
    losses: Losses
    link_intake: LinkIntake
    watcher: Watcher
    databases: DatabaseIntake
    kernel_intake: KernelIntake
    database_locks: DatabaseLockIntake
    stale_locks: StaleLocks
    database_health: DatabaseHealth
    policy_reload: PolicyReload
    records: RecordsCheck
    halts: Halts
    now_ns: Callable[[], int]

    def status(self) -> Status:
        """The whole of it, as it is now."""
        settings = self.settings
        locks, oldest_lock_seconds = self.stale_locks.held()
        now_ns, gate = self.now_ns(), self.engine.gate
        return Status(
            version=__version__,
            pid=os.getpid(),
            mode=settings.mode.value,
            started_at_ns=self.running.started_at_ns,
            ready=self.running.ready,
            state_dir=str(settings.state_dir),
            data_dir=str(settings.data_dir),
            socket=str(settings.socket),
            http=self.running.http,
            metrics=self.running.metrics,
            gateways=self.known_gateways.gateways(),
            windows=len(self.engine.windows),
            custody_unknown=self.engine.custody_unknown(),
            custody_losses=dict(self.losses.counts),
            incidents=self.store.counts_by_verdict(),
            rejected=dict(self.link_intake.rejected),
            watch=WatchStatus(
                directories=self.watcher.directories,
                files=len(self.watcher.files),
                databases=len(self.databases.watch.databases),
                events=self.watcher.events,
                overflows=self.watcher.overflows,
                file_system=self.file_system.kind,
                blind=self.file_system.blind,
                backlog_bytes=self.watcher.backlog_bytes,
                locks=locks,
                oldest_lock_seconds=oldest_lock_seconds,
            ),
            kernel=self.kernel_intake.status(),
            foreign_hold_seconds=self.database_locks.foreign_hold_seconds(),
            databases=self.database_health.status(),
            pages=self.pager.status(),
            policy=self.policy_reload.status(),
            budgets=tuple(map(_budget_status, gate.budget.least(self.engine.policy.limits, now_ns))),
            pause=self.policy_reload.pause_status(),
            storm_until_ns=gate.storm.until_ns if gate.storm.active(now_ns) else 0,
            exports=self.telemetry.exports,
            records=self.records.status(),
            halts=self.halts.status(),
            problems=tuple(self._problems()),
        )

    def _problems(self) -> Iterable[Problem]:
        yield from self.known_gateways.problems()
        yield from self.policy_reload.problems(kernel=self.kernel_intake.status().on)
        yield from self.pager.problems()
        yield from self.telemetry.problems()
        yield from self.kernel_intake.problems()
        yield from self.database_locks.problems()
        yield from self.database_health.problems()
        yield from self.halts.problems()
        yield from self.records.problems()
        if self.file_system.blind and not self.file_system.layered:
            yield Problem(
                code="file_system_blind",
                what=f"{self.settings.state_dir} is on {self.file_system.kind} ({self.file_system.mount}):"
                f" {self.file_system.blind}",
                remedy="keep the state directory on a local file system of the machine that the gateway runs on",
            )
        journal = self.driver.journal
        if journal.unsaved or journal.failing:
            yield Problem(
                code="store_failing",
                what=f"{journal.unsaved} incident(s) are not on disk and {journal.forgotten} were given up:"
                f" {journal.last_error}",
                remedy=f"see that {self.settings.data_dir} has room and can be written to",
            )
        if self.running.ready and self.watcher.directories == 0 and not self.databases.watch.databases:
            yield Problem(
                code="nothing_to_watch",
                what=f"there is no sessions directory below {self.settings.state_dir} yet, and no linked gateway"
                " has a turn in a database",
                remedy="check --state-dir; with a new gateway this goes away with its first session",
            )


def _budget_status(budget_use: BudgetUse) -> BudgetStatus:
    return BudgetStatus(
        scope=budget_use.scope.value,
        limit=budget_use.limit,
        period_seconds=budget_use.period_ns / NS_PER_SECOND,
        left=budget_use.left,
    )
