"""Which writers are co-tenants, and what recovery needs.

A policy can only narrow what the evidence would allow: no rule lets a recovery cross a byte that nobody explained, and
a foreign process is never a co-tenant (design: rule 1). Only a change without bytes may be left to programs by name.
"""

from enum import StrEnum
from typing import Final

from sidecar.core.facts.grade import Grade
from sidecar.core.facts.process import Process
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import Value
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.admission import refusal
from sidecar.core.policy.budget import Limits
from sidecar.core.policy.glob import Glob
from sidecar.core.policy.rules import DEFAULT_RULE, AccessRequest, Permission, Rule, Ruling, decide
from sidecar.core.policy.storm import StormLimit

UNCHANGED_RULE: Final = "unchanged"
"""The name under which the part about changes without bytes decides."""

SHORT_LIVED: Final = (
    "[unchanged]: executables and uids are known of processes that still run when the kernel's word is read;"
    " a command that ends at once (touch, chmod, mv) mostly does not, and such a change is then not recovered from"
)
"""Of a process that has ended /proc tells nothing, and fanotify(7) gives its number only."""

NAMES_NOBODY: Final = (
    "a program outside of OpenClaw is a co-tenant only by a rule with names, executables or uids; this one has none, so"
    " it only narrows what such a program may do"
)

MAX_TRIES: Final = 3
"""The preload asks no more often either."""

BUILT_IN: Final = "built-in"
"""The digest of the policy that holds where no file is given."""


class Mode(StrEnum):
    """What the sidecar does with a verdict."""

    RECOVER = "recover"
    """Approve re-fingerprinting where the verdict allows it."""
    OBSERVE = "observe"
    """Verdicts and telemetry only, no commands."""


class Unchanged(Value, frozen=True):
    """When a change without bytes (touch, chmod, a copy renamed into place) may be recovered from.

    Attributes:
        allow: It may at all.
        executables: Only when all that touched the file were these; empty for anybody.
        uids: Only when all that touched the file were these users; empty for anybody.
    """

    allow: bool = True
    executables: tuple[Glob, ...] = ()
    uids: frozenset[int] = frozenset()

    def refusal(self, touched: tuple[Process, ...] | None) -> Reason | None:
        """Why it may not; None when it may. ``touched`` the file since the fence; None when that is not known."""
        if not self.allow:
            return Reason(ReasonCode.UNCHANGED_FORBIDDEN)
        if not self.executables and not self.uids:
            return None
        if touched is None:
            return Reason(ReasonCode.TOUCH_UNSEEN)
        for process in touched:
            known = not self.executables or any(glob.matches(process.exe) for glob in self.executables)
            if known and (not self.uids or process.uid in self.uids):
                continue
            if (self.executables and not process.exe) or process.uid < 0:
                return _unseen(process)
            if self.uids:
                return Reason.of(ReasonCode.TOUCH_USER_FORBIDDEN, exe=process.exe, uid=process.uid)
            return Reason.of(ReasonCode.TOUCH_PROGRAM_FORBIDDEN, exe=process.exe)
        return None

    @property
    def selective(self) -> bool:
        """It depends on who touched the file, which only the kernel tells."""
        return self.allow and bool(self.executables or self.uids)


def _unseen(process: Process) -> Reason:
    """Why nothing is known of a process but its number."""
    if not process.pid:
        return Reason(ReasonCode.TOUCH_OUTSIDE_NAMESPACE)
    return Reason.of(ReasonCode.TOUCH_PROCESS_ENDED, pid=process.pid)


def _names_nobody(rule: Rule) -> bool:
    """It reads as if it made programs outside of OpenClaw co-tenants, and does not."""
    return WriterKind.DECLARED in rule.kinds and rule.may is not Permission.NOTHING and not rule.names_someone


class Patience(Value, frozen=True):
    """When a run may wait longer for its database than its gateway does, which stands still meanwhile.

    Attributes:
        tries: How often more it may ask: 1 to `MAX_TRIES`, each time for as long as the gateway waits.
        executables: Programs that may be waited for. The gateway's own process always may.
    """

    tries: int = MAX_TRIES
    executables: tuple[Glob, ...] = ()

    def waits_for(self, process: Process) -> bool:
        """This is one of the programs."""
        return bool(process.exe) and any(glob.matches(process.exe) for glob in self.executables)


class Policy(Value, frozen=True):
    """The rules in force. The built-in one trusts every writer inside a linked OpenClaw process.

    Attributes:
        needs: The weakest evidence on which a recovery may rest, where no rule says otherwise.
        unchanged: What holds where no byte changed.
        limits: Budgets.
        storm: When many changes at once stop recovery; None for never.
        patience: When runs may wait longer for their database; None for never.
        digest: Start of the SHA-256 of the file that it was read from.
    """

    rules: tuple[Rule, ...] = ()
    default: Permission = Permission.REWRITE
    needs: Grade = Grade.BYTES
    unchanged: Unchanged = Unchanged()
    limits: Limits = Limits()
    storm: StormLimit | None = None
    patience: Patience | None = None
    digest: str = BUILT_IN

    @property
    def cautions(self) -> tuple[str, ...]:
        """What is right in this policy, and does not do what one may expect of it."""
        short_lived = (SHORT_LIVED,) if self.unchanged.selective else ()
        return short_lived + tuple(
            f"[[rule]] {rule.name}: {NAMES_NOBODY}" for rule in self.rules if _names_nobody(rule)
        )

    @property
    def needs_kernel(self) -> tuple[str, ...]:
        """The parts that nothing can satisfy but the kernel's word, as the file names them."""
        rules = tuple(
            f"[[rule]] {rule.name}"
            for rule in self.rules
            if rule.needs is Grade.KERNEL and rule.may is not Permission.NOTHING
        )
        default = ("[default]",) if self.needs is Grade.KERNEL else ()
        return default + (("[unchanged]",) if self.unchanged.selective else ()) + rules

    def admits(self, exe: str, uid: int) -> str:
        """The rule that a link is believed for, by what the kernel says of its process; empty when there is none."""
        return next((rule.name for rule in self.rules if rule.admits(exe, uid)), "")

    def refusal(self, program: Writer) -> Reason | None:
        """Why this program outside of OpenClaw may announce nothing, in no session; None when it may in some."""
        return refusal(self.rules, program)

    def decide(self, request: AccessRequest) -> Ruling:
        """What this writer may do in this session."""
        return decide(self.rules, Ruling(DEFAULT_RULE, self.default, self.needs), request)
