"""Which writers are co-tenants, and what recovery needs.

A policy can only narrow what the evidence would allow: no rule lets a recovery cross a byte that nobody explained, and
a foreign process is never a co-tenant (design: rule 1). Only a change without bytes may be left to programs by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sidecar.core.budget import Limits
from sidecar.core.rules import DEFAULT_RULE, May, Ruling, decide

if TYPE_CHECKING:
    from sidecar.core.glob import Glob
    from sidecar.core.rules import Deed, Rule
    from sidecar.core.storm import StormLimit
    from sidecar.core.witness import Process

UNCHANGED_RULE: Final = "unchanged"
"""The name under which the part about changes without bytes decides."""

BUILT_IN: Final = "built-in"
"""The digest of the policy that holds where no file is given."""


class Mode(StrEnum):
    """What the sidecar does with a verdict."""

    RECOVER = "recover"
    """Approve re-fingerprinting where the verdict allows it."""
    OBSERVE = "observe"
    """Verdicts and telemetry only, no commands."""


class Grade(StrEnum):
    """How strong the evidence of a verdict is, weakest first."""

    NONE = "none"
    """Nothing but the fingerprint."""
    BRACKET = "bracket"
    """The change lies inside a lock hold of a known process."""
    BYTES = "bytes"
    """Every byte was compared with the account of who wrote it."""
    KERNEL = "kernel"
    """The kernel named the writing process."""

    @property
    def strength(self) -> int:
        """A number that grows with the evidence."""
        return list(Grade).index(self)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """When a change without bytes (touch, chmod, a copy renamed into place) may be recovered from.

    Attributes:
        allow: It may at all.
        executables: Only when all that touched the file were these; empty for anybody.
        uids: Only when all that touched the file were these users; empty for anybody.
    """

    allow: bool = True
    executables: tuple[Glob, ...] = ()
    uids: frozenset[int] = frozenset()

    def refusal(self, touched: tuple[Process, ...] | None) -> str:
        """Why it may not; empty when it may.

        Args:
            touched: Who touched the file since the fence; None when that is not known.
        """
        if not self.allow:
            return "the policy forbids recovery"
        if not self.executables and not self.uids:
            return ""
        if touched is None:
            return "the policy allows it to some programs or users only, and who touched the file is not known"
        for process in touched:
            known = not self.executables or any(glob.matches(process.exe) for glob in self.executables)
            if not known or (self.uids and process.uid not in self.uids):
                who = process.exe or "a program that is not known"
                return f"the policy does not allow it to {who}" + (f" of user {process.uid}" if self.uids else "")
        return ""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in force. The built-in one trusts every writer inside a linked OpenClaw process.

    Attributes:
        rules: Asked in this order.
        default: What a writer may do that no rule matches.
        needs: The weakest evidence on which a recovery may rest, where no rule says otherwise.
        unchanged: What holds where no byte changed.
        limits: Budgets.
        storm: When many changes at once stop recovery; None for never.
        digest: Start of the SHA-256 of the file that it was read from.
    """

    rules: tuple[Rule, ...] = ()
    default: May = May.REWRITE
    needs: Grade = Grade.BYTES
    unchanged: Unchanged = field(default_factory=Unchanged)
    limits: Limits = field(default_factory=Limits)
    storm: StormLimit | None = None
    digest: str = BUILT_IN

    def decide(self, deed: Deed) -> Ruling:
        """What this writer may do in this session."""
        return decide(self.rules, Ruling(DEFAULT_RULE, self.default, self.needs), deed)
