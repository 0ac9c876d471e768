"""Rules of a policy, and matching them: which writers may do what to which sessions.

The rules are asked in their order, and the first that matches decides. A condition can be about something that is not
known, such as the executable of a process that has ended. Such a rule applies only where it narrows: what it grants is
a bound, and the rules behind it are asked as well. So a rule that forbids never fails to for want of knowledge, and one
that permits never permits on a guess.

A program outside of OpenClaw is a co-tenant only where a rule names it, by a name that it has proved its right to with
the token, by executable or by user. A rule that does not name it only narrows what it may do.
"""

from collections.abc import Iterable
from enum import Enum, StrEnum
from typing import Final

from sidecar.core.facts.grade import Grade
from sidecar.core.facts.value import Value
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.glob import Glob

DEFAULT_RULE: Final = "default"
"""The name under which the policy's default decides."""

UNDECLARED_RULE: Final = "undeclared"
"""The name under which a program outside of OpenClaw is refused because no rule names it."""

_LEVELS: Final = 3

NEVER_RULE: Final = "never"
"""The name under which the sidecar itself forbids, whatever a policy says (design: rule 1)."""


class Permission(StrEnum):
    """What a co-tenant may do while another run's fence is set; each includes those ahead of it."""

    NOTHING = "nothing"
    METADATA = "metadata"
    """Change times, mode or links; no byte."""
    APPEND = "append"
    """Add bytes at the end."""
    REWRITE = "rewrite"
    """Replace, cut or remove old bytes as well."""

    @property
    def strength(self) -> int:
        """A number that grows with what is allowed."""
        return list(Permission).index(self)


class Match(Enum):
    """Whether a condition holds."""

    NO = 0
    UNKNOWN = 1
    YES = 2


class AccessRequest(Value, frozen=True, kw_only=True):
    """What one writer did to one session since the fence.

    Attributes:
        writer: Who.
        did: The most that it did.
        session: Hash of the session key; empty when not known.
        file: Path of the session file, its directory's links followed.
    """

    writer: Writer
    did: Permission
    session: str = ""
    file: str = ""

    @property
    def agent(self) -> str:
        """The agent whose session it is; empty where the path does not tell."""
        parts = self.file.split("/")
        if len(parts) <= _LEVELS or parts[-4] != "agents":  # agents/ID/sessions/FILE, agents/ID/agent/DATABASE
            return ""
        return parts[-3] if parts[-2] in {"sessions", "agent"} else ""


class Rule(Value, frozen=True, kw_only=True):
    """One rule. A condition that is empty holds for everybody; one of several values is enough.

    Attributes:
        name: For people, and in incidents.
        names: Names of writers: job, channel or label.
        agents: Agents whose sessions it is about.
        sessions: Hashes of session keys.
        needs: The weakest evidence for that; None for the policy's default.
        unanswered: It may add input of a user that nobody has answered: a run's answer behind it will seem to be to it.
        unverified: A link is believed for its program and user alone, although nothing proves that it is OpenClaw's.
        token: A program outside of OpenClaw must have proved that it knows the hooks token, besides all else.
        line: Where the file has it; 0 when not from a file.
    """

    name: str
    kinds: frozenset[WriterKind] = frozenset()
    names: tuple[Glob, ...] = ()
    executables: tuple[Glob, ...] = ()
    uids: frozenset[int] = frozenset()
    agents: tuple[Glob, ...] = ()
    sessions: tuple[Glob, ...] = ()
    files: tuple[Glob, ...] = ()
    may: Permission
    needs: Grade | None = None
    unanswered: bool = False
    unverified: bool = False
    token: bool = False
    line: int = 0

    def matches(self, request: AccessRequest) -> Match:
        """Whether this rule applies to the request; unknown when a condition can't be told and no other fails."""
        if self.files and not any(glob.matches(request.file) for glob in self.files):
            return Match.NO
        who = self.matches_writer(request.writer)
        if who is Match.NO:
            return who
        return _all_of(who, _any_of(self.agents, request.agent), _any_of(self.sessions, request.session))

    def matches_writer(self, writer: Writer) -> Match:
        """Whether its conditions about the writer hold, whatever session it is about."""
        if self.kinds and writer.kind not in self.kinds:
            return Match.NO
        if self.names and not any(glob.matches(writer.name) for glob in self.names):
            return Match.NO
        proved = Match.UNKNOWN if self.asks_token(writer) and not writer.token else Match.YES
        return _all_of(_any_of(self.executables, writer.exe), _one_of(self.uids, writer.uid), proved)

    @property
    def names_someone(self) -> bool:
        """It says who the writer is, so that it can make a program outside of OpenClaw a co-tenant."""
        about_links = self.unverified and WriterKind.DECLARED not in self.kinds
        return bool(self.names or self.executables or self.uids) and not about_links

    def asks_token(self, writer: Writer) -> bool:
        """This writer must have proved that it knows the token: its name alone is only what it says of itself."""
        return writer.kind is WriterKind.DECLARED and self._by_name

    def lacks(self, writer: Writer) -> tuple[str, ...]:
        """The conditions of this rule about who the writer is, as the file names them, that it is not known to meet."""
        held = {
            "names": not self.names or any(glob.matches(writer.name) for glob in self.names),
            "executables": _any_of(self.executables, writer.exe) is Match.YES,
            "uids": _one_of(self.uids, writer.uid) is Match.YES,
            "token": writer.token or not self.asks_token(writer),
        }
        return tuple(key for key, holds in held.items() if not holds)

    @property
    def of_every_session(self) -> bool:
        """It has no condition about the session."""
        return not (self.agents or self.sessions or self.files)

    @property
    def _by_name(self) -> bool:
        """It is about programs outside of OpenClaw, too, and what they say of themselves is not enough."""
        outside = not self.kinds or WriterKind.DECLARED in self.kinds
        return outside and (self.token or (bool(self.names) and not self.executables and not self.uids))

    @property
    def _decided_kinds(self) -> Iterable[str]:
        """The kinds that it decides about, and not only narrows; nothing for all."""
        if self.names_someone:
            return self.kinds
        return ("declared, narrowed" if kind is WriterKind.DECLARED else kind for kind in self.kinds or WriterKind)

    def admits(self, exe: str, uid: int) -> bool:
        """Whether a link of this program and user is believed. What is not known matches nothing."""
        if not self.unverified or not (self.executables or self.uids):
            return False
        return _any_of(self.executables, exe) is _one_of(self.uids, uid) is Match.YES

    @property
    def conditions(self) -> tuple[frozenset[object], ...]:
        """What it asks for, one set for each condition, always in the same order."""
        asked: tuple[Iterable[object], ...] = (self._decided_kinds, self.uids, ("token",) if self._by_name else ())
        globs = (self.names, self.executables, self.agents, self.sessions, self.files)
        return tuple(frozenset(values) for values in (*asked, *({g.text for g in condition} for condition in globs)))


