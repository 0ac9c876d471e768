"""A policy from its TOML file, or every reason why not, each with its line."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from sidecar.config.errors import ConfigError
from sidecar.config.policyfile import LimitPart, PolicyFile, RulePart
from sidecar.config.positions import Path as KeyPath
from sidecar.config.positions import Positions, TomlError, near, read_toml
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.writer import WriterKind
from sidecar.core.policy.budget import MAX_PERIOD_NS, Limit, Limits
from sidecar.core.policy.glob import Glob, GlobError
from sidecar.core.policy.policy import BUILT_IN, UNCHANGED_RULE, Patience, Policy, Unchanged
from sidecar.core.policy.rules import DEFAULT_RULE, NEVER_RULE, UNDECLARED_RULE, Rule, covers
from sidecar.core.policy.storm import StormLimit
from sidecar.store.printable import one_line
from sidecar.store.reader import session_hash
from sidecar.store.since import duration_ns

MAX_BYTES: Final = 1 << 18
"""No policy is larger; what is, was named by mistake."""

_DIGITS: Final = 12
_RESERVED: Final = frozenset({DEFAULT_RULE, NEVER_RULE, UNCHANGED_RULE, UNDECLARED_RULE, BUILT_IN})
_AT: Final = re.compile(r"^(.*?)(?: - at `\$(.*)`)?$", re.DOTALL)
_STEP: Final = re.compile(r"\.([A-Za-z_]+)|\[(\d+)\]|\[\.\.\.\]")
_QUOTED: Final = re.compile(r"`([^`]+)`")
_HASH: Final = re.compile(r"[0-9a-f]{16}|(?=.*[*?])[0-9a-f*?]{1,16}")
_HINTS: Final = {
    "evidence": "; recovery never rests on less than bytes",
    "per": "; give a length of time such as 30s, 5m, 1h or 7d",
    "within": "; give a length of time such as 30s, 5m, 1h or 7d",
    "cooldown": "; give a length of time such as 30s, 5m, 1h or 7d",
    "name": "; letters, digits, dots, dashes and underscores, at most 64",
    "version": "; this release knows version 1",
    "sessions": "; a storm takes at least two sessions",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong in a policy file.

    Attributes:
        line: Where; 0 for the file as a whole.
        key: Which key, such as ``rule[2].kinds``; empty for none.
        reason: What is wrong, and what to do.
    """

    line: int
    key: str
    reason: str

    def text(self, path: Path) -> str:
        """One line, such as ``policy.toml:7: rule[0].kinds: ...``."""
        place = f"{path}:{self.line}" if self.line else str(path)
        return one_line(f"{place}: {self.key}: {self.reason}" if self.key else f"{place}: {self.reason}")


class PolicyError(ConfigError):
    """A policy file cannot be used.

    Attributes:
        path: The file.
        findings: All that is wrong with it, at least one.
        unreadable: There is no file, or it cannot be read.
    """

    def __init__(self, path: Path, findings: Iterable[Finding], *, unreadable: bool = False) -> None:
        self.path = path
        self.findings = tuple(findings)
        self.unreadable = unreadable
        first, more = self.findings[0].text(path), len(self.findings) - 1
        super().__init__("policy", first + (f" (and {more} more; `openclaw-sidecar policy check`)" if more else ""))


