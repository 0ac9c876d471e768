"""The shape of a policy file. The JSON Schema for editors is made from these types."""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from sidecar.core.facts.writer import WriterKind
from sidecar.core.policy.budget import MAX_RECOVERIES
from sidecar.core.policy.policy import MAX_TRIES
from sidecar.core.policy.rules import Permission

MAX_RULES: Final = 200
"""All are asked while a gateway waits, 250 ms at most."""

DURATION: Final = r"^[1-9][0-9]{0,6}(s|m|h|d)$"

Duration = Annotated[str, Meta(pattern=DURATION, description="A length of time such as 30s, 5m, 1h or 7d.")]
Pattern = Annotated[str, Meta(min_length=1)]
Patterns = Annotated[tuple[Pattern, ...], Meta(min_length=1)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Uids = Annotated[tuple[Annotated[int, Meta(ge=0, le=4_294_967_294)], ...], Meta(min_length=1)]


class Needed(StrEnum):
    """The grades that a policy can ask for. Recovery never rests on less than bytes."""

    BYTES = "bytes"
    KERNEL = "kernel"


def _about(text: str) -> Meta:
    return Meta(description=text)


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: a key that is not known is refused."""


class DefaultPart(_Part, frozen=True, kw_only=True):
    """What holds where no rule matches."""

    may: Annotated[Permission, _about("What a writer may do that no rule matches.")] = Permission.REWRITE
    evidence: Annotated[Needed, _about("The weakest evidence on which a recovery may rest.")] = Needed.BYTES


class UnchangedPart(_Part, frozen=True, kw_only=True):
    """What holds where no byte changed: a touch, a chmod, a copy renamed into place."""

    allow: Annotated[bool, _about("Whether such a change may be recovered from at all.")] = True
    executables: Annotated[
        Patterns, _about("Only if all that touched the file were these programs. Needs evidence of the kernel.")
    ] = ()
    uids: Annotated[
        Uids, _about("Only if all that touched the file were these users. Needs evidence of the kernel.")
    ] = ()


class LimitPart(_Part, frozen=True, kw_only=True):
    """A budget: so many recoveries in so long."""

    recoveries: Annotated[int, Meta(ge=0, le=MAX_RECOVERIES, description="So many recoveries,")]
    per: Annotated[Duration, _about("in any period of this length, at most 31d.")]


class BudgetPart(_Part, frozen=True, kw_only=True):
    """How many recoveries there may be."""

    session: Annotated[LimitPart, _about("For each session file.")] | UnsetType = UNSET
    gateway: Annotated[LimitPart, _about("For all that the sidecar watches.")] | UnsetType = UNSET


class StormPart(_Part, frozen=True, kw_only=True):
    """When many sessions that change at once stop recovery."""

    sessions: Annotated[int, Meta(ge=2, le=100_000, description="So many sessions that met a change in their windows,")]
    within: Annotated[Duration, _about("in so long,")]
    cooldown: Annotated[Duration, _about("stop recovery until so long after.")]


class PatiencePart(_Part, frozen=True, kw_only=True):
    """When a run waits longer for its database than the gateway does."""

    tries: Annotated[
        int, Meta(ge=1, le=MAX_TRIES, description="How often more it asks, each time for as long as the gateway waits.")
    ] = MAX_TRIES
    executables: Annotated[Patterns, _about("Programs that are waited for. The gateway's own process always is.")] = ()


class RulePart(_Part, frozen=True, kw_only=True):
    """One rule. Every condition that it has must hold; of several values of one condition, one is enough."""

    name: Annotated[Name, _about("For people, and in incidents.")]
    kinds: Annotated[tuple[WriterKind, ...], Meta(min_length=1, description="Kinds of writers.")] = ()
    names: Annotated[Patterns, _about("Names of writers: job, channel, label.")] = ()
    executables: Annotated[Patterns, _about("Executables of the writing process.")] = ()
    uids: Annotated[Uids, _about("Users of the writing process.")] = ()
    agents: Annotated[Patterns, _about("Agents whose sessions it is about.")] = ()
    sessions: Annotated[
        Patterns, _about("Session keys as they are, or patterns of their hashes (16 hexadecimal digits).")
    ] = ()
    files: Annotated[Patterns, _about("Session files: names, or whole paths.")] = ()
    may: Annotated[Permission, _about("What such a writer may do there: each includes those ahead of it.")]
    evidence: Annotated[Needed, _about("The weakest evidence for that; otherwise the default's.")] | UnsetType = UNSET
    unanswered: Annotated[bool, _about("Whether it may add input of a user that nobody has answered.")] = False
    unverified: Annotated[
        bool, _about("Whether links of these executables and users are believed, though nothing proves who they are.")
    ] = False
    token: Annotated[
        bool, _about('Whether a program (kinds = ["declared"]) must prove the hooks token; by its name alone it must.')
    ] = False


class PolicyFile(_Part, frozen=True, kw_only=True):
    """The policy of an openclaw-sidecar."""

    version: Annotated[Literal[1], _about("The version of this format.")] = 1
    default: Annotated[DefaultPart, _about("What holds where no rule matches.")] = DefaultPart()
    unchanged: Annotated[UnchangedPart, _about("What holds where no byte changed.")] = UnchangedPart()
    budget: Annotated[BudgetPart, _about("How many recoveries there may be.")] = BudgetPart()
    storm: Annotated[StormPart, _about("When many sessions that change at once stop recovery.")] | UnsetType = UNSET
    patience: (
        Annotated[PatiencePart, _about("When a run waits longer for its database than the gateway does.")] | UnsetType
    ) = UNSET
    rule: Annotated[
        tuple[RulePart, ...],
        Meta(max_length=MAX_RULES, description="Asked in this order; the first that matches decides."),
    ] = ()


def json_schema() -> dict[str, Any]:
    """A JSON Schema of the file for editors. Draft 4, as taplo, which most of them use for TOML, knows no later one."""
    (_root,), components = msgspec.json.schema_components((PolicyFile,), ref_template="#/definitions/{name}")
    definitions: dict[str, Any] = dict(components)
    root = definitions.pop("PolicyFile")
    for part in (root, *definitions.values()):
        if part.get("required") == []:
            del part["required"]  # draft 4 wants at least one name
        for key in part.get("properties", {}).values():
            if "minItems" in key:
                del key["default"]  # to leave it out is another thing than an empty array
            elif isinstance(key.get("default"), dict):
                key["default"] = {name: value for name, value in key["default"].items() if value != ()}
    kinds = definitions["WriterKind"]
    kinds["enum"] = [kind for kind in kinds["enum"] if kind != WriterKind.FOREIGN]
    return {
        "$schema": "http://json-schema.org/draft-04/schema#",
        **root,
        "title": "openclaw-sidecar policy",
        "definitions": definitions,
    }