def covers(above: tuple[frozenset[object], ...], below: tuple[frozenset[object], ...]) -> bool:
    """Whatever matches the conditions below matches those above, as far as can be told from how they are written."""
    # A loop, as each rule of a file is compared with all above it while gateways may wait.
    for wide, narrow in zip(above, below, strict=True):  # noqa: SIM110 - twice as fast as all()
        if wide and not (narrow and narrow <= wide):
            return False
    return True


class Ruling(Value, frozen=True):
    """What the policy says of an access request.

    Attributes:
        needs: The weakest evidence for that.
        unanswered: It may add input of a user that nobody has answered.
        unknown: What could not be told made a rule apply, or the rules behind it.
    """

    rule: str
    may: Permission
    needs: Grade
    unknown: bool = False
    unanswered: bool = False

    def allows(self, did: Permission) -> bool:
        """That much is allowed."""
        return did.strength <= self.may.strength and self.may is not Permission.NOTHING


def decide(rules: Iterable[Rule], default: Ruling, request: AccessRequest) -> Ruling:
    """Ask the rules in their order; ``default`` holds where none matches, of a program outside of OpenClaw nothing."""
    if request.writer.kind is WriterKind.FOREIGN:
        return Ruling(NEVER_RULE, Permission.NOTHING, default.needs)
    outside = request.writer.kind is WriterKind.DECLARED
    bounds: list[Ruling] = []
    final = Ruling(UNDECLARED_RULE, Permission.NOTHING, default.needs) if outside else default
    unknown = False
    for rule in rules:
        match = rule.matches(request)
        if match is Match.NO:
            continue
        ruling = Ruling(rule.name, rule.may, rule.needs or default.needs, unanswered=rule.unanswered)
        if match is Match.YES and (rule.names_someone or not outside):
            final = ruling
            break
        unknown = unknown or match is Match.UNKNOWN
        bounds.append(ruling)
    if not bounds:
        return final
    narrowest = min((*bounds, final), key=lambda ruling: ruling.may.strength)
    needs = max((r.needs for r in (*bounds, final)), key=lambda grade: grade.strength)
    unanswered = all(ruling.unanswered for ruling in (*bounds, final))
    return Ruling(narrowest.rule, narrowest.may, needs, unknown=unknown, unanswered=unanswered)


def _all_of(*matches: Match) -> Match:
    return Match.NO if Match.NO in matches else Match.UNKNOWN if Match.UNKNOWN in matches else Match.YES


def _any_of(globs: tuple[Glob, ...], value: str) -> Match:
    if not globs:
        return Match.YES
    if not value:
        return Match.UNKNOWN
    return Match.YES if any(glob.matches(value) for glob in globs) else Match.NO


def _one_of(numbers: frozenset[int], value: int) -> Match:
    if not numbers:
        return Match.YES
    if value < 0:
        return Match.UNKNOWN
    return Match.YES if value in numbers else Match.NO
