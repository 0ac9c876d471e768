"""What the sidecar says of itself: one value, made by the service, shown by the API, the CLI and the metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that an operator should mend.

    Attributes:
        code: Stable, for scripts; such as ``preload_missing``.
        what: What is wrong, and where.
        remedy: What to do, with the command.
    """

    code: str
    what: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStatus:
    """One OpenClaw process.

    Attributes:
        own_pid: Its process id as it knows it itself: another one where it lives in a pid namespace of its own.
        visible: Its process can be seen from here; else ``pid`` is its own word, and /proc says nothing of it.
        linked: It carries the preload and is connected.
        version: OpenClaw's version; empty when not known.
        adapter: See `sidecar.core.facts.gateway.Adapter`.
        can_reload: Its runs can be made to read their session file again.
        reason: What the preload says about the adapter it found; for a process without one, how it was noticed.
        threads: How many links it has (worker threads have their own).
        lost: Messages that its preload had to drop.
        preload: Version of its preload; empty for a process without one.
        preload_fits: That version is this sidecar's, or there is no preload.
        disobeys: Why it does not take this sidecar for its own, as its preload says; empty for one that does.
        backlog_bytes: What it said and nobody has read, and commands that it has not read.
        verified: What it says is believed, on all of its links. False for a process without one.
        proof: What it is believed for: process, key, pin or policy; empty where it is not, or nothing was asked.
        checks: What was found out about it, in the order of the checks.
        doubt: Why it is not believed, for people; empty where it is.
        doubt_code: The same as a code of `docs/reasons.md`.
    """

    pid: int
    linked: bool
    version: str = ""
    adapter: str = ""
    can_reload: bool = False
    reason: str = ""
    threads: int = 0
    messages: int = 0
    gaps: int = 0
    lost: int = 0
    preload: str = ""
    preload_fits: bool = True
    disobeys: str = ""
    backlog_bytes: int = 0
    own_pid: int = 0
    visible: bool = True
    verified: bool = False
    proof: str = ""
    checks: tuple[str, ...] = ()
    doubt: str = ""
    doubt_code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchStatus:
    """The inotify side.

    Attributes:
        databases: Those that linked gateways keep sessions in.
        file_system: The type of the file system with the state directory; empty when it can't be told.
        blind: What that can't report; empty when nothing is known to be missing.
        backlog_bytes: File events that the kernel keeps for us.
        locks: Session locks held, by their lock files.
        oldest_lock_seconds: Age of the oldest of these; 0 when there is none.
    """

    directories: int = 0
    files: int = 0
    databases: int = 0
    events: int = 0
    overflows: int = 0
    file_system: str = ""
    blind: str = ""
    backlog_bytes: int = 0
    locks: int = 0
    oldest_lock_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessStatus:
    """The kernel's word on who wrote (``--who kernel``).

    Attributes:
        on: A canary has proven it, and it is listened to.
        settled: It has been listened to everywhere for so long that a verdict can rest on it.
        reason: Why not, or not everywhere; empty when all is well.
        pidfd: The kernel gives a descriptor of the writing process, too.
        unknown: Events whose process was gone before it could be looked at, or was not told.
    """

    wanted: bool = False
    on: bool = False
    settled: bool = False
    reason: str = ""
    pidfd: bool = False
    directories: int = 0
    events: int = 0
    unknown: int = 0
    overflows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseStatus:
    """The databases below the state directory.

    Attributes:
        count: How many there are.
        size_bytes: Of the greatest one.
        wal_bytes: Of the greatest write-ahead log.
        hidden: Of so many it can't be seen from here who has them open.
        troubles: How many are in trouble, by `sidecar.telemetry.names.labels.DatabaseTrouble`.
    """

    count: int = 0
    size_bytes: int = 0
    wal_bytes: int = 0
    hidden: int = 0
    troubles: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageStatus:
    """Notifications since the start.

    Attributes:
        failed: Given up.
        pending: Waiting for a (further) attempt.
        last_error: What the last failed attempt said; empty when none failed.
    """

    destinations: int = 0
    sent: int = 0
    failed: int = 0
    pending: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStatus:
    """The policy in force.

    Attributes:
        file: Where it is read from; empty for the built-in one.
        digest: Start of the SHA-256 of what was read, or ``built-in``.
        loaded_at_ns: When it was taken, nanoseconds since the epoch.
        good: The file as it was read last was taken.
        error: Why it was not: file, line and reason; empty when it was.
    """

    file: str = ""
    digest: str = "built-in"
    rules: int = 0
    loaded_at_ns: int = 0
    good: bool = True
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStatus:
    """A budget of recoveries; of those of sessions the one with the least left. ``scope`` is session or gateway."""

    scope: str
    limit: int
    period_seconds: float
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseStatus:
    """An operator wants no recoveries for a while; times in nanoseconds since the epoch."""

    reason: str
    since_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportStatus:
    """What goes to a backend over OTLP, of one signal.

    Attributes:
        delivered: Exports that it took.
        failed: Exports that it did not.
        waiting: Spans or log records that wait for one; there is a limit to them.
        dropped: Spans or log records that it will never see.
        failing: The last export failed.
    """

    delivered: int = 0
    failed: int = 0
    waiting: int = 0
    dropped: int = 0
    failing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordStatus:
    """The records of incidents and their chain.

    Attributes:
        head: The chain's last entry, as ``openclaw-sidecar audit verify --head`` takes it.
        verified_at_ns: When all of it was looked at last, nanoseconds since the epoch; 0 before that.
        changed: How much was found that somebody else had changed.
        looked_at: Entries and incidents that the look under way has seen; 0 when none is under way.
        to_look_at: How many there are for it to see.
    """

    head: str = ""
    verified_at_ns: int = 0
    changed: int = 0
    looked_at: int = 0
    to_look_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltStatus:
    """Times in which the sidecar itself did not run: stopped, given no processor, or held up by a disk.

    The last one, in nanoseconds since the epoch; 0 when there was none.
    """

    count: int = 0
    seconds: float = 0.0
    since_ns: int = 0
    until_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The whole of it.

    Attributes:
        mode: recover or observe.
        started_at_ns: Nanoseconds since the epoch.
        ready: The socket is open, the watch is in place and the store answers.
        socket: Where gateways link.
        http: Host and port of the API.
        metrics: Host and port for scrapers and probes.
        windows: Fences set now.
        custody_unknown: Fenced files of which custody is unknown now.
        custody_losses: Times that custody became unknown, by reason.
        incidents: Incidents in the store, by verdict.
        rejected: Bad input of any kind, by reason.
        foreign_hold_seconds: For how long a process without a link has held an agent's database for writing; 0 when
            none does.
        storm_until_ns: Until when a storm stops recovery, nanoseconds since the epoch; 0 when none does.
        exports: The signals that have a backend (traces, metrics, logs), and how their exports fare.
        problems: What an operator should mend; empty when all is well.
    """

    version: str
    pid: int
    mode: str
    started_at_ns: int
    ready: bool
    state_dir: str
    data_dir: str
    socket: str
    http: str
    metrics: str
    gateways: tuple[GatewayStatus, ...] = ()
    windows: int = 0
    custody_unknown: int = 0
    custody_losses: Mapping[str, int] = field(default_factory=dict)
    incidents: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    watch: WatchStatus = field(default_factory=WatchStatus)
    kernel: WitnessStatus = field(default_factory=WitnessStatus)
    foreign_hold_seconds: float = 0.0
    databases: DatabaseStatus = field(default_factory=DatabaseStatus)
    pages: PageStatus = field(default_factory=PageStatus)
    policy: PolicyStatus = field(default_factory=PolicyStatus)
    budgets: tuple[BudgetStatus, ...] = ()
    pause: PauseStatus | None = None
    storm_until_ns: int = 0
    records: RecordStatus = field(default_factory=RecordStatus)
    halts: HaltStatus = field(default_factory=HaltStatus)
    exports: Mapping[str, ExportStatus] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
