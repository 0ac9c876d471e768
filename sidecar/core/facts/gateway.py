"""The process on the other end of a link."""

from enum import StrEnum

from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import Value


class Adapter(StrEnum):
    """How the preload can have the gateway re-fingerprint (docs/fence.md)."""

    SWAP = "swap"
    """The comparison is answered with the approved step; the session manager is taught the new records."""
    PUBLISH = "publish"
    """The approved step is published as an owned write; the gateway reloads the session itself."""
    REBASE = "rebase"
    """Sessions are in a database. The gateway's question whether newer rows forbid an answer is answered with yes."""
    WATCH = "watch"
    """Sessions are in a database, and the gateway asks nothing about newer rows: there is nothing to recover."""
    NONE = "none"
    """No fence in this release: nothing to recover."""
    UNKNOWN = "unknown"
    """A fence that no adapter matches: left untouched."""
    PENDING = "pending"
    """The modules with the fence are not loaded yet."""


class Role(StrEnum):
    """What the process on a link is."""

    GATEWAY = "gateway"
    """An OpenClaw process with the preload."""
    COTENANT = "cotenant"
    """A program outside of OpenClaw that announces each of its writes before it makes it."""


class Proof(StrEnum):
    """What a link is believed for: that its process is who it says it is."""

    PROCESS = "process"
    """What the kernel shows of the process is what OpenClaw's own programs look like."""
    KEY = "key"
    """It holds a key that the sidecar gave to this process."""
    PIN = "pin"
    """Its process can't be seen. It linked first, and no other is believed for as long as it is there."""
    POLICY = "policy"
    """A rule of the policy admits its executable or its user."""


class Gateway(Value, frozen=True):
    """Who speaks on a link.

    Reports of a link that is not verified are claims (`sidecar.core.custody.claims`): nothing rests on them.

    Attributes:
        link: Identifies the link for its life.
        pid: Process id, as the kernel told; its own word where the kernel told none.
        version: OpenClaw's version; empty when not known.
        can_reload: The adapter can make a run read its session file again.
        started_at_ns: When the process was started, nanoseconds since the epoch; 0 when not known.
        uid: Its user, as the kernel told; -1 when not known.
        unverified: Why what it says is not believed; None where it is.
        proof: What it is believed for; None where it is not, and in recordings of before there was this.
        checks: What was found out about it, in short words, in the order of the checks.
        pids: Its ids in every pid namespace that it lives in, outermost first; 0 ahead of them where it lives in none
            that can be seen from here, and the last is its own word then; empty when not known.
        exe: Its executable; empty when not known.
    """

    link: str
    pid: int
    version: str = ""
    adapter: Adapter = Adapter.PENDING
    can_reload: bool = False
    role: Role = Role.GATEWAY
    started_at_ns: int = 0
    uid: int = -1
    unverified: Reason | None = None
    proof: Proof | None = None
    checks: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()
    exe: str = ""

    @property
    def visible_pid(self) -> int:
        """Its id here; 0 where it lives in a pid namespace that can't be seen from here."""
        return self.pids[0] if self.pids else self.pid

    @property
    def own_pid(self) -> int:
        """Its id as it knows it itself: what it writes into a lock file."""
        return self.pids[-1] if self.pids else self.pid

    @property
    def believed(self) -> bool:
        """What it reports is taken for true."""
        return self.unverified is None

    @property
    def doubt(self) -> Reason | None:
        """Who is not believed, and why; None for one that is."""
        why = self.unverified
        if why is None or why.code is ReasonCode.LINK_UNVERIFIED:
            return why
        return Reason.of(ReasonCode.LINK_UNVERIFIED, why, pid=self.pid, exe=self.exe)


class Run(Value, frozen=True):
    """The run whose fence is set.

    Attributes:
        run_id: The gateway's id of the run; empty when not known.
        kind: Trigger of the run in words of `sidecar.core.facts.writer.WriterKind`.
        name: Job id, channel or label; empty when there is none.
        session: Hash of the session key.
        trace_id: Trace of the run in 32 hexadecimal digits; empty when the gateway told none.
        span_id: Span of the run in that trace; empty likewise.
    """

    run_id: str = ""
    kind: str = ""
    name: str = ""
    session: str = ""
    trace_id: str = ""
    span_id: str = ""