def read_policy(path: Path) -> Policy:
    """Read a policy file; nothing in it is ignored.

    Raises:
        PolicyError: It cannot be used.
    """
    try:
        with path.open("rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
    except OSError as error:
        reason = f"{error.strerror or error}; check --policy"
        raise PolicyError(path, [Finding(0, "", reason)], unreadable=True) from error
    return parse_policy(path, raw)


def parse_policy(path: Path, raw: bytes) -> Policy:
    """The policy that these bytes of a file are.

    Raises:
        PolicyError: They are none.
    """
    if len(raw) > MAX_BYTES:
        raise PolicyError(path, [Finding(0, "", f"is larger than {MAX_BYTES} bytes; check --policy")])
    try:
        document, positions = read_toml(raw)
    except TomlError as error:
        raise PolicyError(path, [Finding(error.line, "", str(error))]) from None
    try:
        parsed = msgspec.convert(document, PolicyFile)
    except msgspec.ValidationError as error:
        raise PolicyError(path, [_misshapen(document, positions, str(error))]) from None
    maker = _Maker(positions)
    made = maker.policy(parsed, hashlib.sha256(raw).hexdigest()[:_DIGITS])
    if maker.findings:
        raise PolicyError(path, sorted(maker.findings, key=lambda finding: finding.line))
    return made


class _Maker:
    """Makes the policy of a well-formed file, and collects what it can't make sense of."""

    def __init__(self, positions: Positions) -> None:
        self.findings: list[Finding] = []
        self._positions = positions

    def policy(self, file: PolicyFile, digest: str) -> Policy:
        rules = tuple(self._rule(part, ("rule", number)) for number, part in enumerate(file.rule))
        self._check_names(rules)
        if not self.findings:  # a condition that could not be read would seem to hold for everybody
            self._check_reach(rules)
        unchanged = file.unchanged
        if not unchanged.allow and (unchanged.executables or unchanged.uids):
            self._wrong(("unchanged", "allow"), "is false, so executables and uids can't matter; leave them out")
        return Policy(
            rules=rules,
            default=file.default.may,
            needs=Grade(file.default.evidence),
            unchanged=Unchanged(
                allow=unchanged.allow,
                executables=self._globs(unchanged.executables, ("unchanged", "executables"), path=True),
                uids=frozenset(unchanged.uids),
            ),
            limits=Limits(
                session=self._limit(file.budget.session, ("budget", "session")),
                gateway=self._limit(file.budget.gateway, ("budget", "gateway")),
            ),
            storm=None
            if file.storm is UNSET
            else StormLimit(
                file.storm.sessions,
                self._length(file.storm.within, ("storm", "within")),
                self._length(file.storm.cooldown, ("storm", "cooldown")),
            ),
            patience=None
            if file.patience is UNSET
            else Patience(
                file.patience.tries,
                self._globs(file.patience.executables, ("patience", "executables"), path=True),
            ),
            digest=digest,
        )

    def _rule(self, part: RulePart, at: KeyPath) -> Rule:
        if WriterKind.FOREIGN in part.kinds:
            self._wrong((*at, "kinds"), "a foreign process is never a co-tenant, whatever a policy says; leave it out")
        if part.unverified and not (part.executables or part.uids):
            reason = "would believe every process of the gateway's user; add executables or uids"
            self._wrong((*at, "unverified"), reason)
        if part.token and set(part.kinds) != {WriterKind.DECLARED}:
            self._wrong((*at, "token"), 'only programs outside of OpenClaw have it: say kinds = ["declared"], too')
        return Rule(
            name=part.name,
            kinds=frozenset(part.kinds),
            names=self._globs(part.names, (*at, "names")),
            executables=self._globs(part.executables, (*at, "executables"), path=True),
            uids=frozenset(part.uids),
            agents=self._globs(part.agents, (*at, "agents")),
            sessions=self._sessions(part.sessions, (*at, "sessions")),
            files=self._globs(part.files, (*at, "files"), path=True),
            may=part.may,
            needs=None if part.evidence is UNSET else Grade(part.evidence),
            unanswered=part.unanswered,
            unverified=part.unverified,
            token=part.token,
            line=self._positions.line(at),
        )

    def _globs(self, texts: tuple[str, ...], at: KeyPath, *, path: bool = False) -> tuple[Glob, ...]:
        made: list[Glob] = []
        for text in texts:
            try:
                made.append(Glob(text, path))
            except GlobError as error:
                self._wrong(at, f"{text!r} {error}")
        return tuple(made)

    def _sessions(self, texts: tuple[str, ...], at: KeyPath) -> tuple[Glob, ...]:
        """Keys are hashed as the preload does it: only their hashes leave the gateway."""
        hashes: list[str] = []
        for text in texts:
            if _HASH.fullmatch(text):
                hashes.append(text)
            elif "*" in text or "?" in text:
                reason = "is a pattern, and keys can only be compared whole, by their hashes; use agents or files"
                self._wrong(at, f"{text!r} {reason}")
            else:
                hashes.append(session_hash(text))
        return self._globs(tuple(hashes), at)

    def _limit(self, part: LimitPart | UnsetType, at: KeyPath) -> Limit | None:
        return None if part is UNSET else Limit(part.recoveries, self._length(part.per, (*at, "per")))

    def _length(self, text: str, at: KeyPath) -> int:
        length_ns = duration_ns(text)
        if length_ns > MAX_PERIOD_NS:
            self._wrong(at, f"{text!r} is longer than 31d")
        return length_ns

    def _check_names(self, rules: Iterable[Rule]) -> None:
        seen: dict[str, int] = {}
        for number, rule in enumerate(rules):
            at = ("rule", number, "name")
            if rule.name in _RESERVED:
                self._wrong(at, f"{rule.name!r} has a meaning of its own in incidents; choose another one")
            if rule.name in seen:
                self._wrong(at, f"{rule.name!r} is the name of the rule in line {seen[rule.name]}, too; choose another")
            seen.setdefault(rule.name, rule.line)

    def _check_reach(self, rules: tuple[Rule, ...]) -> None:
        asked = [rule.conditions for rule in rules]
        for number, below in enumerate(asked):
            found = next((earlier for earlier in range(number) if covers(asked[earlier], below)), None)
            if found is not None:
                above = rules[found]
                reason = f"can never decide: {above.name!r} in line {above.line} matches all that it does; move it up"
                self._wrong(("rule", number), reason)

    def _wrong(self, at: KeyPath, reason: str) -> None:
        self.findings.append(Finding(self._positions.line(at), _shown(at), reason))


def _misshapen(document: dict[str, Any], positions: Positions, said: str) -> Finding:
    """What msgspec says, with the line and what would be right."""
    found = _AT.match(said)
    reason, steps = (found[1], found[2] or "") if found else (said, "")
    at: KeyPath = tuple(key or int(index or 0) for key, index in _STEP.findall(steps))
    unknown = _QUOTED.search(reason) if reason.startswith("Object contains unknown field") else None
    if unknown is not None:
        at = (*at, unknown[1])
        return Finding(positions.line(at), _shown(at), f"unknown key; {near(unknown[1], _keys(at[:-1]))}")
    missing = _QUOTED.search(reason) if reason.startswith("Object missing required field") else None
    if missing is not None:
        return Finding(positions.line(at), _shown((*at, missing[1])), "is missing; add it")
    words = _words(at)
    value = _value(document, at)
    if words and isinstance(value, str):
        return Finding(positions.line(at), _shown(at), f"{value!r} is none of {', '.join(words)}{_hint(at)}")
    if "matching regex" in reason:
        return Finding(positions.line(at), _shown(at), f"{value!r} is not of the form{_hint(at)}")
    return Finding(positions.line(at), _shown(at), f"{reason[:1].lower()}{reason[1:]}{_hint(at)}")


def _hint(at: KeyPath) -> str:
    last = next((step for step in reversed(at) if isinstance(step, str)), "")
    return "" if at[:1] == ("rule",) and last == "sessions" else _HINTS.get(last, "")


def _type_at(at: KeyPath) -> Any:  # noqa: ANN401 - any type of msgspec's inspection
    """What the file's types have at this place; None where nothing is known."""
    here: Any = msgspec.inspect.type_info(PolicyFile)
    for step in at:
        here = _plain(here)
        if isinstance(here, msgspec.inspect.StructType) and isinstance(step, str):
            here = next((f.type for f in here.fields if f.name == step), None)
        elif isinstance(here, msgspec.inspect.VarTupleType) and isinstance(step, int):
            here = here.item_type
        else:
            return None
    return _plain(here)


def _plain(kind: Any) -> Any:  # noqa: ANN401 - as above
    """A type without the notes around it."""
    while isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    return kind


def _keys(at: KeyPath) -> list[str]:
    here = _type_at(at)
    return [f.name for f in here.fields] if isinstance(here, msgspec.inspect.StructType) else []


def _words(at: KeyPath) -> list[str]:
    here = _type_at(at)
    if not isinstance(here, msgspec.inspect.EnumType):
        return []
    return [str(word.value) for word in here.cls if word is not WriterKind.FOREIGN]


def _value(document: Any, at: KeyPath) -> Any:  # noqa: ANN401 - any TOML value
    for step in at:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def _shown(at: KeyPath) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at)
    return text.removeprefix(".")
